"""The formulas of elementary functions, printed as C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.operations import formulas as texts
from stepforge.operations.arrays import Arrays
from stepforge.operations.formulas import Expression, Name, Number

FLOATS: dict[str, Any] = {"float32": np.float32, "float64": np.float64}
INTEGERS: dict[str, Any] = {"float32": np.int32, "float64": np.int64}
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "eq": "==", "ne": "!=", "and": "&", "or": "|", "iadd": "+", "isub": "-", "iand": "&",
    "ior": "|", "ishl": "<<", "ishr": ">>",
}  # fmt: skip
CALLS = {"abs": "absolute", "sqrt": "root", "asint": "to_bits", "asfloat": "from_bits"}
FREE = {"neg", "abs", "asint", "asfloat"}
"""What hardware does beside another operation."""


@dataclass(frozen=True)
class Formula:
    """A formula in one format.

    Attributes:
        text: As stepforge reads it.
        known: The formulas of the same text.
    """

    text: texts.Formula
    known: dict[str, texts.Formula]

    @property
    def format(self) -> str:
        """float32 or float64."""
        return self.text.name.rpartition("_")[2]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments."""
        return self.text.parameters

    @property
    def operations(self) -> int:
        """How many operations it costs."""
        expressions = [*(value for _, value in self.text.steps), self.text.result]
        return sum(map(self._count, expressions))

    def _count(self, e: Expression) -> int:
        if isinstance(e, Number | Name):
            return 0
        own = Formula(self.known[e.op], self.known).operations if e.op in self.known else 1
        return own * (e.op not in FREE) + sum(map(self._count, e.args))

    def __call__(self, *arguments: Any) -> Any:
        """Evaluates the formula with NumPy."""
        function, form = self.text.name.rsplit("_", 1)
        kind = next(kind for kind, name in texts.FORMATS.items() if name == form)
        return texts.compute(function, kind, Arrays(kind), *arguments)

    @property
    def c(self) -> str:
        """The function in C."""
        kinds = dict.fromkeys(self.arguments, "real")
        lines = []
        for name, value in self.text.steps:
            kinds[name], text = self._printed(value, kinds)
            lines.append(f"  {kinds[name]} {name}_ = {text};")
        arguments = ", ".join(f"real {name}_" for name in self.arguments)
        result = f"  return {self._printed(self.text.result, kinds)[1]};"
        return "\n".join([f"static real {self.text.name}({arguments}) {{", *lines, result, "}\n"])

    def _printed(self, e: Expression, kinds: dict[str, str]) -> tuple[str, str]:
        """Type and text of an expression."""
        if isinstance(e, Name):
            return kinds[e.id], f"{e.id}_"
        if isinstance(e, Number):
            return self._number(e.value)
        found = [self._printed(a, kinds) for a in e.args]
        parts = [text for _, text in found]
        if e.op == "where":
            return found[1][0], "({} ? {} : {})".format(*parts)
        if e.op == "neg":
            return "real", f"(-{parts[0]})"
        if e.op in INFIX:
            is_test = e.op in ("lt", "le", "gt", "ge", "eq", "ne")
            return "int" if is_test else found[0][0], f"({parts[0]} {INFIX[e.op]} {parts[1]})"
        kind = "integer" if e.op == "asint" else "real"
        return kind, f"{CALLS.get(e.op, e.op)}({', '.join(parts)})"

    def _number(self, value: float | int) -> tuple[str, str]:
        if isinstance(value, int):
            return "integer", f"(integer){value}"
        number = FLOATS[self.format](value)
        if not np.isfinite(number):
            return "real", "NAN" if value != value else "INFINITY" if value > 0 else "-INFINITY"
        if float(str(number)) != value:
            raise ValueError(f"{self.text.name}: {value} is not the shortest decimal, {number}")
        return "real", float(number).hex() + ("f" if self.format == "float32" else "")


def formulas(name: str) -> dict[str, Formula]:
    """The formulas of a function."""
    known = texts.of(name)
    return {key: Formula(text, known) for key, text in known.items()}
