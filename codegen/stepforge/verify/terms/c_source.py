"""Generated C as terms: its statements run on symbols, with C's conversions, branches joined.

An operation on floats and doubles is one of doubles: a literal such as `0.5` that is not made a
`real` first computes in double, and is lifted so. Integers are literals, of which `1 / 2` is 0, and
conditions, with which nothing is computed but conditions; an integer that meets a number becomes
that number. What else C has is `Unsupported` with its line, and what no rule may do is `Refuted`.

In one file, because it is one interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stepforge.operations.table import OPERATIONS
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.c_text import line_of
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.terms import Term, apply

Value = int | Term
"""An integer that is known, a condition, or a float or double."""
LARGEST = 2**53
"""Whole numbers up to here are doubles."""
LARGEST_INT = 2**31
"""What is computed with integers is below."""
MAX_DEPTH = 200
"""Of nested expressions."""
INT = "int"
_ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_CALLED = re.compile(r"(\w+)\(\{0\}(?:, \{\d\})*\)")


def functions(column: str) -> Mapping[str, str]:
    """The functions that the table of operations spells in a column → the operations."""
    found = {}
    for op, row in OPERATIONS.items():
        called = _CALLED.fullmatch(row.spellings[column].text)
        if called and called[1] not in found and called[1] not in ("float", "math"):
            found[called[1]] = op
    return found


@dataclass(frozen=True, slots=True)
class Variable:
    """What a name was declared as.

    Attributes:
        type: "int", or the kind of a float.
        const: Whether it keeps its first value.
    """

    type: str
    const: bool


@dataclass(frozen=True, slots=True)
class Pointer:
    """A parameter that is an address.

    Attributes:
        name: Of the tensor or scalar state; "" for one that the options leave out.
        const: Whether nothing may be stored there.
    """

    name: str
    const: bool = False


class Reader:
    """Runs the statements of a function.

    Attributes:
        types: Names of types → the kinds of floats that they are.
        column: The column of the table of operations that functions are spelled in.
        builder: Makes the terms of functions of a kind.
        variables: What the names are.
        values: What they are now; None where a way there gives no value.
        origin: The first line that computes a term.
    """

    def __init__(
        self, types: Mapping[str, str], column: str, builder: Callable[[str], rule.Builder]
    ) -> None:
        self.types = {**types, INT: INT}
        self.functions = functions(column)
        self.builder = builder
        self.variables: dict[str, Variable] = {}
        self.values: dict[str, Value | None] = {}
        self.origin: dict[Term, int] = {}
        self.branches = 0
        self.dead = 0
        self.depth = 0

    # What a function of the rule and one of the host have of their own.

    def element(self, node: Any) -> Value:
        """What `x[…]` is."""
        raise Unsupported(line_of(node), "an index")

    def through(self, node: Any) -> Value:
        """What `*x` is."""
        raise Unsupported(line_of(node), "an address")

    def store(self, place: Any, value: Value) -> None:
        """An assignment to anything but a name."""
        raise Unsupported(line_of(place), "an assignment to no name")

    def statement_of(self, node: Any) -> None:
        """A statement that is none of those that both have."""
        raise Unsupported(line_of(node), f"the statement `{type(node).__name__.lower()}`")

    # Statements.

    def declare(self, name: str, variable: Variable, value: Value | None, node: Any) -> None:
        """A new name."""
        if name in self.variables:
            raise Unsupported(line_of(node), f"`{name}` is declared twice")
        self.variables[name] = variable
        self.values[name] = None if value is None else self.converted(value, variable.type, node)

    def block(self, items: Sequence[Any] | None) -> None:
        """Runs statements."""
        for item in items or ():
            self.statement(item)

    def statement(self, node: Any) -> None:
        """Runs one statement."""
        match type(node).__name__:
            case "Decl":
                self.declaration(node)
            case "Assignment":
                self.assignment(node)
            case "If":
                self.choice(node)
            case "Compound":
                with self.inside():
                    self.block(node.block_items)
            case "EmptyStatement":
                pass
            case _:
                self.statement_of(node)

    def declaration(self, node: Any) -> None:
        """`real x`, `const real x = …` and the like."""
        kind = type_of(node.type)
        if kind not in self.types or node.storage or node.funcspec or node.align or node.bitsize:
            raise Unsupported(line_of(node), f"the declaration of `{node.name}`")
        if self.branches:
            raise Unsupported(line_of(node), "a declaration inside of a block")
        value = None if node.init is None else self.expression(node.init)
        self.declare(node.name, Variable(self.types[kind], "const" in node.quals), value, node)

    def assignment(self, node: Any) -> None:
        """`x = …`, `x += …` and the like, and stores."""
        value = self.expression(node.rvalue)
        place = node.lvalue
        if node.op != "=":
            if type(place).__name__ != "ID" or node.op[:-1] not in _ARITHMETIC:
                raise Unsupported(line_of(node), f"the operator `{node.op}`")
            value = self.binary(node.op[:-1], self.name(place), value, node)
        if type(place).__name__ != "ID":
            self.store(place, value)
            return
        variable = self.variables.get(place.name)
        if variable is None:
            raise Unsupported(line_of(node), f"an assignment to `{place.name}`")
        if variable.const:
            raise Refuted(line_of(node), f"assigns `{place.name}`, which is constant")
        self.values[place.name] = self.converted(value, variable.type, node)

    def choice(self, node: Any) -> None:
        """One branch if the condition is known, else both, joined."""
        condition = self.truth(self.expression(node.cond), node)
        if isinstance(condition, bool):
            taken = node.iftrue if condition else node.iffalse
            if taken is not None:
                with self.inside():
                    self.statement(taken)
            return
        before, found = self.values, []
        for arm in (node.iftrue, node.iffalse):
            self.values = dict(before)
            if arm is not None:
                with self.inside(True):
                    self.statement(arm)
            found.append(self.values)
        taken, other = found
        self.values = {}
        for name, a in taken.items():
            b = other[name]
            if a is None or b is None:
                self.values[name] = None
            elif a is b or (isinstance(a, int) and a == b):
                self.values[name] = a
            else:
                self.values[name] = self.select(condition, a, b, node)

    chosen = 0
    """How many conditions on values a statement is under."""

    @contextmanager
    def inside(self, by_value: bool = False) -> Iterator[None]:
        """Notes that statements are in a block, under a condition on values or not."""
        self.branches += 1
        self.chosen += by_value
        try:
            yield
        finally:
            self.branches -= 1
            self.chosen -= by_value

    @contextmanager
    def untaken(self) -> Iterator[None]:
        """Notes that an expression is looked at for its type alone."""
        self.dead += 1
        try:
            yield
        finally:
            self.dead -= 1

    # Expressions.

    def expression(self, node: Any) -> Value:
        """The value of an expression."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported(line_of(node), "an expression that is nested too deeply")
        try:
            return self._expression(node)
        finally:
            self.depth -= 1

    def _expression(self, node: Any) -> Value:
        match type(node).__name__:
            case "Constant":
                return self.constant(node)
            case "ID":
                return self.name(node)
            case "ArrayRef":
                return self.element(node)
            case "UnaryOp":
                return self.unary(node)
            case "BinaryOp" if node.op in ("&&", "||"):
                return self.connective(node)
            case "BinaryOp":
                left, right = self.expression(node.left), self.expression(node.right)
                return self.binary(node.op, left, right, node)
            case "TernaryOp":
                return self.ternary(node)
            case "Cast":
                kind = self.types.get(type_of(node.to_type), "")
                if kind in terms.FLOATS and not node.to_type.quals:
                    return self.converted(self.expression(node.expr), kind, node)
                raise Unsupported(line_of(node), "a conversion to another type than `real`")
            case "FuncCall":
                return self.call(node)
        raise Unsupported(line_of(node), f"the expression `{type(node).__name__.lower()}`")

    def constant(self, node: Any) -> Value:
        """A decimal literal: an integer, or a double."""
        text = node.value
        if node.type == "int" and re.fullmatch(r"0|[1-9]\d*", text) and int(text) <= LARGEST:
            return int(text)
        if node.type == "double" and re.fullmatch(r"[\d.]+([eE][+-]?\d+)?", text):
            return terms.constant(float(text), "f64")
        raise Unsupported(line_of(node), f"the literal `{text}`")

    def name(self, node: Any) -> Value:
        """The value of a variable."""
        variable = self.variables.get(node.name)
        if variable is None:
            raise Unsupported(line_of(node), f"the name `{node.name}`")
        value = self.values[node.name]
        if value is None:
            if self.dead:
                return 0 if variable.type == INT else terms.constant(0.0, variable.type)
            raise Refuted(line_of(node), f"reads `{node.name}`, which may have no value yet")
        return value

    def unary(self, node: Any) -> Value:
        """`-x`, `+x`, `!x`, `*x`."""
        if node.op == "*":
            return self.through(node)
        value = self.expression(node.expr)
        if node.op == "!":
            truth = self.truth(value, node)
            if isinstance(truth, bool):
                return int(not truth)
            return self.noted(apply("not", truth), node)
        if node.op in ("-", "+"):
            if isinstance(value, int):
                return -value if node.op == "-" else value
            if value.kind != "bool":
                return self.noted(apply("neg", value), node) if node.op == "-" else value
        raise Unsupported(line_of(node), f"`{node.op}` of an integer, or what is no operator")

    def binary(self, op: str, a: Value, b: Value, node: Any) -> Value:
        """An operation on two numbers, or on two conditions."""
        if op in ("&", "|"):
            return self.bitwise(op, a, b, node)
        if op in _COMPARISONS:
            if isinstance(a, int) and isinstance(b, int):
                return int(bool(_known(op, a, b)))
            if self.type_of(a, b) == INT:
                return self.of_conditions(op, a, b, node)
            kind = self.type_of(a, b)
            operands = [self.number(x, kind, node) for x in (a, b)]
            return self.noted(apply(_COMPARISONS[op], *operands), node)
        if op not in _ARITHMETIC:
            raise Unsupported(line_of(node), f"the operator `{op}`")
        kind = self.type_of(a, b)
        if isinstance(a, int) and isinstance(b, int):
            return self.whole(op, a, b, node)
        if kind == INT:
            raise Unsupported(line_of(node), f"`{op}` of two integers")
        operands = [self.number(x, kind, node) for x in (a, b)]
        return self.noted(apply(_ARITHMETIC[op], *operands), node)

    def whole(self, op: str, a: int, b: int, node: Any) -> int:
        """Arithmetic on literals, whose quotients have no fractions: `1 / 2` is 0."""
        if max(abs(a), abs(b)) < LARGEST_INT and (op != "/" or b):
            quotient = abs(a) // abs(b) if b else 0
            found = {"+": a + b, "-": a - b, "*": a * b}
            found["/"] = quotient if (a < 0) is (b < 0) else -quotient
            if abs(found[op]) < LARGEST_INT:
                return found[op]
        raise Unsupported(line_of(node), f"`{op}` of two integers that has no value")

    def of_conditions(self, op: str, a: Value, b: Value, node: Any) -> Value:
        """A comparison of a condition with 0."""
        if b == 0 and isinstance(a, Term) and op in ("!=", "=="):
            return a if op == "!=" else self.noted(apply("not", a), node)
        raise Unsupported(line_of(node), f"`{op}` of two integers")

    def bitwise(self, op: str, a: Value, b: Value, node: Any) -> Value:
        """`a & b` of conditions, which are 0 or 1."""
        if isinstance(a, int) and isinstance(b, int):
            return a & b if op == "&" else a | b
        x, y = (self.condition(value, node) for value in (a, b))
        return self.noted(apply("and" if op == "&" else "or", x, y), node)

    def condition(self, value: Value, node: Any) -> Term:
        """A condition, or the integer 0 or 1 as one."""
        if isinstance(value, int) and value in (0, 1):
            return terms.truth(bool(value))
        if isinstance(value, Term) and value.kind == "bool":
            return value
        raise Unsupported(line_of(node), "what is no condition as one")

    def connective(self, node: Any) -> Value:
        """`a && b`, which looks at b only if a holds; `a || b`."""
        is_and = node.op == "&&"
        left = self.truth(self.expression(node.left), node)
        if isinstance(left, bool) and left is not is_and:
            with self.untaken():
                self.expression(node.right)
            return int(left)
        right = self.truth(self.expression(node.right), node)
        if isinstance(left, bool):
            return int(right) if isinstance(right, bool) else right
        if isinstance(right, bool):
            right = terms.truth(right)
        return self.noted(apply("and" if is_and else "or", left, right), node)

    def ternary(self, node: Any) -> Value:
        """A choice, of the type that both arms have together."""
        condition = self.truth(self.expression(node.cond), node)
        if not isinstance(condition, bool):
            a, b = self.expression(node.iftrue), self.expression(node.iffalse)
            return self.select(condition, a, b, node)
        taken, other = (node.iftrue, node.iffalse)[:: 1 if condition else -1]
        value = self.expression(taken)
        with self.untaken():
            kind = self.type_of(value, self.expression(other))
        return value if kind == INT else self.converted(value, kind, node)

    def select(self, condition: Term, a: Value, b: Value, node: Any) -> Value:
        """One of two values."""
        kind = self.type_of(a, b)
        if kind == INT:
            arms = [self.condition(x, node) for x in (a, b)]
        else:
            arms = [self.number(x, kind, node) for x in (a, b)]
        return self.noted(apply("select", condition, *arms), node)

    def call(self, node: Any) -> Value:
        """A function of the table, in the type of its arguments."""
        name = getattr(node.name, "name", "")
        op = self.functions.get(name)
        args = [self.expression(e) for e in (node.args.exprs if node.args else ())]
        if op is None or len(args) != OPERATIONS[op].arity:
            raise Unsupported(line_of(node), f"the call of `{name}`")
        kind = self.type_of(*args)
        if kind == INT:
            raise Unsupported(line_of(node), f"`{name}` of integers")
        builder = self.builder(kind)
        if op == "stored" and (kind != self.types["real"] or "stored" not in self.variables):
            raise Unsupported(line_of(node), f"`{name}` of a double, or without a format")
        operands = [self.number(a, kind, node) for a in args]
        return self.noted(builder.operation(op, *operands), node)

    # Types.

    def type_of(self, *values: Value) -> str:
        """The type that values have together."""
        kinds = {v.kind for v in values if isinstance(v, Term)} - {"bool"}
        return "f64" if "f64" in kinds else "f32" if kinds else INT

    def converted(self, value: Value, kind: str, node: Any) -> Value:
        """A value in a type."""
        if kind == INT:
            if isinstance(value, int) or value.kind == "bool":
                return value
            raise Unsupported(line_of(node), "a number as an integer")
        return self.number(value, kind, node)

    def number(self, value: Value, kind: str, node: Any) -> Term:
        """A value as a number of a kind of floats."""
        if isinstance(value, int):
            value = terms.constant(float(value), "f64")
        elif value.kind == "bool":
            one, zero = (terms.constant(x, "f64") for x in (1.0, 0.0))
            value = apply("select", value, one, zero)
        return self.noted(apply("cvt", value, kind=kind), node)

    def truth(self, value: Value, node: Any) -> bool | Term:
        """Whether a value is not zero: known, or a term."""
        if isinstance(value, int):
            return bool(value)
        if value.kind != "bool":
            value = self.noted(apply("ne", value, terms.constant(0.0, value.kind)), node)
        return bool(value.data) if value.is_constant else value

    def noted(self, term: Term, node: Any) -> Term:
        """A new value; its line is kept if nothing before has computed it."""
        self.origin.setdefault(term, line_of(node))
        return term


def type_of(node: Any) -> str:
    """The one word that a type is, or ""."""
    while type(node).__name__ == "Typename":
        node = node.type
    if type(node).__name__ != "TypeDecl" or type(node.type).__name__ != "IdentifierType":
        return ""
    return " ".join(node.type.names)


def _known(op: str, a: int, b: int) -> bool:
    found: bool = getattr(a, f"__{_COMPARISONS[op]}__")(b)
    return found
