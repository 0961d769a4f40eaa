"""What verification starts with: which generated files are there, whole, and of this spec.

A file is judged by its meaning, so a formatter may have been at work. The rungs run on every kernel
whose own files are whole, whatever is wrong with the files beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stepforge.backends.python import PYTHON
from stepforge.backends.registry import BACKENDS, REFERENCE, Backend, shared
from stepforge.backends.render import copied, origin
from stepforge.backends.syntax import Syntax
from stepforge.language.spec import Spec
from stepforge.output.manifest import Manifest
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import LAUNCHERS, expected_text
from stepforge.version import __version__

_OF_SHARED = ("collections",)
"""What the files that specs share may import beside the libraries of their backend."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        verdict: Whether the files are there, are ours, and belong to this text of the spec.
        launchers: The backends whose kernels the rungs can run, of `LAUNCHERS`.
        runs: Whether there is a reference that the rungs can run.
    """

    verdict: Verdict
    launchers: tuple[str, ...]
    runs: bool


@dataclass(slots=True)
class _Found:
    """Backends whose files are not whole, what is wrong, and files that differ and are."""

    broken: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    older: bool = False

    def refuse(self, reason: str, *backends: str) -> None:
        self.reasons.append(reason)
        self.broken.update(backends)


def inspect(spec: Spec, folder: Path, held: Manifest | None = None) -> Inspection:
    """Looks at the files of a spec, and at those that it shares with others.

    Args:
        spec: The spec.
        folder: The folder of generated code.
        held: Its manifest; without one, it should have the files of all backends.
    """
    entry = held.specs.get(spec.name) if held else None
    backends = entry.backends if entry else tuple(BACKENDS)
    found = _Found()
    for backend in backends:
        _own(spec, folder, BACKENDS[backend], held, found)
    for backend in backends:
        for file in shared([backend]):
            _shared(spec, folder, BACKENDS[backend], file, held, found)
    runs = REFERENCE not in found.broken
    launchers = tuple(b for b in LAUNCHERS if runs and b in backends and b not in found.broken)
    if found.reasons:
        verdict = Verdict("files", spec.name, None, Status.REFUTED, 0, "\n  ".join(found.reasons))
    else:
        detail = "as built"
        if found.edited:
            detail = f"differs from what build writes: {', '.join(found.edited)}"
        elif found.older and held:
            detail = f"as built by {held.version}"
        verdict = Verdict("files", spec.name, None, Status.TESTED, len(backends), detail)
    return Inspection(verdict, launchers, runs)


def _own(spec: Spec, folder: Path, backend: Backend, held: Manifest | None, found: _Found) -> None:
    """A file of one spec."""
    path, name = folder / backend.file(spec.name), backend.name
    command = f"stepforge build {spec.name}"
    data = _read(path, command, name, found=found)
    if data is None:
        return
    text = data.decode("utf-8")
    header = origin(text)
    if header is None or header["name"] != spec.name:
        found.refuse(f"{path} was not generated from `{spec.name}`", name)
        return
    is_as_built = same_meaning(text, expected_text(spec, name), backend.syntax)
    if header["digest"] != spec.source.digest and not is_as_built:
        found.refuse(f"{path} is stale: the spec has changed; run `{command}`", name)
    elif not _is_looked_at(backend):
        if not is_as_built:
            _differs(path, name, data, held, found, "and no rung runs it")
    elif wrong := _foreign(path, text, backend):
        found.refuse(wrong, name)
    elif not is_as_built:
        _note(path, f"{name}/{path.name}", data, held, found)


def _shared(
    spec: Spec, folder: Path, backend: Backend, file: str, held: Manifest | None, found: _Found
) -> None:
    """A file that is the same for all specs; kernels may run with it."""
    path = folder / file
    needs = (backend.name,) if _is_looked_at(backend) else ()
    data = _read(path, f"stepforge build {spec.name}", *needs, found=found)
    if data is None:
        return
    text = data.decode("utf-8")
    if same_meaning(text, copied(file), backend.syntax):
        return
    if needs and (wrong := _foreign(path, text, backend, _OF_SHARED)):
        found.refuse(wrong, *needs)
        return
    _differs(path, backend.name, data, held, found, "it is the same for all specs")


def _is_looked_at(backend: Backend) -> bool:
    """Whether an edited file of a backend is judged by rungs, after it was read."""
    return bool(backend.artefact) and backend.syntax.foreign is not None


def _foreign(path: Path, text: str, backend: Backend, also: tuple[str, ...] = ()) -> str:
    """What a file does that no generated file does, or ""."""
    libraries = (*backend.libraries, *also)
    if not backend.syntax.foreign or not (wrong := backend.syntax.foreign(text, libraries)):
        return ""
    allowed = " and ".join(("math", *backend.libraries))
    line, what = wrong
    return f"{path}:{line} {what}: it computes with {allowed}, and changes nothing else"


def _read(path: Path, command: str, *backends: str, found: _Found) -> bytes | None:
    """A file that is text, or None where that is said to be wrong."""
    try:
        data = path.read_bytes()
        data.decode("utf-8")
    except FileNotFoundError:
        found.refuse(f"{path} is missing; run `{command}`", *backends)
    except (OSError, UnicodeDecodeError) as error:
        found.refuse(f"{path} cannot be read: {error}", *backends)
    else:
        return data
    return None


def _differs(
    path: Path, folder: str, data: bytes, held: Manifest | None, found: _Found, why: str
) -> None:
    """A file that no rung looks at, and that this version would write otherwise."""
    if held and held.version != __version__ and held.is_as_written(f"{folder}/{path.name}", data):
        found.older = True
    else:
        found.refuse(f"{path} differs from what build writes: {why}")


def _note(path: Path, file: str, data: bytes, held: Manifest | None, found: _Found) -> None:
    """A file that the rungs look at, and that this version would write otherwise."""
    if held and held.version != __version__ and held.is_as_written(file, data):
        found.older = True
    else:
        found.edited.append(str(path))


def same_meaning(a: str, b: str, syntax: Syntax = PYTHON) -> bool:
    """Whether two texts are one program: layout, comments and docstrings do not count."""
    return a == b or ((meaning := syntax.meaning(a)) is not None and meaning == syntax.meaning(b))
