"""Whether two terms are equal over the reals, for all values in the declared domains.

First a point is looked for where they differ, in 120 digits. Without one, they are compared as
rational functions over square roots, one case for every sign that a choice, maximum or absolute
value depends on; that is a proof. Where it is too large, they are compared at random points of a
prime field, which is a test with a known probability of an error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepforge.language.spec import Domains, Interval
from stepforge.operations.formats import FORMATS, UNIT
from stepforge.verify.reading import reader
from stepforge.verify.reading.tree import Expression
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.algebra import (
    PRIME,
    Algebra,
    Element,
    Exact,
    Modular,
    Retry,
    Undecided,
    rational,
)
from stepforge.verify.terms.congruence import SECONDS, limited
from stepforge.verify.terms.evaluation import exact, mp
from stepforge.verify.terms.operations import TERM_OPERATIONS, NoValue, Range, plain
from stepforge.verify.terms.ranges import span
from stepforge.verify.terms.terms import Term, apply, nodes
from stepforge.verify.terms.walk import walk
from stepforge.verify.terms.witnesses import POINTS, points

TRIALS = 3
"""Points of the prime field."""
MAX_CASES = 729
_SMALL = mp.mpf(10) ** -80
"""Relative differences below are errors of 120-digit arithmetic."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known about two terms.

    Attributes:
        status: "equal" (proved), "tested" (in a prime field), "different", "undecided".
        error: Of "tested": the probability that they differ all the same.
        witness: Of "different": values of the leaves.
        values: The values of the second term and of the first there.
        reason: Of "undecided".
    """

    status: str
    error: float = 0.0
    witness: dict[str, float] = field(default_factory=dict)
    values: tuple[str, str] = ("", "")
    reason: str = ""


def decide(got: Term, expected: Term, domains: Mapping[str, Interval], seed: int) -> Decision:
    """Compares two terms over the reals.

    Args:
        got: The one.
        expected: The other.
        domains: Of the leaves; others may be any real number.
        seed: Of the random points.
    """
    rng = np.random.default_rng([seed, 7])
    try:
        found = _witness(got, expected, domains, rng)
        if found is not None:
            return found
        try:
            with limited(SECONDS):
                if _proved(got, expected, domains):
                    return Decision("equal")
        except Undecided as error:
            with limited(SECONDS):
                return _tested(got, expected, domains, rng, str(error))
        return Decision("undecided", reason="no point of difference was found, nor a proof")
    except (Undecided, NoValue) as error:
        return Decision("undecided", reason=str(error))


# A point of difference.


def _witness(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Decision | None:
    for point in points([got, expected], domains, rng, POINTS):
        try:
            a, b = exact(got, point), exact(expected, point)
        except NoValue as error:
            if "`" in str(error):
                raise
            continue
        if abs(a - b) > _SMALL * max(abs(a), abs(b), 1):  # what cancels leaves such an error of 1
            shown = mp.nstr(b, 17), mp.nstr(a, 17)
            return Decision("different", witness=point, values=shown)
    return None


# Proofs and tests, case by case.


def _choice(term: Term) -> str:
    """By which sign it is one of its operands, or ""."""
    operation = TERM_OPERATIONS.get(plain(term.op))
    return operation.choice if operation else ""


def _is_function(term: Term) -> bool:
    """Whether it is a function that nobody rounds correctly: only its arguments are compared."""
    operation = TERM_OPERATIONS.get(plain(term.op))
    return operation is not None and operation.function != ""


MOST_FACTORS = 16
"""Of a power that is multiplied out."""


def _whole_power(term: Term) -> int | None:
    """The exponent of a power that is a product over the reals, as `x**2` of the host is."""
    if plain(term.op) != "pow" or not term.args[1].is_constant:
        return None
    exponent = term.args[1].number
    return int(exponent) if exponent in range(1, MOST_FACTORS + 1) else None


def _proved(got: Term, expected: Term, domains: Mapping[str, Interval]) -> bool:
    """Whether they are equal in every case."""
    atoms = [n for n in nodes([got, expected]) if not n.args or _is_function(n)]
    spans: dict[int, Range] = {}
    algebra = Exact(len(atoms), lambda number: spans.get(number, (-np.inf, np.inf)))
    for atom in atoms:
        if not atom.args and not atom.is_constant:
            algebra.variable((atom.op, atom.data))
            spans[algebra.numbers[atom.op, atom.data]] = span(atom, domains)
    cases = _Cases(algebra, domains, spans)
    return cases.equal(got, expected)


def _tested(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator, why: str
) -> Decision:
    """Whether they are equal at random points of the prime field."""
    nonnegative = {
        (n.op, n.data): span(n, domains)[0] >= 0
        for n in nodes([got, expected])
        if not n.args and not n.is_constant
    }
    agreed = 0
    for _ in range(400):
        cases = _Cases(Modular(rng, nonnegative), domains, {})
        try:
            if not cases.equal(got, expected):
                return Decision("undecided", reason=why)
        except Retry:
            continue
        agreed += 1
        if agreed == TRIALS:
            bound = min(1.0, _degree(got, expected) / PRIME)
            return Decision("tested", error=bound**TRIALS)
    raise Undecided(f"{why}; no random point has a value in the prime field")


def _degree(got: Term, expected: Term) -> float:
    """A bound of the degree of the polynomial that is zero if both are equal."""
    degrees: dict[Term, tuple[float, float]] = {}
    roots = 0
    for node in nodes([got, expected]):
        ds = [degrees[a] for a in node.args]
        match plain(node.op):
            case "mul":
                pair = ds[0][0] + ds[1][0], ds[0][1] + ds[1][1]
            case "div":
                pair = ds[0][0] + ds[1][1], ds[0][1] + ds[1][0]
            case "rcp":
                pair = ds[0][1], ds[0][0]
            case _ if not ds:
                pair = (0.0 if node.is_constant else 1.0), 0.0
            case op:
                pair = sum(d[0] for d in ds) + sum(d[1] for d in ds), sum(d[1] for d in ds)
                roots += op == "sqrt"
        degrees[node] = pair
    return sum(sum(degrees[t]) for t in (got, expected)) * 2.0**roots


class _Cases:
    """Compares two terms in every combination of signs that choices depend on."""

    def __init__(
        self, algebra: Algebra, domains: Mapping[str, Interval], spans: dict[int, Range]
    ) -> None:
        self.algebra = algebra
        self.domains = domains
        self.spans = spans
        self.count = 0
        self.elements: dict[Term, Element] = {}
        self.assumed: dict[Any, tuple[int, ...]] = {}

    def equal(self, got: Term, expected: Term) -> bool:
        """Whether they are equal."""
        leaves = {n.data for n in nodes([got, expected]) if n.op == "scalar"}
        for constraint in self.domains.together if isinstance(self.domains, Domains) else ():
            if constraint.names <= leaves:
                for comparison in reader.comparisons(constraint.text):
                    self.assume(*comparison)
        return self._equal(got, expected, {}, [])

    def assume(self, left: Expression, op: str, right: Expression) -> None:
        """Notes which signs the difference of two sides has, and its negative."""
        sides = (self.element(rule.host(side)) for side in (left, right))
        difference = self.algebra.add(next(sides), self.algebra.neg(next(sides)))
        sign = -1 if op in ("lt", "le") else 1
        signs = (sign,) if op in ("lt", "gt") else (sign, 0)
        self.assumed[self.algebra.key(difference)] = signs
        self.assumed[self.algebra.key(self.algebra.neg(difference))] = tuple(-s for s in signs)

    def _equal(
        self, got: Term, expected: Term, known: Mapping[Any, int], zeros: list[Element]
    ) -> bool:
        self.count += 1
        if self.count > MAX_CASES:
            raise Undecided(f"more than {MAX_CASES} cases")
        node = next((n for n in nodes([got, expected]) if _is_open(n)), None)
        if node is None:
            a, b = self.element(got), self.element(expected)
            return self.algebra.is_zero(self.algebra.add(a, self.algebra.neg(b)), zeros)
        difference = _difference(node)
        element = self.element(difference)
        key, opposite = self.algebra.key(element), self.algebra.key(self.algebra.neg(element))
        for sign in self._signs(difference, element, key, opposite, known):
            more = [*zeros, element] if sign == 0 else zeros
            now = {**known, key: sign, opposite: -sign}
            pairs = (
                [terms.substitute(t, {node: value}) for t in (got, expected)]
                for value in _chosen(node, sign)
            )
            if not any(self._equal(a, b, now, more) for a, b in pairs):
                return False
        return True

    def _signs(
        self, difference: Term, element: Element, key: Any, opposite: Any, known: Mapping[Any, int]
    ) -> tuple[int, ...]:
        """The signs that a difference can have."""
        if key in known:
            return (known[key],)
        if key == opposite:
            return (0,)
        low, high = span(difference, self.domains)
        found = (s for s in (1, 0, -1) if (high > 0 or s <= 0) and (low < 0 or s >= 0))
        return tuple(s for s in found if s in self.assumed.get(key, (1, 0, -1)))

    def element(self, term: Term) -> Element:
        """A term without choices as an element of the algebra."""
        return walk(term, self, self.elements)

    def leaf(self, term: Term) -> Element:
        """A variable."""
        return self.algebra.variable((term.op, term.data))

    def constant(self, term: Term) -> Element:
        """A number."""
        return self.algebra.constant(rational(term))

    def apply(self, term: Term, args: list[Element]) -> Element:
        """An operation; functions are taken as they are, equal for equal arguments."""
        op = plain(term.op)
        if (times := _whole_power(term)) is not None:
            return functools.reduce(self.algebra.mul, args[:1] * times)
        if _is_function(term):
            key = (op, *map(self.algebra.key, args))
            made = self.algebra.variable(key)
            if isinstance(self.algebra, Exact):
                self.spans[self.algebra.numbers[key]] = span(term, self.domains)
            return made
        operation = TERM_OPERATIONS.get(op)
        if operation is None or operation.algebraic is None:
            raise Undecided(f"`{term.op}` is not known over the reals")
        return operation.algebraic(self.algebra, *args)


def _is_open(node: Term) -> bool:
    """Whether its value depends on a sign that is not decided yet."""
    if node.op == "bits":
        raise Undecided("a comparison of bits")
    return node.op in ("lt", "le", "eq", "nan") or _choice(node) != ""


def _difference(node: Term) -> Term:
    """The number whose sign decides."""
    if node.op == "nan":
        return terms.constant(0.0, "f64")
    if node.op == "abs":
        return node.args[0]
    return apply("sub", *node.args)


def _chosen(node: Term, sign: int) -> tuple[Term, ...]:
    """What is left of a node when the sign of its difference is known; of equals, either."""
    match _choice(node) or node.op:
        case "lt":
            return (terms.truth(sign < 0),)
        case "le":
            return (terms.truth(sign <= 0),)
        case "eq":
            return (terms.truth(sign == 0),)
        case "nan":
            return (terms.truth(False),)
        case "abs":
            return (apply("neg", node.args[0]) if sign < 0 else node.args[0],)
        case op if sign == 0:
            return node.args
        case op:
            return (node.args[0 if (sign > 0) == (op == "max") else 1],)


def kept(got: Term, expected: Term) -> tuple[Term, Term]:
    """Two terms whose roundings on the way are functions, where the second one has such.

    Over the reals a cast changes nothing, so that two terms would be equal of which one lacks a
    rounding that the rule asks for. As a function it is equal to one of an equal argument alone.
    """
    kinds = {n.kind for n in nodes([expected]) if n is not expected and _is_narrowing(n)}
    return _with_functions(got, kinds), _with_functions(expected, kinds)


def _is_narrowing(node: Term) -> bool:
    """Whether it is a cast from a compute kind to one of 16 bits."""
    form = FORMATS.get(node.kind) if node.op == "cvt" else None
    return (
        form is not None
        and form.bits < form.computed.bits
        and (node.args[0].kind == form.computed.kind)
    )


def _with_functions(term: Term, kinds: Set[str]) -> Term:
    """The term with casts to some kinds as functions, but for the last one, which stores."""
    made: dict[Term, Term] = {}
    for cast in nodes([term]):
        if cast is not term and cast.kind in kinds and _is_narrowing(cast):
            argument = terms.substitute(cast.args[0], made)
            made[cast] = terms.node("stored", cast.kind, (argument,))
    return terms.substitute(term, made)


def narrowed(got: Term, expected: Term, real: str) -> Term | None:
    """The first operation of the one that rounds to fewer digits than anything of the other.

    Over the reals a cast changes nothing, so this has to be looked at apart: an intermediate result
    in a narrower kind than the compute kind, or a host scalar that is computed in less than
    float64.
    """
    wanted = set(nodes([expected]))
    on_device: set[Term] = set()
    for node in nodes([got]):
        if node.op == "load" or any(a in on_device for a in node.args):
            on_device.add(node)
        exact_ones = ("load", "scalar", "const", "select", "stored")
        rounds = node.kind in UNIT and node.op not in exact_ones
        if not rounds or node in wanted or node is got:
            continue
        if UNIT[node.kind] > UNIT[real]:
            return node
        from_scalars = any(a.op != "const" for a in node.args) and node not in on_device
        arithmetic = plain(node.op) in ("add", "mul", "div", "sqrt", "fma", "pow")
        if from_scalars and arithmetic and node.kind != "f64":
            return node
    return None
