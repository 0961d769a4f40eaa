"""Comparisons, their connectives, and choices by them, in normal form."""

from __future__ import annotations

import functools
from collections.abc import Collection

import numpy as np

from stepforge.verify.terms.nodes import (
    FLOATS,
    INTEGERS,
    RULES,
    WITH_DATA,
    Rule,
    Term,
    apply,
    constant,
    node,
    plain,
    substitute,
    truth,
)
from stepforge.verify.terms.spans import is_number, span
from stepforge.verify.terms.sums import unsigned
from stepforge.verify.terms.zeros import any_zero, is_no_negative_zero, settled


def _not(_: str, x: Term) -> Term:
    if x.op == "not":
        return x.args[0]
    return truth(not x.data) if x.is_constant else node("not", "bool", (x,))


def _and(_: str, a: Term, b: Term) -> Term:
    """Conditions that hold together, each once, in an order that depends on nothing but them.

    That a number is not NaN is left out where a comparison says so already, and so is what the
    others say of one that they are not to hold with: `x and not (x and y)` is `x and not y`.
    """
    parts = dict.fromkeys(part for x in (a, b) for part in _conjuncts(x))
    lifted = {p: _less(p, parts) for p in parts if p.op == "not" and p.args[0].op == "and"}
    if any(p is not less for p, less in lifted.items()):
        rest = [lifted.get(p, p) for p in parts]
        return functools.reduce(lambda x, y: _and("", x, y), rest)
    if truth(False) in parts or any(_not("", part) in parts for part in parts):
        return truth(False)
    parts.pop(truth(True), None)
    compared = {_unchanged(x) for part in parts if part.op in ("lt", "le", "eq") for x in part.args}
    parts = {p: None for p in parts if not (_is_number(p) and p.args[0].args[0] in compared)}
    if len(parts) == 2 and all(map(_is_number, parts)):
        return _not("", _nan("", *(p.args[0].args[0] for p in parts)))
    first, *others = sorted(parts, key=lambda p: p.digest) or [truth(True)]
    for other in others:
        first = node("and", "bool", (first, other))
    return first


def _conjuncts(x: Term) -> list[Term]:
    """The conditions that hold together; that neither of two is NaN is one of each."""
    if x.op == "and":
        return [part for a in x.args for part in _conjuncts(a)]
    if x.op == "not" and x.args[0].op == "nan":
        return [_not("", _nan("", a, a)) for a in dict.fromkeys(x.args[0].args)]
    return [x]


def _less(x: Term, parts: Collection[Term]) -> Term:
    """That conditions do not hold together, less those of them that hold by other parts."""
    inner = _conjuncts(x.args[0])
    if any(_not("", c) in parts for c in inner):
        return truth(True)
    left = [c for c in inner if c not in parts]
    if len(left) == len(inner):
        return x
    return _not("", functools.reduce(lambda a, b: _and("", a, b), left, truth(True)))


def _is_number(x: Term) -> bool:
    """Whether a condition is that one term is not NaN."""
    return x.op == "not" and x.args[0].op == "nan" and len({*x.args[0].args}) == 1


# Of a comparison and its opposite one need not hold: `not x < y` is `x >= y` or that one is NaN.


def _or(_: str, a: Term, b: Term) -> Term:
    return apply("not", apply("and", _not("", a), _not("", b)))


def _compared(a: Term, b: Term) -> tuple[Term, Term]:
    """What is compared: the signs of zeros do not count.

    Numbers of 16 bits are ones of float32, too, in which they are compared.
    """
    if a.kind in ("bf16", "f16"):
        a, b = apply("cvt", a, kind="f32"), apply("cvt", b, kind="f32")
    return (any_zero(a), any_zero(b)) if a.kind != "bool" else (a, b)


def _order(op: str) -> Rule:
    def rule(_: str, a: Term, b: Term) -> Term:
        if (chosen := _compared_choice(op, a, b)) is not None:
            return chosen
        if _are_negative(a, b):  # before signs go into sums, where they are not seen
            a, b = apply("neg", b), apply("neg", a)
        a, b = _compared(a, b)
        if a is b:
            return apply("not", apply("nan", a, a)) if op == "le" else truth(False)
        if _are_negative(a, b):
            a, b = _compared(apply("neg", b), apply("neg", a))
        if (holds := _decided(op, a, b)) is not None:
            return apply("not", apply("nan", a, b)) if holds else truth(False)
        return _at_end(op, a, b) or plain(op, "bool", (a, b))

    return rule


