"""Static figures of the kernels that R5 compiled, for their verdicts' evidence.

The resources of a kernel are known as soon as it is assembled. Instructions are counted in the
disassembly, and the disassembler takes as long to start as a kernel takes to compile: so all
kernels of a target are measured together, when everything else is done.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from stepforge.verify import processes
from stepforge.verify.certificate import Compiled, Verdict
from stepforge.verify.ptx import sass

MIN_OCCUPANCY, MAX_SHARE = 0.125, 1.0
"""Bounds of what is warned of. An eighth of the warps of a multiprocessor, with a load of 128 bits
for each of three tensors, has 12 KB on their way: about what memory delivers in the time that one
takes. Above this issue share instructions decide how long a step takes, not memory."""


def costs(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said of figures: no fault of a kernel, but time.

    Args:
        name: Which kernel.
        found: Its figures, or some of them.
    """
    if size := found.get("local_bytes"):
        yield f"{name}: a thread takes {size} bytes of local memory"
    if (share := found.get("occupancy", 1.0)) < MIN_OCCUPANCY:
        yield f"{name}: a multiprocessor holds {100 * share:.0f} % of its warps at once"
    if (share := found.get("issue_share") or 0.0) > MAX_SHARE:
        yield f"{name}: to issue the instructions takes {100 * share:.0f} % of the memory's time"
    if reason := found.get("unmeasured"):
        yield f"{name}: there are no figures: {reason}"


def of_cubin(kernel: Compiled) -> dict[str, Any]:
    """Registers, memory and occupancy of a kernel for NVIDIA.

    Raises:
        sass.ToolMissing: A tool of Triton is not there or fails.
        sass.Unmeasured: The cubin, or what the target can hold, is not known.
    """
    usage = sass.resources(kernel.cubin, kernel.name)
    shared = usage["SHARED"] + kernel.dynamic_shared
    return {
        "registers": usage["REG"],
        "local_bytes": usage["STACK"] + usage["LOCAL"],
        "shared_bytes": shared,
        "occupancy": sass.occupancy(kernel.target, usage["REG"], kernel.threads, shared),
    }


_AMD = {
    "registers": r"\.vgpr_count:\s+(\d+)",
    "scalar_registers": r"\.sgpr_count:\s+(\d+)",
    "local_bytes": r"\.private_segment_fixed_size:\s+(\d+)",
    "shared_bytes": r"\.group_segment_fixed_size:\s+(\d+)",
}


def of_amdgcn(text: str) -> dict[str, Any]:
    """Registers and memory of a kernel for AMD, as far as its metadata names them."""
    found = {name: re.search(pattern, text) for name, pattern in _AMD.items()}
    return {name: int(match[1]) for name, match in found.items() if match}


def completed(verdicts: Iterable[Verdict], jobs: int) -> list[Verdict]:
    """The verdicts with the figures of their machine code, which they carry no longer.

    A kernel that cannot be measured says why, under "unmeasured".
    """
    verdicts = list(verdicts)
    batches: dict[str, list[tuple[int, str, Compiled]]] = {}
    for index, verdict in enumerate(verdicts):
        for name, kernel in verdict.machine_code.items():
            batches.setdefault(kernel.target, []).append((index, name, kernel))
    kernels = [[kernel for _, _, kernel in batch] for batch in batches.values()]
    for batch, found in zip(batches.values(), _together(kernels, jobs), strict=True):
        for (index, name, _), figures in zip(batch, found, strict=True):
            verdicts[index] = _with(verdicts[index], name, figures)
    return verdicts


def _together(batches: Sequence[Sequence[Compiled]], jobs: int) -> list[list[Mapping[str, Any]]]:
    """The figures of batches of kernels, several at a time: disassemblers are processes."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(_measured, batches))
        except BaseException:  # such as Ctrl-C: nobody waits for them any more
            pool.shutdown(wait=False, cancel_futures=True)
            processes.kill()
            raise


def _measured(kernels: Sequence[Compiled]) -> list[Mapping[str, Any]]:
    try:
        found = sass.measure_each(kernels)
    except (sass.ToolMissing, sass.Unmeasured) as error:
        return [{"unmeasured": str(error)}] * len(kernels)
    return [
        {"unmeasured": str(figures)} if isinstance(figures, sass.Unmeasured) else asdict(figures)
        for figures in found
    ]


def _with(verdict: Verdict, name: str, figures: Mapping[str, Any]) -> Verdict:
    evidence = copy.deepcopy(verdict.evidence)
    of_kernel(evidence, name).setdefault("figures", {}).update(figures)
    left = {k: v for k, v in verdict.machine_code.items() if k != name}
    warnings = tuple(dict.fromkeys([*verdict.warnings, *costs(name, figures)]))
    return replace(verdict, machine_code=left, evidence=evidence, warnings=warnings)


def of_kernel(evidence: dict[str, Any], name: str) -> dict[str, Any]:
    """Where evidence about a kernel stands; it is made if it is not there."""
    found: dict[str, Any] = evidence if name == "triton" else evidence.setdefault(name, {})
    return found
