"""What code computes, as a graph of rounded operations; equal graphs agree in every bit.

Spec, NumPy file, launcher, Triton IR and PTX are all lifted to these terms. A term is a leaf (the
loaded element of a tensor, a float64 number of the host, a constant) or an operation that rounds to
its own kind. `apply` brings every term to a normal form by rewriting that preserves bits alone, so
two programs whose terms are the same object give the same bits for every input, NaN, infinities
and subnormals included (any NaN counts as any NaN). What IEEE 754 does not allow is not done: no
reassociation, no distribution, `0*x` and `x - x` stay, `0 - x` is not `-x`.

Operations (`max`, `min` propagate NaN and order -0 below +0, as IEEE's maximum; `maxnum`, `minnum`
prefer the number)::

    floats       add mul div sqrt neg abs max min maxnum minnum fma cvt select
    NumPy only   anymax anymin: of two zeros it may return either
    host only    exp log pow, not correctly rounded by anybody: one uninterpreted function each
    conditions   lt le eq (false on NaN), nan (either is), and, not; select chooses by them
    bits         data: a pattern that an operand's bits are equal to

Every other operation name, such as "sqrt.approx.ftz", is an uninterpreted function.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from fractions import Fraction
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from stepforge.operations import arithmetic

FLOATS: dict[str, Any] = {
    "bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
"""The kinds of floats, as NumPy's types; conditions are of kind "bool"."""
COMMUTATIVE = frozenset(
    {"add", "mul", "max", "min", "maxnum", "minnum", "anymax", "anymin", "eq", "nan", "and"}
)
INTEGERS: dict[str, Any] = {"i32": np.int32, "i64": np.int64}
"""The kinds of integers, which are bits of floats; see `verify.terms.integers`."""
_WIDTH = {"bf16": 8, "f16": 11, "f32": 24, "f64": 53}


class Term:
    """One node; made by `load`, `scalar`, `constant` and `apply` alone, equal if identical.

    Attributes:
        op: The operation, or "load", "scalar", "const".
        kind: Type of the value: a key of `FLOATS`, or "bool".
        args: Its operands.
        data: Name of a leaf; value of a constant; whatever else tells operations apart.
        digest: Hash of the whole term, which also orders operands.
    """

    __slots__ = ("__weakref__", "args", "data", "digest", "kind", "op")

    op: str
    kind: str
    args: tuple[Term, ...]
    data: Any
    digest: bytes

    def __repr__(self) -> str:
        return text(self)

    @property
    def number(self) -> float:
        """The value of a constant."""
        return float(self.data)

    @property
    def is_constant(self) -> bool:
        """Whether it is a number."""
        return self.op == "const"


_TERMS: weakref.WeakValueDictionary[bytes, Term] = weakref.WeakValueDictionary()


def node(op: str, kind: str, args: tuple[Term, ...] = (), data: Any = None) -> Term:
    """The one object for these parts."""
    shown = data.hex() if isinstance(data, float) else repr(data)
    content = "\0".join((op, kind, shown)).encode() + b"".join(a.digest for a in args)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    found = _TERMS.get(digest)
    if found is None:
        found = Term()
        found.op, found.kind, found.args, found.data, found.digest = op, kind, args, data, digest
        _TERMS[digest] = found
    return found


def load(tensor: str, kind: str) -> Term:
    """The element of a tensor that a lane works on, before the step."""
    return node("load", kind, (), tensor)


def scalar(name: str) -> Term:
    """A float64 number of the host: a hyperparameter, `t`, or a scalar state."""
    return node("scalar", "f64", (), name)


def constant(value: float | Fraction, kind: str) -> Term:
    """A number, rounded to nearest even into its kind; every NaN is the same."""
    if isinstance(value, Fraction):
        value = _nearest(value, kind)
    with np.errstate(all="ignore"):
        if kind == "bf16":  # ml_dtypes rounds twice, to float32 first
            bits = arithmetic.to_16_bits(np.asarray(value, np.float64), kind)
            rounded = float(arithmetic.to_float32(bits, kind))
        else:
            rounded = float(FLOATS[kind](value))
    return node("const", kind, (), float("nan") if rounded != rounded else rounded)