def _are_negative(a: Term, b: Term) -> bool:
    """Whether two numbers have a minus sign, or one has and the other is a constant."""
    (minus, x), (other, y) = unsigned(a), unsigned(b)
    return (minus or x.is_constant) and (other or y.is_constant) and (minus or other)


def _decided(op: str, a: Term, b: Term) -> bool | None:
    """What a comparison of two numbers, neither of them NaN, surely comes to."""
    (low, high), (least, most) = span(a), span(b)
    if op == "eq":
        return False if high < least or most < low else None
    if high < least or (op == "le" and high <= least):
        return True
    return False if most < low or (op == "lt" and most <= low) else None


def _at_end(op: str, a: Term, b: Term) -> Term | None:
    """A comparison with the end of a span, such as infinity: whether it is that, or is not.

    `x < inf` is that `x` is neither infinite nor NaN, `abs(x) <= 0` that it is zero.
    """
    for x, end, ends in ((a, b, span(a)), (b, a, span(b)[::-1])):
        if end.is_constant and not x.is_constant and end.number == ends[op == "lt"]:
            is_it = apply("eq", x, end)
            return is_it if op == "le" else apply("not", apply("or", is_it, apply("nan", x, x)))
    return None


def _compared_choice(op: str, a: Term, b: Term) -> Term | None:
    """A comparison with a constant of what may be another constant is a choice of conditions."""
    for x, y in ((a, b), (b, a)):
        if x.op == "select" and y.is_constant and any(arm.is_constant for arm in x.args[1:]):
            arms = ((arm, b) if x is a else (a, arm) for arm in x.args[1:])
            return apply("select", x.args[0], *(apply(op, *pair) for pair in arms))
    return None


def _eq(_: str, a: Term, b: Term) -> Term:
    if (chosen := _compared_choice("eq", a, b)) is not None:
        return chosen
    if _are_negative(a, b):
        a, b = apply("neg", a), apply("neg", b)
    a, b = _compared(a, b)
    if a is b:
        return apply("not", apply("nan", a, a))
    for x, zero in ((a, b), (b, a)):
        if zero.is_constant and zero.number == 0 and (bare := _without_signs(x)) is not x:
            return _eq("", bare, zero)
    if _are_negative(a, b):
        a, b = _compared(apply("neg", a), apply("neg", b))
    return truth(False) if _decided("eq", a, b) is False else plain("eq", "bool", (a, b))


def _nan(_: str, a: Term, b: Term) -> Term:
    a, b = (_unchanged(x) for x in (a, b))
    for x, y in ((a, b), (b, a)):
        if x.is_constant and x.number != x.number:
            return truth(True)
        if is_number(x):
            return truth(False) if is_number(y) else _nan("", y, y)
    return plain("nan", "bool", (a, b))


def _unchanged(x: Term) -> Term:
    """What is NaN exactly where a term is: signs and casts make no NaN of a number.

    An extreme is NaN where one of its operands is, so that those that never are do not count.
    """
    while (bare := x.args[0] if x.op == "cvt" else _without_signs(_without_numbers(x))) is not x:
        x = bare
    return any_zero(x)


def _without_numbers(x: Term) -> Term:
    """A maximum or minimum without operands that are never NaN; the last one stays."""
    if x.op not in ("max", "min"):
        return x
    perhaps = [a for a in x.args if not is_number(a)] or [*x.args[:1]]
    return x if len(perhaps) > 1 else perhaps[0]


def _without_signs(x: Term) -> Term:
    """A term that is zero, infinite or NaN where another one is, but may have another sign."""
    if x.op in ("neg", "abs"):
        return _without_signs(x.args[0])
    if x.op == "asfloat":
        return apply("abs", x)
    if x.op == "select":
        return apply("select", x.args[0], *map(_without_signs, x.args[1:]))
    return apply(x.op, *map(_without_signs, x.args)) if x.op in ("mul", "div") else x


def _bits(_: str, args: tuple[Term, ...], pattern: int) -> Term:
    """Whether a float has a pattern of bits.

    No two numbers but the zeros are equal, so that with another number it is a comparison; with
    +0 it is one where -0 cannot be.
    """
    (x,) = args
    size = np.dtype(FLOATS[x.kind]).itemsize
    if pattern >> 8 * size:
        return truth(False)
    value = float(np.array(pattern, f"u{size}").view(FLOATS[x.kind]))
    if value != value or (value == 0 and not is_no_negative_zero(x)):
        return plain("bits", "bool", args, pattern)
    if value == 0 and np.signbit(value):
        return truth(False)
    return apply("eq", x, constant(value, x.kind))


