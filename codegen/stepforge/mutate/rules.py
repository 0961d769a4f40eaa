"""Faults in the rule: after it was read, so that both files have them, or in the spec itself.

In one file, so that the classes of faults are seen beside one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from stepforge.backends.registry import verified
from stepforge.backends.render import render
from stepforge.language.diagnostics import GeneratorBug, SpecError
from stepforge.language.expression import (
    Apply,
    Assign,
    Expression,
    If,
    Name,
    Number,
    Statement,
    names,
)
from stepforge.language.reader import loads
from stepforge.language.spec import Options, Spec, holds, is_option_condition, straight
from stepforge.lowering.lower import lower
from stepforge.mutate.mutant import Mutant
from stepforge.operations.table import OPERATIONS

Place = tuple[int, ...]
Edit = tuple[str, str, str, Expression]
"""Class, operator, description, new expression."""


def mutants(spec: Spec, options: Options) -> Iterator[Mutant]:
    """Every single fault of the rule under one set of options."""
    yield from _starts(spec)
    built = _files(spec, spec.rule)
    for kind, operator, what, rule in _rules(spec, options):
        if (files := _files(spec, rule)) not in (None, built):
            yield Mutant(spec, options, "rule", kind, operator, what, files or {})


def equivalents(spec: Spec, options: Options) -> Iterator[Mutant]:
    """Rewritings of the rule that change no bit."""
    for statement in straight(spec.rule, options):
        for operator, value in _rewritings(spec, statement.value, options):
            rule = _with(spec.rule, statement, (replace(statement, value=value),))
            if (files := _files(spec, rule)) is not None:
                what = f"{statement.name} = {shown(value)}"
                yield Mutant(spec, options, "rule", "EQ", operator, what, files)


def misnamed(spec: Spec, options: Options) -> Iterator[Mutant]:
    """Formulas that are not the one of the name: only rungs that know the name can tell."""
    for kind, operator, what, rule in _rules(spec, options):
        if (kind in "AD" and spec.torch_class) or operator == "negate step":
            wrong = _written(spec, rule)
            if wrong and (files := _files(wrong, wrong.rule)) is not None:
                yield Mutant(wrong, options, "spec", "S", operator, what, files)


def _written(spec: Spec, rule: tuple[Statement, ...]) -> Spec | None:
    """The spec whose text has another rule; None where that is none."""
    text, place = spec.source.text, spec.source.places["rule", "update"].value
    update = "\n".join(_lines(rule))
    changed = f"{text[: place[0]]}'''\n{update}\n'''{text[place[1] :]}"
    try:
        return loads(changed, str(spec.source.path))[0]
    except SpecError:
        return None


def _lines(rule: tuple[Statement, ...]) -> Iterator[str]:
    for statement in rule:
        if isinstance(statement, Assign):
            yield shown_statement(statement)
            continue
        for head, block in ((f"if {shown(statement.condition)}:", statement.body),
                            ("else:", statement.orelse)):  # fmt: skip
            if block:
                yield head
                yield from (f"    {line}" for line in _lines(block))


BUGS: tuple[tuple[str, str, Mapping[str, str], tuple[str, ...]], ...] = (
    ("Adam that is AdamW", "adam", {"g = g + weight_decay*p": "p = p - lr*weight_decay*p"}, ()),
    ("AdamW with L2 decay", "adamw", {"p = p - lr*weight_decay*p": "g = g + weight_decay*p"}, ()),
    ("eps before the bias correction", "adamw", {
        "v_hat = 1/(1 - beta2**t) * (v_max if amsgrad else v)": "v_hat = v_max if amsgrad else v",
        "lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps)":
            "lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps) * sqrt(1 - beta2**t)"}, ()),
    ("AMSGrad that forgets the maximum", "adamw", {"v_max = max(v_max, v)": "v_max = v"},
     ("amsgrad",)),
    ("RMSprop with eps inside of the root", "rmsprop", {"sqrt(v) + eps": "sqrt(v + eps)"}, ()),
    ("RAdam without eps", "radam", {"sqrt(v) + eps": "sqrt(v) + 0*eps"}, ()),
    ("RAdam with eps inside of the root", "radam", {"sqrt(v) + eps": "sqrt(v + eps)"}, ()),
    ("NAdam that uses mu twice", "nadam", {"m_bar = mu_next/": "m_bar = mu/"}, ()),
    ("Lion with coupled decay", "lion", {"u + weight_decay*p": "sign(c + weight_decay*p)"}, ()),
    ("weight decay of zero that is multiplied", "adam",
     {"    if weight_decay != 0:\n        g = g": "    g = g"}, ()),
    ("Adagrad that squares twice", "adagrad", {"g**2": "g**4"}, ()),
    ("heavy-ball momentum for a moving average", "momentum_ema", {"(1 - beta)*g": "g"}, ()),
    ("moving average for heavy-ball momentum", "sgd",
     {"(1 - dampening)*g": "(1 - momentum - 0*dampening)*g"}, ("use_momentum",)),
    ("stale second moment", "adam", {"v = beta2*v + (1 - beta2)*g**2":
     "v_old = v\nv = beta2*v + (1 - beta2)*g**2", "amsgrad else v)": "amsgrad else v_old)"}, ()),
    ("decay of the other moment", "adam", {"v = beta2*v + (1 - beta2)*g**2":
     "v = beta2*v + (1 - beta1)*g**2"}, ()),
    ("bias correction a step late", "adam", {"1 - beta2**t": "1 - beta2**(t + 1)"}, ()),
)  # fmt: skip
"""Bugs that shipped in widely used libraries, as changes of a stock spec's rule."""


