"""Cases: sizes around the block, special values, and trajectories of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.language.spec import Interval, Options, Spec
from stepforge.verify.cases import inputs
from stepforge.verify.cases.bench import Case, Step, is_tensor
from stepforge.verify.cases.reference import states_of

DTYPES = ("float32", "float64")
LONG_TRAJECTORY = 50


def few_cases(spec: Spec, options: Options, block: int, rng: inputs.Generator) -> Iterator[Case]:
    """One case of every kind, with short trajectories."""
    for dtype in DTYPES:
        for n in (1, block + 1):
            tensors = inputs.ordinary(spec, options, n, dtype, rng)
            yield single(spec, options, tensors, rng)
        yield single(spec, options, inputs.specials(spec, options, dtype, rng), rng)
        for _ in range(2):
            yield at_edges(spec, options, dtype, rng)
        yield _with_numpy_scalars(trajectory(spec, options, dtype, 4, (3, 5, 2), rng))
    yield single(spec, options, inputs.specials(spec, options, "float16", rng), rng)


def cases(spec: Spec, options: Options, block: int, rng: inputs.Generator) -> Iterator[Case]:
    """Sizes around the block, special values, and trajectories of up to 50 steps."""
    for dtype in DTYPES:
        for n in (1, 2, block - 1, block, block + 1, 3 * block + 17, 0):
            tensors = inputs.ordinary(spec, options, n, dtype, rng)
            yield single(spec, options, tensors, rng)
        for _ in range(2):
            yield single(spec, options, inputs.specials(spec, options, dtype, rng), rng)
        for _ in range(4):
            yield at_edges(spec, options, dtype, rng)
        yield trajectory(spec, options, dtype, LONG_TRAJECTORY, (37,), rng)
        yield trajectory(spec, options, dtype, int(rng.integers(2, 20)), (block + 1,), rng)
        for shape in ((), (5, 0), (3, 5, 2)):
            yield _with_numpy_scalars(trajectory(spec, options, dtype, 8, shape, rng))
    for tensors in (
        inputs.ordinary(spec, options, block + 17, "float16", rng),
        inputs.specials(spec, options, "float16", rng),
    ):
        yield single(spec, options, tensors, rng)
    yield trajectory(spec, options, "float16", 3, (37,), rng)


def _with_numpy_scalars(case: Case) -> Case:
    """What callers may pass as well; float64 is then a type that spreads to float32 arrays."""

    def numbers(values: dict[str, Any]) -> dict[str, Any]:
        return {k: v if is_tensor(v) else np.float64(v) for k, v in values.items()}

    steps = tuple(Step(s.g, numbers(s.values), int(s.t)) for s in case.steps)
    return replace(case, steps=steps)


def single(
    spec: Spec, options: Options, tensors: dict[str, inputs.Array], rng: inputs.Generator,
    draw: Callable[[Spec, inputs.Generator], dict[str, float]] = inputs.numbers,
) -> Case:  # fmt: skip
    """One step from random states, somewhere in a training run.

    Args:
        spec: The spec.
        options: The option set.
        tensors: `p`, `g`, inputs and states.
        rng: Of everything else.
        draw: Gives the numbers.
    """
    p, g = tensors["p"], tensors["g"]
    given, states = inputs.parted(spec, tensors)
    state: dict[str, Any] = {**states_of(spec, states, p.dtype)}
    state |= inputs.scalar_states(spec, options, rng)
    t = int(rng.choice([1, 2, 3, 10, 1000, 123_456_789]))
    step = Step(g, {**draw(spec, rng), **given}, t)
    return Case(options, p.dtype.name, p, state, (step,))


def at_edges(spec: Spec, options: Options, dtype: str, rng: inputs.Generator) -> Case:
    """One step with special values in several tensors, and hyperparameters at their edges."""
    tensors = inputs.mixed(spec, options, dtype, rng)
    return single(spec, options, tensors, rng, inputs.edges)


def trajectory(
    spec: Spec, options: Options, dtype: str, count: int, shape: tuple[int, ...],
    rng: inputs.Generator,
) -> Case:  # fmt: skip
    """Steps from `init`; the learning rate changes in between, now and then everything does."""
    n = int(np.prod(shape))
    values = inputs.numbers(spec, rng)
    p = inputs.log_uniform(n, dtype, Interval(), rng, 3).reshape(shape)
    steps = []
    for t in range(1, count + 1):
        drawn = inputs.numbers(spec, rng)
        if t % 10 == 0:
            values = drawn
        elif (rate := spec.roles.get("learning_rate")) is not None:
            values = {**values, rate: drawn[rate]}
        values = values | {i.name: drawn[i.name] for i in spec.inputs if i.scalar}
        g = inputs.log_uniform(n, dtype, Interval(), rng, 3).reshape(shape)
        tensors = inputs.given(spec, n, dtype, rng, 3).items()
        given = {name: tensor.reshape(shape) for name, tensor in tensors}
        steps.append(Step(g, {**values, **given}, t))
    return Case(options, dtype, p, None, tuple(steps))
