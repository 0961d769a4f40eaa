"""Two terms are the same wherever that is said, and compilers' other ways of writing are seen."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from stepforge.verify.terms import congruence, functions, terms
from stepforge.verify.terms.congruence import same_operations
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.integers import integer
from stepforge.verify.terms.narrowing import last, widened
from stepforge.verify.terms.nodes import node
from stepforge.verify.terms.samples import Samples
from stepforge.verify.terms.terms import Term, apply, constant, load

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.75, 3.0, 3e38, -2e-40, 1e-45, np.inf, -np.inf, np.nan]
POINTS = np.array([*itertools.product(SPECIAL, SPECIAL)], np.float32)
COLUMNS = {"x": POINTS[:, 0], "y": POINTS[:, 1]}
X, Y = load("x", "f32"), load("y", "f32")
ONE, SIGN = constant(1.0, "f32"), integer(1 << 31, "i32")


def values(term: Term) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.broadcast_to(evaluate(term, COLUMNS), len(POINTS))


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """In every bit; any NaN is any other."""
    return bool(np.all((np.isnan(a) & np.isnan(b)) | (a.view(np.int32) == b.view(np.int32))))


# Casts that are compared.


def _singles() -> np.ndarray:
    ends = [0, 1, 2, 0x007FFFFF, 0x00800000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x7F7FFFFF,
            0x7F800000]  # fmt: skip
    drawn = np.random.default_rng(3).integers(0, 0x7F800000, 300)
    bits = np.array([*ends, *drawn], np.uint32)
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


@pytest.mark.parametrize("op", ["lt", "le", "eq", "gt", "ge", "ne"])
def test_a_rounded_number_is_compared_as_the_number_before(op: str) -> None:
    """At the last number of float64 that rounds to one of float32 or below, and its neighbours."""
    test = {"lt": np.less, "le": np.less_equal, "eq": np.equal, "gt": np.greater,
            "ge": np.greater_equal, "ne": np.not_equal}[op]  # fmt: skip
    x = load("x", "f64")
    for end in _singles():
        turns = [last(float(end)), -last(-float(end))]
        near = [*turns, *(math.nextafter(t, s) for t in turns for s in (-math.inf, math.inf))]
        points = np.array([*near, 0.0, -0.0, float(end), math.inf, -math.inf, math.nan])
        compared = apply(op, apply("cvt", x, kind="f32"), constant(float(end), "f32"))
        wide = widened(compared)
        assert not any(n.op == "cvt" for n in terms.nodes([wide]))
        with np.errstate(all="ignore"):
            wanted = test(points.astype(np.float32), end)
            got = np.broadcast_to(evaluate(wide, {"x": points}), len(points))
        assert np.array_equal(got, wanted), (op, end)


def test_a_compiler_compares_a_number_of_the_host_without_rounding_it() -> None:
    """The bound lies halfway between 0 and the smallest number; that one is no bound."""
    x, zero = load("x", "f64"), constant(0.0, "f32")
    written = apply("lt", apply("cvt", x, kind="f32"), zero)
    for bound, is_same in ((-(2.0**-150), True), (-(2.0**-149), False), (0.0, False)):
        compiled = apply("lt", x, constant(bound, "f64"))
        chosen = (apply("select", c, X, Y) for c in (compiled, written))
        assert same_operations(*chosen) is is_same


# Bits.


@pytest.mark.parametrize("number", [x for x in SPECIAL if x == x])
def test_a_pattern_of_bits_is_found_where_it_is(number: float) -> None:
    pattern = int(np.float32(number).view(np.uint32))
    negative = apply("asfloat", apply("iadd", apply("asint", X), SIGN))
    x = POINTS[:, 0]
    arguments = {X: x, apply("abs", X): np.abs(x), negative: -x}
    for term, column in arguments.items():
        found = values(apply("bits", term, kind="bool", data=pattern))
        assert np.array_equal(found, column.view(np.uint32) == pattern)


def test_absolute_values_of_bits_and_of_what_has_a_sign() -> None:
    root = node("sqrt", "f32", (X,))
    bits = apply("isub", integer(0x3F000001, "i32"), apply("ishr", apply("asint", Y), ONE_BIT))
    for term in (root, apply("asfloat", bits), apply("asfloat", apply("iadd", bits, SIGN))):
        assert alike(values(apply("abs", term)), np.abs(values(term)))
    assert apply("asfloat", apply("iadd", bits, SIGN)) is apply("neg", apply("asfloat", bits))
    assert apply("abs", root) is not root  # of -0 the root is -0


ONE_BIT = integer(1, "i32")


def test_an_extreme_is_nan_where_its_operands_are() -> None:
    for op in ("max", "min"):
        one, both = apply(op, X, ONE), apply(op, X, Y)
        assert apply("nan", one, one) is apply("nan", X, X)
        for term in (one, both):
            assert np.array_equal(values(apply("nan", term, term)), np.isnan(values(term)))
        assert not np.array_equal(values(apply("nan", both, both)), np.isnan(POINTS[:, 0]))


def test_what_is_nan_is_so_under_any_sign_that_a_choice_gives_it() -> None:
    product = apply("mul", X, Y)
    chosen = apply("select", apply("lt", X, ONE), product, apply("neg", product))
    assert apply("nan", chosen, chosen) is apply("nan", product, product)
    for other in (chosen, apply("select", apply("lt", X, ONE), product, apply("neg", Y))):
        assert np.array_equal(values(apply("nan", other, other)), np.isnan(values(other)))
        zero = apply("eq", other, constant(0.0, "f32"))
        assert np.array_equal(values(zero), values(other) == 0)


# Parts that are the same.


def test_what_a_compiler_does_around_a_function_is_seen() -> None:
    root, is_nan = functions.call("cbrt", X), apply("nan", X, X)
    twice = functions.call("cbrt", root)
    inner = apply("select", is_nan, X, root)
    assert same_operations(functions.call("cbrt", inner), twice)
    assert same_operations(apply("mul", inner, Y), apply("mul", root, Y))
    positive = apply("lt", constant(0.0, "f32"), X)
    assert not same_operations(apply("select", positive, X, root), root)
    assert not same_operations(functions.call("cbrt", apply("abs", root)), twice)


class Blind(Samples):
    """Samples that tell nothing apart."""

    def of(self, term: Term) -> bytes | None:
        return term.kind.encode()


def _drawn(rng: random.Random, depth: int) -> Term:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([X, Y, ONE, constant(0.0, "f32"), constant(-1.5, "f32")])
    op = rng.choice(["add", "mul", "max", "min", "sqrt", "abs", "neg", "select", "bits"])
    count = 1 if op in ("sqrt", "abs", "neg", "bits") else 2
    args = [_drawn(rng, depth - 1) for _ in range(count)]
    if op == "bits":
        return apply("asfloat", apply("iand", apply("asint", args[0]), integer(-4096, "i32")))
    if op != "select":
        return apply(op, *args)
    compared = [_drawn(rng, 1) for _ in range(2)]
    return apply(op, apply(rng.choice(["lt", "le", "eq", "nan"]), *compared), *args)


def _changed(rng: random.Random, term: Term) -> Term:
    """With one operation that is another one."""
    parts = [n for n in terms.nodes([term]) if n.kind == "f32" and n.args]
    if not parts:
        return apply("neg", term)
    part = rng.choice(parts)
    others: list[Term] = [apply("neg", part), apply("abs", part), apply("add", part, ONE)]
    others += [a for a in part.args if a.kind == "f32"]
    if part.op == "select":
        others.append(apply("select", part.args[0], *part.args[:0:-1]))
    return terms.substitute(term, {part: rng.choice(others)})


@pytest.mark.parametrize("samples", [Samples, Blind])
def test_what_differs_at_a_point_is_never_the_same(
    samples: type[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples say what is worth a proof, and prove nothing: without them it is the same."""
    monkeypatch.setattr(congruence, "Samples", samples)
    monkeypatch.setattr(congruence, "_KNOWN", {})
    rng, found = random.Random(11), {True: 0, False: 0}
    for _ in range(400):
        term = _drawn(rng, 4)
        other = _changed(rng, term)
        if same_operations(other, term):
            assert alike(values(other), values(term)), (other, term)
        found[alike(values(other), values(term))] += 1
    assert min(found.values()) > 30


def test_samples_tell_apart_what_differs_and_nothing_else() -> None:
    samples = Samples()
    assert samples.of(apply("add", X, Y)) != samples.of(apply("add", X, X))
    assert samples.of(node("neg", "f32", (node("neg", "f32", (X,)),))) == samples.of(X)
    assert samples.of(node("of nobody", "f32", (X,))) is None
