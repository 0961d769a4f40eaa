"""The functions that generated files define for themselves, below the rule.

Most are templates in the folder of their backend. A function that is a formula
(`operations.formulas`) is printed from its text, with the names that the backend has for what it
calls.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from stepforge.operations import formulas
from stepforge.operations.formulas import FORMATS, Formula
from stepforge.operations.table import OPERATIONS

_TEMPLATES = Path(__file__).parent / "templates"
_NAMES = {
    "numpy": {
        "where": "np.where", "abs": "np.abs", "sqrt": "np.sqrt", "divide": "np.divide",
        "inf": "np.inf", "nan": "np.nan",
    },
    "triton": {
        "where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt_rn", "divide": "tl.div_rn",
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
    about = f'    """`{usage}` by rounded operations alone, the same bits everywhere; within 1 ulp."""'
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
    lines = formula.text.split("\n")
    edits: list[tuple[int, int, int, str]] = []  # line, first column, last column, new text
    tree = ast.parse(formula.text)
    wide = formula.name.endswith(FORMATS["f64"])
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            edits.append((node.lineno, node.col_offset, node.end_col_offset or 0, names[node.id]))
        if column != "triton":
            continue
        if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
            # Some versions of Triton negate as `0 - x`.
            edits.append((node.lineno, node.col_offset, node.col_offset + 1, "neg("))
            edits.append((node.lineno, node.end_col_offset or 0, node.end_col_offset or 0, ")"))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "where":
            arms = [a for a in node.args[1:] if _is_literal(a)]
            if len(arms) == 2:  # Triton takes two literals for float32 or int32
                kind = _type(arms[0], wide)
                for arm in arms:
                    start, end = arm.col_offset, arm.end_col_offset or 0
                    edits.append((arm.lineno, start, start, "tl.full((), "))
                    edits.append((arm.lineno, end, end, f", {kind})"))
    for line, start, end, text in sorted(edits, key=lambda e: (e[0], -e[1], -e[2])):
        old = lines[line - 1]
        lines[line - 1] = old[:start] + text + old[end:]
    return "\n".join(lines)


def _is_literal(e: ast.expr) -> bool:
    inner = e.operand if isinstance(e, ast.UnaryOp) else e
    return isinstance(inner, ast.Constant) or (isinstance(inner, ast.Name) and inner.id in ("inf", "nan"))


def _type(e: ast.expr, wide: bool) -> str:
    inner = e.operand if isinstance(e, ast.UnaryOp) else e
    number = "int" if isinstance(inner, ast.Constant) and type(inner.value) is int else "float"
    return f"tl.{number}{64 if wide else 32}"

