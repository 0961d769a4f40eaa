"""Whether two terms are equal over the reals, for all values in the declared domains.

First a point is looked for where they differ, in 120 digits. Without one, they are compared as
rational functions over square roots, one case for every sign that a choice, maximum or absolute
value depends on; that is a proof. Where it is too large, they are compared at random points of a
prime field, which is a test with a known probability of an error.

To the bit, terms are compared outcome by outcome of their comparisons, each of which has to leave
the same rounded operations.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepforge.language.spec import Interval
from stepforge.operations.formats import UNIT
from stepforge.verify.cases import inputs
from stepforge.verify.terms import evaluation, functions, terms
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
from stepforge.verify.terms.evaluation import exact, mp
from stepforge.verify.terms.operations import TERM_OPERATIONS, NoValue, Range, plain
from stepforge.verify.terms.ranges import span
from stepforge.verify.terms.terms import COMMUTATIVE, FLOATS, Term, apply, nodes
from stepforge.verify.terms.walk import walk

POINTS = 90
"""Random points at which a difference is looked for."""
TRIALS = 3
"""Points of the prime field."""
MAX_CASES = 729
SECONDS = 5.0
"""For a proof with polynomials, and for a test in the prime field."""
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
            with _limited(SECONDS):
                if _proved(got, expected, domains):
                    return Decision("equal")
        except Undecided as error:
            with _limited(SECONDS):
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
        if abs(a - b) > _SMALL * max(abs(a), abs(b)):
            shown = mp.nstr(b, 17), mp.nstr(a, 17)
            return Decision("different", witness=point, values=shown)
    return None


def points(
    found: Sequence[Term], domains: Mapping[str, Interval], rng: np.random.Generator, count: int
) -> Iterator[dict[str, float]]:
    """Points of the leaves' domains, exact in their types; simple ones first.

    Simple are small numbers, and those that occur in the terms, at which a choice may turn.
    """
    leaves = {n.data: n.kind for n in nodes(found) if n.op in ("load", "scalar")}
    own = {n.number for n in nodes(found) if n.is_constant and n.kind != "bool"}
    own |= {-x for x in own}
    usual = (1.0, 2.0, 0.5, -1.0, 0.25, 3.0, -0.5, 0.0, 0.75, 1.5)
    simple = list(dict.fromkeys([*usual, *(x for x in sorted(own) if np.isfinite(x))]))
    for index in range(count):
        point: dict[str, float] = {}
        for name, kind in leaves.items():
            domain = domains.get(name, Interval())
            if name == "t":
                point[name] = float(rng.integers(1, 5 if index < 2 * count // 3 else 1000))
                continue
            if index < 2 * count // 3:
                allowed = [x for x in simple if x in domain]
                zero = 0.0 in domain and rng.random() < 0.25
                value = 0.0 if zero else float(rng.choice(allowed)) if allowed else np.nan
            else:
                value = float(inputs.log_uniform(1, "float64", domain, rng, 3)[0])
            rounded = float(FLOATS[kind](value))
            point[name] = rounded if rounded in domain else _middle(domain)
        yield point


def _middle(domain: Interval) -> float:
    low = domain.low if np.isfinite(domain.low) else min(domain.high - 1, 0)
    high = domain.high if np.isfinite(domain.high) else low + 2
    return (low + high) / 2


# Proofs and tests, case by case.


def _choice(term: Term) -> str:
    """By which sign it is one of its operands, or ""."""
    operation = TERM_OPERATIONS.get(plain(term.op))
    return operation.choice if operation else ""


def _is_function(term: Term) -> bool:
    """Whether it is a function that nobody rounds correctly: only its arguments are compared."""
    operation = TERM_OPERATIONS.get(plain(term.op))
    return operation is not None and operation.function != ""


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

    def equal(self, got: Term, expected: Term) -> bool:
        """Whether they are equal."""
        return self._equal(got, expected, {}, [])

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
        return tuple(s for s in (1, 0, -1) if (high > 0 or s <= 0) and (low < 0 or s >= 0))

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


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Ends polynomial arithmetic that takes too long; possible in a main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise Undecided(f"no decision within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Bits.

_ATOMS = ("lt", "le", "eq", "nan", "bits")
MAX_SPLITS = 2000


def same_operations(got: Term, expected: Term) -> bool:
    """Whether two terms are the same rounded operations, whatever their comparisons come to.

    Compilers nest choices otherwise, and move operations into their arms or out of them. Nothing is
    assumed of a comparison but that two numbers are in one order, or one of them is NaN.
    """
    try:
        with _limited(SECONDS):
            shared = {*nodes([got])} & {*nodes([expected])}
            got, expected = (functions.expanded(x, shared) for x in (got, expected))
            if _Congruence().same(got, expected):
                return True
            return _Splits().same(got, expected, frozenset())
    except Undecided:
        return False


class _Congruence:
    """Compares two terms from the top: the same operations of the same operands are the same.

    Where they part, what is below is compared for every outcome of its comparisons.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[Term, Term], bool] = {}

    def same(self, got: Term, expected: Term) -> bool:
        """Whether they are the same."""
        if got is expected:
            return True
        key = got, expected
        if key not in self.known:
            self.known[key] = False
            self.known[key] = self.of_operands(got, expected) or _Splits().same(
                *_abstracted(got, expected), frozenset()
            )
        return self.known[key]

    def of_operands(self, got: Term, expected: Term) -> bool:
        """Whether they are one operation of operands that are the same."""
        shapes = [(x.op, x.kind, len(x.args)) for x in (got, expected)]
        if shapes[0] != shapes[1] or not got.args:
            return False
        left, right = _operands(got), _operands(expected)
        pairs = {x: y for x, y in left.items() if right.get(x) != y}
        others = {x: y for x, y in right.items() if left.get(x) != y}
        if got.op not in COMMUTATIVE | {"isum", "iand", "ior", "ixor"}:
            ordered = zip(got.args, expected.args, strict=True)
            return got.data == expected.data and all(self.same(a, b) for a, b in ordered)
        if got.op == "isum" and got.data[0] != expected.data[0]:
            return False
        return len(pairs) == len(others) <= 2 and any(
            all(self.same(a, b) and pairs[a] == others[b] for a, b in zip(pairs, way, strict=True))
            for way in itertools.permutations(others)
        )


