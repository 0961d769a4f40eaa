"""static-rules (R0): on the spec, and its first steps at the defaults."""

from __future__ import annotations

import math
from typing import Any

from stepforge.language.reader import from_source
from stepforge.verify.cases.trace import last_assignment, spec_line
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.rounding.enclosure import Evaluator, first_state
from stepforge.verify.rungs.task import Task

_GRADIENTS = (0.0, 1.0, -1.0, 1e-3, -1e-3, 50.0)
_STEPS = 3


def check(task: Task) -> Verdict:
    """No 0/0 at the defaults, states inside their domains, and a first move downhill."""
    spec, options = task.spec, task.options
    values = {h.name: h.default for h in spec.hyperparameters}
    count = len(_GRADIENTS)
    p: list[Any] = [0.0] * count
    state = first_state(spec, options, values, count)
    evaluator = Evaluator(spec, options, "float64")
    moved = [0] * count
    compared = 0
    for t in range(1, _STEPS + 1):
        before = dict(state)
        new = evaluator.step(p, _GRADIENTS, state, t, values)
        for name, vector in new.items():
            domain = next((s.domain for s in spec.states if s.name == name), None)
            for index, e in enumerate(_list(vector)):
                compared += 1
                where = (name, index, t, p, before)
                if domain is not None and e.value == e.value and e.value not in domain:
                    reason = "leaves its declared domain"
                    got = str(float(e.value))
                    return _refuted(task, reason, where, "inside the domain", got)
        for name, vector in new.items():
            for index, e in enumerate(_list(vector)):
                if e.value != e.value:
                    reason = "has no value at the default hyperparameters (0/0 or a negative root)"
                    where = (name, index, t, p, before)
                    return _refuted(task, reason, where, "a number", "NaN")
        for index, (e, old) in enumerate(zip(_list(new["p"]), p, strict=True)):
            moved[index] = moved[index] or _sign(e.value - old)
        p = [e.value for e in _list(new["p"])]
        state = {
            k: [e.value for e in v] if isinstance(v, list) else v.value
            for k, v in new.items()
            if k != "p"
        }
    uphill = bool(options.get(spec.roles.get("maximize", "")))
    rate = values.get(spec.roles.get("learning_rate", ""), 1)
    for index, gradient in enumerate(_GRADIENTS):
        wanted = _sign(gradient) * (1 if uphill else -1)
        if gradient and rate and moved[index] != wanted:
            direction = "ascend" if uphill else "descend"
            got = {0: "it does not move"}.get(moved[index], "it moves the other way")
            reason = f"does not {direction}: the gradient is {gradient:g} and {got}"
            where = ("p", index, 1, [0.0] * count, first_state(spec, options, values, count))
            return _refuted(task, reason, where, direction, got)
    warnings = from_source(spec.source, None)[1]
    detail = "; ".join(f"{w.code} {w.message}" for w in warnings) or "no findings"
    return task.verdict(Status.TESTED, detail, compared, seed=None)


def _list(vector: Any) -> list[Any]:
    return vector if isinstance(vector, list) else [vector]


def _sign(x: Any) -> int:
    return int(math.copysign(1, x)) if x else 0


def _refuted(
    task: Task, reason: str, where: tuple[str, int, int, Any, Any], expected: str, got: str
) -> Verdict:
    name, index, t, p, state = where
    given = {"t": str(t), "g": repr(_GRADIENTS[index]), "p": repr(float(p[index]))}
    given |= {k: repr(float(v[index] if isinstance(v, list) else v)) for k, v in state.items()}
    line = spec_line(task.spec, task.options, last_assignment(task.spec, task.options, name))
    found = Counterexample(name, "exact", 1, 0, t, given, expected, got, line)
    return task.verdict(Status.REFUTED, f"`{name}` {reason}", 0, found, seed=None)
