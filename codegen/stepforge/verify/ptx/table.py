"""THE table of PTX instructions: what each does to numbers, and what it means in terms.

A new instruction is one row here. The executor (R6) computes with its numeric meaning, the lifter
(R7) with its symbolic one, and neither follows from the other; `tests/verify/ptx/test_table.py`
compares them on every row that has both. What is in no row is `Unsupported`, never guessed; loads,
stores, branches and barriers are in `executor` and `lifter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stepforge.operations import arithmetic
from stepforge.verify.ptx import bits, numbers, places, symbols
from stepforge.verify.ptx.bits import Integral
from stepforge.verify.ptx.lanes import Array
from stepforge.verify.ptx.mnemonics import Mnemonic, expanded, width_of
from stepforge.verify.ptx.numbers import Number, plain
from stepforge.verify.ptx.parser import Unsupported
from stepforge.verify.ptx.symbols import floats
from stepforge.verify.ptx.values import Float, Integer, Packed, Symbol, Value


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction with one number of operands.

    Attributes:
        mnemonic: Its name.
        takes: The types that its operands are read as.
        gives: The type of its result; "predx2" is two predicates, of a comparison of pairs.
        number: `number(mnemonic, *arrays)`, the result in lanes; None if it is executed nowhere.
        symbol: `symbol(mnemonic, *values)`, the symbolic result; of packed operands that of each
            of their parts. None if it is lifted nowhere.
    """

    mnemonic: Mnemonic
    takes: tuple[str, ...]
    gives: str
    number: Number | None
    symbol: Symbol | None

    def numeric(self, *arrays: Array) -> Array:
        """The result of operands in lanes.

        Raises:
            Unsupported: It has no numeric meaning.
        """
        if self.number is None:
            raise Unsupported(f"`{self.mnemonic.text}`")
        if "ftz" in self.mnemonic.modifiers:
            return numbers.flushing(self.mnemonic, self.number, arrays)
        return self.number(self.mnemonic, *arrays)

    def symbolic(self, *values: Value) -> tuple[Value, ...]:
        """The result of symbolic operands: two of a comparison of pairs, else one.

        Raises:
            Unsupported: It has no symbolic meaning, or none for these.
        """
        if self.symbol is None:
            raise Unsupported(f"`{self.mnemonic.text}`")
        if not all(kind.endswith("x2") for kind in self.takes):
            return (self.symbol(self.mnemonic, *values),)
        packed = [v.parts for v in values if isinstance(v, Packed)]
        found = tuple(self.symbol(self.mnemonic, *parts) for parts in zip(*packed, strict=True))
        parts = tuple(v for v in found if isinstance(v, Float | Integer))
        return (Packed(parts),) if parts else found


HALVES = "bf16 f16 bf16x2 f16x2"
UNSIGNED, SIGNED, BITS = "u16 u32 u64", "s16 s32 s64", "b16 b32 b64"
WHOLE = f"{UNSIGNED} {SIGNED}"
NARROW, WIDE = "u16 s16", "u32 u64 s32 s64"
COMPARISONS = "lt|le|gt|ge|eq|ne|ltu|leu|gtu|geu|equ|neu|num|nan"


def rows(
    form: str, types: str, takes: str, number: Number | None, symbol: Symbol | None,
    gives: str = "T",
) -> Iterator[Row]:  # fmt: skip
    """The rows that are written as one.

    Args:
        form: Name but for the last type; see `mnemonics.expanded`.
        types: The last types.
        takes: Types of the operands: "S" for the last one of the name, "T" for the first one, "W"
            for one twice as wide as "S", "B" for its bits, or a type; one with a final "?" may be
            missing.
        number: The numeric meaning.
        symbol: The symbolic meaning.
        gives: Type of the result.
    """
    for mnemonic in expanded(form, types):
        kinds = tuple(_type(kind.removesuffix("?"), mnemonic) for kind in takes.split())
        result = _type(gives, mnemonic)
        yield Row(mnemonic, kinds, result, number, symbol)
        if takes.endswith("?"):
            yield Row(mnemonic, kinds[:-1], result, number, symbol)


