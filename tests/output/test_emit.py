"""Files on disk: what is written and removed, and that nobody ever sees half a file."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from catalogue import FEW
from support import ROOT, Command, environment, run_command, stock

from stepforge.backends.registry import BACKENDS, shared
from stepforge.backends.render import origin
from stepforge.language.diagnostics import SpecError
from stepforge.output import emit, manifest
from stepforge.output.manifest import Manifest

PACKAGES = {"__init__.py", *(b.package for b in BACKENDS.values() if b.package)}
SHARED = {"stepforge.json", *PACKAGES, *shared()}


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, and those that a killed build may leave."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".stepforge-")
        and path.name != "stepforge.lock"
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose specs are these."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "specs").mkdir()
    for name in FEW:
        shutil.copy(ROOT / "specs" / f"{name}.toml", folder / "specs")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What a build of several specs writes."""
    out = tmp_path_factory.mktemp("whole")
    emit.apply(emit.changes(map(stock, FEW), out, whole=True))
    return files(out)


def build(out: Path, *names: str, whole: bool = False) -> list[emit.Change]:
    return emit.build([stock(name) for name in names], out, whole)


def test_a_build_writes_one_file_for_every_spec_and_backend(whole: Mapping[str, bytes]) -> None:
    names = {BACKENDS[b].file(name) for b in BACKENDS for name in FEW}
    assert set(whole) == names | SHARED


def test_a_second_build_touches_nothing(tmp_path: Path) -> None:
    build(tmp_path, "adamw", "sgd")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    time.sleep(0.01)
    assert build(tmp_path, "adamw", "sgd") == []
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    build(tmp_path, "adamw", "sgd")
    edited = tmp_path / "numpy" / "sgd.py"
    edited.write_text(edited.read_text() + "# edited\n")
    assert [(c.action, c.path) for c in build(tmp_path, "adamw", "sgd")] == [("update", edited)]
    assert "# edited" not in edited.read_text()


def test_other_line_ends_are_a_difference(tmp_path: Path) -> None:
    build(tmp_path, "lion")
    path = tmp_path / "numpy" / "lion.py"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"\n", b"\r\n"))
    assert [c.action for c in build(tmp_path, "lion")] == ["update"]
    assert path.read_bytes() == good


def test_a_file_that_is_no_text_is_replaced(tmp_path: Path) -> None:
    build(tmp_path, "lion")
    path = tmp_path / "triton" / "lion.py"
    path.write_bytes(b"\xff\xfe\x00")
    assert [c.path for c in build(tmp_path, "lion")] == [path]


def test_orphans_are_removed_in_a_whole_build_only(tmp_path: Path) -> None:
    build(tmp_path, "adamw", "sgd")
    assert build(tmp_path, "adamw") == []
    removed = build(tmp_path, "adamw", whole=True)
    assert {(c.action, str(c.path.relative_to(tmp_path))) for c in removed} == {
        *(("remove", backend.file("sgd")) for backend in BACKENDS.values()),
        ("update", "stepforge.json"),
        ("update", "torch/__init__.py"),
    }
    assert set(files(tmp_path)) == {b.file("adamw") for b in BACKENDS.values()} | SHARED
    assert "sgd" not in (tmp_path / "torch" / "__init__.py").read_text()


def test_the_package_of_classes_lists_what_is_there(tmp_path: Path) -> None:
    build(tmp_path, "adamw")
    package = tmp_path / "torch" / "__init__.py"
    (tmp_path / "torch" / "mine.py").write_text("class Mine(Optimizer):\n")
    for name in ("sgd", "lion"):
        build(tmp_path, name)
    listed = [line for line in package.read_text().splitlines() if line.startswith("from .")]
    assert listed == [
        "from ._runtime import Optimizer",
        "from ._schedule import Schedule",
        "from .adamw import AdamW",
        "from .lion import Lion",
        "from .sgd import SGD",
    ]
    emit.apply(emit.changes([stock("lion")], tmp_path, whole=True, known=["sgd"]))
    assert "adamw" not in package.read_text()
    assert "from .sgd import SGD" in package.read_text()


