"""What the backends that emit Python share: expressions, blocks, signatures and docstrings."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from codegen.expression import Apply, Expression, Name
from codegen.kernel import Branch, Let, Step, Value
from codegen.kinds import Kind
from codegen.operations import (
    ATOM,
    OPERATIONS,
    POWER,
    PRODUCT,
    SUM,
    TERNARY,
    UNARY,
    Operation,
    Spelling,
)
from codegen.spec import Spec, State

WIDTH = 100
Column = Callable[[Operation], Spelling]


def scalar(operation: Operation) -> Spelling:
    """The column of host scalars."""
    return operation.scalar


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes values and steps in one spelling of tensor operations.

    Attributes:
        column: The column of the table for tensors.
        option: How an option is named in this place.
        literal: How a literal argument of a helper function is written; by default as it is.
        decided: The strongest kind of condition that Python itself decides where the text runs.
    """

    column: Column
    option: Callable[[str], str] = str
    literal: Callable[[str], str] = str
    decided: Kind = Kind.SCALAR

    def value(self, value: Value) -> str:
        """The expression as Python text."""
        return self.spelled(value)[0]

    def spelled(self, value: Value) -> tuple[str, int]:
        """Text and precedence of a value."""
        if value.op == "name":
            return (self.option(value.text) if value.kind is Kind.OPTION else value.text), ATOM
        if value.op == "number":
            return value.text, ATOM
        spelling = self.spelling(value)
        if spelling.precedence is ATOM:
            helper = bool(spelling.helper)
            args = [
                self.literal(self.value(a)) if helper and a.is_literal else self.value(a)
                for a in value.args
            ]
            return spelling.text.format(*args), ATOM
        # Python groups to the left: a right operand of equal precedence needs parentheses, and
        # so does the left one of a power.
        args = []
        for index, argument in enumerate(value.args):
            text, precedence = self.spelled(argument)
            strict = spelling.precedence + 1
            if spelling.precedence is POWER:
                needed = strict if index == 0 else UNARY
            elif spelling.precedence is TERNARY:
                needed = TERNARY if index == 2 else strict
            elif spelling.precedence is UNARY:
                needed = UNARY
            else:
                needed = strict if index == len(value.args) - 1 else spelling.precedence
                if value.op in _COMPARISONS:
                    needed = strict
            args.append(text if precedence >= needed else f"({text})")
        text = spelling.text.format(*args)
        if spelling.precedence is POWER and all(_is_simple(a) for a in value.args):
            text = text.replace(" ** ", "**")
        return text, spelling.precedence

    def spelling(self, value: Value) -> Spelling:
        """The spelling that applies: on options and scalars Python's own."""
        operation = OPERATIONS[value.op]
        decided_on_host = value.op == "select" and value.args[0].kind <= self.decided
        if value.kind is not Kind.TENSOR or decided_on_host:
            return operation.scalar
        return self.column(operation)

    def steps(self, steps: Iterable[Step], depth: int) -> list[str]:
        """The steps as lines, indented."""
        return list(self._steps(steps, depth))

    def _steps(self, steps: Iterable[Step], depth: int, keyword: str = "if") -> Iterator[str]:
        pad = "    " * depth
        for step in steps:
            if isinstance(step, Let):
                yield from self.assignment(step, pad)
                continue
            condition, body, orelse = step.condition, step.body, step.orelse
            if not body:
                condition = Value("not", (condition,), Kind.OPTION)
                body, orelse = orelse, ()
            yield f"{pad}{keyword} {self.value(condition)}:"
            yield from self._steps(body, depth + 1)
            if len(orelse) == 1 and isinstance(orelse[0], Branch) and orelse[0].body:
                yield from self._steps(orelse, depth, "elif")
            elif orelse:
                yield f"{pad}else:"
                yield from self._steps(orelse, depth + 1)

    def assignment(self, let: Let, pad: str) -> Iterator[str]:
        """One line, or one line for every term, arm or argument when it is too long."""
        line = f"{pad}{let.name} = {self.value(let.value)}"
        if len(line) <= WIDTH or not let.value.args:
            yield line
            return
        spelling = self.spelling(let.value)
        if spelling.precedence is ATOM and spelling.text.count("(") == 1:
            function = spelling.text.split("(")[0]
            args = [self.value(argument) for argument in let.value.args]
            yield from layout(f"{let.name} = {function}", args, "", pad).split("\n")
            return
        yield f"{pad}{let.name} = ("
        for term in _terms(self, let.value):
            yield f"{pad}    {term}"
        yield f"{pad})"

    def helpers(self, values: Iterable[Value]) -> list[str]:
        """Names of the helper functions that the values need, in the order of the table."""
        needed: set[str] = set()
        for value in values:
            for node in value.operations():
                if node.op in OPERATIONS and not node.is_literal:
                    needed |= set(self.spelling(node).helper.split())
        return sorted(needed)


