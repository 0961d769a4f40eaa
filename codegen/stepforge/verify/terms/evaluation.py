"""Terms in numbers: in their own rounded arithmetic, and in the reals to 120 digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from stepforge.verify.terms.operations import Array, NoValue, row
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term
from stepforge.verify.terms.walk import walk

mp = mpmath.MPContext()
mp.dps = 120
_TYPES = {**FLOATS, **INTEGERS, "bool": np.bool_}


def evaluate(term: Term, leaves: Mapping[str, Any]) -> Array:
    """A term in rounded arithmetic, each operation to its own kind.

    Approximate instructions count as correctly rounded.

    Args:
        term: The term.
        leaves: The values of its leaves, as arrays that broadcast.

    Raises:
        NoValue: It holds an operation that is not known.
    """
    with np.errstate(all="ignore"):
        return walk(term, Rounded(leaves))


def exact(term: Term, leaves: Mapping[str, Any]) -> Any:
    """A term over the reals at one point, to 120 digits; casts change nothing.

    Raises:
        NoValue: It has none there.
    """
    value = walk(term, Real(leaves))
    if value is None:
        raise NoValue("an operation has no real value")
    return value


@dataclass(frozen=True, slots=True)
class Rounded:
    """Arrays of NumPy."""

    leaves: Mapping[str, Any]

    def leaf(self, term: Term) -> Array:
        """Given values, in the kind of the leaf."""
        return np.asarray(self.leaves[term.data]).astype(FLOATS[term.kind])

    def constant(self, term: Term) -> Array:
        """An array of one number."""
        return np.asarray(term.data).astype(_TYPES[term.kind])

    def apply(self, term: Term, args: list[Array]) -> Array:
        """An operation, rounded to its kind."""
        result = np.asarray(row(term).rounded(term, *args))
        return result.astype(_TYPES[term.kind])


MOST = 1 << 20
"""Bits before the point: larger than any float by far, and a function of more takes all memory."""


@dataclass(frozen=True, slots=True)
class Real:
    """Numbers of 120 digits and conditions; None where there is none, which a choice may avoid."""

    leaves: Mapping[str, Any]

    def leaf(self, term: Term) -> Any:
        """A given value."""
        return mp.mpf(self.leaves[term.data])

    def constant(self, term: Term) -> Any:
        """A number or a condition."""
        return bool(term.data) if term.kind == "bool" else mp.mpf(term.number)

    def apply(self, term: Term, args: list[Any]) -> Any:
        """An operation."""
        if term.op == "select":
            return None if args[0] is None else args[1 if args[0] else 2]
        operation = row(term)
        if any(a is None for a in args):
            return None
        try:
            value = operation.real(mp, *args)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None
        if isinstance(value, bool):
            return value
        if not (isinstance(value, mp.mpf) and mp.isfinite(value)):
            return None
        return value if mp.mag(value) < MOST else None
