"""Which values change their sign with `p`, `g` and all that hangs on them: odd and even values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import sympy

from stepforge.facts.values import Value


class Parity(Enum):
    """What becomes of a value."""

    ZERO = "zero"
    """It is its own negative."""
    EVEN = "even"
    """It stays as it is; a condition that is even holds as before."""
    ODD = "odd"
    """It becomes its negative."""
    UNKNOWN = "unknown"


ZERO, EVEN, ODD, UNKNOWN = Parity
_ODD_FUNCTIONS = ("neg", "stored", "sign", "cbrt", "tanh", "sin")


@dataclass(frozen=True)
class Parities:
    """The rules of odd and even.

    Attributes:
        odd: The names of tensors that change their sign; all else stays as it is.
    """

    odd: frozenset[str] = frozenset({"p", "g"})
    zero: Parity = ZERO
    unknown: Parity = UNKNOWN
    moves: bool = False

    def leaf(self, name: str, exact: object) -> Parity:
        """The parity of a number or a tensor that a step is given."""
        return ODD if name in self.odd else EVEN

    def settled(self, rest: Parity, exact: object) -> Parity:
        """A number of the host is known by its operation."""
        return rest

    def lasting(self, rest: Parity, changing: object) -> Parity:
        """It does not hang on numbers."""
        return rest

    def add(self, a: Parity, b: Parity) -> Parity:
        """Both have to be alike."""
        return self.either(a, b)

    def either(self, a: Parity, b: Parity) -> Parity:
        """The parity that both have."""
        if a is ZERO:
            return b
        return a if b in (a, ZERO) else UNKNOWN

    def chosen(self, condition: Parity, a: Parity, b: Parity) -> Parity:
        """The same has to be chosen."""
        return self.either(a, b) if condition is EVEN else UNKNOWN

    def multiply(self, a: Parity, b: Parity) -> Parity:
        """Signs multiply."""
        if ZERO in (a, b):
            return ZERO
        if UNKNOWN in (a, b):
            return UNKNOWN
        return EVEN if a is b else ODD

    def divide(self, a: Parity, b: Parity) -> Parity:
        """Signs multiply."""
        return UNKNOWN if b is ZERO else self.multiply(a, b)

    def power(self, a: Parity, exponent: sympy.Expr) -> Parity:
        """An even power is even, an odd one as its base; other powers are of no negative number."""
        if a is ZERO and not exponent.is_positive:
            return UNKNOWN
        if a is not ODD or exponent.is_odd:
            return a
        return EVEN if exponent.is_even else UNKNOWN

    def call(self, op: str, args: Sequence[Value[Parity]]) -> Parity:
        """What is even stays so in any function."""
        rests = [a.rest for a in args]
        if UNKNOWN in rests:
            return UNKNOWN
        if ODD not in rests:
            zeros = op in (*_ODD_FUNCTIONS, "abs", "sqrt", "max", "min") and EVEN not in rests
            return ZERO if zeros else EVEN
        if op in _ODD_FUNCTIONS:
            return ODD
        if op in ("abs", "cos"):
            return EVEN
        if op in ("eq", "ne"):
            return EVEN if EVEN not in rests else UNKNOWN
        if op == "clip":
            _, low, high = (a.exact for a in args)
            mirrored = low is not None and high is not None and low == -high
            return ODD if mirrored else UNKNOWN
        if op == "atan2":  # on the left of the axis it jumps
            return ODD if rests[1] is not ODD and args[1].nonnegative else UNKNOWN
        return UNKNOWN
