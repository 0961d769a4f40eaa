"""Expressions and steps as text of a language, in the spelling of one column of the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from stepforge.backends.syntax import WIDTH, Syntax
from stepforge.language.kinds import Kind
from stepforge.lowering.kernel import Branch, Let, Step, Value
from stepforge.operations.operation import (
    ATOM,
    COMPARE,
    POWER,
    PRODUCT,
    SUM,
    TERNARY,
    UNARY,
    Spelling,
)
from stepforge.operations.table import OPERATIONS


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes values and steps in one spelling of tensor operations.

    Attributes:
        syntax: The language.
        column: The column of the table for tensors.
        option: How an option is named in this place.
        literal: How a literal argument of a helper function is written; by default as it is.
        typed: How a literal argument of an operation is written, whose key comes first; None where
            the language gives it the type of the other arguments.
        decided: The strongest kind of condition that the host decides where the text runs.
        columnar: The weakest kind of value that the column is for; others are the host's own.
    """

    syntax: Syntax
    column: str
    option: Callable[[str], str] = str
    literal: Callable[[str], str] = str
    typed: Callable[[str, str], str] | None = None
    decided: Kind = Kind.SCALAR
    columnar: Kind = Kind.TENSOR

    def value(self, value: Value) -> str:
        """The expression as text."""
        return self.spelled(value)[0]

    def spelled(self, value: Value) -> tuple[str, int]:
        """Text and precedence of a value."""
        if value.op == "name":
            return (self.option(value.text) if value.kind is Kind.OPTION else value.text), ATOM
        if value.op == "number":
            return self.syntax.number(_number(value.text)), ATOM
        spelling = self.spelling(value)
        text = spelling.text.format(*self.operands(value))
        if spelling.precedence is POWER and all(_is_simple(a) for a in value.args):
            text = text.replace(" ** ", "**")
        return text, spelling.precedence

    def operands(self, value: Value) -> list[str]:
        """The arguments of an operation, in parentheses where its spelling needs them."""
        spelling = self.spelling(value)
        if spelling.precedence is ATOM and self.typed is None:
            literal = self.literal if spelling.helper else str
            return [literal(self.value(a)) if a.is_literal else self.value(a) for a in value.args]
        operands = []
        for index, argument in enumerate(value.args):
            text, precedence = self.spelled(argument)
            if self.typed and argument.is_literal:
                text, precedence = self.typed(value.op, text), ATOM
            if spelling.precedence is ATOM:
                operands.append(text)
                continue
            needed = _needed(value, spelling.precedence, index)
            operands.append(text if precedence >= needed else f"({text})")
        return operands

    def spelling(self, value: Value) -> Spelling:
        """The spelling that applies: on options and scalars that of the host."""
        decided_on_host = value.op == "select" and value.args[0].kind <= self.decided
        on_host = value.kind < self.columnar or decided_on_host
        column = self.syntax.scalars if on_host else self.column
        return OPERATIONS[value.op].spellings[column]

    def steps(self, steps: Iterable[Step], depth: int) -> list[str]:
        """The steps as lines, indented."""
        return list(self._steps(steps, depth))

    def _steps(self, steps: Iterable[Step], depth: int, arm: int = 0) -> Iterator[str]:
        syntax, pad = self.syntax, self.syntax.indent * depth
        for step in steps:
            if isinstance(step, Let):
                yield from self.assignment(step, pad)
                continue
            condition, body, orelse = step.condition, step.body, step.orelse
            if not body:
                condition = Value("not", (condition,), Kind.OPTION)
                body, orelse = orelse, ()
            yield pad + syntax.arms[arm].format(self.value(condition))
            yield from self._steps(body, depth + 1)
            if len(orelse) == 1 and isinstance(orelse[0], Branch) and orelse[0].body:
                yield from self._steps(orelse, depth, 1)
            else:
                if orelse:
                    yield pad + syntax.arms[2]
                    yield from self._steps(orelse, depth + 1)
                yield from syntax.closed(pad)

    def assignment(self, let: Let, pad: str) -> Iterator[str]:
        """One line, or one line for every term, arm or argument when it is too long."""
        syntax = self.syntax
        line = f"{pad}{let.name} = {self.value(let.value)}{syntax.end}"
        if len(line) <= WIDTH or not let.value.args:
            yield line
            return
        if call := self._called(let.value):
            function, items = call
            text = syntax.layout(f"{let.name} = {function}", items, syntax.end, pad)
            yield from text.split("\n")
            return
        first, *others = _terms(self, let.value)
        if len(others) == 1 and (call := self._called(let.value.args[-1])):
            function, items = call
            operator = others[0].split(" ", 1)[0]
            before = f"{let.name} = {first} {operator} {function}"
            text = syntax.layout(before, items, syntax.end, pad)
            if max(map(len, text.split("\n"))) <= WIDTH:
                yield from text.split("\n")
                return
        yield f"{pad}{let.name} = ("
        for term in _terms(self, let.value):
            yield f"{pad}{syntax.indent}{term}"
        yield f"{pad}){syntax.end}"

    def _called(self, value: Value) -> tuple[str, list[str]] | None:
        """The function that a value is a call of, and its arguments; None if it is no call."""
        if not value.args:
            return None
        spelling = self.spelling(value)
        if spelling.precedence is not ATOM or spelling.text.count("(") != 1:
            return None
        function, arguments = spelling.text.removesuffix(")").split("(")
        operands = self.operands(value)
        return function, [argument.format(*operands) for argument in arguments.split(", ")]

    def helpers(self, values: Iterable[Value]) -> list[str]:
        """Names of the helper functions that the values need, in the order of the table."""
        needed: set[str] = set()
        for value in values:
            for node in value.operations():
                if node.op in OPERATIONS and not node.is_literal:
                    needed |= set(self.spelling(node).helper.split())
        return sorted(needed)


