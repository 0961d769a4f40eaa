"""R5 refuses what the interpreter accepts and the compiler does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT, stock

from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import KERNELS
from stepforge.verify.rungs import compiled
from stepforge.verify.rungs.levels import AMD, TARGETS
from verify.support import copy_of, edit, run, task


def test_a_global_that_only_the_interpreter_sees_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(
        folder / "triton" / "adamw.py",
        [("    v_hat = ", "    v = v * math.pi / math.pi\n    v_hat = ")],
    )
    (verdict,) = run(task("R5", folder))
    assert verdict.status is Status.REFUTED
    assert "does not compile for sm_80" in verdict.detail
    assert "math" in verdict.detail


@pytest.mark.parametrize("annotation", ["", ": tl.float32"])
def test_a_scalar_that_is_passed_in_32_bits_is_refuted(annotation: str, tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [("eps: tl.float64", f"eps{annotation}")])
    (verdict,) = run(task("R5", folder))
    assert verdict.status is Status.REFUTED
    assert "`eps`" in verdict.detail


def test_a_kernel_that_is_gone_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [("adamw_kernel", "other_kernel")])
    (verdict,) = run(task("R5", folder))
    assert verdict.status is Status.REFUTED


def test_a_kernel_as_built_compiles(tmp_path: Path) -> None:
    folder = copy_of("radam", tmp_path / "generated")
    (verdict,) = run(task("R5", folder, "radam"))
    assert verdict.status is Status.TESTED
    assert verdict.values == 4  # both kernels, aligned and not


@pytest.mark.parametrize(("backend", "mode"), KERNELS)
@pytest.mark.parametrize("aligned", [True, False])
def test_what_is_compiled_is_what_a_launch_compiles(backend: str, mode: str, aligned: bool) -> None:
    """The Triton IR is made once for all GPUs of a maker, and compiled from its text.

    One GPU for each kernel, in turn.
    """
    spec = stock("lion")
    options = next(spec.option_sets())
    kernel = compiled.load(spec, ROOT / "generated", backend)
    every = (*TARGETS, AMD)
    target = every[(KERNELS.index((backend, mode)) + 3 * aligned) % len(every)]
    found = compiled.compile_kernel(kernel, spec, options, target, "bf16", aligned, True, mode)
    key = compiled.key_of(kernel, spec, options, "bf16", aligned, True, mode)
    launched = compiled.compile_source(compiled.source_of(key), target, True)
    stages = {"ttir", "amdgcn" if target == AMD else "ptx"}
    assert stages <= set(launched)
    for stage in stages:
        assert found[stage] == launched[stage]
