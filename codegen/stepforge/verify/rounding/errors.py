"""Rounding errors of lifted code: a bound along its operations, and a search for the worst input.

Standard forward error analysis (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3)
on terms. Every value has a *magnitude* M, the formula with the terms of its sums taken absolutely,
and an error of at most `units * u * M`, u being half a unit in the last place of 1. Where nothing
cancels, M is the value itself and the bound is relative. A cancelling denominator or radicand
costs its condition number M/|value|; then there is a bound at each point, but none for all.

Documented errors of what is not correctly rounded: `operations.table` for functions; the PTX ISA
for the approximate instructions of the fast mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stepforge.operations.formats import FORMATS, UNIT
from stepforge.operations.formulas import FUSED_ULPS
from stepforge.operations.table import OPERATIONS
from stepforge.verify.rounding import intervals
from stepforge.verify.rounding.intervals import mp
from stepforge.verify.terms import functions
from stepforge.verify.terms.operations import NoValue, Propagation, plain, row
from stepforge.verify.terms.terms import Term
from stepforge.verify.terms.walk import walk

_NORMAL = {
    kind: (mp.mpf(2) ** found.least, mp.mpf(found.largest)) for kind, found in FORMATS.items()
}
"""Absolute values between which results are normal numbers."""

APPROXIMATE = {"div.full": 4.0, "div.approx": 4.0, "sqrt.approx": 2.0, "rcp.approx": 2.0}
"""Errors of approximate instructions in units of u: PTX ISA, `div`, `sqrt`, `rcp`.

