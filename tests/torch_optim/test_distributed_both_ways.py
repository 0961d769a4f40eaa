"""`torch.distributed.checkpoint`, in one process: what one class saves, the other loads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)

from .infos import INFOS, assert_same, inputs, name_of

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),  # one process is meant
]


STATEFUL = {"SGD": {"momentum": 0.9}}
"""Torch cannot move a state dict without tensors to the CPU."""


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).double()


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        given = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        model(given).square().sum().backward()
        optimizer.step()


def reference(info: Any) -> Any:
    """Torch's class of the same meaning; ours where torch has none."""
    return getattr(torch.optim, info.name, info.optim_cls)


@pytest.mark.parametrize("direction", ["torch's to ours", "ours to torch's", "ours to ours"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_saved_run_goes_on_under_the_other_class(
    info: Any, direction: str, tmp_path: Path
) -> None:
    classes = {"torch's": reference(info), "ours": info.optim_cls}
    source, _, target = direction.partition(" to ")
    numbers = [
        given
        for given in inputs(info, flags=False)
        if not isinstance(given.kwargs.get("lr"), torch.Tensor)  # kinds of lr have to be the same
    ]
    for number, given in enumerate(numbers[1:3]):
        whole = network()
        train(whole, reference(info)(whole.parameters(), **given.kwargs), 3)
        whole_optimizer = reference(info)(whole.parameters(), **given.kwargs)
        train(whole, whole_optimizer, 5)

        first = network()
        train(first, reference(info)(first.parameters(), **given.kwargs), 3)
        optimizer = classes[source](first.parameters(), **given.kwargs)
        train(first, optimizer, 2)
        model_state, optimizer_state = get_state_dict(first, optimizer)
        place = tmp_path / f"checkpoint{number}"
        saved = {"model": model_state, "optimizer": optimizer_state}
        dcp.save(saved, checkpoint_id=place, no_dist=True)

        second = network()
        resumed = classes[target](second.parameters(), lr=0.5)
        model_state, optimizer_state = get_state_dict(second, resumed)
        wanted = {"model": model_state, "optimizer": optimizer_state}
        try:
            dcp.load(wanted, checkpoint_id=place, no_dist=True)
        except dcp.CheckpointException as error:  # is no Exception
            pytest.fail(str(error))
        set_state_dict(
            second,
            resumed,
            model_state_dict=wanted["model"],
            optim_state_dict=wanted["optimizer"],
        )
        for step in range(2, 5):
            generator = torch.Generator().manual_seed(step)
            x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
            resumed.zero_grad()
            second(x).square().sum().backward()
            resumed.step()
        for p, q in zip(second.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_full_state_dicts_pass_between_the_classes(info: Any, flat: bool) -> None:
    """As FSDP saves them: by name of the parameter, whole and on the CPU, or a flat dict.

    Torch's own classes cannot load a dict that is both whole and flat.
    """
    options = StateDictOptions(
        full_state_dict=not flat, cpu_offload=not flat, flatten_optimizer_state_dict=flat
    )
    for first, second in (
        (reference(info), info.optim_cls),
        (info.optim_cls, reference(info)),
    ):
        model = network()
        optimizer = first(model.parameters(), **STATEFUL.get(info.name, {}))
        train(model, optimizer, 2)
        saved = get_optimizer_state_dict(model, optimizer, options=options)
        other = network()
        other.load_state_dict(model.state_dict())
        resumed = second(other.parameters(), **STATEFUL.get(info.name, {}))
        set_optimizer_state_dict(other, resumed, copy.deepcopy(saved), options=options)
        again = get_optimizer_state_dict(other, resumed, options=options)
        assert again.keys() == saved.keys()
        assert_same(again["state"] if not flat else again, saved["state"] if not flat else saved)
        train(model, optimizer, 1)
        train(other, resumed, 1)
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-11)
