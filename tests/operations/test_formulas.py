"""Formulas of functions: values, special values, and the same bits wherever they run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from support import small

from stepforge.backends.helpers import definitions, formula
from stepforge.operations import formulas
from stepforge.operations.arrays import Arrays, rounded
from stepforge.operations.table import OPERATIONS
from stepforge.output import emit
from stepforge.verify.certificate import Status
from stepforge.verify.run.tasks import run
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task

KINDS = {"f32": np.float32, "f64": np.float64}
mp = mpmath.MPContext()
mp.dps = 40
INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [((0.0,), 1.0), ((-0.0,), 1.0), ((INF,), INF), ((-INF,), 0.0), ((1e5,), INF),
            ((-1e5,), 0.0)],
    "log": [((0.0,), -INF), ((-0.0,), -INF), ((1.0,), 0.0), ((-1.0,), NAN), ((INF,), INF),
            ((-INF,), NAN)],
    "pow": [((2.0, 0.0), 1.0), ((NAN, 0.0), 1.0), ((1.0, NAN), 1.0), ((1.0, INF), 1.0),
            ((-8.0, 3.0), -512.0), ((-8.0, 2.0), 64.0), ((-8.0, 0.5), NAN), ((0.0, 3.0), 0.0),
            ((-0.0, 3.0), -0.0), ((-0.0, 2.0), 0.0), ((0.0, -1.0), INF), ((-0.0, -1.0), -INF),
            ((-0.0, -2.0), INF), ((-INF, 3.0), -INF), ((-INF, -3.0), -0.0), ((INF, 0.5), INF),
            ((0.5, INF), 0.0), ((0.5, -INF), INF), ((2.0, INF), INF), ((-1.0, INF), 1.0),
            ((2.0, NAN), NAN), ((NAN, 1.0), NAN)],
    "tanh": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), 1.0), ((-INF,), -1.0)],
    "cbrt": [((0.0,), 0.0), ((-0.0,), -0.0), ((-8.0,), -2.0), ((INF,), INF), ((-INF,), -INF)],
    "expm1": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), INF), ((-INF,), -1.0)],
    "floor": [((-0.0,), -0.0), ((0.5,), 0.0), ((-0.5,), -1.0), ((INF,), INF), ((-INF,), -INF),
              ((1e9,), 1e9)],
    "sin": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), NAN), ((-INF,), NAN)],
    "cos": [((0.0,), 1.0), ((INF,), NAN)],
    "atan2": [((0.0, 1.0), 0.0), ((-0.0, 1.0), -0.0), ((0.0, -1.0), math.pi),
              ((-0.0, -1.0), -math.pi), ((0.0, 0.0), 0.0), ((0.0, -0.0), math.pi),
              ((-0.0, 0.0), -0.0), ((1.0, 0.0), math.pi / 2), ((INF, INF), math.pi / 4),
              ((INF, -INF), 3 * math.pi / 4), ((1.0, INF), 0.0), ((-1.0, INF), -0.0),
              ((1.0, -INF), math.pi)],
}  # fmt: skip
"""C99, Annex F: arguments and value."""


def bits(x: Any) -> Any:
    x = np.atleast_1d(x)
    return np.where(np.isnan(x), x.dtype.type(NAN), x).view(f"u{x.dtype.itemsize}")


def drawn(function: str, kind: str, count: int) -> list[Any]:
    """Arguments of every size, most of them where the function is neither flat nor infinite."""
    rng = np.random.default_rng(len(function))
    arity = OPERATIONS[function].arity
    near = [rng.normal(0, 3, count).astype(KINDS[kind]) for _ in range(arity)]
    wide = [rng.integers(0, 1 << 63, count).astype(f"u{KINDS[kind]().itemsize}").view(KINDS[kind])
            for _ in range(arity)]  # fmt: skip
    return [np.concatenate([a, b]) for a, b in zip(near, wide, strict=True)]


def test_every_formula_has_a_row_and_every_row_a_formula() -> None:
    assert set(formulas.names()) == {n for n, row in OPERATIONS.items() if row.formula}
    assert set(formulas.names()) == SPECIAL.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", formulas.names())
def test_special_values_are_those_of_c(function: str, kind: str) -> None:
    for point, wanted in [*SPECIAL[function], ((NAN,) * OPERATIONS[function].arity, NAN)]:
        with np.errstate(all="ignore"):
            got = rounded(function, kind, *(KINDS[kind]([x]) for x in point))
        assert bits(got) == bits(KINDS[kind](wanted)), point


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", formulas.names())
def test_errors_are_at_most_one_ulp(function: str, kind: str) -> None:
    check_errors(function, kind, Arrays(kind), formulas.ULPS)


@pytest.mark.parametrize("function", formulas.names())
def test_errors_are_at_most_two_ulp_where_products_are_fused_with_sums(function: str) -> None:
    check_errors(function, "f32", Fusing("f32"), formulas.FUSED_ULPS)


def check_errors(function: str, kind: str, arithmetic: Arrays, ulps: int) -> None:
    row, arguments = OPERATIONS[function], drawn(function, kind, 150)
    with np.errstate(all="ignore"):
        results = formulas.compute(function, kind, arithmetic, *arguments)
    largest = float(np.finfo(KINDS[kind]).max)
    checked = 0
    for *point, got in zip(*arguments, results, strict=True):
        if not all(map(math.isfinite, point)):
            continue
        try:
            wanted = row.value(mp, *(mp.mpf(float(x)) for x in point))
        except (ValueError, ZeroDivisionError):
            continue
        if not isinstance(wanted, mp.mpf) or not abs(wanted) < largest:
            continue
        ulp = mp.mpf(float(np.spacing(KINDS[kind](abs(float(wanted))))))
        assert abs(mp.mpf(float(got)) - wanted) <= ulps * ulp * (1 + mp.mpf(2) ** -20), point
        checked += 1
    assert checked > 60


@dataclass(frozen=True)
class Fusing(Arrays):
    """Float32 in which a product and the sum after it are rounded at once wherever they can be."""

    products: list[tuple[Any, Any]] = field(default_factory=list)

    def apply(self, op: str, *args: Any) -> Any:
        exact = [self.exact(a) for a in args]
        if op in ("add", "sub") and any(product is not None for product in exact):
            first = exact[0] is not None  # two products are not fused at once
            wide = [
                product if product is not None and (index == 0 or not first) else np.float64(a)
                for index, (a, product) in enumerate(zip(args, exact, strict=True))
            ]
            return np.float32(super().apply(op, *wide))
        result = super().apply(op, *args)
        if op == "mul":
            self.products.append((result, np.float64(args[0]) * np.float64(args[1])))
        return result

    def exact(self, x: Any) -> Any:
        """The exact product that a number is rounded from."""
        return next((product for result, product in self.products if result is x), None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", formulas.names())
def test_the_printed_text_gives_the_bits_of_the_formula(function: str, kind: str) -> None:
    space: dict[str, Any] = {"np": np}
    for text in definitions("numpy", [function]):
        exec(text, space)
    arguments = drawn(function, kind, 500)
    with np.errstate(all="ignore"):
        got = space[function](*arguments)
        wanted = rounded(function, kind, *arguments)
    assert got.dtype == KINDS[kind]
    assert np.array_equal(bits(got), bits(wanted))


@pytest.mark.parametrize("column", ["numpy", "triton"])
@pytest.mark.parametrize("function", formulas.names())
def test_the_printed_text_is_readable(function: str, column: str) -> None:
    for line in formula(function, column).split("\n"):
        assert len(line) <= 100
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x if x else x", "x if x else x"),
        ("for i in x:\n        pass\n    return x", "no assignment to a name"),
        ("x = x + 1.0\n    return x", "`x` has a value already"),
        ("y = x + 1\n    return y", "`add` of float, integer"),
        ("y = to_bits(x) * 2\n    return x", "`Mult` of integer"),
        ("return to_bits(x)", "the result is no float"),
        ("return open(x)", "the call of `open`"),
        ("y = x", "returns nothing"),
    ],
)
def test_a_text_that_is_no_formula_is_refused(
    body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"def odd_{form}(x):\n    {body}\n" for form in ("float32", "float64")]
    (tmp_path / "odd.formula").write_text("\n\n".join(texts))
    monkeypatch.setattr(formulas, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.formula:\d+: .*") as caught:
        formulas.of("odd")
    assert message in str(caught.value)


RULES = {
    "exp(-abs(g))*log(abs(g) + 1.5) + tanh(p) + expm1(g)": "fp32",
    "sin(g)*cos(p) + floor(p*4)": "fp64",
    "cbrt(g)*g**lr + 0.1*atan2(g, p)": "fp32",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_with_functions_is_proved_to_the_bit(rule: str, tmp_path: Path) -> None:
    """Triton IR and PTX are the rule's operations, and the executed PTX has NumPy's bits."""
    spec = small(f"p = p - lr*({rule})")
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    for rung in ("R3", "R6", "R7"):
        task = Task(
            RUNGS[rung], spec, {}, tmp_path, 0, ("sm_90",), (RULES[rule],), brief=True,
            kernels=(("triton", "host"),),
        )  # fmt: skip
        verdict = run(task)
        assert verdict.status is (Status.TESTED if rung == "R6" else Status.PROVED), verdict
        assert rung == "R6" or verdict.strength == "bits"


@pytest.mark.parametrize("rule", ["tanh(g*p + g)", "g**lr", "atan2(g, p)/exp(p)"])
def test_a_formula_is_known_in_fast_mode_where_its_sums_are_fused(
    rule: str, tmp_path: Path
) -> None:
    """So its error is known, even where the compiler moves its choices into what comes next."""
    spec = small(f"p = p - lr*{rule}")
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    for rung in ("R7", "R9"):
        task = Task(
            RUNGS[rung], spec, {}, tmp_path, 0, ("sm_90",), ("fp32",), exact=False,
            kernels=(("triton", "host"),),
        )  # fmt: skip
        verdict = run(task)
        found = verdict.status, verdict.strength
        wanted = (Status.PROVED, "reals") if rung == "R7" else (Status.TESTED, "")
        assert found == wanted, verdict


def test_every_function_is_in_one_of_the_rules() -> None:
    text = " ".join(RULES).replace("**", "pow")
    assert all(function in text for function in formulas.names())
