"""How a run looks on a terminal: kills of every class by every rung, and what got away."""

from __future__ import annotations

from typing import IO

from rich.text import Text

from stepforge.commands.terminal import screen as terminal
from stepforge.commands.terminal import table
from stepforge.mutate.mutant import BUILD, CLASSES, FILES
from stepforge.mutate.report import GOALS, Report
from stepforge.verify.rungs import registry
from stepforge.verify.rungs.registry import RUNGS


def print_report(report: Report, stream: IO[str], wide: bool = False) -> None:
    """One row for every class, then the kills of one rung alone, survivors and false alarms."""
    screen, columns = table.console(stream), terminal.room(stream)

    def say(line: str) -> None:
        table.say(screen, line, columns)

    asked = [
        r for r in (FILES, BUILD, *RUNGS) if any(r in result.rungs for result in report.results)
    ]
    meanings = {kind: CLASSES[kind] for kind in report.kinds}
    meanings["alone"] = "killed by this rung and no other"
    rows: list[list[table.Cell | str]] = []
    for kind in report.kinds:
        killed, total = report.share(kind)
        kills = report.kills(kind)
        style = "" if killed >= GOALS[kind] * total else "bold red"
        goal = f"{GOALS[kind]:.0%}" if GOALS[kind] else table.NONE
        by = (str(kills[r]) if kills[r] else table.NONE for r in asked)
        rows.append([kind, table.Cell(f"{killed}/{total}", style), goal, *by])
    rows.append(["alone", "", "", *(str(len(report.alone.get(r, ()))) for r in asked)])
    names = [table.Cell(RUNGS[r].title if r in RUNGS else r, brief=r) for r in asked]
    numbers = ("killed", "goal", *(name.text for name in names))
    header: tuple[table.Cell | str, ...] = ("class", "killed", "goal", *names, "")
    described = [[*row, table.Cell(meanings[str(row[0])], brief="")] for row in rows]
    form = table.print_table(screen, header, described, None if wide else columns, numbers)
    screen.print()
    say(f"rungs: {registry.titles([r for r in asked if r in RUNGS])}")
    if form != "whole":
        for kind, meaning in meanings.items():
            say(f"{kind}: {meaning}")
        screen.print()
    refused = len(report.false_alarms)
    say(f"EQ: {len(report.equivalents)} rewritings that have to pass, {refused} refused")
    for result in report.false_alarms:
        reasons = "; ".join(f"{r} {result.rungs[r]}" for r in result.alarms)
        screen.print(Text(f"  {result.name}\n    {reasons}"))
    say(f"alive: {len(report.survivors)} of {report.faults}")
    for result in report.survivors:
        screen.print(Text(f"  {result.name}"))
    none = [r for r in report.results if r.kind != "EQ" and r.same]
    say(f"no faults, by proof, and not counted: {len(none)}")
    verdict = "every class meets its goal" if report.passed else "not every class meets its goal"
    say(verdict)
