"""`stepforge build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from codegen import catalogue
from codegen.commands.options import Json, Out, Specs
from codegen.commands.output import answer, leave, note, print_diagnostics
from codegen.commands.specs import load_all
from codegen.diagnostics import Diagnostic

EXAMPLES = (
    "stepforge build                  # every spec, into generated/",
    "stepforge build mine             # one of them; nothing is removed",
    "stepforge build --out mypkg/optim",
    "stepforge build --dry-run        # what would change",
    "stepforge build --check          # for CI: status 1 and a diff, or 0",
)


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

    warnings: list[Diagnostic] = []
    loaded = load_all(specs, warnings)
    if not as_json:
        print_diagnostics(warnings)
    found = emit.changes(loaded, out, not specs, catalogue.known_names())
    if not (only_check or dry_run):
        emit.apply(found)
    status = 1 if only_check and found else 0
    if as_json:
        results = [{"action": c.action, "path": str(c.path)} for c in found]
        answer("build", results, warnings, status)
    elif only_check:
        for change in found:
            sys.stdout.write(change.diff())
    else:
        for change in found:
            print(f"{change.action:6}  {change.path}")
    if not as_json:
        plural = "s" if len(loaded) != 1 else ""
        note(f"{len(loaded)} spec{plural}: {_summary(found, only_check, dry_run)}")
    leave(status)


def _summary(found: list[Any], only_check: bool, dry_run: bool) -> str:
    files = f"{len(found)} file{'s' if len(found) != 1 else ''}"
    if only_check:
        return f"{files} out of date" if found else "everything is up to date"
    return f"{files} {'would change' if dry_run else 'changed'}"
