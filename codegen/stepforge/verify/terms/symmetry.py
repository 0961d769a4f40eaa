"""Whether two terms are the same operations, but for signs that go through them.

Rounding is symmetric: the negative of a sum is the sum of the negatives in every bit, unless it is
zero, for zeros have signs of their own. Compilers move signs from the terms of a sum to where the
sum is used, and back, wherever the sign of a zero does not count.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from stepforge.verify.terms.nodes import Term
from stepforge.verify.terms.spans import NOTHING, sign, span
from stepforge.verify.terms.zeros import is_no_negative_zero


class Relation(NamedTuple):
    """What is known of two numbers: the one is the other, or its negative.

    Attributes:
        sign: 1 or -1.
        exact: Whether that holds of zeros, too, with their signs.
    """

    sign: int
    exact: bool


SAME = Relation(1, True)
_UNORDERED = ("add", "mul", "iand", "ior", "ixor", "and", "or")


class Symmetry:
    """Compares two terms from the top; keeps what it has found."""

    def __init__(self) -> None:
        self.known: dict[tuple[Term, Term], frozenset[Relation]] = {}

    def same(self, x: Term, y: Term) -> bool:
        """Whether two terms have the same bits for all values of their leaves."""
        return SAME in self.relations(x, y)

    def relations(self, x: Term, y: Term) -> frozenset[Relation]:
        """All that is known of two terms."""
        key = x, y
        if key not in self.known:
            self.known[key] = frozenset()
            self.known[key] = frozenset(self._found(x, y))
        return self.known[key]

    def _found(self, x: Term, y: Term) -> Iterator[Relation]:
        if x is y:
            yield SAME
        elif span(x) == span(y) == NOTHING and x.kind == y.kind:
            yield from (SAME, Relation(-1, True))  # any NaN is any other
        if x.is_constant and y.is_constant and x.kind == y.kind and x.kind.startswith("f"):
            yield from _of_constants(x.number, y.number)
        elif x.op == "neg":
            yield from (Relation(-r.sign, r.exact) for r in self.relations(x.args[0], y))
        elif y.op == "neg":
            yield from (Relation(-r.sign, r.exact) for r in self.relations(x, y.args[0]))
        elif (x is not y and (x.op, x.kind, len(x.args)) == (y.op, y.kind, len(y.args))) or (
            x.op == y.op == "const" and x.kind == y.kind
        ):
            yield from self._of_operands(x, y)

    def _of_operands(self, x: Term, y: Term) -> Iterator[Relation]:
        if x.is_constant and y.is_constant:
            if x.kind.startswith("f") and x.number == -y.number:
                yield Relation(-1, True)
                if x.number == 0:
                    yield Relation(1, False)
            return
        if not x.args:
            return
        if x.op == "isum":
            yield from self._of_sums(x, y)
        elif x.args and x.data == y.data:
            orders = itertools.permutations(y.args) if x.op in _UNORDERED else [y.args]
            for others in orders:
                found = [self.relations(a, b) for a, b in zip(x.args, others, strict=True)]
                for chosen in itertools.product(*found):
                    yield from _after(x, chosen)

    def _of_sums(self, x: Term, y: Term) -> Iterator[Relation]:
        """Linear combinations of integers."""
        (first, factors), (other, others) = x.data, y.data
        if first == other and len(x.args) <= 4:
            for order in itertools.permutations(zip(y.args, others, strict=True)):
                pairs = zip(x.args, factors, order, strict=True)
                if all(c == d and SAME in self.relations(a, b) for a, c, (b, d) in pairs):
                    yield SAME


def _of_constants(x: float, y: float) -> Iterator[Relation]:
    if x == -y:
        yield Relation(-1, math.copysign(1, x) != math.copysign(1, y))
    if x == y:
        yield Relation(1, math.copysign(1, x) == math.copysign(1, y))


def _after(x: Term, operands: tuple[Relation, ...]) -> Iterator[Relation]:
    """What an operation makes of what is known of its operands; `x` is its first result."""
    signs, exact = [r.sign for r in operands], all(r.exact for r in operands)
    match x.op:
        case "add" | "sub" if signs[0] == signs[1]:
            yield Relation(signs[0], _is_sure(x, operands))
        case "fma" if signs[0] * signs[1] == signs[2]:
            yield Relation(signs[2], (exact and signs[2] == 1) or abs(sign(x)) == 2)
        case "mul":
            yield Relation(signs[0] * signs[1], exact)
        case "div" if operands[1].exact or abs(sign(x.args[1])) == 2:
            yield Relation(signs[0] * signs[1], exact)
        case "abs":
            yield SAME
        case "cvt" if x.kind.startswith("f") and x.args[0].kind.startswith("f"):
            yield Relation(signs[0], exact)
        case "select" if operands[0] == SAME and signs[1] == signs[2]:
            yield Relation(signs[1], exact)
        case "asint" if span(x.args[0]) == NOTHING:
            return
        case _ if all(r == SAME for r in operands):
            yield SAME


def _is_sure(x: Term, operands: tuple[Relation, ...]) -> bool:
    """Whether a sum is the other one, or its negative, even if it is zero.

    A zero of either sign leaves a sum as it is unless the other term is -0.
    """
    if abs(sign(x)) == 2:
        return True
    if operands[0].sign == -1:
        return False
    if all(r.exact for r in operands):
        return True
    pairs = zip(operands, x.args, strict=True)
    return x.op == "add" and any(r.exact and is_no_negative_zero(a) for r, a in pairs)
