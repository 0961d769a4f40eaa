"""`stepforge fuzz`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from stepforge.commands.options import Json, Wide
from stepforge.commands.terminal.output import answer, leave
from stepforge.language.diagnostics import Diagnostic, SpecError

EXAMPLES = (
    "stepforge fuzz                              # 200 specs and 200 texts",
    "stepforge fuzz --seed 7 --count 1000",
    "stepforge fuzz --seed 7 --only 41           # one case again",
    "stepforge fuzz --count 0 --ill-formed 5000  # the front end alone",
)


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
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Check, build and verify random specs; check random texts that are no specs.

    Case I of a seed is the same whatever the counts are. Failing cases are made small and kept.
    """
    from stepforge.commands.terminal import campaigns as summary
    from stepforge.commands.terminal import report
    from stepforge.fuzz.campaign import Campaign
    from stepforge.fuzz.workers import Workers
    from stepforge.verify.processes import scratch

    specs, texts = range(count), range(count if ill_formed is None else ill_formed)
    if only is not None:
        specs, texts = (range(only, only + 1) if r else r for r in (specs, texts))
    if not specs and not texts:
        raise SpecError([Diagnostic("E006", "there is nothing to run", "fuzz")])
    with (
        scratch(),
        report.progress(sys.stderr) as advance,
        Workers(jobs or os.cpu_count() or 1) as workers,
    ):
        found = Campaign(seed, workers, advance).run(specs, texts, keep)
    status = 0 if found.passed else 1
    if as_json:
        answer(
            "fuzz",
            summary.failures(found.findings),
            status=status,
            passed=found.passed,
            seed=seed,
            outcomes=summary.outcomes(found),
        )
    else:
        summary.print_report(found, seed, sys.stdout, wide)
    leave(status)
