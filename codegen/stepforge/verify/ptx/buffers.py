"""Memory of executed PTX: bounds, races and repeated writes are found, whatever order ran.

Every pair of bytes (no access is narrower) remembers who read and who wrote it last. Two lanes may
touch one element, one of them writing, only with a barrier of their program between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_THREAD_BITS, _EPOCH_BITS = 11, 20
_SEVERAL = (1 << _THREAD_BITS) - 1
"""Stands for the thread where several of one program have read since a barrier."""
_MANY = np.iinfo(np.int64).max
"""Where several programs have read."""


class Fault(Exception):
    """The kernel does something that a GPU would not survive, or that no one could rely on."""


def tokens(blocks: Array, epoch: int, threads: Array) -> Array:
    """Who accesses: a number for each lane, of its program, the barriers passed, and itself."""
    if epoch >= 1 << _EPOCH_BITS or (threads >= _SEVERAL).any():
        raise Fault("passes more barriers, or has more lanes, than can be told apart")
    programs = blocks.astype(np.int64) << np.int64(_EPOCH_BITS) | np.int64(epoch)
    found: Array = programs << np.int64(_THREAD_BITS) | threads.astype(np.int64)
    return found


def _all_ordered(last: Array, mine: Array) -> bool:
    """Whether the last accesses surely come first."""
    return bool(last.max(initial=-1) < 0 or _ordered(last, mine).all())


def _ordered(last: Array, mine: Array) -> Array:
    """Whether the last access surely comes first: no one's, the lane's own, before a barrier."""
    bits = _THREAD_BITS + _EPOCH_BITS
    own = (last & _SEVERAL) == (mine & _SEVERAL)
    earlier = (last >> _THREAD_BITS) != (mine >> _THREAD_BITS)
    ordered: Array = (last < 0) | ((last >> bits) == (mine >> bits)) & (own | earlier)
    return ordered


def _joined(last: Array, mine: Array) -> Array:
    """The readers so far as one token."""
    if last.max(initial=-1) < 0:
        return mine
    bits = _THREAD_BITS + _EPOCH_BITS
    other = (last >= 0) & ((last >> bits) != (mine >> bits))
    return np.where(other, _MANY, np.where(_ordered(last, mine), mine, mine | _SEVERAL))


class Memory:
    """Bytes that several lanes access.

    Attributes:
        name: For messages.
        address: Of its first byte; even.
        data: Its bytes, an even number.
    """

    def __init__(self, name: str, address: int, data: Array) -> None:
        if address % 2 or len(data) % 2:
            raise ValueError(f"{name} has an odd address or size")
        self.name = name
        self.address = address
        self.data = data
        self._readers = np.full(len(data) // 2, -1, np.int64)
        self._writers = np.full(len(data) // 2, -1, np.int64)

    def __contains__(self, address: int) -> bool:
        return self.address <= address < self.address + len(self.data)

    def units(self, address: Array, size: int) -> Array:
        """The pairs of bytes of accesses, a row for each.

        Args:
            address: First byte of each.
            size: Bytes of each.

        Raises:
            Fault: One of them is out of bounds.
        """
        offsets = address.astype(np.int64) - self.address
        if offsets.min(initial=0) < 0 or offsets.max(initial=0) + size > len(self.data):
            raise Fault(f"leaves `{self.name}`")
        units: Array = (offsets >> 1)[:, None] + np.arange(size // 2)
        return units

    def load(self, units: Array, who: Array) -> Array:
        """The contents of accesses, a row of 16-bit words for each.

        Args:
            units: What `units` returned.
            who: Tokens of the lanes.

        Raises:
            Fault: Another lane has written there without a barrier between.
        """
        mine = np.broadcast_to(who[:, None], units.shape)
        if not _all_ordered(self._writers.take(units), mine):
            raise Fault(f"reads what another lane writes in `{self.name}`")
        self._readers[units] = readers = _joined(self._readers.take(units), mine)
        kept = self._readers.take(units)
        lost = kept != readers  # several lanes read one element by this instruction
        if lost.any():
            both = _joined(kept[lost], mine[lost])
            self._readers[units[lost]] = both
            self._readers[units[lost][both == _MANY]] = _MANY
        words: Array = self.data.view(np.uint16).take(units)
        return words

    def store(self, units: Array, words: Array, who: Array) -> None:
        """Writes accesses, a row of 16-bit words for each.

        Raises:
            Fault: Another lane has read or written there without a barrier between.
        """
        mine = np.broadcast_to(who[:, None], units.shape)
        if not _all_ordered(self._writers.take(units), mine):
            raise Fault(f"writes what another lane writes in `{self.name}`")
        if not _all_ordered(self._readers.take(units), mine):
            raise Fault(f"writes what another lane reads in `{self.name}`")
        self._writers[units] = mine
        if (self._writers.take(units) != mine).any():
            raise Fault(f"writes one element of `{self.name}` in two lanes")
        self.data.view(np.uint16)[units] = words


class Buffer(Memory):
    """A tensor that a kernel may access, and write once in every element.

    Attributes:
        name: Name of the tensor.
        address: Of its first byte.
        data: Its bytes.
    """

    def __init__(self, name: str, address: int, data: Array) -> None:
        super().__init__(name, address, data)
        self._written = np.zeros(len(data) // 2, np.uint8)

    @property
    def written(self) -> Array:
        """How often each byte was written: at most once."""
        return np.repeat(self._written, 2)

    @property
    def complete(self) -> bool:
        """Whether every element was written."""
        return bool(self._written.all())

    def store(self, units: Array, words: Array, who: Array) -> None:
        """Writes accesses, as `Memory.store`.

        Raises:
            Fault: Also where the same lane has written before.
        """
        if self._written.take(units).any():
            raise Fault(f"writes an element of `{self.name}` again")
        super().store(units, words, who)
        self._written[units] = 1


class Shared(Memory):
    """The shared memory of several programs, one behind the other; it starts without contents."""

    def load(self, units: Array, who: Array) -> Array:
        """The contents of accesses, as `Memory.load`.

        Raises:
            Fault: Also where nothing was written.
        """
        if (self._writers.take(units) < 0).any():
            raise Fault(f"reads what nothing has written in `{self.name}`")
        return super().load(units, who)
