"""Checkpoints: of this class, of torch's, of older versions, and between types."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch

import generated.torch as ours

from .support import (
    CASES,
    PLAIN,
    WITH_TORCH,
    Case,
    Scale,
    assert_equal_bits,
    copies,
    label,
    parameters,
    train,
)

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Torch keeps scalar states in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def through_a_file(state_dict: dict[str, Any]) -> dict[str, Any]:
    stream = io.BytesIO()
    torch.save(state_dict, stream)
    stream.seek(0)
    loaded: dict[str, Any] = torch.load(stream, weights_only=True)
    return loaded


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("direction", ["from torch", "to torch"])
@pytest.mark.parametrize("case", WITH_TORCH, ids=label)
def test_50_steps_a_checkpoint_and_50_steps_are_100_of_torch(case: Case, direction: str) -> None:
    start = parameters((5, 4), (9,), dtype=torch.float64)
    whole = train(case.theirs(copies(start), **case.torch_arguments), range(1, 101))
    ours = case.ours, case.arguments
    theirs = case.theirs, case.torch_arguments
    first, second = (theirs, ours) if direction == "from torch" else (ours, theirs)
    half = train(first[0](copies(start), **first[1]), range(1, 51))
    saved = through_a_file(half.state_dict())
    resumed = second[0](copies(half.param_groups[0]["params"]), lr=77.0)
    resumed.load_state_dict(saved)
    train(resumed, range(51, 101))
    assert Scale().departure(resumed, whole) <= 1e-12


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_checkpoint_resumes_in_every_bit(case: Case) -> None:
    start = parameters((5, 4), (9,))
    whole = train(case.ours(copies(start), **case.arguments), range(1, 13))
    half = train(case.ours(copies(start), **case.arguments), range(1, 7))
    resumed = case.ours(copies(half.param_groups[0]["params"]))
    resumed.load_state_dict(through_a_file(half.state_dict()))
    assert_equal_bits(whole, train(resumed, range(7, 13)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@by_class
def test_wide_states_of_16_bit_parameters_survive_a_checkpoint(
    case: Case, dtype: torch.dtype
) -> None:
    start = parameters((5, 4), dtype=dtype)
    whole = train(case.ours(copies(start), **case.arguments), [1, 2, 4, 5])
    half = train(case.ours(copies(start), **case.arguments), [1, 2])
    resumed = case.ours(copies(half.param_groups[0]["params"]), **case.arguments)
    seen: list[torch.dtype] = []
    resumed.register_load_state_dict_post_hook(
        lambda o: seen.extend(v.dtype for s in o.state.values() for v in s.values())
    )
    saved = half.state_dict()
    resumed.load_state_dict(through_a_file(saved))
    assert set(seen) <= {torch.float32}
    assert_equal_bits(whole, train(resumed, [4, 5]))


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_half_states_of_torch_stay_half_unless_asked_otherwise(case: Case) -> None:
    start = parameters((5, 4), dtype=torch.bfloat16)
    theirs = train(case.theirs(copies(start), **case.torch_arguments), [1, 2])
    saved = theirs.state_dict()
    for wanted in (None, torch.float32):
        ours = case.ours(copies(start), **case.arguments, state_dtype=wanted)
        ours.load_state_dict(saved)
        train(ours, [4])
        for p, state in ours.state.items():
            for key, value in state.items():
                if key not in ("step", "mu_product"):
                    assert value.dtype == (wanted or torch.bfloat16), key
                    assert value.shape == p.shape


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_state_dict_is_deterministic_and_torchs(case: Case) -> None:
    first, second = (
        train(case.ours(parameters((5,), (2, 2)), **case.arguments), [1, 2]).state_dict()
        for _ in range(2)
    )
    assert list(first["state"]) == list(second["state"])
    assert first["param_groups"] == second["param_groups"]
    for index, state in first["state"].items():
        assert list(state) == list(second["state"][index])
    if case.spec.torch_class:
        optimizer = case.theirs(parameters((5,), (2, 2)), **case.torch_arguments)
        theirs = train(optimizer, [1, 2]).state_dict()
        assert list(first["state"]) == list(theirs["state"])
        for index, state in first["state"].items():
            assert set(state) == set(theirs["state"][index])
        (group,), (other,) = first["param_groups"], theirs["param_groups"]
        assert group == other


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_older_checkpoints_have_numbers_and_fewer_options(case: Case) -> None:
    start = parameters((5,), (2, 2))
    first = train(case.ours(copies(start), **case.arguments), [1, 2])
    saved = copy.deepcopy(first.state_dict())
    new = {"maximize", "foreach", "capturable", "differentiable", "fused", "state_dtype"}
    older = {
        "state": {
            index: {
                key: value.item() if key in ("step", "mu_product") else value
                for key, value in state.items()
            }
            for index, state in saved["state"].items()
        },
        "param_groups": [
            {key: value for key, value in group.items() if key not in new}
            for group in saved["param_groups"]
        ],
    }
    second = case.ours(copies(first.param_groups[0]["params"]), **case.arguments)
    second.load_state_dict(older)
    assert_equal_bits(train(first, [4, 5]), train(second, [4, 5]))


@by_class
def test_hooks_of_state_dicts_run_in_torchs_order(case: Case) -> None:
    optimizer = train(case.ours(parameters((5,)), **case.arguments), [1])
    seen: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("save"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("save first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": seen.append("saved")})
    saved = optimizer.state_dict()
    assert "more" in saved

    def halve(_: Any, loading: dict[str, Any]) -> dict[str, Any]:
        seen.append("load")
        groups = [{**group, "lr": 0.5} for group in loading["param_groups"]]
        return {**loading, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(halve)
    optimizer.register_load_state_dict_pre_hook(lambda o, d: seen.append("load first"), True)
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.load_state_dict(saved)
    assert seen == ["save first", "save", "saved", "load first", "load", "loaded"]
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == 2
    assert len(optimizer._optimizer_load_state_dict_post_hooks) == 1


@by_class
def test_a_checkpoint_that_does_not_fit_is_refused_as_by_torch(case: Case) -> None:
    saved = case.ours(parameters((5,)), **case.arguments).state_dict()
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        case.ours(parameters((5,), (2,))).load_state_dict(saved)
    groups = [{"params": parameters((5,))}, {"params": parameters((5,))}]
    with pytest.raises(ValueError, match="different number of parameter groups"):
        case.ours(groups).load_state_dict(saved)


def stepped(factory: Any, **arguments: Any) -> torch.optim.Optimizer:
    """An optimizer that has stepped three times; no two of their numbers are the same."""
    return train(factory(parameters((5, 4), (9,)), lr=0.01, **arguments), [1, 2, 4])


def test_a_checkpoint_with_an_option_that_has_no_meaning_here_is_refused() -> None:
    heavy_ball = torch.optim.SGD(parameters((3,)), lr=0.1, momentum=0.9)
    nesterov = ours.Nesterov(parameters((3,)))
    with pytest.raises(ValueError, match="Nesterov has nesterov=True, not False"):
        nesterov.load_state_dict(heavy_ball.state_dict())
    differentiable = torch.optim.Adam(parameters((3,)), differentiable=True)
    with pytest.raises(RuntimeError, match="Adam does not support `differentiable`"):
        ours.Adam(parameters((3,))).load_state_dict(differentiable.state_dict())


VARIANTS: dict[str, dict[str, Any]] = {
    "Adadelta": {}, "Adagrad": {}, "Adam": {}, "Adam, amsgrad": {"amsgrad": True}, "AdamW": {},
    "Adamax": {}, "NAdam": {}, "RAdam": {}, "RMSprop": {},
    "RMSprop, all": {"centered": True, "momentum": 0.5}, "SGD": {},
    "SGD, momentum": {"momentum": 0.5},
}  # fmt: skip
"""Every class of torch that the catalogue has, with other sets of states where it has them."""


@pytest.mark.parametrize("target", [v for v in VARIANTS if "," not in v])
@pytest.mark.parametrize("source", VARIANTS)
def test_what_torch_cannot_step_with_is_refused_when_it_is_loaded(source: str, target: str) -> None:
    """All pairs of classes: torch raises at load or at the first step, or steps to the same place.

    A state that torch would carry along without reading it is refused, too.
    """
    saved = stepped(getattr(torch.optim, source.split(",")[0]), **VARIANTS[source]).state_dict()
    theirs = getattr(torch.optim, target)(parameters((5, 4), (9,)), lr=0.5)
    lacks = None
    try:
        theirs.load_state_dict(copy.deepcopy(saved))
        train(theirs, [5])
    except KeyError as error:
        lacks = error.args[0]
    mine = getattr(ours, target)(parameters((5, 4), (9,)), lr=0.5)
    before = copy.deepcopy(mine.state_dict())
    foreign = {key for state in saved["state"].values() for key in state}
    foreign -= {*mine._keys.values(), *(["step"] if mine._has_counter else [])}
    if lacks is None and not foreign:
        mine.load_state_dict(copy.deepcopy(saved))
        assert Scale().departure(train(mine, [5]), theirs) < 1e-5
        return
    with pytest.raises(ValueError if lacks is None else KeyError) as caught:
        mine.load_state_dict(saved)
    text = str(caught.value)
    assert text.startswith(f"this is not a checkpoint of {target}: param")
    if lacks is None:
        assert all(f"`{key}`" in text for key in foreign)
    elif lacks in mine.param_groups[0]:
        assert "parameter group 0 has no " in text
        assert f"`{lacks}`" in text
    else:  # torch's class stumbles over the group before it comes to the states
        assert f"`{lacks}`" in text or "parameter group 0 has no " in text
    assert_same(mine.state_dict(), before)


def assert_same(one: Any, other: Any) -> None:
    """Two state dicts have the same keys, numbers and bits."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    else:
        assert one == other


