"""The generated files on disk: found, compared with their spec, and imported afresh."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from codegen.backends import BACKENDS
from codegen.render import HEADER
from codegen.spec import Spec
from codegen.verify.certificate import Status, Verdict
from codegen.verify.foreign import foreign

Array = np.ndarray[Any, Any]
_counter = itertools.count()


LAUNCHERS = ("triton", "multi_tensor")
"""The backends whose files launch kernels."""
MODES = ("host", "device", "scaled")
"""How a multi-tensor kernel gets its numbers: from the launch, from its rows on the device, or from
there with gradients that it divides by a scale first. Other kernels have the first mode alone."""
Variant = tuple[str, str]
"""A kernel: its backend, and one of `MODES`."""
KERNELS: tuple[Variant, ...] = (
    ("triton", "host"), ("multi_tensor", "host"), ("multi_tensor", "device"),
    ("multi_tensor", "scaled"),
)  # fmt: skip
ON_HOST = KERNELS[:2]


@dataclass(frozen=True)
class Pair:
    """The files of an optimizer that compute: the reference, and the kernels beside it."""

    numpy: Path
    triton: Path
    multi_tensor: Path

    @classmethod
    def of(cls, spec: Spec, folder: Path) -> Pair:
        """The files of a spec under a folder of generated code."""
        return cls(*(folder / b / f"{spec.name}.py" for b in ("numpy", *LAUNCHERS)))

    def launches(self, backend: str) -> Path:
        """The file of one of `LAUNCHERS`."""
        return self.multi_tensor if backend == "multi_tensor" else self.triton


def inspect(spec: Spec, folder: Path) -> Verdict:
    """Whether the files are there, are ours, and belong to this text of the spec."""
    edited = []
    for path in (folder / backend / f"{spec.name}.py" for backend in BACKENDS):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _refuted(spec, f"{path} is missing; run `stepforge build {spec.name}`")
        except (OSError, UnicodeDecodeError) as error:
            return _refuted(spec, f"{path} cannot be read: {error}")
        match = HEADER.match(text)
        if match is None or match["name"] != spec.name:
            return _refuted(spec, f"{path} was not generated from `{spec.name}`")
        if match["digest"] != spec.source.digest:
            command = f"stepforge build {spec.name}"
            return _refuted(spec, f"{path} is stale: the spec has changed; run `{command}`")
        backend = path.parent.name
        is_as_built = text == expected_text(spec, backend)
        if backend == "torch":
            if not is_as_built:
                return _refuted(spec, f"{path} differs from what build writes, and no rung runs it")
            continue
        if (found := foreign(text)) is not None:
            line, what = found
            return _refuted(spec, f"{path}:{line} {what}: {_ALLOWED}")
        if not is_as_built:
            edited.append(str(path))
    if (reason := _shared(folder, spec)) is not None:
        return _refuted(spec, reason)
    detail = f"differs from what build writes: {', '.join(edited)}" if edited else "as built"
    return Verdict("files", spec.name, None, Status.TESTED, len(BACKENDS), detail)


def _shared(folder: Path, spec: Spec) -> str | None:
    """What is wrong with the files that are the same for all specs."""
    from codegen.render import COPIED, copied

    for file in COPIED:
        path = folder / file
        try:
            same = path.read_text(encoding="utf-8") == copied(file)
        except FileNotFoundError:
            return f"{path} is missing; run `stepforge build {spec.name}`"
        except (OSError, UnicodeDecodeError) as error:
            return f"{path} cannot be read: {error}"
        if not same:
            return f"{path} differs from what build writes: it is the same for all specs"
    return None


def _refuted(spec: Spec, reason: str) -> Verdict:
    return Verdict("files", spec.name, None, Status.REFUTED, 0, reason)


def expected_text(spec: Spec, backend: str) -> str:
    """What build would write."""
    from codegen.lower import lower
    from codegen.render import render

    return render(lower(spec), backend)


def hashes(spec: Spec, folder: Path) -> dict[str, str]:
    """SHA-256 of the generated files that are there, by backend."""
    found = {}
    for backend in BACKENDS:
        try:
            data = (folder / backend / f"{spec.name}.py").read_bytes()
        except OSError:
            continue
        found[backend] = hashlib.sha256(data).hexdigest()
    return found


def fresh(path: Path) -> ModuleType:
    """Imports a file under a name of its own, so that nothing is remembered between calls."""
    name = f"_generated_{path.stem}_{next(_counter)}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


_ALLOWED = "a generated file computes with math, numpy and triton, and changes nothing else"
_isnan = np.isnan  # a generated file may replace what the module holds


def same_bits(a: Array, b: Array) -> Array:
    """Element by element: equal in every bit; any NaN equals any NaN."""
    integer = f"u{a.dtype.itemsize}"
    same: Array = a.view(integer) == b.view(integer)
    return same | (_isnan(a) & _isnan(b))


@dataclass(frozen=True)
class Text:
    """The source of a generated file, for pointing at its lines."""

    path: Path

    @cached_property
    def lines(self) -> list[str]:
        """Its lines."""
        return self.path.read_text(encoding="utf-8").split("\n")

    @cached_property
    def targets(self) -> dict[int, tuple[int, str]]:
        """Every line of an assignment to a name → its first line and the name."""
        return {
            line: (node.lineno, target.id)
            for node in ast.walk(ast.parse("\n".join(self.lines)))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }

    def at(self, line: int) -> str:
        """`file:line: text`."""
        return f"{self.path}:{line}: {self.lines[line - 1].strip()}"

    def containing(self, text: str) -> Iterator[int]:
        """The lines that hold a text."""
        for number, line in enumerate(self.lines, 1):
            if text in line:
                yield number
