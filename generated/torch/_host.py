# Copied by `stepforge build` from templates/torch/_host.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""The step on the CPU: the compiled C file, or the NumPy reference on views of the tensors.

Both compute the same bits. C comes first; where it cannot be compiled, NumPy does with a warning.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# isort: split
import torch

from ._device import unscale
from ._jobs import Job, Work
from ._tensors import GRADIENT, Walked, array_of

CHUNK = 1 << 15
"""Elements of a tensor that NumPy computes at a time, so that they stay in the cache."""
_warned: set[str] = set()


class Compiled(NamedTuple):
    """The C file of an optimizer.

    Attributes:
        module: The module that steps by it, with the numbers of a step.
        library: Its compiled code.
        tables: The module of tables.
    """

    module: Any
    library: Any
    tables: Any

    def options(self, values: Mapping[str, Any]) -> int:
        """The bits of options among the arguments of the rule's step."""
        return sum(bool(values[name]) << at for at, name in enumerate(self.module._OPTIONS))

    def table(
        self, names: Sequence[str], rows: Sequence[Sequence[int]], types: Sequence[torch.dtype],
        sizes: Sequence[int],
    ) -> Any:  # fmt: skip
        """A table of parameters.

        Args:
            names: The rule's names of the tensors of a parameter.
            rows: For every parameter the addresses of these tensors.
            types: Their types, the same for all parameters.
            sizes: The numbers of elements of the parameters.
        """
        columns = self.module.COLUMNS
        places = [names.index(name) if name in names else -1 for name in columns]
        full = [
            [*[0 if at < 0 else row[at] for at in places], size]
            for row, size in zip(rows, sizes, strict=True)
        ]
        return self.tables.build(
            full, bytes([_TYPES[types[at]] if at >= 0 else 0 for at in places])
        )

    def moved(self, table: Any, gradients: Sequence[int]) -> None:
        """Changes the addresses of the gradients in a table."""
        if "g" in self.module.COLUMNS:
            table.rows[:, self.module.COLUMNS.index("g")] = gradients

    def step(self, table: Any, numbers: Sequence[float], options: int) -> None:
        """One step of all parameters of a table, with the threads that torch has."""
        self.library.step(table, numbers, options, torch.get_num_threads())


def compiled(owner: str, reference: Any, backend: str | None) -> Compiled | None:
    """The C file, or None where the step is NumPy's; one warning says why C is not to be had.

    Args:
        owner: The name of the optimizer's class.
        reference: Module of the NumPy reference.
        backend: What the group wants: "c", "numpy", or None for what there is.

    Raises:
        RuntimeError: The group wants C, which cannot be compiled.
    """
    if backend == "numpy":
        return None
    folder, name = _folder(reference)
    found = importlib.import_module(f"{folder}._library")
    try:
        library = found.load(name)
    except found.Unavailable as error:
        if backend == "c":
            raise RuntimeError(f'{owner} has backend="c", but {error}') from None
        if str(error) not in _warned:
            _warned.add(str(error))
            what = f"{owner} steps by NumPy, which takes longer: {error}"
            warnings.warn(what, RuntimeWarning, stacklevel=2)
        return None
    tables = importlib.import_module(f"{folder}._tables")
    return Compiled(module_of(reference), library, tables)


def compiled_library(reference: Any) -> Any:
    """The compiled code of an optimizer, or None, without a warning, where it is not to be had."""
    folder, name = _folder(reference)
    found = importlib.import_module(f"{folder}._library")
    try:
        return found.load(name)
    except found.Unavailable:
        return None


def module_of(reference: Any) -> Any:
    """The module that steps by C, which need not be compiled for the numbers of a step."""
    folder, name = _folder(reference)
    return importlib.import_module(f"{folder}.{name}")


def _folder(reference: Any) -> tuple[str, str]:
    package, _, name = reference.__name__.rpartition(".")
    return f"{package.rpartition('.')[0]}.cpu", name


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
        RuntimeError: The group wants C, which cannot be compiled.
    """
    by_c = compiled(owner, reference, work.backend)
    if by_c is None:
        _step_by_numpy(reference, work, jobs, scale)
    else:
        _step_by_c(by_c, work, jobs, scale)


def _step_by_c(by_c: Compiled, work: Work, jobs: Iterable[Job], scale: float | None) -> None:
    """One call for all parameters of one step number, set of scalar states and set of types."""
    batches: dict[Any, list[Walked]] = {}
    stored = []
    for job in jobs:
        ready = job.walked()
        if scale is not None:
            stored.append(unscale(ready, scale))
        types = tuple([tensor.dtype for tensor in ready.tensors])
        batches.setdefault((job.t, job.before, types), []).append(ready)
    options = by_c.options(work.numbers)
    for (t, before, types), batch in batches.items():
        rows = [[tensor.data_ptr() for tensor in one.tensors] for one in batch]
        sizes = [one.tensors[0].numel() for one in batch]
        state = dict(zip(work.scalars, before, strict=True))
        numbers = by_c.module._numbers(state, t, **work.numbers, _checked=False)
        by_c.step(by_c.table(work.names, rows, types, sizes), numbers, options)
    for gradient, unscaled in stored:
        if unscaled is not gradient:
            gradient.copy_(unscaled)
    for one in (one for batch in batches.values() for one in batch):
        one.restore(scale is not None, len(work.inputs))


_TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""The numbers that the C files have for types of tensors."""


def _step_by_numpy(reference: Any, work: Work, jobs: Iterable[Job], scale: float | None) -> None:
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
