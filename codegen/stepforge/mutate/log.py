"""Verdicts kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.mutate.judge import Statuses


class Log:
    """A file of JSON lines, one for each mutant; without a path nothing is kept.

    Attributes:
        known: Verdicts by the mutants' names: those of the file, and those that were added.
    """

    def __init__(self, path: Path | None) -> None:
        """Reads what the file holds; raises `SpecError` if it is something else."""
        self.known: dict[str, Statuses] = {}
        self.path = path
        self.file: IO[str] | None = None
        if path is None:
            return
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            for line in lines:
                entry = json.loads(line)
                self.known[str(entry["name"])] = dict(entry["rungs"])
            self.file = path.open("a", encoding="utf-8")
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"no file of verdicts: {error}"
            raise SpecError([Diagnostic("E001", reason, str(path))]) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self.file is not None:
            self.file.close()

    def add(self, name: str, rungs: Statuses) -> int:
        """Keeps the verdicts of one mutant; gives how many there are."""
        self.known[name] = rungs
        if self.file is not None:
            self.file.write(json.dumps({"name": name, "rungs": rungs}) + "\n")
            self.file.flush()
        return len(self.known)
