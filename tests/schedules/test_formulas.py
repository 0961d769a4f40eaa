"""The factors of the catalogue: by hand, at the ends of pieces, and where pieces meet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from support import SCHEDULES, numpy_of, stock

from schedules import oracles

RUN = 400
BOUND = 1e-12
"""Relative to the largest factor: both sides round a few times in float64, the oracle of a decay
step by step once for every step."""
Values = Mapping[str, float]
DRAWS: dict[str, list[Values]] = {
    "constant": [{}, {"share": 0.5, "steps": 0}, {"share": 0, "steps": 7}],
    "linear": [{}, {"first": 0.25, "last": 1, "steps": 4}, {"first": 1, "last": 0.1, "steps": 300}],
    "warmup": [{}, {"steps": 1}, {"steps": 10}, {"steps": 7.5}],
    "step_decay": [{}, {"steps": 1, "gamma": 0.99}, {"steps": 49, "gamma": 0.5}],
    "multistep": [
        {},
        {"milestone1": 5, "milestone2": 5, "milestone3": 9, "gamma": 0.3},
        {"milestone1": 0, "milestone2": 100, "milestone3": 1e9, "gamma": 2},
    ],
    "exponential": [{}, {"gamma": 1}, {"gamma": 0.9}],
    "polynomial": [{}, {"steps": 100, "power": 2, "last": 0.1}, {"steps": 9, "power": 0.5}],
    "cosine": [{}, {"steps": 1}, {"steps": 100, "last": 0.1}, {"steps": 333, "last": 1}],
    "cosine_restarts": [
        {},
        {"steps": 1, "growth": 1},
        {"steps": 7, "growth": 1, "last": 0.1},
        {"steps": 1, "growth": 2},
        {"steps": 2, "growth": 3},
        {"steps": 1, "growth": 5},
        {"steps": 4, "growth": 1.5},
    ],
    "inverse_sqrt": [{}, {"warmup": 1}, {"warmup": 100}],
    "one_cycle": [
        {},
        {"steps": 100, "share": 0.25, "div": 10, "final": 100},
        {"steps": 10, "share": 0.3, "div": 1, "final": 1},
    ],
    "trapezoid": [
        {},
        {"steps": 300, "warmup": 30, "decay": 60, "last": 0.1},
        {"steps": 20, "warmup": 10, "decay": 10},
        {"steps": 5, "warmup": 1, "decay": 4},
    ],
    "inverse_time": [{}, {"decay": 0}, {"decay": 0.5}],
    "warmup_cosine": [
        {},
        {"steps": 300, "warmup": 30, "last": 0.1},
        {"steps": 2, "warmup": 1},
    ],
}  # fmt: skip
CASES = [(name, values) for name, several in DRAWS.items() for values in several]


@cache
def factor_of(name: str) -> Callable[..., float]:
    factor: Callable[..., float] = numpy_of(stock(name)).factor
    return factor


def complete(name: str, values: Values) -> dict[str, float]:
    return {h.name: h.default for h in stock(name).hyperparameters} | dict(values)


def test_every_schedule_has_cases() -> None:
    assert [*DRAWS] == [name for name in DRAWS if name in SCHEDULES]
    assert {*DRAWS} == {*SCHEDULES}


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda x: str(x))
def test_a_whole_run_is_what_the_paper_says(name: str, values: Values) -> None:
    factor, given = factor_of(name), complete(name, values)
    oracle: Callable[..., float] = getattr(oracles, name)
    largest = 0.0
    for t in (*range(1, RUN + 1), 1000, 1001, 1002, 4000, 10**5):
        mine, by_hand = factor(t, **given), oracle(t - 1, **given)
        largest = max(largest, abs(by_hand))
        assert type(mine) is float
        assert mine == pytest.approx(by_hand, rel=0, abs=BOUND * largest), t


# At the ends: the first step, the top, the last step, and long after.


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("constant", {"share": 0.25, "steps": 5}, {1: 0.25, 5: 0.25, 6: 1, 10**9: 1}),
        ("linear", {"first": 1, "last": 0.5, "steps": 4}, {1: 1, 3: 0.75, 5: 0.5, 10**9: 0.5}),
        ("warmup", {"steps": 4}, {1: 0.25, 3: 0.75, 4: 1, 5: 1, 10**9: 1}),
        ("step_decay", {"steps": 3, "gamma": 0.5}, {1: 1, 3: 1, 4: 0.5, 6: 0.5, 7: 0.25}),
        (
            "multistep",
            {"milestone1": 2, "milestone2": 4, "milestone3": 6, "gamma": 0.5},
            {1: 1, 2: 1, 3: 0.5, 4: 0.5, 5: 0.25, 6: 0.25, 7: 0.125, 10**9: 0.125},
        ),
        ("exponential", {"gamma": 0.5}, {1: 1, 2: 0.5, 4: 0.125}),
        ("polynomial", {"steps": 2, "power": 2, "last": 0}, {1: 1, 2: 0.25, 3: 0, 10**9: 0}),
        ("cosine", {"steps": 4, "last": 0.5}, {1: 1, 5: 0.5, 6: 0.5, 10**9: 0.5}),
        ("cosine_restarts", {"steps": 1, "growth": 5}, {1: 1, 2: 1, 7: 1, 32: 1, 157: 1, 782: 1}),
        ("inverse_sqrt", {"warmup": 4}, {1: 0.25, 4: 1, 16: 0.5, 400: 0.1}),
        (
            "one_cycle",
            {"steps": 8, "share": 0.5, "div": 4, "final": 8},
            {1: 0.25, 4: 1, 8: 1 / 32, 9: 1 / 32, 10**9: 1 / 32},
        ),
        (
            "trapezoid",
            {"steps": 10, "warmup": 2, "decay": 4, "last": 0},
            {1: 0.5, 2: 1, 3: 1, 7: 1, 8: 0.75, 10: 0.25, 11: 0, 10**9: 0},
        ),
        ("inverse_time", {"decay": 0.5}, {1: 1, 3: 0.5, 7: 0.25}),
        (
            "warmup_cosine",
            {"steps": 10, "warmup": 4, "last": 0.5},
            {1: 0.25, 4: 1, 7: 0.75, 10: 0.5, 11: 0.5, 10**9: 0.5},
        ),
    ],
)  # fmt: skip
def test_the_ends_have_their_factors(
    name: str, values: Values, expected: Mapping[int, float]
) -> None:
    factor = factor_of(name)
    for t, value in expected.items():
        assert factor(t, **values) == pytest.approx(value, rel=1e-15, abs=1e-16), t


LONG = 10**6
CONTINUOUS: dict[str, tuple[Values, tuple[int, ...]]] = {
    "linear": ({"steps": LONG}, (LONG,)),
    "warmup": ({"steps": LONG}, (LONG,)),
    "exponential": ({"gamma": 1 - 1 / LONG}, ()),
    "polynomial": ({"steps": LONG, "power": 2, "last": 0.5}, (LONG,)),
    "cosine": ({"steps": LONG, "last": 0.5}, (LONG,)),
    "inverse_sqrt": ({"warmup": LONG}, (LONG,)),
    "one_cycle": ({"steps": LONG, "share": 0.25}, (LONG // 4, LONG)),
    "trapezoid": (
        {"steps": LONG, "warmup": LONG // 8, "decay": LONG // 4, "last": 0.5},
        (LONG // 8, LONG * 3 // 4, LONG),
    ),
    "inverse_time": ({"decay": 1 / LONG}, ()),
    "warmup_cosine": ({"steps": LONG, "warmup": LONG // 8, "last": 0.5}, (LONG // 8, LONG)),
}
"""Schedules without jumps → pieces so long that neighbours hardly differ, and where pieces meet."""
STEEPEST = 10 / LONG
"""How much the factor may change in a step: every piece rises or falls by 1 in LONG/8 at least."""


@pytest.mark.parametrize("name", CONTINUOUS)
def test_pieces_meet(name: str) -> None:
    values, meeting = CONTINUOUS[name]
    factor, given = factor_of(name), complete(name, values)
    for end in (1, *meeting, 2 * LONG):
        around = [factor(t, **given) for t in range(max(1, end - 4), end + 6)]
        steps = [abs(a - b) for a, b in itertools.pairwise(around)]
        assert max(steps) <= STEEPEST, end


def jumps(name: str, values: Values, until: int, size: float) -> list[int]:
    factor = factor_of(name)
    factors = [factor(t, **values) for t in range(1, until + 1)]
    return [t for t in range(2, until + 1) if abs(factors[t - 1] - factors[t - 2]) > size]


def test_the_others_jump_where_they_should_and_nowhere_else() -> None:
    assert {*SCHEDULES} - {*CONTINUOUS} == {
        "constant", "step_decay", "multistep", "cosine_restarts",
    }  # fmt: skip
    assert jumps("constant", {"steps": 50}, 200, 0.1) == [51]
    assert jumps("step_decay", {"steps": 50, "gamma": 0.8}, 200, 0.1) == [51, 101, 151]
    found = jumps("multistep", {"milestone1": 10, "milestone2": 30, "gamma": 0.6}, 200, 0.1)
    assert found == [11, 31, 91]
    assert jumps("cosine_restarts", {"steps": 40, "growth": 2}, 500, 0.5) == [41, 121, 281]


@pytest.mark.parametrize(("steps", "growth"), [(1, 3), (1, 5), (10, 2), (7, 10), (3, 1), (1000, 1)])
def test_restarts_are_in_the_step_that_whole_numbers_say(steps: int, growth: int) -> None:
    """Where logarithms round: log(243)/log(3) is less than 5, and log(125)/log(5) more than 3."""
    factor, restart, length = factor_of("cosine_restarts"), 1, steps
    for _ in range(100):
        if restart + length > 10**8:
            break
        assert factor(restart, steps=steps, growth=growth) == pytest.approx(1, abs=1e-12)
        if length > 1:
            before = factor(restart + length - 1, steps=steps, growth=growth)
            assert before < 0.51 if length == 2 else before < 0.5
        restart, length = restart + length, length * growth


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_factor_is_never_negative_and_never_more_than_the_whole(name: str) -> None:
    factor = factor_of(name)
    for values in DRAWS[name]:
        if values.get("gamma", 0) > 1:
            continue
        given = complete(name, values)
        for t in (*range(1, RUN + 1), 10**6, 10**12):
            assert 0 <= factor(t, **given) <= 1 + 1e-15


# What it refuses.


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_are_whole_numbers_from_1(name: str) -> None:
    for t in (0, -1, 1.5, math.nan, math.inf):
        with pytest.raises((ValueError, OverflowError)):
            factor_of(name)(t)
    assert factor_of(name)(2.0) == factor_of(name)(2)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("cosine", {"steps": 0}, "steps is 0.0, not steps > 0"),
        ("cosine", {"last": -0.1}, "last is -0.1, not last >= 0"),
        ("warmup_cosine", {"warmup": 2000}, "not warmup < steps"),
        ("multistep", {"milestone1": 70}, "not milestone1 <= milestone2"),
        ("trapezoid", {"decay": 950}, r"not warmup \+ decay <= steps"),
    ],
)
def test_hyperparameters_outside_of_their_domains_are_refused(
    name: str, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        factor_of(name)(1, **wrong)
