"""Steps in numbers, of many choices of the hyperparameters at once: what may be equal is seen here.

Arrays have one row for each choice and one column for each element. Elements 0 and 1 start at the
same `p`, and have other gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepforge.language.spec import Interval
from stepforge.relations.hypotheses import common
from stepforge.relations.sides import Side
from stepforge.verify.cases.inputs import inside
from stepforge.verify.terms.evaluation import Rounded
from stepforge.verify.terms.operations import TERM_OPERATIONS, plain
from stepforge.verify.terms.terms import Term
from stepforge.verify.terms.walk import walk

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]
STEPS, ELEMENTS = 6, 6
CLOSE = 1e-8
"""Relative differences below are rounding."""


@dataclass(frozen=True)
class Problem:
    """Parameters before the first step, and of every step the gradient and the inputs."""

    p: Array
    gradients: Sequence[Array]
    inputs: Sequence[Values]

    def first(self, steps: int) -> Problem:
        """The same with fewer steps."""
        return replace(self, gradients=self.gradients[:steps], inputs=self.inputs[:steps])

    def read(self, t: int) -> dict[str, Array]:
        """What a step is given, by name."""
        return {**self.inputs[t - 1], "g": self.gradients[t - 1]}


def random_problem(sides: Iterable[Side], seed: int = 1, steps: int = STEPS) -> Problem:
    """Numbers of all signs where inputs have no domains, none of them zero."""
    rng = np.random.default_rng(seed)
    p = rng.standard_normal(ELEMENTS)
    p[1] = p[0]
    gradients = [rng.standard_normal(ELEMENTS)[None] * 1.5 for _ in range(steps)]
    return Problem(p[None], gradients, random_inputs(sides, seed, steps, ELEMENTS))


def inputs_of(sides: Iterable[Side]) -> dict[str, tuple[Interval, bool]]:
    """The inputs of some sides: the numbers that all of them take, and whether it is one number."""
    found: dict[str, tuple[Interval, bool]] = {}
    for side in sides:
        for name, given in side.inputs.items():
            span, scalar = found.get(name, (given.domain, given.scalar))
            found[name] = common(span, given.domain), scalar or given.scalar
    return found


def random_inputs(sides: Iterable[Side], seed: int, steps: int, size: int) -> list[Values]:
    """Values of the inputs in every step, the same for all sides."""
    found: list[Values] = []
    spans = inputs_of(sides)
    for t in range(steps):
        rngs = {name: np.random.default_rng([seed, t, *name.encode()]) for name in spans}
        found.append({
            name: inside(rngs[name].standard_normal((1, 1 if scalar else size)), span)
            for name, (span, scalar) in spans.items()
        })  # fmt: skip
    return found


FUNCTIONS: Mapping[str, Any] = {
    "pow": np.power, "exp": np.exp, "log": np.log, "expm1": np.expm1, "tanh": np.tanh,
    "cbrt": np.cbrt, "sin": np.sin, "cos": np.cos, "atan2": np.arctan2, "floor": np.floor,
    "mod": np.mod,
}  # fmt: skip


class Quick(Rounded):
    """Arithmetic of NumPy, with NumPy's own functions: last digits are of no interest here."""

    def apply(self, term: Term, args: list[Array]) -> Array:
        """An operation."""
        row = TERM_OPERATIONS.get(plain(term.op))
        if row is None or not row.function:
            return super().apply(term, args)
        return np.asarray(FUNCTIONS[row.function](*args))


def evaluate(term: Term, leaves: Mapping[str, Any]) -> Array:
    """A term in such arithmetic."""
    with np.errstate(all="ignore"):
        return walk(term, Quick(leaves))


def run(side: Side, given: Callable[[int], Values], problem: Problem) -> list[dict[str, Array]]:
    """`p` and states after every step.

    Args:
        side: The optimizer.
        given: The hyperparameters in a step, as columns.
        problem: Where it starts, and the gradients.
    """
    found = []
    state = start(side, given(1), problem.p)
    for t in range(1, len(problem.gradients) + 1):
        state = step(side.after, given(t), state, t, problem.read(t))
        found.append(state)
    return found


def start(side: Side, given: Values, p: Array) -> dict[str, Array]:
    """`p` and states before the first step."""
    leaves = {**given, "p": p}
    with np.errstate(all="ignore"):
        inits = {name: walk(term, Quick(leaves)) for name, term in side.inits.items()}
    return {"p": p, **inits}


def step(
    wanted: Mapping[str, Term], given: Values, state: Values, t: int, read: Values
) -> dict[str, Array]:
    """The values of some terms in one step.

    Args:
        wanted: The terms by any name; those of `side.after` give the next state.
        given: The hyperparameters.
        state: `p` and states before the step.
        t: The number of the step.
        read: The gradient and the inputs.
    """
    leaves = {**given, **state, "t": np.asarray(float(t)), **read}
    done: dict[Term, Array] = {}
    with np.errstate(all="ignore"):
        return {name: walk(term, Quick(leaves), done) for name, term in wanted.items()}


def shape(values: Array, rows: int) -> Array:
    """The same array for every row and element."""
    return np.broadcast_to(values, (rows, ELEMENTS))


def agree(one: Sequence[Values], other: Sequence[Values], rows: int) -> Array:
    """In which rows both have the same finite `p` after every step, and it moves with `g`."""
    same, moves = np.ones(rows, bool), np.zeros(rows, bool)
    for a, b in zip(one, other, strict=True):
        p, q = shape(a["p"], rows), shape(b["p"], rows)
        with np.errstate(invalid="ignore"):
            near = np.abs(p - q) <= CLOSE * np.maximum(np.abs(p), np.abs(q))
        same &= (near & np.isfinite(p) & np.isfinite(q)).all(axis=1)
        moves |= np.abs(p[:, 0] - p[:, 1]) > CLOSE
    return same & moves
