"""The expressions and statements of a rule, in the order of the source.

The tree keeps the order of operations as written, which is what runs; `language.mathematics` gives
it its SymPy meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from stepforge.language.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Number:
    """A literal: its text as written and its exact value."""

    text: str
    value: Fraction
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A hyperparameter, option, state, local, or one of `p`, `g`, `t`."""

    id: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of `operations.table.OPERATIONS` applied to its arguments, in order."""

    op: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)


Expression = Number | Name | Apply


@dataclass(frozen=True, slots=True)
class Assign:
    """`name = value`."""

    name: str
    value: Expression
    name_span: Span
    text: str
    """The statement as the author wrote it."""


@dataclass(frozen=True, slots=True)
class If:
    """A block on options, or on host scalars; `elif` is an `If` in `orelse`."""

    condition: Expression
    body: tuple[Statement, ...]
    orelse: tuple[Statement, ...]
    text: str = field(default="", compare=False)
    """The condition as the author wrote it."""


Statement = Assign | If


def names(expression: Expression) -> Iterator[Name]:
    """The names of an expression, left to right."""
    rest = [expression]
    while rest:
        e = rest.pop()
        if isinstance(e, Name):
            yield e
        elif isinstance(e, Apply):
            rest.extend(reversed(e.args))


def assignments(statements: tuple[Statement, ...]) -> Iterator[Assign]:
    """Every assignment of a rule, in source order, whatever the options."""
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement
        else:
            yield from assignments(statement.body)
            yield from assignments(statement.orelse)


def read(statements: tuple[Statement, ...]) -> Iterator[Name]:
    """The names that a rule reads, in source order, whatever the options."""
    for statement in statements:
        if isinstance(statement, Assign):
            yield from names(statement.value)
        else:
            yield from names(statement.condition)
            yield from read(statement.body)
            yield from read(statement.orelse)


def subexpressions(expression: Expression) -> Iterator[Apply]:
    """The operations of an expression, inner ones first."""
    if isinstance(expression, Apply):
        for argument in expression.args:
            yield from subexpressions(argument)
        yield expression
