"""Powers in bounded time and memory, whatever the exponent."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

LIMIT = 2000
"""Natural logarithm of what counts as infinite, and of its reciprocal; float64 ends at 745."""
LARGEST = Fraction(sys.float_info.max)
SMALLEST = Fraction(1, 2**1075)
"""What float64 rounds to zero."""
MAX_LITERAL_POWER = 300
MAX_PRODUCT = 16
"""Up to here an integer power of a tensor is a product."""
_MAX_BITS = 100_000
"""Of an exact power; `1.000001**300` to the 300th, to the 300th, would take all memory."""


def power(mp: Any, base: Any, exponent: Any) -> Any:
    """`base**exponent`, infinite or `exp(-LIMIT)` in magnitude where it is beyond.

    An exact `8**8**1000000` has more digits than memory.

    Args:
        mp: The context of mpmath that computes.
        base: A real number.
        exponent: A real number.

    Returns:
        A complex number where there is no real one.
    """
    if not base or not mp.isfinite(base) or not mp.isfinite(exponent):
        return mp.power(base, exponent)
    size = exponent * mp.log(abs(base))
    if abs(size) <= LIMIT or (base < 0 and not mp.isint(exponent)):
        return mp.power(base, exponent)
    magnitude = mp.inf if size > 0 else mp.exp(-LIMIT)
    return -magnitude if base < 0 and mp.fmod(exponent, 2) else magnitude


def rational_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """The exact power; None where it may be irrational.

    Raises:
        ZeroDivisionError: Zero has no negative power.
        OverflowError: The exponent, or the power, is beyond what a float64 holds.
    """
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if abs(exponent) > MAX_LITERAL_POWER:
        raise OverflowError
    if exponent.denominator > 1:
        return base if base == 0 else None
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if bits * abs(int(exponent)) > _MAX_BITS:
        raise OverflowError
    return base ** int(exponent)
