"""The facts about every stock spec, in numbers: the NumPy reference makes a few steps in float64.

The reference is rendered from the lowered rule; no fact is derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from support import STOCK, numpy_of, stock

from stepforge.facts.derive import Fact, Facts, facts
from stepforge.language.spec import Options, Spec

C = 0.25
STEPS, SIZE, TRIES = 6, 8, 12
SETS = [(name, ()) for name in STOCK] + [
    ("adam", ("amsgrad",)), ("adan", ("no_prox",)), ("sgd", ("use_momentum",)),
    ("rmsprop", ("use_momentum",)), ("rmsprop", ("centered",)), ("lion", ("maximize",)),
    ("adam", ("decoupled_weight_decay",)), ("adabound", ("amsbound",)),
]  # fmt: skip
Numbers = Mapping[str, float]
every = pytest.mark.parametrize(("name", "on"), SETS)


@cache
def found(name: str, on: tuple[str, ...]) -> Facts:
    return facts(stock(name), options_of(stock(name), on))


def options_of(spec: Spec, on: Sequence[str]) -> dict[str, bool]:
    return {o.name: o.default or o.name in on for o in spec.options}


@cache
def reference(name: str) -> Any:
    return numpy_of(stock(name))


def numbers(spec: Spec, zeros: Sequence[str], seed: int) -> dict[str, float]:
    """Hyperparameters: the defaults first, with other values for zeros, then anything usual."""
    rng = np.random.default_rng(seed)
    while True:
        values = {}
        for h in spec.hyperparameters:
            low = h.usual.low if math.isfinite(h.usual.low) else 0.0
            high = h.usual.high if math.isfinite(h.usual.high) else low + 1.5
            own = low + (high - low) * rng.uniform(0.2, 0.8)
            values[h.name] = h.default if h.default and seed % 3 == 0 else own
        values |= dict.fromkeys(zeros, 0.0)
        if spec.allows(values):
            return values


def path(
    name: str, options: Options, values: Numbers, seed: int = 0, *, start: float = 0.0,
    sign: float = 1.0, scale: float = 1.0, inputs: float = 1.0,
    gradient: Callable[[np.random.Generator], Any] | None = None,
) -> Any:  # fmt: skip
    """`p` before the first step and after each."""
    spec, made = stock(name), reference(name)
    rng = np.random.default_rng([seed, 77])
    p = rng.standard_normal(SIZE) * sign + start
    read = {o: options[o] for o in options}
    takes = made.init.__kwdefaults__ or {}
    state = made.init(p, **{k: v for k, v in {**values, **read}.items() if k in takes})
    found = [p]
    for t in range(1, STEPS + 1):
        g = rng.standard_normal(SIZE) if gradient is None else gradient(rng)
        more = {i.name: inputs * rng.standard_normal(SIZE) for i in spec.inputs}
        with np.errstate(all="ignore"):
            p, state = made.step(p, g * scale, state, t, **values, **read, **more)
        found.append(p)
    return np.array(found)


def value(text: str, values: Numbers, t: int = 0) -> float:
    """A formula of hyperparameters, as Python reads it."""
    names = {**values, "t": t, "sqrt": math.sqrt, "pi": math.pi, "max": max, "abs": abs}
    return float(eval(text, {"__builtins__": {}}, names))


def moves(one: Any) -> Any:
    """How far `p` is from its start, where that is a number of ordinary size."""
    return one - one[0]


def agree(one: Any, other: Any) -> bool:
    """The same numbers, wherever both are; most of them are."""
    usable = np.isfinite(one) & np.isfinite(other)
    assert usable.mean() > 0.5
    size = np.maximum(np.abs(one), np.abs(other))
    return bool((np.abs(one - other) <= 1e-7 * size + 1e-10)[usable].all())


def apart(one: Any, other: Any) -> bool:
    usable = np.isfinite(one) & np.isfinite(other)
    size = np.maximum(np.abs(one), np.abs(other)) + 1e-6
    return bool((np.abs(one - other) > 1e-4 * size)[usable].any())


def no_power(one: Any, other: Any) -> bool:
    """Steps whose ratios are not all the same."""
    first, second = np.diff(one, axis=0), np.diff(other, axis=0)
    usable = np.isfinite(first) & np.isfinite(second) & (np.abs(first) > 1e-6)
    ratios = second[usable] / first[usable]
    return bool(ratios.size and np.ptp(ratios) > 1e-4 * np.abs(ratios).max())


Check = Callable[[Numbers, int], bool]


def check(name: str, on: tuple[str, ...], fact: Fact | None, holds: Check, fails: Check) -> None:
    """A proved fact holds under its conditions, and fails without those that are needed."""
    spec = stock(name)
    if fact is None or fact.status == "unknown":
        return
    if fact.status == "refuted":
        assert fact.witness is not None
        values = {**numbers(spec, (), 1), **fact.witness.hyperparameters}
        assert any(fails(values, seed) for seed in range(TRIES))
        return
    for seed in range(3):
        assert holds(numbers(spec, fact.conditions, seed), seed)
    for left in fact.needed:
        zeros = [n for n in fact.conditions if n != left]
        assert any(fails(numbers(spec, zeros, seed), seed) for seed in range(TRIES)), left


@every
def test_the_power_of_the_loss(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)
    scaled = C if about.loss.inputs == "scaled" else 1.0

    def pair(values: Numbers, seed: int) -> tuple[Any, Any]:
        one = path(name, about.options, values, seed)
        return one, path(name, about.options, values, seed, scale=C, inputs=scaled)

    def holds(values: Numbers, seed: int) -> bool:
        one, other = pair(values, seed)
        times = C ** value(about.loss.value, values)
        steps = np.diff(one, axis=0), np.diff(other, axis=0)
        assert np.nanmax(np.abs(steps[0])) > 1e-9
        return agree(times * moves(one), moves(other))

    check(name, on, about.loss, holds, lambda v, s: no_power(*pair(v, s)))


@every
def test_the_power_of_the_learning_rate(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)
    rate = stock(name).roles.get("learning_rate", "")

    def pair(values: Numbers, seed: int) -> tuple[Any, Any]:
        slower = {**values, rate: C * values[rate]}
        return path(name, about.options, values, seed), path(name, about.options, slower, seed)

    def holds(values: Numbers, seed: int) -> bool:
        assert about.rate is not None
        one, other = pair(values, seed)
        return agree(C ** value(about.rate.value, values) * moves(one), moves(other))

    check(name, on, about.rate, holds, lambda v, s: no_power(*pair(v, s)))


@every
def test_signs(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)
    inputs = -1.0 if about.odd.inputs == "negated" else 1.0

    def pair(values: Numbers, seed: int) -> tuple[Any, Any]:
        other = path(name, about.options, values, seed, sign=-1.0, scale=-1.0, inputs=inputs)
        return path(name, about.options, values, seed), -other

    check(name, on, about.odd, lambda v, s: agree(*pair(v, s)), lambda v, s: apart(*pair(v, s)))


@every
def test_where_p_starts(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)

    def pair(values: Numbers, seed: int) -> tuple[Any, Any]:
        other = path(name, about.options, values, seed, start=1.0)
        return moves(path(name, about.options, values, seed)), moves(other)

    check(name, on, about.free, lambda v, s: agree(*pair(v, s)), lambda v, s: apart(*pair(v, s)))


@every
def test_without_gradient(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)

    def pair(values: Numbers, seed: int) -> tuple[Any, Any]:
        one = path(name, about.options, values, seed, scale=0.0)
        return one, np.broadcast_to(one[0], one.shape)

    check(name, on, about.still, lambda v, s: agree(*pair(v, s)), lambda v, s: apart(*pair(v, s)))
    if about.decay.status == "proved":
        values = numbers(stock(name), (), 1)
        one = path(name, about.options, values, scale=0.0)
        assert agree(one[1:], one[:-1] * value(about.decay.value, values))


@every
def test_no_step_exceeds_the_bound(name: str, on: tuple[str, ...]) -> None:
    about = found(name, on)
    fact = about.bound
    if fact.status != "proved":
        assert fact.status == "unknown"
        return

    def gradient(rng: np.random.Generator) -> Any:
        """Of all sizes, and often none."""
        return rng.standard_normal(SIZE) * 10.0 ** rng.integers(-3, 6, SIZE) * rng.integers(0, 2)

    largest = 0.0
    for seed in range(4):
        values = numbers(stock(name), fact.conditions, seed)
        steps = np.abs(np.diff(path(name, about.options, values, seed, gradient=gradient), axis=0))
        plain = np.abs(np.diff(path(name, about.options, values, seed), axis=0))
        for t in range(1, STEPS + 1):
            limit = value(fact.value, values, t)
            for own in (steps[t - 1], plain[t - 1]):
                size = np.nanmax(own, initial=0.0)
                assert size <= limit * (1 + 1e-9) + 1e-12
                largest = max(largest, size / limit)
    assert largest > 0.05  # a bound that says something


def test_many_facts_are_proved() -> None:
    """What the analysis finds in the catalogue does not get less unseen."""
    everything = [found(name, ()) for name in STOCK]
    proved = [sum(getattr(f, n).status == "proved" for f in everything)
              for n in ("loss", "odd", "free", "still", "bound")]  # fmt: skip
    assert all(p >= w for p, w in zip(proved, (60, 79, 78, 78, 22), strict=True)), proved
    unknown = [(f.spec.name, n) for f in everything for n in ("loss", "odd", "free", "still")
               if getattr(f, n).status == "unknown"]  # fmt: skip
    assert unknown == []
