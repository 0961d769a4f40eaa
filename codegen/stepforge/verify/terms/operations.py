"""The operations of terms: what each is in rounded arithmetic, over the reals, and for ranges.

Operations of the rule language become these (`operations.table`, `term`); compilers add more. An
approximate instruction, such as "sqrt.approx.ftz", has the row of what it stands for, "sqrt".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from stepforge.operations import arithmetic, arrays, formulas
from stepforge.operations.table import OPERATIONS
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term

Array = np.ndarray[Any, Any]
Range = tuple[float, float]
ANYTHING: Range = (-math.inf, math.inf)


class NoValue(Exception):
    """A term has no value there: an operation that is not known, a root of a negative number."""


Propagation = Literal[
    "exact", "extreme", "sum", "fused", "product", "quotient", "root", "cast", "function", "bits",
    "condition",
]  # fmt: skip
"""How errors of operands go into the error of a result; see `verify.rounding.errors`."""


@dataclass(frozen=True, slots=True)
class TermOperation:
    """One operation of terms.

    Attributes:
        rounded: `rounded(term, *arrays)`: in NumPy, rounded to the term's kind or not yet.
        real: `real(mp, *numbers)`: over the reals; not a real number, or an exception, where there
            is none.
        span: `span(is_same, *ranges)`: the range of the result; `is_same` if the first two operands
            are one. NaN at an end where it is unknown.
        error: How errors propagate.
        algebraic: `algebraic(algebra, *elements)`: in `verify.terms.algebra`; None of what is no
            rational function of its operands and their roots.
        choice: "max", "min" or "abs" of what is one of its operands, or its negative, by a sign.
        function: The row of `operations.table` of what is correctly rounded by nobody, or "".
    """

    rounded: Callable[..., Any]
    real: Callable[..., Any]
    span: Callable[..., Range]
    error: Propagation
    algebraic: Callable[..., Any] | None = None
    choice: Literal["", "max", "min", "abs"] = ""
    function: str = ""


def plain(op: str) -> str:
    """The operation that an approximate instruction stands for."""
    return op.split(".")[0]


def row(term: Term) -> TermOperation:
    """The row of a term's operation.

    Raises:
        NoValue: It has none.
    """
    found = TERM_OPERATIONS.get(plain(term.op))
    if found is None:
        raise NoValue(f"`{term.op}` on {term.kind}")
    return found


# Ranges.


def _any(*_: Any) -> Range:
    return ANYTHING


def _truth(*_: Any) -> Range:
    return 0.0, 1.0


def _sign_of(_: Any, x: Range) -> Range:
    """What rounding leaves of a range: it changes no sign."""
    return 0.0 if x[0] >= 0 else -math.inf, 0.0 if x[1] <= 0 else math.inf


def _times(a: float, b: float) -> float:
    return 0.0 if 0 in (a, b) else a * b


def _square(a: Range) -> Range:
    low, high = max(a[0], -a[1], 0.0), max(-a[0], a[1])
    return low * low, high * high


def product(is_same: bool, a: Range, b: Range) -> Range:
    """The range of a product; of a square where both factors are one."""
    if is_same:
        return _square(a)
    corners = [_times(x, y) for x in a for y in b]
    return min(corners), max(corners)


def _fused(is_same: bool, a: Range, b: Range, c: Range) -> Range:
    low, high = product(is_same, a, b)
    return low + c[0], high + c[1]


def _inverse(_: bool, a: Range) -> Range:
    low, high = a
    if low < 0 < high:
        return ANYTHING
    ends = [1 / x if x else math.copysign(math.inf, 1 if high > 0 else -1) for x in (low, high)]
    return min(ends), max(ends)


def _power(_: bool, base: Range, exponent: Range) -> Range:
    if base[0] < 0:
        return ANYTHING
    if (base[1] <= 1 and exponent[0] >= 0) or (base[0] >= 1 and exponent[1] <= 0):
        return 0.0, 1.0
    return 0.0, math.inf


def _extreme_span(choose: Callable[..., float]) -> Callable[..., Range]:
    return lambda _, a, b: (choose(a[0], b[0]), choose(a[1], b[1]))


# Rounded arithmetic.


def _numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, *args: function(*args)


def _fma(term: Term, a: Array, b: Array, c: Array) -> Array:
    if term.kind not in ("f32", "f64"):
        raise NoValue(f"`{term.op}` on {term.kind}")
    return (arithmetic.fma64 if term.kind == "f64" else arithmetic.fma32)(a, b, c)


def _converted(term: Term, values: Array) -> Array:
    """A conversion that rounds once; NumPy's to bfloat16 goes through float32."""
    if term.kind in ("bf16", "f16") and term.args[0].kind == "f64":
        return arithmetic.to_16_bits(values, term.kind).view(FLOATS[term.kind])
    return values.astype(FLOATS[term.kind])


def _has_bits(term: Term, values: Array) -> Array:
    wide = np.ascontiguousarray(values)
    return np.asarray(wide.view(f"u{wide.itemsize}") == term.data)


def _no_real(*_: Any) -> Any:
    raise NoValue("bits of a float over the reals")


def _sum_of_integers(term: Term, *args: Array) -> Any:
    first, factors = term.data
    kind = INTEGERS[term.kind]
    return sum((a * kind(c) for a, c in zip(args, factors, strict=True)), start=kind(first))


