"""What verification starts with: which generated files are there, whole, and of this spec.

A file is judged by its meaning, so a formatter may have been at work. Where rungs look at it, the
rule may be written otherwise, by what `permitted` knows; all else is what `build` writes, or the
file is not run. The rungs run on every kernel whose own files are whole, whatever is wrong with the
files beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from stepforge.backends.c import C as C_SYNTAX
from stepforge.backends.python import PYTHON
from stepforge.backends.registry import BACKENDS, REFERENCE, Backend, of, shared
from stepforge.backends.render import copied, is_ours, origin, package
from stepforge.backends.syntax import Syntax
from stepforge.language.spec import Spec
from stepforge.output import emit, manifest
from stepforge.output.manifest import Entry, Manifest
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files import c_rule, permitted, strays, surroundings
from stepforge.verify.files.generated import LAUNCHERS, C, expected_text
from stepforge.verify.files.surroundings import UNREADABLE
from stepforge.version import __version__

_COLUMNS = {"numpy": "numpy", "triton": "triton.language"}
"""Column of the table of operations → the library that it is of."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        verdict: Whether the files are there, are ours, and belong to this text of the spec.
        launchers: The backends whose kernels the rungs can run, of `LAUNCHERS`.
        runs: Whether there is a reference that the rungs can run.
        steps: Whether there is a C file with its caller that they can look at and run.
    """

    verdict: Verdict
    launchers: tuple[str, ...]
    runs: bool
    steps: bool = False


@dataclass(slots=True)
class _Found:
    """What was found in some files.

    Attributes:
        broken: Backends whose files are not whole, and must not be run.
        wrong: What is wrong.
        unread: What cannot be looked at.
        edited: Files in which the rule is written otherwise, and can be.
        warnings: What is no fault and should be looked at.
    """

    broken: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, reason: str, *backends: str) -> None:
        """Something is wrong, so that nothing of some backends is run."""
        self.wrong.append(reason)
        self.broken.update(backends)

    def add(self, other: _Found) -> None:
        """What was found in other files, too."""
        self.broken |= other.broken
        self.wrong += other.wrong
        self.unread += other.unread
        self.edited += other.edited
        self.warnings += other.warnings


class Folder:
    """A folder of generated code, whose shared files are looked at once for all specs.

    Args:
        path: The folder.
        held: Its manifest; without one, it should have the files of all backends.
        specs: The specs that are looked at.
    """

    def __init__(self, path: Path, held: Manifest | None, specs: Sequence[Spec]) -> None:
        self.path = path
        self.held = held
        self.specs = {spec.name: spec for spec in specs}
        every = {name: Entry(None, "", of(spec.subject)) for name, spec in self.specs.items()}
        known = held.specs if held else manifest.adopted(path)
        self.entries = {**every, **known} if held else {**known, **every}
        self.of = cache(self._of)

    def inspect(self, spec: Spec) -> Inspection:
        """Looks at the files of a spec, and at those that it shares with others."""
        backends = self.entries[spec.name].backends
        found = _Found()
        for name in backends:
            self._own(spec, BACKENDS[name], found)
        for place in (*backends, ""):
            found.add(self.of(place))
        runs = REFERENCE not in found.broken
        launchers = tuple(b for b in LAUNCHERS if runs and b in backends and b not in found.broken)
        status, detail = Status.TESTED, "as built"
        if found.edited:
            detail = f"the rule is not as build writes it: {', '.join(found.edited)}"
        if found.wrong or found.unread:
            status = Status.REFUTED if found.wrong else Status.UNSUPPORTED
            detail = "\n  ".join([*found.wrong, *found.unread])
        verdict = Verdict(
            "files", spec.name, None, status, len(backends), detail,
            warnings=tuple(found.warnings),
        )  # fmt: skip
        steps = runs and all(b in backends and b not in found.broken for b in C)
        return Inspection(verdict, launchers, runs, steps)

    def _own(self, spec: Spec, backend: Backend, found: _Found) -> None:
        """A file of one spec."""
        path, name = self.path / backend.file(spec.name), backend.name
        command = f"stepforge build {spec.name}"
        text = _read(path, command, found, name)
        if text is None:
            return
        header = origin(text)
        if header is None or header["name"] != spec.name:
            found.refuse(f"{path} was not generated from `{spec.name}`", name)
            return
        built = expected_text(spec, name)
        try:
            line = strays.misread(text) if backend.artefact == "kernel" else 0
        except UNREADABLE as error:
            found.refuse(_no_program(path, error), name)
            return
        if line:
            what = (
                "`def`, its name and its bracket stand on one line, and no other begins with `def`"
            )
            found.refuse(f"{path}:{line}: Triton would read another function: {what}", name)
            return
        if same_meaning(text, built, backend.syntax):
            return
        if header["digest"] != spec.source.digest:
            found.refuse(f"{path} is stale: the spec has changed; run `{command}`", name)
        elif backend.artefact == "c":
            self._edited_c(path, text, spec, found)
        elif backend.artefact and backend.artefact != "caller":
            self._edited(path, text, spec, backend, built, found)
        else:
            self._differs(path, text, built, backend, found, name)

    def _edited_c(self, path: Path, text: str, spec: Spec, found: _Found) -> None:
        """A C file: its rule may be another one."""
        backend = BACKENDS["c"]
        around = expected_text(spec, backend.name, cut=True)
        try:
            compared = c_rule.compared(text, around)
        except ValueError as error:
            found.unread.append(f"{path} cannot be read: it holds {error}")
            found.broken.add(backend.name)
            return
        if compared.line:
            self._differs(path, text, around, backend, found, backend.name)
        else:
            unread = c_rule.unread(compared.rule, compared.before)
            self._allowed(path, unread, backend, found)

    def _edited(
        self, path: Path, text: str, spec: Spec, backend: Backend, built: str, found: _Found
    ) -> None:
        """A file that rungs look at: its rule may be another one."""
        around = expected_text(spec, backend.name, cut=True)
        own = surroundings.compared(built, around).rule
        try:
            compared = surroundings.compared(text, around)
            library = _COLUMNS[backend.column]
            unread = permitted.unread(compared.rule, own, compared.tree, library)
        except UNREADABLE as error:
            found.refuse(_no_program(path, error), backend.name)
            return
        if compared.difference:
            self._differs(path, text, around, backend, found, backend.name)
        else:
            self._allowed(path, unread, backend, found)

    def _allowed(
        self, path: Path, unread: tuple[int, str] | None, backend: Backend, found: _Found
    ) -> None:
        """A rule that is another one, with the first thing in it that nothing looks at."""
        if unread:
            line, what = unread
            found.unread.append(f"{path}:{line}: in a rule, {what} is not supported")
            found.broken.add(backend.name)
        else:
            found.edited.append(str(path))

    def _differs(
        self, path: Path, text: str, built: str, backend: Backend, found: _Found, *broken: str
    ) -> None:
        """A file that this version would write otherwise."""
        found.broken.update(broken)
        if self.held and self.held.version != __version__:
            found.unread.append(
                f"{path} differs from what build writes: the folder was built by stepforge "
                f"{self.held.version}, this is {__version__}; run `stepforge build`"
            )
            return
        where, lines = str(path), [""]
        if backend.syntax is PYTHON:
            try:
                compared = surroundings.compared(text, built)
            except UNREADABLE as error:
                found.wrong.append(_no_program(path, error))
                return
            where, lines = f"{path}:{compared.line}", ["", *compared.difference]
        elif backend.syntax is C_SYNTAX:
            try:
                words = c_rule.compared(text, built)
            except ValueError as error:
                found.wrong.append(f"{path} cannot be read: it holds {error}")
                return
            where, lines = f"{path}:{words.line}", ["", *words.difference]
        may_be_edited = broken and backend.artefact not in ("", "caller")
        around = ", outside of the rule" if may_be_edited else ""
        found.wrong.append(f"{where} differs from what build writes{around}" + "\n    ".join(lines))

    def _of(self, name: str) -> _Found:
        """What the specs of a folder have in common, in that of a backend, or above them for ""."""
        found = _Found()
        if not name:
            self._above(found)
            return found
        backend, place = BACKENDS[name], self.path / name
        for file in shared([name]):
            self._common(file, copied(file), backend, found, name)
        if backend.package:
            self._common(backend.package, self._package(backend), backend, found)
        expected = self._expected(name)
        if place.is_dir():
            for reason in strays.beside(place, expected):
                found.refuse(reason, name)
        self._compiled(place, expected, found)
        return found

    def _common(self, file: str, built: str, backend: Backend, found: _Found, *broken: str) -> None:
        """A file that several specs share; kernels may run with it."""
        path = self.path / file
        text = _read(path, "stepforge build", found, *broken)
        if text is not None and not same_meaning(text, built, backend.syntax):
            self._differs(path, text, built, backend, found, *broken)

    def _above(self, found: _Found) -> None:
        """The folder itself: it may be somebody's package, with an `__init__.py` of its own."""
        path, built = self.path / PYTHON.package, package(None)
        text = _read(path, "stepforge build", found)
        if text is not None and not same_meaning(text, built):
            ours = not self.held or PYTHON.package in self.held.files or is_ours(text)
            if ours:
                found.wrong.append(f"{path} differs from what build writes")
            else:
                found.warnings.append(
                    f"{path} is not of build, runs before all files below it, and was not looked at"
                )
        if not self.path.is_dir():
            return
        for name in BACKENDS:
            place = self.path / name
            if not self._expected(name) and place.is_dir():
                found.wrong += strays.beside(place, ())
        found.wrong += strays.above(self.path, BACKENDS)
        self._compiled(self.path, {PYTHON.package}, found)
        found.warnings += self._of_others()

    def _compiled(self, place: Path, expected: Iterable[str], found: _Found) -> None:
        for wrong, reason in strays.compiled(place, {*expected}):
            (found.wrong if wrong else found.warnings).append(reason)

    def _expected(self, name: str) -> set[str]:
        """The names of the files that the folder of a backend should hold."""
        backend = BACKENDS[name]
        own = {backend.file(n) for n, entry in self.entries.items() if name in entry.backends}
        files = {*own, *shared([name]), backend.package} if own else set()
        return {Path(file).name for file in files}

    def _package(self, backend: Backend) -> str:
        """The file that makes a package of a backend's folder."""
        if backend.exports is None:
            return package(backend)
        names = {}
        for name, entry in self.entries.items():
            if backend.name in entry.backends:
                spec = self.specs.get(name)
                found = emit.export_of(self.path, backend.name, name)
                names[name] = backend.exports.name(spec) if spec else found
        return backend.exports.package(
            backend.doc, {n: found for n, found in names.items() if found}
        )

    def _of_others(self) -> Iterator[str]:
        """Files of optimizers that are not looked at, where they are not as they were written."""
        others = {n: entry for n, entry in self.entries.items() if n not in self.specs}
        changed = []
        for file in manifest.files_of(others) if self.held else ():
            path = self.path / file
            if (
                self.held
                and path.is_file()
                and not self.held.is_as_written(file, path.read_bytes())
            ):
                changed.append(file)
        if changed:
            yield (
                f"{len(changed)} files of optimizers that are not looked at, such as {changed[0]}, "
                f"are not as build wrote them"
            )


