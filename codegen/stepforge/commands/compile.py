"""`stepforge compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from stepforge.commands.options import Json, Specs
from stepforge.commands.specs import load_all, optimizers, refuse_transforms
from stepforge.commands.terminal.output import Failed, answer, note, print_diagnostics
from stepforge.language.diagnostics import Diagnostic

EXAMPLES = (
    "stepforge compile                           # every optimizer: libstepforge.so",
    "stepforge compile adamw lion --out liboptim.so",
    "stepforge compile adamw --cc clang --flags '-O3 -march=x86-64-v3'",
)


def compile_(
    specs: Specs = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="The library; its header has the same name."),
    ] = Path("libstepforge.so"),
    cc: Annotated[
        Optional[str],
        typer.Option(
            "--cc",
            metavar="COMMAND",
            help="The C compiler; by default CC, or else cc, gcc or clang.",
            show_default=False,
        ),
    ] = None,
    flags: Annotated[
        Optional[str],
        typer.Option(
            "--flags",
            metavar="FLAGS",
            help="Flags in place of STEPFORGE_CFLAGS, or else -O3 -march=native.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also replace files that this command has not written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write one shared library of the C files, and its header for C and C++.

    Without SPEC it has every optimizer. Nothing that was built is needed.
    """
    from stepforge.output import library

    warnings: list[Diagnostic] = []
    loaded = load_all(specs, warnings)
    refuse_transforms(loaded)
    chosen = optimizers(loaded, specs, "compile")
    if not as_json:
        print_diagnostics(warnings)
    try:
        made = library.make(chosen, out, cc, flags, force)
    except library.CannotCompile as error:
        raise Failed([Diagnostic("E091", str(error), "compile")], 2) from None
    sizes = {file: file.stat().st_size for file in (made.library, made.header)}
    if as_json:
        result = {
            "library": str(made.library),
            "header": str(made.header),
            "library_bytes": sizes[made.library],
            "header_bytes": sizes[made.header],
            "specs": [spec.name for spec in chosen],
            "compiler": list(made.compiler),
            "flags": list(made.flags),
            "runs_here_only": made.is_native,
        }
        answer("compile", [result], warnings)
        return
    for file, size in sizes.items():
        print(f"write  {file}  ({size} bytes)")
    note(f"compiled by {' '.join(made.compiler)} {' '.join(made.flags)}")
    if made.is_native:
        note(
            "-march=native: the library runs on processors like this one only; "
            "--flags says it otherwise"
        )
    note(f"{len(chosen)} optimizer{'s' if len(chosen) != 1 else ''}")
