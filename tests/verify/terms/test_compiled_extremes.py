"""`max` of float64 by Triton 3.6: IEEE's maximum, and a choice between zeros that it has made."""

from __future__ import annotations

import pytest

from stepforge.verify.terms.terms import apply, constant, load


@pytest.mark.parametrize(("op", "zero"), [("max", 0), ("min", 1 << 63)])
def test_a_zero_extreme_that_is_chosen_again_is_the_extreme(op: str, zero: int) -> None:
    x, y = load("x", "f64"), load("y", "f64")
    extreme = apply(op, x, y)

    def chosen(bits: int, operand: object, rest: object) -> object:
        return apply("select", apply("bits", operand, kind="bool", data=bits), operand, rest)

    is_zero = apply("eq", extreme, constant(0.0, "f64"))
    inner = chosen(zero, y, chosen(zero, x, extreme))
    assert apply("select", is_zero, inner, extreme) is extreme
    other = chosen(1 << 63 if zero == 0 else 0, y, extreme)
    assert apply("select", is_zero, other, extreme) is not extreme
    foreign = chosen(zero, load("z", "f64"), extreme)
    assert apply("select", is_zero, foreign, extreme) is not extreme
    unguarded = apply("eq", extreme, constant(1.0, "f64"))
    assert apply("select", unguarded, inner, extreme) is not extreme
