"""The proof that two sides are equal: by induction over the steps, over the reals.

After the first step both have the same `p`, and states that correspond. If they have that after
any step, they have it after the next one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stepforge.language.spec import Domains, Interval
from stepforge.relations.correspondences import NUMBER, Multiple, multiples
from stepforge.relations.hypotheses import Given, Hypothesis, variables
from stepforge.relations.reals import KIND, ONE, ZERO, replaced
from stepforge.relations.sides import PAST, Side, T, influential
from stepforge.relations.trajectories import inputs_of
from stepforge.verify.terms import equality, terms
from stepforge.verify.terms.terms import Term, apply, nodes

MOST_CORRESPONDENCES = 4
"""Ways in which states may correspond that are tried."""
STRENGTH = ("equal", "tested", "undecided")


@dataclass(frozen=True)
class Proof:
    """What is known of a hypothesis.

    Attributes:
        status: "equal" (proved), "tested" (in a prime field), or "undecided".
        reason: Of "undecided".
        error: Of "tested": a bound of the probability of an error.
        reverse: Whether the states of A are told by those of B.
        states: The states with an effect on `p` of the one side, and what they are of the other's.
        left_out: States of both sides without an effect on `p`.
        constant: Hyperparameters that have to stay the same from step to step.
        nonzero: Whether gradients that are zero are left out.
    """

    status: str
    reason: str = ""
    error: float = 0.0
    reverse: bool = False
    states: Mapping[str, Multiple] = field(default_factory=dict)
    left_out: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    constant: tuple[str, ...] = ()
    nonzero: bool = False


def prove(a: Side, b: Side, hypothesis: Hypothesis, seed: int) -> Proof:
    """Decides a hypothesis: the states of B as multiples of those of A, or the other way round."""
    spans = variables(a, b, hypothesis.translation)
    given_a, given_b = hypothesis.given(a, b, spans)
    together = a.spec.together
    read = {name: span for name, (span, _) in inputs_of((a, b)).items()}
    domains = Domains({**read, **spans, "t": PAST}, together)
    found = []
    for reverse in (False, True):
        x, y = (b, a) if reverse else (a, b)
        given = (given_b, given_a) if reverse else (given_a, given_b)
        found.append(_Induction(x, y, *given, domains, seed, reverse).proof(hypothesis.first_only))
        if found[-1].status == "equal":
            break
    return min(found, key=lambda proof: STRENGTH.index(proof.status))


@dataclass
class _Induction:
    """The states of y as multiples of those of x."""

    x: Side
    y: Side
    given_x: Given
    given_y: Given
    domains: Domains
    seed: int
    reverse: bool
    nonzero: bool = False
    error: float = 0.0

    def __post_init__(self) -> None:
        self.own = {name: _leaf(self.x, name, "x") for name in self.x.states}
        self.free = {name: _leaf(self.y, name, "y") for name in self.y.states}
        spans = {term.data: self.x.domains[name] for name, term in self.own.items()}
        spans |= {term.data: self.y.domains[name] for name, term in self.free.items()}
        self.known = Domains({**self.domains, **spans}, self.domains.together)

    def proof(self, first_only: bool) -> Proof:
        """The first of the correspondences that is proved, or the best that is known."""
        first = [
            side.first(given, self.known)
            for side, given in ((self.x, self.given_x), (self.y, self.given_y))
        ]
        if first_only:
            return self._decided([("p", first[1]["p"], first[0]["p"])], {})
        later_x = self.x.later(self.given_x, self.own, self.known)
        later_y = self.y.later(self.given_y, self.free, self.known)
        wanted = influential(later_y, self.free)
        found = [Proof("undecided", reverse=self.reverse)]
        for states in self._correspondences(wanted):
            before = {name: self._value(m, m.factor, self.own) for name, m in states.items()}
            mapped = self.y.later(self.given_y, {**self.free, **before}, self.known)
            pairs = [("p", mapped["p"], later_x["p"]), ("p", first[1]["p"], first[0]["p"])]
            for name, multiple in states.items():
                now = replaced(multiple.factor, {T: apply("add", T, ONE)}, self.known)
                begun = replaced(multiple.factor, {T: ONE}, self.known)
                pairs.append((name, mapped[name], self._value(multiple, now, later_x)))
                pairs.append((name, first[1][name], self._value(multiple, begun, first[0])))
            found.append(self._decided(pairs, states))
            if found[-1].status == "equal":
                break
        return min(reversed(found), key=lambda proof: STRENGTH.index(proof.status))

    def _correspondences(self, wanted: list[str]) -> Iterator[dict[str, Multiple]]:
        """What the states that are multiples may be; others may have any value."""
        found = multiples(
            self.x, self.y, self.given_x, self.given_y, wanted,
            {name: span for name, span in self.domains.items() if name != "t"},
        )  # fmt: skip
        told = [name for name in wanted if found[name]]
        chosen = itertools.product(*(found[name] for name in told))
        for states in itertools.islice(chosen, MOST_CORRESPONDENCES):
            yield dict(zip(told, states, strict=True))

    def _value(self, multiple: Multiple, factor: Term, states: Mapping[str, Term]) -> Term:
        if multiple.state == NUMBER:
            return factor
        state = states.get(multiple.state, self.x.leaf("p"))
        return replaced(apply("mul", factor, state), {}, self.known)

    def _decided(
        self, pairs: Iterable[tuple[str, Term, Term]], states: Mapping[str, Multiple]
    ) -> Proof:
        """All of the equations together: the weakest counts."""
        status, self.nonzero, self.error = "equal", False, 0.0
        for name, got, expected in pairs:
            decision = self._equation(got, expected)
            if decision.status not in STRENGTH or decision.status == "undecided":
                reason = f"`{name}`: {decision.reason or 'another value in some state'}"
                return Proof("undecided", reason, reverse=self.reverse)
            status = max(status, decision.status, key=STRENGTH.index)
            self.error += decision.error
        return Proof(
            status, "", self.error, self.reverse, states, self._left_out(states),
            self._constant(states), self.nonzero,
        )  # fmt: skip

    def _equation(self, got: Term, expected: Term) -> equality.Decision:
        """One equation; if it is not decided for every gradient, then for those that are not 0."""
        if got is expected:
            return equality.Decision("equal")
        whole = equality.decide(got, expected, self.known, self.seed)
        if whole.status != "undecided":
            return whole
        halves = []
        for half in (Interval(low=0), Interval(high=0)):
            domains = Domains({**self.known, "g": half}, self.known.together)
            known = _sign(half)
            one, other = (replaced(term, known, domains) for term in (got, expected))
            halves.append(equality.decide(one, other, domains, self.seed))
            if halves[-1].status not in ("equal", "tested"):
                return whole
        self.nonzero = True
        return max(halves, key=lambda decision: STRENGTH.index(decision.status))

    def _left_out(self, states: Mapping[str, Multiple]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        told = {multiple.state for multiple in states.values()}
        of_x = tuple(name for name in self.x.states if name not in told)
        of_y = tuple(name for name in self.y.states if name not in states)
        return (of_y, of_x) if self.reverse else (of_x, of_y)

    def _constant(self, states: Mapping[str, Multiple]) -> tuple[str, ...]:
        parts = nodes([multiple.factor for multiple in states.values()])
        return tuple(dict.fromkeys(n.data for n in parts if n.op == "scalar" and n.data != "t"))


def _leaf(side: Side, name: str, mark: str) -> Term:
    """The old value of a state, by a name that nothing else has."""
    leaf, unique = side.leaf(name), f"{name} of {mark}"
    return terms.scalar(unique) if leaf.op == "scalar" else terms.load(unique, leaf.kind)


def _sign(half: Interval) -> dict[Term, Term]:
    """What comparisons of the gradient with 0 are where it is positive, or negative."""
    g, positive = terms.load("g", KIND), half.low == 0
    known = {apply("lt", ZERO, g): positive, apply("lt", g, ZERO): not positive}
    known |= {apply("le", ZERO, g): positive, apply("le", g, ZERO): not positive}
    known[apply("eq", g, ZERO)] = False
    return {condition: terms.truth(value) for condition, value in known.items()}
