"""Terms over the reals: what rounding forbids, and exact arithmetic allows.

`terms.apply` keeps every bit, so `0*x` stays what it is. Here it is 0. Both sides of a relation are
brought to this form before they are compared: what has no effect under a condition is then gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stepforge.language.spec import Interval
from stepforge.verify.terms import terms
from stepforge.verify.terms.operations import plain
from stepforge.verify.terms.ranges import span
from stepforge.verify.terms.terms import Term, apply, nodes

KIND = "f64"
"""Everything is computed in one kind, so no cast is in the way."""
MOST_FACTORS = 16
"""Up to here a whole power is a product."""
Domains = Mapping[str, Interval]


def number(value: float) -> Term:
    """A number."""
    return terms.constant(value, KIND)


ZERO, ONE = number(0.0), number(1.0)


def replaced(term: Term, values: Mapping[Term, Term], domains: Domains) -> Term:
    """A term with some of its parts replaced, as simple as the reals make it.

    Args:
        term: The term.
        values: What parts become; usually they are leaves.
        domains: Of the leaves that come in.
    """
    done: dict[Term, Term] = {}
    for part in nodes([term]):
        if part in values or not part.args:
            done[part] = values.get(part, part)
            continue
        args = tuple(done[a] for a in part.args)
        rule = _RULES.get(plain(part.op))
        found = rule(domains, *args) if rule else None
        done[part] = (
            apply(part.op, *args, kind=part.kind, data=part.data) if found is None else found
        )
    return done[term]


def _is(x: Term, value: float) -> bool:
    return x.is_constant and x.kind == KIND and x.number == value


def _opposite(a: Term, b: Term) -> bool:
    return apply("neg", a) is b


def _add(_: Domains, a: Term, b: Term) -> Term | None:
    if _is(a, 0):
        return b
    if _is(b, 0):
        return a
    if _opposite(a, b):
        return ZERO
    for x, y in ((a, b), (b, a)):  # as in `1 + (t - 1)`
        if _is_whole(x) and y.op == "add" and (inner := _with_number(y)) and _is_whole(inner[0]):
            total = apply("add", x, inner[0])
            return _add(_, total, inner[1]) or apply("add", total, inner[1])
    return None


def _is_whole(x: Term) -> bool:
    """Whether it is a small whole number: sums of such are exact."""
    return x.is_constant and x.number.is_integer() and abs(x.number) < 1 << 40


def _with_number(sum_: Term) -> tuple[Term, Term] | None:
    """The number of a sum and the rest of it."""
    for x, y in (sum_.args, sum_.args[::-1]):
        if x.is_constant:
            return x, y
    return None


def _mul(_: Domains, a: Term, b: Term) -> Term | None:
    return ZERO if _is(a, 0) or _is(b, 0) else None


def _div(_: Domains, a: Term, b: Term) -> Term | None:
    if _is(a, 0) and not _is(b, 0):
        return ZERO
    if _is(b, 1):
        return a
    if a is b and not _is(b, 0):
        return ONE
    return apply("neg", ONE) if _opposite(a, b) else None


def _sqrt(_: Domains, x: Term) -> Term | None:
    if x.op == "mul" and x.args[0] is x.args[1]:
        return apply("abs", x.args[0])
    return None


def _abs(domains: Domains, x: Term) -> Term | None:
    low, high = span(x, domains)
    return x if low >= 0 else apply("neg", x) if high <= 0 else None


def _pow(domains: Domains, base: Term, exponent: Term) -> Term | None:
    """Whole powers are products; `x**(t + 1)` is `x**t * x`, and `0**t` is 0, as t is not."""
    if _is(base, 1) or _is(exponent, 0):
        return ONE
    if exponent.is_constant:
        return _known_power(domains, base, exponent.number)
    if _is(base, 0) and span(exponent, domains)[0] > 0:
        return ZERO
    if exponent.op == "add" and (parts := _with_number(exponent)):
        known = _known_power(domains, base, parts[0].number)
        if known is not None:
            rest = _pow(domains, base, parts[1]) or apply("pow", base, parts[1])
            return _product(domains, rest, known)
    return None


def _known_power(domains: Domains, base: Term, exponent: float) -> Term | None:
    if abs(exponent) == 0.5:
        result = _sqrt(domains, base) or apply("sqrt", base)
    elif exponent.is_integer() and abs(exponent) <= MOST_FACTORS:
        result = ONE
        for _ in range(int(abs(exponent))):
            result = _product(domains, result, base)
    else:
        return None
    return apply("div", ONE, result) if exponent < 0 else result


def _product(domains: Domains, a: Term, b: Term) -> Term:
    return _mul(domains, a, b) or apply("mul", a, b)


def _select(_: Domains, condition: Term, a: Term, b: Term) -> Term | None:
    return a if a is b else None


def _compared(decide: Callable[[float, float], bool | None]) -> Callable[..., Term | None]:
    """A comparison whose outcome the range of the difference tells."""

    def rule(domains: Domains, a: Term, b: Term) -> Term | None:
        difference = replaced(apply("add", a, apply("neg", b)), {}, domains)
        known = decide(*span(difference, domains))
        return None if known is None else terms.truth(known)

    return rule


def _less(low: float, high: float) -> bool | None:
    return True if high < 0 else False if low >= 0 else None


def _less_or_equal(low: float, high: float) -> bool | None:
    return True if high <= 0 else False if low > 0 else None


def _equal(low: float, high: float) -> bool | None:
    return True if low == high == 0 else False if low > 0 or high < 0 else None


def _larger(domains: Domains, a: Term, b: Term) -> Term | None:
    (low, high), (other_low, other_high) = span(a, domains), span(b, domains)
    return a if low >= other_high else b if other_low >= high else None


def _smaller(domains: Domains, a: Term, b: Term) -> Term | None:
    (low, high), (other_low, other_high) = span(a, domains), span(b, domains)
    return a if high <= other_low else b if other_high <= low else None


_RULES: Mapping[str, Callable[..., Term | None]] = {
    "add": _add, "mul": _mul, "div": _div, "sqrt": _sqrt, "abs": _abs, "pow": _pow,
    "select": _select, "lt": _compared(_less), "le": _compared(_less_or_equal),
    "eq": _compared(_equal), "max": _larger, "anymax": _larger, "min": _smaller,
    "anymin": _smaller,
}  # fmt: skip
