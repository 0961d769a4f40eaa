"""State dicts, copies and hooks: the kinds of tests that torch has for its optimizers."""

from __future__ import annotations

import collections
import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.testing._internal.common_optimizers import OptimizerInfo

from .infos import (
    IN_TORCH,
    INFOS,
    affine,
    assert_same,
    for_every_input,
    inputs,
    loss_of,
    name_of,
    torchs,
    twins,
    unnamed,
)

Names = list[tuple[str, torch.nn.Parameter]] | list[torch.nn.Parameter]


def named(params: list[torch.nn.Parameter], wanted: bool) -> Names:
    return [(f"name{i}", p) for i, p in enumerate(params)] if wanted else params


def small_network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 3))


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    given = torch.rand(6, 4, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(given).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("second_named", [False, True], ids=["to unnamed", "to named"])
@pytest.mark.parametrize("first_named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_loaded_state_dict_goes_on_as_its_origin(
    info: OptimizerInfo, first_named: bool, second_named: bool
) -> None:
    flags = not (first_named or second_named)
    for given, again in zip(inputs(info, flags), inputs(info, flags), strict=True):
        torch.manual_seed(0)
        params, closure = affine()
        x = closure.args[1]  # type: ignore[attr-defined]
        first = info.optim_cls(named(params, first_named), **given.kwargs)
        for _ in range(3):
            closure()
            first.step()
        others = twins(params)
        second = info.optim_cls(named(others, second_named), **again.kwargs)
        saved = first.state_dict()
        untouched = copy.deepcopy(saved)
        second.load_state_dict(untouched)  # tensors of a state dict are not copies, nor in torch
        assert_same(saved, untouched)
        for _ in range(3):
            closure()
            loss_of(others, x)
            first.step()
            second.step()
        assert_same(params, others)
        assert_same(unnamed(first.state_dict()), unnamed(second.state_dict()))
        second.param_groups.extend(second.param_groups)
        repeated = unnamed(second.state_dict())["param_groups"]
        assert repeated[-1] == unnamed(first.state_dict())["param_groups"][-1]


@for_every_input(INFOS)
def test_an_older_state_dict_loads(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    model = small_network()
    optimizer = info.optim_cls(model.parameters(), **arguments)
    for seed in range(3):
        step(model, optimizer, seed)
    older = copy.deepcopy(optimizer.state_dict())
    for group in older["param_groups"]:
        for flag in info.not_og_supported_flags:
            group.pop(flag, None)
    optimizer.load_state_dict(copy.deepcopy(older))
    if info in IN_TORCH:  # flags that are missing are off, whatever the constructor was told
        theirs = torchs(info)(model.parameters(), **arguments)
        theirs.load_state_dict(older)
        for group, other in zip(optimizer.param_groups, theirs.param_groups, strict=True):
            for flag in info.not_og_supported_flags:
                assert bool(group.get(flag)) == bool(other.get(flag)), flag
    step(model, optimizer, 3)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("second_named", [False, True], ids=["to unnamed", "to named"])
@pytest.mark.parametrize("first_named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_names_survive_a_state_dict(
    info: OptimizerInfo, first_named: bool, second_named: bool
) -> None:
    for given, again in zip(inputs(info, False), inputs(info, False), strict=True):
        model = small_network()

        def parameters(wanted: bool, model: torch.nn.Module = model) -> Iterator[Any]:
            return model.named_parameters() if wanted else model.parameters()

        first = info.optim_cls(parameters(first_named), **given.kwargs)
        step(model, first, 0)
        second = info.optim_cls(parameters(second_named), **again.kwargs)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        step(model, second, 1)
        group = second.state_dict()["param_groups"][0]
        if first_named or second_named:
            assert group["param_names"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
        else:
            assert "param_names" not in group


@pytest.mark.parametrize("is_named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_state_dict_is_the_same_behind_a_file(info: OptimizerInfo, is_named: bool) -> None:
    for given in inputs(info):
        params, closure = affine()
        optimizer = info.optim_cls(named(params, is_named), **given.kwargs)
        for _ in range(3):
            optimizer.step(closure)
        saved = optimizer.state_dict()
        file = io.BytesIO()
        torch.save(saved, file)
        for weights_only in (True, False):
            file.seek(0)
            assert_same(torch.load(file, weights_only=weights_only), saved)


@pytest.mark.parametrize("info", IN_TORCH, ids=name_of)
def test_a_state_dict_has_the_shape_of_torchs(info: OptimizerInfo) -> None:
    """The same keys in the same groups and states, and values of the same types and shapes."""
    for given, again in zip(inputs(info), inputs(info), strict=True):
        found = []
        for make, kwargs in ((info.optim_cls, given.kwargs), (torchs(info), again.kwargs)):
            torch.manual_seed(0)
            params, closure = affine(torch.float64)
            optimizer = make(params, **kwargs)
            for _ in range(2):
                optimizer.step(closure)
            found.append(optimizer.state_dict())
        mine, theirs = found
        assert [set(group) for group in mine["param_groups"]] == [
            set(group) for group in theirs["param_groups"]
        ]
        for group, other in zip(mine["param_groups"], theirs["param_groups"], strict=True):
            assert {k: v for k, v in group.items() if k not in given.kwargs} == {
                k: v for k, v in other.items() if k not in given.kwargs
            }
        assert mine["state"].keys() == theirs["state"].keys()
        for index, state in mine["state"].items():
            other = theirs["state"][index]
            assert set(state) == set(other)
            for key, value in state.items():
                assert type(value) is type(other[key]), key
                if isinstance(value, torch.Tensor):
                    assert (value.shape, value.dtype) == (other[key].shape, other[key].dtype), key


@for_every_input(INFOS)
def test_a_step_number_that_is_no_tensor_loads(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    params, closure = affine()
    optimizer = info.optim_cls(params, **arguments)
    for _ in range(3):
        optimizer.step(closure)
    for kind in (float, int):
        saved = copy.deepcopy(optimizer.state_dict())
        others, x = twins(params), closure.args[1]  # type: ignore[attr-defined]
        for state in saved["state"].values():
            if "step" in state:
                state["step"] = kind(state["step"].item())
        second = info.optim_cls(others, **arguments)
        second.load_state_dict(saved)
        third = info.optim_cls(twins(params), **arguments)
        third.load_state_dict(optimizer.state_dict())
        loss_of(others, x)
        second.step()
        loss_of(third.param_groups[0]["params"], x)
        third.step()
        assert_same(second.param_groups[0]["params"], third.param_groups[0]["params"])
        assert_same(second.state_dict()["state"], third.state_dict()["state"])


@for_every_input(INFOS)
def test_state_dict_hooks_see_the_optimizer_and_change_the_dict(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    optimizer = info.optim_cls([torch.nn.Parameter(torch.rand(2, 3))], **arguments)

    def mark(seen: torch.optim.Optimizer) -> None:
        seen.state["test"] = 1  # type: ignore[index, assignment]

    def unmark(_: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
        saved["marked"] = saved["state"].pop("test", None) is not None
        return saved

    last = optimizer.register_state_dict_post_hook(unmark)
    assert not optimizer.state_dict()["marked"]
    optimizer.register_state_dict_pre_hook(mark)
    assert optimizer.state_dict()["marked"]
    last.remove()
    assert optimizer.state_dict()["state"]["test"] == 1


@for_every_input(INFOS)
def test_hooks_of_loading_run_in_order_and_may_replace_the_dict(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    optimizer = info.optim_cls([torch.nn.Parameter(torch.rand(2, 3))], **arguments)
    saved = optimizer.state_dict()

    def in_place(_: torch.optim.Optimizer, loading: dict[str, Any]) -> None:
        loading["param_groups"][0]["lr"] = 0.002

    def replaced(_: torch.optim.Optimizer, loading: dict[str, Any]) -> dict[str, Any]:
        other = copy.deepcopy(loading)
        other["param_groups"][0]["lr"] = 0.003
        return other

    def after(seen: torch.optim.Optimizer) -> None:
        seen.state["lr"] = seen.param_groups[0]["lr"]  # type: ignore[index]

    optimizer.register_load_state_dict_pre_hook(in_place)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.002
    optimizer.register_load_state_dict_pre_hook(replaced, prepend=True)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.002
    optimizer.register_load_state_dict_pre_hook(replaced)
    optimizer.register_load_state_dict_post_hook(after)
    optimizer.load_state_dict(saved)
    assert optimizer.state["lr"] == 0.003  # type: ignore[index]
    optimizer.load_state_dict(optimizer.state_dict())  # with the foreign entry


@for_every_input(INFOS)
def test_step_hooks_run_around_every_step(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    optimizer = info.optim_cls([torch.tensor([1.0, 1.0])], **arguments)
    seen: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("all before")),
        register_optimizer_step_post_hook(lambda *_: seen.append("all after")),
        optimizer.register_step_pre_hook(lambda *_: seen.append("before")),
        optimizer.register_step_post_hook(lambda *_: seen.append("after")),
    ]
    order = ["all before", "before", "after", "all after"]
    try:
        optimizer.step()
        optimizer.step(lambda: 1)
        assert seen == 2 * order
    finally:
        for handle in handles:
            handle.remove()
    optimizer.step()
    assert seen == 2 * order


@for_every_input(INFOS)
def test_a_deep_copy_has_all_that_the_original_has(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    params, closure = affine()
    optimizer = info.optim_cls(params, **arguments)
    for _ in range(3):
        optimizer.step(closure)

    def public(one: object) -> set[str]:
        return {name for name in vars(one) if not name.startswith("_")}

    twin = copy.deepcopy(optimizer)
    assert public(twin) == public(optimizer)
    assert_same(twin.state_dict(), optimizer.state_dict())
    others = twin.param_groups[0]["params"]
    assert not any(p is q for p, q in zip(params, others, strict=True))
    closure()
    loss_of(others, closure.args[1])  # type: ignore[attr-defined]
    optimizer.step()
    assert not torch.equal(params[0], others[0])
    twin.step()
    assert_same(params, others)
    assert_same(twin.state_dict(), optimizer.state_dict())


@for_every_input(INFOS)
def test_a_pickle_goes_on_as_the_original(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    params, closure = affine()
    optimizer = info.optim_cls(params, **arguments)
    for _ in range(3):
        optimizer.step(closure)
    twin = pickle.loads(pickle.dumps(optimizer))
    assert isinstance(twin.state, collections.defaultdict)
    assert twin.state["nobody's"] == {}
    del twin.state["nobody's"]
    others = twin.param_groups[0]["params"]
    closure()
    loss_of(others, closure.args[1])  # type: ignore[attr-defined]
    optimizer.step()
    twin.step()
    assert_same(params, others)
    assert_same(twin.state_dict(), optimizer.state_dict())


@for_every_input(INFOS)
def test_a_state_that_is_not_empty_may_hold_more(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    """What a user keeps in the state of a parameter is left alone, before and after steps."""
    params, closure = affine()
    others, x = twins(params), closure.args[1]  # type: ignore[attr-defined]
    optimizer = info.optim_cls(params, **arguments)
    plain = info.optim_cls(others, **arguments)
    assert isinstance(optimizer.state, collections.defaultdict)
    mark = torch.ones(1)
    optimizer.state[params[0]]["a user's"] = mark
    for _ in range(3):
        closure()
        loss_of(others, x)
        optimizer.step()
        plain.step()
    assert optimizer.state[params[0]]["a user's"] is mark
    assert_same(params, others)


@for_every_input(INFOS)
def test_it_can_be_printed(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    params = [torch.nn.Parameter(torch.randn(2, 3)) for _ in range(2)]
    text = repr(info.optim_cls(params, **arguments))
    assert text.startswith(f"{info.name} (\nParameter Group 0\n")
    if info in IN_TORCH:
        assert text == repr(torchs(info)(params, **arguments))
