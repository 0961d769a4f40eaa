"""Tables that say which tensors the kernels of this folder step; it needs NumPy and Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import triton.language as tl

ALIGNMENT = 16
"""Bytes that all addresses of an aligned table are divisible by."""
_TYPES = {
    "torch.float32": tl.float32,
    "torch.float64": tl.float64,
    "torch.bfloat16": tl.bfloat16,
    "torch.float16": tl.float16,
}


class Table(NamedTuple):
    """Tensors that one launch steps; they must stay where they are.

    Attributes:
        programs: int32 of shape (size, 2), on the device: for every program the row of its tensor
            and the number of its block.
        rows: int64 of shape (tensors, columns + 1), on the device: the addresses in the order of
            the columns, 0 where there is no tensor, and the number of elements.
        size: How many programs there are.
        types: Triton's type of the tensors of every column.
        aligned: Whether all addresses are divisible by `ALIGNMENT`.
        order: int64, on the device: for every row which of the given tensors it is.
    """

    programs: Any
    rows: Any
    size: int
    types: Mapping[str, Any]
    aligned: bool
    order: Any


def build(
    tensors: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    block: int,
    place: Callable[[np.ndarray[Any, Any]], Any],
) -> list[Table]:
    """Tables of tensors, one for each combination of types and for each of the two alignments.

    Args:
        tensors: For each parameter the tensors `p`, `g` and those of its state, by column.
        columns: `COLUMNS` of the kernel.
        block: `BLOCK` of the kernel.
        place: Copies an array to the device of the tensors.

    Raises:
        ValueError: A tensor is not contiguous, not of p's shape, or not on its device.
        TypeError: A tensor has a type that the kernels do not compute with.
    """
    groups: dict[tuple[Any, ...], list[list[int]]] = {}
    orders: dict[tuple[Any, ...], list[int]] = {}
    for index, parameter in enumerate(tensors):
        _check(parameter)
        size = parameter["p"].numel()
        if size == 0:
            continue
        present = [parameter.get(name) for name in columns]
        addresses = [0 if tensor is None else tensor.data_ptr() for tensor in present]
        types = tuple(None if tensor is None else str(tensor.dtype) for tensor in present)
        aligned = all(address % ALIGNMENT == 0 for address in addresses)
        groups.setdefault((aligned, *types), []).append([*addresses, size])
        orders.setdefault((aligned, *types), []).append(index)
    found = []
    for (aligned, *names), rows in groups.items():
        order = np.array(orders[aligned, *names], np.int64)
        table = np.array(rows, np.int64)
        programs = _programs(table[:, -1], block)
        kinds = {c: _TYPES[n] for c, n in zip(columns, names, strict=True) if n is not None}
        places = place(programs), place(table)
        found.append(Table(*places, len(programs), kinds, aligned, place(order)))
    return found


def _programs(sizes: np.ndarray[Any, Any], block: int) -> np.ndarray[Any, Any]:
    """Row and number of every block, one program for each."""
    blocks = -(-sizes // block)
    rows = np.repeat(np.arange(len(sizes)), blocks)
    before = np.repeat(np.cumsum(blocks) - blocks, blocks)
    return np.stack([rows, np.arange(len(rows)) - before], axis=1).astype(np.int32)


def _check(parameter: Mapping[str, Any]) -> None:
    """A kernel takes addresses on trust, so here is looked at what they belong to."""
    p = parameter["p"]
    for name, tensor in parameter.items():
        if str(tensor.dtype) not in _TYPES:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which no kernel computes with")
        if tensor.shape != p.shape or tensor.device != p.device or not tensor.is_contiguous():
            raise ValueError(f"{name} is not contiguous, of p's shape and on its device")
