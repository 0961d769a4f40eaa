"""Numbers that show that something does not hold: steps in float64, far beyond rounding.

Where a rule jumps, as `sign` does at zero, rounding alone may decide. So every path is made again
with all numbers a little off, and what then is another one says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.relations import trajectories
from stepforge.relations.numbers import drawn
from stepforge.relations.sides import Side

Array = np.ndarray[Any, Any]
STEPS, DRAWS, ELEMENTS = 12, 4, 6
VISIBLE, APART = 1e-6, 1e-3
"""Steps that are long enough to be compared, and what tells two numbers apart for sure."""
OFF, NEAR = 1e-10, 1e-6
"""What numbers are off by, and how near the results have to stay, both relative."""
ROWS = 3
"""The numbers as they are, and twice a little off."""


@dataclass(frozen=True)
class Witness:
    """Numbers for which it does not hold.

    Attributes:
        hyperparameters: Their values.
        step: The number of the step that shows it.
        shown: What it shows.
    """

    hyperparameters: Mapping[str, float]
    step: int
    shown: str


class Numbers:
    """Looks for such numbers.

    Args:
        side: The optimizer.
        rate: The name of its learning rate, or "".
    """

    def __init__(self, side: Side, rate: str = "") -> None:
        self.side, self.rate = side, rate
        self.problem = trajectories.random_problem([side], 5, STEPS)

    def values(self, zeros: frozenset[str]) -> Iterator[dict[str, float]]:
        """Values of the hyperparameters: near the defaults, then anywhere."""
        side = self.side
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            found = {}
            for name, default in side.hyperparameters.items():
                own = drawn(side.usual[name], rng)
                near = default if default and seed == 0 else own
                found[name] = 0.0 if name in zeros else near
            if side.spec.allows(found):
                yield found

    def path(
        self, values: Mapping[str, float], *, mirror: bool = False, shift: float = 0.0,
        scale: float = 1.0, with_inputs: Sequence[str] = (),
    ) -> Array:  # fmt: skip
        """`p` before the first step and after every one; NaN from where it is not sure.

        Args:
            values: The hyperparameters.
            mirror: Whether `p` starts at its negative.
            shift: What is added to its start.
            scale: The factor of gradients.
            with_inputs: The inputs that have this factor, too.
        """
        problem = self.problem
        rng = np.random.default_rng(9)

        def near(x: Array | float) -> Array:
            """Rows of numbers, the first as they are."""
            rows = np.broadcast_to(
                np.asarray(x, dtype=float), (1, np.shape(x)[-1] if np.ndim(x) else 1)
            )
            factor = 1 + OFF * rng.standard_normal((ROWS, rows.shape[1]))
            factor[0] = 1.0
            return rows * factor

        p = near((-problem.p if mirror else problem.p) + shift)
        changed = trajectories.Problem(
            p,
            [near(g * scale) for g in problem.gradients],
            [
                {n: near(x * scale if n in with_inputs else x) for n, x in given.items()}
                for given in problem.inputs
            ],
        )
        columns = {name: near(value) for name, value in values.items()}
        found = trajectories.run(self.side, lambda _: columns, changed)
        rows = np.array([p, *(np.broadcast_to(step["p"], p.shape) for step in found)])
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(rows[:, 0]), VISIBLE)
            off = np.abs(rows - rows[:, :1]).max(axis=1) > NEAR * size
        return np.where(np.maximum.accumulate(off, axis=0), np.nan, rows[:, 0])

    def no_power(
        self, zeros: frozenset[str], of_rate: bool = False, with_inputs: Sequence[str] = ()
    ) -> Witness | None:
        """Steps that do not all change by the same power of what is doubled."""
        for values in self.values(zeros):
            start = self.path(values)
            if of_rate:
                end = self.path({**values, self.rate: 2 * values[self.rate]})
            else:
                end = self.path(values, scale=2.0, with_inputs=with_inputs)
            plain, other = np.diff(start, axis=0), np.diff(end, axis=0)
            begins = (plain == 0) & (np.abs(other) > VISIBLE) & (np.abs(start[1:]) < 1 / VISIBLE)
            if begins.any():
                row = int(np.argwhere(begins)[0][0])
                return Witness(values, row + 1, "doubled, there is a step where there was none")
            with np.errstate(all="ignore"):
                ratios = other / plain
            usable = np.isfinite(ratios) & (np.abs(plain) > VISIBLE)
            usable &= np.abs(plain) < 1 / VISIBLE
            if not usable.any():
                continue
            low, high = ratios[usable].min(), ratios[usable].max()
            if high - low > APART * max(abs(high), abs(low)):
                row = int(np.argwhere(usable & (ratios == high))[0][0])
                shown = f"doubled, one step is {low:.4g} and another {high:.4g} times as long"
                return Witness(values, row + 1, shown)
        return None

    def not_odd(self, zeros: frozenset[str], odd_inputs: Sequence[str] = ()) -> Witness | None:
        """`p` that is not the negative from negative `p` and gradients."""
        for values in self.values(zeros):
            one = self.path(values)
            other = self.path(values, mirror=True, scale=-1.0, with_inputs=odd_inputs)
            if found := _apart(values, one, -other, "p and its mirror image"):
                return found
        return None

    def not_free(self, zeros: frozenset[str]) -> Witness | None:
        """Steps that are others from another start."""
        for values in self.values(zeros):
            one, other = self.path(values), self.path(values, shift=1.0)
            if found := _apart(values, one - one[0], other - other[0], "from p and from p + 1"):
                return found
        return None

    def not_still(self, zeros: frozenset[str]) -> Witness | None:
        """Steps without a gradient."""
        for values in self.values(zeros):
            one = self.path(values, scale=0.0)
            if found := _apart(values, one, np.broadcast_to(one[0], one.shape), "p and its start"):
                return found
        return None


def _apart(values: Mapping[str, float], one: Array, other: Array, what: str) -> Witness | None:
    with np.errstate(all="ignore"):
        size = np.maximum(np.maximum(np.abs(one), np.abs(other)), VISIBLE)
        apart = np.abs(one - other) / size
    apart = np.where(np.isfinite(apart) & (size < 1 / VISIBLE), apart, 0.0)
    if apart.max() <= APART:
        return None
    row, column = (int(x[0]) for x in np.where(apart > APART))
    shown = f"{what}: {one[row, column]:.6g} and {other[row, column]:.6g}"
    return Witness(dict(values), row, shown)