def _nearest(value: Fraction, kind: str) -> float:
    """A rational rounded once to a kind; no double rounding through float64."""
    try:
        near = float(value)
    except OverflowError:
        return float("inf") if value > 0 else -float("inf")
    if kind == "f64" or Fraction(near) == value:
        return near
    # Round to odd in float64, which has more than two spare bits: the second rounding is exact.
    if int(np.float64(near).view(np.uint64)) & 1 == 0:
        toward = np.inf if Fraction(near) < value else -np.inf
        near = float(np.nextafter(near, toward))
    return near


def truth(value: bool) -> Term:
    """A condition that is known."""
    return node("const", "bool", (), bool(value))


def fresh(name: str, kind: str) -> Term:
    """A value about which nothing is known, such as an element that no load has set."""
    return node("unknown", kind, (), name)


def apply(op: str, *args: Term, kind: str = "", data: Any = None) -> Term:
    """An operation in normal form.

    Args:
        op: Its name; besides the ones above `sub`, `gt`, `ge`, `ne` (true on NaN), `or`.
        args: The operands, of equal kind except for `select` and `cvt`.
        kind: Kind of the result of `cvt` and of uninterpreted functions; else it follows.
        data: For `bits`, the pattern.
    """
    term = _applied(op, args, kind, data)
    return _DEFINED.get(term.digest, term)


_DEFINED: dict[bytes, Term] = {}
"""Digest of what a function is in detail → the one node that stands for it."""
_MOST_DEFINED = 1 << 15


def define(detail: Term, whole: Term) -> Term:
    """Makes one node of a function's operations, wherever they are built from now on.

    Args:
        detail: All of its operations.
        whole: The node that stands for them.

    Returns:
        The node; an older one if the operations have one already.
    """
    if len(_DEFINED) >= _MOST_DEFINED:
        del _DEFINED[next(iter(_DEFINED))]
    return _DEFINED.setdefault(detail.digest, whole)


@lru_cache(maxsize=1 << 16)
def _applied(op: str, args: tuple[Term, ...], kind: str, data: Any) -> Term:
    term = _rewritten(op, args, kind, data)
    if not term.args or (term.op == op and term.args == args):
        return term
    return apply(term.op, *term.args, kind=term.kind, data=term.data)  # it may go on from there


def _rewritten(op: str, args: tuple[Term, ...], kind: str, data: Any) -> Term:
    """An operation, rewritten once."""
    if (
        op in _DISTRIBUTED
        and any(_is_choice(a) for a in args)
        and (chosen := _distributed(op, kind, args)) is not None
    ):
        return chosen
    rule = RULES.get(op)
    if rule is not None:
        return rule(kind, *args)
    if op in WITH_DATA:
        return WITH_DATA[op](kind, args, data)
    return _plain(op, kind or _kind(op, args), args, data)


_CONDITIONS = ("lt", "le", "eq", "nan", "and", "not", "bits")


def _kind(op: str, args: tuple[Term, ...]) -> str:
    return "bool" if op in _CONDITIONS else args[-1].kind


def _plain(op: str, kind: str, args: tuple[Term, ...], data: Any = None) -> Term:
    """The operation itself: constants folded where it is exact or correctly rounded, sorted."""
    if op in _FOLD and all(a.is_constant for a in args):
        with np.errstate(all="ignore"):
            # The second rounding, of float64 to 16 bits, is that of the exact result.
            types = FLOATS | {"bf16": np.float64, "bool": bool}
            operands = [types[a.kind](a.data) for a in args]
            value = _FOLD[op](*operands)
        return truth(bool(value)) if kind == "bool" else constant(float(value), kind)
    if op == "bits" and args[0].is_constant and args[0].number == args[0].number:
        number = np.asarray(args[0].number).astype(FLOATS[args[0].kind])
        return truth(int(number.view(f"u{number.itemsize}")) == data)
    if op in COMMUTATIVE:
        args = tuple(sorted(args, key=lambda a: a.digest))
    return node(op, kind, args, data)


