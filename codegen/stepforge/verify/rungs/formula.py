"""formula-in-50-digits (R1): evaluated from the spec's text, against the NumPy file.

This is the rung that shares nothing with what generates the file. It also compares the declarations
that files are generated from with those of the text, so that other rungs may go by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stepforge.language.spec import Interval, Options, Spec
from stepforge.operations import formulas
from stepforge.verify.cases import inputs, reference, refusals, trace
from stepforge.verify.cases.reference import ARITHMETIC, failure, raised_at
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import Text, fresh, same_bits
from stepforge.verify.reading import agreement, reader
from stepforge.verify.rounding import functions
from stepforge.verify.rounding.enclosure import Evaluator, Vector
from stepforge.verify.rounding.intervals import DIGITS, Enclosure, mp
from stepforge.verify.rungs.task import Task


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is evaluated of each type.

    Attributes:
        elements: Of every tensor.
        draws: Of hyperparameters; the first one is the defaults.
        steps: Of the trajectory of each draw.
    """

    elements: int
    draws: int
    steps: int


FULL = Amount(elements=24, draws=4, steps=3)
BRIEF = Amount(elements=8, draws=2, steps=2)
NARROW = ("float16", "bfloat16")
"""Types that are computed in float32. Where a rule rounds to them on the way, they are compared
with the formula in 50 digits; elsewhere with what float32 gives, rounded once."""
_ENOUGH = 0.25
"""Share of the values of every tensor that must have a bound."""


@dataclass
class _Case:
    """One step from known inputs; `t` is 0 for the state before the first one."""

    options: Options
    dtype: str
    values: dict[str, Any]
    p: inputs.Array
    g: inputs.Array
    state: dict[str, Any]
    t: int


class _Outside(Exception):
    """A value outside of its enclosure."""

    def __init__(
        self, case: _Case, tensor: str, element: int, enclosure: Enclosure, value: float
    ) -> None:
        self.case, self.tensor, self.element = case, tensor, element
        self.enclosure, self.value = enclosure, value


@dataclass
class _Tally:
    """How many values were compared; how many, by tensor, had a bound and had none."""

    compared: int = 0
    bounded: dict[str, int] = field(default_factory=dict)
    unbounded: dict[str, int] = field(default_factory=dict)
    worst: float = 0.0
    """Largest error that was seen, as a share of its bound."""

    def add(self, name: str, e: Enclosure, value: float) -> None:
        """Counts a value inside of its enclosure."""
        if e.unknown:
            self.unbounded[name] = self.unbounded.get(name, 0) + 1
            return
        self.compared += 1
        self.bounded[name] = self.bounded.get(name, 0) + 1
        bound = (e.high if value > e.value else e.low) - e.value
        if math.isfinite(value) and bound and abs(bound) < math.inf:
            self.worst = max(self.worst, float(abs(e.value - value) / abs(bound)))

    def shortage(self) -> str:
        """Why this is no evidence; empty if it is."""
        for name, missing in self.unbounded.items():
            total = self.bounded.get(name, 0) + missing
            if self.bounded.get(name, 0) < _ENOUGH * total:
                return f"only {total - missing} of {total} values of `{name}` have a bound"
        return "" if self.compared else "the formula has no value at any input that was tried"


