"""The formula in 50 digits, with an enclosure of every result that rounded arithmetic may give.

The parsed rule is evaluated, never the generated code. Each value is the exact one to 50 digits,
together with an interval that contains whatever the rule's operations give when each of them is
rounded: host scalars in float64, then once to the compute type, tensors in the compute type. The
bound thus comes from the expression itself; nothing is picked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from codegen.expression import Apply, Expression, Name, Number, assignments, names
from codegen.literals import literal
from codegen.operations import OPERATIONS
from codegen.spec import Options, Spec, constant, holds, is_option_condition, straight

DIGITS = 50
mp = mpmath.MPContext()
mp.dps = DIGITS
_SLACK = mp.mpf(1) + mp.mpf(2) ** -40  # covers the rounding of the 50-digit arithmetic itself


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format.

    Attributes:
        unit: Largest relative rounding error, half a unit in the last place of 1.
        tiny: Half the least subnormal: the largest absolute rounding error near zero.
        largest: Largest finite number.
    """

    unit: Any
    tiny: Any
    largest: Any


def _format(precision: int, least: int, most: int) -> Format:
    two = mp.mpf(2)
    return Format(two**-precision, two ** (least - 1), (2 - two ** (1 - precision)) * two**most)


FORMATS = {"float32": _format(24, -149, 127), "float64": _format(53, -1074, 1023)}


class Undefined(Exception):
    """The formula has no value here: 0/0, or the square root of a negative number."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """An exact value and the interval of its possible roundings; conditions are 0 and 1."""

    value: Any
    low: Any
    high: Any
    tensor: bool = False

    def __contains__(self, number: float) -> bool:
        if number != number:
            return self.unknown
        return bool(self.low <= number <= self.high)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known about the rounded result."""
        return bool(self.low == -mp.inf and self.high == mp.inf)


def exactly(value: Any, tensor: bool = False) -> Enclosure:
    """A number without error."""
    exact = value if isinstance(value, mp.mpf) else mp.mpf(float(value))
    return Enclosure(exact, exact, exact, tensor)


def _anything(value: Any, tensor: bool) -> Enclosure:
    return Enclosure(value, -mp.inf, mp.inf, tensor)


def _rounded(e: Enclosure, form: Format, ulps: int = 0) -> Enclosure:
    """The interval after one rounding; `ulps` for operations that are not correctly rounded."""
    factor = form.unit * _SLACK * max(1, 2 * ulps)
    low = e.low - abs(e.low) * factor - form.tiny
    high = e.high + abs(e.high) * factor + form.tiny
    low = -mp.inf if low < -form.largest else low
    high = mp.inf if high > form.largest else high
    return Enclosure(e.value, low, high, e.tensor)


Vector = Enclosure | list[Enclosure]
Elements = Sequence[float] | np.ndarray[Any, Any]


