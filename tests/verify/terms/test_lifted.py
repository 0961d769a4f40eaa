"""Loads and stores of a lifted kernel: in bounds for every n, every element once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.verify.terms import terms
from stepforge.verify.terms.lifted import Mask, Path, Pointer, Refuted, findings
from stepforge.verify.terms.offsets import PROGRAM, SIZE, Facts, Offset, lanes, number

BLOCK = 8
START = PROGRAM.times(BLOCK)
LANES = lanes(BLOCK)
INDEX = START + LANES
CLOSE = PROGRAM.times(4) + LANES
FULL = START + number(BLOCK - 1) - SIZE
P = Pointer("p", "f32")
G = Pointer("g", "f32")
ALL = np.ones(BLOCK, bool)
EVERY = Mask(ALL)
MASK = Mask(ALL, INDEX - SIZE)


def path(full: bool | None = None) -> Path:
    """The one path of a kernel without a branch, or the one of full blocks or of the tail."""
    facts = Facts.of_launch(BLOCK)
    return Path(facts if full is None else facts.assuming(FULL, full))


def zero() -> terms.Term:
    return terms.constant(0.0, "f32")


# Bounds.


@pytest.mark.parametrize(
    ("full", "index", "mask"),
    [
        (None, INDEX, MASK),
        (False, INDEX, MASK),
        (True, INDEX, MASK),
        (True, INDEX, EVERY),
        (True, START, EVERY),
        (None, START, EVERY),
        (None, INDEX - number(0), Mask(ALL, INDEX + number(1) - SIZE)),
        (None, INDEX - number(1), Mask(LANES.base > 0, INDEX - SIZE)),
        (None, INDEX, Mask(np.zeros(BLOCK, bool))),
        (None, INDEX, Mask(LANES.base == 0)),
    ],
)
def test_accesses_inside_for_every_n_are_recorded(
    full: bool | None, index: Offset, mask: Mask
) -> None:
    made = path(full)
    made.load(P, index, mask, zero(), 1)
    made.store(P, index, mask, zero(), 2)
    assert len(made.loads) == len(made.stores) == 1


@pytest.mark.parametrize(
    ("full", "index", "mask", "where"),
    [
        (None, INDEX, EVERY, "behind"),
        (False, INDEX, EVERY, "behind"),
        (True, INDEX + number(1), EVERY, "behind"),
        (None, INDEX + number(1), MASK, "behind"),
        (None, INDEX, Mask(ALL, INDEX - number(1) - SIZE), "behind"),
        (None, INDEX, Mask(ALL, START - SIZE), "behind"),
        (None, INDEX, Mask(LANES.base < 2), "behind"),
        (None, START.times(2) + LANES, MASK, "behind"),
        (None, SIZE - number(0), EVERY, "behind"),
        (None, INDEX - number(1), MASK, "before"),
        (None, SIZE - number(1) - START, EVERY, "before"),
        (None, number(-1), EVERY, "before"),
    ],
)
@pytest.mark.parametrize("verb", ["reads", "writes"])
def test_an_access_that_is_outside_for_some_n_is_refuted(
    full: bool | None, index: Offset, mask: Mask, where: str, verb: str
) -> None:
    made = path(full)
    access = made.load if verb == "reads" else made.store
    with pytest.raises(Refuted, match=f"{verb} {where}.*`p`") as caught:
        access(P, index, mask, zero(), 17)
    assert caught.value.line == 17


# Values.


def test_a_masked_load_gives_the_other_value_where_it_is_off() -> None:
    made = path()
    value = made.load(P, INDEX, MASK, zero(), 1)
    assert value.op == "select"
    assert value.args[2] is zero()
    bare = made.load(P, INDEX, MASK, None, 1)
    assert bare.args[2].op == "unknown"
    assert path(True).load(P, INDEX, EVERY, zero(), 1).op == "load"


def test_a_store_under_the_loads_mask_sees_the_elements() -> None:
    made = path()
    loaded = made.load(G, INDEX, MASK, None, 1)
    made.store(P, INDEX, MASK, terms.apply("neg", loaded), 2)
    assert made.stores[0].value is terms.apply("neg", terms.load("g", "f32"))


def test_a_store_under_another_mask_keeps_the_choice() -> None:
    made = path()
    loaded = made.load(G, INDEX, MASK, zero(), 1)
    narrower = Mask(LANES.base < 4, INDEX - SIZE)
    made.store(P, INDEX, narrower, loaded, 2)
    assert made.stores[0].value.op == "select"


def test_a_value_of_another_element_or_another_type_is_refuted() -> None:
    made = path(True)
    loaded = made.load(G, INDEX, EVERY, None, 1)
    backwards = START + number(BLOCK - 1) - LANES
    with pytest.raises(Refuted, match="another element of `g`"):
        made.store(P, backwards, EVERY, loaded, 3)
    with pytest.raises(Refuted, match="stores f32 to `p`, of bf16"):
        made.store(Pointer("p", "bf16"), INDEX, EVERY, loaded, 3)


# Every element once.


def stored(*accesses: tuple[Offset, Mask], full: bool | None = None) -> list[str]:
    """What is found where these stores are all."""
    made = path(full)
    for line, (index, mask) in enumerate(accesses, 1):
        made.store(P, index, mask, zero(), line)
    return [what for _, what in findings(made, BLOCK, ["p"])]


def part(lanes_on: range) -> np.ndarray:
    return np.isin(np.arange(BLOCK), list(lanes_on))


def test_kernels_that_write_every_element_once_pass() -> None:
    assert stored((INDEX, MASK)) == []
    assert stored((INDEX, EVERY), full=True) == []
    assert stored((INDEX, MASK), full=True) == []
    halves = [Mask(part(range(4)), INDEX - SIZE), Mask(part(range(4, 8)), INDEX - SIZE)]
    assert stored(*((INDEX, half) for half in halves)) == []
    backwards = START + number(BLOCK - 1) - LANES
    assert stored((backwards, Mask(ALL, backwards - SIZE))) == []
    evens = START + lanes(4).times(2)
    odds = evens + number(1)
    assert stored(*((i, Mask(np.ones(4, bool), i - SIZE)) for i in (evens, odds))) == []


@pytest.mark.parametrize(
    ("accesses", "full", "message"),
    [
        ([(INDEX, Mask(part(range(7)), INDEX - SIZE))], None, "leaves out element 7"),
        ([(INDEX, Mask(part(range(1, 8)), INDEX - SIZE))], None, "leaves out element 0"),
        ([(INDEX, Mask(ALL, INDEX + number(1) - SIZE))], None, "not all elements"),
        ([(INDEX, MASK), (INDEX, MASK)], None, "more than once"),
        ([(INDEX, EVERY), (START, Mask(part(range(1))))], True, "more than once"),
        ([(START, EVERY)], True, "more than once"),
        ([(CLOSE, Mask(ALL, CLOSE - SIZE))], None, "stride of 4"),
        ([(LANES, Mask(ALL, LANES - SIZE))], None, "stride of 0"),
        (
            [(START + LANES.times(2), Mask(ALL, START + LANES.times(2) - SIZE))],
            None,
            "next program",
        ),
        ([], None, "never writes `p`"),
    ],
)
def test_gaps_overlaps_and_strides_are_found(
    accesses: list[tuple[Offset, Mask]], full: bool | None, message: str
) -> None:
    found = stored(*accesses, full=full)
    assert any(message in what for what in found), found


def test_repeated_reads_and_foreign_writes_are_found_with_their_line() -> None:
    made = path()
    for line in (3, 4):
        made.load(G, INDEX, MASK, None, line)
    made.store(P, INDEX, MASK, zero(), 5)
    made.store(G, INDEX, MASK, zero(), 6)
    assert list(findings(made, BLOCK, ["p"])) == [
        (4, "reads elements of `g` more than once"),
        (6, "writes `g`, which it only reads"),
    ]


def test_a_mask_that_the_path_decides_is_no_condition() -> None:
    assert path(True).simplified(MASK).below is None
    assert path(True).simplified(MASK).lanes.all()
    assert path(False).simplified(MASK) is MASK


def test_masks_are_the_same_condition_if_they_are_equal() -> None:
    assert EVERY.term is terms.truth(True)
    assert Mask(ALL, INDEX - SIZE).term is MASK.term
    others = [Mask(part(range(7))), Mask(ALL, INDEX), Mask(part(range(7)), INDEX - SIZE)]
    assert len({m.term for m in [*others, MASK, EVERY]}) == 5


# Against counting, for all small n.


@dataclass(frozen=True)
class Drawn:
    """Two stores: elements of the lanes, stride, lanes, limit of the mask."""

    stores: tuple[tuple[tuple[int, ...], int, tuple[bool, ...], int | None], ...]
    full: bool


@st.composite
def kernels(draw: st.DrawFn) -> Drawn:
    split = draw(st.integers(1, BLOCK))
    parts = []
    for chosen in (range(split), range(split, BLOCK)):
        elements = list(range(BLOCK))
        if draw(st.booleans()):
            elements[draw(st.integers(0, BLOCK - 1))] += draw(st.sampled_from([-1, 1, 2]))
        on = [i in chosen for i in range(BLOCK)]
        if draw(st.integers(0, 3)) == 0:
            flipped = draw(st.integers(0, BLOCK - 1))
            on[flipped] = not on[flipped]
        stride = draw(st.sampled_from([BLOCK] * 6 + [BLOCK - 1, 0, 2 * BLOCK]))
        limit = draw(st.sampled_from([0, 0, 0, 0, 1, -1, None]))
        parts.append((tuple(elements), stride, tuple(on), limit))
    return Drawn(tuple(parts), draw(st.booleans()))


def counted(drawn: Drawn) -> bool:
    """Whether every n up to three blocks has every element of the path's programs written once."""
    for n in range(1, 3 * BLOCK + 2):
        for program in range(-(-n // BLOCK)):
            start = program * BLOCK
            if (start + BLOCK <= n) != drawn.full:
                continue
            count = [0] * (5 * BLOCK + n)
            for elements, stride, on, limit in drawn.stores:
                for element, active in zip(elements, on, strict=True):
                    index = element + stride * program
                    if active and (limit is None or index + limit < n):
                        if not 0 <= index < n:
                            return False
                        count[index] += 1
            mine = range(start, min(start + BLOCK, n))
            if any(c != (i in mine) for i, c in enumerate(count)):
                return False
    return True


@settings(max_examples=500)
@given(kernels())
def test_what_passes_writes_every_element_once_for_every_n(drawn: Drawn) -> None:
    made = path(drawn.full)
    passed = True
    try:
        for elements, stride, on, limit in drawn.stores:
            index = Offset(np.array(elements, np.int64), stride)
            below = None if limit is None else index + number(limit) - SIZE
            if any(on):
                made.store(P, index, Mask(np.array(on), below), zero(), 1)
        passed = not list(findings(made, BLOCK, ["p"]))
    except Refuted:
        passed = False
    if passed:
        assert counted(drawn)
    elif counted(drawn):
        # Lanes that are off for every n may do what they want; refuted all the same.
        usual = all(stride == BLOCK and limit in (0, None) for _, stride, _, limit in drawn.stores)
        assert not (drawn.full and usual)


def test_the_drawn_kernels_are_of_both_kinds() -> None:
    plain = tuple(range(BLOCK))
    first, second = tuple(i < 3 for i in range(BLOCK)), tuple(i >= 3 for i in range(BLOCK))
    good = Drawn(((plain, BLOCK, first, 0), (plain, BLOCK, second, 0)), False)
    assert counted(good)
    assert not counted(Drawn((good.stores[0], (plain, BLOCK, second, 1)), False))
    assert not counted(Drawn((good.stores[0], (plain, BLOCK, second, None)), False))
    assert not counted(Drawn(good.stores[:1], True))
