"""Correct specs that are unusual pass: each is here because a rung has once refused one like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT

from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import ON_HOST
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from verify.support import edit, here, run

FOLDER = ROOT / "tests" / "correct_specs"
SPECS = sorted(path.stem for path in FOLDER.glob("*.toml"))
WARNED = {
    "queue": "stays at 0", "accumulation": "stays at 0", "exponentiated": "stays at 0",
    "soft_threshold": "stays at 0", "ascending": "the other way", "size_of_a_quotient": "",
    "largest_of_three": "the other way", "step_sizes": "", "cube_root": "", "grams": "", "wave": "",
    "weight_average": "", "split_master": "", "scheduled_rate": "",
}  # fmt: skip
"""Spec → what the warnings of its first steps say."""
FAST_MODE = ("grams", "size_of_a_quotient", "largest_of_three", "wave", "cube_root")


def verdict(name: str, rung: str, folder: Path, **more: object) -> Verdict:
    spec = load(FOLDER / f"{name}.toml", f"{name}.toml")[0]
    if rung != "R0":
        emit.apply(emit.changes([spec], folder, whole=False))
        more |= {"targets": ("sm_90",), "dtypes": ("fp32",), "kernels": ON_HOST[:1]}
    options = list(spec.option_sets())[-1]
    return here(rung, spec, folder, options, brief=True, **more)


def test_every_spec_is_asked() -> None:
    assert set(SPECS) == set(WARNED)


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"size_of_a_quotient", "wave"}))
def test_first_steps_are_no_fault(name: str, tmp_path: Path) -> None:
    """The two that are left out divide 0 by 0 where a parameter and its gradient are zero."""
    found = verdict(name, "R0", tmp_path)
    assert found.status is Status.TESTED, found.detail
    assert bool(found.warnings) is bool(WARNED[name])
    assert WARNED[name] in "".join(found.warnings)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", FAST_MODE)
def test_compiled_kernels_are_proved(name: str, exact: bool, tmp_path: Path) -> None:
    found = verdict(name, "R7", tmp_path, exact=exact)
    assert (found.status, found.strength) == (Status.PROVED, "bits" if exact else "reals"), found


@pytest.mark.parametrize(
    ("rung", "file", "right"),
    [("R1", "numpy", "p.astype(real)"), ("R2", "triton", "p.detach().to(real, copy=True)")],
)
def test_a_state_that_starts_as_a_copy_is_compared(
    rung: str, file: str, right: str, tmp_path: Path
) -> None:
    spec = load(FOLDER / "weight_average.toml", "weight_average.toml")[0]
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    task = Task(RUNGS[rung], spec, {}, tmp_path, 0)
    assert run(task)[0].status is Status.TESTED
    path = tmp_path / file / "weight_average.py"
    zeros = {"numpy": "np.zeros(p.shape, real)", "triton": "real.new_full(p.shape, 0)"}[file]
    edit(path, [(f'state["average"] = {right}', f'state["average"] = {zeros}')])
    found = run(task)[0]
    assert found.status is Status.REFUTED
    assert "average" in f"{found.detail}{found.counterexample}"
