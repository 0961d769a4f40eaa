"""A folder of generated code never stands in for NumPy, torch or Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, Command, environment, stock

from stepforge.backends.registry import BACKENDS
from stepforge.output import emit, shadow


def build(out: Path) -> Path:
    emit.build([stock("lion")], out, whole=False)
    return out


@pytest.mark.parametrize("out", [".", "../here", "{}"])
def test_the_working_directory_is_refused(out: str, tmp_path: Path, command: Command) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = command("build", "lion", "--out", out.format(here), cwd=here)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error[E021]: cannot build into this folder: it is the working directory, which Python "
        "imports from, and it holds numpy, torch, triton\n"
    )
    assert "--out " in done.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("where", ["path", "variable", "link"])
def test_a_folder_that_python_imports_from_is_refused(
    where: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    out = place
    if where == "variable":
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(place)]))
    else:
        monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    if where == "link":
        out = tmp_path / "link"
        out.symlink_to(place)
    done = command("build", "lion", "--out", out)
    assert done.returncode == 2
    assert "error[E021]: cannot build into this folder: it is on Python's path" in done.stderr
    assert list(place.iterdir()) == []
    below = command("build", "lion", "--out", out / "generated")
    assert below.returncode == 0, below.stderr


@pytest.mark.parametrize("name", ["numpy", "torch", "triton"])
def test_a_folder_called_like_a_real_package_is_refused_outside_of_a_package(
    name: str, tmp_path: Path, command: Command
) -> None:
    done = command("build", "lion", "--out", name, cwd=tmp_path)
    assert done.returncode == 2
    assert f"error[E021]: cannot build into this folder: `import {name}` would" in done.stderr
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    done = command("build", "lion", "--out", f"package/{name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sign", ["pyproject.toml", "setup.py", ".git", "src"])
def test_the_top_of_a_project_is_a_warning(sign: str, tmp_path: Path, command: Command) -> None:
    out = tmp_path / ("src" if sign == "src" else "project")
    out.mkdir()
    if sign != "src":
        (out / sign).touch()
    done = command("build", "lion", "--out", out)
    assert done.returncode == 0
    assert done.stderr.startswith("warning[W301]: if Python imports from this folder, its `torch`")
    assert "warning" not in command("build", "lion", "--out", out / "generated").stderr


def test_reading_such_a_folder_is_allowed(tmp_path: Path, command: Command) -> None:
    out = build(tmp_path / "out")
    for arguments in (["build", "--check", "--out", "."], ["build", "--check"]):
        done = command(*arguments, cwd=out)
        assert (done.returncode, done.stderr) == (0, "1 spec: everything is up to date\n")
    done = command("build", cwd=out)
    assert done.returncode == 2
    assert "run the command in the folder above, with `--out out`" in done.stderr
    assert not (out / "generated").exists()


def test_generated_folders_are_taken_off_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = build(tmp_path / "new"), build(tmp_path / "old")
    for path in [old / "stepforge.json", *old.glob("*/__init__.py")]:
        if path.parent.name != "torch":
            path.unlink()  # what versions without a manifest wrote
    other = tmp_path / "other"
    (other / "numpy").mkdir(parents=True)
    monkeypatch.chdir(new)
    monkeypatch.setattr(shadow, "_aside", [])
    monkeypatch.setattr(sys, "path", ["", str(new), str(old), str(other), "/nowhere", "\0"])
    shadow.step_aside()
    assert sys.path == [str(other), "/nowhere", "\0"]


@pytest.mark.parametrize(
    "arguments", [["verify", "--jobs", "1", "--no-cache"], ["show", "lion", "--as", "ttir"]]
)
def test_the_command_and_its_workers_use_the_real_packages(
    arguments: list[str], tmp_path: Path
) -> None:
    """In the folder itself, with the folder on the path, whose packages have their names."""
    out = tmp_path / "out"
    emit.build([stock("lion")], out, whole=False)
    assert all((out / name / "__init__.py").is_file() for name in ("numpy", "torch", "triton"))
    path = os.pathsep.join([str(out), str(ROOT / "codegen")])
    done = subprocess.run(
        [sys.executable, "-m", "stepforge", *arguments],
        cwd=out, env=environment({"PYTHONPATH": path}), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# The folder is a package like any other.


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("project") / "package"
    place.mkdir()
    (place / "__init__.py").touch()
    build(place / "optim")
    return place


def test_every_folder_is_found_without_namespaces(package: Path) -> None:
    setuptools = pytest.importorskip("setuptools")
    found = set(setuptools.find_packages(str(package.parent)))
    assert found == {
        "package",
        "package.optim",
        *(f"package.optim.{n}" for n, b in BACKENDS.items() if b.package),
    }


def test_importing_the_top_imports_nothing_heavy(package: Path) -> None:
    code = (
        "import sys, package.optim, package.optim.numpy, package.optim.triton\n"
        "import package.optim.multi_tensor\n"
        "print({'numpy', 'torch', 'triton'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_type_checkers_take_the_package(package: Path) -> None:
    arguments = ["--strict", "--follow-imports=skip", "--ignore-missing-imports", "--cache-dir="]
    arguments[-1] += os.devnull
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, "package"],
        cwd=package.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_pytest_imports_every_module_for_its_doctests(package: Path) -> None:
    ignored = [f"--ignore=package/optim/{b}" for b in BACKENDS if b != "numpy"]  # slow to import
    arguments = ["-p", "no:cacheprovider", "-q", "--doctest-modules", *ignored]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "package"],
        cwd=package.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stdout  # there are none, and no module is an error
    assert "no tests ran" in done.stdout
