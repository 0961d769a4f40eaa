"""`stepforge verify`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from codegen.commands.options import Specs, complete_kernel, complete_target
from codegen.commands.output import print_json, write_json
from codegen.commands.specs import load_all
from codegen.diagnostics import Diagnostic, SpecError, nearest


class Level(StrEnum):
    """How much `verify` does; `codegen.verify.tasks` says what."""

    fast = "fast"
    full = "full"
    deep = "deep"


def verify(
    specs: Specs = None,
    folder: Annotated[
        Path, typer.Option("--generated", metavar="DIR", help="The folder of generated code.")
    ] = Path("generated"),
    level: Annotated[
        Level,
        typer.Option(
            help="fast: float32 on one GPU, in seconds; full: every type and GPU, fast mode, "
            "torch, rounding; deep: also mutants."
        ),
    ] = Level.full,
    target: Annotated[
        Optional[list[str]],
        typer.Option(
            "--target",
            metavar="GPU",
            help="GPU to compile for (repeatable), instead of those of the level.",
            autocompletion=complete_target,
        ),
    ] = None,
    kernel: Annotated[
        Optional[list[str]],
        typer.Option(
            "--kernel",
            metavar="KERNEL",
            help="Kernel to look at (repeatable): triton, that of one tensor, or multi_tensor; "
            "by default both.",
            autocompletion=complete_kernel,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    keep: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Keep verdicts in a file, and use those again whose inputs are all the same.",
        ),
    ] = None,
    as_json: Annotated[
        Optional[Path],
        typer.Option("--json", metavar="FILE", help="Write the certificates; - for stdout."),
    ] = None,
) -> None:
    """Verify the files on disk against their specs, so that an edited kernel is refuted."""
    from codegen import report, verify

    for name in target or ():
        if name not in verify.ARCHITECTURES:
            help = nearest(name, verify.ARCHITECTURES) or "there is sm_90, for example"
            raise SpecError([Diagnostic("E006", f"no target named `{name}`", "verify", help=help)])
    for name in kernel or ():
        if name not in verify.LAUNCHERS:
            help = nearest(name, verify.LAUNCHERS) or "there are triton and multi_tensor"
            raise SpecError([Diagnostic("E006", f"no kernel named `{name}`", "verify", help=help)])
    chosen = tuple(name for name in verify.LAUNCHERS if not kernel or name in kernel)
    loaded = load_all(specs)
    with report.progress(sys.stderr) as advance:
        certificates = verify.verify(
            loaded, folder, seed, target, jobs, advance, verify.Level(level.value), keep, chosen
        )
    if as_json is not None:
        data = [certificate.as_dict() for certificate in certificates]
        if str(as_json) == "-":
            print_json(data)
        else:
            write_json(as_json, data)
    if as_json is None or str(as_json) != "-":
        report.print_table(certificates, sys.stdout)
    if not certificates or not all(certificate.passed for certificate in certificates):
        raise typer.Exit(1)