def _needed(value: Value, precedence: int, index: int) -> int:
    """The weakest precedence that an argument may have without parentheses.

    Languages group to the left: a right operand of equal precedence needs parentheses, and so does
    the left one of a power. Comparisons of comparisons would be chains, and `--x` is another
    operation in some languages.
    """
    stronger = precedence + 1
    if precedence is POWER:
        return stronger if index == 0 else UNARY
    if precedence is TERNARY:
        return TERNARY if index == 2 else stronger
    last = index == len(value.args) - 1
    return stronger if last or precedence is COMPARE else precedence


def _terms(writer: Writer, value: Value) -> list[str]:
    """The operands of the outermost operation or chain, each with its operator."""
    if value.op == "select" and writer.spelling(value).precedence is TERNARY:
        parts = re.findall(r"(?:\S+ )?\{\d\}", writer.spelling(value).text)
        return [part.format(*writer.operands(value)) for part in parts]
    if not _is_splittable(writer, value):
        return [writer.value(value)]
    precedence = writer.spelling(value).precedence
    terms: list[str] = []
    while _is_splittable(writer, value) and writer.spelling(value).precedence is precedence:
        terms.insert(0, f"{OPERATIONS[value.op].symbol} {writer.operands(value)[1]}")
        first, value = writer.operands(value)[0], value.args[0]
    return [first, *terms]


def _is_splittable(writer: Writer, value: Value) -> bool:
    """Whether it is a chain of terms or factors, which may stand one below the other."""
    return len(value.args) == 2 and writer.spelling(value).precedence in (SUM, PRODUCT)


def _number(text: str) -> str:
    """A literal as formatters write it: `0.5`, `1.0`, `1e5`; conditions stay as they are."""
    if text[0].isalpha():
        return text
    mantissa, e, exponent = text.lower().partition("e")
    whole, point, fraction = mantissa.partition(".")
    if point:
        mantissa = f"{whole or '0'}.{fraction or '0'}"
    return mantissa + e + exponent.removeprefix("+")


def _is_simple(value: Value) -> bool:
    """Whether formatters write a power of it without spaces."""
    return not value.args or (value.op == "neg" and not value.args[0].args)
