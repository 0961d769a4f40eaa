"""What a register may hold while PTX is walked symbolically: a value is of one class alone.

Places follow from `n`, the program and the lane, and are what accesses are made of: an `Offset`, an
`Address`, a `TableAddress`, several offsets in a register (`Joined`), and the predicate `Mask`.
Data comes from the tensors or the host: a `Float`, an `Integer`, several numbers in a register
(`Packed`), and the predicate `Condition`. They are terms, one for all lanes: which element a lane
works on, the loads in it say.

Registers are bits without a type. So an instruction reads a value as the type that it names, and
what the bits are then has to follow from what they were; where it does not, there is no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from stepforge.verify.ptx.mnemonics import FLOATS, is_float, members, width_of
from stepforge.verify.ptx.parser import Program, Unsupported
from stepforge.verify.terms import terms
from stepforge.verify.terms.lifted import Mask, Pointer, TableAddress
from stepforge.verify.terms.offsets import Offset, number
from stepforge.verify.terms.terms import Term


@dataclass(frozen=True, slots=True)
class Float:
    """A number of one of the kinds of `FLOATS`."""

    term: Term

    @property
    def width(self) -> int:
        """Its bits."""
        return FLOATS[self.term.kind]


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer that was computed from data, of kind "i32" or "i64"; it wraps around."""

    term: Term

    @property
    def width(self) -> int:
        """Its bits."""
        return int(self.term.kind[1:])


Number = Float | Integer


@dataclass(frozen=True, slots=True)
class Packed:
    """Several numbers of equal width in one register, the lowest bits first."""

    parts: tuple[Number, ...]

    @property
    def width(self) -> int:
        """The bits of all."""
        return sum(part.width for part in self.parts)


@dataclass(frozen=True, slots=True)
class Condition:
    """A predicate that depends on data."""

    term: Term


