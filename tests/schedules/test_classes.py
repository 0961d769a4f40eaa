"""The generated schedulers in training: what they set, remember, and refuse."""

from __future__ import annotations

import copy
import io
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from support import ROOT, SCHEDULES, stock
from torch.optim import lr_scheduler

from stepforge.backends.torch_class import class_name

sys.path.append(str(ROOT))  # `generated` is imported from the project's root

import generated.torch as ours

STEPS = 40
VALUES: dict[str, Mapping[str, float]] = {
    "constant": {"steps": 3}, "linear": {"steps": 10}, "warmup": {"steps": 10},
    "step_decay": {"steps": 7}, "multistep": {"milestone1": 3, "milestone2": 9, "milestone3": 20},
    "exponential": {"gamma": 0.9}, "polynomial": {"steps": 30, "power": 2},
    "cosine": {"steps": 30, "last": 0.1}, "cosine_restarts": {"steps": 5},
    "inverse_sqrt": {"warmup": 10}, "one_cycle": {"steps": 30},
    "trapezoid": {"steps": 35, "warmup": 5, "decay": 10}, "inverse_time": {"decay": 0.1},
    "warmup_cosine": {"steps": 30, "warmup": 5},
}  # fmt: skip
Make = Callable[[torch.optim.Optimizer], Any]


def schedule(name: str) -> type[Any]:
    found: type[Any] = getattr(ours, class_name(stock(name)))
    return found


def made(name: str, optimizer: torch.optim.Optimizer, **more: Any) -> Any:
    return schedule(name)(optimizer, **VALUES[name], **more)


def optimizer_of(
    factory: Any = torch.optim.AdamW, lrs: tuple[Any, ...] = (0.5, 1e-3), **more: Any
) -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return factory(groups, **more)


def trained(optimizer: Any, *schedulers: Any, steps: int = STEPS, key: str = "lr") -> list[Any]:
    """What the groups have in every step."""
    seen = []
    for _ in range(steps):
        seen.append([float(group[key]) for group in optimizer.param_groups])
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return seen


def test_every_schedule_has_a_class() -> None:
    assert {*VALUES} == {*SCHEDULES}
    for name in SCHEDULES:
        assert issubclass(schedule(name), ours.Schedule)
        assert issubclass(schedule(name), lr_scheduler.LRScheduler)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("factory", [torch.optim.AdamW, ours.AdamW])
def test_every_group_has_its_base_value_times_the_factor(name: str, factory: Any) -> None:
    """`LambdaLR` of torch with the same factor sets the same bits."""
    optimizer, other = optimizer_of(factory), optimizer_of()
    scheduler = made(name, optimizer)
    torchs = lr_scheduler.LambdaLR(other, lambda epoch: scheduler.factor(epoch + 1))
    assert trained(optimizer, scheduler) == trained(other, torchs)
    assert scheduler.get_last_lr() == torchs.get_last_lr()
    assert scheduler.last_epoch == STEPS


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("constant", lambda o: lr_scheduler.ConstantLR(o, total_iters=3)),
        ("linear", lambda o: lr_scheduler.LinearLR(o, 1, 0, 10)),
        ("warmup", lambda o: lr_scheduler.LinearLR(o, 0.1, 1, 9)),
        ("step_decay", lambda o: lr_scheduler.StepLR(o, 7)),
        ("multistep", lambda o: lr_scheduler.MultiStepLR(o, [3, 9, 20])),
        ("exponential", lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        ("polynomial", lambda o: lr_scheduler.PolynomialLR(o, 30, 2)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 30, 0.05)),
        ("cosine_restarts", lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2)),
        ("one_cycle", lambda o: lr_scheduler.OneCycleLR(o, 0.5, 30, cycle_momentum=False)),
    ],
)  # fmt: skip
def test_they_set_what_those_of_torch_set(name: str, torchs: Make) -> None:
    """Within 1e-15 for each step: torch's multiply from step to step, and round each time."""
    optimizer, other = optimizer_of(lrs=(0.5,)), optimizer_of(lrs=(0.5,))
    for mine, theirs in zip(
        trained(optimizer, made(name, optimizer), steps=30),
        trained(other, torchs(other), steps=30),
        strict=True,
    ):
        assert mine == pytest.approx(theirs, rel=0, abs=30e-15)


def test_a_schedule_takes_turns_with_those_of_torch() -> None:
    """`SequentialLR` starts each of them with `step(0)`."""
    optimizer = optimizer_of(lrs=(1.0,))
    parts = [made("warmup", optimizer), made("cosine", optimizer)]
    both = lr_scheduler.SequentialLR(optimizer, parts, milestones=[12])
    seen = [lr for (lr,) in trained(optimizer, both)]
    assert seen[:12] == [parts[0].factor(t) for t in range(1, 13)]
    assert seen[12:] == [parts[1].factor(t) for t in range(1, STEPS - 11)]


# Other hyperparameters.