def bugs(specs: Mapping[str, Spec]) -> Iterator[Mutant]:
    """The named bugs, in the rule; where torch has the optimizer, in the spec as well."""
    for name, optimizer, edits, chosen in BUGS:
        spec = specs.get(optimizer)
        if spec is None:
            continue
        text = spec.source.text
        changed = text
        for old, new in edits.items():
            changed = changed.replace(old, new)
        if changed == text:
            raise GeneratorBug(f"the bug `{name}` is not in {optimizer}")
        wrong = loads(changed, str(spec.source.path))[0]
        first = next(spec.option_sets())
        options = (
            next((o for o in spec.option_sets() if all(o[c] for c in chosen)), first)
            if chosen
            else first
        )
        if (files := _files(spec, wrong.rule)) is not None:
            yield Mutant(spec, options, "rule", "D", "named bug", name, files)
        if spec.torch_class and (files := _files(wrong, wrong.rule)) is not None:
            yield Mutant(wrong, options, "spec", "S", "named bug", name, files)


def _files(spec: Spec, rule: tuple[Statement, ...]) -> dict[str, str] | None:
    """The files of a rule that rungs look at; None where it cannot be lowered."""
    try:
        kernel = lower(replace(spec, rule=rule))
        return {backend.name: render(kernel, backend.name) for backend in verified()}
    except (GeneratorBug, SpecError, KeyError, ValueError, ArithmeticError):
        return None


# Single faults.


def _rules(spec: Spec, options: Options) -> Iterator[tuple[str, str, str, tuple[Statement, ...]]]:
    active = list(straight(spec.rule, options))
    for block in _blocks(spec.rule, options):
        shown_condition = shown(block.condition)
        yield "I", "always one arm", f"if {shown_condition}", _with(spec.rule, block, block.body)
        yield "I", "other arm", f"if {shown_condition}", _with(spec.rule, block, block.orelse)
        if isinstance(block.condition, Apply) and block.condition.op in _TURNED:
            opposite = replace(block.condition, op=_TURNED[block.condition.op])
            new = (replace(block, condition=opposite),)
            yield "I", "turn a comparison", f"if {shown(opposite)}", _with(spec.rule, block, new)
    for statement in active:
        for kind, operator, what, value in _edits(spec, options, statement):
            edited = (replace(statement, value=value),)
            yield kind, operator, what, _with(spec.rule, statement, edited)
        if len(active) > 1:
            yield "E", "leave out", shown_statement(statement), _with(spec.rule, statement, ())
    for first, second in pairwise(active):
        if _names(second.value) & {first.name} or _names(first.value) & {second.name}:
            both = _with(_with(spec.rule, second, ()), first, (second, first))
            yield "E", "swap", f"{shown_statement(first)}; {shown_statement(second)}", both
    yield from _stale(spec, active)
    for statement in active:
        for operator, value in _lossy(statement.value):
            edited = (replace(statement, value=value),)
            what = f"{statement.name} = {shown(value)}"
            yield "G", operator, what, _with(spec.rule, statement, edited)
    last = [s for s in active if s.name == "p"][-1:]
    for statement in last:
        value = statement.value
        if isinstance(value, Apply) and value.op in ("sub", "add"):
            other = "add" if value.op == "sub" else "sub"
            turned = replace(statement, value=replace(value, op=other))
            rule = _with(spec.rule, statement, (turned,))
            yield "A", "negate step", shown_statement(turned), rule


