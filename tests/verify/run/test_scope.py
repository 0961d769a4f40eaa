"""What is not looked at is said, and the mixtures of types cover every two together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from support import ROOT, stock

from stepforge.operations.formats import Layout
from stepforge.verify.certificate import Status
from stepforge.verify.run.scope import left_out, looked_at
from stepforge.verify.run.tasks import groups
from stepforge.verify.rungs import levels
from stepforge.verify.rungs.levels import DTYPES, Level
from verify.support import copy_of, edit, run, task


def test_every_two_of_three_tensors_have_every_two_types_together_at_full() -> None:
    """Those of one type and its usual states among them, which all rungs look at."""
    seen = [name.split("/") for name in levels.mixed(Level.full)]
    seen += [[name, name, Layout.named(name).states.triton] for name in DTYPES]
    for first, second in itertools.combinations(range(3), 2):
        found = {(layout[first], layout[second]) for layout in seen}
        assert found == set(itertools.product(DTYPES, repeat=2))


def test_the_deep_level_looks_at_all_mixtures() -> None:
    assert len(levels.mixed(Level.deep)) == len(DTYPES) ** 3 - len(DTYPES)
    assert "mixtures" not in left_out([stock("lion")], Level.deep)
    assert left_out([stock("lion")], Level.deep).keys() == {"targets"}  # compiled by request


@pytest.mark.parametrize("level", Level)
def test_what_is_looked_at_is_what_the_tasks_are(level: Level) -> None:
    spec = stock("lion")
    tasks = [t for group in groups(spec, ROOT / "generated", 0, level) for t in group]
    seen = looked_at(level)
    dtypes = {d for t in tasks if t.rung.compiles for d in t.dtypes}
    assert dtypes == {*seen["dtypes"], *seen["mixtures"]}
    assert {g for t in tasks if t.rung.for_each_gpu for g in t.targets} == set(seen["targets"])
    fast = {d for t in tasks if not t.exact for d in t.dtypes}
    assert (f"fast mode with {' '.join(fast)}" in seen["modes"]) == (len(fast) == 1)
    assert ("fast mode" in seen["modes"]) == (fast == set(DTYPES))


def test_a_fault_that_only_mixtures_show_is_refuted(tmp_path: Path) -> None:
    """A kernel that computes in the gradient's type, which usually is the parameter's."""
    folder = copy_of("lion", tmp_path)
    of_p, of_g = (f"real = tl.float64 if {name}_ptr.dtype" for name in "pg")
    edit(folder / "triton" / "lion.py", [(of_p, of_g)])
    one = task("R3", folder, "lion")
    (usual,) = run(replace(one, dtypes=DTYPES))
    assert usual.status is Status.PROVED
    (found,) = run(replace(one, dtypes=levels.mixed(Level.full)))
    assert found.status is Status.REFUTED, found
