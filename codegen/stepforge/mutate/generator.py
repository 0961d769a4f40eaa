"""Faults in stepforge itself: in what reads specs, folds constants, lowers, and writes files.

Only lines that run when the files of one spec are built can change these files, so only those are
changed: in Python its syntax trees, in templates and formulas the text.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from stepforge.language.reader import loads
from stepforge.mutate.copies import BUILDING, PACKAGE, program
from stepforge.mutate.mutant import GENERATOR, Mutant
from stepforge.mutate.planted import SPEC

FOLDERS = ("language", "operations", "lowering", "backends")
FORMULAS = "operations/functions/*.formula"
TEMPLATES = ("backends/templates/[!c]*.py.jinja", "backends/templates/[!ct]*/*",
             "backends/templates/tr*/*")  # fmt: skip
"""Those of the files that rungs look at, which torch's are not, but for C and its callers."""
Edit = tuple[str, str]
"""What is done, and the text that takes the place of a node or line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Some bytes of a file of the package, and what takes their place."""

    file: str
    line: int
    column: int
    operator: str
    begin: int
    end: int
    old: str
    new: str


def mutants() -> Iterator[Mutant]:
    """Every single fault, by file and line."""
    spec = loads(SPEC, "dense.toml")[0]
    options = next(spec.option_sets())
    for fault in _faults():
        place = f"{fault.file}:{fault.line}:{fault.column}"
        what = f"{place}: {_short(fault.old)} -> {_short(fault.new) or 'nothing'}"
        text = json.dumps([fault.file, fault.begin, fault.end, fault.new])
        yield Mutant(spec, options, GENERATOR, "M", fault.operator, what, text=text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:69]}…"


def _faults() -> Iterator[Fault]:
    """All of them; what is no fault because a file stays the same shows when it is built."""
    for file, lines in _lines_that_run().items():
        if file.split("/")[0] in FOLDERS and "templates" not in file:
            yield from _of_python(file, _text(file), set(lines))
    for file in _files(FORMULAS):
        yield from _of_python(file, _text(file), set(range(1, _text(file).count("\n") + 1)))
    for file in _files(*TEMPLATES):
        yield from _of_text(file, _text(file))


def _text(file: str) -> str:
    return (PACKAGE / file).read_text(encoding="utf-8")


def _files(*patterns: str) -> list[str]:
    """The files of the package that have one of the patterns, but for torch's."""
    found = sorted(path for pattern in patterns for path in PACKAGE.glob(pattern))
    return [p.relative_to(PACKAGE).as_posix() for p in found if not p.name.startswith("torch")]


@cache
def _lines_that_run() -> dict[str, list[int]]:
    with tempfile.TemporaryDirectory(prefix="stepforge-") as folder:
        found: dict[str, list[int]] = json.loads(
            program(PACKAGE.parent, ["--lines", folder], BUILDING).stdout
        )
    return found


# Python.


def _of_python(file: str, text: str, lines: set[int]) -> Iterator[Fault]:
    data, seen, starts = text.encode(), set(), _starts(text)
    for node in _nodes(ast.parse(text), in_function=False, lines=lines):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        for operator, new in _node_edits(node):
            if operator == "swap operands" and file.endswith(".formula") and _commutes(node):
                continue
            if (begin, end, new) not in seen:
                seen.add((begin, end, new))
                old = data[begin:end].decode()
                yield Fault(file, node.lineno, node.col_offset + 1, operator, begin, end, old, new)


def _commutes(node: ast.AST) -> bool:
    """Whether numbers may change sides."""
    return isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr
    )


def _starts(text: str) -> list[int]:
    """Where lines begin, in bytes."""
    return list(accumulate((len(line) + 1 for line in text.encode().split(b"\n")), initial=0))


