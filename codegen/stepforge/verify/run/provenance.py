"""What a certificate depends on beside the spec: templates, versions of tools and libraries."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from functools import cache
from importlib import metadata, resources

from stepforge.backends.registry import BACKENDS
from stepforge.verify.certificate import Verdict
from stepforge.version import __version__

LIBRARIES = ("numpy", "mpmath", "triton", "torch")
_FOLDER = re.compile(r'include "(\w+)/"')


@cache
def templates() -> dict[str, str]:
    """By backend, one SHA-256 of its template and of every file that it can include."""
    return {backend: _digest(backend) for backend in BACKENDS}


def _digest(backend: str) -> str:
    root = resources.files("stepforge.backends") / "templates"
    main = root / f"{backend}.py.jinja"
    files = [main]
    for folder in sorted(set(_FOLDER.findall(main.read_text("utf-8")))):
        files += sorted((root / folder).iterdir(), key=lambda file: file.name)
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(f"{file.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


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
