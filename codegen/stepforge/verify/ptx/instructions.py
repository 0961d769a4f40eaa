"""What each PTX instruction does to the registers: the semantics of the PTX ISA.

Round to nearest even, subnormals kept, any NaN for NaN. A modifier that is not in the tables is
`Unsupported`, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from stepforge.operations import arithmetic
from stepforge.verify.ptx.lanes import (
    FLOATS,
    INTEGERS,
    SPECIAL,
    UNSIGNED,
    Array,
    Lanes,
    is_float,
    width_of,
)
from stepforge.verify.ptx.parser import Unsupported

Operands = tuple[str, ...]
Operation = Callable[[Lanes, Operands, Array | None], None]
"""Executes an instruction in the active lanes; None stands for all of them."""
Function = Callable[..., Array]


@cache
def operation(name: str) -> Operation:
    """What an instruction such as "add.rn.f32" does; loads, stores and branches are elsewhere.

    Raises:
        Unsupported: Its name, or one of its modifiers, is unknown.
    """
    base, *modifiers = name.split(".")
    try:
        return _FAMILIES[base](name, modifiers)
    except (KeyError, ValueError, IndexError):
        raise Unsupported(f"`{name}`") from None


def _split(modifiers: list[str], kinds: set[str], allowed: tuple[str, ...] = ()) -> set[str]:
    """The modifiers before the type, which are all known and there once."""
    *others, kind = modifiers
    if kind not in kinds or not set(others) <= set(allowed) or len(set(others)) != len(others):
        raise ValueError(modifiers)
    return set(others)


_SINGLE = {"f32"}
_WORDS = {"f32", "f64", "f32x2"}
_HALVES = {"bf16", "f16", "bf16x2", "f16x2"}
_INTEGERS = {kind for kind in INTEGERS if kind[0] != "b"}
_BITS = {kind for kind in INTEGERS if kind[0] == "b"}


def _simple(kind: str, function: Function, sources: tuple[str, ...] = ()) -> Operation:
    """An operation on operands of one type, or of the types given."""
    kinds = sources or (kind,) * _arity(function)

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        target, *texts = operands
        values = [lanes.read(text, k) for text, k in zip(texts, kinds, strict=True)]
        lanes.write(target, function(*values), kind, active)

    return execute


def _arity(function: Function) -> int:
    return function.nin if isinstance(function, np.ufunc) else function.__code__.co_argcount


def _recorded(name: str, run: Operation) -> Operation:
    """The operation, noted as one whose result PTX does not fix to the bit."""

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        lanes.approximate.add(name)
        run(lanes, operands, active)

    return execute


def _flushing(function: Function) -> Function:
    """With `.ftz`: subnormal operands and results are zeros of their sign."""
    flushed = arithmetic.flushed
    if _arity(function) == 1:
        return lambda a: flushed(function(flushed(a)))
    if _arity(function) == 2:
        return lambda a, b: flushed(function(flushed(a), flushed(b)))
    return lambda a, b, c: flushed(function(flushed(a), flushed(b), flushed(c)))


# Numbers.


def _fma(kind: str) -> Function:
    if kind == "f64":
        return arithmetic.fma64
    if kind.startswith("f32"):
        return arithmetic.fma32
    return lambda a, b, c: arithmetic.odd_sum(a * b, c)


def _sum(kind: str, negate: bool) -> Function:
    if not kind.startswith(("f32", "f64")):
        if negate:
            return lambda a, b: arithmetic.odd_sum(a, -b)
        return lambda a, b: arithmetic.odd_sum(a, b)
    return np.subtract if negate else np.add


def _rounding(base: str) -> Callable[[str, list[str]], Operation]:
    """`add sub mul fma`: `.rn`, `.ftz`, packed pairs, and the mixed forms with 16-bit operands."""

    def family(name: str, modifiers: list[str]) -> Operation:
        if modifiers[-1] in ("bf16", "f16") and modifiers[-2:-1] == ["f32"]:
            return mixed(modifiers[-1], _split(modifiers[:-1], _SINGLE, ("rn",)))
        kind = modifiers[-1]
        ftz = ("ftz",) if kind == "f32" else ()
        others = _split(modifiers, _WORDS | _HALVES, ("rn", *ftz))
        if base == "fma" and "rn" not in others:
            raise ValueError(name)
        run = function(kind)
        if "ftz" in others:
            run = _flushing(run)
        # Without `.rn` a product and a sum may be fused later; and PTX does not say whether a
        # product is flushed before or after it is rounded.
        loose = "rn" not in others or ("ftz" in others and base in ("mul", "fma"))
        simple = _simple(kind, run)
        return _recorded(name, simple) if loose else simple

    def function(kind: str) -> Function:
        if base == "fma":
            return _fma(kind)
        return np.multiply if base == "mul" else _sum(kind, base == "sub")

    def mixed(narrow: str, _: set[str]) -> Operation:
        if base == "fma":
            return _simple(
                "f32",
                lambda a, b, c: arithmetic.fma32(a, b, c),
                (narrow, narrow, "f32"),
            )
        if base == "mul":
            raise ValueError("there is no mixed product")
        plain = _sum("f32", base == "sub")
        return _simple("f32", lambda a, b: plain(a.astype(np.float32), b), (narrow, "f32"))

    return family


def _sign(function: Function) -> Callable[[str, list[str]], Operation]:
    """`neg` and `abs`: exact, of any type but unsigned."""

    def family(_: str, modifiers: list[str]) -> Operation:
        kind = modifiers[-1]
        others = _split(modifiers, {*_WORDS, *_HALVES, "s16", "s32", "s64"} - {"f32x2"}, ("ftz",))
        if others and kind != "f32":
            raise ValueError(modifiers)
        return _simple(kind, _flushing(function) if others else function)

    return family


def _quotient(name: str, modifiers: list[str]) -> Operation:
    return _bounded(name, modifiers, np.divide, ("approx", "full"))


def _root(name: str, modifiers: list[str]) -> Operation:
    return _bounded(name, modifiers, np.sqrt, ("approx",))


def _reciprocal(name: str, modifiers: list[str]) -> Operation:
    return _bounded(name, modifiers, lambda a: a.dtype.type(1) / a, ("approx",))


def _bounded(
    name: str, modifiers: list[str], function: Function, loose: tuple[str, ...]
) -> Operation:
    """`.rn` is correctly rounded; an approximation is executed as if it were, and recorded."""
    kind = modifiers[-1]
    allowed = ("rn", "ftz", *loose) if kind == "f32" else ("rn",)
    others = _split(modifiers, {"f32", "f64"}, allowed)
    if len(others - {"ftz"}) != 1:
        raise ValueError(name)
    simple = _simple(kind, _flushing(function) if "ftz" in others else function)
    return simple if "rn" in others else _recorded(name, simple)


def _approximate(function: Function) -> Callable[[str, list[str]], Operation]:
    """`ex2 lg2 rsqrt`: computed in float64, then rounded."""

    def family(name: str, modifiers: list[str]) -> Operation:
        others = _split(modifiers, _SINGLE, ("approx", "ftz"))
        if "approx" not in others:
            raise ValueError(name)

        def rounded(a: Array) -> Array:
            return function(a.astype(np.float64)).astype(np.float32)

        run = _flushing(rounded) if "ftz" in others else rounded
        return _recorded(name, _simple("f32", run))

    return family


def _extreme(base: str) -> Callable[[str, list[str]], Operation]:
    """`max` and `min`: with `.NaN` it propagates, without the number wins."""

    def family(_: str, modifiers: list[str]) -> Operation:
        kind = modifiers[-1]
        if not is_float(kind):
            _split(modifiers, _INTEGERS)
            return _simple(kind, np.maximum if base == "max" else np.minimum)
        allowed = {"f64": (), "f32": ("NaN", "ftz")}.get(kind, ("NaN",))
        others = _split(modifiers, {"f32", "f64"} | _HALVES, allowed)
        order = arithmetic.maximum if base == "max" else arithmetic.minimum
        propagate = "NaN" in others

        def function(a: Array, b: Array) -> Array:
            return order(a, b, propagate)

        chosen = _flushing(function) if "ftz" in others else function
        two = _simple(kind, chosen)
        three = _simple(kind, lambda a, b, c: chosen(chosen(a, b), c))

        def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
            (three if len(operands) == 4 else two)(lanes, operands, active)

        return execute

    return family


# Integers and bits.


def _product(name: str, modifiers: list[str]) -> Operation:
    """`mul` of integers: `.lo` and `.wide`."""
    if is_float(modifiers[-1]):
        return _rounding("mul")(name, modifiers)
    part, kind = modifiers
    if part == "lo" and kind in _INTEGERS:
        return _simple(kind, np.multiply)
    wide = _WIDER[kind]
    if part != "wide":
        raise ValueError(modifiers)
    to = INTEGERS[wide]
    return _simple(wide, lambda a, b: a.astype(to) * b.astype(to), (kind, kind))


def _multiply_add(_: str, modifiers: list[str]) -> Operation:
    """`mad` of integers: `.lo` and `.wide`."""
    part, kind = modifiers
    if part == "lo" and kind in _INTEGERS:
        return _simple(kind, lambda a, b, c: a * b + c)
    wide = _WIDER[kind]
    if part != "wide":
        raise ValueError(modifiers)
    to = INTEGERS[wide]
    return _simple(wide, lambda a, b, c: a.astype(to) * b.astype(to) + c, (kind, kind, wide))


_WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def _sum_or_integer(base: str, function: Function) -> Callable[[str, list[str]], Operation]:
    def family(name: str, modifiers: list[str]) -> Operation:
        if is_float(modifiers[-1]):
            return _rounding(base)(name, modifiers)
        _split(modifiers, _INTEGERS)
        return _simple(modifiers[-1], function)

    return family


def _logic(function: Function) -> Callable[[str, list[str]], Operation]:
    def family(_: str, modifiers: list[str]) -> Operation:
        (kind,) = modifiers
        if kind != "pred":
            _split(modifiers, _BITS)
            return _simple(kind, function)

        def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
            target, *sources = operands
            if len(sources) != _arity(function):
                raise ValueError(operands)
            lanes.set(target, function(*(lanes.predicate(s) for s in sources)), active)

        return execute

    return family


def _shift(left: bool) -> Callable[[str, list[str]], Operation]:
    """`shl` and `shr`: a shift by the width or more takes every bit."""

    def family(_: str, modifiers: list[str]) -> Operation:
        (kind,) = modifiers
        _split(modifiers, _BITS if left else _BITS | _INTEGERS)
        width = width_of(kind)

        def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
            target, source, by = operands
            value, amount = lanes.read(source, kind), lanes.bits(by, 32)
            small = np.minimum(amount, width - 1).astype(value.dtype)
            shifted = value << small if left else value >> small
            if value.dtype.kind == "u":
                shifted = np.where(amount >= width, value.dtype.type(0), shifted)
            lanes.write(target, shifted, kind, active)

        return execute

    return family


# Moves, casts, comparisons.


def _move(_: str, modifiers: list[str]) -> Operation:
    (kind,) = modifiers
    if kind == "pred":
        return lambda lanes, operands, active: lanes.set(
            operands[0], lanes.predicate(operands[1]), active
        )
    width = width_of(kind)

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        target, source = operands
        if target.startswith("{"):
            parts = names(target)
            each = UNSIGNED[width // len(parts)]
            columns = np.ascontiguousarray(lanes.bits(source, width)).view(each)
            for index, part in enumerate(parts):
                column = columns.reshape(-1, len(parts))[:, index]
                lanes.set(part, np.ascontiguousarray(column), active)
        elif source.startswith("{"):
            parts = names(source)
            rows = np.stack([_packed(lanes, part, width // len(parts)) for part in parts], 1)
            lanes.set(target, rows.view(UNSIGNED[width]).reshape(-1), active)
        else:
            lanes.set(target, lanes.bits(source, width), active)

    return execute


def _packed(lanes: Lanes, part: str, width: int) -> Array:
    """The bits of a register that is packed with others.

    Compilers pack registers that nothing was written to, where no one reads that half; its bits
    here are those of a NaN, which would show in a result.
    """
    if part.startswith("%") and part not in lanes.registers and part not in SPECIAL:
        return np.full(lanes.count, (1 << width) - 1, UNSIGNED[width])
    return lanes.bits(part, width)


@cache
def names(operand: str) -> tuple[str, ...]:
    """The registers of a vector such as "{%r1, %r2}", or the one that it is."""
    return tuple(part.strip() for part in operand.strip("{} ").split(","))


def _convert(_: str, modifiers: list[str]) -> Operation:
    """`cvt`: to nearest even where it rounds, which `.rn` has to say."""
    *rounding, target, source = modifiers
    if target in ("bf16x2", "f16x2") and rounding == ["rn"] and source == "f32":
        return lambda lanes, operands, active: lanes.write(
            operands[0],
            np.stack([lanes.read(operands[2], "f32"), lanes.read(operands[1], "f32")], 1).astype(
                np.float64
            ),
            target,
            active,
        )
    if target in FLOATS and source in FLOATS:
        # The number of significant bits decides whether it is exact.
        order = ("bf16", "f16", "f32", "f64")
        narrows = order.index(target) < order.index(source)
        if target == source or {target, source} == {"bf16", "f16"}:
            raise ValueError(modifiers)
    elif target in FLOATS and source in _INTEGERS:
        narrows = True
    elif target in _INTEGERS and source in _INTEGERS:
        narrows = False
    else:
        raise ValueError(modifiers)
    if rounding != (["rn"] if narrows else []):
        raise ValueError(modifiers)
    if target in FLOATS and FLOATS[target] == 16 and source not in ("f32", "f64"):
        raise ValueError(modifiers)
    kind = {"f32": np.float32, "f64": np.float64, "bf16": np.float64, "f16": np.float64}
    to = kind[target] if target in FLOATS else INTEGERS[target]

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        register, value = operands
        lanes.write(register, lanes.read(value, source, narrows=True).astype(to), target, active)

    return execute


def _set_predicate(_: str, modifiers: list[str]) -> Operation:
    comparison, *others, kind = modifiers
    if others not in ([], ["ftz"]) or (others and kind != "f32"):
        raise ValueError(modifiers)
    if is_float(kind):
        compare = _ORDERED.get(comparison) or _UNORDERED[comparison]
    elif kind in _BITS:
        compare = {"eq": np.equal, "ne": np.not_equal}[comparison]
    elif kind in _INTEGERS:
        compare = (_UNSIGNED if kind[0] == "u" else {}).get(comparison) or _INTEGER[comparison]
    else:
        raise ValueError(modifiers)
    flush = arithmetic.flushed if others else None

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        target, *sources = operands
        a, b = (lanes.read(s, kind) for s in sources)
        found = compare(flush(a), flush(b)) if flush else compare(a, b)
        targets = target.split("|") if kind.endswith("x2") else [target]
        columns = found.reshape(len(found), -1).T
        for register, column in zip(targets, columns, strict=True):
            lanes.set(register, column, active)

    return execute


def _is_nan(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


def _or_nan(function: Function) -> Function:
    return lambda a, b: function(a, b) | _is_nan(a, b)


_INTEGER: dict[str, Function] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_UNSIGNED: dict[str, Function] = {
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
_ORDERED: dict[str, Function] = {
    **_INTEGER, "ne": lambda a, b: (a != b) & ~_is_nan(a, b), "num": lambda a, b: ~_is_nan(a, b)
}  # fmt: skip
_UNORDERED: dict[str, Function] = {
    **{f"{name}u": _or_nan(function) for name, function in _INTEGER.items()}, "nan": _is_nan
}  # fmt: skip


def _select(_: str, modifiers: list[str]) -> Operation:
    (kind,) = modifiers
    width = width_of(kind)

    def execute(lanes: Lanes, operands: Operands, active: Array | None) -> None:
        target, first, second, condition = operands
        a, b = lanes.bits(first, width), lanes.bits(second, width)
        lanes.set(target, np.where(lanes.predicate(condition), a, b), active)

    return execute


_FAMILIES: dict[str, Callable[[str, list[str]], Operation]] = {
    "mov": _move,
    "cvt": _convert,
    "setp": _set_predicate,
    "selp": _select,
    "add": _sum_or_integer("add", np.add),
    "sub": _sum_or_integer("sub", np.subtract),
    "mul": _product,
    "mad": _multiply_add,
    "fma": _rounding("fma"),
    "div": _quotient,
    "sqrt": _root,
    "rcp": _reciprocal,
    "rsqrt": _approximate(lambda a: 1 / np.sqrt(a)),
    "ex2": _approximate(np.exp2),
    "lg2": _approximate(np.log2),
    "abs": _sign(np.abs),
    "neg": _sign(np.negative),
    "max": _extreme("max"),
    "min": _extreme("min"),
    "and": _logic(np.bitwise_and),
    "or": _logic(np.bitwise_or),
    "xor": _logic(np.bitwise_xor),
    "not": _logic(np.invert),
    "shl": _shift(left=True),
    "shr": _shift(left=False),
}
