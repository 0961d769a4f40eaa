"""What the compiler makes, executed on the CPU, agrees with NumPy in every bit.

The interpreter runs the kernel's source; this runs its PTX, launched by the generated launcher.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT, STOCK, stock

from codegen.spec import Options, Spec
from codegen.verify import interpreter
from codegen.verify.compiled import compile_kernel
from codegen.verify.executor import Buffer, Executor, Fault
from codegen.verify.generated import Pair, same_bits
from codegen.verify.ptx import Unsupported, parse
from codegen.verify.tensors import Tensor
from verify.support import copy_of, edit

TYPES = {"float32": "fp32", "float64": "fp64"}


class Launcher:
    """Stands in for the `triton.jit` function: a launch executes the compiled PTX."""

    def __init__(self, kernel: Any, spec: Spec, options: Options, block: int) -> None:
        self.programs = {
            dtype: parse(compile_kernel(kernel, spec, options, "sm_90", name, block).asm["ptx"])
            for dtype, name in TYPES.items()
        }
        self.launches = 0

    def __getitem__(self, grid: tuple[int]) -> Any:
        def launch(*arguments: Any, **_: Any) -> None:
            present = [a for a in arguments if a is not None]
            tensors = [a for a in present if isinstance(a, Tensor)]
            buffers = [
                Buffer(str(i), t.data_ptr(), t.array.view(np.uint8)) for i, t in enumerate(tensors)
            ]
            values = [a.data_ptr() if isinstance(a, Tensor) else a for a in present]
            program = self.programs[tensors[0].array.dtype.name]
            Executor(program, values, buffers).run(grid[0])
            self.launches += 1

        return launch


def bench(spec: Spec, folder: Path, options: Options) -> tuple[interpreter.Bench, Launcher]:
    os.environ["TRITON_ALWAYS_COMPILE"] = "1"
    made = interpreter.Bench(spec, Pair.of(spec, folder))
    name = f"{spec.name}_kernel"
    launcher = Launcher(made.kernel._kernel, spec, options, made.block)
    setattr(made.triton, name, launcher)
    return made, launcher


def small(spec: Spec, options: Options, block: int) -> list[interpreter.Case]:
    """Single steps in both types: one element, a block and one, and special values."""
    every = interpreter.cases(spec, options, block, np.random.default_rng(6))
    chosen = [
        case
        for case in every
        if case.dtype in TYPES and len(case.steps) == 1 and 0 < len(case.p) <= block + 1
    ]
    sizes = {1, block, block + 1}
    return [c for c in chosen if len(c.p) in sizes or np.isnan(c.p).any()][:12]


@pytest.mark.parametrize("name", STOCK)
def test_compiled_kernels_agree_with_numpy_in_every_bit(name: str) -> None:
    spec = stock(name)
    for options in spec.option_sets():
        made, launcher = bench(spec, ROOT / "generated", options)
        for case in small(spec, options, made.block):
            assert made.run(case) is None, case
        assert launcher.launches >= 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return tl.sqrt_rn(x) if EXACT", "return x * 0.5 if EXACT"),
        ("beta1 = tl.full((), beta1, real)", "beta1 = tl.full((), 0.9, real)"),
        ("mask = offsets < n", "mask = offsets < n - 1"),
    ],
)
def test_a_fault_of_the_kernel_shows_in_its_ptx(old: str, new: str, tmp_path: Path) -> None:
    spec, options = stock("adamw"), {"amsgrad": False, "maximize": False}
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [(old, new)])
    made, _ = bench(spec, folder, options)
    assert any(made.run(case) is not None for case in small(spec, options, made.block))


HEAD = ".visible .entry k(\n\t.param .u64 a,\n\t.param .u64 b\n)\n.reqntid 32\n{\n"
DECLARE = "\t.reg .b32 %r<9>;\n\t.reg .b64 %rd<9>;\n\t.reg .pred %p<9>;\n"


def execute(body: str, data: np.ndarray[Any, Any]) -> None:
    lines = "".join(f"\t{line}\n" for line in body.strip().split("\n"))
    program = parse(f"{HEAD}{DECLARE}{lines}\tret;\n}}\n")
    buffer = Buffer("x", 4096, data.view(np.uint8))
    Executor(program, [4096], [buffer]).run(1)


LOAD = """ld.param.b64 %rd1, [a];
mov.u32 %r1, %tid.x;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;"""


def test_lanes_load_compute_and_store_their_elements() -> None:
    data = np.arange(32, dtype=np.float32)
    execute(
        f"{LOAD}\nld.global.b32 {{ %r2 }}, [ %rd3 + 0 ];\nadd.rn.f32 %r3, %r2, 0f3F800000;\n"
        "st.global.b32 [ %rd3 + 0 ], { %r3 };",
        data,
    )
    assert data.tolist() == [float(i + 1) for i in range(32)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("ld.global.b32 { %r2 }, [ %rd3 + 4 ];", Fault),
        ("ld.global.b32 { %r2 }, [ %rd3 + 2 ];", Fault),
        ("st.global.b32 [ %rd1 + 0 ], { %r1 };", Fault),
        ("ex2.approx.f32 %r2, %r1;", Unsupported),
        ("setp.lt.s64 %p1, %rd3, 4100;\n@%p1 bra $L;\nmov.u32 %r3, %r1;\n$L:", Unsupported),
    ],
    ids=["out of bounds", "misaligned", "one address twice", "unknown", "lanes part ways"],
)
def test_what_cannot_be_relied_on_is_no_result(body: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        execute(f"{LOAD}\n{body}", np.zeros(32, np.float32))


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("max.NaN.f32", np.nan, 1.0, np.nan),
        ("max.NaN.f32", -0.0, 0.0, 0.0),
        ("min.NaN.f32", 0.0, -0.0, -0.0),
        ("max.f32", np.nan, 1.0, 1.0),
        ("add.rn.f32", 1.0, 2.0**-24, 1.0),
        ("add.rn.f32", 1.0, 2.0**-24 * 1.5, 1.0 + 2.0**-23),
        ("mul.rn.f32", 1e-30, 1e-10, float(np.float32(np.float32(1e-30) * np.float32(1e-10)))),
        ("mul.rn.f32", 1e30, 1e30, np.inf),
        ("div.rn.f32", 0.0, 0.0, np.nan),
        ("sub.rn.f32", 0.0, 0.0, 0.0),
    ],
)
def test_instructions_have_the_values_of_ieee_754(
    name: str, a: float, b: float, expected: float
) -> None:
    data = np.zeros(32, np.float32)
    first, second = (int(np.float32(x).view(np.uint32)) for x in (a, b))
    execute(
        f"{LOAD}\n{name} %r3, 0f{first:08X}, 0f{second:08X};\n"
        "st.global.b32 [ %rd3 + 0 ], { %r3 };",
        data,
    )
    wanted = np.full(32, expected, np.float32)
    assert same_bits(data, wanted).all()
