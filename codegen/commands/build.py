"""`stepforge build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from codegen import catalogue
from codegen.commands.options import Json, Out, Specs
from codegen.commands.output import note, print_json
from codegen.commands.specs import load_all


def build(
    specs: Specs = None,
    out: Out = Path("generated"),
    only_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit 1 with a diff if anything is out of date."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the generated files that changed, and remove those whose spec is gone."""
    from codegen import emit

    loaded = load_all(specs)
    found = emit.changes(loaded, out, not specs, catalogue.known_names())
    if not (only_check or dry_run):
        emit.apply(found)
    if as_json:
        print_json([{"action": c.action, "path": str(c.path)} for c in found])
    elif only_check:
        for change in found:
            sys.stdout.write(change.diff())
    else:
        for change in found:
            print(f"{change.action:6}  {change.path}")
    plural = "s" if len(loaded) != 1 else ""
    if only_check:
        state = f"{_files(found)} out of date" if found else "everything is up to date"
        note(f"{len(loaded)} spec{plural}: {state}")
        if found:
            raise typer.Exit(1)
    else:
        verb = "would change" if dry_run else "changed"
        note(f"{len(loaded)} spec{plural}: {_files(found)} {verb}")


def _files(found: list[Any]) -> str:
    return f"{len(found)} file{'s' if len(found) != 1 else ''}"
