"""How a run looks on a terminal: kills of every class by every rung, and what got away."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codegen.mutate.mutant import CLASSES
from codegen.mutate.report import GOALS, Report
from codegen.verify.certificate import RUNGS


def print_report(report: Report, stream: IO[str]) -> None:
    """One row for every class, then the kills of one rung alone, survivors and false alarms."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200
    rungs = [r for r in RUNGS if any(r in result.rungs for result in report.results)]
    grid = Table(box=None, pad_edge=False)
    for title in ("class", "killed", "goal", *rungs, ""):
        grid.add_column(title, no_wrap=True, justify="left" if title in ("class", "") else "right")
    for kind in report.kinds:
        killed, total = report.share(kind)
        kills = report.kills(kind)
        style = "" if killed >= GOALS[kind] * total else "bold red"
        grid.add_row(
            kind, Text(f"{killed}/{total}", style), f"{GOALS[kind]:.0%}" if GOALS[kind] else "–",
            *(str(kills[r]) if kills[r] else "–" for r in rungs), CLASSES[kind],
        )  # fmt: skip
    alone = [str(len(report.alone.get(r, ()))) for r in rungs]
    grid.add_row("alone", "", "", *alone, "killed by this rung and no other")
    console.print(grid)
    console.print()
    refused = len(report.false_alarms)
    console.print(
        Text(f"EQ: {len(report.equivalents)} rewritings that have to pass, {refused} refused")
    )
    for result in report.false_alarms:
        reasons = "; ".join(f"{r} {result.rungs[r]}" for r in result.alarms)
        console.print(Text(f"  {result.name}\n    {reasons}"))
    console.print(Text(f"alive: {len(report.survivors)} of {report.faults}"))
    for result in report.survivors:
        console.print(Text(f"  {result.name}"))
    none = [r for r in report.results if r.kind != "EQ" and r.same]
    console.print(Text(f"no faults, by proof, and not counted: {len(none)}"))
    verdict = "every class meets its goal" if report.passed else "not every class meets its goal"
    console.print(Text(verdict))
