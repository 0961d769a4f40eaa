"""Hypotheses that hold in numbers: a few random steps of both sides, for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from stepforge.language.spec import Domains
from stepforge.relations import hypotheses, trajectories
from stepforge.relations.given import Asked
from stepforge.relations.hypotheses import LEARNING_RATE, Condition, Hypothesis, Translation
from stepforge.relations.numbers import columns, drawn
from stepforge.relations.sides import PAST, Side, influential
from stepforge.relations.trajectories import Array

SUBSTITUTIONS = (2, 1, 1, 0, 0)
"""How many expressions are tried, by the number of conditions."""
RENAMINGS = 4
"""Ways to call hyperparameters for which expressions, or many conditions, are tried."""
TRIES = 20
LONG, LONG_ROWS = 60, 3
"""Steps and choices of numbers by which a hypothesis without a proof is tried again."""


def candidates(a: Side, b: Side, asked: Asked, count: int) -> Iterator[Hypothesis]:
    """The hypotheses with so many conditions that hold in numbers; those with few changes first.

    Args:
        a: The one side.
        b: The other one.
        asked: What the user takes for granted.
        count: How many conditions are looked for.
    """
    given = asked.conditions
    problem = trajectories.random_problem((a, b))
    if asked.first_only:
        problem = problem.first(1)
    found: list[tuple[tuple[int, ...], Hypothesis]] = []
    for order, plain in enumerate(hypotheses.translations(a, b, asked.of_b)):
        if order >= (RENAMINGS if count > 2 else hypotheses.MOST_RENAMINGS):
            break
        rows = Rows.of(a, b, plain, count, given)
        if not rows.sets:
            continue
        own = trajectories.run(a, rows.of_a, problem)
        most = SUBSTITUTIONS[count] if order < RENAMINGS else 0
        for translation in hypotheses.substituted(a, b, plain, most):
            other = trajectories.run(b, partial(rows.of_b, b, translation), problem)
            same = trajectories.agree(own, other, len(rows.sets)) & rows.allowed(b, translation)
            for row in map(int, np.flatnonzero(same)):
                conditions = (*given, *rows.sets[row])
                made = Hypothesis(translation, conditions, first_only=asked.first_only)
                found.append(((*_rank(a, b, made), order), made))
    found.sort(key=lambda entry: entry[0])
    yield from (hypothesis for _, hypothesis in found)


def _rank(a: Side, b: Side, made: Hypothesis) -> tuple[int, ...]:
    """Less for a hypothesis that says more: few expressions, many states that have an effect.

    Then come those with conditions on what only one side has.
    """
    spans = hypotheses.variables(a, b, made.translation)
    alive = 0
    for side, given in zip((a, b), made.given(a, b, spans), strict=True):
        after = side.later(given, {}, Domains({**spans, **side.domains, "t": PAST}))
        alive += len(influential(after, {name: side.leaf(name) for name in side.states}))
    shared = {v.data for v in made.translation.values.values()} & {*a.hyperparameters}
    return made.translation.substitutions, -alive, sum(c.name in shared for c in made.conditions)


def holds(a: Side, b: Side, hypothesis: Hypothesis) -> bool:
    """Whether a hypothesis holds for many steps, with other numbers."""
    spans = hypotheses.variables(a, b, hypothesis.translation)
    given = hypothesis.given(a, b, spans)
    rng = np.random.default_rng(13)
    values = {
        n: np.array([[drawn(span, rng)] for _ in range(LONG_ROWS)]) for n, span in spans.items()
    }
    problem = trajectories.random_problem((a, b), 14, 1 if hypothesis.first_only else LONG)
    one, other = (
        trajectories.run(side, partial(columns, own, values), problem)
        for side, own in zip((a, b), given, strict=True)
    )
    return bool(trajectories.agree(one, other, LONG_ROWS).all())


class Rows:
    """Choices of the variables, one for each set of conditions."""

    def __init__(
        self, a: Side, sets: Sequence[tuple[Condition, ...]], columns: Mapping[str, Array]
    ) -> None:
        self.sets = sets
        self.columns = columns
        self.own = {name: columns[name] for name in a.hyperparameters}

    def of_a(self, _: int) -> dict[str, Array]:
        """A's hyperparameters, as columns: the same in every step."""
        return self.own

    @classmethod
    def of(
        cls, a: Side, b: Side, plain: Translation, count: int, given: Sequence[Condition]
    ) -> Rows:
        """Random values for the variables, and those that conditions give them."""
        spans = hypotheses.variables(a, b, plain)
        usual = hypotheses.usual(a, b, plain)
        rate = plain.own.get(b.spec.roles.get(LEARNING_RATE, ""), "")
        taken = [rate, a.spec.roles.get(LEARNING_RATE, "")]
        taken += [c.name for c in given]
        sets = hypotheses.condition_sets(spans, usual, count, taken)
        for attempt in range(TRIES):
            rng = np.random.default_rng([11, attempt])
            drawn_now = {n: drawn(usual[n], rng) for n in spans}
            table = [_with((*given, *chosen), drawn_now) for chosen in sets]
            kept = [i for i, row in enumerate(table) if a.spec.allows(row)]
            if kept:
                break
        columns = {n: np.array([[table[i][n]] for i in kept]) for n in spans} if kept else {}
        return (
            cls(a, [sets[i] for i in kept], columns)
            if kept
            else cls(a, [], dict.fromkeys(spans, np.zeros((0, 1))))
        )

    def of_b(self, b: Side, translation: Translation, t: int) -> dict[str, Array]:
        """B's hyperparameters in a step, as columns."""
        count, leaves = len(self.sets), {**self.columns, "t": np.asarray(float(t))}
        found = {n: trajectories.evaluate(translation.values[n], leaves) for n in b.hyperparameters}
        return {name: np.broadcast_to(value, (count, 1)) for name, value in found.items()}

    def allowed(self, b: Side, translation: Translation) -> Array:
        """In which rows B's hyperparameters are in their domains."""
        given = self.of_b(b, translation, 1)
        found = np.ones(len(self.sets), bool)
        for name, column in given.items():
            domain, x = b.domains[name], column[:, 0]
            found &= (x > domain.low) if domain.low_open else (x >= domain.low)
            found &= (x < domain.high) if domain.high_open else (x <= domain.high)
        if b.spec.together:
            for row in range(len(self.sets)):
                values = {name: float(column[row, 0]) for name, column in given.items()}
                found[row] &= b.spec.allows(values)
        return found


def _with(conditions: Sequence[Condition], values: Mapping[str, float]) -> dict[str, float]:
    """The values with what conditions say of them."""
    found = dict(values)
    for c in conditions:
        if c.value.is_constant:
            found[c.name] = c.value.number
            continue
        arrays = {name: np.asarray(value) for name, value in found.items()} | {"t": np.asarray(1.0)}
        found[c.name] = float(trajectories.evaluate(c.value, arrays))
    return found
