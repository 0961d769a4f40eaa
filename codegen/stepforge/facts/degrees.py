"""How values scale where some numbers or tensors are multiplied by c > 0: by a power of c?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, Union

import sympy

from stepforge.facts.values import Value, same
from stepforge.operations.table import OPERATIONS


class Mark(Enum):
    """What is no degree."""

    ZERO = "zero"
    """Zero has every degree."""
    UNKNOWN = "unknown"
    """Nothing is known, not even that it is free of `p0`."""


Degree: TypeAlias = Union[sympy.Expr, Mark]
STEADY = sympy.Integer(0)
"""The degree of what stays the same."""


@dataclass(frozen=True)
class Degrees:
    """Degrees in c, which may hold hyperparameters.

    Attributes:
        leaves: The names of what is multiplied by c, with its power; all else stays as it is.
    """

    leaves: Mapping[str, int] = field(default_factory=dict)
    zero: Degree = Mark.ZERO
    unknown: Degree = Mark.UNKNOWN
    moves: bool = True

    def leaf(self, name: str, exact: object) -> Degree:
        """The degree of a number or a tensor that a step is given."""
        return sympy.Integer(self.leaves.get(name, 0))

    def settled(self, rest: Degree, exact: object) -> Degree:
        """A number of the host is known by its operation."""
        return rest

    def lasting(self, rest: Degree, changing: Set[sympy.Symbol]) -> Degree:
        """A power that changes from step to step is none."""
        changes = isinstance(rest, sympy.Expr) and bool(rest.free_symbols & changing)
        return Mark.UNKNOWN if changes else rest

    def add(self, a: Degree, b: Degree) -> Degree:
        """Both have to scale alike."""
        return self.either(a, b)

    def either(self, a: Degree, b: Degree) -> Degree:
        """The degree that both have."""
        if Mark.UNKNOWN in (a, b):
            return Mark.UNKNOWN
        if isinstance(a, Mark):
            return b
        if isinstance(b, Mark):
            return a
        return a if same(a, b) else Mark.UNKNOWN

    def chosen(self, condition: Degree, a: Degree, b: Degree) -> Degree:
        """The same has to be chosen."""
        return self.either(a, b) if condition == STEADY else Mark.UNKNOWN

    def multiply(self, a: Degree, b: Degree) -> Degree:
        """Degrees add."""
        if Mark.ZERO in (a, b):
            return Mark.ZERO
        if isinstance(a, Mark) or isinstance(b, Mark):
            return Mark.UNKNOWN
        return a + b

    def divide(self, a: Degree, b: Degree) -> Degree:
        """Degrees subtract."""
        if isinstance(b, Mark) or a is Mark.UNKNOWN:
            return Mark.UNKNOWN
        return a if isinstance(a, Mark) else a - b

    def power(self, a: Degree, exponent: sympy.Expr) -> Degree:
        """Degrees are multiplied."""
        if isinstance(a, Mark):
            return a if exponent.is_positive else Mark.UNKNOWN
        return sympy.expand(a * exponent)

    def call(self, op: str, args: Sequence[Value[Degree]]) -> Degree:
        """Roots divide degrees; what is steady stays so in any function."""
        rests = [a.rest for a in args]
        if Mark.UNKNOWN in rests:
            return Mark.UNKNOWN
        first = rests[0]
        alike = rests[0]
        for rest in rests[1:]:
            alike = self.either(alike, rest)
        if OPERATIONS[op].boolean:
            return Mark.UNKNOWN if alike is Mark.UNKNOWN else STEADY
        match op:
            case "neg" | "abs" | "max" | "min" | "clip":
                return alike
            case "sign" | "atan2":
                return alike if isinstance(alike, Mark) else STEADY
            case "sqrt" | "cbrt" if not isinstance(first, Mark):
                return first / (2 if op == "sqrt" else 3)
        return STEADY if alike in (STEADY, Mark.ZERO) else Mark.UNKNOWN
