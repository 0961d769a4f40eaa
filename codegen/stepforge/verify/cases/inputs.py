"""Inputs that find faults: adversarial tensors and random hyperparameters.

Defaults hide hard-coded constants, and friendly magnitudes hide a misplaced eps, so hyperparameters
are drawn from their whole usual ranges, which are their domains unless a spec says otherwise, and
magnitudes are log-uniform over many decades.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from stepforge.language.spec import Held, Hyperparameter, Input, Interval, Options, Spec
from stepforge.verify.reading import reader
from stepforge.verify.reading.tree import Name, Number, comparisons

SIGNED = 6
"""Tensors that are zeros of all signs together."""
TURNING = 0.25
"""How often a hyperparameter is the number that the rule compares it with."""
MIXED, SPECIAL = 500, 0.5
"""Elements with special values in several tensors, and how often each tensor has one."""
TRIES = 20
"""Draws of hyperparameters until they are allowed together."""
HALVINGS = 60
EDGE = 0.6
"""How often a hyperparameter that may be at an edge is there, in a draw at edges."""
REPEATED = 16
"""Programs that special values are spread over, to be met by every element of a thread."""
Generator = np.random.Generator
Array = np.ndarray[Any, Any]


def numbers(spec: Spec, rng: Generator) -> dict[str, float]:
    """Random values of every hyperparameter, from its usual range, and input of one number.

    Hyperparameters are allowed together.

    Those that the rule compares with a number are that number now and then.
    """
    for _ in range(TRIES):
        found = {number.name: draw(number, rng) for number in spec.numbers}
        for name, value in _turning_points(Held(spec)):
            if rng.random() < TURNING:
                found[name] = value
        if spec.allows(found):
            return found
    return nearer(spec, found)


def edges(spec: Spec, rng: Generator) -> dict[str, float]:
    """Hyperparameters at the closed lower ends of their domains, or where the rule compares them.

    Others, and each of these now and then, are as in `numbers`.
    """
    for _ in range(TRIES):
        found = numbers(spec, rng)
        ends = [(h.name, h.domain.low) for h in spec.numbers if not h.domain.low_open]
        for name, value in (*ends, *_turning_points(Held(spec))):
            if rng.random() < EDGE:
                found[name] = value
        if spec.allows(found):
            return found
    return numbers(spec, rng)


def nearer(spec: Spec, values: Mapping[str, float]) -> dict[str, float]:
    """The first hyperparameters on the way to the defaults that are allowed together."""
    defaults = {h.name: h.default for h in spec.numbers}
    for halving in range(HALVINGS):
        found = {k: d + (values[k] - d) * 0.5**halving for k, d in defaults.items()}
        if permitted(spec, found):
            return found
    return defaults


def permitted(spec: Spec, values: Mapping[str, float]) -> bool:
    """Whether each of the numbers is in its domain, and all are allowed together."""
    return all(values[h.name] in h.domain for h in spec.numbers) and spec.allows(values)


@lru_cache(maxsize=64)
def _turning_points(held: Held) -> tuple[tuple[str, float], ...]:
    """Numbers with literals of their domain that the rule compares them with."""
    domains = {h.name: h.domain for h in held.spec.numbers}
    found = []
    for left, _, right in comparisons(reader.of(held.spec).rule):
        for name, number in ((left, right), (right, left)):
            if isinstance(name, Name) and isinstance(number, Number) and name.id in domains:
                value = float(number.value)
                if value in domains[name.id]:
                    found.append((name.id, value))
    return tuple(dict.fromkeys(found))


def draw(h: Hyperparameter | Input, rng: Generator) -> float:
    """A random value of the usual range; now and then its closed lower end."""
    domain = h.usual
    kind = rng.random()
    if kind < 0.1 and not domain.low_open:
        return domain.low
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        width = domain.high - domain.low
        if kind < 0.5:  # close to the upper end, where decays live
            value = domain.high - width * 10 ** -rng.uniform(0.5, 5)
        else:
            value = domain.low + width * rng.uniform(0.01, 0.99)
    elif math.isfinite(domain.low):
        value = domain.low + 10 ** rng.uniform(-8, 0)
    elif math.isfinite(domain.high):
        value = domain.high - 10 ** rng.uniform(-8, 0)
    else:
        value = rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(-4, 0.5)
    return float(value) if float(value) in domain else h.default


def log_uniform(n: int, dtype: str, domain: Interval, rng: Generator, decades: float = 6) -> Array:
    """Magnitudes over many decades, both signs where the domain has them, a few zeros."""
    magnitude = 10.0 ** rng.uniform(-decades, 1, n)
    sign = rng.choice([-1.0, 1.0], n)
    values = np.where(rng.random(n) < 0.05, 0.0, magnitude * sign)
    return inside(values, domain).astype(dtype)


def inside(values: Array, domain: Interval) -> Array:
    """Moves values into a domain: by sign where that is enough, else to its ends or middle."""
    if domain.low >= 0:
        values = np.abs(values)
    low = domain.low if math.isfinite(domain.low) else -math.inf
    high = domain.high if math.isfinite(domain.high) else math.inf
    if math.isfinite(low) and math.isfinite(high):
        values = low + (high - low) * np.abs(values) / (1 + np.abs(values))
    elif math.isfinite(low) and low != 0:
        values = low + np.abs(values)
    elif math.isfinite(high):
        values = high - np.abs(values)
    if domain.low_open and math.isfinite(low):
        values = np.where(values == low, low + 1e-3, values)
    if domain.high_open and math.isfinite(high):
        values = np.where(values == high, high - 1e-3, values)
    return values


def special_values(dtype: str) -> Array:
    """Zeros, subnormals, the edge of overflow in squares, infinities and NaN."""
    info = ml_dtypes.finfo(dtype)
    tiny, least = float(info.tiny), float(info.smallest_subnormal)
    edge = [1e19, 1e-19, 1.8446744e19, 1e-23]
    finite = [0.0, least, 3 * least, tiny, tiny / 2, *edge, float(info.max), 1.0]
    signed = [x for value in finite for x in (value, -value)]
    with np.errstate(over="ignore"):
        return np.array([*signed, math.inf, -math.inf, math.nan]).astype(dtype)


def specials(spec: Spec, options: Options, dtype: str, rng: Generator) -> dict[str, Array]:
    """One tensor of special values after the other, the others ordinary, and zeros of all signs.

    Every combination is one element: the update works element by element.
    """
    domains = tensor_domains(spec, options)
    values = special_values(dtype)
    count = len(values)
    states = [name for name in domains if name not in ("p", "g")]
    first_quiet = count * (len(domains) + 1)
    signed = zeros(domains)
    n = first_quiet + 2 + len(states) + len(signed)
    tensors = {name: log_uniform(n, dtype, domain, rng, 3) for name, domain in domains.items()}
    for index, (name, domain) in enumerate(domains.items()):
        allowed = np.abs(values) if domain.low >= 0 else values
        if domain.low <= 0 <= domain.high:
            tensors[name][index * count : (index + 1) * count] = allowed
    # No gradient: at every special parameter with all states zero, which an update often leaves as
    # it is, then with all states zero, with one of them zero, with none.
    tensors["g"][count * len(domains) :] = 0
    tensors["p"][count * len(domains) : first_quiet] = values
    for index, name in enumerate(states):
        if domains[name].low <= 0 <= domains[name].high:
            tensors[name][count * len(domains) : first_quiet + 1] = 0
            tensors[name][first_quiet + 1 + index] = 0
    for name, column in zip(domains, signed.T, strict=True):
        last = tensors[name][n - len(signed) :]
        last[...] = np.where(np.isnan(column), last, column)
    order = rng.permutation(n)
    return {name: tensor[order] for name, tensor in tensors.items()}


def mixed(spec: Spec, options: Options, dtype: str, rng: Generator) -> dict[str, Array]:
    """Special values in several tensors together, or in none."""
    values, found = special_values(dtype), {}
    values = np.concatenate([values, np.repeat(values[~np.isfinite(values)], 4)])
    for name, domain in tensor_domains(spec, options).items():
        special = rng.choice(np.abs(values) if domain.low >= 0 else values, MIXED)
        chosen = (rng.random(MIXED) < SPECIAL) & (domain.low <= 0 <= domain.high)
        found[name] = np.where(chosen, special, log_uniform(MIXED, dtype, domain, rng, 3))
    return found


def everywhere(tensors: Mapping[str, Array], block: int) -> dict[str, Array]:
    """Every element again and again, until each was at all places that a thread's elements have.

    A compiler writes the update once for every element of a thread, so each of these has to meet
    every value. An odd number of elements has another phase in every program.
    """
    found = {}
    for name, tensor in tensors.items():
        odd = tensor if len(tensor) % 2 else np.append(tensor, tensor[:1])
        found[name] = np.resize(odd, REPEATED * block)
    return found


def zeros(domains: Mapping[str, Interval]) -> Array:
    """Zeros of all signs, a row for every combination; NaN where none is in the domain."""
    choices = []
    for domain in list(domains.values())[:SIGNED]:
        possible = [0.0, -0.0] if domain.low < 0 else [0.0]
        choices.append(possible if domain.low <= 0 <= domain.high else [np.nan])
    choices += [[np.nan]] * (len(domains) - len(choices))
    return np.array(list(itertools.product(*choices)))


def tensor_domains(spec: Spec, options: Options) -> dict[str, Interval]:
    """The domains of `p`, `g`, the inputs and states that are tensors and exist."""
    states = {s.name: s.domain for s in spec.active_states(options) if not s.scalar}
    inputs = {i.name: i.domain for i in spec.inputs if not i.scalar}
    return {"p": Interval(), "g": Interval(), **inputs, **states}


def parted(spec: Spec, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Tensors by what they are: those that are inputs, and states."""
    inputs = {name: tensors[name] for name in spec.given[2:]}
    return inputs, {k: v for k, v in tensors.items() if k not in spec.given}