def _maximum(a: Any, b: Any) -> Any:
    if a == b:
        return a if not np.signbit(a) else b
    return np.maximum(a, b)


def _minimum(a: Any, b: Any) -> Any:
    if a == b:
        return a if np.signbit(a) else b
    return np.minimum(a, b)


_FOLD: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "div": np.divide, "sqrt": np.sqrt,
    "max": _maximum, "min": _minimum, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b, "nan": lambda a, b: a != a or b != b,
}  # fmt: skip


_DISTRIBUTED = frozenset({*_FOLD, "sub", "neg", "abs", "cvt", "gt", "ge", "ne"})


def _is_choice(x: Term) -> bool:
    """Whether it is one of two numbers, by a condition: how launchers pass conditions."""
    return x.op == "select" and x.args[1].is_constant and x.args[2].is_constant


def _distributed(op: str, kind: str, args: tuple[Term, ...]) -> Term | None:
    """The choice between the results, where all operands are numbers or the same choice."""
    conditions = {a.args[0] for a in args if _is_choice(a)}
    if len(conditions) > 1 or not all(a.is_constant or _is_choice(a) for a in args):
        return None
    arms = (tuple(a.args[arm] if a.args else a for a in args) for arm in (1, 2))
    return apply("select", conditions.pop(), *(apply(op, *arm, kind=kind) for arm in arms))


# The rewriting: one function for each operation, from the kind asked for and the operands.


def _neg(_: str, x: Term) -> Term:
    if x.op == "neg":
        return x.args[0]
    if x.is_constant:
        return constant(-x.number, x.kind)
    if _is_choice(x):
        return _select("", x.args[0], *(_neg("", a) for a in x.args[1:]))
    return node("neg", x.kind, (x,))


def _unsigned(x: Term) -> tuple[bool, Term]:
    """A factor without its sign, which goes through products and quotients unharmed."""
    if x.op == "neg":
        return True, x.args[0]
    if x.is_constant and np.signbit(x.number) and x.number == x.number:
        return True, constant(-x.number, x.kind)
    return False, x


def _signed(negative: bool, x: Term) -> Term:
    return _neg("", x) if negative else x


def _add(_: str, a: Term, b: Term) -> Term:
    for x, y in ((a, b), (b, a)):
        if x.is_constant and x.number == 0:
            return y if np.signbit(x.number) else _plus_zero(_any_zero(y))
    return _settled(_plain("add", a.kind, (a, b)))


def _plus_zero(x: Term) -> Term:
    """The sum with +0, which changes nothing but -0."""
    return x if _is_no_negative_zero(x) else _plain("add", x.kind, (x, constant(0.0, x.kind)))


def _settled(x: Term) -> Term:
    """What is surely not -0, as a sum with +0 of what need not care for the signs of zeros.

    Compilers drop a sum with +0 wherever its sign is of no consequence; so does this, everywhere.
    """
    if not _is_no_negative_zero(x):
        return x
    plain = _any_zero(x)
    return x if plain is x else _plus_zero(plain)


_ANY_ZERO: weakref.WeakKeyDictionary[Term, Term | None] = weakref.WeakKeyDictionary()
"""What `_any_zero` gives, None for the term itself."""


def _any_zero(x: Term) -> Term:
    """A term with the same value up to the sign of zero, without sums with +0."""
    if x not in _ANY_ZERO:
        _ANY_ZERO[x] = None  # what is made of it on the way is settled itself
        found = _without_zeros(x)
        _ANY_ZERO[x] = None if found is x else _any_zero(found)
    return _ANY_ZERO[x] or x


