"""Generated classes with sets of options, torch's class beside them, and small models.

`CASES` are few, chosen as in `catalogue` among those that can ascend, as torch's classes do: they
run through every way that a class can be used. `EVERY` has every class, and is for tests that take
milliseconds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import catalogue
import numpy as np
import torch
from support import ROOT, STOCK, stock

from stepforge.backends.torch_class import class_name, table_of
from stepforge.language.spec import Hyperparameter, Spec
from stepforge.verify.rungs.third_party import _arguments

sys.path.append(str(ROOT))  # `generated` is imported from the project's root

import generated.torch as ours

OTHER_VALUES = {
    "lr": 3e-3, "beta1": 0.8, "beta2": 0.95, "beta": 0.8, "eps": 1e-6, "weight_decay": 0.1,
    "momentum": 0.7, "dampening": 0.3, "alpha": 0.9, "rho": 0.8, "lr_decay": 0.05,
    "initial_accumulator_value": 0.2, "momentum_decay": 0.01,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One class with one set of options.

    Attributes:
        name: The spec's name.
        options: The rule's options.
        values: The rule's hyperparameters.
        label: What tells it from other cases of the class.
    """

    name: str
    options: Mapping[str, bool]
    values: Mapping[str, float]
    label: str

    @property
    def spec(self) -> Spec:
        return SPECS[self.name]

    @property
    def ours(self) -> Any:
        return getattr(ours, class_name(self.spec))

    @property
    def theirs(self) -> Any:
        assert self.spec.torch is not None
        return getattr(torch.optim, self.spec.torch.class_name)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments of our class."""
        spec = replace(self.spec, torch=table_of(self.spec))
        assert spec.torch is not None
        found = _arguments(spec, self.options, dict(self.values))
        return {k: v for k, v in found.items() if k not in spec.torch.constants}

    @cached_property
    def torch_arguments(self) -> dict[str, Any]:
        """The arguments of torch's class."""
        return _arguments(self.spec, self.options, dict(self.values))

    @property
    def keys(self) -> dict[str, str]:
        """The rule's name of a state → torch's."""
        names = [state.name for state in self.spec.active_states(self.options)]
        known = self.spec.torch.state if self.spec.torch else {}
        return {name: known.get(name, name) for name in names}


SPECS = {name: stock(name) for name in STOCK}


def case_of(name: str, number: int = 0, other: bool = False) -> Case:
    """One class with one of its option sets, and the rule's defaults or other values."""
    spec = SPECS[name]
    options = list(spec.option_sets())[number]
    values = {h.name: _other(h) if other else h.default for h in spec.hyperparameters}
    if spec.torch is not None:
        for option, hyperparameter in spec.torch.switches.items():
            values[hyperparameter] = 0.7 if options[option] else 0.0
        for option, hyperparameter in spec.torch.zero_with.items():
            if options[option]:
                values[hyperparameter] = 0.0
    on = "+".join(option for option, is_on in options.items() if is_on)
    return Case(name, options, values, f"{name}[{on}]{' other values' if other else ''}")


def _other(h: Hyperparameter) -> float:
    """A value that is not the default."""
    if h.name in OTHER_VALUES:
        return OTHER_VALUES[h.name]
    ends = (h.default, h.usual.high if math.isfinite(h.usual.high) else h.default + 1)
    return sum(ends) / 2


FEW = catalogue.few(n for n in STOCK if any(o.name == "maximize" for o in SPECS[n].options))
PLAIN = [case_of(name, 0) for name in FEW]
"""Few classes, with the default options and values."""
CASES = [*PLAIN, *(case_of(name, number, other=True) for name, number in catalogue.cases(FEW))]
"""These, and few sets of options with other values."""
WITH_TORCH = [case for case in CASES if case.spec.torch_class]
ALL_WITH_TORCH = [
    case_of(name, number, other=number % 2 > 0)
    for name, spec in SPECS.items()
    for number, _ in enumerate(spec.option_sets())
    if spec.torch_class
]
"""Every set of options of every class that torch has."""
EVERY = [
    case_of(name, number, other=number > 0)
    for name, spec in SPECS.items()
    for number in sorted({0, len(list(spec.option_sets())) - 1})
]
"""Every class, with its default options, and with all of them the other way."""


def label(case: Case) -> str:
    return case.label


def parameters(
    *shapes: Sequence[int], dtype: torch.dtype = torch.float32, seed: int = 0
) -> list[torch.nn.Parameter]:
    """Random parameters, the last of no elements."""
    generator = torch.Generator().manual_seed(seed)
    found = [torch.randn(s, generator=generator, dtype=torch.float64) for s in (*shapes, (0,))]
    return [torch.nn.Parameter(value.to(dtype)) for value in found]


def copies(parameters: Iterable[torch.Tensor]) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(p.detach().clone()) for p in parameters]


def gradients(parameters: Iterable[torch.Tensor], step: int) -> list[torch.Tensor]:
    """Gradients of all magnitudes, the same for the same step."""
    generator = torch.Generator().manual_seed(step)
    found = []
    for p in parameters:
        value = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        value *= 10 ** (4 * torch.rand(p.shape, generator=generator, dtype=torch.float64) - 3)
        found.append(value.to(p.dtype))
    return found


def train(optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> torch.optim.Optimizer:
    """Steps with the gradients of their numbers.

    The first parameter has none in step 3 and from step 6 to 9, and parameters that require none
    never have one.
    """
    for step in steps:
        found = [p for group in optimizer.param_groups for p in group["params"]]
        for index, (p, g) in enumerate(zip(found, gradients(found, step), strict=True)):
            skipped = index == 0 and step in (3, 6, 7, 8, 9)
            p.grad = None if skipped or not p.requires_grad else g
        optimizer.step()
    return optimizer


def tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything that a step changes, by name."""
    found = [p for group in optimizer.param_groups for p in group["params"]]
    values = {f"{i}.p": p.detach() for i, p in enumerate(found)}
    for i, p in enumerate(found):
        for key, value in optimizer.state.get(p, {}).items():
            values[f"{i}.{key}"] = torch.as_tensor(value)
    return values


def assert_equal_bits(a: torch.optim.Optimizer, b: torch.optim.Optimizer) -> None:
    """Both have the same tensors with the same bits."""
    mine, others = tensors(a), tensors(b)
    assert mine.keys() == others.keys()
    for name, value in mine.items():
        assert value.dtype == others[name].dtype, name
        assert torch.equal(value, others[name]), name


class Scale:
    """The largest magnitude that every element has had on the way."""

    def __init__(self) -> None:
        self.largest: dict[str, np.ndarray[Any, Any]] = {}

    def departure(self, a: torch.optim.Optimizer, b: torch.optim.Optimizer) -> float:
        """The largest relative difference; both have to have the same tensors of the same types."""
        mine, others = tensors(a), tensors(b)
        assert mine.keys() == others.keys()
        worst = 0.0
        for name, value in mine.items():
            assert value.dtype == others[name].dtype, name
            assert value.shape == others[name].shape, name
            x, y = value.double().numpy(), others[name].double().numpy()
            assert np.array_equal(np.isfinite(x), np.isfinite(y)), name
            size = np.maximum(np.abs(x), np.abs(y))
            size = np.maximum(size, self.largest.get(name, np.zeros_like(size)))
            self.largest[name] = size
            apart = np.abs(x - y) / np.where(size > 0, size, 1.0)
            worst = max(worst, float(np.max(apart, initial=0.0)))
        return worst
