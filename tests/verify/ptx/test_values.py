"""What registers hold symbolically: read as types, packed, and taken apart."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.verify.ptx.parser import Unsupported, parse
from stepforge.verify.ptx.values import (
    Condition,
    Float,
    Integer,
    Joined,
    Packed,
    Registers,
    Value,
    as_floats,
    constant_of,
    float_of,
    joined,
    taken_apart,
)
from stepforge.verify.terms import terms
from stepforge.verify.terms.lifted import Mask
from stepforge.verify.terms.offsets import PROGRAM, SIZE, Offset, lanes, number
from verify.ptx_kernels import kernel

X, Y = (Float(terms.load(name, "f32")) for name in ("x", "y"))
LOW, HIGH = (Float(terms.load(name, "bf16")) for name in ("low", "high"))


def registers(**held: Value) -> Registers:
    found = Registers(parse(kernel("mov.u32 %r1, 0;", 4)), PROGRAM, {}, line=7)
    for name, value in held.items():
        found.write(f"%{name}", value)
    return found


@pytest.mark.parametrize("value", [-3, 0, 5])
def test_a_number_is_known_where_all_lanes_have_it(value: int) -> None:
    assert constant_of(number(value)) == value
    assert constant_of(Offset(np.full(4, value))) == value
    for other in (lanes(4), PROGRAM, SIZE, X, Mask(np.ones(4, bool))):
        assert constant_of(other) is None


def test_bits_are_the_number_of_the_type_that_they_are_read_as() -> None:
    one, minus_two = 0x3F80, 0xC000
    assert float_of(0x3F800000, "f32").term.number == 1
    assert float_of(-1 << 31, "f32").term is terms.constant(-0.0, "f32")
    assert as_floats(number(one | minus_two << 16), "bf16", 2) == (
        Float(terms.constant(1.0, "bf16")), Float(terms.constant(-2.0, "bf16")),
    )  # fmt: skip
    assert as_floats(X, "f32") == (X,)
    assert as_floats(Packed((LOW, HIGH)), "bf16", 2) == (LOW, HIGH)
    refused = [(X, "f64", 1), (X, "bf16", 2), (Packed((LOW, HIGH)), "f16", 2), (lanes(4), "f32", 1)]
    for value, kind, count in refused:
        assert as_floats(value, kind, count) is None


def test_numbers_share_a_register_and_are_themselves_again() -> None:
    assert joined([X, Y], 32) == Packed((X, Y))
    assert joined([Packed((LOW, HIGH)), number(0)], 32) == Packed(
        (LOW, HIGH, float_of(0, "bf16"), float_of(0, "bf16"))
    )
    assert taken_apart(joined([X, Y], 32), 2) == [X, Y]
    four = Packed((LOW, HIGH, HIGH, LOW))
    assert taken_apart(four, 2) == [Packed((LOW, HIGH)), Packed((HIGH, LOW))]
    assert taken_apart(four, 3) is None
    assert taken_apart(X, 2) is None
    places = joined([lanes(4), number(2)], 32)
    assert isinstance(places, Joined)
    assert taken_apart(places, 2) == places.parts


def test_a_register_that_nothing_was_written_to_may_have_any_bits() -> None:
    found = joined(["%r9", X], 32)
    assert isinstance(found, Packed)
    unset, x = found.parts
    assert x == X
    assert (unset.term.op, unset.term.kind) == ("unknown", "f32")


@pytest.mark.parametrize(
    "parts", [[X, LOW], [LOW, LOW], [X, lanes(4)], [number(0), number(1)], [Packed((X, Y)), X]]
)
def test_what_does_not_go_together_is_unsupported(parts: list[Value]) -> None:
    with pytest.raises(Unsupported, match="mixed parts"):
        joined(parts, 32)


def test_registers_are_read_as_the_type_of_the_instruction() -> None:
    integer = Integer(terms.apply("asint", X.term, kind="i32"))
    condition = Condition(terms.truth(True))
    found = registers(r1=X, r2=number(0x3F800000), rd1=Packed((X, Y)), p1=condition, r3=integer)
    assert found.read("%r1", "f32") == X
    assert found.read("%r1", "b32") == X
    assert found.read("%r2", "f32") == float_of(0x3F800000, "f32")
    assert found.read("0f3F800000", "f32") == float_of(0x3F800000, "f32")
    assert found.read("%rd1", "f32x2") == Packed((X, Y))
    assert found.read("{%r1, %r2}", "b64") == Packed((X, float_of(0x3F800000, "f32")))
    assert found.read("%p1", "pred") == condition
    assert found.read("%r3", "b32") == integer
    assert found.read("%r3", "f32") == X
    assert found.read("%ctaid.x", "u32") is PROGRAM
    wrong = [
        ("%r1", "f64"), ("%r1", "pred"), ("%p1", "f32"), ("%rd1", "bf16x2"), ("%r3", "f64"),
        ("%ctaid.x", "f32"), ("%r9", "b32"),
    ]  # fmt: skip
    for operand, kind in wrong:
        with pytest.raises(Unsupported, match=f"{operand} (is no {kind}|has no value)"):
            found.read(operand, kind)


def test_a_written_term_has_the_first_line_that_computes_it() -> None:
    total = terms.apply("add", X.term, Y.term)
    found = registers(r1=X, rd1=Packed((X, Float(total))))
    assert found.origin == {total: 7}
    found.line = 9
    found.write("{%r2, %r3}", found.value("%rd1"))
    found.write("_", Float(terms.apply("neg", X.term)))
    assert found.origin == {total: 7}
    assert found.held["%r3"] == Float(total)


def test_what_is_no_register_cannot_be_written() -> None:
    for name in ("%q1", "%p1|%p2", "r1", "{%r1, %q1}"):
        with pytest.raises(Unsupported):
            registers().write(name, Packed((X, Y)))
    with pytest.raises(Unsupported, match="does not hold 2 numbers"):
        registers().write("{%r1, %r2}", X)
