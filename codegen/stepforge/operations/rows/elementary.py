"""Elementary functions: formulas on tensors (`operations.formulas`), C's own on the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from stepforge.operations import draws
from stepforge.operations.draws import Draw, Sign
from stepforge.operations.operation import (
    Notation,
    Operation,
    Reading,
    Spelling,
    always,
    everywhere,
    function,
    monotone,
)
from stepforge.operations.rows.functions import called


def elementary(
    name: str, arguments: str = "x", fast: bool = False, scalar: Spelling | None = None,
    torch: Spelling | None = None, **parts: Any,
) -> Operation:  # fmt: skip
    """A function that is a formula on tensors (`operations.formulas`), C's own on the host.

    Args:
        name: Its name, which C's library and Triton have, too.
        arguments: Names for its arguments.
        fast: Whether GPUs have an instruction that fast mode takes.
        scalar: How it is written on the host, if not by its name.
        torch: The same of float64 tensors of torch.
        parts: The other parts of its row.
    """
    arity = len(arguments.split(", "))
    given = [f"{{{index}}}" for index in range(arity)]
    usual: dict[str, Any] = {
        "rounding": "bounded", "ulps": 4, "fallible": True, "formula": True,
        "spellings": everywhere(
            scalar or Spelling(f"math.{name}({', '.join(given)})"), numpy=function(name, arity),
            triton=Spelling(f"{name}({', '.join([*given, *['EXACT'] * fast])})", helper=name),
            c=Spelling(f"real_{name}({', '.join(given)})"),
            c_scalar=Spelling(f"{name}({', '.join(given)})"),
            torch=torch
            or Spelling(f'elementary("{name}", {", ".join(given)})', helper="elementary"),
        ),
        "term": lambda terms, *arguments: terms.function(name, *arguments),
        "python": {f"math.{name}": Reading("host", name)},
        "ttir": {f"math.{name}": name} if fast else {},
    }  # fmt: skip
    return called(name, arguments, **{**usual, **parts})


def _drawn_exponential(e: Any, depth: int, tensor: bool) -> Any:
    return e.call("exp", e.negated(e.number(depth - 1, tensor, Sign.NONNEGATIVE)))


def _drawn_angle(e: Any, depth: int, tensor: bool) -> Any:
    return e.call("atan2", *e.pair(depth, tensor))


def _bounded(compute: str) -> Callable[..., Any]:
    """A row's `enclose`: exponentials of more digits than memory are infinite, or nearly least."""

    def enclose(intervals: Any, x: Any) -> Any:
        mp = intervals.mp
        value = getattr(mp, compute)

        def bounded(x: Any) -> Any:
            return mp.inf if x > 1000 else value(max(x, -2000) if mp.isfinite(x) else x)

        return intervals.monotone(bounded, x)

    return enclose


def _cube_root(mp: Any, x: Any) -> Any:
    return mp.cbrt(x) if x >= 0 else -mp.cbrt(-x)


def _wave(compute: str, first_peak: float) -> Callable[..., Any]:
    """A row's `enclose`: of a sine that is 1 at `first_peak` times pi."""

    def enclose(intervals: Any, x: Any) -> Any:
        mp = intervals.mp
        value = getattr(mp, compute)
        if not mp.isfinite(x.low) or not mp.isfinite(x.high):
            return intervals.Enclosure(value(x.value), mp.mpf(-1), mp.mpf(1), True)
        ends = [value(x.low), value(x.high)]

        def passes(place: float) -> bool:
            """Whether the interval holds a point that is `place` times pi, and turns beyond."""
            turns = [(end / mp.pi - place) / 2 for end in (x.low, x.high)]
            return bool(mp.ceil(turns[0]) <= mp.floor(turns[1]))

        high = mp.mpf(1) if passes(first_peak) else max(ends)
        low = mp.mpf(-1) if passes(first_peak + 1) else min(ends)
        return intervals.Enclosure(value(x.value), low, high)

    return enclose


