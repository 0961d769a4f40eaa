"""third-party (R8): torch's own class runs beside the NumPy file, in float64, with its states."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepforge.language.spec import Options, Spec
from stepforge.verify.cases import inputs, trace
from stepforge.verify.cases.reference import ARITHMETIC
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import fresh
from stepforge.verify.rungs.registry import Need
from stepforge.verify.rungs.task import Task

STEPS = 100
ELEMENTS = 48
DRAWS = 3
LATE, JUMP = 10, 990
"""After so many steps, one draw goes on with step numbers that are larger by so much."""
TOLERANCE = 1e-12
"""Relative to the largest magnitude that the element has had on the way."""


def check(task: Task) -> Verdict:
    """Trajectories from the first step; the defaults first, then random hyperparameters, some late.

    Last are infinite parameters, which a weight decay of zero leaves alone or makes NaN.
    """
    spec, options = task.spec, task.options
    assert spec.torch is not None
    compared, worst = 0, 0.0

    def verdict(
        status: Status, detail: str, counterexample: Counterexample | None = None
    ) -> Verdict:
        return task.verdict(status, detail, compared, counterexample)

    try:
        import torch
    except ImportError:
        return verdict(Status.UNSUPPORTED, Need.torch.value)
    name = f"torch.optim.{spec.torch_class}"
    factory = getattr(torch.optim, spec.torch_class, None)
    if not (isinstance(factory, type) and issubclass(factory, torch.optim.Optimizer)):
        return verdict(Status.UNSUPPORTED, f"torch {torch.__version__} has no {name}")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    path = task.pair.numpy
    try:
        module = fresh(path)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{path} cannot be imported: {error!r}")
    rng = np.random.default_rng([task.seed, 8])
    for draw in range(DRAWS + 1):
        values = _values(spec, options, draw, rng)
        start = rng.standard_normal(ELEMENTS)
        if draw == DRAWS:
            start[:2] = np.inf, -np.inf
        parameter = torch.nn.Parameter(torch.tensor(start))
        try:
            optimizer = factory([parameter], **_arguments(spec, options, values))
        except (TypeError, ValueError) as error:
            return verdict(Status.UNSUPPORTED, f"{name} refuses the arguments: {error}")
        p = start.copy()
        named = {**values, **options}
        state = module.init(p, **{k: v for k, v in named.items() if k in _keywords(module.init)})
        scale: dict[str, Any] = {}
        for number in range(1, STEPS + 1):
            g = rng.standard_normal(ELEMENTS) * 10 ** rng.uniform(-3, 1, ELEMENTS)
            parameter.grad = torch.tensor(g)
            if draw == 1 and number == LATE + 1 and "step" in optimizer.state[parameter]:
                optimizer.state[parameter]["step"] += JUMP
            t = number + (JUMP if draw == 1 and number > LATE else 0)
            optimizer.step()
            before = (p, state)
            try:
                with np.errstate(all="ignore"):
                    p, state = module.step(p, g, state, t, **values, **options)
            except ARITHMETIC as error:
                reason = f"step {t} has no value ({error}), where {name} has one"
                return verdict(Status.REFUTED, reason)
            theirs = _state(spec, options, optimizer.state[parameter])
            theirs["p"] = parameter.detach().numpy()
            for key, other in theirs.items():
                mine = np.asarray({"p": p, **state}[key])
                if other is None:
                    return verdict(Status.REFUTED, f"{name} has no state for `{key}`")
                magnitude = np.maximum(np.abs(mine), np.abs(other))
                scale[key] = np.maximum(scale.get(key, 0.0), magnitude)
                with np.errstate(all="ignore"):
                    apart = np.abs(mine - other) / np.where(scale[key] > 0, scale[key], 1.0)
                bad = ~(apart <= TOLERANCE) & (mine != other)
                bad &= ~(np.isnan(mine) & np.isnan(other))
                if bad.any():
                    at = int(np.argmax(bad))
                    found = _counterexample(
                        spec, options, values, key, at, t, before, g, mine, other
                    )
                    detail = (
                        f"`{key}` departs from {name} by {np.max(apart[bad]):.1e} relative; "
                        "a spec that is meant to differ has no [torch]"
                    )
                    return verdict(Status.REFUTED, detail, found)
                compared += int(np.size(mine))
                worst = max(worst, float(np.nanmax(apart, initial=0.0)))
    detail = f"{STEPS} steps of {name} {torch.__version__}, largest relative departure {worst:.1e}"
    return verdict(Status.TESTED, detail)


def _keywords(function: Any) -> tuple[str, ...]:
    code = function.__code__
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _values(spec: Spec, options: Options, draw: int, rng: inputs.Generator) -> dict[str, float]:
    """Hyperparameters: the defaults, or random; zero where torch wants them so."""
    assert spec.torch is not None
    values = {h.name: h.default for h in spec.hyperparameters}
    if draw == DRAWS:
        decay = spec.torch.arguments.get("weight_decay", ("weight_decay",))
        values |= {h.name: 0.0 for h in spec.hyperparameters if h.name in decay and 0 in h.domain}
    elif draw:
        values = inputs.numbers(spec, rng)
    usual = dict(values)
    for option, name in spec.torch.switches.items():
        if not options[option]:
            values[name] = 0.0
        elif values[name] == 0:
            values[name] = 0.9
    for option, name in spec.torch.zero_with.items():
        if options[option]:
            values[name] = 0.0
    return values if spec.allows(values) else usual


def _arguments(spec: Spec, options: Options, values: dict[str, float]) -> dict[str, Any]:
    """The arguments of torch's constructor."""
    assert spec.torch is not None
    table = spec.torch
    arguments: dict[str, Any] = {
        **values,
        **{name: value for name, value in options.items() if name not in table.switches},
    }
    for argument, parts in table.arguments.items():
        taken = tuple(arguments.pop(part) for part in parts)
        arguments[argument] = taken if len(taken) > 1 else taken[0]
    return {**arguments, **table.constants}


def _state(spec: Spec, options: Options, theirs: Any) -> dict[str, Any]:
    """Torch's state under our names; None where it has nothing."""
    assert spec.torch is not None
    found = {}
    for s in spec.active_states(options):
        tensor = theirs.get(spec.torch.state.get(s.name, s.name))
        found[s.name] = None if tensor is None else np.asarray(tensor)
    return found


def _counterexample(
    spec: Spec, options: Options, values: dict[str, float], name: str, at: int, t: int,
    before: tuple[Any, dict[str, Any]], g: Any, mine: Any, other: Any,
) -> Counterexample:  # fmt: skip
    p, state = before
    given = {"t": str(t)} | {k: inputs.shown(v) for k, v in values.items()}
    given |= {"p": inputs.shown(p[at]), "g": inputs.shown(g[at])}
    given |= {
        k: inputs.shown(np.asarray(v).reshape(-1)[at if np.ndim(v) else 0])
        for k, v in state.items()
    }
    index = at if np.ndim(mine) else 0
    line = trace.spec_line(spec, options, trace.last_assignment(spec, options, name))
    return Counterexample(
        name, "float64", ELEMENTS, index, t, given,
        f"{inputs.shown(np.asarray(other).reshape(-1)[index])} (torch)",
        inputs.shown(np.asarray(mine).reshape(-1)[index]), line,
    )  # fmt: skip
