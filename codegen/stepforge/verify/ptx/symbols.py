"""What instructions on numbers and predicates mean in terms: rounded operations, and conditions.

A meaning takes the name of the instruction and what it reads, each as the type that it takes, and
gives what it writes. The arithmetic of PTX is that of IEEE 754 where it rounds to nearest, so it is
the operation of `verify.terms` of that name. Any other rounding, and every approximation, is an
operation of its own about which nothing else is known: "add.rz", "sqrt.approx.ftz".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stepforge.verify.ptx.bits import certain, integer_of
from stepforge.verify.ptx.mnemonics import FLOATS, Mnemonic, width_of
from stepforge.verify.ptx.parser import Unsupported
from stepforge.verify.ptx.values import (
    Condition,
    Data,
    Float,
    Integer,
    Packed,
    Predicate,
    Value,
    as_floats,
    together,
)
from stepforge.verify.terms import terms
from stepforge.verify.terms.lifted import Mask
from stepforge.verify.terms.offsets import Offset, number
from stepforge.verify.terms.terms import Term, apply
from stepforge.verify.terms.ttir import compared as ordered

_OWN = {"approx", "full", "ftz", "rz", "rm", "rp"}
"""Modifiers with which an instruction is an operation of its own."""


def _name(m: Mnemonic, op: str) -> str:
    return ".".join([op, *(x for x in m.modifiers if x in _OWN)])


def floats(op: str) -> Callable[..., Float]:
    """An operation on numbers of one kind."""

    def symbol(m: Mnemonic, *values: Float) -> Float:
        return Float(apply(_name(m, op), *(value.term for value in values)))

    return symbol


def subtracted(m: Mnemonic, a: Float, b: Float) -> Float:
    """The sum with the negative, which is the difference however it is rounded."""
    return floats("add")(m, a, Float(apply("neg", b.term)))


def mixed(function: Callable[..., Float]) -> Callable[..., Float]:
    """An operation in float32, whose operands of 16 bits are widened first: that is exact."""

    def symbol(m: Mnemonic, *values: Float) -> Float:
        return function(m, *(Float(apply("cvt", value.term, kind="f32")) for value in values))

    return symbol


def halves(function: Callable[..., Float]) -> Callable[..., Float]:
    """Sums, differences and products in 16 bits, rounded once: as float32 has them, rounded again.

    Compilers make such of a result in float32 that is rounded to the type of both operands. The
    second rounding is innocuous where the wider format has twice the digits and two more (Figueroa
    1995, When is double rounding innocuous?). Nothing underflows but products of bfloat16 numbers,
    which have 16 digits: float32 rounds those below 2**-134, and both ways these are zero.
    """

    def symbol(m: Mnemonic, *values: Float) -> Float:
        kind = values[0].term.kind
        made = mixed(function)(m, *values)
        return Float(apply("cvt", made.term, kind=kind))

    return symbol


def fused_halves(m: Mnemonic, a: Float, b: Float, c: Float) -> Float:
    """The product or sum that a fused one in 16 bits is: before sm_90 bfloat16 has no other.

    `a*b + -0` is the product, with its sign where it is zero, and `a*1 + c` the sum.
    """
    if c.term.is_constant and c.term.number == 0 and np.signbit(c.term.number):
        return halves(floats("mul"))(m, a, b)
    for factor, other in ((a, b), (b, a)):
        if factor.term.is_constant and abs(factor.term.number) == 1:
            signed = apply("mul", factor.term, other.term)
            return halves(floats("add"))(m, Float(signed), c)
    raise Unsupported(f"`{m.text}`")


_LOG2_E = terms.constant(1.4426950408889634, "f32")


def power_of_two(m: Mnemonic, value: Float) -> Float:
    """`ex2`; of a product with log2(e) it is how Triton computes `exp` in float32.

    Product and power together are one function of the other factor, whatever it is. "exp.approx"
    names it, as Triton IR does.
    """
    factor = _other_factor(value.term)
    if factor is None:
        return floats("ex2")(m, value)
    return floats("exp")(m, Float(factor))


def _other_factor(x: Term) -> Term | None:
    """What log2(e) is multiplied with, if it is; signs go through products unharmed."""
    product = x.args[0] if x.op == "neg" else x
    if product.op != "mul" or _LOG2_E not in product.args:
        return None
    factor = next((a for a in product.args if a is not _LOG2_E), _LOG2_E)
    return apply("neg", factor) if x.op == "neg" else factor


def cast(m: Mnemonic, value: Float) -> Float:
    """`cvt` between kinds of numbers, to nearest where it rounds."""
    return Float(apply("cvt", value.term, kind=m.target))


def packing_cast(m: Mnemonic, high: Float, low: Float) -> Packed:
    """`cvt` of two numbers into one register: the first operand is the upper half."""
    kind = m.target.removesuffix("x2")
    low, high = (Float(apply("cvt", value.term, kind=kind)) for value in (low, high))
    return Packed((low, high))


_COMPARISONS = {
    "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "one", "ltu": "ult",
    "leu": "ule", "gtu": "ugt", "geu": "uge", "equ": "ueq", "neu": "une", "nan": "uno",
    "num": "ord",
}  # fmt: skip
"""Comparisons of PTX → LLVM's: `o…` is false on NaN, `u…` true."""


