"""Bounds along terms hold for what float32 gives, and are as small as the textbook's."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.operations.formats import UNIT
from stepforge.verify.rounding import errors as rounding
from stepforge.verify.rounding.errors import Excluded, NoBound, analyse, universal
from stepforge.verify.terms.terms import Term, apply, constant, load, nodes, scalar

U = UNIT["f32"]
A, B, C = (load(name, "f32") for name in "abc")


def in_float32(term: Term, values: dict[str, float]) -> float:
    """The term computed by NumPy, operation by operation."""
    functions: dict[str, Any] = {
        "add": np.add, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt, "neg": np.negative,
        "abs": np.abs, "max": np.maximum, "min": np.minimum,
    }  # fmt: skip
    done: dict[Term, Any] = {}
    with np.errstate(all="ignore"):
        for node in nodes([term]):
            if node.op == "load":
                done[node] = np.float32(values[node.data])
            elif node.is_constant:
                done[node] = np.float32(node.number)
            else:
                done[node] = functions[node.op](*(done[a] for a in node.args))
    return float(done[term])


def exact_of(value: float) -> Fraction:
    return Fraction(value)


terms = st.recursive(
    st.sampled_from([A, B, C, constant(0.1, "f32"), constant(3.0, "f32")]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "div", "max", "min"]), inner, inner),
        st.tuples(st.sampled_from(["neg", "abs", "sqrt"]), inner),
    ).map(lambda parts: apply(parts[0], *parts[1:])),
    max_leaves=12,
)
numbers = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@settings(max_examples=300)
@given(terms, numbers, numbers, numbers)
def test_no_result_is_further_from_the_exact_value_than_its_bound(
    term: Term, a: float, b: float, c: float
) -> None:
    values = {"a": a, "b": b, "c": c}
    try:
        error = analyse(term, values, U)
    except Excluded:
        return
    got = in_float32(term, values)
    distance = abs(rounding.mp.mpf(got) - error.value)
    assert distance <= error.units * U * error.magnitude * (1 + 1e-9)


def known(term: Term) -> int:
    """`a` and what is made of it are never negative; of the rest nothing is known."""
    if term is A or term.op in ("abs", "sqrt") or (term.is_constant and term.number >= 0):
        return 1
    if term.op in ("add", "mul", "div") and all(known(a) == 1 for a in term.args):
        return 1
    return 0


@pytest.mark.parametrize(
    ("term", "units"),
    [
        (apply("add", A, B), 1.0),
        (apply("add", apply("mul", A, B), C), 2.0),
        (apply("add", apply("add", A, B), C), 2.0),
        (apply("fma", A, B, C), 1.0),
        (apply("div", B, apply("add", A, constant(1.0, "f32"))), 2.0),
        (apply("sqrt", apply("mul", A, A)), 1.5),
        (apply("div.full", B, A, kind="f32"), 4.0),
        (apply("sqrt.approx.ftz", A, kind="f32"), 2.0),
        (apply("mul", apply("cvt", scalar("x"), kind="f32"), A), 2.0),
    ],
)
def test_bounds_for_every_input_count_the_roundings(term: Term, units: float) -> None:
    assert universal(term, U, known) == pytest.approx(units, rel=1e-5)


@pytest.mark.parametrize(
    "term",
    [
        apply("sqrt", apply("sub", apply("mul", A, A), apply("mul", B, B))),
        apply("div", A, apply("sub", apply("mul", A, B), C)),
        apply("exp", apply("mul", A, B), kind="f32"),
        apply("lg2.approx", apply("mul", A, B), kind="f32"),
    ],
)
def test_what_may_cancel_has_no_bound_for_every_input(term: Term) -> None:
    with pytest.raises(NoBound):
        universal(term, U, known)


def test_a_difference_of_exact_numbers_is_relative() -> None:
    near = {"a": 1.0, "b": 1 - 2.0**-20}
    error = analyse(apply("sub", A, B), near, U)
    assert error.condition == 1
    assert error.units == 1


def test_a_cancelling_denominator_costs_its_condition_number() -> None:
    product = apply("mul", A, A)
    term = apply("div", C, apply("sub", product, apply("mul", B, B)))
    error = analyse(term, {"a": 1.001, "b": 1.0, "c": 3.0}, U)
    condition = (1.001**2 + 1) / (1.001**2 - 1)
    # One for the quotient; of the denominator the products count by condition, the difference not.
    assert error.units == pytest.approx(1 + condition + 1, rel=1e-3)


@pytest.mark.parametrize(
    ("term", "values"),
    [
        (apply("mul", A, B), {"a": 1e-30, "b": 1e-30}),
        (apply("mul", A, B), {"a": 1e30, "b": 1e30}),
        (apply("div", A, B), {"a": 1.0, "b": 0.0}),
        (apply("sqrt", A), {"a": -1.0}),
        (
            apply("select", apply("lt", apply("mul", A, A), B), A, C),
            {"a": 1.0, "b": 1.0 + 2.0**-24, "c": 2.0},
        ),
    ],
    ids=["underflow", "overflow", "0 below", "negative root", "a condition within rounding"],
)
def test_points_that_the_analysis_says_nothing_about_are_excluded(
    term: Term, values: dict[str, float]
) -> None:
    with pytest.raises(Excluded):
        analyse(term, values, U)
