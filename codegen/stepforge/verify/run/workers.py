"""Worker processes: every group of tasks gets its verdicts, whatever the generated files do.

A generated file may have been edited, so it is foreign code: it may crash, hang, or write where it
should not. Workers of two kinds run it: one with Triton's interpreter, one with its compiler, since
Triton chooses between them when it is imported.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pebble

from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.processes import Pool, allow, out_of_time
from stepforge.verify.run.tasks import Group, run
from stepforge.verify.rungs.task import Task

_T = TypeVar("_T")
SECONDS = 60.0
"""Time limit of one task, in seconds of processor time."""
WORTH = 24
"""Groups of interpreted tasks that are worth one more worker: to start it takes as long as some."""


def execute(
    todo: Iterable[Task | Group], jobs: int, seconds: float = SECONDS
) -> Generator[Verdict, None, None]:
    """Runs tasks in workers of both kinds, which end with them; yields verdicts as they come.

    Args:
        todo: Tasks, or groups of them that share a worker.
        jobs: Workers of each kind.
        seconds: Time limit of each task, in seconds of processor time.
    """
    groups = [_group(one) for one in todo]
    interpreted = sum(not group[0].rung.compiles for group in groups)
    pools = Pools(min(jobs, -(-interpreted // WORTH)), min(jobs, len(groups) - interpreted))
    with closing(pools):
        yield from pools.execute(groups, seconds)


class Pools:
    """Workers of both kinds, which are started when there is something for them to do.

    Args:
        interpreters: Workers with Triton's interpreter.
        compilers: Workers with its compiler.
    """

    def __init__(self, interpreters: int, compilers: int) -> None:
        self._jobs = {True: interpreters, False: compilers}
        self._pools: dict[bool, Pool] = {}

    def close(self) -> None:
        """Ends them, whatever they do."""
        for pool in self._pools.values():
            pool.close()

    def execute(self, todo: Iterable[Task | Group], seconds: float = SECONDS) -> Iterator[Verdict]:
        """Runs tasks; yields verdicts as they come.

        Args:
            todo: Tasks, or groups of them that share a worker.
            seconds: Time limit of each task, in seconds of processor time.
        """
        kinds: dict[bool, list[Group]] = {True: [], False: []}
        for group in map(_group, todo):
            left = []
            for task in group:
                if task.missing:
                    yield run(task)
                else:
                    left.append(task)
            if left:
                kinds[not left[0].rung.compiles].append(tuple(left))
        waiting: dict[Future[list[Verdict]], Group] = {}
        ended: SimpleQueue[Future[list[Verdict]]] = SimpleQueue()

        def start(group: Group) -> None:
            interpreted = not group[0].rung.compiles
            future = self.schedule(interpreted, run_group, [group, seconds], seconds, len(group))
            waiting[future] = group
            future.add_done_callback(ended.put)

        try:
            for group in (*kinds[True], *kinds[False]):
                start(group)
            late: set[tuple[str, str]] = set()
            while waiting:
                future = ended.get()
                group = waiting.pop(future, ())
                try:
                    yield from future.result() if group else ()
                    continue
                except Exception as error:
                    if len(group) == 1:
                        yield _failed(group[0], error, seconds)
                        if out_of_time(error, seconds):
                            late.add(_kind(group[0]))
                # One of several tasks ended the worker: which of them shows when each has its own.
                # What ran out of time is not tried with other options.
                again: list[Group] = [(task,) for task in group] if len(group) > 1 else []
                for other in [f for f, g in waiting.items() if late & {*map(_kind, g)}]:
                    if not other.running() and other.cancel():
                        again.append(waiting.pop(other))
                for group in again:
                    for task in group:
                        if _kind(task) in late:
                            what = "not run: it ran out of time with other options"
                            yield task.verdict(Status.UNSUPPORTED, what, lasting=False)
                    if left := [task for task in group if _kind(task) not in late]:
                        start(tuple(left))
        finally:
            for future in waiting:
                if not future.running():  # a worker that is stopped would be started again
                    future.cancel()

    def schedule(
        self, interpreted: bool, function: Callable[..., _T], args: Sequence[Any], seconds: float,
        times: int = 1,
    ) -> Future[_T]:  # fmt: skip
        """Has a worker call a function.

        Args:
            interpreted: Whether the worker has Triton's interpreter, or its compiler.
            function: The function.
            args: Its arguments.
            seconds: Its time limit, in seconds of processor time.
            times: How often it begins that time anew.
        """
        if interpreted not in self._pools:
            self._pools[interpreted] = Pool(self._jobs[interpreted], _prepare, [interpreted])
        return self._pools[interpreted].schedule(function, args, seconds, times)


def _group(one: Task | Group) -> Group:
    return (one,) if isinstance(one, Task) else one


def run_group(group: Sequence[Task], seconds: float) -> list[Verdict]:
    """Runs tasks one after the other in this worker, each with its own time.

    Args:
        group: The tasks.
        seconds: Time limit of each task, in seconds of processor time.
    """
    found = []
    for task in group:
        allow(seconds)
        try:
            found.append(run(task))
        except Exception as error:
            found.append(_failed(task, error, seconds))
    return found


def _kind(task: Task) -> tuple[str, str]:
    return task.spec.name, task.rung.number


def _prepare(interpreted: bool) -> None:
    """Settings of a worker, before anything imports Triton.

    What a generated file prints is not ours to show.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.environ["TRITON_INTERPRET"] = "1" if interpreted else "0"
    for name, value in {"OMP_NUM_THREADS": "1", "MLIR_DISABLE_MULTITHREADING": "1"}.items():
        os.environ.setdefault(name, value)  # there is a worker for every core
    gc.set_threshold(100_000, 20, 20)  # terms and registers are many, and have no cycles


def _failed(task: Task, error: Exception, seconds: float) -> Verdict:
    """What is said of a task that has no verdict, which is never a pass."""
    return task.verdict(*reason(error, seconds), lasting=False)


def reason(error: Exception, seconds: float) -> tuple[Status, str]:
    """What is said of a call in a worker that has no result.

    A process that ends itself was told to by the file that it ran. Whose fault it is where the
    system ends it, nobody knows, and every other exception is a fault of this package.

    Args:
        error: What the future raised.
        seconds: The time limit, in seconds of processor time.
    """
    if late := out_of_time(error, seconds):
        return Status.UNSUPPORTED, f"{late}; --time-limit allows more"
    if isinstance(error, pebble.ProcessExpired):
        if error.exitcode > 0:
            return Status.REFUTED, f"the process died (exit code {error.exitcode})"
        name = str(error.exitcode)
        with suppress(ValueError):
            name = signal.Signals(-error.exitcode).name
        return Status.UNSUPPORTED, f"the process died ({name}), as without memory"
    places = [f for f in traceback.extract_tb(error.__traceback__) if _OURS in f.filename]
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    what = f"{type(error).__name__}: {error}"
    return Status.UNSUPPORTED, f"a fault in the verifier, please report it: {what}{where}"


_OURS = f"{Path(__file__).parents[2]}{os.sep}"
