"""R1: the formula, evaluated in 50 digits from the parsed spec, against the NumPy file.

This is the rung that does not share the lowering with what it checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from codegen.spec import Interval, Options, Spec
from codegen.verify import inputs, trace
from codegen.verify.certificate import Counterexample, Status, Verdict
from codegen.verify.enclosure import DIGITS, Enclosure, Evaluator, Vector
from codegen.verify.generated import Pair, Text, fresh

ELEMENTS = 24
DRAWS = 4
STEPS = 3


@dataclass
class _Case:
    """One step from known inputs."""

    options: Options
    dtype: str
    values: dict[str, float]
    p: inputs.Array
    g: inputs.Array
    state: dict[str, Any]
    t: int


@dataclass
class _Tally:
    compared: int = 0
    open: int = 0
    worst: float = 0.0
    """Largest error that was seen, as a share of its bound."""


def check(spec: Spec, folder: Path, options: Options, seed: int) -> Verdict:
    """Compares every stored value with its enclosure, over draws, steps and both types."""
    pair, tally = Pair.of(spec, folder), _Tally()

    def verdict(
        status: Status, detail: str, counterexample: Counterexample | None = None
    ) -> Verdict:
        return Verdict(
            "R1", spec.name, dict(options), status, tally.compared, detail, seed, counterexample
        )

    try:
        module = fresh(pair.numpy)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{pair.numpy} cannot be imported: {error!r}")
    rng = np.random.default_rng([seed, 1])
    for dtype in ("float64", "float32"):
        for draw in range(DRAWS):
            for case in _cases(spec, options, dtype, draw, rng, module):
                try:
                    new_p, new_state = _step(module, case)
                except Exception as error:
                    where = f"{pair.numpy}: {type(error).__name__}: {error}"
                    return verdict(
                        Status.REFUTED, f"NumPy fails where the formula does not: {where}"
                    )
                failure = _compare(spec, case, new_p, new_state, tally)
                if failure:
                    found = _counterexample(spec, pair, module, case, *failure)
                    return verdict(Status.REFUTED, _reason(found), found)
    if tally.compared < 2 * tally.open or not tally.compared:
        return verdict(
            Status.UNSUPPORTED,
            f"only {tally.compared} of {tally.compared + tally.open} values have a bound",
        )
    detail = (
        f"{tally.compared} values within the rounding bound of the {DIGITS}-digit value, the "
        f"largest error {tally.worst:.2f} of its bound; {tally.open} without a bound"
    )
    return verdict(Status.TESTED, detail)


def _cases(
    spec: Spec, options: Options, dtype: str, draw: int, rng: inputs.Generator, module: ModuleType
) -> Any:
    """A trajectory from the first step, then single steps from random states, far out in time."""
    values = inputs.hyperparameters(spec, rng)
    if draw == 0:
        values = {h.name: h.default for h in spec.hyperparameters}
    tensors = inputs.ordinary(spec, options, ELEMENTS, dtype, rng)
    tensors["g"][:2] = 0
    p, scalars = tensors["p"], [s.name for s in spec.states if s.scalar]
    named = {k: v for k, v in {**values, **options}.items() if k in _parameters(module.init)}
    state = module.init(p, **named)
    for t in range(1, STEPS + 1):
        g = inputs.log_uniform(ELEMENTS, dtype, Interval(), rng)
        g[:2] = 0
        case = _Case(options, dtype, values, p, g, state, t)
        yield case
        p, state = _finite(*_step(module, case), tensors)
    state = {k: v for k, v in tensors.items() if k not in ("p", "g")}
    state |= inputs.scalar_states(spec, options, rng) if scalars else {}
    far = int(10 ** rng.uniform(0.5, 6))
    yield _Case(options, dtype, values, tensors["p"], tensors["g"], state, far)


def _finite(p: Any, state: dict[str, Any], start: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Starts elements afresh that have become infinite or NaN: the formula speaks of numbers."""
    bad = ~np.isfinite(p)
    for value in state.values():
        bad = bad | (~np.isfinite(value) if np.ndim(value) else False)
    return np.where(bad, start["p"], p), {
        k: np.where(bad, start[k], v) if np.ndim(v) else v for k, v in state.items()
    }


