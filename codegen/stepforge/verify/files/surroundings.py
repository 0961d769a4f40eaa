"""What surrounds the rule in a generated file, which has to be what `build` writes.

No rung looks at checks, defaults, decorators, `init` or launches closely enough to find all that
could be wrong there. So everything but the statements of the rule must have the syntax tree of what
`build` writes, where only layout, comments, docstrings and the order of imports do not count.
"""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepforge.backends import meaning
from stepforge.backends.render import CUT

_LINES, _WIDTH = 8, 100
"""Lines of a difference in a message, and characters of a line."""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises of a text that is no program."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A file beside what `build` writes.

    Attributes:
        rule: The statements in the place of the rule.
        tree: The syntax tree of what surrounds them, with `CUT` in their place.
        line: The first line that is not as it should be; 0 if there is none.
        difference: What should be there and what is, a few lines that begin with "-" and "+".
    """

    rule: tuple[ast.stmt, ...]
    tree: ast.Module
    line: int = 0
    difference: tuple[str, ...] = ()


def compared(text: str, expected: str) -> Compared:
    """Compares a text with what `build` writes.

    Args:
        text: The text of a file.
        expected: The text of the same file as `build` writes it, with `CUT` in place of the rule if
            that may be another one.

    Raises:
        SyntaxError: It is not Python; so may be the others of `UNREADABLE`.
    """
    found, wanted = meaning.tree(text), meaning.tree(expected)
    rule = _cut(found, wanted)
    if ast.dump(found) == ast.dump(wanted):
        return Compared(rule, wanted)
    line = _line(found, wanted, 1)
    return Compared(rule, wanted, line, tuple(_difference(ast.unparse(wanted), ast.unparse(found))))


def is_cut(statement: ast.stmt) -> bool:
    """Whether a statement stands for those of the rule."""
    return isinstance(statement, ast.Expr) and ast.unparse(statement) == CUT


def _cut(found: ast.Module, wanted: ast.Module) -> tuple[ast.stmt, ...]:
    """Takes the rule out of a tree: what is left between the statements before and behind it."""
    for function in wanted.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        before = next((i for i, s in enumerate(function.body) if is_cut(s)), None)
        if before is None:
            continue
        behind = len(function.body) - before - 1
        for own in found.body:
            if isinstance(own, ast.FunctionDef) and own.name == function.name:
                end = max(len(own.body) - behind, before)
                rule = own.body[before:end]
                own.body[before:end] = [function.body[before]]
                return tuple(rule)
    return ()


def _line(found: Any, wanted: Any, line: int) -> int:
    """The line of the first part of a tree that differs from another, or 0."""
    if isinstance(found, list) and isinstance(wanted, list):
        for own, other in zip(found, wanted, strict=False):
            if at := _line(own, other, line):
                return at
        if len(found) != len(wanted):
            last = found[min(len(wanted), len(found) - 1)] if found else None
            return int(getattr(last, "lineno", line))
        return 0
    line = getattr(found, "lineno", line)
    if type(found) is not type(wanted):
        return line
    if isinstance(found, ast.AST):
        pairs = ((getattr(found, f, None), getattr(wanted, f, None)) for f in found._fields)
        return next((at for own, other in pairs if (at := _line(own, other, line))), 0)
    return 0 if repr(found) == repr(wanted) else line


def _difference(wanted: str, found: str) -> Iterator[str]:
    """The lines of two texts that the other does not have; not all if there are many."""
    texts = [line.strip() for line in wanted.split("\n")], [s.strip() for s in found.split("\n")]
    changed = []
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(None, *texts, False).get_opcodes():
        if tag == "equal":
            continue
        for old, new in itertools.zip_longest(texts[0][i:i_end], texts[1][j:j_end], fillvalue=""):
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
            first = sum(1 for _ in same)
            changed += [f"{mark} {_part(s, first)}" for mark, s in (("-", old), ("+", new)) if s]
    yield from changed[:_LINES]
    if len(changed) > _LINES:
        yield f"… and {len(changed) - _LINES} more lines"


def _part(line: str, first: int) -> str:
    """What a long line has around the character at which it differs."""
    start = max(first - _WIDTH // 2, 0) if len(line) > _WIDTH else 0
    end = start + _WIDTH
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"