_COMPARISONS = {name for name, operation in OPERATIONS.items() if operation.boolean}
_SPLITTABLE = {"add": (SUM, "+"), "sub": (SUM, "-"), "mul": (PRODUCT, "*"), "div": (PRODUCT, "/")}


def _terms(writer: Writer, value: Value) -> list[str]:
    """The operands of the outermost operation or chain, each with its operator."""
    if value.op == "select" and writer.spelling(value).precedence is TERNARY:
        condition, left, right = (writer.value(argument) for argument in value.args)
        return [left, f"if {condition}", f"else {right}"]
    if value.op not in _SPLITTABLE or writer.spelling(value).precedence is ATOM:
        return [writer.value(value)]
    precedence = _SPLITTABLE[value.op][0]
    parts: list[str] = []
    while value.op in _SPLITTABLE and writer.spelling(value).precedence is precedence:
        left, right = value.args
        term, strength = writer.spelled(right)
        term = term if strength > precedence else f"({term})"
        parts.insert(0, f"{_SPLITTABLE[value.op][1]} {term}")
        value = left
    text, strength = writer.spelled(value)
    return [text if strength >= precedence else f"({text})", *parts]


def _is_simple(value: Value) -> bool:
    """Whether formatters write a power of it without spaces."""
    return not value.args or (value.op == "neg" and not value.args[0].args)