@dataclass(frozen=True, slots=True)
class Address:
    """Addresses in a tensor, in bytes from its first element."""

    pointer: Pointer
    offset: Offset


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Places that share a register until they are taken apart; nothing computes with them."""

    parts: tuple[Offset, ...]


Data = Float | Integer | Packed
Predicate = Mask | Condition
Value = Data | Predicate | Offset | Joined | Address | TableAddress
Symbol = Callable[..., Value]
"""`symbol(mnemonic, *values)`: a symbolic meaning; `Unsupported` for what it does not know."""
EVERYWHERE = Mask(np.ones(1, bool))
"""The predicate that holds in all lanes."""


def constant_of(value: Value) -> int | None:
    """The number that a register holds in all lanes whatever `n` and the program are, else None."""
    if isinstance(value, Offset) and value.concrete and value.uniform:
        return value.ends[0]
    return None


@lru_cache(maxsize=1024)
def float_of(bits: int, kind: str) -> Float:
    """The number that bits are; those above the width do not count."""
    width = FLOATS[kind]
    pattern = np.array(bits & (1 << width) - 1, f"u{width // 8}")
    return Float(terms.constant(float(pattern.view(terms.FLOATS[kind])), kind))


def zero(kind: str) -> Float:
    """+0, all of whose bits are zero."""
    return float_of(0, kind)


def together(parts: Sequence[Number]) -> Data:
    """Numbers as they are in one register."""
    return parts[0] if len(parts) == 1 else Packed(tuple(parts))


def as_floats(value: Value, kind: str, count: int = 1) -> tuple[Float, ...] | None:
    """A register as so many numbers of a kind; None if it is not known to hold these."""
    if (bits := constant_of(value)) is not None:
        return tuple(float_of(bits >> FLOATS[kind] * i, kind) for i in range(count))
    parts = value.parts if isinstance(value, Packed) else (value,)
    floats = (_float(part) for part in parts)
    found = tuple(p for p in floats if p is not None and p.term.kind == kind)
    return found if len(found) == len(parts) == count else None


def _float(part: Value) -> Float | None:
    """A number as a float; the bits of an integer are those of one."""
    if isinstance(part, Integer):
        return Float(terms.apply("asfloat", part.term))
    return part if isinstance(part, Float) else None


def joined(parts: Sequence[Value | str], width: int) -> Packed | Joined:
    """One register from several of some bits each, the lowest first.

    A name stands for a register that nothing was written to: its bits may be any.

    Raises:
        Unsupported: They do not go together.
    """
    places = [part for part in parts if isinstance(part, Offset)]
    if len(places) == len(parts) and any(constant_of(place) is None for place in places):
        return Joined(tuple(places))
    numbers = [p for part in parts for p in (part.parts if isinstance(part, Packed) else (part,))]
    numbers = [_float(p) or p if isinstance(p, Integer) else p for p in numbers]
    kinds = {part.term.kind for part in numbers if isinstance(part, Float)}
    if len(kinds) == 1:
        (kind,) = kinds
        found = Packed(tuple(f for part in numbers for f in _floats(part, kind, width)))
        if found.width == width * len(parts):
            return found
    raise Unsupported("a register of mixed parts")


def _floats(part: Value | str, kind: str, width: int) -> Iterator[Float]:
    """A part as floats; bits without a type take that of the floats beside."""
    each = range(0, width, FLOATS[kind])
    if isinstance(part, Float):
        yield part
    elif isinstance(part, str):
        yield from (Float(terms.fresh(f"{part} at {i}", kind)) for i in each)
    elif isinstance(part, Offset) and (bits := constant_of(part)) is not None:
        yield from (float_of(bits >> i, kind) for i in each)
    else:
        raise Unsupported("a register of mixed parts")


def taken_apart(value: Value, count: int) -> Sequence[Value] | None:
    """Several registers of equal width from one, the lowest bits first; None if it is not known."""
    if isinstance(value, Joined) and len(value.parts) == count:
        return value.parts
    if isinstance(value, Packed) and len(value.parts) % count == 0:
        each = len(value.parts) // count
        rows = [value.parts[i : i + each] for i in range(0, len(value.parts), each)]
        return [row[0] if each == 1 else Packed(row) for row in rows]
    return None


@dataclass
class Registers:
    """The registers of all lanes, symbolically.

    Attributes:
        program: The kernel.
        place: The number of the program.
        origin: The first line that computes a term; filled.
        line: Of the instruction that runs.
        held: Values by name.
    """

    program: Program
    place: Offset
    origin: dict[Term, int]
    line: int = 0
    held: dict[str, Value] = field(default_factory=dict)

    def value(self, operand: str) -> Value:
        """What a register, special register or literal is.

        Raises:
            Unsupported: Nothing was written to it.
            ValueError: It is none of these.
        """
        if operand == "%tid.x":
            return Offset(np.arange(self.program.threads, dtype=np.int64))
        if operand == "%ctaid.x":
            return self.place
        if operand.startswith("%"):
            if operand not in self.held:
                raise Unsupported(f"{operand} has no value")
            return self.held[operand]
        if operand.startswith(("0f", "0d")):
            return float_of(int(operand[2:], 16), "f32" if operand[1] == "f" else "f64")
        return number(int(operand, 0))

    def _vector(self, names: Sequence[str], width: int) -> Value:
        """What registers of some bits are as one."""
        unset = [name.startswith("%") and name not in self.held for name in names]
        pairs = zip(names, unset, strict=True)
        return joined([name if is_unset else self.value(name) for name, is_unset in pairs], width)

    def read(self, operand: str, kind: str) -> Value:
        """An operand as a PTX type: a `Float` or `Packed` of it, a predicate, or any other value.

        Registers in braces are one.

        Raises:
            Unsupported: It is nothing of that type.
        """
        if operand.startswith("{"):
            names = members(operand)
            value = self._vector(names, width_of(kind) // len(names))
        else:
            value = self.value(operand)
        if kind == "pred" and isinstance(value, Predicate):
            return value
        if is_float(kind):
            base = kind.removesuffix("x2")
            found = as_floats(value, base, 1 if base == kind else 2)
            if found is not None:
                return together(found)
        elif kind != "pred":
            return value
        raise Unsupported(f"{operand} is no {kind}")

    def write(self, target: str, value: Value) -> None:
        """Sets a register, or those of a vector.

        Raises:
            Unsupported: The value cannot be taken apart.
        """
        if target.startswith("{"):
            names = members(target)
            parts = taken_apart(value, len(names))
            if parts is None:
                raise Unsupported(f"a register that does not hold {len(names)} numbers")
            for name, part in zip(names, parts, strict=True):
                self.write(name, part)
        elif target != "_":
            self.program.width(target)  # is it a register at all
            for part in value.parts if isinstance(value, Packed) else (value,):
                if isinstance(part, Float | Integer | Condition) and part.term.args:
                    self.origin.setdefault(part.term, self.line)
            self.held[target] = value
