"""IEEE 754 by rational numbers, independent of the package and of NumPy's arithmetic.

Values are Python floats, which hold the numbers of every format; results are bits of a format,
rounded once to nearest even. Every NaN is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Format:
    """A binary format: its width, the bits of its significand, and its largest exponent."""

    name: str
    width: int
    precision: int
    largest: int

    @property
    def smallest(self) -> int:
        return 1 - self.largest

    @property
    def infinity(self) -> int:
        return (2 * self.largest + 1) << (self.precision - 1)

    @property
    def sign(self) -> int:
        return 1 << (self.width - 1)

    def value(self, bits: int) -> float:
        """The number that bits are."""
        negative, rest = bool(bits & self.sign), bits & (self.sign - 1)
        if rest > self.infinity:
            return math.nan
        if rest == self.infinity:
            return -math.inf if negative else math.inf
        fraction = rest & ((1 << (self.precision - 1)) - 1)
        exponent = rest >> (self.precision - 1)
        if exponent:
            fraction |= 1 << (self.precision - 1)
        else:
            exponent = 1
        number = math.ldexp(fraction, exponent - self.largest - self.precision + 1)
        return -number if negative else number

    def bits(self, value: Fraction | float, negative: bool | None = None) -> int:
        """A number rounded to nearest even; `negative` is the sign of a zero."""
        if isinstance(value, float):
            if math.isnan(value):
                return self.infinity | 1
            negative = math.copysign(1, value) < 0
            if math.isinf(value):
                return self.infinity | (self.sign if negative else 0)
            value = Fraction(value)
        sign = self.sign if (value < 0 or (value == 0 and negative)) else 0
        size = abs(value)
        if size == 0:
            return sign
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= Fraction(2) ** exponent > size
        exponent = max(exponent, self.smallest)
        units = round(size / Fraction(2) ** (exponent - self.precision + 1))  # halves to even
        hidden = 1 << (self.precision - 1)
        if units == 2 * hidden:
            units, exponent = hidden, exponent + 1
        if exponent > self.largest:
            return sign | self.infinity
        biased = exponent + self.largest if units >= hidden else 0
        return sign | (biased << (self.precision - 1)) | (units & (hidden - 1))


F16 = Format("f16", 16, 11, 15)
BF16 = Format("bf16", 16, 8, 127)
F32 = Format("f32", 32, 24, 127)
F64 = Format("f64", 64, 53, 1023)
FORMATS = {f.name: f for f in (F16, BF16, F32, F64)}


def rounded(op: str, form: Format, *values: float) -> int:
    """The bits of a correctly rounded operation."""
    if any(not math.isfinite(v) for v in values):
        return form.bits(_special(op, *values))
    exact = [Fraction(v) for v in values]
    signs = [math.copysign(1, v) < 0 for v in values]
    if op == "add":
        return form.bits(exact[0] + exact[1], all(signs))
    if op == "sub":
        return form.bits(exact[0] - exact[1], signs[0] and not signs[1])
    if op == "mul":
        return form.bits(exact[0] * exact[1], signs[0] != signs[1])
    if op == "fma":
        product = exact[0] * exact[1]
        negative = product == 0 and (signs[0] != signs[1]) and signs[2]
        return form.bits(product + exact[2], negative)
    if op == "div":
        if exact[1] == 0:
            negative = signs[0] != signs[1]
            return form.bits(math.nan if exact[0] == 0 else -math.inf if negative else math.inf)
        return form.bits(exact[0] / exact[1], signs[0] != signs[1])
    assert op == "sqrt"
    if exact[0] < 0:
        return form.bits(math.nan)
    return form.bits(_root(exact[0]), signs[0])


def _special(op: str, *values: float) -> float:
    """With an infinity or a NaN among the operands nothing is rounded."""
    a, *rest = values
    if any(math.isnan(v) for v in values):
        return math.nan
    if op == "sqrt":
        return math.nan if a < 0 else a
    b = rest[0]
    if op == "add":
        return a + b
    if op == "sub":
        return a - b
    if op == "mul":
        return a * b
    if op == "div":
        if math.isinf(a):
            return math.nan if math.isinf(b) else math.copysign(a, math.copysign(1, a * _one(b)))
        return math.copysign(0.0, _one(a) * _one(b))
    product = a * b if math.isinf(a) or math.isinf(b) else 0.0
    return product + rest[1]


def _one(x: float) -> float:
    return math.copysign(1.0, x)


def _root(x: Fraction) -> Fraction:
    """The square root, with a last bit that says whether there is more: enough to round it."""
    shift = 200 + max(0, x.denominator.bit_length() - x.numerator.bit_length())
    scaled, rest = divmod(x.numerator << (2 * shift), x.denominator)
    root = math.isqrt(scaled)
    more = bool(rest) or root * root != scaled
    return Fraction(2 * root + more, 2 ** (shift + 1))


def notable(form: Format) -> list[int]:
    """Bits of both signs: zeros, subnormals, limits, neighbours of one, infinities, NaN."""
    hidden = 1 << (form.precision - 1)
    one = form.bits(1.0)
    positive = [
        0, 1, 2, 3, hidden - 1, hidden, hidden + 1, one - 1, one, one + 1, form.bits(1.5),
        form.bits(3.0), form.bits(Fraction(1, 3)), form.bits(Fraction(2) ** -form.precision),
        form.bits(Fraction(3, 2) * Fraction(2) ** -form.precision),
        form.infinity - 1, form.infinity - 2, form.infinity,
    ]  # fmt: skip
    return [*positive, *(b | form.sign for b in positive), form.infinity | 1]


def random_bits(form: Format, count: int, seed: int) -> list[int]:
    """Any patterns, NaN included; and as many numbers around one, whose sums round."""
    rng = np.random.default_rng(seed)
    anything = [int.from_bytes(rng.bytes(form.width // 8), "little") for _ in range(count)]
    near = [
        form.bits(float(x)) for x in rng.standard_normal(count) * 2.0 ** rng.integers(-9, 9, count)
    ]
    return [*anything, *near]


def same(a: int, b: int, form: Format) -> bool:
    """Equal bits; any NaN equals any NaN."""
    nan = [(x & (form.sign - 1)) > form.infinity for x in (a, b)]
    return all(nan) if any(nan) else a == b
