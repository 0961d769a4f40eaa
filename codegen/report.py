"""How certificates look on a terminal: a progress bar, one table, failures in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from codegen.verify.certificate import RUNGS, Certificate, Status, Verdict, describe, worst
from codegen.verify.generated import LAUNCHERS

_STYLES = {
    Status.PROVED: "bold green",
    Status.TESTED: "green",
    Status.REFUTED: "bold red",
    Status.UNSUPPORTED: "bold yellow",
}


@contextmanager
def progress(stream: IO[str]) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields what advances it."""
    bar = Progress(
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=stream),
        disable=not stream.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield advance


def print_table(certificates: Sequence[Certificate], stream: IO[str]) -> None:
    """One row for every optimizer, one verdict for every rung; then the failures in words."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200
    rungs = [r for r in RUNGS if r != "files" and any(c.of(r) for c in certificates)]
    grid = Table(box=None, pad_edge=False)
    for title in ("optimizer", "options", "files", *rungs):
        grid.add_column(title, no_wrap=True)
    for certificate in certificates:
        sets = {tuple(v.options.items()) for v in certificate.verdicts if v.options is not None}
        cells = [_cell(certificate.of(rung)) for rung in ("files", *rungs)]
        grid.add_row(certificate.optimizer, str(len(sets)) if sets else "–", *cells)
    console.print(grid)
    failures = [v for c in certificates for v in c.verdicts if not v.passed]
    seen: set[tuple[str, str]] = set()
    for verdict in failures:
        # One option set is enough to see the fault; the certificate has all of them.
        if (verdict.optimizer, verdict.rung) not in seen:
            seen.add((verdict.optimizer, verdict.rung))
            console.print()
            console.print(Text(describe(verdict)))
    console.print()
    for rung in rungs:
        console.print(Text(f"{rung}: {RUNGS[rung]}"))
    for line in _figures(certificates):
        console.print(Text(line))
    for line in _not_covered(certificates):
        console.print(Text(line, style=_STYLES[Status.UNSUPPORTED]))
    for name in LAUNCHERS:
        if any(c.kernels and name not in c.kernels for c in certificates):
            line = f"not looked at by R2 to R9: the kernels in {name}/"
            console.print(Text(line, style=_STYLES[Status.UNSUPPORTED]))
    verdicts = [v for c in certificates for v in c.verdicts if v.rung != "files"]
    if kept := sum(bool(v.kept) for v in verdicts):
        line = (
            f"{kept} of {len(verdicts)} verdicts are kept ones, of earlier runs on the same inputs"
        )
        console.print(Text(line))
    passed = sum(certificate.passed for certificate in certificates)
    console.print(Text(f"{passed} of {len(certificates)} optimizers passed every rung"))


def _figures(certificates: Sequence[Certificate]) -> Iterator[str]:
    """Static figures over all kernels in float32 and exact mode; R5 refutes what spills."""
    verdicts = (v for c in certificates for v in c.of("R5"))
    found = [
        kernel["figures"]
        for v in verdicts
        if v.status.passed and v.exact and v.dtype == "fp32"
        for kernel in (v.evidence, v.evidence.get("multi_tensor", {}))
        if "figures" in kernel
    ]
    occupancies = [f["occupancy"] for f in found if "occupancy" in f]
    shares = [f["issue_share"] for f in found if f.get("issue_share") is not None]
    if occupancies and shares:
        registers = max(f["registers"] for f in found if "occupancy" in f)
        yield (
            f"{len(occupancies)} kernels in float32: at most {registers} registers, no spills, "
            f"occupancy at least {min(occupancies):.0%}, issue share at most {max(shares):.0%}"
        ).replace("%", " %")


def _not_covered(certificates: Sequence[Certificate]) -> list[str]:
    """What failed without being required: named, and no pass."""
    found: dict[tuple[str, str], set[str]] = {}
    for verdict in (v for c in certificates for v in c.verdicts):
        if not verdict.required and not verdict.status.passed:
            found.setdefault((verdict.target, verdict.detail), set()).add(verdict.rung)
    return [
        f"not counted as a pass: {' '.join(sorted(rungs))} on {target} UNSUPPORTED, {detail}"
        for (target, detail), rungs in found.items()
    ]


def _cell(verdicts: tuple[Verdict, ...]) -> Text:
    verdicts = tuple(v for v in verdicts if v.required)
    status = worst(verdicts)
    if status is None:
        return Text("–")
    if verdicts[0].rung == "files" and status.passed:
        return Text("as built" if verdicts[0].detail == "as built" else "edited")
    failed = sum(not v.status.passed for v in verdicts)
    count = sum(v.values for v in verdicts)
    number = f" {failed} of {len(verdicts)}" if failed and len(verdicts) > 1 else ""
    strengths = sorted({v.strength for v in verdicts if v.exact} - {""})
    strength = f" ({', '.join(strengths)})" if status is Status.PROVED and strengths else ""
    evidence = f" n={count}" if status.passed and count else ""
    return Text(f"{status}{strength}{number}{evidence}", style=_STYLES[status])
