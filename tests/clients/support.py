"""Models, data and tolerances for libraries that train.

Our class and torch's compute the same formula with other roundings. Where a library trains in
float64, parameters agree to 1e-9. In narrower types a tolerance is derived: the gradients here are
sums of terms of one sign, so that a gradient in a type of unit roundoff u is right to a few u,
relatively, and so is the step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from support import ROOT

sys.path.append(str(ROOT))  # `generated` is imported from the project's root

import generated.torch as ours

LR = 0.01
ARGUMENTS: dict[str, dict[str, Any]] = {
    "AdamW": {"lr": LR, "weight_decay": 0.1},
    "SGD": {"lr": LR, "momentum": 0.9, "nesterov": True},
    "RMSprop": {"lr": LR, "momentum": 0.5, "centered": True},
}
by_class = pytest.mark.parametrize("name", ARGUMENTS)


def made(name: str, mine: bool, parameters: Any, **more: Any) -> torch.optim.Optimizer:
    """An optimizer of ours or of torch."""
    optimizer = getattr(ours if mine else torch.optim, name)
    found: torch.optim.Optimizer = optimizer(parameters, **{**ARGUMENTS[name], **more})
    return found


def line(dtype: torch.dtype = torch.float32) -> torch.nn.Linear:
    """A map whose values are far below the targets of `batches`: all gradients are negative."""
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2).to(dtype)


def batches(count: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, Any]]:
    """Positive inputs, and targets that are never reached."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            (0.5 + torch.rand(8, 4, generator=generator)).to(dtype),
            torch.full((8, 2), 10.0, dtype=dtype),
        )
        for _ in range(count)
    ]


ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "bfloat16": 2.0**-8,
    "float16": 2.0**-11,
}


def assert_close(
    mine: Iterable[torch.Tensor], theirs: Iterable[torch.Tensor], steps: int, dtype: str
) -> None:
    """Parameters agree to what roundings explain.

    Args:
        mine: Parameters that our class trained.
        theirs: Those that torch's class trained.
        steps: How many steps there were.
        dtype: In which type the gradients were computed.
    """
    for p, q, start in zip(mine, theirs, line().parameters(), strict=True):
        p, q = p.detach(), q.detach()
        size, moved = float(q.abs().max()), float((q - start).abs().max())
        # Each step rounds a parameter a few times, and moves it by a gradient that is wrong by a
        # few roundoffs, always in the same direction: the errors add up as the movements do.
        storage = ROUNDOFF[str(p.dtype).removeprefix("torch.")]
        tolerance = 4 * steps * size * storage + 8 * ROUNDOFF[dtype] * moved
        assert tolerance < moved / 10  # it would tell one optimizer from another
        assert float((p - q).abs().max()) <= tolerance
