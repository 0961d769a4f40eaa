"""Integer instructions on the bits of data: of floats, and of integers that came from floats.

Compilers write signs, and two floats in a register, as integer instructions; these are known here.
Any other bit of a float depends on how it is encoded, which no term says: it is `unknown`.
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
    Packed,
    Symbol,
    Value,
    constant_of,
    float_of,
    together,
    zero,
)
from stepforge.verify.terms.terms import apply


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


def masked(m: Mnemonic, a: Value, b: Value) -> Value:
    """Absolute values and negatives, as `and`, `xor` or `or` with the sign bits alone.

    A float has its sign on top, and `abs` and `neg` are what they do to it, for infinities and
    zeros, too; of a NaN no sign counts.
    """
    parts = a.parts if isinstance(a, Packed) else (a,)
    width, mask = width_of(m.source), constant_of(b)
    each, every = width // len(parts), (1 << width) - 1
    if mask is None or not all(isinstance(p, Float) and p.width == each for p in parts):
        return unknown(m)
    signs = sum(1 << each * (i + 1) - 1 for i in range(len(parts)))
    operations: dict[tuple[str, int], tuple[str, ...]] = {
        ("and", every - signs): ("abs",),
        ("xor", signs): ("neg",),
        ("or", signs): ("abs", "neg"),
    }
    if (m.operation, mask & every) not in operations:
        return unknown(m)
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
    """Two floats in a register, moved by one of them: zero bits come in, which are a +0."""
    if not isinstance(a, Packed) or len(a.parts) != 2:
        return unknown(m)
    low, high = a.parts
    if not isinstance(low, Float) or a.width != width_of(m.source) or constant_of(by) != low.width:
        return unknown(m)
    empty = zero(low.term.kind)
    return Packed((empty, low) if m.operation == "shl" else (high, empty))


def widened(m: Mnemonic, a: Value) -> Value:
    """`cvt` of an unsigned type to twice its width: zero bits above a float, which are a +0."""
    if isinstance(a, Float) and a.width == width_of(m.source):
        return Packed((a, zero(a.term.kind)))
    return unknown(m)


def lower(m: Mnemonic, a: Value) -> Value:
    """`cvt` to half the width, which is the lower of two numbers."""
    if isinstance(a, Packed) and len(a.parts) == 2 and a.width == width_of(m.source):
        return a.parts[0]
    return unknown(m)


def compared(m: Mnemonic, a: Value, b: Value) -> Value:
    """Whether a float has the bits of a number; not of a NaN, which may have any other, too."""
    pattern = constant_of(b)
    if pattern is None or not isinstance(a, Float) or a.width != width_of(m.source):
        return unknown(m)
    if math.isnan(float_of(pattern, a.term.kind).term.number):
        return unknown(m)
    equal = apply("bits", a.term, kind="bool", data=pattern & (1 << a.width) - 1)
    return Condition(equal if m.modifiers == ("eq",) else apply("not", equal))
