"""Numbered cases: case I of a seed is the same whatever else is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from stepforge.fuzz import specs, text
from stepforge.fuzz.draft import Draft
from stepforge.language.spec import Spec
from stepforge.project import catalogue
from stepforge.verify.files.generated import KERNELS
from stepforge.verify.run.tasks import DTYPES, TARGETS, Group, Task

INTERPRETED = ("R1", "R2")
COMPILED = ("R3", "R5", "R6", "R7")
RUNGS = INTERPRETED + COMPILED
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


def groups(
    spec: Spec, folder: Path, seed: int, number: int, rungs: tuple[str, ...] = RUNGS
) -> Iterator[Group]:
    """What there is to do for a spec that is built: one option set, GPU, type and kernel."""
    rng = np.random.default_rng([seed, _PLACE, number])
    sets = list(spec.option_sets())
    options = sets[int(rng.integers(len(sets)))]
    target, dtype = (names[int(rng.integers(len(names)))] for names in (TARGETS, DTYPES))
    kernel = KERNELS[int(rng.integers(len(KERNELS)))]
    task = Task(
        "R1", spec, options, folder, number, (target,), (dtype,), brief=True, kernels=(kernel,)
    )
    for kind in (INTERPRETED, COMPILED):
        group = tuple(replace(task, rung=rung) for rung in kind if rung in rungs)
        if group:
            yield group
