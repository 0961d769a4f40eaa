"""The numbers that a generated C file computes for a step, as terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.c_rule import function as named
from stepforge.verify.terms.c_rule import whole
from stepforge.verify.terms.c_source import INT, Reader, Value, Variable, type_of
from stepforge.verify.terms.c_text import CFile, line_of
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.terms import Term


@dataclass(frozen=True)
class Host:
    """What the function of numbers computes.

    Attributes:
        numbers: In float64, in their order.
        scalars: New scalar states.
        origin: The first line that computes a term.
    """

    numbers: list[Term]
    scalars: dict[str, Term]
    origin: dict[Term, int]


def host(
    file: CFile, name: str, given: Sequence[str], options: Sequence[bool],
    scalars: Sequence[str], active: Sequence[str],
) -> Host:  # fmt: skip
    """Runs the function of numbers.

    Args:
        file: The file.
        name: The optimizer.
        given: The names of the numbers of a step, in the order of the parameters.
        options: The options, likewise.
        scalars: The scalar states, likewise.
        active: Those of them that there are.

    Raises:
        Unsupported: It holds something that cannot be lifted.
        Refuted: It does what it may not.
    """
    function = named(file.rest, f"{name}_numbers")
    parameters = function.decl.type.args.params
    wanted: list[str | bool] = ["numbers", "t", *given, *options, *scalars]
    if len(parameters) != len(wanted):
        raise Refuted(line_of(function), "has other parameters than a step has numbers")
    reader = _Host()
    for parameter, what in zip(parameters, wanted, strict=True):
        reader.bind(parameter, what, active)
    reader.block(function.body.block_items)
    count = len(reader.stores)
    if set(reader.stores) != set(range(count)):
        raise Refuted(line_of(function), "leaves a number out")
    return Host([reader.stores[k] for k in range(count)], reader.scalars, reader.origin)


class _Host(Reader):
    """The function of numbers.

    Attributes:
        stores: The numbers by their places.
        scalars: New scalar states.
    """

    def __init__(self) -> None:
        super().__init__({"double": rule.HOST}, "c_scalar", lambda kind: rule.Builder(kind, False))
        self.pointers: dict[str, str] = {}
        self.stores: dict[int, Term] = {}
        self.scalars: dict[str, Term] = {}
        self.numbers = ""

    def bind(self, parameter: Any, what: str | bool, active: Sequence[str]) -> None:
        """Gives a parameter its meaning."""
        name = parameter.name
        is_pointer = type(parameter.type).__name__ == "PtrDecl"
        kind = type_of(parameter.type.type if is_pointer else parameter.type)
        if kind != (INT if isinstance(what, bool) else "double"):
            raise Refuted(line_of(parameter), f"the type of `{name}`")
        if isinstance(what, bool):
            self.declare(name, Variable(INT, False), int(what), parameter)
        elif what == "numbers" and is_pointer and not self.numbers:
            self.numbers = name
        elif is_pointer:
            self.pointers[name] = what
            if what in active:
                self.scalars[what] = terms.scalar(what)
        else:
            self.declare(name, Variable(rule.HOST, False), terms.scalar(what), parameter)

    def through(self, node: Any) -> Value:
        """`*x_ptr`: a scalar state."""
        name = self._scalar(node)
        return self.scalars[name] if name in self.scalars else terms.constant(0.0, rule.HOST)

    def _scalar(self, node: Any) -> str:
        name = self.pointers.get(getattr(node.expr, "name", ""))
        if name is None:
            raise Unsupported(line_of(node), "an address")
        return name

    def store(self, place: Any, value: Value) -> None:
        """`numbers[k] = …` and `*x_ptr = …`."""
        stored = self.number(value, rule.HOST, place)
        if self.chosen:
            raise Unsupported(line_of(place), "a store under a condition on values")
        if type(place).__name__ == "UnaryOp" and place.op == "*":
            self.scalars[self._scalar(place)] = stored
        elif type(place).__name__ == "ArrayRef" and getattr(place.name, "name", "") == self.numbers:
            at = whole(place.subscript)
            if at in self.stores:
                raise Refuted(line_of(place), f"stores number {at} twice")
            self.stores[at] = stored
        else:
            super().store(place, value)
