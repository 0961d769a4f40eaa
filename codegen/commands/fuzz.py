"""`stepforge fuzz`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from codegen.commands.output import print_json, write_json
from codegen.diagnostics import Diagnostic, SpecError


def fuzz(
    count: Annotated[int, typer.Option(min=0, help="Random specs.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cases.")] = 0,
    ill_formed: Annotated[
        Optional[int],
        typer.Option(min=0, help="Random texts that are no specs; by default as many as specs."),
    ] = None,
    only: Annotated[
        Optional[int],
        typer.Option(min=0, metavar="I", help="Run number I alone, whatever the counts are."),
    ] = None,
    keep: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder that failing cases are written to.")
    ] = Path("fuzz_failures"),
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    as_json: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Write JSON; - for stdout.")
    ] = None,
) -> None:
    """Check, build and verify random specs; check random texts that are no specs.

    Case I of a seed is the same whatever the counts are. Failing cases are made small and kept.
    """
    from codegen import report
    from codegen.fuzz import summary
    from codegen.fuzz.campaign import Campaign
    from codegen.fuzz.workers import Workers

    specs, texts = range(count), range(count if ill_formed is None else ill_formed)
    if only is not None:
        specs, texts = (range(only, only + 1) if r else r for r in (specs, texts))
    if not specs and not texts:
        raise SpecError([Diagnostic("E006", "there is nothing to run", "fuzz")])
    with (
        report.progress(sys.stderr) as advance,
        Workers(jobs or os.cpu_count() or 1) as workers,
    ):
        found = Campaign(seed, workers, advance).run(specs, texts, keep)
    if as_json is not None:
        data = summary.as_dict(found, seed)
        if str(as_json) == "-":
            print_json(data)
        else:
            write_json(as_json, data)
    if as_json is None or str(as_json) != "-":
        summary.print_report(found, seed, sys.stdout)
    if not found.passed:
        raise typer.Exit(1)
