"""Checkpoints: of this class, of torch's, of older versions, and between types."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch

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


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch], ids=label)
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
    if case.spec.torch is not None:
        optimizer = case.theirs(parameters((5,), (2, 2)), **case.torch_arguments)
        theirs = train(optimizer, [1, 2]).state_dict()
        assert list(first["state"]) == list(theirs["state"])
        for index, state in first["state"].items():
            assert set(state) == set(theirs["state"][index])
        (group,), (other,) = first["param_groups"], theirs["param_groups"]
        del group["state_dtype"]
        assert group == other


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch], ids=label)
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


def test_a_checkpoint_with_an_option_that_has_no_meaning_here_is_refused() -> None:
    import generated.torch as ours

    heavy_ball = torch.optim.SGD(parameters((3,)), lr=0.1, momentum=0.9)
    nesterov = ours.Nesterov(parameters((3,)))
    nesterov.load_state_dict(heavy_ball.state_dict())
    with pytest.raises(ValueError, match="Nesterov has nesterov=True, not False"):
        train(nesterov, [1])
