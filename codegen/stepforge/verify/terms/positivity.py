"""Whether a term is never negative over the reals, where ranges of its operations say too little.

Ranges forget what two operands have in common: `v - (1 - beta2)*g**2` may be anything, also where
`v` is known to be above `g**2`. Here every comparison that chooses a value is taken both ways; what
it says is put into the chosen value, which is then written as a polynomial. If all of its variables
are distances from the ends of their domains, and every coefficient is positive, so is the value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from stepforge.language.spec import Interval
from stepforge.verify.terms.ranges import span
from stepforge.verify.terms.terms import Term, nodes, substitute

if TYPE_CHECKING:
    import sympy

MAX_COMPARISONS = 6
"""One below the other; a term with more is not looked at."""
MAX_BOUNDED = 6
"""Variables with an end; a polynomial with more is not looked at."""


def never_negative(term: Term, domains: Mapping[str, Interval]) -> bool:
    """Whether this is shown; False says nothing.

    Args:
        term: A formula.
        domains: What its leaves may be; a leaf without one is any number.
    """
    return _by_cases(term, (), domains)


def _by_cases(term: Term, above: tuple[tuple[Term, Term], ...], domains: Any) -> bool:
    """With pairs of terms of which the first is not below the second."""
    if span(term, domains)[0] >= 0:
        return True
    choices = [n for n in nodes([term]) if n.op == "select" and n.args[0].op in ("lt", "le")]
    if not choices:
        return _polynomial(term, above, domains)
    if len(above) == MAX_COMPARISONS:
        return False
    condition, first, second = choices[-1].args
    low, high = condition.args
    return all(
        _by_cases(substitute(term, {choices[-1]: arm}), (*above, known), domains)
        for arm, known in ((first, (high, low)), (second, (low, high)))
    )


def _polynomial(
    term: Term, above: tuple[tuple[Term, Term], ...], domains: Mapping[str, Interval]
) -> bool:
    """Whether every monomial is never negative."""
    import sympy

    ends: dict[sympy.Symbol, tuple[float, float]] = {}
    value = _written(term, domains, ends)
    for number, (high, low) in enumerate(above):
        fact = _written(high, domains, ends) - _written(low, domains, ends)
        for variable in sorted(fact.free_symbols & value.free_symbols, key=str):
            if sympy.expand(fact).coeff(variable) == 1:
                distance = sympy.Symbol(f"above_{number}")
                ends[distance] = (0.0, math.inf)
                value = value.subs(variable, distance + variable - fact)
                break
    return any(map(_is_positive, _from_ends(sympy.expand(value), ends)))


def _from_ends(
    value: sympy.Expr, ends: Mapping[sympy.Symbol, tuple[float, float]]
) -> Iterator[Any]:
    """The polynomial with distances from ends in place of variables, for every choice of ends."""
    import sympy

    bounded = [
        [(v, end, sign) for end, sign in zip(ends[v], (1, -1), strict=True) if math.isfinite(end)]
        for v in sorted(value.free_symbols, key=str)
    ]
    bounded = [choice for choice in bounded if choice]
    if len(bounded) > MAX_BOUNDED:
        return
    for choice in itertools.product(*bounded):
        moved = {
            v: sympy.Rational(Fraction(end)) + sign * sympy.Symbol(f"distance_{v}", positive=True)
            for v, end, sign in choice
        }
        yield sympy.expand(value.subs(moved))


def _is_positive(value: sympy.Expr) -> bool:
    """Whether every term of a sum is a positive number, distances, and squares."""
    return all(
        coefficient > 0
        and all(
            base.is_positive or (power.is_integer and power % 2 == 0)
            for base, power in (factor.as_base_exp() for factor in powers.as_ordered_factors())
            if base != 1
        )
        for coefficient, powers in (part.as_coeff_Mul() for part in value.as_ordered_terms())
        if coefficient != 0
    )


def _written(
    term: Term, domains: Mapping[str, Interval], ends: dict[sympy.Symbol, tuple[float, float]]
) -> sympy.Expr:
    """A polynomial; other operations are variables, whose ends are those of their ranges."""
    import sympy

    match term.op:
        case "const" if math.isfinite(term.number):
            return sympy.Rational(Fraction(term.number))
        case "neg":
            return -_written(term.args[0], domains, ends)
        case "add" | "mul":
            first, second = (_written(argument, domains, ends) for argument in term.args)
            return first + second if term.op == "add" else first * second
    variable = sympy.Symbol(term.digest.hex())
    ends[variable] = span(term, domains)
    return variable
