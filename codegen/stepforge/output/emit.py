"""Generated files on disk: the expected set, what differs, and writing it atomically."""

from __future__ import annotations

import difflib
import errno
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stepforge.backends.python import PYTHON
from stepforge.backends.registry import BACKENDS, completed, shared
from stepforge.backends.render import copied, is_ours, package, render
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower
from stepforge.output import manifest
from stepforge.output.collisions import Member, collisions
from stepforge.output.manifest import Entry, Manifest

_PREFIX = ".stepforge-"
_STALE_SECONDS = 3600
WAIT = 60
"""Seconds that a build waits for another one."""


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


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built.

    Attributes:
        specs: The specs to generate.
        whole: They are all there are, so generated files of others are orphans.
        known: Names that can be built although they are not among the specs: no orphans.
        backends: What to generate; by default what the folder has of a spec, or else of others, or
            else everything.
        files: Name → the spec's file as the manifest has it; by default what diagnostics call it.
        everything: What the manifest says of `everything`; by default `whole`.
        rendered: Texts that were made for it, by spec and backend.
    """

    specs: Sequence[Spec]
    whole: bool
    known: Collection[str] = ()
    backends: Sequence[str] | None = None
    files: Mapping[str, str | None] | None = None
    everything: bool | None = None
    rendered: dict[tuple[str, str], str] = field(default_factory=dict)

    def text(self, spec: Spec, backend: str) -> str:
        """What a backend prints of a spec."""
        key = spec.name, backend
        if key not in self.rendered:
            self.rendered[key] = render(lower(spec), backend)
        return self.rendered[key]

    def file(self, spec: Spec) -> str | None:
        """The spec's file as the manifest has it."""
        shown = spec.source.path
        default = shown if manifest.is_inside(shown) else None
        return default if self.files is None else self.files.get(spec.name, default)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a folder should be.

    Attributes:
        files: Path in the folder → text.
        specs: Every spec that it holds, built now or before.
    """

    files: Mapping[str, str]
    specs: Mapping[str, Entry]


def expected(specs: Sequence[Spec], out: Path) -> dict[Path, str]:
    """The files of a folder that holds these specs and nothing else, and their texts."""
    planned = _plan(Order(specs, whole=True), out, Manifest())
    return {out / file: text for file, text in planned.files.items()}


def _plan(order: Order, out: Path, held: Manifest) -> Planned:
    """What a folder should be after a build, with what it holds of other specs."""
    named = {spec.name for spec in order.specs}
    kept = {
        name: entry
        for name, entry in {**manifest.adopted(out), **held.specs}.items()
        if name not in named and (not order.whole or name in order.known)
    }
    entries, texts = dict(kept), {}
    exported: dict[str, dict[str, str]] = {b.name: {} for b in BACKENDS.values() if b.exports}
    for name, entry in kept.items():
        for backend in exported.keys() & {*entry.backends}:
            if found := export_of(out, backend, name):
                exported[backend][name] = found
    for spec in order.specs:
        default = held.specs[spec.name].backends if spec.name in held.specs else held.backends
        backends = completed(order.backends or default or tuple(BACKENDS), spec.subject)
        entries[spec.name] = Entry(order.file(spec), spec.source.digest, backends)
        for backend in backends:
            texts[BACKENDS[backend].file(spec.name)] = order.text(spec, backend)
            if exports := BACKENDS[backend].exports:
                exported[backend][spec.name] = exports.name(spec)

    def member(name: str, shown: str) -> Member:
        return Member(name, shown, next((e[name] for e in exported.values() if name in e), ""))

    new = [member(spec.name, spec.source.path) for spec in order.specs]
    if wrong := collisions(new, [member(n, _shown(e, out, n)) for n, e in kept.items()]):
        raise SpecError(wrong)
    texts |= _shared(out, Manifest(specs=entries).backends, exported)
    hashes = {file: manifest.sha256(text) for file, text in texts.items()}
    for file in manifest.files_of(kept):
        if (text := _read(out / file)) is not None:
            hashes[file] = held.files.get(file) or manifest.sha256(text)
    from stepforge.version import __version__

    everything = held.everything or (order.whole if order.everything is None else order.everything)
    made = Manifest(__version__, everything, entries, hashes)
    return Planned({**texts, manifest.NAME: made.text()}, entries)


def _shared(
    out: Path, backends: Sequence[str], exported: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """What the specs of a folder have in common, and what makes a package of it."""
    files = {file: copied(file) for file in shared(backends)}
    packages = {PYTHON.package: package(None)}
    for backend in (BACKENDS[name] for name in backends):
        if backend.exports:
            names = exported[backend.name]
            files[backend.package] = backend.exports.package(backend.doc, names)
        elif backend.package:
            packages[backend.package] = package(backend)
    return files | {file: t for file, t in packages.items() if not _is_foreign(out / file)}


def changes(
    specs: Iterable[Spec], out: Path, whole: bool, known: Collection[str] = (), **more: Any
) -> list[Change]:
    """What has to change under `out`, sorted by path; the arguments are those of `Order`.

    Raises:
        SpecError: A file cannot be read, the manifest cannot be used, two specs need one name, or
            a file is in the way that no build wrote.
    """
    return _changes(Order(tuple(specs), whole, known, **more), out)


def _changes(order: Order, out: Path) -> list[Change]:
    _stays_inside(out)
    held = manifest.read(out) or Manifest()
    planned = _plan(order, out, held)
    found, in_the_way = [], []
    for file, text in planned.files.items():
        path = out / file
        old = _read(path)
        if old == text:
            continue
        if old is not None and not (file in held.files or is_ours(old) or file == manifest.NAME):
            in_the_way.append(path)
        found.append(Change("write" if old is None else "update", path, old or "", text))
    if in_the_way:
        help = "no build wrote it: move it away, or choose another folder with `--out`"
        message = "a file is in the way that is not generated"
        raise SpecError(Diagnostic("E008", message, str(p), help=help) for p in in_the_way)
    for file in sorted(_orphans(order, out, held) - {*planned.files}):
        name = Path(file).stem
        stays = name in planned.specs and file in manifest.files_of(planned.specs)
        orphan = _read(out / file)
        ours = orphan is not None and (
            is_ours(orphan) or held.is_as_written(file, orphan.encode("utf-8", "replace"))
        )
        if ours and not stays:
            found.append(Change("remove", out / file, orphan or "", ""))
    return sorted(found, key=lambda change: change.path)


def build(
    specs: Iterable[Spec], out: Path, whole: bool, known: Collection[str] = (), **more: Any
) -> list[Change]:
    """Makes the changes that `changes` finds, while no other build writes into the folder.

    Returns:
        The changes that were made.

    Raises:
        SpecError: As `changes` and `apply`; or another build did not come to its end.
    """
    order = Order(tuple(specs), whole, known, **more)
    if not _changes(order, out):
        return []
    with locked(out):
        found = _changes(order, out)  # another build may have come before
        apply(found)
    return found


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Waits until no other build writes into a folder, and keeps others waiting.

    The lock is one of the operating system's, so it ends with the process. Its file lies where no
    tool looks for files of a package.

    Raises:
        SpecError: It takes longer than `WAIT` seconds, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # takes as long to import as a build does to run

    place = out / "__pycache__"
    existed = out.exists()
    try:
        if existed and not out.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / "stepforge.lock", timeout=WAIT)
        lock.acquire()
    except Timeout:
        message = f"another build has been writing for {WAIT} s"
        help = "wait for it to end, or end it"
        raise SpecError([Diagnostic("E023", message, str(out), help=help)]) from None
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        yield
    finally:
        lock.release()


def _orphans(order: Order, out: Path, held: Manifest) -> set[str]:
    """Files that may have to go: those that were written once, and in a whole build all of ours."""
    files = {file for file in held.files if (out / file).exists()}
    if order.whole:
        files |= {BACKENDS[backend].file(name) for backend, name, _ in manifest.marked(out)}
    return files


def _shown(entry: Entry, out: Path, name: str) -> str:
    """The file of a spec that the folder holds; a generated one if nobody knows it."""
    return entry.file or str(out / BACKENDS[entry.backends[0]].file(name))


def export_of(out: Path, name: str, spec: str) -> str:
    """What the package of a backend has from a generated file that is there, or ""."""
    backend = BACKENDS[name]
    text = _read(out / backend.file(spec)) or ""
    return backend.exports.found(text) if backend.exports and is_ours(text) else ""


def _is_foreign(path: Path) -> bool:
    """Whether there is a file that no build wrote."""
    text = _read(path)
    return text is not None and not is_ours(text)


def _stays_inside(out: Path) -> None:
    """Refuses folders that lead out of the output folder.

    Raises:
        SpecError: One of them is a link to a place outside.
    """
    top = os.path.realpath(out)
    for folder in (out / name for name in (*BACKENDS, "__pycache__")):
        if folder.is_symlink() and not os.path.realpath(folder).startswith(top + os.sep):
            message = "cannot build through a link that leads out of the output folder"
            help = "give the folder that is meant with `--out`"
            raise SpecError([Diagnostic("E007", message, str(folder), help=help)])


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
        if path.is_fifo() or path.is_char_device():  # it may have no end
            raise OSError("it is no regular file")
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
