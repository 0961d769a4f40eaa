"""The exit status does not depend on who reads the output."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, environment

from stepforge.commands.terminal import streams


def closed_after(arguments: list[str], lines: int) -> tuple[int, str]:
    """The exit status of a command whose reader leaves after some lines, and its errors."""
    with subprocess.Popen(
        [sys.executable, "-m", "stepforge", *arguments],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    return process.returncode, errors


def test_a_reader_that_leaves_changes_no_exit_status(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    status, errors = closed_after(["build", "--check", "--out", out], 1)
    assert status == 1
    assert re.search(r"^\d+ specs: \d+ files out of date\n\Z", errors, re.MULTILINE)
    assert closed_after(["build", "lion", "--out", out], 0)[0] == 0
    assert (tmp_path / "out" / "stepforge.json").exists()


def test_a_refuted_optimizer_is_refuted_whoever_reads(tmp_path: Path) -> None:
    assert closed_after(["verify", "lion", "--generated", str(tmp_path), "--json"], 0)[0] == 1


def test_what_follows_a_reader_that_left_goes_nowhere() -> None:
    reader, writer = os.pipe()
    pipe = os.fdopen(writer, "w")
    stream = streams._outliving(pipe, "strict")
    os.close(reader)
    for _ in range(3):
        stream.write("x" * 100_000)
        stream.flush()
    pipe.close()


def test_a_stream_without_a_descriptor_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", memory)
    monkeypatch.setattr(sys, "stderr", None)
    streams.prepare("backslashreplace")
    assert sys.stdout is memory
    sys.stdout.write("é")
    sys.stdout.flush()
    assert memory.buffer.getvalue() == b"\\xe9"  # type: ignore[attr-defined]
    assert sys.stderr is not None
