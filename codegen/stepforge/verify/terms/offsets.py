"""Integers of a kernel with symbolic size and program: what addresses and masks are made of.

`n`, the number of elements, and the program's number stay symbols; lanes are concrete, all at once.
Every integer is affine in the two symbols. What is concluded holds for every `n` up to 2**48 and
every program that a launch of `cdiv(n, block)` programs has.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

LARGEST_N = 2**48
"""Elements of a tensor: more than fit into the memory of any machine."""
LARGEST_PROGRAM = 2**31 - 1
"""The limit of a grid's first dimension."""


class Overflow(Exception):
    """An integer does not fit its width for some size: 32-bit offsets of a large tensor."""


@dataclass(frozen=True, eq=False)
class Offset:
    """`base + program*(number of the program) + size*n`, one for each lane.

    Where a table says which tensor and which block of it a program steps, the number of that block
    is what counts as the program's; its place in the grid and the row of the tensor are symbols of
    their own, with which only the table can be read.

    Attributes:
        base: int64, of shape (lanes,), or () for one that all lanes share.
        program: Factor of the program's number.
        size: Factor of `n`.
        grid: Factor of the program's place in the grid.
        row: Factor of the row in the table.
    """

    base: np.ndarray[Any, Any]
    program: int = 0
    size: int = 0
    grid: int = 0
    row: int = 0

    @property
    def factors(self) -> tuple[int, int, int, int]:
        """Those of the symbols."""
        return self.program, self.size, self.grid, self.row

    @property
    def concrete(self) -> bool:
        """Whether it depends on the lane alone."""
        return not any(self.factors)

    @property
    def uniform(self) -> bool:
        """Whether all lanes have the same."""
        return self.ends[0] == self.ends[1]

    @cached_property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest base."""
        return int(self.base.min()), int(self.base.max())

    @cached_property
    def key(self) -> str:
        """Equal for equal offsets."""
        lanes = np.ascontiguousarray(self.base, np.int64).tobytes()
        return hashlib.blake2b(lanes + repr(self.factors).encode(), digest_size=12).hexdigest()

    def extent(self) -> tuple[int, int]:
        """Smallest and largest value that it can have."""
        low, high = self.ends
        largest = (LARGEST_PROGRAM, LARGEST_N, LARGEST_PROGRAM, LARGEST_PROGRAM)
        for factor, most in zip(self.factors, largest, strict=True):
            low, high = low + min(0, factor * most), high + max(0, factor * most)
        return low, high

    def checked(self, bits: int, signed: bool = True) -> Offset:
        """Itself, if it fits.

        Raises:
            Overflow: It does not, for some size.
        """
        low, high = self.extent()
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if low < least or high > most:
            raise Overflow(f"an offset of {bits} bits reaches {low if low < least else high}")
        return self

    def __add__(self, other: Offset) -> Offset:
        (low, high), (other_low, other_high) = self.ends, other.ends
        ends = _fit(low + other_low, high + other_high)
        found = Offset(
            self.base + other.base, self.program + other.program, self.size + other.size,
            self.grid + other.grid, self.row + other.row,
        )  # fmt: skip
        if low == high or other_low == other_high:
            vars(found)["ends"] = ends
        return found

    def __neg__(self) -> Offset:
        return self.times(-1)

    def __sub__(self, other: Offset) -> Offset:
        return self + -other

    def times(self, factor: int) -> Offset:
        """Its product with a number."""
        ends = _fit(*sorted(x * factor for x in self.ends))
        found = Offset(self.base * factor, *(f * factor for f in self.factors))
        vars(found)["ends"] = ends
        return found

    def divided(self, divisor: int) -> Offset | None:
        """Its quotient if every part is divisible, else None."""
        if any(f % divisor for f in self.factors) or (self.base % divisor).any():
            return None
        return Offset(self.base // divisor, *(f // divisor for f in self.factors))

    def joined(self, other: Offset) -> Offset | None:
        """`self | other` where no bit is set in both, which is a sum; None if that is not known."""
        for high, low in ((self, other), (other, self)):
            if low.concrete and low.ends[0] >= 0 and high.ends[0] >= 0:
                bits = low.ends[1].bit_length()
                clear = all(f % (1 << bits) == 0 for f in high.factors)
                if clear and not (np.bitwise_and(high.base, low.base)).any():
                    within = high.concrete or not (high.base % (1 << bits)).any()
                    if within:
                        return high + low
        return None


def _fit(low: int, high: int) -> tuple[int, int]:
    """Both, if 64 bits hold them: NumPy would wrap around."""
    if low < -(2**63) or high >= 2**63:
        raise Overflow(f"an offset of 64 bits reaches {low if -low > high else high}")
    return low, high


@lru_cache(maxsize=1024)
def number(value: int) -> Offset:
    """An integer constant."""
    return Offset(np.asarray(value, np.int64))


def lanes(count: int) -> Offset:
    """The number of each lane."""
    return Offset(np.arange(count, dtype=np.int64))


PROGRAM = Offset(np.zeros((), np.int64), program=1)
SIZE = Offset(np.zeros((), np.int64), size=1)
GRID = Offset(np.zeros((), np.int64), grid=1)
ROW = Offset(np.zeros((), np.int64), row=1)


@dataclass(frozen=True)
class Facts:
    """What is known on a path: offsets that are below zero, and such that are not.

    Attributes:
        below: They are negative.
        others: They are zero or more.
    """

    below: tuple[Offset, ...] = ()
    others: tuple[Offset, ...] = ()

    @staticmethod
    def of_launch(block: int) -> Facts:
        """A grid of `cdiv(n, block)` programs for at least one element: `program*block < n`."""
        return Facts(below=(PROGRAM.times(block) - SIZE,))

    def keys(self) -> tuple[str, ...]:
        """What is known, so that it can be compared."""
        return tuple(sorted(offset.key for offset in self.below))

    def assuming(self, offset: Offset, negative: bool) -> Facts:
        """With one more fact, in both forms: of integers, `x < 0` is `-x - 1 >= 0`."""
        opposite = -offset - number(1)
        below, other = (offset, opposite) if negative else (opposite, offset)
        return Facts((*self.below, below), (*self.others, other))

    def is_below(self, offset: Offset) -> np.ndarray[Any, Any] | None:
        """For each lane whether `offset < 0`, or None if that is open for some lane."""
        low, high = offset.extent()
        if offset.concrete:
            return offset.base < 0
        if high < 0 or low >= 0:
            return np.full(offset.base.shape, high < 0)
        true = self.is_below_each(offset)
        return true if (true | self._is_not_below_each(offset)).all() else None

    def is_below_each(self, offset: Offset) -> np.ndarray[Any, Any]:
        """For each lane whether `offset < 0` follows."""
        found = np.zeros(offset.base.shape, bool)
        for fact in self.below:
            if _comparable(fact, offset):
                found = found | (offset.base <= fact.base)
        return found

    def _is_not_below_each(self, offset: Offset) -> np.ndarray[Any, Any]:
        found = np.zeros(offset.base.shape, bool)
        for fact in self.others:
            if _comparable(fact, offset):
                found = found | (offset.base >= fact.base)
        return found


def _comparable(fact: Offset, offset: Offset) -> bool:
    """Whether their difference is a number in each lane."""
    return fact.factors == offset.factors and (fact.base.shape in ((), offset.base.shape))
