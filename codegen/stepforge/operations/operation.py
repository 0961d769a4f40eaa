"""The record of an operation: all that the package knows about it, in one row.

The rows are in `operations.rows`, the table of them is `operations.table.OPERATIONS`. A row may not
know who asks: what it computes with is passed in, as the first argument of its functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from stepforge.operations.draws import Draw
from stepforge.operations.formulas import ULPS

ATOM, POWER, UNARY, PRODUCT, SUM, BIT_AND, BIT_OR, COMPARE, NOT, AND, OR, TERNARY = range(12, 0, -1)
"""Precedences of Python, strongest first."""
COLUMNS = ("scalar", "numpy", "triton", "torch", "c", "c_scalar")
"""What operations are spelled for: scalars of the host, where Python's floats are float64; NumPy's
arrays; Triton's tensors; scalars of the host as float64 tensors of torch, on a device; an element
in C; scalars of the host in C."""

Rounding = Literal["exact", "nearest", "bounded", "stored"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one backend writes an operation.

    Attributes:
        text: Format string over the arguments, `{0}`, `{1}`, ….
        precedence: Precedence of the whole; arguments of a call (ATOM) need no parentheses.
        helper: Functions that the file has to define, separated by spaces, or "".
    """

    text: str
    precedence: int = ATOM
    helper: str = ""


@dataclass(frozen=True, slots=True)
class Notation:
    """How mathematics writes an operation.

    Attributes:
        form: Its form, which `language.typeset` prints: "infix", "sum", "product", "fraction",
            "minus", "prefix", "power", "root", "bars", "cases" or "call".
        sign: The sign of an infix or prefix; of a call the command that LaTeX has for it, or "".
        precedence: How strongly it binds its operands; ATOM if it groups by itself.
        left: The weakest precedence of the left operand of an infix without parentheses.
        right: The same of the right one.
    """

    form: str
    sign: str = ""
    precedence: int = ATOM
    left: int = ATOM
    right: int = ATOM


