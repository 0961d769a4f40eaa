"""PTX as terms: lifted values against execution of the same PTX, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.verify.ptx import lifter
from stepforge.verify.terms import terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.lifted import Refuted, Unsupported, findings
from stepforge.verify.terms.offsets import SIZE
from stepforge.verify.terms.terms import apply
from verify.ptx_kernels import (
    BLOCK,
    PARAMETERS,
    bindings,
    data,
    elementwise,
    executed,
    kernel,
    lift,
    stored,
)

COMPARED = (
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "ltu",
    "leu",
    "gtu",
    "geu",
    "equ",
    "neu",
    "num",
    "nan",
)
SINGLE = {
    "add.rn.f32 %r60, %r50, %r51;": "add",
    "sub.rn.f32 %r60, %r50, %r51;": "sub",
    "add.f32 %r60, %r50, %r51;": "add",
    "mul.rn.f32 %r60, %r50, %r51;": "mul",
    "div.rn.f32 %r60, %r50, %r51;": "div",
    "max.NaN.f32 %r60, %r50, %r51;": "max",
    "min.NaN.f32 %r60, %r50, %r51;": "min",
    "max.f32 %r60, %r50, %r51;": "maxnum",
    "min.f32 %r60, %r50, %r51;": "minnum",
    "fma.rn.f32 %r60, %r50, %r51, %r52;": "fma",
    "sqrt.rn.f32 %r60, %r50;": "sqrt",
    "rcp.rn.f32 %r60, %r50;": "rcp",
    "abs.f32 %r60, %r50;": "abs",
    "neg.f32 %r60, %r50;": "neg",
}  # fmt: skip
CHOICES = [
    f"setp.{c}.f32 %p2, %r50, %r51;\nselp.b32 %r60, %r52, %r51, %p2;" for c in COMPARED
] + [
    "setp.lt.f32 %p2, %r50, %r51;\nsetp.gt.f32 %p3, %r50, %r52;\n"
    f"{line}\nselp.f32 %r60, %r52, %r51, %p4;"
    for line in ("and.pred %p4, %p2, %p3;", "or.pred %p4, %p2, %p3;", "xor.pred %p4, %p2, %p3;",
                 "not.pred %p4, %p2;")
]  # fmt: skip
OTHERS = [
    "mul.rn.f32 %r60, %r50, 0f3DCCCCCD;",
    "mov.b32 %r3, 1036831949;\nmul.rn.f32 %r60, %r50, %r3;",
    "cvt.rn.f32.f64 %r3, %rd70;\nmul.rn.f32 %r60, %r50, %r3;",
    "cvt.rn.bf16.f32 %rs1, %r50;\ncvt.f32.bf16 %r60, %rs1;",
    "cvt.rn.f16.f32 %rs1, %r50;\ncvt.f32.f16 %r60, %rs1;",
    "cvt.f64.f32 %rd30, %r50;\ndiv.rn.f64 %rd31, %rd30, %rd70;\ncvt.rn.f32.f64 %r60, %rd31;",
    "cvt.rn.bf16x2.f32 %r3, %r50, %r51;\nmov.b32 {%rs1, %rs2}, %r3;\ncvt.f32.bf16 %r60, %rs1;",
    "cvt.rn.f16x2.f32 %r3, %r50, %r51;\nmov.b32 {%rs1, %rs2}, %r3;\ncvt.f32.f16 %r60, %rs2;",
    "mov.b64 %rd30, {%r50, %r51};\nmov.b64 {%r4, %r60}, %rd30;",
    "mov.b64 %rd30, {%r50, %r51};\nmov.b64 %rd31, {%r51, %r52};\n"
    "mul.rn.f32x2 %rd32, %rd30, %rd31;\nmov.b64 {%r60, %r4}, %rd32;",
    "mov.b64 %rd30, {%r50, %r51};\nmov.b64 %rd31, {%r51, %r52};\n"
    "fma.rn.f32x2 %rd32, %rd30, %rd31, %rd30;\nmov.b64 {%r4, %r60}, %rd32;",
    "mov.b64 %rd30, {%r50, %r51};\nmov.b64 %rd31, {%r51, %r52};\n"
    "setp.lt.f64 %p2, %rd70, 0d3FE0000000000000;\n"
    "selp.b64 %rd32, %rd30, %rd31, %p2;\nmov.b64 {%r60, %r4}, %rd32;",
    "mov.b64 %rd30, {%r50, %r51};\nsetp.lt.f32 %p2, %r50, %r51;\n"
    "selp.b64 %rd32, %rd30, 0, %p2;\nmov.b64 {%r4, %r60}, %rd32;",
    "setp.lt.f64 %p2, %rd70, 0d3FE0000000000000;\nmov.b32 %r60, %r50;\n@%p2 bra $over;\n"
    "mul.rn.f32 %r60, %r51, %r52;\n$over:\nadd.rn.f32 %r60, %r60, %r52;",
    "setp.eq.f32 %p2, %r50, 0f00000000;\n@%p2 bra $end;\n$end:\nmov.b32 %r60, %r50;",
]  # fmt: skip


@pytest.mark.parametrize("lines", [*SINGLE, *CHOICES, *OTHERS[:-1]])
@pytest.mark.parametrize("count", [1, 33, 200])
def test_lifted_values_are_those_of_execution(lines: str, count: int) -> None:
    text = elementwise(lines, "f32")
    value, at = stored(lift(text)), data("f32", count)
    got = np.broadcast_to(evaluate(value, at), (count,))
    wanted = executed(text, "f32", at)
    np.testing.assert_array_equal(got, wanted)
    some = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got[some]), np.signbit(wanted[some]))


def test_a_branch_on_values_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="a branch on values"):
        lift(elementwise(OTHERS[-1], "f32"))


@pytest.mark.parametrize("lines", SINGLE)
def test_a_lifted_operation_is_its_term(lines: str) -> None:
    op = SINGLE[lines]
    names = ("x", "y", "z")[: lines.count("%r5")]
    wanted = apply(op, *(terms.load(name, "f32") for name in names))
    found = lift(elementwise(lines, "f32"))
    assert stored(found) is wanted
    swapped = lines.replace("%r50", "%r52", 1)
    assert stored(lift(elementwise(swapped, "f32"))) is not wanted


@pytest.mark.parametrize(
    "lines",
    ["add.rn.f64 %rd60, %rd50, %rd51;", "div.rn.f64 %rd60, %rd50, %rd70;",
     "fma.rn.f64 %rd60, %rd50, %rd51, %rd52;", "sqrt.rn.f64 %rd60, %rd50;",
     "mul.rn.f64 %rd60, %rd50, 0d3FB999999999999A;",
     "setp.gtu.f64 %p2, %rd50, %rd51;\nselp.b64 %rd60, %rd51, %rd50, %p2;",
     "cvt.rn.f32.f64 %r3, %rd50;\ncvt.f64.f32 %rd60, %r3;",
     "max.f64 %rd60, %rd50, %rd51;", "abs.f64 %rd60, %rd50;"],
)  # fmt: skip
def test_lifted_values_in_float64_are_those_of_execution(lines: str) -> None:
    text, at = elementwise(lines, "f64"), data("f64", 70)
    np.testing.assert_array_equal(
        np.broadcast_to(evaluate(stored(lift(text, "f64")), at), (70,)), executed(text, "f64", at)
    )


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_lifted_16_bit_values_are_those_of_execution(kind: str) -> None:
    wide = f"cvt.f32.{kind} %r3, %rs50;\nmul.rn.f32 %r4, %r3, 0f3DCCCCCD;"
    lines = f"{wide}\ncvt.rn.{kind}.f32 %rs60, %r4;"
    text, at = elementwise(lines, kind), data(kind, 70)
    got = evaluate(stored(lift(text, kind)), at).astype(np.float32)
    np.testing.assert_array_equal(got, executed(text, kind, at).astype(np.float32))


@pytest.mark.parametrize(
    "lines", ["sqrt.approx.f32 %r60, %r50;", "sqrt.approx.ftz.f32 %r60, %r50;",
              "div.full.f32 %r60, %r50, %r51;", "ex2.approx.f32 %r60, %r50;",
              "mul.rz.f32 %r60, %r50, %r51;", "add.ftz.f32 %r60, %r50, %r51;"],
)  # fmt: skip
def test_approximate_operations_are_not_the_exact_ones(lines: str) -> None:
    value = stored(lift(elementwise(lines, "f32")))
    assert "." in value.op
    assert value is not apply(value.op.split(".")[0], *value.args)


# What is refused, with its line.


@pytest.mark.parametrize(
    "line",
    ["sin.approx.f32 %r60, %r50;", "atom.global.add.f32 %r60, [%rd10], %r50;",
     "red.global.add.f32 [%rd10], %r50;", "shfl.sync.bfly.b32 %r60, %r50, 1, 31, -1;",
     "bar.sync 0;", "ld.local.b32 %r60, [%rd10];", "st.shared.b32 [%rd10], %r50;",
     "ld.volatile.global.b32 %r60, [%rd10];", "add.rn.f32 %r60, %r50, %r77;",
     "add.sat.f32 %r60, %r50, %r51;",
     "cvt.rz.bf16.f32 %rs1, %r50;", "cvt.rzi.s32.f32 %r3, %r50;", "add.s32 %r60, %r50, %r1;",
     "mul.lo.s64 %rd30, %rd5, %rd5;", "and.b64 %rd30, %rd5, 7;",
     "@%p1 add.rn.f32 %r60, %r50, %r51;", "ld.global.b32 %r60, [%rd5];",
     "max.ftz.f32 %r60, %r50, %r51;", "add.rn.f32 %r60, %r50;", "fma.rn.f32 %r60, %r50, %r51;",
     "sqrt.f32 %r60, %r50;", "mad.f32 %r60, %r50, %r51, %r52;", "shl.b32 %r60, %r50, 32;",
     "shr.s32 %r60, %r50, -1;", "setp.lt.s32 %p2, %r50, 0;", "setp.eq.b32 %p2, %r50, 2143289344;",
     "setp.lt.f32 %p2|%p3, %r50, %r51;", "selp.b32 %r60, 1, 0, %p1;",
     "vote.sync.any.pred %p4, %p1, -1;", "exit;"],
)  # fmt: skip
def test_an_unknown_instruction_is_unsupported_with_its_line(line: str) -> None:
    text = elementwise(f"mov.b32 %r60, %r50;\n{line}", "f32")
    with pytest.raises(Unsupported) as caught:
        lift(text)
    assert text.split("\n")[caught.value.line - 1].strip() == line


def test_an_endless_loop_ends() -> None:
    text = elementwise("$again:\nbra.uni $again;\nmov.b32 %r60, %r50;", "f32")
    with pytest.raises((Refuted, Unsupported)):
        lift(text)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("setp.lt.s64 %p1, %rd4, %rd5;", "setp.le.s64 %p1, %rd4, %rd5;", "behind the last"),
        ("@%p1 ld.global.b32 { %r51 }", "ld.global.b32 { %r51 }", "behind the last element of `y`"),
        ("@%p1 st.global", "st.global", "behind the last element of `p`"),
        ("@%p1 st.global", "@!%p1 st.global", "behind the last element of `p`"),
        ("[ %rd10 + 0 ]", "[ %rd10 + -4 ]", "before the first element of `x`"),
        ("[ %rd10 + 0 ]", "[ %rd10 + 4 ]", "behind the last element of `x`"),
        ("[ %rd10 + 0 ]", "[ %rd10 + 2 ]", "not aligned"),
        ("shl.b64 %rd6, %rd4, 2;", "shl.b64 %rd6, %rd4, 1;", "not aligned"),
        ("shl.b64 %rd6, %rd4, 2;", "shl.b64 %rd6, %rd4, 3;", "behind the last"),
        ("ld.global.b32 { %r50 }", "ld.global.b16 { %rs50 }", "parts of elements of `x`"),
        ("cvt.u64.u32 %rd1, %r1;\n\tshl.b64 %rd2, %rd1, 5;",
         "shl.b32 %r3, %r1, 5;\n\tcvt.u64.u32 %rd2, %r3;", "bits reaches"),
        ("cvt.u64.u32 %rd1, %r1;\n\tshl.b64 %rd2, %rd1, 5;",
         "mul.lo.s32 %r3, %r1, 32;\n\tcvt.s64.s32 %rd2, %r3;", "32 bits reaches"),
        ("[ %rd11 + 0 ]", "[ %rd10 + 0 ]", ""),
    ],
)  # fmt: skip
def test_wrong_accesses_are_refuted(old: str, new: str, what: str) -> None:
    text = elementwise("add.rn.f32 %r60, %r50, %r51;", "f32")
    assert stored(lift(text)) is apply("add", terms.load("x", "f32"), terms.load("y", "f32"))
    assert old in text
    wrong = text.replace(old, new)
    if not what:
        found = lift(wrong).paths[0]
        assert any("more than once" in text for _, text in findings(found, BLOCK, ["p"]))
        return
    with pytest.raises(Refuted, match=what) as caught:
        lift(wrong)
    assert caught.value.line > 0


def test_a_value_of_another_element_is_refuted() -> None:
    lines = """\