def _nodes(node: ast.AST, in_function: bool, lines: set[int]) -> Iterator[ast.expr | ast.stmt]:
    """The nodes that run: of modules everything, of functions the lines that do."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            inside = in_function or isinstance(child, ast.FunctionDef)
            if isinstance(child, ast.expr | ast.stmt) and (
                not in_function or child.lineno in lines
            ):
                yield child
            if not isinstance(child, ast.JoinedStr):  # its parts have no places of their own
                yield from _nodes(child, inside, lines)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Mod: ast.Add,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def _node_edits(node: ast.expr | ast.stmt) -> Iterator[Edit]:
    """Every fault of one node."""

    def with_(**parts: object) -> str:
        changed = copy.copy(node)
        for name, value in parts.items():
            setattr(changed, name, value)
        return f"({ast.unparse(changed)})"

    match node:
        case ast.Compare(ops=[op]):
            yield "turn a comparison", with_(ops=[_COMPARED[type(op)]()])
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and for or", with_(op=other)
            yield (
                "drop a condition",
                with_(values=values[1:]) if len(values) > 2 else ast.unparse(values[0]),
            )
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _CALCULATED:
            yield "other operator", with_(op=_CALCULATED[type(op)]())
            yield "swap operands", with_(left=right, right=left)
        case ast.UnaryOp(operand=operand):
            yield "drop an operator", f"({ast.unparse(operand)})"
        case ast.IfExp(body=body, orelse=orelse):
            yield "swap arms", with_(body=orelse, orelse=body)
        case ast.Constant(value=bool() as value):
            yield "other truth", str(not value)
        case ast.Constant(value=int() as value):
            yield "one more", str(value + 1)
        case ast.Constant(value=float() as value):
            yield "other number", repr(value * 1.0625 + 2.0**-60)
        case ast.Constant(value=str()):
            for operator, new in _line_edits(ast.literal_eval(ast.unparse(node))):
                yield operator, repr(new)
        case ast.JoinedStr(values=values):
            places = [i for i, part in enumerate(values) if isinstance(part, ast.FormattedValue)]
            if len(places) > 1:
                i, j = places[:2]
                turned = list(values)
                turned[i], turned[j] = values[j], values[i]
                yield "swap parts of a text", with_(values=turned)
            for index, part in enumerate(values):
                if isinstance(part, ast.Constant):
                    for operator, new in _line_edits(str(part.value)):
                        pieces = [*values[:index], ast.Constant(new), *values[index + 1 :]]
                        yield operator, with_(values=pieces)
        case ast.Call(args=[first, second, *rest]) if not isinstance(first, ast.Starred):
            if not isinstance(second, ast.Starred):
                yield "swap arguments", with_(args=[second, first, *rest])
        case ast.Tuple(elts=[first, second, *rest], ctx=ast.Load()):
            yield "swap elements", with_(elts=[second, first, *rest])
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield "drop a statement", "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "drop a statement", "pass"
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value)):
                yield "drop a statement", "pass"
        case ast.If(test=test):
            head = ast.If(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)
            pad = " " * node.col_offset
            yield "negate a condition", ast.unparse(head).replace("\n", f"\n{pad}")


# Templates and formulas.

_TEXT: tuple[tuple[str, str, str | Callable[[re.Match[str]], str]], ...] = (
    ("other operator", r" \+ ", " - "),
    ("other operator", r" - ", " + "),
    ("other operator", r" \* ", " + "),
    ("other operator", r" / ", " * "),
    ("turn a comparison", r" <(?![<=])", " <="),
    ("turn a comparison", r" <=", " <"),
    ("turn a comparison", r" >(?![>=])", " >="),
    ("turn a comparison", r" >=", " >"),
    ("turn a comparison", r"==", "!="),
    ("turn a comparison", r"!=", "=="),
    ("and for or", r"\band\b", "or"),
    ("and for or", r"\bor\b", "and"),
    ("other shift", r"<<", ">>"),
    ("drop an operator", r"\bnot ", ""),
    ("other truth", r"\bTrue\b", "False"),
    ("other truth", r"\bFalse\b", "True"),
    ("other function", r"\b(maximum|max)\b", "minimum"),
    ("other function", r"\b(minimum|min)\b", "maximum"),
    ("other function", r"\bsqrt\(", "abs("),
    ("other type", r"float32", "float64"),
    ("other type", r"int64", "int32"),
    ("one more", r"(?<![\w.])\d+(?![\w.])", lambda m: str(int(m[0]) + 1)),
    ("swap arguments", r"\((\w[\w.]*), (\w[\w.]*)", r"(\2, \1"),
    ("drop an argument", r"\((\w[\w.]*), \w[\w.]*\)", r"(\1)"),
)  # fmt: skip
"""What is done, a pattern, and what takes the place of its first match in a line."""


def _line_edits(line: str) -> Iterator[Edit]:
    for operator, pattern, new in _TEXT:
        changed = re.sub(pattern, new, line, count=1)
        if changed != line:
            yield operator, changed


def _of_text(file: str, text: str) -> Iterator[Fault]:
    starts = _starts(text)
    for index, line in enumerate(text.split("\n")):
        edits = list(_line_edits(line))
        if re.match(r"\s+\w[\w.\[\]\"]* = |\s+(?:tl\.store|\w+\()", line):
            edits.append(("drop a statement", re.sub(r"\S.*", "pass", line)))
        for operator, new in edits:
            end = starts[index + 1] - 1
            yield Fault(file, index + 1, 1, operator, starts[index], end, line.strip(), new)
