"""Values that nobody rounds correctly: whether two of them are as near as their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepforge.operations.formats import UNIT
from stepforge.verify.rounding.errors import Excluded, NoBound, analyse
from stepforge.verify.rungs.proof import Subject
from stepforge.verify.terms.terms import Term, apply, nodes

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
        pair: NumPy's values and the kernel's.
        columns: The inputs of every element; scalar states are the same for all.
        values: Hyperparameters and the step number.
    """
    if name not in subject.expected.stores:
        return differ
    term = _approximate(subject.expected.stores[name])
    ours, theirs = (a.reshape(-1) for a in pair)
    differ = differ.copy()
    for index in np.flatnonzero(differ):
        leaves = dict(values)
        for leaf, column in columns.items():
            leaves[leaf] = float(np.ravel(column)[index if np.ndim(column) else 0])
        found = float(ours[index]), float(theirs[index])
        differ[index] = not _within(term, leaves, found, subject.expected.real)
    return differ


def _approximate(term: Term) -> Term:
    """The rule with the exponential that Triton has: it has the larger error of both."""
    done: dict[Term, Term] = {}
    for node in nodes([term]):
        op = "exp.approx" if node.op == "exp" and node.kind == "f32" else node.op
        args = tuple(done[a] for a in node.args)
        done[node] = apply(op, *args, kind=node.kind, data=node.data) if args else node
    return done[term]


def _within(term: Term, values: dict[str, float], pair: tuple[float, float], real: str) -> bool:
    """Whether two results are as near as their bounds; where there are none, both are right."""
    unit = max(UNIT[real], UNIT[term.kind])
    try:
        error = analyse(term, values, unit)
    except (Excluded, NoBound):
        return True
    return bool(abs(pair[0] - pair[1]) <= 2 * error.units * unit * error.magnitude)