def _parameters(function: Any) -> tuple[str, ...]:
    code = function.__code__
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _step(module: ModuleType, case: _Case) -> tuple[Any, dict[str, Any]]:
    with np.errstate(all="ignore"):
        new: tuple[Any, dict[str, Any]] = module.step(
            case.p.copy(), case.g.copy(), dict(case.state), case.t, **case.values, **case.options
        )
        return new


def _compare(
    spec: Spec, case: _Case, new_p: Any, new_state: dict[str, Any], tally: _Tally
) -> tuple[str, int, Enclosure, float] | None:
    """The first value outside of its enclosure: tensor, element, enclosure, value."""
    evaluator = Evaluator(spec, case.options, case.dtype)
    expected = evaluator.step(case.p, case.g, case.state, case.t, case.values)
    got = {"p": new_p, **new_state}
    if got.keys() != expected.keys():
        missing = min(got.keys() ^ expected.keys())
        return missing, 0, _at(expected.get(missing, []), 0), math.nan
    for name, vector in expected.items():
        actual = np.asarray(got[name], dtype=np.float64).reshape(-1)
        count = len(vector) if isinstance(vector, list) else 1
        if actual.size != count:
            return name, 0, _at(vector, 0), math.nan
        for index in range(count):
            enclosure, value = _at(vector, index), float(actual[index])
            if enclosure.unknown:
                tally.open += 1
            elif value not in enclosure:
                return name, index, enclosure, value
            else:
                tally.compared += 1
                _measure(enclosure, value, tally)
    return None


def _at(vector: Vector, index: int) -> Enclosure:
    if isinstance(vector, Enclosure):
        return vector
    return vector[index] if index < len(vector) else Enclosure(math.nan, 0, 0)


def _measure(e: Enclosure, value: float, tally: _Tally) -> None:
    if not math.isfinite(value):
        return
    error = abs(e.value - value)
    bound = (e.high if value > e.value else e.low) - e.value
    if bound and abs(bound) < math.inf:
        tally.worst = max(tally.worst, float(error / abs(bound)))


def _counterexample(
    spec: Spec,
    pair: Pair,
    module: ModuleType,
    case: _Case,
    tensor: str,
    element: int,
    enclosure: Enclosure,
    value: float,
) -> Counterexample:
    """The one element that shows it, and the first statement outside of its enclosure."""
    one = slice(element, element + 1)
    state = {k: v if np.ndim(v) == 0 else v[one] for k, v in case.state.items()}
    small = _Case(case.options, case.dtype, case.values, case.p[one], case.g[one], state, case.t)
    text = Text(pair.numpy)
    events = [e for e in trace.record(text, lambda: _step(module, small)) if e.function == "step"]
    evaluator = Evaluator(spec, case.options, case.dtype)
    evaluator.step(small.p, small.g, small.state, small.t, small.values)
    index = trace.last_assignment(spec, case.options, tensor)
    line = next(iter(text.containing(f'new["{tensor}"] =')), 1)
    statements = trace.statement_events(spec, case.options, events)
    for number, (event, (_, vector)) in enumerate(zip(statements, evaluator.trace, strict=True)):
        if event is not None and event.value is not None:
            known = _at(vector, 0)
            if not known.unknown and event.value not in known:
                index, line = number, event.line
                break
    given = {"t": str(case.t)} | {k: inputs.shown(v) for k, v in case.values.items()}
    given |= {"p": inputs.shown(small.p[0]), "g": inputs.shown(small.g[0])}
    given |= {k: inputs.shown(np.asarray(v).reshape(-1)[0]) for k, v in small.state.items()}
    ends = f"in [{_digits(enclosure.low)}, {_digits(enclosure.high)}]"
    return Counterexample(
        tensor, case.dtype, 1, 0, 1, given,
        f"{_digits(enclosure.value)} {ends}", inputs.shown(value),
        trace.spec_line(spec, case.options, index), text.at(line),
    )  # fmt: skip


def _digits(value: Any) -> str:
    from codegen.verify.enclosure import mp

    return str(mp.nstr(mp.mpf(value), 20))


def _reason(c: Counterexample) -> str:
    return f"NumPy's `{c.tensor}` is outside of the rounding bound of the formula"
