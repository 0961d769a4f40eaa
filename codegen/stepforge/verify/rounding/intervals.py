"""Intervals of what rounding may give: the arithmetic that the rows of the table are passed.

Exact values have 50 digits. NaN is not in an interval but beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath

from stepforge.operations.formats import FORMATS, Format
from stepforge.operations.powers import power as real_power

DIGITS = 50
mp = mpmath.MPContext()
mp.dps = DIGITS
_ZERO = mp.mpf(0)
_SLACK = mp.mpf(1) + mp.mpf(2) ** -40  # covers the rounding of the 50-digit arithmetic itself


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What rounding to a format can do.

    Attributes:
        unit: Largest relative rounding error, half a unit in the last place of 1.
        tiny: Half the least subnormal: the largest absolute rounding error near zero.
        largest: Largest finite number.
    """

    unit: Any
    tiny: Any
    largest: Any


def _limits(form: Format) -> Limits:
    unit = mp.mpf(form.unit)
    return Limits(unit, mp.mpf(2) ** form.least * unit, mp.mpf(form.largest))


LIMITS = {FORMATS[kind].numpy: _limits(FORMATS[kind]) for kind in ("f32", "f64")}
"""Of the formats that rules are computed in, by their names in NumPy."""


class Undefined(Exception):
    """The formula has no value here: 0/0, or the square root of a negative number.

    Infinities are values, as in IEEE arithmetic: `log(0)` is minus infinity, `1/inf` is zero. Of a
    quotient by zero the sign is open.
    """


