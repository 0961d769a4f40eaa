"""Every scheduler and average of torch, around every generated class that torch has too.

In float64, where both classes compute the same numbers up to the last places.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler, swa_utils

from .infos import IN_TORCH, INFOS, assert_same, name_of, torchs, twins
from .support import ours

pytestmark = pytest.mark.usefixtures("doubles")

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 3, 7], 0.5),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 4),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.CosineAnnealingLR(o, 6)],
        milestones=[3],
    ),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 6, 0.001),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.9)], optimizer=o
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, 3, cycle_momentum=True),
    "CyclicLR, lr alone": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, 3, cycle_momentum=False),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0),
}
MOMENTUM = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9}}
"""What a class needs so that schedulers find a momentum."""
HAS_MOMENTUM = {"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD"}


def test_every_scheduler_of_torch_is_here() -> None:
    assert {name.partition(",")[0] for name in SCHEDULERS} | {"LRScheduler"} == set(
        lr_scheduler.__all__
    )


def scheduled(optimizer: torch.optim.Optimizer, make: Callable[[Any], Any]) -> list[Any]:
    """Eight steps; what the scheduler set before each of them."""
    scheduler, seen = make(optimizer), []
    for step in range(8):
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            seen.append({k: v for k, v in group.items() if k in ("lr", "betas", "momentum")})
            for p in group["params"]:
                p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0)
        else:
            scheduler.step()
    assert len({str(one) for one in seen}) > 1
    return seen


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("info", IN_TORCH, ids=name_of)
def test_a_scheduled_run_is_that_of_torchs_class(info: Any, name: str) -> None:
    start = [torch.randn(3, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)]
    found = []
    for make in (info.optim_cls, torchs(info)):
        params = twins(start)
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}]
        optimizer = make(groups, lr=0.05, **MOMENTUM.get(info.name, {}))
        if name in ("CyclicLR", "OneCycleLR") and info.name not in HAS_MOMENTUM:
            with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
                SCHEDULERS[name](optimizer)
            return
        found.append((scheduled(optimizer, SCHEDULERS[name]), params))
    (mine, p), (theirs, q) = found
    assert mine == theirs
    for a, b in zip(p, q, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize("optimizer", ["Lion", "Nesterov", "Momentum"])
def test_classes_that_torch_has_not_let_their_momentum_be_scheduled(
    optimizer: str, name: str
) -> None:
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    made = getattr(ours, optimizer)([p], lr=0.05)
    momenta = {
        group["betas"][0] if optimizer == "Lion" else group["momentum"]
        for group in scheduled(made, SCHEDULERS[name])
    }
    assert len(momenta) > 3
    assert p.isfinite().all()


@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_scheduler_goes_on_from_its_state_dict(info: Any) -> None:
    start = [torch.randn(3, dtype=torch.float64)]
    found = []
    for stops in (False, True):
        params = twins(start)
        optimizer = info.optim_cls(params, lr=0.05)
        scheduler = lr_scheduler.StepLR(optimizer, 2, 0.5)
        for step in range(6):
            if step == 3 and stops:
                saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
                optimizer = info.optim_cls(params, lr=1.0)
                scheduler = lr_scheduler.StepLR(optimizer, 2, 0.5)
                optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
            params[0].grad = torch.full((3,), 0.5 + step, dtype=torch.float64)
            optimizer.step()
            scheduler.step()
        found.append((params, optimizer.param_groups[0]["lr"]))
    assert_same(*[params for params, _ in found])
    assert found[0][1] == found[1][1] == 0.05 / 8


def network() -> torch.nn.Module:
    """No bias before the normalization: its gradient would be nothing but rounding errors."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)
    ).double()


AVERAGES: dict[str, dict[str, Any]] = {
    "mean": {},
    "exponential": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)},
    "mean of buffers too": {"use_buffers": True},
    "own": {"avg_fn": lambda average, value, count: average + (value - average) / (count + 2)},
}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("info", IN_TORCH, ids=name_of)
def test_averaged_weights_are_those_of_torchs_class(info: Any, average: str) -> None:
    given = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3)
    found = []
    for make in (info.optim_cls, torchs(info)):
        model = network()
        optimizer = make(model.parameters(), lr=0.01)
        averaged = swa_utils.AveragedModel(model, **AVERAGES[average])
        scheduler = swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=3)
        rates = []
        for _ in range(6):
            optimizer.zero_grad()
            model(given).square().sum().backward()
            optimizer.step()
            averaged.update_parameters(model)
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        swa_utils.update_bn([given[:4], given[4:]], averaged)
        found.append((rates, averaged(given).detach(), averaged.state_dict()))
    (rates, values, state), (other_rates, other_values, other_state) = found
    assert rates == other_rates
    torch.testing.assert_close(values, other_values, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(state, other_state, rtol=1e-9, atol=1e-10)
