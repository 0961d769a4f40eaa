"""What verdicts follow from beside the verified files: code, libraries, machine, variables.

All of it is hashed, contents and not times or sizes: a library that somebody has edited in place is
another one. That is a gigabyte for Triton, and half of one for torch, so it takes about a second;
what a rung does not use is not read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stepforge.verify.rungs.registry import Need, Rung

ALWAYS = (
    "gmpy2",
    "flint",
    "jinja2",
    "ml_dtypes",
    "mpmath",
    "numpy",
    "pebble",
    "pycparser",
    "sympy",
)
"""The packages that every rung runs, or that these run where they are installed."""
_CODE = (".py", ".c", ".h", ".so", ".bc", ".lld", ".pyd", ".dll", ".dylib", ".jinja", ".formula")
_NEVER_RUN = re.compile(
    r"(^|/)(__pycache__|cupti[^/]*|instrumentation|profiler|include|share|tests?|libproton\.so"
    r"|torch/bin)(/|$)"
)
"""Parts of the packages that no rung reaches: profilers, headers, tests."""
_NEUTRAL = re.compile(
    r"_|.*TERM.*|CLICOLOR.*|COLUMNS|LINES|LS_COLORS|LESS.*|NO_COLOR|FORCE_COLOR|PAGER|EDITOR|VISUAL"
    r"|P(WD|S\d|PID)|OLDPWD|SHLVL|SHELL|USER|LOGNAME|MAIL|HOSTNAME|HIST.*|PROMPT.*|T(MP|EMP)|TMPDIR"
    r"|(SSH|XDG|DBUS|GNOME|KDE|GTK|QT|VTE|TMUX|GIT|VSCODE|GITHUB|GITLAB|RUNNER|CI|DEBUGINFOD|SYSTEMD"
    r"|PYTEST|STEPFORGE|PRE_COMMIT|TYPER|_TYPER|COMP|LC|DIRENV|NIX|CONDA|VIRTUAL_ENV)(_.*)?"
    r"|DISPLAY|WAYLAND_DISPLAY|WINDOWID|STY|INVOCATION_ID|JOURNAL_STREAM|LANG(UAGE)?|TZ"
)
"""Names of variables of the environment that no library reads for what it computes."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was found.

    Attributes:
        digest: A SHA-256 of it.
        stamp: Of the files that it was made of; another one says that some were written since.
    """

    digest: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Some files at a time, which need not be there.

    Attributes:
        contents: Path → the SHA-256 of what it held, or "".
        stamps: Path → what the system knew of it, see `stamp`.
    """

    contents: Mapping[str, str]
    stamps: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Snapshot:
        """What files are now."""
        named = {str(path): path for path in paths}
        stamps = {name: stamp(path) for name, path in named.items()}
        return cls({name: _content(path) for name, path in named.items()}, stamps)

    def changed_in(self, later: Snapshot) -> str:
        """What has been written since, in a sentence, or ""."""
        for name, content in self.contents.items():
            if content != later.contents[name]:
                return f"{name} has changed while it was verified"
            if self.stamps[name][:3] != later.stamps[name][:3]:
                return f"{name} was written while it was verified: run it again"
        return ""


def packages(rung: Rung) -> tuple[str, ...]:
    """The packages that a rung runs."""
    more = {Need.triton: "triton", Need.torch: "torch"}
    return (*ALWAYS, *(more[need] for need in rung.needs if need in more))


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that a library may read for what it computes.

    All but those that are known not to matter: nobody has the list of those that compilers read.
    """
    return {k: v for k, v in sorted(environment.items()) if not _NEUTRAL.fullmatch(k)}


@cache
def fingerprint(names: tuple[str, ...]) -> Fingerprint:
    """Code, machine and variables.

    Args:
        names: Packages beside this one.
    """
    found = [own(), *(_package(name) for name in names)]
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    parts = [
        [one.digest for one in found], _interpreter(), sys.version, list(sys.flags),
        platform.platform(), extensions, variables(os.environ), _compilers(),
    ]  # fmt: skip
    return Fingerprint(digest(parts), digest([one.stamp for one in found]))


def unchanged(names: tuple[str, ...]) -> bool:
    """Whether no file has been written since `fingerprint` was asked for these packages."""
    before = fingerprint(names).stamp
    return before == digest([_stamp(_files(name)) for name in ("stepforge", *names)])


def digest(parts: Any) -> str:
    """A SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def own() -> Fingerprint:
    """This package."""
    return _package("stepforge")


@cache
def _package(name: str) -> Fingerprint:
    files = _files(name)
    return Fingerprint(digest([name, _contents(files)]), _stamp(files))


@cache
def _compilers() -> list[str]:
    """The programs that C files are compiled and looked at with."""
    found = [shutil.which(name) for name in ("gcc", "clang", "cc", "objdump")]
    return [_content(Path(path).resolve()) if path else "" for path in found]


@cache
def _interpreter() -> str:
    return _content(Path(sys.executable).resolve())


def _files(name: str) -> dict[str, Path]:
    """The files of a package that Python would import, which may run: name in it → path."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return {}
    if not spec.submodule_search_locations:
        return {"": Path(spec.origin)} if spec.origin else {}
    found: dict[str, Path] = {}
    for number, root in enumerate(spec.submodule_search_locations):
        for path, short in _walk(root, name):
            found[f"{number}/{short}"] = path
    return dict(sorted(found.items()))


def _walk(folder: str, short: str) -> Iterator[tuple[Path, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            inside = f"{short}/{entry.name}"
            if _NEVER_RUN.search(inside):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, inside)
            elif entry.name.endswith(_CODE) or ".so." in entry.name or "." not in entry.name:
                yield Path(entry.path), inside


def _contents(files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Names and contents, large files first, on all processors: hashing holds no lock."""
    order = sorted(files, key=lambda name: -_size(files[name]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(order, pool.map(lambda name: _content(files[name]), order), strict=True))
    return sorted(found.items())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path) -> str:
    """The SHA-256 of a regular file; others may have no end."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _stamp(files: Mapping[str, Path]) -> str:
    return digest([(name, stamp(path)) for name, path in files.items()])


def stamp(path: Path) -> tuple[int, ...]:
    """What the system knows of a file and changes whenever somebody writes it; () without one."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