mov.u32 %r5, 31;
sub.s32 %r6, %r5, %r2;
mul.wide.u32 %rd40, %r6, 4;
ld.param.b64 %rd41, [x];
shl.b64 %rd42, %rd2, 2;
add.s64 %rd43, %rd41, %rd42;
add.s64 %rd44, %rd43, %rd40;
add.s64 %rd45, %rd2, 32;
setp.le.s64 %p3, %rd45, %rd5;
mov.b32 %r60, 0;
@!%p3 bra $tail;
ld.global.b32 %r60, [%rd44];
$tail:"""
    with pytest.raises(Refuted, match="another element of `x`"):
        lift(elementwise(lines, "f32"))


VECTOR = """\
mov.u32 %r1, %ctaid.x;
mov.u32 %r2, %tid.x;
cvt.u64.u32 %rd1, %r1;
shl.b64 %rd2, %rd1, 7;
mul.wide.u32 %rd3, %r2, 4;
or.b64 %rd4, %rd2, %rd3;
ld.param.b64 %rd5, [n];
add.s64 %rd6, %rd2, 128;
setp.gt.s64 %p1, %rd6, %rd5;
@%p1 bra $end;
ld.param.b64 %rd7, [x];
shl.b64 %rd8, %rd4, 2;
add.s64 %rd9, %rd7, %rd8;
ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%rd9];
ld.param.b64 %rd7, [p];
add.s64 %rd9, %rd7, %rd8;
st.global.v4.b32 [%rd9], {%r10, %r11, %r12, %r13};
$end:"""


def test_vectors_are_four_elements_and_must_be_aligned() -> None:
    text = kernel(VECTOR, BLOCK, PARAMETERS)
    found = lift(text, block=128)
    full = [path for path in found.paths if path.stores]
    assert len(found.paths) == 2
    assert len(full) == 1
    assert {access.value for access in full[0].stores} == {terms.load("x", "f32")}
    assert list(findings(full[0], 128, ["p"])) == []
    with pytest.raises(Refuted, match="16 bytes at once of a tensor aligned to 4"):
        lift(text, block=128, alignment=1)
    with pytest.raises(Refuted, match="not aligned"):
        lift(
            text.replace("{%r10, %r11, %r12, %r13}, [%rd9]", "{%r10, %r11, %r12, %r13}, [%rd9+4]"),
            block=128,
        )
    swapped = text.replace("[%rd9], {%r10, %r11", "[%rd9], {%r11, %r10")
    with pytest.raises(Refuted, match="another element"):
        lift(swapped, block=128)


def test_arguments_that_are_not_the_kernels_are_refuted() -> None:
    program = lifter.parsed(elementwise("mov.b32 %r60, %r50;", "f32"))
    with pytest.raises(Refuted, match="parameters"):
        lifter.lift(program, [*bindings("f32"), SIZE], BLOCK)
    swapped = bindings("f32")
    swapped[4], swapped[5] = swapped[5], swapped[4]
    with pytest.raises((Refuted, Unsupported)):
        lifter.lift(program, swapped, BLOCK)


def test_text_that_is_no_kernel_is_unsupported() -> None:
    for text in ("", "nothing", elementwise("mov.b32 %r60, %r50;", "f32").replace("add.s64", "++")):
        with pytest.raises(Unsupported):
            lift(text)
