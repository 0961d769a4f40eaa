"""The step on the CPU: the NumPy reference on views of the tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._jobs import Job
from ._tensors import array

CHUNK = 1 << 15
"""Elements of a tensor that NumPy computes at a time, so that they stay in the cache."""


def step_on_host(
    reference: Any, jobs: Iterable[Job], values: Mapping[str, Any], scale: float | None
) -> None:
    """One step of parameters on the CPU.

    Args:
        reference: Module of the NumPy reference.
        jobs: The parameters.
        values: The rule's hyperparameters and options.
        scale: What the gradients are divided by, in the compute type; they are stored so, too.
    """
    with np.errstate(all="ignore"):
        for job in jobs:
            ready = job.walked()
            p, g, *arrays = map(array, ready.tensors)
            states = dict(zip(list(job.columns)[2:], arrays, strict=True))
            for start in range(0, p.size, CHUNK):
                part = slice(start, start + CHUNK)
                gradient = g[part]
                if scale is not None:
                    real = np.result_type(p, np.float32).type
                    gradient = gradient.astype(real) / real(scale)
                    g[part] = gradient.astype(g.dtype)
                views = {name: state[part] for name, state in states.items()}
                old = {**views, **job.before}
                p[part], new = reference.step(p[part], gradient, old, job.t, **values)
                for name, view in views.items():
                    view[...] = new[name]
            ready.restore(scale is not None)
