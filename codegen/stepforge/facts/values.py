"""Values of a rule that know how they depend on where the parameter started.

Every value is `weight * p0 + rest`: `p0` is the parameter before the first step, the weight is the
same for all elements, and what is known of the rest is said by an algebra: a degree, a parity, a
bound. So a position stays a position through averages of positions, and the difference of two is
free of `p0`. Numbers of the host are also known exactly, as expressions of SymPy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import sympy

from stepforge.language.mathematics import applied
from stepforge.operations.table import OPERATIONS

R = TypeVar("R")
NONE = sympy.Integer(0)
"""The weight of what does not depend on where the parameter started."""
_ARITHMETIC = ("add", "sub", "mul", "div", "neg", "pow", "sqrt")
_WHERE_ZERO = ("neg", "sqrt", "abs", "sign", "cbrt", "tanh", "sin", "expm1", "floor")
"""Functions that are zero of zero."""


@dataclass(frozen=True)
class Value(Generic[R]):
    """One value of a rule, in all elements.

    Attributes:
        rest: What is known of it without its part of `p0`.
        weight: The factor of `p0`.
        exact: The number itself, or the condition, if it is one of the host.
        nonnegative: Whether it is surely zero or more.
    """

    rest: R
    weight: sympy.Expr = NONE
    exact: Any = None
    nonnegative: bool = False


class Algebra(Protocol[R]):
    """What is known of values. `zero` is zero itself, `unknown` is anything, also with `p0`."""

    @property
    def zero(self) -> R:
        """Of zero."""

    @property
    def unknown(self) -> R:
        """Of what nothing is known of."""

    @property
    def moves(self) -> bool:
        """Whether `p0` is told apart; otherwise the parameter is a value like others."""

    def leaf(self, name: str, exact: Any) -> R:
        """Of a number, by name if it has one, or of the parameter, the gradient, an input."""

    def settled(self, rest: R, exact: Any) -> R:
        """Of a number of the host, of what is known by its operation."""

    def lasting(self, rest: R, changing: Set[sympy.Symbol]) -> R:
        """What is still known in the next step, in which some numbers are others."""

    def add(self, a: R, b: R) -> R:
        """Of a sum."""

    def multiply(self, a: R, b: R) -> R:
        """Of a product."""

    def divide(self, a: R, b: R) -> R:
        """Of a quotient."""

    def power(self, a: R, exponent: sympy.Expr) -> R:
        """Of a power."""

    def call(self, op: str, args: Sequence[Value[R]]) -> R:
        """Of a function, a comparison or a connective."""

    def either(self, a: R, b: R) -> R:
        """Of what is one of two."""

    def chosen(self, condition: R, a: R, b: R) -> R:
        """Of what a condition chooses."""


@cache
def same(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two expressions are surely equal."""
    return bool(a == b or sympy.cancel(sympy.together(sympy.expand(a - b))) == 0)


