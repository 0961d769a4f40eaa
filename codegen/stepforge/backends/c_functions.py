"""The functions that are formulas (`operations.formulas`), as C: one header for all files."""

from __future__ import annotations

import ast
import math
import textwrap
from collections.abc import Iterator
from fractions import Fraction

from stepforge.backends.c_names import KEYWORDS
from stepforge.backends.syntax import WIDTH
from stepforge.language.diagnostics import GeneratorBug
from stepforge.operations import formulas
from stepforge.operations.formulas import FORMATS, Formula, Operation

_BEGIN = """\
/* The functions that C's library rounds differently from machine to machine, as formulas of
   correctly rounded operations and operations on bits: the same bits everywhere, within 1 ulp. */
#ifndef STEPFORGE_FUNCTIONS_H
#define STEPFORGE_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>
"""
_BITS = """\
/* The float that has these bits, the bits of a float, and a shift to the right that keeps the sign.
   Bits are unsigned, so that sums wrap around. */
static inline {real} {real_name}_of_bits(uint{width}_t bits)
{{
    {real} x;
    memcpy(&x, &bits, sizeof x);
    return x;
}}

static inline uint{width}_t bits_of_{real_name}({real} x)
{{
    uint{width}_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}}

static inline uint{width}_t shifted_{real_name}(uint{width}_t bits, int places)
{{
    return (uint{width}_t)((int{width}_t)bits >> places);
}}
"""
_PRECEDENCE = {
    ast.Mult: 10, ast.Div: 10, ast.Add: 9, ast.Sub: 9, ast.LShift: 8, ast.RShift: 8,
    ast.BitAnd: 5, ast.BitOr: 3,
}  # fmt: skip
"""Of C; comparisons have 7, calls and signs are stronger than all."""
_SIGNS = {
    ast.Mult: "*", ast.Div: "/", ast.Add: "+", ast.Sub: "-", ast.LShift: "<<", ast.BitAnd: "&",
    ast.BitOr: "|", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==",
    ast.NotEq: "!=",
}  # fmt: skip
_COMPARED, _CHOICE, _CALL = 7, 1, 20


def header() -> str:
    """The text of `_functions.h`."""
    parts = [_BEGIN]
    for real, name, width in (("float", "float32", 32), ("double", "float64", 64)):
        parts.append(_BITS.format(real=real, real_name=name, width=width))
    known: set[str] = set()
    for function in formulas.names():
        for formula in formulas.of(function).values():
            if formula.name not in known:
                known.add(formula.name)
                parts.append(_Printer(formula).text())
        arguments = ", ".join(formulas.of(function)[f"{function}_float64"].parameters)
        kind = " + ".join(f"({name})" for name in arguments.split(", "))
        parts.append(
            f"#define real_{function}({arguments}) \\\n"
            f"    _Generic({kind}, float: {function}_float32, double: {function}_float64)"
            f"({arguments})\n"
        )
    return "\n".join([*parts, "#endif\n"])


