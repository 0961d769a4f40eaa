"""What terms are at some points: those that part there are not the same, others may be.

Nothing is proved here. It tells which parts of two terms are worth comparing.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from stepforge.verify.terms.evaluation import Rounded
from stepforge.verify.terms.operations import NoValue
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term, nodes

POINTS = 256
_SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 1e-40, -1e-40, 1e-8, 1e8, 3e38, -3e38, math.inf,
    -math.inf, math.nan,
)  # fmt: skip


class Samples:
    """Values of terms at the same points; those of a leaf follow from its name."""

    def __init__(self) -> None:
        self.values: dict[Term, Any] = {}
        self.arithmetic = Rounded({})

    def of(self, term: Term) -> bytes | None:
        """Alike for terms that have the same bits at all points; None where there are none."""
        self._compute(term)
        found = self.values[term]
        if found is None:
            return None
        return term.kind.encode() + hashlib.blake2b(found.tobytes(), digest_size=16).digest()

    def _compute(self, root: Term) -> None:
        with np.errstate(all="ignore"):
            for term in nodes([root]):
                if term not in self.values:
                    self.values[term] = self._value(term)

    def _value(self, term: Term) -> Any:
        if term.is_constant:
            return np.broadcast_to(self.arithmetic.constant(term), POINTS)
        if not term.args:
            return _drawn(term)
        args = [self.values[a] for a in term.args]
        if any(a is None for a in args):
            return None
        try:
            found = np.broadcast_to(self.arithmetic.apply(term, args), POINTS)
        except NoValue:
            return None
        return _any_nan(found) if term.kind in FLOATS else found


def _drawn(leaf: Term) -> Any:
    """Numbers of all sizes, and special ones."""
    rng = np.random.default_rng(list(leaf.digest))
    if leaf.kind == "bool":
        return rng.random(POINTS) < 0.5
    if leaf.kind in INTEGERS:
        return rng.integers(-(2**31), 2**31, POINTS).astype(INTEGERS[leaf.kind])
    sign = rng.choice([-1.0, 1.0], POINTS)
    near = rng.uniform(-4, 4, POINTS)
    far = sign * 2.0 ** rng.uniform(-20, 20, POINTS)
    found = np.choose(rng.integers(0, 3, POINTS), [near, far, rng.choice(_SPECIAL, POINTS)])
    return found.astype(FLOATS[leaf.kind])


def _any_nan(values: Any) -> Any:
    """With the same NaN for any."""
    return np.where(np.isnan(values), values.dtype.type(np.nan), values)
