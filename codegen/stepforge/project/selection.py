"""Which specs a command is about: those that are named, or those that the output folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.output import manifest
from stepforge.output.manifest import Entry, Manifest
from stepforge.project import catalogue
from stepforge.project.catalogue import Located


@dataclass(frozen=True, slots=True)
class Selection:
    """The specs of a command, and what it means for the others.

    Attributes:
        located: The files of the specs.
        whole: They are all there are, so others that the folder holds are orphans.
        held: What the folder holds.
        everything: The folder gets all specs that there are, not only those that were named.
        known: Specs of the folder that stay, although nobody knows where their files are.
        notes: One line each, for whoever runs the command.
    """

    located: tuple[Located, ...]
    whole: bool
    held: Manifest | None = None
    everything: bool = False
    known: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self, loaded: Iterable[Located]) -> dict[str, str | None]:
        """What the manifest says where specs came from: the same from every working directory."""
        found: dict[str, str | None] = {}
        for located in loaded:
            name, file = catalogue.name_of(located.path), catalogue.origin(located)
            entry = self.held.specs.get(name) if self.held else None
            if entry and entry.file and located.path.as_posix().endswith(f"/{entry.file}"):
                file = entry.file
            found[name] = file
        return found


def to_build(named: Sequence[Located] | None, out: Path, only_check: bool) -> Selection:
    """The specs that `build` is about.

    Without names they are those that the folder holds and, unless it is only checked, all that
    there are. A folder that another version built is built again as a whole.

    Args:
        named: The specs that are named, or None.
        out: The output folder.
        only_check: Nothing is written.

    Raises:
        SpecError: There are no specs, or the manifest cannot be used.
    """
    held = manifest.read(out)
    if held is None:
        if named is not None:
            return Selection(tuple(named), whole=False)
        return Selection(tuple(catalogue.everything()), whole=True, everything=True)
    mine, _, outside = _resolved(held, out)
    notes = [_built_by(held, out)] if _is_older(held) else []
    if named is not None:
        if _is_older(held) and not only_check:
            notes = [f"{_built_by(held, out, '')}: all that it holds is built again"]
            named = _merged(named, mine)
        return Selection(tuple(named), whole=False, held=held, notes=tuple(notes))
    lost = [
        f"{out} holds `{name}`, whose spec lies elsewhere: name its file to build it"
        for name in outside
    ]
    notes = [*(notes if only_check else []), *lost]
    has_own = catalogue.local().is_dir()
    others: list[Located] = []
    if (has_own or not only_check) and (held.everything or (has_own and not only_check)):
        others = catalogue.everything()
    everything = not only_check and bool(others)
    located = _merged(mine, others)
    if not located and not outside:
        catalogue.everything()  # raises where there are none: all would be orphans
    return Selection(located, True, held, everything, tuple(outside), tuple(notes))


def to_verify(named: Sequence[Located] | None, out: Path) -> Selection:
    """The specs that `verify` is about: those that the folder holds, unless some are named.

    Raises:
        SpecError: The manifest cannot be used, or the spec of something in the folder is not found.
    """
    held = manifest.read(out)
    notes = (_built_by(held, out),) if held is not None and _is_older(held) else ()
    if named is not None or held is None:
        located = catalogue.everything() if named is None else named
        return Selection(tuple(located), whole=False, notes=notes)
    mine, gone, outside = _resolved(held, out)
    if gone or outside:
        help = "verify it by the path of its spec; `stepforge build` removes what has none"
        raise SpecError(
            Diagnostic("E006", f"the spec of `{name}` is not found", str(out / manifest.NAME),
                       help=help)
            for name in (*gone, *outside)
        )  # fmt: skip
    others = catalogue.everything() if held.everything and catalogue.local().is_dir() else []
    return Selection(_merged(mine, others), whole=False, notes=notes)


def _is_older(held: Manifest) -> bool:
    from stepforge.version import __version__

    return held.version != __version__


_ADVICE = ": build it anew"


def _built_by(held: Manifest, out: Path, advice: str = _ADVICE) -> str:
    from stepforge.version import __version__

    return f"{out} was built by stepforge {held.version}, this is {__version__}{advice}"


def _merged(first: Iterable[Located], others: Iterable[Located]) -> tuple[Located, ...]:
    """Specs by name: the first of each, sorted."""
    found: dict[str, Located] = {}
    for located in (*first, *others):
        found.setdefault(catalogue.name_of(located.path), located)
    return tuple(found[name] for name in sorted(found))


def _resolved(held: Manifest, out: Path) -> tuple[list[Located], list[str], list[str]]:
    """The specs of a folder: their files, names without one, names whose file nobody knows."""
    found: list[Located] = []
    gone: list[str] = []
    outside: list[str] = []
    for name, entry in held.specs.items():
        if entry.file is None:
            outside.append(name)
        elif located := _find(name, entry, out):
            found.append(located)
        else:
            gone.append(name)
    return found, gone, outside


def _find(name: str, entry: Entry, out: Path) -> Located | None:
    """The file of a spec: in the project, in a folder above the output, or the stock one."""
    file = entry.file or ""
    for folder in (catalogue.root(), *Path(os.path.realpath(out)).parents):
        path = folder / file
        if catalogue.name_of(path) == name and path.is_file():
            return Located(path, os.path.relpath(path))
    if file.startswith("specs/"):
        with suppress(SpecError):
            stock = catalogue.locate(name)
            return stock if catalogue.origin(stock) == file else None
    return None
