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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pebble

from codegen.reader import load
from codegen.spec import Spec
from codegen.verify import generated
from codegen.verify.certificate import RUNGS, Certificate, Status, Verdict

TARGETS = ("sm_80", "sm_90")
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
    path: Path
    shown: str
    name: str
    options: dict[str, bool]
    folder: Path
    seed: int
    targets: tuple[str, ...]


def run(task: Task) -> Verdict:
    """Runs a task in this process."""
    spec, _ = load(task.path, task.shown)
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


def tasks(
    spec: Spec, path: Path, folder: Path, seed: int, targets: Sequence[str]
) -> Iterator[Task]:
    """Every rung on every option set that can be run here."""
    rungs = ["R0", "R1", "R2", "R5", *(["R8"] if spec.torch else [])]
    for rung in rungs:
        for options in spec.option_sets():
            yield Task(
                rung, path.resolve(), spec.source.path, spec.name, options, folder, seed,
                tuple(targets),
            )  # fmt: skip


def verify(
    specs: Sequence[tuple[Spec, Path]],
    folder: Path,
    seed: int = 0,
    targets: Sequence[str] = TARGETS,
    jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Certificate]:
    """Verifies the generated files of specs.

    Args:
        specs: Specs with the files that they came from.
        folder: The folder of generated code.
        seed: Of the random inputs.
        targets: GPUs to compile for, such as "sm_90".
        jobs: Worker processes of each kind; by default the number of processors.
        progress: Called with done, total, and what was done last.

    Returns:
        One certificate for every spec, in the same order.
    """
    verdicts: dict[str, list[Verdict]] = {}
    todo: list[Task] = []
    for spec, path in specs:
        files = generated.inspect(spec, folder)
        verdicts[spec.name] = [files]
        if files.status.passed:
            todo += tasks(spec, path, folder, seed, targets)
    for done, verdict in enumerate(execute(todo, jobs or os.cpu_count() or 1), 1):
        verdicts[verdict.optimizer].append(verdict)
        if progress:
            progress(done, len(todo), f"{verdict.optimizer} {verdict.rung}")
    return [_certificate(spec, folder, verdicts[spec.name]) for spec, _ in specs]


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
            yield Verdict(task.rung, task.name, task.options, Status.UNSUPPORTED, 0, reason)
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
                    if (waiting.name, waiting.rung) == (task.name, task.rung):
                        other.cancel()
            yield _result(future, task, seconds)
    finally:
        for pool in pools:
            pool.stop()
            pool.join()


def _prepare(interpreted: bool) -> None:
    """Settings of a worker, before anything imports Triton."""
    os.environ["TRITON_INTERPRET"] = "1" if interpreted else "0"
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _result(future: Future[Verdict], task: Task, seconds: float) -> Verdict:
    """A verdict even when the worker did not live to give one."""

    def failed(status: Status, detail: str) -> Verdict:
        return Verdict(task.rung, task.name, task.options, status, 0, detail, task.seed)

    try:
        return future.result()
    except CancelledError:
        reason = "not run: it did not finish with other options"
        return failed(Status.UNSUPPORTED, reason)
    except TimeoutError:
        return failed(Status.REFUTED, f"did not finish within {seconds:g} s")
    except SystemExit:
        return failed(Status.REFUTED, "a generated file ends the process")
    except pebble.ProcessExpired as error:
        return failed(Status.REFUTED, f"the process died (exit code {error.exitcode})")
    except Exception as error:  # our fault: say so, and never call it a pass
        reason = f"internal error, a bug in stepforge: {type(error).__name__}: {error}"
        return failed(Status.UNSUPPORTED, reason)


def _certificate(spec: Spec, folder: Path, found: list[Verdict]) -> Certificate:
    order = list(RUNGS)
    sets = list(spec.option_sets())

    def position(verdict: Verdict) -> tuple[int, int]:
        return order.index(verdict.rung), sets.index(verdict.options) if verdict.options else 0

    pair = generated.Pair.of(spec, folder)
    files = {"numpy": pair.numpy, "triton": pair.triton}
    hashes = {name: generated.digest(path) for name, path in files.items() if path.is_file()}
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