def _without_zeros(x: Term) -> Term:
    match x.op:
        case "const" if x.kind != "bool":
            return constant(0.0, x.kind) if x.number == 0 else x
        case "add":
            for zero, other in (x.args, x.args[::-1]):
                if zero.is_constant and zero.number == 0:
                    return _any_zero(other)
            return apply("add", *map(_any_zero, x.args))
        case "anymax" | "anymin" | "max" | "min":
            return apply(x.op.removeprefix("any"), *map(_any_zero, x.args))
        case "select":
            if (extreme := _compared_extreme(x)) is not None:
                return _any_zero(extreme)
            condition, a, b = x.args
            a, b = _any_zero(a), _any_zero(b)
            pair = condition.args if condition.op == "eq" else ()
            extremes = [apply(op, *pair) for op in ("max", "min") if pair]
            if b in extremes and set(_arms(a)) <= set(pair):
                return b  # of equals it is one of them, too
            return apply("select", condition, a, b)
        case "mul" | "sqrt" | "neg":
            return apply(x.op, *map(_any_zero, x.args))
        case "div":
            return apply("div", _any_zero(x.args[0]), x.args[1])
        case "cvt":
            return apply("cvt", _any_zero(x.args[0]), kind=x.kind)
    return x


def _arms(x: Term) -> list[Term]:
    """What a choice, perhaps of choices, may be."""
    return [arm for a in x.args[1:] for arm in _arms(a)] if x.op == "select" else [x]


def _is_no_negative_zero(x: Term) -> bool:
    """Whether it is surely not -0, so that the sum with +0 is it again.

    A sum that is rounded to nearest is -0 for two of them alone.
    """
    if abs(sign(x)) == 2:
        return True
    match x.op:
        case "const":
            return bool(x.number != 0 or not np.signbit(x.number))
        case "abs":
            return True
        case "add":
            return any(map(_is_no_negative_zero, x.args))
        case "mul":
            return x.args[0] is x.args[1]
        case "select":
            return all(map(_is_no_negative_zero, x.args[1:]))
        case "max" | "min":
            return all(map(_is_no_negative_zero, x.args))
        case "cvt":
            return widens(x.args[0].kind, x.kind) and _is_no_negative_zero(x.args[0])
    return False


_SIGNS: weakref.WeakKeyDictionary[Term, int] = weakref.WeakKeyDictionary()


def sign(x: Term) -> int:
    """What is sure of the sign of a number that is not NaN, for any values of the leaves.

    Returns:
        2 for a positive one, 1 for one that is zero or positive, the negative of these for the
        others, and 0 if nothing is sure.
    """
    if x not in _SIGNS:
        _SIGNS[x] = _sign(x)
    return _SIGNS[x]


def _sign(x: Term) -> int:
    if x.is_constant:
        return 0 if x.kind == "bool" or x.number != x.number else 2 * int(np.sign(x.number)) or 1
    signs = [sign(a) for a in x.args if a.kind != "bool"]
    match x.op:
        case "neg":
            return -signs[0]
        case "abs":
            return max(abs(signs[0]), 1)
        case "sqrt":
            return max(signs[0], 1)
        case "mul" if x.args[0] is x.args[1]:
            return 1
        case "div" if abs(signs[1]) < 2:
            return 0  # the divisor may be zero, of any sign
        case "mul" | "div":
            return int(np.sign(np.prod(signs)))
        case "add":
            for one, other in (x.args, x.args[::-1]):
                if one.is_constant and one.number == 0:
                    return sign(other)
            return _common(signs, max)
        case "cvt":
            return signs[0] if widens(x.args[0].kind, x.kind) else int(np.sign(signs[0]))
        case "max":
            return max(signs) if max(signs) > 0 else _common(signs, min)
        case "min":
            return min(signs) if min(signs) < 0 else _common(signs, min)
        case "select" | "maxnum" | "minnum":
            return _common(signs, min)
    return 0


