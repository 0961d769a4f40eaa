"""Every row of the table: its two meanings give the same bits, on special and random lanes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from stepforge.operations import arithmetic
from stepforge.verify.ptx import executor, lifter, symbols
from stepforge.verify.ptx.bits import Integral, unknown
from stepforge.verify.ptx.lanes import Lanes
from stepforge.verify.ptx.mnemonics import is_float, width_of
from stepforge.verify.ptx.numbers import is_approximate
from stepforge.verify.ptx.parser import Instruction, Program, Unsupported, parse
from stepforge.verify.ptx.table import INSTRUCTIONS, ROWS, Row, row_of
from stepforge.verify.ptx.values import (
    Condition,
    Data,
    Float,
    Integer,
    Packed,
    Registers,
    Value,
    float_of,
)
from stepforge.verify.terms import terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.lifted import Mask
from stepforge.verify.terms.lifted import Unsupported as Unlifted
from stepforge.verify.terms.offsets import PROGRAM, Offset, Overflow
from verify.ieee import FORMATS, notable, random_bits
from verify.ptx_kernels import PREFIX, UNSIGNED, kernel

Array = np.ndarray[Any, Any]
COUNT = 1024
PROGRAM_OF_LANES: Program = parse(kernel("mov.u32 %r1, 0;", COUNT))
BOTH = {f"{name}, {n}": row for (name, n), row in INSTRUCTIONS.items() if row.number and row.symbol}
FLOATS_OF = {16: ("bf16", "f16"), 32: ("f32",), 64: ("f64",)}


class Drawn:
    """An operand both ways: bits in lanes, and a value with the numbers of its leaves.

    What a mask is as a term is known by no one else, so a comparison of leaves stands for it.
    """

    def __init__(self, bits: Array, value: Value, leaves: dict[str, Array] | None = None) -> None:
        self.bits, self.value, self.leaves = bits, value, leaves or {}
        self.known: dict[terms.Term, terms.Term] = {}


@cache
def patterns(kind: str, place: int) -> Array:
    """Bits of a kind of float: notable ones beside those of other operands, and random ones."""
    form = FORMATS[kind]
    rng = np.random.default_rng([place, form.width])
    found = [*notable(form), *random_bits(form, 700, place)]
    some = np.array(found, UNSIGNED[form.width])[rng.integers(0, len(found), COUNT)]
    some[:400] = np.array(notable(form)[:20], some.dtype)[np.arange(400) // 20**place % 20]
    return some


def of_float(kind: str, place: int, part: int = 0) -> Drawn:
    name, bits = f"{kind} {place} {part}", patterns(kind, place + part)
    leaves = {name: bits.view(terms.FLOATS[kind])}
    return Drawn(bits, Float(terms.load(name, kind)), leaves)


def of_pair(*halves: Drawn) -> Drawn:
    """Two operands in one register."""
    low, high = halves
    bits = np.stack([low.bits, high.bits], 1).view(UNSIGNED[16 * low.bits.itemsize]).reshape(-1)
    parts = tuple(d.value for d in halves if isinstance(d.value, Float | Integer))
    return Drawn(bits, Packed(parts), low.leaves | high.leaves)


def of_number(value: int, width: int) -> Drawn:
    bits = np.full(COUNT, value % 2**width, UNSIGNED[width])
    return Drawn(bits, Offset(np.asarray(value, np.int64)))


def of_predicate(place: int) -> Iterator[Drawn]:
    compared = of_float("f32", place)
    assert isinstance(compared.value, Float)
    condition = terms.apply("lt", compared.value.term, terms.constant(0.5, "f32"))
    holds = compared.leaves[f"f32 {place} 0"] < 0.5
    yield Drawn(holds, Condition(condition), compared.leaves)
    lanes = np.arange(COUNT) % (place + 2) == 0
    mask = Mask(lanes)
    drawn = Drawn(lanes, mask, {f"mask {place}": lanes.astype(np.float32)})
    is_on = terms.load(f"mask {place}", "f32")
    drawn.known[mask.term] = terms.apply("lt", terms.constant(0.5, "f32"), is_on)
    yield drawn
    yield Drawn(np.ones(COUNT, bool), Mask(np.ones(1, bool)))


def of_integer(width: int, place: int) -> Iterator[Drawn]:
    """What a register without a type may hold: places, whatever their sign, and data."""
    top = 1 << (width - 1)
    rng = np.random.default_rng([place, width])
    limit = min(2 * top, 2**62)
    for low, high in ((0, 40), (-20, 20), (top // 2, top), (-top, 0), (-limit, limit)):
        base = rng.integers(low, high, COUNT)
        yield Drawn(base.astype(UNSIGNED[width]), Offset(base))
    for value in (0, 1, 3, width // 2, width - 1, width, top - 1, -1, -top):
        yield of_number(value, width)
    if width < 64:
        yield of_number(top, width)
    for kind in FLOATS_OF[width]:
        yield of_float(kind, place)
    if width > 16:
        signs = top + (top >> width // 2)
        yield of_number(signs - 2 * top, width)
        yield of_number(2 * top - 1 - signs, width)
        for kind in FLOATS_OF[width // 2]:
            low, high = of_float(kind, place, 0), of_float(kind, place, 1)
            none = Drawn(np.zeros(COUNT, UNSIGNED[width // 2]), float_of(0, kind))
            yield from (of_pair(low, high), of_pair(low, none), of_pair(none, high))


@cache
def drawings(kind: str, place: int) -> list[Drawn]:
    """Operands of a type."""
    if kind == "pred":
        return list(of_predicate(place))
    if is_float(kind):
        base = kind.removesuffix("x2")
        one = of_float(base, place)
        return [one if base == kind else of_pair(one, of_float(base, place, 1))]
    return list(of_integer(width_of(kind), place))


def bits_of(value: Value, operands: tuple[Drawn, ...]) -> list[tuple[str, Array]]:
    """What is in a register: the types and bits of its parts, the lowest first."""
    if isinstance(value, Packed):
        return [part for v in value.parts for part in bits_of(v, operands)]
    if isinstance(value, Mask):
        assert value.below is None
        return [("pred", np.broadcast_to(value.lanes, COUNT))]
    if isinstance(value, Offset):
        assert value.concrete
        return [("", np.broadcast_to(value.base, COUNT))]
    assert isinstance(value, Float | Integer | Condition)
    leaves = {name: numbers for d in operands for name, numbers in d.leaves.items()}
    known = {mask: term for d in operands for mask, term in d.known.items()}
    found = np.broadcast_to(evaluate(terms.substitute(value.term, known), leaves), COUNT)
    if isinstance(value, Condition):
        return [("pred", found)]
    return [(value.term.kind, np.ascontiguousarray(found).view(UNSIGNED[value.width]))]


def is_nan(kind: str, bits: Array) -> Array:
    form = FORMATS[kind]
    return (bits & (form.sign - 1)) > form.infinity


def is_usual(numbers: Array) -> Array:
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        sizes = np.abs(numbers.astype(np.float64))
    return np.asarray((sizes > 2.0**-100) & (sizes < 2.0**100))


def check(row: Row, operands: tuple[Drawn, ...]) -> bool:
    """Runs an instruction both ways; False if it has no symbolic meaning for these operands."""
    lanes = Lanes(
        PROGRAM_OF_LANES, np.zeros(COUNT, np.int64), np.arange(COUNT, dtype=np.int64), {}, set()
    )
    registers, names = Registers(PROGRAM_OF_LANES, PROGRAM, {}), []
    for index, drawn in enumerate(operands):
        prefix = "%p" if drawn.bits.dtype == bool else PREFIX[8 * drawn.bits.itemsize]
        names.append(f"{prefix}{index + 1}")
        lanes.registers[names[-1]] = drawn.bits
        registers.held[names[-1]] = drawn.value
    if row.gives == "predx2":
        targets = ("%p7", "%p8")
    else:
        targets = ("%p7" if row.gives == "pred" else f"{PREFIX[width_of(row.gives)]}90",)
    operand = ("|".join(targets), *names)
    instruction = Instruction(1, row.mnemonic.text, operand, "", False)
    try:
        lifter.compute(registers, instruction)
    except (Unsupported, Unlifted, Overflow):
        return False
    with np.errstate(all="ignore"):
        executor.compute(lanes, instruction, None)
    loose = is_approximate(row.mnemonic) or "ftz" in row.mnemonic.modifiers
    for target in targets:
        parts = bits_of(registers.held[target], operands)
        got = lanes.registers[target]
        columns = [got]
        if len(parts) > 1:
            columns = list(got.view(UNSIGNED[8 * got.itemsize // len(parts)]).reshape(COUNT, -1).T)
        for (kind, wanted), column in zip(parts, columns, strict=True):
            if kind in FORMATS and loose:
                check_near(kind, wanted, column, operands)
            elif kind in FORMATS:
                nan = is_nan(kind, wanted)
                np.testing.assert_array_equal(is_nan(kind, column), nan)
                np.testing.assert_array_equal(column[~nan], wanted[~nan])
            else:
                whole = wanted if kind == "pred" else wanted.astype(np.int64).astype(column.dtype)
                np.testing.assert_array_equal(column, whole)
    return True


def check_near(kind: str, wanted: Array, got: Array, operands: tuple[Drawn, ...]) -> None:
    """What is no operation of IEEE 754 is at least that of its name, on normal numbers."""
    numbers = [bits.view(terms.FLOATS[kind]) for bits in (got, wanted)]
    leaves = [array for drawn in operands for array in drawn.leaves.values()]
    usual = np.logical_and.reduce([is_usual(array) for array in (*numbers, *leaves)])
    assert usual.sum() > 50
    np.testing.assert_allclose(*(array[usual] for array in numbers), rtol=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_both_meanings_are_the_same_bits(name: str) -> None:
    row = BOTH[name]
    compared: set[bool] = set()
    for operands in itertools.product(*(drawings(k, i) for i, k in enumerate(row.takes))):
        if check(row, operands):
            compared.add(any(isinstance(drawn.value, Data) for drawn in operands))
    wanted = {True} if any(map(is_float, row.takes)) else {*compared} or {False}
    if row.symbol is symbols.fused_halves:  # of special operands alone, see below
        wanted = set()
    if isinstance(row.symbol, Integral):
        wanted = {False} if row.symbol.data is unknown else {False, True}
    assert compared == wanted


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("numbers", [{2: -0.0}, {0: 1.0}, {1: 1.0}, {0: -1.0}, {1: -1.0}])
def test_fused_sums_of_16_bits_that_are_sums_or_products(
    kind: str, numbers: dict[int, float]
) -> None:
    operands = [of_float(kind, place) for place in range(3)]
    for place, number in numbers.items():
        value = np.full(COUNT, number).astype(terms.FLOATS[kind])
        operands[place] = Drawn(value.view(np.uint16), Float(terms.constant(number, kind)))
    assert check(row_of(f"fma.rn.{kind}", 3), tuple(operands))


def test_small_products_of_bfloat16_are_rounded_to_the_same_numbers_twice() -> None:
    """All pairs of significands at the exponents where float32 begins to lose digits."""
    significands = np.arange(128, 256) * 2.0**-7
    x, y = (a.reshape(-1) for a in np.meshgrid(significands, significands))
    for exponent in range(-138, -124):
        exact = x * y * 2.0**exponent
        once = arithmetic.to_16_bits(exact, "bf16")
        twice = exact.astype(np.float32).astype(terms.FLOATS["bf16"]).view(np.uint16)
        np.testing.assert_array_equal(once, twice)


def test_there_are_rows_with_both_meanings_and_none_is_there_twice() -> None:
    assert len(BOTH) > 250
    assert len(INSTRUCTIONS) == len(ROWS)
    assert all(row.number or row.symbol for row in ROWS)


def test_what_has_no_row_or_half_of_one_is_unsupported_with_its_name() -> None:
    for name, operands in (("sin.approx.f32", 1), ("add.rn.f32", 1), ("add.f", 2), ("add", 2)):
        with pytest.raises(Unsupported, match=f"^`{name}`$"):
            row_of(name, operands)
    with pytest.raises(Unsupported, match=r"^`add\.rz\.f32`$"):
        row_of("add.rz.f32", 2).numeric(np.zeros(1, np.float32), np.zeros(1, np.float32))
    with pytest.raises(Unsupported, match=r"^`max\.s32`$"):
        row_of("max.s32", 2).symbolic(PROGRAM, PROGRAM)
