"""Which files can be looked at: by their meaning, each for itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import ROOT, Command, stock

from stepforge import __version__
from stepforge.backends.registry import BACKENDS, shared
from stepforge.output import emit, manifest
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.files.inspection import Inspection, inspect, same_meaning
from stepforge.verify.run.tasks import groups
from stepforge.verify.rungs.levels import Level
from verify.support import run, task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    emit.build([stock("lion")], tmp_path, whole=False)
    return tmp_path


def look(folder: Path) -> Inspection:
    return inspect(stock("lion"), folder, manifest.read(folder))


def aged(folder: Path, version: str = "0.0.1") -> None:
    """Makes the folder one of another version, which wrote the files as they are now."""
    held = manifest.read(folder)
    assert held is not None
    files = {file: manifest.sha256((folder / file).read_bytes()) for file in held.files}
    text = manifest.Manifest(version, held.everything, held.specs, files).text()
    (folder / manifest.NAME).write_text(text)


def test_what_build_wrote_is_as_built(folder: Path) -> None:
    found = look(folder)
    assert (found.verdict.status, found.verdict.detail) == (Status.TESTED, "as built")
    assert (found.launchers, found.runs) == (LAUNCHERS, True)


# Meaning.


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("x = 1\n", "x   =  (1)  # one\n", True),
        ('"""Doc."""\nx = 1\n', '"""Another."""\nx = 1\n', True),
        ("def f():\n    '''D.'''\n    return 1\n", "def f():\n\n    return 1\n", True),
        ("import a\nimport b\nx = 1\n", "import b, a\nx = 1\n", True),
        ("from m import a, b\n", "from m import (\n    b,\n    a,\n)\n", True),
        ("x = 1\n", "x = 1.0\n", False),
        ("x = a + b\n", "x = b + a\n", False),
        ("x = a + b + c\n", "x = a + (b + c)\n", False),
        ("import a\nx = 1\nimport b\n", "import b\nx = 1\nimport a\n", False),
        ("from m import a\n", "from n import a\n", False),
        ("from m import a\n", "from .m import a\n", False),
        ("import a as x\n", "import a as y\n", False),
        ("f('text')\n", "f('another')\n", False),
        ("x = 1\n", "x = \n", False),
        ("x = \n", "x  = \n", False),
        ("x = \n", "x = \n", True),
        ("(" * 5000, "(" * 5000 + " ", False),
    ],
)
def test_layout_comments_and_docstrings_have_no_meaning(a: str, b: str, same: bool) -> None:
    assert same_meaning(a, b) is same


def formatted(folder: Path, *arguments: str) -> None:
    for path in folder.rglob("*.py"):
        path.write_text(path.read_text().replace("# fmt: off\n", ""))
    before = [path.read_text() for path in sorted(folder.rglob("*.py"))]
    command = [sys.executable, "-m", "ruff", *arguments, str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    assert before != [path.read_text() for path in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("width", ["88", "50"])
def test_a_formatter_changes_nothing_that_is_verified(width: str, folder: Path) -> None:
    formatted(folder, "format", "--isolated", "--line-length", width)
    found = look(folder)
    assert (found.verdict.status, found.verdict.detail) == (Status.TESTED, "as built")
    assert found.launchers == LAUNCHERS
    changed = {c.path.name for c in emit.changes([stock("lion")], folder, whole=False)}
    assert "lion.py" in changed, "`build --check` still tells texts apart"


def test_a_formatted_kernel_passes_the_rungs_that_read_its_lines(folder: Path) -> None:
    formatted(folder, "format", "--isolated", "--line-length", "50")
    for verdict in run(*(replace(task(r, folder, "lion"), brief=True) for r in ("R2", "R3"))):
        assert verdict.status.passed, verdict


def test_another_order_of_imports_has_the_same_meaning(folder: Path) -> None:
    path = folder / "torch" / "lion.py"
    first, second = "from ..numpy import lion as reference\n", "from ._runtime import"
    text = path.read_text()
    assert first in text
    head, rest = text.replace(first, "").split(second)
    line, _, body = rest.partition("\n")
    path.write_text(f"{head}{second}{line}\n{first}{body}")
    assert look(folder).verdict.detail == "as built"


def test_a_licence_above_the_header_is_no_other_origin(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        path.write_text(f"# Copyright of somebody.\n#\n{path.read_text()}")
    assert look(folder).verdict.detail == "as built"


def test_a_comment_in_the_spec_makes_no_file_stale(folder: Path, tmp_path: Path) -> None:
    from stepforge.project.loading import load

    path = tmp_path / "own" / "lion.toml"
    path.parent.mkdir()
    text = (ROOT / "specs" / "lion.toml").read_text()
    path.write_text(f"# A comment.\n{text}")
    held = manifest.read(folder)
    assert inspect(load(path)[0], folder, held).verdict.detail == "as built"
    path.write_text(text.replace("sign(c)", "2*sign(c)"))
    found = inspect(load(path)[0], folder, held)
    assert found.verdict.status is Status.REFUTED
    assert "is stale" in found.verdict.detail
    assert not found.runs


# Every kernel for itself.


@pytest.mark.parametrize(
    "file", ["torch/lion.py", *(file for file in shared() if file.startswith("torch/"))]
)
@pytest.mark.parametrize("how", ["edited", "missing", "no text"])
def test_whatever_the_class_looks_like_kernels_are_verified(
    file: str, how: str, folder: Path
) -> None:
    path = folder / file
    if how == "edited":
        path.write_text(path.read_text() + "edited = True\n")
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\xff")
    found = look(folder)
    assert found.verdict.status is Status.REFUTED
    assert str(path) in found.verdict.detail
    assert found.launchers == LAUNCHERS
    assert found.runs


@pytest.mark.parametrize("backend", LAUNCHERS)
def test_a_kernel_that_is_not_whole_leaves_the_other(backend: str, folder: Path) -> None:
    (folder / backend / "lion.py").unlink()
    found = look(folder)
    assert found.verdict.status is Status.REFUTED
    assert found.launchers == tuple(b for b in LAUNCHERS if b != backend)


def test_without_a_reference_nothing_is_compared(folder: Path) -> None:
    (folder / "numpy" / "lion.py").write_text("")
    found = look(folder)
    assert (found.launchers, found.runs) == ((), False)


def test_every_fault_is_named(folder: Path) -> None:
    (folder / "triton" / "lion.py").unlink()
    (folder / "torch" / "_runtime.py").unlink()
    detail = look(folder).verdict.detail
    assert "triton/lion.py is missing" in detail
    assert "_runtime.py is missing" in detail


# Folders of other versions.


@pytest.mark.parametrize(
    ("file", "launchers"),
    [("torch/_runtime.py", LAUNCHERS), ("triton/lion.py", ("multi_tensor",))],
)
def test_what_another_version_wrote_otherwise_cannot_be_compared(
    file: str, launchers: tuple[str, ...], folder: Path
) -> None:
    path = folder / file
    path.write_text(path.read_text() + "another = True\n")
    assert look(folder).verdict.status is Status.REFUTED
    aged(folder)
    found = look(folder)
    assert (found.verdict.status, found.launchers) == (Status.UNSUPPORTED, launchers)
    assert f"{path} differs from what build writes: the folder was built by stepforge 0.0.1" in (
        found.verdict.detail
    )
    assert "run `stepforge build`" in found.verdict.detail


@pytest.mark.usefixtures("_pretended")
def test_a_folder_of_another_version_is_verified_where_this_one_writes_the_same(
    folder: Path, command: Command
) -> None:
    aged(folder)
    line = f"{folder} was built by stepforge 0.0.1, this is {__version__}: build it anew"
    assert command("verify", "--generated", folder).stderr == f"{line}\n"
    done = command("verify", "--generated", folder, "--level", "fast", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["notes"] == [line]
    (certificate,) = json.loads(done.stdout)["results"]
    assert certificate["optimizer"] == "lion"
    assert certificate["kernels"] == list(LAUNCHERS)
    rungs = {verdict["rung"] for verdict in certificate["verdicts"]}
    assert rungs == {"files", *(r.number for r in verify.rungs(stock("lion"), Level.fast))}


# Folders with some of the backends.


def test_a_folder_is_whole_with_what_it_was_built_for(tmp_path: Path) -> None:
    emit.build([stock("lion")], tmp_path, whole=False, backends=("numpy", "triton"))
    found = look(tmp_path)
    assert (found.verdict.status, found.launchers) == (Status.TESTED, ("triton",))
    shutil.rmtree(tmp_path / "triton")
    assert look(tmp_path).verdict.status is Status.REFUTED
    assert inspect(stock("lion"), tmp_path).verdict.status is Status.REFUTED  # no manifest: all


@pytest.mark.parametrize("level", Level)
def test_without_kernels_the_reference_is_verified(level: Level, tmp_path: Path) -> None:
    spec = stock("adamw")
    found = {
        t.rung.number for group in groups(spec, tmp_path, 0, level, backends=()) for t in group
    }
    assert found == {"R0", "R1", "R3"} | ({"R8"} if level is not Level.fast else set())
    emit.build([spec], tmp_path, whole=False, backends=("numpy",))
    todo = (t for g in groups(spec, tmp_path, 0, Level.fast, backends=()) for t in g)
    work = next(task for task in todo if task.rung.number == "R3")
    (verdict,) = run(work)
    assert (verdict.status, verdict.values > 0) == (Status.PROVED, True)


@pytest.mark.usefixtures("_pretended")
def test_a_kernel_that_the_folder_does_not_have_is_no_pass(
    tmp_path: Path, command: Command
) -> None:
    emit.build([stock("lion")], tmp_path, whole=False, backends=("numpy",))
    done = command("verify", "--generated", tmp_path, "--kernel", "triton", "--level", "fast")
    assert done.returncode == 1
    assert "the folder has no kernel in triton that can be looked at" in done.stdout
    assert set(BACKENDS) > set(manifest.read(tmp_path).backends)  # type: ignore[union-attr]