def test_files_without_our_header_are_never_removed(tmp_path: Path) -> None:
    build(tmp_path, "adamw")
    mine = {
        "numpy/__init__.py": "",
        "numpy/mine.py": "x = 1\n",
        "numpy/notes.txt": "n",
        "triton/copy.py": "\n# Generated by `stepforge build adamw`\n",
        "other/adamw.py": "o",
    }
    for name, text in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "triton" / "binary.py").write_bytes(b"\xff\xfe")
    build(tmp_path, "adamw", whole=True)
    for name, text in mine.items():
        assert (tmp_path / name).read_text() == text
    assert build(tmp_path, "adamw", whole=True) == []
    assert set(mine) | {"triton/binary.py"} <= set(files(tmp_path))


def test_a_diff_goes_from_what_is_there_to_what_should_be(tmp_path: Path) -> None:
    build(tmp_path, "lion")
    path = tmp_path / "numpy" / "lion.py"
    path.write_text(path.read_text().replace("np.sign(c)", "np.tanh(c)"))
    (change,) = emit.changes([stock("lion")], tmp_path, whole=False)
    lines = change.diff().splitlines()
    assert lines[:2] == [f"--- {path}", f"+++ {path} (expected)"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "-    u = np.tanh(c)",
        "+    u = np.sign(c)",
    ]


def test_changes_writes_nothing(tmp_path: Path) -> None:
    assert len(emit.changes([stock("lion")], tmp_path / "out", whole=True)) == len(BACKENDS) + len(
        SHARED
    )
    assert not (tmp_path / "out").exists()


def test_written_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    build(tmp_path, "lion")
    plain = tmp_path / "plain"
    plain.write_text("")
    written = tmp_path / "numpy" / "lion.py"
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_remains_of_a_killed_build_are_removed_when_they_are_old(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    old, new = (tmp_path / "numpy" / f".stepforge-{word}.tmp" for word in ("old", "new"))
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    build(tmp_path, "lion")
    assert not old.exists()
    assert new.exists()


# Failures change nothing.


def test_a_full_disk_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, "adamw")
    (tmp_path / "numpy" / "adamw.py").write_text("old")
    before = files(tmp_path)
    written = 0

    def full(path: Path, text: str, plain: object = emit._aside) -> Path:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")
        return plain(path, text)  # type: ignore[operator,no-any-return]

    monkeypatch.setattr(emit, "_aside", full)
    with pytest.raises(SpecError, match="E007: cannot write the output: no space left on device"):
        build(tmp_path, "adamw", "sgd", "lion")
    assert files(tmp_path) == before
    assert list(tmp_path.rglob(".stepforge-*")) == []


