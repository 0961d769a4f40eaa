"""Two gloo processes end where one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import ROOT, environment

from .workers import CLASSES

WORKERS = Path(__file__).with_name("workers.py")


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    """DDP, ZeroRedundancyOptimizer, FSDP2, and FSDP2 resumed from a distributed checkpoint."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKERS), str(rank), str(tmp_path)],
            cwd=ROOT,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    errors = "\n".join(error for _, error in outputs)
    assert [process.returncode for process in processes] == [0, 0], errors[-4000:]
    kinds = ("ddp", "zero", "fsdp", "checkpoint")
    expected = [f"{kind} {name}" for kind in kinds for name in CLASSES]
    assert [output.splitlines() for output, _ in outputs] == [expected] * 2
