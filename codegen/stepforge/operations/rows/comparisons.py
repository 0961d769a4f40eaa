"""Conditions: comparisons, connectives, and the choice by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepforge.operations.draws import Draw, Maker, Sign
from stepforge.operations.operation import (
    AND,
    ATOM,
    BIT_AND,
    BIT_OR,
    COMPARE,
    NOT,
    OR,
    SUM,
    TERNARY,
    UNARY,
    Notation,
    Operation,
    Spelling,
    everywhere,
    function,
    infix,
    irrational,
    monotone,
    same,
    unknown,
    unrestricted,
)


def _condition(**parts: Any) -> Operation:
    """A row whose result is a condition; random specs take them from the table."""
    return Operation(
        rounding="exact", ulps=0, rational=irrational, nonnegative=unknown, boolean=True,
        restricted=unrestricted, python={}, ttir={}, draws=(), **parts,
    )  # fmt: skip


def _comparison(
    name: str, symbol: str, syntax: str, sign: str, spoken: str, sympy: str,
    test: Callable[[Any, Any], Any],
) -> Operation:  # fmt: skip
    return _condition(
        symbol=symbol, arity=2, usage=f"x {symbol} y", syntax=syntax,
        spellings=everywhere(infix(symbol, COMPARE)),
        notation=Notation("infix", sign, COMPARE, SUM, SUM), spoken=f"{{0}}_{spoken}_{{1}}",
        meaning=lambda module, a, b: getattr(module, sympy)(a, b), sympy=sympy,
        value=lambda mp, a, b: bool(test(a, b)),
        enclose=lambda intervals, a, b: intervals.compare(test, a, b), term=same(name),
    )  # fmt: skip


def _connective(
    word: str, symbol: str, sign: str, levels: tuple[int, int, int], choose: Callable[..., Any]
) -> Operation:
    """Of two conditions; the precedences of the word, of the symbol, and of a right operand."""
    scalar, element, right = levels
    on_arrays = infix(symbol, element)
    return _condition(
        symbol=word, arity=2, usage=f"a {word} b", syntax=word.capitalize(),
        spellings=everywhere(
            infix(word, scalar), numpy=on_arrays, triton=on_arrays, c=on_arrays,
            c_scalar=infix(2 * symbol, scalar),
            torch=function(f"logical_{word}", 2),
        ),
        notation=Notation("infix", sign, scalar, scalar, right), spoken=f"{{0}}_{word}_{{1}}",
        meaning=lambda sympy, a, b: getattr(sympy, word.capitalize())(a, b),
        sympy=word.capitalize(), value=lambda mp, a, b: choose(a, b),
        enclose=monotone(lambda mp, a, b: choose(a, b)), term=same(word),
        conditions=True, folds=True,
    )  # fmt: skip


def _choice(sign: Sign) -> Maker:
    return lambda e, depth, tensor: e.select(depth, tensor, sign)


ROWS: Mapping[str, Operation] = {
    "select": Operation(
        symbol="if", arity=3, usage="x if condition else y", syntax="IfExp",
        spellings={
            "scalar": Spelling("{1} if {0} else {2}", TERNARY),
            "numpy": Spelling("np.where({0}, {1}, {2})"),
            "triton": Spelling("tl.where({0}, {1}, {2})"),
            "torch": function("where", 3),
            **dict.fromkeys(("c", "c_scalar"), Spelling("{0} ? {1} : {2}", TERNARY)),
        },
        rounding="exact", ulps=0, notation=Notation("cases", precedence=TERNARY),
        spoken="{1}_or_{2}", meaning=lambda sympy, c, a, b: sympy.Piecewise((a, c), (b, True)),
        sympy="", value=lambda mp, c, a, b: a if c else b, rational=irrational,
        nonnegative=lambda signs, c, a, b: all(map(signs.nonnegative, signs.arms(c, a, b))),
        restricted=unrestricted, enclose=lambda intervals, c, a, b: intervals.either(c, a, b),
        term=same("select"), python={}, ttir={},
        draws=(
            Draw(Sign.ANY, _choice(Sign.ANY), 2),
            Draw(Sign.NONNEGATIVE, _choice(Sign.NONNEGATIVE)),
            Draw(Sign.POSITIVE, _choice(Sign.POSITIVE)),
        ),
    ),
    "lt": _comparison("lt", "<", "Lt", "<", "below", "StrictLessThan", lambda a, b: a < b),
    "le": _comparison("le", "<=", "LtE", "≤", "at_most", "LessThan", lambda a, b: a <= b),
    "gt": _comparison("gt", ">", "Gt", ">", "above", "StrictGreaterThan", lambda a, b: a > b),
    "ge": _comparison("ge", ">=", "GtE", "≥", "at_least", "GreaterThan", lambda a, b: a >= b),
    "eq": _comparison("eq", "==", "Eq", "=", "equals", "Equality", lambda a, b: a == b),
    "ne": _comparison(
        "ne", "!=", "NotEq", "≠", "differs_from", "Unequality", lambda a, b: a != b
    ),
    "and": _connective("and", "&", "∧", (AND, BIT_AND, NOT), min),
    "or": _connective("or", "|", "∨", (OR, BIT_OR, AND), max),
    "not": _condition(
        symbol="not", arity=1, usage="not a", syntax="Not",
        spellings={
            "scalar": infix("not ", NOT, 1), "numpy": infix("~", UNARY, 1),
            "triton": infix("~", UNARY, 1), "torch": function("logical_not", 1),
            **dict.fromkeys(("c", "c_scalar"), infix("!", UNARY, 1)),
        },
        notation=Notation("prefix", "¬", NOT, right=ATOM), spoken="not_{0}",
        meaning=lambda sympy, a: sympy.Not(a), sympy="Not", value=lambda mp, a: not a,
        enclose=monotone(lambda mp, a: 1 - a), term=same("not"), conditions=True,
    ),
}  # fmt: skip
