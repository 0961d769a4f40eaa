"""W201: which square roots and logarithms may see a negative number, by signs alone."""

from __future__ import annotations

from collections.abc import Iterator

from stepforge.language.diagnostics import Diagnostic
from stepforge.language.expression import Apply, Expression, Name, Number
from stepforge.language.literals import literal
from stepforge.language.spec import Interval, Options, Spec, holds, is_option_condition, steps


def possibly_negative(spec: Spec) -> Iterator[Diagnostic]:
    """W201: the argument of `sqrt` and `log` is not negative, as far as domains tell."""
    for options in spec.option_sets():
        signs = {"t": Interval(1.0, low_open=False)}
        signs |= {h.name: h.domain for h in spec.hyperparameters}
        signs |= {s.name: s.domain for s in spec.states}
        for statement, surely in steps(spec.rule, options):
            for e in _evaluated(statement.value, options) if surely else ():
                what = _needs_sign(e)
                if what and not _nonnegative(e.args[0], signs, options):
                    message = f"the {what} may be negative"
                    help = "declare a domain such as `v >= 0`, or clamp it with `max`"
                    yield spec.source.diagnostic("W201", message, e.args[0].span, help)
            positive = _nonnegative(statement.value, signs, options)
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


def _needs_sign(e: Apply) -> str:
    """What of an operation must not be negative, or ""."""
    if e.op in ("sqrt", "log"):
        return f"argument of `{e.op}`"
    return "base of a real power" if e.op == "pow" and not _whole(e.args[1]) else ""


def _whole(e: Expression) -> bool:
    """Whether an expression is an integer by its form: literals and the step number."""
    if isinstance(e, Name):
        return e.id == "t"
    if isinstance(e, Number):
        return e.value.denominator == 1
    return e.op in ("neg", "add", "sub", "mul") and all(_whole(a) for a in e.args)


def _nonnegative(e: Expression, signs: dict[str, Interval], options: Options) -> bool:
    """Whether the value is zero or more, by signs alone; False when that does not decide."""
    if isinstance(e, Number):
        return True
    if isinstance(e, Name):
        return signs.get(e.id, Interval()).low >= 0

    def positive(part: Expression) -> bool:
        return _nonnegative(part, signs, options)

    match e.op, e.args:
        case (("add" | "mul" | "div" | "min"), (a, b)):
            return (positive(a) and positive(b)) or (e.op == "mul" and a == b)
        case "sub", (Number(value=one), b) if one == 1:
            return _at_most_one(b, signs)
        case "sub", (Name(id=name), Number(value=b)):
            return signs.get(name, Interval()).low >= b
        case "max", (a, b):
            return positive(a) or positive(b)
        case "pow", (a, b):
            power = literal(b)
            return positive(a) or (power is not None and power % 2 == 0)
        case (("abs" | "sqrt" | "exp"), _):
            return True
        case "sign", (a,):
            return positive(a)
        case "clip", (x, low, high):
            return (positive(x) or positive(low)) and positive(high)
        case "select", (condition, a, b):
            if is_option_condition(condition):
                return positive(a if holds(condition, options) else b)
            return positive(a) and positive(b)
        case _:
            return False


def _at_most_one(e: Expression, signs: dict[str, Interval]) -> bool:
    """Whether a name, or a power of it, lies in [0, 1] by its domain."""
    if isinstance(e, Apply) and e.op == "pow":
        return _at_most_one(e.args[0], signs) and _nonnegative(e.args[1], signs, {})
    if isinstance(e, Number):
        return e.value <= 1
    interval = signs.get(e.id, Interval()) if isinstance(e, Name) else Interval()
    return interval.low >= 0 and interval.high <= 1
