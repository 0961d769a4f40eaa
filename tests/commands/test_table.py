"""Tables are whole at every width: no name and no verdict is ever cut or broken."""

from __future__ import annotations

import io
import itertools
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest
from catalogue import FEW
from rich.cells import cell_len
from support import ROOT, STOCK, environment, run_command

from stepforge.commands.terminal import campaigns as fuzz_summary
from stepforge.commands.terminal import mutations as mutate_summary
from stepforge.commands.terminal import report, table
from stepforge.commands.terminal import screen as terminal
from stepforge.commands.terminal.table import Cell, print_table
from stepforge.fuzz.campaign import BUILD, TEXTS, Report
from stepforge.mutate.report import Report as Mutations
from stepforge.mutate.report import Result
from stepforge.verify.certificate import Certificate, Status, Verdict
from stepforge.verify.rungs.registry import RUNGS

WIDTHS = (40, 60, 80, 100, 120, 200)


@pytest.fixture(autouse=True)
def _without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


class Terminal(io.StringIO):
    """A terminal without colours, as wide as the environment says."""

    def isatty(self) -> bool:
        return True


def printed(width: int | None, *arguments: object, **options: object) -> tuple[str, str]:
    stream = io.StringIO()
    form = print_table(table.console(stream), *arguments, width, **options)  # type: ignore[arg-type]
    return form, stream.getvalue()


HEADER = ("name", "verdict", "count")
ROWS = [("a", Cell("PROVED (bits) n=56", brief="PROVED (bits)"), "7"), ("longer", "–", "1234")]


def test_the_first_form_that_fits_is_taken() -> None:
    whole = (
        "name    verdict             count\n"
        "a       PROVED (bits) n=56      7\n"
        "longer  –                    1234\n"
    )
    assert printed(None, HEADER, ROWS, right={"count"}) == ("whole", whole)
    assert printed(33, HEADER, ROWS, right={"count"}) == ("whole", whole)
    form, text = printed(32, HEADER, ROWS, right={"count"})
    assert (form, max(map(len, text.splitlines()))) == ("brief", 28)
    assert "n=56" not in text
    assert printed(27, HEADER, ROWS) == (
        "stacked",
        "a\n  verdict: PROVED (bits)\n  count: 7\nlonger\n  verdict: –  count: 1234\n",
    )


def test_a_column_without_short_texts_is_left_out() -> None:
    rows = [("a", Cell("a long description", brief=""))]
    assert printed(10, ("name", ""), rows) == ("brief", "name\na\n")


HEADINGS = {0: "first: what comes first", 1: "then: what comes last"}


def test_headings_stand_above_their_rows_in_every_form() -> None:
    told = {"right": {"count"}, "headings": HEADINGS}
    assert printed(None, HEADER, ROWS, **told)[1].splitlines()[1:5] == [
        "", HEADINGS[0], "a       PROVED (bits) n=56      7", "",
    ]  # fmt: skip
    assert printed(28, HEADER, ROWS, **told)[0] == "brief"
    assert printed(27, HEADER, ROWS, headings=HEADINGS) == (
        "stacked",
        "\nfirst: what comes first\na\n  verdict: PROVED (bits)\n  count: 7\n"
        "\nthen: what comes last\nlonger\n  verdict: –  count: 1234\n",
    )
    assert "\nthen: what\n  comes last\n" in printed(14, HEADER, ROWS, headings=HEADINGS)[1]


def test_wide_characters_count_twice() -> None:
    form, text = printed(None, ("name", "n"), [("最適化", "1"), ("abc", "2")])
    assert form == "whole"
    assert {cell_len(line) for line in text.splitlines()} == {9}


@pytest.mark.parametrize("width", range(1, 40))
def test_no_word_is_broken_at_any_width(width: int) -> None:
    _, text = printed(width, HEADER, ROWS, right={"count"})
    for word in ("longer", "PROVED", "(bits)", "1234"):
        assert word in text


def certificates() -> list[Certificate]:
    """Of the whole catalogue, with the longest verdicts there are."""

    def verdict(name: str, rung: str, maximize: bool) -> Verdict:
        if rung in ("R3", "R7"):
            return Verdict(rung, name, {"m": maximize}, Status.PROVED, 123456, strength="bits")
        status = Status.UNSUPPORTED if rung == "R8" else Status.TESTED
        return Verdict(rung, name, {"m": maximize}, status, 1234567)

    rungs = ("files", *RUNGS)
    return [
        Certificate(name, tuple(verdict(name, r, m) for r in rungs for m in (False, True)))
        for name in FEW
    ]


