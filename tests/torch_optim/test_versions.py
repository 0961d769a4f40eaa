"""A step counts up the versions of what it writes, so that autograd notices."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .support import PLAIN, Case, label, parameters, train
from .test_memory import by_path, on

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)


def backward_after_a_step(kind: Any, **arguments: Any) -> tuple[type[BaseException], str]:
    w = torch.nn.Parameter(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
    x = torch.ones(2, requires_grad=True)
    loss = ((w @ x) ** 2).sum()
    loss.backward(retain_graph=True)
    kind([w], **arguments).step()
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    return type(caught.value), str(caught.value).split("; expected", 1)[0].split(" is at ")[0]


@by_class
def test_going_back_through_old_values_is_torchs_error(case: Case) -> None:
    theirs = backward_after_a_step(torch.optim.SGD, lr=0.1)
    assert "modified by an inplace operation" in theirs[1]
    assert backward_after_a_step(case.ours, **case.arguments) == theirs


def versions(optimizer: Any, p: torch.Tensor) -> dict[str, int]:
    found = {"p": p._version, "g": p.grad._version}
    state = optimizer.state.get(p, {})
    return found | {key: value._version for key, value in state.items()}


LAYOUTS = {
    "dense": torch.ones(4, 3, 2, 2),
    "channels_last": torch.ones(4, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "holes": torch.ones(4, 3, 2, 4)[..., ::2],
    "complex": torch.ones(4, 3, 2, 2, dtype=torch.complex64),
    "conjugate": torch.ones(4, 3, 2, 2, dtype=torch.complex64).conj(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@by_path
@by_class
def test_all_that_is_written_and_nothing_else_counts_up(case: Case, path: str, layout: str) -> None:
    p = torch.nn.Parameter(LAYOUTS[layout].detach())
    optimizer = case.ours([p], **case.arguments)
    with on(path, case):
        for scale in (None, 2.0):
            p.grad = torch.ones_like(LAYOUTS[layout])
            optimizer.step()
            p.grad = torch.ones_like(p.grad)
            before = versions(optimizer, p)
            if scale is not None:
                optimizer.grad_scale = torch.tensor(scale)
            optimizer.step()
            after = versions(optimizer, p)
            assert after.pop("g") - before.pop("g") == 0 or scale is not None
            assert all(after[name] > before[name] for name in before), (before, after)
            if scale is not None:
                assert p.grad._version > 0


@by_class
def test_inference_mode_is_as_with_torchs_classes(case: Case) -> None:
    outside = parameters((4,))[:1]
    with torch.inference_mode():
        inside = [torch.ones(4)]
        for ps in (outside, inside):
            optimizer = train(case.ours(ps, **case.arguments), [1, 2])
            expected = train(case.ours([torch.ones(4)], **case.arguments), [1, 2])
            if ps is inside:
                assert torch.equal(ps[0], expected.param_groups[0]["params"][0])
    before = inside[0].clone()
    inside[0].grad = torch.ones(4)
    words = "Inplace update to inference tensor outside InferenceMode is not allowed"
    with pytest.raises(RuntimeError, match=words):
        optimizer.step()
    assert torch.equal(inside[0], before)
    with pytest.raises(RuntimeError, match=words):
        torch.optim.SGD(inside, lr=0.1).step()
