"""Files to certificate: every rung runs on the files on disk.

Pipeline: `tasks` says what there is to do at a level, `cache` what is known from earlier runs,
`workers` run the rest in processes of their own with a time limit, `certificate` is what comes out.
The rungs are modules of `rungs`, each with a record in `rungs.registry`; the last of them, how good
the others are, is `stepforge.mutate.score`.

Proofs go through `terms`, graphs of rounded operations: the rule (`rule`), the NumPy file and the
launcher (`source_terms`, `launcher`), Triton IR (`ttir`) and PTX (`ptx.lifter`) are all lifted to
them, and `equality` decides what is not the same at first sight.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stepforge.language.spec import Spec
from stepforge.language.subjects import OPTIMIZER
from stepforge.output import manifest
from stepforge.verify.certificate import Certificate, Status, Verdict
from stepforge.verify.files import generated
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.files.inspection import Folder, Inspection
from stepforge.verify.ptx import figures
from stepforge.verify.run import provenance
from stepforge.verify.run.cache import Cache, inputs_of
from stepforge.verify.run.scope import left_out, looked_at
from stepforge.verify.run.tasks import Group, groups, run, rungs
from stepforge.verify.run.workers import execute
from stepforge.verify.rungs import registry
from stepforge.verify.rungs.levels import ARCHITECTURES, DTYPES, TARGETS, TIME_LIMITS, Level
from stepforge.verify.rungs.registry import MUTATION_SCORE, Need
from stepforge.verify.rungs.task import Task

__all__ = [
    "ARCHITECTURES", "DTYPES", "LAUNCHERS", "TARGETS", "Level", "Task", "execute", "left_out",
    "looked_at", "run", "rungs", "verify",
]  # fmt: skip

ASSUMPTIONS = (
    "grid: cdiv(n, BLOCK) programs, at most 2**31 - 1; n at most 2**48; tensors do not overlap",
    "domains: hyperparameters, states and inputs are within the domains that the spec declares; "
    "torch's classes look at hyperparameters in their constructors alone, as torch does",
)
"""What all rungs of optimizers take for granted."""


class Score(Protocol):
    """How good the other rungs are: `MUTATION_SCORE` of one spec."""

    def __call__(self, spec: Spec, folder: Path, seed: int, *, jobs: int | None) -> Verdict:
        """The share of planted faults that the rungs find."""


def verify(
    specs: Sequence[Spec],
    folder: Path,
    seed: int = 0,
    targets: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    level: Level = Level.fast,
    cache: Path | None = None,
    backends: Sequence[str] = LAUNCHERS,
    score: Score | None = None,
    note: Callable[[str], None] | None = None,
    time_limit: float | None = None,
) -> list[Certificate]:
    """Verifies the generated files of specs.

    Args:
        specs: The specs.
        folder: The folder of generated code.
        seed: Of the random inputs.
        targets: GPUs to compile for, such as "sm_90"; by default those of the level.
        jobs: Worker processes of each kind; by default the number of processors.
        progress: Called with done, total, and what was done last.
        level: How much to do.
        cache: A folder of verdicts of earlier runs, which stand where all of their inputs are the
            same; those of this run are added to it.
        backends: Whose kernels to look at, where the folder has them; `score` looks at all of them.
        score: What the deep level needs: `stepforge.mutate.score.score`.
        note: Called with what is to be said beside the verdicts, such as that none can be kept.
        time_limit: Seconds of processor time for each rung on each kernel; by default that of the
            level.

    Returns:
        One certificate for every spec, in the same order.

    Raises:
        ValueError: The level is deep, and there is no `score`.
        SpecError: The cache is something else, or the folder's manifest cannot be used.
    """
    if level is Level.deep and score is None:
        raise ValueError("the deep level needs a `score`")
    jobs = jobs or os.cpu_count() or 1
    found = _Found({spec.name: [] for spec in specs}, progress)
    kernels: dict[str, tuple[str, ...]] = {}
    todo: list[Group] = []
    scored: list[Task] = []
    held = manifest.read(folder)
    before = {spec.name: inputs_of(spec, folder) for spec in specs}
    hashes = {spec.name: generated.hashes(spec, folder) for spec in specs}
    whole = Folder(folder, held, specs)
    with closing(Cache(cache)) as kept:
        for spec in specs:
            files = whole.inspect(spec)
            found.known(files.verdict)
            kernels[spec.name] = tuple(b for b in files.launchers if b in backends)
            if not files.runs:
                continue
            if spec.subject == OPTIMIZER and (missing := _missing(spec, files, backends)):
                found.known(missing)
            chosen = tuple(targets) if targets else None
            looked = kernels[spec.name]
            every = list(groups(spec, folder, seed, level, chosen, looked, files.steps))
            is_scored = level is Level.deep and MUTATION_SCORE in registry.of(spec.subject)
            if is_scored and files.verdict.status.passed:
                score_of = Task(MUTATION_SCORE, spec, {}, folder, seed, backends=files.launchers)
                if score_of.missing:
                    found.known(_unscored(spec, score_of.missing))
                else:
                    every.append((score_of,))
            for group in every:
                left, earlier = kept.split(group)
                found.known(*earlier)
                if left and left[0].rung is MUTATION_SCORE:
                    scored += left
                elif left:
                    todo.append(left)
        found.total = sum(map(len, todo)) + len(scored)
        with closing(execute(todo, jobs, time_limit or TIME_LIMITS[level])) as coming:
            for verdict in coming:
                found.add(verdict)
                if not verdict.machine_code:  # others are not measured yet
                    kept.put(verdict)
        for task in scored:
            assert score is not None
            verdict = score(task.spec, folder, seed, jobs=jobs)
            found.add(verdict)
            kept.put(verdict)
        for verdict in found.measured(jobs):
            kept.put(verdict)
    if kept.trouble and note:
        note(kept.trouble)
    for spec in specs:
        if reason := before[spec.name].changed_in(inputs_of(spec, folder)):
            found.known(Verdict("files", spec.name, None, Status.REFUTED, 0, reason))
    return [_certificate(s, hashes[s.name], found.verdicts[s.name], kernels[s.name]) for s in specs]


@dataclass(slots=True)
class _Found:
    """The verdicts of a run, by optimizer.

    Attributes:
        verdicts: Optimizer → its verdicts.
        progress: Called with done, total, and what was done last.
        done: How many were found in this run.
        total: How many will be.
    """

    verdicts: dict[str, list[Verdict]]
    progress: Callable[[int, int, str], None] | None
    done: int = 0
    total: int = 0

    def known(self, *verdicts: Verdict) -> None:
        """Takes verdicts that nothing had to be run for."""
        for verdict in verdicts:
            self.verdicts[verdict.optimizer].append(verdict)

    def add(self, verdict: Verdict) -> None:
        """Takes a verdict of this run."""
        self.known(verdict)
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total, f"{verdict.optimizer} {verdict.title}")

    def measured(self, jobs: int) -> Iterator[Verdict]:
        """Measures the kernels that are still to be, and gives their verdicts."""
        everything = [v for found in self.verdicts.values() for v in found]
        places = {v.place for v in everything if v.machine_code}
        for found in self.verdicts.values():
            found.clear()
        for verdict in figures.completed(everything, jobs):
            self.known(verdict)
            if verdict.place in places:
                yield verdict


def _missing(spec: Spec, files: Inspection, asked: Sequence[str]) -> Verdict | None:
    """What is said where one kind of kernel is asked for and the folder has none of it."""
    if set(asked) == set(LAUNCHERS) or set(asked) & set(files.launchers):
        return None
    reason = f"the folder has no kernel in {', '.join(asked)} that can be looked at"
    return Verdict("files", spec.name, None, Status.UNSUPPORTED, 0, reason)


def _unscored(spec: Spec, missing: Need) -> Verdict:
    """What is said where the other rungs cannot be scored."""
    return Verdict(
        MUTATION_SCORE.number, spec.name, None, Status.UNSUPPORTED, 0, missing.value,
        required=False, name=MUTATION_SCORE.name,
    )  # fmt: skip


def _certificate(
    spec: Spec, hashes: dict[str, str], found: list[Verdict], backends: tuple[str, ...]
) -> Certificate:
    sets = list(spec.option_sets())

    def position(verdict: Verdict) -> tuple[object, ...]:
        place = sets.index(verdict.options) if verdict.options else 0
        return registry.rank(verdict.rung), place, verdict.target, verdict.dtype, not verdict.exact

    usual = ", ".join(h.usual_text for h in spec.hyperparameters if h.usual_text)
    return Certificate(
        spec.name,
        tuple(sorted(found, key=position)),
        (
            *(ASSUMPTIONS if spec.subject == OPTIMIZER else ()),
            *registry.assumptions(usual, spec.subject),
        ),
        {"spec": hashlib.sha256(spec.source.text.encode()).hexdigest(), **hashes},
        provenance.templates(),
        provenance.versions(found),
        backends,
        spec.subject.name,
    )