`div.full.f32` and `div.approx.f32` have 2 ulp, `sqrt.approx.f32` a relative error of 2**-23,
`rcp.approx.f32` 1 ulp.
"""


class Excluded(Exception):
    """A point about which the analysis says nothing: underflow, overflow, a switching condition."""


class NoBound(Exception):
    """No bound holds for every input: something may cancel, or the operation has none."""


@dataclass(frozen=True, slots=True)
class Error:
    """A value at one point with its possible error.

    Attributes:
        value: The exact value, to 50 digits; for a condition a bool.
        magnitude: M.
        units: The error is at most `units * u * M`.
    """

    value: Any
    magnitude: Any
    units: float

    @property
    def condition(self) -> float:
        """M over the absolute value; 1 where nothing cancels."""
        if self.magnitude == 0:
            return 1.0
        if self.value == 0:
            return math.inf
        return float(self.magnitude / abs(self.value))


def analyse(
    term: Term, values: Mapping[str, Any], unit: float, done: dict[Term, Error] | None = None
) -> Error:
    """Value and error bound of a term at a point.

    Args:
        term: The term.
        values: Exact value of every leaf.
        unit: u of the compute type, in which errors are counted.
        done: Results for its parts; filled, so that several terms may share them.

    Raises:
        Excluded: An operation leaves the range of normal numbers there, or a condition could turn
            out otherwise by rounding.
    """
    return walk(term, Errors(values, unit), done)


@dataclass(frozen=True, slots=True)
class Errors:
    """Values with their possible errors.

    Attributes:
        values: Exact value of every leaf.
        unit: u of the compute type.
    """

    values: Mapping[str, Any]
    unit: float

    def leaf(self, term: Term) -> Error:
        """A given value, without error."""
        exact = mp.mpf(self.values[term.data])
        return Error(exact, abs(exact), 0.0)

    def constant(self, term: Term) -> Error:
        """A number, which is what it is, or a condition."""
        if term.kind != "bool" and not math.isfinite(term.number):
            raise Excluded("a constant is not finite")
        exact = term.data if term.kind == "bool" else mp.mpf(term.number)
        return Error(exact, abs(exact), 0.0)

    def apply(self, term: Term, args: list[Error]) -> Error:
        """A result with its error."""
        u = self.unit
        if term.kind == "bool":
            return _condition(term, args, u)
        if term.op == "select":
            return args[1] if args[0].value else args[2]
        rule = _rule(term)
        value, magnitude = _value(term, args)
        own, absolute = UNIT[term.kind] / u, abs(value)
        least, most = _NORMAL[term.kind]
        if not least < absolute < most:
            if not mp.isfinite(value):
                raise Excluded(f"{term.op} has no finite value")
            if value != 0 and rule != "exact":
                raise Excluded("a result leaves the range of normal numbers")
        # A rounding is relative to the value, which may be less than M.
        share = 1.0 if magnitude == absolute or not magnitude else float(absolute / magnitude)
        return Error(value, magnitude, _units(term, args, own * min(share, 1.0), u))


def _rule(term: Term) -> Propagation:
    """How errors propagate through an operation."""
    try:
        rule = row(term).error
    except NoValue:
        rule = "bits"
    if rule == "bits":
        raise NoBound(f"`{term.op}` has no documented error")
    return rule


def _condition(term: Term, args: list[Error], u: float) -> Error:
    if term.op in ("lt", "le", "eq"):
        a, b = args
        doubt = u * (a.units * a.magnitude + b.units * b.magnitude)
        if doubt and abs(a.value - b.value) <= doubt:
            raise Excluded("a condition is as close as its rounding")
    try:
        truth = row(term).real(mp, *(a.value for a in args))
    except NoValue:
        raise Excluded(f"nothing is known about the condition {term.op}") from None
    return Error(bool(truth), 0, 0.0)


def _value(term: Term, args: list[Error]) -> tuple[Any, Any]:
    """The exact value and M."""
    rule, values, ms = _rule(term), [a.value for a in args], [a.magnitude for a in args]
    try:
        value = row(term).real(mp, *values)
    except (ZeroDivisionError, ValueError):
        value = mp.nan
    if not isinstance(value, mp.mpf) or not mp.isfinite(value):
        raise Excluded(f"{term.op} has no finite value")
    match rule:
        case "sum" if any(a.units for a in args):
            return value, ms[0] + ms[1]
        case "product":
            return value, ms[0] * ms[1]
        case "fused":
            return value, ms[0] * ms[1] + ms[2]
        case "quotient":
            return value, (ms[0] if len(args) == 2 else 1) / abs(values[-1])
        case "exact" | "cast":
            return value, ms[0]
        case "extreme":
            steady = min(values) >= 0 and all(a.condition == 1 for a in args)
            return value, value if steady else max(ms)
    return value, abs(value)


def _both(a: float, b: float, u: float) -> float:
    """`(1 + a*u)*(1 + b*u) - 1` in units of u."""
    return a + b + u * a * b


def _inverse(units: float, u: float) -> float:
    """`1/(1 - units*u) - 1` in units of u."""
    if units * u >= 0.5:
        raise Excluded("a denominator is as small as its rounding error")
    return units / (1 - units * u)


def _units(term: Term, args: list[Error], own: float, u: float) -> float:
    """The error after an operation; `own` is what its own rounding adds, in units of u."""
    units = [a.units for a in args]
    approximate = APPROXIMATE.get(term.op.removesuffix(".ftz"), 1.0)
    match _rule(term):
        case "exact" | "extreme":
            return max(units)
        case "sum":
            return _both(max(units), own, u)
        case "fused":
            return _both(max(_both(units[0], units[1], u), units[2]), own, u)
        case "product":
            return _both(_both(units[0], units[1], u), own, u)
        case "quotient":
            denominator = _inverse(units[-1] * args[-1].condition, u)
            before = _both(units[0] if len(units) == 2 else 0.0, denominator, u)
            return _both(before, own * approximate, u)
        case "root":
            before = _inverse(units[0] * args[0].condition, u) / 2 if units[0] else 0.0
            return _both(before, own * approximate, u)
        case "cast":
            widened = UNIT[term.args[0].kind] >= UNIT[term.kind]
            return units[0] if widened else _both(units[0], own, u)
    return _function(term, args, own, u)


def _function(term: Term, args: list[Error], own: float, u: float) -> float:
    """What a function makes of its arguments' errors: how far it goes around its value."""
    if term.op.removesuffix(".ftz") == "exp.approx":
        # Of the power of two 2**-22; of its argument, a product with a rounded constant, twice u.
        x = args[0]
        before = x.units * x.magnitude + 2 * abs(x.value)
        return _both(float(mp.expm1(before * u)) / u, own * 4.0, u)
    operation = row(term)
    ulps = OPERATIONS[operation.function].error(term.op.endswith(functions.SUFFIX))
    if term.op.endswith(functions.FUSED):
        ulps = FUSED_ULPS
    own *= max(1.0, 2.0 * ulps)
    if not any(a.units for a in args):
        return own
    value = operation.real(mp, *(a.value for a in args))
    around = []
    for a in args:
        doubt = a.units * u * a.magnitude
        around.append(intervals.Enclosure(a.value, a.value - doubt, a.value + doubt))
    try:
        span = _enclosed(term, around)
    except intervals.Undefined:
        raise Excluded(f"{term.op} may have no value by rounding") from None
    if value == 0 or span.nan or not mp.isfinite(span.high - span.low):
        raise Excluded(f"{term.op} is as near to zero or infinity as its rounding")
    distance = max(span.high - value, value - span.low)
    return _both(float(distance / abs(value)) / u, own, u)


