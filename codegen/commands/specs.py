"""From what stands on the command line to loaded specs."""

from __future__ import annotations

from codegen import catalogue
from codegen.diagnostics import Diagnostic, SpecError
from codegen.reader import load
from codegen.spec import Spec


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
    return located


def load_all(specs: list[str] | None) -> list[Spec]:
    """The specs alone; see `load_pairs`."""
    return [spec for spec, _ in load_pairs(specs)]


def load_pairs(specs: list[str] | None) -> list[tuple[Spec, catalogue.Located]]:
    """Loads specs; raises every error of all of them at once. Warnings are for `check`."""
    found: list[Diagnostic] = []
    loaded: list[tuple[Spec, catalogue.Located]] = []
    for located in locate(specs, found):
        try:
            loaded.append((load(located.path, located.shown)[0], located))
        except SpecError as error:
            found += error.diagnostics
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
