"""Functions that are formulas (`operations.formulas`), as terms.

The rule's `exp(x)` of a tensor stands for the operations of its formula. They are expanded once;
from then on whatever comes to the same operations, in a NumPy file or in PTX, is the one node
"exp.formula" again. So terms stay small, and what is over the reals, errors or ranges, sees the
function and not its bits.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from stepforge.operations import formulas
from stepforge.verify.terms import terms
from stepforge.verify.terms.integers import OF_FLOAT, integer
from stepforge.verify.terms.terms import Term, apply, node, nodes

SUFFIX = ".formula"
"""Of the operation's name; without it, it is the host's library that computes."""
FUSED = ".fused"
"""Of the name where a compiler has fused products of the formula with sums."""


def call(function: str, *args: Term) -> Term:
    """A function of tensors.

    Args:
        function: One of `formulas.names()`.
        args: Its arguments, all of the compute kind.
    """
    detail = _detail(function, *args)
    if not detail.args or detail in args:
        return detail
    return terms.define(detail, node(function + SUFFIX, args[0].kind, args))


@lru_cache(maxsize=1 << 12)
def _detail(function: str, *args: Term) -> Term:
    """All of its operations."""
    kind = args[0].kind
    return formulas.compute(function, kind, _Terms(kind), *args)


def expanded(term: Term, kept: Collection[Term] = ()) -> Term:
    """A term with all operations of its formulas, in normal form with what stands around them.

    Leaves get other names, of which no operations are known as those of a function.

    Args:
        term: The term.
        kept: Functions that stay as they are.
    """
    done: dict[Term, Term] = {}
    for part in nodes([term]):
        args = tuple(done[a] for a in part.args)
        if part.op.endswith(SUFFIX) and part not in kept:
            done[part] = _detail(part.op.removesuffix(SUFFIX), *args)
        elif part.is_constant:
            done[part] = part
        elif not args:
            done[part] = node(part.op, part.kind, (), f"{part.data}, spelled out")
        else:
            done[part] = apply(part.op, *args, kind=part.kind, data=part.data)
    return done[term]


class _Terms:
    """The operations of formulas, as terms."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def number(self, value: float | int) -> Term:
        """A literal."""
        if isinstance(value, int):
            return integer(value, OF_FLOAT[self.kind])
        return terms.constant(value, self.kind)

    def apply(self, op: str, *args: Term) -> Term:
        """An operation."""
        return apply("select" if op == "where" else op, *args)
