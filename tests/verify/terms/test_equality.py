"""Equality over the reals: proofs, tests and counterexamples, and never a wrong "equal"."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping

import numpy as np
import pytest

from stepforge.language.spec import Interval
from stepforge.verify.terms import algebra, equality, evaluation, terms, witnesses
from stepforge.verify.terms.equality import decide, narrowed
from stepforge.verify.terms.operations import NoValue
from stepforge.verify.terms.ranges import sign, span
from stepforge.verify.terms.terms import Term, apply, constant, load, scalar
from stepforge.verify.terms.witnesses import bits_differ, bits_witness

POSITIVE = Interval(low=0.0, low_open=True)
NONNEGATIVE = Interval(low=0.0, low_open=False)
SHARE = Interval(low=0.0, low_open=False, high=1.0, high_open=True)
DOMAINS = {"b": SHARE, "c": POSITIVE, "v": NONNEGATIVE, "w": POSITIVE, "lr": NONNEGATIVE}
HOST = ("a", "b", "c", "lr")
"""Scalars of the host; other names are elements of tensors."""
INFIX = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
RELATIONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq"}


def term(text: str, kind: str = "f32") -> Term:
    """A formula as a term of one kind."""
    return made(ast.parse(text, mode="eval").body, kind)


def made(e: ast.expr, kind: str) -> Term:
    match e:
        case ast.Constant(value=value):
            return constant(float(value), kind)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return apply("cvt", scalar(name), kind=kind) if name in HOST else load(name, kind)
        case ast.UnaryOp(operand=x):
            return apply("neg", made(x, kind))
        case ast.BinOp(left=x, op=op, right=y):
            return apply(INFIX[type(op)], made(x, kind), made(y, kind))
        case ast.Compare(left=x, ops=[relation], comparators=[y]):
            return apply(RELATIONS[type(relation)], made(x, kind), made(y, kind))
        case ast.IfExp(test=test, body=x, orelse=y):
            return apply("select", made(test, kind), made(x, kind), made(y, kind))
        case ast.Call(func=ast.Name(id=name), args=args):
            return apply(name, *(made(a, kind) for a in args))
    raise ValueError(ast.dump(e))


EQUAL = [
    ("b*m + (1 - b)*g", "m + (1 - b)*(g - m)"),
    ("b*m + (1 - b)*g", "g + b*(m - g)"),
    ("b*m + g - b*g", "fma(b, m, (1 - b)*g)"),
    ("p - lr*(g + a*p)", "(1 - lr*a)*p - lr*g"),
    ("p/c", "p*(1/c)"),
    ("pow(1 - b, 2)*g", "(1 - b)*(1 - b)*g"),
    ("pow(a + c, 3)*g", "(a + c)*(a*a + 2*a*c + c*c)*g"),
    ("p/c", "p*rcp(c)"),
    ("sqrt(v/c)", "sqrt(v)/sqrt(c)"),
    ("m/(sqrt(v/c) + w)", "m*sqrt(c)/(sqrt(v) + w*sqrt(c))"),
    ("lr*(m/c)/(sqrt(v) + w)", "(lr/c)*m/(sqrt(v) + w)"),
    ("sqrt(v*v)", "v"),
    ("sqrt(v)*sqrt(v)", "v"),
    ("sqrt(4*v)", "2*sqrt(v)"),
    ("abs(m)", "m if m > 0 else -m"),
    ("abs(v)", "v"),
    ("max(m, g)", "m if m > g else g"),
    ("max(m, g)", "m if m >= g else g"),
    ("max(m, g)", "(m + g + abs(m - g))/2"),
    ("max(m, g) + min(m, g)", "m + g"),
    ("min(m, g)", "-max(-m, -g)"),
    ("maxnum(m, 0)", "(m + abs(m))/2"),
    ("(m + g)*(m - g)", "m*m - g*g"),
    ("(m*m - g*g)*w/w", "(m - g)*(m + g)"),
    ("exp(m + g)", "exp(g + m)"),
    ("1/(sqrt(v) + sqrt(w))*(v - w)", "sqrt(v) - sqrt(w)"),
    ("m*0.5", "m/2"),
    ("m if m*2 > g else g", "g if g >= m + m else m"),
]

BEYOND = [
    ("sqrt(m*m)", "abs(m)"),  # a root whose sign no domain tells
    ("min(max(m, -1), 1)", "max(min(m, 1), -1)"),  # cases that exclude each other
]

DIFFERENT = [
    ("b*m + (1 - b)*g", "b*m + (1 + b)*g"),
    ("b*m + (1 - b)*g", "b*g + (1 - b)*m"),
    ("b*m + (1 - b)*g", "0.9*m + (1 - b)*g"),
    ("b*m + (1 - b)*g", "m + (1 - b)*g"),
    ("m/(sqrt(v) + w)", "m/sqrt(v + w)"),
    ("m/(sqrt(v) + w)", "m/(sqrt(v + w) + w)"),
    ("m/(sqrt(v) + w)", "m/sqrt(v)"),
    ("m*0.1", "m*0.10000000149011612"),
    ("p - lr*g", "p + lr*g"),
    ("p - lr*g", "p - lr*abs(g)"),
    ("sqrt(m*m)", "m"),
    ("abs(m)", "m"),
    ("abs(m)", "max(m, 0)"),
    ("max(m, g)", "min(m, g)"),
    ("max(m, g)", "m if m < g else g"),
    ("max(abs(m), b*v)", "abs(max(m, b*v))"),
    ("sqrt(v + w)", "sqrt(v) + sqrt(w)"),
    ("sqrt(v/c)", "sqrt(v)/c"),
    ("1 if m > 0 else 0", "1 if m >= 0 else 0"),
    ("m if m > 0.25 else g", "m if m > 0.75 else g"),
    ("m*m*m", "m*m"),
    ("exp(m)", "exp(-m)"),
    ("p/c", "c/p"),
    ("m + 1e-8*g", "m"),
    ("m + g*g - g*g*1.0000001", "m"),
    ("0 if m == 0 else 1", "1"),
]


@pytest.mark.parametrize(("got", "wanted"), EQUAL)
def test_equal_formulas_are_proved(got: str, wanted: str) -> None:
    a, b = term(got, "f64"), term(wanted, "f64")
    assert decide(a, b, DOMAINS, 0).status == "equal"
    assert decide(b, a, DOMAINS, 1).status == "equal"


@pytest.mark.parametrize(("got", "wanted"), BEYOND)
def test_what_cannot_be_proved_is_undecided(got: str, wanted: str) -> None:
    decision = decide(term(got), term(wanted), DOMAINS, 0)
    assert decision.status == "undecided"
    assert decision.reason


@pytest.mark.parametrize(("got", "wanted"), DIFFERENT)
def test_different_formulas_are_shown_at_a_point(got: str, wanted: str) -> None:
    a, b = term(got, "f64"), term(wanted, "f64")
    decision = decide(a, b, DOMAINS, 0)
    assert decision.status == "different", decision
    point = decision.witness
    assert all(point[name] in DOMAINS.get(name, Interval()) for name in point)
    # The point shows it without any of this module: in the formulas as Python computes them.
    assert in_python(got, point) != pytest.approx(in_python(wanted, point), rel=1e-14, abs=0)


@pytest.mark.parametrize(("got", "wanted"), DIFFERENT)
@pytest.mark.parametrize("field", ["exact", "prime"])
def test_without_a_point_no_wrong_formula_is_called_equal(
    got: str, wanted: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equality, "POINTS", 0)
    if field == "prime":
        monkeypatch.setattr(algebra, "MAX_TERMS", 0)
    decision = decide(term(got, "f64"), term(wanted, "f64"), DOMAINS, 0)
    # At m = 0 alone two formulas differ on a set that no random point hits.
    thin = {"1 if m > 0 else 0", "0 if m == 0 else 1"}
    allowed = {"undecided"} | ({"tested"} if got in thin and field == "prime" else set())
    assert decision.status in allowed, decision


def in_python(text: str, at: Mapping[str, float]) -> float:
    """A formula in Python's floats."""
    names = {
        "sqrt": math.sqrt, "exp": math.exp, "abs": abs, "max": max, "min": min, "maxnum": max,
        "fma": lambda a, b, c: a * b + c, "rcp": lambda x: 1 / x,
    }  # fmt: skip
    return float(eval(text, {**names, **at}))  # the test's own text


