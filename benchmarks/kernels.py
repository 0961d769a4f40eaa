"""What the generated kernels cost on a GPU, from their machine code; no GPU is needed.

`python benchmarks/kernels.py [SPEC…] [--generated DIR] [--json]`

Every optimizer in float32, at its default options and with every single option that adds work,
exact and fast, compiled for an H100 (sm_90) and a B200 (sm_100), beside the figures of the best
kernels that others ship. See `verify.ptx.sass` for what the figures mean. In the last column
stand the instructions of a thread that multi-tensor kernels take more than the kernel for one
tensor: to find the tensor, also to read the numbers from the device, also to divide by a scale.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from stepforge.language.spec import Options, Spec  # noqa: E402
from stepforge.project.loading import load  # noqa: E402
from stepforge.verify.certificate import Compiled  # noqa: E402
from stepforge.verify.files.generated import KERNELS  # noqa: E402
from stepforge.verify.ptx import sass  # noqa: E402
from stepforge.verify.rungs import compiled  # noqa: E402

GPUS = {"sm_90": "H100", "sm_100": "B200"}
DTYPE = "fp32"
MIN_OCCUPANCY, MAX_SHARE = 0.4, 0.6
MAX_MORE = 25
"""Instructions of a thread that the tables of a multi-tensor kernel may take."""


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
    """The kernels of one option set, for every GPU of the table.

    Attributes:
        optimizer: Its name.
        options: Those that are on.
        exact: Whether every operation is correctly rounded.
        bytes_per_element: What each of them moves.
        per_thread: Elements that a thread has.
        kernels: GPU → how the kernel gets its numbers, "single" for that of one tensor → figures.
    """

    optimizer: str
    options: tuple[str, ...]
    exact: bool
    bytes_per_element: int
    per_thread: float
    kernels: dict[str, dict[str, sass.Figures]]

    @property
    def figures(self) -> dict[str, sass.Figures]:
        """Those of the kernel for one tensor."""
        return {target: found["single"] for target, found in self.kernels.items()}

    def more(self, target: str) -> dict[str, int]:
        """Instructions of a thread that multi-tensor kernels take more than that of one tensor."""
        found = self.kernels[target]
        return {
            mode: round((figures.instructions - found["single"].instructions) * self.per_thread)
            for mode, figures in found.items()
            if mode != "single"
        }

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
            if max(self.more(target)[mode] for mode in ("host", "device")) > MAX_MORE:
                found.append(f"{GPUS[target]}: more than {MAX_MORE} instructions for tables")
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


Made = tuple[str, tuple[str, ...], bool, str, Compiled]
"""Optimizer, options that are on, exact, how the kernel gets its numbers, and the kernel."""


def compile_all(job: tuple[str, Path]) -> list[Made]:
    """All kernels of one optimizer."""
    name, folder = job
    spec = load(ROOT / "specs" / f"{name}.toml", f"specs/{name}.toml")[0]
    found = []
    for backend, mode in KERNELS:
        kernel = compiled.load(spec, folder, backend)
        for options, exact, target in itertools.product(chosen(spec), (True, False), GPUS):
            on = tuple(option for option, value in options.items() if value)
            made = compiled.compile_kernel(
                kernel, spec, options, target, DTYPE, exact=exact, mode=mode
            )
            measured = compiled.machine_code_of(made, spec, options, target, DTYPE, kernel)
            assert measured is not None
            if kernel.is_tabular:  # tensors have 32 bits, and a table 64
                read = 8 + 8 * made["ptx"].count("ld.global.b64")
                moved = measured.bytes_per_element + (4 if mode == "scaled" else 0)
                measured = replace(measured, table_bytes=read, bytes_per_element=moved)
            found.append((name, on, exact, "single" if backend == "triton" else mode, measured))
    return found


def table(names: list[str], folder: Path) -> list[Row]:
    """One row for every option set, exact and fast."""
    with ProcessPoolExecutor(2) as pool:
        jobs = [(name, folder) for name in names]
        made = [kernel for found in pool.map(compile_all, jobs) for kernel in found]
    figures = sass.measure([measured for *_, measured in made])
    rows: dict[tuple[str, tuple[str, ...], bool], Row] = {}
    for (name, on, exact, mode, measured), found in zip(made, figures, strict=True):
        if (name, on, exact) not in rows:  # the first is the kernel for one tensor
            each = measured.elements / measured.threads
            rows[name, on, exact] = Row(name, on, exact, measured.bytes_per_element, each, {})
        row = rows[name, on, exact]
        row.kernels.setdefault(measured.target, {})[mode] = found
    return list(rows.values())


def text(rows: list[Row]) -> str:
    """The table: one line for each kernel; two numbers are for the H100 and the B200."""
    heads = ["kernel", "mode", "bytes", "registers", "occupancy", "instr/elem", "issue share"]
    heads.append("multi-tensor")
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
                " ".join(f"{more:+}" for more in row.more("sm_90").values()),
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
            "figures": {
                target: {mode: asdict(figures) for mode, figures in found.items()}
                for target, found in row.kernels.items()
            },
            "more_instructions": {target: row.more(target) for target in row.kernels},
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