def compared(m: Mnemonic, a: Float, b: Float) -> Condition:
    """`setp` of numbers."""
    return Condition(ordered(_COMPARISONS[m.modifiers[0]], a.term, b.term, 0))


def same(_: Mnemonic, value: Value) -> Value:
    """`mov`: the bits, whatever they are."""
    return value


# Predicates. Of lanes and sizes they are masks, as long as one can say it; of data, conditions.


def inverted(value: Predicate) -> Predicate:
    """The opposite of a predicate."""
    if isinstance(value, Condition):
        return Condition(apply("not", value.term))
    if value.below is None:
        return Mask(~value.lanes)
    if value.lanes.all():  # of integers, the opposite of x < 0 is -x - 1 < 0
        return Mask(value.lanes, -value.below - number(1))
    raise Unsupported("the opposite of a mask of several conditions")


def negated(_: Mnemonic, value: Predicate) -> Predicate:
    """`not` of a predicate."""
    return inverted(value)


def connected(
    lanes: Callable[..., Any], term: Callable[[Term, Term], Term]
) -> Callable[..., Predicate]:
    """`and`, `or` or `xor` of predicates: lane by lane, or as a condition if one of them is."""

    def symbol(_: Mnemonic, a: Predicate, b: Predicate) -> Predicate:
        if isinstance(a, Condition) or isinstance(b, Condition):
            return Condition(term(a.term, b.term))
        if a.below is None and b.below is None:
            return Mask(lanes(a.lanes, b.lanes))
        if lanes is np.logical_and and (a.below is None or b.below is None):
            return Mask(a.lanes & b.lanes, a.below if b.below is None else b.below)
        raise Unsupported("a mask of several conditions")

    return symbol


conjunction = connected(np.logical_and, lambda x, y: apply("and", x, y))
disjunction = connected(np.logical_or, lambda x, y: apply("or", x, y))
difference = connected(
    np.logical_xor,
    lambda x, y: apply("or", apply("and", x, apply("not", y)), apply("and", apply("not", x), y)),
)


def chosen(m: Mnemonic, a: Value, b: Value, by: Predicate) -> Value:
    """`selp`: a choice between numbers; between any two registers if it is the first everywhere."""
    if isinstance(by, Mask) and by.below is None and by.lanes.all():
        return a
    kind, count = m.source, 1
    if kind not in FLOATS:  # it is bits: what they are, the registers say
        data = a if isinstance(a, Data) else b
        numbers = data.parts if isinstance(data, Packed) else (data,)
        lowest = numbers[0]
        is_whole = isinstance(lowest, Integer | Offset) and width_of(kind) in (32, 64)
        if is_whole and isinstance(by, Condition):
            arms = (integer_of(value, width_of(kind)) for value in (a, b))
            return Integer(apply("select", by.term, *map(certain, arms)))
        if not isinstance(lowest, Float) or lowest.width * len(numbers) != width_of(kind):
            raise Unsupported("a choice between integers")
        kind, count = lowest.term.kind, len(numbers)
    first, second = as_floats(a, kind, count), as_floats(b, kind, count)
    if first is None or second is None:
        raise Unsupported("a choice between numbers of two kinds")
    pairs = zip(first, second, strict=True)
    return together([Float(apply("select", by.term, x.term, y.term)) for x, y in pairs])
