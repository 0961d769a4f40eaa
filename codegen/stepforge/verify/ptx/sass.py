"""Static figures of a compiled kernel, from its machine code: what a block costs, without a GPU.

`cuobjdump` and `nvdisasm` come with Triton. The disassembler takes a quarter of a second to start,
so `measure` passes it the code of many kernels at once.

The control flow is that of the disassembly: branches with their targets, calls that return to the
next instruction. Of all paths through the kernel that move the bytes of a block, the fast path is
the one that calls nothing, has the fewest accesses, and then the fewest instructions: a full block
whose divisions and square roots need no special treatment.

In one file, because it is one reader of one format, which nothing else looks into.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stepforge.verify import processes
from stepforge.verify.certificate import Compiled


class ToolMissing(Exception):
    """Triton, or a tool that comes with it, is not there or fails."""


class Unmeasured(Exception):
    """Machine code whose figures are not known: a loop, an unknown jump, no path without calls."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a kernel before it runs.

    Attributes:
        registers: Of one thread.
        local_bytes: Local memory of one thread: its stack and what the compiler spills there.
        spilled_bytes: That one thread writes to local memory, if every such store is executed once.
        shared_bytes: Shared memory of one program, static and dynamic.
        occupancy: Share of the warps that a multiprocessor can hold at most which registers,
            threads and shared memory let it hold.
        instructions: Per element on the fast path, those for indices and the launch's arguments
            included, and whether their predicate holds or not.
        fp64_instructions: Those of them that compute in float64 or convert from or to it.
        special_instructions: Those of them of the special function unit: approximate reciprocals,
            roots, exponentials, which exact divisions and roots start from.
        access_bits: Width of the narrowest access to global memory on the fast path.
        issue_share: Time to issue the instructions as a share of the time to move the bytes, on
            the GPU of the target in `ISSUE_LIMIT`; None for other targets. The model: every
            instruction of a thread takes one slot, whichever it is, memory moves at its nominal
            bandwidth, and each byte moves once. So it is instructions per byte over the limit.
            Units of their own rate are not in it. They would be what is short where
            `special_instructions` were more than an eighth of all (16 a cycle, of 128), or
            `fp64_instructions` more than half (64 a cycle).
    """

    registers: int
    local_bytes: int
    spilled_bytes: int
    shared_bytes: int
    occupancy: float
    instructions: float
    fp64_instructions: float
    special_instructions: float
    access_bits: int
    issue_share: float | None


ISSUE_LIMIT = {"sm_90": 10.0, "sm_100": 4.7}
"""Instructions of threads per byte of memory traffic at which both take the same time.