def _operands(term: Term) -> dict[Term, int]:
    """The operands, each with how often or by which factor it counts."""
    if term.op == "isum":
        return dict(zip(term.args, term.data[1], strict=True))
    return dict(Counter(term.args))


def _abstracted(got: Term, expected: Term) -> tuple[Term, Term]:
    """Both with a leaf in place of every number that they share but for choices, whatever it is."""
    shared = {*nodes([got])} & {*nodes([expected])}
    leaves = {
        x: terms.fresh(x.digest.hex(), x.kind)
        for x in shared
        if x.args and x.kind != "bool" and x.op != "select"
    }
    return terms.substitute(got, leaves), terms.substitute(expected, leaves)


class _Splits:
    """Compares two terms for every outcome of their comparisons."""

    def __init__(self) -> None:
        self.known: dict[tuple[Term, Term, frozenset[Term]], bool] = {}

    def same(self, got: Term, expected: Term, numbers: frozenset[Term]) -> bool:
        """Whether they are the same.

        Args:
            got: The one.
            expected: The other.
            numbers: Terms that are not NaN here.
        """
        if got is expected:
            return True
        key = got, expected, numbers
        if key not in self.known:
            if len(self.known) >= MAX_SPLITS:
                raise Undecided(f"more than {MAX_SPLITS} cases")
            self.known[key] = False
            atom = next((n for n in nodes([got, expected]) if n.op in _ATOMS), None)
            self.known[key] = atom is not None and all(
                self.same(terms.substitute(got, case), terms.substitute(expected, case), more)
                for case, more in _outcomes(atom, numbers)
            )
        return self.known[key]


def _outcomes(
    atom: Term, numbers: frozenset[Term]
) -> Iterator[tuple[dict[Term, Term], frozenset[Term]]]:
    """What a comparison, and others of the same two numbers, can come to; what is not NaN then."""
    if atom.op == "bits":
        for holds in (True, False):
            yield {atom: terms.truth(holds)}, numbers
        return
    a, b = atom.args
    are_numbers = all(x.is_constant or x in numbers for x in (a, b))
    orders = ("lt", "gt", "eq") if a is not b else ("eq",)
    for order in orders if are_numbers else (*orders, "nan"):
        outcomes = {
            ("lt", a, b): order == "lt", ("lt", b, a): order == "gt", ("eq", a, b): order == "eq",
            ("le", a, b): order in ("lt", "eq"), ("le", b, a): order in ("gt", "eq"),
            ("nan", a, b): order == "nan",
        }  # fmt: skip
        if order != "nan":
            outcomes |= {("nan", a, a): False, ("nan", b, b): False}
        case: dict[Term, Term] = {}
        for (op, *args), holds in outcomes.items():
            made = apply(op, *args)
            inner = made.args[0] if made.op == "not" else made
            if not inner.is_constant:
                case[inner] = terms.truth(holds != (made.op == "not"))
        if order == "eq":  # zeros of two signs are equal, too
            case |= {x: y for x, y in ((a, b), (b, a)) if y.is_constant and y.number != 0}
        yield case, numbers if order == "nan" else numbers | {a, b}


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
        rounds = node.kind in UNIT and node.op not in ("load", "scalar", "const", "select")
        if not rounds or node in wanted or node is got:
            continue
        if UNIT[node.kind] > UNIT[real]:
            return node
        from_scalars = any(a.op != "const" for a in node.args) and node not in on_device
        arithmetic = plain(node.op) in ("add", "mul", "div", "sqrt", "fma", "pow")
        if from_scalars and arithmetic and node.kind != "f64":
            return node
    return None


