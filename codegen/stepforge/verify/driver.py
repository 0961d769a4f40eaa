"""Files to certificate: every rung runs on the files on disk.

Pipeline: `tasks` says what there is to do at a level, `kept` what is known from earlier runs,
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
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from stepforge.language.spec import Spec
from stepforge.output import manifest
from stepforge.verify.certificate import Certificate, Status, Verdict
from stepforge.verify.files import generated
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.files.inspection import Inspection, inspect
from stepforge.verify.ptx import figures
from stepforge.verify.run import provenance
from stepforge.verify.run.kept import Kept
from stepforge.verify.run.tasks import Group, groups, left_out, run, rungs
from stepforge.verify.run.workers import execute
from stepforge.verify.rungs import registry
from stepforge.verify.rungs.levels import ARCHITECTURES, DTYPES, TARGETS, Level
from stepforge.verify.rungs.registry import MUTATION_SCORE, Need
from stepforge.verify.rungs.task import Task

__all__ = [
    "ARCHITECTURES", "DTYPES", "LAUNCHERS", "TARGETS", "Level", "Task", "execute", "left_out",
    "run", "rungs", "verify",
]  # fmt: skip

ASSUMPTIONS = (
    "grid: cdiv(n, BLOCK) programs, at most 2**31 - 1; n at most 2**48; tensors do not overlap",
    "domains: hyperparameters and states are within the domains that the spec declares; torch's "
    "classes look at them in their constructors alone, as torch does",
)
"""What all rungs take for granted."""


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
    keep: Path | None = None,
    backends: Sequence[str] = LAUNCHERS,
    score: Score | None = None,
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
        keep: A file of verdicts of earlier runs, which stand where all of their inputs are the
            same; those of this run are added to it.
        backends: Whose kernels to look at, where the folder has them; `score` looks at all of them.
        score: What the deep level needs: `stepforge.mutate.score.score`.

    Returns:
        One certificate for every spec, in the same order.

    Raises:
        ValueError: The level is deep, and there is no `score`.
        SpecError: The file holds something else, or the folder's manifest cannot be used.
    """
    if level is Level.deep and score is None:
        raise ValueError("the deep level needs a `score`")
    kept = Kept(keep)
    held = manifest.read(folder)
    verdicts: dict[str, list[Verdict]] = {}
    hashes = {spec.name: generated.hashes(spec, folder) for spec in specs}
    todo: list[Group] = []
    scored: list[Spec] = []
    kernels: dict[str, tuple[str, ...]] = {}
    for spec in specs:
        files = inspect(spec, folder, held)
        verdicts[spec.name] = [files.verdict]
        kernels[spec.name] = tuple(b for b in files.launchers if b in backends)
        if not files.runs:
            continue
        if missing := _missing(spec, files, backends):
            verdicts[spec.name].append(missing)
        if level is Level.deep and files.verdict.status.passed:
            whole = Task(MUTATION_SCORE, spec, {}, folder, seed, backends=files.launchers)
            if whole.missing:
                verdicts[spec.name].append(_unscored(spec, whole.missing))
            else:
                scored.append(spec)
        chosen = tuple(targets) if targets else None
        for group in groups(spec, folder, seed, level, chosen, kernels[spec.name]):
            left, found = kept.split(group)
            verdicts[spec.name] += found
            if left:
                todo.append(left)
    total = sum(map(len, todo)) + len(scored)
    done = 0
    try:
        with closing(execute(todo, jobs or os.cpu_count() or 1)) as coming:
            for done, verdict in enumerate(coming, 1):
                verdicts[verdict.optimizer].append(verdict)
                if progress:
                    progress(done, total, f"{verdict.optimizer} {verdict.title}")
    except KeyboardInterrupt:
        for found in verdicts.values():
            kept.add(v for v in found if not v.machine_code)  # others are not measured yet
        kept.write()
        raise
    for number, spec in enumerate(scored, done + 1):
        assert score is not None
        verdicts[spec.name].append(score(spec, folder, seed, jobs=jobs))
        if progress:
            progress(number, total, f"{spec.name} {MUTATION_SCORE.title}")
    everything = [v for found in verdicts.values() for v in found]
    verdicts = {spec.name: [] for spec in specs}
    for verdict in figures.completed(everything, jobs or os.cpu_count() or 1):
        verdicts[verdict.optimizer].append(verdict)
    for spec in specs:
        if generated.hashes(spec, folder) != hashes[spec.name]:
            reason = "a file has changed while it was verified"
            verdicts[spec.name].append(Verdict("files", spec.name, None, Status.REFUTED, 0, reason))
        kept.add(verdicts[spec.name])
    kept.write()
    return [_certificate(s, hashes[s.name], verdicts[s.name], kernels[s.name]) for s in specs]


def _missing(spec: Spec, files: Inspection, asked: Sequence[str]) -> Verdict | None:
    """What is said where one kind of kernel is asked for and the folder has none of it."""
    if set(asked) == set(LAUNCHERS) or set(asked) & set(files.launchers):
        return None
    reason = f"the folder has no kernel in {', '.join(asked)} that can be looked at"
    return Verdict("files", spec.name, None, Status.UNSUPPORTED, 0, reason)


def _unscored(spec: Spec, missing: Need) -> Verdict:
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
        (*ASSUMPTIONS, *registry.assumptions(usual)),
        {"spec": hashlib.sha256(spec.source.text.encode()).hexdigest(), **hashes},
        provenance.templates(),
        provenance.versions(found),
        backends,
    )
