"""Between which numbers a term surely is, for any values of its leaves, where it is not NaN.

Rounding is monotone, so the ends of a result are the results at the ends, in the term's own
arithmetic: the sum of two positive numbers is positive, their product may underflow to zero.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterable

import numpy as np

from stepforge.verify.terms.nodes import FLOATS, Term

Span = tuple[float, float]
ANY: Span = (-math.inf, math.inf)
NOTHING: Span = (math.inf, -math.inf)
"""Of what is always NaN."""
OTHERS: dict[str, Callable[[Term], Span]] = {}
"""Of operations that other modules know."""
NUMBERS: dict[str, Callable[[Term], bool]] = {}
"""Whether results of such operations are never NaN."""
_KNOWN: weakref.WeakKeyDictionary[Term, Span] = weakref.WeakKeyDictionary()


def span(x: Term) -> Span:
    """The least and the greatest number that it may be."""
    if x not in _KNOWN:
        with np.errstate(all="ignore"):
            _KNOWN[x] = _span(x)
    return _KNOWN[x]


def is_number(x: Term) -> bool:
    """Whether a term is surely not NaN, whatever its leaves are."""
    if x.is_constant:
        return x.number == x.number
    return x.op in NUMBERS and NUMBERS[x.op](x)


def _span(x: Term) -> Span:
    if x.kind not in FLOATS:
        return ANY
    if x.is_constant:
        return (x.number, x.number) if x.number == x.number else NOTHING
    spans = [span(a) for a in x.args if a.kind in FLOATS]
    if NOTHING in spans and x.op not in ("select", "maxnum", "minnum"):
        return NOTHING
    match x.op:
        case "neg":
            return -spans[0][1], -spans[0][0]
        case "abs":
            low, high = spans[0]
            return max(low, -high, 0.0), max(-low, high)
        case "sqrt":
            return _ends(x, (np.sqrt(_of(x, max(end, 0.0))) for end in spans[0]))
        case "mul" if x.args[0] is x.args[1]:
            low, high = spans[0]
            least, most = max(low, -high, 0.0), max(-low, high)
            return _ends(x, (_of(x, least) * _of(x, least), _of(x, most) * _of(x, most)))
        case "mul":
            return _corners(x, spans, lambda a, b: a * b)
        case "div" if spans[1][0] > 0 or spans[1][1] < 0 or x.args[1].op == "abs":
            return _corners(x, spans, lambda a, b: a / b)
        case "add":
            return _ends(x, (_of(x, a) + _of(x, b) for a, b in zip(*spans, strict=True)))
        case "cvt":
            return _ends(x, (_of(x, end) for end in spans[0]))
        case "max":
            return max(s[0] for s in spans), max(s[1] for s in spans)
        case "min":
            return min(s[0] for s in spans), min(s[1] for s in spans)
        case "select" | "maxnum" | "minnum":
            return min(s[0] for s in spans), max(s[1] for s in spans)
    return OTHERS[x.op](x) if x.op in OTHERS else ANY


def _of(x: Term, value: float) -> np.floating:
    """A number in the arithmetic of a term."""
    kind = FLOATS[x.kind]
    return kind(value)  # type: ignore[no-any-return]


def _ends(x: Term, ends: Iterable[np.floating]) -> Span:
    """The least and the greatest; infinity less infinity may come from any sum."""
    found = [float(end) for end in ends]
    low, high = found[0], found[-1]
    return (-math.inf if low != low else low), (math.inf if high != high else high)


def _corners(x: Term, spans: list[Span], compute: Callable[..., np.floating]) -> Span:
    """Of what is monotone in both operands; next to `0*inf` products are of any size."""
    found = []
    for a, b in itertools.product(*spans):
        value = float(compute(_of(x, a), _of(x, b)))
        infinity = math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))
        found += [value] if value == value else [0.0, infinity]
    return min(found), max(found)


def sign(x: Term) -> int:
    """What is sure of the sign of a number that is not NaN.

    Returns:
        2 for a positive one, 1 for one that is zero or positive, the negative of these for the
        others, and 0 if nothing is sure.
    """
    low, high = span(x)
    if low > high:
        return 0
    if low >= 0:
        return 2 if low > 0 else 1
    return (-2 if high < 0 else -1) if high <= 0 else 0
