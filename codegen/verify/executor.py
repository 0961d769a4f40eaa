"""PTX on the CPU: one program at a time, all of its lanes at once, every access checked.

Covers what compiled element-wise kernels consist of. Anything else is `Unsupported`, never skipped.
The semantics are those of the PTX ISA: round to nearest even, subnormals kept, any NaN for NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codegen.verify.ptx import Instruction, Program, Unsupported

Array = np.ndarray[Any, Any]
MAX_STEPS = 100_000
"""Instructions of one program; a kernel without loops needs a few hundred."""


class Fault(Exception):
    """The kernel does something that a GPU would not survive, or that no one could rely on."""


@dataclass
class Buffer:
    """Memory that a kernel may access.

    Attributes:
        name: Name of the tensor.
        address: Of its first byte.
        data: Its bytes.
        written: How often each byte was written.
    """

    name: str
    address: int
    data: Array
    written: Array = field(init=False)

    def __post_init__(self) -> None:
        self.written = np.zeros(len(self.data), np.uint8)


class Executor:
    """Runs a program for one block index after the other on shared buffers."""

    def __init__(
        self, program: Program, arguments: Sequence[int | float], buffers: Sequence[Buffer]
    ) -> None:
        """Binds arguments to parameters.

        Args:
            program: The kernel.
            arguments: One for each parameter but the trailing scratch pointers: addresses and
                integers as int, floating-point numbers as float64.
            buffers: The memory that it may access.
        """
        self.program = program
        self.buffers = buffers
        bits = [
            int(np.float64(a).view(np.uint64)) if isinstance(a, float) else int(a) & (2**64 - 1)
            for a in arguments
        ]
        missing = len(program.parameters) - len(bits)
        if not 0 <= missing <= 2:
            raise Fault(f"{len(bits)} arguments for {len(program.parameters)} parameters")
        self.parameters = dict(zip(program.parameters, [*bits, *[0] * missing], strict=True))
        self.registers: dict[str, Array] = {}
        self.lanes = program.threads
        self.block = 0

    def run(self, blocks: int) -> None:
        """Runs the programs 0 to `blocks` - 1.

        Raises:
            Fault: An access out of bounds or misaligned, or two writes to one byte.
            Unsupported: Lanes that part ways, or an unknown instruction.
        """
        for self.block in range(blocks):
            self.registers = {}
            self._program()

    def _program(self) -> None:
        counter = 0
        for _ in range(MAX_STEPS):
            if counter >= len(self.program.instructions):
                return
            instruction = self.program.instructions[counter]
            counter += 1
            active = self._active(instruction)
            base = instruction.name.split(".", 1)[0]
            if base == "ret":
                if not active.all():
                    raise Unsupported(f"line {instruction.line}: some lanes return")
                return
            if base == "bra":
                if active.all():
                    counter = self.program.labels[instruction.operands[0]]
                elif active.any():
                    raise Unsupported(f"line {instruction.line}: lanes part ways")
                continue
            with np.errstate(all="ignore"):
                self._execute(instruction, active)
        raise Fault(f"more than {MAX_STEPS} instructions: an endless loop")

    def _active(self, instruction: Instruction) -> Array:
        if not instruction.guard:
            return np.ones(self.lanes, bool)
        predicate = self.registers[instruction.guard].astype(bool)
        return ~predicate if instruction.negated else predicate

    def _execute(self, i: Instruction, active: Array) -> None:
        parts = i.name.split(".")
        if parts[0] in ("ld", "st"):
            self._access(i, parts, active)
            return
        operation = _OPERATIONS.get(parts[0])
        if operation is None:
            raise Unsupported(f"line {i.line}: `{i.name}`")
        try:
            operation(self, parts[1:], i.operands, active)
        except (KeyError, IndexError, ValueError) as error:
            raise Unsupported(f"line {i.line}: `{i.name} {', '.join(i.operands)}`") from error

    # Registers hold bits; operations look at them as the type that they name.

    def bits(self, operand: str, width: int) -> Array:
        """An operand as unsigned integers of a width, one for each lane."""
        kind = _UNSIGNED[width]
        if operand.startswith("%"):
            special = {"%tid.x": np.arange(self.lanes), "%ctaid.x": np.full(self.lanes, self.block)}
            if operand in special:
                return special[operand].astype(kind)
            return self.registers[operand].astype(kind)
        if operand.startswith(("0f", "0d")):
            return np.full(self.lanes, int(operand[2:], 16), np.uint64).astype(kind)
        return np.full(self.lanes, int(operand, 0) & (2**width - 1), np.uint64).astype(kind)

    def read(self, operand: str, kind: str) -> Array:
        """An operand as numbers of a PTX type such as "f32"."""
        if kind == "pred":
            return self.registers[operand].astype(bool)
        width = int(re.sub(r"\D", "", kind.split("x")[0]))
        if kind == "bf16":
            return (self.bits(operand, 16).astype(np.uint32) << 16).view(np.float32)
        return self.bits(operand, width).view(_NUMPY[kind])

    def write(self, register: str, values: Array, active: Array) -> None:
        """Sets a register in the active lanes."""
        if register == "_":
            return
        width = self.program.width(register)
        values = np.broadcast_to(values, (self.lanes,))
        kind = values.dtype
        if width == 1:
            new: Array = values.astype(bool)
        else:
            raw = values.view(f"u{kind.itemsize}") if kind.kind == "f" else values
            new = raw.astype(_UNSIGNED[width])
        old = self.registers.get(register, np.zeros(self.lanes, new.dtype))
        self.registers[register] = np.where(active, new, old)

    # Memory.

    def _access(self, i: Instruction, parts: list[str], active: Array) -> None:
        if parts[1] == "param":
            name = i.operands[1].strip("[]")
            value = np.full(self.lanes, self.parameters[name], np.uint64)
            self.write(i.operands[0], value, active)
            return
        if parts[1] != "global":
            raise Unsupported(f"line {i.line}: `{i.name}`")
        load = parts[0] == "ld"
        target, place = i.operands if load else i.operands[::-1]
        count = next((int(p[1:]) for p in parts if re.fullmatch(r"v\d", p)), 1)
        width = int(re.sub(r"\D", "", parts[-1]))
        registers = [r.strip() for r in target.strip("{} ").split(",")]
        if len(registers) != count:
            raise Unsupported(f"line {i.line}: `{i.name}` with {len(registers)} registers")
        address = self._address(place)
        size = width // 8
        if (address[active] % (size * count)).any():
            raise Fault(f"line {i.line}: `{i.name}` is misaligned")
        for index, register in enumerate(registers):
            where = address + np.uint64(index * size)
            if load:
                values = np.zeros(self.lanes, _UNSIGNED[width])
                values[active] = self._gather(i, where[active], size)
                self.write(register, values, active)
            else:
                values = self.bits(register, width)
                self._scatter(i, where[active], values[active], size)

    def _address(self, place: str) -> Array:
        base, _, offset = place.strip("[] ").partition("+")
        address = self.bits(base.strip(), 64)
        return address + np.uint64(int(offset.strip() or 0) & (2**64 - 1))

    def _buffer(self, i: Instruction, address: Array, size: int) -> tuple[Buffer, Array]:
        """The buffer of all addresses, and their offsets in it."""
        first = int(address[0])
        for buffer in self.buffers:
            if buffer.address <= first < buffer.address + len(buffer.data):
                offsets = address.astype(np.int64) - np.int64(buffer.address)
                if (offsets < 0).any() or (offsets + size > len(buffer.data)).any():
                    raise Fault(f"line {i.line}: `{i.name}` leaves `{buffer.name}`")
                return buffer, offsets
        raise Fault(f"line {i.line}: `{i.name}` accesses memory of no tensor")

    def _gather(self, i: Instruction, address: Array, size: int) -> Array:
        if not address.size:
            return np.zeros(0, _UNSIGNED[8 * size])
        buffer, offsets = self._buffer(i, address, size)
        taken = buffer.data[offsets[:, None] + np.arange(size)]
        values: Array = np.ascontiguousarray(taken).view(_UNSIGNED[8 * size]).reshape(-1)
        return values

    def _scatter(self, i: Instruction, address: Array, values: Array, size: int) -> None:
        if not address.size:
            return
        buffer, offsets = self._buffer(i, address, size)
        where = offsets[:, None] + np.arange(size)
        np.add.at(buffer.written, where, 1)
        if (buffer.written[where] > 1).any():
            raise Fault(f"line {i.line}: `{i.name}` writes an element of `{buffer.name}` again")
        buffer.data[where] = np.ascontiguousarray(values).view(np.uint8).reshape(-1, size)


_UNSIGNED = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64, 1: np.bool_}
_NUMPY = {
    "f16": np.float16, "f32": np.float32, "f64": np.float64, "u16": np.uint16, "u32": np.uint32,
    "u64": np.uint64, "s32": np.int32, "s64": np.int64, "b16": np.uint16, "b32": np.uint32,
    "b64": np.uint64, "s16": np.int16,
}  # fmt: skip
Operation = Callable[[Executor, list[str], tuple[str, ...], Array], None]
Function = Callable[..., Array]


def _exact(modifiers: list[str], allowed: set[str]) -> str:
    """The type of an operation whose other modifiers are all known."""
    *others, kind = modifiers
    if not set(others) <= allowed:
        raise KeyError(others)
    return kind


def _arithmetic(function: Function) -> Operation:
    """Correctly rounded operations: `.rn`, packed pairs, and mixed 16-bit first operands."""

    def execute(
        e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array
    ) -> None:
        target, *sources = operands
        if modifiers[-2:-1] == ["f32"] and modifiers[-1] in ("bf16", "f16"):
            _exact(modifiers[:-1], {"rn"})
            narrow = e.read(sources[0], modifiers[-1]).astype(np.float32)
            values: Array = function(narrow, *(e.read(s, "f32") for s in sources[1:]))
        else:
            kind = _exact(modifiers, {"rn"})
            if kind == "f32x2":
                halves = [e.bits(s, 64) for s in sources]
                low = function(
                    *(
                        (h & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
                        for h in halves
                    )
                )
                high = function(
                    *((h >> np.uint64(32)).astype(np.uint32).view(np.float32) for h in halves)
                )
                joined = high.view(np.uint32).astype(np.uint64) << np.uint64(32)
                e.write(target, joined | low.view(np.uint32).astype(np.uint64), active)
                return
            values = function(*(e.read(s, kind) for s in sources))
        e.write(target, values, active)

    return execute


def _extreme(function: Function, number: Function) -> Operation:
    """`max` and `min`: with `.NaN` it propagates, without the number wins; -0 is below +0."""

    def execute(
        e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array
    ) -> None:
        kind = _exact(modifiers, {"NaN"})
        a, b = (e.read(s, kind) for s in operands[1:])
        values = (function if "NaN" in modifiers else number)(a, b)
        if kind.startswith("f"):
            zeros = (a == 0) & (b == 0)
            negative = np.signbit(a) & np.signbit(b)
            if function is np.minimum:
                negative = np.signbit(a) | np.signbit(b)
            values = np.where(zeros, np.where(negative, -0.0, 0.0).astype(values.dtype), values)
        e.write(operands[0], values, active)

    return execute


def _integer(function: Function) -> Operation:
    def execute(
        e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array
    ) -> None:
        kind = _exact(modifiers, {"lo"})
        if kind == "pred":
            e.write(operands[0], function(*(e.read(s, kind) for s in operands[1:])), active)
            return
        values = function(*(e.read(s, kind) for s in operands[1:]))
        e.write(operands[0], values, active)

    return execute


def _either(floats: Operation, integers: Operation) -> Operation:
    def execute(
        e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array
    ) -> None:
        chosen = floats if "f" in modifiers[-1] else integers
        chosen(e, modifiers, operands, active)

    return execute


def _mul(e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array) -> None:
    if modifiers[0] == "wide":
        a, b = (e.read(s, modifiers[1]) for s in operands[1:])
        wide = {"u32": np.uint64, "s32": np.int64}[modifiers[1]]
        e.write(operands[0], a.astype(wide) * b.astype(wide), active)
        return
    _either(_arithmetic(np.multiply), _integer(np.multiply))(e, modifiers, operands, active)


def _mov(e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array) -> None:
    (kind,) = modifiers
    target, source = operands
    if kind == "pred":
        e.write(target, e.read(source, kind), active)
        return
    width = int(re.sub(r"\D", "", kind))
    if target.startswith("{"):
        parts = [p.strip() for p in target.strip("{} ").split(",")]
        value, each = e.bits(source, width), width // len(parts)
        for index, part in enumerate(parts):
            shifted = value >> value.dtype.type(index * each)
            e.write(part, shifted.astype(_UNSIGNED[each]), active)
    elif source.startswith("{"):
        parts = [p.strip() for p in source.strip("{} ").split(",")]
        each, kind_of = width // len(parts), _UNSIGNED[width]
        value = np.zeros(e.lanes, kind_of)
        for index, part in enumerate(parts):
            value |= e.bits(part, each).astype(kind_of) << kind_of(index * each)
        e.write(target, value, active)
    else:
        e.write(target, e.bits(source, width), active)


def _cvt(e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array) -> None:
    rounding, (target, source) = modifiers[:-2], modifiers[-2:]
    if rounding not in ([], ["rn"]):
        raise KeyError(modifiers)
    if target in ("bf16x2", "f16x2"):
        high, low = (_narrow(e.read(s, source), target[:-2]) for s in operands[1:])
        joined = (high.astype(np.uint32) << np.uint32(16)) | low.astype(np.uint32)
        e.write(operands[0], joined, active)
        return
    value = e.read(operands[1], source)
    if target in ("bf16", "f16"):
        e.write(operands[0], _narrow(value, target), active)
    else:
        e.write(operands[0], value.astype(_NUMPY[target]), active)


def _narrow(values: Array, kind: str) -> Array:
    """float32 to the bits of a 16-bit type, to nearest even."""
    if kind == "f16":
        return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(values), np.uint64(0x7FFF), rounded).astype(np.uint16)


def _setp(e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array) -> None:
    comparison, kind = modifiers
    a, b = (e.read(s, kind) for s in operands[1:])
    e.write(operands[0], _COMPARISONS[comparison](a, b), active)


def _unordered(function: Function) -> Function:
    return lambda a, b: function(a, b) | np.isnan(a) | np.isnan(b)


_COMPARISONS: dict[str, Function] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": lambda a, b: (a != b) & ~np.isnan(a) & ~np.isnan(b),
    "ltu": _unordered(np.less), "leu": _unordered(np.less_equal),
    "gtu": _unordered(np.greater), "geu": _unordered(np.greater_equal),
    "equ": _unordered(np.equal), "neu": _unordered(np.not_equal),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
}  # fmt: skip


def _selp(e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array) -> None:
    (kind,) = modifiers
    width = int(re.sub(r"\D", "", kind))
    a, b = (e.bits(s, width) for s in operands[1:3])
    e.write(operands[0], np.where(e.read(operands[3], "pred"), a, b), active)


def _shift(function: Function) -> Operation:
    def execute(
        e: Executor, modifiers: list[str], operands: tuple[str, ...], active: Array
    ) -> None:
        (kind,) = modifiers
        value = e.read(operands[1], kind)
        amount = e.bits(operands[2], 32).astype(value.dtype)
        e.write(operands[0], function(value, amount), active)

    return execute


_OPERATIONS: dict[str, Operation] = {
    "mov": _mov,
    "cvt": _cvt,
    "setp": _setp,
    "selp": _selp,
    "add": _either(_arithmetic(np.add), _integer(np.add)),
    "sub": _either(_arithmetic(np.subtract), _integer(np.subtract)),
    "mul": _mul,
    "div": _arithmetic(np.divide),
    "sqrt": _arithmetic(np.sqrt),
    "abs": _arithmetic(np.abs),
    "neg": _arithmetic(np.negative),
    "max": _extreme(np.maximum, np.fmax),
    "min": _extreme(np.minimum, np.fmin),
    "and": _integer(np.bitwise_and),
    "or": _integer(np.bitwise_or),
    "xor": _integer(np.bitwise_xor),
    "not": _integer(np.invert),
    "shl": _shift(np.left_shift),
    "shr": _shift(np.right_shift),
}
