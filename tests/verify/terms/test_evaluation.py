"""Terms in numbers, against NumPy in rounded arithmetic and against fractions in the reals."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

from stepforge.verify.terms.evaluation import evaluate, exact, mp
from stepforge.verify.terms.operations import NoValue
from stepforge.verify.terms.terms import FLOATS, Term, apply, constant, load, truth

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -3e38, 1.5, 6e-8, 0.1]
COUNT = 500

BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "nan": lambda a, b: np.isnan(a) | np.isnan(b),
    "anymax": np.maximum, "max": np.maximum, "min": np.minimum,
    "maxnum": np.fmax, "minnum": np.fmin,
}  # fmt: skip
UNARY: dict[str, Callable[..., Any]] = {"sqrt": np.sqrt, "neg": np.negative, "abs": np.abs}


def columns(kind: str) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    drawn = rng.normal(size=(3, COUNT)) * 2.0 ** rng.integers(-30, 30, (3, COUNT))
    grid = np.array(np.meshgrid(SPECIAL, SPECIAL, SPECIAL[:4])).reshape(3, -1)
    with np.errstate(all="ignore"):
        both = np.concatenate([drawn, grid], 1).astype(FLOATS[kind])
    return dict(zip("xyz", both, strict=True))


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("op", [*BINARY, *UNARY])
def test_operations_are_those_of_numpy(op: str, kind: str) -> None:
    at = columns(kind)
    names = "xy" if op in BINARY else "x"
    got = evaluate(apply(op, *(load(n, kind) for n in names)), at)
    with np.errstate(all="ignore"):
        wanted = (BINARY | UNARY)[op](*(at[n] for n in names))
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("op", ["max", "min"])
def test_extremes_order_zeros(op: str) -> None:
    zeros = {"x": np.array([0.0, -0.0, 0.0, -0.0]), "y": np.array([-0.0, 0.0, 0.0, -0.0])}
    got = evaluate(apply(op, load("x", "f64"), load("y", "f64")), zeros)
    assert list(np.signbit(got)) == [op == "min", op == "min", False, True]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_fma_rounds_once(kind: str) -> None:
    at = {name: v[:COUNT] for name, v in columns(kind).items()}
    got = evaluate(apply("fma", *(load(n, kind) for n in "xyz")), at)
    twice = at["x"] * at["y"] + at["z"]
    rounded = []
    for x, y, z in zip(*at.values(), strict=True):
        true = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        rounded.append(constant(true, kind).number)
    np.testing.assert_array_equal(got, np.array(rounded, FLOATS[kind]))
    assert (got != twice).any()


@pytest.mark.parametrize("target", ["bf16", "f16", "f32", "f64"])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_conversions_round_once(source: str, target: str) -> None:
    at = {"x": columns(source)["x"][:COUNT]}
    got = evaluate(apply("cvt", load("x", source), kind=target), at)
    wanted = [constant(Fraction(float(x)), target).number for x in at["x"]]
    np.testing.assert_array_equal(got.astype(np.float64), wanted)


def test_a_conversion_through_float32_would_be_wrong() -> None:
    between = np.array([1 + 2.0**-8 + 2.0**-40])  # just above a tie of bfloat16
    got = evaluate(apply("cvt", load("x", "f64"), kind="bf16"), {"x": between})
    assert float(got[0]) == 1 + 2.0**-7
    assert float(between.astype(np.float32).astype(ml_dtypes.bfloat16)[0]) == 1.0


def test_choices_and_bits() -> None:
    x, at = load("x", "f32"), {"x": np.array([0.0, -0.0, 1.0, np.nan], np.float32)}
    pattern = apply("bits", x, kind="bool", data=0x80000000)
    np.testing.assert_array_equal(evaluate(pattern, at), [False, True, False, False])
    chosen = apply("select", apply("gt", x, constant(0.0, "f32")), x, constant(7.0, "f32"))
    np.testing.assert_array_equal(evaluate(chosen, at), [7, 7, 1, 7])
    both = apply("or", apply("not", pattern), apply("and", pattern, truth(False)))
    np.testing.assert_array_equal(evaluate(both, at), [True, False, True, True])


def test_unknown_operations_have_no_value() -> None:
    odd = apply("erf.approx", load("x", "f32"), kind="f32")
    for function in (evaluate, exact):
        with pytest.raises(NoValue, match="erf"):
            function(odd, {"x": 0.5})


# Over the reals.


def chain(x: Term, y: Term) -> Term:
    """A formula whose rounded value is far off."""
    return apply("sub", apply("mul", apply("add", x, y), apply("add", x, y)), apply("mul", x, x))


def test_exact_values_are_those_of_fractions() -> None:
    x, y = load("x", "f32"), load("y", "f32")
    rng = np.random.default_rng(2)
    rounded_off = 0
    for _ in range(100):
        at = {"x": float(np.float32(rng.normal())), "y": float(np.float32(rng.normal() * 1e-6))}
        a, b = Fraction(at["x"]), Fraction(at["y"])
        true = (a + b) ** 2 - a**2
        found = exact(apply("cvt", chain(x, y), kind="f16"), at)
        wanted = mpmath.mpf(true.numerator) / true.denominator
        assert (
            abs(found - mp.mpf(true.numerator) / true.denominator) <= abs(found) * mp.mpf(2) ** -100
        )
        single = evaluate(chain(x, y), {name: np.array([v]) for name, v in at.items()})[0]
        rounded_off += abs(float(single) - float(wanted)) > 1e-3 * abs(float(wanted))
    assert rounded_off > 50


@pytest.mark.parametrize(
    ("op", "args", "wanted"),
    [
        ("sqrt", (2.0,), mp.sqrt(2)), ("exp", (1.0,), mp.e), ("log", (10.0,), mp.log(10)),
        ("pow", (2.0, 0.5), mp.sqrt(2)), ("rcp", (3.0,), mp.mpf(1) / 3),
        ("ex2", (0.5,), mp.sqrt(2)), ("lg2", (8.0,), 3), ("sqrt.approx.ftz", (4.0,), 2),
        ("anymax", (1.0, -2.0), 1), ("minnum", (1.0, -2.0), -2), ("fma", (2.0, 3.0, 4.0), 10),
    ],
)  # fmt: skip
def test_functions_over_the_reals(op: str, args: tuple[float, ...], wanted: Any) -> None:
    leaves = [load(n, "f64") for n in "xyz"[: len(args)]]
    found = exact(apply(op, *leaves, kind="f64"), dict(zip("xyz", args, strict=False)))
    assert abs(found - wanted) < mp.mpf(10) ** -48


@pytest.mark.parametrize(("op", "args"), [("sqrt", (-1.0,)), ("log", (0.0,)), ("div", (1.0, 0.0))])
def test_what_has_no_real_value_says_so_unless_a_choice_leaves_it_aside(
    op: str, args: tuple[float, ...]
) -> None:
    leaves = [load(n, "f64") for n in "xyz"[: len(args)]]
    at = dict(zip("xyz", args, strict=False))
    value = apply(op, *leaves)
    with pytest.raises(NoValue):
        exact(value, at)
    aside = apply("select", apply("eq", leaves[0], leaves[0]), constant(5.0, "f64"), value)
    assert exact(aside, at) == 5


def test_a_number_without_end_is_no_value() -> None:
    """A function of a number with more bits than there is memory would end the process."""
    tower = load("x", "f64")
    for _ in range(4):
        tower = apply("exp", tower, kind="f64")
    for op in ("tanh", "sin", "expm1"):
        with pytest.raises(NoValue):
            exact(apply(op, tower, kind="f64"), {"x": 9.0})
