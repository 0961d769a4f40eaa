"""Constants that a rule may name: `pi`, unless the author has that name for something else."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from stepforge.language import kinds
from stepforge.language.expression import (
    Apply,
    Assign,
    Expression,
    Name,
    Number,
    Statement,
    assignments,
)
from stepforge.language.spec import Spec

CONSTANTS = {"pi": math.pi}
"""Name → the float64 number that it is."""


def with_constants(spec: Spec) -> Spec:
    """The spec with numbers in place of the names of constants."""
    own = {*kinds.declared(spec), *(a.name for a in assignments(spec.rule))}
    found = {
        name: (repr(value), Fraction(value)) for name, value in CONSTANTS.items() if name not in own
    }
    return replace(spec, rule=tuple(_statement(s, found) for s in spec.rule)) if found else spec


def _statement(s: Statement, found: dict[str, tuple[str, Fraction]]) -> Statement:
    if isinstance(s, Assign):
        return replace(s, value=_expression(s.value, found))
    blocks = (tuple(_statement(inner, found) for inner in block) for block in (s.body, s.orelse))
    body, orelse = blocks
    return replace(s, condition=_expression(s.condition, found), body=body, orelse=orelse)


def _expression(e: Expression, found: dict[str, tuple[str, Fraction]]) -> Expression:
    if isinstance(e, Name) and e.id in found:
        text, value = found[e.id]
        return Number(text, value, e.span)
    if isinstance(e, Apply):
        return replace(e, args=tuple(_expression(a, found) for a in e.args))
    return e