def check(task: Task) -> Verdict:
    """Compares every stored value with its enclosure, over draws, steps and both types."""
    spec, options, path = task.spec, task.options, task.pair.numpy
    tally, amount = _Tally(), BRIEF if task.brief else FULL

    def verdict(
        status: Status, detail: str, found: Counterexample | None = None, **more: Any
    ) -> Verdict:
        return task.verdict(status, detail, tally.compared, found, **more)

    if reason := agreement.disagreement(spec):
        return verdict(Status.REFUTED, f"{reason}; that is a fault of stepforge")
    for function in sorted(reader.of(spec).functions.intersection(formulas.names())):
        for kind in formulas.FORMATS:
            if reason := functions.fault(function, kind):
                return verdict(Status.REFUTED, f"{reason}; that is a fault of stepforge")
    try:
        module = fresh(path)
        reference.check_signatures(module, spec)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{path} cannot be imported: {failure(error)}")
    right, wrong = np.ones(0, np.float32), np.ones(1, np.float32)
    state = {s.name: 0.5 if s.scalar else right for s in spec.active_states(options)}
    steps = refusals.of_shapes(module.step, spec, right, wrong, state)
    if reason := refusals.wrong(steps[0], spec, options, steps[1]):
        return verdict(Status.REFUTED, f"{path}: {reason}")
    rng = np.random.default_rng([task.seed, 1])
    has_stored = "stored" in reader.of(spec).functions
    for dtype in ("float64", "float32", *(NARROW if has_stored else ())):
        for draw in range(amount.draws):
            values = inputs.numbers(spec, rng)
            if draw == 0:
                values |= {h.name: h.default for h in spec.hyperparameters}
            try:
                _draw(spec, module, options, dtype, values, rng, tally, amount)
            except _Outside as fault:
                found = _counterexample(spec, path, module, fault)
                where = "" if fault.case.t else ", before the first step,"
                reason = f"NumPy's `{fault.tensor}`{where} is outside of the rounding bound"
                return verdict(Status.REFUTED, f"{reason} of the formula", found)
            except Exception as error:  # whatever an edited file raises
                reference.blame(error, path)
                where = raised_at(error, path) or str(path)
                return verdict(Status.REFUTED, f"{failure(error)}\n  {where}")
    for narrow in () if has_stored else map(np.dtype, NARROW):
        try:
            draws = range(amount.draws)
            reasons = (_narrow(spec, options, narrow, rng, module, amount) for _ in draws)
            reason = next(filter(None, reasons), "")
        except Exception as error:
            reference.blame(error, path)
            reason = failure(error)
        if reason:
            return verdict(Status.REFUTED, f"{path}: in {narrow.name}, {reason}")
    if shortage := tally.shortage():
        return verdict(Status.UNSUPPORTED, shortage, evidence={"no value": shortage})
    detail = (
        f"{tally.compared} values within the rounding bound of the {DIGITS}-digit value, the "
        f"largest error {tally.worst:.2f} of its bound; "
        f"{sum(tally.unbounded.values())} without a bound"
    )
    return verdict(Status.TESTED, detail)


def _draw(
    spec: Spec, module: ModuleType, options: Options, dtype: str, values: dict[str, float],
    rng: inputs.Generator, tally: _Tally, amount: Amount,
) -> None:  # fmt: skip
    """A trajectory from the first step, then one step from random states, far out in time.

    Raises:
        _Outside: A value is.
    """
    tensors = inputs.ordinary(spec, options, amount.elements, dtype, rng)
    tensors["g"][:2] = 0
    p, g = tensors["p"], tensors["g"]
    given, states = inputs.parted(spec, tensors)
    state: dict[str, Any] = {**reference.states_of(spec, states, p.dtype)}
    state |= inputs.scalar_states(spec, options, rng)
    far = _Case(options, dtype, {**values, **given}, p, g, state, int(10 ** rng.uniform(0.5, 6)))
    first = _initial(spec, module, _Case(options, dtype, values, p, g, {}, 0), tally)
    if first is not None:
        state = first
    for t in range(1, amount.steps + 1):
        g = inputs.log_uniform(amount.elements, dtype, Interval(), rng)
        g[:2] = 0
        given = inputs.given(spec, amount.elements, dtype, rng)
        case = _Case(options, dtype, {**values, **given}, p, g, state, t)
        after = _step(spec, module, case, tally)
        if after is None:
            break
        p, state = _finite(*after, tensors)
    _step(spec, module, far, tally)


def _initial(spec: Spec, module: ModuleType, case: _Case, tally: _Tally) -> dict[str, Any] | None:
    """The state before the first step, compared with the spec's; None where it has no value."""
    evaluator = Evaluator(spec, case.options, case.dtype)
    expected = evaluator.initial(case.p, case.values)
    try:
        state = reference.init(module, spec, case.options, case.p, case.values)
    except ARITHMETIC:
        if evaluator.may_fail:
            return None
        raise
    _compare(case, expected, state, tally)
    return state


def _step(
    spec: Spec, module: ModuleType, case: _Case, tally: _Tally
) -> tuple[inputs.Array, dict[str, Any]] | None:
    """The new `p` and state, compared with the formula; None where a host scalar has no value."""
    evaluator = Evaluator(spec, case.options, case.dtype)
    expected = evaluator.step(case.p, case.g, case.state, case.t, case.values)
    try:
        p, state = reference.step(
            module, spec, case.options, case.p, case.g, case.state, case.t, case.values
        )
    except ARITHMETIC:
        if evaluator.may_fail:
            return None
        raise
    _compare(case, expected, {"p": p, **state}, tally)
    return p, state


def _compare(case: _Case, expected: dict[str, Vector], got: dict[str, Any], tally: _Tally) -> None:
    for name, vector in expected.items():
        for index, value in enumerate(np.asarray(got[name], dtype=np.float64).reshape(-1)):
            enclosure = _at(vector, index)
            if float(value) not in enclosure:
                raise _Outside(case, name, index, enclosure, float(value))
            tally.add(name, enclosure, float(value))