H100 SXM: 132 multiprocessors issue 4 warps of 32 threads at 1.98 GHz, memory moves 3.35 TB/s.
B200: 148 multiprocessors at 1.97 GHz, 8 TB/s.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a multiprocessor holds at once."""

    warps: int
    programs: int
    shared_bytes: int


LIMITS = {
    "75": Limits(32, 16, 64 << 10),
    "80": Limits(64, 32, 164 << 10),
    "86": Limits(48, 16, 100 << 10),
    "87": Limits(48, 16, 164 << 10),
    "89": Limits(48, 24, 100 << 10),
    "90": Limits(64, 32, 228 << 10),
    "100": Limits(64, 32, 228 << 10),
    "103": Limits(64, 32, 228 << 10),
    "120": Limits(48, 24, 100 << 10),
}
"""By compute capability: CUDA C++ Programming Guide, Compute Capabilities, Technical
Specifications per Compute Capability."""
REGISTERS, REGISTER_UNIT, WARP_UNIT = 65536, 256, 4
"""Of a multiprocessor; allocated to a warp in units; warps are spread over four partitions."""
SHARED_UNIT, SHARED_RESERVED = 128, 1024
"""Shared memory is allocated in units; from compute capability 8.0 on the system takes 1 KiB."""


def figures(
    cubin: bytes, kernel_name: str, target: str, threads: int, elements: int,
    bytes_per_element: float, dynamic_shared: int = 0,
) -> Figures:  # fmt: skip
    """The figures of one kernel; the arguments are the fields of `Compiled`.

    Raises:
        ToolMissing: A tool of Triton is not there or fails.
        Unmeasured: The machine code is not understood.
    """
    compiled = Compiled(
        cubin, kernel_name, target, threads, elements, bytes_per_element, dynamic_shared
    )
    return measure([compiled])[0]


def measure(kernels: Sequence[Compiled]) -> list[Figures]:
    """The figures of many kernels, in their order.

    Raises:
        ToolMissing: A tool of Triton is not there or fails.
        Unmeasured: The machine code of one of them is not understood.
    """
    found = []
    for figures in measure_each(kernels):
        if isinstance(figures, Unmeasured):
            raise figures
        found.append(figures)
    return found


def measure_each(kernels: Sequence[Compiled]) -> list[Figures | Unmeasured]:
    """The figures of many kernels, in their order, or why one has none.

    Raises:
        ToolMissing: A tool of Triton is not there or fails.
        Unmeasured: There is no machine code, or the disassembly cannot be read.
    """
    code = [machine_code(kernel.cubin, kernel.name) for kernel in kernels]
    found: dict[int, Figures | Unmeasured] = {}
    for target in {kernel.target for kernel in kernels}:
        chosen = [index for index, kernel in enumerate(kernels) if kernel.target == target]
        programs = disassemble([code[index] for index in chosen], target)
        for index, program in zip(chosen, programs, strict=True):
            try:
                found[index] = _figures(kernels[index], program)
            except Unmeasured as error:
                found[index] = error
    return [found[index] for index in range(len(kernels))]


def occupancy(target: str, registers: int, threads: int, shared_bytes: int) -> float:
    """Share of the warps of a multiprocessor that can be resident."""
    capability = re.sub(r"\D", "", target)
    if capability not in LIMITS:
        raise Unmeasured(f"the limits of {target} are not known")
    limits = LIMITS[capability]
    warps = -(-threads // 32)
    of_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = REGISTERS // of_warp // WARP_UNIT * WARP_UNIT // warps
    reserved = SHARED_RESERVED if int(capability) >= 80 else 0
    of_program = -(-shared_bytes // SHARED_UNIT) * SHARED_UNIT + reserved
    by_shared = limits.shared_bytes // of_program if of_program else limits.programs
    programs = min(limits.programs, limits.warps // warps, by_registers, by_shared)
    return programs * warps / limits.warps


def _figures(kernel: Compiled, program: Sequence[Instruction]) -> Figures:
    usage = resources(kernel.cubin, kernel.name)
    each = kernel.threads / kernel.elements
    path = fast_path(program, int(kernel.bytes_per_element / each) + kernel.table_bytes)
    shared = usage["SHARED"] + kernel.dynamic_shared
    instructions = len(path) * each
    limit = ISSUE_LIMIT.get(kernel.target)
    tables = kernel.table_bytes // 8 + 1 if kernel.table_bytes else 0  # one is a pair of int32
    widths = [i.bits for i in path if i.is_global][tables:]
    return Figures(
        registers=usage["REG"],
        local_bytes=usage["STACK"] + usage["LOCAL"],
        spilled_bytes=sum(i.bits // 8 for i in program if i.base == "STL"),
        shared_bytes=shared,
        occupancy=occupancy(kernel.target, usage["REG"], kernel.threads, shared),
        instructions=instructions,
        fp64_instructions=sum(i.is_fp64 for i in path) * each,
        special_instructions=sum(i.base == "MUFU" for i in path) * each,
        access_bits=min(widths, default=0),
        issue_share=limit and instructions / kernel.bytes_per_element / limit,
    )


# The disassembly.


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        address: In bytes from the start of the kernel.
        predicate: Such as "@!P5", or "".
        opcode: With its modifiers, such as "LDG.E.128".
        operands: As disassembled.
    """

    address: int
    predicate: str
    opcode: str
    operands: str

    @property
    def base(self) -> str:
        """The opcode without modifiers."""
        return self.opcode.partition(".")[0]

    @property
    def bits(self) -> int:
        """Width of a memory access."""
        sizes = [int(m.lstrip("US")) for m in self.opcode.split(".")[1:] if _SIZE.fullmatch(m)]
        return max(sizes, default=32)

    @property
    def is_global(self) -> bool:
        """Whether it reads or writes global memory."""
        return self.base in ("LDG", "STG", "LD", "ST")

    @property
    def is_fp64(self) -> bool:
        """Whether it computes in float64, or converts from or to it."""
        return self.base in _FP64 or "F64" in self.opcode.split(".")[1:]


