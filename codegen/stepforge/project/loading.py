"""Specs from files and texts, with those that they name looked up in the catalogue."""

from __future__ import annotations

from pathlib import Path

from stepforge.language import composition
from stepforge.language.diagnostics import Diagnostic
from stepforge.language.reader import from_source
from stepforge.language.source import Source, parse, read
from stepforge.language.spec import Spec
from stepforge.project import catalogue


def load(path: Path, shown: str | None = None) -> tuple[Spec, list[Diagnostic]]:
    """Reads and checks a spec file.

    Args:
        path: The file.
        shown: The name that diagnostics use, by default the path itself.

    Returns:
        The spec and the warnings about it. One that is made of others, with `base` or `use`, is
        written out: `spec.source.text` is all of it.

    Raises:
        SpecError: With every error of the file, and of those that it names.
    """
    return _loaded(read(path, shown), catalogue.name_of(path))


def loads(text: str, shown: str = "<spec>") -> tuple[Spec, list[Diagnostic]]:
    """Like `load`, from text."""
    return _loaded(parse(text, shown), None)


def _loaded(source: Source, stem: str | None) -> tuple[Spec, list[Diagnostic]]:
    if composition.is_composed(source.data):
        return composition.load(source, stem, _find)
    return from_source(source, stem)


def _find(name: str) -> Source:
    located = catalogue.locate(name)
    return read(located.path, located.shown)
