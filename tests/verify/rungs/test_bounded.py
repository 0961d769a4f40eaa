"""R9: no stock kernel leaves its bound; right formulas with bad numerics are refuted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from catalogue import ON_DEVICE
from support import ROOT, stock

from stepforge.operations.formats import UNIT
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import ON_HOST
from stepforge.verify.rungs import proof
from stepforge.verify.rungs.bounded import Excess, Problem, Rounding, study
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.terms import Term, apply, constant, load, scalar
from verify.support import Edit, copy_of, edit, here


def run(folder: Path, name: str, dtype: str = "fp32", exact: bool = True) -> Verdict:
    return look("R9", folder, name, dtypes=(dtype,), exact=exact, kernels=ON_HOST[:1])


def look(rung: str, folder: Path, name: str, **more: Any) -> Verdict:
    spec = stock(name)
    return here(rung, spec, folder, next(spec.option_sets()), targets=("sm_90",), **more)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ON_DEVICE)
def test_stock_kernels_are_within_their_bounds(name: str, exact: bool) -> None:
    found = run(ROOT / "generated", name, "fp32", exact)
    assert found.status is Status.TESTED, found
    assert found.values > 100
    for result in found.evidence["rounding"]:
        assert result["points"] > 0
        if result["units"] is not None:
            assert result["worst"] <= result["units"]


@pytest.mark.parametrize("dtype", ["fp64", "bf16", "fp16"])
def test_other_types_are_within_their_bounds(dtype: str) -> None:
    assert run(ROOT / "generated", "adamw", dtype).status is Status.TESTED


CANCELLED = "    m = beta1 * m + one_minus_beta1 * g\n"
NUMERICS: dict[str, tuple[list[Edit], str]] = {
    "a detour through large numbers": (
        [(CANCELLED, f"    g = (g + 4096.0) - 4096.0\n{CANCELLED}")], "m = beta1*m",
    ),
    "one plus x minus one": ([(CANCELLED, f"    g = (1.0 + g) - 1.0\n{CANCELLED}")], "m = beta1*m"),
    "a difference of squares": (
        [("(g * g)", "((g + 64.0) * (g + 64.0) - 128.0 * g - 4096.0)")],
        "v = beta2*v",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NUMERICS)
def test_cancellation_is_refuted_where_the_formula_is_right(what: str, tmp_path: Path) -> None:
    edits, line = NUMERICS[what]
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", edits)
    proved = look("R7", folder, "adamw", dtypes=("fp32",), kernels=ON_HOST[:1])
    assert proved.status is Status.REFUTED  # in its bits, not in its formula
    assert "the formula is the rule's" in proved.detail
    found = run(folder, "adamw")
    assert found.status is Status.REFUTED, found
    assert "bound" in found.detail
    counter = found.counterexample
    assert counter is not None
    assert line in counter.spec_line
    assert "PTX for sm_90" in counter.artefact_line
    assert counter.expected != counter.got


def test_another_order_of_additions_is_no_bad_numerics(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(
        folder / "triton" / "adamw.py",
        [(CANCELLED, "    m = one_minus_beta1 * g + m * beta1\n"), ("* (g * g)", "* g * g")],
    )
    assert run(folder, "adamw").status is Status.TESTED


def test_another_formula_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [("m = beta1 * m + ", "m = 0.9 * m + ")])
    assert run(folder, "adamw").status is Status.REFUTED


def test_a_kernel_that_cannot_be_lifted_is_unsupported(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [(CANCELLED, f"    g = g + tl.sum(g)\n{CANCELLED}")])
    found = run(folder, "adamw")
    assert found.status is Status.UNSUPPORTED
    assert "sm_90" in found.detail


# Single terms.

X, Y = load("p", "f32"), load("g", "f32")
ONE = constant(1.0, "f32")


def problem(got: Term, expected: Term) -> Problem:
    kinds = {"p": "f32", "g": "f32", "m": "f32"}
    return Problem("p", got, expected, kinds, proof.domains(stock("lion")), UNIT["f32"])


@pytest.mark.parametrize(
    ("got", "expected", "fine"),
    [
        (apply("add", X, Y), apply("add", X, Y), True),
        (apply("fma", X, Y, X), apply("add", apply("mul", X, Y), X), True),
        (apply("mul", X, Y), apply("mul", apply("mul", X, Y), ONE), True),
        (apply("sub", apply("add", ONE, X), ONE), X, False),
        (apply("div", apply("mul", X, Y), Y), X, False),
        (apply("sub", apply("add", X, Y), Y), X, False),
        (apply("cvt", apply("cvt", X, kind="bf16"), kind="f32"), X, False),
        (apply("mul", X, constant(1.0001, "f32")), X, False),
    ],
)
def test_single_terms(got: Term, expected: Term, fine: bool) -> None:
    found = study(problem(got, expected), stock("lion"), 0)
    assert isinstance(found, Rounding if fine else Excess), found


def test_the_worst_error_is_that_of_its_point() -> None:
    lr = apply("cvt", scalar("lr"), kind="f32")
    term = apply("sub", X, apply("mul", lr, Y))
    found = study(problem(term, term), stock("lion"), 0)
    assert isinstance(found, Rounding)
    assert found.units is not None
    assert 0 < found.worst <= found.units == found.rule
    p, g, rate = (mpmath.mpf(found.at[name]) for name in ("p", "g", "lr"))
    at = {name: np.array([value]) for name, value in found.at.items()}
    got = float(evaluate(term, at)[0])
    with mpmath.workdps(60):
        distance = abs(got - (p - rate * g))
        scale = (abs(p) + abs(rate * g)) * UNIT["f32"]
        assert float(distance / scale) == pytest.approx(found.worst, rel=0.5)
