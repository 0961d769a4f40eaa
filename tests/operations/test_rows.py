"""Every row of the table says all of itself, and its parts agree with one another."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from support import ROOT, environment, small

from stepforge.backends.render import environment as templates
from stepforge.commands.views import COMPILED, show, views
from stepforge.language.mathematics import from_sympy, symbols, to_sympy
from stepforge.operations.draws import Draw, Sign, call
from stepforge.operations.operation import (
    COLUMNS,
    PRODUCT,
    Operation,
    Spelling,
    everywhere,
    monotone,
)
from stepforge.operations.rows.functions import called
from stepforge.operations.table import OPERATIONS, author_functions
from stepforge.output import emit
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.rounding import intervals
from stepforge.verify.run.tasks import run
from stepforge.verify.rungs.levels import DTYPES, FAST_TARGETS
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.evaluation import exact
from stepforge.verify.terms.operations import TERM_OPERATIONS, plain

REQUIRED = [f.name for f in dataclasses.fields(Operation) if f.default is dataclasses.MISSING]
POINTS = [-3.5, -1.25, -1.0, -0.5, 0.0, 0.125, 0.75, 1.0, 2.0, 4.5]
mp = mpmath.MPContext()
mp.dps = 50


def points(name: str, count: int = 40) -> list[tuple[Any, ...]]:
    """Arguments of an operation, among them equal ones; conditions where it takes them."""
    row = OPERATIONS[name]
    rng = np.random.default_rng(len(name))
    drawn = [tuple(float(x) for x in rng.choice(POINTS, row.arity)) for _ in range(count)]
    if row.conditions:
        return [tuple(x > 0 for x in point) for point in drawn]
    return [(p[0] > 0, *p[1:]) for p in drawn] if name == "select" else drawn


def value(name: str, point: tuple[Any, ...]) -> Any:
    """The value of a row, to 50 digits; None where it has none."""
    try:
        found = OPERATIONS[name].value(mp, *(x if x in (True, False) else mp.mpf(x) for x in point))
    except (ZeroDivisionError, ValueError):
        return None
    found = found if isinstance(found, bool) else mp.mpmathify(found)
    return found if isinstance(found, bool | mp.mpf) and mp.isfinite(found) else None


@pytest.mark.parametrize("part", REQUIRED)
def test_a_row_without_one_of_its_parts_is_none(part: str) -> None:
    row = OPERATIONS["exp"]
    parts = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    del parts[part]
    with pytest.raises(TypeError, match=part):
        Operation(**parts)


@pytest.mark.parametrize(
    "changed",
    [
        {"spellings": {"numpy": Spelling("np.exp({0})")}},
        {"spellings": everywhere(Spelling("exp()"))},
        {"spellings": everywhere(Spelling("exp({0}, {1})"))},
        {"ulps": 0},
        {"rounding": "exact"},
        {"draws": ()},
    ],
)
def test_a_row_that_is_incomplete_is_none(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`"):
        dataclasses.replace(OPERATIONS["exp"], **changed)


@pytest.mark.parametrize("name", OPERATIONS)
def test_helpers_of_every_column_are_defined(name: str) -> None:
    """Those of torch are one module, which generated classes import."""
    numbers = templates().get_template("torch/numbers.py").render()
    for helper in OPERATIONS[name].spellings["torch"].helper.split():
        assert f"\ndef {helper}(" in numbers


@pytest.mark.parametrize("name", OPERATIONS)
def test_torch_computes_what_the_operation_means(name: str) -> None:
    torch = pytest.importorskip("torch")
    space: dict[str, Any] = {}
    exec(templates().get_template("torch/numbers.py").render(), space)
    row = OPERATIONS[name]
    # Here torch runs on the processor, where its root is that of MKL, within 1 ulp; generated code
    # uses it on GPUs alone, where it is exact.
    ulps = 1 if name == "sqrt" else row.ulps
    for point in points(name):
        wanted = value(name, point)
        if wanted is None or (row.symbol == "clip" and point[1] > point[2]):
            continue
        given = [torch.tensor(x, dtype=torch.bool if x is True or x is False else torch.float64)
                 for x in point]  # fmt: skip
        text = row.spellings["torch"].text.format(*(f"x{i}" for i in range(row.arity)))
        got = float(eval(text, space | {"math": math, **{f"x{i}": v for i, v in enumerate(given)}}))
        assert abs(got - float(wanted)) <= ulps * math.ulp(float(wanted)), point


@pytest.mark.parametrize("name", OPERATIONS)
def test_sympy_means_the_value(name: str) -> None:
    row = OPERATIONS[name]
    for point in points(name):
        wanted = value(name, point)
        given = [sympy.sympify(x) if isinstance(x, bool) else sympy.Rational(x) for x in point]
        if wanted is None:
            continue
        meaning = sympy.sympify(row.meaning(sympy, *given))
        if isinstance(wanted, bool):
            assert bool(meaning) is wanted
            continue
        assert abs(mp.mpf(str(meaning.evalf(40))) - wanted) <= mp.mpf(10) ** -35 * abs(wanted)
        if row.conditions or name == "select":
            continue
        rational = row.rational(*(Fraction(x) for x in point))
        if rational is not None:
            assert meaning.equals(sympy.Rational(rational.numerator, rational.denominator))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_interval_of_exact_arguments_holds_the_value(name: str) -> None:
    row = OPERATIONS[name]
    for point in points(name):
        wanted = value(name, point)
        if wanted is None:
            continue
        made = row.enclose(intervals, *(intervals.exactly(float(x)) for x in point))
        assert made.value == wanted or abs(made.value - wanted) <= mp.mpf(10) ** -45 * abs(wanted)
        assert made.low <= wanted <= made.high


@pytest.mark.parametrize("is_tensor", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_its_terms_have_the_value(name: str, is_tensor: bool) -> None:
    row = OPERATIONS[name]
    given = [terms.scalar(f"x{i}") for i in range(row.arity)]
    if row.conditions or name == "select":
        zero = terms.constant(0.0, "f64")
        tests = [terms.apply("lt", zero, x) for x in given]
        given = tests if row.conditions else [tests[0], *given[1:]]
    made = rule.Builder("f64", is_tensor).operation(name, *given)
    assert {plain(n.op) for n in terms.nodes([made]) if n.args} <= TERM_OPERATIONS.keys()
    for point in points(name):
        wanted = value(name, point)
        if wanted is None:
            continue
        got = exact(made, {f"x{i}": float(x) for i, x in enumerate(point)})
        assert abs(got - wanted) <= mp.mpf(10) ** -45 * abs(wanted), point


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_lifted_is_an_operation_of_terms(name: str) -> None:
    row = OPERATIONS[name]
    found = [*row.ttir.values(), *(r.term for r in row.python.values() if r.term)]
    known = TERM_OPERATIONS.keys() | {"sub", "gt", "ge", "ne", "or"}
    assert {plain(term) for term in found} <= known


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n].sympy])
def test_sympy_is_read_back(name: str) -> None:
    row = OPERATIONS[name]
    given = symbols(small("p = p - lr*g"))
    if row.conditions:
        given = {"p": given["p"] > 0, "g": given["g"] > 1}
    meaning = row.meaning(sympy, given["p"], given["g"]) if row.arity == 2 else row.meaning(
        sympy, given["p"]
    )  # fmt: skip
    assert to_sympy(from_sympy(meaning), symbols(small("p = p - lr*g"))) == meaning


# A new operation is one row.

CUBE = "p = p - lr*cube(g) - cube(lr)*g"


def cube() -> Operation:
    """The third power, as a function that nothing but its row knows of."""
    return called(
        "cube", rounding="bounded", ulps=2, draws=(Draw(Sign.ANY, call("cube")),),
        spellings=everywhere(Spelling("{0} * {0} * {0}", PRODUCT)),
        meaning=lambda sympy, x: x**3, value=lambda mp, x: x**3, rational=lambda x: x**3,
        nonnegative=lambda signs, x: signs.nonnegative(x),
        enclose=monotone(lambda mp, x: x**3),
        term=lambda terms, x: terms.apply("mul", terms.apply("mul", x, x), x),
    )  # fmt: skip


@pytest.fixture
def with_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "cube", cube())


def test_columns_are_complete_for_it() -> None:
    assert cube().spellings.keys() == set(COLUMNS)


@pytest.mark.usefixtures("with_cube")
def test_a_new_operation_is_checked_built_and_shown(tmp_path: Path) -> None:
    assert "cube" in author_functions()
    spec = small(CUBE, name="cubed", title="Cubed")
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    assert "g * g * g" in (tmp_path / "numpy" / "cubed.py").read_text("utf-8")
    for view in views():
        if view not in COMPILED:
            assert show(spec, view, {})
    assert r"\operatorname{cube}" in show(spec, "latex", {})
    for folder in ("numpy", "torch", "triton", "multi_tensor"):
        compile((tmp_path / folder / "cubed.py").read_text("utf-8"), "cubed.py", "exec")


def evidence(rung: str, folder: Path) -> Verdict:
    """The verdict of a rung, in this process, on a spec with it."""
    spec = small(CUBE, name="cubed", title="Cubed")
    emit.apply(emit.changes([spec], folder, whole=False))
    where = {"targets": FAST_TARGETS, "dtypes": DTYPES[:1]}
    return run(Task(RUNGS[rung], spec, {}, folder, 0, **where, brief=True))


@pytest.mark.usefixtures("with_cube")
@pytest.mark.parametrize("rung", ["R0", "R1", "R3", "R5", "R6", "R7"])
def test_a_new_operation_has_evidence(rung: str, tmp_path: Path) -> None:
    verdict = evidence(rung, tmp_path)
    assert verdict.status is (Status.PROVED if rung in ("R3", "R7") else Status.TESTED), verdict


def test_a_new_operation_runs_in_the_interpreter(tmp_path: Path) -> None:
    """Triton interprets in processes alone that say so before they import it."""
    code = (
        "import sys; from pathlib import Path; import test_rows; "
        "test_rows.OPERATIONS['cube'] = test_rows.cube(); "
        "print(test_rows.evidence('R2', Path(sys.argv[1])))"
    )
    folders = (ROOT / "codegen", ROOT / "tests", Path(__file__).parent)
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment({"TRITON_INTERPRET": "1"}) | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "'TESTED'" in done.stdout, done.stdout + done.stderr
