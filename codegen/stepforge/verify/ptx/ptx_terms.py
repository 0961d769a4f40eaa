"""PTX as terms: addresses concrete in every lane, data symbolic, `n` and the program symbols.

A register holds an address, an integer for each lane, a condition, a float as a term, or several
packed floats. Every lane runs the same instructions on elements of its own, so a float is one term
for all of them; which element it is, the load that it comes from says. What is not such a kernel is
`Unsupported` with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from stepforge.verify.ptx import parser as ptx
from stepforge.verify.ptx.parser import Instruction, Program
from stepforge.verify.terms import terms
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
from stepforge.verify.terms.terms import FLOATS, Term, apply
from stepforge.verify.terms.ttir import compared, mask_of

MAX_STEPS = 100_000
_BYTES = {"bf16": 2, "f16": 2, "f32": 4, "f64": 8}


@dataclass(frozen=True, slots=True)
class Address:
    """Addresses in a tensor, in bytes from its first element."""

    pointer: Pointer
    offset: Offset


@dataclass(frozen=True, slots=True)
class Packed:
    """Several floats in one register, the lowest bits first."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Integers that share a register until they are taken apart; nothing computes with it."""

    parts: tuple[Offset, ...]


Value = Term | Packed | Joined | Offset | Mask | Address | TableAddress


def lift(program: Program, bindings: Sequence[Binding], block: int, alignment: int = 16) -> Lifted:
    """Lifts a kernel.

    Args:
        program: Its PTX, parsed.
        bindings: What its parameters are, in order; trailing scratch parameters have none.
        block: Elements of one program.
        alignment: Bytes that the tensors are aligned to; 1 for that of their elements.

    Raises:
        Unsupported: It holds something that this module does not know.
        Refuted: It leaves a tensor for some `n`, an access is not aligned, an integer overflows.
    """
    missing = len(program.parameters) - len(bindings)
    if not 0 <= missing <= 2:
        raise Refuted(0, f"{len(program.parameters)} parameters for {len(bindings)} arguments")
    parameters: dict[str, Value] = {}
    for name, binding in zip(program.parameters, bindings, strict=False):
        if isinstance(binding, Pointer):
            parameters[name] = Address(binding, number(0))
        elif isinstance(binding, Table):
            parameters[name] = TableAddress(binding, number(0))
        else:
            parameters[name] = binding
    origin: dict[Term, int] = {}

    def walk(way: Walk) -> None:
        _Run(program, parameters, way, alignment, origin, starts_at(bindings)).run()

    return Lifted(walked(block, walk), origin)


