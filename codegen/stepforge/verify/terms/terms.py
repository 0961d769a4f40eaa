"""What code computes, as a graph of rounded operations; equal graphs agree in every bit.

Spec, NumPy file, launcher, Triton IR and PTX are all lifted to these terms, and `apply` brings them
to a normal form by rewriting that preserves bits alone. So two programs whose terms are the same
object give the same bits for every input, NaN, infinities and subnormals included (any NaN counts
as any NaN). `nodes` says what terms are; the rules are in `sums`, `extremes`, `conditions`, `zeros`
and `integers`, which this module brings together.
"""

from __future__ import annotations

from stepforge.verify.terms import conditions, extremes, integers, sums
from stepforge.verify.terms.nodes import (
    COMMUTATIVE,
    FLOATS,
    INTEGERS,
    Term,
    apply,
    constant,
    define,
    fresh,
    load,
    node,
    nodes,
    scalar,
    substitute,
    text,
    truth,
    widens,
)
from stepforge.verify.terms.spans import sign

MODULES = (conditions, extremes, integers, sums)
"""The modules with rules, which register them where they are imported."""

__all__ = [
    "COMMUTATIVE", "FLOATS", "INTEGERS", "MODULES", "Term", "apply", "constant", "define", "fresh",
    "load", "node", "nodes", "scalar", "sign", "substitute", "text", "truth", "widens",
]  # fmt: skip
