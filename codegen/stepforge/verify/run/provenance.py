"""What a certificate depends on beside the spec: templates, versions of tools and libraries."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata, resources
from importlib.abc import Traversable

from stepforge.backends.registry import BACKENDS, Backend
from stepforge.verify.certificate import Verdict
from stepforge.version import __version__

LIBRARIES = ("numpy", "mpmath", "triton", "torch")


@cache
def templates() -> dict[str, str]:
    """By backend, one SHA-256 of its template and of the helpers and formulas that it may print."""
    return {name: _digest(backend) for name, backend in BACKENDS.items()}


def _digest(backend: Backend) -> str:
    root = resources.files("stepforge.backends") / "templates"
    formulas = resources.files("stepforge.operations") / "functions"
    files = [root / backend.template]
    if any(file.name.endswith(".jinja") for file in _files(root / backend.column)):
        for folder in (root / backend.column, root / "host", formulas):
            files += _files(folder)
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(f"{file.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def _files(folder: Traversable) -> list[Traversable]:
    """The files of a folder, which need not be there, by name."""
    return sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []


def versions(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Versions of Python, of libraries, and of the assemblers that the verdicts name."""
    found = {"python": platform.python_version(), "stepforge": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    assemblers: dict[str, set[str]] = {}
    for verdict in verdicts:
        if version := verdict.evidence.get("ptxas"):
            assemblers.setdefault(version, set()).add(verdict.target)
    if assemblers:
        found["ptxas"] = ", ".join(
            f"{version} ({' '.join(sorted(targets))})"
            for version, targets in sorted(assemblers.items())
        )
    return found
