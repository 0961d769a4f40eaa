"""Integers of a kernel with symbolic size and program: what addresses and masks are made of.

`n`, the number of elements, and the program's number stay symbols; lanes are concrete, all at once.
Every integer is affine in the two symbols. What is concluded holds for every `n` up to 2**48 and
every program that a launch of `cdiv(n, block)` programs has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
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

    Attributes:
        base: int64, of shape (lanes,), or () for one that all lanes share.
        program: Factor of the program's number.
        size: Factor of `n`.
    """

    base: np.ndarray[Any, Any]
    program: int = 0
    size: int = 0

    @property
    def concrete(self) -> bool:
        """Whether it depends on the lane alone."""
        return self.program == 0 and self.size == 0

    @property
    def uniform(self) -> bool:
        """Whether all lanes have the same."""
        return bool((self.base == self.base.reshape(-1)[0]).all())

    @property
    def key(self) -> str:
        """Equal for equal offsets."""
        lanes = np.ascontiguousarray(self.base, np.int64).tobytes()
        return hashlib.blake2b(
            lanes + f"{self.program},{self.size}".encode(), digest_size=12
        ).hexdigest()

    def extent(self) -> tuple[int, int]:
        """Smallest and largest value that it can have."""
        low, high = int(self.base.min()), int(self.base.max())
        for factor, most in ((self.program, LARGEST_PROGRAM), (self.size, LARGEST_N)):
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
        self._lanes_fit(lambda x, y: x + y, other)
        return Offset(self.base + other.base, self.program + other.program, self.size + other.size)

    def __neg__(self) -> Offset:
        return self.times(-1)

    def __sub__(self, other: Offset) -> Offset:
        return self + -other

    def times(self, factor: int) -> Offset:
        """Its product with a number."""
        self._lanes_fit(lambda x, y: x * y, number(factor))
        return Offset(self.base * factor, self.program * factor, self.size * factor)

    def _lanes_fit(self, function: Callable[[int, int], int], other: Offset) -> None:
        """NumPy would wrap around; the results of the extremes are the extreme results."""
        ends = [(int(o.base.min()), int(o.base.max())) for o in (self, other)]
        found = [function(x, y) for x in ends[0] for y in ends[1]]
        if min(found) < -(2**63) or max(found) >= 2**63:
            raise Overflow(f"an offset of 64 bits reaches {max(found, key=abs)}")

    def divided(self, divisor: int) -> Offset | None:
        """Its quotient if every part is divisible, else None."""
        parts = (self.program % divisor, self.size % divisor, int((self.base % divisor).any()))
        if any(parts):
            return None
        return Offset(self.base // divisor, self.program // divisor, self.size // divisor)

    def joined(self, other: Offset) -> Offset | None:
        """`self | other` where no bit is set in both, which is a sum; None if that is not known."""
        for high, low in ((self, other), (other, self)):
            if low.concrete and int(low.base.min()) >= 0 and int(high.base.min()) >= 0:
                bits = int(low.base.max()).bit_length()
                clear = high.program % (1 << bits) == 0 and high.size % (1 << bits) == 0
                if clear and not (np.bitwise_and(high.base, low.base)).any():
                    within = high.concrete or not (high.base % (1 << bits)).any()
                    if within:
                        return high + low
        return None


def number(value: int) -> Offset:
    """An integer constant."""
    return Offset(np.asarray(value, np.int64))


def lanes(count: int) -> Offset:
    """The number of each lane."""
    return Offset(np.arange(count, dtype=np.int64))


PROGRAM = Offset(np.zeros((), np.int64), program=1)
SIZE = Offset(np.zeros((), np.int64), size=1)


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
    same = (fact.program, fact.size) == (offset.program, offset.size)
    return same and (fact.base.shape in ((), offset.base.shape))
