"""`stepforge mutate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from codegen.commands.options import Specs
from codegen.commands.output import print_json, write_json
from codegen.commands.specs import load_all


def mutate(
    specs: Specs = None,
    folder: Annotated[
        Path, typer.Option("--generated", metavar="DIR", help="The folder of generated code.")
    ] = Path("generated"),
    count: Annotated[int, typer.Option(min=1, help="Faults, over all optimizers.")] = 1000,
    equivalents: Annotated[
        int, typer.Option(min=0, help="Rewritings without a fault, which have to pass.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    keep: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Keep verdicts in a file, and go on from what it holds."),
    ] = None,
    as_json: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Write JSON; - for stdout.")
    ] = None,
) -> None:
    """Plant faults in rule, generated files, Triton IR and PTX; see which rungs find them."""
    from codegen import report
    from codegen.mutate import mutate as run
    from codegen.mutate import summary
    from codegen.mutate.log import Log

    loaded = {spec.name: spec for spec in load_all(specs)}
    with report.progress(sys.stderr) as advance, Log(keep) as log:
        found = run(
            loaded,
            folder,
            count,
            equivalents,
            seed,
            jobs,
            log.known,
            lambda mutant, rungs, total: advance(log.add(mutant.name, rungs), total, mutant.kind),
        )
    if as_json is not None:
        if str(as_json) == "-":
            print_json(found.as_dict())
        else:
            write_json(as_json, found.as_dict())
    if as_json is None or str(as_json) != "-":
        summary.print_report(found, sys.stdout)
    if not found.passed:
        raise typer.Exit(1)
