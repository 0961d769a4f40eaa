"""PTX on the CPU: all lanes of many programs at once, every access checked.

Covers what compiled element-wise kernels consist of. Anything else is `Unsupported`, never skipped.
Lanes may part ways by whole programs; the parts then run one after the other. No result depends on
that order: where it could, `buffers` finds a race.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from stepforge.verify.ptx.buffers import Buffer, Fault, Memory, Shared
from stepforge.verify.ptx.lanes import UNSIGNED, Lanes
from stepforge.verify.ptx.mnemonics import access, members, width_of
from stepforge.verify.ptx.numbers import is_approximate
from stepforge.verify.ptx.parser import Instruction, Program, Unsupported
from stepforge.verify.ptx.table import row_of

__all__ = ["Buffer", "Executor", "Fault"]

Array = np.ndarray[Any, Any]
MAX_STEPS = 100_000
"""Instructions of one program; a kernel without loops needs a few hundred."""
CHUNK = 8192
"""Lanes that run at once."""
SHARED_BYTES = 49152
"""Shared memory that a program may have on every GPU."""
SHARED_ADDRESS = 16
"""Where it starts: aligned as PTX declares it, and no better."""


class Executor:
    """Runs a kernel on buffers.

    Attributes:
        program: The kernel.
        buffers: The memory that it may access.
        approximate: Executed instructions whose result PTX does not fix to the bit: they gave the
            nearest number, which a GPU need not do, so that no bits may be claimed.
    """

    def __init__(
        self,
        program: Program,
        arguments: Sequence[int | float],
        buffers: Sequence[Buffer],
        shared: int = SHARED_BYTES,
    ) -> None:
        """Binds arguments to parameters.

        Args:
            program: The kernel.
            arguments: One for each parameter but the trailing scratch pointers: addresses and
                integers as int, floating-point numbers as float64.
            buffers: The memory that it may access.
            shared: Bytes of shared memory that a launch allocates for each program.

        Raises:
            Fault: The arguments are not those of the kernel.
        """
        self.program = program
        self.buffers = buffers
        self.approximate: set[str] = set()
        missing = len(program.parameters) - len(arguments)
        if not 0 <= missing <= 2:
            raise Fault(f"{len(arguments)} arguments for {len(program.parameters)} parameters")
        given = [*arguments, *[0] * missing]
        self._parameters = {
            name: _bits(value, program.kinds[name])
            for name, value in zip(program.parameters, given, strict=True)
        }
        self._size = shared - shared % 2 if program.shared else 0
        self._symbols = dict.fromkeys(program.shared, SHARED_ADDRESS)
        self._shared = Shared("shared memory", 0, np.zeros(0, np.uint8))
        self._first = 0

    def run(self, blocks: int) -> None:
        """Runs the programs 0 to `blocks` - 1.

        Raises:
            Fault: An access out of bounds or misaligned, two writes to one byte, a race.
            Unsupported: Lanes that part ways, or an unknown instruction.
        """
        threads = self.program.threads
        each = max(1, CHUNK // threads)
        for first in range(0, blocks, each):
            numbers = np.arange(first, min(first + each, blocks), dtype=np.int64)
            memory = np.zeros(self._size * len(numbers), np.uint8)
            self._shared, self._first = Shared("shared memory", 0, memory), first
            lanes = Lanes(
                self.program,
                np.repeat(numbers, threads),
                np.tile(np.arange(threads, dtype=np.int64), len(numbers)),
                self._symbols,
                self.approximate,
            )
            waiting = [lanes]
            with np.errstate(all="ignore"):
                while waiting:
                    waiting += self._advance(waiting.pop())

    def _advance(self, lanes: Lanes) -> list[Lanes]:
        """Runs until the lanes return or part ways; those that have to go on."""
        for _ in range(MAX_STEPS):
            if lanes.counter >= len(self.program.instructions):
                raise Unsupported("the kernel ends without `ret`")
            instruction = self.program.instructions[lanes.counter]
            lanes.counter += 1
            try:
                parts = self._step(lanes, instruction)
            except Fault as fault:
                line, name = instruction.line, instruction.name
                raise Fault(f"line {line}: `{name}` {fault}") from None
            except Unsupported as error:
                raise Unsupported(f"line {instruction.line}: {error}") from error
            except (KeyError, IndexError, ValueError, TypeError) as error:
                text = f"`{instruction.name} {', '.join(instruction.operands)}`"
                raise Unsupported(f"line {instruction.line}: {text}: {error}") from error
            if parts is not None:
                return parts
        raise Fault(f"more than {MAX_STEPS} instructions: an endless loop")

    def _step(self, lanes: Lanes, instruction: Instruction) -> list[Lanes] | None:
        """Executes an instruction; the lanes that go on if these cannot."""
        active = _active(lanes, instruction)
        base = instruction.name.split(".", 1)[0]
        if base in ("ld", "st"):
            self._access(lanes, instruction, active)
        elif base in ("bra", "ret", "bar"):
            return self._control(lanes, instruction, active)
        else:
            compute(lanes, instruction, active)
        return None

    def _control(self, lanes: Lanes, i: Instruction, active: Array | None) -> list[Lanes] | None:
        if active is None:
            active = np.ones(lanes.count, bool)
        programs = active.reshape(-1, self.program.threads)
        if (programs.any(1) != programs.all(1)).any():
            raise Unsupported(f"`{i.name}`: lanes of one program part ways")
        if i.name in ("bra", "bra.uni"):
            target = self.program.labels[i.operands[0]]
            if not active.all():
                if not active.any():
                    return None
                return [lanes.only(~active, lanes.counter), lanes.only(active, target)]
            lanes.counter = target
        elif i.name in ("ret", "ret.uni"):
            if active.all():
                return []
            if active.any():
                return [lanes.only(~active, lanes.counter)]
        elif i.name in ("bar.sync", "barrier.sync") and i.operands == ("0",) and active.all():
            lanes.epoch += 1
        else:
            raise Unsupported(f"`{i.name}`")
        return None

    # Memory.

    def _access(self, lanes: Lanes, i: Instruction, active: Array | None) -> None:
        what = access(i.name)
        if what is None:
            raise Unsupported(f"`{i.name}`")
        load, space, count, width = what.loads, what.space, what.count, what.width
        target, place = i.operands if load else i.operands[::-1]
        names = members(target)
        if len(names) != count:
            raise Unsupported(f"`{i.name}` with {len(names)} registers")
        if space == "param":
            if not load or count > 1 or width_of(self.program.kinds[place.strip("[]")]) != width:
                raise Unsupported(f"`{i.name}`")
            value = self._parameters[place.strip("[]")]
            lanes.set(target, np.full(lanes.count, value, UNSIGNED[width]), active)
            return
        address = _address(lanes, place, 64 if space == "global" else 32)
        chosen = slice(None) if active is None else active
        size = width // 8 * count  # a power of two
        if (address[chosen] & np.uint64(size - 1)).any():
            raise Fault("is misaligned")
        rows: Array = np.zeros((lanes.count, count), UNSIGNED[width])
        if not load:
            rows = np.stack([lanes.bits(r, width, narrows=True) for r in names], 1)
        if address[chosen].size:
            memory, place_of = self._memory(space, lanes, address, chosen, size)
            who = lanes.tokens[chosen]
            units = memory.units(place_of, size)
            if not load:
                memory.store(units, np.ascontiguousarray(rows[chosen]).view(np.uint16), who)
            elif active is None:
                rows = memory.load(units, who).view(UNSIGNED[width])
            else:
                rows[chosen] = memory.load(units, who).view(UNSIGNED[width])
        if load:
            for index, register in enumerate(names):
                lanes.set(register, np.ascontiguousarray(rows[:, index]), active)

    def _memory(
        self, space: str, lanes: Lanes, address: Array, chosen: Any, size: int
    ) -> tuple[Memory, Array]:
        """The memory of all active lanes, and their addresses in it."""
        if space == "shared":
            own = address[chosen].astype(np.int64) - SHARED_ADDRESS
            if (own < 0).any() or (own + size > self._size).any():
                raise Fault("leaves shared memory")
            return self._shared, own + (lanes.blocks[chosen] - self._first) * self._size
        first = int(address[chosen][0])
        for buffer in self.buffers:
            if first in buffer:
                return buffer, address[chosen]
        raise Fault("accesses memory of no tensor")


def compute(lanes: Lanes, i: Instruction, active: Array | None) -> None:
    """Executes an instruction of the table in the active lanes; None stands for all of them.

    Raises:
        Unsupported: It has no numeric meaning.
    """
    target, *sources = i.operands
    row = row_of(i.name, len(sources))
    narrows = row.mnemonic.operation == "cvt"  # alone may have wider registers than its type
    pairs = zip(sources, row.takes, strict=True)
    values = row.numeric(*[lanes.read(text, kind, narrows) for text, kind in pairs])
    if is_approximate(row.mnemonic):
        lanes.approximate.add(i.name)
    lanes.write(target, values, row.gives, active)


def _active(lanes: Lanes, instruction: Instruction) -> Array | None:
    """The lanes whose predicate holds; None for all, without one."""
    if not instruction.guard:
        return None
    predicate = lanes.predicate(instruction.guard)
    return ~predicate if instruction.negated else predicate


def _address(lanes: Lanes, place: str, width: int) -> Array:
    """The address of each lane, from "[%rd1+16]"."""
    register, distance = _place(place)
    base = lanes.bits(register, width)
    address: Array = (base + base.dtype.type(distance & (2**width - 1))).astype(np.uint64)
    return address


@cache
def _place(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[\s*(%?\w+)\s*(?:\+\s*(-?\d+)\s*)?\]", text)
    if match is None:
        raise ValueError(text)
    return match[1], int(match[2] or 0)


def _bits(value: int | float, kind: str) -> int:
    """The bits of an argument as a parameter of a PTX type."""
    if kind in ("f32", "f64"):
        with np.errstate(all="ignore"):
            number = np.asarray(value, np.float64).astype(f"f{width_of(kind) // 8}")
        return int(number.view(UNSIGNED[width_of(kind)]))
    width = width_of(kind)
    if isinstance(value, float) or not -(2 ** (width - 1)) <= value < 2**width:
        raise Fault(f"{value!r} is passed as {kind}")
    bits: int = int(value) & (2**width - 1)
    return bits
