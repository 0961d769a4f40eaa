"""Verdicts kept in a file: used again where everything that they came from is the same.

The key of a verdict is a SHA-256 of its task, and one of all else: the spec's text, the generated
files, this package, the files of libraries, the machine, and the variables that any of them reads.
Only passes are kept; a failure is looked at anew.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from stepforge.backends.registry import shared
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.output import emit
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import hashes
from stepforge.verify.run.tasks import Group
from stepforge.verify.rungs.task import Task

FORMAT = 1
LIBRARIES = (
    "gmpy2", "jinja2", "ml_dtypes", "mpmath", "numpy", "pebble", "python-flint", "sympy", "torch",
    "triton",
)  # fmt: skip
"""What the rungs run, or what that runs where it is installed."""
_CODE = (".py", ".so", ".bc", ".lld", ".pyd", ".dll", ".dylib")
_VARIABLES = (
    "AMD", "CUDA", "GLIBC", "HIP", "LD_", "LLVM", "MKL", "MLIR", "NPY", "NUMPY", "OMP", "OPENBLAS",
    "PATH", "PTXAS", "PYTHON", "ROCM", "TORCH", "TRITON",
)  # fmt: skip
"""How the names of variables of the environment begin that a library may read."""


class Kept:
    """The verdicts of a file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        """Reads what the file holds.

        Raises:
            SpecError: It is something else, or cannot be written.
        """
        self.path = path
        self._known: dict[str, Verdict] = {}
        self._tasks: dict[tuple[Any, ...], tuple[Task, str]] = {}
        if path is None:
            return
        try:
            if path.exists():
                data = json.loads(path.read_text(encoding="utf-8"))
                if data["format"] == FORMAT:
                    self._known = {str(k): _verdict(v) for k, v in data["verdicts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no file of verdicts: {error}"
            raise SpecError([Diagnostic("E001", reason, str(path))]) from None
        self.write()

    def split(self, group: Group) -> tuple[Group, list[Verdict]]:
        """The tasks that are left to do, and the verdicts of the others."""
        if self.path is None:
            return group, []
        left, found = [], []
        for task in group:
            key = key_of(task)
            self._tasks[task.verdict(Status.UNSUPPORTED, "").place] = task, key
            if (verdict := self._known.get(key)) is not None:
                found.append(verdict)
            else:
                left.append(task)
        return tuple(left), found

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Takes the verdicts of an optimizer; what came from other inputs of it is dropped.

        A verdict whose inputs have changed since its task was split off is not taken.
        """
        own: dict[str, Verdict] = {}
        for verdict in verdicts:
            task, key = self._tasks.get(verdict.place, (None, ""))
            if task is not None and key_of(task) == key:
                own[key] = verdict
        now = {(v.optimizer, _inputs(key)) for key, v in own.items()}
        mine = {name for name, _ in now}
        for key, old in list(self._known.items()):
            if old.optimizer in mine and (old.optimizer, _inputs(key)) not in now:
                del self._known[key]
        self._known |= {key: v for key, v in own.items() if v.status.passed}

    def write(self) -> None:
        """Writes the file; raises `SpecError` where that is not possible."""
        if self.path is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        verdicts = {key: _data(v, now) for key, v in self._known.items()}
        data = {"format": FORMAT, "verdicts": verdicts}
        try:
            emit.write(self.path, json.dumps(data) + "\n")
        except OSError as error:
            reason = f"cannot write: {(error.strerror or str(error)).lower()}"
            raise SpecError([Diagnostic("E007", reason, str(self.path))]) from None


def _data(verdict: Verdict, now: str) -> dict[str, Any]:
    data = asdict(verdict)
    del data["machine_code"], data["counterexample"]
    return data | {"kept": verdict.kept or now}


def _verdict(data: dict[str, Any]) -> Verdict:
    kinds = {f.name: f.type for f in fields(Verdict)}
    if unknown := set(data) - set(kinds):
        raise ValueError(f"unknown keys {sorted(unknown)}")
    warnings = tuple(data.get("warnings", ()))
    found = Verdict(**{**data, "status": Status(data["status"]), "warnings": warnings})
    texts = (found.rung, found.optimizer, found.detail, found.kept, *warnings)
    if not found.status.passed or not all(isinstance(text, str) for text in texts):
        raise ValueError("no verdict that passes")
    return found


def key_of(task: Task) -> str:
    """Two SHA-256 of all that the verdict of a task follows from.

    The first is of everything but the task: it is the same for all tasks of an optimizer.
    """
    folder, source = task.folder, task.spec.source
    copied = {name: _of_file(folder / name) for name in shared()}
    inputs = environment(), source.path, source.text, str(folder), hashes(task.spec, folder), copied
    own = (
        task.rung.number, task.options, task.seed, task.targets, task.dtypes, task.exact,
        task.required, task.brief, task.kernels, task.backends, dict(task.artefacts),
    )  # fmt: skip
    return f"{_digest(inputs)} {_digest(own)}"


def _inputs(key: str) -> str:
    return key.split(" ")[0]


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _of_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def environment() -> str:
    """A SHA-256 of what is not the task's: this package, Python, libraries, machine, variables."""
    variables = {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES)}
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    parts = [
        _package(resources.files("stepforge")), [_library(name) for name in LIBRARIES], sys.version,
        list(sys.flags), platform.platform(), extensions, sorted(variables.items()),
    ]  # fmt: skip
    return _digest(parts)


def _package(folder: Traversable) -> list[tuple[str, str]]:
    """Names and contents of the files of this package."""
    found = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.is_dir():
            found += [(f"{file.name}/{name}", digest) for name, digest in _package(file)]
        elif file.name.endswith((".py", ".jinja", ".formula")):
            found.append((file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
    return found


def _library(name: str) -> list[Any]:
    """Version of a library, and size and time of every file of it that runs.

    A library that does not list its files has another key in every process.
    """
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return [name]
    record = distribution.read_text("RECORD")
    if record is None:
        return [name, os.urandom(16).hex()]
    root = str(distribution.locate_file(""))
    found: list[Any] = [name, distribution.version]
    for file, *_ in csv.reader(record.splitlines()):
        if file.endswith(_CODE) or "." not in os.path.basename(file):
            try:
                status = os.stat(os.path.join(root, file))
            except OSError:
                found.append((file, None))
            else:
                found.append((file, status.st_size, status.st_mtime_ns))
    return found
