"""Steps of tensors without numbers, and steps that something traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from .support import (
    PLAIN,
    Case,
    assert_equal_bits,
    case_of,
    copies,
    gradients,
    label,
    parameters,
    train,
)

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)


def shapes(optimizer: Any) -> list[dict[str, tuple[Any, ...]]]:
    """Of every parameter: name, shape, type, kind and device of its states."""
    return [
        {
            key: (value.shape, value.dtype, type(value), value.device, value.stride())
            for key, value in optimizer.state.get(p, {}).items()
            if value is not None
        }
        for p in optimizer.param_groups[0]["params"]
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@by_class
def test_a_step_of_fakes_makes_states_as_torchs_loop_does(case: Case, device: str) -> None:
    def steps(kind: Any, arguments: Any) -> Any:
        with FakeTensorMode():
            ps = [torch.nn.Parameter(torch.empty(s, device=device)) for s in ((3, 2), (), (0,))]
            optimizer = kind(ps, **arguments)
            for _ in range(3):
                for p in ps:
                    p.grad = torch.empty_like(p)
                optimizer.step()
        return optimizer

    found = shapes(steps(case.ours, case.arguments))
    assert all(kind is FakeTensor for state in found for _, _, kind, _, _ in state.values())
    if case.spec.torch_class:
        assert found == shapes(steps(case.theirs, {**case.torch_arguments, "foreach": False}))


@by_class
def test_a_step_without_numbers_counts_as_torchs_does(case: Case) -> None:
    def steps(kind: Any, arguments: Any) -> Any:
        p = torch.nn.Parameter(torch.empty(3, 2, device="meta"))
        optimizer = kind([p], **arguments)
        for _ in range(3):
            p.grad = torch.empty_like(p)
            optimizer.step()
        return optimizer

    ours = steps(case.ours, case.arguments)
    if not case.spec.torch_class:
        return
    theirs = steps(case.theirs, {**case.torch_arguments, "foreach": False})
    assert shapes(ours) == shapes(theirs)
    (mine,), (other,) = (o.state.values() or ({},) for o in (ours, theirs))
    for key, value in mine.items():
        assert value.is_meta or value.item() == pytest.approx(other[key].item(), rel=1e-6), key


def traced_by_make_fx(step: Callable[[torch.Tensor], torch.Tensor]) -> None:
    make_fx(step)(torch.ones(3))


def traced_symbolically(step: Callable[[torch.Tensor], torch.Tensor]) -> None:
    make_fx(step, tracing_mode="symbolic", _allow_non_fake_inputs=True)(torch.ones(3))


def traced_by_jit(step: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.jit.trace(step, torch.ones(3), check_trace=False)


def mapped(step: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.func.vmap(step)(torch.ones(2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("trace", [traced_by_make_fx, traced_symbolically, traced_by_jit, mapped])
@by_class
def test_a_step_refuses_to_be_traced_without_its_update(
    case: Case, trace: Callable[..., None]
) -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = case.ours([p], **case.arguments)
    evaluated = []

    def step(gradient: torch.Tensor) -> torch.Tensor:
        p.grad = torch.ones(3)
        optimizer.step(lambda: evaluated.append(1))
        return gradient

    states = dict(optimizer.state)
    with pytest.raises(RuntimeError, match=f"a step of {case.ours.__name__} cannot be traced by"):
        trace(step)
    assert not evaluated
    assert optimizer.state == states
    assert torch.equal(p, torch.ones(3))


@pytest.mark.parametrize("case", [case_of("adamw"), case_of("sgd")], ids=label)
def test_a_compiled_step_is_the_step(case: Case) -> None:
    """The compiler leaves it as it is; what is around it is compiled."""
    start = parameters((4,), (3, 2))
    plain = train(case.ours(copies(start), **case.arguments), [1, 2, 4, 5])
    optimizer = case.ours(copies(start), **case.arguments)

    @torch.compile(backend="eager")
    def step() -> torch.Tensor:
        optimizer.step()
        return optimizer.param_groups[0]["params"][0] * 2

    once = case.ours(copies(start), **case.arguments)
    step_of = torch.compile(once.step, backend="eager")
    for number in (1, 2, 4, 5):
        for each in (optimizer, once):
            ps = each.param_groups[0]["params"]
            for p, g in zip(ps, gradients(ps, number), strict=True):
                p.grad = g
        doubled = step()
        step_of()
        assert torch.equal(doubled, optimizer.param_groups[0]["params"][0] * 2)
    assert_equal_bits(plain, optimizer)
    assert_equal_bits(plain, once)