def bits_differ(got: Term, expected: Term, point: Mapping[str, float]) -> bool:
    """Whether two terms differ in a bit there; all NaNs are the same.

    Raises:
        NoValue: One of them holds an operation that is not known.
    """
    columns = {name: np.asarray([value]) for name, value in point.items()}
    a, b = (float(np.ravel(evaluation.evaluate(t, columns))[0]) for t in (got, expected))
    return (a != b or np.signbit(a) != np.signbit(b)) and not (np.isnan(a) and np.isnan(b))


def bits_witness(
    got: Term, expected: Term, domains: Mapping[str, Interval], seed: int
) -> dict[str, float] | None:
    """A point at which two terms differ in a bit, if one is found.

    Raises:
        NoValue: One of them holds an operation that is not known.
    """
    rng = np.random.default_rng([seed, 8])
    tried = itertools.chain(
        points([got, expected], domains, rng, 4 * POINTS),
        _zeros(got, expected, domains, rng),
        _turning(got, expected, domains, rng),
    )
    return next((point for point in tried if bits_differ(got, expected, point)), None)


def _zeros(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Points at which the tensors are zeros of all signs, the scalars as at another point."""
    (point,) = points([got, expected], domains, rng, 1)
    loads = dict.fromkeys(str(n.data) for n in nodes([got, expected]) if n.op == "load")
    for zeros in inputs.zeros({name: domains.get(name, Interval()) for name in loads}):
        signed = zip(loads, map(float, zeros), strict=True)
        yield point | {name: zero for name, zero in signed if zero == 0}


TURNS = 5
"""Points from which the places are looked for where a comparison turns."""
MAX_COMPARISONS = 8
NEAR = 8
"""Neighbours of such a place, on either side."""


def _turning(
    got: Term, expected: Term, domains: Mapping[str, Interval], rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Points at which a comparison of one of the terms is about to turn.

    What a choice depends on may be wrong by so little that no other point shows it.
    """
    comparisons = [n for n in nodes([got, expected]) if n.op in ("lt", "le", "eq")]
    for point in list(points([got, expected], domains, rng, 3 * TURNS))[TURNS:]:  # few simple ones
        for comparison in comparisons[:MAX_COMPARISONS]:
            for leaf in [n for n in nodes([comparison]) if n.op == "load"]:
                name, domain = str(leaf.data), domains.get(str(leaf.data), Interval())
                for value in _turns(comparison, name, leaf.kind, point):
                    if value in domain:
                        yield {**point, name: value}


def _turns(comparison: Term, name: str, kind: str, point: Mapping[str, float]) -> Iterator[float]:
    """Values of a tensor on both sides of where a comparison turns, the others as in a point."""
    columns: dict[str, Any] = {k: np.asarray([v]) for k, v in point.items()}
    powers = 2.0 ** np.arange(-40, 41)
    places = np.unique(_places(np.concatenate([-powers, [0.0], powers]), kind))
    while True:
        values = _numbers(places, kind)
        truth = evaluation.evaluate(comparison, columns | {name: values})
        turns = np.flatnonzero(np.diff(np.broadcast_to(truth, places.shape)))
        if not len(turns):
            return
        low, high = int(places[turns[0]]), int(places[turns[0] + 1])
        if high - low == 1:
            break
        places = np.unique([low + (high - low) * i // 64 for i in range(65)])
    yield from map(float, _numbers(np.arange(low - NEAR, high + NEAR + 1), kind))


def _places(values: Any, kind: str) -> Any:
    """Where numbers of a kind stand in their order: neighbours differ by one, both zeros are 0."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values).astype(FLOATS[kind])
    bits = numbers.view(f"i{numbers.itemsize}").astype(np.int64)
    smallest = -(2 ** (8 * numbers.itemsize - 1))
    return np.where(bits < 0, smallest - bits, bits)


def _numbers(places: Any, kind: str) -> Any:
    """The numbers at such places."""
    size = np.dtype(FLOATS[kind]).itemsize
    smallest = -(2 ** (8 * size - 1))
    bits = np.where(places < 0, smallest - places, places)
    return bits.astype(f"i{size}").view(FLOATS[kind])