_SIZE = re.compile(r"[US]?(8|16|32|64|128|256)")
_FP64 = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")
_LINE = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+) )?\s*([A-Z]\w*(?:\.\w+)*)(.*?)\s*;")
_SCHEDULE = re.compile(r"\s+[&?]\w.*")
"""What some versions print behind the operands: the barriers and cycles that are waited for."""
_JUMPS = ("BRX", "BRXU", "JMP", "JMX", "JMXU", "RET", "RTT", "KILL")
"""Jumps that go elsewhere than to the next instruction or to a target in the text."""


def tool(name: str) -> str:
    """The path of a tool that comes with Triton.

    Raises:
        ToolMissing: It is not there.
    """
    found = find_spec("triton")
    if found is None or found.origin is None:
        raise ToolMissing(f"`{name}` comes with Triton, which is not installed")
    path = Path(found.origin).parent / "backends" / "nvidia" / "bin" / name
    if not path.is_file():
        raise ToolMissing(f"`{name}` is not at {path}")
    return str(path)


def machine_code(cubin: bytes, name: str) -> bytes:
    """The section of an ELF file that holds the code of a kernel.

    Raises:
        Unmeasured: There is none.
    """
    try:
        (start,) = struct.unpack_from("<Q", cubin, 0x28)
        count, names = struct.unpack_from("<HH", cubin, 0x3C)
        headers = [struct.unpack_from("<IIQQQQ", cubin, start + 64 * i) for i in range(count)]
        for label, _, _, _, offset, size in headers:
            at = headers[names][4] + label
            if cubin[at : cubin.index(b"\0", at)] == f".text.{name}".encode():
                return cubin[offset : offset + size]
    except (struct.error, IndexError, ValueError) as error:
        raise Unmeasured(f"the cubin of `{name}` is no ELF file: {error}") from error
    raise Unmeasured(f"the cubin has no kernel `{name}`")