def without(saved: dict[str, Any], key: str) -> dict[str, Any]:
    """A checkpoint whose states and groups lack a key."""
    return {
        "state": {
            index: {k: v for k, v in state.items() if k != key}
            for index, state in saved["state"].items()
        },
        "param_groups": [
            {k: v for k, v in group.items() if k != key} for group in saved["param_groups"]
        ],
    }


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_checkpoint_has_all_that_the_options_of_its_groups_need(case: Case) -> None:
    saved = train(case.ours(parameters((5, 4)), **case.arguments), [1, 2]).state_dict()
    fresh = case.ours(parameters((5, 4)))
    before = copy.deepcopy(fresh.state_dict())
    for key in [*case.keys.values(), *(["step"] if fresh._has_counter else []), *fresh._required]:
        if key in case.keys.values() and not fresh._has_counter:
            again = case.ours(parameters((5, 4)))
            again.load_state_dict(without(saved, key))  # as in torch: it begins again
            continue
        with pytest.raises(KeyError, match=rf"not a checkpoint of .*: parameter.* has no `{key}`"):
            fresh.load_state_dict(without(saved, key))
        assert_same(fresh.state_dict(), before)
    with_foreign = copy.deepcopy(saved)
    with_foreign["state"].setdefault(1, {})["slow"] = torch.zeros(0)
    with pytest.raises((KeyError, ValueError), match=r"parameter 1 .*has `slow`, which"):
        fresh.load_state_dict(with_foreign)


