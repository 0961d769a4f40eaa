"""What instructions do to numbers in lanes: the semantics of the PTX ISA, on NumPy's arrays.

A meaning takes the name of the instruction and an array for each operand, as the type that it
takes, and gives one of the type that it gives; see `lanes` for how types are arrays. It rounds to
nearest even and keeps subnormals; any NaN stands for any NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from stepforge.operations import arithmetic
from stepforge.verify.ptx.lanes import INTEGERS, Array
from stepforge.verify.ptx.mnemonics import Mnemonic, is_float, width_of

Function = Callable[..., Array]
Number = Callable[..., Array]
"""`number(mnemonic, *arrays)`."""


def plain(function: Function) -> Number:
    """The same function whatever the name is."""
    return lambda _, *arrays: function(*arrays)


def same(_: Mnemonic, a: Array) -> Array:
    """`mov`."""
    return a


def is_approximate(m: Mnemonic) -> bool:
    """Whether PTX leaves the bits of a result open; then it is executed as the nearest number.

    Without `.rn` a product and a sum may be fused later; and PTX does not say whether a product is
    flushed before or after it is rounded.
    """
    if {"approx", "full"} & {*m.modifiers}:
        return True
    if m.operation in ("add", "sub", "mul") and is_float(m.source) and "rn" not in m.modifiers:
        return True
    return m.operation in ("mul", "fma", "mad") and "ftz" in m.modifiers


def flushing(m: Mnemonic, number: Number, arrays: tuple[Array, ...]) -> Array:
    """With `.ftz`: subnormal operands and results are zeros of their sign."""
    found = number(m, *map(arithmetic.flushed, arrays))
    return found if found.dtype == np.bool_ else arithmetic.flushed(found)


# Numbers. Those of 16 bits are float64 here, which is rounded when it is written.


def fused(m: Mnemonic, a: Array, b: Array, c: Array) -> Array:
    """`fma`, rounded once; with operands of 16 bits and of float32, too."""
    return (arithmetic.fma64 if m.target == "f64" else arithmetic.fma32)(a, b, c)


def fused_halves(_: Mnemonic, a: Array, b: Array, c: Array) -> Array:
    """`fma` of 16 bits: the product is exact in float64."""
    return arithmetic.odd_sum(a * b, c)


def mixed(function: Function) -> Number:
    """An operation in float32 whose first operand has 16 bits."""
    return lambda _, a, b: function(a.astype(np.float32), b)


def approximate(function: Function) -> Number:
    """A function in float32, computed in float64."""
    return lambda _, a: function(a.astype(np.float64)).astype(np.float32)


def maximum(propagate: bool) -> Number:
    """`max` of two or three: NaN if it propagates, without the number wins."""
    return lambda _, *arrays: reduce(lambda a, b: arithmetic.maximum(a, b, propagate), arrays)


def minimum(propagate: bool) -> Number:
    """`min`, as `maximum`."""
    return lambda _, *arrays: reduce(lambda a, b: arithmetic.minimum(a, b, propagate), arrays)


def converted(m: Mnemonic, a: Array) -> Array:
    """`cvt`: NumPy rounds to nearest even, and wraps integers around."""
    if is_float(m.target):
        return a.astype(np.float32 if m.target == "f32" else np.float64)
    return a.astype(INTEGERS[m.target])


def packing_cast(_: Mnemonic, high: Array, low: Array) -> Array:
    """`cvt` of two numbers into one register: the first operand is the upper half."""
    return np.stack([low, high], 1).astype(np.float64)


# Integers and bits.


def wide(function: Function) -> Number:
    """`mul.wide` and `mad.wide`: the factors are extended to twice their width."""

    def number(m: Mnemonic, a: Array, b: Array, *addend: Array) -> Array:
        to = INTEGERS[f"{m.source[0]}{2 * width_of(m.source)}"]
        found: Array = function(a.astype(to), b.astype(to), *addend)
        return found

    return number


def shifted_left(m: Mnemonic, a: Array, by: Array) -> Array:
    """`shl`: the width or more takes every bit."""
    found: Array = np.where(by >= width_of(m.source), a.dtype.type(0), a << by.astype(a.dtype))
    return found


def shifted_right(m: Mnemonic, a: Array, by: Array) -> Array:
    """`shr`: the width or more leaves copies of the sign, which is 0 but for signed types."""
    most = width_of(m.source) - 1
    found: Array = a >> np.minimum(by, most).astype(a.dtype)
    return found if a.dtype.kind == "i" else np.where(by > most, a.dtype.type(0), found)


def _is_nan(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


_ORDERS: dict[str, Function] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal,
}  # fmt: skip


def compared(m: Mnemonic, a: Array, b: Array) -> Array:
    """`setp` of numbers: false on NaN, with a final `u` true."""
    comparison = m.modifiers[0]
    if comparison in ("num", "nan"):
        return _is_nan(a, b) if comparison == "nan" else ~_is_nan(a, b)
    order = _ORDERS[comparison[:2]](a, b)
    found: Array = order | _is_nan(a, b) if comparison.endswith("u") else order & ~_is_nan(a, b)
    return found


_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def ordered(m: Mnemonic, a: Array, b: Array) -> Array:
    """`setp` of integers."""
    comparison = m.modifiers[0]
    found: Array = _ORDERS[_UNSIGNED.get(comparison, comparison)](a, b)
    return found


def chosen(_: Mnemonic, a: Array, b: Array, by: Array) -> Array:
    """`selp`."""
    return np.where(by, a, b)
