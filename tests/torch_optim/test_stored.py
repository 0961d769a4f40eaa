"""States of the type of the parameter in the classes of torch."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch

from generated.torch._tensors import array_of

from .support import ours
from .test_own_classes import own_class


def stepped(dtype: torch.dtype, count: int = 3, **more: object) -> torch.optim.Optimizer:
    torch.manual_seed(3)
    p = torch.nn.Parameter(torch.ones(40, dtype=dtype))
    optimizer = ours.KahanAdamW([p], lr=1e-3, **more)
    for _ in range(count):
        p.grad = torch.randn(40).to(dtype)
        optimizer.step()
    return optimizer


def parts(optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    (p,) = optimizer.param_groups[0]["params"]
    return p, optimizer.state[p]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_state_has_the_type_of_its_parameter(dtype: torch.dtype) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    p, state = parts(stepped(dtype))
    assert p.dtype == state["kahan_comp"].dtype == dtype
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == wide
    assert bool(state["kahan_comp"].count_nonzero())


def test_state_dtype_is_about_the_others() -> None:
    _, state = parts(stepped(torch.bfloat16, state_dtype=torch.float64))
    assert state["exp_avg"].dtype == torch.float64
    assert state["kahan_comp"].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("way", ["state_dict", "file", "deepcopy"])
def test_a_checkpoint_goes_on_with_the_same_bits(dtype: torch.dtype, way: str) -> None:
    saved = stepped(dtype)
    p, _ = parts(saved)
    twin = torch.nn.Parameter(p.detach().clone())
    loaded = ours.KahanAdamW([twin], lr=1e-3)
    if way == "deepcopy":
        loaded = copy.deepcopy(saved)
        (twin,) = loaded.param_groups[0]["params"]
    else:
        checkpoint = copy.deepcopy(saved.state_dict())  # both would write the same states
        if way == "file":
            file = io.BytesIO()
            torch.save(checkpoint, file)
            file.seek(0)
            checkpoint = torch.load(file)
        loaded.load_state_dict(checkpoint)
    for _ in range(3):
        p.grad = torch.randn(40).to(dtype)
        twin.grad = p.grad.clone()
        saved.step()
        loaded.step()
    assert torch.equal(p, twin)
    ours_, theirs = parts(saved)[1], parts(loaded)[1]
    for key, value in ours_.items():
        assert value.dtype == theirs[key].dtype, key
        assert torch.equal(value, theirs[key]), key


def test_a_checkpoint_of_another_type_is_cast_as_the_parameter_is() -> None:
    """Torch's `load_state_dict` casts all states so; the others keep the type they come with."""
    wide = stepped(torch.float32)
    p, state = parts(wide)
    state["kahan_comp"].fill_(1 + 2.0**-12)
    narrow = ours.KahanAdamW([torch.nn.Parameter(p.detach().bfloat16())])
    narrow.load_state_dict(wide.state_dict())
    _, loaded = parts(narrow)
    assert loaded["kahan_comp"].dtype == torch.bfloat16
    assert bool((loaded["kahan_comp"] == 1).all())
    assert loaded["exp_avg"].dtype == torch.float32


FIRST = """\
name = "first"
title = "First"
summary = "S."
reference = "R"
[hyperparameters]
lr = { default = 0.1, doc = "H." }
k = { default = 1.00048828125, doc = "A little more than a tie of float16." }
[state]
a = { init = "k", dtype = "p", doc = "S." }
b = { init = "p", dtype = "p", doc = "S." }
c = { init = "k", doc = "S." }
[rule]
update = '''
a = 0.5*a + g
b = 0.5*b + g
c = 0.5*c + stored(a + b)
p = p - lr*c
'''
"""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_first_values_are_those_of_the_reference(dtype: torch.dtype, tmp_path: Path) -> None:
    """They are rounded to the compute type, as every host scalar is, and then stored."""
    kind = own_class(FIRST, "first", tmp_path)
    p = torch.nn.Parameter(torch.linspace(-1, 2, 40).to(dtype))
    for k in (1.00048828125, 1.00048828125 + 2.0**-40, 1 / 3):
        optimizer = kind([p], k=k)
        needed = optimizer._needed(optimizer._values(optimizer.param_groups[0]))
        state = optimizer._missing(p, optimizer.param_groups[0], needed)
        wanted = optimizer._reference.init(array_of(p), k=k)
        for name, value in wanted.items():
            assert array_of(state[name]).dtype == value.dtype, name
            assert array_of(state[name]).tobytes() == value.tobytes(), name
