"""Functions as formulas of correctly rounded operations and bit operations.

`exp`, `log` and their kin are bounded by somebody else's library where code calls one, so their
bits differ from machine to machine. Here they are texts, in `operations/functions`, that every
backend prints and every proof computes with: nobody's library decides a bit. A formula is within
`ULPS` of the function; `benchmarks/functions.py` measures it.

The texts are in Python's syntax and are parsed, never run: a docstring, assignments to new names,
one `return`. Values are floats of one format, integers of its width that wrap around, and
conditions. A float literal has a point or an exponent, an integer has neither::

    floats       + - * / -x abs sqrt, comparisons, where, inf, nan
    bits         to_bits from_bits + - & | << >> (arithmetic), of integers
    conditions   & |
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

ULPS = 1
"""The largest error of a formula, in units in the last place of its result."""
FUSED_ULPS = 2
"""The same where a compiler rounds products and the sums after them at once, as in fast mode."""
FORMATS = {"f32": "float32", "f64": "float64"}
"""Kinds of terms → how the names of formulas end."""

Type = Literal["float", "integer", "condition"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Number:
    """A literal: an int is one of bits."""

    value: float | int


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter or a value that was computed before."""

    id: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: one of `FLOATS`, `BITS`, `CONDITIONS`, "where", or another formula's name."""

    op: str
    args: tuple[Expression, ...]


Expression = Number | Name | Operation


@dataclass(frozen=True, slots=True)
class Formula:
    """A function of floats of one format.

    Attributes:
        name: Such as "exp_float32".
        parameters: Names of its arguments.
        steps: The values that it computes, in order.
        result: What it returns.
        text: Its text, from `def` to the end of the last line.
    """

    name: str
    parameters: tuple[str, ...]
    steps: tuple[tuple[str, Expression], ...]
    result: Expression
    text: str


class Arithmetic(Protocol[T]):
    """What a formula is computed in: arrays, terms."""

    def number(self, value: float | int) -> T:
        """A literal; an int is one of bits."""

    def apply(self, op: str, *args: T) -> T:
        """An operation."""


FLOATS: dict[type[ast.AST] | str, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.USub: "neg", "abs": "abs",
    "sqrt": "sqrt",
}  # fmt: skip
"""Operations on floats, by their syntax or the function that is called."""
COMPARISONS: dict[type[ast.AST], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
BITS: dict[type[ast.AST], str] = {
    ast.Add: "iadd", ast.Sub: "isub", ast.BitAnd: "iand", ast.BitOr: "ior", ast.LShift: "ishl",
    ast.RShift: "ishr",
}  # fmt: skip
CONDITIONS: dict[type[ast.AST], str] = {ast.BitAnd: "and", ast.BitOr: "or"}
_SPECIAL = {"inf": float("inf"), "nan": float("nan")}


@cache
def names() -> tuple[str, ...]:
    """The functions that are formulas."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.formula")))


_FOLDER = Path(__file__).parent / "functions"


@cache
def digest(function: str) -> str:
    """A hash of a function's text, without comments, docstrings and layout."""
    text = (_FOLDER / f"{function}.formula").read_text(encoding="utf-8")
    kinds = (tokenize.NAME, tokenize.NUMBER, tokenize.OP, tokenize.NEWLINE)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    said = " ".join(token.string.strip() or ";" for token in tokens if token.type in kinds)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


@cache
def of(function: str) -> dict[str, Formula]:
    """The formulas of a function by their names: itself in every format, and what they call.

    Raises:
        ValueError: The text is not one of a formula.
    """
    text = (_FOLDER / f"{function}.formula").read_text(encoding="utf-8")
    found: dict[str, Formula] = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef):
            raise ValueError(f"{function}.formula:{node.lineno}: no function")
        source = ast.get_source_segment(text, node) or ""
        found[node.name] = _Reader(function, found).formula(node, source)
    missing = {f"{function}_{form}" for form in FORMATS.values()} - found.keys()
    if missing:
        raise ValueError(f"{function}.formula: no {', '.join(sorted(missing))}")
    return found


def compute(function: str, kind: str, arithmetic: Arithmetic[T], *args: T) -> T:
    """A function of numbers in one format.

    Args:
        function: Its name, such as "exp".
        kind: "f32" or "f64".
        arithmetic: What it is computed in.
        args: The arguments.
    """
    formulas = of(function)
    return _computed(formulas, formulas[f"{function}_{FORMATS[kind]}"], arithmetic, list(args))