def inspect(spec: Spec, folder: Path, held: Manifest | None = None) -> Inspection:
    """Looks at the files of one spec, as `Folder.inspect`."""
    return Folder(folder, held, [spec]).inspect(spec)


def _read(path: Path, command: str, found: _Found, *broken: str) -> str | None:
    """The text of a file, or None where that is said to be wrong."""
    try:
        if path.exists() and not path.is_file():
            found.refuse(f"{path} cannot be read: it is no regular file", *broken)
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        found.refuse(f"{path} is missing; run `{command}`", *broken)
        return None
    except OSError as error:
        found.refuse(f"{path} cannot be read: {error}", *broken)
        return None
    if reason := strays.unreadable(data):
        found.refuse(f"{path} cannot be read: {reason}", *broken)
        return None
    return data.decode("utf-8")


def _no_program(path: Path, error: BaseException) -> str:
    line = getattr(error, "lineno", None)
    return f"{path}{f':{line}' if line else ''} is not Python: {getattr(error, 'msg', error)}"


def same_meaning(a: str, b: str, syntax: Syntax = PYTHON) -> bool:
    """Whether two texts are one program: layout, comments and docstrings do not count."""
    return a == b or ((meaning := syntax.meaning(a)) is not None and meaning == syntax.meaning(b))
