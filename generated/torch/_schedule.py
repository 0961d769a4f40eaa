# Copied by `stepforge build` from templates/torch/schedule.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What the schedules of this folder share; it needs torch.

Torch counts the steps that are done: `last_epoch` is 0 in the first one, whose number t is 1 here.
Every value follows from t alone, and not from the value before it, so a scheduler may go on from
any step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("the schedules need torch: pip install torch", name="torch") from None

from torch.optim.lr_scheduler import LRScheduler


class Schedule(LRScheduler):  # type: ignore[misc]
    """Base of the generated schedules, each of which has the factor of a step.

    What a parameter group has at first is its base value, and stays there as `initial_lr`, or
    `initial_` and the key of another hyperparameter. A step sets the group to the base value times
    the factor.

    Attributes:
        hyperparameter: Its key in the parameter groups.
        hyperparameters: Those of the schedule.
        base_values: The base value of every group.
    """

    _factor: ClassVar[Callable[..., float]]

    def __init__(
        self,
        optimizer: Any,
        hyperparameters: dict[str, float],
        hyperparameter: str,
        last_epoch: int,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.hyperparameter, self.hyperparameters = hyperparameter, hyperparameters
        self.factor(1)  # refuses wrong hyperparameters before it changes a group
        initial = f"initial_{hyperparameter}"
        for index, group in enumerate(optimizer.param_groups):
            value = group.get(hyperparameter)
            if isinstance(value, bool) or not isinstance(value, int | float | torch.Tensor):
                raise ValueError(
                    f"param_groups[{index}] has no number {hyperparameter!r} to schedule"
                )
            if last_epoch == -1:
                group.setdefault(initial, _copied(value))
            elif initial not in group:
                raise KeyError(
                    f"param {initial!r} is not specified in param_groups[{index}] when resuming a "
                    "schedule"
                )
        self.base_values = [_copied(group[initial]) for group in optimizer.param_groups]
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        """What the hyperparameter is multiplied by in step `t`, from 1."""
        return type(self)._factor(t, **self.hyperparameters)

    def get_lr(self) -> list[Any]:
        """The learning rate of every group in this step; sets another hyperparameter itself."""
        factor, groups = self.factor(self.last_epoch + 1), self.optimizer.param_groups
        values = [base * factor for base in self.base_values]
        if self.hyperparameter == "lr":
            return values
        for group, value in zip(groups, values, strict=True):
            if isinstance(group[self.hyperparameter], torch.Tensor):
                group[self.hyperparameter].fill_(value)
            else:
                group[self.hyperparameter] = value
        return [group["lr"] for group in groups]


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
