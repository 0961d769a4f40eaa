"""The functions that generated files define for themselves, below the rule.

Most are templates in the folder of their backend. A function that is a formula
(`operations.formulas`) is printed from its text, with the names that the backend has for what it
calls.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stepforge.backends.python import PYTHON
from stepforge.backends.syntax import WIDTH
from stepforge.operations import formulas
from stepforge.operations.formulas import FORMATS, Formula
from stepforge.operations.table import OPERATIONS

_TEMPLATES = Path(__file__).parent / "templates"
_NAMES = {
    "numpy": {
        "where": "np.where", "abs": "np.abs", "sqrt": "np.sqrt",
        "inf": "np.inf", "nan": "np.nan",
    },
    "triton": {
        "where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt_rn",
        "inf": 'float("inf")', "nan": 'float("nan")',
    },
}  # fmt: skip
"""What backends call the operations of formulas."""


def definitions(column: str, names: Iterable[str]) -> list[str]:
    """The texts of helper functions, and of those that they call, in the order of their names.

    Args:
        column: The column of the table of operations.
        names: Their names; those of the host begin with "scalar_" and come last.
    """
    of_host = sorted(name for name in names if name.startswith("scalar_"))
    of_column = sorted({*names} - {*of_host})
    texts = [
        formula(name, column) if name in formulas.names() else _template(column, name)
        for name in of_column
    ]
    called = {
        name
        for name in ("neg", "from_bits", "to_bits")
        if name not in of_column and any(re.search(rf"\b{name}\(", text) for text in texts)
    }
    texts += [_template(column, name) for name in sorted(called)]
    return texts + [_template("host", name) for name in of_host]


@cache
def _template(folder: str, name: str) -> str:
    path = _TEMPLATES / folder / f"{name}.jinja"
    return path.read_text(encoding="utf-8").rstrip("\n")


@cache
def formula(function: str, column: str) -> str:
    """The function of any float type, and below it one for every format and what they call."""
    row = OPERATIONS[function]
    spelling = row.spellings[column]
    x = ", ".join(formulas.of(function)[f"{function}_float64"].parameters)
    usage = row.usage or spelling.text.format(*x.split(", "))
    about = (
        f'    """`{usage}` by rounded operations alone, the same bits everywhere; within 1 ulp."""'
    )
    wide, narrow = (f"{function}_{form}({x})" for form in ("float64", "float32"))
    if column == "numpy":
        first = x.split(", ")[0]
        body = f"    return {wide} if {first}.dtype == np.float64 else {narrow}"
        return "\n\n\n".join(
            [f"def {function}({x}):\n{about}\n{body}", *map(_numpy, _ordered(function))]
        )
    if "EXACT" in spelling.text:
        narrow = f"({narrow} if EXACT else tl.{function}({x}))"
    first = x.split(", ")[0]
    body = f"    return {wide} if {first}.dtype == tl.float64 else {narrow}"
    parameters = f"{x}, EXACT: tl.constexpr" if "EXACT" in spelling.text else x
    top = f"@triton.jit\ndef {function}({parameters}):\n{about}\n{body}"
    return "\n\n\n".join([top, *map(_triton, _ordered(function))])


def _ordered(function: str) -> list[Formula]:
    """float32 before float64, as in the file."""
    return list(formulas.of(function).values())


def _numpy(formula: Formula) -> str:
    return _renamed(formula, "numpy", {})


def _triton(formula: Formula) -> str:
    """Triton's own root and quotient are correctly rounded in float64, and only there."""
    wide = formula.name.endswith(FORMATS["f64"])
    return "@triton.jit\n" + _renamed(formula, "triton", {"sqrt": "tl.sqrt"} if wide else {})


