"""Integer instructions on the bits of data: of floats, and of integers that came from floats.

Compilers write signs, and two floats in a register, as integer instructions; these are known here
as what they are. Any other instruction on the bits of a number of 32 or 64 bits is one of
`terms.integers`, and on anything else `unknown`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stepforge.verify.ptx.mnemonics import Mnemonic, width_of
from stepforge.verify.ptx.parser import Unsupported
from stepforge.verify.ptx.values import (
    Condition,
    Data,
    Float,
    Integer,
    Packed,
    Symbol,
    Value,
    constant_of,
    float_of,
    together,
    zero,
)
from stepforge.verify.terms.integers import NoInteger, integer
from stepforge.verify.terms.offsets import number
from stepforge.verify.terms.terms import Term, apply


def unknown(m: Mnemonic, *_: Value) -> Value:
    """The meaning of an integer instruction for data that has none.

    Raises:
        Unsupported: Always.
    """
    raise Unsupported(f"`{m.text}` on the bits of data")


@dataclass(frozen=True, slots=True)
class Integral:
    """The symbolic meaning of an integer instruction: two, by what its operands are.

    Attributes:
        place: If every operand follows from `n`, the program and the lane; see `places`.
        data: If some operand comes from the tensors or the host; the others may be places.
    """

    place: Symbol
    data: Symbol = unknown

    def __call__(self, m: Mnemonic, *values: Value) -> Value:
        """The result."""
        is_data = any(isinstance(value, Data) for value in values)
        return (self.data if is_data else self.place)(m, *values)


def integer_of(value: Value, width: int) -> Term | None:
    """A register of 32 or 64 bits as the integer that its bits are; None if it is no one number."""
    if (bits := constant_of(value)) is not None:
        return integer(bits, f"i{width}")
    if isinstance(value, Float) and value.width == width:
        return apply("asint", value.term)
    return value.term if isinstance(value, Integer) and value.width == width else None


def certain(term: Term | None) -> Term:
    """An integer.

    Raises:
        Unsupported: There is none.
    """
    if term is None:
        raise Unsupported("an integer that is not the bits of one number")
    return term


def computed(op: str) -> Symbol:
    """An operation of `terms.integers` on the bits of two registers; it wraps around like those."""

    def symbol(m: Mnemonic, a: Value, b: Value, *addend: Value) -> Value:
        width = width_of(m.source)
        if width not in (32, 64):
            return unknown(m)
        x, y, *z = (certain(integer_of(value, width)) for value in (a, b, *addend))
        try:
            result = apply(op, x, y)
        except NoInteger:
            return unknown(m)
        return Integer(apply("iadd", result, z[0]) if z else result)

    return symbol


def masked(m: Mnemonic, a: Value, b: Value) -> Value:
    """Absolute values and negatives, as `and`, `xor` or `or` with the sign bits alone.

    A float has its sign on top, and `abs` and `neg` are what they do to it, for infinities and
    zeros, too; of a NaN no sign counts.
    """
    parts = a.parts if isinstance(a, Packed) else (a,)
    width, mask = width_of(m.source), constant_of(b)
    each, every = width // len(parts), (1 << width) - 1
    if mask is None or not all(isinstance(p, Float) and p.width == each for p in parts):
        return computed(f"i{m.operation}")(m, a, b)
    signs = sum(1 << each * (i + 1) - 1 for i in range(len(parts)))
    operations: dict[tuple[str, int], tuple[str, ...]] = {
        ("and", every - signs): ("abs",),
        ("xor", signs): ("neg",),
        ("or", signs): ("abs", "neg"),
    }
    if (m.operation, mask & every) not in operations:
        return computed(f"i{m.operation}")(m, a, b)
    found = [p.term for p in parts if isinstance(p, Float)]
    for op in operations[m.operation, mask & every]:
        found = [apply(op, term) for term in found]
    return together([Float(term) for term in found])


def united(m: Mnemonic, a: Value, b: Value) -> Value:
    """`or`: two registers that leave each other room, or sign bits.

    All bits of +0 are zero, so that what is beside it stays.
    """
    if not (isinstance(a, Packed) and isinstance(b, Packed) and len(a.parts) == len(b.parts)):
        return masked(m, a, b)
    found = []
    for x, y in zip(a.parts, b.parts, strict=True):
        if not (isinstance(x, Float) and isinstance(y, Float) and x.term.kind == y.term.kind):
            return unknown(m)
        if zero(x.term.kind) not in (x, y):
            return unknown(m)
        found.append(y if x == zero(x.term.kind) else x)
    return Packed(tuple(found))


def shifted(m: Mnemonic, a: Value, by: Value) -> Value:
    """Floats in a register, moved by some of them: zero bits come in, which are a +0 each."""
    if not isinstance(a, Packed):
        amount, logical = constant_of(by), m.operation == "shr" and not m.source.startswith("s")
        if amount is None or not 0 <= amount < width_of(m.source):
            return unknown(m)  # PTX clamps the amount, where the terms have none
        return computed("iushr" if logical else f"i{m.operation}")(m, a, by)
    first, amount = a.parts[0], constant_of(by)
    if not isinstance(first, Float) or a.width != width_of(m.source) or amount is None:
        return unknown(m)
    count, rest = divmod(amount, first.width)
    if rest or not 0 < count < len(a.parts) or (m.operation == "shr" and m.source.startswith("s")):
        return unknown(m)  # of a signed type, copies of the sign come in
    empty = (zero(first.term.kind),) * count
    return Packed(
        (*empty, *a.parts[:-count]) if m.operation == "shl" else (*a.parts[count:], *empty)
    )


def widened(m: Mnemonic, a: Value) -> Value:
    """`cvt` of an unsigned type to twice its width: zero bits above floats, which are +0."""
    parts = a.parts if isinstance(a, Packed) else (a,)
    floats = [part for part in parts if isinstance(part, Float)]
    if len(floats) == len(parts) and sum(p.width for p in floats) == width_of(m.source):
        return Packed((*floats, *(zero(part.term.kind) for part in floats)))
    return unknown(m)


def lower(m: Mnemonic, a: Value) -> Value:
    """`cvt` to half the width, which is the lower half of the numbers."""
    if isinstance(a, Packed) and len(a.parts) % 2 == 0 and a.width == width_of(m.source):
        return together(a.parts[: len(a.parts) // 2])
    return unknown(m)


def inverted(m: Mnemonic, a: Value) -> Value:
    """`not`: every bit is another one."""
    return computed("ixor")(m, a, number(-1))


def compared(m: Mnemonic, a: Value, b: Value) -> Value:
    """Whether a number has the bits of a float; not of a NaN, which may have any other, too."""
    pattern, width = constant_of(b), width_of(m.source)
    if isinstance(a, Integer) and a.width == width:
        a = Float(apply("asfloat", a.term))  # of NaN or not, no float but one has these bits
    if pattern is None or not isinstance(a, Float) or a.width != width:
        return unknown(m)
    if math.isnan(float_of(pattern, a.term.kind).term.number):
        return unknown(m)
    equal = apply("bits", a.term, kind="bool", data=pattern & (1 << a.width) - 1)
    return Condition(equal if m.modifiers == ("eq",) else apply("not", equal))
