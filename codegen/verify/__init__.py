"""Files to certificate: every rung runs on the files on disk, in workers with a time limit.

A generated file may have been edited, so it is foreign code: it may crash, hang, or write where it
should not. Workers of two kinds run it: one with Triton's interpreter, one with its compiler, since
Triton chooses between them when it is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
import platform
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pebble

from codegen.spec import Spec
from codegen.verify import generated
from codegen.verify.certificate import RUNGS, Certificate, Status, Verdict

TARGETS = ("sm_80", "sm_90")
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120")
"""The GPUs that Triton compiles for; what its version does not know is refuted by R5."""
SECONDS = 60
"""Time limit of one rung on one option set."""

ASSUMPTIONS = (
    "R1: host pow, exp and log are within the bounds of codegen.operations",
    "R2: Triton's interpreter stands for the compiled kernel; programs run one after the other",
    "R5: compiled with num_warps=4 and without contraction, pointers aligned to 16 bytes",
)


@dataclass(frozen=True, slots=True)
class Task:
    """One rung on one option set of one spec."""

    rung: str
    spec: Spec
    options: dict[str, bool]
    folder: Path
    seed: int
    targets: tuple[str, ...]

    def verdict(self, status: Status, detail: str) -> Verdict:
        """A verdict that the rung itself did not live to give."""
        return Verdict(self.rung, self.spec.name, self.options, status, 0, detail, self.seed)


def run(task: Task) -> Verdict:
    """Runs a task in this process."""
    try:
        return _rung(task)
    except Exception:
        raise  # our fault
    except BaseException as error:
        what = f"a generated file ends the process: {type(error).__name__}"
        return task.verdict(Status.REFUTED, what)


def _rung(task: Task) -> Verdict:
    spec = task.spec
    if task.rung == "R0":
        from codegen.verify import static

        return static.check(spec, task.options)
    if task.rung == "R1":
        from codegen.verify import formula

        return formula.check(spec, task.folder, task.options, task.seed)
    if task.rung == "R2":
        from codegen.verify import interpreter

        return interpreter.check(spec, task.folder, task.options, task.seed)
    if task.rung == "R5":
        from codegen.verify import compiled

        return compiled.check(spec, task.folder, task.options, task.targets)
    from codegen.verify import third_party

    return third_party.check(spec, task.folder, task.options, task.seed)


def rungs(spec: Spec) -> list[str]:
    """The rungs that apply to a spec: R8 needs a class of torch to compare with."""
    return [rung for rung in RUNGS if rung != "files" and (rung != "R8" or spec.torch)]


def tasks(spec: Spec, folder: Path, seed: int, targets: Sequence[str]) -> Iterator[Task]:
    """Every rung on every option set."""
    for rung in rungs(spec):
        for options in spec.option_sets():
            yield Task(rung, spec, options, folder, seed, tuple(targets))


def verify(
    specs: Sequence[Spec],
    folder: Path,
    seed: int = 0,
    targets: Sequence[str] = TARGETS,
    jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Certificate]:
    """Verifies the generated files of specs.

    Args:
        specs: The specs.
        folder: The folder of generated code.
        seed: Of the random inputs.
        targets: GPUs to compile for, such as "sm_90".
        jobs: Worker processes of each kind; by default the number of processors.
        progress: Called with done, total, and what was done last.

    Returns:
        One certificate for every spec, in the same order.
    """
    verdicts: dict[str, list[Verdict]] = {}
    hashes = {spec.name: generated.hashes(spec, folder) for spec in specs}
    todo: list[Task] = []
    for spec in specs:
        files = generated.inspect(spec, folder)
        verdicts[spec.name] = [files]
        if files.status.passed:
            todo += tasks(spec, folder, seed, targets)
    for done, verdict in enumerate(execute(todo, jobs or os.cpu_count() or 1), 1):
        verdicts[verdict.optimizer].append(verdict)
        if progress:
            progress(done, len(todo), f"{verdict.optimizer} {verdict.rung}")
    for spec in specs:
        if generated.hashes(spec, folder) != hashes[spec.name]:
            reason = "a file has changed while it was verified"
            verdicts[spec.name].append(Verdict("files", spec.name, None, Status.REFUTED, 0, reason))
    return [_certificate(spec, hashes[spec.name], verdicts[spec.name]) for spec in specs]


def execute(todo: Sequence[Task], jobs: int, seconds: float = SECONDS) -> Iterator[Verdict]:
    """Runs tasks in workers of both kinds; yields verdicts as they come.

    Args:
        todo: The tasks.
        jobs: Workers of each kind.
        seconds: Time limit of each task.
    """
    has_triton = importlib.util.find_spec("triton") is not None
    kinds: dict[bool, list[Task]] = {True: [], False: []}
    for task in todo:
        if task.rung in ("R2", "R5") and not has_triton:
            reason = "Triton is not installed"
            yield task.verdict(Status.UNSUPPORTED, reason)
        else:
            kinds[task.rung in ("R0", "R1", "R2")].append(task)
    context = multiprocessing.get_context("spawn")
    pools: list[pebble.ProcessPool] = []
    futures: dict[Future[Verdict], Task] = {}
    try:
        for interpreted, group in kinds.items():
            if group:
                pool = pebble.ProcessPool(
                    max_workers=min(jobs, len(group)),
                    context=context,
                    initializer=_prepare,
                    initargs=(interpreted,),
                )
                pools.append(pool)
                for task in group:
                    futures[pool.schedule(run, args=[task], timeout=seconds)] = task
        for future in as_completed(futures):
            task = futures[future]
            if not future.cancelled() and isinstance(future.exception(), TimeoutError):
                for other, waiting in futures.items():
                    if (waiting.spec.name, waiting.rung) == (task.spec.name, task.rung):
                        other.cancel()
            yield _result(future, task, seconds)
    finally:
        for pool in pools:
            pool.stop()
            pool.join()


def _prepare(interpreted: bool) -> None:
    """Settings of a worker, before anything imports Triton.

    What a generated file prints is not ours to show, and Ctrl-C is for the process that started
    the workers: it stops them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.environ["TRITON_INTERPRET"] = "1" if interpreted else "0"
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _result(future: Future[Verdict], task: Task, seconds: float) -> Verdict:
    """A verdict even when the worker did not live to give one."""
    try:
        return future.result()
    except CancelledError:
        reason = "not run: it did not finish with other options"
        return task.verdict(Status.UNSUPPORTED, reason)
    except TimeoutError:
        return task.verdict(Status.REFUTED, f"did not finish within {seconds:g} s")
    except pebble.ProcessExpired as error:
        return task.verdict(Status.REFUTED, f"the process died (exit code {error.exitcode})")
    except Exception as error:  # our fault: say so, and never call it a pass
        reason = f"internal error, a bug in stepforge: {type(error).__name__}: {error}"
        return task.verdict(Status.UNSUPPORTED, reason)


def _certificate(spec: Spec, hashes: dict[str, str], found: list[Verdict]) -> Certificate:
    order = list(RUNGS)
    sets = list(spec.option_sets())

    def position(verdict: Verdict) -> tuple[int, int]:
        return order.index(verdict.rung), sets.index(verdict.options) if verdict.options else 0

    return Certificate(
        spec.name,
        tuple(sorted(found, key=position)),
        ASSUMPTIONS,
        {"spec": hashlib.sha256(spec.source.text.encode()).hexdigest(), **hashes},
        _versions(),
    )


def _versions() -> dict[str, str]:
    versions: dict[str, Any] = {"python": platform.python_version()}
    for name in ("stepforge", "numpy", "mpmath", "triton", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
