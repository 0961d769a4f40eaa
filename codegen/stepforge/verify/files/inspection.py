"""What verification starts with: which generated files are there, whole, and of this spec.

A file is judged by its meaning, so a formatter may have been at work. The rungs run on every kernel
whose own files are whole, whatever is wrong with the files beside them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stepforge.backends.registry import BACKENDS
from stepforge.backends.render import COPIED, copied, origin
from stepforge.language.spec import Spec
from stepforge.output.manifest import Manifest
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.foreign import foreign
from stepforge.verify.files.generated import LAUNCHERS, expected_text
from stepforge.version import __version__

_ALLOWED = "a generated file computes with math, numpy and triton, and changes nothing else"
_TABLES = "multi_tensor/_tables.py"


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
        _own(spec, folder, backend, held, found)
    for file in COPIED:
        if file.split("/")[0] in backends:
            _shared(spec, folder, file, held, found)
    runs = "numpy" not in found.broken
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


def _own(spec: Spec, folder: Path, backend: str, held: Manifest | None, found: _Found) -> None:
    """A file of one spec."""
    path = folder / backend / f"{spec.name}.py"
    command = f"stepforge build {spec.name}"
    data = _read(path, command, backend, found=found)
    if data is None:
        return
    text = data.decode("utf-8")
    header = origin(text)
    if header is None or header["name"] != spec.name:
        found.refuse(f"{path} was not generated from `{spec.name}`", backend)
        return
    wanted = expected_text(spec, backend)
    is_as_built = same_meaning(text, wanted)
    if header["digest"] != spec.source.digest and not is_as_built:
        found.refuse(f"{path} is stale: the spec has changed; run `{command}`", backend)
        return
    if backend == "torch":
        if not is_as_built:
            _differs(path, backend, data, held, found, "and no rung runs it")
        return
    if (wrong := foreign(text)) is not None:
        line, what = wrong
        found.refuse(f"{path}:{line} {what}: {_ALLOWED}", backend)
    elif not is_as_built:
        _note(path, f"{backend}/{path.name}", data, held, found)


def _shared(spec: Spec, folder: Path, file: str, held: Manifest | None, found: _Found) -> None:
    """A file that is the same for all specs; the kernels of many tensors run with one."""
    path = folder / file
    needs = ("multi_tensor",) if file == _TABLES else ()
    data = _read(path, f"stepforge build {spec.name}", *needs, found=found)
    if data is None:
        return
    text = data.decode("utf-8")
    if same_meaning(text, copied(file)):
        return
    if file == _TABLES and (wrong := foreign(text, also=("collections",))) is not None:
        line, what = wrong
        found.refuse(f"{path}:{line} {what}: {_ALLOWED}", *needs)
        return
    _differs(path, file.split("/")[0], data, held, found, "it is the same for all specs")


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


def same_meaning(a: str, b: str) -> bool:
    """Whether two texts are one program: layout, comments and docstrings do not count."""
    return a == b or ((meaning := _meaning(a)) is not None and meaning == _meaning(b))


def _meaning(text: str) -> str | None:
    """A text in a form that no formatter changes; None if it is not Python."""
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = _plain(body)  # type: ignore[attr-defined]
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _plain(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements without docstrings and texts that stand alone, and with imports in one order."""
    kept = [s for s in body if not _is_text(s)]
    plain: list[ast.stmt] = []
    run: list[ast.stmt] = []
    for statement in kept:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            run += _single(statement)
            continue
        plain += sorted(run, key=ast.dump)
        plain.append(statement)
        run = []
    return plain + sorted(run, key=ast.dump)


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _single(statement: ast.Import | ast.ImportFrom) -> Iterator[ast.stmt]:
    """An import of several names as one for each."""
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            yield ast.Import([alias])
        else:
            yield ast.ImportFrom(statement.module, [alias], statement.level)
