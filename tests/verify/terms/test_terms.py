"""Normal forms give the same bits as what was written, and what IEEE 754 forbids is not done."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.verify.terms import terms
from stepforge.verify.terms.congruence import same_operations
from stepforge.verify.terms.terms import Term, apply, constant, load, truth
from verify.ieee import FORMATS, rounded

Value = float | bool
KINDS = list(FORMATS)


@dataclass(frozen=True)
class Tree:
    """An operation as it was written."""

    op: str
    kind: str
    args: tuple[Tree, ...] = ()
    data: object = None

    def term(self) -> Term:
        """Its normal form."""
        if self.op == "load":
            return load(str(self.data), self.kind)
        if self.op == "const":
            assert isinstance(self.data, float)
            return constant(self.data, self.kind)
        if self.op == "truth":
            return truth(bool(self.data))
        kind = self.kind if self.op == "cvt" else ""
        return apply(self.op, *(a.term() for a in self.args), kind=kind, data=self.data)


def number(value: float, kind: str) -> Tree:
    form = FORMATS[kind]
    return Tree("const", kind, (), form.value(form.bits(value)))


def leaf(name: str, kind: str) -> Tree:
    return Tree("load", kind, (), name)


def op(name: str, *args: Tree, kind: str = "", data: object = None) -> Tree:
    conditions = ("lt", "le", "gt", "ge", "eq", "ne", "nan", "not", "and", "or", "bits")
    return Tree(name, "bool" if name in conditions else kind or args[-1].kind, args, data)


def evaluate(
    root: Tree | Term, leaves: Mapping[str, float], plus: bool, memo: dict[int, Value] | None = None
) -> Value:
    """The value of a tree or a term; `plus` is the zero that `anymax` and `anymin` return."""
    memo = {} if memo is None else memo
    if id(root) not in memo:
        args = [evaluate(a, leaves, plus, memo) for a in root.args]
        kind = root.args[0].kind if root.args else root.kind
        if root.op == "load":
            memo[id(root)] = leaves[str(root.data)]
        elif root.op in ("const", "truth"):
            memo[id(root)] = root.data  # type: ignore[assignment]
        elif root.op == "cvt":
            form = FORMATS[root.kind]
            memo[id(root)] = form.value(form.bits(float(args[0])))
        else:
            memo[id(root)] = _value(root.op, kind, args, root.data, plus)
    return memo[id(root)]


def _value(name: str, kind: str, args: list[Value], data: object, plus: bool) -> Value:
    if name in ("add", "sub", "mul", "div", "sqrt", "fma"):
        form = FORMATS[kind]
        return form.value(rounded(name, form, *(float(a) for a in args)))
    if name == "select":
        return args[1] if args[0] else args[2]
    if name in ("not", "and", "or"):
        assert all(isinstance(a, bool) for a in args)
        return {"not": lambda: not args[0], "and": lambda: args[0] and args[1],
                "or": lambda: args[0] or args[1]}[name]()  # fmt: skip
    a, b = args[0], args[-1]
    if name == "neg":
        return -a
    if name == "abs":
        return math.fabs(a)
    if name == "bits":
        return FORMATS[kind].bits(float(a)) == data
    if name == "nan":
        return a != a or b != b
    if name in _COMPARE:
        return bool(_COMPARE[name](a, b))
    return _extreme(name, float(a), float(b), plus)


_COMPARE = {
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip


def _extreme(name: str, a: float, b: float, plus: bool) -> float:
    if a != a or b != b:
        if name.endswith("num") and (a == a or b == b):
            return b if a != a else a
        return math.nan
    if a == b == 0 and name.startswith("any"):
        if math.copysign(1, a) == math.copysign(1, b):
            return a
        return 0.0 if plus else -0.0

    def order(x: float) -> tuple[float, float]:
        return x, math.copysign(1, x)

    return max(a, b, key=order) if "max" in name else min(a, b, key=order)


def same(a: Value, b: Value) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def points(kind: str) -> list[float]:
    """Zeros, subnormals, limits, powers of two and neighbours, infinities, NaN."""
    form = FORMATS[kind]
    one = form.bits(1.0)
    bits = [
        0, 1, 3, (1 << (form.precision - 1)) - 1, 1 << (form.precision - 1), one - 1, one, one + 1,
        form.bits(2.0), form.bits(3.0), form.bits(0.1), form.infinity - 1, form.infinity,
    ]  # fmt: skip
    positive = [form.value(b) for b in bits]
    return [*positive, *(-v for v in positive), math.nan]


def returns_any_zero(root: Tree | Term, seen: set[int]) -> bool:
    """Whether a value may depend on which zero `anymax` and `anymin` return."""
    if id(root) in seen:
        return False
    seen.add(id(root))
    below = [returns_any_zero(argument, seen) for argument in root.args]
    return root.op.startswith("any") or any(below)


def preserved(tree: Tree, rows: list[dict[str, float]]) -> None:
    """Asserts that the normal form has the values of the tree."""
    form = tree.term()
    assert form.kind == tree.kind
    zeros = (
        (True, False) if returns_any_zero(tree, set()) or returns_any_zero(form, set()) else (True,)
    )
    for row, plus in itertools.product(rows, zeros):
        wanted, got = evaluate(tree, row, plus), evaluate(form, row, plus)
        assert same(wanted, got), f"{tree} became {form}: {wanted} became {got} for {row}"


@cache
def grid(kind: str) -> list[dict[str, float]]:
    """Pairs of notable numbers, each with several others, equal and opposite ones."""
    some = points(kind)
    shifted = [(a, some[(i * 7 + 3) % len(some)]) for i, a in enumerate(some)]
    more = [(a, some[(i * 5 + 11) % len(some)]) for i, a in enumerate(some)]
    pairs = [*shifted, *more, *((a, a) for a in some), *((a, -a) for a in some)]
    return [{"x": a, "y": b} for a, b in pairs]


def operands(kind: str) -> list[Tree]:
    x, y = leaf("x", kind), leaf("y", kind)
    tiny = FORMATS[kind].value(1)
    numbers = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -4.0, 3.0, tiny, math.inf, -math.inf, math.nan]
    return [x, y, op("neg", x), op("neg", y), op("abs", x), *(number(v, kind) for v in numbers)]


BINARY = [
    "add", "sub", "mul", "div", "max", "min", "maxnum", "minnum", "anymax", "anymin",
    "lt", "le", "gt", "ge", "eq", "ne", "nan",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BINARY)
def test_every_rule_of_two_operands_preserves_bits(name: str, kind: str) -> None:
    rows = grid(kind)
    for a, b in itertools.product(operands(kind), repeat=2):
        needed = rows if a.op != "const" or b.op != "const" else rows[:1]
        preserved(op(name, a, b), needed[:: 7 if kind in ("bf16", "f16") else 5])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["neg", "abs", "sqrt"])
def test_every_rule_of_one_operand_preserves_bits(name: str, kind: str) -> None:
    for a in operands(kind):
        for wrapped in (a, op("neg", a), op("abs", a)):
            preserved(op(name, wrapped), grid(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_fused_products_keep_their_sign(kind: str) -> None:
    x, y = leaf("x", kind), leaf("y", kind)
    numbers = [number(v, kind) for v in (1.0, -2.0, 0.0, -0.0)]
    factors = [x, y, op("neg", x), op("neg", y), *numbers]
    for a, b, c in itertools.product(factors, factors, (x, op("neg", y), numbers[-1])):
        preserved(op("fma", a, b, c), grid(kind)[::5])


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, repeat=2)))
def test_casts_preserve_bits(source: str, target: str) -> None:
    rows = grid(source)
    x = leaf("x", source)
    for middle in (x, op("neg", x), op("abs", x), number(0.1, source), number(-math.inf, source)):
        preserved(op("cvt", middle, kind=target), rows)
        for last in KINDS:
            preserved(op("cvt", op("cvt", middle, kind=target), kind=last), rows)


TIES = [1 + 2**-8 + 2**-40, 1 + 2**-11 + 2**-30, 1 + 2**-24 + 2**-52, 2.0**-134 * (1 + 2**-45)]


@pytest.mark.parametrize("value", TIES)
@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_rounded_once(kind: str, value: float) -> None:
    form = FORMATS[kind]
    assert constant(value, kind).number == form.value(form.bits(value))
    third = Fraction(value) / 3
    assert constant(third, kind).number == form.value(form.bits(third))
    close = Fraction(value) + Fraction(1, 2**200)
    assert constant(close, kind).number == form.value(form.bits(close))
    assert constant(Fraction(10) ** 400, kind).number == math.inf
    assert constant(-(Fraction(10) ** 400), kind).number == -math.inf


# Conditions and choices.


def test_conditions_are_those_of_boolean_algebra() -> None:
    x, y = leaf("x", "f32"), leaf("y", "f32")
    p, q = op("lt", x, y), op("eq", x, number(0.0, "f32"))
    basic = [p, q, op("not", p), Tree("truth", "bool", (), True), Tree("truth", "bool", (), False)]
    for a, b in itertools.product(basic, repeat=2):
        for name in ("and", "or"):
            preserved(op(name, a, b), grid("f32"))
            preserved(op("not", op(name, op("not", a), b)), grid("f32"))
        for c in basic:
            preserved(op("select", a, b, c), grid("f32")[::3])
    assert op("not", op("and", p, q)).term() is op("or", op("not", p), op("not", q)).term()


@pytest.mark.parametrize("kind", KINDS)
def test_choices_preserve_bits(kind: str) -> None:
    x, y = leaf("x", kind), leaf("y", kind)
    p, q = op("lt", x, y), op("le", y, number(1.0, kind))
    inner = op("select", p, op("neg", x), y)
    for condition in (p, op("not", p), q, op("and", p, q), op("or", p, q)):
        preserved(op("select", condition, x, y), grid(kind))
        preserved(op("select", condition, x, x), grid(kind))
        preserved(op("select", condition, inner, op("add", inner, x)), grid(kind))
        preserved(op("select", condition, op("add", inner, y), inner), grid(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_operations_distribute_over_choices_between_numbers(kind: str) -> None:
    x = leaf("x", kind)
    flag = op("select", op("lt", x, number(1.0, kind)), number(1.0, kind), number(-0.0, kind))
    other = op("select", op("lt", x, number(2.0, kind)), number(3.0, kind), number(0.0, kind))
    for name, b in itertools.product(BINARY, (number(0.0, kind), number(3.0, kind), flag, other)):
        preserved(op(name, flag, b), grid(kind))
        preserved(op(name, b, flag), grid(kind))
    zero = number(0.0, kind)
    product = op("fma", number(-1.0, kind), flag, x).term()
    assert not any(node.op == "neg" for node in terms.nodes([product]))
    assert op("ne", flag, zero).term() is op("lt", x, number(1.0, kind)).term()


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_spelled_out_extremes_are_recognised(name: str, kind: str) -> None:
    x, y = leaf("x", kind), leaf("y", kind)
    numbered = op(f"{name}num", x, y)
    spelled = op("select", op("nan", x, y), number(math.nan, kind), numbered)
    preserved(spelled, grid(kind))
    assert spelled.term() is op(name, x, y).term()
    zero = 0 if name == "max" else FORMATS[kind].sign
    for a, b in ((x, y), (y, x)):
        by_sign = op("select", op("bits", a, data=zero), a, b)
        whole = op("select", op("eq", x, y), by_sign, op(name, x, y))
        preserved(whole, grid(kind))
        assert whole.term() is op(name, x, y).term()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("shift", [0, 1, 16, 31, 63])
def test_a_choice_by_other_bits_is_no_extreme(name: str, kind: str, shift: int) -> None:
    x, y = leaf("x", kind), leaf("y", kind)
    by_sign = op("select", op("bits", x, data=(1 << shift) if shift else 0), x, y)
    preserved(op("select", op("eq", x, y), by_sign, op(name, x, y)), grid(kind))
    preserved(op("select", op("eq", x, y), by_sign, op("maxnum", x, y)), grid(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_with_zero_forgets_which_zero_an_extreme_was(kind: str) -> None:
    x, y, zero = leaf("x", kind), leaf("y", kind), number(0.0, kind)
    for name, order in (("max", "ge"), ("min", "le")):
        exact = op("add", op(name, x, y), zero)
        preserved(op("add", op(f"any{name}", x, y), zero), grid(kind))
        assert op("add", op(f"any{name}", x, y), zero).term() is exact.term()
        first = op("or", op(order, x, y), op("ne", x, x))
        compared = op("add", op("select", first, x, y), zero)
        preserved(compared, grid(kind))
        assert compared.term() is exact.term()
        careless = op("add", op("select", op(order, x, y), x, y), zero)
        preserved(careless, grid(kind))
        assert careless.term() is not exact.term()


# What IEEE 754 does not allow.


def _different() -> list[tuple[str, Tree, Tree]]:
    x, y, z = (leaf(n, "f32") for n in "xyz")
    zero, minus, one, three = (number(v, "f32") for v in (0.0, -0.0, 1.0, 3.0))
    half = op("cvt", op("cvt", leaf("x", "f64"), kind="f32"), kind="f16")
    return [
        ("x + 0", op("add", x, zero), x),
        ("x - (-0)", op("sub", x, minus), x),
        ("0 * x", op("mul", zero, x), zero),
        ("x - x", op("sub", x, x), zero),
        ("x / x", op("div", x, x), one),
        ("0 - x", op("sub", zero, x), op("neg", x)),
        ("reassociated sum", op("add", op("add", x, y), z), op("add", x, op("add", y, z))),
        ("reassociated product", op("mul", op("mul", x, y), z), op("mul", x, op("mul", y, z))),
        (
            "distribution",
            op("mul", x, op("add", y, z)),
            op("add", op("mul", x, y), op("mul", x, z)),
        ),
        ("contraction", op("add", op("mul", x, y), z), op("fma", x, y, z)),
        ("reciprocal", op("div", x, three), op("mul", x, number(1 / 3, "f32"))),
        ("root of a square", op("sqrt", op("mul", x, x)), op("abs", x)),
        ("quotient of products", op("div", op("mul", x, y), y), x),
        ("negated sum", op("neg", op("add", x, y)), op("add", op("neg", x), op("neg", y))),
        ("maxnum", op("maxnum", x, y), op("max", x, y)),
        ("either zero", op("anymax", x, y), op("max", x, y)),
        ("not less", op("not", op("lt", x, y)), op("ge", x, y)),
        ("equals itself", op("eq", x, x), Tree("truth", "bool", (), True)),
        ("rounded twice", half, op("cvt", leaf("x", "f64"), kind="f16")),
        ("narrowed and widened", op("cvt", op("cvt", x, kind="f16"), kind="f32"), x),
        ("order of a difference", op("sub", x, y), op("sub", y, x)),
        ("2*x/2", op("div", op("mul", x, number(2.0, "f32")), number(2.0, "f32")), x),
    ]


@pytest.mark.parametrize(("_", "a", "b"), _different(), ids=[d[0] for d in _different()])
def test_what_ieee_does_not_allow_is_not_done(_: str, a: Tree, b: Tree) -> None:
    assert a.term() is not b.term()
    some = [*points("f32"), 1.5, 0.1, 5.0, 0.7, 11.0, 1e30, 1 + 2**-11 + 2**-30]
    for values in itertools.product(some, repeat=2):
        x, y = (FORMATS["f32"].value(FORMATS["f32"].bits(v)) for v in values)
        if "f64" in repr(a):
            x = values[0]
        rows = ({"x": x, "y": y, "z": z} for z in (1.0, -0.0, 1e-40, 0.1, -x))
        if any(
            not same(evaluate(a, row, plus), evaluate(b, row, plus))
            for row in rows
            for plus in (True, False)
        ):
            return
    raise AssertionError("the two do not differ: the example shows nothing")


def test_what_ieee_allows_is_done() -> None:
    x, y = leaf("x", "f32"), leaf("y", "f32")
    two, four, one = (number(v, "f32") for v in (2.0, 4.0, 1.0))
    for a, b in [
        (op("add", x, y), op("add", y, x)),
        (op("sub", x, y), op("add", op("neg", y), x)),
        (op("mul", op("neg", x), y), op("neg", op("mul", y, x))),
        (op("mul", x, two), op("add", x, x)),
        (op("div", x, four), op("mul", x, number(0.25, "f32"))),
        (op("mul", x, number(-1.0, "f32")), op("neg", x)),
        (op("mul", one, x), x),
        (op("add", x, number(-0.0, "f32")), x),
        (op("gt", x, y), op("lt", op("neg", x), op("neg", y))),
        (op("cvt", op("cvt", x, kind="f64"), kind="f16"), op("cvt", x, kind="f16")),
        (op("abs", op("neg", x)), op("abs", x)),
        (op("gt", x, x), Tree("truth", "bool", (), False)),
        (op("le", x, x), op("eq", x, x)),
    ]:
        assert a.term() is b.term()


@pytest.mark.parametrize("kind", KINDS)
def test_only_powers_of_two_with_normal_reciprocals_become_factors(kind: str) -> None:
    form, x = FORMATS[kind], leaf("x", kind)
    for exponent in range(form.smallest - form.precision + 1, form.largest + 1, 3):
        preserved(op("div", x, number(math.ldexp(1.0, exponent), kind)), grid(kind)[::7])


# Any term.


NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.0, math.inf, -math.inf, math.nan, 1e-40]
OTHER = {"f32": "f64", "f64": "f32", "f16": "f32", "bf16": "f64"}


@st.composite
def _trees(draw: st.DrawFn, kind: str, depth: int) -> Tree:
    """A number of a kind; loads are float32."""
    shapes = ["leaf", "number", "unary", "binary", "fma", "select", "cvt"]
    shape = draw(st.sampled_from(shapes if depth else shapes[:2]))
    if shape == "leaf":
        found = leaf(draw(st.sampled_from("xy")), "f32")
        return found if kind == "f32" else op("cvt", found, kind=kind)
    if shape == "number":
        return number(draw(st.sampled_from(NUMBERS)), kind)
    if shape == "cvt":
        return op("cvt", draw(_trees(OTHER[kind], depth - 1)), kind=kind)
    if shape == "unary":
        name = draw(st.sampled_from(["neg", "abs", "sqrt"]))
        return op(name, draw(_trees(kind, depth - 1)))
    a, b = draw(_trees(kind, depth - 1)), draw(_trees(kind, depth - 1))
    if shape == "binary":
        return op(draw(st.sampled_from(BINARY[:8])), a, b)
    if shape == "select":
        return op("select", draw(_conditions(kind, depth)), a, b)
    return op("fma", a, b, draw(_trees(kind, depth - 1)))


@st.composite
def _conditions(draw: st.DrawFn, kind: str, depth: int) -> Tree:
    shape = draw(st.sampled_from(["compared", "and", "or", "not"] if depth > 1 else ["compared"]))
    if shape == "compared":
        a, b = draw(_trees(kind, depth - 1)), draw(_trees(kind, depth - 1))
        return op(draw(st.sampled_from(BINARY[10:])), a, b)
    first = draw(_conditions(kind, depth - 1))
    return (
        op("not", first) if shape == "not" else op(shape, first, draw(_conditions(kind, depth - 1)))
    )


ROWS = grid("f32")


@settings(max_examples=200)
@given(st.sampled_from(KINDS).flatmap(lambda k: _trees(k, 3)), st.integers(0, len(ROWS) - 1))
def test_normal_forms_of_any_tree_preserve_bits(tree: Tree, start: int) -> None:
    preserved(tree, (ROWS[start:] + ROWS[:start])[::9])


@settings(max_examples=200)
@given(st.sampled_from(KINDS).flatmap(lambda k: _trees(k, 3)), st.integers(0, len(ROWS) - 1))
def test_a_sign_that_is_sure_is_that_of_every_value(tree: Tree, start: int) -> None:
    sign = terms.sign(tree.term())
    for row in (ROWS[start:] + ROWS[:start])[::9]:
        value = evaluate(tree, row, True)
        if not math.isnan(value):
            assert sign == 0 or value == 0 or math.copysign(1, value) == math.copysign(1, sign)
            assert abs(sign) < 2 or value != 0


@pytest.mark.parametrize("name", ["mul", "div", "add", "sub", "max"])
@pytest.mark.parametrize("number_of_conditions", [1, 2, 3])
def test_operations_may_move_into_the_arms_of_choices(name: str, number_of_conditions: int) -> None:
    x, y, z = (leaf(n, "f32") for n in "xyz")
    outside, inside = op("sqrt", x), op(name, op("sqrt", x), z)
    for condition in (op("lt", x, y), op("le", z, op("mul", y, y)), op("nan", x, z)):
        arm = op("add", y, outside) if number_of_conditions == 3 else y
        outside = op("select", condition, outside, arm)
        inside = op("select", op("not", condition), op(name, arm, z), inside)
        number_of_conditions -= 1
        if not number_of_conditions:
            break
    assert same_operations(inside.term(), op(name, outside, z).term())
    assert not same_operations(inside.term(), op(name, outside, x).term())


def test_comparisons_of_one_number_are_decided_together() -> None:
    x, y, z, a, b, c = (leaf(n, "f32") for n in "xyzabc")
    zero, one, nan = (number(v, "f32") for v in (0.0, 1.0, math.nan))
    negative, positive = op("lt", x, zero), op("lt", zero, x)
    same = [
        # A negative number is not 1; what is not NaN, here, is not NaN there.
        (op("select", negative, op("select", op("eq", x, one), a, b), c), (negative, b, c)),
        (op("select", negative, op("select", op("nan", x, x), a, b), c), (negative, b, c)),
        (
            op("select", op("nan", x, y), op("select", op("nan", x, x), a, b), c),
            (op("nan", x, x), a, op("select", op("nan", y, y), b, c)),
        ),
        (op("select", op("eq", y, nan), a, op("select", negative, b, c)), (negative, b, c)),
    ]
    for one_way, other in same:
        assert same_operations(one_way.term(), op("select", *other).term())
    different = [
        (op("select", negative, a, op("select", positive, a, b)), op("select", negative, a, a)),
        (op("select", op("eq", x, nan), a, b), a),
        (
            op("select", op("nan", x, y), op("select", op("nan", x, x), a, b), c),
            op("select", op("nan", x, y), a, c),
        ),
        (
            op("select", op("lt", x, one), op("select", op("lt", x, zero), a, b), z),
            op("select", op("lt", x, one), b, z),
        ),
    ]
    for one_way, other_way in different:
        assert not same_operations(one_way.term(), other_way.term())


def test_a_fused_product_of_constants_is_a_number_where_nothing_is_rounded_away() -> None:
    def fused(*values: float) -> Term:
        return op("fma", *(number(v, "f32") for v in values)).term()

    assert fused(-1.0, 0.0, 1.0) is number(1.0, "f32").term()
    assert fused(3.0, 0.5, -1.5) is number(0.0, "f32").term()
    assert fused(-1.0, 0.0, -0.0) is number(-0.0, "f32").term()
    assert fused(1 + 2.0**-20, 1 + 2.0**-20, 1.0).op == "fma"  # it has 41 digits
    assert fused(3e38, 2.0, 0.0).op == "fma"


def test_a_condition_says_nothing_that_another_says_already() -> None:
    x, y = leaf("x", "f32"), leaf("y", "f32")
    first, second = op("lt", x, y), op("eq", x, number(1.0, "f32"))
    both = op("not", op("and", first, second))
    assert op("and", first, both).term() is op("and", first, op("not", second)).term()
    assert op("and", op("not", first), both).term() is op("not", first).term()


@settings(max_examples=200)
@given(_conditions("f32", 2), _conditions("f32", 2), _trees("f32", 1), st.integers(0, 80))
def test_choices_that_are_the_same_have_the_same_values(
    c: Tree, d: Tree, x: Tree, start: int
) -> None:
    y = leaf("y", "f32")
    pairs = [
        (op("select", op("and", c, d), x, y), op("select", c, op("select", d, x, y), y)),
        (op("select", op("or", c, d), x, y), op("select", c, x, op("select", d, y, x))),
        (op("select", c, x, y), op("select", d, x, y)),
    ]
    for one, other in pairs:
        if same_operations(one.term(), other.term()):
            for row in (ROWS[start:] + ROWS[:start])[::9]:
                assert same(evaluate(one, row, True), evaluate(other, row, True))


def rebuilt(root: Term) -> None:
    """Asserts that a term is the same when it is built again from its own parts."""
    for node in terms.nodes([root]):
        if node.args:
            again = apply(node.op, *node.args, kind=node.kind, data=node.data)
            assert again is node, f"{node} became {again}"


@settings(max_examples=200)
@given(st.sampled_from(KINDS).flatmap(lambda k: _trees(k, 3)))
def test_normal_forms_are_stable(tree: Tree) -> None:
    term = tree.term()
    assert tree.term() is term
    rebuilt(term)
    assert terms.substitute(term, {load("z", "f32"): load("x", "f32")}) is term


@pytest.mark.parametrize("outer", BINARY)
def test_two_operations_in_one_another_have_a_stable_normal_form(outer: str) -> None:
    x, some = leaf("x", "f32"), (0.0, -1.0, math.nan)
    zero, minus, nan = (number(v, "f32") for v in some)
    choice = op("select", op("lt", x, zero), number(0.5, "f32"), number(1.0, "f32"))
    for inner, a, b, c in itertools.product(
        BINARY[:10], (minus, zero, nan, op("neg", x), choice), (x, choice, minus), (x, zero, minus)
    ):
        rebuilt(op(outer, a, op(inner, b, c)).term())


def _once_unstable() -> list[Tree]:
    x, y = leaf("x", "f32"), leaf("y", "f32")
    zero, one, half, minus, three, nan = (
        number(v, "f32") for v in (0.0, 1.0, 0.5, -1.0, -3.0, math.nan)
    )
    unknown = op("nan", y, y)
    size = op("abs", x)
    return [
        op("max", minus, op("max", x, zero)),
        op("max", op("max", x, op("neg", size)), op("neg", x)),
        op("eq", op("neg", y), zero),
        op("add", op("neg", op("select", unknown, zero, op("neg", zero))), y),
        op("add", half, op("anymax", op("select", unknown, three, one), one)),
        op("max", op("max", x, zero), op("max", op("neg", x), op("select", unknown, one, half))),
        op("ne", nan, op("select", unknown, three, zero)),
        op("max", op("max", op("add", x, zero), op("add", y, zero)), op("mul", x, y)),
        op("select", op("and", op("nan", x, x), unknown), op("select", unknown, x, y), one),
    ]


@pytest.mark.parametrize("tree", _once_unstable(), ids=lambda tree: str(tree.term()))
def test_what_one_rewriting_leaves_to_another_is_stable(tree: Tree) -> None:
    rebuilt(tree.term())
    preserved(tree, grid("f32"))


def test_a_minimum_or_maximum_has_one_number_and_one_order() -> None:
    x, y, numbers = load("x", "f32"), load("y", "f32"), (-1.0, 0.0, 2.0)
    parts = [x, y, *(constant(v, "f32") for v in numbers)]
    for name, extreme in (("max", 2.0), ("min", -1.0)):
        found = {
            apply(name, apply(name, a, b), apply(name, apply(name, c, d), e))
            for a, b, c, d, e in itertools.permutations(parts)
        }
        assert found == {apply(name, apply(name, x, y), constant(extreme, "f32"))}


def test_substituted_parts_are_simplified() -> None:
    x, y = load("x", "f32"), load("y", "f32")
    total = apply("add", apply("mul", x, y), y)
    assert terms.substitute(total, {x: constant(1.0, "f32")}) is apply("add", y, y)
    condition = apply("lt", x, y)
    assert terms.substitute(apply("select", condition, x, y), {condition: truth(True)}) is x


def test_a_sign_that_goes_into_the_arms_of_a_choice_leaves_a_stable_product() -> None:
    x = load("x", "f32")
    condition = apply("lt", constant(0.0, "f32"), x)
    choice = apply("select", condition, constant(0.0, "f32"), constant(1.0, "f32"))
    term = apply("fma", apply("neg", x), choice, x)
    for node in terms.nodes([term]):
        if node.args:
            assert apply(node.op, *node.args, kind=node.kind, data=node.data) is node
