"""Scalar or tensor: whatever contains no tensor is a host scalar.

The kind of a name follows the flow of the rule. Where two option branches meet, a name that is a
tensor in one of them is a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

from stepforge.language.expression import Assign, Expression, If, Name, Number, Statement
from stepforge.language.spec import Spec


class Kind(IntEnum):
    """What an expression is made of, weakest first."""

    OPTION = 0
    """A condition on options: known when the kernel is compiled."""
    SCALAR = 1
    """One number per step, computed on the host in float64."""
    TENSOR = 2
    """One number per element, computed in the compute type."""


Kinds = Mapping[str, Kind]


def declared(spec: Spec) -> dict[str, Kind]:
    """The kinds of all names before the first statement."""
    kinds = dict.fromkeys(spec.subject.tensors, Kind.TENSOR) | {"t": Kind.SCALAR}
    kinds |= {h.name: Kind.SCALAR for h in spec.hyperparameters}
    kinds |= {o.name: Kind.OPTION for o in spec.options}
    kinds |= {s.name: Kind.SCALAR if s.scalar else Kind.TENSOR for s in spec.states}
    return kinds


def fixed(spec: Spec) -> frozenset[str]:
    """Names that stay tensors whatever is assigned to them: `p`, `g` and the tensor states."""
    return frozenset({*spec.subject.tensors} | {s.name for s in spec.states if not s.scalar})


def kind(expression: Expression, kinds: Kinds) -> Kind:
    """The kind of an expression; names that are unknown count as scalars."""
    if isinstance(expression, Name):
        return kinds.get(expression.id, Kind.SCALAR)
    if isinstance(expression, Number):
        return Kind.SCALAR
    parts = [kind(argument, kinds) for argument in expression.args]
    if expression.op == "select" and parts[0] is Kind.OPTION:
        return max(parts[1:])
    return max(parts)


def after(statement: Assign, kinds: Kinds, tensors: frozenset[str]) -> Kind:
    """The kind of the assigned name after an assignment."""
    if statement.name in tensors:
        return Kind.TENSOR
    return max(kind(statement.value, kinds), Kind.SCALAR)


def join(left: Kinds, right: Kinds) -> dict[str, Kind]:
    """The kinds after an `if`, from those at the end of its two branches."""
    return {
        name: max(left.get(name, Kind.OPTION), right.get(name, Kind.OPTION))
        for name in (*left, *(n for n in right if n not in left))
    }


def walk(spec: Spec) -> Iterator[tuple[Assign | If, dict[str, Kind]]]:
    """Every statement of the rule with the kinds of the names before it."""
    tensors = fixed(spec)

    def visit(
        block: tuple[Statement, ...], kinds: dict[str, Kind]
    ) -> Iterator[tuple[Assign | If, dict[str, Kind]]]:
        for statement in block:
            yield statement, dict(kinds)
            if isinstance(statement, Assign):
                kinds[statement.name] = after(statement, kinds, tensors)
            else:
                left, right = dict(kinds), dict(kinds)
                yield from visit(statement.body, left)
                yield from visit(statement.orelse, right)
                kinds.update(join(left, right))

    yield from visit(spec.rule, declared(spec))
