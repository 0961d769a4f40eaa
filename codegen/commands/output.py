"""Printing: data on stdout, notes and diagnostics on stderr."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from codegen.diagnostics import Diagnostic, SpecError, render


def print_json(data: object) -> None:
    """Prints JSON on stdout."""
    print(json.dumps(data, indent=2))


def colourful(stream: Any) -> bool:
    """Whether a stream is a terminal that shows colours, and may."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    """One line for the reader, on stderr."""
    print(text, file=sys.stderr)


def print_diagnostics(found: list[Diagnostic]) -> None:
    """Diagnostics on stderr."""
    if not found:
        return
    text = render(found)
    if colourful(sys.stderr):
        text = text.replace("error[", "\033[1;31merror\033[0m[")
        text = text.replace("warning[", "\033[1;33mwarning\033[0m[")
    print(text, file=sys.stderr)


def write_json(path: Path, data: object) -> None:
    """Writes JSON to a file."""
    from codegen import emit

    try:
        emit.write(path, json.dumps(data, indent=2) + "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError([Diagnostic("E007", f"cannot write: {reason}", str(path))]) from None


def close_stdout() -> None:
    """Lets the interpreter's last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
