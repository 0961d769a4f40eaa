"""error-bound (R9): how far a compiled kernel may be from the formula, and was found to be.

The stored terms that the PTX performs are analysed by `rounding`: a bound that holds for every
input where there is one, and the bound at each of many points, where the formula is evaluated in 50
digits and the kernel in its own arithmetic. The points then move towards the largest error. A
kernel that is further away than its bound is refuted, and so is one whose bound is several times
that of the rule as it is written: right formula, bad numerics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stepforge.language.spec import Interval, Spec
from stepforge.operations.formats import UNIT
from stepforge.verify.cases import inputs
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.rounding import errors as rounding
from stepforge.verify.rounding.errors import Error, Excluded, NoBound
from stepforge.verify.rounding.intervals import mp
from stepforge.verify.rungs import proof
from stepforge.verify.rungs.compiled import CannotCompile
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import congruence, contracted, lifted, parting, terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.integers import WIDTH
from stepforge.verify.terms.operations import NoValue
from stepforge.verify.terms.ranges import sign
from stepforge.verify.terms.rule import SCALE
from stepforge.verify.terms.terms import FLOATS, Term, nodes
from stepforge.verify.terms.witnesses import is_allowed

POINTS = 48
ROUNDS = 4
"""Of the search, each with half as many points around the worst so far."""
ALLOWED = 4.0
"""How many times the bound of the rule as written a kernel may have: reassociation, FMA and the
approximate instructions of fast mode stay below, a lost digit does not."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """What is known about the rounding of one stored tensor.

    Attributes:
        tensor: Its name.
        units: Bound for every input, in units of u times M; None where no such bound exists.
        rule: The same for the rule as it is written, each operation correctly rounded.
        worst: Largest error found, in the same units.
        worst_ulp: Largest error found, in units in the last place of the result.
        worst_relative: That error over the absolute value of the result.
        at: The inputs of the largest error.
        points: How many points were evaluated.
    """

    tensor: str
    units: float | None
    rule: float | None
    worst: float
    worst_ulp: float
    worst_relative: float
    at: dict[str, float]
    points: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A point that refutes: the kernel is further away there than it may be."""

    tensor: str
    at: dict[str, float]
    expected: str
    got: float
    reason: str


@dataclass(frozen=True)
class Problem:
    """One stored tensor of a kernel beside the rule.

    Attributes:
        tensor: Its name.
        got: What the kernel stores.
        expected: What the rule says.
        kinds: Type of every tensor that is loaded.
        domains: Of the leaves; those without one may be any finite number.
        unit: u of the compute type, or of the stored type if that is narrower.
    """

    tensor: str
    got: Term
    expected: Term
    kinds: Mapping[str, str]
    domains: Mapping[str, Interval]
    unit: float

    @cached_property
    def performed(self) -> Term:
        """What the kernel stores, by functions whose errors are known."""
        found = contracted.with_functions(self.got)
        if not any(n.kind in WIDTH for n in nodes([found])):
            return found
        # A formula whose choices the compiler has moved into what comes next, or out of it.
        if congruence.same_operations(contracted.meant(self.got), self.expected):
            return contracted.loosened(self.expected, self.got)
        return found

    @cached_property
    def is_scaled(self) -> bool:
        """Whether gradients are divided by a scale."""
        return terms.scalar(SCALE) in nodes([self.expected])


def check(task: Task) -> Verdict:
    """Every stored tensor of the PTX for aligned tensors, of every kernel."""
    found: list[Rounding] = []
    for one in task.each():
        subject = proof.Subject.at(one)
        try:
            text = proof.text_of(one, subject, True)
        except CannotCompile as error:
            return _verdict(task, Status.REFUTED, str(error), found)
        verdict = _of_ptx(one, subject, text, found)
        if not verdict.status.passed:
            return verdict
    worst = max(found, key=lambda r: r.worst_ulp)
    bounds = [r.units for r in found if r.units is not None]
    detail = f"worst error {worst.worst_ulp:.2f} ulp of `{worst.tensor}`"
    if len(bounds) == len(found):
        detail += f"; at most {max(bounds):.3g} u for every input"
    return _verdict(task, Status.TESTED, detail, found)


