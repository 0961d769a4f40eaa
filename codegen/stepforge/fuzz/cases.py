"""Numbered cases: case I of a seed is the same whatever else is run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from stepforge.fuzz import specs, text
from stepforge.fuzz.draft import Draft
from stepforge.language.spec import Spec
from stepforge.language.subjects import OPTIMIZER
from stepforge.project import catalogue
from stepforge.verify.files.generated import KERNELS
from stepforge.verify.run.tasks import Group
from stepforge.verify.rungs.levels import DTYPES, TARGETS, Level
from stepforge.verify.rungs.registry import Rung, of
from stepforge.verify.rungs.task import Task

_SPEC, _PLACE, _TEXT = range(3)
"""Streams of random numbers."""


def spec_case(seed: int, number: int) -> Draft:
    """The random spec of a number."""
    return specs.draft(np.random.default_rng([seed, _SPEC, number]), f"random_{seed}_{number}")


def text_case(seed: int, number: int) -> bytes:
    """The random text of a number; half of them were random specs before they were damaged."""
    rng = np.random.default_rng([seed, _TEXT, number])
    corpus = _stock() if rng.random() < 0.5 else (specs.draft(rng, "random").text(),)
    return text.random_text(rng, corpus)


@cache
def _stock() -> tuple[str, ...]:
    return tuple(path.read_text("utf-8") for path in sorted(catalogue.stock().glob("*.toml")))


def asked() -> tuple[Rung, ...]:
    """The rungs that random specs go through: fast ones that look at what was generated.

    A rule at random may have no value at its defaults, which is what is asked of the spec itself.
    """
    found = (r for r in of(OPTIMIZER) if r.level is Level.fast and {*r.artefacts} - {"spec"})
    return tuple(found)


def groups(
    spec: Spec, folder: Path, seed: int, number: int, rungs: tuple[Rung, ...] | None = None
) -> Iterator[Group]:
    """What there is to do for a spec that is built: one option set, GPU, type and kernel."""
    rungs = asked() if rungs is None else rungs
    rng = np.random.default_rng([seed, _PLACE, number])
    sets = list(spec.option_sets())
    options = sets[int(rng.integers(len(sets)))]
    target, dtype = (names[int(rng.integers(len(names)))] for names in (TARGETS, DTYPES))
    kernel = KERNELS[int(rng.integers(len(KERNELS)))]
    tasks = [
        Task(r, spec, options, folder, number, (target,), (dtype,), brief=True, kernels=(kernel,))
        for r in rungs
    ]
    for compiles in (False, True):
        if group := tuple(task for task in tasks if task.rung.compiles == compiles):
            yield group