class Evaluator:
    """Evaluates the rule of a spec for some elements at once.

    Attributes:
        form: The compute type.
    """

    def __init__(self, spec: Spec, options: Options, dtype: str) -> None:
        self.spec = spec
        self.options = options
        self.form = FORMATS[dtype]
        self.tensors = _tensor_names(spec)
        self.trace: list[tuple[str, Vector]] = []

    def step(
        self, p: Elements, g: Elements, state: Mapping[str, Any], t: int,
        hyperparameters: Mapping[str, float],
    ) -> dict[str, Vector]:  # fmt: skip
        """One step from exact inputs; the new `p` and states.

        Elements for which the formula is undefined are `Undefined` in no result but unknown.
        After the call `trace` holds the value of every statement, in order.
        """
        count = len(p)
        env: dict[str, Vector] = {
            "p": [exactly(x, True) for x in p],
            "g": [exactly(x, True) for x in g],
            "t": exactly(t),
            **{name: exactly(x) for name, x in hyperparameters.items()},
        }
        for s in self.spec.active_states(self.options):
            value = state[s.name]
            env[s.name] = exactly(value) if s.scalar else [exactly(x, True) for x in value]
        self.trace = []
        for statement in straight(self.spec.rule, self.options):
            value = self.value(statement.value, env)
            if statement.name in self.tensors:
                value = self.arrive(value)
                value = value if isinstance(value, list) else [value] * count
            env[statement.name] = value
            self.trace.append((statement.name, value))
        return {
            name: env[name]
            for name in ("p", *(s.name for s in self.spec.active_states(self.options)))
        }

    def arrive(self, value: Vector) -> Vector:
        """Rounds a host scalar to the compute type; tensors are there already."""
        if isinstance(value, list) or value.tensor:
            return value
        arrived = value
        if self.form.unit != FORMATS["float64"].unit:
            arrived = _rounded(value, self.form)
        return Enclosure(arrived.value, arrived.low, arrived.high, True)

    def value(self, e: Expression, env: Mapping[str, Vector]) -> Vector:
        """The value of an expression: one enclosure, or one for every element."""
        if isinstance(e, Number):
            exact = mp.mpf(e.value.numerator) / e.value.denominator
            if float(exact) == exact:
                return exactly(exact)
            return _rounded(Enclosure(exact, exact, exact), FORMATS["float64"])
        if isinstance(e, Name):
            return env[e.id]
        if e.op == "select":
            return self.select(e, env)
        if e.op == "pow":
            return self.power(e, env)
        return self.apply(e.op, [self.value(a, env) for a in e.args])

    def apply(self, op: str, args: list[Vector]) -> Vector:
        """An operation on scalars or element by element."""
        if all(isinstance(a, Enclosure) and not a.tensor for a in args):
            return self.rounded(op, [a for a in args if isinstance(a, Enclosure)], "float64")
        arrived = [self.arrive(a) for a in args]
        lengths = [len(a) for a in arrived if isinstance(a, list)]
        if not lengths:
            return self.rounded(op, [a for a in arrived if isinstance(a, Enclosure)], None)
        columns = [a if isinstance(a, list) else [a] * lengths[0] for a in arrived]
        return [self.rounded(op, list(row), None) for row in zip(*columns, strict=True)]

    def rounded(self, op: str, args: list[Enclosure], form: str | None) -> Enclosure:
        """The exact result, enclosed, then rounded as the operation's row in the table says."""
        tensor = form is None
        try:
            exact, low, high = _INTERVALS[op](*args)
        except Undefined:
            return _anything(mp.nan, tensor)
        if mp.isnan(exact) or mp.isnan(low) or mp.isnan(high):
            return _anything(mp.nan, tensor)
        result = Enclosure(exact, low, high, tensor)
        operation = OPERATIONS[op]
        if operation.rounding == "exact":
            return result
        return _rounded(result, FORMATS[form] if form else self.form, operation.ulps)

    def power(self, e: Apply, env: Mapping[str, Vector]) -> Vector:
        """Roots by `sqrt`, integer powers of tensors by repeated multiplication."""
        base, exponent = self.value(e.args[0], env), literal(e.args[1])
        tensor = isinstance(base, list) or base.tensor
        if exponent is not None and exponent.denominator == 2 and abs(exponent.numerator) == 1:
            root = self.apply("sqrt", [base])
            return root if exponent > 0 else self.apply("div", [exactly(1), root])
        if not tensor or exponent is None:
            return self.apply("pow", [base, self.value(e.args[1], env)])
        product = base
        for _ in range(abs(int(exponent)) - 1):
            product = self.apply("mul", [product, base])
        if exponent == 0:
            return self.arrive(exactly(1))
        return product if exponent > 0 else self.apply("div", [exactly(1), product])

    def select(self, e: Apply, env: Mapping[str, Vector]) -> Vector:
        """A choice by options or a decided condition takes one arm; else the hull of both."""
        condition, left, right = e.args
        if is_option_condition(condition) and all(n.id in self.options for n in names(condition)):
            chosen = self.value(left if holds(condition, self.options) else right, env)
        else:
            test = self.value(condition, env)
            if isinstance(test, Enclosure) and test.low == test.high:
                chosen = self.value(left if test.low else right, env)
            else:
                chosen = self.hull(test, self.value(left, env), self.value(right, env))
        is_tensor = any(n.id in self.tensors for n in names(e))
        return self.arrive(chosen) if is_tensor else chosen

    def hull(self, test: Vector, left: Vector, right: Vector) -> Vector:
        """Element by element: the arm that the condition takes, or both where it is open."""
        lengths = [len(v) for v in (test, left, right) if isinstance(v, list)]
        if not lengths:
            assert isinstance(test, Enclosure)
            assert isinstance(left, Enclosure)
            assert isinstance(right, Enclosure)
            return _either(test, left, right)
        rows = zip(
            *(
                v if isinstance(v, list) else [v] * lengths[0]
                for v in (test, self.arrive(left), self.arrive(right))
            ),
            strict=True,
        )
        return [_either(*row) for row in rows]


def _either(test: Enclosure, left: Enclosure, right: Enclosure) -> Enclosure:
    if test.low == test.high:
        return left if test.low else right
    exact = left.value if test.value else right.value
    low, high = min(left.low, right.low), max(left.high, right.high)
    return Enclosure(exact, low, high, left.tensor or right.tensor)


def _tensor_names(spec: Spec) -> frozenset[str]:
    """Names that hold tensors, under any options: decided from the rule's text alone."""
    found = {"p", "g"} | {s.name for s in spec.states if not s.scalar}
    while True:
        more = {
            a.name
            for a in assignments(spec.rule)
            if any(n.id in found for n in names(a.value)) and a.name not in found
        }
        if not more:
            return frozenset(found)
        found |= more


def first_state(
    spec: Spec, options: Options, values: Mapping[str, float], n: int
) -> dict[str, Any]:
    """The state before the first step, from the spec."""
    state: dict[str, Any] = {}
    for s in spec.active_states(options):
        first = constant(s.init, values)
        state[s.name] = first if s.scalar else [first] * n
    return state