@pytest.mark.parametrize(
    ("got", "wanted", "domain"),
    [
        ("sqrt(m*m)", "m", {"m": NONNEGATIVE}),
        ("abs(m)", "-m", {"m": Interval(high=0.0, high_open=False)}),
        ("sqrt(m*w)", "sqrt(m)*sqrt(w)", {"m": NONNEGATIVE, "w": NONNEGATIVE}),
        ("max(m, 0)", "m", {"m": NONNEGATIVE}),
        ("abs(1 - m)", "1 - m", {"m": SHARE}),
        ("m/m", "1", {"m": POSITIVE}),
    ],
)
def test_domains_are_used_and_needed(got: str, wanted: str, domain: dict[str, Interval]) -> None:
    a, b = term(got, "f64"), term(wanted, "f64")
    assert decide(a, b, domain, 0).status == "equal"
    if got not in ("sqrt(m*w)", "m/m"):  # these have no value outside of the domain
        assert decide(a, b, {}, 0).status == "different"


def test_a_constant_one_ulp_off_is_different() -> None:
    m = load("m", "f64")
    near = np.nextafter(0.1, 1)
    wrong = apply("mul", m, constant(float(near), "f64"))
    right = apply("mul", m, constant(0.1, "f64"))
    assert decide(wrong, right, {}, 0).status == "different"
    assert decide(apply("mul", constant(0.1, "f64"), m), right, {}, 0).status == "equal"


