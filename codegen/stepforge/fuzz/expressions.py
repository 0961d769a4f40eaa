"""Random expressions of the rule language: typed, and with signs where a root or divisor needs one.

Texts are printed with the parentheses that they need, and now and then with some that they do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np

from stepforge.operations.table import (
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


class Sign(IntEnum):
    """What is known of a value; each is also what stands above it."""

    ANY = 0
    NONNEGATIVE = 1
    POSITIVE = 2


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
    """A text and the precedence of its outermost operation, as in `stepforge.operations.table`."""

    text: str
    level: int = ATOM


_NAME = re.compile(
    r"(?<![\w.])(?!(?:sqrt|abs|sign|min|max|exp|log|clip|if|else|and|or|not)\b)[A-Za-z_]"
)


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
_EXPONENTS = (
    "2", "2", "2", "3", "3", "4", "5", "7", "16", "1", "0", "-1", "-1", "-2", "-3", "0.5", "0.5",
    "0.5", "-0.5", "-0.5", "(1/2)", "2.0", "(1 + 1)",
)  # fmt: skip


class Expressions:
    """Draws expressions over the names in `scope`.

    Attributes:
        rng: Where every choice comes from.
        scope: The names that can be read now; at least one is a tensor.
        options: The names of the options.
        apart: Pairs of options that are never on together.
        elsewhere: Tensors that exist only under a condition on options.
        wild: Share of the roots, logarithms and divisors whose sign is left to chance.
        exact: Tensors are spared what is not correctly rounded: exponentials and logarithms.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        options: Sequence[str],
        apart: Collection[frozenset[str]],
        wild: float,
        exact: bool,
    ) -> None:
        self.rng = rng
        self.scope: dict[str, Variable] = {}
        self.options = tuple(options)
        self.apart = apart
        self.elsewhere: tuple[Variable, ...] = ()
        self.wild = wild
        self.exact = exact

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

    def _split(self, depth: int) -> int:
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
        makers: dict[Sign, tuple[Callable[..., Piece], ...]] = {
            Sign.ANY: (
                self._sum, self._difference, self._difference, self._product, self._product,
                self._quotient, self._minus, self._sign, self._smaller, self._larger, self._clip,
                self._power, self._power, self._log, self._select_any, self._select_any,
                self._not_negative, self._positive,
            ),
            Sign.NONNEGATIVE: (
                self._abs, self._abs, self._root, self._root, self._even, self._even,
                self._half_power, self._sum_up, self._product_up, self._quotient_up, self._floor,
                self._select_up, self._clip_up, self._exp, self._positive,
            ),
            Sign.POSITIVE: (
                self._shifted, self._shifted, self._shifted, self._at_least, self._exp,
                self._root_up, self._select_positive,
            ),
        }  # fmt: skip
        chosen: list[Make] = [partial(make, tensor=tensor) for make in makers[sign]]
        if not tensor and sign is Sign.POSITIVE:
            chosen += [self._correction, self._correction]
        if not tensor and sign is Sign.ANY:
            chosen += [self._host_power, self._host_power]
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
        left, right = (self.number(self._split(depth), kind, sign) for kind in kinds)
        return left, right

    def _sum(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
        left, right = self.pair(depth, tensor, sign)
        return self.infix(left, "+", right, SUM)

    def _difference(self, depth: int, tensor: bool) -> Piece:
        left, right = self.pair(depth, tensor)
        return self.infix(left, "-", right, SUM)

    def _product(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
        left, right = self.pair(depth, tensor, sign)
        return self.infix(left, "*", right, PRODUCT)

    def _quotient(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
        left_is = not tensor or self.chance(0.7)
        right_is = tensor if not left_is else tensor and self.chance(0.6)
        left = self.number(self._split(depth), tensor and left_is, sign)
        right = self.operand(self._split(depth), right_is, Sign.POSITIVE)
        return self.infix(left, "/", right, PRODUCT)

    def _minus(self, depth: int, tensor: bool) -> Piece:
        return self.negated(self.number(depth - 1, tensor))

    def _sign(self, depth: int, tensor: bool) -> Piece:
        return self.call("sign", self.number(depth - 1, tensor))

    def _abs(self, depth: int, tensor: bool) -> Piece:
        return self.call("abs", self.number(depth - 1, tensor))

    def _extreme(self, function: str, depth: int, tensor: bool, sign: Sign) -> Piece:
        left, right = self.pair(depth, tensor, sign)
        more = [self.number(0, tensor, sign)] if self.chance(0.15) else []
        return self.call(function, left, right, *more)

    def _smaller(self, depth: int, tensor: bool) -> Piece:
        return self._extreme("min", depth, tensor, Sign.ANY)

    def _larger(self, depth: int, tensor: bool) -> Piece:
        return self._extreme("max", depth, tensor, Sign.ANY)

    def _floor(self, depth: int, tensor: bool) -> Piece:
        zero = self.leaf(tensor=False, sign=Sign.NONNEGATIVE)
        return self.call("max", self.number(depth - 1, tensor), zero)

    def _clip(self, depth: int, tensor: bool) -> Piece:
        kinds = [tensor, tensor and self.chance(0.2), tensor and self.chance(0.2)]
        if tensor and self.chance(0.15):
            kinds = [False, True, self.chance(0.5)]
        return self.call("clip", *(self.number(self._split(depth), kind) for kind in kinds))

    def _clip_up(self, depth: int, tensor: bool) -> Piece:
        value = self.number(depth - 1, tensor)
        bounds = (self.leaf(tensor=False, sign=Sign.NONNEGATIVE) for _ in range(2))
        return self.call("clip", value, *bounds)

    def _power(self, depth: int, tensor: bool) -> Piece:
        exponent = self.one(_EXPONENTS)
        needed = Sign.NONNEGATIVE if "0.5" in exponent or "/" in exponent else Sign.ANY
        needed = Sign.POSITIVE if exponent.startswith("-") else needed
        base = self.operand(depth - 1, tensor, needed)
        if not has_name(base):  # a tower of literals may be too high
            base = self.leaf(tensor=False, sign=Sign.POSITIVE)
        return self.power(base, exponent)

    def _even(self, depth: int, tensor: bool) -> Piece:
        base = self.number(depth - 1, tensor)
        if base.level == ATOM and self.chance(0.2):
            return self.infix(base, "*", base, PRODUCT)
        return self.power(base, self.one(("2", "2", "4")))

    def _root(self, depth: int, tensor: bool) -> Piece:
        return self.call("sqrt", self.operand(depth - 1, tensor, Sign.NONNEGATIVE))

    def _root_up(self, depth: int, tensor: bool) -> Piece:
        return self.call("sqrt", self.number(depth - 1, tensor, Sign.POSITIVE))

    def _half_power(self, depth: int, tensor: bool) -> Piece:
        base = self.operand(depth - 1, tensor, Sign.NONNEGATIVE)
        return self.power(base, "0.5")

    def _log(self, depth: int, tensor: bool) -> Piece:
        value = self.operand(depth - 1, tensor, Sign.POSITIVE)
        return self.negated(value) if tensor and self.exact else self.call("log", value)

    def _exp(self, depth: int, tensor: bool) -> Piece:
        if tensor and self.exact:
            return self._shifted(depth, tensor)
        power = self.number(depth - 1, tensor, Sign.NONNEGATIVE)
        return self.call("exp", self.negated(power))

    def _sum_up(self, depth: int, tensor: bool) -> Piece:
        return self._sum(depth, tensor, Sign.NONNEGATIVE)

    def _product_up(self, depth: int, tensor: bool) -> Piece:
        return self._product(depth, tensor, Sign.NONNEGATIVE)

    def _quotient_up(self, depth: int, tensor: bool) -> Piece:
        return self._quotient(depth, tensor, Sign.NONNEGATIVE)

    def _shifted(self, depth: int, tensor: bool) -> Piece:
        value = self.number(depth - 1, tensor, Sign.NONNEGATIVE)
        return self.infix(value, "+", self.leaf(tensor=False, sign=Sign.POSITIVE), SUM)

    def _at_least(self, depth: int, tensor: bool) -> Piece:
        low = self.leaf(tensor=False, sign=Sign.POSITIVE)
        return self.call("max", self.number(depth - 1, tensor), low)

    def _not_negative(self, depth: int, tensor: bool) -> Piece:
        return self.number(depth, tensor, Sign.NONNEGATIVE)

    def _positive(self, depth: int, tensor: bool) -> Piece:
        return self.number(depth, tensor, Sign.POSITIVE)

    # Scalars alone.

    def _correction(self, depth: int) -> Piece:
        """`1 - beta**t`, or `1 - beta`."""
        decays = [v.name for v in self.scope.values() if v.below_one]
        if not decays:
            return self.leaf(tensor=False, sign=Sign.POSITIVE)
        decay = Piece(self.one(decays))
        power = self.power(decay, self.one(("t", "t", "2", "(t + 1)", "(2*t)")))
        return self.infix(Piece("1"), "-", power if self.chance(0.7) else decay, SUM)

    def _host_power(self, depth: int) -> Piece:
        """A power of scalars with any exponent."""
        base = self.operand(self._split(depth), tensor=False, sign=Sign.POSITIVE)
        exponent = self.number(min(1, self._split(depth)), tensor=False)
        if not has_name(base):
            base, exponent = (self.leaf(False, sign) for sign in (Sign.POSITIVE, Sign.ANY))
        return self.power(base, self.within(exponent, UNARY))

    # Choices.

    def _select_any(self, depth: int, tensor: bool, sign: Sign = Sign.ANY) -> Piece:
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
            right = self.number(self._split(depth), tensor, sign)
        return self.choice(condition, left, right)

    def _select_up(self, depth: int, tensor: bool) -> Piece:
        return self._select_any(depth, tensor, Sign.NONNEGATIVE)

    def _select_positive(self, depth: int, tensor: bool) -> Piece:
        return self._select_any(depth, tensor, Sign.POSITIVE)

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
        symbol = self.one(("<", "<=", ">", ">=", "==", "!="))
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
