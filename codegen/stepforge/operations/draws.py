"""How random specs use operations: what is drawn, for which sign of the result, and how often.

A maker takes the drawing expressions (`fuzz.expressions.Expressions`), the depth that is left and
whether a tensor is wanted, and gives a text with its precedence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Sign(IntEnum):
    """What is known of a value; each is also what stands above it."""

    ANY = 0
    NONNEGATIVE = 1
    POSITIVE = 2


Maker = Callable[[Any, int, bool], Any]


@dataclass(frozen=True, slots=True)
class Draw:
    """One way to draw an operation.

    Attributes:
        sign: What is known of the result.
        make: The maker.
        weight: How often, beside the others of this sign.
        tensors: Whether tensors are drawn so, or scalars alone.
        scalars: Whether scalars are drawn so, or tensors alone.
    """

    sign: Sign
    make: Maker
    weight: int = 1
    tensors: bool = True
    scalars: bool = True


def infix(symbol: str, level: int, sign: Sign = Sign.ANY) -> Maker:
    """An operator between two operands of a sign."""

    def make(e: Any, depth: int, tensor: bool) -> Any:
        left, right = e.pair(depth, tensor, sign)
        return e.infix(left, symbol, right, level)

    return make


def call(function: str, sign: Sign = Sign.ANY, wild: bool = False) -> Maker:
    """A function of one argument of a sign, which wild draws do not keep to."""

    def make(e: Any, depth: int, tensor: bool) -> Any:
        drawn = e.operand if wild else e.number
        return e.call(function, drawn(depth - 1, tensor, sign))

    return make


def call_with(function: str, *signs: Sign) -> Maker:
    """A function of any number, and of names or literals of these signs."""

    def make(e: Any, depth: int, tensor: bool) -> Any:
        leaves = [e.leaf(False, sign) for sign in signs]
        return e.call(function, e.number(depth - 1, tensor), *leaves)

    return make
