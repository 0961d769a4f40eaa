"""Random numbers for variables, and hyperparameters from them."""

from __future__ import annotations

import numpy as np

from stepforge.language.spec import Interval
from stepforge.relations import trajectories
from stepforge.relations.hypotheses import Given, is_share
from stepforge.relations.trajectories import Array, Values


def drawn(interval: Interval, rng: np.random.Generator) -> float:
    """A number inside, of ordinary size."""
    if is_share(interval):
        return interval.low + (interval.high - interval.low) * rng.uniform(0.3, 0.8)
    if np.isfinite(interval.low):
        return interval.low + rng.uniform(0.2, 1.2)
    return min(interval.high - 1, 0.0) + rng.uniform(0.2, 1.2)


def columns(given: Given, values: Values, t: int) -> dict[str, Array]:
    """The hyperparameters in a step, from the values of variables."""
    leaves = {**values, "t": np.asarray(float(t))}
    return {name: trajectories.evaluate(term, leaves) for name, term in given.items()}