def _lossy(value: Expression) -> Iterator[tuple[str, Expression]]:
    """Equal over the reals, but digits are lost."""
    match value:
        case Apply(
            op="add",
            args=(
                Apply(op="mul", args=(Name() as beta, Name() as m)),
                Apply(op="mul", args=(Apply(op="sub", args=(Number(), Name() as other)), g)),
            ),
            span=span,
        ) if beta == other:
            step = Apply("mul", (beta, Apply("sub", (m, g), span)), span)
            yield "interpolate from the far end", Apply("add", (g, step), span)
    if isinstance(value, Apply) and value.op != "select":
        large = Number("4096", Fraction(4096), value.span)
        shifted = Apply("sub", (Apply("add", (value, large), value.span), large), value.span)
        yield "cancel a large number", shifted


def _starts(spec: Spec) -> Iterator[Mutant]:
    """States that start with another value, in both files."""
    for state in spec.states:
        if isinstance(state.init, Number):
            other = _literal(float(state.init.value) + 1, state.init)
            states = tuple(replace(s, init=other) if s is state else s for s in spec.states)
            if (files := _files(replace(spec, states=states), spec.rule)) is not None:
                options = next(spec.option_sets())
                if holds(state.when, options):
                    what = f"{state.name} = {shown(other)}"
                    yield Mutant(spec, options, "rule", "C", "other start", what, files)


def _stale(
    spec: Spec, active: list[Assign]
) -> Iterator[tuple[str, str, str, tuple[Statement, ...]]]:
    """Reads of a state's old value after it was updated."""
    states = {s.name for s in spec.states if not s.scalar}
    for index, update in enumerate(active):
        if update.name not in states:
            continue
        for reader in active[index + 1 :]:
            if update.name in _names(reader.value) and reader.name != update.name:
                old = f"old_{update.name}"
                kept = replace(update, name=old, value=Name(update.name, update.name_span))
                value = _renamed(reader.value, update.name, old)
                rule = _with(spec.rule, reader, (replace(reader, value=value),))
                rule = _with(rule, update, (kept, update))
                yield "E", "stale state", f"{reader.name} of the old {update.name}", rule


def _edits(spec: Spec, options: Options, statement: Assign) -> Iterator[Edit]:
    """Every fault of one expression."""
    for place, node in _places(statement.value, options):
        for kind, operator, new in _node_edits(spec, statement, node):
            value = _put(statement.value, place, new)
            yield kind, operator, f"{statement.name} = {shown(value)}", value


_SWAPPED = {"add": "sub", "sub": "add", "mul": "div", "div": "mul", "min": "max", "max": "min"}
_TURNED = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}


