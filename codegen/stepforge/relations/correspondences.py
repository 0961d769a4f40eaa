"""Which states of two sides are the same up to a factor: seen in numbers, shown by a proof later.

A factor is made of hyperparameters and the number of steps that have been made, such as
`1/(1 - beta)` or `1 - beta**t`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stepforge.language.spec import Interval
from stepforge.relations import trajectories
from stepforge.relations.hypotheses import Given, is_share, minus
from stepforge.relations.numbers import columns, drawn
from stepforge.relations.reals import ONE, ZERO, number
from stepforge.relations.sides import Side, T
from stepforge.relations.trajectories import STEPS, Array, Values
from stepforge.verify.terms import terms
from stepforge.verify.terms.terms import Term, apply, nodes

SAME = 1e-7
"""Relative differences of factors below are rounding."""
NOTHING = 1e-12
"""What is less, beside `p`, is zero or rounding: all that compensated sums remember."""
NUMBER = "1"
"""In place of a state: a scalar state may be a factor itself."""


@dataclass(frozen=True, slots=True)
class Multiple:
    """What a state is: `factor` times a state, or `p`, of the other side."""

    state: str
    factor: Term


def multiples(
    x: Side, y: Side, given_x: Given, given_y: Given, wanted: Sequence[str],
    spans: Mapping[str, Interval],
) -> dict[str, list[Multiple]]:  # fmt: skip
    """For each of the states of y that are wanted what it may be; simple factors first.

    Args:
        x: The side whose states are multiplied.
        y: The side whose states are looked for.
        given_x: The hyperparameters of x.
        given_y: Those of y.
        wanted: States of y.
        spans: The variables in the hyperparameters.
    """
    rng = np.random.default_rng(12)
    values = {name: np.array([[drawn(span, rng)]]) for name, span in spans.items()}
    problem = trajectories.random_problem((x, y), 2)
    runs = [
        trajectories.run(side, partial(columns, given, values), problem)
        for side, given in ((x, given_x), (y, given_y))
    ]
    used = {n.data for given in (given_x, given_y) for n in nodes(given.values())}
    known = list(factors({n: s for n, s in spans.items() if n in used}, values))
    found: dict[str, list[Multiple]] = {}
    for name in wanted:
        found[name] = []
        others = ["p", *x.states, *([NUMBER] if name in y.expected.scalars else [])]
        for other in sorted(others, key=lambda o: o != name):
            ratio = _ratio(runs[0], runs[1], other, name)
            if ratio is None:
                continue
            near = (f for f, v in known if _is_near(v, ratio))
            found[name] += [Multiple(other, factor) for factor in itertools.islice(near, 1)]
        if all(np.all(abs(after[name]) <= NOTHING * abs(after["p"])) for after in runs[1]):
            found[name].insert(0, Multiple(NUMBER, ZERO))
    return found


def _ratio(of_x: Sequence[Values], of_y: Sequence[Values], one: str, other: str) -> Array | None:
    """The factor between two states after each step, NaN where both are 0.

    None where elements have different ones, or there is none.
    """
    found = []
    for a, b in zip(of_x, of_y, strict=True):
        below, above = np.broadcast_arrays(1.0 if one == NUMBER else a[one], b[other])
        used = np.ravel((below != 0) | (above != 0))
        with np.errstate(all="ignore"):
            ratio = np.ravel(above / below)[used]
        if not np.isfinite(ratio).all() or not np.allclose(ratio, ratio[:1], rtol=SAME, atol=0):
            return None
        found.append(ratio[0] if len(ratio) else np.nan)
    return np.array(found) if np.isfinite(found).any() else None


def _is_near(values: Array, ratio: Array) -> bool:
    return bool((np.isclose(values, ratio, rtol=SAME, atol=0) | np.isnan(ratio)).all())


def factors(spans: Mapping[str, Interval], values: Values) -> Iterator[tuple[Term, Array]]:
    """Factors and their values after each step: 1, hyperparameters, and products of two."""
    leaves: dict[str, Any] = {name: value.ravel() for name, value in values.items()}
    leaves["t"] = np.arange(1.0, STEPS + 1)
    single: list[tuple[Term, Array]] = []
    for name, span in spans.items():
        own = terms.scalar(name)
        single.append((own, _value(own, leaves)))
        if is_share(span):
            power = apply("pow", own, T)
            more = (minus(own), minus(power), power)
            single += [(term, _value(term, leaves)) for term in more]
    one: tuple[Term, Array] = (ONE, np.ones(STEPS))
    signed = [one, *single, *((apply("div", ONE, t), 1 / v) for t, v in single)]
    products = [one, *signed[1:]]
    for (a, u), (b, v) in itertools.combinations(signed[1:], 2):
        products.append((_product(a, b), u * v))
    for term, value in products:
        yield term, value
        yield apply("neg", term), -value
    yield number(2.0), np.full(STEPS, 2.0)
    yield number(0.5), np.full(STEPS, 0.5)


def _product(a: Term, b: Term) -> Term:
    """The product of two factors, each of which may be a reciprocal."""
    inverse = [x for x in (a, b) if x.op == "div" and x.args[0] is ONE]
    plain = [x for x in (a, b) if x not in inverse]
    if len(inverse) == 1:
        return apply("div", plain[0], inverse[0].args[1])
    return apply("mul", a, b)


def _value(term: Term, leaves: Mapping[str, Any]) -> Array:
    value = np.asarray(trajectories.evaluate(term, leaves))
    return np.broadcast_to(value, (STEPS,)).astype(np.float64)
