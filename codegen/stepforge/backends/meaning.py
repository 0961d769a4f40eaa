"""What a Python file means: layout, comments, docstrings and the order of imports do not count."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def of(text: str) -> str | None:
    """A text in a form that no formatter changes; None if it is not Python."""
    try:
        return ast.dump(tree(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def tree(text: str) -> ast.Module:
    """The syntax tree of a text, without what does not count.

    Raises:
        SyntaxError: It is not Python; `ValueError`, `RecursionError` and `MemoryError` likewise.
    """
    found = ast.parse(text)
    for node in ast.walk(found):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = _plain(body)  # type: ignore[attr-defined]
    return found


def _plain(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements without docstrings and texts that stand alone, and with imports in one order."""
    kept = [s for s in body if not _is_text(s)]
    plain: list[ast.stmt] = []
    run: list[ast.stmt] = []
    for statement in kept:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            run += _single(statement)
            continue
        plain += sorted(run, key=ast.dump)
        plain.append(statement)
        run = []
    return plain + sorted(run, key=ast.dump)


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _single(statement: ast.Import | ast.ImportFrom) -> Iterator[ast.stmt]:
    """An import of several names as one for each."""
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            single: ast.stmt = ast.Import([alias])
        else:
            single = ast.ImportFrom(statement.module, [alias], statement.level)
        yield ast.copy_location(single, statement)