def number(value: float) -> str:
    """A float64 as the shortest Python literal."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)


def expression(e: Expression) -> str:
    """A scalar expression of the spec, such as an initial value or a condition on options."""
    return Writer(scalar).value(_untyped(e))


def condition(e: Expression) -> Value:
    """A condition on options as a value."""
    if isinstance(e, Apply):
        return Value(e.op, tuple(condition(a) for a in e.args), Kind.OPTION)
    assert isinstance(e, Name)
    return Value("name", (), Kind.OPTION, e.id)


def _untyped(e: Expression) -> Value:
    if isinstance(e, Name):
        return Value("name", (), Kind.SCALAR, e.id)
    if isinstance(e, Apply):
        return Value(e.op, tuple(_untyped(a) for a in e.args), Kind.SCALAR)
    return Value("number", (), Kind.SCALAR, e.text)


def parameters(spec: Spec) -> list[str]:
    """Keyword parameters of `step` with their defaults."""
    return [f"{h.name}={number(h.default)}" for h in spec.hyperparameters] + [
        f"{o.name}={o.default}" for o in spec.options
    ]


def init_parameters(spec: Spec) -> list[str]:
    """Keyword parameters of `init`: what the set of states and their first values depend on."""
    read = {name for s in spec.states for name in _names(s.init)}
    read |= {name for s in spec.states if s.when for name in _names(s.when)}
    return [text for text in parameters(spec) if text.split("=")[0] in read]


def _names(e: Expression) -> Iterator[str]:
    if isinstance(e, Name):
        yield e.id
    elif isinstance(e, Apply):
        for argument in e.args:
            yield from _names(argument)


def layout(prefix: str, items: list[str], suffix: str, pad: str = "") -> str:
    """A call or signature: on one line, with the items on one line, or one item a line."""
    inline = ", ".join(items)
    if len(f"{pad}{prefix}({inline}){suffix}") <= WIDTH:
        return f"{pad}{prefix}({inline}){suffix}"
    if len(f"{pad}    {inline}") <= WIDTH:
        return f"{pad}{prefix}(\n{pad}    {inline}\n{pad}){suffix}"
    exploded = "".join(f"{pad}    {item},\n" for item in items)
    return f"{pad}{prefix}(\n{exploded}{pad}){suffix}"


def signature(name: str, positional: list[str], keywords: list[str]) -> str:
    """`def name(positional, *, keywords):`."""
    return layout(f"def {name}", [*positional, *(["*", *keywords] if keywords else [])], ":")


def under(when: str, lines: Iterable[str], depth: int) -> list[str]:
    """Lines at a depth of indentation, inside an `if` when there is a condition."""
    pad = "    " * depth
    if not when:
        return [pad + line for line in lines]
    return [f"{pad}if {when}:", *(f"{pad}    {line}" for line in lines)]


def initial_state(spec: Spec, real: str, line: Callable[[State], str]) -> str:
    """The body of `init`: `real` is what the tensor states take their type from."""
    lines = [f"    real = {real}"] if any(not s.scalar for s in spec.states) else []
    lines += [text for s in spec.states for text in under(s.when_text, [line(s)], 1)]
    return "\n".join(lines)


def common(spec: Spec, scalars: list[str]) -> dict[str, object]:
    """The keys that both Python templates share.

    Args:
        spec: The spec.
        scalars: Names that the host reads; its hyperparameters are turned into Python floats.
    """
    checks = [
        "if t != int(t) or t < 1:",
        '    raise ValueError(f"t counts the steps from 1, not {t}")',
    ]
    for option in spec.options:
        if option.when is not None:
            condition = Writer(scalar).spelled(Value("not", (_untyped(option.when),)))[0]
            checks += [
                f"if {option.name} and {condition}:",
                f'    raise ValueError("{option.name} needs {option.when_text}")',
            ]
    convert = [f"{name} = float({name})" for name in ("t", *_hyperparameters(spec))]
    needed = [line for line in convert if line.split(" ")[0] in scalars]
    return {
        "about": wrap(f"{spec.title}: {spec.summary}", 3).replace("\n   ", "\n"),
        "reference": wrap(f"Reference: {spec.reference}", 0),
        "init_signature": signature("init", ["p"], init_parameters(spec)),
        "step_signature": signature("step", ["p", "g", "state", "t"], parameters(spec)),
        "arguments": "\n".join(
            "        " + wrap(f"{name}: {text}", 8, 4) for name, text in documentation(spec)
        ),
        "checks": [*checks, *needed],
    }


def _hyperparameters(spec: Spec) -> list[str]:
    return [h.name for h in spec.hyperparameters]


def documentation(spec: Spec) -> list[tuple[str, str]]:
    """Name and one line of text for every keyword parameter of `step`."""
    rows = []
    for h in spec.hyperparameters:
        domain = f" Domain: {h.domain_text}." if h.domain_text else ""
        rows.append((h.name, _sentence(h.doc) + domain))
    for o in spec.options:
        when = f" Only with `{o.when_text}`." if o.when_text else ""
        rows.append((o.name, _sentence(o.doc) + when))
    return rows


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def wrap(text: str, indent: int, hanging: int = 0) -> str:
    """Text filled to the line width; the first line has no indentation of its own."""
    lines = textwrap.wrap(text, WIDTH - indent - hanging, break_on_hyphens=False)
    return ("\n" + " " * (indent + hanging)).join(lines)