def test_an_output_that_is_a_file_is_one_diagnostic(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    done = command("build", "adamw", "sgd", "--out", out)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "error[E007]: cannot write the output: not a directory"
    assert done.stderr.count("error[") == 1
    assert out.read_text() == "a file"


def test_a_folder_in_the_place_of_a_file_is_one_diagnostic(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "numpy" / "sgd.py").mkdir(parents=True)
    done = command("build", "adamw", "sgd", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("error[E007]") == 1
    assert "sgd.py" in done.stderr
    assert files(tmp_path) == {}


@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write where nobody else may"
)
def test_a_folder_without_permission_is_one_diagnostic(tmp_path: Path) -> None:
    build(tmp_path, "adamw")
    (tmp_path / "triton").chmod(0o555)
    try:
        done = run_command("build", "adamw", "sgd", "--out", tmp_path)
    finally:
        (tmp_path / "triton").chmod(0o755)
    assert done.returncode == 2
    assert "error[E007]: cannot write the output: permission denied" in done.stderr
    assert set(files(tmp_path)) == {f"{b}/adamw.py" for b in BACKENDS} | SHARED


# Interruption and company.


def start(out: Path, *names: str, cwd: Path = ROOT) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stepforge", "build", *names, "--out", str(out)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


OLD = b"# Generated by `stepforge build x` from specs/x.toml (sha256 0000000000000000)\nold\n"
MANIFEST = Manifest("0.0.1", True).text().encode()


KILLED = """
import os, signal, sys
event, left, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def hook(name, args):
    global left
    if name == event and ".stepforge-" in str(args[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv = ["stepforge", "build", "--out", out]
from stepforge.commands.cli import main
main()
"""
"""A build that is killed just before it does something to a file for the n-th time."""


@pytest.mark.parametrize(
    ("event", "share"),
    [("open", 0.6), ("os.chmod", 1), ("os.rename", 0), ("os.rename", 0.7), ("os.rename", 1)],
)
def test_a_build_killed_at_any_moment_leaves_whole_files(
    event: str,
    share: float,
    tmp_path: Path,
    project: Path,
    whole: Mapping[str, bytes],
    command: Command,
) -> None:
    for name in [*whole, "numpy/orphan.py"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(MANIFEST if name == "stepforge.json" else OLD)
    assert origin(OLD.decode())
    number = 1 + int(share * (len(whole) - 1))
    line = [sys.executable, "-c", KILLED, event, str(number), str(tmp_path)]
    killed = subprocess.run(line, cwd=project, env=environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    left = files(tmp_path)
    new = {name for name, content in whole.items() if left[name] == content}
    assert len(new) == (number - 1 if event == "os.rename" else 0)
    assert all(left[name] in (OLD, MANIFEST) for name in left.keys() - new)
    assert command("build", "--out", tmp_path, cwd=project).returncode == 0
    assert files(tmp_path) == dict(whole)


def test_two_builds_at_once_leave_one_whole_result(
    tmp_path: Path, project: Path, whole: Mapping[str, bytes]
) -> None:
    processes = [start(tmp_path, cwd=project) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert files(tmp_path) == dict(whole)
    assert list(tmp_path.rglob(".stepforge-*")) == []


def test_parallel_builds_of_other_specs_lose_nothing(tmp_path: Path) -> None:
    names = ["adamw", "sgd", "lion", "radam"]
    processes = [start(tmp_path, name) for name in names]
    assert [process.wait() for process in processes] == [0] * len(names)
    package = (tmp_path / "torch" / "__init__.py").read_text()
    held = manifest.read(tmp_path)
    assert held is not None
    assert set(held.specs) == set(names)
    for name in names:
        assert f"from .{name} import" in package
    left = emit.changes([stock(name) for name in names], tmp_path, whole=True)
    assert [change.path for change in left] == [tmp_path / manifest.NAME], "it has all specs now"


def test_builds_wait_for_each_other_and_read_what_the_other_wrote(tmp_path: Path) -> None:
    build(tmp_path, "sgd")
    with ThreadPoolExecutor() as pool:
        with emit.locked(tmp_path):
            waiting = pool.submit(build, tmp_path, "lion")
            time.sleep(0.3)
            assert not waiting.done()
            assert not (tmp_path / "numpy" / "lion.py").exists()
            emit.apply(emit.changes([stock("adamw")], tmp_path, whole=False))
        waiting.result(timeout=60)
    listed = (tmp_path / "torch" / "__init__.py").read_text()
    assert all(f"import {name}\n" in listed for name in ("SGD", "AdamW", "Lion"))


def test_a_build_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "WAIT", 0.1)
    with ThreadPoolExecutor() as pool, emit.locked(tmp_path):
        found = pool.submit(build, tmp_path, "lion").exception(timeout=60)
    assert isinstance(found, SpecError)
    assert str(found) == "E023: another build has been writing for 0.1 s"
    assert list(tmp_path.rglob("*.py")) == []
    build(tmp_path, "lion")


def test_the_lock_of_a_killed_build_is_none(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from stepforge.output import emit\n"
        "with emit.locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, env=environment(), check=False).returncode == -9
    assert len(build(tmp_path, "lion")) > 0


def test_nothing_to_do_needs_no_lock(tmp_path: Path) -> None:
    build(tmp_path, "lion")
    with ThreadPoolExecutor() as pool, emit.locked(tmp_path):
        assert pool.submit(build, tmp_path, "lion").result(timeout=60) == []
