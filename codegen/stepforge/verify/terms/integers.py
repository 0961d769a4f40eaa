"""Integers that are the bits of floats: their operations in normal form.

`asint` and `asfloat` say that a pattern of bits is read as a number of the other kind. Integers
wrap around, so sums and products with constants are linear combinations modulo a power of two,
which are one node, "isum". A shift to the left is a product. Compilers move masks through shifts
and drop bits that nobody reads; so does this, always in one direction:

- a mask stands outside of a shift: `(x & m) >> k` is `(x >> k) & (m >> k)`, bit by bit the same;
- a mask has no bit that is surely zero in what it masks: `(x << 4) & 0xFF` is `(x & 0xF) << 4`;
- an `|` of integers that have no bit in common is their sum, since nothing is carried.

A NaN has no certain bits. Formulas that take the bits of one choose another result for NaN, so
that the bits do not matter; see `operations.formulas`.

In one file, because every rule relies on the forms that the others make.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from stepforge.verify.terms.nodes import (
    FLOATS,
    INTEGERS,
    RULES,
    WITH_DATA,
    Term,
    apply,
    constant,
    node,
)
from stepforge.verify.terms.spans import ANY, NOTHING, NUMBERS, OTHERS, Span, sign
from stepforge.verify.terms.zeros import is_no_negative_zero

WIDTH = {"i32": 32, "i64": 64}
OF_FLOAT = {"f32": "i32", "f64": "i64"}
OF_INTEGER = {kind: number for number, kind in OF_FLOAT.items()}


class NoInteger(Exception):
    """An operation on integers that has no normal form: a product of two that are no constants."""


def integer(value: int, kind: str) -> Term:
    """A constant, wrapped around into its kind."""
    return node("const", kind, (), _signed(value, WIDTH[kind]))


def _signed(value: int, width: int) -> int:
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def pattern(x: Term) -> int:
    """The bits of an integer constant."""
    return int(x.data) & ((1 << WIDTH[x.kind]) - 1)


# Linear combinations.


def _combination(x: Term) -> tuple[int, dict[Term, int]]:
    """A constant and what the other parts are multiplied with."""
    if x.is_constant:
        return int(x.data), {}
    if x.op == "isum":
        first, factors = x.data
        return first, dict(zip(x.args, factors, strict=True))
    return 0, {x: 1}


def combined(kind: str, first: int, factors: Mapping[Term, int]) -> Term:
    """The node of a linear combination."""
    width = WIDTH[kind]
    # What a product carries beyond the width is lost: 2**31 times an even number is zero.
    left = {
        x: c for x, factor in factors.items() if (c := factor % (1 << (width - _twos(possible(x)))))
    }
    for x, factor in left.items():
        if (
            x.op == "iand"
            and x.args[1].is_constant
            and (left.get(x.args[0], 0) + factor) % (1 << width) == 0
        ):
            # `x - (x & m)` is `x & ~m`.
            whole, mask = x.args
            rest = {y: c for y, c in left.items() if y not in (x, whole)}
            other = apply("iand", whole, integer(~pattern(mask), kind))
            return apply(
                "iadd",
                combined(kind, first, rest),
                apply("imul", other, integer(left[whole], kind)),
            )
    parts = sorted(left, key=lambda x: x.digest)
    first = _signed(first, width)
    if not parts:
        return integer(first, kind)
    signed = tuple(_signed(left[x], width) for x in parts)
    if first == 0 and signed == (1,):
        return parts[0]
    return node("isum", kind, tuple(parts), (first, signed))


def _isum(kind: str, args: tuple[Term, ...], data: tuple[int, tuple[int, ...]]) -> Term:
    """A linear combination, perhaps of other terms than before."""
    first, factors = data
    steady = len(set(args)) == len(args) and all(x.op not in ("isum", "const") for x in args)
    if steady and not any(_meets_shift(x, c) for x, c in zip(args, factors, strict=True)):
        return combined(kind, first, dict(zip(args, factors, strict=True)))
    total = integer(first, kind)
    for x, factor in zip(args, factors, strict=True):
        total = apply("iadd", total, apply("imul", x, integer(factor, kind)))
    return total


def _iadd(_: str, a: Term, b: Term) -> Term:
    if (chosen := _through_choice("iadd", a, b)) is not None:
        return chosen
    first, factors = _combination(a)
    other, more = _combination(b)
    for x, factor in more.items():
        factors[x] = factors.get(x, 0) + factor
    return combined(a.kind, first + other, factors)


def _imul(_: str, a: Term, b: Term) -> Term:
    """A product with a constant."""
    if a.is_constant:
        a, b = b, a
    if not b.is_constant:
        raise NoInteger("a product of two integers that are no constants")
    if (chosen := _through_choice("imul", a, b)) is not None:
        return chosen
    first, factors = _combination(a)
    number = int(b.data)
    total = combined(a.kind, first * number, {})
    for x, factor in factors.items():
        total = apply("iadd", total, _scaled(x, factor * number))
    return total


def _scaled(x: Term, factor: int) -> Term:
    """A product; a shift to the right and one to the left are a mask: `x >> 9 << 9`."""
    width = WIDTH[x.kind]
    if _meets_shift(x, factor):
        masked, mask = (x.args[0], pattern(x.args[1])) if x.op == "iand" else (x, (1 << width) - 1)
        back = min(_twos(factor), count(masked))
        inner = shifted(masked.args[0], count(masked) - back)
        inner = apply("iand", inner, integer(mask << back, x.kind))
        return apply("imul", inner, integer(factor >> back, x.kind))
    return combined(x.kind, 0, {x: factor})


def _meets_shift(x: Term, factor: int) -> bool:
    """Whether a product moves back what a shift moved to the right."""
    masked = x.args[0] if x.op == "iand" and x.args[1].is_constant else x
    return masked.op == "ishr" and factor != 0 and factor % 2 == 0


# Bits.


def _twos(number: int) -> int:
    """How often an integer can be halved."""
    return (number & -number).bit_length() - 1


def possible(x: Term) -> int:
    """The bits that may be set."""
    width = WIDTH[x.kind]
    every = (1 << width) - 1
    match x.op:
        case "const":
            return pattern(x)
        case "iand":
            return possible(x.args[0]) & possible(x.args[1])
        case "ior":
            return possible(x.args[0]) | possible(x.args[1])
        case "select":
            return possible(x.args[1]) | possible(x.args[2])
        case "ishr":
            inside = possible(x.args[0])
            copies = every ^ (every >> count(x)) if inside >> (width - 1) else 0
            return inside >> count(x) | copies
        case "isum":
            first, factors = x.data
            parts = [first, *(c * possible(a) for a, c in zip(x.args, factors, strict=True))]
            zeros = min(_twos(p) for p in parts if p)
            largest: int = sum(parts)
            if min(parts) >= 0 and largest <= every:
                every = (1 << largest.bit_length()) - 1
            return every >> zeros << zeros
        case "asint" if is_no_negative_zero(x.args[0]) and sign(x.args[0]) > 0:
            return every >> 1
    return every


def _iand(_: str, a: Term, b: Term) -> Term:
    if a.is_constant:
        a, b = b, a
    if (chosen := _through_choice("iand", a, b)) is not None:
        return chosen
    if not b.is_constant:
        return a if a is b else _sorted("iand", a, b)
    return _masked(a, pattern(b))


def _masked(x: Term, mask: int) -> Term:
    """Some bits of an integer."""
    width = WIDTH[x.kind]
    if x.is_constant:
        return integer(pattern(x) & mask, x.kind)
    bits = possible(x)
    mask &= bits
    if mask == bits:
        return x
    if mask == 0:
        return integer(0, x.kind)
    if x.op == "iand" and x.args[1].is_constant:
        return _masked(x.args[0], mask & pattern(x.args[1]))
    if x.op in ("ior", "isum"):
        # Of what is laid over one another, parts without any bit of the mask do not count.
        layers = [a for a in _layers(x) if possible(a) & mask]
        if len(layers) < len(_layers(x)):
            return _masked(functools.reduce(partial(apply, "ior"), layers), mask)
    if x.op == "select":
        return apply("select", x.args[0], *(_masked(a, mask) for a in x.args[1:]))
    if x.op == "asint" and x.args[0].op in ("mul", "div") and mask == bits >> 1:
        return apply("asint", apply("abs", x.args[0]))  # whose factors have no signs
    if x.op == "isum":
        # Nothing is carried downwards, so what is above the mask does not count.
        first, factors = x.data
        if mask == 1 and first % 2:  # the last bit of `1 + x` is the other one than that of x
            rest = combined(x.kind, 0, dict(zip(x.args, factors, strict=True)))
            return apply("isub", integer(1, x.kind), _masked(rest, 1))
        below = (1 << mask.bit_length()) - 1
        small = {a: c & below for a, c in zip(x.args, factors, strict=True)}
        numbers = [n for n in (first & below, *small.values()) if n]
        zeros = min(map(_twos, numbers), default=0)
        inner = combined(
            x.kind, (first & below) >> zeros, {a: c >> zeros for a, c in small.items()}
        )
        if zeros:
            return apply("imul", _masked(inner, mask >> zeros), integer(1 << zeros, x.kind))
        if inner is not x and below >> (width - 1) == 0:
            return _masked(inner, mask)
    return node("iand", x.kind, (x, integer(mask, x.kind)))


def _ior(_: str, a: Term, b: Term) -> Term:
    """Integers laid over one another, in an order that depends on nothing but them."""
    numbers = [x for x in (*_layers(a), *_layers(b)) if x.is_constant]
    layers = dict.fromkeys(x for x in (*_layers(a), *_layers(b)) if not x.is_constant)
    fixed = functools.reduce(operator.or_, map(pattern, numbers), 0)
    parts = [*sorted(layers, key=lambda x: x.digest), *[integer(fixed, a.kind)] * (fixed != 0)]
    if _are_apart(parts):
        return functools.reduce(partial(apply, "iadd"), parts, integer(0, a.kind))
    first, *others = parts
    for other in others:
        first = node("ior", a.kind, (first, other))
    return first


def _layers(x: Term) -> list[Term]:
    """What is laid over one another; a sum of integers without a common bit is that, too."""
    if x.op == "ior":
        return [part for a in x.args for part in _layers(a)]
    if x.op == "isum" and set(x.data[1]) == {1}:
        parts = [*x.args, *[integer(x.data[0], x.kind)] * (x.data[0] != 0)]
        if _are_apart(parts):
            return parts
    return [x]


def _are_apart(parts: Sequence[Term]) -> bool:
    """Whether no two of them have a bit in common."""
    seen = 0
    for x in parts:
        if possible(x) & seen:
            return False
        seen |= possible(x)
    return True


def _ixor(_: str, a: Term, b: Term) -> Term:
    if a.is_constant:
        a, b = b, a
    width = WIDTH[a.kind]
    if b.is_constant and a.is_constant:
        return integer(pattern(a) ^ pattern(b), a.kind)
    if b.is_constant and pattern(b) == 1 << (width - 1):
        return apply("iadd", a, b)  # what is carried out of the highest bit is lost
    if b.is_constant and int(b.data) == -1:
        return apply("isub", b, a)  # nothing is borrowed from a bit that is set
    return _sorted("ixor", a, b)


def _sorted(op: str, *args: Term) -> Term:
    return node(op, args[0].kind, tuple(sorted(args, key=lambda a: a.digest)))


def count(shift: Term) -> int:
    """By how many bits a shift moves."""
    return int(shift.args[1].data)


def shifted(x: Term, by: int) -> Term:
    """The arithmetic shift to the right by so many bits."""
    return apply("ishr", x, integer(by, x.kind))


def _ishr(_: str, x: Term, by: Term) -> Term:
    if not by.is_constant:
        raise NoInteger("a shift by a number of bits that is no constant")
    width, bits = WIDTH[x.kind], int(by.data)
    if bits == 0:
        return x
    if x.is_constant:
        return integer(int(x.data) >> bits, x.kind)
    if (chosen := _through_choice("ishr", x, by)) is not None:
        return chosen
    if x.op == "iand" and x.args[1].is_constant:
        mask = integer(int(x.args[1].data) >> bits, x.kind)
        return apply("iand", shifted(x.args[0], bits), mask)
    if x.op == "ishr":
        return shifted(x.args[0], min(bits + count(x), width - 1))
    if x.op == "isum" and possible(x) >> (width - 1) == 0:
        first, factors = x.data
        if all(n % (1 << bits) == 0 and n >= 0 for n in (first, *factors)):
            whole = {a: c >> bits for a, c in zip(x.args, factors, strict=True)}
            return combined(x.kind, first >> bits, whole)
    return node("ishr", x.kind, (x, by))


def _ishl(_: str, x: Term, by: Term) -> Term:
    """A product with a power of two."""
    if not by.is_constant:
        raise NoInteger("a shift by a number of bits that is no constant")
    return apply("imul", x, integer(1 << int(by.data), x.kind))


def _iushr(_: str, x: Term, by: Term) -> Term:
    """The shift that brings zeros is the arithmetic one without the copies of the sign."""
    every = (1 << WIDTH[x.kind]) - 1
    return apply("iand", apply("ishr", x, by), integer(every >> int(by.data), x.kind))


def _through_choice(op: str, a: Term, b: Term) -> Term | None:
    """An operation of what may be a constant with a constant, as a choice between results."""
    for x, y in ((a, b), (b, a)):
        constant_arm = x.op == "select" and any(arm.is_constant for arm in x.args[1:])
        if constant_arm and y.is_constant:
            return apply("select", x.args[0], *(apply(op, arm, y) for arm in x.args[1:]))
    return None


# Floats as integers and back.


def _asint(_: str, x: Term) -> Term:
    kind = OF_FLOAT[x.kind]
    width = WIDTH[kind]
    if x.op == "asfloat":
        return x.args[0]
    if x.is_constant and x.number == x.number:
        bits = np.asarray(x.number, FLOATS[x.kind]).view(INTEGERS[kind])
        return integer(int(bits), kind)
    if x.op == "select":
        return apply("select", x.args[0], *(apply("asint", a) for a in x.args[1:]))
    if x.op == "neg":
        return apply("iadd", apply("asint", x.args[0]), integer(1 << (width - 1), kind))
    if x.op == "abs":
        return apply("iand", apply("asint", x.args[0]), integer((1 << (width - 1)) - 1, kind))
    return node("asint", kind, (x,))


def _asfloat(_: str, x: Term) -> Term:
    kind = OF_INTEGER[x.kind]
    width = WIDTH[x.kind]
    sign = 1 << (width - 1)
    if x.op == "asint":
        return x.args[0]
    if x.is_constant:
        number = np.asarray(x.data, INTEGERS[x.kind]).view(FLOATS[kind])
        return constant(float(number), kind)
    if x.op == "select":
        return apply("select", x.args[0], *(apply("asfloat", a) for a in x.args[1:]))
    if x.op == "iand" and x.args[0].op == "asint" and pattern(x.args[1]) == sign - 1:
        return apply("abs", x.args[0].args[0])
    if x.op == "isum" and x.data[0] < -(sign >> 3):
        # A constant as large as the sign has it: what is carried out of the highest bit is lost.
        # Smaller negative ones, such as the -1 of `x - 1`, stay: that is no more of a sign.
        return apply("neg", apply("asfloat", apply("iadd", x, integer(sign, x.kind))))
    return node("asfloat", kind, (x,))


def size_of_bits(x: Term) -> Term:
    """The absolute value of what an integer is as a float: all of its bits but the highest."""
    every = (1 << WIDTH[x.kind]) - 1
    return apply("asfloat", apply("iand", x, integer(every >> 1, x.kind)))


RULES |= {
    "asint": _asint,
    "asfloat": _asfloat,
    "iadd": _iadd,
    "isub": lambda _, a, b: apply("iadd", a, apply("imul", b, integer(-1, b.kind))),
    "imul": _imul,
    "iand": _iand,
    "ior": _ior,
    "ixor": _ixor,
    "ishl": _ishl,
    "ishr": _ishr,
    "iushr": _iushr,
}
WITH_DATA["isum"] = _isum


def _is_nan(layer: Term, kind: str) -> bool:
    """Whether any pattern with these bits is NaN: those of infinity, and more."""
    infinity = pattern(apply("asint", constant(math.inf, kind)))
    bits = pattern(layer) if layer.is_constant else 0
    mantissa = (infinity & -infinity) - 1
    return bits & infinity == infinity and bits & mantissa != 0


def _between(x: Term) -> Span:
    """Without the highest bit a float is positive, or zero; with all of the exponent's, NaN."""
    inner = x.args[0]
    if any(_is_nan(layer, x.kind) for layer in _layers(inner)):
        return NOTHING
    return ANY if possible(inner) >> (WIDTH[inner.kind] - 1) else (0.0, math.inf)


def _has_no_nan(x: Term) -> bool:
    """Whether some bit of the exponent is surely not set."""
    infinity = pattern(apply("asint", constant(math.inf, x.kind)))
    return possible(x.args[0]) & infinity != infinity


OTHERS["asfloat"] = _between
NUMBERS["asfloat"] = _has_no_nan
