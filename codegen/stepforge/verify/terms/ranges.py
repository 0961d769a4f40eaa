"""What the declared domains say about the range of a term, over the reals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stepforge.language.spec import Interval
from stepforge.verify.terms.evaluation import plain
from stepforge.verify.terms.terms import Term, nodes

Range = tuple[float, float]
_ANY: Range = (-math.inf, math.inf)


def sign(term: Term, domains: Mapping[str, Interval]) -> int:
    """1 for a term that is never negative, -1 for one that is never positive, else 0."""
    low, high = span(term, domains)
    return 1 if low >= 0 else -1 if high <= 0 else 0


def span(term: Term, domains: Mapping[str, Interval]) -> Range:
    """Bounds of a term; infinite where nothing is known."""
    done: dict[Term, Range] = {}
    for node in nodes([term]):
        done[node] = _span(node, [done[a] for a in node.args], domains)
    return done[term]


def _span(node: Term, args: list[Range], domains: Mapping[str, Interval]) -> Range:
    if node.op in ("load", "scalar"):
        domain = domains.get(node.data, Interval())
        return domain.low, domain.high
    if node.op == "const":
        return (0.0, 1.0) if node.kind == "bool" else (node.number, node.number)
    if node.kind == "bool":
        return 0.0, 1.0
    if any(math.isnan(x) for pair in args for x in pair):
        return _ANY
    match plain(node.op):
        case "add":
            if node.args[0] is node.args[1]:
                return args[0][0] * 2, args[0][1] * 2
            return args[0][0] + args[1][0], args[0][1] + args[1][1]
        case "neg":
            return -args[0][1], -args[0][0]
        case "mul":
            if node.args[0] is node.args[1]:
                return _square(args[0])
            return _product(*args)
        case "fma":
            low, high = _square(args[0]) if node.args[0] is node.args[1] else _product(*args[:2])
            return low + args[2][0], high + args[2][1]
        case "div":
            return _product(args[0], _inverse(args[1]))
        case "rcp":
            return _inverse(args[0])
        case "sqrt":
            return math.sqrt(max(args[0][0], 0)), math.sqrt(max(args[0][1], 0))
        case "abs":
            low, high = args[0]
            return max(low, -high, 0.0), max(-low, high)
        case "max" | "anymax" | "maxnum":
            return max(a[0] for a in args), max(a[1] for a in args)
        case "min" | "anymin" | "minnum":
            return min(a[0] for a in args), min(a[1] for a in args)
        case "select":
            return min(args[1][0], args[2][0]), max(args[1][1], args[2][1])
        case "cvt":
            return args[0]
        case "exp" | "ex2":
            return 0.0, math.inf
        case "pow":
            return _power(*args)
    return _ANY


def _times(a: float, b: float) -> float:
    return 0.0 if 0 in (a, b) else a * b


def _product(a: Range, b: Range) -> Range:
    corners = [_times(x, y) for x in a for y in b]
    return min(corners), max(corners)


def _square(a: Range) -> Range:
    low, high = max(a[0], -a[1], 0.0), max(-a[0], a[1])
    return low * low, high * high


def _inverse(a: Range) -> Range:
    low, high = a
    if low < 0 < high:
        return _ANY
    ends = [1 / x if x else math.copysign(math.inf, 1 if high > 0 else -1) for x in (low, high)]
    return min(ends), max(ends)


def _power(base: Range, exponent: Range) -> Range:
    if base[0] < 0:
        return _ANY
    if base[1] <= 1 and exponent[0] >= 0:
        return 0.0, 1.0
    return 0.0, math.inf