# Interval arithmetic: exact value, lower and upper end of each operation before rounding.

Triple = tuple[Any, Any, Any]


def _monotone(f: Callable[..., Any]) -> Callable[..., Triple]:
    """For functions that are monotone in every argument on the interval: look at the corners."""

    def enclose(*args: Enclosure) -> Triple:
        corners = [()]
        for a in args:
            corners = [(*c, end) for c in corners for end in {a.low, a.high}]  # type: ignore[misc]
        values = [f(*corner) for corner in corners]
        return f(*(a.value for a in args)), min(values), max(values)

    return enclose


def _mul(a: Enclosure, b: Enclosure) -> Triple:
    ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return a.value * b.value, min(ends), max(ends)


def _times(x: Any, y: Any) -> Any:
    return mp.mpf(0) if x == 0 or y == 0 else x * y


def _div(a: Enclosure, b: Enclosure) -> Triple:
    if b.value == 0:
        raise Undefined
    if b.low <= 0 <= b.high or mp.isinf(b.low) or mp.isinf(b.high):
        return a.value / b.value, -mp.inf, mp.inf
    ends = [x / y for x in (a.low, a.high) for y in (b.low, b.high)]
    return a.value / b.value, min(ends), max(ends)


def _sqrt(a: Enclosure) -> Triple:
    if a.value < 0:
        raise Undefined
    if a.low < 0:
        return mp.sqrt(a.value), -mp.inf, mp.inf
    return mp.sqrt(a.value), mp.sqrt(a.low), mp.sqrt(a.high)


def _log(a: Enclosure) -> Triple:
    if a.value <= 0:
        raise Undefined
    if a.low <= 0:
        return mp.log(a.value), -mp.inf, mp.inf
    return mp.log(a.value), mp.log(a.low), mp.log(a.high)


def _exp(a: Enclosure) -> Triple:
    def capped(x: Any) -> Any:
        return mp.inf if x > 1000 else mp.exp(max(x, -2000))

    return capped(a.value), capped(a.low), capped(a.high)


def _pow(a: Enclosure, b: Enclosure) -> Triple:
    if a.value == 0 and b.value < 0:
        raise Undefined
    exact = mp.power(a.value, b.value)
    if not isinstance(exact, mp.mpf):
        raise Undefined
    points = a.low == a.high and b.low == b.high
    if points:
        return exact, exact, exact
    if a.low <= 0:
        return exact, -mp.inf, mp.inf
    return _monotone(mp.power)(a, b)


def _abs(a: Enclosure) -> Triple:
    ends = (abs(a.low), abs(a.high))
    low = mp.mpf(0) if a.low <= 0 <= a.high else min(ends)
    return abs(a.value), low, max(ends)


def _clip(x: Enclosure, low: Enclosure, high: Enclosure) -> Triple:
    raised = Enclosure(*_INTERVALS["max"](x, low))
    return _INTERVALS["min"](raised, high)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Enclosure, Enclosure], Triple]:
    """A condition is 0 or 1; [0, 1] where rounding decides."""

    def enclose(a: Enclosure, b: Enclosure) -> Triple:
        exact = mp.mpf(test(a.value, b.value))
        points = a.low == a.high and b.low == b.high
        if points or a.high < b.low or b.high < a.low:
            return exact, mp.mpf(test(a.low, b.low)), mp.mpf(test(a.low, b.low))
        return exact, mp.mpf(0), mp.mpf(1)

    return enclose


def _sign(a: Enclosure) -> Triple:
    return mp.sign(a.value), mp.sign(a.low), mp.sign(a.high)


_INTERVALS: dict[str, Callable[..., Triple]] = {
    "add": lambda a, b: (a.value + b.value, a.low + b.low, a.high + b.high),
    "sub": lambda a, b: (a.value - b.value, a.low - b.high, a.high - b.low),
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "neg": lambda a: (-a.value, -a.high, -a.low),
    "sqrt": _sqrt,
    "abs": _abs,
    "sign": _sign,
    "min": lambda a, b: (min(a.value, b.value), min(a.low, b.low), min(a.high, b.high)),
    "max": lambda a, b: (max(a.value, b.value), max(a.low, b.low), max(a.high, b.high)),
    "exp": _exp,
    "log": _log,
    "clip": _clip,
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "gt": _compare(lambda a, b: a > b),
    "ge": _compare(lambda a, b: a >= b),
    "eq": _compare(lambda a, b: a == b),
    "ne": _compare(lambda a, b: a != b),
    "and": lambda a, b: (a.value * b.value, a.low * b.low, a.high * b.high),
    "or": lambda a, b: (max(a.value, b.value), max(a.low, b.low), max(a.high, b.high)),
    "not": lambda a: (1 - a.value, 1 - a.high, 1 - a.low),
}