def _narrow(
    spec: Spec, options: Options, dtype: np.dtype[Any], rng: inputs.Generator, module: ModuleType,
    amount: Amount,
) -> str:  # fmt: skip
    """A 16-bit type is computed in float32 and rounded once; says what is not."""
    values: dict[str, Any] = {**inputs.numbers(spec, rng)}
    tensors = inputs.ordinary(spec, options, 20 * amount.elements, "float32", rng)
    p, g = tensors["p"].astype(dtype), tensors["g"].astype(dtype)
    given, states = inputs.parted(spec, tensors)
    values |= {name: tensor.astype(dtype) for name, tensor in given.items()}
    scalars = inputs.scalar_states(spec, options, rng)
    states = reference.states_of(spec, states, dtype)
    wide_states = {name: tensor.astype(np.float32) for name, tensor in states.items()}
    wide = p.astype(np.float32), g.astype(np.float32)
    wide_values = values | {name: values[name].astype(np.float32) for name in given}
    try:
        reference.init(module, spec, options, p, values)
        expected_p, expected = reference.step(
            module, spec, options, *wide, {**wide_states, **scalars}, 2, wide_values
        )
    except ARITHMETIC:
        return ""  # the formula has no value there; float32 tells whether that is right
    got_p, got = reference.step(module, spec, options, p, g, {**states, **scalars}, 2, values)
    with np.errstate(all="ignore"):
        expected |= {"p": expected_p.astype(dtype), **reference.states_of(spec, expected, dtype)}
    for name, value in {"p": got_p, **got}.items():
        if not same_bits(np.asarray(value), np.asarray(expected[name])).all():
            return f"`{name}` is not what float32 gives, rounded once"
    return ""


def _finite(p: Any, state: dict[str, Any], start: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Starts elements afresh that have become infinite or NaN: the formula speaks of numbers."""
    bad = ~np.isfinite(p)
    for value in state.values():
        bad = bad | (~np.isfinite(value) if np.ndim(value) else False)
    return np.where(bad, start["p"], p), {
        k: np.where(bad, start[k], v) if np.ndim(v) else v for k, v in state.items()
    }


def _at(vector: Vector, index: int) -> Enclosure:
    return vector if isinstance(vector, Enclosure) else vector[index]


def _counterexample(spec: Spec, path: Path, module: ModuleType, fault: _Outside) -> Counterexample:
    """The one element that shows it, and the first statement outside of its enclosure."""
    case, options, element = fault.case, fault.case.options, slice(fault.element, fault.element + 1)
    state = {k: v if np.ndim(v) == 0 else v[element] for k, v in case.state.items()}
    p, g, text = case.p[element], case.g[element], Text(path)
    values = {k: v if np.ndim(v) == 0 else v[element] for k, v in case.values.items()}
    given = {"t": str(case.t)} if case.t else {}
    given |= {k: inputs.shown(np.asarray(v).reshape(-1)[0]) for k, v in values.items()}
    if case.t:
        given |= {k: inputs.shown(v[0]) for k, v in {"p": p, "g": g}.items()}
        given |= {k: inputs.shown(np.asarray(v).reshape(-1)[0]) for k, v in state.items()}
        place = text.first(f'new["{fault.tensor}"] =', "return p")
        index = trace.last_assignment(spec, options, fault.tensor)

        def step() -> None:
            reference.step(module, spec, options, p, g, state, case.t, values)

        events = [e for e in trace.record(text, step) if e.function == "step"]
        evaluator = Evaluator(spec, options, case.dtype)
        evaluator.step(p, g, state, case.t, values)
        ran = [vector is not None for _, vector in evaluator.trace]
        statements = trace.statement_events(spec, options, events, ran)
        for number, (event, (_, vector)) in enumerate(
            zip(statements, evaluator.trace, strict=True)
        ):
            if event is None or event.value is None or vector is None:
                continue
            if event.value not in _at(vector, 0):
                index, place = number, text.at(event.line)
                break
        spec_line = trace.spec_line(spec, options, index)
    else:
        place = text.first(f'state["{fault.tensor}"] =', "def init(")
        spec_line = trace.state_line(spec, fault.tensor)
    e = fault.enclosure
    expected = f"{_digits(e.value)} in [{_digits(e.low)}, {_digits(e.high)}]"
    return Counterexample(
        fault.tensor, case.dtype, 1, 0, int(case.t > 0), given, expected,
        inputs.shown(fault.value), spec_line, place,
    )  # fmt: skip


def _digits(value: Any) -> str:
    return str(mp.nstr(mp.mpf(value), 20))
