"""The semantic rules of the language: one small function each.

The rules run in rounds, because later ones need names and types that make sense. A rule that
depends on the options is applied to every set of options, where the rule is a straight line.

In one file, so that all rules are seen beside the order in which they are asked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from stepforge.language import advice, kinds
from stepforge.language.diagnostics import Diagnostic, Span, nearest, short
from stepforge.language.expression import (
    Apply,
    Assign,
    Expression,
    If,
    Name,
    Number,
    Statement,
    assignments,
    names,
    subexpressions,
)
from stepforge.language.kinds import Kind
from stepforge.language.literals import folded
from stepforge.language.names import name_problem
from stepforge.language.signs import possibly_negative
from stepforge.language.spec import (
    Options,
    Spec,
    holds,
    is_option_condition,
    read_early,
    steps,
    straight,
    taken,
)
from stepforge.language.subjects import OPTIMIZER, SCHEDULE
from stepforge.operations.powers import MAX_LITERAL_POWER
from stepforge.operations.table import BUILT_IN, OPERATIONS

Found = Iterator[Diagnostic]


def check(spec: Spec) -> list[Diagnostic]:
    """Every violation of a semantic rule, errors and warnings."""
    found: list[Diagnostic] = []
    for group in (_NAMES, _TYPES, _FLOW, _EFFECT):
        found += [d for rule in group for d in rule(spec)]
        if any(d.severity == "error" for d in found):
            return found
    return [*found, *possibly_negative(spec)]


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


# Names.


def unknown_names(spec: Spec) -> Found:
    """E104: every name is built in, declared, or assigned somewhere."""
    known = set(kinds.declared(spec)) | {a.name for a in assignments(spec.rule)}
    helps: dict[str, str] = {}
    for expression in expressions(spec):
        for name in names(expression):
            if name.id not in known:
                if name.id not in helps:
                    helps[name.id] = _about(name.id, known, spec)
                message = f"unknown name `{name.id}`"
                yield spec.source.diagnostic("E104", message, name.span, helps[name.id])


def _about(name: str, known: set[str], spec: Spec) -> str:
    """What to write in place of an unknown name."""
    other = OPTIMIZER.tensors if spec.subject == SCHEDULE else ()
    if name in other or advice.spelled_otherwise(name) in other:
        return "a schedule knows its hyperparameters and the step number `t`, and no tensors"
    found = advice.about_name(name, known)
    is_allowed = spec.subject == OPTIMIZER or not re.search(r"\[(state|options)\]", found)
    return found if is_allowed else nearest(name, known)


def assignable_names(spec: Spec) -> Found:
    """E122, E013, E014: assigned names are `p`, `g`, states, or locals with allowed names."""
    what = {"t": "the step number"}
    what |= {h.name: "a hyperparameter" for h in spec.hyperparameters}
    what |= {o.name: "an option" for o in spec.options}
    what |= {i.name: "an input of one number" for i in spec.inputs if i.scalar}
    open_names = {*spec.given, *(s.name for s in spec.states)}
    for statement in assignments(spec.rule):
        name, span = statement.name, statement.name_span
        if name in what:
            message = f"`{name}` is {what[name]} and cannot be assigned"
            yield spec.source.diagnostic("E122", message, span, "use a local of another name")
        elif name not in open_names and (problem := name_problem(name)):
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
    """E121, E132: `if` blocks depend on options, or on host scalars."""
    options = {o.name for o in spec.options}
    for statement, known in kinds.walk(spec):
        if not isinstance(statement, If):
            continue
        condition, used = statement.condition, list(names(statement.condition))
        if used and all(name.id in options for name in used) and is_option_condition(condition):
            continue
        if tensor := next((n for n in used if known.get(n.id) is Kind.TENSOR), None):
            message = f"an `if` block cannot depend on `{tensor.id}`, which differs by element"
            help = "write `x if condition else y` in an expression: it chooses for every element"
            yield spec.source.diagnostic("E121", message, condition.span, help)
        elif any(name.id in options for name in used):
            message = "the condition mixes options and values"
            help = "write one `if` block inside the other"
            yield spec.source.diagnostic("E132", message, condition.span, help)
        elif not (isinstance(condition, Apply) and OPERATIONS[condition.op].boolean):
            message = "the condition of an `if` block must be a condition, but this is a number"
            help = "compare it with a number, as in `weight_decay != 0`"
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

    for condition in conditions(spec.rule):
        if is_condition(condition):
            yield from visit(condition, True)
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


def scalar_operations(spec: Spec) -> Found:
    """E134: some operations are of numbers that are the same for all elements."""
    for statement, known in kinds.walk(spec):
        own = statement.condition if isinstance(statement, If) else statement.value
        for e in subexpressions(own):
            if OPERATIONS[e.op].scalar and kinds.kind(e, known) is Kind.TENSOR:
                symbol = OPERATIONS[e.op].symbol
                message = f"`{symbol}` is of numbers that are the same for all elements"
                help = "one of its operands is a tensor"
                yield spec.source.diagnostic("E134", message, e.span, help)


def tensor_operations(spec: Spec) -> Found:
    """E136: some operations are of tensors, which have the type of `p`."""
    for statement, known in kinds.walk(spec):
        own = statement.condition if isinstance(statement, If) else statement.value
        for e in subexpressions(own):
            if OPERATIONS[e.op].tensor and kinds.kind(e, known) is not Kind.TENSOR:
                symbol, argument = OPERATIONS[e.op].symbol, e.args[0]
                message = f"`{symbol}` is of tensors, but this is the same for all elements"
                help = "numbers of the host have float64 and are never stored in p's type"
                yield spec.source.diagnostic("E136", message, argument.span, help)


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
        return folded(e.op, parts)
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


def assigned_before_use(spec: Spec) -> Found:
    """E123, E129: every local has a value where it is used, under all options."""
    known = set(kinds.declared(spec))
    early: dict[Span, str] = {}
    partial: dict[Span, tuple[str, list[Options]]] = {}
    for options in spec.option_sets():
        all_steps = list(steps(spec.rule, options))
        somewhere = {a.name for a, _ in all_steps}
        for name in read_early(spec.rule, options, set(known)):
            before = {a.name for a, _ in all_steps if a.name_span.line < name.span.line}
            if name.id in somewhere and name.id not in before:
                early[name.span] = name.id
            else:
                partial.setdefault(name.span, (name.id, []))[1].append(options)
    for span, early_name in early.items():
        message = f"`{early_name}` is used before it is assigned"
        help = _built_in(early_name)
        remembered = f"if it is remembered between steps, declare `{early_name}` in [state]"
        help = help or (remembered if spec.subject == OPTIMIZER else "assign it in a line above")
        yield spec.source.diagnostic("E123", message, span, help)
    for span, (partial_name, where) in partial.items():
        if span not in early:
            under = _under(where, spec) or " on every path"
            message = f"`{partial_name}` has no value{under}"
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
    """E124, E125: `p` and every state, or `factor`, are assigned wherever they exist."""
    result, key = spec.subject.result, spec.subject.key
    missing: dict[str, list[Options]] = {}
    left_out = unused(spec)
    for options in spec.option_sets():
        assigned = {a.name for a in straight(spec.rule, options)}
        for name in (result, *(s.name for s in spec.active_states(options))):
            if name not in assigned and name not in left_out:
                missing.setdefault(name, []).append(options)
    anywhere = dict.fromkeys(a.name for a in assignments(spec.rule))
    for name, where in missing.items():
        under = _under(where, spec) if name in anywhere else ""
        if name == result:
            message = f"`{name}` is never assigned{under}" if spec.rule else "the rule is empty"
            span = spec.source.key_span(("rule", key))
            help = "end with `p = p - …`" if name == "p" else f"end with `{name} = …`"
            yield spec.source.diagnostic("E125", message, span, help)
        else:
            span = next(s.span for s in spec.states if s.name == name)
            message = f"state `{name}` is never assigned{under}"
            help = "a constant is a hyperparameter; a state changes"
            spoken = [a for a in anywhere if advice.without_time(a, {name})]
            if spoken:
                help = f"write `{name} = …` in place of `{spoken[0]} = …`"
            elif under:
                help = "give the state a `when`, or assign it on every path"
            yield spec.source.diagnostic("E124", message, span, help)


def unused(spec: Spec) -> set[str]:
    """The states and inputs that the rule neither reads nor assigns."""
    used = {n.id for e in expressions(spec) for n in names(e)}
    used |= {a.name for a in assignments(spec.rule)}
    return {*(s.name for s in spec.states), *(i.name for i in spec.inputs)} - used


def factor_on_every_path(spec: Spec) -> Found:
    """E129: a schedule has a factor whatever its conditions say; a parameter keeps its value."""
    if spec.subject != SCHEDULE:
        return
    result, surely = spec.subject.result, set[str]()
    for _ in read_early(spec.rule, {}, surely):
        pass  # it leaves in `surely` what has a value at the end
    last = [a for a in assignments(spec.rule) if a.name == result]
    if last and result not in surely:
        message = f"`{result}` has no value on every path"
        yield spec.source.diagnostic("E129", message, last[-1].name_span, "assign it on every path")


def everything_used(spec: Spec) -> Found:
    """W202, E127: every declaration and every local is read somewhere."""
    left_out = unused(spec)
    read = {n.id for e in expressions(spec) for n in names(e)}
    declarations: list[tuple[str, str, Span]] = []
    declarations += [("hyperparameter", h.name, h.span) for h in spec.hyperparameters]
    declarations += [("option", o.name, o.span) for o in spec.options]
    declarations += [("state", s.name, s.span) for s in spec.states]
    declarations += [("input", i.name, i.span) for i in spec.inputs if i.name in left_out]
    read |= {n.id for s in spec.states for n in names(s.init)}
    read |= {n.id for s in spec.states if s.when for n in names(s.when)}
    for what, name, span in declarations:
        if name not in read:
            message = f"{what} `{name}` is never used"
            if name in left_out:
                message += ", so there will be none"
            help = "remove it, or use it in the rule"
            yield spec.source.diagnostic("W202", message, span, help)
    known = {*kinds.declared(spec), spec.subject.result}
    reported: set[str] = set()
    for statement in assignments(spec.rule):
        name = statement.name
        if name not in known | read | reported:
            reported.add(name)
            message = f"`{name}` is assigned but never used"
            assignable = {*spec.given, *(s.name for s in spec.states)}
            if base := advice.without_time(name, assignable):
                help = f"a name has its newest value: write `{base} = …`"
            else:
                help = _built_in(name) or nearest(name, {s.name for s in spec.states} - {name})
            yield spec.source.diagnostic("E127", message, statement.name_span, help)


def inputs_are_read(spec: Spec) -> Found:
    """E126: what an input is given as is read under some options, before it is assigned."""
    known = set(kinds.declared(spec)) - {i.name for i in spec.inputs}
    read = {
        name.id
        for options in spec.option_sets()
        for name in read_early(spec.rule, options, set(known))
    }
    for given in spec.inputs:
        if given.name not in read | unused(spec):
            message = f"input `{given.name}` is never read before it is assigned"
            help = "use a local of another name, and remove the input"
            yield spec.source.diagnostic("E126", message, given.span, help)


def states_remember(spec: Spec) -> Found:
    """W203: of a state that is used, the old value is read under some options, and can change."""
    read: set[str] = set()
    changed: set[str] = set()
    known = set(kinds.declared(spec)) - {s.name for s in spec.states}
    for options in spec.option_sets():
        read |= {name.id for name in read_early(spec.rule, options, set(known))}
        for statement in straight(spec.rule, options):
            value = statement.value
            if not (isinstance(value, Name) and value.id == statement.name):
                changed.add(statement.name)
    used = {n.id for e in expressions(spec) for n in names(e)}
    for state in spec.states:
        name = state.name
        if name not in used:
            continue  # W202 is about it
        if name not in read:
            message = f"state `{name}` remembers nothing: its old value is never read"
            help = f"a moving average has `{name}` on both sides of `=`; else make it a local"
            yield spec.source.diagnostic("W203", message, state.span, help)
        elif name not in changed:
            message = f"state `{name}` never changes: it only gets its own value"
            yield spec.source.diagnostic("W203", message, state.span, "store what is new")


def _built_in(name: str) -> str:
    """What to assign in place of a name that is another one for `p` or `g`, or ""."""
    found = advice.spelled_otherwise(name)
    if found not in ("p", "g"):
        return ""
    return f"{BUILT_IN[found]} is `{found}`: write `{found} = …`"


def gradient_reaches_parameter(spec: Spec) -> Found:
    """E133: the new `p` depends on `g`, directly or through a state."""
    if "g" not in spec.subject.tensors:
        return
    lost: list[Options] = []
    span: Span | None = None
    for options in spec.option_sets():
        run = list(steps(spec.rule, options))
        last = [a for a, _ in run if a.name == "p"]
        if last and not _reaches(run, options, len(spec.states)):
            lost.append(options)
            span = span or last[-1].name_span
    if lost:
        message = f"`p` does not depend on the gradient `g`{_under(lost, spec)}"
        yield spec.source.diagnostic("E133", message, span)


def step_reaches_factor(spec: Spec) -> Found:
    """E135: a schedule reads the number of the step."""
    read = {name.id for e in expressions(spec) for name in names(e)}
    if spec.subject == SCHEDULE and "t" not in read:
        message = "`factor` does not depend on the step number `t`"
        span = spec.source.key_span(("rule", spec.subject.key))
        help = "a hyperparameter that never changes needs no schedule"
        yield spec.source.diagnostic("E135", message, span, help)


def _reaches(run: list[tuple[Assign, bool]], options: Options, states: int) -> bool:
    """Whether the gradient is in `p` after so many steps that every state has passed it on."""
    reads = [(a.name, {n.id for n in taken(a.value, options)}, surely) for a, surely in run]
    carried: set[str] = set()
    for _ in range(states + 1):
        flow = carried | {"g"}
        for name, used, surely in reads:
            flow = flow | {name} if used & flow else flow - ({name} if surely else set())
        if "p" in flow:
            return True
        if flow - {"g"} <= carried:
            return False
        carried |= flow
    return False


Rule = Callable[[Spec], Found]
_NAMES: tuple[Rule, ...] = (unknown_names, assignable_names, upper_case_locals)
_TYPES: tuple[Rule, ...] = (
    block_conditions,
    condition_types,
    mixed_conditions,
    literal_arithmetic,
    scalar_operations,
    tensor_operations,
    scalar_states,
)
_FLOW: tuple[Rule, ...] = (
    states_within_when,
    assigned_before_use,
    assigned_at_all,
    factor_on_every_path,
    everything_used,
    inputs_are_read,
)
_EFFECT: tuple[Rule, ...] = (gradient_reaches_parameter, step_reaches_factor, states_remember)