def _renamed(formula: Formula, column: str, others: dict[str, str]) -> str:
    """The text with the names of a backend, each replaced where it stands."""
    names = _NAMES[column] | others
    edits = []
    for node in ast.walk(ast.parse(formula.text)):
        if isinstance(node, ast.Name) and node.id in names:
            edits.append(_Edit(*_start(node), node.end_col_offset or 0, names[node.id]))
        elif column == "triton":
            edits += _for_triton(node, formula)
        match node:
            case ast.Call(func=ast.Name(id="where"), args=[_, a, b]) if all(
                map(_is_literal, (a, b))
            ):
                edits += _around(a, *_typed(column, a, formula))
    lines = formula.text.split("\n")
    for edit in sorted(edits, key=lambda e: (e.line, -e.first, -e.last)):
        old = lines[edit.line - 1]
        lines[edit.line - 1] = old[: edit.first] + edit.text + old[edit.last :]
    # Formatters write an exponent without a sign if it is positive.
    return "\n".join(_filled(re.sub(r"(?<=\d)e\+", "e", line)) for line in lines)


def _filled(line: str) -> str:
    """A line, or where it is too long one for every argument or operand of its outermost part."""
    text = line.strip()
    if len(line) <= WIDTH or text.startswith("#"):
        return line
    statement = ast.parse(text).body[0]
    assert isinstance(statement, ast.Assign | ast.Return)
    value = statement.value
    pad = line[: len(line) - len(text)]
    match value:
        case ast.Call(func=function, args=args):
            before = text[: function.end_col_offset]
            parts = [ast.get_source_segment(text, a) or "" for a in args]
            comma = "," if len(parts) > 1 else ""
            inside = "".join(f"{pad}    {part}{comma}\n" for part in parts)
            return f"{pad}{before}(\n{inside}{pad})"
        case ast.BinOp(left=left, right=ast.Call(func=function, args=args)) if not (
            isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub)
        ):
            before = text[: function.end_col_offset]
            parts = [ast.get_source_segment(text, a) or "" for a in args]
            return PYTHON.layout(before, parts, "", pad)
        case ast.BinOp(left=left):
            before, rest = text[: value.col_offset], text[left.end_col_offset :].strip()
            first = text[value.col_offset : left.end_col_offset]
            return f"{pad}{before}(\n{pad}    {first}\n{pad}    {rest}\n{pad})"
    return line


@dataclass(frozen=True, slots=True)
class _Edit:
    """Other text for some columns of a line."""

    line: int
    first: int
    last: int
    text: str


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _around(node: ast.expr, before: str, after: str) -> list[_Edit]:
    """Text around a part."""
    line, end = node.end_lineno or 0, node.end_col_offset or 0
    first = _start(node)
    return [_Edit(*first, first[1], before), _Edit(line, end, end, after)]


def _for_triton(node: ast.AST, formula: Formula) -> list[_Edit]:
    """Where Triton computes something else than the text says."""
    wide = formula.name.endswith(FORMATS["f64"])
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not _is_literal(operand):
            # Some versions of Triton negate as `0 - x`.
            line, column = _start(node)
            return [_Edit(line, column, column + 1, ""), *_around(node, "neg(", ")")]
        case ast.BinOp(op=ast.Div(), left=left) if not wide:
            # Triton's `/` is an approximation on float32.
            column = formula.text.split("\n")[left.lineno - 1].index("/", left.end_col_offset)
            slash = _Edit(left.lineno, column - 1, column + 1, ",")
            return [slash, *_around(node, "tl.div_rn(", ")")]
    return []


def _is_literal(e: ast.expr) -> bool:
    inner = e.operand if isinstance(e, ast.UnaryOp) else e
    return isinstance(inner, ast.Constant) or (
        isinstance(inner, ast.Name) and inner.id in ("inf", "nan")
    )


def _typed(column: str, literal: ast.expr, formula: Formula) -> tuple[str, str]:
    """What a literal stands between that says its type: with two of them, Triton takes 32 bits,
    and NumPy 64."""
    inner = literal.operand if isinstance(literal, ast.UnaryOp) else literal
    number = "int" if isinstance(inner, ast.Constant) and type(inner.value) is int else "float"
    kind = f"{number}{64 if formula.name.endswith(FORMATS['f64']) else 32}"
    return (f"np.{kind}(", ")") if column == "numpy" else ("tl.full((), ", f", tl.{kind})")