def test_what_is_too_large_for_polynomials_is_tested_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = term("(m + g + w)*(m - g)/c"), term("(m*m + m*w - g*g - g*w)/c")
    assert decide(a, b, DOMAINS, 0).status == "equal"
    monkeypatch.setattr(algebra, "MAX_TERMS", 3)
    decision = decide(a, b, DOMAINS, 0)
    assert decision.status == "tested"
    assert 0 < decision.error < 1e-40
    wrong = term("(m*m + m*w - g*g + g*w)/c")
    assert decide(wrong, b, DOMAINS, 0).status == "different"
    monkeypatch.setattr(equality, "POINTS", 0)
    assert decide(wrong, b, DOMAINS, 0).status == "undecided"


def test_roots_in_the_prime_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algebra, "MAX_TERMS", 0)
    a, b = term("m/(sqrt(v/c) + w)"), term("m*sqrt(c)/(sqrt(v) + w*sqrt(c))")
    assert decide(a, b, DOMAINS, 0).status == "tested"
    monkeypatch.setattr(equality, "POINTS", 0)
    wrong = term("m*sqrt(c)/(sqrt(v) + w*c)")
    assert decide(wrong, b, DOMAINS, 0).status == "undecided"


def test_unknown_operations_are_undecided() -> None:
    m = load("m", "f32")
    odd = apply("erf.approx", m, kind="f32")
    decision = decide(odd, m, {}, 0)
    assert decision.status == "undecided"
    assert "erf" in decision.reason
    fresh = apply("add", m, terms.fresh("nothing is known", "f32"))
    assert decide(fresh, m, {}, 0).status == "undecided"


def test_too_many_cases_are_no_proof() -> None:
    names = [f"x{i}" for i in range(9)]
    left = term("+".join(f"abs({n})" for n in names))
    right = term("+".join(f"max({n}, -{n})" for n in reversed(names)))
    assert decide(left, right, {}, 0).status in ("tested", "undecided")


# Narrow intermediate results, which the reals do not see.


def test_narrow_results_are_found() -> None:
    g, m = load("g", "f32"), load("m", "f32")
    right = apply("add", g, m)
    half = apply("cvt", apply("cvt", apply("mul", g, m), kind="f16"), kind="f32")
    wrong = apply("add", half, m)
    assert narrowed(right, apply("add", m, g), "f32") is None
    found = narrowed(wrong, apply("add", apply("mul", g, m), m), "f32")
    assert found is not None
    assert found.kind == "f16"
    a = scalar("a")
    narrow = apply("sub", constant(1.0, "f32"), apply("cvt", a, kind="f32"))
    wide = apply("cvt", apply("sub", constant(1.0, "f64"), a), kind="f32")
    assert narrowed(apply("mul", narrow, g), apply("mul", wide, g), "f32") is narrow
    assert narrowed(apply("mul", wide, g), apply("mul", g, wide), "f32") is None
    point = bits_witness(apply("mul", narrow, g), apply("mul", wide, g), {"a": SHARE}, 0)
    assert point is not None
    at = {name: np.array([value]) for name, value in point.items()}
    pair = [evaluation.evaluate(apply("mul", x, g), at)[0] for x in (narrow, wide)]
    assert pair[0] != pair[1]
    assert bits_witness(right, apply("add", m, g), {}, 0) is None


