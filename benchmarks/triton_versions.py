"""What `stepforge verify` says of the generated files under several versions of Triton.

`python benchmarks/triton_versions.py [SPEC…] [--versions X…] [--level fast|full] [--json]`

Every version gets a virtual environment of its own with this project's dependencies, which is kept
for the next time; the code that verifies and the files that are verified are this checkout's. There
is no torch in it, so R8, for which Triton does not matter, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.4.0", "3.6.0", "3.9.0")
PASSES = ("PROVED", "TESTED")
LEFT_OUT = ("files", "R8")


@dataclass(frozen=True)
class Failure:
    """Verdicts of one rung that are no pass, and alike."""

    rung: str
    status: str
    detail: str
    kernels: dict[str, int]

    def __str__(self) -> str:
        of = ", ".join(f"{name} ({count})" for name, count in self.kernels.items())
        return f"{self.status} {self.rung}: {self.detail}\n    {of}"


@dataclass(frozen=True)
class Result:
    """What was found under one version of Triton.

    Attributes:
        version: Of Triton.
        verdicts: Rung → status, with the strength of a proof → number of verdicts.
        failures: What is no pass, one entry for every rung and reason.
    """

    version: str
    verdicts: dict[str, dict[str, int]]
    failures: list[Failure]


def environment(version: str, folder: Path) -> Path:
    """The interpreter of an environment with a version of Triton; makes it if it is not there."""
    place = folder / f"triton-{version}"
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        print(f"making {place}", file=sys.stderr)
        venv.create(place, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", f"triton=={version}", str(ROOT)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        ready.touch()
    return python


def verify(python: Path, specs: list[str], level: str) -> list[dict[str, Any]]:
    """The certificates that an interpreter makes of this checkout's files."""
    command = [python, "-m", "stepforge", "verify", *specs, "--level", level, "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "codegen")},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{python} ends with status {done.returncode}")
    certificates: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return certificates


def summary(version: str, certificates: list[dict[str, Any]]) -> Result:
    """Counts of verdicts that are required, and failures by reason."""
    counts: dict[str, Counter[str]] = {}
    reasons: dict[tuple[str, str, str], Counter[str]] = {}
    for certificate in certificates:
        if (used := certificate["versions"]["triton"]) != version:
            raise SystemExit(f"the environment of Triton {version} has Triton {used}")
        for verdict in certificate["verdicts"]:
            rung, status = verdict["rung"], verdict["status"]
            if rung in LEFT_OUT or not verdict["required"]:
                continue
            shown = f"{status} ({verdict['strength']})" if verdict["strength"] else status
            counts.setdefault(rung, Counter())[shown] += 1
            if status not in PASSES:
                reason = rung, status, _reason(verdict)
                reasons.setdefault(reason, Counter())[verdict["optimizer"]] += 1
    failures = [Failure(*reason, dict(kernels)) for reason, kernels in reasons.items()]
    return Result(version, {rung: dict(found) for rung, found in counts.items()}, failures)


def _reason(verdict: dict[str, Any]) -> str:
    """The first line of a reason, without the kernel that it is about."""
    line = verdict["detail"].split("\n")[0]
    where, colon, what = line.partition(": ")
    return what if colon and ("compiled for" in where or where.startswith("PTX for")) else line


def table(results: list[Result]) -> Iterator[str]:
    """One row for every version, one column for every rung; then the failures."""
    rungs = list(dict.fromkeys(rung for result in results for rung in result.verdicts))
    rows = [["Triton", *rungs]]
    for result in results:
        cells = [result.verdicts.get(rung, {}) for rung in rungs]
        texts = (", ".join(f"{n} {status}" for status, n in cell.items()) for cell in cells)
        rows.append([result.version, *(text or "–" for text in texts)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
    for result in results:
        if result.failures:
            yield f"\nTriton {result.version}:"
            yield from (f"  {failure}" for failure in result.failures)


def main() -> int:
    """Prints the table; the exit status is 1 if a verdict is no pass."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", metavar="SPEC", help="default: all")
    parser.add_argument("--versions", nargs="+", default=VERSIONS, metavar="X")
    parser.add_argument("--level", choices=("fast", "full"), default="fast")
    folder = Path(tempfile.gettempdir()) / "stepforge-triton-versions"
    parser.add_argument("--environments", type=Path, default=folder, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results = []
    for version in arguments.versions:
        python = environment(version, arguments.environments)
        results.append(summary(version, verify(python, arguments.specs, arguments.level)))
    if arguments.json:
        print(json.dumps(results, default=vars, indent=2))
    else:
        print("\n".join(table(results)))
    return int(any(result.failures for result in results))


if __name__ == "__main__":
    sys.exit(main())
