"""How long the library of an optimizer's C file takes: to be compiled, and to come from the cache.

`python benchmarks/c_library.py [--runs N]`

Every number is of a new process, without the time that Python takes to start and to import NumPy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"compiled": 2.0, "from the cache": 0.005}
"""Seconds."""
SCRIPT = """
import time
from generated.cpu import _library
start = time.perf_counter()
_library.load("adamw")
print(time.perf_counter() - start)
"""


def seconds(cache: str) -> float:
    """What one process takes, with this folder as the user's cache."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "XDG_CACHE_HOME": cache},
    )  # fmt: skip
    return float(done.stdout)


def main() -> None:
    """Prints a table of medians and limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    found: dict[str, list[float]] = {name: [] for name in LIMITS}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for times in found.values():
                times.append(seconds(cache))
    for name, times in found.items():
        median = statistics.median(times)
        met = "met" if median <= LIMITS[name] else "not met"
        print(f"{name:16} {1e3 * median:8.1f} ms   limit {1e3 * LIMITS[name]:6.0f} ms: {met}")


if __name__ == "__main__":
    main()