def _of_ptx(task: Task, subject: proof.Subject, text: str, found: list[Rounding]) -> Verdict:
    """The PTX of one kernel for aligned tensors.

    Args:
        task: On one type, GPU and kernel.
        subject: The rule for it.
        text: The PTX.
        found: What is known of every stored tensor; filled.
    """
    (target,) = task.targets
    try:
        artefact, stores = proof.lifted_stores(subject, task.folder, target, text, task.exact)
    except (lifted.Refuted, lifted.Unsupported) as error:
        artefact = proof.artefact_of(subject, task.folder, target, text, True)
        reason = f"{target}, {subject.dtype}: {proof.not_lifted(error, artefact).detail}"
        return _verdict(task, Status.UNSUPPORTED, reason, found)
    for tensor, got in stores:
        try:
            result = _studied(subject, tensor, got)
        except (NoBound, NoValue, KeyError) as error:
            return _verdict(task, Status.UNSUPPORTED, f"`{tensor}`: {error}", found)
        if isinstance(result, Excess):
            at = {name: inputs.shown(value) for name, value in result.at.items()}
            values = result.expected, inputs.shown(result.got)
            counter = parting.counterexample(
                subject.spec, subject.expected, artefact, tensor, got, subject.dtype, at, values
            )
            detail = f"`{tensor}`: {result.reason}"
            return _verdict(task, Status.REFUTED, detail, found, counter)
        found.append(result)
    return _verdict(task, Status.TESTED, "within its bounds", found)


def _verdict(
    task: Task, status: Status, detail: str, found: Sequence[Rounding],
    counter: Counterexample | None = None,
) -> Verdict:  # fmt: skip
    evidence = {"rounding": [asdict(r) for r in found]}
    return task.verdict(status, detail, sum(r.points for r in found), counter, evidence=evidence)


_STUDIED: dict[tuple[Any, ...], Rounding | Excess] = {}
"""Results of this process: kernels for different targets mostly perform the same operations."""


def _studied(subject: proof.Subject, tensor: str, got: Term) -> Rounding | Excess:
    spec, wanted = subject.spec, subject.expected.stores[tensor]
    if congruence.same_operations(got, wanted):
        got = wanted  # the same bits, in which functions are seen as what they are
    kinds = proof.storage(spec, subject.options, subject.dtype)
    key = (spec.source.digest, tensor, got.digest, wanted.digest, subject.seed)
    if key not in _STUDIED:
        unit = max(UNIT[got.kind], UNIT[subject.expected.real])
        problem = Problem(tensor, got, wanted, kinds, proof.usual(spec), unit)
        _STUDIED[key] = study(problem, spec, subject.seed)
    return _STUDIED[key]


def universal(term: Term, problem: Problem) -> float | None:
    """The bound for every input, if there is one."""
    try:
        return rounding.universal(term, problem.unit, lambda part: sign(part, problem.domains))
    except NoBound:
        return None


