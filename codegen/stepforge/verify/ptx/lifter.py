"""PTX lifted to terms: a kernel walked symbolically (R7).

Lanes are concrete, all at once; `n` and the number of the program are symbols; data is terms. Every
lane runs the same instructions on elements of its own. What instructions mean is in `table`; here
are parameters, loads, stores, predicates and branches. What is not such a kernel is `Unsupported`
with its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepforge.verify.ptx import parser
from stepforge.verify.ptx.mnemonics import FLOATS, access, members
from stepforge.verify.ptx.parser import Instruction, Program
from stepforge.verify.ptx.symbols import inverted
from stepforge.verify.ptx.table import row_of
from stepforge.verify.ptx.values import (
    EVERYWHERE,
    Address,
    Condition,
    Float,
    Predicate,
    Registers,
    Value,
    as_floats,
    together,
)
from stepforge.verify.terms.lifted import (
    TABLE_BYTES,
    Binding,
    Lifted,
    Mask,
    Pointer,
    Refuted,
    Table,
    TableAddress,
    Unsupported,
    Walk,
    starts_at,
    walked,
)
from stepforge.verify.terms.offsets import Offset, Overflow, number
from stepforge.verify.terms.terms import Term

MAX_STEPS = 100_000


def parsed(text: str) -> Program:
    """Parses PTX.

    Raises:
        Unsupported: It holds something that the parser does not know.
    """
    try:
        return parser.parse(text)
    except parser.Unsupported as error:
        found = re.match(r"line (\d+): ", str(error))
        raise Unsupported(int(found[1]) if found else 0, str(error)) from None


def lift(program: Program, bindings: Sequence[Binding], block: int, alignment: int = 16) -> Lifted:
    """Lifts a kernel.

    Args:
        program: Its PTX, parsed.
        bindings: What its parameters are, in order; trailing scratch parameters have none.
        block: Elements of one program.
        alignment: Bytes that the tensors are aligned to; 1 for that of their elements.

    Raises:
        Unsupported: It holds something that the lifter does not know.
        Refuted: It leaves a tensor for some `n`, an access is not aligned, an integer overflows.
    """
    missing = len(program.parameters) - len(bindings)
    if not 0 <= missing <= 2:
        raise Refuted(0, f"{len(program.parameters)} parameters for {len(bindings)} arguments")
    pairs = zip(program.parameters, bindings, strict=False)
    parameters = {name: _loaded(binding) for name, binding in pairs}
    origin: dict[Term, int] = {}

    def walk(way: Walk) -> None:
        registers = Registers(program, starts_at(bindings), origin)
        _Run(program, parameters, way, alignment, registers).run()

    return Lifted(walked(block, walk), origin)


def _loaded(binding: Binding) -> Value:
    """What a register holds that was loaded from a parameter or a table."""
    if isinstance(binding, Pointer):
        return Address(binding, number(0))
    if isinstance(binding, Table):
        return TableAddress(binding, number(0))
    return Float(binding) if isinstance(binding, Term) else binding


@dataclass
class _Run:
    """One way through the program."""

    program: Program
    parameters: Mapping[str, Value]
    walk: Walk
    alignment: int
    registers: Registers

    @property
    def line(self) -> int:
        """That of the instruction that runs."""
        return self.registers.line

    def run(self) -> None:
        """Runs the instructions up to the end."""
        counter = 0
        for _ in range(MAX_STEPS):
            if counter >= len(self.program.instructions):
                return
            instruction = self.program.instructions[counter]
            self.registers.line = instruction.line
            counter += 1
            try:
                mask = self.guard(instruction)
                if instruction.name in ("ret", "ret.uni"):
                    if self.decided(mask):
                        return
                elif instruction.name in ("bra", "bra.uni"):
                    if self.decided(mask):
                        counter = self.program.labels[instruction.operands[0]]
                else:
                    self.step(instruction, mask)
            except Overflow as error:
                raise Refuted(self.line, str(error)) from None
            except (Unsupported, parser.Unsupported) as error:
                raise Unsupported(self.line, str(error)) from None
            except (KeyError, IndexError, ValueError) as error:
                shown = f"`{instruction.name} {', '.join(instruction.operands)}`"
                raise Unsupported(self.line, shown) from error
        raise Refuted(self.line, f"more than {MAX_STEPS} instructions: an endless loop")

    def step(self, i: Instruction, mask: Predicate) -> None:
        """Runs an instruction that is no jump."""
        operation = i.name.partition(".")[0]
        if operation in ("ld", "st"):
            self.access(i, mask)
        elif operation in ("bar", "barrier"):
            raise Unsupported(self.line, f"`{i.name}`: lanes that wait for each other")
        else:
            if not (isinstance(mask, Mask) and mask.below is None and mask.lanes.all()):
                raise Unsupported(self.line, f"`{i.name}` in some lanes alone")
            compute(self.registers, i)

    def guard(self, i: Instruction) -> Predicate:
        """Where an instruction runs."""
        if not i.guard:
            return EVERYWHERE
        value = self.registers.read(i.guard, "pred")
        assert isinstance(value, Predicate)
        return inverted(value) if i.negated else value

    def decided(self, mask: Predicate) -> bool:
        """Whether all lanes take a jump."""
        if isinstance(mask, Condition):
            return self.walk.holds(mask.term, self.line)
        if mask.lanes.all():
            return mask.below is None or self.walk.is_below(mask.below, self.line)
        if not mask.lanes.any():
            return False
        raise Unsupported(self.line, "lanes part ways")

    # Memory.

    def access(self, i: Instruction, mask: Predicate) -> None:
        """A load of a parameter, a load or a store."""
        what = access(i.name)
        if what is None or what.space == "shared":
            raise Unsupported(self.line, f"`{i.name}`")
        if what.space == "param":
            self.registers.write(i.operands[0], self.parameters[i.operands[1].strip("[]")])
            return
        if isinstance(mask, Condition):
            raise Unsupported(self.line, f"`{i.name}` where a value of the tensors says so")
        target, place = i.operands if what.loads else i.operands[::-1]
        size, names = what.width // 8, members(target)
        if len(names) != what.count:
            raise Unsupported(self.line, f"`{i.name}` with {len(names)} registers")
        address = self.address(place)
        if isinstance(address, TableAddress):
            if what.count > 1 or not what.loads or not (mask.below is None and mask.lanes.all()):
                raise Unsupported(self.line, f"`{i.name}` of a table")
            self.registers.write(names[0], self.entry(address, size))
            return
        self.aligned(address, size * what.count)
        lanes = np.broadcast_to(mask.lanes, (self.program.threads,))
        mask = self.walk.path.simplified(Mask(lanes, mask.below))
        for index, register in enumerate(names):
            place_of = Address(address.pointer, address.offset + number(index * size))
            if what.loads:
                self.registers.write(register, self.load(place_of, size, mask, register))
            else:
                self.store(place_of, size, mask, register)

    def entry(self, address: TableAddress, size: int) -> Value:
        """An element of a table."""
        index = address.offset.divided(size)
        if size != TABLE_BYTES[type(address.table)] or index is None:
            raise Refuted(self.line, "reads parts of elements of the table")
        found = address.table.entry(index, self.line)
        return _loaded(found)

    def address(self, place: str) -> Address | TableAddress:
        """The operand in brackets."""
        base, _, offset = place.strip("[] ").partition("+")
        value = self.registers.value(base.strip())
        if not isinstance(value, Address | TableAddress):
            raise Unsupported(self.line, f"{base.strip()} is no address of a tensor")
        return replace(value, offset=value.offset + number(int(offset.strip() or 0)))

    def aligned(self, address: Address, size: int) -> None:
        """Whether an access is aligned in all lanes and programs."""
        element = FLOATS[address.pointer.kind] // 8
        if size > max(self.alignment, element):
            raise Refuted(self.line, f"{size} bytes at once of a tensor aligned to {element}")
        if address.offset.divided(size) is None:
            raise Refuted(self.line, f"an access of {size} bytes that is not aligned")

    def elements(self, address: Address, size: int) -> list[Offset]:
        """The elements that an access of some bytes touches."""
        width = FLOATS[address.pointer.kind] // 8
        index = address.offset.divided(width)
        if index is None or size % width:
            raise Refuted(self.line, f"accesses parts of elements of `{address.pointer.tensor}`")
        return [index + number(i) for i in range(size // width)]

    def load(self, address: Address, size: int, mask: Mask, register: str) -> Value:
        """What a register has after a load, which keeps its old value where the mask is off."""
        pointer = address.pointer
        elements = self.elements(address, size)
        others: Sequence[Float | None] = [None] * len(elements)
        if register in self.registers.held and not (mask.below is None and mask.lanes.all()):
            others = self.floats(register, pointer.kind, len(elements))
        loaded = []
        for index, other in zip(elements, others, strict=True):
            term = None if other is None else other.term
            loaded.append(Float(self.walk.path.load(pointer, index, mask, term, self.line)))
        return together(loaded)

    def store(self, address: Address, size: int, mask: Mask, register: str) -> None:
        """Stores a register."""
        pointer, elements = address.pointer, self.elements(address, size)
        values = self.floats(register, pointer.kind, len(elements))
        for index, value in zip(elements, values, strict=True):
            self.walk.path.store(pointer, index, mask, value.term, self.line)

    def floats(self, register: str, kind: str, count: int) -> Sequence[Float]:
        """A register as so many numbers of a tensor."""
        found = as_floats(self.registers.value(register), kind, count)
        if found is None:
            raise Unsupported(self.line, f"{register} is not {count} of {kind}")
        return found


def compute(registers: Registers, i: Instruction) -> None:
    """Runs an instruction of the table in all lanes.

    Raises:
        parser.Unsupported: It has no symbolic meaning.
        Overflow: An integer does not fit its type for some size.
    """
    target, *sources = i.operands
    row = row_of(i.name, len(sources))
    pairs = zip(sources, row.takes, strict=True)
    found = row.symbolic(*[registers.read(text, kind) for text, kind in pairs])
    targets = target.split("|") if len(found) > 1 else [target]
    for register, value in zip(targets, found, strict=True):
        registers.write(register, value)
