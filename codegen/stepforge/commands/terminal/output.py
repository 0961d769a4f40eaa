"""Printing: data on stdout, notes and diagnostics on stderr; in JSON, all of it in one document."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TextIO

import typer

from stepforge.commands.terminal.screen import colourful
from stepforge.language.diagnostics import Diagnostic, render

FORMAT = 2
"""Of the JSON document; it counts up when a key changes its meaning or goes."""
_PLAIN = {"–": "-", "—": "-", "…": "...", "×": "x", "→": "->", "≤": "<=", "≥": ">="}


class Failed(Exception):
    """The command cannot do what it was asked for, and that is not the fault of a spec.

    Args:
        diagnostics: Why.
        status: The exit status.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], status: int) -> None:
        self.diagnostics, self.status = tuple(diagnostics), status
        super().__init__("\n".join(d.message for d in self.diagnostics))


def answer(
    command: str,
    results: Sequence[Any],
    diagnostics: Iterable[Diagnostic] = (),
    status: int = 0,
    **more: Any,
) -> None:
    """Prints the one document of a command that was given `--json`; docs/json.md describes it.

    Args:
        command: Its name, or "" if it is not known.
        results: What it found.
        diagnostics: Errors and warnings.
        status: The exit status.
        more: What is about the whole run.
    """
    from stepforge.version import __version__

    document = {
        "format": FORMAT,
        "version": __version__,
        "command": command,
        "exit": status,
        **more,
        "results": results,
        "diagnostics": [d.as_dict() for d in diagnostics],
    }
    print(json.dumps(document, indent=2))


def leave(status: int) -> None:
    """Ends the command with this exit status, if it is none of success."""
    if status:
        raise typer.Exit(status)


def note(text: str) -> None:
    """One line for the reader, on stderr."""
    print(text, file=sys.stderr)


def print_diagnostics(found: Sequence[Diagnostic]) -> None:
    """Diagnostics on stderr."""
    if not found:
        return
    text = render(found)
    if colourful(sys.stderr):
        text = text.replace("error[", "\033[1;31merror\033[0m[")
        text = text.replace("warning[", "\033[1;33mwarning\033[0m[")
    print(text, file=sys.stderr)


def plainly(error: UnicodeError) -> tuple[str, int]:
    """Spells what a terminal without UTF-8 does not have; for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in _PLAIN:
        return _PLAIN[character], error.start + 1
    spelled = codecs.backslashreplace_errors(error)
    return str(spelled[0]), spelled[1]


def close_stdout() -> None:
    """Lets the interpreter's last flush succeed."""
    _close(sys.stdout)


def close_both() -> None:
    """The same for stdout and stderr, of a terminal that is gone."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            _close(stream)


def _close(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
