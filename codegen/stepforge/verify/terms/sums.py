"""Sums, products, quotients, casts and signs of floats, in normal form.

What IEEE 754 does not allow is not done: `(a + b) + c` is not `a + (b + c)` (1e30, -1e30 and 1),
`0*x` is not 0 (of an infinity), `x - x` neither, and `0 - x` is not `-x` (of +0).
"""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np

from stepforge.verify.terms.integers import size_of_bits
from stepforge.verify.terms.nodes import (
    FLOATS,
    RULES,
    Term,
    apply,
    constant,
    is_choice,
    node,
    plain,
    widens,
)
from stepforge.verify.terms.zeros import any_zero, plus_zero, settled


def _neg(_: str, x: Term) -> Term:
    if x.op == "neg":
        return x.args[0]
    if x.is_constant:
        return constant(-x.number, x.kind)
    if is_choice(x):
        return apply("select", x.args[0], *(_neg("", a) for a in x.args[1:]))
    return node("neg", x.kind, (x,))


def unsigned(x: Term) -> tuple[bool, Term]:
    """A factor without its sign, which goes through products and quotients unharmed."""
    if x.op == "neg":
        return True, x.args[0]
    if x.is_constant and np.signbit(x.number) and x.number == x.number:
        return True, constant(-x.number, x.kind)
    return False, x


def _signed(negative: bool, x: Term) -> Term:
    return _neg("", x) if negative else x


def _add(_: str, a: Term, b: Term) -> Term:
    """`x + -0` is `x` for every x; `x + 0` is not: of -0 it is +0."""
    for x, y in ((a, b), (b, a)):
        if x.is_constant and x.number == 0:
            return y if np.signbit(x.number) else plus_zero(any_zero(y))
    return settled(plain("add", a.kind, (a, b)))


def _mul(_: str, a: Term, b: Term) -> Term:
    """Signs go out of a product, because rounding to nearest does the same on both sides of zero.

    That would not be so if it rounded up: `(-a)*b` is then above `-(a*b)`. `2*x` is `x + x`, exact
    or infinite both; `0*x` stays, which is NaN of an infinity and -0 of a negative number.
    """
    (minus, a), (other, b) = unsigned(a), unsigned(b)
    negative = minus != other
    for x, y in ((a, b), (b, a)):
        if x.is_constant and x.number == 1:
            return _signed(negative, y)
        if x.is_constant and x.number == 2:
            return _signed(negative, apply("add", y, y))
    if a is b:
        a = b = _up_to_sign(a)
    return _signed(negative, plain("mul", a.kind, (a, b)))


def _up_to_sign(x: Term) -> Term:
    """A number of the same size, without the signs and sizes that it is made of."""
    if x.op in ("abs", "neg"):
        return _up_to_sign(x.args[0])
    return apply(x.op, *map(_up_to_sign, x.args)) if x.op in ("mul", "div") else x


def _div(_: str, a: Term, b: Term) -> Term:
    """`x/4` is `x*0.25`; `x/3` is not `x*(1/3)`, which rounds twice: 5/3 differs in float32.

    The reciprocal has to be a normal number: 1/2**127 is subnormal in float32, and exact there, but
    compilers leave it alone.
    """
    (minus, a), (other, b) = unsigned(a), unsigned(b)
    if b.is_constant and not a.is_constant and _has_exact_reciprocal(b):
        return _signed(minus != other, apply("mul", a, constant(1 / b.number, b.kind)))
    return _signed(minus != other, plain("div", a.kind, (a, b)))


def _has_exact_reciprocal(x: Term) -> bool:
    """Whether it is a power of two whose reciprocal is a normal number of its kind."""
    limits = np.finfo(np.float64) if x.kind == "f64" else ml_dtypes.finfo(FLOATS[x.kind])
    small, large = float(limits.tiny), float(limits.max)
    mantissa = np.frexp(x.number)[0]
    return bool(mantissa == 0.5 and small <= x.number and small <= 1 / x.number <= large)


def _abs(_: str, x: Term) -> Term:
    """It goes into products, quotients and choices, whose sizes are made of sizes; into no sum."""
    x = any_zero(unsigned(x)[1])
    if x.op == "abs" or x.is_constant:
        return x
    if x.op == "asfloat":
        return size_of_bits(x.args[0])
    if x.op in ("mul", "div"):
        return apply(x.op, *(apply("abs", a) for a in x.args))
    if x.op == "select":
        return apply("select", x.args[0], *(apply("abs", a) for a in x.args[1:]))
    if x.op == "neg":
        return apply("abs", x.args[0])
    return node("abs", x.kind, (x,))


def _fma(_: str, a: Term, b: Term, c: Term) -> Term:
    """The sign of a product is with one factor; it cannot go out, where the addend is, too."""
    (minus, a), (other, b) = unsigned(a), unsigned(b)
    a, b = sorted((a, b), key=lambda x: x.digest)
    if minus != other:
        if unsigned(_neg("", a)) == (True, a):
            a = _neg("", a)
        elif unsigned(_neg("", b)) == (True, b):
            b = _neg("", b)
        else:  # the sign went into the arms of a choice
            a, b = sorted((_neg("", a), b), key=lambda x: x.digest)
    if (number := _exact_fma(a, b, c)) is not None:
        return number
    return node("fma", a.kind, (a, b, c))


def _exact_fma(*parts: Term) -> Term | None:
    """The number that constants come to, if nothing of it is rounded away."""
    if not all(x.is_constant and np.isfinite(x.number) for x in parts):
        return None
    a, b, c = (x.number for x in parts)
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return constant(a * b + c, parts[0].kind)  # with the sign that it has
    number = constant(exact, parts[0].kind)
    return number if np.isfinite(number.number) and Fraction(number.number) == exact else None


def _cvt(kind: str, x: Term) -> Term:
    """Casts of casts are one if the inner is exact: float32 to float64 to float16.

    Not if it rounds, as float64 to float32 to float16 does: 1 + 2**-11 + 2**-40 becomes a tie, and
    then 1. Of a maximum, a cast that is exact is one of the operands.
    """
    if x.kind == kind:
        return x
    if x.is_constant:
        return constant(x.number, kind)
    if x.op in ("neg", "abs"):
        return apply(x.op, apply("cvt", x.args[0], kind=kind))
    if x.op == "cvt" and widens(x.args[0].kind, x.kind):
        return _cvt(kind, x.args[0])  # the inner one is exact
    if x.op == "select":
        return apply("select", x.args[0], *(apply("cvt", a, kind=kind) for a in x.args[1:]))
    if x.op in ("max", "min", "maxnum", "minnum") and widens(x.kind, kind):
        return apply(x.op, *(apply("cvt", a, kind=kind) for a in x.args))
    return node("cvt", kind, (x,))


RULES |= {
    "neg": _neg,
    "add": _add,
    "sub": lambda _, a, b: apply("add", a, apply("neg", b)),
    "mul": _mul,
    "div": _div,
    "abs": _abs,
    "fma": _fma,
    "cvt": _cvt,
}
