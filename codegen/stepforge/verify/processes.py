"""Processes that do not outlive this one, and take their files with them.

However this process ends, its workers end: at its end and after a signal they are stopped, and if
it is killed, the system (Linux) or a thread of theirs ends them. What they write lies in one folder
for each pool, which is removed with the pool.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import pebble

_T = TypeVar("_T")
_SET_PDEATHSIG = 1
_STALE_SECONDS = 3600
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 10
"""A call may wait so many times as long as it may compute: other programs run beside it."""
_MARGIN = 30.0
"""Seconds until a worker is ended that the system was kept from ending."""
_pools: set[Pool] = set()
_commands: set[subprocess.Popen[str]] = set()


class Pool:
    """Worker processes, which are started at once.

    Args:
        jobs: How many.
        prepare: Called in each of them before anything else.
        args: Its arguments.
    """

    def __init__(self, jobs: int, prepare: Callable[..., None], args: Sequence[Any] = ()) -> None:
        self.folder = tempfile.mkdtemp(prefix="stepforge-")
        _pools.add(self)
        self._start = partial(
            pebble.ProcessPool,
            max_workers=jobs,
            context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(os.getpid(), self.folder, prepare, tuple(args)),
        )
        self._pool = self._started()

    def _started(self) -> pebble.ProcessPool:
        pool = self._start()
        with _undisturbed():
            assert pool.active  # starts them
        return pool

    def schedule(
        self, function: Callable[..., _T], args: Sequence[Any], seconds: float, times: int = 1
    ) -> Future[_T]:
        """Has a worker call a function.

        The system ends the worker when the time is over, whatever it does. How much other programs
        compute meanwhile makes no difference.

        A worker that was killed while it had nothing to do, as a system without memory does, takes
        the others with it; then there are new ones.

        Args:
            function: The function.
            args: Its arguments.
            seconds: How long it may compute, in seconds of processor time.
            times: How often it may begin that time anew, by `allow`.
        """
        if not self._pool.active:
            self._stop()
            self._pool = self._started()
        future: Future[_T] = self._pool.schedule(
            _limited,
            args=(function, args, seconds),
            timeout=times * (PATIENCE * seconds + _MARGIN),
        )
        return future

    def _stop(self) -> None:
        self._pool.stop()
        with suppress(AttributeError, OSError):  # sooner than Pebble, which closes pipes first
            for worker in list(self._pool._pool_manager.worker_manager.workers.values()):
                worker.kill()
        self._pool.join()

    def close(self) -> None:
        """Ends the workers, whatever they do, and removes what they wrote."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        _pools.discard(self)


def allow(seconds: float) -> None:
    """Ends this process when it has computed for so many seconds from now; 0 takes that back.

    Processes that it starts do not count, and it is ended as well when it has not come to an end
    after `PATIENCE` times as long.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)


def _limited(function: Callable[..., _T], args: Sequence[Any], seconds: float) -> _T:
    allow(seconds)
    try:
        return function(*args)
    finally:
        allow(0)


def out_of_time(error: BaseException, seconds: float) -> str:
    """How what `Pool.schedule` called ran out of time, or "" if it ended otherwise."""
    number = -error.exitcode if isinstance(error, pebble.ProcessExpired) else 0
    if number == signal.SIGPROF:
        return f"ran out of time after {seconds:g} s of computing"
    if number == signal.SIGALRM or isinstance(error, TimeoutError):
        return f"ran out of time: it has not ended after {PATIENCE * seconds:g} s"
    return ""


@contextmanager
def scratch() -> Iterator[None]:
    """For a while, temporary files of this process lie in a folder that is removed then.

    Triton leaves files behind when it is interrupted.
    """
    _sweep()
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    folder = tempfile.mkdtemp(prefix=f"stepforge-{os.getpid()}-")
    try:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command that `kill` ends, and returns what it printed.

    Raises:
        OSError: It cannot be started.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as process:
        _commands.add(process)
        try:
            out, err = process.communicate()
        finally:
            _commands.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill() -> None:
    """Ends every process at once; who waits for one of them goes on."""
    for worker in multiprocessing.active_children():
        with suppress(OSError):
            worker.kill()
    for command in list(_commands):
        with suppress(OSError):
            command.kill()


@atexit.register
def close() -> None:
    """Closes every pool that is open."""
    for pool in list(_pools):
        with suppress(Exception):
            pool.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds signals back while workers start: half of a worker cannot be ended in order.

    The workers inherit that Ctrl-C waits, until they are ready to ignore it.
    """
    resource_tracker.ensure_running()  # it lets signals through again
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _begin(parent: int, folder: str, prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    """What every worker does first.

    Ctrl-C is for the process that started the workers: it stops them, and `terminate` does so at
    once, even while they are in a compiler.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if os.getppid() != parent:  # it has died meanwhile
        os._exit(1)
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    prepare(*args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _sweep() -> None:
    """Removes the folders of processes that were killed long ago."""
    for path in Path(tempfile.gettempdir()).glob("stepforge-*-*"):
        owner = re.match(r"stepforge-(\d+)-", path.name)
        with suppress(OSError):
            old = time.time() - path.stat().st_mtime > _STALE_SECONDS
            if owner and old and not _runs(int(owner[1])):
                shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
