"""THE table: every operation's spellings, precedence and rounding.

A new operation is one row here. `{0}`, `{1}`, … are the arguments; infix rows have a symbol and a
precedence, everything else is a call. `language.mathematics` holds the SymPy column, apart because
importing SymPy takes longer than checking a spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ATOM, POWER, UNARY, PRODUCT, SUM, BIT_AND, BIT_OR, COMPARE, NOT, AND, OR, TERNARY = range(12, 0, -1)
"""Precedences of Python, strongest first."""

Rounding = Literal["exact", "nearest", "bounded"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one backend writes an operation.

    Attributes:
        text: Format string over the arguments.
        precedence: Precedence of the whole; arguments of a call (ATOM) need no parentheses.
        helper: A function that the file has to define, or "".
    """

    text: str
    precedence: int = ATOM
    helper: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the rule language.

    Attributes:
        arity: Number of arguments.
        symbol: What the author writes.
        scalar: Spelling on the host, where Python's floats are float64.
        numpy: Spelling on NumPy arrays.
        triton: Spelling in a Triton kernel.
        torch: Spelling of host scalars where they are float64 tensors of torch, on a device.
        boolean: The result is a condition.
        conditions: The arguments are conditions (all of them; `select` only the first).
        rounding: "exact" when the result needs no rounding; "nearest" when correctly rounded, to
            nearest even; "bounded" when only an error bound is documented.
        ulps: That bound, in units in the last place, of the worst implementation among C's
            library, NumPy's vector loops and CUDA's libdevice.
    """

    arity: int
    symbol: str
    scalar: Spelling
    numpy: Spelling
    triton: Spelling
    torch: Spelling
    boolean: bool = False
    conditions: bool = False
    rounding: Rounding = "exact"
    ulps: int = 0


def _function(name: str, arity: int) -> Spelling:
    """A call of a function that the file defines or imports."""
    return Spelling(f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})", helper=name)


def _infix(symbol: str, precedence: int, arity: int = 2) -> Spelling:
    return Spelling(f"{{0}} {symbol} {{1}}" if arity == 2 else f"{symbol}{{0}}", precedence)


def _same(
    arity: int, symbol: str, spelling: Spelling, rounding: Rounding, ulps: int = 0,
    torch: Spelling | None = None,
) -> Operation:  # fmt: skip
    return Operation(
        arity, symbol, spelling, spelling, spelling, torch or spelling, rounding=rounding, ulps=ulps
    )


def _arithmetic(symbol: str, precedence: int, triton: Spelling | None = None) -> Operation:
    same = _infix(symbol, precedence)
    return Operation(2, symbol, same, same, triton or same, same, rounding="nearest")


def _comparison(symbol: str) -> Operation:
    same = _infix(symbol, COMPARE)
    return Operation(2, symbol, same, same, same, same, boolean=True)


def _connective(word: str, symbol: str, scalar: int, element: int) -> Operation:
    on_arrays = _infix(symbol, element)
    return Operation(
        2, word, _infix(word, scalar), on_arrays, on_arrays, _function(f"logical_{word}", 2),
        boolean=True, conditions=True,
    )  # fmt: skip


_ELEMENT_CLIP = Spelling("minimum(maximum({0}, {1}), {2})", helper="minimum maximum")

OPERATIONS: dict[str, Operation] = {
    "add": _arithmetic("+", SUM),
    "sub": _arithmetic("-", SUM),
    "mul": _arithmetic("*", PRODUCT),
    # Triton's `/` and `tl.sqrt` are approximations on float32; EXACT is a constant of the kernel.
    "div": _arithmetic("/", PRODUCT, Spelling("div({0}, {1}, EXACT)", helper="div")),
    # Lowering leaves only host powers and the powers below.
    "pow": _same(2, "**", _infix("**", POWER), rounding="bounded", ulps=2),
    # Python's `**` gives a complex root of a negative number; this raises, as `math.sqrt` does.
    "real_pow": _same(
        2, "**", Spelling("math.pow({0}, {1})"), rounding="bounded", ulps=2,
        torch=_infix("**", POWER),
    ),
    "square": _same(1, "square", Spelling("square({0})", helper="square"), rounding="nearest"),
    # Some versions of Triton negate as `0 - x`, so that -(+0) is +0 instead of -0.
    "neg": Operation(
        1, "-", _infix("-", UNARY, 1), _infix("-", UNARY, 1), _function("neg", 1),
        _infix("-", UNARY, 1),
    ),
    "sqrt": Operation(
        1, "sqrt", Spelling("math.sqrt({0})"), Spelling("np.sqrt({0})"),
        Spelling("sqrt({0}, EXACT)", helper="sqrt"), _function("sqrt", 1), rounding="nearest",
    ),
    "abs": Operation(
        1, "abs", Spelling("abs({0})"), Spelling("np.abs({0})"), Spelling("tl.abs({0})"),
        Spelling("abs({0})"),
    ),
    "sign": Operation(
        1, "sign", Spelling("scalar_sign({0})", helper="scalar_sign"), Spelling("np.sign({0})"),
        _function("sign", 1), _function("sign", 1),
    ),
    "min": Operation(
        2, "min", Spelling("scalar_min({0}, {1})", helper="scalar_min"),
        _function("minimum", 2), _function("minimum", 2), _function("minimum", 2),
    ),
    "max": Operation(
        2, "max", Spelling("scalar_max({0}, {1})", helper="scalar_max"),
        _function("maximum", 2), _function("maximum", 2), _function("maximum", 2),
    ),
    # Of zeros they may return either: what an extreme of extremes needs, whose sign of zero comes
    # last. Compilers err where it comes twice.
    "smaller": Operation(
        2, "min", Spelling("scalar_min({0}, {1})", helper="scalar_min"),
        _function("minimum", 2), _function("smaller", 2), _function("minimum", 2),
    ),
    "larger": Operation(
        2, "max", Spelling("scalar_max({0}, {1})", helper="scalar_max"),
        _function("maximum", 2), _function("larger", 2), _function("maximum", 2),
    ),
    "exp": Operation(
        1, "exp", Spelling("math.exp({0})"), Spelling("np.exp({0})"), Spelling("tl.exp({0})"),
        _function("exp", 1),
        rounding="bounded", ulps=4,
    ),
    "log": Operation(
        1, "log", Spelling("math.log({0})"), Spelling("np.log({0})"), Spelling("tl.log({0})"),
        _function("log", 1),
        rounding="bounded", ulps=4,
    ),
    "clip": Operation(
        3, "clip",
        Spelling("scalar_min(scalar_max({0}, {1}), {2})", helper="scalar_min scalar_max"),
        _ELEMENT_CLIP, Spelling("minimum(larger({0}, {1}), {2})", helper="minimum larger"),
        _ELEMENT_CLIP,
    ),
    "select": Operation(
        3, "if", Spelling("{1} if {0} else {2}", TERNARY), Spelling("np.where({0}, {1}, {2})"),
        Spelling("tl.where({0}, {1}, {2})"), _function("where", 3),
    ),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "and": _connective("and", "&", AND, BIT_AND),
    "or": _connective("or", "|", OR, BIT_OR),
    "not": Operation(
        1, "not", _infix("not ", NOT, 1), _infix("~", UNARY, 1), _infix("~", UNARY, 1),
        _function("logical_not", 1), boolean=True, conditions=True,
    ),
    # A scalar where a tensor is needed, rounded to the compute type; inserted by lowering.
    "fill": Operation(
        1, "fill", Spelling("float({0})"), Spelling("np.full_like(p, {0}, real)"),
        Spelling("tl.full([BLOCK], {0}, real)"), Spelling("{0}"), rounding="nearest",
    ),
}  # fmt: skip

BUILT_IN = {"p": "the parameter", "g": "the gradient", "t": "the step number"}
"""The names that need no declaration."""
FUNCTIONS = ("sqrt", "abs", "sign", "min", "max", "exp", "log", "clip")
"""The functions an author may call."""
