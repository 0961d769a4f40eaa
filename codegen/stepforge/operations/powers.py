"""Powers over the reals in bounded time, whatever the exponent."""

from __future__ import annotations

from typing import Any

LIMIT = 2000
"""Natural logarithm of what counts as infinite, and of its reciprocal; float64 ends at 745."""


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
