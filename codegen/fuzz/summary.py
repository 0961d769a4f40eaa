"""How a campaign looks on a terminal: one table, then the failures in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codegen.fuzz.campaign import BUILD, TEXTS, Finding, Report
from codegen.verify.certificate import RUNGS

SHOWN = 10
"""Ways to fail that are printed in full, each with its first case."""
LINES = 30
_OUTCOMES = (
    "passed", "no value", "undecided", "spills", "not run", "refused", "accepted", "failed",
)  # fmt: skip


def print_report(report: Report, seed: int, stream: IO[str]) -> None:
    """One row for every stage; then the failures, each with the command that runs it alone."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200
    ran = {stage for stage, _ in report.outcomes}
    stages = [stage for stage in (BUILD, *RUNGS, TEXTS) if stage in ran]
    outcomes = [o for o in _OUTCOMES if any(report.outcomes[s, o] for s in stages)]
    grid = Table(box=None, pad_edge=False)
    for title in ("stage", "cases", *outcomes):
        grid.add_column(title, no_wrap=True, justify="left" if title == "stage" else "right")
    for stage in stages:
        counts = [report.outcomes[stage, outcome] for outcome in outcomes]
        styles = [
            "bold red" if o == "failed" and n else "" for o, n in zip(outcomes, counts, strict=True)
        ]
        cells = [Text(str(n) if n else "–", s) for n, s in zip(counts, styles, strict=True)]
        grid.add_row(stage, str(sum(counts)), *cells)
    console.print(grid)
    first = list({finding.fault.what: finding for finding in reversed(report.findings)}.values())
    for finding in first[::-1][:SHOWN]:
        console.print()
        console.print(Text(_words(finding, seed)))
    console.print()
    plural = "" if len(report.findings) == 1 else "s"
    console.print(Text(f"{len(report.findings)} failure{plural}, seed {seed}"))


def _words(finding: Finding, seed: int) -> str:
    ill_formed = finding.stage == TEXTS
    size = " and made small" if finding.shrunk else ""
    amounts = "--count 0 --ill-formed 1" if ill_formed else "--count 1 --ill-formed 0"
    detail = finding.fault.detail.rstrip("\n").split("\n")
    detail = [*detail[:LINES], *(["…"] if len(detail) > LINES else [])]
    return "\n".join(
        [
            f"{finding.stage} {finding.number}: {finding.fault.what}",
            *(f"  {line}" for line in detail),
            f"  written to {finding.path}{size}",
            f"  again: stepforge fuzz --seed {seed} --only {finding.number} {amounts}",
        ]
    )


def as_dict(report: Report, seed: int) -> dict[str, object]:
    """The machine-readable form."""
    counts: dict[str, dict[str, int]] = {}
    for (stage, outcome), count in sorted(report.outcomes.items()):
        counts.setdefault(stage, {})[outcome] = count
    return {"seed": seed, "outcomes": counts, "failures": failures(report.findings)}


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
