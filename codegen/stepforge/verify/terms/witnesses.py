"""Points at which two terms may differ, and whether they differ there in a bit.

Points are small numbers, those that occur in the terms, and those at which a comparison turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stepforge.language.spec import Domains, Interval
from stepforge.operations.formats import FORMATS
from stepforge.verify.cases import inputs
from stepforge.verify.terms import evaluation
from stepforge.verify.terms.terms import FLOATS, Term, apply, nodes

POINTS = 90
"""Random points at which a difference is looked for."""


def points(
    found: Sequence[Term], domains: Mapping[str, Interval], rng: np.random.Generator, count: int
) -> Iterator[dict[str, float]]:
    """Points of the leaves' domains, exact in their types; simple ones first.

    Simple are small numbers, and those that occur in the terms, at which a choice may turn.
    """
    leaves = {n.data: n.kind for n in nodes(found) if n.op in ("load", "scalar")}
    own = {n.number for n in nodes(found) if n.is_constant and n.kind != "bool"}
    own |= {-x for x in own}
    usual = (1.0, 2.0, 0.5, -1.0, 0.25, 3.0, -0.5, 0.0, 0.75, 1.5)
    simple = list(dict.fromkeys([*usual, *(x for x in sorted(own) if np.isfinite(x))]))
    for index in range(count):
        point: dict[str, float] = {}
        for name, kind in leaves.items():
            domain = domains.get(name, Interval())
            if name == "t":
                point[name] = float(rng.integers(1, 5 if index < 2 * count // 3 else 1000))
                continue
            if index < 2 * count // 3:
                allowed = [x for x in simple if x in domain]
                zero = 0.0 in domain and rng.random() < 0.25
                other = float(rng.choice(allowed)) if allowed else np.nan
                value = float(rng.choice([0.0, -0.0])) if zero else other
            else:
                value = float(inputs.log_uniform(1, "float64", domain, rng, 3)[0])
            rounded = float(FLOATS[kind](value))
            point[name] = rounded if rounded in domain else _middle(domain)
        if is_allowed(point, domains):
            yield point


def is_allowed(point: Mapping[str, float], domains: Mapping[str, Interval]) -> bool:
    """Whether hyperparameters that are in their domains are allowed together."""
    together = domains.together if isinstance(domains, Domains) else ()
    return all(constraint.holds(point) for constraint in together)


def _middle(domain: Interval) -> float:
    low = domain.low if np.isfinite(domain.low) else min(domain.high - 1, 0)
    high = domain.high if np.isfinite(domain.high) else low + 2
    return (low + high) / 2


def bits_differ(got: Term, expected: Term, point: Mapping[str, float]) -> bool:
    """Whether two terms differ in a bit there; all NaNs are the same.

    Raises:
        NoValue: One of them holds an operation that is not known.
    """
    return bool(_differ(got, expected, {name: np.array([x]) for name, x in point.items()})[0])


def _differ(got: Term, expected: Term, columns: Mapping[str, Any]) -> Any:
    """At which of many points they do."""
    count = max(map(len, columns.values()), default=1)
    a, b = (
        np.broadcast_to(evaluation.evaluate(t, columns), count).astype(np.float64)
        for t in (got, expected)
    )
    return ((a != b) | (np.signbit(a) != np.signbit(b))) & ~(np.isnan(a) & np.isnan(b))


def bits_witness(
    got: Term, expected: Term, domains: Mapping[str, Interval], seed: int
) -> dict[str, float] | None:
    """A point at which two terms differ in a bit, if one is found.

    Raises:
        NoValue: One of them holds an operation that is not known.
    """
    rng = np.random.default_rng([seed, 8])
    tried = itertools.chain(
        points([got, expected], domains, rng, SIMPLE),
        _extremes(got, expected, domains, rng),
        _zeros(got, expected, domains, rng),
        _turning(got, expected, domains, rng),
    )
    for first in tried:
        found = [first, *itertools.islice(tried, TOGETHER - 1)]
        columns = {name: np.array([point[name] for point in found]) for name in first}
        for index in np.flatnonzero(_differ(got, expected, columns)):
            return found[index]
    return None


SIMPLE = 10 * POINTS
"""Points of which most are simple: what is wrong for one number shows at few of them."""
TOGETHER = POINTS
"""Points that are looked at at once."""
EXTREMES = 1 << 13
"""Points at which several leaves are extreme together."""


def _extremes(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Points at which the two differ in a bit; the first ones have few extreme numbers.

    Tensors have infinities, subnormal numbers and such as overflow in a product; numbers of the
    host are at the closed ends of their domains.
    """
    leaves = [n for n in nodes([got, expected]) if n.op in ("load", "scalar")]
    share = np.linspace(0.1, 0.9, EXTREMES)
    columns = {}
    for leaf in leaves:
        domain = domains.get(leaf.data, Interval())
        ordinary = FLOATS[leaf.kind](_ordinary(leaf, domain, rng))
        is_extreme = rng.random(EXTREMES) < share
        columns[leaf.data] = np.where(is_extreme, _extreme(leaf, domain, rng), ordinary)
    for index in np.flatnonzero(_differ(got, expected, columns)):
        point = {name: float(values[index]) for name, values in columns.items()}
        if is_allowed(point, domains):
            yield point


