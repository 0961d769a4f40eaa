"""The semantic rules of the language: one small function each.

The rules run in rounds, because later ones need names and types that make sense. A rule that
depends on the options is applied to every set of options, where the rule is a straight line.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from codegen import kinds
from codegen.diagnostics import Diagnostic, Span, nearest, short
from codegen.expression import (
    Apply,
    Assign,
    Expression,
    If,
    Name,
    Number,
    Statement,
    assignments,
    names,
)
from codegen.kinds import Kind
from codegen.operations import FUNCTIONS, OPERATIONS
from codegen.spec import (
    BUILT_IN,
    Interval,
    Options,
    Spec,
    holds,
    is_option_condition,
    kernel_name,
    name_problem,
)

Found = Iterator[Diagnostic]
MAX_POWER = 16
MAX_LITERAL_POWER = 300


def check(spec: Spec) -> list[Diagnostic]:
    """Every violation of a semantic rule, errors and warnings."""
    for group in (_NAMES, _TYPES, _FLOW, _EFFECT):
        found = [d for rule in group for d in rule(spec)]
        if found:
            return found
    return list(possibly_negative(spec))


def straight(statements: Iterable[Statement], options: Options) -> Iterator[Assign]:
    """The assignments that run under these options, in order."""
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement
        else:
            taken = statement.body if holds(statement.condition, options) else statement.orelse
            yield from straight(taken, options)


def conditions(statements: Iterable[Statement]) -> Iterator[Expression]:
    """The conditions of all `if` blocks."""
    for statement in statements:
        if isinstance(statement, If):
            yield statement.condition
            yield from conditions(statement.body)
            yield from conditions(statement.orelse)


def expressions(spec: Spec) -> Iterator[Expression]:
    """The conditions and right sides of the rule."""
    yield from conditions(spec.rule)
    yield from (statement.value for statement in assignments(spec.rule))


def subexpressions(expression: Expression) -> Iterator[Apply]:
    """The operations of an expression, inner ones first."""
    if isinstance(expression, Apply):
        for argument in expression.args:
            yield from subexpressions(argument)
        yield expression


def literal(expression: Expression) -> Fraction | None:
    """The exact value of an expression of literals alone; None if it is not one.

    Raises:
        ZeroDivisionError: It divides by zero.
        OverflowError: It, or a part of it, is beyond what a float64 holds.
    """
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return None
    return _folded(expression.op, [literal(argument) for argument in expression.args])


def _folded(op: str, parts: list[Fraction | None]) -> Fraction | None:
    """The value of an operation on literals; None where one of them is unknown."""
    if op == "div" and parts[1] == 0:
        raise ZeroDivisionError
    values = [part for part in parts if part is not None]
    if len(values) < len(parts):
        return None
    match op, values:
        case "neg", [a]:
            result = -a
        case "add", [a, b]:
            result = a + b
        case "sub", [a, b]:
            result = a - b
        case "mul", [a, b]:
            result = a * b
        case "div", [a, b]:
            result = a / b
        case "abs", [a]:
            result = abs(a)
        case "min" | "max" as name, [a, b]:
            result = min(a, b) if name == "min" else max(a, b)
        case "pow", [a, b]:
            return _literal_power(a, b)
        case "sqrt", [a] if a == 0:
            result = a
        case _:
            return None
    if abs(result) > _LARGEST:
        raise OverflowError
    # What float64 rounds to zero is zero to a divisor.
    return result if abs(result) > _SMALLEST else Fraction(0)


_LARGEST = Fraction(sys.float_info.max)
_SMALLEST = Fraction(1, 2**1075)
_MAX_BITS = 100_000
"""Of an exact power; `1.000001**300` to the 300th, to the 300th, would take all memory."""


def _literal_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if abs(exponent) > MAX_LITERAL_POWER:
        raise OverflowError
    if exponent.denominator > 1:
        return base if base == 0 else None
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if bits * abs(int(exponent)) > _MAX_BITS:
        raise OverflowError
    result = base ** int(exponent)
    if abs(result) > _LARGEST:
        raise OverflowError
    return result if abs(result) > _SMALLEST else Fraction(0)


# Names.


_COMMON_NAMES = {
    "theta": "p", "param": "p", "params": "p", "parameter": "p", "w": "p", "x": "p",
    "grad": "g", "gradient": "g", "step": "t", "k": "t", "i": "t",
}  # fmt: skip


def unknown_names(spec: Spec) -> Found:
    """E104: every name is built in, declared, or assigned somewhere."""
    known = set(kinds.declared(spec)) | {a.name for a in assignments(spec.rule)}
    helps: dict[str, str] = {}
    for expression in expressions(spec):
        for name in names(expression):
            if name.id not in known:
                if name.id not in helps:
                    helps[name.id] = _suggestion(name.id, known)
                message = f"unknown name `{name.id}`"
                yield spec.source.diagnostic("E104", message, name.span, helps[name.id])


def _suggestion(name: str, known: set[str]) -> str:
    if name in FUNCTIONS:
        return f"`{name}` is a function: write `{name}(…)`"
    if name in _COMMON_NAMES:
        built_in = _COMMON_NAMES[name]
        return f"{BUILT_IN[built_in]} is `{built_in}`"
    return nearest(name, known)


def assignable_names(spec: Spec) -> Found:
    """E122, E013, E014: assigned names are `p`, `g`, states, or locals with allowed names."""
    what = {"t": "the step number"}
    what |= {h.name: "a hyperparameter" for h in spec.hyperparameters}
    what |= {o.name: "an option" for o in spec.options}
    own = (kernel_name(spec.name),)
    open_names = {"p", "g"} | {s.name for s in spec.states}
    for statement in assignments(spec.rule):
        name, span = statement.name, statement.name_span
        if name in what:
            message = f"`{name}` is {what[name]} and cannot be assigned"
            yield spec.source.diagnostic("E122", message, span, "use a local of another name")
        elif name not in open_names and (problem := name_problem(name, own)):
            code, reason, help = problem
            yield spec.source.diagnostic(code, f"`{short(name)}` {reason}", span, help)


def upper_case_locals(spec: Spec) -> Found:
    """E018: no local is what a kernel calls an option."""
    declared = set(kinds.declared(spec))
    options = {o.name.upper(): o.name for o in spec.options}
    for statement in assignments(spec.rule):
        name = statement.name
        if name in options and name not in declared:
            message = f"`{name}` is what kernels call the option `{options[name]}`"
            span = statement.name_span
            yield spec.source.diagnostic("E018", message, span, "rename one of them")


# Types.


def block_conditions(spec: Spec) -> Found:
    """E121: `if` blocks depend on options alone."""
    options = {o.name for o in spec.options}
    for condition in conditions(spec.rule):
        on_options = all(name.id in options for name in names(condition))
        if not on_options or not is_option_condition(condition):
            help = "for a condition on values write `x if condition else y`"
            message = "the condition of an `if` block must be a condition on options"
            yield spec.source.diagnostic("E121", message, condition.span, help)


def condition_types(spec: Spec) -> Found:
    """E111: conditions stand where conditions belong, numbers where numbers belong."""
    options = {o.name for o in spec.options}

    def is_condition(e: Expression) -> bool:
        if isinstance(e, Name):
            return e.id in options
        return isinstance(e, Apply) and OPERATIONS[e.op].boolean

    conditions_in_locals = {a.name for a in assignments(spec.rule) if is_condition(a.value)}

    def visit(e: Expression, wanted: bool) -> Found:
        if isinstance(e, Name) and e.id in conditions_in_locals:
            return  # reported where it is assigned
        if is_condition(e) is not wanted:
            have = "a condition" if is_condition(e) else "a number"
            want = "a condition" if wanted else "a number"
            shown = f"`{e.id}` is" if isinstance(e, Name) else "this is"
            help = "compare it with a number" if wanted else "write `1 if condition else 0`"
            message = f"{shown} {have}, but {want} is needed here"
            yield spec.source.diagnostic("E111", message, e.span, help)
        if isinstance(e, Apply):
            for index, argument in enumerate(e.args):
                first = e.op == "select" and index == 0
                yield from visit(argument, first or OPERATIONS[e.op].conditions)

    for statement in assignments(spec.rule):
        if is_condition(statement.value):
            message = f"`{statement.name}` would be a condition, but locals and states are numbers"
            help = "write the condition where it decides"
            yield spec.source.diagnostic("E111", message, statement.value.span, help)
        else:
            yield from visit(statement.value, False)


def mixed_conditions(spec: Spec) -> Found:
    """E132: a condition is on options or on values, not on both."""
    options = {o.name for o in spec.options}
    for statement in assignments(spec.rule):
        for e in subexpressions(statement.value):
            if e.op == "select":
                kinds_of_names = {name.id in options for name in names(e.args[0])}
                if len(kinds_of_names) > 1:
                    message = "the condition mixes options and values"
                    help = "write `(x if condition else y) if option else y`"
                    yield spec.source.diagnostic("E132", message, e.args[0].span, help)


def literal_arithmetic(spec: Spec) -> Found:
    """E113, E109, E106: literals divide by no zero and stay within float64."""
    for expression in expressions(spec):
        found: list[Diagnostic] = []
        _literal(expression, spec, found)
        yield from found


def _literal(e: Expression, spec: Spec, found: list[Diagnostic]) -> Fraction | None:
    """Like `literal`, but reports every part that has no value, once."""
    if isinstance(e, Number):
        return e.value
    if isinstance(e, Name):
        return None
    parts = [_literal(argument, spec, found) for argument in e.args]
    try:
        return _folded(e.op, parts)
    except ZeroDivisionError:
        negative = e.op == "pow"
        message = "zero to a negative power" if negative else "the divisor is always zero"
        span = e.span if negative else e.args[1].span
        found.append(spec.source.diagnostic("E113", message, span))
    except OverflowError:
        if e.op == "pow":
            help = f"literal exponents go up to {MAX_LITERAL_POWER}"
            message = "this power of literals is out of range"
            found.append(spec.source.diagnostic("E109", message, e.span, help))
        else:
            message = "this constant is out of range"
            found.append(spec.source.diagnostic("E106", message, e.span))
    return None


def tensor_powers(spec: Spec) -> Found:
    """E109: tensors are raised to 0.5, -0.5 and small integers only."""
    for statement, known in kinds.walk(spec):
        if isinstance(statement, If):
            continue
        for e in subexpressions(statement.value):
            if e.op != "pow" or kinds.kind(e, known) is not Kind.TENSOR:
                continue
            try:
                exponent = literal(e.args[1])
            except (ZeroDivisionError, OverflowError):
                continue
            if kinds.kind(e.args[1], known) is Kind.TENSOR or exponent is None:
                message = "a tensor power needs a literal exponent"
                help = "write `exp(y*log(x))` for positive x"
            elif abs(exponent) == Fraction(1, 2) or (
                exponent.denominator == 1 and abs(exponent) <= MAX_POWER
            ):
                continue
            else:
                message = f"the exponent {_decimal(exponent)} is not available for tensors"
                help = f"there are 0.5, -0.5 and integers from -{MAX_POWER} to {MAX_POWER}"
            yield spec.source.diagnostic("E109", message, e.args[1].span, help)


def _decimal(value: Fraction) -> str:
    return str(int(value)) if value.denominator == 1 else f"{float(value):g}"


def scalar_states(spec: Spec) -> Found:
    """E130: a scalar state holds no tensor."""
    scalars = {s.name for s in spec.states if s.scalar}
    for statement, known in kinds.walk(spec):
        if isinstance(statement, If) or statement.name not in scalars:
            continue
        if kinds.kind(statement.value, known) is Kind.TENSOR:
            message = f"`{statement.name}` is a scalar state, but this is a tensor"
            help = "remove `scalar = true`, or use scalars only"
            yield spec.source.diagnostic("E130", message, statement.value.span, help)


# Flow.


def states_within_when(spec: Spec) -> Found:
    """E128: a state is used only under its `when` condition."""
    for options in spec.option_sets():
        absent = {s.name: s for s in spec.states if not holds(s.when, options)}
        for statement in straight(spec.rule, options):
            used = [(n.id, n.span) for n in taken(statement.value, options)]
            for name, span in (*used, (statement.name, statement.name_span)):
                if name in absent:
                    when = absent[name].when_text
                    message = f"`{name}` exists only when `{when}`"
                    help = f"put the statement into `if {when}:`"
                    yield spec.source.diagnostic("E128", message, span, help)


def taken(expression: Expression, options: Options) -> Iterator[Name]:
    """The names that are read under these options, conditions on options left out."""
    if isinstance(expression, Name):
        if expression.id not in options:
            yield expression
    elif isinstance(expression, Apply):
        args = expression.args
        if expression.op == "select" and is_option_condition(args[0]):
            args = (args[1] if holds(args[0], options) else args[2],)
        for argument in args:
            yield from taken(argument, options)


def assigned_before_use(spec: Spec) -> Found:
    """E123, E129: every local has a value where it is used, under all options."""
    known = set(kinds.declared(spec))
    early: dict[Span, str] = {}
    partial: dict[Span, tuple[str, list[Options]]] = {}
    for options in spec.option_sets():
        assigned, elsewhere = set(known), {a.name for a in straight(spec.rule, options)}
        for statement in straight(spec.rule, options):
            for name in taken(statement.value, options):
                if name.id in assigned:
                    continue
                if name.id in elsewhere:
                    early[name.span] = name.id
                else:
                    partial.setdefault(name.span, (name.id, []))[1].append(options)
            assigned.add(statement.name)
    for span, early_name in early.items():
        message = f"`{early_name}` is used before it is assigned"
        help = f"if it is remembered between steps, declare `{early_name}` in [state]"
        yield spec.source.diagnostic("E123", message, span, help)
    for span, (partial_name, where) in partial.items():
        if span not in early:
            message = f"`{partial_name}` has no value{_under(where, spec)}"
            yield spec.source.diagnostic("E129", message, span, "assign it on every path")


def _under(where: list[Options], spec: Spec) -> str:
    """The fewest options that imply the sets of options `where`, as text; "" if all do."""
    every = list(spec.option_sets())
    bad = [options in where for options in every]
    choices = list(where[0].items())
    for size in range(len(choices) + 1):
        for chosen in itertools.combinations(choices, size):
            matching = [all(o[n] is v for n, v in chosen) for o in every]
            if all(b for b, m in zip(bad, matching, strict=True) if m):
                shown = [name if value else f"not {name}" for name, value in chosen]
                return f" when `{' and '.join(shown)}`" if shown else ""
    return ""


def assigned_at_all(spec: Spec) -> Found:
    """E124, E125: `p` and every state are assigned wherever they exist."""
    missing: dict[str, list[Options]] = {}
    for options in spec.option_sets():
        assigned = {a.name for a in straight(spec.rule, options)}
        for name in ("p", *(s.name for s in spec.active_states(options))):
            if name not in assigned:
                missing.setdefault(name, []).append(options)
    anywhere = {a.name for a in assignments(spec.rule)}
    for name, where in missing.items():
        under = _under(where, spec) if name in anywhere else ""
        if name == "p":
            message = f"`p` is never assigned{under}" if spec.rule else "the rule is empty"
            span = spec.source.key_span(("rule", "update"))
            yield spec.source.diagnostic("E125", message, span, "end with `p = p - …`")
        else:
            span = next(s.span for s in spec.states if s.name == name)
            message = f"state `{name}` is never assigned{under}"
            help = "a constant is a hyperparameter; a state changes"
            yield spec.source.diagnostic("E124", message, span, help)


def everything_used(spec: Spec) -> Found:
    """E126, E127: every declaration and every local is read somewhere."""
    read = {n.id for e in expressions(spec) for n in names(e)}
    declarations: list[tuple[str, str, Span]] = []
    declarations += [("hyperparameter", h.name, h.span) for h in spec.hyperparameters]
    declarations += [("option", o.name, o.span) for o in spec.options]
    declarations += [("state", s.name, s.span) for s in spec.states]
    read |= {n.id for s in spec.states for n in names(s.init)}
    read |= {n.id for s in spec.states if s.when for n in names(s.when)}
    for what, name, span in declarations:
        if name not in read:
            help = "remove it, or use it in the rule"
            yield spec.source.diagnostic("E126", f"{what} `{name}` is never used", span, help)
    known = set(kinds.declared(spec))
    reported: set[str] = set()
    for statement in assignments(spec.rule):
        name = statement.name
        if name not in known | read | reported:
            reported.add(name)
            message = f"`{name}` is assigned but never used"
            help = nearest(name, {s.name for s in spec.states} - {name})
            yield spec.source.diagnostic("E127", message, statement.name_span, help)


def gradient_reaches_parameter(spec: Spec) -> Found:
    """E133: the new `p` depends on `g`, directly or through a state."""
    lost: list[Options] = []
    span: Span | None = None
    for options in spec.option_sets():
        steps = list(straight(spec.rule, options))
        last = [a for a in steps if a.name == "p"]
        if last and not _reaches(steps, options, len(spec.states)):
            lost.append(options)
            span = span or last[-1].name_span
    if lost:
        message = f"`p` does not depend on the gradient `g`{_under(lost, spec)}"
        yield spec.source.diagnostic("E133", message, span)


def _reaches(steps: list[Assign], options: Options, states: int) -> bool:
    """Whether the gradient is in `p` after so many steps that every state has passed it on."""
    reads = [(a.name, {n.id for n in taken(a.value, options)}) for a in steps]
    carried: set[str] = set()
    for _ in range(states + 1):
        flow = carried | {"g"}
        for name, used in reads:
            flow = flow | {name} if used & flow else flow - {name}
        if "p" in flow:
            return True
        if flow - {"g"} <= carried:
            return False
        carried |= flow
    return False


# Warnings.


def possibly_negative(spec: Spec) -> Found:
    """W201: the argument of `sqrt` and `log` is not negative, as far as domains tell."""
    for options in spec.option_sets():
        signs = {"t": Interval(1.0, low_open=False)}
        signs |= {h.name: h.domain for h in spec.hyperparameters}
        signs |= {s.name: s.domain for s in spec.states}
        for statement in straight(spec.rule, options):
            for e in _evaluated(statement.value, options):
                what = _needs_sign(e)
                if what and not _nonnegative(e.args[0], signs, options):
                    message = f"the {what} may be negative"
                    help = "declare a domain such as `v >= 0`, or clamp it with `max`"
                    yield spec.source.diagnostic("W201", message, e.args[0].span, help)
            positive = _nonnegative(statement.value, signs, options)
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


Rule = Callable[[Spec], Found]
_NAMES: tuple[Rule, ...] = (unknown_names, assignable_names, upper_case_locals)
_TYPES: tuple[Rule, ...] = (
    block_conditions,
    condition_types,
    mixed_conditions,
    literal_arithmetic,
    tensor_powers,
    scalar_states,
)
_FLOW: tuple[Rule, ...] = (
    states_within_when,
    assigned_before_use,
    assigned_at_all,
    everything_used,
)
_EFFECT: tuple[Rule, ...] = (gradient_reaches_parameter,)
