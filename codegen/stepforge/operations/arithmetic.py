"""IEEE 754 operations that NumPy does not have: fused multiply-add, sums and casts rounded once.

All take and give arrays. Sums that feed a second rounding are rounded to odd, which makes the
second rounding that of the exact sum (Boldo & Melquiond 2008, Emulation of FMA and correctly
rounded sums: proved algorithms using rounding to odd).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_SPLIT = 2.0**27 + 1
"""Veltkamp's constant: splits a float64 into two halves of 26 bits."""
_SMALL, _LARGE = 2.0**-450, 2.0**450
"""Factors between these have products whose error is a float64."""
_TINY, _HUGE = 2.0**-900, 2.0**1000


def sum_with_error(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and its rounding error, exactly (Knuth's TwoSum); without overflow."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return total, error


def odd_sum(a: Array, b: Array) -> Array:
    """float64 sum rounded to odd: of the two neighbours of an inexact sum the odd one."""
    total, error = sum_with_error(a, b)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    moves = even & np.isfinite(total) & np.isfinite(error) & (error != 0)
    return np.where(moves, np.nextafter(total, np.copysign(np.inf, error)), total)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """`a*b + c` of float32, rounded once: the product is exact in float64."""
    product = a.astype(np.float64) * b.astype(np.float64)
    return odd_sum(product, c.astype(np.float64)).astype(np.float32)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """`a*b + c` of float64, rounded once."""
    a, b, c = np.broadcast_arrays(a, b, c)
    product = a * b
    result = product + c
    finite = np.isfinite(a) & np.isfinite(b)
    result = np.where(finite & ~np.isfinite(c), c, result)
    # What is left to do: finite operands, and a product that may be rounded.
    inexact = finite & np.isfinite(c) & (a != 0) & (b != 0)
    sizes = np.abs([a, b])
    third = np.abs(c)
    common = ((sizes >= _SMALL) & (sizes <= _LARGE)).all(0)
    common &= (third == 0) | ((third >= _TINY) & (third <= _HUGE))
    easy = inexact & common
    result[easy] = _fma64_common(a[easy], b[easy], c[easy])
    for index in zip(*np.nonzero(inexact & ~common), strict=True):
        result[index] = _fma64_exact(float(a[index]), float(b[index]), float(c[index]))
    return result


def _fma64_common(a: Array, b: Array, c: Array) -> Array:
    """Where nothing underflows or overflows: sums of the product's two halves."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    upper, lower = sum_with_error(c, error)
    total, rest = sum_with_error(product, upper)
    result: Array = total + odd_sum(lower, rest)
    # An exact zero has the sign of the sum of the exact product and the addend.
    return np.where(result == 0, product + c, result)


def _halves(x: Array) -> tuple[Array, Array]:
    scaled = _SPLIT * x
    high = scaled - (scaled - x)
    return high, x - high


def _fma64_exact(a: float, b: float, c: float) -> float:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return 0.0  # of opposite numbers
    try:
        rounded = float(exact)
    except OverflowError:
        rounded = float("inf")
    return float(np.copysign(rounded, 1 if exact > 0 else -1))


def to_float32(bits: Array, kind: str) -> Array:
    """Bits of "bf16" or "f16" as float32, exactly."""
    if kind == "f16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_16_bits(values: Array, kind: str) -> Array:
    """The bits of float64 values, rounded once to nearest even to "bf16" or "f16"."""
    if kind == "f16":
        return values.astype(np.float16).view(np.uint16)
    near = values.astype(np.float32)
    even = (near.view(np.uint32) & np.uint32(1)) == 0
    moves = even & (near != values) & ~np.isnan(values)
    beyond = np.where(near < values, np.float32(np.inf), np.float32(-np.inf))
    odd = np.where(moves, np.nextafter(near, beyond), near)
    wide = odd.view(np.uint32).astype(np.uint64)
    rounded = (wide + np.uint64(0x7FFF) + ((wide >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(values), np.uint64(0x7FFF), rounded).astype(np.uint16)


def flushed(values: Array) -> Array:
    """Subnormal float32 numbers as zeros of their sign, the rest as it is."""
    tiny = np.abs(values) < np.finfo(np.float32).tiny
    return np.where(tiny, np.copysign(values.dtype.type(0), values), values)


def maximum(a: Array, b: Array, propagate: bool) -> Array:
    """The larger, -0 below +0; of a NaN and a number NaN if it propagates, else the number."""
    larger: Array = np.maximum(a, b)
    if not propagate:  # np.fmax is not it: of a signalling NaN it makes NaN
        larger = np.where(np.isnan(a), b, np.where(np.isnan(b), a, larger))
    zeros = (a == 0) & (b == 0)
    negative = np.signbit(a) & np.signbit(b)
    return np.where(zeros, np.where(negative, -0.0, 0.0).astype(larger.dtype), larger)


def minimum(a: Array, b: Array, propagate: bool) -> Array:
    """The smaller, as `maximum`."""
    return -maximum(-a, -b, propagate)
