"""The formula in 50 digits, with an enclosure of every result that rounded arithmetic may give.

The parsed rule is evaluated, never the generated code. Each value is the exact one to 50 digits,
together with what the rule's operations may give when each of them is rounded: an interval, and
whether NaN is possible. Host scalars are rounded in float64, then once to the compute type; tensors
in the compute type. The bound thus comes from the expression itself; nothing is picked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.language import kinds
from stepforge.language.expression import Apply, Assign, Expression, Name, Number, Statement, names
from stepforge.language.kinds import Kind, Kinds
from stepforge.language.literals import literal
from stepforge.language.spec import Options, Spec, constant, holds, is_option_condition, straight
from stepforge.operations.powers import MAX_PRODUCT
from stepforge.operations.table import OPERATIONS
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
        trace: The value of every statement of the last step that may run, in order; None where it
            did not run, or where rounding decides whether it did.
        may_fail: Whether a host scalar of the last step divides by zero, overflows, or has a root
            or logarithm of a negative number, perhaps by rounding; Python then raises.
        fails: The operation of a host scalar of the last step that surely does, or "".
    """

    def __init__(self, spec: Spec, options: Options, dtype: str) -> None:
        self.spec = spec
        self.options = options
        self.form = LIMITS[dtype]
        self.tensors = kinds.fixed(spec)
        self.known = {id(statement): known for statement, known in kinds.walk(spec)}
        self.trace: list[tuple[str, Vector | None]] = []
        self.may_fail = False
        self.fails = ""

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
        self.trace, self.may_fail, self.fails = [], False, ""
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
        if self.form.unit != LIMITS["float64"].unit:
            arrived = intervals.rounded(value, self.form)
        return replace(arrived, tensor=True)

    def value(self, e: Expression, env: Mapping[str, Vector], known: Kinds) -> Vector:
        """The value of an expression: one enclosure, or one for every element."""
        if isinstance(e, Number):
            exact = mp.mpf(e.value.numerator) / e.value.denominator
            if float(exact) == exact:
                return exactly(exact)
            return intervals.rounded(Enclosure(exact, exact, exact), LIMITS["float64"])
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
            r = operation.enclose(intervals, *args)
            unknown = mp.isnan(r.value) or mp.isnan(r.low) or mp.isnan(r.high)
        except Undefined:
            unknown = True
        if unknown:
            result = anything(mp.nan, tensor)
        else:
            nan = r.nan or (not operation.boolean and any(a.nan for a in args))
            result = Enclosure(r.value, r.low, r.high, nan, tensor)
        if operation.rounding != "exact":
            to = LIMITS[form] if form else self.form
            result = intervals.rounded(result, to, operation.error(tensor))
        if not tensor and operation.fallible:
            self.may_fail |= result.nan or bool(mp.isinf(result.low) or mp.isinf(result.high))
            if not mp.isfinite(result.value):
                self.fails = self.fails or f"`{operation.symbol}` of numbers of the host"
        return result

    def power(self, e: Apply, env: Mapping[str, Vector], known: Kinds) -> Vector:
        """Roots by `sqrt`, small integer powers of tensors by repeated multiplication."""
        base, exponent = self.value(e.args[0], env, known), literal(e.args[1])
        tensor = isinstance(base, list) or base.tensor
        if exponent is not None and abs(exponent.numerator) == 1 and exponent.denominator in (2, 4):
            root = self.apply("sqrt", [base])
            if exponent.denominator == 4:
                root = self.apply("sqrt", [root])
            return root if exponent > 0 else self.apply("div", [exactly(1), root])
        is_product = exponent is not None and exponent.denominator == 1
        if not tensor or exponent is None or not is_product or abs(exponent) > MAX_PRODUCT:
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
            return either(test, left, right)
        rows = zip(
            *(
                v if isinstance(v, list) else [v] * lengths[0]
                for v in (test, self.arrive(left), self.arrive(right))
            ),
            strict=True,
        )
        return [either(*row) for row in rows]


def first_state(
    spec: Spec, options: Options, values: Mapping[str, float], n: int
) -> dict[str, Any]:
    """The state before the first step, from the spec."""
    state: dict[str, Any] = {}
    for s in spec.active_states(options):
        first = constant(s.init, values)
        state[s.name] = first if s.scalar else [first] * n
    return state
