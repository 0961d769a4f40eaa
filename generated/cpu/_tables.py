# Copied by `stepforge build` from templates/cpu/_tables.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""Tables that say which tensors a step of this folder has; it needs NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

TYPES = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3}
"""The numbers that the C files have for NumPy's types, and those of ml_dtypes."""
ABSENT = 0
"""The type of a column without tensors."""


class Table(NamedTuple):
    """Tensors that one call steps; they must stay where they are.

    Attributes:
        rows: int64 of shape (tensors, columns + 1): the addresses in the order of the columns, 0
            where there is no tensor, and the number of elements.
        address: Where the rows are.
        tensors: How many rows there are.
        types: The type of the tensors of every column, a byte for each.
    """

    rows: Any
    address: int
    tensors: int
    types: bytes


def build(rows: Sequence[Sequence[int]], types: bytes) -> Table:
    """A table of rows."""
    array = np.array(rows, np.int64)
    return Table(array, array.ctypes.data, len(array), types)


def of_arrays(columns: Sequence[str], written: Sequence[str], *arrays: Any) -> Table:
    """The table of one parameter whose tensors are NumPy arrays.

    Args:
        columns: `COLUMNS` of the optimizer.
        written: `_WRITTEN` of the optimizer.
        arrays: The arrays in the order of the columns; None where options leave one out.

    Raises:
        ValueError: An array is not contiguous, not of p's shape, or cannot be written.
        TypeError: An array has a type that is not computed with.
    """
    p = arrays[0]
    addresses, types = [], []
    for name, array in zip(columns, arrays, strict=True):
        if array is None:
            addresses.append(0)
            types.append(ABSENT)
            continue
        if array.dtype.name not in TYPES or not array.dtype.isnative:
            raise TypeError(f"{name} has dtype {array.dtype}, which is no floating-point type")
        if array.shape != p.shape or not array.flags.c_contiguous:
            raise ValueError(f"{name} is not contiguous and of p's shape")
        if name in written and not array.flags.writeable:
            raise ValueError(f"{name} cannot be written")
        addresses.append(array.ctypes.data)
        types.append(TYPES[array.dtype.name])
    return build([[*addresses, p.size]], bytes(types))
