# Copied by `stepforge build` from templates/torch/_host.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""The step on the CPU: the compiled C file, or the NumPy reference on views of the tensors.

Both compute the same bits. C comes first; where it cannot be compiled, NumPy does with a warning.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# isort: split
import torch

from ._device import unscale
from ._jobs import Job, Work
from ._tensors import GRADIENT, array_of

CHUNK = 1 << 15
"""Elements of a tensor that NumPy computes at a time, so that they stay in the cache."""
_warned: set[str] = set()


def step_on_host(
    owner: str, reference: Any, work: Work, jobs: Iterable[Job], scale: float | None
) -> None:
    """One step of parameters on the CPU.

    Args:
        owner: The name of the optimizer's class.
        reference: Module of the NumPy reference.
        work: What there is to do in their group.
        jobs: The parameters.
        scale: What the gradients are divided by, in the compute type; they are stored so, too.

    Raises:
        RuntimeError: The group asks for C, which cannot be compiled.
    """
    compiled = None if work.backend == "numpy" else _compiled(owner, reference, work.backend)
    if compiled is None:
        _step_by_numpy(reference, work, jobs, scale)
    else:
        _step_by_c(compiled, work, jobs, scale)


def _compiled(owner: str, reference: Any, backend: str | None) -> Any:
    """The module that steps by C, or None with one warning where that is not to be had."""
    package, _, name = reference.__name__.rpartition(".")
    folder = f"{package.rpartition('.')[0]}.cpu"
    library = importlib.import_module(f"{folder}._library")
    try:
        library.load(name)
    except library.Unavailable as error:
        if backend == "c":
            raise RuntimeError(f'{owner} has backend="c", but {error}') from None
        if str(error) not in _warned:
            _warned.add(str(error))
            what = f"{owner} steps by NumPy, which takes longer: {error}"
            warnings.warn(what, RuntimeWarning, stacklevel=2)
        return None
    return importlib.import_module(f"{folder}.{name}")


def _step_by_c(compiled: Any, work: Work, jobs: Iterable[Job], scale: float | None) -> None:
    """One call for all parameters of one step number, set of scalar states and set of types."""
    tables = importlib.import_module(f"{compiled.__package__}._tables")
    places = [work.names.index(c) if c in work.names else None for c in compiled.COLUMNS]
    batches: dict[Any, list[list[int]]] = {}
    after = []
    for job in jobs:
        ready = job.walked()
        if scale is not None:
            gradient, unscaled = unscale(ready, scale)
            if unscaled is not gradient:
                after.append((gradient, unscaled))
        tensors = ready.tensors
        row = [0 if at is None else tensors[at].data_ptr() for at in places]
        row.append(tensors[0].numel())
        types = tuple([None if at is None else tensors[at].dtype for at in places])
        batches.setdefault((job.t, job.before, types), []).append(row)
        after.append((ready, tensors))
    for (t, before, types), rows in batches.items():
        state = dict(zip(work.scalars, before, strict=True))
        table = tables.build(rows, bytes([_TYPES[dtype] for dtype in types]))
        threads = torch.get_num_threads()
        compiled.step_table(table, state, t, **work.numbers, _checked=False, threads=threads)
    for first, second in after:
        if isinstance(first, torch.Tensor):
            first.copy_(second)
        else:
            first.restore(scale is not None, len(work.inputs))


_TYPES = {
    torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3, None: 0,
}  # fmt: skip
"""The numbers that the C files have for types of tensors."""


def _step_by_numpy(
    reference: Any, work: Work, jobs: Iterable[Job], scale: float | None
) -> None:
    """The reference, one parameter after the other."""
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
