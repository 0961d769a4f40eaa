"""The formula in 50 digits, with an enclosure of every result that rounded arithmetic may give.

The parsed rule is evaluated, never the generated code. Each value is the exact one to 50 digits,
together with what the rule's operations may give when each of them is rounded: an interval, and
whether NaN is possible. Host scalars are rounded in float64, then once to the compute type; tensors
in the compute type. The bound thus comes from the expression itself; nothing is picked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import mpmath
import numpy as np

from stepforge.language import kinds
from stepforge.language.expression import Apply, Assign, Expression, Name, Number, Statement, names
from stepforge.language.kinds import Kind, Kinds
from stepforge.language.literals import literal
from stepforge.language.spec import Options, Spec, constant, holds, is_option_condition, straight
from stepforge.operations.powers import power
from stepforge.operations.table import OPERATIONS

DIGITS = 50
mp = mpmath.MPContext()
mp.dps = DIGITS
_ZERO = mp.mpf(0)
_SLACK = mp.mpf(1) + mp.mpf(2) ** -40  # covers the rounding of the 50-digit arithmetic itself


@dataclass(frozen=True, slots=True, eq=False)
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


_FALLIBLE = ("div", "pow", "sqrt", "log", "exp")
"""The operations that raise on Python's floats instead of giving an infinity or NaN."""


class Undefined(Exception):
    """The formula has no value here: 0/0, or the square root of a negative number."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """An exact value and what its rounding may be; conditions are 0 and 1.

    Attributes:
        value: The exact value; NaN where the formula has none.
        low: Lower end of the interval of roundings.
        high: Upper end.
        nan: Whether the rounded result may be NaN: `sqrt(x - y)` of rounded equals, for example.
        tensor: Whether it is in the compute type, no host scalar in float64.
    """

    value: Any
    low: Any
    high: Any
    nan: bool = False
    tensor: bool = False

    def __contains__(self, number: float) -> bool:
        if number != number:
            return self.nan
        return bool(self.low <= number <= self.high)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known about the rounded result."""
        return self.nan and bool(self.low == -mp.inf and self.high == mp.inf)


def exactly(value: Any, tensor: bool = False) -> Enclosure:
    """A number without error."""
    exact = value if isinstance(value, mp.mpf) else mp.mpf(float(value))
    return Enclosure(exact, exact, exact, False, tensor)


def _anything(value: Any, tensor: bool = False) -> Enclosure:
    return Enclosure(value, -mp.inf, mp.inf, True, tensor)


def _rounded(e: Enclosure, form: Format, ulps: int = 0) -> Enclosure:
    """The interval after one rounding; `ulps` for operations that are not correctly rounded.

    An error of a few units in the last place is relative above the subnormal numbers and absolute
    among them. No rounding changes a sign.
    """
    relative, absolute = _errors(form, max(1, 2 * ulps))
    low = e.low - abs(e.low) * relative - absolute
    high = e.high + abs(e.high) * relative + absolute
    if low < -form.largest:
        low = -mp.inf
    if high > form.largest:
        high = mp.inf
    if e.low >= _ZERO > low:
        low = _ZERO
    if e.high <= _ZERO < high:
        high = _ZERO
    return Enclosure(e.value, low, high, e.nan, e.tensor)


@cache
def _errors(form: Format, count: int) -> tuple[Any, Any]:
    """The largest relative error, and the largest absolute one near zero, of so many roundings."""
    return form.unit * _SLACK * count, form.tiny * count


Vector = Enclosure | list[Enclosure]
Elements = Sequence[float] | np.ndarray[Any, Any]


