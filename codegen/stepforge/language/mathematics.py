"""What a rule means in SymPy, and rules from SymPy, by the `meaning` and `sympy` of every row.

Nothing else imports this: importing SymPy takes longer than checking a spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

import sympy

from stepforge.language.diagnostics import Span
from stepforge.language.expression import Apply, Assign, Expression, Name, Number, Statement
from stepforge.language.spec import Interval, Options, Spec, holds, is_option_condition
from stepforge.operations.table import OPERATIONS


def symbols(spec: Spec) -> dict[str, sympy.Symbol]:
    """One real symbol for every declared name, with the assumptions of its domain."""

    def symbol(name: str, domain: Interval) -> sympy.Symbol:
        if domain.low > 0 or (domain.low == 0 and domain.low_open):
            return sympy.Symbol(name, positive=True)
        if domain.low == 0:
            return sympy.Symbol(name, nonnegative=True)
        return sympy.Symbol(name, real=True)

    table = {name: sympy.Symbol(name, real=True) for name in spec.subject.tensors}
    table["t"] = sympy.Symbol("t", integer=True, positive=True)
    return table | {name: symbol(name, domain) for name, domain in spec.domains.items()}


def to_sympy(
    e: Expression, values: Mapping[str, sympy.Basic], options: Options | None = None
) -> sympy.Basic:
    """The mathematical meaning of an expression.

    Args:
        e: The expression.
        values: The meaning of its names.
        options: Decides conditions on options.
    """
    options = options or {}
    if isinstance(e, Number):
        return sympy.Rational(e.value.numerator, e.value.denominator)
    if isinstance(e, Name):
        return values[e.id]
    if e.op == "select" and is_option_condition(e.args[0]):
        return to_sympy(e.args[1] if holds(e.args[0], options) else e.args[2], values, options)
    return applied(e.op, *(to_sympy(a, values, options) for a in e.args))


def applied(op: str, *args: sympy.Basic) -> sympy.Basic:
    """The mathematical meaning of an operation."""
    return OPERATIONS[op].meaning(sympy, *args)


def meaning(spec: Spec, options: Options) -> dict[str, sympy.Basic]:
    """The new `p` and states as expressions of the old ones, with every local substituted."""
    values = _after(spec.rule, symbols(spec), options)
    results = (spec.subject.result, *(s.name for s in spec.active_states(options)))
    return {name: values[name] for name in results}


def _after(
    statements: Iterable[Statement], before: Mapping[str, sympy.Basic], options: Options
) -> dict[str, sympy.Basic]:
    """What names mean after some statements."""
    values = dict(before)
    for statement in statements:
        if isinstance(statement, Assign):
            values[statement.name] = to_sympy(statement.value, values, options)
        elif is_option_condition(statement.condition):
            holding = holds(statement.condition, options)
            values = _after(statement.body if holding else statement.orelse, values, options)
        else:
            condition = to_sympy(statement.condition, values, options)
            left = _after(statement.body, values, options)
            right = _after(statement.orelse, values, options)
            values = {**right, **left}
            for name in left.keys() & right.keys():
                if left[name] != right[name]:
                    values[name] = applied("select", condition, left[name], right[name])
    return values


_NOWHERE = Span(1, 1, 2)


def from_sympy(e: sympy.Basic) -> Expression:
    """The expression of a SymPy expression, for rules handed over from Python.

    SymPy's own argument order counts: the terms of a sum and the factors of a product are taken
    in the order of `args`, left to right. A negative term is subtracted and a reciprocal factor
    divides, as SymPy prints them; it has no subtraction and no division of its own.

    Raises:
        ValueError: It holds something that the rule language does not have.
    """

    def apply(op: str, *args: Expression) -> Expression:
        return Apply(op, args, _NOWHERE)

    def fold(op: str, args: Iterable[Expression]) -> Expression:
        first, *rest = args
        for argument in rest:
            first = apply(op, first, argument)
        return first

    if isinstance(e, sympy.Symbol):
        return Name(e.name, _NOWHERE)
    if isinstance(e, sympy.Rational):
        return _rational(e)
    if isinstance(e, sympy.Float):
        return _decimal(e)
    if isinstance(e, sympy.Add):
        first, *terms = e.args
        result = from_sympy(first)
        for term in terms:
            negated = _negated(term)
            op, term = ("add", term) if negated is None else ("sub", negated)
            result = apply(op, result, from_sympy(term))
        return result
    if isinstance(e, sympy.Mul):
        first, *factors = e.args
        if first == -1 and (negated := _negated(e)) is not None:
            return apply("neg", from_sympy(negated))
        result = from_sympy(first)
        for factor in factors:
            inverse = _inverse(factor)
            op, factor = ("mul", factor) if inverse is None else ("div", inverse)
            result = apply(op, result, from_sympy(factor))
        return result
    if isinstance(e, sympy.Pow):
        base, exponent = e.args
        if (inverse := _inverse(e)) is not None:
            return apply("div", _rational(sympy.Integer(1)), from_sympy(inverse))
        return apply("pow", from_sympy(base), from_sympy(exponent))
    if isinstance(e, sympy.Piecewise):
        *arms, last = e.args
        if last[1] is not sympy.true:
            raise ValueError("a Piecewise needs a last arm that is always taken")
        result = from_sympy(last[0])
        for value, condition in reversed(arms):
            result = apply("select", from_sympy(condition), from_sympy(value), result)
        return result
    for op, row in OPERATIONS.items():
        if row.sympy and isinstance(e, getattr(sympy, row.sympy)):
            args = [from_sympy(a) for a in e.args]
            return fold(op, args) if row.folds else apply(op, *args)
    raise ValueError(f"the rule language has no `{e}` ({type(e).__name__})")


def _negated(e: sympy.Basic) -> sympy.Basic | None:
    """A term without its minus, or None if it has none; the order of its factors stays.

    Negation is exact, so this changes no result.
    """
    number, *factors = e.args if isinstance(e, sympy.Mul) else (e,)
    if not (number.is_Number and number.is_negative):
        return None
    number = [] if number == -1 and factors else [-number]
    return sympy.Mul(*number, *factors, evaluate=False)


def _inverse(e: sympy.Basic) -> sympy.Basic | None:
    """`x**n` of `x**-n`; None if it is no reciprocal."""
    if isinstance(e, sympy.Pow) and e.exp.is_Number and e.exp.is_negative:
        return e.base if e.exp == -1 else sympy.Pow(e.base, -e.exp, evaluate=False)
    return None


def _rational(value: sympy.Rational) -> Expression:
    """A rational number as a literal, or a quotient of two."""

    def integer(n: int) -> Expression:
        return Number(str(n), Fraction(n), _NOWHERE)

    sign, p, q = value.p < 0, abs(int(value.p)), int(value.q)
    result = integer(p) if q == 1 else Apply("div", (integer(p), integer(q)), _NOWHERE)
    return Apply("neg", (result,), _NOWHERE) if sign else result


def _decimal(value: sympy.Float) -> Expression:
    """A float as the shortest literal of the same value, as Python prints it."""
    same_as_python = sympy.Float(float(value), precision=value._prec) == value
    text = repr(abs(float(value))) if same_as_python else str(abs(value))
    literal = Number(text, Fraction(text), _NOWHERE)
    return Apply("neg", (literal,), _NOWHERE) if value < 0 else literal
