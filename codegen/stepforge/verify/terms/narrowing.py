"""Comparisons of what was rounded to fewer digits, as comparisons of what it was before.

Rounding to nearest is monotone, so a float64 number is below 1 in float32 where it is below some
number of float64: compilers compare with that. It is no neighbour of 1, and no number of float32:
1 - 2**-26 is 1 in float32, and so is everything between.
"""

from __future__ import annotations

import math

import numpy as np

from stepforge.verify.terms.terms import Term, apply, constant, nodes

_LARGEST = float(np.finfo(np.float32).max)
_BEYOND = 2.0**128
"""The number after the largest one, if exponents went on: what rounds to it is infinite."""


def last(number: float) -> float:
    """The largest number of float64 that is not above one of float32 when it is rounded to that."""
    if number == math.inf:
        return number
    if number == -math.inf:
        low, high = -_BEYOND, -_LARGEST
    else:
        low = number
        with np.errstate(over="ignore"):
            high = float(np.nextafter(np.float32(number), np.float32(math.inf)))
        high = min(high, _BEYOND)
    middle = low + (high - low) / 2  # exact: a digit more than float32 has
    with np.errstate(over="ignore"):
        is_low = float(np.float32(middle)) <= number
    return middle if is_low else math.nextafter(middle, -math.inf)


def widened(term: Term) -> Term:
    """A term whose comparisons of rounded numbers with constants are ones of the numbers."""
    done: dict[Term, Term] = {}
    for part in nodes([term]):
        args = tuple(done[a] for a in part.args)
        if part.op in ("lt", "le", "eq") and (found := _comparison(part.op, *args)) is not None:
            done[part] = found
        elif args == part.args:
            done[part] = part
        else:
            done[part] = apply(part.op, *args, kind=part.kind, data=part.data)
    return done[term]


def _comparison(op: str, a: Term, b: Term) -> Term | None:
    for x, end in ((a, b), (b, a)):
        if not (x.op == "cvt" and x.kind == "f32" and x.args[0].kind == "f64"):
            continue
        if not end.is_constant or end.number != end.number:
            continue
        (whole,) = x.args
        most = constant(last(end.number), "f64")
        least = constant(-last(-end.number), "f64")  # rounding is symmetric
        below, above = apply("le", whole, most), apply("le", least, whole)
        if op == "eq":
            return apply("and", below, above)
        if op == "le":
            return below if x is a else above
        return apply("lt", whole, least) if x is a else apply("lt", most, whole)
    return None