@pytest.mark.parametrize("factory", [torch.optim.AdamW, ours.AdamW])
def test_another_hyperparameter_changes_beside_the_learning_rate(factory: Any) -> None:
    optimizer = optimizer_of(factory, weight_decay=0.2)
    decay = made("cosine", optimizer, hyperparameter="weight_decay")
    rate = made("warmup", optimizer)
    twin = optimizer_of(factory, weight_decay=0.2)
    alone = made("warmup", twin)
    seen = []
    for _ in range(STEPS):
        seen.append([group["weight_decay"] for group in optimizer.param_groups])
        assert trained(optimizer, rate, decay, steps=1) == trained(twin, alone, steps=1)
    assert seen == [[0.2 * decay.factor(t)] * 2 for t in range(1, STEPS + 1)]
    assert decay.get_last_lr() == rate.get_last_lr()


def test_momentum_is_one_of_them() -> None:
    optimizer = optimizer_of(torch.optim.SGD, momentum=0.8)
    scheduler = made("one_cycle", optimizer, hyperparameter="momentum")
    seen = trained(optimizer, scheduler, key="momentum")
    assert seen == [[0.8 * scheduler.factor(t)] * 2 for t in range(1, STEPS + 1)]


@pytest.mark.parametrize("key", ["betas", "maximize", "nothing", "params"])
def test_what_is_no_number_of_the_groups_is_refused_before_anything_changes(key: str) -> None:
    optimizer = optimizer_of()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=f"param_groups.0. has no number '{key}' to schedule"):
        made("cosine", optimizer, hyperparameter=key)
    assert optimizer.state_dict() == before


def test_wrong_hyperparameters_are_refused_before_anything_changes() -> None:
    optimizer = optimizer_of()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"warmup = 9\.0, not warmup < steps"):
        schedule("warmup_cosine")(optimizer, steps=5, warmup=9)
    with pytest.raises(TypeError, match="is not an Optimizer"):
        schedule("cosine")([optimizer])
    assert optimizer.state_dict() == before


@pytest.mark.parametrize("factory", [torch.optim.Adam, ours.Adam])
def test_a_learning_rate_may_be_a_tensor(factory: Any) -> None:
    optimizer = optimizer_of(factory, lrs=(torch.tensor(0.5, dtype=torch.float64),))
    rate = optimizer.param_groups[0]["lr"]
    scheduler = made("cosine", optimizer)
    seen = [lr for (lr,) in trained(optimizer, scheduler)]
    assert seen == [0.5 * scheduler.factor(t) for t in range(1, STEPS + 1)]
    assert optimizer.param_groups[0]["lr"] is rate, "it is set in place, as torch does"
    assert float(scheduler.base_lrs[0]) == 0.5


# Going on.


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_a_run_goes_on_from_a_checkpoint(name: str, key: str) -> None:
    optimizer = optimizer_of(ours.AdamW, weight_decay=0.1)
    scheduler = made(name, optimizer, hyperparameter=key)
    trained(optimizer, scheduler, steps=13)
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
    rest = trained(optimizer, scheduler, key=key)
    file.seek(0)
    saved, state = torch.load(file, weights_only=True)
    other = optimizer_of(ours.AdamW, weight_decay=0.1)
    again = schedule(name)(other, hyperparameter=key)  # its hyperparameters are in the checkpoint
    other.load_state_dict(saved)
    again.load_state_dict(state)
    assert trained(other, again, key=key) == rest
    assert again.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_a_run_goes_on_from_the_number_of_its_last_step(key: str) -> None:
    optimizer = optimizer_of(weight_decay=0.1)
    scheduler = made("cosine", optimizer, hyperparameter=key)
    trained(optimizer, scheduler, steps=13)
    other = optimizer_of(weight_decay=0.1)
    with pytest.raises(KeyError, match=r"is not specified in param_groups\[0\] when resuming"):
        made("cosine", other, hyperparameter=key, last_epoch=12)
    other.load_state_dict(optimizer.state_dict())
    again = made("cosine", other, hyperparameter=key, last_epoch=12)
    assert trained(other, again, key=key) == trained(optimizer, scheduler, key=key)


def test_a_step_can_be_named() -> None:
    optimizer = optimizer_of(lrs=(1.0,))
    scheduler = made("cosine_restarts", optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch: `epoch` is deprecated
        for epoch in (17, 3, 0, 10**6):
            scheduler.step(epoch)
            assert optimizer.param_groups[0]["lr"] == scheduler.factor(epoch + 1)
            assert scheduler.last_epoch == epoch


def test_it_has_the_keys_of_torchs_checkpoints() -> None:
    optimizer, other = optimizer_of(), optimizer_of()
    mine = made("cosine", optimizer).state_dict()
    theirs = lr_scheduler.CosineAnnealingLR(other, 30).state_dict()
    own = {"hyperparameter", "hyperparameters", "base_values"}
    assert mine.keys() - own == theirs.keys() - {"T_max", "eta_min"}
    assert mine["hyperparameters"] == {"steps": 30, "last": 0.1}
    assert (mine["last_epoch"], mine["hyperparameter"]) == (0, "lr")