def given(spec: Spec, n: int, dtype: str, rng: Generator, decades: float = 6) -> dict[str, Array]:
    """Log-uniform tensors for the inputs."""
    inputs = (i for i in spec.inputs if not i.scalar)
    return {i.name: log_uniform(n, dtype, i.domain, rng, decades) for i in inputs}


def ordinary(spec: Spec, options: Options, n: int, dtype: str, rng: Generator) -> dict[str, Array]:
    """Log-uniform tensors for `p`, `g`, inputs and states."""
    domains = tensor_domains(spec, options)
    return {name: log_uniform(n, dtype, domain, rng) for name, domain in domains.items()}


def scalar_states(spec: Spec, options: Options, rng: Generator) -> dict[str, float]:
    """Values of the scalar states, such as a product of decays."""
    drawn = {}
    for s in spec.active_states(options):
        if s.scalar:
            raw = np.array([rng.uniform(0.05, 0.95)])
            drawn[s.name] = float(inside(raw, s.domain)[0])
    return drawn


def shown(value: float) -> str:
    """A number so that it can be typed back exactly."""
    return repr(float(value))


def listing(values: Iterable[float], limit: int = 4) -> str:
    """The first few values of a tensor."""
    items = list(values)
    text = ", ".join(shown(value) for value in items[:limit])
    return f"[{text}{', …' if len(items) > limit else ''}]"
