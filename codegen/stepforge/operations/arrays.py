"""Formulas on NumPy's arrays, for what checks and measures them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.operations.formulas import compute


@dataclass(frozen=True, slots=True)
class Arrays:
    """NumPy's arrays, each operation rounded to the format.

    Attributes:
        kind: "f32" or "f64".
    """

    kind: str

    def number(self, value: float | int) -> Any:
        """A literal."""
        is_wide = self.kind == "f64"
        if isinstance(value, int):
            return (np.int64 if is_wide else np.int32)(value)
        return (np.float64 if is_wide else np.float32)(value)

    def apply(self, op: str, *args: Any) -> Any:
        """An operation."""
        if op in ("asint", "asfloat"):
            letter = "i" if op == "asint" else "f"
            return np.asarray(args[0]).view(f"{letter}{args[0].dtype.itemsize}")
        return _NUMPY[op](*args)


_NUMPY: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "abs": np.abs, "sqrt": np.sqrt, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and,
    "or": np.logical_or, "where": np.where, "iadd": np.add, "isub": np.subtract,
    "iand": np.bitwise_and, "ior": np.bitwise_or, "ishl": np.left_shift, "ishr": np.right_shift,
}  # fmt: skip


def rounded(function: str, kind: str, *args: Any) -> Any:
    """A function of arrays of one format, in the arithmetic of its formula."""
    return compute(function, kind, Arrays(kind), *args)