class Evaluator:
    """Evaluates the rule of a spec for some elements at once.

    Attributes:
        form: The compute type.
        trace: The value of every statement of the last step that may run, in order; None where it
            did not run, or where rounding decides whether it did.
        may_fail: Whether a host scalar of the last step divides by zero, overflows, or has a root
            or logarithm of a negative number, perhaps by rounding; Python then raises.
    """

    def __init__(self, spec: Spec, options: Options, dtype: str) -> None:
        self.spec = spec
        self.options = options
        self.form = FORMATS[dtype]
        self.tensors = kinds.fixed(spec)
        self.known = {id(statement): known for statement, known in kinds.walk(spec)}
        self.trace: list[tuple[str, Vector | None]] = []
        self.may_fail = False

    def step(
        self, p: Elements, g: Elements, state: Mapping[str, Any], t: int,
        hyperparameters: Mapping[str, float],
    ) -> dict[str, Vector]:  # fmt: skip
        """One step from exact inputs; the new `p` and states.

        Elements for which the formula is undefined are unknown."""
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
        self.trace, self.may_fail = [], False
        self.block(self.spec.rule, env, count)
        return {
            name: env[name]
            for name in ("p", *(s.name for s in self.spec.active_states(self.options)))
        }

    def block(self, statements: Iterable[Statement], env: dict[str, Vector], count: int) -> None:
        """Runs statements; of a block whose condition is open by rounding, both arms."""
        for statement in statements:
            known = self.known[id(statement)]
            for name, old in env.items():
                if known[name] is Kind.TENSOR:  # perhaps on the path that was not taken
                    env[name] = self.arrive(old)
            if isinstance(statement, Assign):
                value = self.value(statement.value, env, known)
                if kinds.after(statement, known, self.tensors) is Kind.TENSOR:
                    value = self.arrive(value)
                    value = value if isinstance(value, list) else [value] * count
                env[statement.name] = value
                self.trace.append((statement.name, value))
                continue
            test = self.decided(statement.condition, env, known)
            before, passed = dict(env), len(self.trace)
            arms = ((True, statement.body, env), (False, statement.orelse, before))
            for holds_there, arm, own in arms:
                if holds_there in (bool(test.low), bool(test.high)):
                    self.block(arm, own, count)
                elif not is_option_condition(statement.condition):
                    self.trace += [(s.name, None) for s in straight(arm, self.options)]
            if not test.high:
                env.update(before)
            elif not test.low:
                for name, old in before.items():
                    if env.get(name, old) is not old:
                        env[name] = self.hull(test, env[name], old)
                del self.trace[passed:]
                self.trace += [(s.name, None) for s in straight([statement], self.options)]

    def decided(self, condition: Expression, env: Mapping[str, Vector], known: Kinds) -> Enclosure:
        """The condition of a block, on options or on host scalars."""
        if is_option_condition(condition) and all(n.id in self.options for n in names(condition)):
            return exactly(int(holds(condition, self.options)))
        test = self.value(condition, env, known)
        assert isinstance(test, Enclosure)
        return test

    def initial(self, hyperparameters: Mapping[str, float]) -> dict[str, Vector]:
        """The state before the first step; what holds for one element holds for all."""
        env: dict[str, Vector] = {name: exactly(x) for name, x in hyperparameters.items()}
        self.may_fail = False
        found: dict[str, Vector] = {}
        for s in self.spec.active_states(self.options):
            value = self.value(s.init, env, kinds.declared(self.spec))
            found[s.name] = value if s.scalar else self.arrive(value)
        return found

    def arrive(self, value: Vector) -> Vector:
        """Rounds a host scalar to the compute type; tensors are there already."""
        if isinstance(value, list) or value.tensor:
            return value
        arrived = value
        if self.form.unit != FORMATS["float64"].unit:
            arrived = _rounded(value, self.form)
        return replace(arrived, tensor=True)

    def value(self, e: Expression, env: Mapping[str, Vector], known: Kinds) -> Vector:
        """The value of an expression: one enclosure, or one for every element."""
        if isinstance(e, Number):
            exact = mp.mpf(e.value.numerator) / e.value.denominator
            if float(exact) == exact:
                return exactly(exact)
            return _rounded(Enclosure(exact, exact, exact), FORMATS["float64"])
        if isinstance(e, Name):
            return env[e.id]
        if e.op == "select":
            return self.select(e, env, known)
        if e.op == "pow":
            return self.power(e, env, known)
        return self.apply(e.op, [self.value(a, env, known) for a in e.args])

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
        tensor, operation = form is None, OPERATIONS[op]
        try:
            r = _INTERVALS[op](*args)
            unknown = mp.isnan(r.value) or mp.isnan(r.low) or mp.isnan(r.high)
        except Undefined:
            unknown = True
        if unknown:
            result = _anything(mp.nan, tensor)
        else:
            nan = r.nan or (not operation.boolean and any(a.nan for a in args))
            result = Enclosure(r.value, r.low, r.high, nan, tensor)
        if operation.rounding != "exact":
            result = _rounded(result, FORMATS[form] if form else self.form, operation.ulps)
        if not tensor and op in _FALLIBLE:
            self.may_fail |= result.nan or bool(mp.isinf(result.low) or mp.isinf(result.high))
        return result

    def power(self, e: Apply, env: Mapping[str, Vector], known: Kinds) -> Vector:
        """Roots by `sqrt`, integer powers of tensors by repeated multiplication."""
        base, exponent = self.value(e.args[0], env, known), literal(e.args[1])
        tensor = isinstance(base, list) or base.tensor
        if exponent is not None and exponent.denominator == 2 and abs(exponent.numerator) == 1:
            root = self.apply("sqrt", [base])
            return root if exponent > 0 else self.apply("div", [exactly(1), root])
        if not tensor or exponent is None:
            return self.apply("pow", [base, self.value(e.args[1], env, known)])
        product = base
        for _ in range(abs(int(exponent)) - 1):
            product = self.apply("mul", [product, base])
        if exponent == 0:
            return self.arrive(exactly(1))
        return product if exponent > 0 else self.apply("div", [exactly(1), product])

    def select(self, e: Apply, env: Mapping[str, Vector], known: Kinds) -> Vector:
        """A choice by options or a decided condition takes one arm; else the hull of both."""
        condition, left, right = e.args
        if is_option_condition(condition) and all(n.id in self.options for n in names(condition)):
            chosen = self.value(left if holds(condition, self.options) else right, env, known)
        else:
            test = self.value(condition, env, known)
            if isinstance(test, Enclosure) and test.low == test.high:
                chosen = self.value(left if test.low else right, env, known)
            else:
                arms = (self.value(arm, env, known) for arm in (left, right))
                chosen = self.hull(test, *arms)
        return self.arrive(chosen) if kinds.kind(e, known) is Kind.TENSOR else chosen

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
    return Enclosure(exact, low, high, left.nan or right.nan, left.tensor or right.tensor)


