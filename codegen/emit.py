"""Generated files on disk: the expected set, what differs, and writing it atomically."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from codegen.backends import BACKENDS, torch
from codegen.diagnostics import Diagnostic, SpecError
from codegen.lower import lower
from codegen.render import COPIED, HEADER, copied, render
from codegen.spec import Spec

_PREFIX = ".stepforge-"
_STALE_SECONDS = 3600
_CLASS = re.compile(r"(?m)^class (\w+)\(Optimizer\):$")


@dataclass(frozen=True, slots=True)
class Change:
    """One file that is not as it should be.

    Attributes:
        action: "write" a new file, "update" one, or "remove" an orphan.
        path: The file.
        old: Its text, or "" if it is not there.
        new: The text it should have, or "" if it should not be there.
    """

    action: Literal["write", "update", "remove"]
    path: Path
    old: str
    new: str

    def diff(self) -> str:
        """A unified diff from what is there to what should be there."""
        lines = difflib.unified_diff(
            self.old.splitlines(keepends=True),
            self.new.splitlines(keepends=True),
            str(self.path),
            f"{self.path} (expected)",
        )
        return "".join(lines)


def expected(
    specs: Iterable[Spec], out: Path, others: Mapping[str, str] = MappingProxyType({})
) -> dict[Path, str]:
    """The files of the specs and their texts, and what the optimizer classes share.

    Args:
        specs: The specs to generate.
        out: The output folder.
        others: Modules of further optimizer classes that stay there, and the classes.
    """
    files: dict[Path, str] = {}
    classes = dict(others)
    for spec in specs:
        kernel = lower(spec)
        classes[spec.name] = torch.class_name(spec)
        for backend in BACKENDS:
            files[out / backend / f"{spec.name}.py"] = render(kernel, backend)
    files |= {out / file: copied(file) for file in COPIED}
    files[out / "torch" / "__init__.py"] = torch.package(classes)
    return files


def changes(
    specs: Iterable[Spec], out: Path, whole: bool, known: Collection[str] = ()
) -> list[Change]:
    """What has to change under `out`, sorted by path.

    Args:
        specs: The specs to generate.
        out: The output folder.
        whole: The specs are all there are, so generated files of others are orphans.
        known: Names that can be built although they are not among the specs: no orphans.

    Raises:
        SpecError: A file cannot be read.
    """
    files = expected(specs, out, _classes(out, None if not whole else known))
    found = []
    for path, text in files.items():
        old = _read(path)
        if old != text:
            found.append(Change("write" if old is None else "update", path, old or "", text))
    if whole:
        for backend in BACKENDS:
            folder = out / backend
            for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
                ours = path not in files and path.stem not in known
                if ours and HEADER.match(orphan := _read(path) or ""):
                    found.append(Change("remove", path, orphan, ""))
    return sorted(found, key=lambda change: change.path)


def _classes(out: Path, kept: Collection[str] | None) -> dict[str, str]:
    """Modules of generated optimizer classes that are there, and the classes.

    Args:
        out: The output folder.
        kept: Modules that stay whatever is built; all of them if None.
    """
    found: dict[str, str] = {}
    folder = out / "torch"
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
        if kept is None or path.stem in kept:
            text = _read(path) or ""
            match = _CLASS.search(text) if HEADER.match(text) else None
            if match is not None:
                found[path.stem] = match[1]
    return found


def apply(found: Iterable[Change]) -> None:
    """Makes the changes: everything is written aside first, then renamed into place.

    A disk that is full or a folder that is not writable therefore changes nothing, and whoever
    reads meanwhile sees every file whole, old or new.

    Raises:
        SpecError: A file or folder cannot be written.
    """
    found = list(found)
    ready: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for path in (change.path for change in found if change.action != "remove"):
            path.parent.mkdir(parents=True, exist_ok=True)
        for change in found:
            path = change.path
            if change.action != "remove":
                ready.append((_aside(path, change.new), path))
        for temporary, path in ready:
            os.replace(temporary, path)
        for path in (change.path for change in found if change.action == "remove"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        for temporary, _ in ready:
            temporary.unlink(missing_ok=True)
    for folder in {change.path.parent for change in found}:
        _sweep(folder)


def write(path: Path, text: str) -> None:
    """Writes a temporary file beside `path` and renames it: readers see old or new, never half."""
    temporary = _aside(path, text)
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _aside(path: Path, text: str) -> Path:
    """Writes a temporary file beside `path`, complete and with the usual permissions."""
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o666 & ~_umask())
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sweep(folder: Path) -> None:
    """Removes temporary files that a killed build left behind long ago."""
    for path in folder.glob(f"{_PREFIX}*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", newline="") as stream:  # other line ends are a difference
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise _unwritable(path, error, "read") from None


def _unwritable(path: Path, error: OSError, verb: str = "write") -> SpecError:
    reason = (error.strerror or str(error)).lower()
    return SpecError([Diagnostic("E007", f"cannot {verb} the output: {reason}", str(path))])
