# Copied by `stepforge build` from templates/torch/_inputs.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What a step is given beside the gradients: tensors for every parameter, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


class Inputs:
    """The inputs of one step.

    Attributes:
        names: The rule's names of those that are tensors.
        numbers: The rule's names of the others → numbers, perhaps tensors of one element.
    """

    def __init__(
        self,
        owner: str,
        kinds: Mapping[str, bool],
        given: Mapping[str, Any],
        groups: Sequence[Mapping[str, Any]],
    ) -> None:
        """Takes what `step` was given; what it was not given, parameters have as attributes.

        Args:
            owner: The name of the optimizer's class.
            kinds: The rule's names of its inputs → whether each is one number.
            given: The same names → a number, or a tensor for every parameter; or None.
            groups: The parameter groups.

        Raises:
            TypeError: A number is missing, or there are tensors in place of one.
            ValueError: There are more tensors than parameters, or fewer.
        """
        self._owner = owner
        self._groups = groups
        self.names = [name for name, is_number in kinds.items() if not is_number]
        self.numbers = {n: self._number(n, given[n]) for n, is_number in kinds.items() if is_number}
        self._given: dict[str, dict[int, Any]] = {}
        parameters = [p for group in groups for p in group["params"]] if kinds else []
        for name in self.names:
            if given[name] is None:
                continue
            tensors = list(given[name])
            if len(tensors) != len(parameters):
                counts = f"{len(tensors)} tensors, and there are {len(parameters)} parameters"
                raise ValueError(f"`{name}` has {counts}: {owner} takes one for each, in order")
            pairs = zip(parameters, tensors, strict=True)
            self._given[name] = {id(parameter): tensor for parameter, tensor in pairs}

    def of(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """The input tensors of a parameter.

        Raises:
            RuntimeError: One is missing.
            TypeError: One is no tensor.
        """
        return [self._tensor(name, parameter) for name in self.names]

    def on_host(self) -> dict[str, Any]:
        """The numbers that nothing has to be waited for; None in place of others."""
        return {
            name: None if isinstance(value, torch.Tensor) and not value.is_cpu else value
            for name, value in self.numbers.items()
        }

    def _number(self, name: str, value: Any) -> Any:
        if value is None:
            raise TypeError(
                f"{self._owner} needs the number `{name}` in every step: step({name}=…)"
            )
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise TypeError(f"`{name}` is one number, not a tensor of {value.numel()}")
        return value.detach() if isinstance(value, torch.Tensor) else value

    def _tensor(self, name: str, parameter: torch.Tensor) -> torch.Tensor:
        found = self._given.get(name)
        # Not by `getattr`: tensors have methods and attributes of their own, such as `norm`.
        value = found[id(parameter)] if found is not None else vars(parameter).get(name)
        if value is None:
            raise RuntimeError(
                f"{self._owner} needs the tensor `{name}` of {self._called(parameter)} in every "
                f"step: set the parameter's attribute `{name}`, or call step({name}=[…])"
            )
        if not isinstance(value, torch.Tensor):
            what = f"{self._called(parameter)} is of type {type(value).__name__}"
            raise TypeError(f"`{name}` of {what}, and no tensor")
        return value

    def _called(self, parameter: torch.Tensor) -> str:
        """What a parameter is called: its name if it has one, or its place."""
        for number, group in enumerate(self._groups):
            for index, other in enumerate(group["params"]):
                if other is parameter:
                    if "param_names" in group:
                        return f"the parameter `{group['param_names'][index]}`"
                    return f"parameter {index} of group {number}"
        return "a parameter"
