"""`stepforge check`."""

from __future__ import annotations

import typer

from codegen.commands.options import Json, Specs
from codegen.commands.output import note, print_diagnostics, print_json
from codegen.commands.specs import locate
from codegen.diagnostics import Diagnostic, SpecError
from codegen.reader import load


def check(specs: Specs = None, as_json: Json = False) -> None:
    """Parse specs and apply the semantic rules, without building anything.

    The rule language has + - * / **, comparisons, and, or, not, `x if c else y`, and the functions
    sqrt abs sign min max exp log clip.
    """
    found: list[Diagnostic] = []
    count = 0
    for located in locate(specs, found):
        count += 1
        try:
            found += load(located.path, located.shown)[1]
        except SpecError as error:
            found += error.diagnostics
    failed = any(d.severity == "error" for d in found)
    if as_json:
        print_json([d.as_dict() for d in found])
    else:
        print_diagnostics(found)
    if failed:
        raise typer.Exit(2)
    note(f"{count} spec{'s' if count != 1 else ''} checked, no errors")
