"""Tensors in host memory that Triton's interpreter accepts, between guard zones.

Triton asks a tensor for a handful of methods; torch is not needed. Every buffer lies between two
zones of a byte pattern that reads as a signalling NaN, so that an access out of bounds is seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

GUARD = 4096
"""Elements on either side: more than a block, so that a missing mask does not corrupt memory."""
_PATTERN = 0xFA
Array = np.ndarray[Any, Any]


class Storage:
    """What Triton's interpreter copies between device and host; here both are the same."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self.tensor.data_ptr()

    def cpu(self) -> Storage:
        """Itself: the memory is the host's."""
        return self

    def copy_(self, other: Storage) -> None:
        """Nothing to do: both are the same memory."""


class Tensor:
    """A contiguous tensor with the few methods of torch's that launchers and Triton use.

    Attributes:
        array: The elements.
        shape: Its shape.
        dtype: Triton reads the type's name from its text.
        device: Where it is; the same for all.
    """

    def __init__(self, values: Array) -> None:
        values = np.asarray(values)
        item = values.dtype.itemsize
        self._bytes = np.full((values.size + 2 * GUARD) * item + 64, _PATTERN, np.uint8)
        start = GUARD * item
        start += -(self._bytes.ctypes.data + start) % 16  # torch aligns to at least 16 bytes
        self._start, self._stop = start, start + values.size * item
        self.array: Array = self._bytes[start : self._stop].view(values.dtype)
        self.array[...] = values.reshape(-1)
        self.shape: tuple[int, ...] = values.shape
        self.dtype = f"torch.{values.dtype.name}"
        self.device = "cpu"

    @property
    def intact(self) -> bool:
        """Whether nothing was written outside of the elements."""
        before, after = self._bytes[: self._start], self._bytes[self._stop :]
        return bool((before == _PATTERN).all() and (after == _PATTERN).all())

    def poison(self) -> None:
        """Fills the elements with the pattern of the guard zones."""
        self._bytes[self._start : self._stop] = _PATTERN

    def data_ptr(self) -> int:
        """Address of the first element."""
        return int(self._bytes.ctypes.data) + self._start

    def numel(self) -> int:
        """Number of elements."""
        return int(self.array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return int(self.array.dtype.itemsize)

    def is_contiguous(self) -> bool:
        """Always."""
        return True

    def is_floating_point(self) -> bool:
        """Whether the elements are real numbers, 16-bit types included."""
        return self.array.dtype.kind in "fV"

    def size(self) -> tuple[int, ...]:
        """The shape."""
        return self.shape

    def stride(self) -> tuple[int, ...]:
        """Steps between elements, in elements."""
        item = self.array.dtype.itemsize
        strides = np.empty(self.shape, self.array.dtype).strides
        return tuple(stride // item for stride in strides)

    def storage_offset(self) -> int:
        """Always 0."""
        return 0

    def untyped_storage(self) -> Storage:
        """The memory."""
        return Storage(self)

    def new_empty(self, shape: Any, **_: Any) -> Tensor:
        """A tensor of the same type; filled with the pattern of the guard zones."""
        made = Tensor(np.zeros(shape, self.array.dtype))
        made.poison()
        return made

    def new_full(self, shape: Any, value: float) -> Tensor:
        """A tensor of the same type, filled with a value."""
        return Tensor(np.full(shape, value, self.array.dtype))

    def detach(self) -> Tensor:
        """Itself: no gradients are recorded."""
        return self

    def to(self, other: Tensor, *, copy: bool = False) -> Tensor:
        """The same numbers in the type of another tensor."""
        changed = self.array.reshape(self.shape).astype(other.array.dtype)
        return Tensor(changed) if copy or changed.dtype != self.array.dtype else self

    def set_(self, storage: Storage, offset: int, size: Any, stride: Any) -> None:
        """Becomes a view of the storage's tensor."""
        self.__dict__.update(storage.tensor.__dict__)

    def float(self) -> Tensor:
        """The same in float32."""
        return Tensor(self.array.reshape(self.shape).astype(np.float32))