def _ordinary(leaf: Term, domain: Interval, rng: np.random.Generator) -> Any:
    """Numbers of any size that is not extreme."""
    if leaf.data == "t":
        return rng.integers(1, 1000, EXTREMES).astype(np.float64)
    values = inputs.log_uniform(EXTREMES, "float64", domain, rng, 3)
    return np.where(_rounds_into(values, leaf.kind, domain), values, _middle(domain))


def _extreme(leaf: Term, domain: Interval, rng: np.random.Generator) -> Any:
    """Numbers at the ends of a domain, and for tensors at those of the type."""
    if leaf.data == "t":
        return rng.choice([1.0, 2.0, 1e3, 1e6], EXTREMES)
    ends = [end for end in (domain.low, domain.high) if end in domain]
    values = np.array([*ends, 0.0, 1.0])
    if leaf.op == "load":
        special = inputs.special_values(FORMATS[leaf.kind].numpy).astype(np.float64)
        values = np.concatenate([values, np.abs(special) if domain.low >= 0 else special])
    beyond = ~np.isfinite(values) & np.isinf(domain.high)
    values = values[_rounds_into(values, leaf.kind, domain) | beyond]
    values = values if len(values) else np.array([_middle(domain)])
    return rng.choice(values, EXTREMES).astype(FLOATS[leaf.kind])


def _rounds_into(values: Any, kind: str, domain: Interval) -> Any:
    """Which numbers are in a domain once they are of a kind."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(values).astype(FLOATS[kind]).astype(np.float64)
    return np.array([x in domain for x in rounded])


def _zeros(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Points at which the tensors are zeros of all signs, the scalars as at another point."""
    loads = dict.fromkeys(str(n.data) for n in nodes([got, expected]) if n.op == "load")
    for point in itertools.islice(points([got, expected], domains, rng, POINTS), 1):
        for zeros in inputs.zeros({name: domains.get(name, Interval()) for name in loads}):
            signed = zip(loads, map(float, zeros), strict=True)
            yield point | {name: zero for name, zero in signed if zero == 0}


TURNS = 5
"""Points from which the places are looked for where a comparison turns."""
MAX_COMPARISONS = 8
NEAR = 8
"""Neighbours of such a place, on either side."""


def _turning(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Points at which a comparison of one of the terms is about to turn.

    What a choice depends on may be wrong by so little that no other point shows it.
    """
    comparisons = [n for n in nodes([got, expected]) if n.op in ("lt", "le", "eq")]
    for point in list(points([got, expected], domains, rng, 3 * TURNS))[TURNS:]:  # few simple ones
        for comparison in comparisons[:MAX_COMPARISONS]:
            for leaf in [n for n in nodes([comparison]) if n.op == "load"]:
                name, domain = str(leaf.data), domains.get(str(leaf.data), Interval())
                for value in _turns(_order(comparison), name, leaf.kind, point):
                    if value in domain:
                        yield {**point, name: value}


def _order(comparison: Term) -> Term:
    """A comparison that turns at the same place, and has another truth on its two sides."""
    return apply("le", *comparison.args) if comparison.op == "eq" else comparison


def _turns(comparison: Term, name: str, kind: str, point: Mapping[str, float]) -> Iterator[float]:
    """Values of a tensor on both sides of where a comparison turns, the others as in a point."""
    columns: dict[str, Any] = {k: np.asarray([v]) for k, v in point.items()}
    powers = 2.0 ** np.arange(-40, 41)
    places = np.unique(_places(np.concatenate([-powers, [0.0], powers]), kind))
    while True:
        values = _numbers(places, kind)
        truth = evaluation.evaluate(comparison, columns | {name: values})
        turns = np.flatnonzero(np.diff(np.broadcast_to(truth, places.shape)))
        if not len(turns):
            return
        low, high = int(places[turns[0]]), int(places[turns[0] + 1])
        if high - low == 1:
            break
        places = np.unique([low + (high - low) * i // 64 for i in range(65)])
    yield from map(float, _numbers(np.arange(low - NEAR, high + NEAR + 1), kind))


def _places(values: Any, kind: str) -> Any:
    """Where numbers of a kind stand in their order: neighbours differ by one, both zeros are 0."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values).astype(FLOATS[kind])
    bits = numbers.view(f"i{numbers.itemsize}").astype(np.int64)
    smallest = -(2 ** (8 * numbers.itemsize - 1))
    return np.where(bits < 0, smallest - bits, bits)


def _numbers(places: Any, kind: str) -> Any:
    """The numbers at such places."""
    size = np.dtype(FLOATS[kind]).itemsize
    smallest = -(2 ** (8 * size - 1))
    bits = np.where(places < 0, smallest - places, places)
    return bits.astype(f"i{size}").view(FLOATS[kind])