class _Printer:
    """Prints one function."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self.wide = formula.name.endswith(FORMATS["f64"])
        self.real, self.format = ("double", "float64") if self.wide else ("float", "float32")
        self.types = dict.fromkeys(formula.parameters, self.real)

    def text(self) -> str:
        """The whole function."""
        (node,) = ast.parse(self.formula.text).body
        assert isinstance(node, ast.FunctionDef)
        parameters = ", ".join(f"{self.real} {name}" for name in self.formula.parameters)
        signature = f"static inline {self.real} {self.formula.name}({parameters})"
        comments = dict(self._comments())
        about = ast.get_docstring(node)
        first = [_comment(about, "")] if about else []
        lines = []
        values = dict(self.formula.steps)
        for statement in node.body[1 if about else 0 :]:
            for line in sorted(line for line in comments if line < statement.lineno):
                lines.append(_comment(comments.pop(line), "    "))
            if isinstance(statement, ast.Assign):
                (target,) = statement.targets
                assert isinstance(target, ast.Name)
                kind = self.types[target.id] = self._type(values[target.id])
                lines.append(self._filled(f"const {kind} {_name(target.id)} = ", statement.value))
            else:
                assert isinstance(statement, ast.Return)
                assert statement.value is not None
                lines.append(self._filled("return ", statement.value))
        return "\n".join([*first, signature, "{", *lines, "}", ""])

    def _comments(self) -> Iterator[tuple[int, str]]:
        """The first line of every comment, and its text, of which each may have several lines."""
        found: list[tuple[int, str]] = []
        last = -1
        for number, line in enumerate(self.formula.text.split("\n"), 1):
            text = line.strip()
            if not text.startswith("#"):
                continue
            if found and last == number - 1:
                found[-1] = found[-1][0], f"{found[-1][1]} {text[1:].strip()}"
            else:
                found.append((number, text[1:].strip()))
            last = number
        yield from found

    def _type(self, value: formulas.Expression) -> str:
        bits = f"uint{64 if self.wide else 32}_t"
        match value:
            case formulas.Number(value=number):
                return bits if isinstance(number, int) else self.real
            case formulas.Name(id=name):
                return self.types[name]
            case Operation(op="where", args=(_, chosen, _)):
                return self._type(chosen)
            case Operation(op=op):
                if op in formulas.BITS.values() or op == "asint":
                    return bits
                if op in formulas.CONDITIONS.values() or op in formulas.COMPARISONS.values():
                    return "int"
        return self.real

    def _filled(self, before: str, value: ast.expr) -> str:
        """A statement, in lines that are not too long."""
        text = f"    {before}{self.spelled(value)[0]};"
        lines = textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_long_words=False)
        return "\n".join(["    " + lines[0].lstrip(), *lines[1:]])

    def spelled(self, e: ast.expr) -> tuple[str, int]:
        """Text and precedence of an expression."""
        match e:
            case ast.Constant(value=value) if isinstance(value, int):
                return f"0x{value:X}" if value > 64 else str(value), _CALL
            case ast.Constant(value=value) if isinstance(value, float):
                return self._literal(value), _CALL
            case ast.Name(id="inf"):
                return "INFINITY", _CALL
            case ast.Name(id="nan"):
                return "NAN", _CALL
            case ast.Name(id=name):
                return _name(name), _CALL
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"-{self._inside(operand, _CALL)}", _CALL - 1
            case ast.BinOp(left=left, op=ast.RShift(), right=right):
                return f"shifted_{self.format}({self.value(left)}, {self.value(right)})", _CALL
            case ast.BinOp(left=left, op=op, right=right):
                own = _PRECEDENCE[type(op)]
                # Compilers ask for parentheses where other levels than these two meet.
                plain = isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Div)
                needed = own if plain else _CALL - 1
                first, second = self._inside(left, needed), self._inside(right, own + 1)
                if not plain:
                    second = self._inside(right, _CALL - 1)
                return f"{first} {_SIGNS[type(op)]} {second}", own
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                first, second = (self._inside(x, _COMPARED + 1) for x in (left, right))
                return f"{first} {_SIGNS[type(op)]} {second}", _COMPARED
            case ast.Call(func=ast.Name(id="where"), args=[condition, a, b]):
                parts = [self._inside(x, _CHOICE + 1) for x in (condition, a, b)]
                return "{} ? {} : {}".format(*parts), _CHOICE
            case ast.Call(func=ast.Name(id=name), args=args):
                return f"{self._called(name)}({', '.join(map(self.value, args))})", _CALL
        raise GeneratorBug(f"{self.formula.name}: `{ast.unparse(e)}` in C")

    def value(self, e: ast.expr) -> str:
        """Text of an expression that stands alone."""
        return self.spelled(e)[0]

    def _inside(self, e: ast.expr, needed: int) -> str:
        text, precedence = self.spelled(e)
        return text if precedence >= needed else f"({text})"

    def _called(self, name: str) -> str:
        names = {
            "abs": "fabs" if self.wide else "fabsf", "sqrt": "sqrt" if self.wide else "sqrtf",
            "to_bits": f"bits_of_{self.format}", "from_bits": f"{self.format}_of_bits",
        }  # fmt: skip
        return names.get(name, name)

    def _literal(self, value: float) -> str:
        text = repr(value)
        if self.wide:
            return text
        # Elsewhere a literal is rounded to a double first, which matters where that is halfway
        # between two floats.
        if (math.frexp(value)[0] * 2**25) % 2 == 1 and Fraction(value) != Fraction(text):
            raise GeneratorBug(f"{self.formula.name}: {text} is rounded twice")
        return f"{text}f"


def _name(name: str) -> str:
    return f"{name}_" if name in KEYWORDS else name


def _comment(text: str, pad: str) -> str:
    """A text as a comment."""
    lines = [
        filled
        for line in text.strip().split("\n")
        for filled in (textwrap.wrap(line, WIDTH - len(pad) - 6) or [""])
    ]
    return f"{pad}/* " + f"\n{pad}   ".join(lines).replace("\n" + pad + "   \n", "\n\n") + " */"
