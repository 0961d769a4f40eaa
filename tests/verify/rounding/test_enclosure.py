"""Enclosures contain what rounded arithmetic gives, and little more."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.language.reader import loads
from stepforge.verify.rounding.enclosure import Evaluator
from stepforge.verify.rounding.intervals import LIMITS, Enclosure, exactly, mp

HEAD = """\
name = "x"
title = "X"
summary = "S."
reference = "R"
[hyperparameters]
a = {{ default = 0.5, doc = "A." }}
b = {{ default = 2, doc = "B." }}
[rule]
update = '''
p = {rule}
'''
"""


def evaluate(
    rule: str, p: float, g: float, dtype: str, a: float = 0.5, b: float = 2.0
) -> Enclosure:
    spec, _ = loads(HEAD.format(rule=rule + " + 0*a + 0*b + 0*g"))
    result = Evaluator(spec, {}, dtype).step([p], [g], {}, 3, {"a": a, "b": b})["p"]
    assert isinstance(result, list)
    return result[0]


def test_formats_are_those_of_ieee_754() -> None:
    for name, form in LIMITS.items():
        info = np.finfo(name)
        assert form.unit == float(info.eps) / 2
        assert form.largest == float(info.max)
        assert form.tiny == mp.mpf(float(info.smallest_subnormal)) / 2


finite = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)
RULES = {
    "p*g - a*p": lambda p, g, a, b: p * g - a * p,
    "p/(g*g + b)": lambda p, g, a, b: p / (g * g + b),
    "sqrt(abs(p)) + g": lambda p, g, a, b: np.sqrt(np.abs(p)) + g,
    "(p + g)*(p - g)": lambda p, g, a, b: (p + g) * (p - g),
    "max(p, g)*a": lambda p, g, a, b: np.maximum(p, g) * a,
    "p if p > g else g*b": lambda p, g, a, b: np.where(p > g, p, g * b),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
@given(p=finite, g=finite)
@settings(max_examples=25)
def test_rounded_results_are_inside(rule: str, dtype: str, p: float, g: float) -> None:
    kind: Any = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        got = RULES[rule](kind(p), kind(g), 0.5, 2.0)
    assert float(got) in evaluate(rule, p, g, dtype)


def test_the_exact_value_has_fifty_digits() -> None:
    third = evaluate("p/3", 1.0, 0.0, "float64").value
    assert abs(third - mp.mpf(1) / 3) < mp.mpf(10) ** -49


def test_one_rounding_is_one_unit_roundoff_wide() -> None:
    e = evaluate("p*1.5", 1.1, 0.0, "float64")
    exact = Fraction(1.1) * Fraction(3, 2)
    width = Fraction(float(e.high - e.low)) / exact
    # One product, and four sums with exact zeros that each count as a rounding.
    assert width < 12 * Fraction(1, 2**53)


def test_an_error_beyond_the_roundings_is_outside() -> None:
    e = evaluate("p*1.5", 1.1, 0.0, "float64")
    assert 1.65 in e
    assert 1.65 * (1 + 1e-14) not in e
    assert math.nan not in e


def test_host_scalars_are_rounded_in_float64_then_once() -> None:
    # 1 - beta in float32 arithmetic is off by more than the bound allows.
    a = 0.999
    e = evaluate("(1 - a)*p", 1.0, 0.0, "float32", a=a)
    assert float(np.float32(1 - a)) in e
    assert float(np.float32(1) - np.float32(a)) not in e


def test_an_open_condition_encloses_both_arms() -> None:
    e = evaluate("1 if p*1.1 > g else 2", 1.0, 1.1, "float64")
    assert e.low <= 1
    assert e.high >= 2


def test_undefined_values_are_unknown_not_wrong() -> None:
    assert evaluate("p/g", 0.0, 0.0, "float64").unknown
    assert evaluate("sqrt(p)", -1.0, 0.0, "float64").unknown


def test_overflow_is_enclosed_by_infinity() -> None:
    e = evaluate("p*p", 1e200, 0.0, "float64")
    assert math.inf in e
    assert 1.0 not in e


def test_an_exact_number_has_no_width() -> None:
    e = exactly(np.float32(0.1))
    assert e.low == e.high == float(np.float32(0.1))
