"""Signs go through roundings: what is said of two terms holds at numbers where they can differ."""

from __future__ import annotations

import itertools
import random

import numpy as np

from stepforge.verify.terms import terms
from stepforge.verify.terms.congruence import same_operations
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.integers import integer
from stepforge.verify.terms.nodes import node
from stepforge.verify.terms.spans import NOTHING, span
from stepforge.verify.terms.symmetry import SAME, Relation, Symmetry
from stepforge.verify.terms.terms import Term, apply, constant, load

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.75, 3.0, 3e38, -2e-40, 1e-45, np.inf, -np.inf, np.nan]
POINTS = np.array([*itertools.product(SPECIAL, SPECIAL)], np.float32)
COLUMNS = {"x": POINTS[:, 0], "y": POINTS[:, 1]}
X, Y, ZERO = load("x", "f32"), load("y", "f32"), constant(0.0, "f32")


def values(term: Term) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.broadcast_to(evaluate(term, COLUMNS), len(POINTS))


def drawn(rng: random.Random, depth: int = 3) -> Term:
    """An operation as it stands, without its normal form."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([X, Y, ZERO, constant(-1.5, "f32")])
    op = rng.choice(["add", "add", "add", "mul", "div", "abs", "neg"])
    args = [drawn(rng, depth - 1) for _ in range(1 if op in ("abs", "neg") else 2)]
    return node(op, "f32", tuple(args))


def turned(rng: random.Random, term: Term, sign: int) -> Term:
    """The same, or its negative, with signs at other places; zeros may have another sign."""
    if not term.args or (sign < 0 and rng.random() < 0.3):
        return node("neg", "f32", (turned(rng, term, 1),)) if sign < 0 else term
    if term.op == "abs":
        inner = node("abs", "f32", (turned(rng, term.args[0], rng.choice([1, -1])),))
        return inner if sign > 0 else node("neg", "f32", (inner,))
    signs = {"neg": (-sign,), "add": (sign, sign)}.get(term.op)
    if signs is None:
        first = rng.choice([1, -1])
        signs = first, first * sign
    args = [turned(rng, a, s) for a, s in zip(term.args, signs, strict=True)]
    if term.op == "neg":
        return args[0]
    if term.op != "div" and rng.random() < 0.5:
        args.reverse()
    return node(term.op, "f32", tuple(args))


def holds(relation: Relation, x: np.ndarray, y: np.ndarray) -> bool:
    same = (x == relation.sign * y) | (np.isnan(x) & np.isnan(y))
    if relation.exact:
        same &= np.isnan(x) | (np.signbit(x) == np.signbit(relation.sign * y))
    return bool(same.all())


def test_what_is_said_of_two_terms_holds_of_their_values() -> None:
    rng = random.Random(5)
    said = {Relation(s, e): 0 for s in (1, -1) for e in (True, False)}
    for _ in range(800):
        one = drawn(rng)
        other = turned(rng, one, rng.choice([1, -1])) if rng.random() < 0.8 else drawn(rng)
        for relation in Symmetry().relations(one, other):
            assert holds(relation, values(one), values(other)), (one, other, relation)
            said[relation] += one is not other
    assert min(said.values()) > 20, said


def test_a_sign_that_a_compiler_moves_is_seen_where_zeros_do_not_count() -> None:
    difference = node("add", "f32", (X, node("neg", "f32", (Y,))))
    negative = node("neg", "f32", (difference,))
    moved = node("add", "f32", (node("neg", "f32", (X,)), Y))
    assert SAME not in Symmetry().relations(negative, moved)  # at x = y
    assert Relation(1, False) in Symmetry().relations(negative, moved)
    one = constant(1.0, "f32")
    assert Symmetry().same(*(node("add", "f32", (one, t)) for t in (negative, moved)))
    assert not Symmetry().same(*(node("add", "f32", (X, t)) for t in (negative, moved)))
    assert not Symmetry().same(*(node("div", "f32", (one, t)) for t in (negative, moved)))


def test_bits_that_are_never_nan_have_no_case_of_nan() -> None:
    bits = apply("iand", apply("asint", X), integer(0x40000000, "i32"))
    flag = apply("asfloat", bits)
    assert apply("nan", flag, flag) is terms.truth(False)
    assert apply("nan", flag, Y) is apply("nan", Y, Y)


def test_bits_that_are_always_nan_are_those_of_any_nan() -> None:
    one, other = (
        apply("asfloat", apply("ior", apply("asint", x), integer(bits, "i32")))
        for x, bits in ((X, 0x7FC00000), (Y, -1 << 22))
    )
    assert span(one) == span(other) == NOTHING
    assert same_operations(apply("mul", one, X), apply("add", other, Y))
    assert not Symmetry().relations(apply("asint", one), apply("asint", other))
    infinite = apply("asfloat", apply("ior", apply("asint", X), integer(0x7F800000, "i32")))
    assert span(infinite) != NOTHING


def test_operations_are_the_same_whatever_signs_a_compiler_has_moved() -> None:
    """As in `atan2`, whose angle is counted from an axis, with a sign that depends on the side."""
    side = apply("lt", X, Y)
    base = apply("select", side, constant(1.5, "f32"), constant(3.0, "f32"))
    sign = apply("select", side, constant(-1.0, "f32"), constant(1.0, "f32"))
    difference = apply("sub", X, Y)
    written = apply("add", base, apply("mul", sign, difference))
    compiled = apply("add", base, apply("select", side, apply("sub", Y, X), difference))
    assert same_operations(compiled, written)
    wrong = apply("add", base, apply("select", side, difference, apply("sub", Y, X)))
    assert not same_operations(wrong, written)


def test_what_is_nan_is_so_whatever_its_sign() -> None:
    """A comparison of an absolute value and a test for NaN of the number itself go together."""
    size, one = apply("abs", apply("mul", X, Y)), constant(1.0, "f32")
    product, arms = apply("mul", X, Y), [constant(n, "f32") for n in (2.0, 3.0, 4.0)]
    nan, above, below = (
        apply("nan", product, product),
        apply("lt", one, size),
        apply("le", size, one),
    )
    written = apply("select", above, arms[0], apply("select", below, arms[1], arms[2]))
    compiled = apply("select", nan, arms[2], apply("select", above, arms[0], arms[1]))
    assert same_operations(compiled, written)
    other = apply("select", nan, arms[1], apply("select", above, arms[0], arms[2]))
    assert not same_operations(other, written)
