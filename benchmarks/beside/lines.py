"""A line: a name, and cases that run the same thing with torch and with us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Case:
    """One thing that was run with both.

    Attributes:
        what: What was run.
        torchs: What torch did.
        ours: What we did.
        right: Whether ours is right.
        who: Who did that instead of torch.
    """

    what: str
    torchs: str
    ours: str
    right: bool
    who: str = "torch"


Body = Callable[[], Iterator[Case]]
LINES: dict[str, Body] = {}
"""By name, in the order in which they are printed."""


def line(name: str) -> Callable[[Body], Body]:
    """Names a function that yields cases."""

    def add(body: Body) -> Body:
        LINES[name] = body
        return body

    return add


def said(run: Callable[[], Any]) -> tuple[Any, str]:
    """The value of a call, or the exception, and a text for it."""
    try:
        value = run()
    except Exception as error:
        text = " ".join(str(error).split())
        return error, f"{type(error).__name__}: {text}"
    return value, shown(value)


def shown(value: Any) -> str:
    """A short text for numbers and tensors."""
    if isinstance(value, torch.Tensor):
        found = value.detach().reshape(-1)[:4].tolist()
        dots = ", …" if value.numel() > 4 else ""
        return f"[{', '.join(shown(one) for one in found)}{dots}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    return "done" if value is None else str(value)


def close(a: Any, b: Any, tolerance: float = 1e-6) -> bool:
    """Whether two results are the same up to rounding; both may be exceptions of one type."""
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    x, y = torch.as_tensor(a), torch.as_tensor(b)
    return torch.allclose(x, y.to(x.dtype), rtol=tolerance, atol=tolerance, equal_nan=True)


def beside(
    what: str, run: Callable[[Any], Any], theirs: Any, ours: Any, tolerance: float = 1e-6
) -> Case:
    """Runs the same with torch's and with our thing; right is what torch does."""
    a, a_text = said(lambda: run(theirs))
    b, b_text = said(lambda: run(ours))
    return Case(what, a_text, b_text, close(a, b, tolerance))


def parameter(*values: float, dtype: torch.dtype = torch.float32) -> torch.nn.Parameter:
    """A parameter with a gradient of ones."""
    p = torch.nn.Parameter(torch.tensor(values, dtype=dtype))
    p.grad = torch.ones_like(p)
    return p


def stepped(optimizer: torch.optim.Optimizer, steps: int = 1) -> torch.optim.Optimizer:
    """Steps with the gradients that are there."""
    for _ in range(steps):
        optimizer.step()
    return optimizer
