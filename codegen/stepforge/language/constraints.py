"""What several hyperparameters have to be together."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stepforge.language.expression import Apply, Expression, Name, Number, names


@dataclass(frozen=True, slots=True)
class Constraint:
    """What several hyperparameters have to be together, such as `step_min <= step_max`.

    Attributes:
        condition: Comparisons of arithmetic on hyperparameters, joined by `and`.
        text: The same in the author's words.
    """

    condition: Expression
    text: str

    @property
    def names(self) -> frozenset[str]:
        """The hyperparameters."""
        return frozenset(name.id for name in names(self.condition))

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether these values, in float64 as generated code compares them, satisfy it."""
        if not self.names <= values.keys():
            return True
        try:
            return all(
                _COMPARED[e.op](*(constant(side, values) for side in e.args))
                for e in self.comparisons
            )
        except ArithmeticError:
            return False

    @property
    def comparisons(self) -> tuple[Apply, ...]:
        """The comparisons that all have to hold."""
        return tuple(_conjuncts(self.condition))


def _conjuncts(e: Expression) -> list[Apply]:
    assert isinstance(e, Apply)
    return [c for part in e.args for c in _conjuncts(part)] if e.op == "and" else [e]


_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


def constant(expression: Expression, values: Mapping[str, float]) -> float:
    """The float64 value of an arithmetic expression of numbers and `values`.

    Raises:
        ArithmeticError: It has no finite value.
        KeyError: It holds an unknown name or an operation other than arithmetic.
    """
    match expression:
        case Number(value=value):
            return float(value)
        case Name(id=name):
            return values[name]
        case Apply(op="neg", args=(inner,)):
            return -constant(inner, values)
        case Apply(op=op, args=(left, right)):
            a, b = constant(left, values), constant(right, values)
            result = {
                "add": lambda: a + b,
                "sub": lambda: a - b,
                "mul": lambda: a * b,
                "div": lambda: a / b,
            }[op]()
            if not math.isfinite(result):
                raise OverflowError
            return result
        case _:
            raise KeyError(expression.op)
