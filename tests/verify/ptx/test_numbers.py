"""What PTX instructions do to numbers, one by one, against rational numbers and integers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.verify.ptx.executor import Executor
from stepforge.verify.ptx.parser import Unsupported
from verify.ieee import BF16, F16, F32, F64, FORMATS, Format, notable, random_bits, rounded, same
from verify.ptx_kernels import PREFIX, UNSIGNED, compute, operand, table


def check(name: str, form: Format, rows: Sequence[Sequence[int]], op: str) -> Executor:
    """An instruction on rows of bits, against a correctly rounded operation."""
    columns = table(form, rows)
    result = f"{PREFIX[form.width]}90"
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    got, executor = compute(f"{name} {result}, {sources};", result, *columns)
    for row, bits in zip(rows, got, strict=True):
        wanted = rounded(op, form, *(form.value(b) for b in row))
        assert same(int(bits), wanted, form), (name, [form.value(b) for b in row])
    return executor


def pairs(form: Format) -> list[tuple[int, ...]]:
    """Every pair of notable numbers, and random ones."""
    some = random_bits(form, 200, 1)
    shuffled = [*some[1:], some[0]]
    return [*itertools.product(notable(form), repeat=2), *zip(some, shuffled, strict=True)]


def batches(rows: Sequence[Any], size: int = 1000) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


# Arithmetic.


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_sums_and_products_are_correctly_rounded(op: str, form: Format) -> None:
    for rows in batches(pairs(form)):
        assert check(f"{op}.rn.{form.name}", form, rows, op).approximate == set()


@pytest.mark.parametrize("form", [F32, F64], ids=["f32", "f64"])
def test_quotients_roots_and_reciprocals_are_correctly_rounded(form: Format) -> None:
    for rows in batches(pairs(form)):
        assert check(f"div.rn.{form.name}", form, rows, "div").approximate == set()
    singles = [*notable(form), *random_bits(form, 300, 2)]
    check(f"sqrt.rn.{form.name}", form, [(b,) for b in singles], "sqrt")
    (column,) = table(form, [(b,) for b in singles])
    result = f"{PREFIX[form.width]}90"
    got, _ = compute(f"rcp.rn.{form.name} {result}, {operand(column, 0)};", result, column)
    for bits, found in zip(singles, got, strict=True):
        assert same(int(found), rounded("div", form, 1.0, form.value(bits)), form)


def triples(form: Format) -> list[tuple[int, int, int]]:
    """Factors and addends that cancel, that make ties, and that break them by a little."""
    chosen = notable(form)[::2] + notable(form)[1::7]
    rows: list[tuple[int, int, int]] = list(itertools.product(chosen, chosen, chosen[::2]))
    some = random_bits(form, 150, 3)
    least = Fraction(2) ** (form.smallest - form.precision + 1)
    for a, b in zip(some, some[7:], strict=False):
        x, y = form.value(a), form.value(b)
        rows.append((a, b, some[a % len(some)]))
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        product = Fraction(x) * Fraction(y)
        near = form.bits(product)
        rows.append((a, b, near ^ form.sign))
        rows.append((a, b, near))
        half = product * Fraction(2) ** form.precision
        rows += [(a, b, form.bits(half)), (a, b, form.bits(-half)), (a, b, form.bits(least))]
    one, above = form.bits(1.0), form.bits(1.0) + 1
    tie = form.bits(Fraction(2) ** -form.precision)
    for c in (tie, tie + 1, tie - 1, tie | form.sign, 1, 1 | form.sign):
        rows += [(one, above, c), (above, above, c), (one, one, c), (above | form.sign, above, c)]
    return rows


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_a_fused_product_and_sum_is_rounded_once(form: Format) -> None:
    for rows in batches(triples(form)):
        assert check(f"fma.rn.{form.name}", form, rows, "fma").approximate == set()


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60)
@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=20))
def test_fused_float64_of_any_numbers(rows: list[tuple[float, float, float]]) -> None:
    check("fma.rn.f64", F64, [tuple(F64.bits(x) for x in row) for row in rows], "fma")


PATTERN = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(st.lists(st.tuples(PATTERN, PATTERN, PATTERN), min_size=1, max_size=20))
def test_fused_float32_of_any_patterns(rows: list[tuple[int, int, int]]) -> None:
    check("fma.rn.f32", F32, rows, "fma")


@pytest.mark.parametrize("op", ["add", "sub", "mul", "fma"])
def test_packed_pairs_are_two_float32(op: str) -> None:
    arity = 3 if op == "fma" else 2
    rows = (triples(F32) if op == "fma" else pairs(F32))[:1998]
    half = len(rows) // 2
    low, high = rows[:half], rows[half : 2 * half]
    for first, second in zip(batches(low), batches(high), strict=True):
        columns = [
            np.array([(h[i] << 32) | v[i] for v, h in zip(first, second, strict=True)], np.uint64)
            for i in range(arity)
        ]
        sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
        got, _ = compute(f"{op}.rn.f32x2 %rd90, {sources};", "%rd90", *columns)
        for v, h, bits in zip(first, second, got, strict=True):
            parts = (int(bits) & 0xFFFFFFFF, v), (int(bits) >> 32, h)
            for part, row in parts:
                assert same(part, rounded(op, F32, *map(F32.value, row)), F32), row


@pytest.mark.parametrize("form", [BF16, F16], ids=["bf16", "f16"])
@pytest.mark.parametrize("op", ["add", "sub", "fma"])
def test_mixed_operations_widen_their_16_bit_operands(op: str, form: Format) -> None:
    narrow, wide = notable(form), [*notable(F32), *random_bits(F32, 20, 4)]
    rows: list[tuple[int, ...]] = list(itertools.product(narrow[::3], narrow[::2], wide[::2]))
    if op != "fma":
        rows = list(itertools.product(narrow, wide))
    for batch in batches(rows):
        *factors, addend = zip(*batch, strict=True)
        columns = [np.array(f, np.uint16) for f in factors] + [np.array(addend, np.uint32)]
        sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
        got, _ = compute(f"{op}.rn.f32.{form.name} %r90, {sources};", "%r90", *columns)
        for row, bits in zip(batch, got, strict=True):
            values = [form.value(b) for b in row[:-1]] + [F32.value(row[-1])]
            assert same(int(bits), rounded(op, F32, *values), F32), values


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_sign_operations_touch_the_sign_alone(form: Format) -> None:
    singles = [*notable(form), *random_bits(form, 50, 5)]
    (column,) = table(form, [(b,) for b in singles])
    result = f"{PREFIX[form.width]}90"
    for op, wanted in (
        ("neg", lambda b: b ^ form.sign),
        ("abs", lambda b: b & ~form.sign),
    ):
        got, _ = compute(f"{op}.{form.name} {result}, {operand(column, 0)};", result, column)
        for bits, found in zip(singles, got, strict=True):
            assert same(int(found), wanted(bits), form)


def extreme(op: str, propagate: bool, form: Format, a: int, b: int) -> int:
    """The larger or smaller of two numbers by their bits."""
    x, y = form.value(a), form.value(b)
    if math.isnan(x) or math.isnan(y):
        both = math.isnan(x) and math.isnan(y)
        return form.bits(math.nan) if propagate or both else b if math.isnan(x) else a

    def order(bits: int) -> int:  # -0 is below +0
        return -(bits ^ form.sign) - 1 if bits & form.sign else bits

    return max(a, b, key=order) if op == "max" else min(a, b, key=order)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("name", ["max", "min", "max.NaN", "min.NaN"])
def test_extremes_order_zeros_and_treat_nan_as_they_say(name: str, form: Format) -> None:
    if form is F64 and "NaN" in name:
        with pytest.raises(Unsupported):
            compute(f"{name}.f64 %rd90, %rd50, %rd50;", "%rd90", np.zeros(1, np.uint64))
        return
    rows = pairs(form)[:1000]
    columns = table(form, rows)
    result = f"{PREFIX[form.width]}90"
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    got, _ = compute(f"{name}.{form.name} {result}, {sources};", result, *columns)
    for (a, b), bits in zip(rows, got, strict=True):
        assert same(int(bits), extreme(name[:3], "NaN" in name, form, a, b), form)


# Approximate instructions.


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("div.full.f32", "div"),
        ("div.approx.f32", "div"),
        ("sqrt.approx.f32", "sqrt"),
        ("add.f32", "add"),
        ("sub.f32", "sub"),
        ("mul.f32", "mul"),
    ],
)
def test_what_ptx_does_not_fix_gives_the_nearest_number_and_is_recorded(name: str, op: str) -> None:
    rows = [row[:1] if op == "sqrt" else row for row in pairs(F32)[:1000]]
    assert check(name, F32, rows, op).approximate == {name}


@pytest.mark.parametrize(
    ("name", "loose"),
    [
        ("div.full.ftz.f32", True),
        ("div.rn.ftz.f32", False),
        ("sqrt.approx.ftz.f32", True),
        ("sqrt.rn.ftz.f32", False),
        ("add.rn.ftz.f32", False),
        ("mul.rn.ftz.f32", True),
        ("neg.ftz.f32", False),
    ],
)
def test_ftz_flushes_subnormals_to_zeros_of_their_sign(name: str, loose: bool) -> None:
    def flush(bits: int) -> int:
        return bits & F32.sign if 0 < bits & (F32.sign - 1) < 1 << 23 else bits

    op = name.split(".")[0]
    rows = [row[:1] if op in ("sqrt", "neg") else row for row in pairs(F32)[:1000]]
    columns = table(F32, rows)
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    got, executor = compute(f"{name} %r90, {sources};", "%r90", *columns)
    assert executor.approximate == ({name} if loose else set())
    for row, bits in zip(rows, got, strict=True):
        flushed = [flush(b) for b in row]
        result = flushed[0] ^ F32.sign
        if op != "neg":
            result = rounded(op, F32, *map(F32.value, flushed))
        assert same(int(bits), flush(result), F32), row


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ex2.approx.f32", lambda x: 2.0**x),
        ("lg2.approx.f32", math.log2),
        ("rsqrt.approx.f32", lambda x: 1 / math.sqrt(x)),
        ("rcp.approx.f32", lambda x: 1 / x),
    ],
)
def test_approximate_functions_are_close(name: str, function: Callable[[float], float]) -> None:
    values = np.float32([0.25, 0.5, 1, 3, 10, 100.5])
    got, executor = compute(f"{name} %r90, %r50;", "%r90", values.view(np.uint32))
    wanted = [function(float(x)) for x in values]
    np.testing.assert_allclose(got.view(np.float32), wanted, rtol=2**-23)
    assert executor.approximate == {name}


# Casts.


def cast(name: str, target: Format, source: Format, singles: Sequence[int]) -> None:
    (column,) = table(source, [(b,) for b in singles])
    result = f"{PREFIX[target.width]}90"
    got, _ = compute(f"{name} {result}, {operand(column, 0)};", result, column)
    for bits, found in zip(singles, got, strict=True):
        assert same(int(found), target.bits(source.value(bits)), target), source.value(bits)


def near_ties(target: Format, source: Format) -> list[int]:
    """Half way between two numbers of the target, and a little beside; carries and overflow."""
    found = []
    patterns = [*notable(target), *random_bits(target, 40, 6)]
    for bits in patterns:
        value = target.value(bits)
        if not math.isfinite(value):
            continue
        size = bits & (target.sign - 1)
        following = target.value(size + 1) if size + 1 < target.infinity else math.inf
        step = following - abs(value)
        if math.isinf(step):
            step = abs(value) - target.value(size - 1)
        for part in (Fraction(1, 2), Fraction(1, 4), Fraction(3, 4)):
            middle = abs(Fraction(value)) + Fraction(step) * part
            near = source.bits(middle)
            found += [near, near + 1, near - 1, near | source.sign]
    return found


@pytest.mark.parametrize(
    ("target", "source"),
    [(BF16, F32), (F16, F32), (F32, F64), (F16, F64), (BF16, F64)],
    ids=lambda f: f.name,
)
def test_narrowing_rounds_once_to_nearest_even(target: Format, source: Format) -> None:
    singles = [*notable(source), *random_bits(source, 50, 7), *near_ties(target, source)]
    for batch in batches(singles):
        cast(f"cvt.rn.{target.name}.{source.name}", target, source, batch)


@pytest.mark.parametrize(
    ("target", "source"), [(F32, BF16), (F32, F16), (F64, F32)], ids=lambda f: f.name
)
def test_widening_is_exact(target: Format, source: Format) -> None:
    singles: Sequence[int] = [*notable(source), *random_bits(source, 100, 8)]
    if source.width == 16:
        singles = range(2**16)
    for batch in batches(singles):
        cast(f"cvt.{target.name}.{source.name}", target, source, batch)


@pytest.mark.parametrize("form", [BF16, F16], ids=["bf16", "f16"])
def test_the_first_operand_of_a_packing_cast_is_the_upper_half(form: Format) -> None:
    singles = [*notable(F32), *near_ties(form, F32)][:500]
    upper, lower = singles, [*singles[1:], singles[0]]
    columns = table(F32, list(zip(upper, lower, strict=True)))
    got, _ = compute(f"cvt.rn.{form.name}x2.f32 %r90, %r50, %r51;", "%r90", *columns)
    for high, low, bits in zip(upper, lower, got, strict=True):
        assert same(int(bits) >> 16, form.bits(F32.value(high)), form)
        assert same(int(bits) & 0xFFFF, form.bits(F32.value(low)), form)


@pytest.mark.parametrize(
    ("name", "target", "source", "cases"),
    [
        ("cvt.u64.u32", 64, 32, {0xFFFFFFFF: 0xFFFFFFFF, 1: 1}),
        ("cvt.s64.s32", 64, 32, {0xFFFFFFFF: 2**64 - 1, 0x7FFFFFFF: 0x7FFFFFFF}),
        ("cvt.u32.u64", 32, 64, {2**32 + 5: 5, 2**64 - 1: 2**32 - 1}),
        ("cvt.rn.f32.s32", 32, 32, {2**32 - 1: F32.bits(-1.0), 2**24 + 1: F32.bits(2.0**24)}),
        ("cvt.rn.f32.u32", 32, 32, {2**32 - 1: F32.bits(2.0**32)}),
        ("cvt.rn.f64.s64", 64, 64, {2**64 - 3: F64.bits(-3.0), 2**53 + 3: F64.bits(2.0**53 + 4)}),
        ("cvt.rn.f32.s64", 32, 64, {2**54 + 2**30 + 1: F32.bits(Fraction(2**54 + 2**30 + 1))}),
    ],
)
def test_casts_of_integers(name: str, target: int, source: int, cases: dict[int, int]) -> None:
    column = np.array(list(cases), UNSIGNED[source])
    result = f"{PREFIX[target]}90"
    got, _ = compute(f"{name} {result}, {operand(column, 0)};", result, column)
    assert got.tolist() == list(cases.values())


# Comparisons and choices.

ORDER: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}
CHOOSE = "selp.b32 %r90, 1, 0, %p1;"
COMPARISONS = [*ORDER, *(f"{o}u" for o in ORDER), "num", "nan"]


def compares(name: str, a: float, b: float) -> bool:
    """What a comparison of PTX says of two numbers."""
    unordered = math.isnan(a) or math.isnan(b)
    if name in ("num", "nan"):
        return unordered == (name == "nan")
    return len(name) == 3 if unordered else ORDER[name[:2]](a, b)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_of_numbers(name: str, form: Format) -> None:
    rows = pairs(form)[:1000]
    columns = table(form, rows)
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    got, _ = compute(f"setp.{name}.{form.name} %p1, {sources};\n{CHOOSE}", "%r90", *columns)
    for row, found in zip(rows, got, strict=True):
        a, b = map(form.value, row)
        assert bool(found) == compares(name, a, b), (a, b)


@pytest.mark.parametrize("form", [BF16, F16], ids=["bf16", "f16"])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_of_packed_pairs_set_a_predicate_for_each_half(name: str, form: Format) -> None:
    rows = pairs(form)[:1000]
    lows, highs = rows[:500], rows[500:]
    columns = [
        np.array([h[i] << 16 | v[i] for v, h in zip(lows, highs, strict=True)], np.uint32)
        for i in (0, 1)
    ]
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    lines = f"setp.{name}.{form.name}x2 %p1|%p2, {sources};\n{CHOOSE}\nselp.b32 %r90, "
    for register, half in (("%p1", lows), ("%p2", highs)):
        got, _ = compute(f"{lines}1, 0, {register};", "%r90", *columns)
        wanted = [compares(name, *map(form.value, row)) for row in half]
        assert got.astype(bool).tolist() == wanted


INTEGERS = {"u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64}


def integers(width: int) -> list[int]:
    top = 1 << (width - 1)
    return [0, 1, 2, 5, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2, 0x1234 % (2 * top)]


def signed(value: int, kind: str) -> int:
    """The integer that bits are as a PTX type."""
    width = int(kind[1:])
    value %= 1 << width
    return value - (1 << width) if kind[0] == "s" and value >> (width - 1) else value


@pytest.mark.parametrize("kind", [*INTEGERS, "b16", "b32", "b64"])
def test_comparisons_of_integers(kind: str) -> None:
    names = {name: ORDER[name] for name in (ORDER if kind[0] != "b" else ("eq", "ne"))}
    if kind[0] == "u":
        names |= {"lo": ORDER["lt"], "ls": ORDER["le"], "hi": ORDER["gt"], "hs": ORDER["ge"]}
    rows = list(itertools.product(integers(int(kind[1:])), repeat=2))
    columns = [np.array(c, UNSIGNED[int(kind[1:])]) for c in zip(*rows, strict=True)]
    sources = ", ".join(operand(c, i) for i, c in enumerate(columns))
    for name, compare in names.items():
        got, _ = compute(f"setp.{name}.{kind} %p1, {sources};\n{CHOOSE}", "%r90", *columns)
        wanted = [compare(signed(a, kind), signed(b, kind)) for a, b in rows]
        assert got.tolist() == wanted, name


@pytest.mark.parametrize("kind", ["b32", "f32", "b64", "f64", "b16", "s64"])
def test_selp_takes_the_first_where_the_predicate_holds(kind: str) -> None:
    width = int(kind[1:])
    a, b = (np.array(v, UNSIGNED[width]) for v in ([1, 2, 3, 4], [5, 6, 7, 8]))
    register = PREFIX[width]
    lines = f"setp.lt.u32 %p1, %r1, 2;\nselp.{kind} {register}90, {register}50, {register}51, %p1;"
    got, _ = compute(lines, f"{register}90", a, b)
    assert got.tolist() == [1, 2, 7, 8]


# Integers and bits.

WRAPPED: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "max": max,
    "min": min,
}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("name", WRAPPED)
def test_integer_operations_wrap(name: str, kind: str) -> None:
    width = INTEGERS[kind]
    rows = list(itertools.product(integers(width), repeat=2))
    columns = [np.array(c, UNSIGNED[width]) for c in zip(*rows, strict=True)]
    register = PREFIX[width]
    got, _ = compute(f"{name}.{kind} {register}90, {register}50, {register}51;",
                     f"{register}90", *columns)  # fmt: skip
    wanted = [WRAPPED[name](signed(a, kind), signed(b, kind)) % (1 << width) for a, b in rows]
    assert got.tolist() == wanted


@pytest.mark.parametrize("kind", ["u16", "s16", "u32", "s32"])
def test_wide_products_are_exact(kind: str) -> None:
    width = INTEGERS[kind]
    rows = list(itertools.product(integers(width), repeat=2))
    columns = [np.array(c, UNSIGNED[width]) for c in zip(*rows, strict=True)]
    addend = np.arange(len(rows)).astype(UNSIGNED[2 * width])
    source, target = PREFIX[width], PREFIX[2 * width]
    lines = (
        f"mul.wide.{kind} {target}80, {source}50, {source}51;\n"
        f"mad.wide.{kind} {target}81, {source}50, {source}51, {target}52;\n"
        f"xor.b{2 * width} {target}90, {target}80, {target}81;"
    )
    got, _ = compute(lines, f"{target}90", *columns, addend)
    for (a, b), c, found in zip(rows, addend.tolist(), got.tolist(), strict=True):
        product, size = signed(a, kind) * signed(b, kind), 1 << 2 * width
        assert found == (product % size) ^ ((product + c) % size)


@pytest.mark.parametrize("width", [16, 32, 64])
def test_bits_and_shifts(width: int) -> None:
    register, full = PREFIX[width], (1 << width) - 1
    rows = list(itertools.product(integers(width), repeat=2))
    columns = [np.array(c, UNSIGNED[width]) for c in zip(*rows, strict=True)]
    for name, function in {
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
    }.items():
        line = f"{name}.b{width} {register}90, {register}50, {register}51;"
        got, _ = compute(line, f"{register}90", *columns)
        assert got.tolist() == [function(a, b) for a, b in rows]
    got, _ = compute(f"not.b{width} {register}90, {register}50;", f"{register}90", *columns)
    assert got.tolist() == [a ^ full for a, _ in rows]
    got, _ = compute(f"neg.s{width} {register}90, {register}50;", f"{register}90", *columns)
    assert got.tolist() == [-a & full for a, _ in rows]
    shifts: dict[str, Callable[[int, int], int]] = {
        f"shl.b{width}": lambda a, by: (a << by) & full,
        f"shr.b{width}": lambda a, by: a >> by,
        f"shr.u{width}": lambda a, by: a >> by,
        f"shr.s{width}": lambda a, by: (signed(a, f"s{width}") >> by) & full,
    }
    for name, function in shifts.items():
        for by in (0, 1, width - 1, width, width + 7, 200):
            line = f"mov.b32 %r80, {by};\n{name} {register}90, {register}50, %r80;"
            got, _ = compute(line, f"{register}90", columns[0])
            assert got.tolist() == [function(a, by) for a, _ in rows], (name, by)


def test_predicates_are_combined() -> None:
    lines = (
        "setp.lt.u32 %p1, %r1, 2;\nsetp.eq.u32 %p2, %r1, 1;\nand.pred %p3, %p1, %p2;\n"
        "or.pred %p4, %p1, %p2;\nxor.pred %p5, %p3, %p4;\nnot.pred %p6, %p5;\nmov.pred %p7, %p6;\n"
        "selp.b32 %r90, 1, 0, %p7;"
    )
    assert compute(lines, "%r90", np.zeros(4, np.uint32))[0].tolist() == [0, 1, 1, 1]


def test_moves_pack_and_unpack_the_low_part_first() -> None:
    lines = (
        "mov.b32 {%rs1, %rs2}, %r50;\nmov.b32 %r80, {%rs2, %rs1};\nmov.b64 %rd80, {%r50, %r80};\n"
        "mov.b64 {_, %r81}, %rd80;\nmov.b64 {%r82, %r83}, %rd80;\nmov.b64 %rd90, {%r81, %r82};"
    )
    got, _ = compute(lines, "%rd90", np.array([0x11223344], np.uint32))
    assert got.tolist() == [0x1122334433441122]


@pytest.mark.parametrize(
    ("line", "register", "wanted"),
    [
        ("mov.b32 %r90, 0f3F800000;", "%r90", 0x3F800000),
        ("mov.b64 %rd90, 0d3FF0000000000000;", "%rd90", 0x3FF0000000000000),
        ("mov.u32 %r90, 0x10;", "%r90", 16),
        ("mov.b32 %r90, -1;", "%r90", 2**32 - 1),
        ("mov.b16 %rs90, 0x8000;", "%rs90", 0x8000),
        ("xor.b64 %rd90, %rd50, -9223372036854775808;", "%rd90", 2**63 | 7),
        ("mov.u32 %r90, %ntid.x;", "%r90", 1),
    ],
)
def test_immediate_operands(line: str, register: str, wanted: int) -> None:
    assert compute(line, register, np.array([7], np.uint64))[0].tolist() == [wanted]


def test_half_of_a_pair_may_be_a_register_that_nothing_has_written() -> None:
    rows = [(i + 1,) for i in range(32)]
    (column,) = table(F32, rows)
    pack = f"mov.b64 %rd90, {{{operand(column, 0)}, %r89}};"
    first, _ = compute(f"{pack}\nmov.b64 {{%r91, %r92}}, %rd90;", "%r91", column)
    assert first.tolist()[: len(rows)] == [row[0] for row in rows]
    second, _ = compute(f"{pack}\nmov.b64 {{%r91, %r92}}, %rd90;", "%r92", column)
    assert all(F32.value(int(bits)) != F32.value(int(bits)) for bits in second)
