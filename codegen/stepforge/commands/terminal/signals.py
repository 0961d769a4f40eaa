"""Ctrl-C, SIGTERM and SIGHUP end a command in order: no process and no folder of it stays."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WORKERS_END, _ALL_ENDS = 1.5, 15.0
"""Seconds after a signal at which workers are killed, and at which this process is."""
_received: list[int] = []


def listen() -> None:
    """Turns the first signal into `KeyboardInterrupt`; those that are ignored stay so."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def status() -> int:
    """The exit status that the signal asks for; 0 if there was none."""
    return 128 + _received[0] if _received else 0


def told() -> str:
    """What happened, in words."""
    return f"interrupted by {signal.Signals(_received[0]).name}" if _received else "interrupted"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises `KeyboardInterrupt`; what is in order then is not disturbed by further signals."""
    _received.append(number)
    for other in _SIGNALS:
        signal.signal(other, lambda *_: None)  # SIG_IGN makes Python complain of those on the way
    threading.Thread(target=_insist, daemon=True).start()
    raise KeyboardInterrupt


def _insist() -> None:
    """Ends what did not end by itself: Python drops exceptions that some places raise."""
    time.sleep(_WORKERS_END)
    if "stepforge.verify.processes" in sys.modules:
        from stepforge.verify import processes

        processes.kill()
    time.sleep(_ALL_ENDS - _WORKERS_END)
    os._exit(status())