def _computed(
    formulas: dict[str, Formula], formula: Formula, arithmetic: Arithmetic[T], args: list[T]
) -> T:
    values = dict(zip(formula.parameters, args, strict=True))

    def value(e: Expression) -> T:
        match e:
            case Number(value=number):
                return arithmetic.number(number)
            case Name(id=name):
                return values[name]
            case Operation(op=op, args=operands):
                inner = [value(a) for a in operands]
                if op in formulas:
                    return _computed(formulas, formulas[op], arithmetic, inner)
                return arithmetic.apply(op, *inner)

    for name, step in formula.steps:
        values[name] = value(step)
    return value(formula.result)


class _Reader:
    """Reads one function, and finds the type of every value."""

    def __init__(self, file: str, known: dict[str, Formula]) -> None:
        self.file = file
        self.known = known
        self.types: dict[str, Type] = {}

    def wrong(self, node: ast.AST, what: str) -> ValueError:
        return ValueError(f"{self.file}.formula:{getattr(node, 'lineno', 0)}: {what}")

    def formula(self, node: ast.FunctionDef, text: str) -> Formula:
        parameters = tuple(a.arg for a in node.args.args)
        self.types = dict.fromkeys(parameters, "float")
        *body, last = node.body
        if not isinstance(last, ast.Return) or last.value is None:
            raise self.wrong(last, "the last statement returns nothing")
        steps = []
        for index, statement in enumerate(body):
            match statement:
                case ast.Expr(value=ast.Constant(value=str())) if index == 0:
                    continue
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if name in self.types:
                        raise self.wrong(statement, f"`{name}` has a value already")
                    expression, kind = self.expression(value)
                    self.types[name] = kind
                    steps.append((name, expression))
                case _:
                    raise self.wrong(statement, "no assignment to a name")
        result, kind = self.expression(last.value)
        if kind != "float":
            raise self.wrong(last, "the result is no float")
        return Formula(node.name, parameters, tuple(steps), result, text)

    def expression(self, e: ast.expr) -> tuple[Expression, Type]:
        match e:
            case ast.Constant(value=float() as value):
                return Number(value), "float"
            case ast.Constant(value=int() as value) if type(value) is int:
                return Number(value), "integer"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return Number(-value), "integer"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() as value)):
                return Number(-value), "float"
            case ast.Name(id=name) if name in _SPECIAL:
                return Number(_SPECIAL[name]), "float"
            case ast.Name(id=name) if name in self.types:
                return Name(name), self.types[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.applied(e, "neg", [operand], "float"), "float"
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(e, type(op), left, right)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                return self.applied(e, COMPARISONS[type(op)], [left, right], "float"), "condition"
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.call(e, name, args)
        raise self.wrong(e, f"`{ast.unparse(e)}`")

    def applied(self, e: ast.AST, op: str, operands: list[ast.expr], kind: Type) -> Operation:
        """An operation whose operands are all of one type."""
        found = [self.expression(operand) for operand in operands]
        if any(of_type != kind for _, of_type in found):
            raise self.wrong(e, f"`{op}` of {', '.join(t for _, t in found)}")
        return Operation(op, tuple(operand for operand, _ in found))

    def binary(
        self, e: ast.AST, op: type[ast.operator], left: ast.expr, right: ast.expr
    ) -> tuple[Expression, Type]:
        kind = self.expression(left)[1]
        tables: dict[Type, dict[Any, str]] = {
            "float": FLOATS, "integer": BITS, "condition": CONDITIONS,
        }  # fmt: skip
        name = tables[kind].get(op)
        if name is None:
            raise self.wrong(e, f"`{op.__name__}` of {kind}")
        return self.applied(e, name, [left, right], kind), kind

    def call(self, e: ast.AST, name: str, args: list[ast.expr]) -> tuple[Expression, Type]:
        if name == "where" and len(args) == 3:
            condition, *arms = (self.expression(a) for a in args)
            (a, kind), (b, other) = arms
            if condition[1] != "condition" or kind != other:
                raise self.wrong(e, f"a choice between {kind} and {other} by {condition[1]}")
            return Operation("where", (condition[0], a, b)), kind
        if name == "to_bits" and len(args) == 1:
            return self.applied(e, "asint", args, "float"), "integer"
        if name == "from_bits" and len(args) == 1:
            return self.applied(e, "asfloat", args, "integer"), "float"
        if name in ("abs", "sqrt") and len(args) == 1:
            return self.applied(e, FLOATS[name], args, "float"), "float"
        if name in self.known and len(self.known[name].parameters) == len(args):
            return self.applied(e, name, args, "float"), "float"
        raise self.wrong(e, f"the call of `{name}`")
