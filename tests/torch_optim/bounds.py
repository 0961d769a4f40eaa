"""Whether what two libraries compute is as near as the rounding bounds of the rule allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepforge.operations.formats import UNIT
from stepforge.verify.rounding.errors import Excluded, NoBound, analyse
from stepforge.verify.rungs.proof import Subject

Array = np.ndarray[Any, Any]


def apart(
    subject: Subject, name: str, differ: Array, pair: tuple[Array, Array],
    columns: Mapping[str, Any], values: Mapping[str, float],
) -> Array:  # fmt: skip
    """The elements, among those that differ, that are further apart than both bounds allow.

    Args:
        subject: The rule.
        name: The tensor.
        differ: Which elements differ at all.
        pair: The values of both.
        columns: The inputs of every element; scalar states are the same for all.
        values: Hyperparameters and the step number.
    """
    term = subject.expected.stores[name]
    unit = max(UNIT[subject.expected.real], UNIT[term.kind])
    far = differ.copy()
    for index in np.flatnonzero(differ):
        leaves = dict(values)
        for leaf, column in columns.items():
            leaves[leaf] = float(np.ravel(column)[index if np.ndim(column) else 0])
        try:
            error = analyse(term, leaves, unit)
        except (Excluded, NoBound):
            far[index] = False  # where there is no bound, both are right
            continue
        distance = abs(float(pair[0][index]) - float(pair[1][index]))
        far[index] = distance > 2 * error.units * unit * error.magnitude
    return far
