"""The registers of many lanes at once, and their operands as numbers of PTX's types.

A register holds bits, one row for each lane; an instruction looks at them as the type it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from stepforge.operations.arithmetic import to_16_bits, to_float32
from stepforge.verify.ptx import buffers
from stepforge.verify.ptx.mnemonics import FLOATS, members, width_of
from stepforge.verify.ptx.parser import Program

Array = np.ndarray[Any, Any]

UNSIGNED: dict[int, Any] = {16: np.uint16, 32: np.uint32, 64: np.uint64}
"""What registers of a width hold; predicates hold bool."""
INTEGERS: dict[str, Any] = {
    "u16": np.uint16, "u32": np.uint32, "u64": np.uint64, "s16": np.int16, "s32": np.int32,
    "s64": np.int64, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64,
}  # fmt: skip
_WHOLE: dict[str, Any] = {**INTEGERS, "f32": np.float32, "f64": np.float64}
"""Types whose numbers NumPy reads from a register as they are."""


@dataclass
class Lanes:
    """Lanes of one or more programs that have come the same way through the kernel.

    Attributes:
        program: The kernel.
        blocks: Number of the program, for each lane.
        threads: Number within the program, for each lane.
        symbols: Addresses of shared memory by name.
        approximate: Collects executed instructions whose result PTX does not fix to the bit.
        counter: Index of the next instruction.
        epoch: How many barriers the lanes have passed.
        registers: Bits by name.
    """

    program: Program
    blocks: Array
    threads: Array
    symbols: Mapping[str, int]
    approximate: set[str]
    counter: int = 0
    epoch: int = 0
    registers: dict[str, Array] = field(default_factory=dict)
    _tokens: tuple[int, Array] | None = None

    @property
    def tokens(self) -> Array:
        """Who the lanes are since the last barrier, in `buffers`."""
        if self._tokens is None or self._tokens[0] != self.epoch:
            self._tokens = self.epoch, buffers.tokens(self.blocks, self.epoch, self.threads)
        return self._tokens[1]

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return len(self.blocks)

    def only(self, chosen: Array, counter: int) -> Lanes:
        """Some of the lanes, which go on at an instruction."""
        registers = {name: bits[chosen] for name, bits in self.registers.items()}
        return Lanes(
            self.program, self.blocks[chosen], self.threads[chosen], self.symbols,
            self.approximate, counter, self.epoch, registers,
        )  # fmt: skip

    def predicate(self, register: str) -> Array:
        """A condition of each lane."""
        bits = self.registers[register]
        if bits.dtype != np.bool_:
            raise ValueError(f"{register} is no predicate")
        return bits

    def bits(self, operand: str, width: int, narrows: bool = False) -> Array:
        """An operand as unsigned integers of a width, one for each lane.

        Args:
            operand: A register, a number, the name of shared memory, or several of these in braces.
            width: Of the instruction's type.
            narrows: Whether the register may be wider.

        Raises:
            KeyError: The register was never set, or the name is unknown.
            ValueError: The register is not of this width.
        """
        found = self.registers.get(operand)
        if found is not None and found.itemsize * 8 == width:
            return found
        kind = UNSIGNED[width]
        if operand.startswith("{"):
            return self._packed(members(operand), width)
        if not operand.startswith("%"):
            value = self.symbols[operand] if operand in self.symbols else _immediate(operand, width)
            return np.full(self.count, value, kind)
        found = self._special(operand) if operand in SPECIAL else self.registers[operand]
        if found.dtype == np.bool_ or found.itemsize * 8 < width:
            raise ValueError(f"{operand} has no {width} bits")
        if found.itemsize * 8 > width and not narrows:
            raise ValueError(f"{operand} has more than {width} bits")
        return found.astype(kind, copy=False)

    def _packed(self, names: tuple[str, ...], width: int) -> Array:
        """Several registers as one, the first in the lowest bits.

        Compilers pack registers that nothing was written to, where no one reads that half; its bits
        here are those of a NaN, which would show in a result.
        """
        each = width // len(names)
        blank = np.full(self.count, (1 << each) - 1, UNSIGNED[each])
        unset = [n.startswith("%") and n not in self.registers and n not in SPECIAL for n in names]
        columns = [
            blank if is_unset else self.bits(name, each)
            for name, is_unset in zip(names, unset, strict=True)
        ]
        found: Array = np.stack(columns, 1).view(UNSIGNED[width]).reshape(-1)
        return found

    def _special(self, name: str) -> Array:
        if name == "%ntid.x":
            return np.full(self.count, self.program.threads, np.uint32)
        return (self.threads if name == "%tid.x" else self.blocks).astype(np.uint32)

    def read(self, operand: str, kind: str, narrows: bool = False) -> Array:
        """An operand as numbers of a PTX type.

        16-bit floats come as float64, which holds them and every product of two; packed pairs
        have a row for each lane, the low half first; predicates are bool.
        """
        if kind == "pred":
            return self.predicate(operand)
        bits = self.bits(operand, width_of(kind), narrows)
        if (whole := _WHOLE.get(kind)) is not None:
            return bits.view(whole)
        base = kind.removesuffix("x2")
        if base != kind:
            bits = np.ascontiguousarray(bits).view(UNSIGNED[FLOATS[base]]).reshape(-1, 2)
        if FLOATS[base] == 16:
            return to_float32(bits, base).astype(np.float64)
        return bits.view(_WHOLE[base])

    def write(self, register: str, values: Array, kind: str, active: Array | None) -> None:
        """Sets a register to numbers of a PTX type, in the active lanes.

        Registers in braces share the bits; those with "|" between have a predicate each.
        """
        if values.dtype == np.bool_:
            columns = values.reshape(len(values), -1).T
            for name, column in zip(register.split("|"), columns, strict=True):
                self.set(name, column, active)
            return
        base = kind.removesuffix("x2")
        if base in FLOATS and FLOATS[base] == 16:
            bits = to_16_bits(values, base)
        elif values.dtype.itemsize * 8 != (FLOATS[base] if base in FLOATS else width_of(kind)):
            raise ValueError(f"{values.dtype} is not {kind}")
        else:
            bits = values.view(UNSIGNED[values.dtype.itemsize * 8])
        if base != kind:
            bits = np.ascontiguousarray(bits).view(UNSIGNED[width_of(kind)]).reshape(-1)
        if register.startswith("{"):
            names = members(register)
            columns = np.ascontiguousarray(bits).view(UNSIGNED[width_of(kind) // len(names)])
            for name, column in zip(names, columns.reshape(-1, len(names)).T, strict=True):
                self.set(name, np.ascontiguousarray(column), active)
        else:
            self.set(register, bits, active)

    def set(self, register: str, bits: Array, active: Array | None) -> None:
        """Sets a register's bits in the active lanes; the others keep theirs.

        Raises:
            ValueError: The register has another width.
        """
        if register == "_":
            return
        width = self.program.width(register)
        if (1 if bits.dtype == np.bool_ else bits.dtype.itemsize * 8) != width:
            raise ValueError(f"{register} has {width} bits")
        if active is not None:
            # A lane that never set the register has NaN in it, so that it is not relied on.
            blank = True if width == 1 else 2**width - 1
            old = self.registers.get(register)
            bits = np.where(active, bits, np.full_like(bits, blank) if old is None else old)
        self.registers[register] = bits


SPECIAL = ("%tid.x", "%ctaid.x", "%ntid.x")
"""Registers that the hardware sets."""


@cache
def _immediate(text: str, width: int) -> int:
    """The bits of a number; raises `ValueError` if it is none, or does not fit."""
    if text.startswith(("0f", "0F", "0d", "0D")):
        digits = 8 if text[1] in "fF" else 16
        if len(text) - 2 != digits or width != digits * 4:
            raise ValueError(f"{text} has no {width} bits")
        return int(text[2:], 16)
    if not re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|0|[1-9]\d*)[uU]?", text):
        raise ValueError(f"{text} is no integer")
    value = int(text.rstrip("uU"), 0)
    if not -(2 ** (width - 1)) <= value < 2**width:
        raise ValueError(f"{text} has more than {width} bits")
    bits: int = value & (2**width - 1)
    return bits