def resources(cubin: bytes, name: str) -> dict[str, int]:
    """Registers, stack, static shared and local memory of a kernel, in `cuobjdump`'s names."""
    text = _run("cuobjdump", ["-res-usage"], cubin)
    found = re.search(rf"Function {re.escape(name)}:\s*\n\s*(.*)", text)
    if found is None:
        raise Unmeasured(f"cuobjdump knows no kernel `{name}`")
    return {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", found[1])}


def disassemble(code: Sequence[bytes], target: str) -> list[list[Instruction]]:
    """The instructions of kernels for one target.

    Args:
        code: What `machine_code` returns for each.
        target: Such as "sm_90".

    Returns:
        Those of each kernel; addresses in operands count from the start of all the code.
    """
    capability = re.sub(r"\D", "", target)
    text = _run("nvdisasm", ["--binary", f"SM{capability}"], b"".join(code))
    programs: list[list[Instruction]] = [[] for _ in code]
    ends = [sum(len(c) for c in code[: i + 1]) for i in range(len(code))]
    index = 0
    for instruction in filter(None, map(read, text.split("\n"))):
        while instruction.address >= ends[index]:
            index += 1
        programs[index].append(instruction)
    for program, c in zip(programs, code, strict=True):
        if len(program) != len(c) // 16:
            raise Unmeasured(f"{len(program)} of {len(c) // 16} instructions can be read")
    return programs


def read(line: str) -> Instruction | None:
    """The instruction that a line of `nvdisasm` prints, if it prints one."""
    found = _LINE.match(line)
    if found is None:
        return None
    operands = _SCHEDULE.sub("", found[4]).strip()
    return Instruction(int(found[1], 16), found[2] or "", found[3], operands)


def _run(name: str, arguments: Sequence[str], data: bytes) -> str:
    with tempfile.NamedTemporaryFile(prefix="stepforge-", suffix=".cubin") as file:
        file.write(data)
        file.flush()
        command = [tool(name), *arguments, file.name]
        try:
            done = processes.run(command)
        except OSError as error:
            raise ToolMissing(f"`{name}` cannot be run: {error}") from error
    if done.returncode:
        raise ToolMissing(f"`{name}` fails: {done.stderr.strip()[:200]}")
    return done.stdout


# The control flow.

_Cost = tuple[int, int, int, int]
"""Calls, accesses to global memory, masked ones of them, instructions: the least, in this order."""
_Best = dict[int, tuple[_Cost, int | None, int]]
"""By bytes that move from here on: the cost, the next instruction, and the bytes from there on."""


def fast_path(program: Sequence[Instruction], moved: int) -> list[Instruction]:
    """The instructions of a full block, in order.

    Args:
        program: The kernel.
        moved: Bytes that one thread has to move; fewer if the compiler drops a load.

    Raises:
        Unmeasured: There is a loop or an unknown jump on the way, or no path without a call.
    """
    next_of: Mapping[int, tuple[int, ...]] = {
        index: tuple(_successors(program, index)) for index in _reachable(program)
    }
    best: dict[int, _Best] = {}
    for index in _last_first(next_of, program):
        instruction = program[index]
        here = instruction.bits // 8 if instruction.is_global else 0
        after: list[tuple[_Cost, int | None, int]] = [
            (cost, i, rest) for i in next_of[index] for rest, (cost, _, _) in best[i].items()
        ]
        if instruction.base == "EXIT":
            after.append(((0, 0, 0, 0), None, 0))
        found: _Best = {}
        for cost, following, rest in after:
            total = _sum(_cost(instruction), cost)
            if here + rest <= moved and (here + rest not in found or total < found[here + rest][0]):
                found[here + rest] = total, following, rest
        best[index] = found
    if not best[0]:
        raise Unmeasured(f"every path moves more than {moved} bytes a thread")
    at: int | None = 0
    rest = max(best[0])
    if best[0][rest][0][0]:
        raise Unmeasured("every path of the kernel calls a subroutine")
    path: list[Instruction] = []
    while at is not None:
        path.append(program[at])
        _, at, rest = best[at][rest]
    return path


def _successors(program: Sequence[Instruction], index: int) -> Iterator[int]:
    """Where control may go after an instruction; a call returns."""
    instruction = program[index]
    if instruction.base in _JUMPS:
        raise Unmeasured(f"the jump {instruction.opcode} {instruction.operands}")
    if instruction.base not in ("EXIT", "BRA") or instruction.predicate:
        yield index + 1
    elif instruction.base == "BRA" and "," in instruction.operands:
        yield index + 1  # a second condition before the target
    if instruction.base == "BRA":
        place = instruction.operands.split(",")[-1].strip(" `()")
        if not re.fullmatch("0x[0-9a-f]+", place):
            raise Unmeasured(f"the jump {instruction.opcode} {instruction.operands}")
        yield (int(place, 16) - program[0].address) // 16


def _reachable(program: Sequence[Instruction]) -> set[int]:
    seen, todo = {0}, [0]
    while todo:
        for after in _successors(program, todo.pop()):
            if not 0 <= after < len(program):
                raise Unmeasured("control leaves the kernel")
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


def _last_first(
    next_of: Mapping[int, tuple[int, ...]], program: Sequence[Instruction]
) -> Iterator[int]:
    """Every instruction after all that can follow it."""
    done: set[int] = set()
    active: set[int] = set()
    todo = [0]
    while todo:
        index = todo[-1]
        active.add(index)
        waiting = [after for after in next_of[index] if after not in done]
        for after in waiting:
            if after in active:
                raise Unmeasured(f"a loop at {program[after].address:#x}")
        if waiting:
            todo.append(waiting[0])
            continue
        active.discard(todo.pop())
        done.add(index)
        yield index


def _cost(instruction: Instruction) -> _Cost:
    accesses = int(instruction.is_global)
    masked = int(instruction.is_global and bool(instruction.predicate))
    return int(instruction.base == "CALL"), accesses, masked, 1


def _sum(a: _Cost, b: _Cost) -> _Cost:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
