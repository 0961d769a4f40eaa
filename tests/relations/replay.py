"""What a relation says, tried with the NumPy references: by its printed words alone."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from support import DIALECTS, ROOT, numpy_of

from stepforge.commands.diff import operand
from stepforge.relations.sides import Side

FOLDERS = ("specs", "tests/field", "tests/misprints", "tests/misprints/right")
Array = np.ndarray[Any, Any]


@cache
def side(text: str) -> Side:
    """An operand; specs are looked up where the tests have theirs, too."""
    name, bracket, options = text.partition("[")
    for folder in FOLDERS:
        path = ROOT / folder / f"{name}.toml"
        if path.is_file():
            return operand(f"{path}{bracket}{options}", [])
    if name in DIALECTS:
        return operand(f"{DIALECTS[name]}{bracket}{options}", [])
    raise FileNotFoundError(name)


@cache
def reference(name: str) -> types.ModuleType:
    return numpy_of(side(name).spec)


def value(text: str, names: Mapping[str, float]) -> float:
    """The value of an expression that a relation prints."""
    return float(eval(text, {"sqrt": math.sqrt, "__builtins__": {}}, dict(names)))


def walk(
    name: str, given: Mapping[str, Any], p: Array, gradients: Array
) -> Iterator[tuple[Array, dict[str, Any]]]:
    """Parameters and states after each step; hyperparameters may be functions of the step."""
    numpy, chosen = reference(name), side(name)

    def now(t: int) -> dict[str, Any]:
        found = {k: v(t) if callable(v) else v for k, v in given.items()}
        return {**found, **chosen.options}

    takes = inspect.signature(numpy.init).parameters
    state = numpy.init(p, **{k: v for k, v in now(1).items() if k in takes})
    for t, g in enumerate(gradients, 1):
        with np.errstate(all="ignore"):
            p, state = numpy.step(p, g, state, t, **now(t))
        yield p, state