@dataclass(frozen=True, slots=True)
class Enclosure:
    """An exact value and what its rounding may be; conditions are 0 and 1.

    Attributes:
        value: The exact value; NaN where the formula has none.
        low: Lower end of the interval of roundings.
        high: Upper end.
        nan: Whether the rounded result may be NaN: `sqrt(x - y)` of rounded equals, for example.
        tensor: Whether it is in the compute type, no host scalar in float64.
    """

    value: Any
    low: Any
    high: Any
    nan: bool = False
    tensor: bool = False

    def __contains__(self, number: float) -> bool:
        if number != number:
            return self.nan
        return bool(self.low <= number <= self.high)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known about the rounded result."""
        return self.nan and bool(self.low == -mp.inf and self.high == mp.inf)


def exactly(value: Any, tensor: bool = False) -> Enclosure:
    """A number without error."""
    exact = value if isinstance(value, mp.mpf) else mp.mpf(float(value))
    return Enclosure(exact, exact, exact, False, tensor)


def anything(value: Any, tensor: bool = False) -> Enclosure:
    """A number of which nothing is known but the exact value."""
    return Enclosure(value, -mp.inf, mp.inf, True, tensor)


def rounded(e: Enclosure, form: Limits, ulps: int = 0) -> Enclosure:
    """The interval after one rounding; `ulps` for operations that are not correctly rounded.

    An error of a few units in the last place is relative above the subnormal numbers and absolute
    among them. No rounding changes a sign.
    """
    relative, absolute = _errors(form, max(1, 2 * ulps))
    low = e.low - abs(e.low) * relative - absolute if mp.isfinite(e.low) else e.low
    high = e.high + abs(e.high) * relative + absolute if mp.isfinite(e.high) else e.high
    if low < -form.largest:
        low = -mp.inf
    if high > form.largest:
        high = mp.inf
    if e.low >= _ZERO > low:
        low = _ZERO
    if e.high <= _ZERO < high:
        high = _ZERO
    return Enclosure(e.value, low, high, e.nan, e.tensor)


def stored(e: Enclosure, form: Format) -> Enclosure:
    """What is rounded to nearest in a format: the ends are, as rounding is monotone."""
    value, low, high = (nearest(x, form) for x in (e.value, e.low, e.high))
    return Enclosure(value, low, high, e.nan, e.tensor)


def nearest(x: Any, form: Format) -> Any:
    """The number of a format that is nearest, of two the even one; infinity beyond the largest."""
    if x == 0 or not mp.isfinite(x):
        return x
    _, exponent = mp.frexp(x)  # of a fraction from 1/2 on
    last = max(exponent - 1, form.least) - form.precision + 1
    found = mp.ldexp(mp.nint(mp.ldexp(x, -last)), last)
    return found if abs(found) <= form.largest else mp.sign(x) * mp.inf


@cache
def _errors(form: Limits, count: int) -> tuple[Any, Any]:
    """The largest relative error, and the largest absolute one near zero, of so many roundings."""
    return form.unit * _SLACK * count, form.tiny * count


# Interval arithmetic: the exact value and the interval of each operation before its own rounding.
# A NaN that comes in goes out, which `enclosure` adds. Here is what makes new ones.


def monotone(f: Callable[..., Any], *args: Enclosure) -> Enclosure:
    """Of a function that is monotone in every argument on the interval: look at the corners."""
    corners = [f(*ends) for ends in itertools.product(*((a.low, a.high) for a in args))]
    exact = f(*(a.value for a in args))
    if any(mp.isnan(corner) for corner in corners):
        return anything(exact)
    return Enclosure(exact, min(corners), max(corners))


def add(a: Enclosure, b: Enclosure) -> Enclosure:
    """The sum; NaN of opposite infinities."""
    opposite = (a.low == -mp.inf and b.high == mp.inf) or (a.high == mp.inf and b.low == -mp.inf)
    return Enclosure(a.value + b.value, a.low + b.low, a.high + b.high, bool(opposite))


def neg(a: Enclosure) -> Enclosure:
    """The negative."""
    return Enclosure(-a.value, -a.high, -a.low)


def mul(a: Enclosure, b: Enclosure) -> Enclosure:
    """The product; NaN of zero and infinity."""
    ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    nan = (_has_zero(a) and _infinite(b)) or (_infinite(a) and _has_zero(b))
    return Enclosure(a.value * b.value, min(ends), max(ends), nan)


def _times(x: Any, y: Any) -> Any:
    return _ZERO if x == 0 or y == 0 else x * y


def _has_zero(a: Enclosure) -> bool:
    return bool(a.low <= 0 <= a.high)


def _infinite(a: Enclosure) -> bool:
    return bool(mp.isinf(a.low) or mp.isinf(a.high))


def div(a: Enclosure, b: Enclosure) -> Enclosure:
    """The quotient; nothing is known where the divisor may be zero, or both may be infinite."""
    if b.value == 0:
        raise Undefined
    if _has_zero(b) or (_infinite(a) and _infinite(b)):
        return anything(a.value / b.value)
    ends = [x / y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Enclosure(a.value / b.value, min(ends), max(ends))


def sqrt(a: Enclosure) -> Enclosure:
    """The square root."""
    if a.value < 0:
        raise Undefined
    return Enclosure(mp.sqrt(a.value), mp.sqrt(max(a.low, _ZERO)), mp.sqrt(a.high), bool(a.low < 0))


def log(a: Enclosure) -> Enclosure:
    """The logarithm."""
    if a.value < 0:
        raise Undefined
    exact, low, high = (mp.log(x) if x > 0 else -mp.inf for x in (a.value, a.low, a.high))
    return Enclosure(exact, low, high, bool(a.low < 0))


def power(a: Enclosure, b: Enclosure) -> Enclosure:
    """The power, of a base that is not negative or to an integer."""
    if a.value == 0 and b.value < 0:
        raise Undefined
    exact = real_power(mp, a.value, b.value)
    if not isinstance(exact, mp.mpf):
        raise Undefined
    if a.low == a.high and b.low == b.high:
        return Enclosure(exact, exact, exact)
    if a.low <= 0:
        return anything(exact)
    return monotone(lambda x, y: real_power(mp, x, y), a, b)


def magnitude(a: Enclosure) -> Enclosure:
    """The absolute value."""
    ends = (abs(a.low), abs(a.high))
    return Enclosure(abs(a.value), _ZERO if _has_zero(a) else min(ends), max(ends))


def compare(test: Callable[[Any, Any], bool], a: Enclosure, b: Enclosure) -> Enclosure:
    """A condition is 0 or 1; [0, 1] where rounding decides."""
    points = a.low == a.high and b.low == b.high
    outcomes = {False, True}
    if points or a.high < b.low or b.high < a.low:
        outcomes = {test(a.low, b.low)}
    if a.nan or b.nan:
        outcomes.add(test(mp.nan, b.value))
    return Enclosure(mp.mpf(test(a.value, b.value)), min(outcomes), max(outcomes))


def either(test: Enclosure, left: Enclosure, right: Enclosure) -> Enclosure:
    """The arm that a condition takes, or both where it is open."""
    if test.low == test.high:
        return left if test.low else right
    exact = left.value if test.value else right.value
    low, high = min(left.low, right.low), max(left.high, right.high)
    return Enclosure(exact, low, high, left.nan or right.nan, left.tensor or right.tensor)
