"""Signs of terms, and where the sign of a zero is of no consequence.

Compilers drop a sum with +0 wherever its sign is of no consequence, and add none elsewhere. So
these terms are brought to one form: `x + 0` stays where `x` may be -0, and inside of what cannot
be -0, or is compared, or whose absolute value is taken, all zeros are alike.
"""

from __future__ import annotations

import weakref

import numpy as np

from stepforge.verify.terms.nodes import Term, apply, constant, plain, widens
from stepforge.verify.terms.spans import sign


def plus_zero(x: Term) -> Term:
    """The sum with +0, which changes nothing but -0."""
    return x if is_no_negative_zero(x) else plain("add", x.kind, (x, constant(0.0, x.kind)))


def settled(x: Term) -> Term:
    """What is surely not -0, as a sum with +0 of what need not care for the signs of zeros.

    Compilers drop a sum with +0 wherever its sign is of no consequence; so does this, everywhere.
    """
    if not is_no_negative_zero(x):
        return x
    plain = any_zero(x)
    return x if plain is x else plus_zero(plain)


_ANY_ZERO: weakref.WeakKeyDictionary[Term, Term | None] = weakref.WeakKeyDictionary()
"""What `any_zero` gives, None for the term itself."""


def any_zero(x: Term) -> Term:
    """A term with the same value up to the sign of zero, without sums with +0."""
    if x not in _ANY_ZERO:
        _ANY_ZERO[x] = None  # what is made of it on the way is settled itself
        found = _without_zeros(x)
        _ANY_ZERO[x] = None if found is x else any_zero(found)
    return _ANY_ZERO[x] or x


def _without_zeros(x: Term) -> Term:
    match x.op:
        case "const" if x.kind != "bool":
            return constant(0.0, x.kind) if x.number == 0 else x
        case "add":
            for zero, other in (x.args, x.args[::-1]):
                if zero.is_constant and zero.number == 0:
                    return any_zero(other)
            return apply("add", *map(any_zero, x.args))
        case "anymax" | "anymin" | "max" | "min":
            return apply(x.op.removeprefix("any"), *map(any_zero, x.args))
        case "select":
            if (extreme := _compared_extreme(x)) is not None:
                return any_zero(extreme)
            condition, a, b = x.args
            a, b = any_zero(a), any_zero(b)
            pair = condition.args if condition.op == "eq" else ()
            extremes = [apply(op, *pair) for op in ("max", "min") if pair]
            if b in extremes and set(_arms(a)) <= set(pair):
                return b  # of equals it is one of them, too
            return apply("select", condition, a, b)
        case "neg" if (inner := any_zero(x.args[0])).op == "add":
            # But for zeros, -(a + b) is -a - b: of opposite numbers, that are -0 and +0.
            return apply("add", *(apply("neg", a) for a in inner.args))
        case "mul" | "sqrt" | "neg":
            return apply(x.op, *map(any_zero, x.args))
        case "div":
            return apply("div", any_zero(x.args[0]), x.args[1])
        case "cvt":
            return apply("cvt", any_zero(x.args[0]), kind=x.kind)
    return x


def _arms(x: Term) -> list[Term]:
    """What a choice, perhaps of choices, may be."""
    return [arm for a in x.args[1:] for arm in _arms(a)] if x.op == "select" else [x]


def _compared_extreme(choice: Term) -> Term | None:
    """Maximum or minimum, up to the sign of zero, from `x if x >= y or x != x else y`."""
    for x, y in (choice.args[1:], choice.args[:0:-1]):
        for op, order in (("max", "ge"), ("min", "le")):
            first = apply("or", apply(order, x, y), apply("ne", x, x))
            wanted = first if x is choice.args[1] else apply("not", first)
            if wanted is choice.args[0]:
                return apply(op, x, y)
    return None


_SURE: weakref.WeakKeyDictionary[Term, bool] = weakref.WeakKeyDictionary()


def is_no_negative_zero(x: Term) -> bool:
    """Whether it is surely not -0, so that the sum with +0 is it again.

    A sum that is rounded to nearest is -0 for two of them alone.
    """
    if x not in _SURE:
        _SURE[x] = abs(sign(x)) == 2 or _has_no_negative_zero(x)
    return _SURE[x]


def _has_no_negative_zero(x: Term) -> bool:
    match x.op:
        case "const":
            return bool(x.number != 0 or not np.signbit(x.number))
        case "abs":
            return True
        case "add":
            return any(map(is_no_negative_zero, x.args))
        case "mul" | "div":
            return (x.op == "mul" and x.args[0] is x.args[1]) or all(
                sign(a) > 0 and is_no_negative_zero(a) for a in x.args
            )
        case "sqrt":
            return is_no_negative_zero(x.args[0])
        case "asfloat":
            return sign(x) > 0  # its highest bit is not set
        case "select":
            return all(map(is_no_negative_zero, x.args[1:]))
        case "max" | "min":
            return all(map(is_no_negative_zero, x.args))
        case "cvt":
            return widens(x.args[0].kind, x.kind) and is_no_negative_zero(x.args[0])
    return False
