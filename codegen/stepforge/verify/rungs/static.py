"""static-rules (R0): on the spec, and its first steps at the defaults.

A step that has no value, or that leaves a state outside of its domain, is a fault. One that does
not go downhill is a warning: a rule may wait, start from elsewhere, or climb on purpose. So is a
domain of which it is not shown that every step keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stepforge.language.reader import from_source
from stepforge.language.spec import Spec
from stepforge.verify.cases.trace import last_assignment, spec_line
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.rounding.enclosure import Evaluator, first_state
from stepforge.verify.rounding.intervals import mp
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import evaluation, invariants, rule

_GRADIENTS = (0.0, 1.0, -1.0, 1e-3, -1e-3, 50.0)
_STEPS = 3
_RATES = (1e-3, 1e-6, 1e-2, 0.1, 1.0, -1e-3, -1.0)
"""Learning rates to look in which direction the rule goes, where the default is zero."""


class _Fault(Exception):
    """A step that no spec can mean."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


def check(task: Task) -> Verdict:
    """Every value is a number, states are inside their domains; a warning if it is not downhill."""
    spec = task.spec
    defaults = _defaults(spec)
    try:
        compared, moved = _first_steps(task, defaults)
        rate = spec.roles.get("learning_rate", "")
        if defaults.get(rate) == 0:
            moved = next((_first_steps(task, v)[1] for v in _moving(spec, defaults, rate)), [])
    except _Fault as fault:
        return fault.verdict
    warnings = from_source(spec.source, None)[1]
    detail = "; ".join(f"{w.code} {w.message}" for w in warnings) or "no findings"
    found = [*(_direction(task, moved) if moved else ()), *_assumed(task)]
    return task.verdict(Status.TESTED, detail, compared, seed=None, warnings=tuple(found))


def _defaults(spec: Spec) -> dict[str, Any]:
    """Hyperparameters at their defaults, and of every input a number that it may be."""
    given: dict[str, Any] = {number.name: number.default for number in spec.numbers}
    tensors = (i for i in spec.inputs if not i.scalar)
    return given | {i.name: [i.default] * len(_GRADIENTS) for i in tensors}


def _assumed(task: Task) -> Iterator[str]:
    """The domains that other rungs take for granted without a reason."""
    texts = {s.name: s.domain_text for s in task.spec.states}
    for name in invariants.assumed(task.spec, task.options):
        yield f"that `{name}` keeps its domain `{texts[name]}` in every step is assumed, not shown"


def _moving(spec: Spec, defaults: dict[str, Any], rate: str) -> Iterator[dict[str, Any]]:
    """The defaults with a learning rate that is not zero."""
    domain = next(h.domain for h in spec.hyperparameters if h.name == rate)
    inside = [value for value in (*_RATES, domain.low / 2, domain.high / 2) if value in domain]
    yield from ({**defaults, rate: value} for value in inside if value)


def _first_steps(task: Task, values: Mapping[str, Any]) -> tuple[int, list[int]]:
    """The first steps from `p = 0`: how many values there are, and where every element went first.

    Raises:
        _Fault: One of them has no value, or leaves its domain.
    """
    spec, options, count = task.spec, task.options, len(_GRADIENTS)
    domains = {s.name: s.domain for s in spec.states}
    p: list[Any] = [0.0] * count
    state = first_state(spec, options, values, p)
    evaluator = Evaluator(spec, options, "float64")
    moved = [0] * count
    compared = 0
    for t in range(1, _STEPS + 1):
        new = evaluator.step(p, _GRADIENTS, state, t, values)
        if evaluator.fails:
            reason = f"the step has no value: {evaluator.fails} is not finite"
            raise _refuted(task, reason, ("p", 0, t, p, state), values, "a number", "an error")
        found = {k: [e.value for e in (v if isinstance(v, list) else [v])] for k, v in new.items()}
        if any(value != value for numbers in found.values() for value in numbers):
            for name, numbers in _rounded(task, p, state, t, values).items():
                pairs = zip(found[name], numbers, strict=True)
                found[name] = [mp.mpf(float(r)) if e != e else e for e, r in pairs]
        for name, numbers in found.items():
            compared += len(numbers)
            for index, value in enumerate(numbers):
                where = (name, index, t, p, state)
                if name in domains and value == value and value not in domains[name]:
                    reason, got = f"`{name}` leaves its declared domain", str(float(value))
                    raise _refuted(task, reason, where, values, "inside the domain", got)
        for name, numbers in found.items():
            for index, value in enumerate(numbers):
                if value != value:
                    reason = f"`{name}` has no value, such as 0/0 or a negative root"
                    where = (name, index, t, p, state)
                    raise _refuted(task, reason, where, values, "a number", "NaN")
        for index, (after, before) in enumerate(zip(found["p"], p, strict=True)):
            moved[index] = moved[index] or _sign(after - before)
        p = found.pop("p")
        state = {k: v if isinstance(new[k], list) else v[0] for k, v in found.items()}
    return compared, moved