def test_adam_with_decoupled_decay_is_adamw() -> None:
    """Torch's AdamW is its Adam with the option on, and loading puts it on."""
    arguments: dict[str, Any] = {"weight_decay": 0.1, "amsgrad": True}
    adamw = stepped(ours.AdamW, **arguments)
    adam = stepped(ours.Adam, **arguments, decoupled_weight_decay=True)
    assert_equal_bits(adam, adamw)
    assert_same(adam.state_dict(), adamw.state_dict())
    forced = ours.AdamW(copies(adam.param_groups[0]["params"]), weight_decay=0.5)
    coupled = copy.deepcopy(adam.state_dict())
    coupled["param_groups"][0]["decoupled_weight_decay"] = False
    forced.load_state_dict(coupled)
    assert forced.param_groups[0]["decoupled_weight_decay"] is True
    assert_equal_bits(train(forced, [5]), train(adamw, [5]))


def test_states_that_do_not_fit_their_parameter_are_refused() -> None:
    saved = stepped(torch.optim.AdamW).state_dict()
    adamw = ours.AdamW(parameters((5, 4), (9,)))
    for wrong, text in [
        ({"exp_avg": torch.zeros(4, 5)}, r"`exp_avg` of parameter 0 has the shape \[4, 5\]"),
        ({"step": torch.zeros(2)}, "`step` of parameter 0 has the shape .* must be one number"),
        ({"exp_avg_sq": 0.5}, r"the type float, but must have shape \[5, 4\]"),
    ]:
        state = {**saved["state"], 0: {**saved["state"][0], **wrong}}
        with pytest.raises(ValueError, match=text):
            adamw.load_state_dict({**saved, "state": state})
    assert not adamw.state


