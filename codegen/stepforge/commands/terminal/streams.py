"""Standard output and error as a command needs them, whatever they lead to."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path


def prepare(errors: str) -> None:
    """Makes both streams ones that take every text, and that outlive their readers.

    A command whose reader goes away, such as `head`, runs on to its end and has its own exit
    status: what it finds does not depend on how much of it is read.

    Args:
        errors: What becomes of characters that a stream does not have, as for `codecs`.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _outliving(stream, errors))


def _outliving(stream: io.TextIOWrapper, errors: str) -> io.TextIOWrapper:
    """The same stream, without errors where its reader is gone or its encoding is too small."""
    try:
        raw = _Outliving(stream.fileno(), "w", closefd=False)
        raw.is_terminal = stream.isatty()
    except (OSError, ValueError):
        stream.reconfigure(errors=errors)
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        errors,
        line_buffering=stream.line_buffering,
    )


class _Outliving(io.FileIO):
    """A file descriptor that leads nowhere once its reader, or its terminal, is gone."""

    is_terminal = False

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            hung_up = self.is_terminal and error.errno == errno.EIO
            if not hung_up and not isinstance(error, BrokenPipeError):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes  # type: ignore[arg-type]
