"""Integer instructions on the bits of floats, as several versions of Triton write them."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.integers import integer
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.terms import apply, load
from verify.ptx_kernels import data, elementwise, executed, lift, stored

JOIN = """\
cvt.u64.u32 %rd30, %r50;
cvt.u64.u32 %rd31, %r51;
shl.b64 %rd32, %rd31, 32;
or.b64 %rd33, %rd30, %rd32;
"""
SAME_BITS = {
    "the upper of two floats in one register": JOIN + "mov.b64 {%r4, %r60}, %rd33;",
    "the lower of two, cut off": JOIN + "cvt.u32.u64 %r60, %rd33;",
    "the upper of two, moved down": JOIN + "shr.u64 %rd34, %rd33, 32;\ncvt.u32.u64 %r60, %rd34;",
    "packed arithmetic on them": JOIN + "mul.rn.f32x2 %rd34, %rd33, %rd33;\n"
    "mov.b64 {%r60, %r4}, %rd34;",
    "the upper of four of 16 bits": "cvt.rn.bf16x2.f32 %r52, %r51, %r50;\n"
    + JOIN.replace("%r50", "%r52").replace("%r51", "%r52")
    + "mov.b64 {%r53, %r54}, %rd33;\nmov.b32 {%rs1, %rs2}, %r54;\ncvt.f32.bf16 %r60, %rs2;",
    "a negative by its sign bit": "xor.b32 %r60, %r50, -2147483648;",
    "an absolute value by its sign bit": "and.b32 %r60, %r50, 2147483647;",
    "a zero by its other bits": "and.b32 %r52, %r50, 2147483647;\nsetp.eq.b32 %p3, %r52, 0;\n"
    "selp.b32 %r60, %r51, %r50, %p3;",
    "an even integer by its last bit": "and.b32 %r52, %r50, 1;\nsetp.ne.b32 %p3, %r52, 0;\n"
    "selp.b32 %r60, %r51, %r50, %p3;",
    "an integer and all its bits inverted": "not.b32 %r52, %r50;\nand.b32 %r53, %r52, 16777215;\n"
    "mov.b32 %r60, %r53;",
}


@pytest.mark.parametrize("lines", SAME_BITS.values(), ids=SAME_BITS)
@pytest.mark.parametrize("count", [1, 33, 200])
def test_lifted_values_are_those_of_execution(lines: str, count: int) -> None:
    text, at = elementwise(lines, "f32"), data("f32", count)
    got = np.broadcast_to(evaluate(stored(lift(text)), at), (count,))
    wanted = executed(text, "f32", at)
    numbers = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(got), ~numbers)
    np.testing.assert_array_equal(got[numbers].view(np.uint32), wanted[numbers].view(np.uint32))


def test_integers_that_share_a_register_are_themselves_again() -> None:
    lines = """\
add.s32 %r5, %r2, 1;
mov.b64 %rd30, {%r2, %r5};
mov.b64 {%r6, %r7}, %rd30;
ld.param.b64 %rd31, [x];
shl.b64 %rd32, %rd2, 2;
add.s64 %rd33, %rd31, %rd32;
mul.wide.u32 %rd34, %r6, 4;
add.s64 %rd35, %rd33, %rd34;
mov.b32 %r60, 0;
@%p1 ld.global.b32 { %r60 }, [ %rd35 + 0 ];"""
    for path in lift(elementwise(lines, "f32")).paths:
        first, _, _, again = path.loads
        assert (again.tensor, again.index.program) == (first.tensor, first.index.program)
        np.testing.assert_array_equal(again.index.base, first.index.base)
    with pytest.raises(Refuted, match="behind the last element of `x`"):
        lift(elementwise(lines.replace("%r6, 4", "%r7, 4"), "f32"))


@pytest.mark.parametrize(
    "lines",
    [
        JOIN.replace("32;\nor", "31;\nor") + "mov.b64 {%r4, %r60}, %rd33;",
        "cvt.u64.u32 %rd30, %r50;\ncvt.u64.u32 %rd31, %r51;\nor.b64 %rd33, %rd30, %rd31;\n"
        "mov.b64 {%r60, %r4}, %rd33;",
        JOIN + "shr.s64 %rd34, %rd33, 32;\ncvt.u32.u64 %r60, %rd34;",
        "add.s32 %r60, %r50, %r1;",
        "shl.b32 %r60, %r50, 32;",
        "mul.lo.s32 %r60, %r50, %r51;",
        "mov.b64 %rd30, {%r1, %r2};\nmov.b64 {%r60, %r4}, %rd30;",
    ],
)
def test_other_bits_of_floats_are_unsupported(lines: str) -> None:
    with pytest.raises(Unsupported):
        lift(elementwise(lines, "f32"))


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        ("add.s32 %r60, %r50, 1;", ("iadd", 1)),
        ("and.b32 %r60, %r50, 255;", ("iand", 255)),
        ("shr.s32 %r60, %r50, 23;", ("ishr", 23)),
        ("shr.u32 %r60, %r50, 23;", ("iushr", 23)),
        ("xor.b32 %r60, %r50, 1;", ("ixor", 1)),
        ("mul.lo.s32 %r60, %r50, 3;", ("imul", 3)),
    ],
)
def test_bits_of_floats_are_integers(lines: str, meant: tuple[str, int]) -> None:
    op, number = meant
    value = stored(lift(elementwise(lines, "f32")))
    bits = apply(op, apply("asint", load("x", "f32")), integer(number, "i32"))
    assert value is apply("asfloat", bits)