def _common(signs: Sequence[int], chosen: Callable[[Iterable[int]], int]) -> int:
    """The sign that all have, as sure as the most or the least sure of them."""
    same = {int(np.sign(s)) for s in signs}
    return same.pop() * chosen(map(abs, signs)) if len(same) == 1 else 0


def _compared_extreme(choice: Term) -> Term | None:
    """Maximum or minimum, up to the sign of zero, from `x if x >= y or x != x else y`."""
    for x, y in (choice.args[1:], choice.args[:0:-1]):
        for op, order in (("max", "ge"), ("min", "le")):
            first = apply("or", apply(order, x, y), apply("ne", x, x))
            if _select("", first, x, y) is choice:
                return apply(op, x, y)
    return None


def _mul(_: str, a: Term, b: Term) -> Term:
    (minus, a), (other, b) = _unsigned(a), _unsigned(b)
    negative = minus != other
    for x, y in ((a, b), (b, a)):
        if x.is_constant and x.number == 1:
            return _signed(negative, y)
        if x.is_constant and x.number == 2:
            return _signed(negative, apply("add", y, y))
    if a is b and a.op == "abs":
        a = b = a.args[0]
    return _signed(negative, _plain("mul", a.kind, (a, b)))


def _div(_: str, a: Term, b: Term) -> Term:
    (minus, a), (other, b) = _unsigned(a), _unsigned(b)
    if b.is_constant and not a.is_constant and _has_exact_reciprocal(b):
        return _signed(minus != other, apply("mul", a, constant(1 / b.number, b.kind)))
    return _signed(minus != other, _plain("div", a.kind, (a, b)))


def _has_exact_reciprocal(x: Term) -> bool:
    """Whether it is a power of two whose reciprocal is a normal number of its kind."""
    limits = np.finfo(np.float64) if x.kind == "f64" else ml_dtypes.finfo(FLOATS[x.kind])
    small, large = float(limits.tiny), float(limits.max)
    mantissa = np.frexp(x.number)[0]
    return bool(mantissa == 0.5 and small <= x.number and small <= 1 / x.number <= large)


def _abs(_: str, x: Term) -> Term:
    x = _any_zero(_unsigned(x)[1])
    if x.op == "abs" or x.is_constant:
        return x
    if x.op in ("mul", "div"):
        return apply(x.op, *(apply("abs", a) for a in x.args))
    if x.op == "select":
        return apply("select", x.args[0], *(apply("abs", a) for a in x.args[1:]))
    if x.op == "neg":
        return apply("abs", x.args[0])
    return node("abs", x.kind, (x,))


def _extreme(op: str) -> Callable[..., Term]:
    """Of any number of operands; IEEE's maximum and minimum are associative."""

    def rule(_: str, *args: Term) -> Term:
        if op not in ("max", "min"):
            first, *others = dict.fromkeys(args)
            for other in others:
                first = _plain(op, first.kind, (first, other))
            return first
        return _settled(_chain(op, {part for a in args for part in _operands(op, a)}))

    return rule


def _chain(op: str, parts: Set[Term]) -> Term:
    """The maximum or minimum of its operands, in an order that depends on nothing but them."""
    parts = _united(op, parts)
    sure = {p for p in parts if _is_no_negative_zero(p)}
    if 1 < len(sure) < len(parts):  # those that are never -0 are settled among themselves
        settled = (parts - sure) | {*_operands(op, _settled(_chain(op, sure)))}
        if settled != parts:
            return _chain(op, settled)
    first, *others = sorted(parts, key=lambda p: (p.is_constant, p.digest))
    for other in others:
        first = _plain(op, first.kind, (first, other))
    return first


def _united(op: str, parts: Set[Term]) -> Set[Term]:
    """Operands of a maximum or minimum, without two that are known to be one together."""
    for pair in itertools.combinations(sorted(parts, key=lambda p: p.digest), 2):
        if (one := _of_pair(op, *pair)) is not None:
            return _united(op, (parts - {*pair}) | {*_operands(op, one)})
    return parts