def _enclosed(term: Term, around: list[intervals.Enclosure]) -> intervals.Enclosure:
    """The interval of a function's results."""
    name = plain(term.op)
    if name in OPERATIONS:
        made: intervals.Enclosure = OPERATIONS[name].enclose(intervals, *around)
        return made
    return intervals.monotone(lambda *x: row(term).real(mp, *x), *around)


Sign = Callable[[Term], int]
"""1 for a term that is never negative, -1 for one that is never positive, 0 if neither is known."""


def universal(term: Term, unit: float, sign: Sign) -> float:
    """The bound in units that holds at every point that `analyse` does not exclude.

    Host scalars count as exact before they are rounded to the compute type: their own float64
    errors depend on the hyperparameters.

    Args:
        term: The term.
        unit: u of the compute type.
        sign: What is known about the signs of its parts.

    Raises:
        NoBound: There is none: a denominator or radicand may cancel, for example.
    """
    return walk(term, Bounds(unit, sign)).units


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound that holds at every point.

    Attributes:
        units: Of the error.
        steady: Whether M is the absolute value itself.
        varies: Whether the value differs from element to element.
    """

    units: float = 0.0
    steady: bool = True
    varies: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of errors, whatever the leaves are.

    Attributes:
        unit: u of the compute type.
        sign: What is known about the signs of terms.
    """

    unit: float
    sign: Sign

    def leaf(self, term: Term) -> Bound:
        """A given value, without error."""
        return Bound(varies=term.op == "load")

    def constant(self, _: Term) -> Bound:
        """A number, which is what it is."""
        return Bound()

    def apply(self, term: Term, args: list[Bound]) -> Bound:
        """The bound of a result."""
        varies = any(a.varies for a in args)
        if not args or term.kind == "bool" or (term.kind == "f64" and not varies):
            return Bound(varies=varies)
        rule, one = _rule(term), mp.mpf(1)
        if rule == "function" and any(a.units for a in args):
            raise NoBound(f"the error of {term.op} depends on its argument")
        if rule in ("quotient", "root") and args[-1].units and not args[-1].steady:
            raise NoBound(f"an argument of {term.op} may cancel")
        first = 1 if term.op == "select" else 0
        args = args[first:]
        try:
            errors = [Error(one, one, a.units) for a in args]
            units = _units(term, errors, UNIT[term.kind] / self.unit, self.unit)
        except Excluded as reason:
            raise NoBound(str(reason)) from None
        steady = all(a.steady for a in args)
        if rule in ("sum", "extreme", "fused"):
            signs = {self.sign(a) for a in term.args}
            one_sign = signs == {1} or (rule == "sum" and signs == {-1})
            is_exact = rule == "sum" and not any(a.units for a in args)
            steady = rule != "fused" and (is_exact or (steady and one_sign))
        return Bound(units, steady, varies)
