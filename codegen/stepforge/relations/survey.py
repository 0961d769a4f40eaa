"""The relations of a whole catalogue: which optimizers are special cases of which others.

Every optimizer makes a few steps with the same numbers, once as it is, and under all small sets of
conditions. Whoever then has the same `p` as another one is a candidate, which a proof decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stepforge.language.spec import Interval, Spec
from stepforge.relations import hypotheses, trajectories
from stepforge.relations.find import Relation, equal
from stepforge.relations.given import NOTHING
from stepforge.relations.hypotheses import LEARNING_RATE, Condition, is_share
from stepforge.relations.reals import ZERO
from stepforge.relations.sides import Side
from stepforge.relations.trajectories import Array, Values
from stepforge.verify.terms.terms import nodes

POOL = (0.37, 0.83, 0.61, 0.52)
"""Of shares, which have other names in other specs: each gets one of these."""
RATE = 0.7
STEPS, MOST_CONDITIONS = 24, 3
MOST_ROWS = 40_000
Pair = tuple[int, int]


def sides(specs: Sequence[Spec]) -> list[Side]:
    """Every spec with its default options, and with each of its other options alone.

    Only those with default options are what others are a special case of.
    """
    found = []
    for spec in specs:
        defaults = {option.name: option.default for option in spec.options}
        ascends = spec.roles.get("maximize")
        for options in spec.option_sets():
            changed = [name for name, value in options.items() if value != defaults[name]]
            if len(changed) <= 1 and ascends not in changed:
                found.append(Side(spec, options))
    return found


def survey(
    found: Sequence[Side], tell: Callable[[int, int], None], seed: int = 0,
    only: Side | None = None,
) -> list[Relation]:  # fmt: skip
    """The relations between these, without those that follow from two others.

    Args:
        found: The optimizers.
        tell: Is told how many of how many candidates are done.
        seed: Of random points of proofs.
        only: The one whose special cases are asked for, if not those of all.
    """
    pairs = candidates(found, only)
    proved: dict[Pair, Relation] = {}
    for number, (one, other) in enumerate(pairs):
        tell(number, len(pairs))
        if (other, one) in proved and proved[other, one].kind == "equal":
            continue
        relation = equal(found[one], found[other], NOTHING, seed)
        if _is_special(relation):
            proved[one, other] = relation
    tell(len(pairs), len(pairs))
    return [proved[pair] for pair in direct({pair: _size(r) for pair, r in proved.items()})]


def _is_special(relation: Relation) -> bool:
    """Whether it is about the second as it is, but for what is 0 by default, such as a decay."""
    if relation.hypothesis is None:
        return False
    b = relation.b
    defaults: dict[str, float] = {}
    for name, value in relation.hypothesis.translation.values.items():
        defaults |= {n.data: b.hyperparameters[name] for n in nodes([value]) if n.op == "scalar"}
    left = [c for c in relation.hypothesis.conditions if c.name in defaults]
    return all(c.value is ZERO and defaults[c.name] == 0 for c in left)


def _size(relation: Relation) -> int:
    """How much has to hold."""
    hypothesis = relation.hypothesis
    return len(hypothesis.conditions) + len(hypothesis.schedules) if hypothesis else 0


def direct(sizes: Mapping[Pair, int]) -> list[Pair]:
    """The pairs that do not follow from two others, with no more conditions.

    Args:
        sizes: How many conditions each needs.
    """

    def follows(one: int, other: int) -> bool:
        return any(
            (middle, other) in sizes
            and max(size, sizes[middle, other]) < sizes[one, other]
            and size + sizes[middle, other] <= sizes[one, other]
            for (start, middle), size in sizes.items()
            if start == one
        )

    return [pair for pair in sizes if not follows(*pair)]


def candidates(found: Sequence[Side], only: Side | None = None) -> dict[Pair, int]:
    """Pairs whose first is the second in numbers, under conditions → how many conditions.

    Args:
        found: The optimizers.
        only: The first of the pairs, if not each of them.
    """
    problem = trajectories.random_problem(found, 21, STEPS)

    def run(side: Side, values: Values, rows: int) -> Array:
        steps = trajectories.run(side, lambda _: values, problem)
        return np.stack([trajectories.shape(step["p"], rows) for step in steps], axis=1)

    plain = [_as_it_is(side) for side in found]
    targets = [run(s, v, c) for s, (v, c) in zip(found, plain, strict=True)]
    owner = np.concatenate([[i] * len(target) for i, target in enumerate(targets)])
    everything = np.concatenate(targets).reshape(len(owner), -1)
    order = np.argsort(everything[:, -1])
    everything, owner = everything[order], owner[order]
    best: dict[Pair, int] = {}
    for index, side in enumerate(found):
        for count in range(MOST_CONDITIONS + 1) if only in (None, side) else ():
            values, rows = _specialised(side, count)
            if not rows:
                continue
            made = run(side, values, rows).reshape(rows, -1)
            for other in _matches(made, everything, owner):
                if found[other].is_plain and side.spec.name != found[other].spec.name:
                    best.setdefault((index, other), count)
    return best


def _matches(made: Array, everything: Array, owner: Array) -> set[int]:
    """The optimizers with a row that is one of those that were made."""
    last = made[:, -1]
    near = 1e-9 * np.abs(last) + 1e-12
    low = np.searchsorted(everything[:, -1], last - near)
    high = np.searchsorted(everything[:, -1], last + near)
    size = trajectories.ELEMENTS
    moves = (made[:, 0::size] != made[:, 1::size]).any(axis=1)
    found = set()
    for row in np.flatnonzero((high > low) & np.isfinite(last) & moves):
        for place in range(low[row], high[row]):
            if np.allclose(made[row], everything[place], rtol=trajectories.CLOSE, atol=1e-12):
                found.add(int(owner[place]))
    return found


def _usual(side: Side) -> dict[str, Interval]:
    return {name: side.usual[name] for name in side.hyperparameters}


def _shares(side: Side) -> list[str]:
    return [name for name, span in _usual(side).items() if is_share(span)]


def _number(side: Side, name: str) -> float:
    """The value that a hyperparameter has in all specs in which it is called so."""
    if name == side.spec.roles.get(LEARNING_RATE):
        return RATE
    role = next((r for r, n in side.spec.roles.items() if n == name), name)
    low = max(side.usual[name].low, 0.0)
    return low + float(np.random.default_rng([*role.encode()]).uniform(0.2, 1.2))


def _as_it_is(side: Side) -> tuple[dict[str, Array], int]:
    """Its own numbers; and with the learning rate times or over a share, or what one leaves.

    All of this also with 0 for what is 0 by default.
    """
    usual, row = _usual(side), {n: _number(side, n) for n in side.hyperparameters}
    for name, part in zip(_shares(side), itertools.cycle(POOL)):
        row[name] = usual[name].low + part * (usual[name].high - usual[name].low)
    rows = [row]
    rate = side.spec.roles.get(LEARNING_RATE, "")
    for name in _shares(side) if rate in row else ():
        for factor in (row[name], 1 - row[name]):
            rows += [{**row, rate: RATE * factor}, {**row, rate: RATE / factor}]
    neutral = {name: 0.0 for name, value in side.hyperparameters.items() if value == 0}
    rows += [{**r, **neutral} for r in rows]
    return {n: np.array([[r[n]] for r in rows]) for n in row}, len(rows)


def _specialised(side: Side, count: int) -> tuple[dict[str, Array], int]:
    """The numbers of every order of its shares, under every set of conditions."""
    usual, shares = _usual(side), _shares(side)
    row = {n: _number(side, n) for n in usual}
    rate = side.spec.roles.get(LEARNING_RATE, "")
    sets = hypotheses.condition_sets(usual, usual, count, [rate])
    orders = list(itertools.permutations(POOL, min(len(shares), len(POOL))))
    rows = []
    for parts, chosen in itertools.islice(itertools.product(orders, sets), MOST_ROWS):
        now = dict(row)
        for name, part in zip(shares, parts, strict=False):
            now[name] = usual[name].low + part * (usual[name].high - usual[name].low)
        for name in shares[len(parts) :]:
            now[name] = usual[name].low + 0.45 * (usual[name].high - usual[name].low)
        rows.append(_with(chosen, now))
    rows = [r for r in rows if side.spec.allows(r)]
    return {n: np.array([[r[n]] for r in rows]) for n in row}, len(rows)


def _with(chosen: Sequence[Condition], values: dict[str, float]) -> dict[str, float]:
    for condition in chosen:
        value: Any = condition.value
        values[condition.name] = value.number if value.is_constant else values[value.data]
    return values
