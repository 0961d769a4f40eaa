"""Fixtures that several files of tests use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from support import Command

from examples import pytest_configure
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.run.tasks import Group

__all__ = ["pytest_configure"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process."""
    return Command(monkeypatch, capsys)


@pytest.fixture
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` without its workers: every task that it has for them passes."""

    def execute(todo: Sequence[Group], jobs: int) -> Iterator[Verdict]:
        for work in itertools.chain.from_iterable(todo):
            yield replace(work.verdict(Status.TESTED, "not run in this test"), values=1)

    monkeypatch.setattr(verify, "execute", execute)
