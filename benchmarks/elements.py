"""What kernels cost with 4, 8 and 16 elements in a thread: from their machine code, without a GPU.

`python benchmarks/elements.py SPEC.toml … [--target sm_90 …] [--dtype fp32 …]`

For each file of a spec, type and GPU, one line for both kernels and each number of elements: the
registers of a thread, its stack in bytes (where registers run out), the share of the warps that a
multiprocessor holds at once, and the instructions for an element. The number that `build` takes
(`block` in `backends/triton.py`) is marked. A line with a stack at the mark says that its rule is
worth another look; so is one where more elements cost fewer instructions at the same occupancy.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from stepforge.language.spec import Options, Spec  # noqa: E402
from stepforge.output import emit  # noqa: E402
from stepforge.project.loading import load  # noqa: E402
from stepforge.verify.files.generated import LAUNCHERS, Pair  # noqa: E402
from stepforge.verify.ptx import figures, sass  # noqa: E402
from stepforge.verify.rungs import compiled, contract  # noqa: E402
from stepforge.verify.rungs.levels import DTYPES, TARGETS  # noqa: E402

ELEMENTS = (4, 8, 16)


def lines(spec: Spec, options: Options, target: str, dtype: str) -> Iterator[str]:
    """What the kernels of an option set cost, with each number of elements."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        emit.build([spec], folder, whole=False)
        for backend in LAUNCHERS:
            path = Pair.of(spec, folder).launches(backend)
            text = path.read_text("utf-8")
            chosen = compiled.load(spec, folder, backend).block // contract.THREADS
            for elements in ELEMENTS:
                block = f"\nBLOCK = {elements * contract.THREADS}\n"
                path.write_text(re.sub(r"\nBLOCK = \d+\n", block, text), "utf-8")
                kernel = compiled.load(spec, folder, backend)
                made = compiled.compile_kernel(kernel, spec, options, target, dtype)
                code = compiled.machine_code_of(made, spec, options, target, dtype, kernel)
                assert code is not None
                usage = figures.of_cubin(code)
                try:
                    instructions = f"{sass.measure([code])[0].instructions:.1f}"
                except sass.Unmeasured:
                    instructions = "?"
                yield (
                    f"{spec.name} {target} {dtype} {backend}: {elements} elements"
                    f"{' *' if elements == chosen else ''}, {usage['registers']} registers, "
                    f"stack {usage['local_bytes']}, occupancy {usage['occupancy']:.0%}, "
                    f"{instructions} instructions"
                )


def main() -> None:
    """Prints the lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--dtype", nargs="+", default=DTYPES)
    asked = parser.parse_args()
    for path in asked.specs:
        spec, _ = load(path)
        for target in asked.target:
            for dtype in asked.dtype:
                for line in lines(spec, [*spec.option_sets()][-1], target, dtype):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
