"""Arithmetic on formulas: exact rational functions over square roots, and residues of a prime.

Both offer the same operations to `verify.terms.equality`. `Exact` is a tower of field extensions
of the rational functions over the rationals: an element is a sum of products of square roots with
rational functions as factors, so equality is decided by comparing polynomials. `Modular` evaluates
at one random point of a prime field, where equal formulas have equal values and different ones
almost never do (Schwartz 1980, Zippel 1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from stepforge.verify.terms.operations import Range, product
from stepforge.verify.terms.terms import Term

MAX_TERMS = 4000
"""Of a polynomial; a larger one is left to the prime field."""
PRIME = 2**61 - 1
"""Congruent to 3 modulo 4: one of the two roots of a square is a square itself."""


class Undecided(Exception):
    """The algebra has no answer: too large, or a division that it cannot do."""


class Retry(Exception):
    """A random point at which a formula has no value in the prime field."""


Element = Any


class Exact:
    """Rational functions over the rationals, extended by square roots.

    An element is a dictionary from sets of square roots, as bits, to rational functions.
    """

    def __init__(self, count: int, spans: Callable[[int], Range]) -> None:
        """Makes a field.

        Args:
            count: How many variables it needs at most.
            spans: The range of a variable by its number.
        """
        from sympy import QQ
        from sympy.polys.fields import field

        self.field, *self.variables = field([f"x{i}" for i in range(max(count, 1))], QQ)
        self.spans = spans
        self.numbers: dict[Any, int] = {}
        self.roots: list[Element] = []
        """What each square root is the root of."""
        self.root_of: dict[Any, Element] = {}

    def variable(self, key: Any) -> Element:
        """The element that stands for something that is not looked into."""
        number = self.numbers.setdefault(key, len(self.numbers))
        return {0: self.variables[number]}

    def constant(self, value: Fraction) -> Element:
        """A number."""
        from sympy import QQ

        element = self.field.from_expr(QQ.to_sympy(QQ(value.numerator, value.denominator)))
        return {0: element} if value else {}

    def add(self, a: Element, b: Element) -> Element:
        """The sum."""
        result = dict(a)
        for key, factor in b.items():
            total = result.get(key, self.field.zero) + factor
            if total == 0:
                result.pop(key, None)
            else:
                result[key] = self.checked(total)
        return result

    def neg(self, a: Element) -> Element:
        """The negative."""
        return {key: -factor for key, factor in a.items()}

    def mul(self, a: Element, b: Element) -> Element:
        """The product."""
        result: Element = {}
        for x, p in a.items():
            for y, q in b.items():
                part: Element = {x ^ y: self.checked(p * q)}
                for index in range((x & y).bit_length()):
                    if x & y & (1 << index):
                        part = self.mul(part, self.roots[index])
                result = self.add(result, part)
        return result

    def inverse(self, a: Element) -> Element:
        """The reciprocal, its denominator made rational."""
        highest = max((key.bit_length() for key in a), default=0)
        if highest == 0:
            if not a:
                raise Undecided("a denominator is zero")
            return {0: 1 / a[0]}
        bit = 1 << (highest - 1)
        rest = {key: f for key, f in a.items() if not key & bit}
        factor = {key ^ bit: f for key, f in a.items() if key & bit}
        squares = self.mul(self.mul(factor, factor), self.roots[highest - 1])
        norm = self.add(self.mul(rest, rest), self.neg(squares))
        if not norm:
            raise Undecided("a denominator may be zero")
        conjugate = self.add(rest, {key | bit: -f for key, f in factor.items()})
        return self.mul(conjugate, self.inverse(norm))

    def sqrt(self, a: Element) -> Element:
        """The square root; factors whose sign is known leave it."""
        if set(a) - {0}:
            return self._root(a)
        if not a:
            return {}
        fraction = a[0]
        outside, inside = self.constant(Fraction(1)), self.field.one
        coefficient = Fraction(1)
        for polynomial, direction in ((fraction.numer, 1), (fraction.denom, -1)):
            number, factors = polynomial.factor_list()
            coefficient *= Fraction(int(number.numerator), int(number.denominator)) ** direction
            for factor, exponent in factors:
                sign = self.sign(factor)
                element = self.field.new(factor)
                if sign == 0:
                    inside *= element ** (direction * exponent)
                    continue
                coefficient *= sign**exponent
                element *= sign
                outside = self.mul(outside, {0: element ** (direction * (exponent // 2))})
                if exponent % 2:
                    root = self._root({0: element})
                    outside = self.mul(outside, root if direction > 0 else self.inverse(root))
        outside = self.mul(outside, self._root_of_number(abs(coefficient)))
        rest = {0: inside if coefficient > 0 else -inside}
        return outside if rest[0] == 1 else self.mul(outside, self._root(rest))

    def _root_of_number(self, value: Fraction) -> Element:
        numerator, denominator = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if numerator**2 == value.numerator and denominator**2 == value.denominator:
            return self.constant(Fraction(numerator, denominator))
        return self._root(self.constant(value))

    def _root(self, square: Element) -> Element:
        key = self.key(square)
        if key not in self.root_of:
            self.roots.append(square)
            self.root_of[key] = {1 << (len(self.roots) - 1): self.field.one}
        return self.root_of[key]

    def sign(self, polynomial: Any) -> int:
        """What the ranges of its variables say about the sign of a polynomial."""
        low = high = 0.0
        for exponents, number in polynomial.terms():
            least = most = float(Fraction(int(number.numerator), int(number.denominator)))
            for index, exponent in enumerate(exponents):
                if exponent:
                    least, most = product(
                        False, (least, most), _powered(self.spans(index), exponent)
                    )
            low, high = low + least, high + most
        if math.isnan(low) or math.isnan(high):
            return 0
        return 1 if low >= 0 else -1 if high <= 0 else 0

    def checked(self, fraction: Any) -> Any:
        """A rational function that is not too large."""
        if len(fraction.numer) + len(fraction.denom) > MAX_TERMS:
            raise Undecided("the polynomials are too large")
        return fraction

    def key(self, a: Element) -> Any:
        """Equal for equal elements."""
        return tuple(sorted(a.items(), key=lambda item: item[0]))

    def is_zero(self, a: Element, zeros: list[Element]) -> bool:
        """Whether it is zero, if some others are."""
        if not a:
            return True
        for zero in zeros:
            if set(zero) == {0}:
                divisor = zero[0].numer
                if all(factor.numer.rem([divisor]) == 0 for factor in a.values()):
                    return True
        return False


def _powered(span: Range, exponent: int) -> Range:
    result = span
    if exponent % 2 == 0:
        largest = max(abs(span[0]), abs(span[1]))
        smallest = 0.0 if span[0] <= 0 <= span[1] else min(abs(span[0]), abs(span[1]))
        return smallest**exponent, largest**exponent
    for _ in range(exponent - 1):
        result = product(False, result, span)
    return span[0] ** exponent, span[1] ** exponent


class Modular:
    """One random point of the prime field."""

    def __init__(self, rng: np.random.Generator, nonnegative: Mapping[Any, bool]) -> None:
        """Draws a point; variables that are never negative get squares."""
        self.rng = rng
        self.nonnegative = nonnegative
        self.values: dict[Any, int] = {}

    def variable(self, key: Any) -> int:
        """The value of a variable, the same at every use."""
        if key not in self.values:
            value = int(self.rng.integers(1, PRIME, dtype=np.int64))
            self.values[key] = value * value % PRIME if self.nonnegative.get(key) else value
        return self.values[key]

    def constant(self, value: Fraction) -> int:
        """The residue of a number."""
        return value.numerator * pow(value.denominator, -1, PRIME) % PRIME

    def add(self, a: int, b: int) -> int:
        """The sum."""
        return (a + b) % PRIME

    def neg(self, a: int) -> int:
        """The negative."""
        return -a % PRIME

    def mul(self, a: int, b: int) -> int:
        """The product."""
        return a * b % PRIME

    def inverse(self, a: int) -> int:
        """The reciprocal."""
        if a == 0:
            raise Retry
        return pow(a, -1, PRIME)

    def sqrt(self, a: int) -> int:
        """The root that is a square itself, so that roots of products are products of roots."""
        root = pow(a, (PRIME + 1) // 4, PRIME)
        if root * root % PRIME != a:
            raise Retry
        return root

    def key(self, a: int) -> int:
        """Equal for equal elements."""
        return a

    def is_zero(self, a: int, zeros: list[int]) -> bool:
        """Whether it is zero."""
        return a == 0


Algebra = Exact | Modular


def rational(term: Term) -> Fraction:
    """A constant as an exact rational."""
    if not math.isfinite(term.number):
        raise Undecided("a constant is not finite")
    return Fraction(term.number)
