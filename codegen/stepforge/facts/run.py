"""Runs a rule on such values: the first step, and what holds before every later one.

The first step is made by itself, for many rules begin in another way. What is then known of `p` and
the states is given to a later step, and what both have in common again, until nothing changes: what
is left holds before every later step, by induction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import sympy

from stepforge.facts.values import NONE, Algebra, Calculation, Value
from stepforge.language.expression import (
    Apply,
    Assign,
    Expression,
    Name,
    Number,
    Statement,
    names,
)
from stepforge.language.spec import (
    Input,
    Interval,
    Options,
    Spec,
    State,
    holds,
    is_option_condition,
    is_parameter,
    under,
)

R = TypeVar("R")
LATER = sympy.Dummy("n", integer=True, nonnegative=True)
"""The number of a step less two, from the second one on."""
PATIENCE = 2
"""Rounds after which nothing is known of what still changes."""
T = sympy.Symbol("t", integer=True, positive=True)


def symbol(name: str, domain: Interval, generic: bool = False) -> sympy.Symbol:
    """A number of the host, with what its domain says about its sign."""
    if domain.low > 0 or (domain.low == 0 and (domain.low_open or generic)):
        return sympy.Symbol(name, positive=True)
    return (
        sympy.Symbol(name, nonnegative=True) if domain.low == 0 else sympy.Symbol(name, real=True)
    )


class Known(Protocol[R]):
    """What is known of states from elsewhere."""

    def before(self, name: str, t: sympy.Expr) -> Value[R] | None:
        """Of a state before a step."""

    def after(self, name: str, t: sympy.Expr) -> Value[R] | None:
        """Of a state after a step."""


@dataclass(frozen=True)
class Question(Generic[R]):
    """A rule under one option set, and what is asked about it.

    Attributes:
        spec: The optimizer.
        options: The option set.
        algebra: What is to be known of its values.
        zeros: The hyperparameters that are zero.
        still: Whether the gradient is zero in all steps.
        each: Whether `p0` is the parameter before each step instead of the first one.
        generic: Whether hyperparameters that may be zero are not.
        known: What else is known of states.
    """

    spec: Spec
    options: Options
    algebra: Algebra[R]
    zeros: frozenset[str] = frozenset()
    still: bool = False
    each: bool = False
    generic: bool = False
    known: Known[R] | None = None


@dataclass(frozen=True)
class Steps(Generic[R]):
    """What is known of `p` and the states.

    Attributes:
        first: After the first step.
        before: Before every later one.
        later: After it.
    """

    first: Mapping[str, Value[R]]
    before: Mapping[str, Value[R]]
    later: Mapping[str, Value[R]]


def steps(question: Question[R]) -> Steps[R]:
    """What holds in all steps."""
    run = _Run(question)
    first = run.step(run.start(), sympy.Integer(1))
    before = run.settled(first)
    for number in itertools.count():
        later = run.step(before, LATER + 2)
        after = run.settled(later)
        known = {name: run.calculation.joined(value, after[name]) for name, value in before.items()}
        known = {name: run.kept(name, value) for name, value in known.items()}
        changed = [name for name, value in known.items() if value != before[name]]
        if not changed:
            return Steps(first, before, later)
        if number > PATIENCE:
            known |= dict.fromkeys(changed, run.calculation.unknown)
        before = known
    raise AssertionError


class _Run(Generic[R]):
    def __init__(self, question: Question[R]) -> None:
        self.question = question
        self.spec = question.spec
        self.calculation = Calculation(question.algebra)
        self.rule = under(self.spec.rule, question.options)
        self.states = {s.name: s for s in self.spec.active_states(question.options)}
        changing: list[State | Input] = [s for s in self.states.values() if s.scalar]
        changing += [i for i in self.spec.inputs if i.scalar]
        self.changing = {LATER, *(symbol(c.name, c.domain, question.generic) for c in changing)}
        self.numbers = {n.name: self.number(n.name, n.domain) for n in self.spec.numbers}

    def number(self, name: str, domain: Interval) -> Value[R]:
        exact = symbol(name, domain, self.question.generic)
        return self.calculation.number(NONE if name in self.question.zeros else exact, name)

    def parameter(self) -> Value[R]:
        algebra = self.question.algebra
        if algebra.moves:
            return Value(algebra.zero, sympy.Integer(1))
        return Value(algebra.leaf("p", None))

    def start(self) -> dict[str, Value[R]]:
        """`p` and the states before the first step."""
        found = {"p": self.parameter()}
        for name, state in self.states.items():
            if is_parameter(state.init):
                found[name] = found["p"]
            else:
                made = self.value(state.init, self.numbers)
                exact = made.exact if state.scalar else None
                found[name] = Value(made.rest, made.weight, exact, state.domain.low >= 0)
        return found

    def settled(self, after: Mapping[str, Value[R]]) -> dict[str, Value[R]]:
        """What is known before a step, of what is known after the one before."""
        found = {name: self.kept(name, value) for name, value in after.items()}
        if self.question.each and self.question.algebra.moves:
            moved = after["p"].weight != 1 or after["p"].rest != self.question.algebra.zero
            for name, value in found.items():
                if value.weight != 0 and moved:
                    found[name] = self.calculation.unknown
            found["p"] = self.parameter()
        return found

    def kept(self, name: str, value: Value[R]) -> Value[R]:
        """A state as a later step finds it: a number of the host has its own name.

        A weight that changes from step to step is not kept.
        """
        state = self.states.get(name)
        if value.weight.free_symbols & self.changing:
            return self.calculation.unknown
        exact = None
        if state is not None and state.scalar:
            own = symbol(name, state.domain, self.question.generic)
            exact = NONE if self.calculation.is_zero(value) else own
        nonnegative = state is not None and state.domain.low >= 0
        rest = self.question.algebra.lasting(value.rest, self.changing)
        if rest == self.question.algebra.unknown:
            return Value(rest, exact=exact, nonnegative=nonnegative)
        return Value(rest, value.weight, exact, nonnegative)

    def step(self, before: Mapping[str, Value[R]], t: sympy.Expr) -> dict[str, Value[R]]:
        """One step."""
        values = {**self.numbers, **before, "t": self.calculation.number(t, "t")}
        algebra = self.question.algebra
        for name in self.spec.given[1:]:
            is_gradient = name == "g"
            domain = self.spec.domains.get(name, Interval())
            values[name] = Value(algebra.leaf(name, None), nonnegative=domain.low >= 0)
            if is_gradient and self.question.still:
                values[name] = Value(algebra.zero)
        known = self.question.known
        if known is not None:
            values |= {n: v for n in self.states if (v := known.before(n, t)) is not None}
        self.block(self.rule, values)
        return {name: values[name] for name in before}

    def block(self, statements: Iterable[Statement], values: dict[str, Value[R]]) -> None:
        """Runs statements; of a block on numbers both arms, unless it is decided."""
        for statement in statements:
            if isinstance(statement, Assign):
                known = self.question.known and self.question.known.after(
                    statement.name, values["t"].exact
                )
                values[statement.name] = known or self.value(statement.value, values)
                continue
            condition = self.value(statement.condition, values)
            if condition.exact in (sympy.true, sympy.false):
                taken = condition.exact == sympy.true
                self.block(statement.body if taken else statement.orelse, values)
                continue
            body, orelse = dict(values), dict(values)
            self.block(statement.body, body)
            self.block(statement.orelse, orelse)
            values.update({**orelse, **body})
            for name in body.keys() & orelse.keys():
                values[name] = self.calculation.choice(condition, body[name], orelse[name])

    def value(self, e: Expression, values: Mapping[str, Value[R]]) -> Value[R]:
        """The value of an expression."""
        if isinstance(e, Number):
            return self.calculation.number(sympy.Rational(e.value.numerator, e.value.denominator))
        if isinstance(e, Name):
            if e.id in self.question.options:
                return self._truth(self.question.options[e.id])
            return values[e.id]
        if e.op == "select":
            return self._choice(e, values)
        return self.calculation.apply(e.op, [self.value(a, values) for a in e.args])

    def _choice(self, e: Apply, values: Mapping[str, Value[R]]) -> Value[R]:
        if is_option_condition(e.args[0]) and _is_decided(e.args[0], self.question.options):
            return self.value(e.args[1 if holds(e.args[0], self.question.options) else 2], values)
        condition = self.value(e.args[0], values)
        if condition.exact in (sympy.true, sympy.false):
            return self.value(e.args[1 if condition.exact == sympy.true else 2], values)
        arms = [self.value(arm, values) for arm in e.args[1:]]
        return self.calculation.choice(condition, *arms)

    def _truth(self, value: bool) -> Value[R]:
        rest = self.question.algebra.leaf("", sympy.Integer(1))
        return Value(rest, exact=sympy.true if value else sympy.false)


def _is_decided(condition: Expression, options: Options) -> bool:
    return all(name.id in options for name in names(condition))
