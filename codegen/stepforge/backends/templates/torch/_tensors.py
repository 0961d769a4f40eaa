"""Views of tensors for a step: real numbers that lie on this device, in the order of memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

# isort: split
import torch
from torch.autograd.graph import increment_version

GRADIENT = 1
"""Place of the gradient among the tensors of a parameter: `p`, `g`, inputs, then its states."""
REALS = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))
PLAIN = (torch.Tensor, torch.nn.Parameter)


class Walked(NamedTuple):
    """Real tensors of one parameter whose elements have one order in memory, without holes.

    Attributes:
        tensors: All contiguous, or all one-dimensional views in the order of memory.
        copies: Of every tensor that had to be copied its index, the original and the copy.
    """

    tensors: list[torch.Tensor]
    copies: list[tuple[int, torch.Tensor, torch.Tensor]]

    def restore(self, with_gradient: bool, inputs: int) -> None:
        """Stores the copies in their originals; that of the gradient only if it has changed.

        Args:
            with_gradient: Whether it has.
            inputs: How many tensors behind the gradient are inputs, which never change.
        """
        for index, place, copy in reversed(self.copies):
            if index < GRADIENT + with_gradient or index > GRADIENT + inputs:
                _store(place, copy)


def walked(tensors: Sequence[torch.Tensor]) -> Walked:
    """Makes tensors of one shape ready to be walked together.

    Dense tensors with the strides of the first one are only viewed, whatever these are
    (`channels_last`, transposed, …). Copied are tensors with other strides, those that have holes,
    and those whose numbers are lazily conjugated or negated, because memory holds other numbers.

    Args:
        tensors: `p`, `g`, inputs and states, each real or complex, on the device of `p`.
    """
    found, copies = [], []
    for index, tensor in enumerate(tensors):
        real = tensor.detach()
        if real.is_conj() or real.is_neg():
            real = real.resolve_conj().resolve_neg()
            copies.append((index, tensor.detach(), real))
        found.append(torch.view_as_real(real) if real.is_complex() else real)
    layout = found[0] if _is_dense(found[0]) else torch.empty_like(found[0])
    for index, real in enumerate(found):
        if not _lies_like(real, layout):
            copy = torch.empty_like(layout, dtype=real.dtype).copy_(real)
            copies.append((index, real, copy))
            real = copy
        found[index] = real.as_strided((real.numel(),), (1,))
    return Walked(found, copies)


def local(tensor: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """The tensor itself, or the part of a DTensor that is here.

    Args:
        tensor: A parameter, a gradient or a state.
        like: The parameter, whose placement a gradient has to have.
    """
    if type(tensor) in PLAIN:
        return tensor
    if like is not None and hasattr(tensor, "redistribute"):
        tensor = tensor.redistribute(placements=like.placements)
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
        if hasattr(tensor, "wait"):
            tensor = tensor.wait()
    return tensor


def overlaps(tensor: torch.Tensor) -> bool:
    """Whether two elements have one place in memory, as in expanded tensors."""
    if tensor.is_contiguous():
        return False
    axes = sorted((stride, size) for stride, size in _axes(tensor))
    last = 0  # the farthest offset along the axes so far
    for stride, size in axes:
        if stride <= last:
            break
        last += stride * (size - 1)
    else:
        return False
    offsets = np.zeros(1, np.int64)
    for stride, size in axes:
        if stride == 0:
            return True
        offsets = np.add.outer(offsets, stride * np.arange(size)).reshape(-1)
    return len(np.unique(offsets)) < len(offsets)


def mark_written(tensors: Iterable[torch.Tensor]) -> None:
    """Counts up the versions of tensors that NumPy or a kernel has written.

    Autograd refuses to go back through values that have changed since.
    """
    written = list(tensors)
    if torch.is_inference_mode_enabled():  # tensors of that mode have no version
        written = [tensor for tensor in written if not tensor.is_inference()]
    try:
        increment_version(written)
    except TypeError:  # older versions of torch take one tensor at a time
        for tensor in written:
            increment_version(tensor)


def compute_type(p: torch.Tensor) -> torch.dtype:
    """The type that a step of `p` computes in."""
    return torch.float64 if p.dtype == torch.float64 else torch.float32


def array_of(tensor: torch.Tensor) -> Any:
    """A NumPy view of a tensor on the CPU."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def number(value: Any) -> Any:
    """The number in a tensor of one element; waits for the device."""
    return value.item() if isinstance(value, torch.Tensor) else value


def scalar_on(device: torch.device, value: Any) -> torch.Tensor:
    """A number as float64 on a device, without waiting for one."""
    if isinstance(value, torch.Tensor) and value.device == device:
        return value.double().reshape(())
    return torch.full((), number(value), dtype=torch.float64, device=device)


def _axes(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Stride and size of the dimensions that have more than one element."""
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    return [(stride, size) for stride, size in pairs if size != 1]


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill their part of memory without holes, each in a place of its own."""
    expected = 1
    for stride, size in sorted(_axes(tensor)):
        if stride != expected:
            return bool(tensor.numel() == 0)
        expected *= size
    return True


def _lies_like(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the elements of two tensors of one shape have the same order in memory."""
    return _axes(tensor) == _axes(other) or tensor.numel() == 0


def _store(place: torch.Tensor, copy: torch.Tensor) -> None:
    """Copies into a tensor that may be expanded: then all elements of one place are the same."""
    for axis, (stride, size) in enumerate(zip(place.stride(), place.shape, strict=True)):
        if stride == 0 and size > 1:
            place, copy = place.narrow(axis, 0, 1), copy.narrow(axis, 0, 1)
    place.copy_(copy)