def _select(_: str, condition: Term, a: Term, b: Term) -> Term:
    """In each arm the condition is known; equal arms are the result whatever it is.

    `x if x == 0 else 0` stays: of -0 it is -0.
    """
    if condition.op == "not":
        condition, a, b = condition.args[0], b, a
    if condition.is_constant:
        return a if condition.data else b
    if a is b:
        return a
    a, b = _given(a, condition, True), _given(b, condition, False)
    if a is b:
        return a
    if a.kind == "bool":
        return apply("or", apply("and", condition, a), apply("and", _not("", condition), b))
    is_float = a.kind not in INTEGERS
    if is_float and (extreme := _compiled_extreme(condition, a, b)) is not None:
        return extreme
    # A choice in a choice with an arm in common is one, by both conditions.
    if a.op == "select" and b in a.args[1:]:
        inner, x, y = a.args
        if b is y:
            return apply("select", apply("and", condition, inner), x, b)
        return apply("select", apply("and", condition, _not("", inner)), y, b)
    if b.op == "select" and a in b.args[1:]:
        inner, x, y = b.args
        if a is x:
            return apply("select", apply("or", condition, inner), a, y)
        return apply("select", apply("or", condition, _not("", inner)), a, x)
    chosen = node("select", a.kind, (condition, a, b))
    return settled(chosen) if is_float else chosen


def _given(term: Term, condition: Term, value: bool) -> Term:
    """A term where a condition is known to be true or false."""
    known: dict[Term, Term] = {}
    pending = [(condition, value)]
    while pending:
        part, holds = pending.pop()
        if part.op == "not":
            pending.append((part.args[0], not holds))
            continue
        known[part] = truth(holds)
        if part.op == "and" and holds:
            pending += [(a, True) for a in part.args]
        if part.op == "eq" and holds:  # zeros of two signs are equal, too
            x, y = part.args if part.args[1].is_constant else part.args[::-1]
            if y.is_constant and y.number != 0:
                known[x] = y
    return substitute(term, known)


def _larger_zero(extreme: Term) -> int:
    """The bits of the zero that a maximum or minimum of both zeros is."""
    return 0 if extreme.op == "max" else 1 << {"f64": 63, "f32": 31}.get(extreme.kind, 15)


def _zero_of_operands(term: Term, extreme: Term) -> Term:
    """A choice of operands that are the larger zero, which a zero maximum is then, without them."""
    while term.op == "select" and term.args[0].op == "bits":
        test, chosen, rest = term.args
        if test.data != _larger_zero(extreme) or test.args != (chosen,):
            break
        if chosen not in extreme.args:
            break
        term = rest
    return term


def _compiled_extreme(condition: Term, a: Term, b: Term) -> Term | None:
    """IEEE's maximum or minimum, in the two ways in which compilers spell them out.

    `select(nan(x, y), NaN, maxnum(x, y))`, and outside of that a choice between equal operands by
    their sign, which the inner one has made already.
    """
    names = {"maxnum": "max", "minnum": "min"}
    if condition.op == "eq" and b.op in names.values() and b in condition.args:
        (other,) = [x for x in condition.args if x != b] or [b]
        if other.is_constant and other.number == 0 and _zero_of_operands(a, b) == b:
            return b
    is_nan = a.is_constant and a.number != a.number
    is_quiet = condition.op == "nan" and is_nan and b.op in names
    if is_quiet and set(condition.args) == set(_nan("", *b.args).args):
        return apply(names[b.op], *b.args)
    if condition.op == "eq" and b.op in names.values() and set(condition.args) == set(b.args):
        zero = _larger_zero(b)
        if a.op == "select" and a.args[0].op == "bits" and a.args[0].data == zero:
            _, x, y = a.args
            if a.args[0].args == (x,) and {x, y} == set(b.args):
                return b
    return None


WITH_DATA["bits"] = _bits
RULES |= {
    "not": _not,
    "and": _and,
    "or": _or,
    "lt": _order("lt"),
    "le": _order("le"),
    "gt": lambda _, a, b: apply("lt", b, a),
    "ge": lambda _, a, b: apply("le", b, a),
    "eq": _eq,
    "ne": lambda _, a, b: apply("not", apply("eq", a, b)),
    "nan": _nan,
    "select": _select,
}
