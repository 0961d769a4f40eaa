"""Symbolic offsets against the integers that they stand for, for every size and program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepforge.verify.terms.offsets import (
    LARGEST_N,
    LARGEST_PROGRAM,
    PROGRAM,
    SIZE,
    Facts,
    Offset,
    Overflow,
    lanes,
    number,
)

BLOCK = 8


def at(offset: Offset, program: int, size: int) -> list[int]:
    """Its values for a program and a size, as Python's integers."""
    base = np.broadcast_to(offset.base, (BLOCK,))
    return [int(b) + offset.program * program + offset.size * size for b in base]


@st.composite
def offsets(draw: st.DrawFn, least: int = -40) -> Offset:
    factor = st.integers(min(least, 0) // 10, 4)
    small = st.integers(least, 40)
    base = draw(st.lists(small, min_size=BLOCK, max_size=BLOCK) | small)
    step = draw(st.sampled_from([1, 2, 4, 8]))
    return Offset(np.array(base, np.int64), step * draw(factor), draw(factor))


PLACES = [(0, 0), (0, 1), (1, 7), (3, 100), (1000, 12345)]


@given(offsets(), offsets(), st.integers(-9, 9))
def test_arithmetic_is_that_of_integers(a: Offset, b: Offset, factor: int) -> None:
    for place in PLACES:
        x, y = at(a, *place), at(b, *place)
        assert at(a + b, *place) == [i + j for i, j in zip(x, y, strict=True)]
        assert at(a - b, *place) == [i - j for i, j in zip(x, y, strict=True)]
        assert at(-a, *place) == [-i for i in x]
        assert at(a.times(factor), *place) == [i * factor for i in x]


@given(offsets(), st.sampled_from([1, 2, 4, 8]))
def test_quotients_are_exact_or_none(a: Offset, divisor: int) -> None:
    found = a.divided(divisor)
    if found is None:
        parts = [*a.base.reshape(-1).tolist(), a.program, a.size]
        assert any(part % divisor for part in parts)
        return
    for place in PLACES:
        assert [i * divisor for i in at(found, *place)] == at(a, *place)


@given(offsets(0), offsets(0))
def test_joined_bits_are_the_bits_of_both(a: Offset, b: Offset) -> None:
    found = a.joined(b)
    if found is not None:
        for place in PLACES:
            both = zip(at(a, *place), at(b, *place), strict=True)
            assert at(found, *place) == [i | j for i, j in both]


def test_bits_are_joined_where_compilers_do_so() -> None:
    start, lane = PROGRAM.times(1024), lanes(128).times(4)
    for low in (lane, lane + number(3), lane + number(512)):
        for found in (start.joined(low), low.joined(start)):
            assert found is not None
            assert found.key == (start + low).key
    assert lane.joined(number(3)) is not None
    assert lane.joined(number(4)) is None
    assert start.joined(lanes(2048)) is None
    assert start.joined(number(-1)) is None
    assert start.joined(SIZE) is None
    assert PROGRAM.joined(lane) is None
    assert (start + number(1)).joined(lane) is None


def test_keys_tell_offsets_apart() -> None:
    every = [
        lanes(4), lanes(8), number(0), number(1), PROGRAM, SIZE, PROGRAM.times(2), lanes(4) + SIZE,
        lanes(4) + PROGRAM, lanes(4) + number(1),
    ]  # fmt: skip
    assert len({o.key for o in every}) == len(every)
    assert (lanes(4) + PROGRAM - PROGRAM).key == lanes(4).key


def test_what_depends_on_the_lane_alone_is_concrete() -> None:
    assert lanes(4).concrete
    assert not lanes(4).uniform
    assert number(3).uniform
    assert not PROGRAM.concrete
    assert PROGRAM.uniform
    assert not (lanes(4) + SIZE).concrete
    assert (lanes(4) + SIZE - SIZE).concrete


# Widths.


def test_extents_hold_for_the_largest_launch() -> None:
    assert PROGRAM.extent() == (0, LARGEST_PROGRAM)
    assert SIZE.extent() == (0, LARGEST_N)
    assert (PROGRAM.times(-8) + lanes(8)).extent() == (-8 * LARGEST_PROGRAM, 7)
    assert (SIZE - PROGRAM).extent() == (-LARGEST_PROGRAM, LARGEST_N)


@given(offsets())
def test_every_value_is_within_the_extent(a: Offset) -> None:
    low, high = a.extent()
    values = [
        i for p in (0, 1, LARGEST_PROGRAM) for n in (0, 1, LARGEST_N) for i in at(a, p, n)
    ]  # fmt: skip
    assert (low, high) == (min(values), max(values))


@pytest.mark.parametrize(
    ("offset", "bits", "signed", "fits"),
    [
        (PROGRAM, 32, True, True),
        (PROGRAM.times(2), 32, True, False),
        (PROGRAM.times(2), 32, False, True),
        (PROGRAM.times(1024), 32, True, False),
        (PROGRAM.times(1024), 32, False, False),
        (PROGRAM.times(1024), 64, True, True),
        (PROGRAM.times(1024).times(8) + lanes(1024).times(8), 64, True, True),
        (SIZE, 32, True, False),
        (SIZE, 64, True, True),
        (SIZE.times(2**15), 64, True, False),
        (lanes(1024), 32, True, True),
        (lanes(4) - number(1), 32, False, False),
        (number(2**31 - 1), 32, True, True),
        (number(2**31), 32, True, False),
        (number(-(2**31)), 32, True, True),
        (number(-(2**31) - 1), 32, True, False),
        (number(2**32 - 1), 32, False, True),
        (number(2**32), 32, False, False),
        (PROGRAM + number(1), 32, True, False),
    ],
)
def test_an_offset_that_leaves_its_width_for_some_size_is_found(
    offset: Offset, bits: int, signed: bool, fits: bool
) -> None:
    if fits:
        assert offset.checked(bits, signed) is offset
        return
    with pytest.raises(Overflow, match=f"{bits} bits"):
        offset.checked(bits, signed)


@pytest.mark.parametrize(
    "overflowing",
    [
        lambda: lanes(8).times(2**62),
        lambda: number(2**62).times(2),
        lambda: number(2**62) + number(2**62),
        lambda: -number(-(2**63)),
    ],
)
def test_lanes_that_leave_64_bits_are_found(overflowing: object) -> None:
    assert callable(overflowing)
    with pytest.raises(Overflow):
        overflowing()


# Facts.


def places(facts: Facts, programs: int = 6, sizes: int = 50) -> list[tuple[int, int]]:
    """The programs and sizes for which facts hold."""
    return [
        (p, n)
        for p in range(programs)
        for n in range(1, sizes)
        if all(max(at(o, p, n)) < 0 for o in facts.below)
        and all(min(at(o, p, n)) >= 0 for o in facts.others)
    ]


START = PROGRAM.times(BLOCK)
FULL = START + number(BLOCK - 1) - SIZE
"""Negative where `start + BLOCK <= n`."""


@given(offsets(), st.booleans(), st.booleans())
def test_what_follows_from_facts_holds_wherever_they_do(
    offset: Offset, full: bool, swapped: bool
) -> None:
    facts = Facts.of_launch(BLOCK).assuming(FULL, full)
    asked = offset if swapped else START + Offset(offset.base) - SIZE
    known = facts.is_below(asked)
    each = facts.is_below_each(asked)
    for place in places(facts):
        holds = [i < 0 for i in at(asked, *place)]
        if known is not None:
            assert np.broadcast_to(known, (BLOCK,)).tolist() == holds
        follows = np.broadcast_to(each, (BLOCK,)).tolist()
        assert all(h for h, f in zip(holds, follows, strict=True) if f)


def test_a_launch_and_its_branches_decide_the_masks() -> None:
    launch = Facts.of_launch(BLOCK)
    full, tail = launch.assuming(FULL, True), launch.assuming(FULL, False)
    mask = START + lanes(BLOCK) - SIZE
    known = full.is_below(mask)
    assert known is not None
    assert known.all()
    assert launch.is_below(mask) is None
    assert tail.is_below(mask) is None
    first = launch.is_below(START - SIZE)
    assert first is not None
    assert first.all()
    last = tail.is_below(START + number(BLOCK - 1) - SIZE)
    assert last is not None
    assert not last.any()
    assert full.is_below(mask + number(1)) is None
    assert full.is_below(START.times(2) - SIZE) is None


def test_numbers_are_decided_without_facts() -> None:
    none = Facts()
    for offset, wanted in [
        (lanes(4) - number(2), [True, True, False, False]),
        (PROGRAM, [False]),
        (number(-1) - SIZE, [True]),
        (SIZE - number(LARGEST_N + 1), [True]),
    ]:
        known = none.is_below(offset)
        assert known is not None
        assert known.reshape(-1).tolist() == wanted
    assert none.is_below(SIZE - number(5)) is None