def test_parameters_that_have_never_had_a_gradient_have_no_state() -> None:
    p, q = copies(parameters((3,)))
    p.grad = torch.ones(3)
    adam = torch.optim.Adam([p, q])
    adam.step()
    mine = ours.Adam([p, q])
    mine.load_state_dict(adam.state_dict())
    assert list(mine.state) == [p]
    q.grad = torch.zeros(0)
    mine.step()
    assert mine.state[q]["step"] == 1
    assert mine.state[p]["step"] == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64], ids=str)
@pytest.mark.parametrize("case", [c for c in PLAIN if c.name != "sgd"], ids=label)
def test_counters_that_arrive_in_16_bits_count_on(case: Case, dtype: torch.dtype) -> None:
    first = train(case.ours(parameters((5,)), **case.arguments), [1])
    if not first._has_counter:
        return
    saved = copy.deepcopy(first.state_dict())
    for state in saved["state"].values():
        state["step"] = torch.tensor(2048, dtype=dtype)
        if "mu_product" in state:
            state["mu_product"] = state["mu_product"].bfloat16()
    second = case.ours(parameters((5,)), **case.arguments)
    second.load_state_dict(saved)
    train(second, [4, 5])
    for state in second.state.values():
        assert state["step"] == 2050
        assert state["step"].dtype == torch.float32
        assert state.get("mu_product", state["step"]).dtype == torch.float32
    for state in second.state.values():  # whoever casts the states of an optimizer
        state["step"] = torch.tensor(2048, dtype=dtype)
    assert {float(s["step"]) for s in train(second, [4]).state.values()} == {2049.0}


def test_counters_of_a_device_are_exact_whatever_comes() -> None:
    """What is read of a device is its type alone: there is none here."""
    from generated.torch._checkpoints import counter, counts_on

    class Elsewhere:
        device = torch.device("cuda")

    for value in (0.0, 1 << 24, torch.tensor(7, dtype=torch.bfloat16), torch.tensor(3.0)):
        with mock.patch("generated.torch._checkpoints._number_on") as made:
            counter(value, Elsewhere(), {"capturable": True})
        made.assert_called_once_with(Elsewhere.device, value, torch.float64)
    assert not counts_on(torch.tensor(3.0), 0)
    assert counts_on(torch.tensor(3.0, dtype=torch.float64), 0)
    large = ours.AdamW(parameters((2,)))
    assert counter(float(1 << 24), large.param_groups[0]["params"][0], {}).dtype == torch.float64


def test_missing_options_mean_what_they_meant_to_torch_then() -> None:
    """The class's own default, not what this optimizer was made with."""
    saved = stepped(torch.optim.Adam).state_dict()
    for name in ("amsgrad", "maximize", "decoupled_weight_decay", "foreach", "capturable", "fused"):
        saved = without(saved, name)
    found = []
    for module in (torch.optim, ours):
        optimizer = module.Adam(parameters((5, 4), (9,)), amsgrad=True, maximize=True)
        optimizer.load_state_dict(copy.deepcopy(saved))
        found.append(train(optimizer, [5]))
    assert found[0].state_dict()["param_groups"] == found[1].state_dict()["param_groups"]
    assert Scale().departure(*found) < 1e-5


def test_a_type_of_states_stays_where_somebody_has_set_it() -> None:
    saved = stepped(torch.optim.Adam).state_dict()
    mine = ours.Adam(parameters((5, 4), (9,)), state_dtype=torch.float64)
    mine.load_state_dict(saved)
    assert mine.param_groups[0]["state_dtype"] == torch.float64
    assert mine.state[mine.param_groups[0]["params"][0]]["exp_avg"].dtype == torch.float64
    own = mine.state_dict()
    other = ours.Adam(parameters((5, 4), (9,)))
    assert "state_dtype" not in other.state_dict()["param_groups"][0]
    other.load_state_dict(own)
    assert other.state[other.param_groups[0]["params"][0]]["exp_avg"].dtype == torch.float64
