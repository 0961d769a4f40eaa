"""Whether two terms are the same rounded operations, whatever their comparisons come to.

Compilers nest choices otherwise, and move operations into their arms or out of them. Terms are
compared from the top; where they part, what is below is compared for every outcome of its
comparisons, each of which has to leave the same operations.

Before that, parts of the one take the place of equal parts of the other, operands first: so little
of each is left to compare. What may be equal is tried at points (`samples`); that proves nothing,
and is only where a proof is looked for.
"""

from __future__ import annotations

import itertools
import math
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from stepforge.verify.terms import functions, narrowing, terms
from stepforge.verify.terms.algebra import Undecided
from stepforge.verify.terms.samples import Samples
from stepforge.verify.terms.spans import NOTHING, Span, is_number, span
from stepforge.verify.terms.symmetry import Symmetry
from stepforge.verify.terms.terms import COMMUTATIVE, Term, apply, nodes

SECONDS = 5.0
"""Of processor time, for a proof, and for a test in the prime field."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends polynomial arithmetic that computes for too long; possible in a main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise Undecided(f"no decision within {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


_ATOMS = ("lt", "le", "eq", "nan", "bits")
MAX_SPLITS = 2000
"""Cases of two terms."""
FEW_SPLITS = 100
"""Cases of two parts of terms, of which there are many."""


class TooManyCases(Undecided):
    """There is no answer after so many cases."""


def same_operations(got: Term, expected: Term) -> bool:
    """Whether two terms are the same rounded operations, whatever their comparisons come to.

    Compilers nest choices otherwise, and move operations into their arms or out of them. Nothing is
    assumed of a comparison but that two numbers are in one order, or one of them is NaN.
    """
    key = got.digest, expected.digest
    if key not in _KNOWN:
        while len(_KNOWN) >= KEPT:
            del _KNOWN[next(iter(_KNOWN))]
        try:
            with limited(SECONDS):
                _KNOWN[key] = any(_same(*pair) for pair in _readings(got, expected))
        except Undecided:
            _KNOWN[key] = False
    return _KNOWN[key]


_KNOWN: dict[tuple[bytes, bytes], bool] = {}
"""Of this process: the same terms come from tensors that are aligned and from such that are not."""
KEPT = 256


def _readings(got: Term, expected: Term) -> Iterator[tuple[Term, Term]]:
    """Two terms, with more and more of what they are made of."""
    full = functions.expanded(got), functions.expanded(expected)
    if full[0] is full[1]:
        yield full
        return
    shared = {*nodes([got])} & {*nodes([expected])}
    kept = {x for x in shared if x.op.endswith(functions.SUFFIX)}
    if kept:
        yield functions.expanded(got, kept), functions.expanded(expected, kept)
    yield full
    wide = narrowing.widened(full[0]), narrowing.widened(full[1])
    if wide != full:
        yield wide


def _same(got: Term, expected: Term) -> bool:
    """Whether they are the same, all operations being in sight."""
    samples, congruence = Samples(), _Congruence()
    if samples.of(got) != samples.of(expected):
        return False
    got = _merged(got, expected, samples, congruence)
    try:
        return congruence.same(got, expected) or _Splits(MAX_SPLITS).same(got, expected, {})
    except TooManyCases:
        return False


def _merged(got: Term, expected: Term, samples: Samples, congruence: _Congruence) -> Term:
    """A term with the other one's parts in place of those that are shown to be the same.

    Operands come first, so that what is left to show of each part is little.
    """
    wanted = dict.fromkeys(nodes([expected]))
    alike: dict[bytes | None, list[Term]] = {}
    for part in wanted:
        alike.setdefault(samples.of(part), []).append(part)
    alike.pop(None, None)
    done: dict[Term, Term] = {}
    for part in nodes([got]):
        args = tuple(done[a] for a in part.args)
        made = part if args == part.args else apply(part.op, *args, kind=part.kind, data=part.data)
        if made not in wanted and part.args:
            for other in alike.get(samples.of(part), [])[:MOST_ALIKE]:
                if congruence.same(made, other):
                    made = other
                    break
        done[part] = made
    return done[got]


MOST_ALIKE = 3
"""Parts that are compared with one that has the same samples."""


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
            self.known[key] = self.of_operands(got, expected) or self.by_cases(got, expected)
        return self.known[key]

    def by_cases(self, got: Term, expected: Term) -> bool:
        """Whether they are the same in every case of not too many."""
        try:
            return _Splits(FEW_SPLITS).same(*_abstracted(got, expected))
        except TooManyCases:
            return False

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


def _abstracted(got: Term, expected: Term) -> tuple[Term, Term, dict[Term, Span]]:
    """Both with a leaf in place of every number that they share but for choices, whatever it is.

    With those of the leaves that are never NaN.
    """
    shared = {*nodes([got])} & {*nodes([expected])}
    leaves = {
        x: terms.fresh(x.digest.hex(), x.kind)
        for x in shared
        if x.args and x.kind != "bool" and x.op != "select"
    }
    numbers = {leaf: span(x) for x, leaf in leaves.items() if is_number(x)}
    return terms.substitute(got, leaves), terms.substitute(expected, leaves), numbers


Case = tuple[dict[Term, Term], Mapping[Term, Span]]
"""What comparisons come to, and the numbers that are not NaN then, with where they lie."""


class _Splits:
    """Compares two terms for every outcome of their comparisons."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[tuple[Term, Term, frozenset[tuple[Term, Span]]], bool] = {}
        self.symmetry = Symmetry()

    def same(self, got: Term, expected: Term, numbers: Mapping[Term, Span]) -> bool:
        """Whether they are the same.

        Args:
            got: The one.
            expected: The other.
            numbers: Terms that are not NaN here, and where they lie.
        """
        if got is expected or span(got) == span(expected) == NOTHING:
            return True
        key = got, expected, frozenset(numbers.items())
        if key not in self.known:
            if len(self.known) >= self.most:
                raise TooManyCases(f"more than {self.most} cases")
            self.known[key] = False
            atoms = [n for n in nodes([got, expected]) if n.op in _ATOMS]
            if not atoms:
                self.known[key] = self.symmetry.same(got, expected)
                return self.known[key]
            self.known[key] = all(
                self.same(terms.substitute(got, case), terms.substitute(expected, case), more)
                for case, more in _outcomes(atoms, numbers)
            )
        return self.known[key]


