"""What there is to do in a step, found before anything is written."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from ._tensors import GRADIENT, Walked, walked


class Needed(NamedTuple):
    """A state that the options of a group need.

    Attributes:
        name: The rule's name.
        key: Torch's name.
        first: Its first value; None of a copy of the parameter.
        is_scalar: Whether it is one number for each parameter.
        has_p_type: Whether it is stored in the type of the parameter.
    """

    name: str
    key: str
    first: float | None
    is_scalar: bool
    has_p_type: bool


class Job(NamedTuple):
    """One parameter in one step.

    Attributes:
        tensors: The parameter, its gradient, its inputs and its states.
        parts: The same; of a DTensor the local part.
        is_simple: Whether all of them are contiguous, real and plain.
        scalars: Its scalar states, tensors of one element.
        before: Their numbers, if the step waits for numbers of the device.
        counter: The number of steps so far; None if torch's class keeps none.
        t: The number of this step, from 1; 0 if the counter alone knows.
        waits: Whether the step waits for numbers of the device.
        new: Torch's names of states that the parameter does not have yet → tensors.
        inputs: How many of the tensors are inputs.
    """

    tensors: list[torch.Tensor]
    parts: list[torch.Tensor]
    is_simple: bool
    scalars: list[torch.Tensor]
    before: tuple[float, ...]
    counter: torch.Tensor | None
    t: int
    waits: bool
    new: dict[str, torch.Tensor]
    inputs: int

    def walked(self) -> Walked:
        """The tensors, ready to be walked together."""
        return Walked(list(self.parts), []) if self.is_simple else walked(self.parts)

    def written(self, with_gradient: bool) -> list[torch.Tensor]:
        """The tensors that a step writes, but for scalars."""
        first = GRADIENT + (1 if with_gradient else 0)
        places = (self.tensors,) if self.is_simple else (self.tensors, self.parts)
        return [t for own in places for t in (*own[:first], *own[GRADIENT + 1 + self.inputs :])]


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
    def is_off(self) -> bool:
        """Whether `GradScaler` hands over nothing."""
        return self.scale is None and self.found_inf is None

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
        names: The rule's names of the tensors of a parameter: `p`, `g`, inputs and states.
        inputs: Those of them that are inputs.
        scalars: The rule's names of its scalar states.
        values: The rule's hyperparameters, options and inputs of one number; some may be tensors.
        numbers: The same without tensors, if a step of the group waits for numbers.
        after: Step number and scalar states of a parameter → its scalar states after the step.
        free: Parameters whose step waits for nothing: their counters are on their device.
        host: Parameters on the CPU.
        device: Parameters on other devices, with counters on the CPU.
        empty: Parameters without numbers, on the device "meta" or of a `FakeTensorMode`.
        backend: What steps those on the CPU, "c" or "numpy"; None for C where it can be compiled.
    """

    names: list[str]
    inputs: list[str]
    scalars: list[str]
    values: dict[str, Any]
    numbers: dict[str, Any]
    after: dict[tuple[float, ...], dict[str, float]]
    free: list[Job]
    host: list[Job]
    device: list[Job]
    empty: list[Job]
    backend: str | None
