"""What is refused, in the type and the words of torch's class."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from .support import PLAIN, Case, copies, label, ours, parameters, train

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)
with_torch = pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)

WRONG: list[dict[str, Any]] = [
    {"lr": -0.5},
    {"lr": float("nan")},
    {"lr": torch.tensor([0.1, 0.2])},
    {"lr": torch.tensor(0.1), "foreach": True},
    {"eps": -1e-8},
    {"weight_decay": -1},
    {"betas": (1.0, 0.0)},
    {"betas": (-0.5, 0.9)},
    {"betas": (0.0, 1.0)},
    {"betas": (0.9, torch.tensor(0.99))},
    {"betas": (torch.tensor(0.9), 0.99)},
    {"betas": (torch.tensor(0.9), torch.tensor(0.99)), "foreach": True},
    {"rho": 1.1},
    {"rho": -0.1},
    {"alpha": -0.5},
    {"momentum": -0.5},
    {"lr_decay": -0.5},
    {"momentum_decay": -1.0},
    {"initial_accumulator_value": -1.0},
    {"momentum": 0.0, "nesterov": True},
    {"momentum": 0.9, "dampening": 0.5, "nesterov": True},
    {"fused": True, "foreach": True},
    {"fused": True, "differentiable": True},
    {"unknown": 1},
]


def refusal(make: Any) -> tuple[type[BaseException], str] | None:
    try:
        make()
    except Exception as error:
        return type(error), str(error)
    return None


@with_torch
def test_arguments_are_refused_in_torchs_words(case: Case) -> None:
    assert case.spec.torch is not None
    fixed = dict(case.spec.torch.constants)
    compared = 0
    for wrong in WRONG:
        if set(wrong) & set(fixed):
            continue
        theirs = refusal(lambda: case.theirs(parameters((2,)), **{**fixed, **wrong}))  # noqa: B023
        if theirs is None or (fixed and "Nesterov" in theirs[1]):
            continue
        ours = refusal(lambda: case.ours(parameters((2,)), **wrong))  # noqa: B023
        if theirs[0] is TypeError:
            assert ours is not None
            assert ours[0] is TypeError
            assert ours[1].split(".")[-1] == theirs[1].split(".")[-1]
        else:
            assert ours == theirs, wrong
        compared += 1
    assert compared >= 5


@by_class
def test_numbers_outside_of_their_domains_are_refused(case: Case) -> None:
    for name in case.arguments:
        if name in case.options or name == "dampening":  # any number, as in torch
            continue
        value = case.arguments[name]
        wrong: Any = (float("nan"), 0.5) if isinstance(value, tuple) else float("nan")
        with pytest.raises(ValueError, match=r"Invalid .*: nan"):
            case.ours(parameters((2,)), **{**case.arguments, name: wrong})


PARAMETERS: dict[str, Any] = {
    "a tensor": lambda: torch.nn.Parameter(torch.ones(2)),
    "nothing": list,
    "no tensor": lambda: [1.0],
    "a set": lambda: [{"params": set(parameters((2,)))}],
    "names for some": lambda: [("a", parameters((2,))[0]), parameters((2,))[0]],
    "no leaf": lambda: [torch.ones(2, requires_grad=True) * 2],
}


@pytest.mark.parametrize("what", PARAMETERS)
@with_torch
def test_parameters_are_refused_in_torchs_words(case: Case, what: str) -> None:
    ours = refusal(lambda: case.ours(PARAMETERS[what](), lr=0.1))
    assert ours == refusal(lambda: case.theirs(PARAMETERS[what](), lr=0.1))
    assert ours is not None


@by_class
def test_duplicates_are_refused_or_warned_of(case: Case) -> None:
    (p,) = parameters((2,))[:1]
    with pytest.warns(UserWarning, match="a parameter group with duplicate parameters"):
        case.ours([p, p])
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter"):
        case.ours([{"params": [p]}, {"params": [p]}])


@by_class
def test_sparse_gradients_are_refused(case: Case) -> None:
    (p,) = parameters((4, 2))[:1]
    p.grad = torch.eye(4, 2).to_sparse()
    before = p.detach().clone()
    with pytest.raises(RuntimeError, match="does not support sparse gradients") as caught:
        case.ours([p], **case.arguments).step()
    if case.name not in ("adagrad", "sgd", "nesterov") and case.spec.torch is not None:
        theirs = refusal(case.theirs([p], **case.torch_arguments).step)
        assert theirs == (RuntimeError, str(caught.value))
    assert torch.equal(p, before)


@by_class
def test_parameters_without_numbers_get_states_and_nothing_else(case: Case) -> None:
    """On the device "meta" a step makes what a checkpoint is loaded into."""
    p = torch.nn.Parameter(torch.empty(3, 2, device="meta"))
    p.grad = torch.empty_like(p)
    optimizer = case.ours([p], **case.arguments)
    optimizer.step()
    for key, value in optimizer.state[p].items():
        assert value.is_meta or value.numel() == 1, key
    if case.spec.torch_class:
        other = case.theirs([p], **case.torch_arguments)
        other.step()
        tensors = {k: v for k, v in other.state[p].items() if v is not None}
        assert tensors.keys() == optimizer.state[p].keys()
        assert all(v.shape == optimizer.state[p][k].shape for k, v in tensors.items())
    if "fused" in optimizer.defaults:
        text = "requires all the params to be floating point Tensors of supported devices"
        with pytest.raises(RuntimeError, match=f"{text}.* but torch.float32 and meta") as caught:
            case.ours([p], **case.arguments, fused=True).step()
        if case.name in ("adam", "adamw", "sgd"):
            theirs = refusal(case.theirs([p], **case.torch_arguments, fused=True).step)
            assert theirs == (RuntimeError, str(caught.value))


@by_class
def test_capturable_needs_an_accelerator(case: Case) -> None:
    if "capturable" not in case.ours([torch.nn.Parameter(torch.ones(1))]).defaults:
        assert case.spec.torch is not None
        assert "capturable" not in case.spec.torch.signature
        return
    (p,) = parameters((4,))[:1]
    p.grad = torch.ones(4)
    params = "params, mu_products" if case.name == "nadam" else "params"
    words = f"If capturable=True, {params} and state_steps must be on supported devices: "
    with pytest.raises(AssertionError, match=re.escape(words)) as caught:
        case.ours([p], **case.arguments, capturable=True).step()
    if case.spec.torch_class:
        theirs = refusal(case.theirs([p], **case.torch_arguments, capturable=True).step)
        assert theirs is not None
        assert theirs == (AssertionError, str(caught.value))


@by_class
def test_differentiable_is_refused(case: Case) -> None:
    (p,) = parameters((4,))[:1]
    p.grad = torch.ones(4)
    optimizer = case.ours([p], **case.arguments)
    optimizer.param_groups[0]["differentiable"] = True
    with pytest.raises(RuntimeError, match="does not support `differentiable`"):
        optimizer.step()
    if "differentiable" in optimizer.defaults:
        with pytest.raises(RuntimeError, match="does not support `differentiable`"):
            case.ours([p], **case.arguments, differentiable=True)


@by_class
def test_a_refused_step_changes_nothing(case: Case) -> None:
    p, q = parameters((4,), (3,))[:2]
    before = p.detach().clone()
    p.grad, q.grad = torch.ones(4), torch.eye(3)[0].to_sparse()
    optimizer = case.ours([p, q], **case.arguments)
    with pytest.raises(RuntimeError):
        optimizer.step()
    assert torch.equal(p, before)


@by_class
def test_a_type_that_states_cannot_have_is_refused(case: Case) -> None:
    for wrong in (torch.int32, torch.complex64, torch.float8_e4m3fn, "float32", float):
        with pytest.raises(ValueError, match="state_dtype must be one of torch"):
            case.ours(parameters((2,)), **case.arguments, state_dtype=wrong)
        with pytest.raises(ValueError, match="state_dtype must be one of torch"):
            case.ours([{"params": parameters((2,)), "state_dtype": wrong}], **case.arguments)


@pytest.mark.parametrize("case", [c for c in PLAIN if "betas" in c.arguments], ids=label)
def test_betas_are_as_many_as_the_rule_has(case: Case) -> None:
    for betas in [(0.9,), (0.9, 0.99, 0.999), (), 0.9]:
        with pytest.raises(ValueError, match=r"betas must be 2 numbers \(beta1, beta2\), not "):
            case.ours(parameters((2,)), betas=betas)
        with pytest.raises(ValueError, match="betas must be 2 numbers"):
            case.ours([{"params": parameters((2,)), "betas": betas}])
    optimizer = case.ours(parameters((2,)), betas=[0.9, 0.99])
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    optimizer.param_groups[0]["betas"] = (0.9, 0.99, 0.999)
    with pytest.raises(ValueError, match="betas must be 2 numbers"):
        optimizer.step()


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 1.0}),
    ("SGD", {"momentum": 1.25, "dampening": 1.5}),
    ("SGD", {"momentum": 0.5, "dampening": -0.5}),
    ("SGD", {"momentum": 1.5, "nesterov": True}),
    ("Nesterov", {"momentum": 1.5}),
    ("RMSprop", {"alpha": 1.0}),
    ("RMSprop", {"alpha": 1.0, "momentum": 1.25, "centered": True}),
    ("RMSprop", {"alpha": 1.001}),
    ("Adadelta", {"rho": 1.0}),
    ("Adadelta", {"rho": 0.0}),
]


@pytest.mark.parametrize(("name", "arguments"), ACCEPTED, ids=str)
def test_what_torch_accepts_is_computed_as_torch_does(name: str, arguments: dict[str, Any]) -> None:
    theirs = getattr(torch.optim, {"Nesterov": "SGD"}.get(name, name))
    further = {"nesterov": True} if name == "Nesterov" else {}
    start = parameters((5, 4), dtype=torch.float64)
    mine = train(getattr(ours, name)(copies(start), **arguments), [1, 2, 4])
    other = train(theirs(copies(start), **arguments, **further), [1, 2, 4])
    for p, q in zip(mine.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert torch.allclose(p, q, rtol=1e-9, atol=0, equal_nan=True)


@with_torch
def test_numbers_of_a_group_are_not_looked_at_again(case: Case) -> None:
    """A schedule or its owner may make them what the constructor refuses, as in torch."""
    start = parameters((5, 4), dtype=torch.float64)
    found = []
    for make, arguments in ((case.ours, case.arguments), (case.theirs, case.torch_arguments)):
        optimizer = train(make(copies(start), **arguments), [1, 2])
        optimizer.param_groups[0].update(lr=-0.5, weight_decay=-0.25)
        optimizer.add_param_group({"params": copies(start), "lr": -0.125})
        train(optimizer, [4])
        optimizer.param_groups[0]["lr"] = float("nan")
        found.append([p for group in train(optimizer, [5]).param_groups for p in group["params"]])
    for p, q in zip(*found, strict=True):
        assert torch.allclose(p, q, rtol=1e-6, atol=0, equal_nan=True)
