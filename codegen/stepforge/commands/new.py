"""`stepforge new`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from stepforge.commands.options import Json, complete_spec
from stepforge.commands.terminal.output import answer, note

EXAMPLES = (
    "stepforge new mine               # a commented spec, complete as it is",
    "stepforge new mine --from adamw  # begins as a copy",
    "stepforge new mine --from cosine # begins as a copy of a schedule",
    "stepforge new adamw --force      # hides the stock spec in this folder",
)


def new(
    name: Annotated[str, typer.Argument(help="Name of the spec and its file.")],
    origin: Annotated[
        Optional[str],
        typer.Option(
            "--from", metavar="SPEC", help="Copy this spec.", autocompletion=complete_spec
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also take the name of a stock spec, which is hidden then."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a commented spec that checks, builds and verifies as it is.

    A file that exists is never overwritten. A copy has a title and a reference of its own.
    """
    from stepforge.commands.scaffold import scaffold

    path = scaffold(name, origin, force)
    if as_json:
        answer("new", [{"name": name, "path": str(path), "from": origin}])
        return
    note(f"wrote {path}")
    note(f"next: edit it, then `stepforge build {name}` and `stepforge verify {name}`")
