"""What the declared domains say about the range of a term, over the reals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stepforge.language.spec import Interval
from stepforge.verify.terms.operations import ANYTHING, TERM_OPERATIONS, Range, plain
from stepforge.verify.terms.terms import Term
from stepforge.verify.terms.walk import walk


def sign(term: Term, domains: Mapping[str, Interval]) -> int:
    """1 for a term that is never negative, -1 for one that is never positive, else 0."""
    low, high = span(term, domains)
    return 1 if low >= 0 else -1 if high <= 0 else 0


def span(term: Term, domains: Mapping[str, Interval]) -> Range:
    """Bounds of a term; infinite where nothing is known."""
    return walk(term, Ranges(domains))


@dataclass(frozen=True, slots=True)
class Ranges:
    """Pairs of a lower and an upper bound."""

    domains: Mapping[str, Interval]

    def leaf(self, term: Term) -> Range:
        """The domain of a leaf."""
        domain = self.domains.get(term.data, Interval())
        return domain.low, domain.high

    def constant(self, term: Term) -> Range:
        """A number is its own range."""
        return (0.0, 1.0) if term.kind == "bool" else (term.number, term.number)

    def apply(self, term: Term, args: list[Range]) -> Range:
        """The range of an operation."""
        if term.kind == "bool":
            return 0.0, 1.0
        operation = TERM_OPERATIONS.get(plain(term.op))
        if operation is None or any(math.isnan(x) for pair in args for x in pair):
            return ANYTHING
        return operation.span(len(args) > 1 and term.args[0] is term.args[1], *args)
