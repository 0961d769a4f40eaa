"""The generated files on disk: found, hashed, and imported afresh."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from stepforge.backends.registry import BACKENDS, verified
from stepforge.language.spec import Spec

Array = np.ndarray[Any, Any]
_counter = itertools.count()


LAUNCHERS = tuple(backend.name for backend in verified() if backend.artefact == "kernel")
"""The backends whose files launch kernels."""
C = ("c", "cpu")
"""The backends whose files step by C: the rule, and the caller in Python."""
MODES = ("host", "device", "scaled")
"""How a multi-tensor kernel gets its numbers: from the launch, from its rows on the device, or from
there with gradients that it divides by a scale first. Other kernels have the first mode alone."""
Variant = tuple[str, str]
"""A kernel: its backend, and one of `MODES`."""
KERNELS: tuple[Variant, ...] = tuple(
    (name, mode) for name in LAUNCHERS for mode in BACKENDS[name].modes
)
ON_HOST = tuple(kernel for kernel in KERNELS if kernel[1] == MODES[0])


@dataclass(frozen=True)
class Pair:
    """The files of an optimizer that compute: the reference, and the kernels beside it."""

    numpy: Path
    triton: Path
    multi_tensor: Path

    @classmethod
    def of(cls, spec: Spec, folder: Path) -> Pair:
        """The files of a spec under a folder of generated code."""
        return cls(*(folder / BACKENDS[field.name].file(spec.name) for field in fields(cls)))

    def launches(self, backend: str) -> Path:
        """The file of one of `LAUNCHERS`."""
        return self.multi_tensor if backend == "multi_tensor" else self.triton


def c_files(spec: Spec, folder: Path) -> tuple[Path, Path]:
    """The C file of a spec, and its caller in Python."""
    source, caller = (folder / BACKENDS[name].file(spec.name) for name in C)
    return source, caller


def expected_text(spec: Spec, backend: str, cut: bool = False) -> str:
    """What build would write; if `cut`, with a mark in the place of the rule."""
    from stepforge.backends.render import render
    from stepforge.lowering.lower import lower

    return render(lower(spec), backend, cut)


def hashes(spec: Spec, folder: Path) -> dict[str, str]:
    """SHA-256 of the generated files that are there, by backend."""
    files = {backend.name: folder / backend.file(spec.name) for backend in BACKENDS.values()}
    found = {}
    for name, path in files.items():
        with suppress(OSError):
            if path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class _FromSource(SourceFileLoader):
    """Compiles the source, whatever lies in `__pycache__`, and leaves nothing there."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def fresh(path: Path) -> ModuleType:
    """Imports a file under a name of its own, so that nothing is remembered between calls."""
    name = f"_generated_{path.stem}_{next(_counter)}"
    loader = _FromSource(name, str(path))
    module_spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


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

    def first(self, *wanted: str, last: bool = False) -> str:
        """`file:line: text` of a line with the first of the texts that is there, "" without one.

        Args:
            wanted: The texts.
            last: Whether it is the last line with that text, not the first.
        """
        for piece in wanted:
            if lines := list(self.containing(piece)):
                return self.at(lines[-1 if last else 0])
        return ""

    def containing(self, text: str) -> Iterator[int]:
        """The lines that hold a text."""
        for number, line in enumerate(self.lines, 1):
            if text in line:
                yield number
