"""`stepforge explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from codegen.commands.options import Json, complete_code
from codegen.commands.output import print_json
from codegen.diagnostics import CODES, Diagnostic, SpecError, nearest


def explain(
    code: Annotated[str, typer.Argument(help="Such as E104.", autocompletion=complete_code)],
    as_json: Json = False,
) -> None:
    """Print what an error code means, with an example."""
    from codegen.scaffold import example

    wanted = code.upper()
    if wanted not in CODES:
        help = nearest(wanted, CODES) or f"there are {', '.join(CODES)}"
        raise SpecError([Diagnostic("E006", f"no error code `{code}`", "explain", help=help)])
    spec, message = example(wanted)
    if as_json:
        print_json(
            {"code": wanted, "meaning": CODES[wanted], "example": spec, "diagnostic": message}
        )
        return
    print(f"{wanted}: {CODES[wanted]}")
    if spec:
        print(f"\nFor example\n\n{_indent(spec)}\n\ngives\n\n{_indent(message)}")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
