"""How long the command takes, as whole processes from a cold start.

`python benchmarks/cold_start.py [--runs N] [--json]`

The floor is named and measured in the same run, in turn with the commands, so that a slow or busy
machine slows all of them: Python that does nothing, and Python that only imports SymPy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Contestant:
    """A command, its limit in seconds if it has one, and the seconds that its runs took."""

    name: str
    command: list[str]
    limit: float | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.seconds)


def contestants(out: Path) -> list[Contestant]:
    """The floors first, then the commands; `{run}` is a fresh folder each time."""
    python = sys.executable
    command = [python, "-m", "stepforge"]
    return [
        Contestant("python -c pass", [python, "-c", "pass"]),
        Contestant('python -c "import sympy"', [python, "-c", "import sympy"]),
        Contestant("stepforge check adamw", [*command, "check", "adamw"], limit=0.3),
        Contestant("stepforge build", [*command, "build", "--out", f"{out}/{{run}}"], limit=1.0),
    ]


def measure(runs: int) -> list[Contestant]:
    """Runs every contestant in turn; the first round warms the file cache and does not count."""
    with tempfile.TemporaryDirectory() as folder:
        entrants = contestants(Path(folder))
        for run in range(runs + 1):
            for contestant in entrants:
                command = [part.replace("{run}", str(run)) for part in contestant.command]
                start = time.perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                if run:
                    contestant.seconds.append(time.perf_counter() - start)
    return entrants


def rows(entrants: list[Contestant]) -> list[dict[str, object]]:
    """One row for each contestant, with its ratios to the two floors."""
    floor, sympy = entrants[0].median, entrants[1].median
    return [
        {
            "name": c.name,
            "median_s": round(c.median, 4),
            "fastest_s": round(min(c.seconds), 4),
            "slowest_s": round(max(c.seconds), 4),
            "runs": len(c.seconds),
            "times_python": round(c.median / floor, 2),
            "times_sympy": round(c.median / sympy, 2),
            "limit_s": c.limit,
            "met": None if c.limit is None else c.median < c.limit,
        }
        for c in entrants
    ]


def main() -> int:
    """Prints the table; the exit status is 1 if a limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=11, help="runs that count (default: 11)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    table = rows(measure(max(1, arguments.runs)))
    if arguments.json:
        print(json.dumps(table, indent=2))
    else:
        print(f"{'process':26} {'median':>8} {'min':>8} {'× python':>9} {'× sympy':>8}  limit")
        for row in table:
            limit = f"{row['limit_s']} s {'met' if row['met'] else 'NOT MET'}"
            print(
                f"{row['name']:26} {row['median_s']:6.3f} s {row['fastest_s']:6.3f} s"
                f" {row['times_python']:9.2f} {row['times_sympy']:8.2f}"
                f"  {'–' if row['limit_s'] is None else limit}"
            )
    return int(any(row["met"] is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
