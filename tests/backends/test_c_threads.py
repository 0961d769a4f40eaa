"""The threads of the C files: the same bits for any number of them, callers at once, and forks."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import stock

from stepforge.output import emit

SIZES = (1, 511, 513, 32767, 32769, 65535, 65536, 65537, 131072, 131073, 500_003)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("threads")
    emit.build([stock("adamw")], made / "threaded", whole=True, backends=("cpu",))
    return made


@pytest.fixture
def adamw(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.syspath_prepend(str(folder))
    import threaded.cpu.adamw  # type: ignore[import-not-found]

    return threaded.cpu.adamw


def tensors(n: int, dtype: Any, shift: int, seed: int = 0) -> list[Any]:
    """p, g, m and v; a shift of one byte leaves none at its natural place."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(4):
        values = np.abs(rng.normal(0, 1, n)).astype(dtype)
        place = np.empty(values.nbytes + 64, np.uint8)
        array = place[shift : shift + values.nbytes].view(dtype)
        array[:] = values
        made.append(array)
    return made


def stepped(adamw: Any, n: int, dtype: Any, threads: int | None, shift: int = 0) -> bytes:
    p, g, m, v = tensors(n, dtype, shift)
    for t in (1, 2):
        adamw.step(p, g, {"m": m, "v": v}, t, threads=threads)
    return b"".join(x.tobytes() for x in (p, m, v))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("n", SIZES)
def test_every_number_of_threads_gives_the_same_bits(n: int, dtype: str, adamw: Any) -> None:
    one = stepped(adamw, n, dtype, 1)
    size = int(dtype[1])
    for threads in (2, 3, 7):
        assert stepped(adamw, n, dtype, threads) == one
    assert stepped(adamw, n, dtype, 3, shift=size) == one  # no line of the cache begins there
    assert stepped(adamw, n, dtype, 1, shift=3 * size) == one


def test_two_threads_of_python_step_at_once(adamw: Any) -> None:
    wanted = stepped(adamw, 300_000, "f4", 1)
    wrong: list[bool] = []

    def work() -> None:
        for _ in range(20):
            if stepped(adamw, 300_000, "f4", 3) != wanted:
                wrong.append(True)

    started = [threading.Thread(target=work) for _ in range(3)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert not wrong


FORKS = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from threaded.cpu import adamw

def stepped():
    p, g = np.ones(300_000, "f"), np.full(300_000, 0.5, "f")
    state = adamw.init(p)
    adamw.step(p, g, state, 1, threads=4)
    return p

wanted = stepped()
ends = threading.Event()
def work():
    while not ends.is_set():
        stepped()
other = threading.Thread(target=work)
other.start()
for _ in range(10):
    child = os.fork()  # while threads work, and one of Python's is within a step
    if child == 0:
        signal.alarm(60)
        os._exit(0 if (stepped() == wanted).all() and (stepped() == wanted).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
ends.set()
other.join()
assert (stepped() == wanted).all()
"""


def test_a_child_of_a_process_with_threads_steps_and_ends(folder: Path, adamw: Any) -> None:
    stepped(adamw, 10, "f4", 1)  # it is compiled
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(folder)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


COUNTS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from threaded.cpu import adamw
p = np.ones(2_000_000, "f")
adamw.step(p, p.copy(), adamw.init(p), 1)
print(len(list(__import__("pathlib").Path("/proc/self/task").iterdir())))
"""


@pytest.mark.parametrize("given", ["1", "2", "5", "5,3"])
def test_omp_num_threads_is_how_many_there_are(
    given: str, folder: Path, adamw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped(adamw, 10, "f4", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-c", COUNTS, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(given[0])


@pytest.mark.parametrize("given", ["", "0", "-1", "many"])
def test_without_a_number_there_are_as_many_as_processors(
    given: str, adamw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from threaded.cpu import _library

    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert _library.default_threads() == len(os.sched_getaffinity(0))
