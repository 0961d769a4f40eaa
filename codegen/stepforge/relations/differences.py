"""Where two sides part: the smallest input that shows it, the first lines, and the drift."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stepforge.language.spec import Interval
from stepforge.relations import formulas, trajectories
from stepforge.relations.correspondences import factors
from stepforge.relations.hypotheses import (
    LEARNING_RATE,
    Translation,
    is_share,
    shown,
    usual,
    variables,
)
from stepforge.relations.numbers import columns, drawn
from stepforge.relations.reals import ONE, replaced
from stepforge.relations.sides import Side, T
from stepforge.relations.trajectories import Array, Problem, Values
from stepforge.verify.reading.reader import place
from stepforge.verify.terms import terms
from stepforge.verify.terms.evaluation import Real, mp
from stepforge.verify.terms.terms import Term, nodes
from stepforge.verify.terms.walk import walk

SHORT, LONG = 3, 60
"""Steps of the smallest inputs, and of random ones where none of these shows a difference."""
SHARES = (0.5, 0.75, 0.25)
GRADIENTS = (0.0, 1.0, 2.0, -1.0)
DRIFTS = (1, 10, 30)
SIZE = 16
NEAR = 1e-6
"""Relative differences below, in rounded numbers, are not looked into."""
CERTAIN = mp.mpf(10) ** -60


@dataclass(frozen=True)
class Witness:
    """An input of one element, for which `p` differs after some step.

    Attributes:
        step: The step, from 1.
        values: The variables.
        p: The parameter before the first step.
        gradients: Of every step until then.
        inputs: By name, those of every step until then.
        results: A's `p` and B's after that step.
    """

    step: int
    values: Mapping[str, float]
    p: float
    gradients: tuple[float, ...]
    inputs: Mapping[str, tuple[float, ...]]
    results: tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """How two sides part.

    Attributes:
        witness: The smallest input that was found.
        formula: A's `p` less B's there, as a formula; "" if it is too long to be of use.
        lines: The first lines of A and of B that the other has no counterpart of; "" for none.
        explanation: One sentence about the first step; "" if there is nothing short to say.
        drift: Step → the distance of both `p`, as a part of the way that A's has gone.
    """

    witness: Witness
    formula: str
    lines: tuple[str, str]
    explanation: str
    drift: Mapping[int, float]


def difference(a: Side, b: Side, translation: Translation) -> Difference | None:
    """How two sides part; None if no input was found for which they do."""
    witness = next(_witnesses(a, b, translation), None)
    if witness is None:
        return None
    return Difference(
        witness,
        formulas.difference(a, b, translation, witness.values, witness.p, _read(witness)),
        _lines(a, b, translation, witness),
        _explanation(a, b, translation),
        _drift(a, b, translation),
    )


def _read(witness: Witness) -> Mapping[str, Sequence[float]]:
    return {**witness.inputs, "g": witness.gradients}


def _given(side: Side, translation: Translation | None) -> Mapping[str, Term]:
    if translation is None:
        return {name: terms.scalar(name) for name in side.hyperparameters}
    return {name: translation.values[name] for name in side.hyperparameters}


# The smallest input.


def _witnesses(a: Side, b: Side, translation: Translation) -> Iterator[Witness]:
    """Inputs for which both differ, smallest first; random ones where no small one does.

    What is 0 by default, such as a weight decay, is 0 as long as there are such inputs. In small
    ones, what steps are given beside gradients is always the same.
    """
    spans = variables(a, b, translation)
    rows = [row for row in _rows(a, b, translation, spans) if _allowed(a, b, translation, row)]
    small = np.array(list(itertools.product((0.0, 1.0), *[GRADIENTS] * SHORT)))
    rng = np.random.default_rng(5)
    large = np.round(rng.standard_normal((32, LONG + 1)) * 4) / 4
    zeros = [name for name, value in _defaults(a, b, translation).items() if value == 0]
    neutral = [row for row in rows if not any(row[name] for name in zeros)]
    for chosen in (neutral, [row for row in rows if row not in neutral]):
        for inputs in (small, large):
            gradients = list(inputs.T[1:, None, :])
            read = trajectories.random_inputs((a, b), 5, len(gradients), len(inputs))
            if inputs is small:
                read = [_typical(a, b)] * SHORT
            problem = Problem(inputs[None, :, 0], gradients, read)
            yield from _found(a, b, translation, chosen, problem)


def _typical(a: Side, b: Side) -> Values:
    """A number for every input; not 1, of which every power is the same."""
    spans = trajectories.inputs_of((a, b)).items()
    return {name: np.array([[2.0 if 2 in span else span.typical]]) for name, (span, _) in spans}


def _found(
    a: Side, b: Side, translation: Translation, rows: Sequence[Mapping[str, float]],
    problem: Problem,
) -> Iterator[Witness]:  # fmt: skip
    for row in rows:
        values = {name: np.array([[value]]) for name, value in row.items()}
        one, other = (
            trajectories.run(side, partial(columns, _given(side, use), values), problem)
            for side, use in ((a, None), (b, translation))
        )
        for step, (before, after) in enumerate(zip(one, other, strict=True), 1):
            p, q = (np.broadcast_to(x["p"], problem.p.shape)[0] for x in (before, after))
            with np.errstate(invalid="ignore"):
                differs = np.abs(p - q) > NEAR * np.maximum(np.abs(p), np.abs(q))
            differs &= np.isfinite(p) & np.isfinite(q)
            places = sorted(map(int, np.flatnonzero(differs)), key=partial(_cost, problem, step))
            for element in places[:4]:
                gradients = tuple(float(g[0, element]) for g in problem.gradients[:step])
                start = float(problem.p[0, element])
                inputs = {
                    name: tuple(float(x[name][0, element % x[name].size]) for x in of_steps)
                    for of_steps in [problem.inputs[:step]]
                    for name in of_steps[0]
                }
                read = {**inputs, "g": gradients}
                results = _exactly(a, b, translation, row, start, read)
                if results is not None:
                    yield Witness(step, row, start, gradients, inputs, results)


def _cost(problem: Problem, step: int, element: int) -> tuple[float, ...]:
    """Few numbers that are not zero, small ones, and few negative ones."""
    used = [problem.p[0, element], *(g[0, element] for g in problem.gradients[:step])]
    return sum(x != 0 for x in used), sum(map(abs, used)), sum(x < 0 for x in used)


def _rows(
    a: Side, b: Side, translation: Translation, spans: Mapping[str, Interval]
) -> Iterator[dict[str, float]]:
    """Simple values of the variables, then the defaults, then random ones."""
    defaults = _defaults(a, b, translation)
    shared = {v.data for v in translation.values.values() if not v.args}
    shared &= {*a.hyperparameters}
    rate = a.spec.roles.get(LEARNING_RATE)
    ways = ((shared, (0.5,)), ({*spans}, (0.5,)), ({*spans}, SHARES))
    for known, shares in ways:
        for other, decay in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
            share = itertools.cycle(shares)
            simple = {n: next(share) if is_share(s) else other for n, s in spans.items()}
            simple |= {n: decay for n, value in defaults.items() if value == 0}
            simple |= {rate: 1.0} if rate else {}
            yield {**defaults, **{n: x for n, x in simple.items() if n in known and x in spans[n]}}
    yield {n: defaults[n] for n in spans}
    rng = np.random.default_rng(6)
    yield {n: round(drawn(span, rng), 2) for n, span in spans.items()}


def _defaults(a: Side, b: Side, translation: Translation) -> dict[str, float]:
    """Of the variables: A's default, or B's if A has none, or 0."""
    found = dict(a.hyperparameters)
    for name, value in translation.values.items():
        if not value.args and not value.is_constant and not found.get(value.data):
            found[value.data] = b.hyperparameters[name]
    return found


def _allowed(a: Side, b: Side, translation: Translation, row: Mapping[str, float]) -> bool:
    values = {name: np.asarray(value) for name, value in row.items()}
    found = columns(_given(b, translation), values, 1)
    own = {name: float(value) for name, value in found.items()}
    inside = all(x in b.domains[name] for name, x in own.items())
    inside &= all(row[name] in a.domains[name] for name in a.hyperparameters)
    return inside and a.spec.allows(row) and b.spec.allows(own)


def _exactly(
    a: Side, b: Side, translation: Translation, row: Mapping[str, float], p: float,
    read: Mapping[str, Sequence[float]],
) -> tuple[str, str] | None:  # fmt: skip
    """Both `p` in 120 digits, as they are printed; None if they do not differ there."""
    found = []
    for side, use in ((a, None), (b, translation)):
        value = _exact(side, _given(side, use), row, p, read)
        if value is None:
            return None
        found.append(value)
    if abs(found[0] - found[1]) <= CERTAIN * max(map(abs, found)):
        return None
    digits = next(d for d in (6, 12, 17) if d == 17 or len({mp.nstr(x, d) for x in found}) == 2)
    return mp.nstr(found[0], digits), mp.nstr(found[1], digits)


def _exact(
    side: Side, given: Mapping[str, Term], row: Mapping[str, float], p: float,
    read: Mapping[str, Sequence[float]],
) -> Any:  # fmt: skip
    state: dict[str, Any] = {}
    for t in range(1, len(read["g"]) + 1):
        now = {name: values[t - 1] for name, values in read.items()}
        leaves: dict[str, Any] = {**row, "t": t, "p": p}
        numbers = {name: walk(term, Real(leaves)) for name, term in given.items()}
        if t == 1:
            begin = {**numbers, "p": p}
            state = {name: walk(term, Real(begin)) for name, term in side.inits.items()}
            state["p"] = mp.mpf(p)
        done: dict[Term, Any] = {}
        arithmetic = Real({**numbers, **state, "t": t, **now})
        if None in (*numbers.values(), *state.values()):
            return None
        state = {name: walk(term, arithmetic, done) for name, term in side.after.items()}
    return state["p"]


# The first lines that part.


def _lines(a: Side, b: Side, translation: Translation, witness: Witness) -> tuple[str, str]:
    """The first statements whose values the other side has not, in the step that differs.

    A value may be a multiple of one on the other side, unless that gives another value to the same
    name. Hyperparameters that are not 0 in the witness are random: small numbers are often equal.
    """
    problem = trajectories.random_problem((a, b), 3)
    rng, spans = np.random.default_rng(9), usual(a, b, translation)
    row = {n: drawn(spans[n], rng) if x else 0.0 for n, x in witness.values.items()}
    if not _allowed(a, b, translation, row):
        row = dict(witness.values)
    values = {name: np.array([[value]]) for name, value in row.items()}
    given = [partial(columns, _given(s, use), values) for s, use in ((a, None), (b, translation))]
    runs = [trajectories.run(side, own, problem) for side, own in zip((a, b), given, strict=True)]
    steps = zip(*([run["p"] for run in found] for found in runs), strict=True)
    differs = (t for t, (p, q) in enumerate(steps, 1) if not np.allclose(p, q, rtol=NEAR, atol=0))
    t = next(differs, min(witness.step, len(problem.gradients)))
    traces = []
    for side, own, found in zip((a, b), given, runs, strict=True):
        wanted = {term.digest.hex(): term for term in nodes(t for _, t in side.trace)}
        before = found[t - 2] if t > 1 else trajectories.start(side, own(1), problem.p)
        traces.append(trajectories.step(wanted, own(t), before, t, problem.read(t)))
    return (
        _first_line(a, traces[0], b, traces[1]),
        _first_line(b, traces[1], a, traces[0]),
    )


def _first_line(side: Side, own: Values, other: Side, others: Values) -> str:
    """The first statement with an effect whose value is none of the other side's.

    A name that both give a value has to have one that it has there; another name that of any
    operation, or a multiple of it.
    """
    needed = {*nodes(side.after.values())}
    table = np.array([trajectories.shape(value, 1)[0] for value in others.values()], float)
    rows = dict(zip(others, table, strict=True))
    stated: dict[str, list[Array]] = {}
    for statement, term in other.trace:
        stated.setdefault(statement.name, []).append(rows[term.digest.hex()])
    last = ""
    for statement, term in side.trace:
        if term not in needed:
            continue
        value = trajectories.shape(own[term.digest.hex()], 1)[0].astype(float)
        is_common = statement.name in stated
        wanted = np.array(stated[statement.name]) if is_common else table
        if not _has(wanted, value, proportional=not is_common):
            return place(side.spec, statement)
        if statement.name == "p":
            last = place(side.spec, statement)
    return last


def _has(table: Array, value: Array, proportional: bool) -> bool:
    """Whether a row of the table is the value, or a multiple of it."""
    if np.isclose(table, value, rtol=NEAR, atol=0).all(axis=1).any():
        return True
    if not proportional:
        return False
    with np.errstate(all="ignore"):
        ratio = table / value
    ratio = ratio[np.isfinite(ratio).all(axis=1) & (ratio != 0).all(axis=1)]
    return bool(np.isclose(ratio, ratio[:, :1], rtol=NEAR, atol=0).all(axis=1).any())


# What the first steps have to do with each other.


def _explanation(a: Side, b: Side, translation: Translation) -> str:
    """The factor between the first steps, if there is one for all elements."""
    spans = variables(a, b, translation)
    rng = np.random.default_rng(7)
    values = {name: np.array([[drawn(span, rng)]]) for name, span in spans.items()}
    problem = trajectories.random_problem((a, b), 4).first(1)
    moves = []
    for side, use in ((a, None), (b, translation)):
        run = trajectories.run(side, partial(columns, _given(side, use), values), problem)
        moves.append(np.ravel(run[0]["p"] - problem.p))
    with np.errstate(all="ignore"):
        ratio = moves[0] / moves[1]
    if not np.isfinite(ratio).all() or not np.allclose(ratio, ratio[0], rtol=NEAR):
        return ""
    if np.isclose(ratio[0], 1, rtol=NEAR):
        return ""  # that is proved elsewhere
    if np.isclose(ratio[0], -1, rtol=NEAR):
        return f"the first step of {a.label} is that of {b.label} in the other direction"
    known = (term for term, value in factors(spans, values) if np.isclose(value[0], ratio[0]))
    factor = next(known, None)
    if factor is None:
        return ""
    text = shown(replaced(factor, {T: ONE}, spans))
    return f"the first step of {a.label} is that of {b.label} times {text}"


# Drift.


def _drift(a: Side, b: Side, translation: Translation) -> dict[int, float]:
    """How far both are apart at their defaults.

    For what they share that of A counts, or of B if A's is 0.
    """
    rng = np.random.default_rng(8)
    start, target = rng.standard_normal((2, 1, SIZE))
    slopes = np.geomspace(0.1, 10, SIZE)[None]
    noise = 0.1 * rng.standard_normal((DRIFTS[-1], 1, SIZE))
    row = _defaults(a, b, translation)
    values = {name: np.array([[value]]) for name, value in row.items()}
    read = trajectories.random_inputs((a, b), 8, DRIFTS[-1], SIZE)
    ways = []
    for side, use in ((a, None), (b, translation)):
        given = partial(columns, _given(side, use), values)
        state: Values = trajectories.start(side, given(1), start)
        way = []
        for t in range(1, DRIFTS[-1] + 1):
            g = slopes * (state["p"] - target) + noise[t - 1]
            state = trajectories.step(side.after, given(t), state, t, {**read[t - 1], "g": g})
            way.append(state["p"])
        ways.append(way)
    found = {}
    for t in DRIFTS:
        p, q = ways[0][t - 1], ways[1][t - 1]
        gone = float(np.linalg.norm(p - start))
        found[t] = float(np.linalg.norm(p - q)) / gone if gone else float("inf")
    return found
