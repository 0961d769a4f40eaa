"""What there is to do in a step, found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ._tensors import GRADIENT, Walked, walked


class Needed(NamedTuple):
    """A state that the options of a group need.

    Attributes:
        name: The rule's name.
        key: Torch's name.
        first: Its first value.
        is_scalar: Whether it is one number for each parameter.
    """

    name: str
    key: str
    first: float
    is_scalar: bool


class Job(NamedTuple):
    """One parameter in one step.

    Attributes:
        tensors: "parameter", "gradient" and torch's names of the states → the tensors.
        columns: The same under the rule's names, `p` and `g` first; of a DTensor the local part.
        is_simple: Whether all of them are contiguous, real and plain.
        scalars: The rule's name of a scalar state → a tensor of one element.
        before: The same → its number, if the step waits for numbers.
        after: The same → its number after the step.
        counter: The number of steps so far; None if torch's class keeps none.
        t: The number of this step, from 1; 0 if the counter alone knows.
        waits: Whether the step waits for numbers of the device.
        new: Torch's names of states that the parameter does not have yet → tensors.
    """

    tensors: dict[str, torch.Tensor]
    columns: dict[str, torch.Tensor]
    is_simple: bool
    scalars: dict[str, torch.Tensor]
    before: dict[str, float]
    after: dict[str, float]
    counter: torch.Tensor | None
    t: int
    waits: bool
    new: dict[str, torch.Tensor]

    def walked(self) -> Walked:
        """The tensors of `columns`, ready to be walked together."""
        tensors = list(self.columns.values())
        return Walked(tensors, []) if self.is_simple else walked(tensors)

    def written(self, with_gradient: bool) -> Iterator[torch.Tensor]:
        """The tensors that a step writes, but for scalars."""
        pairs = zip(self.tensors.values(), self.columns.values(), strict=True)
        for index, (tensor, part) in enumerate(pairs):
            if index != GRADIENT or with_gradient:
                yield tensor
                if part is not tensor:
                    yield part


class Scaling:
    """What `GradScaler` hands over: tensors of one element on the parameters' device.

    Attributes:
        scale: What the gradients are divided by; None if they are not.
        found_inf: Not zero if one of them is infinite or NaN; None if nobody has looked.
    """

    def __init__(self, scale: torch.Tensor | None, found_inf: torch.Tensor | None) -> None:
        self.scale = scale
        self.found_inf = found_inf
        self._skips: bool | None = None
        self._number: float | None = None

    @property
    def skips(self) -> bool:
        """Whether nothing is to be done; waits for the device."""
        if self._skips is None:
            self._skips = self.found_inf is not None and bool(self.found_inf.item())
        return self._skips

    @property
    def number(self) -> float | None:
        """The scale as a number; waits for the device."""
        if self._number is None and self.scale is not None:
            self._number = self.scale.item()
        return self._number


class Work(NamedTuple):
    """What there is to do in a parameter group.

    Attributes:
        values: The rule's hyperparameters and options; some may be tensors.
        numbers: The same without tensors, if a step of the group waits for numbers.
        free: Parameters whose step waits for nothing: their counters are on their device.
        host: Parameters on the CPU.
        device: Parameters on other devices, with counters on the CPU.
        empty: Parameters without numbers, on the device "meta" or of a `FakeTensorMode`.
    """

    values: dict[str, Any]
    numbers: dict[str, Any]
    free: list[Job]
    host: list[Job]
    device: list[Job]
    empty: list[Job]
