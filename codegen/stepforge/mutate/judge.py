"""What the rungs say of a mutant, one verdict for each that looks at its level."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import closing
from pathlib import Path

from stepforge.backends.registry import BACKENDS, shared
from stepforge.backends.render import copied
from stepforge.mutate import copies
from stepforge.mutate.mutant import FILES, GENERATOR, LEVELS, SURROUNDINGS, TARGET, Mutant, shown
from stepforge.output import emit, manifest
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import KERNELS, LAUNCHERS, ON_HOST, C, Variant
from stepforge.verify.files.inspection import inspect
from stepforge.verify.run import tasks
from stepforge.verify.run.workers import Pools, reason
from stepforge.verify.rungs.registry import Rung
from stepforge.verify.rungs.task import Task

SECONDS = 60.0
"""Of processor time, for one mutant in one kind of worker."""
Statuses = dict[str, str]
"""Numbers of rungs → verdicts, with the strength of proofs."""


def judged(
    mutants: Sequence[Mutant], folder: Path, jobs: int, seed: int
) -> Generator[tuple[Mutant, Statuses], None, None]:
    """Judges mutants in processes; yields them as they are done.

    Args:
        mutants: The mutants.
        folder: The generated files without faults.
        jobs: Processes of each kind.
        seed: Of the rungs' inputs.
    """
    futures: dict[Future[Statuses], tuple[Mutant, tuple[Rung, ...]]] = {}
    found: dict[str, Statuses] = {}
    missing: dict[str, int] = {}
    with closing(Pools(jobs, jobs)) as pools:
        for mutant in mutants:
            if mutant.level == GENERATOR:
                continue
            for compiles in (False, True):
                rungs = tuple(r for r in applicable(mutant) if r.compiles == compiles)
                if rungs or (mutant.level == SURROUNDINGS and not compiles):
                    future = pools.schedule(
                        not compiles, verdicts, [mutant, rungs, folder, seed], SECONDS
                    )
                    futures[future] = mutant, rungs
                    missing[mutant.name] = missing.get(mutant.name, 0) + 1
        for future in as_completed(futures):
            mutant, rungs = futures.pop(future)
            found.setdefault(mutant.name, {}).update(_result(future, rungs))
            missing[mutant.name] -= 1
            if not missing[mutant.name]:
                yield mutant, found.pop(mutant.name)
    yield from copies.judged([m for m in mutants if m.level == GENERATOR], jobs)


def applicable(mutant: Mutant) -> tuple[Rung, ...]:
    """The rungs that look at what comes after the mutant's level.

    Around a rule there is nothing for a rung to find: what `FILES` passes has to be right.
    """
    if mutant.level == SURROUNDINGS and mutant.kind != "EQ":
        return ()
    seen = LEVELS[mutant.level]
    return tuple(r for r in tasks.rungs(mutant.spec) if seen.intersection(r.artefacts))


def _result(future: Future[Statuses], rungs: Sequence[Rung]) -> Statuses:
    try:
        return future.result()
    except Exception as error:
        what = ": ".join(reason(error, SECONDS))
    return {rung.number: what for rung in rungs} or {FILES: what}


def verdicts(mutant: Mutant, rungs: Sequence[Rung], folder: Path, seed: int) -> Statuses:
    """The verdicts of some rungs, in this process."""
    place = Path(tempfile.mkdtemp(prefix="stepforge-"))
    try:
        name = mutant.spec.name
        if mutant.level == SURROUNDINGS:
            return _around(mutant, rungs, place, seed)
        for backend in ("numpy", *LAUNCHERS, *C):
            path = place / BACKENDS[backend].file(name)
            path.parent.mkdir()
            own = mutant.files.get(backend)
            if own is None:
                own = (folder / backend / path.name).read_text(encoding="utf-8")
            path.write_text(own, encoding="utf-8")
        for file in shared(("multi_tensor", *C)):
            (place / file).write_text(copied(file), encoding="utf-8")
        return dict(_each(mutant, rungs, place, seed))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _around(mutant: Mutant, rungs: Sequence[Rung], place: Path, seed: int) -> Statuses:
    """Whether the files of a folder may be looked at, and what rungs say of them then."""
    emit.build([mutant.spec], place, whole=False)
    for file, content in mutant.files.items():
        path = place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8"))
    verdict = inspect(mutant.spec, place, manifest.read(place)).verdict
    found = dict(_each(mutant, rungs, place, seed)) if verdict.status.passed else {}
    return {FILES: shown(verdict), **found}


def _each(
    mutant: Mutant, rungs: Sequence[Rung], place: Path, seed: int
) -> Iterator[tuple[str, str]]:
    """What each rung says of the files in a place, or of the mutant's artefact in front of them."""
    kernels: tuple[Variant, ...] = KERNELS if mutant.level == "multi_tensor" else ()
    artefacts = {mutant.level: mutant.text} if mutant.text else {}
    reason = ""
    if artefacts:
        kernels = ON_HOST[:1]
        if "ptx" not in artefacts:
            from stepforge.verify.rungs import compiled

            try:
                artefacts["ptx"] = compiled.compile_text(mutant.text, TARGET)["ptx"]
            except compiled.CannotCompile as error:
                reason = f"{Status.REFUTED}: {error}"
    for rung in rungs:
        task = Task(
            rung, mutant.spec, dict(mutant.options), place, seed, (TARGET,), (mutant.dtype,),
            exact=not (mutant.fast and rung.fast_mode), brief=True, kernels=kernels,
            artefacts=artefacts,
        )  # fmt: skip
        if reason and rung.for_each_gpu:
            yield rung.number, reason
            continue
        try:
            yield rung.number, shown(tasks.run(task))
        except Exception as error:  # our fault, and no kill
            yield rung.number, f"{Status.UNSUPPORTED}: {type(error).__name__}: {error}"


def processes() -> int:
    """Processes of each kind: as many as there are processors."""
    return os.cpu_count() or 1
