"""What the rungs say of a mutant, one verdict for each that looks at its level."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import closing
from pathlib import Path

import pebble

from stepforge.backends.render import copied
from stepforge.mutate.mutant import LEVELS, Mutant
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import KERNELS, LAUNCHERS
from stepforge.verify.run.tasks import INTERPRETED, Task, run
from stepforge.verify.run.workers import Pools

TARGET = "sm_90"
TABLES = "multi_tensor/_tables.py"
SECONDS = 60.0
"""For one mutant in one kind of worker."""
Statuses = dict[str, str]
"""Rungs → verdicts, with the strength of proofs; what was out of time is REFUTED."""


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
    futures: dict[Future[Statuses], tuple[Mutant, tuple[str, ...]]] = {}
    found: dict[str, Statuses] = {}
    missing: dict[str, int] = {}
    with closing(Pools(jobs, jobs)) as pools:
        for mutant in mutants:
            for interpreted in (True, False):
                rungs = tuple(
                    r for r in applicable(mutant) if (r in (*INTERPRETED, "R8")) == interpreted
                )
                if rungs:
                    future = pools.schedule(
                        interpreted, verdicts, [mutant, rungs, folder, seed], SECONDS
                    )
                    futures[future] = mutant, rungs
                    missing[mutant.name] = missing.get(mutant.name, 0) + 1
        for future in as_completed(futures):
            mutant, rungs = futures.pop(future)
            found.setdefault(mutant.name, {}).update(_result(future, rungs))
            missing[mutant.name] -= 1
            if not missing[mutant.name]:
                yield mutant, found.pop(mutant.name)


def applicable(mutant: Mutant) -> tuple[str, ...]:
    """The rungs that look at what comes after the mutant's level."""
    has_torch = bool(mutant.spec.torch_class)
    return tuple(r for r in LEVELS[mutant.level] if r != "R8" or has_torch)


def _result(future: Future[Statuses], rungs: Sequence[str]) -> Statuses:
    try:
        return future.result()
    except TimeoutError:
        return dict.fromkeys(rungs, f"{Status.REFUTED}: out of time")
    except pebble.ProcessExpired:
        return dict.fromkeys(rungs, f"{Status.REFUTED}: the process died")
    except Exception as error:
        return dict.fromkeys(rungs, f"{Status.UNSUPPORTED}: {type(error).__name__}: {error}")


def verdicts(mutant: Mutant, rungs: Sequence[str], folder: Path, seed: int) -> Statuses:
    """The verdicts of some rungs, in this process."""
    place = Path(tempfile.mkdtemp(prefix="stepforge-"))
    try:
        name = mutant.spec.name
        for backend in ("numpy", *LAUNCHERS):
            path = place / backend / f"{name}.py"
            path.parent.mkdir()
            own = mutant.files.get(backend)
            if own is None:
                own = (folder / backend / path.name).read_text(encoding="utf-8")
            path.write_text(own, encoding="utf-8")
        (place / TABLES).write_text(copied(TABLES), encoding="utf-8")
        if mutant.text:
            return _of_artefact(mutant, rungs, place, seed)
        return {rung: _shown(_file(mutant, rung, place, seed)) for rung in rungs}
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _file(mutant: Mutant, rung: str, place: Path, seed: int) -> Verdict:
    exact = not mutant.fast or rung not in ("R5", "R7", "R9")
    kernels = KERNELS if mutant.level == "multi_tensor" else ()
    task = Task(
        rung, mutant.spec, dict(mutant.options), place, seed, (TARGET,), (mutant.dtype,),
        exact=exact, brief=True, kernels=kernels,
    )  # fmt: skip
    try:
        return run(task)
    except Exception as error:  # our fault, and no kill
        return task.verdict(Status.UNSUPPORTED, f"{type(error).__name__}: {error}")


def _of_artefact(mutant: Mutant, rungs: Sequence[str], place: Path, seed: int) -> Statuses:
    """The verdicts about Triton IR, and about the PTX that it becomes, or about PTX."""
    from stepforge.verify.rungs import bounded, compiled, contract, executed, proof

    spec, options, dtype, text = mutant.spec, mutant.options, mutant.dtype, mutant.text
    subject = proof.Subject.of(spec, options, dtype, seed)
    found: Statuses = {}
    if mutant.level == "ttir":
        found["R3"] = _shown(proof.of_triton(subject, place, text))
        try:
            text = compiled.compile_text(text, TARGET)["ptx"]
        except compiled.CannotCompile as error:
            return found | dict.fromkeys(rungs[1:], f"{Status.REFUTED}: {error}")
    block = compiled.load(spec, place).block
    violations = list(contract.violations(text, spec, options, dtype, block))
    found["R5"] = f"{Status.REFUTED}: {violations[0]}" if violations else str(Status.TESTED)
    found["R6"] = _shown(
        executed.of_ptx(spec, place, options, TARGET, dtype, text, True, seed, brief=True)
    )
    found["R7"] = _shown(proof.of_ptx(subject, place, TARGET, text, True, True))
    found["R9"] = _shown(bounded.of_ptx(subject, place, TARGET, text, True))
    return found


def _shown(verdict: object) -> str:
    """Status, strength and the first line of the reason."""
    status, strength = verdict.status, verdict.strength  # type: ignore[attr-defined]
    if status is Status.PROVED:
        return f"{status} ({strength})"
    detail = verdict.detail.split("\n")[0][:200]  # type: ignore[attr-defined]
    return str(status) if status is Status.TESTED else f"{status}: {detail}"


def processes() -> int:
    """Processes of each kind: as many as there are processors."""
    return os.cpu_count() or 1
