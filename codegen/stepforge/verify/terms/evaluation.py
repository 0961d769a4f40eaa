"""Terms in numbers: in their own rounded arithmetic, and in the reals to 120 digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import mpmath
import numpy as np

from stepforge.operations import arithmetic
from stepforge.operations.powers import power
from stepforge.verify.terms.terms import FLOATS, Term, nodes

Array = np.ndarray[Any, Any]
mp = mpmath.MPContext()
mp.dps = 120


class NoValue(Exception):
    """A term has no value there: an operation that is not known, a root of a negative number."""


def evaluate(term: Term, leaves: Mapping[str, Any]) -> Array:
    """A term in rounded arithmetic, each operation to its own kind.

    Approximate instructions count as correctly rounded.

    Args:
        term: The term.
        leaves: The values of its leaves, as arrays that broadcast.

    Raises:
        NoValue: It holds an operation that is not known.
    """
    done: dict[Term, Array] = {}
    with np.errstate(all="ignore"):
        for node in nodes([term]):
            done[node] = _rounded(node, [done[a] for a in node.args], leaves)
    return done[term]


def _rounded(node: Term, args: list[Array], leaves: Mapping[str, Any]) -> Array:
    if node.op in ("load", "scalar"):
        return np.asarray(leaves[node.data]).astype(FLOATS[node.kind])
    if node.op == "const":
        kind = np.bool_ if node.kind == "bool" else FLOATS[node.kind]
        return np.asarray(node.data).astype(kind)
    if node.op == "cvt":
        return _converted(args[0], node.args[0].kind, node.kind)
    if node.op == "bits":
        wide = np.ascontiguousarray(args[0])
        return np.asarray(wide.view(f"u{wide.itemsize}") == node.data)
    if node.op == "fma":
        function = arithmetic.fma64 if node.kind == "f64" else arithmetic.fma32
        return function(*args) if node.kind in ("f32", "f64") else _unknown(node)
    name = plain(node.op)
    if name not in _ROUNDED:
        return _unknown(node)
    result = np.asarray(_ROUNDED[name](*args))
    return result if node.kind == "bool" else result.astype(FLOATS[node.kind])


def _unknown(node: Term) -> Array:
    raise NoValue(f"`{node.op}` on {node.kind}")


def _converted(values: Array, source: str, target: str) -> Array:
    """A conversion that rounds once; NumPy's to bfloat16 goes through float32."""
    if target in ("bf16", "f16") and source == "f64":
        return arithmetic.to_16_bits(values, target).view(FLOATS[target])
    return values.astype(FLOATS[target])


def plain(op: str) -> str:
    """The operation that an approximate instruction stands for."""
    return op.split(".")[0]


def _extreme(propagate: bool, larger: bool) -> Callable[[Array, Array], Array]:
    function = arithmetic.maximum if larger else arithmetic.minimum

    def compute(a: Array, b: Array) -> Array:
        return function(a, b, propagate)

    return compute


_ROUNDED: dict[str, Callable[..., Any]] = {
    "add": np.add, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt, "neg": np.negative,
    "abs": np.abs, "rcp": lambda x: 1 / x, "exp": np.exp, "log": np.log, "pow": np.power,
    "ex2": np.exp2, "lg2": np.log2,
    "max": _extreme(True, True), "min": _extreme(True, False),
    "anymax": _extreme(True, True), "anymin": _extreme(True, False),
    "maxnum": _extreme(False, True), "minnum": _extreme(False, False),
    "lt": np.less, "le": np.less_equal, "eq": np.equal, "and": np.logical_and,
    "not": np.logical_not, "nan": lambda a, b: np.isnan(a) | np.isnan(b), "select": np.where,
}  # fmt: skip


def exact(term: Term, leaves: Mapping[str, Any]) -> Any:
    """A term over the reals at one point, to 120 digits; casts change nothing.

    Raises:
        NoValue: It has none there.
    """
    done: dict[Term, Any] = {}
    for node in nodes([term]):
        done[node] = _real(node, [done[a] for a in node.args], leaves)
    if done[term] is None:
        raise NoValue("an operation has no real value")
    return done[term]


def _real(node: Term, args: list[Any], leaves: Mapping[str, Any]) -> Any:
    """The exact value; None where there is none, which a choice may leave aside."""
    if node.op in ("load", "scalar"):
        return mp.mpf(leaves[node.data])
    if node.op == "const":
        return bool(node.data) if node.kind == "bool" else mp.mpf(node.number)
    if node.op == "select":
        return None if args[0] is None else args[1 if args[0] else 2]
    name = plain(node.op)
    if name not in _REAL:
        raise NoValue(f"`{node.op}`")
    if any(a is None for a in args):
        return None
    try:
        value = _REAL[name](*args)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if isinstance(value, bool):
        return value
    return value if isinstance(value, mp.mpf) and mp.isfinite(value) else None


_REAL: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "sqrt": mp.sqrt, "neg": lambda a: -a, "abs": abs, "rcp": lambda x: 1 / x,
    "exp": mp.exp, "log": mp.log, "pow": partial(power, mp), "ex2": lambda x: mp.power(2, x),
    "lg2": lambda x: mp.log(x, 2), "fma": lambda a, b, c: a * b + c, "cvt": lambda x: x,
    "max": max, "min": min, "anymax": max, "anymin": min, "maxnum": max, "minnum": min,
    "lt": lambda a, b: bool(a < b), "le": lambda a, b: bool(a <= b),
    "eq": lambda a, b: bool(a == b), "and": lambda a, b: a and b, "not": lambda a: not a,
    "nan": lambda a, b: False,
}  # fmt: skip