def test_bits_that_differ() -> None:
    x, zero = load("x", "f32"), constant(0.0, "f32")
    rounded = apply("add", constant(1.0, "f32"), constant(0.7, "f32"))
    assert not bits_differ(rounded, constant(1.7, "f32"), {})
    assert bits_differ(x, zero, {"x": -0.0})
    assert not bits_differ(x, zero, {"x": 0.0})
    assert not bits_differ(x, apply("add", x, x), {"x": float("nan")})
    with pytest.raises(NoValue):
        bits_differ(x, terms.fresh("y", "f32"), {"x": 1.0})


@pytest.mark.parametrize(
    ("kind", "epsilon"),
    [("f32", 2.0**-23), ("f64", 2.0**-52), ("bf16", 2.0**-7), ("f16", 2.0**-10)],
)
def test_a_choice_that_turns_a_little_too_late_is_found(kind: str, epsilon: float) -> None:
    """Nothing but a number between the two places shows it."""
    sum_ = apply("add", load("m", kind), load("g", kind))
    zero, one = constant(0.0, kind), constant(1.0, kind)
    factor = constant(1 + epsilon, kind)
    late = apply("add", apply("mul", factor, load("m", kind)), load("g", kind))
    right, wrong = (apply("select", apply("lt", zero, x), one, zero) for x in (sum_, late))
    point = bits_witness(wrong, right, {}, 1)
    assert point is not None
    assert bits_differ(wrong, right, point)
    assert abs(point["m"] + point["g"]) <= 4 * epsilon * abs(point["m"])
    assert bits_witness(right, right, {}, 1) is None


def test_a_difference_between_zeros_of_two_signs_is_found() -> None:
    """No element but one that is -0, in every tensor at once, shows it."""
    sum_ = apply("add", load("m", "f32"), load("g", "f32"))
    is_zero = apply("eq", sum_, constant(0.0, "f32"))
    right, wrong = (apply("select", is_zero, apply(op, sum_, sum_), sum_) for op in ("sub", "add"))
    point = bits_witness(wrong, right, {}, 1)
    assert point is not None
    assert [math.copysign(1, point[name]) * (1 + abs(point[name])) for name in "mg"] == [-1, -1]


@pytest.mark.parametrize("kind", ["f32", "f64", "bf16", "f16"])
def test_places_are_the_order_of_the_numbers(kind: str) -> None:
    smallest = float(terms.FLOATS[kind](2.0**-14))
    numbers = np.array([-np.inf, -3, -1.5, -smallest, 0, smallest, 1, 1.5, np.inf])
    places = witnesses._places(numbers, kind)
    assert list(places) == sorted(places)
    assert (witnesses._numbers(places, kind).astype(np.float64) == numbers).all()
    assert (np.diff(witnesses._numbers(np.arange(-9, 10), kind).astype(np.float64)) > 0).all()
    assert list(witnesses._places(np.array([-0.0, 0.0]), kind)) == [0, 0]


# Ranges.


SPANNED = [
    "m + g", "m*g", "m*m", "-v", "v*v - v", "1 - b", "b*m", "v/c", "1/(v + w)", "rcp(c + 1)",
    "sqrt(v + w)", "abs(m)", "abs(m) - 1", "max(m, v)", "min(m, -v)", "fma(m, m, v)",
    "m if m > 0 else -v", "exp(m)", "b*b*b", "(b - 1)*(b - 1)", "v/(1 - b)", "w + w",
    "fma(b, v, w)", "sqrt(b)/(1 + v)", "m/(1 + m*m)",
]  # fmt: skip


@pytest.mark.parametrize("text", SPANNED)
def test_ranges_hold_at_random_points(text: str) -> None:
    found = term(text, "f64")
    low, high = span(found, DOMAINS)
    assert low <= high
    rng = np.random.default_rng(4)
    for point in witnesses.points([found], DOMAINS, rng, 400):
        try:
            value = evaluation.exact(found, point)
        except NoValue:
            continue
        assert low - abs(low) * 1e-15 <= value <= high + abs(high) * 1e-15, point


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("m*m", 1), ("v + w", 1), ("1 - b", 1), ("b - 1", -1), ("-sqrt(v)", -1), ("abs(m)", 1),
        ("m", 0), ("v - w", 0), ("m*v", 0), ("max(m, v)", 1), ("min(m, -v)", -1), ("v/c", 1),
        ("1 - 2*b", 0), ("fma(m, m, w)", 1), ("fma(m, g, w)", 0),
    ],
)  # fmt: skip
def test_signs_that_domains_decide(text: str, wanted: int) -> None:
    assert sign(term(text, "f64"), DOMAINS) == wanted
