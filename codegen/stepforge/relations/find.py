"""The relation between two sides: what few random steps suggest, a proof decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from stepforge.relations import hypotheses, search
from stepforge.relations.differences import Difference, difference
from stepforge.relations.given import NOTHING, Asked
from stepforge.relations.hypotheses import Condition, Hypothesis
from stepforge.relations.proofs import Proof, prove
from stepforge.relations.sides import Side

MOST_CONDITIONS = 4
PROOFS, ALTERNATIVES = 6, 3
"""Hypotheses of one size that are tried, and further ones that are told."""
Kind = Literal["equal", "conditional", "different", "undecided"]


@dataclass(frozen=True)
class Relation:
    """How two sides are related.

    Attributes:
        a: The one side.
        b: The other one.
        kind: "equal"; "conditional": equal under conditions; "different"; "undecided": no input
            was found that shows a difference, but no proof either.
        hypothesis: In which way they are equal; None if they are different, or it is not known.
        proof: What is known of that.
        alternatives: Other conditions, as few, under which they are equal as well.
        doubtful: A way, of fewer conditions, in which they are equal in numbers without a proof.
        first_step: The proof that the first step of both is the same, where a later one is not.
        difference: How they part without the conditions; None if they never do.
    """

    a: Side
    b: Side
    kind: Kind
    hypothesis: Hypothesis | None = None
    proof: Proof | None = None
    alternatives: tuple[tuple[Condition, ...], ...] = ()
    doubtful: Hypothesis | None = None
    first_step: Proof | None = None
    difference: Difference | None = None

    @property
    def status(self) -> str:
        """The verdict."""
        if self.kind == "different":
            return "REFUTED"
        if self.kind == "undecided":
            return "UNSUPPORTED"
        return "PROVED" if self.proof is not None and self.proof.status == "equal" else "TESTED"


def relate(a: Side, b: Side, asked: Asked = NOTHING, seed: int = 0) -> Relation:
    """How two sides are related.

    Args:
        a: The one side.
        b: The other one.
        asked: What the user wants to be taken for granted.
        seed: Of random points of proofs.
    """
    b = b.beside(a)
    found = equal(a, b, asked, seed)
    if found.kind == "equal":
        return found
    likely = found.hypothesis or found.doubtful
    plain = likely.translation.plain or likely.translation if likely else None
    apart = difference(a, b, plain or hypotheses.translations(a, b, {})[0])
    if apart is None:
        return found
    first = _first_step(a, b, seed) if apart.witness.step > 1 else None
    kind: Kind = "different" if found.kind == "undecided" else found.kind
    return replace(found, kind=kind, first_step=first, difference=apart)


def equal(a: Side, b: Side, asked: Asked, seed: int) -> Relation:
    """The fewest conditions under which both are equal; "undecided" without such.

    Args:
        a: The one side.
        b: The other one.
        asked: What the user wants to be taken for granted.
        seed: Of random points of proofs.
    """
    b = b.beside(a)
    doubtful: Hypothesis | None = None
    for count in range(MOST_CONDITIONS + 1):
        tried = search.candidates(a, b, asked, count)
        for _, hypothesis in zip(range(PROOFS), tried, strict=False):
            proof = prove(a, b, hypothesis, seed)
            if proof.status != "undecided":
                kind: Kind = "conditional" if hypothesis.is_conditional else "equal"
                others = tuple(_others(a, b, hypothesis, tried, seed))
                return Relation(a, b, kind, hypothesis, proof, others, doubtful)
            if doubtful is None and search.holds(a, b, hypothesis):
                doubtful = hypothesis
    return Relation(a, b, "undecided", doubtful=doubtful)


def _others(
    a: Side, b: Side, found: Hypothesis, tried: Iterator[Hypothesis], seed: int
) -> Iterator[tuple[Condition, ...]]:
    """Other conditions with the same translation."""
    same = (h for h in tried if h.translation == found.translation)
    for _, hypothesis in zip(range(ALTERNATIVES), same, strict=False):
        if prove(a, b, hypothesis, seed).status == "equal":
            yield hypothesis.conditions


def _first_step(a: Side, b: Side, seed: int) -> Proof | None:
    """The proof that the first step is the same."""
    for hypothesis in search.candidates(a, b, Asked(first_only=True), 0):
        proof = prove(a, b, hypothesis, seed)
        if proof.status == "equal" and not hypothesis.translation.substitutions:
            return proof
    return None