def first_state(
    spec: Spec, options: Options, values: Mapping[str, float], n: int
) -> dict[str, Any]:
    """The state before the first step, from the spec."""
    state: dict[str, Any] = {}
    for s in spec.active_states(options):
        first = constant(s.init, values)
        state[s.name] = first if s.scalar else [first] * n
    return state


# Interval arithmetic: the exact value and the interval of each operation before its own rounding.
# A NaN that comes in goes out; that is added above. Here is what makes new ones.


def _monotone(f: Callable[..., Any]) -> Callable[..., Enclosure]:
    """For functions that are monotone in every argument on the interval: look at the corners."""

    def enclose(*args: Enclosure) -> Enclosure:
        corners = [f(*ends) for ends in itertools.product(*((a.low, a.high) for a in args))]
        return Enclosure(f(*(a.value for a in args)), min(corners), max(corners))

    return enclose


def _add(a: Enclosure, b: Enclosure) -> Enclosure:
    opposite = (a.low == -mp.inf and b.high == mp.inf) or (a.high == mp.inf and b.low == -mp.inf)
    return Enclosure(a.value + b.value, a.low + b.low, a.high + b.high, bool(opposite))


def _neg(a: Enclosure) -> Enclosure:
    return Enclosure(-a.value, -a.high, -a.low)


