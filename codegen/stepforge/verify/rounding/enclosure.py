"""The formula in 50 digits, with an enclosure of every result that rounded arithmetic may give.

The text of the spec is evaluated, as `verify.reading` reads it, never the generated code, and
nothing of what generates it is asked. Each value is the exact one to 50 digits,
together with what the rule's operations may give when each of them is rounded: an interval, and
whether NaN is possible. Host scalars are rounded in float64, then once to the compute type; tensors
in the compute type; `stored` rounds to the type of the parameter, and so does what keeps values in
it. The bound thus comes from the expression itself; nothing is picked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.language.spec import Options, Spec
from stepforge.operations.formats import BY_NUMPY
from stepforge.operations.table import OPERATIONS
from stepforge.verify.reading import reader
from stepforge.verify.reading.tree import (
    Apply,
    Assign,
    Expression,
    Name,
    Number,
    Statement,
    holds,
    names,
    power,
    straight,
)
from stepforge.verify.rounding import intervals
from stepforge.verify.rounding.intervals import (
    LIMITS,
    Enclosure,
    Undefined,
    anything,
    either,
    exactly,
    mp,
)

Vector = Enclosure | list[Enclosure]
Elements = Sequence[float] | np.ndarray[Any, Any]


class Evaluator:
    """Evaluates the rule of a spec for some elements at once.

    Attributes:
        form: The compute type.
        narrow: The type of the parameter, if that is narrower.
        trace: The value of every statement of the last step that may run, in order; None where it
            did not run, or where rounding decides whether it did.
        may_fail: Whether a host scalar of the last step divides by zero, overflows, or has a root
            or logarithm of a negative number, perhaps by rounding; Python then raises.
        fails: The operation of a host scalar of the last step that surely does, or "".
    """

    def __init__(self, spec: Spec, options: Options, dtype: str) -> None:
        self.reading = reader.of(spec)
        self.options = options
        self.states = self.reading.active_states(options)
        form = BY_NUMPY[dtype]
        self.form = LIMITS[form.computed.numpy]
        self.narrow = None if form is form.computed else form
        self.trace: list[tuple[str, Vector | None]] = []
        self.may_fail = False
        self.fails = ""

    def step(
        self, p: Elements, g: Elements, state: Mapping[str, Any], t: int,
        values: Mapping[str, Any],
    ) -> dict[str, Vector]:  # fmt: skip
        """One step from exact inputs; the new `p` and states.

        Elements for which the formula is undefined are unknown.

        Args:
            p: Parameters.
            g: Their gradient.
            state: The state.
            t: Number of the step.
            values: What else a step is given by name: hyperparameters and inputs.
        """
        count = len(p)
        env: dict[str, Vector] = {
            "p": [exactly(x, True) for x in p],
            "g": [exactly(x, True) for x in g],
            "t": exactly(t),
        }
        for name, given in values.items():
            env[name] = exactly(given) if np.ndim(given) == 0 else [exactly(x, True) for x in given]
        for s in self.states:
            value = state[s.name]
            env[s.name] = exactly(value) if s.scalar else [exactly(x, True) for x in value]
        self.trace, self.may_fail, self.fails = [], False, ""
        self.block(self.reading.rule, env, count)
        kept = {"p", *(s.name for s in self.states if s.has_p_type)}
        names = ("p", *(s.name for s in self.states))
        return {name: self.stored(env[name]) if name in kept else env[name] for name in names}

    def factor(self, t: int, hyperparameters: Mapping[str, float]) -> Enclosure:
        """What a schedule gives in a step, from exact inputs."""
        env: dict[str, Vector] = {"t": exactly(t)}
        env |= {name: exactly(x) for name, x in hyperparameters.items()}
        self.trace, self.may_fail, self.fails = [], False, ""
        self.block(self.reading.rule, env, 0)
        found = env["factor"]
        assert isinstance(found, Enclosure)
        return found

    def block(self, statements: Iterable[Statement], env: dict[str, Vector], count: int) -> None:
        """Runs statements; of a block whose condition is open by rounding, both arms."""
        for statement in statements:
            for name in statement.before & env.keys():  # perhaps on the path that was not taken
                env[name] = self.arrive(env[name])
            if isinstance(statement, Assign):
                value = self.value(statement.value, env, statement.before)
                if not statement.on_host:
                    value = self.arrive(value)
                    value = value if isinstance(value, list) else [value] * count
                env[statement.name] = value
                self.trace.append((statement.name, value))
                continue
            choice = holds(statement.condition, self.options)
            test = self.condition(statement.condition, env, statement.before)
            assert isinstance(test, Enclosure)
            before, passed = dict(env), len(self.trace)
            arms = ((True, statement.body, env), (False, statement.orelse, before))
            for holds_there, arm, own in arms:
                if holds_there in (bool(test.low), bool(test.high)):
                    self.block(arm, own, count)
                elif choice is None:
                    self.trace += [(s.name, None) for s in straight(arm, self.options)]
            if not test.high:
                env.update(before)
            elif not test.low:
                for name, old in before.items():
                    if env.get(name, old) is not old:
                        env[name] = self.hull(test, env[name], old)
                del self.trace[passed:]
                self.trace += [(s.name, None) for s in straight([statement], self.options)]

    def condition(
        self, condition: Expression, env: Mapping[str, Vector], tensors: Set[str]
    ) -> Vector:
        """A condition, on options or on numbers."""
        choice = holds(condition, self.options)
        return self.value(condition, env, tensors) if choice is None else exactly(int(choice))

    def initial(self, p: Elements, values: Mapping[str, Any]) -> dict[str, Vector]:
        """The state before the first step; of a number for all elements, once."""
        hyperparameters = {name: values[name] for name in self.reading.defaults}
        env: dict[str, Vector] = {name: exactly(x) for name, x in hyperparameters.items()}
        env["p"] = [exactly(x, True) for x in p]
        self.may_fail = False
        found: dict[str, Vector] = {}
        for s in self.states:
            value = self.value(s.init, env, frozenset())
            found[s.name] = value if s.scalar else self.arrive(value)
            if s.has_p_type:
                found[s.name] = self.stored(found[s.name])
        return found

    def stored(self, value: Vector) -> Vector:
        """A tensor in the type of the parameter, which changes what is not narrower not at all."""
        if self.narrow is None:
            return value
        if isinstance(value, Enclosure):
            return intervals.stored(value, self.narrow)
        return [intervals.stored(e, self.narrow) for e in value]

    def arrive(self, value: Vector) -> Vector:
        """Rounds a host scalar to the compute type; tensors are there already."""
        if isinstance(value, list) or value.tensor:
            return value
        arrived = value
        if self.form.unit != LIMITS["float64"].unit:
            arrived = intervals.rounded(value, self.form)
        return replace(arrived, tensor=True)

    def value(self, e: Expression, env: Mapping[str, Vector], tensors: Set[str]) -> Vector:
        """The value of an expression: one enclosure, or one for every element."""
        if isinstance(e, Number):
            exact = mp.mpf(e.value.numerator) / e.value.denominator
            if float(exact) == exact:
                return exactly(exact)
            return intervals.rounded(Enclosure(exact, exact, exact), LIMITS["float64"])
        if isinstance(e, Name):
            return exactly(self.options[e.id]) if e.id in self.options else env[e.id]
        if e.op == "select":
            return self.select(e, env, tensors)
        if e.op == "pow":
            return self.power(e, env, tensors)
        return self.apply(e.op, [self.value(a, env, tensors) for a in e.args])

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
            r = operation.enclose(intervals, *args)
            unknown = mp.isnan(r.value) or mp.isnan(r.low) or mp.isnan(r.high)
        except Undefined:
            unknown = True
        if unknown:
            result = anything(mp.nan, tensor)
        else:
            nan = r.nan or (not operation.boolean and any(a.nan for a in args))
            result = Enclosure(r.value, r.low, r.high, nan, tensor)
        if operation.rounding == "stored":
            if self.narrow is not None:
                result = intervals.stored(result, self.narrow)
        elif operation.rounding != "exact" and not (form and _is_held(operation.rounding, result)):
            to = LIMITS[form] if form else self.form
            result = intervals.rounded(result, to, operation.error(tensor))
        if not tensor and operation.fallible:
            self.may_fail |= result.nan or bool(mp.isinf(result.low) or mp.isinf(result.high))
            if not mp.isfinite(result.value):
                self.fails = self.fails or f"`{operation.symbol}` of numbers of the host"
        return result

    def power(self, e: Apply, env: Mapping[str, Vector], tensors: Set[str]) -> Vector:
        """Roots by `sqrt`, small integer powers of tensors by repeated multiplication."""
        base = self.value(e.args[0], env, tensors)
        known = power(e.args[1], isinstance(base, list) or base.tensor)
        if known is None:
            return self.apply("pow", [base, self.value(e.args[1], env, tensors)])
        for _ in range(known.roots):
            base = self.apply("sqrt", [base])
        result = base if known.factors else self.arrive(exactly(1))
        for _ in range(known.factors - 1):
            result = self.apply("mul", [result, base])
        return self.apply("div", [exactly(1), result]) if known.inverse else result

    def select(self, e: Apply, env: Mapping[str, Vector], tensors: Set[str]) -> Vector:
        """A choice by options or a decided condition takes one arm; else the hull of both."""
        condition, left, right = e.args
        test = self.condition(condition, env, tensors)
        if isinstance(test, Enclosure) and test.low == test.high:
            chosen = self.value(left if test.low else right, env, tensors)
        else:
            arms = (self.value(arm, env, tensors) for arm in (left, right))
            chosen = self.hull(test, *arms)
        return chosen if tensors.isdisjoint(names(e)) else self.arrive(chosen)

    def hull(self, test: Vector, left: Vector, right: Vector) -> Vector:
        """Element by element: the arm that the condition takes, or both where it is open."""
        lengths = [len(v) for v in (test, left, right) if isinstance(v, list)]
        if not lengths:
            assert isinstance(test, Enclosure)
            assert isinstance(left, Enclosure)
            assert isinstance(right, Enclosure)
            return either(test, left, right)
        rows = zip(
            *(
                v if isinstance(v, list) else [v] * lengths[0]
                for v in (test, self.arrive(left), self.arrive(right))
            ),
            strict=True,
        )
        return [either(*row) for row in rows]


def _is_held(rounding: str, result: Enclosure) -> bool:
    """Whether correct rounding changes nothing: float64 has the only value that there may be.

    Whole numbers of steps stay exact so, and with them where a schedule changes.
    """
    is_exact = rounding == "nearest" and result.low == result.value == result.high
    return is_exact and bool(mp.isfinite(result.value)) and float(result.value) == result.value


def first_state(
    spec: Spec, options: Options, values: Mapping[str, Any], p: Elements
) -> dict[str, Any]:
    """The state before the first step of `p`, from the spec."""
    evaluator = Evaluator(spec, options, "float64")
    state: dict[str, Any] = {}
    for name, first in evaluator.initial(p, values).items():
        if isinstance(first, Enclosure):
            state[name] = [first.value] * len(p) if first.tensor else first.value
        else:
            state[name] = [element.value for element in first]
    return state
