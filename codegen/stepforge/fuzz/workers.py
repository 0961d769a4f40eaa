"""Processes that a case may crash or keep busy for ever, and what they say of it."""

from __future__ import annotations

import difflib
import resource
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import pebble

from stepforge.fuzz.front import Built, Fault, build, crash, examine
from stepforge.verify.certificate import Verdict
from stepforge.verify.processes import Pool, out_of_time
from stepforge.verify.run.tasks import Group
from stepforge.verify.run.workers import Pools

SECONDS = 10.0
"""Of processor time, to read, check and build one case."""
MEMORY = 4 << 30
"""Bytes that a process may have for it."""


class Workers:
    """Two pools of processes for the front end, and those of the verifier.

    Strings hash differently in every process, so what depends on the order of a set shows when one
    pool builds what the other one has built.
    """

    def __init__(self, jobs: int, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.pools = [Pool(jobs, _prepare) for _ in range(2)]
        self.rungs = Pools(jobs, jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for pool in self.pools:
            pool.close()
        self.rungs.close()

    def build(self, texts: Sequence[str]) -> list[Built | Fault]:
        """Specs that ought to be good, each built twice; in the order of the texts."""
        first, second = (self.each(build, texts, pool) for pool in (0, 1))
        return [agreed(a, b) for a, b in zip(first, second, strict=True)]

    def examine(self, texts: Sequence[bytes]) -> list[str | Fault]:
        """Texts that may be anything; see `front.examine`."""
        return list(self.each(examine, texts))

    def verdicts(self, groups: Iterable[Group]) -> Iterator[Verdict]:
        """What the rungs say, as it comes."""
        return self.rungs.execute(groups)

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any], pool: int = 0
    ) -> Iterator[Any]:
        """What a function says of every item; a fault where it ends the process, or does not end.

        Args:
            function: Runs in a process of its own.
            items: Its arguments.
            pool: Which of the two pools.
        """
        chosen = self.pools[pool]
        futures = [chosen.schedule(function, [i], self.seconds) for i in items]
        return (self._result(future) for future in futures)

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except Exception as error:
            if late := out_of_time(error, self.seconds):
                return Fault("hang", late)
            if isinstance(error, pebble.ProcessExpired):
                return Fault("the process died", f"exit code {error.exitcode}")
            return crash(error)  # such as a result that cannot be sent back


def agreed(first: Built | Fault, second: Built | Fault) -> Built | Fault:
    """What two processes made of one text."""
    if isinstance(first, Fault) or isinstance(second, Fault):
        return first if isinstance(first, Fault) else second
    for backend, text in first.files.items():
        if text != second.files[backend]:
            both = (text.splitlines(), second.files[backend].splitlines())
            difference = "\n".join(difflib.unified_diff(*both, lineterm=""))
            return Fault("different text on a second build", difference)
    return first


def _prepare() -> None:
    """A text must not take all memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
