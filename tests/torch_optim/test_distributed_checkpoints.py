"""Checkpoints of `torch.distributed.checkpoint`: torch's in our classes, and ours in torch's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from .support import PLAIN, Case, Scale, label, train


def model() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    found = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    for p in found.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    return found


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
@pytest.mark.parametrize("direction", ["ours to torch", "torch to ours"])
@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_the_run_goes_on_where_it_was(case: Case, direction: str, flat: bool) -> None:
    def make(is_ours: bool, net: torch.nn.Module) -> Any:
        if is_ours:
            return case.ours(net.parameters(), **case.arguments)
        return case.theirs(net.parameters(), **case.torch_arguments)

    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    first_net, second_net = model(), model()
    first = train(make(direction == "ours to torch", first_net), [1, 2])
    second_net.load_state_dict(first_net.state_dict())
    saved = get_optimizer_state_dict(first_net, first, options=options)
    second = make(direction == "torch to ours", second_net)
    set_optimizer_state_dict(second_net, second, copy.deepcopy(saved), options=options)
    assert first.param_groups[0].keys() == second.param_groups[0].keys()
    assert "state_dtype" not in second.param_groups[0]
    assert Scale().departure(train(first, [4, 5]), train(second, [4, 5])) < 1e-5
