"""The exact value of expressions of literals, within bounds of time and memory."""

from __future__ import annotations

from fractions import Fraction

from stepforge.language.expression import Expression, Name, Number
from stepforge.operations.powers import LARGEST, SMALLEST
from stepforge.operations.table import OPERATIONS


def literal(expression: Expression) -> Fraction | None:
    """The exact value of an expression of literals alone; None if it is not one.

    Raises:
        ZeroDivisionError: It divides by zero.
        OverflowError: It, or a part of it, is beyond what a float64 holds.
    """
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return None
    return folded(expression.op, [literal(argument) for argument in expression.args])


def folded(op: str, parts: list[Fraction | None]) -> Fraction | None:
    """The value of an operation on literals; None where one of them is unknown."""
    if op == "div" and parts[1] == 0:
        raise ZeroDivisionError
    values = [part for part in parts if part is not None]
    if len(values) < len(parts):
        return None
    result = OPERATIONS[op].rational(*values)
    if result is None:
        return None
    if abs(result) > LARGEST:
        raise OverflowError
    # What float64 rounds to zero is zero to a divisor.
    return result if abs(result) > SMALLEST else Fraction(0)
