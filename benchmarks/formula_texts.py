"""The formula texts of the elementary functions: read, checked, translated to C and to NumPy.

They lie in `codegen/stepforge/operations/functions`. A text has Python's syntax and is parsed, not
executed. Every function is a docstring, names that are assigned once, and one result. Values are
floats of the function's format, integers of the same width, and conditions; this file refuses
whatever else a text may hold.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ROOT / "codegen" / "stepforge" / "operations" / "functions"
FLOATS: dict[str, Any] = {"float32": np.float32, "float64": np.float64}
INTEGERS: dict[str, Any] = {"float32": np.int32, "float64": np.int64}
ARITHMETIC: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", np.add), ast.Sub: ("-", np.subtract), ast.Mult: ("*", np.multiply),
    ast.Div: ("/", np.divide), ast.BitAnd: ("&", np.bitwise_and), ast.BitOr: ("|", np.bitwise_or),
    ast.LShift: ("<<", np.left_shift), ast.RShift: (">>", np.right_shift),
}  # fmt: skip
COMPARISONS: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", np.less), ast.LtE: ("<=", np.less_equal), ast.Gt: (">", np.greater),
    ast.GtE: (">=", np.greater_equal), ast.Eq: ("==", np.equal), ast.NotEq: ("!=", np.not_equal),
}  # fmt: skip
ALLOWED = {"float": "+-*/", "integer": "+-&|", "condition": "&|"}
WIDTH = 96


class NotInTheLanguage(Exception):
    """A formula text has something that the language of formula texts does not have."""


@dataclass
class Value:
    """An expression: its kind, which is float, integer or condition, in C, and for NumPy."""

    kind: str
    c: str
    numpy: Callable[[dict[str, Any]], Any]


class Formula:
    """One function of a formula text, translated to C and to what NumPy evaluates."""

    def __init__(self, node: ast.FunctionDef, known: dict[str, Formula]) -> None:
        self.name, self.format, self.known = node.name, node.name.rpartition("_")[2], known
        self.float, self.integer = FLOATS[self.format], INTEGERS[self.format]
        self.arguments = [a.arg for a in node.args.args]
        self.operations = 0
        self.kinds = dict.fromkeys(self.arguments, "float")
        self.steps: list[tuple[str, Value]] = []
        if not ast.get_docstring(node):
            raise self._error(node, "the docstring is missing")
        for statement in node.body[1:]:
            match statement:
                case ast.Assign([ast.Name(name)], expression) if name not in self.kinds:
                    value = self._value(expression)
                    self.kinds[name] = value.kind
                case ast.Return(ast.expr() as expression) if statement is node.body[-1]:
                    name, value = "return", self._value(expression)
                    if value.kind != "float":
                        raise self._error(statement, f"a function returns no {value.kind}")
                case _:
                    raise self._error(statement, "neither a new name nor the return at the end")
            self.steps.append((name, value))

    def _error(self, node: ast.AST, why: str) -> NotInTheLanguage:
        return NotInTheLanguage(f"{self.name}, line {getattr(node, 'lineno', '?')}: {why}")

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Name("inf" | "nan" as name):
                number = self.float(name)
                return Value("float", {"inf": "INFINITY", "nan": "NAN"}[name], lambda _: number)
            case ast.Name(name) if name in self.kinds:
                return Value(self.kinds[name], f"{name}_", lambda names: names[name])
            case ast.Constant(float() as literal):
                number = self.float(literal)
                if float(str(number)) != literal:
                    raise self._error(node, f"{literal} is not the shortest decimal, {number}")
                suffix = "f" if self.format == "float32" else ""
                return Value("float", float(number).hex() + suffix, lambda _: number)
            case ast.Constant(int() as literal) if not isinstance(literal, bool):
                integer = self.integer(literal)
                return Value("integer", f"(integer){literal}", lambda _: integer)
            case ast.UnaryOp(ast.USub(), operand):
                a = self._value(operand)
                if a.kind != "float":
                    raise self._error(node, f"the negative of a {a.kind}")
                self.operations += not isinstance(operand, ast.Constant)
                return Value("float", f"(-{a.c})", lambda names: -a.numpy(names))
            case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
                sign, apply = ARITHMETIC[type(operator)]
                return self._binary(node, left, sign, apply, right)
            case ast.Compare(left, [operator], [right]) if type(operator) in COMPARISONS:
                sign, apply = COMPARISONS[type(operator)]
                return self._binary(node, left, sign, apply, right)
            case ast.Call(ast.Name(name), arguments, []):
                return self._call(node, name, [self._value(a) for a in arguments])
        raise self._error(node, f"`{ast.unparse(node)}` is not in the language")

    def _binary(
        self, node: ast.expr, left: ast.expr, sign: str, apply: Any, right: ast.expr
    ) -> Value:
        a, b = self._value(left), self._value(right)
        if isinstance(node, ast.Compare):
            fits = a.kind == b.kind == "float"
        elif sign in ("<<", ">>"):
            fits = a.kind == "integer" and isinstance(right, ast.Constant) and b.kind == "integer"
        else:
            fits = a.kind == b.kind and sign in ALLOWED[a.kind]
        if not fits:
            raise self._error(node, f"{a.kind} {sign} {b.kind}")
        self.operations += 1
        kind = "condition" if isinstance(node, ast.Compare) else a.kind
        return Value(kind, f"({a.c} {sign} {b.c})", lambda n: apply(a.numpy(n), b.numpy(n)))

    def _call(self, node: ast.expr, name: str, values: list[Value]) -> Value:
        kinds, text = [v.kind for v in values], ", ".join(v.c for v in values)
        apply: Callable[..., Any]
        kind, c = "float", f"{name}({text})"
        if name in self.known and self.known[name].format == self.format:
            callee = apply = self.known[name]
            wanted = ["float"] * len(callee.arguments)
            self.operations += callee.operations
        elif name == "where" and len(kinds) == 3 and kinds[1] != "condition":
            apply, kind, wanted = np.where, kinds[1], ["condition", kinds[1], kinds[1]]
            c = "({} ? {} : {})".format(*(v.c for v in values))
            self.operations += 1
        elif name in ("abs", "sqrt"):
            apply, wanted = {"abs": np.abs, "sqrt": np.sqrt}[name], ["float"]
            c = f"{'absolute' if name == 'abs' else 'root'}({text})"
            self.operations += name == "sqrt"
        elif name == "to_bits":
            apply, wanted, kind = (lambda v: v.view(self.integer)), ["float"], "integer"
        elif name == "from_bits":
            apply, wanted = (lambda v: v.view(self.float)), ["integer"]
        else:
            raise self._error(node, f"there is no function {name}")
        if kinds != wanted:
            raise self._error(node, f"{name} of {', '.join(kinds)}")
        return Value(kind, c, lambda names: apply(*(v.numpy(names) for v in values)))

    def __call__(self, *arguments: Any) -> Any:
        """Evaluates the text with NumPy."""
        names = dict(zip(self.arguments, arguments, strict=True))
        for name, value in self.steps:
            names[name] = value.numpy(names)
        return names["return"]

    @property
    def c(self) -> str:
        """The function in C."""
        types = {"float": "real", "integer": "integer", "condition": "int"}
        arguments = ", ".join(f"real {a}_" for a in self.arguments)
        lines = [f"  {types[v.kind]} {name}_ = {v.c};" for name, v in self.steps[:-1]]
        result = f"  return {self.steps[-1][1].c};"
        return "\n".join([f"static real {self.name}({arguments}) {{", *lines, result, "}\n"])


def formulas(name: str) -> dict[str, Formula]:
    """The functions of a formula text, checked and translated."""
    known: dict[str, Formula] = {}
    text = (TEXTS / f"{name}.formula").read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH:
            raise NotInTheLanguage(f"{name}, line {number}: longer than {WIDTH} characters")
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef):
            raise NotInTheLanguage(f"{name}, line {node.lineno}: not a function")
        known[node.name] = Formula(node, known)
    return known