def _reinterpreted(kinds: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda term, x: np.ascontiguousarray(x).view(kinds[term.kind])


def _on_bits(rounded: Callable[..., Any]) -> TermOperation:
    return TermOperation(rounded, _no_real, _any, "bits")


def _formula(function: str) -> TermOperation:
    """A function that is a formula; one of the host counts as the same in float64."""
    row = OPERATIONS[function]
    return TermOperation(
        lambda term, *args: arrays.rounded(function, term.kind, *args), row.value,
        lambda *_: row.image, "function", function=function,
    )  # fmt: skip


def _extreme(larger: bool, propagate: bool = True) -> TermOperation:
    function = arithmetic.maximum if larger else arithmetic.minimum
    choose = max if larger else min
    return TermOperation(
        lambda _, a, b: function(a, b, propagate), lambda mp, a, b: choose(a, b),
        _extreme_span(choose), "extreme", choice="max" if larger else "min",
    )  # fmt: skip


def _comparison(function: Any, test: Callable[[Any, Any], Any]) -> TermOperation:
    return TermOperation(
        _numpy(function), lambda mp, a, b: bool(test(a, b)), _truth, "condition"
    )  # fmt: skip


TERM_OPERATIONS: Mapping[str, TermOperation] = {
    "add": TermOperation(
        _numpy(np.add), lambda mp, a, b: a + b, lambda _, a, b: (a[0] + b[0], a[1] + b[1]), "sum",
        lambda algebra, a, b: algebra.add(a, b),
    ),
    "mul": TermOperation(
        _numpy(np.multiply), lambda mp, a, b: a * b, product, "product",
        lambda algebra, a, b: algebra.mul(a, b),
    ),
    "fma": TermOperation(
        _fma, lambda mp, a, b, c: a * b + c, _fused, "fused",
        lambda algebra, a, b, c: algebra.add(algebra.mul(a, b), c),
    ),
    "div": TermOperation(
        _numpy(np.divide), lambda mp, a, b: a / b,
        lambda _, a, b: product(False, a, _inverse(False, b)), "quotient",
        lambda algebra, a, b: algebra.mul(a, algebra.inverse(b)),
    ),
    "rcp": TermOperation(
        _numpy(lambda x: 1 / x), lambda mp, x: 1 / x, _inverse, "quotient",
        lambda algebra, x: algebra.inverse(x),
    ),
    "sqrt": TermOperation(
        _numpy(np.sqrt), lambda mp, x: mp.sqrt(x),
        lambda _, x: (math.sqrt(max(x[0], 0)), math.sqrt(max(x[1], 0))), "root",
        lambda algebra, x: algebra.sqrt(x),
    ),
    "neg": TermOperation(
        _numpy(np.negative), lambda mp, x: -x, lambda _, x: (-x[1], -x[0]), "exact",
        lambda algebra, x: algebra.neg(x),
    ),
    "abs": TermOperation(
        _numpy(np.abs), lambda mp, x: abs(x),
        lambda _, x: (max(x[0], -x[1], 0.0), max(-x[0], x[1])), "exact", choice="abs",
    ),
    "cvt": TermOperation(
        _converted, lambda mp, x: x, lambda _, x: x, "cast", lambda algebra, x: x
    ),
    "stored": TermOperation(  # a cast on the way, where over the reals it must not be lost
        _converted, lambda mp, x: x, _sign_of, "cast", function="stored"
    ),
    "ex2": TermOperation(
        _numpy(np.exp2), lambda mp, x: mp.power(2, x), lambda *_: (0.0, math.inf), "function",
        function="exp",
    ),
    "lg2": TermOperation(
        _numpy(np.log2), lambda mp, x: mp.log(x, 2), _any, "function", function="log"
    ),
    **{name: _formula(name) for name in formulas.names()},
    "mod": TermOperation(
        _numpy(np.mod), OPERATIONS["mod"].value, lambda _, a, b: (min(b[0], 0.0), max(b[1], 0.0)),
        "function", function="mod",
    ),
    "pow": replace(_formula("pow"), span=_power),
    "max": _extreme(True),
    "min": _extreme(False),
    "anymax": _extreme(True),
    "anymin": _extreme(False),
    "maxnum": _extreme(True, propagate=False),
    "minnum": _extreme(False, propagate=False),
    "select": TermOperation(
        _numpy(np.where), lambda mp, c, a, b: a if c else b,
        lambda _, c, a, b: (min(a[0], b[0]), max(a[1], b[1])), "exact",
    ),
    "lt": _comparison(np.less, lambda a, b: a < b),
    "le": _comparison(np.less_equal, lambda a, b: a <= b),
    "eq": _comparison(np.equal, lambda a, b: a == b),
    "nan": _comparison(lambda a, b: np.isnan(a) | np.isnan(b), lambda a, b: False),
    "and": _comparison(np.logical_and, lambda a, b: a and b),
    "not": TermOperation(_numpy(np.logical_not), lambda mp, a: not a, _truth, "condition"),
    "bits": TermOperation(_has_bits, _no_real, _truth, "condition"),
    "asint": _on_bits(_reinterpreted(INTEGERS)),
    "asfloat": _on_bits(_reinterpreted(FLOATS)),
    "isum": _on_bits(_sum_of_integers),
    "iand": _on_bits(_numpy(np.bitwise_and)),
    "ior": _on_bits(_numpy(np.bitwise_or)),
    "ixor": _on_bits(_numpy(np.bitwise_xor)),
    "ishr": _on_bits(_numpy(np.right_shift)),
}  # fmt: skip
