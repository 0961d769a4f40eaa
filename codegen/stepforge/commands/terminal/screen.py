"""What a stream can show: colours, and how many columns."""

from __future__ import annotations

import os
import re
from typing import IO

_USUAL = 80


def colourful(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that shows colours, and may."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def room(stream: IO[str]) -> int | None:
    """The columns of a terminal; None for a pipe or a file, where lines have any length."""
    if not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if re.fullmatch(r"[1-9]\d{0,4}", given, re.ASCII):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL
