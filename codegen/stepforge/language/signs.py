"""W201: which square roots and logarithms may see a negative number, by signs alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stepforge.language.diagnostics import Diagnostic
from stepforge.language.expression import Apply, Expression, Name, Number
from stepforge.language.literals import literal
from stepforge.language.spec import Interval, Options, Spec, holds, is_option_condition, steps
from stepforge.operations.table import OPERATIONS


def possibly_negative(spec: Spec) -> Iterator[Diagnostic]:
    """W201: the argument of `sqrt` and `log` is not negative, as far as domains tell."""
    for options in spec.option_sets():
        signs = {"t": Interval(1.0, low_open=False), **spec.domains}
        for statement, surely in steps(spec.rule, options):
            for e in _evaluated(statement.value, options) if surely else ():
                if what := Signs(signs, options).restricted(e):
                    message = f"the {what} may be negative"
                    help = "declare a domain such as `v >= 0`, or clamp it with `max`"
                    yield spec.source.diagnostic("W201", message, e.args[0].span, help)
            positive = Signs(signs, options).nonnegative(statement.value)
            if not surely and statement.name in signs:  # it may keep its value
                positive = positive and signs[statement.name].low >= 0
            declared = next((s for s in spec.states if s.name == statement.name), None)
            low = 0.0 if positive or (declared and declared.domain.low >= 0) else float("-inf")
            signs[statement.name] = Interval(low, low_open=False)


def _evaluated(expression: Expression, options: Options) -> Iterator[Apply]:
    """The operations that run unconditionally under these options."""
    if not isinstance(expression, Apply):
        return
    args = expression.args
    if expression.op == "select":
        if not is_option_condition(args[0]):
            return
        args = (args[1] if holds(args[0], options) else args[2],)
    for argument in args:
        yield from _evaluated(argument, options)
    yield expression


@dataclass(frozen=True, slots=True)
class Signs:
    """What domains and assignments tell about signs, for the rows of the table.

    Attributes:
        known: The interval of every name.
        options: Decide conditions on options.
    """

    known: dict[str, Interval]
    options: Options

    def nonnegative(self, e: Expression) -> bool:
        """Whether the value is zero or more; False when signs do not decide."""
        if isinstance(e, Number):
            return True
        if isinstance(e, Name):
            return self.known.get(e.id, Interval()).low >= 0
        return OPERATIONS[e.op].nonnegative(self, *e.args)

    def restricted(self, e: Apply) -> str:
        """What of an operation must not be negative and may be, or ""."""
        what = OPERATIONS[e.op].restricted(self, *e.args)
        return "" if self.nonnegative(e.args[0]) else what

    def arms(self, condition: Expression, a: Expression, b: Expression) -> tuple[Expression, ...]:
        """The arms of a choice that the options leave."""
        if not is_option_condition(condition):
            return a, b
        return (a if holds(condition, self.options) else b,)

    def is_whole(self, e: Expression) -> bool:
        """Whether it is an integer by its form: literals and the step number."""
        if isinstance(e, Name):
            return e.id == "t"
        if isinstance(e, Number):
            return e.value.denominator == 1
        return OPERATIONS[e.op].whole and all(map(self.is_whole, e.args))

    def is_even(self, e: Expression) -> bool:
        """Whether it is an even number of literals."""
        value = literal(e)
        return value is not None and value % 2 == 0

    def is_at_least(self, a: Expression, b: Expression) -> bool:
        """Whether a number is at least another one: 1 and a decay, a name and its bound."""
        match a, b:
            case Number(value=one), _ if one == 1:
                return self._at_most_one(b)
            case Name(id=name), Number(value=bound):
                return self.known.get(name, Interval()).low >= bound
        return False

    def _at_most_one(self, e: Expression) -> bool:
        """Whether a name, or a power of it, lies in [0, 1] by its domain."""
        if isinstance(e, Apply) and e.op == "pow":
            return self._at_most_one(e.args[0]) and self.nonnegative(e.args[1])
        if isinstance(e, Number):
            return e.value <= 1
        interval = self.known.get(e.id, Interval()) if isinstance(e, Name) else Interval()
        return interval.low >= 0 and interval.high <= 1
