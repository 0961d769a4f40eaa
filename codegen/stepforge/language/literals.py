"""The exact value of expressions of literals, within bounds of time and memory."""

from __future__ import annotations

import sys
from fractions import Fraction

from stepforge.language.expression import Expression, Name, Number

MAX_LITERAL_POWER = 300


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
    match op, values:
        case "neg", [a]:
            result = -a
        case "add", [a, b]:
            result = a + b
        case "sub", [a, b]:
            result = a - b
        case "mul", [a, b]:
            result = a * b
        case "div", [a, b]:
            result = a / b
        case "abs", [a]:
            result = abs(a)
        case "min" | "max" as name, [a, b]:
            result = min(a, b) if name == "min" else max(a, b)
        case "pow", [a, b]:
            return _literal_power(a, b)
        case "sqrt", [a] if a == 0:
            result = a
        case _:
            return None
    if abs(result) > _LARGEST:
        raise OverflowError
    # What float64 rounds to zero is zero to a divisor.
    return result if abs(result) > _SMALLEST else Fraction(0)


_LARGEST = Fraction(sys.float_info.max)
_SMALLEST = Fraction(1, 2**1075)
_MAX_BITS = 100_000
"""Of an exact power; `1.000001**300` to the 300th, to the 300th, would take all memory."""


def _literal_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if abs(exponent) > MAX_LITERAL_POWER:
        raise OverflowError
    if exponent.denominator > 1:
        return base if base == 0 else None
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if bits * abs(int(exponent)) > _MAX_BITS:
        raise OverflowError
    result = base ** int(exponent)
    if abs(result) > _LARGEST:
        raise OverflowError
    return result if abs(result) > _SMALLEST else Fraction(0)