@cache
def _sum(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """A sum of weights, as short as that of positions that are averaged has to be."""
    return a + b if 0 in (a, b) or (a + b).is_Integer else sympy.cancel(a + b)


def written(e: sympy.Expr) -> str:
    """An expression as text, constants first, with the functions of the rule language."""
    text = sympy.sstr(e, order="rev-lex").replace("Abs(", "abs(").replace("Max(", "max(")
    return re.sub(r"([a-z0-9])_\(", r"\1(", text)


@dataclass(frozen=True)
class Calculation(Generic[R]):
    """Operations on values, in one algebra."""

    algebra: Algebra[R]

    @property
    def zero(self) -> Value[R]:
        """Zero."""
        return Value(self.algebra.zero, exact=NONE, nonnegative=True)

    @property
    def unknown(self) -> Value[R]:
        """Anything."""
        return Value(self.algebra.unknown)

    def is_zero(self, x: Value[R]) -> bool:
        """Whether it is zero in all elements."""
        return bool(x.rest == self.algebra.zero and x.weight == 0)

    def number(self, exact: Any, name: str = "") -> Value[R]:
        """A number of the host."""
        if exact == 0:
            return self.zero
        rest = self.algebra.leaf(name, exact)
        return Value(rest, exact=exact, nonnegative=bool(exact.is_nonnegative))

    def apply(self, op: str, args: Sequence[Value[R]]) -> Value[R]:
        """An operation."""
        exact = None
        if all(a.exact is not None for a in args):
            if op == "div" and args[1].exact == 0:
                return self.unknown
            exact = exactly(op, [a.exact for a in args])
            if exact == 0:
                return self.zero
        made = self._made(op, args)
        if made.rest == self.algebra.unknown:
            made = self.unknown
        if self.is_zero(made):
            return self.zero
        known = _nonnegative(op, args) or bool(getattr(exact, "is_nonnegative", False))
        rest = made.rest if exact is None else self.algebra.settled(made.rest, exact)
        return Value(rest, made.weight, exact, known)

    def choice(self, condition: Value[R], a: Value[R], b: Value[R]) -> Value[R]:
        """What a condition chooses from two values."""
        if condition.exact in (sympy.true, sympy.false):
            return a if condition.exact == sympy.true else b
        if a is b or (self.is_zero(a) and self.is_zero(b)):
            return a  # alike is not enough: what is known of two values says nothing of which
        exact = None
        numbers = [x.exact for x in (condition, a, b)]
        if all(x is not None for x in numbers):
            exact = exactly("select", numbers)
        weight = a.weight
        if not same(a.weight, b.weight):
            if condition.exact is None:
                return self.unknown
            weight = exactly("select", [condition.exact, a.weight, b.weight])
        rest = self.algebra.chosen(condition.rest, a.rest, b.rest)
        if rest == self.algebra.unknown:
            weight = NONE
        return Value(rest, weight, exact, a.nonnegative and b.nonnegative)

    def joined(self, a: Value[R], b: Value[R]) -> Value[R]:
        """What is known of a value that is one of two."""
        rest = self.algebra.either(a.rest, b.rest)
        if rest == self.algebra.unknown or not same(a.weight, b.weight):
            return self.unknown
        return Value(rest, a.weight, None, a.nonnegative and b.nonnegative)

    def _made(self, op: str, args: Sequence[Value[R]]) -> Value[R]:
        algebra, rests = self.algebra, [a.rest for a in args]
        match op, args:
            case "add", (a, b):
                return Value(algebra.add(*rests), _sum(a.weight, b.weight))
            case "sub", (a, b):
                negative = algebra.call("neg", [Value(b.rest)])
                return Value(algebra.add(a.rest, negative), _sum(a.weight, -b.weight))
            case "neg", (a,):
                return Value(algebra.call("neg", [Value(a.rest)]), -a.weight)
            case "mul", (a, b):
                if self.is_zero(a) or self.is_zero(b):
                    return self.zero
                for x, y in ((a, b), (b, a)):
                    if y.exact is not None or x.weight == y.weight == 0:
                        weight = x.weight * y.exact if x.weight != 0 else NONE
                        return Value(algebra.multiply(*rests), weight)
            case "div", (a, b):
                if self.is_zero(b):
                    return self.unknown
                if self.is_zero(a):
                    return self.zero
                if b.exact is not None or a.weight == b.weight == 0:
                    weight = a.weight / b.exact if a.weight != 0 else NONE
                    return Value(algebra.divide(*rests), weight)
            case "pow", (a, b) if a.weight == b.weight == 0 and b.exact is not None:
                if algebra.either(b.rest, algebra.leaf("", sympy.Integer(1))) != algebra.unknown:
                    if self.is_zero(a) and b.exact.is_positive:
                        return self.zero
                    return Value(algebra.power(a.rest, b.exact))
            case "clip", (_, low, high) if self.is_zero(low) and self.is_zero(high):
                return self.zero
            case "clip", (a, low, high) if self.is_zero(a) and None not in (low.exact, high.exact):
                if low.exact.is_nonpositive and high.exact.is_nonnegative:
                    return self.zero
                return Value(algebra.call(op, args))
            case (("max" | "min"), (a, b)) if same(a.weight, b.weight):
                return Value(algebra.call(op, args), a.weight)
            case _ if OPERATIONS[op].compares and same(args[0].weight, args[1].weight):
                return Value(algebra.call(op, args))
            case _ if op in _WHERE_ZERO and self.is_zero(args[0]):
                return self.zero
        return Value(algebra.call(op, [self.unknown if a.weight != 0 else a for a in args]))


def _nonnegative(op: str, args: Sequence[Value[Any]]) -> bool:
    known = [a.nonnegative for a in args]
    match op:
        case "add" | "mul" | "div" | "min":
            return all(known) or (op == "mul" and args[0] is args[1])
        case "max":
            return any(known)
        case "sqrt" | "abs" | "exp":
            return True
        case "pow":
            exponent = args[1].exact
            return known[0] or bool(exponent is not None and exponent.is_even)
        case "clip":
            return known[1] and known[2]
    return known[0] if op in ("cbrt", "tanh", "expm1", "floor", "sign") else False


def exactly(op: str, args: Sequence[Any]) -> Any:
    """A number or condition of the host; an unknown function where SymPy is not to look inside."""
    if op in _ARITHMETIC:
        return applied(op, *args)
    if OPERATIONS[op].compares:
        return _compared(op, *args)
    truths = [a for a in args if a in (sympy.true, sympy.false)]
    match op:
        case "not" if truths:
            return sympy.Not(args[0])
        case "and" if sympy.false in truths:
            return sympy.false
        case "or" if sympy.true in truths:
            return sympy.true
        case "and" | "or" if truths:
            return next((a for a in args if a not in truths), args[0])
        case "select" if args[1] == args[2]:
            return args[1]
        case "select" if truths:
            return args[1] if args[0] == sympy.true else args[2]
    real = {"real": True} if not OPERATIONS[op].boolean else {}
    return sympy.Function(f"{op}_", **real)(*args)


def _compared(op: str, a: Any, b: Any) -> Any:
    """A comparison, decided by the signs that domains tell."""
    difference = sympy.expand(a - b)
    decided = {
        "lt": (difference.is_negative, difference.is_nonnegative),
        "le": (difference.is_nonpositive, difference.is_positive),
        "gt": (difference.is_positive, difference.is_nonpositive),
        "ge": (difference.is_nonnegative, difference.is_negative),
        "eq": (difference.is_zero, difference.is_nonzero),
        "ne": (difference.is_nonzero, difference.is_zero),
    }[op]
    for known, truth in zip(decided, (sympy.true, sympy.false), strict=True):
        if known:
            return truth
    return sympy.Function(f"{op}_")(a, b)