@dataclass
class _Run:
    """One way through the program."""

    program: Program
    parameters: Mapping[str, Value]
    walk: Walk
    alignment: int
    origin: dict[Term, int]
    place: Offset
    registers: dict[str, Value] = field(default_factory=dict)
    line: int = 0

    def run(self) -> None:
        """Runs the instructions up to the end."""
        counter = 0
        for _ in range(MAX_STEPS):
            if counter >= len(self.program.instructions):
                return
            instruction = self.program.instructions[counter]
            self.line = instruction.line
            counter += 1
            mask = self.guard(instruction)
            parts = instruction.name.split(".")
            if parts[0] == "ret":
                if self.decided(mask):
                    return
            elif parts[0] == "bra":
                if self.decided(mask):
                    counter = self.program.labels[instruction.operands[0]]
            else:
                self.step(instruction, parts, mask)
        raise Refuted(self.line, f"more than {MAX_STEPS} instructions: an endless loop")

    def step(self, i: Instruction, parts: list[str], mask: Mask | Term) -> None:
        """Runs an instruction that is no jump."""
        try:
            if parts[0] in ("ld", "st"):
                self.access(i, parts, mask)
                return
            operation = _OPERATIONS.get(parts[0])
            if operation is None:
                raise Unsupported(self.line, f"`{i.name}`")
            if not (isinstance(mask, Mask) and mask.below is None and mask.lanes.all()):
                raise Unsupported(self.line, f"`{i.name}` in some lanes alone")
            operation(self, parts[1:], i.operands)
        except Overflow as error:
            raise Refuted(self.line, str(error)) from None
        except (KeyError, IndexError, ValueError) as error:
            shown = f"`{i.name} {', '.join(i.operands)}`"
            raise Unsupported(self.line, shown) from error

    def guard(self, i: Instruction) -> Mask | Term:
        """Where an instruction runs."""
        if not i.guard:
            return _EVERYWHERE
        value = self.registers.get(i.guard)
        if isinstance(value, Mask):
            return _inverted(value, self.line) if i.negated else value
        if isinstance(value, Term) and value.kind == "bool":
            return apply("not", value) if i.negated else value
        raise Unsupported(self.line, f"the condition {i.guard}")

    def decided(self, mask: Mask | Term) -> bool:
        """Whether all lanes take a jump."""
        if isinstance(mask, Term):
            return self.walk.holds(mask, self.line)
        if mask.lanes.all():
            return mask.below is None or self.walk.is_below(mask.below, self.line)
        if not mask.lanes.any():
            return False
        raise Unsupported(self.line, "lanes part ways")

    # Operands.

    def value(self, operand: str) -> Value:
        """A register, special register or literal."""
        if operand == "%tid.x":
            return Offset(np.arange(self.program.threads, dtype=np.int64))
        if operand == "%ctaid.x":
            return self.place
        if operand.startswith("%"):
            if operand not in self.registers:
                raise Unsupported(self.line, f"{operand} has no value")
            return self.registers[operand]
        if operand.startswith("0f"):
            return _from_bits(int(operand[2:], 16), "f32")
        if operand.startswith("0d"):
            return _from_bits(int(operand[2:], 16), "f64")
        return number(int(operand, 0))

    def float(self, operand: str, kind: str) -> Term:
        """An operand as a float of a PTX type."""
        value = self.value(operand)
        if isinstance(value, Offset) and value.concrete and value.uniform:
            return _from_bits(int(value.base.reshape(-1)[0]), kind)
        if isinstance(value, Term) and value.kind == kind:
            return value
        raise Unsupported(self.line, f"{operand} is no {kind}")

    def packed(self, operand: str, kind: str, count: int) -> tuple[Term, ...]:
        """An operand as several floats."""
        value = self.value(operand)
        if isinstance(value, Packed) and [p.kind for p in value.parts] == [kind] * count:
            return value.parts
        if isinstance(value, Offset) and value.concrete and value.uniform:
            bits, width = int(value.base.reshape(-1)[0]), 8 * _BYTES[kind]
            each = (1 << width) - 1
            return tuple(_from_bits(bits >> width * i & each, kind) for i in range(count))
        raise Unsupported(self.line, f"{operand} is not {count} of {kind}")

    def offset(self, operand: str) -> Offset:
        """An operand as an integer."""
        value = self.value(operand)
        if isinstance(value, Offset):
            return value
        raise Unsupported(self.line, f"{operand} is no integer that follows from n and the lane")

    def write(self, register: str, value: Value) -> None:
        """Sets a register."""
        if register == "_":
            return
        if isinstance(value, Term) and value.args:
            self.origin.setdefault(value, self.line)
        self.registers[register] = value

    # Memory.

    def access(self, i: Instruction, parts: list[str], mask: Mask | Term) -> None:
        """A load of a parameter, a load or a store."""
        if parts[1] == "param":
            self.write(i.operands[0], self.parameters[i.operands[1].strip("[]")])
            return
        if parts[1] != "global" or isinstance(mask, Term):
            raise Unsupported(self.line, f"`{i.name}`")
        is_load = parts[0] == "ld"
        target, place = i.operands if is_load else i.operands[::-1]
        count, size = _accessed(i.name)
        registers = [r.strip() for r in target.strip("{} ").split(",")]
        if len(registers) != count:
            raise Unsupported(self.line, f"`{i.name}`")
        address = self.address(place)
        if isinstance(address, TableAddress):
            if count > 1 or not is_load or not (mask.below is None and mask.lanes.all()):
                raise Unsupported(self.line, f"`{i.name}` of a table")
            self.write(registers[0], self.entry(address, size))
            return
        self.aligned(address, size * count)
        lanes = np.broadcast_to(mask.lanes, (self.program.threads,))
        mask = self.walk.path.simplified(Mask(lanes, mask.below))
        for index, register in enumerate(registers):
            place_of = Address(address.pointer, address.offset + number(index * size))
            if is_load:
                self.write(register, self.load(place_of, size, mask, register))
            else:
                self.store(place_of, size, mask, register)

    def entry(self, address: TableAddress, size: int) -> Value:
        """An element of a table."""
        index = address.offset.divided(size)
        if size != TABLE_BYTES[type(address.table)] or index is None:
            raise Refuted(self.line, "reads parts of elements of the table")
        found = address.table.entry(index, self.line)
        return Address(found, number(0)) if isinstance(found, Pointer) else found

    def address(self, place: str) -> Address | TableAddress:
        """The operand in brackets."""
        base, _, offset = place.strip("[] ").partition("+")
        value = self.value(base.strip())
        if isinstance(value, TableAddress):
            return TableAddress(value.table, value.offset + number(int(offset.strip() or 0)))
        if not isinstance(value, Address):
            raise Unsupported(self.line, f"{base.strip()} is no address of a tensor")
        return Address(value.pointer, value.offset + number(int(offset.strip() or 0)))

    def aligned(self, address: Address, size: int) -> None:
        """Whether an access is aligned in all lanes and programs."""
        element = _BYTES[address.pointer.kind]
        if size > max(self.alignment, element):
            raise Refuted(self.line, f"{size} bytes at once of a tensor aligned to {element}")
        if address.offset.divided(size) is None:
            raise Refuted(self.line, f"an access of {size} bytes that is not aligned")

    def elements(self, address: Address, size: int) -> list[Offset]:
        """The elements that an access of some bytes touches."""
        width = _BYTES[address.pointer.kind]
        index = address.offset.divided(width)
        if index is None or size % width:
            raise Refuted(self.line, f"accesses parts of elements of `{address.pointer.tensor}`")
        return [index + number(i) for i in range(size // width)]

    def load(self, address: Address, size: int, mask: Mask, register: str) -> Value:
        """What a register has after a load, which keeps its old value where the mask is off."""
        pointer = address.pointer
        elements = self.elements(address, size)
        others: Sequence[Term | None] = [None] * len(elements)
        if register in self.registers and (mask.below is not None or not mask.lanes.all()):
            if len(elements) == 1:
                others = [self.float(register, pointer.kind)]
            else:
                others = self.packed(register, pointer.kind, len(elements))
        path = self.walk.path
        loaded = [
            path.load(pointer, index, mask, other, self.line)
            for index, other in zip(elements, others, strict=True)
        ]
        for term in loaded:
            self.origin.setdefault(term, self.line)
        return loaded[0] if len(loaded) == 1 else Packed(tuple(loaded))

    def store(self, address: Address, size: int, mask: Mask, register: str) -> None:
        """Stores a register."""
        pointer, elements = address.pointer, self.elements(address, size)
        if len(elements) == 1:
            values: Sequence[Term] = [self.float(register, pointer.kind)]
        else:
            values = self.packed(register, pointer.kind, len(elements))
        for index, value in zip(elements, values, strict=True):
            self.walk.path.store(pointer, index, mask, value, self.line)


_EVERYWHERE = Mask(np.ones(1, bool))


@cache
def _accessed(name: str) -> tuple[int, int]:
    """How many registers an access of global memory has, and their bytes.

    Raises:
        ValueError: It does something else, too.
    """
    match = re.fullmatch(r"(?:ld|st)\.global(?:\.v([248]))?\.[bsuf](8|16|32|64|128)", name)
    if match is None:
        raise ValueError(name)
    return int(match[1] or 1), int(match[2]) // 8


def _inverted(mask: Mask, line: int) -> Mask:
    if mask.below is None:
        return Mask(~mask.lanes)
    if mask.lanes.all():
        return Mask(mask.lanes, -mask.below - number(1))
    raise Unsupported(line, "the opposite of a mask of several conditions")


@lru_cache(maxsize=1024)
def _from_bits(bits: int, kind: str) -> Term:
    width = 8 * _BYTES[kind]
    pattern = np.array(bits & (1 << width) - 1, f"u{width // 8}")
    return terms.constant(float(pattern.view(FLOATS[kind])), kind)


Function = Callable[[_Run, list[str], tuple[str, ...]], None]


def _only(modifiers: Sequence[str], allowed: Sequence[str]) -> None:
    if not set(modifiers) <= set(allowed):
        raise KeyError(modifiers)


def _arithmetic(op: str) -> Function:
    """Floats, packed floats, and 16-bit first operands of float32 operations."""

    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        target, *sources = operands
        kind = modifiers[-1]
        if kind == "f32x2":
            _only(modifiers[:-1], ["rn"])
            pairs = zip(*(r.packed(s, "f32", 2) for s in sources), strict=True)
            r.write(target, Packed(tuple(apply(op, *pair) for pair in pairs)))
            return
        if kind in ("bf16", "f16") and modifiers[-2:-1] == ["f32"]:
            _only(modifiers[:-2], ["rn"])
            first = apply("cvt", r.float(sources[0], kind), kind="f32")
            r.write(target, apply(op, first, *(r.float(s, "f32") for s in sources[1:])))
            return
        if kind not in ("f32", "f64"):
            raise KeyError(kind)
        others = [m for m in modifiers[:-1] if m != "rn"]
        _only(others, ["approx", "full", "ftz", "rz", "rm", "rp"])
        name = ".".join([op, *others])
        args = [r.float(s, kind) for s in sources]
        exponential = _exponential(name, args[0]) if op == "ex2" else None
        r.write(target, exponential or apply(name, *args))

    return run


_LOG2_E = terms.constant(1.4426950408889634, "f32")


def _exponential(name: str, x: Term) -> Term | None:
    """Triton's `exp` of float32: a power of two, of the product with log2(e) in float32."""
    negative = x.op == "neg"
    product = x.args[0] if negative else x
    if product.op != "mul" or _LOG2_E not in product.args:
        return None
    factor = next((a for a in product.args if a is not _LOG2_E), _LOG2_E)
    return apply(name.replace("ex2", "exp"), apply("neg", factor) if negative else factor)


def _extreme(name: str) -> Function:
    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        *others, kind = modifiers
        _only(others, ["NaN"])
        op = name if "NaN" in others else f"{name}num"
        if kind in ("bf16x2", "f16x2"):
            pairs = zip(*(r.packed(s, kind[:-2], 2) for s in operands[1:]), strict=True)
            r.write(operands[0], Packed(tuple(apply(op, *pair) for pair in pairs)))
            return
        if kind not in FLOATS:
            raise KeyError(kind)
        r.write(operands[0], apply(op, *(r.float(s, kind) for s in operands[1:])))

    return run


def _is_float(modifiers: Sequence[str]) -> bool:
    return bool(re.fullmatch(r"(bf16|f16|f32|f64)(x2)?", modifiers[-1]))


def _either(floats: Function, integers: Function) -> Function:
    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        (floats if _is_float(modifiers) else integers)(r, modifiers, operands)

    return run


def _width(kind: str) -> int:
    return int(re.sub(r"\D", "", kind))


def _kept(offset: Offset, kind: str) -> Offset:
    """An integer that fits the type of its instruction, signed or not."""
    if kind.startswith("u"):
        return offset.checked(_width(kind), signed=False)
    return offset.checked(_width(kind))


def _moved(address: Address | TableAddress, by: Offset) -> Address | TableAddress:
    """An address so many bytes further on."""
    return replace(address, offset=_kept(address.offset + by, "s64"))


def _sum(sign: int) -> Function:
    """Integers, and addresses with integers."""

    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        (kind,) = modifiers
        target, a, b = operands
        x, y = r.value(a), r.value(b)
        if isinstance(y, Address | TableAddress) and sign > 0:
            x, y = y, x
        if not isinstance(y, Offset):
            raise Unsupported(r.line, f"{b} is no integer")
        y = y.times(sign)
        if isinstance(x, Address | TableAddress) and _width(kind) == 64:
            r.write(target, _moved(x, y))
        elif isinstance(x, Offset):
            r.write(target, _kept(x + y, kind))
        else:
            raise Unsupported(r.line, f"{a} is no integer")

    return run


def _product(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    *others, kind = modifiers
    target, *sources = operands
    a, b = (r.offset(s) for s in sources[:2])
    for x, y in ((a, b), (b, a)):
        if y.concrete and y.uniform:
            found = x.times(int(y.base.reshape(-1)[0]))
            break
    else:
        raise Unsupported(r.line, "a product of two integers that are not known")
    if others == ["wide"]:
        kind = f"{kind[0]}{2 * _width(kind)}"
    elif others != ["lo"]:
        raise KeyError(modifiers)
    if len(sources) == 3:
        added = r.value(sources[2])
        if isinstance(added, Address | TableAddress) and _width(kind) == 64:
            r.write(target, _moved(added, found))
            return
        found = found + r.offset(sources[2])
    r.write(target, _kept(found, kind))


def _bitwise(name: str) -> Function:
    """Conditions and integers, and products with powers of two as shifts."""

    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        (kind,) = modifiers
        target, *sources = operands
        if kind == "pred":
            r.write(target, _connected(name, [r.value(s) for s in sources], r.line))
            return
        values = [r.value(s) for s in sources]
        bits: Value | None = _sign_bits(name, _width(kind), values)
        if bits is None and not kind.startswith("s"):  # a signed shift repeats the sign
            bits = _placed(name, _width(kind), values)
        if bits is not None:
            r.write(target, bits)
            return
        a, b = (r.offset(s) for s in sources)
        found: Offset | None = None
        if name == "shl" and b.concrete and b.uniform and 0 <= int(b.base.max()) < _width(kind):
            found = a.times(1 << int(b.base.max()))
        elif name == "or":
            found = a.joined(b)
        if found is None and a.concrete and b.concrete:
            found = Offset(_BITS[name](a.base, b.base))
        if found is None:
            raise Unsupported(r.line, f"`{name}` on n or the program's number")
        r.write(target, found.checked(_width(kind) + (0 if _width(kind) == 64 else 1)))

    return run


def _widened(value: Term, source: int, width: int, line: int) -> Packed:
    """A float with zero bits above it, as the lower of two."""
    if width != 2 * source or value.kind not in FLOATS or 8 * _BYTES[value.kind] != source:
        raise Unsupported(line, f"the bits of a float of {value.kind} in {width}")
    return Packed((value, terms.constant(0.0, value.kind)))


def _placed(name: str, width: int, values: Sequence[Value]) -> Packed | None:
    """Two floats side by side: one moved up or down, or two that leave each other room."""
    a, b = values
    if not isinstance(a, Packed) or len(a.parts) != 2:
        return None
    low, high = a.parts
    half = 8 * _BYTES[low.kind]
    if isinstance(b, Offset) and b.concrete and b.uniform and width == 2 * half:
        zero = terms.constant(0.0, low.kind)
        moved = {"shl": (zero, low), "shr": (high, zero)}.get(name)
        return Packed(moved) if moved and int(b.base.reshape(-1)[0]) == half else None
    if name == "or" and isinstance(b, Packed) and len(b.parts) == 2:
        parts = [_other(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
        found = tuple(part for part in parts if part is not None)
        return Packed(found) if len(found) == 2 else None
    return None


def _other(a: Term, b: Term) -> Term | None:
    """What is beside a positive zero, all of whose bits are zero."""
    for zero, found in ((a, b), (b, a)):
        if a.kind == b.kind and zero == terms.constant(0.0, zero.kind):
            return found
    return None


def _sign_bits(name: str, width: int, values: Sequence[Value]) -> Value | None:
    """Absolute value and negation as operations on the bits of floats."""
    if len(values) != 2 or not isinstance(values[1], Offset) or not values[1].uniform:
        return None
    value, mask = values[0], int(values[1].base.reshape(-1)[0]) & (1 << width) - 1
    parts = value.parts if isinstance(value, Packed) else (value,)
    if not all(isinstance(p, Term) and p.kind != "bool" for p in parts) or not values[1].concrete:
        return None
    each = width // len(parts)
    signs = sum(1 << (each * (i + 1) - 1) for i in range(len(parts)))
    ops: dict[tuple[str, int], tuple[str, ...]] = {
        ("and", (1 << width) - 1 - signs): ("abs",),
        ("xor", signs): ("neg",),
        ("or", signs): ("abs", "neg"),
    }
    if (name, mask) not in ops:
        return None
    changed = [p for p in parts if isinstance(p, Term)]
    for op in ops[name, mask]:
        changed = [apply(op, p) for p in changed]
    return changed[0] if len(changed) == 1 else Packed(tuple(changed))


_BITS: dict[str, Callable[[Any, Any], Any]] = {
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shr": np.right_shift,
    "shl": np.left_shift,
}  # fmt: skip


def _connected(name: str, values: Sequence[Value], line: int) -> Value:
    """Connectives of conditions."""
    if all(isinstance(v, Mask) for v in values):
        a, *rest = (v for v in values if isinstance(v, Mask))
        if name == "not":
            return _inverted(a, line)
        (b,) = rest
        if name == "and" and (a.below is None or b.below is None):
            return Mask(a.lanes & b.lanes, a.below if b.below is None else b.below)
        if a.below is None and b.below is None and name in _BITS:
            return Mask(_BITS[name](a.lanes, b.lanes))
        raise Unsupported(line, "a mask of several conditions")
    found = [v.term if isinstance(v, Mask) else v for v in values]
    conditions = [v for v in found if isinstance(v, Term) and v.kind == "bool"]
    if len(conditions) != len(values):
        raise Unsupported(line, f"`{name}.pred` on what is no condition")
    if name == "xor":
        x, y = conditions
        return apply("or", apply("and", x, apply("not", y)), apply("and", apply("not", x), y))
    return apply(name, *conditions)


def _unary(op: str) -> Function:
    def run(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
        *others, kind = modifiers
        _only(others, [])
        target, source = operands
        if kind == "pred" and op == "not":
            r.write(target, _connected("not", [r.value(source)], r.line))
        elif kind in FLOATS:
            r.write(target, apply(op, r.float(source, kind)))
        elif kind in ("bf16x2", "f16x2"):
            r.write(target, Packed(tuple(apply(op, p) for p in r.packed(source, kind[:-2], 2))))
        elif op == "neg":
            r.write(target, _kept(-r.offset(source), kind))
        else:
            raise KeyError(kind)

    return run


def _mov(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    (kind,) = modifiers
    target, source = operands
    if source.startswith("{"):
        names = [part.strip() for part in source.strip("{} ").split(",")]
        found = [_part(r, name) for name in names]
        integers = [p for p in found if isinstance(p, Offset)]
        if len(integers) == len(found) and not all(p.concrete and p.uniform for p in integers):
            r.write(target, Joined(tuple(integers)))
            return
        r.write(target, Packed(_flat(found, _width(kind) // len(found), r.line)))
    elif target.startswith("{"):
        names = [part.strip() for part in target.strip("{} ").split(",")]
        value = r.value(source)
        if isinstance(value, Joined) and len(value.parts) == len(names):
            for name, integer in zip(names, value.parts, strict=True):
                r.write(name, integer)
            return
        if not isinstance(value, Packed) or len(value.parts) % len(names):
            raise Unsupported(r.line, f"{source} does not hold {len(names)} numbers")
        each = len(value.parts) // len(names)
        for index, name in enumerate(names):
            own = value.parts[index * each : (index + 1) * each]
            r.write(name, own[0] if each == 1 else Packed(own))
    else:
        r.write(target, r.value(source))


def _part(r: _Run, name: str) -> Value | str:
    """A register that is packed; its name if nothing was ever written to it."""
    unset = name.startswith("%") and name not in r.registers
    return name if unset else r.value(name)


def _flat(found: Sequence[Value | str], width: int, line: int) -> tuple[Term, ...]:
    """The floats of registers of some bits; literal bits take the type of the floats beside."""
    terms_of: list[tuple[Value | str, ...]] = [
        v.parts if isinstance(v, Packed) else (v,) for v in found
    ]
    kinds = {p.kind for parts in terms_of for p in parts if isinstance(p, Term)}
    if len(kinds) != 1:
        raise Unsupported(line, "a register of mixed parts")
    kind = kinds.pop()
    size = 8 * _BYTES[kind]
    flat: list[Term] = []
    for parts in terms_of:
        for part in parts:
            if isinstance(part, Offset) and part.concrete and part.uniform:
                bits = int(part.base.reshape(-1)[0])
                flat += [_from_bits(bits >> i, kind) for i in range(0, width, size)]
            elif isinstance(part, Term):
                flat.append(part)
            elif isinstance(part, str):
                flat += [terms.fresh(f"{part} at {i}", kind) for i in range(0, width, size)]
            else:
                raise Unsupported(line, "a register of mixed parts")
    if len(flat) * size != width * len(found):
        raise Unsupported(line, "a register of mixed parts")
    return tuple(flat)


def _cvt(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    *others, kind, source = modifiers
    target, *sources = operands
    if kind in ("bf16x2", "f16x2"):
        _only(others, ["rn"])
        high, low = (apply("cvt", r.float(s, source), kind=kind[:-2]) for s in sources)
        r.write(target, Packed((low, high)))
    elif kind in FLOATS and source in FLOATS:
        narrows = not terms.widens(source, kind)
        if others != (["rn"] if narrows else []):
            raise KeyError(modifiers)
        r.write(target, apply("cvt", r.float(sources[0], source), kind=kind))
    else:
        _only(others, [])
        value = r.value(sources[0])
        if isinstance(value, Term) and kind[0] == source[0] == "u":
            r.write(target, _widened(value, _width(source), _width(kind), r.line))
            return
        if isinstance(value, Packed) and len(value.parts) == 2:
            low = value.parts[0]
            if 8 * _BYTES[low.kind] != _width(kind) or 2 * _width(kind) != _width(source):
                raise KeyError(kind)
            r.write(target, low)
            return
        offset = r.offset(sources[0])
        r.write(target, _kept(_kept(offset, source), kind))


def _setp(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    comparison, kind = modifiers
    target, *sources = operands
    if kind in FLOATS:
        x, y = (r.float(s, kind) for s in sources)
        r.write(target, compared(_COMPARISONS[comparison], x, y, r.line))
        return
    if kind in ("bf16x2", "f16x2"):
        pairs = zip(*(r.packed(s, kind[:-2], 2) for s in sources), strict=True)
        for name, (x, y) in zip(target.split("|"), pairs, strict=True):
            r.write(name, compared(_COMPARISONS[comparison], x, y, r.line))
        return
    values = [r.value(s) for s in sources]
    if isinstance(values[0], Term) and isinstance(values[1], Offset) and comparison == "eq":
        pattern = values[1].base.reshape(-1)
        if values[1].concrete and values[1].uniform:
            data = int(pattern[0]) & (1 << _width(kind)) - 1
            r.write(target, apply("bits", values[0], kind="bool", data=data))
            return
    a, b = (r.offset(s) for s in sources)
    prefix = "u" if kind.startswith("u") else "s"
    name = comparison if comparison in ("eq", "ne") else f"{prefix}{_INTEGERS[comparison]}"
    r.write(target, mask_of(name, a, b, r.line))


_COMPARISONS = {
    "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "one", "ltu": "ult",
    "leu": "ule", "gtu": "ugt", "geu": "uge", "equ": "ueq", "neu": "une", "nan": "uno",
    "num": "ord",
}  # fmt: skip
_INTEGERS = {
    "lt": "lt",
    "le": "le",
    "gt": "gt",
    "ge": "ge",
    "lo": "lt",
    "ls": "le",
    "hi": "gt",
    "hs": "ge",
}


def _selp(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    (kind,) = modifiers
    target, a, b, condition = operands
    chosen = r.value(condition)
    if isinstance(chosen, Mask) and chosen.below is None and chosen.lanes.all():
        r.write(target, r.value(a))
        return
    test = chosen.term if isinstance(chosen, Mask) else chosen
    if not isinstance(test, Term) or test.kind != "bool":
        raise Unsupported(r.line, f"the condition {condition}")
    x, y = r.value(a), r.value(b)
    if isinstance(x, Packed) or isinstance(y, Packed):
        pair = x if isinstance(x, Packed) else y
        assert isinstance(pair, Packed)
        count, inner = len(pair.parts), pair.parts[0].kind
        parts = zip(r.packed(a, inner, count), r.packed(b, inner, count), strict=True)
        r.write(target, Packed(tuple(apply("select", test, *part) for part in parts)))
        return
    if kind not in FLOATS:
        kinds = {v.kind for v in (x, y) if isinstance(v, Term)}
        if len(kinds) != 1 or 8 * _BYTES[min(kinds)] != _width(kind):
            raise Unsupported(r.line, "a choice between integers")
        kind = kinds.pop()
    r.write(target, apply("select", test, r.float(a, kind), r.float(b, kind)))


def _barrier(r: _Run, modifiers: list[str], operands: tuple[str, ...]) -> None:
    raise Unsupported(r.line, "lanes that wait for each other")


_OPERATIONS: dict[str, Function] = {
    "mov": _mov,
    "cvt": _cvt,
    "setp": _setp,
    "selp": _selp,
    "add": _either(_arithmetic("add"), _sum(1)),
    "sub": _either(_arithmetic("sub"), _sum(-1)),
    "mul": _either(_arithmetic("mul"), _product),
    "mad": _either(_arithmetic("fma"), _product),
    "fma": _arithmetic("fma"),
    "div": _arithmetic("div"),
    "sqrt": _arithmetic("sqrt"),
    "rcp": _arithmetic("rcp"),
    "ex2": _arithmetic("ex2"),
    "lg2": _arithmetic("lg2"),
    "abs": _unary("abs"),
    "neg": _unary("neg"),
    "not": _unary("not"),
    "max": _extreme("max"),
    "min": _extreme("min"),
    "and": _bitwise("and"),
    "or": _bitwise("or"),
    "xor": _bitwise("xor"),
    "shl": _bitwise("shl"),
    "shr": _bitwise("shr"),
    "bar": _barrier,
}


def parsed(text: str) -> Program:
    """Parses PTX.

    Raises:
        Unsupported: It holds something that the parser does not know.
    """
    try:
        return ptx.parse(text)
    except ptx.Unsupported as error:
        found = re.match(r"line (\d+): ", str(error))
        raise Unsupported(int(found[1]) if found else 0, str(error)) from None


def source_lines(text: str) -> dict[int, int]:
    """Lines of the PTX → the line of the kernel's file that they were compiled from.

    Of a function that the kernel calls, the line of the call counts.
    """
    found: dict[int, int] = {}
    current = 0
    for line, raw in enumerate(text.split("\n"), 1):
        if ".loc" in raw and (place := re.match(r"\s*\.loc\s+\d+\s+(\d+)\s", raw)):
            outer = re.findall(r"inlined_at \d+ (\d+) ", raw)
            current = int(outer[-1] if outer else place[1])
        elif current and raw.startswith("\t"):
            found[line] = current
    return found