def _node_edits(
    spec: Spec, statement: Assign, node: Expression
) -> Iterator[tuple[str, str, Expression]]:
    if isinstance(node, Number):
        yield from _number_edits(node)
        return
    if isinstance(node, Name):
        yield from _name_edits(spec, statement, node)
        return
    span = node.span
    if node.op in _SWAPPED:
        yield "A", f"{node.op} to {_SWAPPED[node.op]}", replace(node, op=_SWAPPED[node.op])
        yield "A", "drop the right operand", node.args[0]
        if node.op != "div":
            yield "A", "drop the left operand", node.args[1]
    if node.op == "mul":
        yield "A", "double an operand", Apply("mul", (node, node.args[1]), span)
    if node.op in ("add", "sub", "mul"):
        yield "A", "negate", Apply("neg", (node,), span)
    if node.op == "pow" and isinstance(node.args[1], Number):
        yield "A", "square to abs", Apply("abs", (node.args[0],), span)
    if node.op == "neg":
        yield "A", "drop the sign", node.args[0]
    if node.op in _TURNED:
        yield "I", "turn a comparison", replace(node, op=_TURNED[node.op])
    if node.op == "select" and not is_option_condition(node.args[0]):
        yield "I", "swap arms", replace(node, args=(node.args[0], node.args[2], node.args[1]))
        yield "I", "always one arm", node.args[1]
        yield "I", "always the other arm", node.args[2]
    if node.op == "sqrt":
        yield "A", "drop the root", node.args[0]
    if node.op in ("sign", "abs"):
        yield "A", f"drop {node.op}", node.args[0]
    yield from _structure(node)


def _structure(node: Apply) -> Iterator[tuple[str, str, Expression]]:
    """eps and bias corrections."""
    match node:
        case Apply("add", (Apply("sqrt", (inner,)), (Name() as eps)), span):
            moved = Apply("add", (inner, eps), span)
            yield "D", "eps into the root", Apply("sqrt", (moved,), span)
            yield "D", "eps as a floor", Apply("max", (node.args[0], eps), span)
            yield "D", "eps twice", Apply("add", (node, eps), span)
        case Apply("sqrt", (Apply("add", (inner, (Name() as eps))),), span):
            yield (
                "D",
                "eps out of the root",
                Apply("add", (Apply("sqrt", (inner,), span), eps), span),
            )
        case Apply("pow", (base, Name("t")), span):
            one = Number("1", Fraction(1), span)
            for operator, op in (("step late", "add"), ("step early", "sub")):
                late = Apply(op, (Name("t", span), one), span)
                yield "D", f"bias correction a {operator}", Apply("pow", (base, late), span)
        case Apply("sub", (Number() as one, Apply("pow", (_, Name("t"))))):
            yield "D", "drop a bias correction", one


def _number_edits(node: Number) -> Iterator[tuple[str, str, Expression]]:
    value = float(node.value)
    ulp = float(np.nextafter(np.float32(value), np.float32(np.inf)))
    for operator, new in (("ten times", 10 * value), ("one ulp more", ulp), ("sign", -value)):
        if new != value:
            yield "C", operator, _literal(new, node)


def _literal(value: float, like: Expression) -> Expression:
    number = Number(repr(abs(value)), Fraction(abs(value)), like.span)
    return Apply("neg", (number,), like.span) if value < 0 else number


def _name_edits(spec: Spec, statement: Assign, node: Name) -> Iterator[tuple[str, str, Expression]]:
    hyperparameters = {h.name: h for h in spec.numbers}
    states = [s.name for s in spec.states if not s.scalar and s.when is None]
    if node.id in hyperparameters:
        default = hyperparameters[node.id].default
        yield "C", "its default for a hyperparameter", _literal(default, node)
        yield "C", "ten times", Apply("mul", (_literal(10.0, node), node), node.span)
        others = [n for n in hyperparameters if n != node.id][:2]
        for other in others:
            yield "B", "another hyperparameter", replace(node, id=other)
        if node.id == "eps":
            yield "D", "drop eps", _literal(0.0, node)
    elif node.id in (tensors := ("g", "p", *states, *spec.given[2:])):
        for other in [n for n in tensors if n != node.id][:3]:
            yield "B", "another tensor", replace(node, id=other)
        yield "A", "negate", Apply("neg", (node,), node.span)
        yield "I", "clamp at zero", Apply("max", (node, _literal(0.0, node)), node.span)
    elif node.id == "t":
        one = Number("1", Fraction(1), node.span)
        yield "D", "a step late", Apply("add", (node, one), node.span)


# Rewritings.


