"""The step on the CPU: the NumPy reference on views of the tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._jobs import Job, Work
from ._tensors import GRADIENT, array_of

CHUNK = 1 << 15
"""Elements of a tensor that NumPy computes at a time, so that they stay in the cache."""


def step_on_host(reference: Any, work: Work, jobs: Iterable[Job], scale: float | None) -> None:
    """One step of parameters on the CPU.

    Args:
        reference: Module of the NumPy reference.
        work: What there is to do in their group.
        jobs: The parameters.
        scale: What the gradients are divided by, in the compute type; they are stored so, too.
    """
    inputs, names = work.inputs, work.names[GRADIENT + 1 + len(work.inputs) :]
    with np.errstate(all="ignore"):
        for job in jobs:
            ready = job.walked()
            scalars = dict(zip(work.scalars, job.before, strict=True))
            for p, g, *others in _pieces([array_of(tensor) for tensor in ready.tensors]):
                gradient, states = g, others[len(inputs) :]
                given = dict(zip(inputs, others[: len(inputs)], strict=True))
                if scale is not None:
                    real = np.result_type(p, np.float32).type
                    gradient = g.astype(real) / real(scale)
                    g[...] = gradient.astype(g.dtype)
                old = {**dict(zip(names, states, strict=True)), **scalars}
                p[...], new = reference.step(
                    p, gradient, old, job.t, **given, **work.numbers, _checked=False
                )
                for name, state in zip(names, states, strict=True):
                    state[...] = new[name]
            ready.restore(scale is not None, len(inputs))


def _pieces(arrays: list[Any]) -> Iterator[list[Any]]:
    """Views of the same elements of all arrays, at most `CHUNK` of them at a time."""
    size = arrays[0].size
    if size <= CHUNK:
        yield arrays
        return
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, size, CHUNK):
        yield [array[start : start + CHUNK] for array in flat]