def words(line: str) -> list[str]:
    return [word.strip() for word in re.split(r"  +", line)]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_name_and_verdict_is_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    report.print_table(certificates(), stream)
    top = stream.getvalue().split("\n\n")[0].splitlines()
    assert max(map(len, top)) <= width
    firsts = [line.split()[0] for line in top if not line.startswith(" ")]
    assert [first for first in firsts if first in FEW] == FEW
    cells = [cell for line in top for cell in words(line)]
    proofs = [cell for cell in cells if re.fullmatch(r"(R[37]: )?PROVED \(bits\)( n=\d+)?", cell)]
    assert len(proofs) == 2 * len(FEW)
    assert sum("UNSUPPORTED" in cell for cell in cells) == len(FEW)
    assert sum("TESTED" in cell for cell in cells) == (len(RUNGS) - 3) * len(FEW)


def test_wide_is_one_row_for_each_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    narrow, pipe = Terminal(), io.StringIO()
    report.print_table(certificates(), narrow, wide=True)
    report.print_table(certificates(), pipe)
    rows = len(FEW) + 1
    assert narrow.getvalue().splitlines()[:rows] == pipe.getvalue().splitlines()[:rows]
    assert "n=2469134" in pipe.getvalue()
    assert all(len(line) > 150 for line in pipe.getvalue().splitlines()[:rows])


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_fuzz_and_mutate_fit(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    found = Report()
    for outcome in ("passed", "no value", "undecided", "not run", "refused", "failed"):
        for stage in (BUILD, *RUNGS, TEXTS):
            found.outcomes[stage, outcome] = 1234
    fuzz_summary.print_report(found, 0, stream)
    rungs = {rung: "REFUTED" for rung in RUNGS if rung != "R12"}
    results = tuple(
        Result(f"lion-{kind}-{n}", "lion", "rule", kind, "x", rungs)
        for kind in "ABCDEFGHIJK"
        for n in range(3)
    )
    mutate_summary.print_report(Mutations(results), stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for word in (BUILD, TEXTS, "undecided", "3/3", "arithmetic:", "cheats:", "killed"):
        assert any(word in line for line in lines), word


@pytest.mark.parametrize("columns", ["", "0", "-3", "wide", "９０", "9" * 30])
def test_a_variable_that_is_no_width_is_not_one(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.room(Terminal()) == 80
    assert terminal.room(io.StringIO()) is None


# The command.


def on_terminal(columns: int, *arguments: str, cwd: Path = ROOT, **extra: str) -> str:
    """What the command prints on a terminal of so many columns."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {**environment(), "TERM": "xterm", **extra}
    if "COLUMNS" not in extra:
        variables.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "stepforge", *arguments],
        cwd=cwd, env=variables, stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    text = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(leader)
    assert process.wait() == 0
    return text.decode().replace("\r\n", "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with few specs."""
    (tmp_path / "specs").mkdir()
    for name in FEW:
        shutil.copy(ROOT / "specs" / f"{name}.toml", tmp_path / "specs")
    return tmp_path


def test_the_list_fits_the_terminal(folder: Path) -> None:
    lines = on_terminal(80, "list", cwd=folder).splitlines()
    assert max(map(len, lines)) <= 80
    assert sorted({line.split(" ")[0] for line in lines} & {*FEW}) == FEW


def test_columns_is_how_wide_a_terminal_is_and_pipes_have_no_width(folder: Path) -> None:
    whole = on_terminal(60, "list", cwd=folder, COLUMNS="300")
    ci = dict.fromkeys(("CI", "GITHUB_ACTIONS", "FORCE_COLOR"), "1")
    assert run_command("list", cwd=folder, env={"COLUMNS": "30", **ci}).stdout == whole
    assert on_terminal(60, "list", "--wide", cwd=folder) == whole


def test_names_and_verdicts_of_verify_are_whole_on_80_columns() -> None:
    text = on_terminal(80, "verify", "lion", "--kernel", "triton", "--jobs", "1", "--no-cache")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    rows = plain[plain.index("lion  options") :].split("\n\n")[0].splitlines()
    assert max(map(len, rows)) <= 80
    cells = [cell for row in rows for cell in words(row)]
    assert [cell for cell in cells if cell in STOCK] == ["lion"]
    verdicts = [cell.split(": ") for cell in cells if re.match(r"R\d+: ", cell)]
    assert [rung for rung, _ in verdicts] == ["R0", "R1", "R2", "R3", "R5", "R6", "R7", "R10"]
    assert all(re.fullmatch(r"(TESTED|PROVED \(bits\)) n=\d+", v) for _, v in verdicts)
    ends = " ".join(plain.split())
    assert "looked at: fp32, sm_90, exact mode left out: fp64 bf16 fp16, 60 mixtures of" in ends
    assert "sm_120 gfx942, fast mode, error-bound (R9) c-executed (R11); " in ends
    assert "`stepforge verify lion --level full`" in plain


def test_a_log_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second of a made-up clock something ends; a line every minute says so."""
    clock = itertools.count(1000)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with report.progress(stream) as advance:
        for done in range(150):
            advance(done, 150, f"R3 case_{done}")
    assert stream.getvalue().splitlines() == [
        "59 of 150 after 60 s: R3 case_59",
        "119 of 150 after 120 s: R3 case_119",
    ]