def _of_pair(op: str, a: Term, b: Term) -> Term | None:
    """The maximum or minimum of two operands where it is no such operation any more."""
    for x, y in ((a, b), (b, a)):
        if x.is_constant and (y.is_constant or x.number != x.number):
            return _plain(op, x.kind, (x, y)) if y.is_constant else x
    if _is_choice(a) or _is_choice(b):
        return _distributed(op, "", (a, b))
    if _neg("", a) is b:
        size = _abs("", a)
        return size if op == "max" else _neg("", size)
    return None


def _operands(op: str, term: Term) -> list[Term]:
    """The operands of nested operations of one kind."""
    if term.op != op:
        return [term]
    return [part for a in term.args for part in _operands(op, a)]


def _fma(_: str, a: Term, b: Term, c: Term) -> Term:
    (minus, a), (other, b) = _unsigned(a), _unsigned(b)
    a, b = sorted((a, b), key=lambda x: x.digest)
    if minus != other:
        if _unsigned(_neg("", a)) == (True, a):
            a = _neg("", a)
        elif _unsigned(_neg("", b)) == (True, b):
            b = _neg("", b)
        else:  # the sign went into the arms of a choice
            a, b = sorted((_neg("", a), b), key=lambda x: x.digest)
    return node("fma", a.kind, (a, b, c))


def _cvt(kind: str, x: Term) -> Term:
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


def widens(source: str, target: str) -> bool:
    """Whether every number of one kind is a number of the other."""
    return _WIDTH[source] <= _WIDTH[target] and {source, target} != {"bf16", "f16"}


def _not(_: str, x: Term) -> Term:
    if x.op == "not":
        return x.args[0]
    return truth(not x.data) if x.is_constant else node("not", "bool", (x,))


def _and(_: str, a: Term, b: Term) -> Term:
    for x, y in ((a, b), (b, a)):
        if x.is_constant:
            return y if x.data is True else x
        if x is _not("", y):
            return truth(False)
    return a if a is b else _plain("and", "bool", (a, b))


def _or(_: str, a: Term, b: Term) -> Term:
    return apply("not", apply("and", _not("", a), _not("", b)))


def _compared(a: Term, b: Term) -> tuple[Term, Term]:
    """What is compared: the signs of zeros do not count.

    Numbers of 16 bits are ones of float32, too, in which they are compared.
    """
    if a.kind in ("bf16", "f16"):
        a, b = _cvt("f32", a), _cvt("f32", b)
    return (_any_zero(a), _any_zero(b)) if a.kind != "bool" else (a, b)


def _order(op: str) -> Callable[..., Term]:
    def rule(_: str, a: Term, b: Term) -> Term:
        a, b = _compared(a, b)
        if a is b:
            return apply("not", apply("nan", a, a)) if op == "le" else truth(False)
        (minus, x), (other, y) = _unsigned(a), _unsigned(b)
        if (minus or x.is_constant) and (other or y.is_constant) and (minus or other):
            a, b = _compared(_neg("", b), _neg("", a))
        if (holds := _decided(op, a, b)) is not None:
            return apply("not", apply("nan", a, b)) if holds else truth(False)
        return _plain(op, "bool", (a, b))

    return rule


def _decided(op: str, a: Term, b: Term) -> bool | None:
    """What a comparison of two numbers, neither of them NaN, surely comes to by their signs."""
    zeros = [x.is_constant and x.number == 0 for x in (a, b)]
    signs = sign(a), sign(b)
    is_below = (signs[0] < 0 or zeros[0]) and (signs[1] > 0 or zeros[1])
    is_above = (signs[0] > 0 or zeros[0]) and (signs[1] < 0 or zeros[1])
    are_apart = 2 in map(abs, signs)
    if op == "eq":
        return False if (is_below or is_above) and are_apart else None
    if is_below and (are_apart or op == "le"):
        return True
    return False if is_above and (are_apart or op == "lt") else None


