"""Every access of the interpreted kernel, checked against the tensors that it was given.

Triton's interpreter reads and writes raw addresses through two functions of one module; they are
replaced by functions that look at the addresses first. Where a version of Triton has no such
module, the guard zones around the tensors still show what is written outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.verify.cases.tensors import Array, Tensor


@dataclass(frozen=True, slots=True)
class Stray:
    """An access outside of all tensors.

    Attributes:
        tensor: The tensor whose end, or start, is nearest.
        element: The index in it.
        verb: "reads" or "writes".
    """

    tensor: str
    element: int
    verb: str


class StrayAccess(Exception):
    """Ends the kernel before it touches memory that is not its own."""


class Watch:
    """Stands in for the module through which the interpreter reads and writes.

    Attributes:
        stray: The first access outside of all tensors.
    """

    def __init__(self, module: Any, tensors: Mapping[str, Tensor]) -> None:
        self._module = module
        self._tensors = dict(tensors)
        spans = sorted((t.data_ptr(), t.numel() * t.element_size()) for t in tensors.values())
        self._starts = np.array([start for start, _ in spans], np.uint64)
        self._stops = np.array([start + size for start, size in spans], np.uint64)
        self.stray: Stray | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def load(self, pointers: Array, mask: Array, other: Array, dtype: Any) -> Any:
        """Reads the elements that the mask selects."""
        self._check(pointers, mask, np.dtype(dtype).itemsize, "reads")
        return self._module.load(pointers, mask, other, dtype)

    def store(self, pointers: Array, values: Array, mask: Array) -> Any:
        """Writes the elements that the mask selects."""
        self._check(pointers, mask, values.dtype.itemsize, "writes")
        return self._module.store(pointers, values, mask)

    def _check(self, pointers: Array, mask: Array, size: int, verb: str) -> None:
        shape = np.broadcast_shapes(pointers.shape, mask.shape)
        chosen = np.broadcast_to(pointers, shape)[np.broadcast_to(mask, shape).astype(bool)]
        index = np.searchsorted(self._starts, chosen, side="right") - 1
        inside = (index >= 0) & (chosen + np.uint64(size) <= self._stops[index])
        if not inside.all():
            self.stray = self._nearest(int(chosen[~inside][0]), verb)
            raise StrayAccess(f"the kernel {verb} outside of `{self.stray.tensor}`")

    def _nearest(self, address: int, verb: str) -> Stray:
        def distance(tensor: Tensor) -> int:
            start = tensor.data_ptr()
            stop = start + tensor.numel() * tensor.element_size()
            return min(abs(address - start), abs(address - stop))

        name, tensor = min(self._tensors.items(), key=lambda item: distance(item[1]))
        return Stray(name, (address - tensor.data_ptr()) // tensor.element_size(), verb)


@contextmanager
def watched(tensors: Mapping[str, Tensor]) -> Iterator[Watch]:
    """Checks the accesses of the interpreter to these tensors for a while."""
    from triton.runtime import interpreter

    module = getattr(interpreter, "_interpreter", None)
    watch = Watch(module, tensors)
    if module is None:
        yield watch
        return
    interpreter._interpreter = watch
    patch = getattr(interpreter, "_patch_lang", None)
    if patch:
        interpreter._patch_lang = _once(patch)
    try:
        yield watch
    finally:
        interpreter._interpreter = module
        if patch:
            interpreter._patch_lang = patch


def _once(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What replaces `triton.language` in the interpreter, without doing so again within a launch.

    The interpreter does it for a kernel and for every helper that the kernel calls, which takes
    a third of its time; nothing is left to be replaced while the kernel's own changes stand. Where
    a version of Triton does not say when they end, nothing changes.
    """
    launch: Any = None

    def patched(function: Any) -> Any:
        nonlocal launch
        if getattr(launch, "_changes", None):
            return type(launch)()
        launch = patch(function)
        return launch

    return patched
