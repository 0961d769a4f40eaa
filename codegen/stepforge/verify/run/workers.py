"""Worker processes: every group of tasks gets its verdicts, whatever the generated files do.

A generated file may have been edited, so it is foreign code: it may crash, hang, or write where it
should not. Workers of two kinds run it: one with Triton's interpreter, one with its compiler, since
Triton chooses between them when it is imported.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from contextlib import closing
from typing import Any, TypeVar

import pebble

from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.processes import Pool
from stepforge.verify.run.tasks import Group, run
from stepforge.verify.rungs.task import Task

_T = TypeVar("_T")
SECONDS = 60
"""Time limit of one group of tasks."""
WORTH = 24
"""Groups of interpreted tasks that are worth one more worker: to start it takes as long as some."""


def execute(
    todo: Iterable[Task | Group], jobs: int, seconds: float = SECONDS
) -> Generator[Verdict, None, None]:
    """Runs tasks in workers of both kinds, which end with them; yields verdicts as they come.

    Args:
        todo: Tasks, or groups of them that share a worker.
        jobs: Workers of each kind.
        seconds: Time limit of each group.
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
            seconds: Time limit of each group.
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
        futures: dict[Future[list[Verdict]], Group] = {}
        try:
            for interpreted, groups in kinds.items():
                for group in groups:
                    futures[self.schedule(interpreted, run_group, [group], seconds)] = group
            for future in as_completed(futures):
                group = futures[future]
                if not future.cancelled() and isinstance(future.exception(), TimeoutError):
                    for other, waiting in futures.items():
                        if _alike(waiting[0], group[0]):
                            other.cancel()
                yield from _results(future, group, seconds)
        finally:
            for future in futures:
                if not future.running():  # a worker that is stopped would be started again
                    future.cancel()

    def schedule(
        self, interpreted: bool, function: Callable[..., _T], args: Sequence[Any], seconds: float
    ) -> Future[_T]:
        """Has a worker call a function.

        Args:
            interpreted: Whether the worker has Triton's interpreter, or its compiler.
            function: The function.
            args: Its arguments.
            seconds: Its time limit.
        """
        if interpreted not in self._pools:
            self._pools[interpreted] = Pool(self._jobs[interpreted], _prepare, [interpreted])
        return self._pools[interpreted].schedule(function, args, seconds)


def _group(one: Task | Group) -> Group:
    return (one,) if isinstance(one, Task) else one


def run_group(group: Sequence[Task]) -> list[Verdict]:
    """Runs tasks one after the other in this process."""
    return [run(task) for task in group]


def _alike(a: Task, b: Task) -> bool:
    return (a.spec.name, a.rung.number) == (b.spec.name, b.rung.number)


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


def _results(future: Future[list[Verdict]], group: Group, seconds: float) -> list[Verdict]:
    """Verdicts even when the worker did not live to give them."""
    status, what = Status.REFUTED, ""
    try:
        return future.result()
    except CancelledError:
        status, what = Status.UNSUPPORTED, "not run: it did not finish with other options"
    except TimeoutError:
        what = f"did not finish within {seconds:g} s"
    except pebble.ProcessExpired as error:
        what = f"the process died (exit code {error.exitcode})"
    except Exception as error:  # our fault: say so, and never call it a pass
        status = Status.UNSUPPORTED
        what = f"internal error, a bug in stepforge: {type(error).__name__}: {error}"
    return [task.verdict(status, what, lasting=False) for task in group]