def _mul(a: Enclosure, b: Enclosure) -> Enclosure:
    ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    nan = (_has_zero(a) and _infinite(b)) or (_infinite(a) and _has_zero(b))
    return Enclosure(a.value * b.value, min(ends), max(ends), nan)


def _times(x: Any, y: Any) -> Any:
    return _ZERO if x == 0 or y == 0 else x * y


def _has_zero(a: Enclosure) -> bool:
    return bool(a.low <= 0 <= a.high)


def _infinite(a: Enclosure) -> bool:
    return bool(mp.isinf(a.low) or mp.isinf(a.high))


def _div(a: Enclosure, b: Enclosure) -> Enclosure:
    if b.value == 0:
        raise Undefined
    if _has_zero(b) or _infinite(b):
        return _anything(a.value / b.value)
    ends = [x / y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Enclosure(a.value / b.value, min(ends), max(ends))


def _sqrt(a: Enclosure) -> Enclosure:
    if a.value < 0:
        raise Undefined
    return Enclosure(mp.sqrt(a.value), mp.sqrt(max(a.low, _ZERO)), mp.sqrt(a.high), bool(a.low < 0))


def _log(a: Enclosure) -> Enclosure:
    if a.value <= 0:
        raise Undefined
    low = mp.log(a.low) if a.low > 0 else -mp.inf
    return Enclosure(mp.log(a.value), low, mp.log(a.high), bool(a.low < 0))


def _exp(x: Any) -> Any:
    return mp.inf if x > 1000 else mp.exp(max(x, -2000))


def _pow(a: Enclosure, b: Enclosure) -> Enclosure:
    if a.value == 0 and b.value < 0:
        raise Undefined
    exact = power(mp, a.value, b.value)
    if not isinstance(exact, mp.mpf):
        raise Undefined
    if a.low == a.high and b.low == b.high:
        return Enclosure(exact, exact, exact)
    if a.low <= 0:
        return _anything(exact)
    return _monotone(partial(power, mp))(a, b)


def _abs(a: Enclosure) -> Enclosure:
    ends = (abs(a.low), abs(a.high))
    return Enclosure(abs(a.value), _ZERO if _has_zero(a) else min(ends), max(ends))


def _clip(x: Enclosure, low: Enclosure, high: Enclosure) -> Enclosure:
    return _INTERVALS["min"](_INTERVALS["max"](x, low), high)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Enclosure, Enclosure], Enclosure]:
    """A condition is 0 or 1; [0, 1] where rounding decides."""

    def enclose(a: Enclosure, b: Enclosure) -> Enclosure:
        points = a.low == a.high and b.low == b.high
        outcomes = {False, True}
        if points or a.high < b.low or b.high < a.low:
            outcomes = {test(a.low, b.low)}
        if a.nan or b.nan:
            outcomes.add(test(mp.nan, b.value))
        return Enclosure(mp.mpf(test(a.value, b.value)), min(outcomes), max(outcomes))

    return enclose


_INTERVALS: dict[str, Callable[..., Enclosure]] = {
    "add": _add,
    "sub": lambda a, b: _add(a, _neg(b)),
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "neg": _neg,
    "sqrt": _sqrt,
    "abs": _abs,
    "sign": _monotone(mp.sign),
    "min": _monotone(min),
    "max": _monotone(max),
    "exp": _monotone(_exp),
    "log": _log,
    "clip": _clip,
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "gt": _compare(lambda a, b: a > b),
    "ge": _compare(lambda a, b: a >= b),
    "eq": _compare(lambda a, b: a == b),
    "ne": _compare(lambda a, b: a != b),
    "and": _monotone(min),
    "or": _monotone(max),
    "not": lambda a: Enclosure(1 - a.value, 1 - a.high, 1 - a.low),
}