def _rounded(
    task: Task, p: list[Any], state: Mapping[str, Any], t: int, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The same step in IEEE arithmetic, where `log(0)` is minus infinity and `1/inf` is zero."""
    spec, options = task.spec, task.options
    active = spec.active_states(options)
    tensors = (*spec.given, *(s.name for s in active if not s.scalar))
    storage = dict.fromkeys(tensors, "f64")
    expected = rule.expected(spec, options, storage)
    leaves = {"p": p, "g": _GRADIENTS, "t": t, **values, **state}
    arrays = {name: np.asarray(value, np.float64) for name, value in leaves.items()}
    with np.errstate(all="ignore"):
        stores = {k: evaluation.evaluate(v, arrays) for k, v in expected.stores.items()}
        scalars = {k: evaluation.evaluate(v, arrays) for k, v in expected.scalars.items()}
    count = len(_GRADIENTS)
    stored = {name: np.broadcast_to(value, (count,)) for name, value in stores.items()}
    return {**stored, **{name: np.reshape(value, (1,)) for name, value in scalars.items()}}


def _direction(task: Task, moved: list[int]) -> tuple[str, ...]:
    """Why the rule does not seem to go downhill, or uphill with the option that asks for it."""
    uphill = bool(task.options.get(task.spec.roles.get("maximize", "")))
    way = "uphill" if uphill else "downhill"
    still, wrong = [], []
    for gradient, sign in zip(_GRADIENTS, moved, strict=True):
        if gradient and not sign:
            still.append(f"{gradient:g}")
        elif gradient and sign != _sign(gradient) * (1 if uphill else -1):
            wrong.append(f"{gradient:g}")
    found = []
    if wrong:
        at = ", ".join(wrong)
        found.append(f"`p` does not go {way} at first: it moves the other way for g = {at}")
    if still:
        at = ", ".join(still)
        found.append(f"`p` stays at 0 for the first {_STEPS} steps for g = {at}")
    return tuple(found)


def _sign(x: Any) -> int:
    return int(math.copysign(1, x)) if x else 0


def _refuted(
    task: Task, reason: str, where: tuple[str, int, int, Any, Any], values: Mapping[str, Any],
    expected: str, got: str,
) -> _Fault:  # fmt: skip
    name, index, t, p, state = where
    defaults = {h.name: h.default for h in task.spec.hyperparameters}
    values = {k: v[index] if isinstance(v, list) else v for k, v in values.items()}
    given = {"t": str(t), "g": repr(_GRADIENTS[index]), "p": repr(float(p[index]))}
    given |= {k: repr(v) for k, v in values.items() if v != defaults.get(k)}
    given |= {k: repr(float(v[index] if isinstance(v, list) else v)) for k, v in state.items()}
    line = spec_line(task.spec, task.options, last_assignment(task.spec, task.options, name))
    found = Counterexample(name, "exact", 1, 0, t, given, expected, got, line)
    detail = f"at the default hyperparameters, {reason}"
    return _Fault(task.verdict(Status.REFUTED, detail, 0, found, seed=None))