def _angle(intervals: Any, y: Any, x: Any) -> Any:
    """A row's `enclose`: at the origin and across the negative axis every angle is possible.

    On the axis, too: which side of it a zero belongs to is said by its sign, and exact numbers
    have none.
    """
    mp = intervals.mp
    exact = mp.atan2(y.value, x.value)
    if x.low <= 0 and y.low <= 0 <= y.high:
        return intervals.Enclosure(exact, -mp.pi, mp.pi)
    return intervals.monotone(lambda y, x: mp.atan2(y, x), y, x)


_FLOOR = Spelling("float(math.floor({0}))")

ROWS: Mapping[str, Operation] = {
    "exp": elementary(
        "exp", notation=Notation("call", "exp"), image=(0.0, math.inf), fast=True,
        meaning=lambda sympy, x: sympy.exp(x), sympy="exp", value=lambda mp, x: mp.exp(x),
        nonnegative=always, enclose=_bounded("exp"),
        draws=(Draw(Sign.NONNEGATIVE, _drawn_exponential), Draw(Sign.POSITIVE, _drawn_exponential)),
    ),
    "log": elementary(
        "log", notation=Notation("call", "log"),
        meaning=lambda sympy, x: sympy.log(x), sympy="log", value=lambda mp, x: mp.log(x),
        restricted=lambda signs, x: "argument of `log`",
        enclose=lambda intervals, x: intervals.log(x),
        draws=(Draw(Sign.ANY, draws.call("log", Sign.POSITIVE, wild=True)),),
    ),
    "expm1": elementary(
        "expm1", image=(-1.0, math.inf), meaning=lambda sympy, x: sympy.exp(x) - 1,
        value=lambda mp, x: mp.expm1(x), nonnegative=lambda signs, x: signs.nonnegative(x),
        enclose=_bounded("expm1"), draws=(Draw(Sign.ANY, draws.call("expm1")),),
    ),
    "tanh": elementary(
        "tanh", notation=Notation("call", "tanh"), image=(-1.0, 1.0),
        meaning=lambda sympy, x: sympy.tanh(x), sympy="tanh", value=lambda mp, x: mp.tanh(x),
        nonnegative=lambda signs, x: signs.nonnegative(x),
        enclose=monotone(lambda mp, x: mp.tanh(x)), draws=(Draw(Sign.ANY, draws.call("tanh")),),
    ),
    "cbrt": elementary(
        "cbrt", value=_cube_root,
        meaning=lambda sympy, x: sympy.sign(x) * sympy.Abs(x) ** sympy.Rational(1, 3),
        nonnegative=lambda signs, x: signs.nonnegative(x), enclose=monotone(_cube_root),
        torch=function("cbrt", 1), draws=(Draw(Sign.ANY, draws.call("cbrt")),),
    ),
    "sin": elementary(
        "sin", notation=Notation("call", "sin"), image=(-1.0, 1.0),
        meaning=lambda sympy, x: sympy.sin(x), sympy="sin", value=lambda mp, x: mp.sin(x),
        enclose=_wave("sin", 0.5), draws=(Draw(Sign.ANY, draws.call("sin")),),
    ),
    "cos": elementary(
        "cos", notation=Notation("call", "cos"), image=(-1.0, 1.0),
        meaning=lambda sympy, x: sympy.cos(x), sympy="cos", value=lambda mp, x: mp.cos(x),
        enclose=_wave("cos", 0.0), draws=(Draw(Sign.ANY, draws.call("cos")),),
    ),
    "atan2": elementary(
        "atan2", "y, x", image=(-math.pi, math.pi), fallible=False,
        meaning=lambda sympy, y, x: sympy.atan2(y, x), sympy="atan2",
        value=lambda mp, y, x: mp.atan2(y, x), enclose=_angle,
        draws=(Draw(Sign.ANY, _drawn_angle),),
    ),
    "floor": elementary(
        "floor", rounding="exact", ulps=0, scalar=_FLOOR,
        meaning=lambda sympy, x: sympy.floor(x), sympy="floor", value=lambda mp, x: mp.floor(x),
        rational=lambda x: Fraction(math.floor(x)),
        nonnegative=lambda signs, x: signs.nonnegative(x),
        enclose=monotone(lambda mp, x: mp.floor(x)), draws=(Draw(Sign.ANY, draws.call("floor")),),
    ),
}  # fmt: skip
