"""schedule-rules (S0) and schedule-in-50-digits (S1): what is shown of a schedule.

The second one evaluates the spec's text and shares nothing with what generates the function, as
`formula` (R1) does for optimizers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stepforge.language.names import CHECKED
from stepforge.language.reader import from_source
from stepforge.language.spec import Spec
from stepforge.verify.cases import inputs, refusals, trace
from stepforge.verify.cases.reference import (
    ARITHMETIC,
    Malformed,
    blame,
    check_keywords,
    failure,
    raised_at,
)
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import Text, fresh
from stepforge.verify.reading import agreement
from stepforge.verify.rounding.enclosure import Evaluator
from stepforge.verify.rounding.intervals import DIGITS, Enclosure, mp
from stepforge.verify.rungs.task import Task

DRAWS, BRIEF_DRAWS = 64, 16
"""Of hyperparameters, at full length and at the fast level; the first one is the defaults."""
LATE = 6
"""Steps at random, far out in time."""
LONGEST = 2.0**52
"""Up to here steps at the ends of pieces are tried: float64 has every whole number and its half."""
_SHOWN = 20


@dataclass(slots=True)
class _Tally:
    """How many factors were compared, and how many had no bound; the largest error seen."""

    compared: int = 0
    unbounded: int = 0
    worst: float = 0.0
    """As a share of its bound."""

    def add(self, e: Enclosure, value: float) -> None:
        """Counts a value inside of its enclosure."""
        if e.unknown:
            self.unbounded += 1
            return
        self.compared += 1
        bound = (e.high if value > e.value else e.low) - e.value
        if bound and mp.isfinite(bound):
            self.worst = max(self.worst, float(abs(e.value - value) / abs(bound)))


def check_rules(task: Task) -> Verdict:
    """At the defaults every step has a finite factor; a warning where one is negative."""
    spec = task.spec
    values = {h.name: h.default for h in spec.hyperparameters}
    evaluator, negative, steps = Evaluator(spec, {}, "float64"), [], _steps(values, None)
    for t in steps:
        found = evaluator.factor(t, values)
        if evaluator.fails or not mp.isfinite(found.value):
            what = f": {evaluator.fails} is not finite" if evaluator.fails else ""
            reason = f"at the default hyperparameters, step {t} has no factor{what}"
            return task.verdict(Status.REFUTED, reason, seed=None)
        if found.value < 0:
            negative.append(t)
    findings = "; ".join(f"{w.code} {w.message}" for w in from_source(spec.source, None)[1])
    warnings = [f"the factor is negative in step {t}" for t in negative[:1]]
    detail = findings or "no findings"
    return task.verdict(Status.TESTED, detail, len(steps), seed=None, warnings=tuple(warnings))


def check(task: Task) -> Verdict:
    """Compares factors with their enclosures: many hyperparameters, the ends of all pieces."""
    spec, path, tally = task.spec, task.pair.numpy, _Tally()

    def verdict(
        status: Status, detail: str, found: Counterexample | None = None, **more: Any
    ) -> Verdict:
        return task.verdict(status, detail, tally.compared, found, **more)

    if reason := agreement.disagreement(spec):
        return verdict(Status.REFUTED, f"{reason}; that is a fault of stepforge")
    try:
        module = fresh(path)
        defaults = {h.name: h.default for h in spec.hyperparameters}
        check_keywords(module.factor, ["t"], {**defaults, CHECKED: True})
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{path} cannot be imported: {failure(error)}")
    if reason := refusals.wrong(module.factor, spec, {}, name="factor"):
        return verdict(Status.REFUTED, f"{path}: {reason}")
    rng = np.random.default_rng([task.seed, 21])
    for number in range(BRIEF_DRAWS if task.brief else DRAWS):
        values = _drawn(spec, number, rng)
        for t in _steps(values, rng):
            try:
                if found := _compared(spec, path, module, values, t, tally):
                    reason = "the factor is outside of the rounding bound of the formula"
                    return verdict(Status.REFUTED, reason, found)
            except Exception as error:  # whatever an edited file raises
                blame(error, path)
                where = raised_at(error, path) or str(path)
                return verdict(Status.REFUTED, f"{failure(error)}\n  {where}")
    if tally.compared <= tally.unbounded:
        total = tally.compared + tally.unbounded
        shortage = f"only {tally.compared} of {total} factors have a bound"
        return verdict(Status.UNSUPPORTED, shortage, evidence={"no value": shortage})
    detail = (
        f"{tally.compared} factors within the rounding bound of the {DIGITS}-digit value, the "
        f"largest error {tally.worst:.2f} of its bound; {tally.unbounded} without a bound"
    )
    return verdict(Status.TESTED, detail)


def _drawn(spec: Spec, number: int, rng: inputs.Generator) -> dict[str, float]:
    """The defaults, then hyperparameters at random; every second time counts are whole numbers."""
    if number == 0:
        return {h.name: h.default for h in spec.hyperparameters}
    values = (inputs.edges if number % 3 == 0 else inputs.numbers)(spec, rng)
    if number % 2:
        return values
    # Of steps there are whole numbers as a rule, few enough that their quotients are whole, too.
    whole = {k: float(round(v ** rng.uniform(0.3, 1))) if v > 1 else v for k, v in values.items()}
    return whole if inputs.permitted(spec, whole) else values


def _steps(values: Mapping[str, float], rng: inputs.Generator | None) -> list[int]:
    """The first steps, those around every number of steps that the values make, and late ones."""
    counts = [v for v in values.values() if 1 <= v <= LONGEST]
    pairs = itertools.permutations(counts, 2)
    ends = [*counts, *(x for a, b in pairs for x in (a + b, a - b, 2 * a)), 0.0]
    near = {int(end) + offset for end in ends for offset in (0, 1, 2, 3)}
    far = [int(10 * max(ends)) + 1, 10**9]
    if rng is not None:
        top = np.log10(max(10.0, *ends)) + 1
        far += [int(10 ** rng.uniform(0, top)) for _ in range(LATE)]
    return sorted(t for t in {*near, *far} if t >= 1)


def _compared(
    spec: Spec, path: Path, module: ModuleType, values: dict[str, float], t: int, tally: _Tally
) -> Counterexample | None:
    """What shows that a factor is not that of the formula; None if it may be.

    Raises:
        Malformed: It is no number of Python.
    """
    evaluator = Evaluator(spec, {}, "float64")
    expected = evaluator.factor(t, values)
    try:
        value = module.factor(t, **values)
    except ARITHMETIC:
        if evaluator.may_fail:
            tally.unbounded += 1
            return None
        raise
    if type(value) is not float:
        raise Malformed(f"factor returns {type(value).__name__}, not float")
    if value in expected:
        tally.add(expected, value)
        return None
    text = Text(path)
    events = trace.record(text, lambda: module.factor(t, **values))
    statements = trace.statement_events(
        spec, {}, [e for e in events if e.function == "factor"],
        [vector is not None for _, vector in evaluator.trace],
    )  # fmt: skip
    index, place = trace.last_assignment(spec, {}, "factor"), text.first("return", last=True)
    pairs = zip(statements, evaluator.trace, strict=True)
    for number, (event, (_, enclosure)) in enumerate(pairs):
        if event is None or event.value is None or not isinstance(enclosure, Enclosure):
            continue
        if event.value not in enclosure:
            index, place = number, text.at(event.line)
            break
    given = {"t": str(t), **{name: inputs.shown(x) for name, x in values.items()}}
    low, middle, high = (mp.nstr(x, _SHOWN) for x in (expected.low, expected.value, expected.high))
    return Counterexample(
        "factor", "float64", 1, 0, t, given, f"{middle} in [{low}, {high}]", inputs.shown(value),
        trace.spec_line(spec, {}, index), place,
    )  # fmt: skip
