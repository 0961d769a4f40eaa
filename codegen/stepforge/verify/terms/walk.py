"""One walk over terms, for every arithmetic that they are computed in."""

from __future__ import annotations

from typing import Protocol, TypeVar

from stepforge.verify.terms.terms import Term, nodes

T = TypeVar("T")


class Arithmetic(Protocol[T]):
    """What a term is computed in: rounded numbers, reals, ranges, errors, elements of a field."""

    def leaf(self, term: Term) -> T:
        """The value of the element of a tensor, or of a number of the host."""

    def constant(self, term: Term) -> T:
        """The value of a number or of a known condition."""

    def apply(self, term: Term, args: list[T]) -> T:
        """The value of an operation on the values of its operands."""


def walk(term: Term, arithmetic: Arithmetic[T], done: dict[Term, T] | None = None) -> T:
    """The value of a term in an arithmetic.

    Args:
        term: The term.
        arithmetic: The arithmetic.
        done: Values of its parts; filled, so that several terms may share them.
    """
    done = {} if done is None else done
    for node in nodes([term]):
        if node in done:
            continue
        if node.op in ("load", "scalar"):
            done[node] = arithmetic.leaf(node)
        elif node.is_constant:
            done[node] = arithmetic.constant(node)
        else:
            done[node] = arithmetic.apply(node, [done[a] for a in node.args])
    return done[term]
