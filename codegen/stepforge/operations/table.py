"""THE table: every operation by its name. A new operation is one row in `operations.rows`."""

from __future__ import annotations

from stepforge.operations.operation import Operation
from stepforge.operations.rows import arithmetic, comparisons, elementary, functions

OPERATIONS: dict[str, Operation] = {
    **arithmetic.ROWS,
    **functions.ROWS,
    **elementary.ROWS,
    **comparisons.ROWS,
}

BUILT_IN = {"p": "the parameter", "g": "the gradient", "t": "the step number"}
"""The names that need no declaration."""


def author_functions() -> tuple[str, ...]:
    """The functions an author may call."""
    return tuple(name for name, row in OPERATIONS.items() if row.is_function)
