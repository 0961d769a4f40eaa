"""The SymPy column: it means what the rule says, and comes back from SymPy unchanged."""

from __future__ import annotations

import itertools
import math
import random
import re
import tomllib
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from catalogue import CASES, FEW
from support import ROOT, small, stock

from stepforge.language.expression import Apply, Expression, Name, Number
from stepforge.language.mathematics import from_sympy, meaning, symbols, to_sympy
from stepforge.language.spec import Spec

DIGITS = 60


def evaluate(spec: Spec, options: dict[str, bool], point: dict[str, Fraction]) -> dict[str, Any]:
    """The rule's own text in 60 digits: Python's syntax, mpmath's numbers."""
    text = tomllib.loads((ROOT / "specs" / f"{spec.name}.toml").read_text())["rule"]["update"]
    space: dict[str, Any] = {
        "__builtins__": {},
        "max": max,
        "min": min,
        "abs": abs,
        "sqrt": mpmath.sqrt,
        "sign": mpmath.sign,
        "stored": lambda x: x,
        **{name: getattr(mpmath, name) for name in ("exp", "log", "expm1", "tanh")},
        **{name: getattr(mpmath, name) for name in ("sin", "cos", "atan2", "floor")},
        "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
        "clip": lambda x, low, high: min(max(x, low), high),
        **options,
        **{name: mpmath.mpf(x.numerator) / x.denominator for name, x in point.items()},
    }
    for number, literal in enumerate(set(re.findall(r"(?<![\w.])\d+(?:\.\d+|e-\d+)", text))):
        text = re.sub(rf"(?<![\w.]){literal}", f"literal_{number}", text)
        exact = Fraction(literal)
        space[f"literal_{number}"] = mpmath.mpf(exact.numerator) / exact.denominator
    exec(text, space)
    return space


@pytest.mark.parametrize(("name", "index"), CASES)
def test_the_meaning_of_a_spec_is_the_value_of_its_text(name: str, index: int) -> None:
    spec = stock(name)
    options = list(spec.option_sets())[index]
    results = meaning(spec, options)
    assert list(results) == ["p", *(s.name for s in spec.active_states(options))]
    generator = random.Random(index)
    table = symbols(spec)
    for _ in range(3):
        point = {name: Fraction(generator.randint(1, 99), 100) for name in table}
        point |= {n: Fraction(generator.randint(-300, 300), 100) for n in ("p", "g", "m", "g_avg")}
        point["t"] = Fraction(generator.randint(1, 40))
        point["k"] = Fraction(generator.randint(1, 5))  # of which `t` may be a multiple
        # Centered RMSprop takes the root of a variance.
        point["v"] = Fraction(generator.randint(1000, 2000))
        values = {
            table[n]: sympy.Rational(x.numerator, x.denominator)
            for n, x in point.items()
            if n in table
        }
        with mpmath.workdps(DIGITS):
            wanted = evaluate(spec, options, point)
            for target, expression in results.items():
                got = expression.subs(values).evalf(DIGITS)
                difference = abs(mpmath.mpf(str(got)) - wanted[target])
                assert difference <= mpmath.mpf(10) ** -45 * (1 + abs(wanted[target])), target


def test_locals_are_substituted_and_order_matters() -> None:
    spec = small("a = 2*g\ng = a + p\nm = a*g\np = p - lr*m", state=("m",))
    p, g, lr = sympy.symbols("p g lr", real=True)
    results = meaning(spec, {})
    assert sympy.expand(results["p"] - (p - lr * 2 * g * (2 * g + p))) == 0


def test_domains_become_assumptions() -> None:
    table = symbols(stock("adamw"))
    assert table["eps"].is_nonnegative
    assert table["v"].is_nonnegative
    assert table["m"].is_nonnegative is None
    assert table["m"].is_real
    assert table["t"].is_positive
    assert table["t"].is_integer


def test_numbers_are_exact() -> None:
    spec = small("p = p - 0.1*lr*g")
    (coefficient,) = meaning(spec, {})["p"].atoms(sympy.Rational) - {sympy.Integer(-1)}
    assert abs(coefficient) == sympy.Rational(1, 10)


def test_options_choose_their_branch() -> None:
    spec = small("d = (g if a else p)\np = p - lr*d*g", options=("a",))
    p, g, lr = (symbols(spec)[n] for n in ("p", "g", "lr"))
    assert meaning(spec, {"a": True})["p"] == p - lr * g * g
    assert meaning(spec, {"a": False})["p"] == p - lr * p * g