def _outcomes(atoms: Sequence[Term], numbers: Mapping[Term, Span]) -> Iterator[Case]:
    """What the first comparison, and others of the same numbers, can come to."""
    atom = atoms[0]
    if atom.op == "bits":
        for holds in (True, False):
            yield {atom: terms.truth(holds)}, numbers
    elif any(x.is_constant and x.number != x.number for x in atom.args):
        yield {atom: terms.truth(atom.op == "nan")}, numbers
    elif perhaps_nan := [x for x in atom.args if not is_number(x) and x not in numbers]:
        yield from _nan_or_not(perhaps_nan[0], atoms, numbers)
    else:
        a, b = atom.args
        yield from _orders(a, b, numbers)


def _nan_or_not(x: Term, atoms: Sequence[Term], numbers: Mapping[Term, Span]) -> Iterator[Case]:
    """NaN is in no order with anything; neither is what is NaN where a term is, as its negative."""
    is_nan = apply("nan", x, x)
    floats = [n for n in atoms if n.op != "bits"]
    alike = {a for n in floats for a in n.args if apply("nan", a, a) is is_nan}
    compared = [n for n in floats if not alike.isdisjoint(n.args)]
    yield {n: terms.truth(n.op == "nan") for n in compared}, numbers
    nans = {n: [y for y in n.args if y not in alike] for n in compared if n.op == "nan"}
    case = {
        n: apply("nan", *2 * other) if other else terms.truth(False) for n, other in nans.items()
    }
    yield case, {**numbers, **{a: span(a) for a in alike}}


def _orders(a: Term, b: Term, numbers: Mapping[Term, Span]) -> Iterator[Case]:
    """Which of two numbers can be the larger one, and where they lie then."""
    (low, high), (least, most) = (numbers.get(x) or span(x) for x in (a, b))
    below, above = math.nextafter(most, -math.inf), math.nextafter(least, math.inf)
    orders = {
        "lt": ((low, min(high, below)), (max(least, math.nextafter(low, math.inf)), most)),
        "gt": ((max(low, above), high), (least, min(most, math.nextafter(high, -math.inf)))),
        "eq": ((max(low, least), min(high, most)),) * 2,
    }
    for order, spans in orders.items():
        if any(first > last for first, last in spans) or (a is b and order != "eq"):
            continue
        outcomes = {
            ("lt", a, b): order == "lt", ("lt", b, a): order == "gt", ("eq", a, b): order == "eq",
            ("le", a, b): order in ("lt", "eq"), ("le", b, a): order in ("gt", "eq"),
            ("nan", a, b): False,
        }  # fmt: skip
        case: dict[Term, Term] = {}
        for (op, *args), holds in outcomes.items():
            made = apply(op, *args)
            inner = made.args[0] if made.op == "not" else made
            if not inner.is_constant:
                case[inner] = terms.truth(holds != (made.op == "not"))
        pairs = zip((a, b), spans, strict=True)
        more = {**numbers, **{x: found for x, found in pairs if not x.is_constant}}
        if order != "eq":
            yield case, more
            continue
        # Zeros of two signs are equal, too.
        fixed = {x: y for x, y in ((a, b), (b, a)) if y.is_constant and y.number != 0}
        bare = {x.args[0]: y for x, y in fixed.items() if x.op == "abs"}
        yield case | fixed | bare, more
        if bare:
            yield case | fixed | {x: apply("neg", y) for x, y in bare.items()}, more
