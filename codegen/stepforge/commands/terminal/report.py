"""How certificates look on a terminal: a progress bar, one table, failures in words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from stepforge.commands.terminal import faults, table
from stepforge.commands.terminal import screen as terminal
from stepforge.verify.certificate import Certificate, Status, Verdict, worst
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.rungs import registry
from stepforge.verify.rungs.registry import RUNGS

SECONDS_BETWEEN = 60.0
"""Two lines of progress in a log."""
_STYLES = {
    Status.PROVED: "bold green",
    Status.TESTED: "green",
    Status.REFUTED: "bold red",
    Status.UNSUPPORTED: "bold yellow",
}


@contextmanager
def progress(stream: IO[str]) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal, a line now and then elsewhere; yields what advances it."""
    if not stream.isatty():
        yield _lines(stream)
        return
    bar = Progress(
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=stream),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield advance


def _lines(stream: IO[str]) -> Callable[[int, int, str], None]:
    """Says how far it is in a log, rarely enough that short work says nothing."""
    start = said = time.monotonic()

    def advance(done: int, total: int, what: str) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN:
            said = now
            print(f"{done} of {total} after {now - start:.0f} s: {what}", file=stream, flush=True)

    return advance


def print_table(
    certificates: Sequence[Certificate], stream: IO[str], wide: bool = False,
    scope: Sequence[str] = (), strict: bool = False,
) -> None:  # fmt: skip
    """One row for every optimizer, one verdict for every rung; then faults and warnings in words.

    Args:
        certificates: The certificates.
        stream: Where to.
        wide: Whether the table has all columns and counts, however wide the terminal is.
        scope: What was looked at and what was not, line by line.
        strict: Whether warnings fail.
    """
    screen, columns = table.console(stream), terminal.room(stream)
    rungs = [rung for rung in RUNGS.values() if any(c.of(rung.number) for c in certificates)]
    rows: list[list[table.Cell | str]] = []
    for certificate in certificates:
        sets = _option_sets(certificate)
        cells = [_cell(certificate.of(r)) for r in ("files", *(rung.number for rung in rungs))]
        rows.append([certificate.optimizer, str(sets) if sets else table.NONE, *cells])
    names = (table.Cell(rung.title, brief=rung.number) for rung in rungs)
    kinds = {c.kind for c in certificates}
    kind = next(iter(kinds)) if len(kinds) == 1 else "spec"
    header: tuple[table.Cell | str, ...] = (kind, "options", "files", *names)
    form = table.print_table(screen, header, rows, None if wide else columns)
    if form == "brief":
        table.say(screen, "without counts: --wide shows them", columns)
    sets_of = {c.optimizer: _option_sets(c) for c in certificates}
    for fault in faults.faults(v for c in certificates for v in c.verdicts if not v.passed):
        screen.print()
        screen.print(Text(faults.told(fault, sets_of[fault.optimizers[0]])))
    screen.print()

    def say(line: str, style: str = "") -> None:
        table.say(screen, line, columns, style)

    for rung in rungs:
        say(f"{rung.title}: {rung.summary}")
    for line in _figures(certificates):
        say(line)
    warnings = list(_warnings(v for c in certificates for v in c.verdicts))
    for line in warnings:
        say(line, _STYLES[Status.UNSUPPORTED])
    for line in _not_covered(certificates):
        say(line, _STYLES[Status.UNSUPPORTED])
    looking = [rung.title for rung in RUNGS.values() if "kernel" in rung.artefacts]
    for name in LAUNCHERS:
        if any(name in c.hashes and name not in c.kernels for c in certificates):
            line = f"not looked at by {looking[0]} to {looking[-1]}: the kernels in {name}/"
            say(line, _STYLES[Status.UNSUPPORTED])
    verdicts = [v for c in certificates for v in c.verdicts if v.rung != "files"]
    if kept := sum(bool(v.kept) for v in verdicts):
        say(f"{kept} of {len(verdicts)} kept, from earlier runs on the same inputs")
    passed = sum(certificate.passed for certificate in certificates)
    say(f"{passed} of {len(certificates)} {kind}s passed every rung")
    if warnings:
        count = sum(certificate.warned for certificate in certificates)
        fails = "which --strict does not let pass" if strict else "with --strict they fail"
        say(f"warnings of {count} of {len(certificates)} {kind}s; {fails}")
    for line in scope:
        say(line)


