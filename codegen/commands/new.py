"""`stepforge new`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from codegen.commands.options import complete_spec
from codegen.commands.output import note


def new(
    name: Annotated[str, typer.Argument(help="Name of the optimizer and its file.")],
    origin: Annotated[
        Optional[str],
        typer.Option(
            "--from", metavar="SPEC", help="Copy this spec.", autocompletion=complete_spec
        ),
    ] = None,
) -> None:
    """Write a commented spec that checks, builds and verifies as it is."""
    from codegen.scaffold import scaffold

    path = scaffold(name, origin)
    note(f"wrote {path}")
    note(f"next: edit it, then `stepforge build {name}` and `stepforge verify {name}`")