def study(problem: Problem, spec: Spec, seed: int) -> Rounding | Excess:
    """Bound and worst point of one stored tensor.

    Raises:
        NoBound: An operation has no documented error.
    """
    rng = np.random.default_rng([seed, 9])
    points = [random_point(problem, spec, rng) for _ in range(POINTS)]
    worst: tuple[float, dict[str, float], Any, float] | None = None
    evaluated = 0
    for round_number in range(ROUNDS + 1):
        got = _kernel(problem, points)
        for point, value in zip(points, got, strict=True):
            found = error_at(problem, point, value)
            if isinstance(found, Excess):
                return found
            if found is None:
                continue
            evaluated += 1
            if worst is None or found[0] > worst[0]:
                worst = (found[0], point, found[1], value)
        if worst is None:
            break
        scale = 2.0 ** -(3 * round_number)
        points = [_moved(worst[1], problem, scale, rng) for _ in range(POINTS // 2)]
    units, rule = universal(problem.performed, problem), universal(problem.expected, problem)
    if worst is None:
        return Rounding(problem.tensor, units, rule, 0.0, 0.0, 0.0, {}, 0)
    error, at, exact, value = worst
    ulp = float(np.spacing(FLOATS[problem.got.kind](abs(value)))) or 1.0
    distance = abs(mp.mpf(value) - exact)
    relative = float(distance / abs(exact)) if exact else 0.0
    return Rounding(
        problem.tensor, units, rule, error, float(distance / ulp), relative, at, evaluated
    )


def error_at(
    problem: Problem, point: Mapping[str, float], got: float
) -> tuple[float, Any] | Excess | None:
    """What a kernel's result at a point says.

    Args:
        problem: The stored tensor.
        point: The inputs.
        got: What the kernel stored.

    Returns:
        Its error in units of u times M and the exact value; None where no bound applies.
    """
    try:
        done: dict[Term, Error] = {}
        kernel = rounding.analyse(problem.performed, point, problem.unit, done)
        rule = rounding.analyse(problem.expected, point, problem.unit, done)
    except Excluded:
        return None
    if not np.isfinite(got):
        return None
    distance = abs(mp.mpf(got) - rule.value)
    slack = 1 + 1e-6

    def excess(reason: str) -> Excess:
        expected = str(mp.nstr(rule.value, 20))
        return Excess(problem.tensor, dict(point), expected, got, reason)

    if distance > kernel.units * problem.unit * kernel.magnitude * slack:
        return excess("outside of the rounding bound of its own operations")
    approximate = any(n.op.startswith(("exp.", "ex2.", "lg2.")) for n in nodes([problem.got]))
    allowed = ALLOWED * rule.units * rule.magnitude * slack
    if not approximate and kernel.units * kernel.magnitude > allowed:
        times = float(kernel.units * kernel.magnitude / (rule.units * rule.magnitude or 1))
        return excess(f"its rounding bound is {times:.3g} times that of the rule as written")
    if rule.magnitude == 0:
        return 0.0, rule.value
    return float(distance / (problem.unit * rule.magnitude)), rule.value


def _kernel(problem: Problem, points: Sequence[Mapping[str, float]]) -> list[float]:
    """What the kernel's operations give at the points, each rounded as its kind says."""
    columns = {
        name: np.array([p[name] for p in points], FLOATS[problem.kinds.get(name, "f64")])
        for name in points[0]
    }
    with np.errstate(all="ignore"):
        result = np.broadcast_to(evaluate(problem.got, columns), (len(points),))
    return [float(x) for x in result]


def random_point(problem: Problem, spec: Spec, rng: inputs.Generator) -> dict[str, float]:
    """Random values of all leaves, exactly representable in their types."""
    values: dict[str, float] = {"t": float(rng.choice([1, 2, 3, 10, 100, 1000]))}
    if rng.random() < 0.5:
        values |= {h.name: h.default for h in spec.hyperparameters}
    else:
        values |= inputs.hyperparameters(spec, rng)
    for s in spec.states:
        if s.scalar:
            values[s.name] = float(inputs.inside(rng.random(1), s.domain)[0])
    if problem.is_scaled:
        values[SCALE] = float(np.float32(2.0 ** rng.uniform(0, 24)))
    for name, kind in problem.kinds.items():
        domain = problem.domains.get(name, Interval())
        drawn = inputs.log_uniform(1, "float64", domain, rng, 4)[0]
        values[name] = _inside(float(FLOATS[kind](drawn)), drawn, domain, kind)
    return values


def _inside(value: float, exact: float, domain: Interval, kind: str) -> float:
    """A value of a kind, inside of its domain even if rounding has left it."""
    if value in domain:
        return value
    toward = np.inf if value < exact else -np.inf
    return float(np.nextafter(FLOATS[kind](value), FLOATS[kind](toward)))


def _moved(
    point: Mapping[str, float], problem: Problem, scale: float, rng: inputs.Generator
) -> dict[str, float]:
    """A point nearby: some leaves a little larger or smaller, in their domains."""
    moved = dict(point)
    for name in moved:
        if name == "t" or rng.random() < 0.5:
            continue
        domain = problem.domains.get(name, Interval())
        candidate = moved[name] * (1 + scale * rng.uniform(-0.5, 0.5))
        if name in problem.kinds:
            candidate = float(FLOATS[problem.kinds[name]](candidate))
        if candidate in domain:
            moved[name] = candidate
    return moved if is_allowed(moved, problem.domains) else dict(point)
