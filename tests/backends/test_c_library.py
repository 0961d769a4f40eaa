"""`_library.py`: compiled on first use and kept, and what is said where that cannot be done."""

from __future__ import annotations

import builtins
import errno
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import stock

from stepforge.output import emit

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from optim.cpu import _library
_library.load("sgd")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package `optim`."""
    made: Path = tmp_path_factory.mktemp("package")
    emit.build([stock("sgd"), stock("lion")], made / "optim", whole=True, backends=("cpu",))
    return made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where libraries are kept; -O0 compiles fast."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STEPFORGE_CFLAGS", "-O0")
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "cache" / "stepforge" / "c"


@pytest.fixture
def library(folder: Path, cache: Path) -> Any:
    return fresh(folder)


def fresh(folder: Path) -> Any:
    """The module as a new process has it."""
    path = folder / "optim" / "cpu" / "_library.py"
    spec = importlib.util.spec_from_file_location("_library_in_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calls(library: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is compiled from here on."""
    found: list[Any] = []
    original = library.compile

    def compile(sources: Any, out: Any) -> None:
        found.append(sources)
        original(sources, out)

    monkeypatch.setattr(library, "compile", compile)
    return found


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


def fails(library: Any, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load` says why, and does not try again."""
    tried = []
    original = library._library

    def again(name: str) -> Any:
        tried.append(name)
        return original(name)

    monkeypatch.setattr(library, "_library", again)
    for _ in range(2):
        with pytest.raises(library.Unavailable, match=match):
            library.load("sgd")
    assert tried == ["sgd"]


def compiler(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that is a script of the shell."""
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


def test_a_library_is_compiled_once_and_kept(
    library: Any, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = calls(library, monkeypatch)
    assert library.load("sgd") is library.load("sgd")
    assert len(done) == 1
    (entry,) = entries(cache)
    assert {path.name for path in entry.iterdir()} == {"step.so", "sha256"}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    later = fresh(folder)
    done = calls(later, monkeypatch)
    later.load("sgd")
    assert done == []
    later.load("lion")
    assert len(done) == 1
    assert len(entries(cache)) == 2


# Compilers.


def test_no_compiler(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fails(library, "no C compiler: neither cc, gcc nor clang", monkeypatch)


def test_a_compiler_that_cc_names_and_is_not_there(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler-here -m64")
    fails(library, "no compiler no-such-compiler-here, which CC names", monkeypatch)


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("echo it is broken >&2; exit 3", "failed: it is broken"),
        ("exit 1", "compiler failed$"),
        ("exit 0", "compiler failed$"),  # it made nothing
        ("kill -SEGV $$", f"ended by signal {signal.SIGSEGV.value}"),
        (r"printf '\377\n' >&2; exit 1", "failed"),
    ],
)
def test_a_compiler_that_fails(
    script: str, match: str, library: Any, cache: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    compiler(script, tmp_path, monkeypatch)
    fails(library, match, monkeypatch)
    assert entries(cache) == []


def test_a_compiler_that_hangs(
    library: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler("exec sleep 60", tmp_path, monkeypatch)
    monkeypatch.setattr(library, "SECONDS", 0.3)
    before = time.monotonic()
    fails(library, "has not ended after 0.3 seconds", monkeypatch)
    assert time.monotonic() - before < 30
    assert entries(cache) == []


def test_a_compiler_whose_child_hangs(
    library: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gcc's does: the driver is ended, and its child holds the pipes."""
    compiler("sleep 20; true", tmp_path, monkeypatch)
    monkeypatch.setattr(library, "SECONDS", 0.3)
    before = time.monotonic()
    fails(library, "has not ended after 0.3 seconds", monkeypatch)
    assert time.monotonic() - before < 15


def test_a_file_that_cannot_be_started(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "compiler"
    path.write_bytes(b"\x7fELF nothing")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    fails(library, "cannot be started|failed", monkeypatch)


@pytest.mark.parametrize(("name", "text"), [("CC", "cc '"), ("STEPFORGE_CFLAGS", "-O1 '")])
def test_words_that_the_shell_would_not_read(
    name: str, text: str, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    fails(library, f"{name} ", monkeypatch)


# The folder.


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("call", ["mkdir", "rename", "write_text"])
def test_a_folder_that_cannot_be_written(
    number: int, call: str, library: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root, whom permissions do not bind."""

    def refuse(*args: Any, **keywords: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, call, refuse)
    match = "cannot be written" if call == "rename" else os.strerror(number)
    fails(library, match, monkeypatch)
    assert not cache.exists() or entries(cache) == []


def test_a_full_disk_while_the_compiler_writes(
    library: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(
        "echo ld: final link failed: No space left on device >&2; exit 1", tmp_path, monkeypatch
    )
    fails(library, "No space left on device", monkeypatch)
    assert entries(cache) == []


def test_a_folder_of_another_user(
    library: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    fails(library, "belongs to another user", monkeypatch)
    assert entries(cache) == []


def test_a_folder_that_others_can_write(
    library: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its libraries could be anybody's."""
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    fails(library, "can be written by others", monkeypatch)


def test_platformdirs_is_missing(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any, **keywords: Any) -> Any:
        if name == "platformdirs":
            raise ModuleNotFoundError(name)
        return original(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    fails(library, "pip install platformdirs", monkeypatch)


# What is kept.


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone", "no digest", "bad digest"])
def test_what_is_damaged_is_made_again(
    damage: str, library: Any, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library._make(
        [folder / "optim/c/sgd.c", folder / "optim/c/_stepforge.c"], place := key(library)
    )
    whole = (place / "step.so").read_bytes()
    if damage == "truncated":
        (place / "step.so").write_bytes(whole[:1000])
    elif damage == "changed":
        (place / "step.so").write_bytes(whole[:5000] + b"\0" + whole[5001:] + b"\0")
    elif damage == "gone":
        (place / "step.so").unlink()
    elif damage == "no digest":
        (place / "sha256").unlink()
    else:
        (place / "sha256").write_bytes(b"\xff")
    done = calls(library, monkeypatch)
    library.load("sgd")
    assert len(done) == 1
    assert library._is_whole(place)
    assert entries(cache) == [place]


def key(library: Any) -> Path:
    """Where the library of sgd lies."""
    sources = [library.SOURCES / name for name in ("sgd.c", *library.SHARED)]
    place: Path = library._cache() / library._key(sources)
    return place


def test_the_key_is_of_all_that_the_code_follows_from(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key(library)]
    with monkeypatch.context() as patch:
        patch.setattr(library, "_processor", lambda: "another")
        keys.append(key(library))
    with monkeypatch.context() as patch:
        patch.setenv("STEPFORGE_CFLAGS", "-O1")
        keys.append(key(library))
    with monkeypatch.context() as patch:
        compiler("exit 0", tmp_path, patch)
        keys.append(key(library))
        os.utime(tmp_path / "compiler", (1, 1))  # another version
        keys.append(key(library))
    with monkeypatch.context() as patch:
        changed = tmp_path / "c"
        shutil.copytree(library.SOURCES, changed)
        (changed / "_functions.h").write_text("\n")
        patch.setattr(library, "SOURCES", changed)
        keys.append(key(library))
    assert len({*keys}) == len(keys)
    assert key(library) == keys[0]


def test_many_processes_at_once(folder: Path, cache: Path) -> None:
    """All get a library; one entry remains, and nothing else."""
    started = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    (entry,) = entries(cache)
    assert {path.name for path in entry.iterdir()} == {"step.so", "sha256"}


def test_the_oldest_libraries_go(
    library: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "KEPT", 3)
    cache.mkdir(mode=0o700, parents=True)
    for age in range(5):
        (cache / f"old{age}").mkdir()
        os.utime(cache / f"old{age}", (1e9 - age, 1e9 - age))
    library.load("sgd")
    names = {path.name for path in entries(cache)}
    assert names == {"old0", "old1", key(library).name}
