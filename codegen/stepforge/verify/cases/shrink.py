"""From a difference to the smallest input that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.verify.cases.bench import Bench, Case, Mismatch, is_tensor, narrowed

_TRIALS = 150


class _Trials:
    """Runs cases in freshly imported files, within a budget."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.left = _TRIALS

    def differs(self, case: Case, like: Mismatch | None = None) -> Mismatch | None:
        """The difference that a case shows; None if it is not like the known one."""
        if self.left <= 0:
            return None
        self.left -= 1
        found = self.bench.again().run(case)
        if found is None or like is None:
            return found
        same = (found.kind, found.tensor) == (like.kind, like.tensor)
        return found if same and (found.kind != "failure" or found.got == like.got) else None


def smallest(bench: Bench, case: Case, mismatch: Mismatch) -> tuple[Case, Mismatch]:
    """Fewer steps, fewer elements, simpler numbers, as long as the two files differ."""
    trials = _Trials(bench)
    case = replace(case, steps=case.steps[: mismatch.step + 1])
    for smaller in _reductions(bench, case, mismatch):
        found = trials.differs(smaller)
        if found:
            case, mismatch = smaller, found
            break
    for name in ("t", *case.steps[0].values, "p", "g", *(case.state or {})):
        case, mismatch = _simplified(trials, case, mismatch, name)
    return case, mismatch


def elements(case: Case, part: slice) -> Case:
    """Some of the elements of a case, in one dimension."""
    state = case.state and {
        k: v.reshape(-1)[part] if is_tensor(v) else v for k, v in case.state.items()
    }

    def parts(values: dict[str, Any]) -> dict[str, Any]:
        return {k: v.reshape(-1)[part] if is_tensor(v) else v for k, v in values.items()}

    steps = tuple(
        replace(step, g=step.g.reshape(-1)[part], values=parts(step.values)) for step in case.steps
    )
    return replace(case, p=case.p.reshape(-1)[part], state=state, steps=steps)


def _reductions(bench: Bench, case: Case, mismatch: Mismatch) -> Iterator[Case]:
    """Candidates, smallest first."""
    single, at, n = narrowed(case, mismatch), mismatch.element, case.p.size
    sizes = [k for k in (1, 2, bench.block - 1, bench.block, bench.block + 1) if 0 < k <= n]
    if 0 <= at < n:
        yield elements(single, slice(at, at + 1))
        for count in (2, 3, len(case.steps)):
            if count <= len(case.steps):
                yield elements(_last(case, count), slice(at, at + 1))
    for k in sizes:
        yield elements(single, slice(0, k))
    yield single
    for k in sizes:
        yield elements(case, slice(0, k))
    # Only after other calls: the launcher remembers something of the first one.
    if bench.first is not None:
        step = single.steps[0]
        numbers = {k: v for k, v in bench.first.values.items() if not is_tensor(v)}
        both = replace(single, steps=(replace(step, values={**step.values, **numbers}), step))
        yield from (elements(both, slice(0, k)) for k in sizes)


def _last(case: Case, count: int) -> Case:
    """The first steps of a trajectory, whose last one is the step that differs."""
    if count == len(case.steps):
        return case
    return replace(case, steps=(*case.steps[: count - 1], case.steps[-1]))


def _simplified(
    trials: _Trials, case: Case, mismatch: Mismatch, name: str
) -> tuple[Case, Mismatch]:
    """The case with the simplest value of one input that still shows the difference."""
    history = values_of(case, name)
    if not is_tensor(history[0]) and len(set(history)) > 1:
        return case, mismatch  # a trajectory is about what changes between its steps
    array = np.asarray(history[-1]).reshape(-1)
    if array.size == 0:
        return case, mismatch
    old = float(array[max(0, min(mismatch.element, array.size - 1))])
    simple = [1, 2] if name == "t" else [1.0, 0.5, 0.0, 0.25]
    if is_tensor(history[-1]):
        simple = [0.0, 1.0, 2.0, -1.0]
    rounded = [float(f"{old:.{digits}g}") for digits in (1, 2, 4)] if name != "t" else []
    spec = trials.bench.spec
    domains = spec.domains
    for value in dict.fromkeys([*simple, *rounded, old]):
        if (array == value).all():
            break
        if name in domains and value not in domains[name]:
            continue
        candidate = _with(case, name, value)
        if not all(spec.allows(step.values) for step in candidate.steps):
            continue
        found = trials.differs(candidate, like=mismatch)
        if found:
            return candidate, found
    return case, mismatch


def values_of(case: Case, name: str) -> list[Any]:
    """The values of an input in every step, or the one before the first step."""
    if name == "t":
        return [case.steps[0].t]
    if name == "g":
        return [step.g for step in case.steps]
    if name in case.steps[0].values:
        return [step.values[name] for step in case.steps]
    return [case.p if name == "p" else (case.state or {})[name]]


def _with(case: Case, name: str, value: Any) -> Case:
    """The case with one input replaced in all steps and elements."""

    def filled(old: Any) -> Any:
        return np.full_like(old, value) if is_tensor(old) else value

    if name == "t":
        steps = tuple(replace(s, t=value + i) for i, s in enumerate(case.steps))
        return replace(case, steps=steps)
    if name in case.steps[0].values:
        steps = tuple(
            replace(s, values={**s.values, name: filled(s.values[name])}) for s in case.steps
        )
        return replace(case, steps=steps)
    if name == "g":
        return replace(case, steps=tuple(replace(s, g=filled(s.g)) for s in case.steps))
    if name == "p":
        return replace(case, p=filled(case.p))
    state = dict(case.state or {})
    return replace(case, state={**state, name: filled(state[name])})
