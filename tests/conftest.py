"""Fixtures that several files of tests use."""

from __future__ import annotations

import compileall
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from support import ROOT, Command

import examples
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.run.tasks import Group


def pytest_configure(config: pytest.Config) -> None:
    """Byte code is there even where Python was told to write none: hundreds of processes start."""
    examples.pytest_configure(config)
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "codegen", rx=re.compile("templates"), quiet=2)


# Processes that tests start have the package of this checkout, too, installed or not.
_counter = itertools.count()
_FOLDERS = [str(ROOT / "codegen"), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _FOLDERS))
# What is compiled here is run a few times: compiling it takes longer. The bits are the same.
os.environ.setdefault("STEPFORGE_CFLAGS", "-O1")


@pytest.fixture(autouse=True)
def _no_earlier_verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test finds its verdicts itself."""
    folder = tmp_path_factory.getbasetemp() / f"verdicts-{next(_counter)}"
    with pytest.MonkeyPatch.context() as patch:  # a test's own `monkeypatch` is undone before this
        patch.setenv("STEPFORGE_CACHE", str(folder))
        yield


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process."""
    return Command(monkeypatch, capsys)


@pytest.fixture
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` without its workers: every task that it has for them passes."""

    def execute(todo: Sequence[Group], jobs: int, seconds: float) -> Iterator[Verdict]:
        for work in itertools.chain.from_iterable(todo):
            yield replace(work.verdict(Status.TESTED, "not run in this test"), values=1)

    monkeypatch.setattr(verify, "execute", execute)