_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _warnings(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Every warning once, whatever its numbers: of how many verdicts it is, and of which."""
    groups: dict[tuple[str, str], list[tuple[Verdict, str]]] = {}
    for verdict in verdicts:
        for text in verdict.warnings:
            key = verdict.rung, _NUMBER.sub("0", text)
            groups.setdefault(key, []).append((verdict, text))
    for group in groups.values():
        first = group[0][0]
        names = " ".join(dict.fromkeys(v.optimizer for v, _ in group))
        places = [
            " ".join(dict.fromkeys(filter(None, values)))
            for values in zip(*((v.target, v.dtype) for v, _ in group), strict=True)
        ]
        often = f"{len(group)} times" if len(group) > 1 else ""
        where = ", ".join(filter(None, [often, *places]))
        text = _together([text for _, text in group])
        yield f"warning: {first.title} {names}: {text}{f' ({where})' if where else ''}"


def _together(texts: Sequence[str]) -> str:
    """Texts that differ in numbers alone, with the least and the largest of them."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter([(min(c, key=float), max(c, key=float)) for c in columns])

    def shown(_: re.Match[str]) -> str:
        low, high = next(ranges)
        return low if float(low) == float(high) else f"{low} to {high}"

    return _NUMBER.sub(shown, texts[0])


def _option_sets(certificate: Certificate) -> int:
    return len({tuple(v.options.items()) for v in certificate.verdicts if v.options is not None})


def _figures(certificates: Sequence[Certificate]) -> Iterator[str]:
    """Static figures over all kernels in float32 and exact mode."""
    found = [
        kernel["figures"]
        for v in (v for c in certificates for v in c.verdicts)
        if v.status.passed and v.exact and v.dtype == "fp32"
        for kernel in (v.evidence, v.evidence.get("multi_tensor", {}))
        if "figures" in kernel
    ]
    occupancies = [f["occupancy"] for f in found if "occupancy" in f]
    shares = [f["issue_share"] for f in found if f.get("issue_share") is not None]
    if occupancies and shares:
        registers = max(f["registers"] for f in found if "occupancy" in f)
        spills = any(f.get("local_bytes") for f in found)
        yield (
            f"{len(occupancies)} kernels in float32: at most {registers} registers, "
            f"{'some' if spills else 'no'} spills, "
            f"occupancy at least {min(occupancies):.0%}, issue share at most {max(shares):.0%}"
        ).replace("%", " %")


def _not_covered(certificates: Sequence[Certificate]) -> list[str]:
    """What failed without being required: named, and no pass."""
    found: dict[tuple[str, str], set[str]] = {}
    for verdict in (v for c in certificates for v in c.verdicts):
        if not verdict.required and not verdict.status.passed:
            found.setdefault((verdict.target, verdict.detail), set()).add(verdict.rung)
    return [
        f"not counted as a pass: {registry.titles(rungs)}"
        f"{' on ' + target if target else ''} UNSUPPORTED, {detail}"
        for (target, detail), rungs in found.items()
    ]


def _cell(verdicts: tuple[Verdict, ...]) -> table.Cell:
    verdicts = tuple(v for v in verdicts if v.required)
    status = worst(verdicts)
    if status is None:
        return table.Cell(table.NONE)
    if verdicts[0].rung == "files" and status.passed:
        detail = verdicts[0].detail
        return table.Cell(detail if detail.startswith("as built") else "edited")
    failed = sum(not v.status.passed for v in verdicts)
    count = sum(v.values for v in verdicts)
    number = f" {failed} of {len(verdicts)}" if failed and len(verdicts) > 1 else ""
    strengths = sorted({v.strength for v in verdicts if v.exact} - {""})
    strength = f" ({', '.join(strengths)})" if status is Status.PROVED and strengths else ""
    evidence = f" n={count}" if status.passed and count else ""
    verdict = f"{status}{strength}"
    return table.Cell(f"{verdict}{number}{evidence}", _STYLES[status], verdict)
