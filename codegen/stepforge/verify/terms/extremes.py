"""Maxima and minima in normal form: IEEE's are associative and commutative, signs of zeros and all.

That is not so of C's `fmax`, or of `a if a > b else b`, which keep -0 or +0 by the order of their
operands, and lose a NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Set

from stepforge.verify.terms.nodes import RULES, Rule, Term, apply, distributed, is_choice, plain
from stepforge.verify.terms.zeros import is_no_negative_zero, settled


def _extreme(op: str) -> Rule:
    """Of any number of operands; IEEE's maximum and minimum are associative."""

    def rule(_: str, *args: Term) -> Term:
        if op not in ("max", "min"):
            first, *others = dict.fromkeys(args)
            for other in others:
                first = plain(op, first.kind, (first, other))
            return first
        return settled(_chain(op, {part for a in args for part in _operands(op, a)}))

    return rule


def _chain(op: str, parts: Set[Term]) -> Term:
    """The maximum or minimum of its operands, in an order that depends on nothing but them."""
    parts = _united(op, parts)
    sure = {p for p in parts if is_no_negative_zero(p)}
    if 1 < len(sure) < len(parts):  # those that are never -0 are settled among themselves
        wider = (parts - sure) | {*_operands(op, settled(_chain(op, sure)))}
        if wider != parts:
            return _chain(op, wider)
    first, *others = sorted(parts, key=lambda p: (p.is_constant, p.digest))
    for other in others:
        first = plain(op, first.kind, (first, other))
    return first


def _united(op: str, parts: Set[Term]) -> Set[Term]:
    """Operands of a maximum or minimum, without two that are known to be one together."""
    for pair in itertools.combinations(sorted(parts, key=lambda p: p.digest), 2):
        if (one := _of_pair(op, *pair)) is not None:
            return _united(op, (parts - {*pair}) | {*_operands(op, one)})
    return parts


def _of_pair(op: str, a: Term, b: Term) -> Term | None:
    """The maximum or minimum of two operands where it is no such operation any more."""
    for x, y in ((a, b), (b, a)):
        if x.is_constant and (y.is_constant or x.number != x.number):
            return plain(op, x.kind, (x, y)) if y.is_constant else x
    if is_choice(a) or is_choice(b):
        return distributed(op, "", (a, b))
    if apply("neg", a) is b:
        size = apply("abs", a)
        return size if op == "max" else apply("neg", size)
    return None


def _operands(op: str, term: Term) -> list[Term]:
    """The operands of nested operations of one kind."""
    if term.op != op:
        return [term]
    return [part for a in term.args for part in _operands(op, a)]


RULES |= {op: _extreme(op) for op in ("max", "min", "anymax", "anymin", "maxnum", "minnum")}