def _type(kind: str, m: Mnemonic) -> str:
    """The type that an operand or result of a row has."""
    match kind:
        case "S":
            return m.source
        case "T":
            return m.target
        case "W":
            return f"{m.source[0]}{2 * width_of(m.source)}"
        case "B":
            return f"b{width_of(m.source)}"
    return kind


ROWS: tuple[Row, ...] = (
    # Sums and products. Those of 16 bits are computed in float64 and rounded when they are written.
    *rows("add rn? ftz?", "f32 f64 f32x2", "S S", plain(np.add), floats("add")),
    *rows("sub rn? ftz?", "f32 f64 f32x2", "S S", plain(np.subtract), symbols.subtracted),
    *rows("mul rn? ftz?", "f32 f64 f32x2", "S S", plain(np.multiply), floats("mul")),
    *rows("fma|mad rn ftz?", "f32 f64 f32x2", "S S S", numbers.fused, floats("fma")),
    *rows("add rz|rm|rp ftz?", "f32 f64", "S S", None, floats("add")),
    *rows("sub rz|rm|rp ftz?", "f32 f64", "S S", None, symbols.subtracted),
    *rows("mul rz|rm|rp ftz?", "f32 f64", "S S", None, floats("mul")),
    *rows("fma|mad rz|rm|rp ftz?", "f32 f64", "S S S", None, floats("fma")),
    *rows("add rn?", HALVES, "S S", plain(arithmetic.odd_sum), symbols.halves(floats("add"))),
    *rows("sub rn?", HALVES, "S S", plain(lambda a, b: arithmetic.odd_sum(a, -b)),
          symbols.halves(symbols.subtracted)),
    *rows("mul rn?", HALVES, "S S", plain(np.multiply), symbols.halves(floats("mul"))),
    *rows("fma rn", HALVES, "S S S", numbers.fused_halves, symbols.fused_halves),
    *rows("add rn? f32", "bf16 f16", "S f32", numbers.mixed(np.add), symbols.mixed(floats("add"))),
    *rows("sub rn? f32", "bf16 f16", "S f32", numbers.mixed(np.subtract),
          symbols.mixed(symbols.subtracted)),
    *rows("fma rn f32", "bf16 f16", "S S f32", numbers.fused, symbols.mixed(floats("fma"))),
    # Quotients, roots, and functions that are approximations.
    *rows("div rn|approx|full ftz?", "f32", "S S", plain(np.divide), floats("div")),
    *rows("div rn", "f64", "S S", plain(np.divide), floats("div")),
    *rows("div rz|rm|rp ftz?", "f32 f64", "S S", None, floats("div")),
    *rows("sqrt rn|approx ftz?", "f32", "S", plain(np.sqrt), floats("sqrt")),
    *rows("sqrt rn", "f64", "S", plain(np.sqrt), floats("sqrt")),
    *rows("sqrt rz|rm|rp ftz?", "f32 f64", "S", None, floats("sqrt")),
    *rows("rcp rn|approx ftz?", "f32", "S", plain(np.reciprocal), floats("rcp")),
    *rows("rcp rn", "f64", "S", plain(np.reciprocal), floats("rcp")),
    *rows("rcp rz|rm|rp ftz?", "f32 f64", "S", None, floats("rcp")),
    *rows("rsqrt approx ftz?", "f32", "S", numbers.approximate(lambda a: 1 / np.sqrt(a)), None),
    *rows("ex2 approx ftz?", "f32", "S", numbers.approximate(np.exp2), symbols.power_of_two),
    *rows("lg2 approx ftz?", "f32", "S", numbers.approximate(np.log2), floats("lg2")),
    # Signs and extremes. Of zeros -0 is below +0, and without `.NaN` the number wins: the PTX ISA.
    *rows("abs", f"f32 f64 {HALVES}", "S", plain(np.abs), floats("abs")),
    *rows("neg", f"f32 f64 {HALVES}", "S", plain(np.negative), floats("neg")),
    *rows("abs ftz", "f32", "S", plain(np.abs), None),
    *rows("neg ftz", "f32", "S", plain(np.negative), None),
    *rows("max NaN", f"f32 {HALVES}", "S S S?", numbers.maximum(True), floats("max")),
    *rows("min NaN", f"f32 {HALVES}", "S S S?", numbers.minimum(True), floats("min")),
    *rows("max", f"f32 f64 {HALVES}", "S S S?", numbers.maximum(False), floats("maxnum")),
    *rows("min", f"f32 f64 {HALVES}", "S S S?", numbers.minimum(False), floats("minnum")),
    *rows("max ftz NaN", "f32", "S S S?", numbers.maximum(True), None),
    *rows("min ftz NaN", "f32", "S S S?", numbers.minimum(True), None),
    *rows("max ftz", "f32", "S S S?", numbers.maximum(False), None),
    *rows("min ftz", "f32", "S S S?", numbers.minimum(False), None),
    *rows("max", WHOLE, "S S", plain(np.maximum), None),
    *rows("min", WHOLE, "S S", plain(np.minimum), None),
    # Casts. The number of significant bits decides whether one rounds, which `.rn` has to say.
    *rows("cvt rn bf16|f16", "f32 f64", "S", numbers.converted, symbols.cast),
    *rows("cvt rn f32", "f64", "S", numbers.converted, symbols.cast),
    *rows("cvt f32", "bf16 f16", "S", numbers.converted, symbols.cast),
    *rows("cvt f64", "bf16 f16 f32", "S", numbers.converted, symbols.cast),
    *rows("cvt rn bf16x2|f16x2", "f32", "S S", numbers.packing_cast, symbols.packing_cast),
    *rows("cvt rn f32|f64", WHOLE, "S", numbers.converted, None),
    *rows("cvt u16|s16", "u32 s32", "S", numbers.converted, Integral(places.resized, bits.lower)),
    *rows("cvt u32|s32", "u64 s64", "S", numbers.converted, Integral(places.resized, bits.lower)),
    *rows("cvt u32|s32", "u16", "S", numbers.converted, Integral(places.resized, bits.widened)),
    *rows("cvt u64|s64", "u32", "S", numbers.converted, Integral(places.resized, bits.widened)),
    *rows("cvt u16|s16", "u16 u64 s16 s64", "S", numbers.converted, Integral(places.resized)),
    *rows("cvt u32|s32", "u32 s16 s32", "S", numbers.converted, Integral(places.resized)),
    *rows("cvt u64|s64", "u16 u64 s16 s32 s64", "S", numbers.converted, Integral(places.resized)),
    # Comparisons, predicates and choices.
    *rows(f"setp {COMPARISONS}", "f32 f64 bf16 f16", "S S", numbers.compared, symbols.compared,
          "pred"),
    *rows(f"setp {COMPARISONS}", "bf16x2 f16x2", "S S", numbers.compared, symbols.compared,
          "predx2"),
    *rows(f"setp {COMPARISONS} ftz", "f32", "S S", numbers.compared, None, "pred"),
    *rows("setp eq|ne", f"{BITS} {WHOLE}", "S S", numbers.ordered,
          Integral(places.compared, bits.compared), "pred"),
    *rows("setp lt|le|gt|ge", WHOLE, "S S", numbers.ordered, Integral(places.compared), "pred"),
    *rows("setp lo|ls|hi|hs", UNSIGNED, "S S", numbers.ordered, Integral(places.compared), "pred"),
    *rows("and", "pred", "S S", plain(np.logical_and), symbols.conjunction),
    *rows("or", "pred", "S S", plain(np.logical_or), symbols.disjunction),
    *rows("xor", "pred", "S S", plain(np.logical_xor), symbols.difference),
    *rows("not", "pred", "S", plain(np.logical_not), symbols.negated),
    *rows("selp", f"{BITS} {WHOLE} f32 f64", "B B pred", numbers.chosen, symbols.chosen, "B"),
    # Moves. A register is bits; one in braces is several, the lowest first.
    *rows("mov", "pred", "S", numbers.same, symbols.same),
    *rows("mov", f"{BITS} {WHOLE} f32 f64 bf16 f16", "B", numbers.same, symbols.same, "B"),
    # Integers and bits; the second meaning is that for the bits of data.
    *rows("add", WIDE, "S S", plain(np.add), Integral(places.added, bits.computed("iadd"))),
    *rows("add", NARROW, "S S", plain(np.add), Integral(places.added)),
    *rows("sub", WIDE, "S S", plain(np.subtract),
          Integral(places.subtracted, bits.computed("isub"))),
    *rows("sub", NARROW, "S S", plain(np.subtract), Integral(places.subtracted)),
    *rows("mul lo", WIDE, "S S", plain(np.multiply),
          Integral(places.multiplied, bits.computed("imul"))),
    *rows("mul lo", NARROW, "S S", plain(np.multiply), Integral(places.multiplied)),
    *rows("mul wide", "u16 u32 s16 s32", "S S", numbers.wide(np.multiply),
          Integral(places.multiplied_wide), "W"),
    *rows("mad lo", WIDE, "S S S", plain(lambda a, b, c: a * b + c),
          Integral(places.multiplied, bits.computed("imul"))),
    *rows("mad lo", NARROW, "S S S", plain(lambda a, b, c: a * b + c), Integral(places.multiplied)),
    *rows("mad wide", "u16 u32 s16 s32", "S S W", numbers.wide(lambda a, b, c: a * b + c),
          Integral(places.multiplied_wide), "W"),
    *rows("neg", SIGNED, "S", plain(np.negative), Integral(places.negated)),
    *rows("abs", SIGNED, "S", plain(np.abs), None),
    *rows("and", BITS, "S S", plain(np.bitwise_and),
          Integral(places.bitwise(np.bitwise_and), bits.masked)),
    *rows("or", BITS, "S S", plain(np.bitwise_or),
          Integral(places.bitwise(np.bitwise_or), bits.united)),
    *rows("xor", BITS, "S S", plain(np.bitwise_xor),
          Integral(places.bitwise(np.bitwise_xor), bits.masked)),
    *rows("not", "b32 b64", "S", plain(np.invert), Integral(places.inverted, bits.inverted)),
    *rows("not", "b16", "S", plain(np.invert), Integral(places.inverted)),
    *rows("shl", "b32 b64", "S u32", numbers.shifted_left,
          Integral(places.shifted_left, bits.shifted)),
    *rows("shl", "b16", "S u32", numbers.shifted_left, Integral(places.shifted_left)),
    *rows("shr", "b32 b64 u32 u64", "S u32", numbers.shifted_right,
          Integral(places.shifted_right, bits.shifted)),
    *rows("shr", "s32 s64", "S u32", numbers.shifted_right,
          Integral(places.shifted_right, bits.shifted)),
    *rows("shr", "b16 u16 s16", "S u32", numbers.shifted_right, Integral(places.shifted_right)),
)  # fmt: skip
INSTRUCTIONS: Mapping[tuple[str, int], Row] = {
    (row.mnemonic.text, len(row.takes)): row for row in ROWS
}
"""Every instruction by its name and the number of its operands, without the result."""


def row_of(name: str, operands: int) -> Row:
    """The row of an instruction.

    Raises:
        Unsupported: There is none.
    """
    found = INSTRUCTIONS.get((name, operands))
    if found is None:
        raise Unsupported(f"`{name}`")
    return found
