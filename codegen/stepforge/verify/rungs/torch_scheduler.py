"""torch-scheduler (S8): torch's own scheduler runs beside the generated function of a schedule."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepforge.language.spec import Spec
from stepforge.verify.cases import inputs, trace
from stepforge.verify.cases.reference import ARITHMETIC, blame, failure
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import fresh
from stepforge.verify.rungs.registry import Need
from stepforge.verify.rungs.task import Task

STEPS = 300
DRAWS = 12
"""Runs; the first one has the defaults."""
LARGEST = 60
"""Counts of steps at random are at most this, so that a run passes all of its ends."""
TOLERANCE = 1e-12
"""Relative to the largest factor so far: torch goes on from the last value and rounds each time."""


def check(task: Task) -> Verdict:
    """Whole runs with a learning rate of 1, so that it is the factor."""
    spec = task.spec
    assert spec.torch is not None
    try:
        import torch
    except ImportError:
        return task.verdict(Status.UNSUPPORTED, Need.torch.value)
    name = f"torch.optim.lr_scheduler.{spec.torch_class}"
    factory = getattr(torch.optim.lr_scheduler, spec.torch_class, None)
    if factory is None:
        return task.verdict(Status.UNSUPPORTED, f"torch {torch.__version__} has no {name}")
    path = task.pair.numpy
    try:
        module = fresh(path)
    except Exception as error:  # whatever an edited file does when it is imported
        return task.verdict(Status.REFUTED, f"{path} cannot be imported: {error!r}")
    rng = np.random.default_rng([task.seed, 28])
    compared, runs, worst, refusal = 0, 0, 0.0, ""
    for number in range(DRAWS):
        values = _values(spec, number, rng)
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        try:
            scheduler = factory(optimizer, **_arguments(spec, values))
        except (TypeError, ValueError) as error:
            refusal = f"{name} refuses the arguments: {error}"
            continue
        runs, largest = runs + 1, 0.0
        last = min(STEPS, int(values[spec.torch.until])) if spec.torch.until else STEPS
        for t in range(1, last + 1):
            theirs = float(optimizer.param_groups[0]["lr"])
            try:
                mine = float(module.factor(t, **values))
            except ARITHMETIC as error:
                reason = f"step {t} has no factor ({error}), where {name} has one"
                return task.verdict(Status.REFUTED, reason, compared)
            except Exception as error:  # whatever an edited file raises
                blame(error, path)
                return task.verdict(Status.REFUTED, f"{path}: {failure(error)}", compared)
            largest = max(largest, abs(mine), abs(theirs))
            apart = abs(mine - theirs) / largest if largest else 0.0
            if not apart <= TOLERANCE:
                found = _counterexample(spec, values, t, mine, theirs)
                detail = f"the factor departs from {name} by {apart:.1e} relative"
                return task.verdict(Status.REFUTED, detail, compared, found)
            compared, worst = compared + 1, max(worst, apart)
            if t < last:
                optimizer.step()
                try:
                    scheduler.step()
                except ZeroDivisionError:
                    break  # torch goes on from the last factor, which is zero
    if not runs:
        return task.verdict(Status.UNSUPPORTED, refusal)
    detail = (
        f"{runs} runs of up to {STEPS} steps of {name} {torch.__version__}, largest relative "
        f"departure {worst:.1e}"
    )
    return task.verdict(Status.TESTED, detail, compared)


def _values(spec: Spec, number: int, rng: inputs.Generator) -> dict[str, float]:
    """The defaults, or values at random; those that torch has no argument for have the default.

    Torch's counts of steps are whole, so values from 1 on are, and those whose default is more.
    """
    assert spec.torch is not None
    defaults = {h.name: h.default for h in spec.hyperparameters}
    if number == 0:
        return defaults
    passed = {part for parts in spec.torch.arguments.values() for part in parts}
    drawn = inputs.numbers(spec, rng)
    values = {name: drawn[name] if name in passed else defaults[name] for name in defaults}
    for name, value in values.items():
        if value >= 1 or defaults[name] > 1:
            small = value if value <= LARGEST else rng.integers(2, LARGEST)
            values[name] = float(round(small))
    return values if inputs.permitted(spec, values) else defaults


def _arguments(spec: Spec, values: dict[str, float]) -> dict[str, Any]:
    """The arguments of torch's constructor; whole numbers are integers."""
    assert spec.torch is not None
    whole: dict[str, float] = {k: int(v) if v == int(v) else v for k, v in values.items()}
    found: dict[str, Any] = dict(spec.torch.constants)
    for argument, parts in spec.torch.arguments.items():
        taken = [whole[part] for part in parts]
        found[argument] = taken if len(taken) > 1 else taken[0]
    return found


def _counterexample(
    spec: Spec, values: dict[str, float], t: int, mine: float, theirs: float
) -> Counterexample:
    given = {"t": str(t)} | {name: inputs.shown(value) for name, value in values.items()}
    line = trace.spec_line(spec, {}, trace.last_assignment(spec, {}, spec.subject.result))
    return Counterexample(
        "factor", "float64", 1, 0, t, given, f"{inputs.shown(theirs)} (torch)", inputs.shown(mine),
        line,
    )  # fmt: skip