def _eq(_: str, a: Term, b: Term) -> Term:
    a, b = _compared(a, b)
    if a is b:
        return apply("not", apply("nan", a, a))
    (minus, x), (other, y) = _unsigned(a), _unsigned(b)
    if (minus or x.is_constant) and (other or y.is_constant) and (minus or other):
        a, b = _compared(_neg("", a), _neg("", b))
    return truth(False) if _decided("eq", a, b) is False else _plain("eq", "bool", (a, b))


def _nan(_: str, a: Term, b: Term) -> Term:
    a, b = _compared(a, b)
    a, b = (_unsigned(x)[1] for x in (a, b))
    for x, y in ((a, b), (b, a)):
        if x.is_constant and not y.is_constant:
            return truth(True) if x.number != x.number else _nan("", y, y)
    return _plain("nan", "bool", (a, b))


def _select(_: str, condition: Term, a: Term, b: Term) -> Term:
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
    if a.kind in INTEGERS:
        return node("select", a.kind, (condition, a, b))
    if (extreme := _compiled_extreme(condition, a, b)) is not None:
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
    return _settled(node("select", a.kind, (condition, a, b)))


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
    return substitute(term, known) if any(node in known for node in nodes([term])) else term


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


WITH_DATA: dict[str, Callable[[str, tuple[Term, ...], Any], Term]] = {}
"""Rewriting of operations that `data` belongs to."""
RULES: dict[str, Callable[..., Term]] = {
    "neg": _neg,
    "add": _add,
    "sub": lambda _, a, b: apply("add", a, apply("neg", b)),
    "mul": _mul,
    "div": _div,
    "abs": _abs,
    "max": _extreme("max"),
    "min": _extreme("min"),
    "anymax": _extreme("anymax"),
    "anymin": _extreme("anymin"),
    "maxnum": _extreme("maxnum"),
    "minnum": _extreme("minnum"),
    "fma": _fma,
    "cvt": _cvt,
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


def nodes(terms: Iterable[Term]) -> Iterator[Term]:
    """Every term that the given ones are made of, each once, operands first."""
    seen: set[Term] = set()
    for root in terms:
        for term in _parts(root):
            if term not in seen:
                seen.add(term)
                yield term


@lru_cache(maxsize=256)
def _parts(root: Term) -> tuple[Term, ...]:
    """Every term that one is made of, which is often asked for again at once."""
    found: dict[Term, None] = {}
    stack = [(root, False)]
    while stack:
        term, ready = stack.pop()
        if term in found:
            continue
        if ready:
            found[term] = None
        else:
            stack.append((term, True))
            stack += [(a, False) for a in reversed(term.args)]
    return tuple(found)


def substitute(term: Term, values: Mapping[Term, Term]) -> Term:
    """The term with some of its parts replaced, in normal form again."""
    changed = dict(values)
    for node in nodes([term]):
        if node.args and node not in changed:
            args = tuple([changed.get(a, a) for a in node.args])
            if args != node.args:
                changed[node] = apply(node.op, *args, kind=node.kind, data=node.data)
    return changed.get(term, term)


_INFIX = {"add": "+", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "and": "and"}


def text(term: Term) -> str:
    """A readable form; long ones are cut."""
    return _text(term, 6)


def _text(term: Term, depth: int) -> str:
    if not term.args:
        return repr(term.data) if term.is_constant else str(term.data)
    if depth == 0:
        return "…"
    args = [_text(a, depth - 1) for a in term.args]
    if term.op in _INFIX:
        return f"({args[0]} {_INFIX[term.op]} {args[1]})"
    if term.op == "neg":
        return f"-{args[0]}"
    name = f"{term.op}.{term.kind}" if term.op == "cvt" else term.op
    return f"{name}({', '.join(args)})"
