"""What the generated kernels cost on a GPU, from their machine code; no GPU is needed.

`python benchmarks/kernels.py [SPEC…] [--generated DIR] [--json]`

Every optimizer in float32, at its default options and with every single option that adds work,
exact and fast, compiled for an H100 (sm_90) and a B200 (sm_100), beside the figures of the best
kernels that others ship. See `codegen.verify.sass` for what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from codegen.backends.triton import WARPS  # noqa: E402
from codegen.reader import load  # noqa: E402
from codegen.spec import Options, Spec  # noqa: E402
from codegen.verify import compiled, contract, sass  # noqa: E402

GPUS = {"sm_90": "H100", "sm_100": "B200"}
DTYPE = "fp32"
MIN_OCCUPANCY, MAX_SHARE = 0.4, 0.6


@dataclass(frozen=True)
class Peer:
    """Instructions per element, on sm_90, of a kernel that others ship, or a goal."""

    name: str
    instructions: float


PEERS = {
    ("adamw", (), True): Peer("torch fused", 48.5),
    ("sgd", ("use_momentum",), True): Peer("torch fused", 15),
    ("adagrad", (), True): Peer("torch fused", 46.5),
    ("lion", (), True): Peer("goal", 20),
    ("adamw", (), False): Peer("goal", 27),
}
"""By optimizer, options that are on, and whether every operation is correctly rounded."""


@dataclass(frozen=True)
class Row:
    """One kernel, for every GPU of the table."""

    optimizer: str
    options: tuple[str, ...]
    exact: bool
    bytes_per_element: int
    figures: dict[str, sass.Figures]

    @property
    def peer(self) -> Peer | None:
        """What it is compared with, if anything."""
        return PEERS.get((self.optimizer, self.options, self.exact))

    @property
    def misses(self) -> list[str]:
        """The limits that it does not keep."""
        found = []
        for target, figures in self.figures.items():
            if figures.occupancy < MIN_OCCUPANCY:
                found.append(f"{GPUS[target]}: occupancy below {MIN_OCCUPANCY:.0%}")
            if figures.issue_share is not None and figures.issue_share > MAX_SHARE:
                found.append(f"{GPUS[target]}: issue share above {MAX_SHARE:.0%}")
            if figures.spilled_bytes:
                found.append(f"{GPUS[target]}: {figures.spilled_bytes} bytes spilled")
        if self.peer and self.figures["sm_90"].instructions > self.peer.instructions:
            found.append(f"more instructions than {self.peer.instructions:g} ({self.peer.name})")
        return found


def chosen(spec: Spec) -> Iterator[Options]:
    """The default options, and each option set that has one more of those that add work."""
    default = {option.name: option.default for option in spec.options}
    yield default
    for options in spec.option_sets():
        changed = [name for name in default if options[name] != default[name]]
        if len(changed) == 1 and changed != ["maximize"]:
            yield options


def compile_all(job: tuple[str, Path]) -> list[tuple[str, tuple[str, ...], sass.Compiled, bool]]:
    """All kernels of one optimizer."""
    name, folder = job
    spec = load(ROOT / "specs" / f"{name}.toml", f"specs/{name}.toml")[0]
    kernel = compiled.load(spec, folder)
    found = []
    for options in chosen(spec):
        on = tuple(option for option, value in options.items() if value)
        for exact in (True, False):
            for target in GPUS:
                made = compiled.compile_kernel(kernel, spec, options, target, DTYPE, exact=exact)
                shared = re.search(r"ttg\.shared = (\d+)", made["ttgir"])
                measured = sass.Compiled(
                    made["cubin"],
                    f"{name}_kernel",
                    target,
                    WARPS * 32,
                    kernel.block,
                    contract.bytes_moved(spec, options, DTYPE),
                    int(shared[1]) if shared else 0,
                )
                found.append((name, on, measured, exact))
    return found


def table(names: list[str], folder: Path) -> list[Row]:
    """One row for every kernel."""
    with ProcessPoolExecutor(2) as pool:
        jobs = [(name, folder) for name in names]
        kernels = [kernel for found in pool.map(compile_all, jobs) for kernel in found]
    figures = sass.measure([measured for _, _, measured, _ in kernels])
    rows: dict[tuple[str, tuple[str, ...], bool], Row] = {}
    for (name, on, measured, exact), found in zip(kernels, figures, strict=True):
        moved = int(measured.bytes_per_element)
        row = rows.setdefault((name, on, exact), Row(name, on, exact, moved, {}))
        row.figures[measured.target] = found
    return list(rows.values())


def text(rows: list[Row]) -> str:
    """The table: one line for each kernel; two numbers are for the H100 and the B200."""
    heads = ["kernel", "mode", "bytes", "registers", "occupancy", "instr/elem", "issue share"]
    lines = [[*heads, "others", ""]]
    for row in rows:
        pair = [row.figures[target] for target in GPUS]
        lines.append(
            [
                " ".join([row.optimizer, *row.options]),
                "exact" if row.exact else "fast",
                str(row.bytes_per_element),
                " / ".join(str(f.registers) for f in pair),
                " / ".join(f"{f.occupancy:.0%}" for f in pair),
                " / ".join(f"{f.instructions:.1f}" for f in pair),
                " / ".join(f"{f.issue_share or 0:.0%}" for f in pair),
                f"{row.peer.instructions:g} {row.peer.name}" if row.peer else "",
                "; ".join(row.misses) or "ok",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_json(rows: list[Row]) -> str:
    """The same for machines."""
    data = [
        {
            "optimizer": row.optimizer,
            "options": list(row.options),
            "exact": row.exact,
            "bytes_per_element": row.bytes_per_element,
            "figures": {target: asdict(found) for target, found in row.figures.items()},
            "peer": asdict(row.peer) if row.peer else None,
            "misses": row.misses,
        }
        for row in rows
    ]
    return json.dumps(data, indent=2)


def main() -> int:
    """Prints the table; the exit status is 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    stock = sorted(path.stem for path in (ROOT / "specs").glob("*.toml"))
    parser.add_argument("specs", nargs="*", metavar="SPEC", help="names; by default all")
    parser.add_argument("--generated", type=Path, default=ROOT / "generated", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    rows = table(arguments.specs or stock, arguments.generated)
    print(as_json(rows) if arguments.json else text(rows))
    return int(any(row.misses for row in rows))


if __name__ == "__main__":
    sys.exit(main())