@dataclass(frozen=True, slots=True)
class Reading:
    """What a function that generated Python calls is, as a term.

    Attributes:
        form: "host", whose result is Python's own float64; "array", whose result is NumPy's; "any",
            whose result is of the type of its arguments.
        term: The operation of `verify.terms`; "" for what the row says itself.
    """

    form: Literal["host", "array", "any"]
    term: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the rule language, or one that lowering makes of them.

    Attributes:
        symbol: What the author writes.
        arity: Number of arguments.
        usage: How it is written, with names for the arguments; "" if authors cannot write it.
        syntax: Name of the class of `ast` that it is in the author's text; "" for a call.
        spellings: How each of `COLUMNS` writes it.
        rounding: "exact" when the result needs no rounding; "nearest" when correctly rounded, to
            nearest even; "bounded" when only an error bound is documented; "stored" when an exact
            result is correctly rounded to the format of the parameter, which may be narrower.
        ulps: That bound, in units in the last place, of the worst implementation among C's
            library and torch, which compute scalars of the host.
        notation: LaTeX and MathML.
        spoken: Format string of a name for its result, such as `one_minus_beta1`.
        meaning: `meaning(sympy, *arguments)`: the SymPy expression.
        sympy: The class of SymPy that is read as this operation, or "".
        value: `value(mp, *arguments)`: the real number, in the digits of a context of mpmath, or a
            condition as a bool; no real number, or an exception, where there is none.
        rational: `rational(*arguments)` of fractions; None where the result may be irrational.
        nonnegative: `nonnegative(signs, *expressions)`: whether the result is zero or more, as far
            as the signs of the arguments tell; see `language.signs`.
        restricted: `restricted(signs, *expressions)`: what of it must not be negative, or "".
        enclose: `enclose(intervals, *arguments)`: the interval of the results, before its own
            rounding; see `verify.rounding.intervals`.
        term: `term(terms, *arguments)`: what it is in operations of `verify.terms`, which rounds;
            see `verify.terms.rule`.
        python: The functions of generated Python that are this operation.
        ttir: Names in Triton IR → the operations of `verify.terms` that they are. One with a dot is
            an approximation in float32 alone.
        draws: How random specs use it; see `fuzz.expressions`.
        boolean: The result is a condition.
        conditions: The arguments are conditions (all of them; `select` only the first).
        folds: It may be written with more arguments, from left to right.
        whole: Of integers it is an integer.
        fallible: On Python's floats it raises instead of giving an infinity or NaN.
        loose: The operation that may return either of two zeros, or "".
        settles: Of zeros of any sign it makes the one that it gives.
        formula: Of tensors it is the formula of its name, in `operations/functions`: the same bits
            everywhere, within `formulas.ULPS`.
        scalar: Tensors have none of it.
        tensor: Scalars of the host have none of it.
        image: The least and the largest result.
    """

    symbol: str
    arity: int
    usage: str
    syntax: str
    spellings: Mapping[str, Spelling]
    rounding: Rounding
    ulps: int
    notation: Notation
    spoken: str
    meaning: Callable[..., Any]
    sympy: str
    value: Callable[..., Any]
    rational: Callable[..., Fraction | None]
    nonnegative: Callable[..., bool]
    restricted: Callable[..., str]
    enclose: Callable[..., Any]
    term: Callable[..., Any]
    python: Mapping[str, Reading]
    ttir: Mapping[str, str]
    draws: tuple[Draw, ...]
    boolean: bool = False
    conditions: bool = False
    folds: bool = False
    whole: bool = False
    fallible: bool = False
    loose: str = ""
    settles: bool = False
    formula: bool = False
    scalar: bool = False
    tensor: bool = False
    image: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        """Refuses a row that is incomplete."""
        wanted = [f"{{{index}}}" for index in range(self.arity)]
        if set(self.spellings) != set(COLUMNS):
            raise ValueError(f"`{self.symbol}` is not spelled in {', '.join(COLUMNS)}")
        for spelling in self.spellings.values():
            given = [field for field in wanted if field in spelling.text]
            if given != wanted or f"{{{self.arity}}}" in spelling.text:
                raise ValueError(f"`{spelling.text}` has not {self.arity} arguments")
        if (self.rounding == "bounded") != (self.ulps > 0):
            raise ValueError(f"`{self.symbol}` is bounded without a bound, or the reverse")
        if self.usage and not (self.draws or self.boolean):
            raise ValueError(f"`{self.symbol}` is never drawn")

    @property
    def is_function(self) -> bool:
        """Whether authors call it by name."""
        return self.usage.startswith(f"{self.symbol}(")

    def error(self, is_tensor: bool) -> int:
        """The bound on its error, of tensors or of scalars of the host, in ulps."""
        return ULPS if is_tensor and self.formula else self.ulps

    @property
    def compares(self) -> bool:
        """Whether it is a comparison of numbers."""
        return self.boolean and not self.conditions


def function(name: str, arity: int) -> Spelling:
    """A call of a function that the file defines or imports."""
    return Spelling(f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})", helper=name)


def infix(symbol: str, precedence: int, arity: int = 2) -> Spelling:
    """An operator between its operands, or before one."""
    return Spelling(f"{{0}} {symbol} {{1}}" if arity == 2 else f"{symbol}{{0}}", precedence)


def everywhere(scalar: Spelling, **others: Spelling) -> Mapping[str, Spelling]:
    """The same spelling in every column but for those that are given."""
    return {**dict.fromkeys(COLUMNS, scalar), **others}


def same(name: str) -> Callable[..., Any]:
    """A row's `term`: one operation of `verify.terms`."""
    return lambda terms, *arguments: terms.apply(name, *arguments)


def monotone(value: Callable[..., Any]) -> Callable[..., Any]:
    """A row's `enclose`: of a function that is monotone in every argument, by its `value`."""

    def enclose(intervals: Any, *arguments: Any) -> Any:
        return intervals.monotone(lambda *x: value(intervals.mp, *x), *arguments)

    return enclose


def irrational(*_: Fraction) -> None:
    """A row's `rational`: nothing is known."""


def unrestricted(*_: Any) -> str:
    """A row's `restricted`: any number is allowed."""
    return ""


def unknown(*_: Any) -> bool:
    """A row's `nonnegative`: it may be negative."""
    return False


def always(*_: Any) -> bool:
    """A row's `nonnegative`: it never is negative."""
    return True


def both(signs: Any, a: Any, b: Any) -> bool:
    """A row's `nonnegative`: it is not negative if both arguments are not."""
    return bool(signs.nonnegative(a) and signs.nonnegative(b))
