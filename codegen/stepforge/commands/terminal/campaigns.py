"""How a campaign looks on a terminal: one table, then the failures in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.text import Text

from stepforge.commands.terminal import screen as terminal
from stepforge.commands.terminal import table
from stepforge.fuzz.campaign import BUILD, TEXTS, Finding, Report
from stepforge.verify.rungs.registry import RUNGS

SHOWN = 10
"""Ways to fail that are printed in full, each with its first case."""
LINES = 30
_OUTCOMES = (
    "passed", "no value", "undecided", "not run", "refused", "accepted", "failed",
)  # fmt: skip


def print_report(report: Report, seed: int, stream: IO[str], wide: bool = False) -> None:
    """One row for every stage; then the failures, each with the command that runs it alone."""
    screen, columns = table.console(stream), terminal.room(stream)
    ran = {stage for stage, _ in report.outcomes}
    stages = [stage for stage in (BUILD, *RUNGS, TEXTS) if stage in ran]
    outcomes = [o for o in _OUTCOMES if any(report.outcomes[s, o] for s in stages)]
    rows: list[list[table.Cell | str]] = []
    for stage in stages:
        counts = {outcome: report.outcomes[stage, outcome] for outcome in outcomes}
        cells = [
            table.Cell(str(n) if n else table.NONE, "bold red" if o == "failed" and n else "")
            for o, n in counts.items()
        ]
        rows.append([_title(stage), str(sum(counts.values())), *cells])
    numbers = ("cases", *outcomes)
    table.print_table(screen, ("stage", *numbers), rows, None if wide else columns, numbers)
    first = list({finding.fault.what: finding for finding in reversed(report.findings)}.values())
    for finding in first[::-1][:SHOWN]:
        screen.print()
        screen.print(Text(_words(finding, seed)))
    screen.print()
    plural = "" if len(report.findings) == 1 else "s"
    screen.print(Text(f"{len(report.findings)} failure{plural}, seed {seed}"))


def _title(stage: str) -> str:
    return RUNGS[stage].title if stage in RUNGS else stage


def _words(finding: Finding, seed: int) -> str:
    ill_formed = finding.stage == TEXTS
    size = " and made small" if finding.shrunk else ""
    amounts = "--count 0 --ill-formed 1" if ill_formed else "--count 1 --ill-formed 0"
    detail = finding.fault.detail.rstrip("\n").split("\n")
    detail = [*detail[:LINES], *(["…"] if len(detail) > LINES else [])]
    return "\n".join(
        [
            f"{_title(finding.stage)} {finding.number}: {finding.fault.what}",
            *(f"  {line}" for line in detail),
            f"  written to {finding.path}{size}",
            f"  again: stepforge fuzz --seed {seed} --only {finding.number} {amounts}",
        ]
    )


def outcomes(report: Report) -> dict[str, dict[str, int]]:
    """Stage → outcome → how many cases, for machines."""
    counts: dict[str, dict[str, int]] = {}
    for (stage, outcome), count in sorted(report.outcomes.items()):
        counts.setdefault(stage, {})[outcome] = count
    return counts


def failures(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Failing cases, without their texts: those are in the files."""
    return [
        {
            "stage": finding.stage,
            "number": finding.number,
            "what": finding.fault.what,
            "detail": finding.fault.detail,
            "file": str(finding.path),
            "shrunk": finding.shrunk,
        }
        for finding in findings
    ]
