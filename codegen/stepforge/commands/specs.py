"""From what stands on the command line to loaded specs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stepforge.commands import gpus
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.spec import Spec
from stepforge.language.subjects import OPTIMIZER, TRANSFORM
from stepforge.project import catalogue
from stepforge.project.loading import load


def locate(specs: list[str] | None, found: list[Diagnostic]) -> list[catalogue.Located]:
    """The files of the given specs; those that do not exist become diagnostics."""
    if not specs:
        return catalogue.everything()
    located = []
    for name in dict.fromkeys(specs):
        try:
            located.append(catalogue.locate(name))
        except SpecError as error:
            found += error.diagnostics
            if gpus.architecture(name):
                help = f"a GPU is given with `--target {name}`, each with its own"
                found[-1] = replace(found[-1], help=help)
    return located


def load_all(specs: list[str] | None, warnings: list[Diagnostic] | None = None) -> list[Spec]:
    """Loads specs; raises every error of all of them at once.

    Args:
        specs: Names or paths; all specs if there is none.
        warnings: What they are warned of is added here.

    Raises:
        SpecError: A spec is not there, is wrong, or has the name of another one.
    """
    found: list[Diagnostic] = []
    return [spec for spec, _ in load_located(locate(specs, found), found, warnings)]


def load_transforms() -> list[Spec]:
    """Loads all transforms; raises every error of all of them at once."""
    return [spec for spec, _ in load_located(catalogue.transforms(), [])]


def load_held(
    specs: list[str] | None, folder: Path, warnings: list[Diagnostic], notes: list[str]
) -> list[Spec]:
    """Loads the given specs, or those that a folder of generated code holds.

    Args:
        specs: Names or paths.
        folder: The folder.
        warnings: What they are warned of is added here.
        notes: What is to be said of the folder is added here.

    Raises:
        SpecError: As `load_all`; or the folder's manifest cannot be used.
    """
    from stepforge.project import selection

    found: list[Diagnostic] = []
    chosen = selection.to_verify(locate(specs, found) if specs else None, folder)
    notes += chosen.notes
    loaded = [spec for spec, _ in load_located(chosen.located, found, warnings)]
    refuse_transforms(loaded)
    return loaded


def refuse_transforms(specs: Iterable[Spec]) -> None:
    """E026: code is generated from what uses a transform, not from the transform alone."""
    if wrong := [spec for spec in specs if spec.subject == TRANSFORM]:
        raise SpecError(
            Diagnostic(
                "E026", f"`{spec.name}` is a transform", spec.source.path,
                help=f'name it in a spec with an optimizer: `use = ["{spec.name}", "adamw"]`',
            )
            for spec in wrong
        )  # fmt: skip


def optimizers(specs: Iterable[Spec], named: list[str] | None, command: str) -> list[Spec]:
    """The optimizers among specs, for a command that is about nothing else.

    Args:
        specs: The specs.
        named: What stands on the command line; without, schedules are left out.
        command: The command.

    Raises:
        SpecError: A schedule is named.
    """
    found = [spec for spec in specs if spec.subject == OPTIMIZER]
    if wrong := [spec for spec in specs if named and spec.subject != OPTIMIZER]:
        raise SpecError(
            Diagnostic(
                "E026", f"`{spec.name}` is a {spec.subject.name}", spec.source.path,
                help=f"`stepforge {command}` is about optimizers",
            )
            for spec in wrong
        )  # fmt: skip
    return found


def load_located(
    files: Iterable[catalogue.Located],
    found: list[Diagnostic],
    warnings: list[Diagnostic] | None = None,
) -> list[tuple[Spec, catalogue.Located]]:
    """Loads specs; raises every error of all of them at once.

    Args:
        files: The files of the specs.
        found: Errors that are there already.
        warnings: What they are warned of is added here.
    """
    loaded: list[tuple[Spec, catalogue.Located]] = []
    for located in files:
        try:
            spec, warned = load(located.path, located.shown)
        except SpecError as error:
            found += error.diagnostics
            continue
        loaded.append((spec, located))
        if warnings is not None:
            warnings += [warning for warning in warned if warning not in warnings]
    seen: dict[str, str] = {}
    for spec, located in loaded:
        if spec.name in seen:
            message = f"`{spec.name}` is also the name of {seen[spec.name]}"
            help = "their generated files would be the same"
            found.append(Diagnostic("E009", message, located.shown, help=help))
        seen.setdefault(spec.name, located.shown)
    if found:
        raise SpecError(found)
    return loaded
