"""`stepforge check`."""

from __future__ import annotations

from typing import Any

from stepforge.commands.options import Json, Specs
from stepforge.commands.specs import locate
from stepforge.commands.terminal.output import answer, leave, note, print_diagnostics
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.project import catalogue
from stepforge.project.loading import load

EXAMPLES = (
    "stepforge check                  # every spec in specs/, else the stock ones",
    "stepforge check mine adamw       # two of them",
    "stepforge check drafts/mine.toml # a file anywhere",
    "stepforge check --json           # for an editor",
)


def check(specs: Specs = None, as_json: Json = False) -> None:
    """Parse specs and apply the semantic rules, without building anything.

    The rule language has + - * / **, comparisons, and, or, not, `x if c else y`, and the functions
    sqrt abs sign min max exp log clip.
    """
    found: list[Diagnostic] = []
    results: list[dict[str, Any]] = []
    for located in (*locate(specs, found), *(() if specs else catalogue.transforms())):
        try:
            own = load(located.path, located.shown)[1]
        except SpecError as error:
            own = list(error.diagnostics)
        errors = sum(d.severity == "error" for d in own)
        results.append({"path": located.shown, "errors": errors, "warnings": len(own) - errors})
        found += own
    status = 2 if any(d.severity == "error" for d in found) else 0
    if as_json:
        answer("check", results, found, status)
    else:
        print_diagnostics(found)
        if not status:
            note(f"{len(results)} spec{'s' if len(results) != 1 else ''} checked, no errors")
    leave(status)
