"""Whatever ends a command, it leaves no process, no temporary file and no hidden cursor behind.

Nothing here depends on how fast the machine is: deadlines are generous, and what is waited for is
that the process group of the command is empty.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support import ROOT, environment

from stepforge.verify import processes

PATIENCE = 60
VERIFY = ("verify", "rmsprop", "--jobs", "1", "--no-cache")
FUZZ = ("fuzz", "--count", "30", "--ill-formed", "0", "--jobs", "1", "--keep", "kept")


def until(condition: Callable[[], bool]) -> bool:
    """Waits for something; whether it came to be."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def members(group: int) -> list[tuple[int, str]]:
    """Processes of a group that still run, with their command lines; the dead ones do not count."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            number = int(folder.name)
            status, _, its_group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and status not in "ZX":
                found.append((number, (folder / "cmdline").read_text()))
    return found


def workers(group: int) -> list[tuple[int, str]]:
    return [m for m in members(group) if "multiprocessing-fork" in m[1]]


@contextmanager
def started(
    folder: Path, *arguments: str, stderr: int = subprocess.PIPE, default: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process group of its own, with a folder of its own for temporary files."""

    def prepare() -> None:
        # What starts in the background of a shell ignores Ctrl-C, and so do its children.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if default else signal.SIG_IGN)

    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepforge", *arguments],
        cwd=folder, env=environment({"TMPDIR": str(folder / "tmp"), "TERM": "xterm"}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
        preexec_fn=prepare,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the generated files of the catalogue."""
    (tmp_path / "generated").symlink_to(ROOT / "generated")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "number", "status"),
    [
        (VERIFY, signal.SIGINT, 130),
        (VERIFY, signal.SIGTERM, 143),
        (FUZZ, signal.SIGINT, 130),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_signal_ends_the_command_and_its_workers(
    command: tuple[str, ...], number: signal.Signals, status: int, folder: Path
) -> None:
    with started(folder, *command) as process:
        assert until(lambda: bool(workers(process.pid)))
        assert list((folder / "tmp").iterdir())
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert until(lambda: not members(process.pid))
    assert process.returncode == status
    assert (out, err.decode()) == (b"", f"interrupted by {number.name}\n")
    assert list((folder / "tmp").iterdir()) == []


def test_ctrl_c_for_the_whole_group_is_the_same(folder: Path) -> None:
    with started(folder, *VERIFY, "--json") as process:
        assert until(lambda: bool(workers(process.pid)))
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert until(lambda: not members(process.pid))
    assert process.returncode == 130
    assert err == b""
    document = json.loads(out)
    assert (document["exit"], document["results"]) == (130, [])
    assert [d["code"] for d in document["diagnostics"]] == ["E092"]
    assert list((folder / "tmp").iterdir()) == []


def test_further_signals_do_not_disturb_the_end(folder: Path) -> None:
    with started(folder, *VERIFY) as process:
        assert until(lambda: bool(workers(process.pid)))
        while process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
                process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        _, err = process.communicate(timeout=PATIENCE)
        assert until(lambda: not members(process.pid))
    # One that comes when Python itself is leaving, and everything is done, ends it as it is.
    assert process.returncode in (130, 143, -signal.SIGINT, -signal.SIGTERM)
    assert b"Traceback" not in err
    assert list((folder / "tmp").iterdir()) == []


def test_workers_do_not_outlive_a_command_that_is_killed(folder: Path) -> None:
    with started(folder, *VERIFY) as process:
        assert until(lambda: bool(workers(process.pid)))
        process.kill()
        process.wait(timeout=PATIENCE)
        assert until(lambda: not members(process.pid))


def test_what_ignores_ctrl_c_goes_on_ignoring_it(folder: Path) -> None:
    """As a command in the background of a shell, or under nohup, does."""
    with started(folder, "build", "lion", "--out", "made", default=False) as process:
        for number in (signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        assert process.wait(timeout=PATIENCE) == 0
    assert (folder / "made" / "numpy" / "lion.py").exists()


@pytest.mark.parametrize("gone", [False, True], ids=["terminal", "terminal that is gone"])
def test_the_cursor_is_shown_again(gone: bool, folder: Path) -> None:
    leader, follower = pty.openpty()
    with started(folder, *VERIFY, stderr=follower) as process:
        os.close(follower)
        text = b""
        while b"\x1b[?25l" not in text:
            text += os.read(leader, 4096)
        assert until(lambda: bool(workers(process.pid)))
        if gone:
            os.close(leader)
        process.send_signal(signal.SIGHUP)
        while not gone:
            try:
                text += os.read(leader, 4096)
            except OSError:
                os.close(leader)
                break
        assert process.wait(timeout=PATIENCE) == 129
        assert until(lambda: not members(process.pid))
    assert gone or text.count(b"\x1b[?25l") == text.count(b"\x1b[?25h")
    assert list((folder / "tmp").iterdir()) == []


def test_what_other_libraries_leave_behind_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton removes its temporary files itself, but not when it is interrupted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def interrupted() -> None:
        with processes.scratch():
            handle, name = tempfile.mkstemp()
            os.close(handle)
            assert os.environ["TMPDIR"] == tempfile.gettempdir() == os.path.dirname(name)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(tmp_path)


def test_folders_of_processes_that_were_killed_are_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    for name in (f"{done.pid}-a", f"{done.pid}-b", f"{os.getpid()}-c", "d-e"):
        (tmp_path / f"stepforge-{name}").mkdir()
        if not name.endswith("b"):
            os.utime(tmp_path / f"stepforge-{name}", (0, 0))
    with processes.scratch():
        pass
    left = {path.name.rsplit("-", 1)[1] for path in tmp_path.iterdir()}
    assert left == {"b", "c", "e"}, "one is young, one belongs to a process that runs"


def test_a_command_that_is_run_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "active_children", list)  # other tests' workers live on
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(processes.run, [sys.executable, "-c", "input() or exit()"])
        assert running.result().returncode == 1, "there is nothing to read"
        running = pool.submit(processes.run, [sys.executable, "-c", "import time; time.sleep(600)"])
        assert until(lambda: bool(processes._commands))
        processes.kill()
        assert running.result(timeout=PATIENCE).returncode == -signal.SIGKILL
