"""Functions of numbers that are float64 tensors of torch, on whatever device, or Python's own.

A step whose counters are on the device computes its numbers there, with one element for every
parameter: nothing has to be waited for, and a CUDA graph can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Number = Any
"""A tensor of float64 or bool, or a number or condition of Python."""


def sqrt(x: Number) -> Number:
    """The square root; NaN of a negative tensor element."""
    return x.sqrt() if isinstance(x, torch.Tensor) else math.sqrt(x)


def elementary(name: str, *numbers: Number) -> Number:
    """A function by the name that it has in torch and in Python's `math`."""
    for tensor in numbers:
        if isinstance(tensor, torch.Tensor):
            return getattr(torch, name)(*(_like(tensor, x) for x in numbers))
    return getattr(math, name)(*numbers)


def cbrt(x: Number) -> Number:
    """The cube root."""
    return x.sign() * x.abs() ** (1 / 3) if isinstance(x, torch.Tensor) else math.cbrt(x)


def sign(x: Number) -> Number:
    """-1, 0 or 1; NaN of NaN."""
    if isinstance(x, torch.Tensor):
        return where(x != x, x, x.sign())
    return x if x != x else float((x > 0) - (x < 0))


def maximum(x: Number, y: Number) -> Number:
    """The larger; NaN if either is."""
    return _of_two(torch.maximum, max, x, y)


def minimum(x: Number, y: Number) -> Number:
    """The smaller; NaN if either is."""
    return _of_two(torch.minimum, min, x, y)


def where(condition: Number, x: Number, y: Number) -> Number:
    """`x` where the condition holds, else `y`."""
    if not isinstance(condition, torch.Tensor):
        return x if condition else y
    return torch.where(condition, _like(condition, x), _like(condition, y))


def logical_and(x: Number, y: Number) -> Number:
    """Whether both hold."""
    return x & y


def logical_or(x: Number, y: Number) -> Number:
    """Whether one of them holds."""
    return x | y


def logical_not(x: Number) -> Number:
    """Whether it does not hold."""
    return ~x if isinstance(x, torch.Tensor) else not x


def _like(tensor: torch.Tensor, x: Number) -> torch.Tensor:
    """A number as a tensor on the device of another one."""
    if isinstance(x, torch.Tensor):
        return x
    dtype = torch.bool if isinstance(x, bool) else torch.float64
    return tensor.new_full((), x, dtype=dtype)


def _of_two(
    ours: Callable[..., torch.Tensor], pythons: Callable[..., float], x: Number, y: Number
) -> Number:
    """A function of two numbers, at least one of them a tensor; of Python's own otherwise."""
    for tensor in (x, y):
        if isinstance(tensor, torch.Tensor):
            return ours(_like(tensor, x), _like(tensor, y))
    return math.nan if x != x or y != y else pythons(x, y)
