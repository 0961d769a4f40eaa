"""Normal forms of integers give the same bits as the operations that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.verify.terms import terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.integers import OF_FLOAT, integer, possible
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term, apply, load

SHIFTS = ("ishl", "ishr", "iushr")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.75, 1.5, 3e38, -2e-40, 1e-45, np.inf, -np.inf]


@dataclass(frozen=True)
class Pair:
    """A normal form beside the values of what it was made of."""

    term: Term
    values: Any


def leaves(kind: str) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 62, 400).astype(INTEGERS[OF_FLOAT[kind]])
    drawn = bits.view(FLOATS[kind])
    drawn = np.concatenate([np.array(SPECIAL, FLOATS[kind]), drawn[~np.isnan(drawn)]])
    return {"x": drawn[:300], "y": drawn[::-1][:300]}


def computed(op: str, kind: str, a: Any, b: Any) -> Any:
    """An operation on wrapping integers, in NumPy."""
    if op == "iushr":
        unsigned = a.view(f"u{a.dtype.itemsize}")
        return (unsigned >> unsigned.dtype.type(b)).view(INTEGERS[kind])
    functions: dict[str, Callable[..., Any]] = {
        "iadd": np.add, "isub": np.subtract, "imul": np.multiply, "iand": np.bitwise_and,
        "ior": np.bitwise_or, "ixor": np.bitwise_xor, "ishl": np.left_shift,
        "ishr": np.right_shift,
    }  # fmt: skip
    return functions[op](a, b)


@st.composite
def pairs(draw: st.DrawFn, kind: str, depth: int = 4) -> Pair:
    """A random expression on the bits of two floats."""
    whole = OF_FLOAT[kind]
    width = int(whole[1:])
    choice = draw(st.integers(0, 11))
    if depth == 0 or choice < 2:
        name = draw(st.sampled_from("xy"))
        x = load(name, kind)
        if draw(st.booleans()):
            return Pair(apply("asint", x), leaves(kind)[name].view(INTEGERS[whole]))
        absolute = np.abs(leaves(kind)[name])
        return Pair(apply("asint", apply("abs", x)), absolute.view(INTEGERS[whole]))
    a = draw(pairs(kind, depth - 1))
    if choice < 5:
        op, by = draw(st.sampled_from(SHIFTS)), draw(st.integers(0, width - 1))
        term = apply(op, a.term, integer(by, whole))
        return Pair(term, computed(op, whole, a.values, INTEGERS[whole](by)))
    if choice < 8:
        op = draw(st.sampled_from(["iadd", "isub", "imul", "iand", "ior", "ixor"]))
        ones = draw(st.integers(1, width - 1))
        number = draw(st.sampled_from([3, -1, 1 << (width - 2), (1 << ones) - 1, -(1 << ones)]))
        value = INTEGERS[whole](int(integer(number, whole).data))
        return Pair(apply(op, a.term, integer(number, whole)),
                    computed(op, whole, a.values, value))  # fmt: skip
    b = draw(pairs(kind, depth - 1))
    if choice == 8:
        sign = INTEGERS[whole](int(integer(1 << (width - 1), whole).data))
        op, values = draw(
            st.sampled_from([("", a.values), ("abs", a.values & ~sign), ("neg", a.values ^ sign)])
        )
        number = apply("asfloat", a.term)
        return Pair(apply("asint", apply(op, number) if op else number), values)
    if choice == 9:
        x, y = leaves(kind).values()
        condition = apply("lt", load("x", kind), load("y", kind))
        return Pair(apply("select", condition, a.term, b.term), np.where(x < y, a.values, b.values))
    op = draw(st.sampled_from(["iadd", "isub", "iand", "ior", "ixor"]))
    return Pair(apply(op, a.term, b.term), computed(op, whole, a.values, b.values))


@pytest.mark.parametrize("kind", OF_FLOAT)
def test_random_expressions_keep_their_bits(kind: str) -> None:
    @settings(max_examples=300, deadline=None)
    @given(pairs(kind))
    def check(pair: Pair) -> None:
        with np.errstate(all="ignore"):
            got = evaluate(pair.term, leaves(kind))
        wanted = np.broadcast_to(pair.values, got.shape) if got.ndim else pair.values[:1]
        assert np.array_equal(np.ravel(got)[: wanted.size], np.ravel(wanted)), pair.term
        mask = possible(pair.term)
        assert not np.any(np.ravel(got).astype(f"u{got.dtype.itemsize}") & ~np.uint64(mask))

    check()


X = apply("asint", load("x", "f32"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (apply("ishl", apply("ishr", X, integer(23, "i32")), integer(23, "i32")),
         apply("iand", X, integer(-(1 << 23), "i32"))),
        (apply("isub", X, apply("iand", X, integer(0xFFF, "i32"))),
         apply("iand", X, integer(-4096, "i32"))),
        (apply("iand", apply("ishl", X, integer(4, "i32")), integer(0xFF, "i32")),
         apply("ishl", apply("iand", X, integer(0xF, "i32")), integer(4, "i32"))),
        (apply("ior", apply("iand", X, integer(0xF, "i32")), integer(0x10, "i32")),
         apply("iadd", apply("iand", X, integer(0xF, "i32")), integer(0x10, "i32"))),
        (apply("asfloat", apply("iand", X, integer(0x7FFFFFFF, "i32"))),
         apply("abs", load("x", "f32"))),
        (apply("asfloat", apply("ixor", X, integer(1 << 31, "i32"))),
         apply("neg", load("x", "f32"))),
    ],
)  # fmt: skip
def test_what_compilers_write_otherwise_is_the_same_object(one: Term, other: Term) -> None:
    assert one is other


def test_nan_has_no_bits() -> None:
    nan = apply("asint", terms.constant(float("nan"), "f32"))
    assert not nan.is_constant
