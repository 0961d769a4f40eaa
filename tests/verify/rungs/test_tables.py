"""Multi-tensor kernels: what the rungs find in them, and the tables that they read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, stock

from stepforge.verify import driver as verify
from stepforge.verify.cases import inputs
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import fresh
from stepforge.verify.ptx.parser import parse
from stepforge.verify.rungs import contract, proof, tables
from stepforge.verify.rungs.compiled import compile_kernel, load
from stepforge.verify.rungs.levels import DEVICE_TARGET
from verify.support import Edit, copy_of, edit, run, task

GENERATED = ROOT / "generated"
BUILDER = fresh(GENERATED / "multi_tensor" / "_tables.py")

EDITS: dict[str, tuple[Edit, tuple[str, ...]]] = {
    # what was done → the edit, and the rungs that refute it
    "two columns swapped": (
        ('"m", "v"', '"v", "m"'), ("R2", "R3", "R6", "R7"),
    ),
    "the address of another column": (("row + 2)", "row + 3)"), ("R2", "R3", "R6", "R7")),
    "the size of another column": (("tl.load(row + 5)", "tl.load(row + 3)"), ("R2", "R6")),
    "rows of another width": (("ON_DEVICE else 6)", "ON_DEVICE else 5)"), ("R2", "R3", "R6", "R7")),
    "pairs of another width": (
        ("tl.program_id(0).to(tl.int64) * 2", "tl.program_id(0).to(tl.int64) * 1"),
        ("R2", "R3", "R6", "R7"),
    ),
    "the place in the grid for the block": (
        ("tl.load(program + 1).to(tl.int64)", "tl.program_id(0).to(tl.int64)"),
        ("R2", "R3", "R6", "R7"),
    ),
    "a block too far": (
        ("tl.load(program + 1).to(tl.int64)", "(tl.load(program + 1) + 1).to(tl.int64)"),
        ("R2", "R3", "R6", "R7"),
    ),
    "32-bit offsets": (
        ("tl.load(program + 1).to(tl.int64) * BLOCK", "tl.load(program + 1) * BLOCK"),
        ("R3", "R7"),
    ),
    "aligned whatever the table says": (("if ALIGNED:", "if True:"), ("R6", "R7")),
    "never aligned": (("if ALIGNED:", "if False:"), ("R5",)),
    "the type of another column": (('p_type=table.types["p"]', 'p_type=table.types["m"]'), ("R3",)),
    "launched for fewer programs": (
        ("[(table.size,)]", "[(max(table.size - 1, 1),)]"), ("R2", "R6"),
    ),
    "eps inside of the root": (
        ("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)"), ("R2", "R3", "R6", "R7"),
    ),
    "a mask with <=": (("< n\n", "<= n\n"), ("R2", "R3", "R6", "R7")),
    "numbers of another place": (
        ("tl.load(row + 8).to(tl.float64", "tl.load(row + 9).to(tl.float64"), ("R2", "R3", "R7"),
    ),
    "rows of another width on the device": (("(16 if ON", "(15 if ON"), ("R2", "R3", "R7")),
    "gradients times the scale": (
        ("g = div(g, tl.full((), grad_scale, real), EXACT)",
         "g = g * tl.full((), grad_scale, real)"), ("R2", "R3", "R7"),
    ),
    "scaled gradients that are not stored": (
        ("tl.store(g_ptr + start + offsets, unscaled", "tl.store(p_ptr + start + offsets, p"),
        ("R2", "R3", "R6", "R7"),
    ),
    "scaled whatever is asked for": (("SCALED=scaled", "SCALED=True"), ("R3",)),
    "numbers of the launch on the device": (("ON_DEVICE=True", "ON_DEVICE=False"), ("R2", "R3")),
    "fused in exact mode": (("enable_fp_fusion=not exact", "enable_fp_fusion=True"), ("R3",)),
}  # fmt: skip


MODES = {
    "numbers of another place": "device", "rows of another width on the device": "device",
    "gradients times the scale": "scaled", "scaled gradients that are not stored": "scaled",
    "scaled whatever is asked for": "device", "numbers of the launch on the device": "device",
}  # fmt: skip
"""How the kernel that has the fault gets its numbers, where it is not from the launch."""


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_refuted_by_the_rungs_that_can_see_it(what: str, tmp_path: Path) -> None:
    change, rungs = EDITS[what]
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "multi_tensor" / "adamw.py", [change])
    for rung in rungs:
        here = replace(
            task(rung, folder), targets=(DEVICE_TARGET,), backends=("multi_tensor",),
            kernels=(("multi_tensor", MODES.get(what, "host")),),
        )  # fmt: skip
        (verdict,) = run(here) if rung == "R2" else [verify.run(here)]
        if rung == "R5":  # what a kernel costs is no fault
            assert verdict.warnings
        else:
            assert verdict.status is Status.REFUTED, rung
            assert verdict.detail


def test_a_difference_comes_with_the_input_and_both_lines(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    path = folder / "multi_tensor" / "adamw.py"
    edit(path, [("m = beta1 * m", "m = 0.9 * m")])
    (verdict,) = run(task("R2", folder))
    assert verdict.status is Status.REFUTED
    found = verdict.counterexample
    assert found is not None
    assert {"t", "p", "g", "m", "beta1"} <= found.inputs.keys()
    assert found.expected != found.got
    assert found.generated_line.startswith(f"{path}:")


@pytest.mark.parametrize("count", [1, 2, tables.MANY])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_executed_kernel_steps_any_number_of_tensors(count: int, dtype: str) -> None:
    spec, options = stock("adamw"), {"amsgrad": True, "maximize": False}
    kernel = load(spec, GENERATED, "multi_tensor")
    made = {
        aligned: parse(compile_kernel(kernel, spec, options, "sm_90", dtype, aligned)["ptx"])
        for aligned in (True, False)
    }
    bench = tables.Bench(spec, GENERATED)
    launcher = tables.Launcher(made, bench, spec, options)
    mixture = [m for m in tables.mixtures(kernel.block, tables.MANY) if len(m[0]) == count]
    ((sizes, shifted),) = mixture
    rng = np.random.default_rng(3)
    name = {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    batch = tables.Batch.random(spec, options, sizes, shifted, name, rng)
    values = inputs.numbers(spec, rng)
    assert bench.run(options, batch, 3, values, launcher.guarded) is None
    assert bench.compared == 5 * sum(sizes)


def test_the_largest_mixture_has_all_sizes_and_some_that_are_not_aligned() -> None:
    *_, (sizes, shifted) = tables.mixtures(1024, tables.MANY)
    assert len(sizes) == tables.MANY == 1000
    assert {0, 1, 17, 1024, 5 * 1024 + 1} <= set(sizes)
    assert any(shifted)
    assert not all(shifted)


# The tables.


def built(*sizes: int, dtype: str = "float32", block: int = 8) -> list[tables.Table]:
    made = [{name: Tensor(np.zeros(size, dtype)) for name in ("p", "g", "m")} for size in sizes]
    found: list[tables.Table] = BUILDER.build(made, ("p", "g", "m", "v"), block, Tensor)
    return found


def test_every_block_of_every_tensor_has_one_program() -> None:
    sizes = (5, 0, 8, 17, 0, 1)
    (table,) = built(*sizes)
    programs = table.programs.array.reshape(table.programs.shape)
    wanted = [
        (row, block)
        for row, size in enumerate(size for size in sizes if size)
        for block in range(-(-size // 8))
    ]
    assert [tuple(pair) for pair in programs.tolist()] == wanted
    assert table.size == len(wanted)
    rows = table.rows.array.reshape(table.rows.shape)
    assert rows[:, -1].tolist() == [size for size in sizes if size]
    assert (rows[:, 3] == 0).all(), "there is no v"
    assert (rows[:, :3] != 0).all()


def test_without_elements_there_is_no_table() -> None:
    assert built() == []
    assert built(0, 0) == []


def test_types_and_alignments_are_kept_apart() -> None:
    aligned, other = Tensor(np.zeros(4, np.float32)), Tensor(np.zeros(5, np.float32))
    other.array = other.array[1:]
    other._start += 4
    other.shape = (4,)
    double = Tensor(np.zeros(4))
    found = BUILDER.build(
        [{"p": t, "g": t} for t in (aligned, other, double, aligned)], ("p", "g"), 8, Tensor
    )
    assert [(t.size, t.aligned, str(t.types["p"])) for t in found] == [
        (2, True, "fp32"), (1, False, "fp32"), (1, True, "fp64"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (Tensor(np.zeros(5, np.float32)), "not contiguous, of p's shape"),
        (Tensor(np.zeros(4, np.int64)), "no kernel computes with"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(other: Tensor, error: str) -> None:
    p = Tensor(np.zeros(4, np.float32))
    with pytest.raises((TypeError, ValueError), match=error):
        BUILDER.build([{"p": p, "g": other}], ("p", "g"), 8, Tensor)


@pytest.mark.parametrize(("name", "target"), [("adamw", "sm_90"), ("sgd", "sm_100")])
def test_a_table_costs_at_most_25_instructions_of_a_thread(name: str, target: str) -> None:
    """Static figures of machine code in float32: no time is measured."""
    from stepforge.verify.ptx import sass
    from stepforge.verify.rungs.compiled import machine_code_of

    spec = stock(name)
    options = next(spec.option_sets())
    counts = []
    for backend in ("triton", "multi_tensor"):
        kernel = load(spec, GENERATED, backend)
        made = compile_kernel(kernel, spec, options, target, "fp32")
        code = machine_code_of(made, spec, options, target, "fp32", kernel)
        assert code is not None
        (figures,) = sass.measure([code])
        assert figures.access_bits == 128
        counts.append(figures.instructions * kernel.block / contract.THREADS)
    assert counts[1] - counts[0] <= 25


def test_the_lifted_kernel_reads_the_table_that_the_launcher_passes() -> None:
    spec, options = stock("adamw"), {"amsgrad": False, "maximize": False}
    subject = proof.Subject.of(spec, options, "fp32", 0, "multi_tensor")
    text = proof.ptx_of(subject, GENERATED, "sm_90", True, True)
    outcome = proof.of_ptx(subject, GENERATED, "sm_90", text, True, True)
    assert (outcome.status, outcome.strength) == (Status.PROVED, "bits")
