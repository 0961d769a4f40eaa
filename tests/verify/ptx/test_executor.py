"""The PTX executor: what it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.verify.ptx.executor import Executor
from stepforge.verify.ptx.parser import Unsupported, parse
from verify.ptx_kernels import compute, kernel


@pytest.mark.parametrize(
    "line",
    [
        "sin.approx.f32 %r90, %r50;",
        "add.rz.f32 %r90, %r50, %r50;",
        "add.rn.sat.f32 %r90, %r50, %r50;",
        "add.rn.ftz.f64 %rd90, %rd50, %rd50;",
        "fma.f32 %r90, %r50, %r50, %r50;",
        "mul.hi.s32 %r90, %r50, %r50;",
        "div.s32 %r90, %r50, %r50;",
        "sqrt.f32 %r90, %r50;",
        "div.rn.approx.f32 %r90, %r50, %r50;",
        "max.xorsign.abs.f32 %r90, %r50, %r50;",
        "cvt.f32.f64 %r90, %rd50;",
        "cvt.rn.f64.f32 %rd90, %r50;",
        "cvt.rz.f32.f64 %r90, %rd50;",
        "cvt.rn.sat.f32.f64 %r90, %rd50;",
        "cvt.rzi.s32.f32 %r90, %r50;",
        "cvt.rn.bf16x2.f64 %r90, %rd50, %rd50;",
        "setp.lt.and.f32 %p1, %r50, %r50, %p2;",
        "setp.ltu.s32 %p1, %r50, %r50;",
        "setp.lo.s32 %p1, %r50, %r50;",
        "setp.lt.b32 %p1, %r50, %r50;",
        "setp.lt.f32 %p1|%p2, %r50, %r50;",
        "add.rn.f32 %r90, %r50;",
        "add.rn.f32 %r90, %r50, %r50, %r50;",
        "add.rn.f32 %r90, %r50, %r99;",
        "add.rn.f32 %q90, %r50, %r50;",
        "add.rn.f32 %rd90, %r50, %r50;",
        "add.rn.f32 %r90, %rd50, %rd50;",
        "add.rn.f32 %r90, %r50, 0d3FF0000000000000;",
        "add.rn.f32 %r90, %r50, 1.0;",
        "add.s32 %r90, %r50, 4294967296;",
        "mov.u32 %r90, %laneid;",
        "mov.u32 %r90, global_smem;",
        "mov.b32 %r90, %p1;",
        "ld.global.volatile.b32 %r90, [%rd3];",
        "ld.local.b32 %r90, [%rd3];",
        "ld.global.v2.b32 %r90, [%rd3];",
        "ld.global.b32 %r90, [%rd3+%r1];",
        "ld.global.b32 %rs90, [%rd3];",
        "ld.param.b32 %r90, [p0];",
        "atom.global.add.u32 %r90, [%rd3], 1;",
        "shfl.sync.idx.b32 %r90, %r50, 0, 31, -1;",
        "bar.warp.sync -1;",
        "@%p8 add.rn.f32 %r90, %r50, %r50;",
        "call.uni f;",
        "bra.uni $nowhere;",
    ],
)
def test_unknown_instructions_are_unsupported_with_their_line(line: str) -> None:
    columns = np.zeros(1, np.uint32), np.zeros(1, np.uint64)
    lines = f"mov.b32 %r50, 0;\nmov.b32 %r90, 0;\nmov.b64 %rd50, 0;\n{line}"
    with pytest.raises(Unsupported, match=r"line \d+"):
        compute(lines, "%r50", *columns)


def test_a_kernel_without_an_end_or_with_a_strange_name_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        parse(".visible .entry k(\n\t.param .u64 a\n)\n{\n\tret;\n}\n")
    program = parse(kernel("mov.u32 %r1, 0;").replace("\tret;\n", ""))
    with pytest.raises(Unsupported, match="without `ret`"):
        Executor(program, [0], []).run(1)
