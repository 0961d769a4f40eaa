"""What the compiler makes, executed on the CPU, agrees with NumPy in every bit.

The interpreter runs the kernel's source; this runs its PTX, launched by the generated launcher.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT, STOCK, stock

from codegen.spec import Options, Spec
from codegen.verify import interpreter
from codegen.verify.compiled import compile_kernel, load
from codegen.verify.executor import Buffer, Executor
from codegen.verify.generated import Pair
from codegen.verify.ptx import parse
from codegen.verify.tensors import Tensor
from verify.support import copy_of, edit

TYPES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}


class Launcher:
    """Stands in for the `triton.jit` function: a launch executes the compiled PTX."""

    def __init__(self, spec: Spec, folder: Path, options: Options) -> None:
        kernel = load(spec, folder)
        self.programs = {
            dtype: parse(compile_kernel(kernel, spec, options, "sm_90", name)["ptx"])
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
            executor = Executor(program, values, buffers)
            executor.run(grid[0])
            assert not executor.approximate
            assert all(buffer.complete for buffer in buffers if buffer.written.any())
            self.launches += 1

        return launch


def bench(spec: Spec, folder: Path, options: Options) -> tuple[interpreter.Bench, Launcher]:
    made = interpreter.Bench(spec, Pair.of(spec, folder))
    name = f"{spec.name}_kernel"
    launcher = Launcher(spec, folder, options)
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
        ("mask = start + offsets < n", "mask = start + offsets < n - 1"),
    ],
)
def test_a_fault_of_the_kernel_shows_in_its_ptx(old: str, new: str, tmp_path: Path) -> None:
    spec, options = stock("adamw"), {"amsgrad": False, "maximize": False}
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [(old, new)])
    made, _ = bench(spec, folder, options)
    assert any(made.run(case) is not None for case in small(spec, options, made.block))