# From SymPy and back.

X, Y = sympy.symbols("x y", real=True)
EXPRESSIONS = [
    X + Y,
    X - Y,
    2 * X * Y,
    X / Y,
    X**3,
    X**-2,
    sympy.sqrt(X),
    1 / sympy.sqrt(X),
    -X,
    sympy.Rational(-3, 7) * X,
    sympy.Abs(X) + sympy.sign(Y),
    sympy.Min(X, Y, 3),
    sympy.Max(X, Y, -1),
    sympy.exp(X) + sympy.log(Y),
    sympy.Piecewise((X, X > Y), (Y, X <= 0), (X + Y, True)),
    sympy.Piecewise((X, sympy.And(X > 0, Y > 0)), (Y, True)),
    sympy.Piecewise((X, sympy.Or(X < 0, sympy.Not(sympy.Eq(Y, 0)))), (Y, True)),
    sympy.Piecewise((X, sympy.Ne(X, Y)), (Y, True)),
    X + sympy.Float(0.1),
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_an_expression_comes_back_from_sympy(expression: sympy.Expr) -> None:
    again = to_sympy(from_sympy(expression), {"x": X, "y": Y})
    exact = sympy.nsimplify(expression, rational=True)
    assert again == exact or sympy.simplify(again - exact) == 0


@pytest.mark.parametrize("name", FEW)
def test_every_stock_meaning_comes_back(name: str) -> None:
    spec = stock(name)
    table = symbols(spec)
    for options, _ in zip(spec.option_sets(), range(2), strict=False):
        for target, value in meaning(spec, options).items():
            assert sympy.simplify(to_sympy(from_sympy(value), table) - value) == 0, target


def written(e: Expression) -> str:
    """An expression in the order in which it is computed."""
    if isinstance(e, Apply):
        return f"({e.op} {' '.join(map(written, e.args))})"
    return e.id if isinstance(e, Name) else e.text


def test_sympys_argument_order_counts() -> None:
    a, b, c = sympy.symbols("a b c")
    forward = sympy.Add(c, a, b, evaluate=False)
    assert written(from_sympy(forward)) == "(add (add c a) b)"
    for order in itertools.permutations([a, b, c]):
        names = [s.name for s in order]
        product = sympy.Mul(*order, evaluate=False)
        assert written(from_sympy(product)) == f"(mul (mul {names[0]} {names[1]}) {names[2]})"


def test_minus_and_reciprocals_are_written_as_sympy_prints_them() -> None:
    a, b, c = sympy.symbols("a b c")
    forms = {
        a - b: "(sub a b)",
        a - 2 * b * c: "(sub a (mul (mul 2 b) c))",
        -a: "(neg a)",
        -a * b: "(neg (mul a b))",
        a / b: "(div a b)",
        a / b**2: "(div a (pow b 2))",
        1 / sympy.sqrt(a): "(div 1 (pow a (div 1 2)))",
        a / (b + 1): "(div a (add 1 b))",
        2**-a: "(pow 2 (neg a))",
        sympy.Add(a, sympy.Mul(-2, c, b, evaluate=False), evaluate=False): (
            "(sub a (mul (mul 2 c) b))"
        ),
    }
    assert {written(from_sympy(e)) for e in forms} == set(forms.values())


@pytest.mark.parametrize("value", [0.1, 0.3, 1e-8, 1 / 3, 123456.789, 1e300, 5e-324, -0.7, math.pi])
def test_a_float_keeps_its_value(value: float) -> None:
    e = from_sympy(sympy.Float(value))
    inner = e.args[0] if isinstance(e, Apply) else e
    assert isinstance(inner, Number)
    assert float(inner.value) == abs(value)
    assert isinstance(e, Apply) == (value < 0)


def test_a_float_of_more_digits_keeps_them() -> None:
    e = from_sympy(sympy.Float("0.1234567890123456789012345", 25))
    assert isinstance(e, Number)
    assert e.text == "0.1234567890123456789012345"


@pytest.mark.parametrize(
    "expression",
    [sympy.tan(X), sympy.pi, sympy.I, sympy.oo, sympy.nan, sympy.Piecewise((X, X > 0)),
     sympy.Integral(X, X), sympy.Function("f")(X)],
    ids=str,
)  # fmt: skip
def test_what_the_language_does_not_have_is_refused(expression: sympy.Basic) -> None:
    with pytest.raises(ValueError, match=r"rule language has no|always taken"):
        from_sympy(expression)
