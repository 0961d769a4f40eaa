"""Under which conditions a step computes a number: where Python may have none, that matters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from stepforge.verify.terms.terms import Term, apply

Conditional = tuple[Term, tuple[Term, ...]]
"""A number, and the conditions under which it is computed."""


class Conditions:
    """What reads statements, and notes under which conditions it does.

    Attributes:
        under: Those that hold where it is.
    """

    under: tuple[Term, ...] = ()

    @contextmanager
    def where(self, condition: Term) -> Iterator[None]:
        """Notes that what is computed for a while is so under a condition alone."""
        outer, self.under = self.under, (*self.under, condition)
        try:
            yield
        finally:
            self.under = outer


def facts(conditions: Iterable[Term]) -> frozenset[Term]:
    """What holds where some conditions hold, with conjunctions taken apart."""
    found: set[Term] = set()
    pending = list(conditions)
    while pending:
        part = pending.pop()
        if part.op == "and":
            pending += part.args
        elif not part.is_constant:
            found.add(part)
    return frozenset(found)


def computed(numbers: Iterable[Conditional]) -> dict[Term, set[frozenset[Term]]]:
    """Everything that numbers are made of, each with the sets of facts under which it is computed.

    A choice computes one of its arms.
    """
    found: dict[Term, set[frozenset[Term]]] = {}
    pending = [(number, facts(under)) for number, under in numbers]
    while pending:
        part, held = pending.pop()
        sets = found.setdefault(part, set())
        if any(other <= held for other in sets):
            continue
        sets.add(held)
        if part.op == "select":
            condition, taken, other = part.args
            pending += [
                (condition, held),
                (taken, held | facts([condition])),
                (other, held | facts([apply("not", condition)])),
            ]
        else:
            pending += [(argument, held) for argument in part.args]
    return found
