"""Domains of states that every step keeps are told from those that it may leave."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from support import numpy_of, small

from stepforge.language.reader import loads
from stepforge.language.spec import Spec
from stepforge.verify.terms import invariants

KEPT = [
    "b*v + (1 - b)*g**2",
    "v - (1 - b)*sign(v - g**2)*g**2",
    "v - g**2 if v >= g**2 else 0",
    "v - g*abs(g) if v > g*abs(g) else v",
    "t**(-b)*v",
    "(1 - t**(-b))*v",
]
LEFT = [
    "b*v - (1 - b)*g**2",
    "v + (1 - b)*sign(v - g**2)*g**2",
    "v - 1.5*(1 - b)*sign(v - g**2)*g**2",
    "b*v + (1 - b)*sign(g**2 - v)*g**2",
    "v - g**2 if v <= g**2 else v",
    "v - g if v > 0 else v",
    "v + g",
    "(1 - t**b)*v",
    "v - 1e-30",
]


def spec_of(rule: str, domain: str = "0 <= b < 1") -> Spec:
    text = small(
        f"v = {rule}\np = p - lr*v*b*g*t",
        hyperparameters=("lr", "b"),
        state={"v": 'domain = "v >= 0"'},
    ).source.text
    return loads(
        text.replace("b = { default = 0.5,", f'b = {{ default = 0.5, domain = "{domain}",')
    )[0]


@pytest.mark.parametrize("rule", KEPT)
def test_a_domain_that_is_kept_is_shown_to_be(rule: str) -> None:
    assert [*invariants.assumed(spec_of(rule), {})] == []


@pytest.mark.parametrize("rule", LEFT)
def test_a_domain_that_a_step_may_leave_is_not_shown(rule: str) -> None:
    spec = spec_of(rule)
    assert [*invariants.assumed(spec, {})] == ["v"]
    draw = random.Random(3)
    step = numpy_of(spec).step
    for _ in range(2000):
        b, v, g = (draw.choice([0.0, draw.random(), draw.expovariate(0.3)]) for _ in range(3))
        g = g * draw.choice([1, -1])
        state = {"v": np.array(v)}
        _, after = step(np.array(0.0), np.array(g), state, draw.randint(1, 9), lr=0.1, b=b % 1)
        if after["v"] < 0:
            return
    raise AssertionError("no step leaves the domain")


def test_the_domains_of_hyperparameters_count() -> None:
    rule = "b*v + (1 - b)*sign(g**2 - v)*g**2"
    assert [*invariants.assumed(spec_of(rule, "0.5 <= b < 1"), {})] == []
    assert [*invariants.assumed(spec_of(rule, "0.49 <= b < 1"), {})] == ["v"]


def test_what_is_shown_holds_in_rational_numbers() -> None:
    """By the rules in Python, at random points and where both sides of comparisons are equal."""
    draw = random.Random(7)
    for rule in KEPT[1:4]:
        code = compile(rule, rule, "eval")
        for _ in range(500):
            v, g = Fraction(draw.randint(0, 9), 4), Fraction(draw.randint(-9, 9), 4)
            space = {"v": draw.choice([v, g**2]), "g": g, "b": Fraction(draw.randint(0, 99), 100)}
            space |= {"sign": lambda x: (x > 0) - (x < 0), "max": max, "min": min, "abs": abs}  # type: ignore[dict-item]
            assert eval(code, space) >= 0, (rule, space)
