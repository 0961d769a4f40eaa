"""Integer instructions on places: what they do to offsets and addresses, for every `n` and program.

An `Offset` is a whole number; a register of w bits holds it modulo 2**w. Sums, products and shifts
to the left of such residues are residues of the result, whatever sign the type has. Every result is
nevertheless checked to fit its type for every size (`kept`): an offset that wraps around is a fault
of the kernel. Where a type's sign matters (`widened`, `compared`, shifts to the right), what the
instruction sees is the offset itself only if that fits the type; otherwise nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.verify.ptx.mnemonics import Mnemonic, width_of
from stepforge.verify.ptx.parser import Unsupported
from stepforge.verify.ptx.values import Address, Value, constant_of
from stepforge.verify.terms.lifted import Mask, TableAddress
from stepforge.verify.terms.offsets import Offset, Overflow, number
from stepforge.verify.terms.ttir import mask_of


def offset(value: Value) -> Offset:
    """A value that is an offset.

    Raises:
        Unsupported: It is something else.
    """
    if isinstance(value, Offset):
        return value
    raise Unsupported("an operand that is no integer that follows from n and the lane")


def kept(found: Offset, kind: str) -> Offset:
    """An integer that fits the type of its instruction.

    Raises:
        Overflow: It does not, for some size.
    """
    return found.checked(width_of(kind), signed=not kind.startswith("u"))


def _seen(value: Value, kind: str) -> Offset:
    """What an instruction sees that depends on the sign of its type: the offset, if it fits that.

    Raises:
        Unsupported: It does not fit, so the instruction sees another number.
    """
    try:
        return kept(offset(value), kind)
    except Overflow:
        raise Unsupported(f"an integer that may be none of {kind}") from None


def _sum(value: Value, by: Offset, kind: str) -> Value:
    """An integer, or an address of 64 bits, so much further on."""
    if isinstance(value, Address | TableAddress) and width_of(kind) == 64:
        return replace(value, offset=kept(value.offset + by, "s64"))
    return kept(offset(value) + by, kind)


def added(m: Mnemonic, a: Value, b: Value) -> Value:
    """The sum of two integers, or of an address and an integer."""
    if isinstance(b, Address | TableAddress):
        a, b = b, a
    return _sum(a, offset(b), m.source)


def subtracted(m: Mnemonic, a: Value, b: Value) -> Value:
    """The difference of two integers, or an address less an integer."""
    return _sum(a, -offset(b), m.source)


def negated(m: Mnemonic, a: Value) -> Value:
    """The negative."""
    return kept(-offset(a), m.source)


def inverted(m: Mnemonic, a: Value) -> Value:
    """Every bit is another one: -1 has all of them, and nothing is borrowed from a bit that is."""
    return _bits(number(-1) - offset(a), m.source)


def _product(a: Offset, b: Offset) -> Offset:
    """A product, one of whose factors is a number that all lanes share: it stays affine."""
    for x, y in ((a, b), (b, a)):
        if (factor := constant_of(y)) is not None:
            return x.times(factor)
    raise Unsupported("a product of two integers that are not known")


def multiplied(m: Mnemonic, a: Value, b: Value, *addend: Value) -> Value:
    """`mul.lo` and `mad.lo`."""
    product = _product(offset(a), offset(b))
    return _sum(addend[0], product, m.source) if addend else kept(product, m.source)


def multiplied_wide(m: Mnemonic, a: Value, b: Value, *addend: Value) -> Value:
    """`mul.wide` and `mad.wide`: the operands are extended by the sign of their type."""
    product = _product(_seen(a, m.source), _seen(b, m.source))
    wide = f"{m.source[0]}{2 * width_of(m.source)}"
    return _sum(addend[0], product, wide) if addend else kept(product, wide)


def resized(m: Mnemonic, a: Value) -> Value:
    """`cvt`: the same number in another type, and no other number in its own."""
    return kept(kept(offset(a), m.source), m.target)


def _bits(found: Offset, kind: str) -> Offset:
    """An integer of a type without a sign: it fits with one or without."""
    width = width_of(kind)
    return found.checked(width if width == 64 else width + 1)


def shifted_left(m: Mnemonic, a: Value, by: Value) -> Value:
    """The product with a power of two."""
    amount = constant_of(by)
    if amount is None or not 0 <= amount < width_of(m.source):
        raise Unsupported(f"`{m.text}` by what is no number")
    return _bits(offset(a).times(1 << amount), m.source)


def shifted_right(m: Mnemonic, a: Value, by: Value) -> Value:
    """The quotient by a power of two, rounded down, of what depends on the lane alone.

    Zeros come in from the left but in a signed type, so that the number must not be negative there.
    """
    kind = m.source if m.source.startswith("s") else f"u{width_of(m.source)}"
    value, amount = _seen(a, kind), constant_of(by)
    if amount is None or amount < 0 or not value.concrete:
        raise Unsupported(f"`{m.text}` on n or the program's number")
    return _bits(Offset(value.base >> min(amount, 63)), kind)  # the width or more takes every bit


def bitwise(function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    """Operations bit by bit: of residues modulo 2**w they give the low w bits of the result."""

    def symbol(m: Mnemonic, a: Value, b: Value) -> Value:
        x, y = offset(a), offset(b)
        found = x.joined(y) if function is np.bitwise_or else None  # no carries: it is a sum
        if found is None and x.concrete and y.concrete:
            found = Offset(function(x.base, y.base))
        if found is None:
            raise Unsupported(f"`{m.text}` on n or the program's number")
        return _bits(found, m.source)

    return symbol


_COMPARISONS = {
    "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "lo": "lt", "ls": "le", "hi": "gt", "hs": "ge",
}  # fmt: skip


def compared(m: Mnemonic, a: Value, b: Value) -> Mask:
    """A comparison, as the lanes in which it holds; what has no sign is compared as if it had."""
    kind = m.source if m.source.startswith("u") else f"s{width_of(m.source)}"
    x, y = _seen(a, kind), _seen(b, kind)
    (comparison,) = m.modifiers
    if comparison in _COMPARISONS:
        comparison = f"{kind[0]}{_COMPARISONS[comparison]}"
    return mask_of(comparison, x, y, 0)
