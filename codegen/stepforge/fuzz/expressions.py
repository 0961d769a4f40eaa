"""Random expressions of the rule language: typed, and with signs where a root or divisor needs one.

Texts are printed with the parentheses that they need, and now and then with some that they do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stepforge.operations.draws import Maker, Sign
from stepforge.operations.operation import (
    AND,
    ATOM,
    COMPARE,
    NOT,
    OR,
    POWER,
    PRODUCT,
    SUM,
    TERNARY,
    UNARY,
)
from stepforge.operations.table import OPERATIONS, author_functions


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that can be read.

    Attributes:
        name: The name.
        tensor: Whether it is one number per element.
        sign: What its domain, or its assignment, says.
        below_one: Whether it is less than one, like the decay of an average.
        when: The condition on options under which it exists; "" is always.
    """

    name: str
    tensor: bool
    sign: Sign = Sign.ANY
    below_one: bool = False
    when: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A text and the precedence of its outermost operation, as in `stepforge.operations`."""

    text: str
    level: int = ATOM


_NAME = re.compile(
    rf"(?<![\w.])(?!(?:{'|'.join(author_functions())}|if|else|and|or|not)\b)[A-Za-z_]"
)


def _made_by(maker: Maker, expressions: Expressions, tensor: bool) -> Make:
    return lambda depth: maker(expressions, depth, tensor)


def has_name(piece: Piece) -> bool:
    """Whether it is made of more than literals."""
    return _NAME.search(piece.text) is not None


Make = Callable[[int], Piece]
_LITERALS = {
    Sign.ANY: ("-1", "-0.5", "-1e-3", "0", "0.0"),
    Sign.NONNEGATIVE: ("0", "0.", "1e-30"),
    Sign.POSITIVE: (
        "1", "2", "3", "0.1", "0.5", ".25", "1e-3", "1e-8", "0.999", "2.0", "1/3", "10", "1_0.5",
        "7e-1", "0.30000000000000004",
    ),
}  # fmt: skip


class Expressions:
    """Draws expressions over the names in `scope`.

    Attributes:
        rng: Where every choice comes from.
        scope: The names that can be read now; at least one is a tensor.
        options: The names of the options.
        apart: Pairs of options that are never on together.
        elsewhere: Tensors that exist only under a condition on options.
        wild: Share of the roots, logarithms and divisors whose sign is left to chance.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        options: Sequence[str],
        apart: Collection[frozenset[str]],
        wild: float,
    ) -> None:
        self.rng = rng
        self.scope: dict[str, Variable] = {}
        self.options = tuple(options)
        self.apart = apart
        self.elsewhere: tuple[Variable, ...] = ()
        self.wild = wild

    # Choices.

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return bool(self.rng.random() < share)

    def one(self, items: Sequence[str]) -> str:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def among(self, makers: Sequence[Make], depth: int) -> Piece:
        """What one of the makers makes."""
        return makers[int(self.rng.integers(len(makers)))](depth)

    def split(self, depth: int) -> int:
        """The depth of an operand: one less, at times much less."""
        return max(0, depth - 1 - int(self.rng.integers(0, 2)))

    def operand(self, depth: int, tensor: bool, sign: Sign) -> Piece:
        """What an operation needs, unless this draw is a wild one.

        Literals alone obey: `check` computes them, and refuses 1/0.
        """
        wild = self.chance(self.wild)
        piece = self.number(depth, tensor, Sign.ANY if wild else sign)
        return self.number(depth, tensor, sign) if wild and not has_name(piece) else piece

    # Printing.

    def text(self, text: str) -> Piece:
        """A name or a literal."""
        return Piece(text)

    def has_name(self, piece: Piece) -> bool:
        """Whether it is made of more than literals."""
        return has_name(piece)

    def within(self, piece: Piece, level: int) -> str:
        """A text as an operand of something that binds as tightly as `level`."""
        needed = piece.level < level
        return f"({piece.text})" if needed or self.chance(0.04) else piece.text

    def infix(self, left: Piece, symbol: str, right: Piece, level: int) -> Piece:
        """Two operands; the left one may be of the same precedence."""
        space = "" if level == PRODUCT and self.chance(0.7) else " "
        a, b = self.within(left, level), self.within(right, level + 1)
        return Piece(f"{a}{space}{symbol}{space}{b}", level)

    def call(self, function: str, *arguments: Piece) -> Piece:
        """A function of arguments."""
        return Piece(f"{function}({', '.join(a.text for a in arguments)})")

    def power(self, base: Piece, exponent: str) -> Piece:
        """A power; `exponent` binds at least as tightly as a sign."""
        return Piece(f"{self.within(base, ATOM)}**{exponent}", POWER)

    def negated(self, piece: Piece) -> Piece:
        """Unary minus."""
        return Piece(f"-{self.within(piece, UNARY)}", UNARY)

    def choice(self, condition: Piece, left: Piece, right: Piece) -> Piece:
        """`left if condition else right`."""
        a, c = self.within(left, OR), self.within(condition, OR)
        return Piece(f"{a} if {c} else {self.within(right, TERNARY)}", TERNARY)

    # Numbers, of both kinds.

    def number(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
        """A tensor or a scalar, at least of the sign."""
        if depth <= 0:
            return self.leaf(tensor, sign)
        chosen: list[Make] = [
            _made_by(draw.make, self, tensor)
            for row in OPERATIONS.values()
            for draw in row.draws
            if draw.sign is sign and (draw.tensors if tensor else draw.scalars)
            for _ in range(draw.weight)
        ]
        chosen += [partial(self.number, tensor=tensor, sign=s) for s in Sign if s > sign]
        return self.among(chosen, depth)

    def leaf(self, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
        """A name, or for scalars a literal."""
        names = [v for v in self.scope.values() if v.tensor is tensor and v.sign >= sign]
        if tensor and not names:
            piece = self.call("abs", self.leaf(tensor=True))
            small = Piece(self.one(_LITERALS[Sign.POSITIVE]), PRODUCT)
            return piece if sign < Sign.POSITIVE else self.infix(piece, "+", small, SUM)
        if tensor or (names and self.chance(0.75)):
            return Piece(self.one([v.name for v in names]))
        signs = [s for s in _LITERALS if s >= sign]
        text = self.one(_LITERALS[signs[-1] if self.chance(0.8) else signs[0]])
        level = UNARY if text.startswith("-") else PRODUCT if "/" in text else ATOM
        return Piece(text, level)

    def pair(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> tuple[Piece, Piece]:
        """Two operands; of a tensor operation one may be a scalar."""
        kinds = [tensor, tensor and not self.chance(0.4)]
        if self.chance(0.5):
            kinds.reverse()
        left, right = (self.number(self.split(depth), kind, sign) for kind in kinds)
        return left, right

    # Choices.

    def select(self, depth: int, tensor: bool, sign: Sign) -> Piece:
        """A choice by options, or by a condition on values."""
        by_option = bool(self.options) and self.chance(0.35)
        if by_option:
            condition = self.switch()
        else:
            by_element = tensor and self.chance(0.7)
            condition = self.condition(depth - 1, by_element)
            tensor = tensor and not (by_element and self.chance(0.2))
        left, right = self.pair(depth, tensor, sign)
        missing = [v for v in self.elsewhere if v.name not in self.scope and v.sign >= sign]
        if by_option and tensor and missing:
            state = missing[int(self.rng.integers(len(missing)))]
            condition, left = Piece(state.when, OR), Piece(state.name)
            right = self.number(self.split(depth), tensor, sign)
        return self.choice(condition, left, right)

    def condition(self, depth: int, tensor: bool) -> Piece:
        """A condition on values."""
        if depth > 0 and self.chance(0.35):
            if self.chance(0.3):
                inner = self.condition(depth - 1, tensor)
                return Piece(f"not {self.within(inner, NOT)}", NOT)
            word, level = ("and", AND) if self.chance(0.5) else ("or", OR)
            left = self.condition(depth - 1, tensor)
            right = self.condition(depth - 1, tensor and self.chance(0.5))
            return self.infix(left, word, right, level)
        symbol = self.one([row.symbol for row in OPERATIONS.values() if row.compares])
        options, self.options = self.options, ()  # a condition has either options or values in it
        left, right = self.pair(min(depth, 2), tensor)
        self.options = options
        compared = self.infix(left, symbol, right, COMPARE)
        if self.chance(0.1):
            end = self.within(self.leaf(tensor=False), SUM)
            return Piece(f"{compared.text} {self.one(('<', '<='))} {end}", COMPARE)
        return compared

    def switch(self) -> Piece:
        """A condition on options; there is at least one."""
        name = Piece(self.one(self.options))
        if self.chance(0.3):
            return Piece(f"not {name.text}", NOT)
        if len(self.options) > 1 and self.chance(0.3):
            other = Piece(self.one([o for o in self.options if o != name.text]))
            both = self.chance(0.5) and frozenset((name.text, other.text)) not in self.apart
            word, level = ("and", AND) if both else ("or", OR)
            return self.infix(name, word, other, level)
        return name
