"""Terms: what they are, and how one is made in normal form.

A term is a leaf (the loaded element of a tensor, a float64 number of the host, a constant) or an
operation that rounds to its own kind. `apply` brings every term to a normal form by the rules that
other modules register in `RULES`. Operations (`max`, `min` propagate NaN and order -0 below +0, as
IEEE's maximum; `maxnum`, `minnum` prefer the number)::

    floats       add mul div sqrt neg abs max min maxnum minnum fma cvt select
    NumPy only   anymax anymin: of two zeros it may return either
    functions    exp.formula and its kin, formulas of tensors; see `functions`
    host only    exp log pow and their kin, of C's library: one uninterpreted function each
    conditions   lt le eq (false on NaN), nan (either is), and, not; select chooses by them
    bits         bits: whether an operand has the pattern in `data`; of integers see `integers`

Every other operation name, such as "sqrt.approx.ftz", is an uninterpreted function.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from stepforge.operations import arithmetic
from stepforge.operations.formats import FORMATS

FLOATS: dict[str, Any] = {
    kind: getattr(ml_dtypes if found.numpy == "bfloat16" else np, found.numpy)
    for kind, found in FORMATS.items()
}
"""The kinds of floats, as NumPy's types; conditions are of kind "bool"."""
INTEGERS: dict[str, Any] = {"i32": np.int32, "i64": np.int64}
"""The kinds of integers, which are bits of floats; see `verify.terms.integers`."""
COMMUTATIVE = frozenset(
    {"add", "mul", "max", "min", "maxnum", "minnum", "anymax", "anymin", "eq", "nan", "and"}
)


class Term:
    """One node; made by `load`, `scalar`, `constant` and `apply` alone, equal if identical.

    Attributes:
        op: The operation, or "load", "scalar", "const".
        kind: Type of the value: a key of `FLOATS`, or "bool".
        args: Its operands.
        data: Name of a leaf; value of a constant; whatever else tells operations apart.
        digest: Hash of the whole term, which also orders operands.
        mark: One bit, chosen by the digest.
        marks: Of the term and of everything that it is made of; a term whose mark is not among
            them is no part of it.
    """

    __slots__ = ("__weakref__", "args", "data", "digest", "kind", "mark", "marks", "op")

    op: str
    kind: str
    args: tuple[Term, ...]
    data: Any
    digest: bytes
    mark: int
    marks: int

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
_MARKS = 4096


def node(op: str, kind: str, args: tuple[Term, ...] = (), data: Any = None) -> Term:
    """The one object for these parts."""
    shown = data.hex() if isinstance(data, float) else repr(data)
    content = "\0".join((op, kind, shown)).encode() + b"".join(a.digest for a in args)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    found = _TERMS.get(digest)
    if found is None:
        found = Term()
        found.op, found.kind, found.args, found.data, found.digest = op, kind, args, data, digest
        found.mark = found.marks = 1 << (int.from_bytes(digest[:2], "little") % _MARKS)
        for part in args:
            found.marks |= part.marks
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


def widens(source: str, target: str) -> bool:
    """Whether every number of one kind is a number of the other."""
    one, other = FORMATS[source], FORMATS[target]
    return one.precision <= other.precision and one.most <= other.most


# Normal forms.

Rule = Callable[..., Term]
RULES: dict[str, Rule] = {}
"""Operation → its rewriting, from the kind that is asked for and the operands.

A rule preserves bits for every input, NaN, infinities and subnormals included; any NaN counts as
any NaN.
"""
WITH_DATA: dict[str, Callable[[str, tuple[Term, ...], Any], Term]] = {}
"""Rewriting of operations that `data` belongs to."""


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
        and any(is_choice(a) for a in args)
        and (chosen := distributed(op, kind, args)) is not None
    ):
        return chosen
    rule = RULES.get(op)
    if rule is not None:
        return rule(kind, *args)
    if op in WITH_DATA:
        return WITH_DATA[op](kind, args, data)
    return plain(op, kind or _kind(op, args), args, data)


_CONDITIONS = ("lt", "le", "eq", "nan", "and", "not", "bits")


def _kind(op: str, args: tuple[Term, ...]) -> str:
    return "bool" if op in _CONDITIONS else args[-1].kind


def plain(op: str, kind: str, args: tuple[Term, ...], data: Any = None) -> Term:
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


def is_choice(x: Term) -> bool:
    """Whether it is one of two numbers, by a condition: how launchers pass conditions."""
    return x.op == "select" and x.args[1].is_constant and x.args[2].is_constant


def distributed(op: str, kind: str, args: tuple[Term, ...]) -> Term | None:
    """The choice between the results, where all operands are numbers or the same choice."""
    conditions = {a.args[0] for a in args if is_choice(a)}
    if len(conditions) > 1 or not all(a.is_constant or is_choice(a) for a in args):
        return None
    arms = (tuple(a.args[arm] if a.args else a for a in args) for arm in (1, 2))
    return apply("select", conditions.pop(), *(apply(op, *arm, kind=kind) for arm in arms))


# What terms are made of.


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
    marks = 0
    for part in values:
        marks |= part.mark
    changed = dict(values)
    stack = [(term, False)]
    while stack:  # operands first, and only where a part may be one of those to replace
        node, ready = stack.pop()
        if node in changed:
            continue
        if not node.marks & marks:
            changed[node] = node
        elif not ready:
            stack.append((node, True))
            stack += [(a, False) for a in node.args]
        else:
            args = tuple([changed[a] for a in node.args])
            changed[node] = (
                node if args == node.args else apply(node.op, *args, kind=node.kind, data=node.data)
            )
    return changed[term]


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