def _rewritings(
    spec: Spec, value: Expression, options: Options
) -> Iterator[tuple[str, Expression]]:
    """Operator, new expression."""
    tensors = {*spec.given, *(s.name for s in spec.states if not s.scalar)}
    for place, node in _places(value, options):
        if isinstance(node, Apply):
            for operator, new in _node_rewritings(node, tensors):
                yield operator, _put(value, place, new)


def _node_rewritings(node: Apply, tensors: set[str]) -> Iterator[tuple[str, Expression]]:
    """A square of a number of the host is a call of `pow`, and need not be a product in bits."""
    span = node.span
    if node.op in ("add", "mul", "max", "min"):
        yield "commute", replace(node, args=node.args[::-1])
    if node.op == "sub":
        negative = Apply("neg", (node.args[1],), span)
        yield "add the negative", Apply("add", (node.args[0], negative), span)
    is_square = node.op == "pow" and isinstance(node.args[1], Number) and node.args[1].value == 2
    if is_square and not tensors.isdisjoint(n.id for n in names(node.args[0])):
        yield "square as a product", Apply("mul", (node.args[0], node.args[0]), span)


# Trees.


def _blocks(rule: tuple[Statement, ...], options: Options) -> Iterator[If]:
    """The blocks on host scalars that may run under these options."""
    for statement in rule:
        if isinstance(statement, If):
            if is_option_condition(statement.condition):
                holding = holds(statement.condition, options)
                yield from _blocks(statement.body if holding else statement.orelse, options)
            else:
                yield statement
                yield from _blocks(statement.body, options)
                yield from _blocks(statement.orelse, options)


def _places(e: Expression, options: Options) -> Iterator[tuple[Place, Expression]]:
    """Every node that these options run, with its place."""
    yield (), e
    if not isinstance(e, Apply):
        return
    chosen = range(len(e.args))
    if e.op == "select" and is_option_condition(e.args[0]):
        chosen = range(1, 2) if holds(e.args[0], options) else range(2, 3)
    for index in chosen:
        for place, node in _places(e.args[index], options):
            yield (index, *place), node


def _put(e: Expression, place: Place, new: Expression) -> Expression:
    """The expression with another node at a place."""
    if not place:
        return new
    assert isinstance(e, Apply)
    args = list(e.args)
    args[place[0]] = _put(args[place[0]], place[1:], new)
    return replace(e, args=tuple(args))


def _with(
    rule: tuple[Statement, ...], old: Statement, new: tuple[Statement, ...]
) -> tuple[Statement, ...]:
    """The rule with other statements in the place of one."""
    found: list[Statement] = []
    for statement in rule:
        if statement is old:
            found += new
        elif isinstance(statement, If):
            body, orelse = (_with(part, old, new) for part in (statement.body, statement.orelse))
            found.append(replace(statement, body=body, orelse=orelse))
        else:
            found.append(statement)
    return tuple(found)


def _names(e: Expression) -> set[str]:
    if isinstance(e, Name):
        return {e.id}
    return {n for a in e.args for n in _names(a)} if isinstance(e, Apply) else set()


def _renamed(e: Expression, old: str, new: str) -> Expression:
    if isinstance(e, Name):
        return replace(e, id=new) if e.id == old else e
    if isinstance(e, Apply):
        return replace(e, args=tuple(_renamed(a, old, new) for a in e.args))
    return e


def shown(e: Expression) -> str:
    """An expression in a line, as an author could write it."""
    if isinstance(e, Name):
        return e.id
    if isinstance(e, Number):
        return e.text
    args = [shown(a) for a in e.args]
    row = OPERATIONS[e.op]
    if e.op == "select":
        return f"({args[1]} if {args[0]} else {args[2]})"
    if row.is_function:
        return f"{e.op}({', '.join(args)})"
    spaced = f"{row.symbol}" if row.symbol in ("*", "/", "**") else f" {row.symbol} "
    return f"({spaced.join(args)})" if len(args) == 2 else f"({row.symbol} {args[0]})"


def shown_statement(statement: Assign) -> str:
    """A statement in a line."""
    return f"{statement.name} = {shown(statement.value)}"
