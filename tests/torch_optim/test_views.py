"""Tensors that do not lie plainly in memory: layouts, lazy signs, and memory that overlaps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .support import PLAIN, Case, label, parameters
from .test_memory import by_path, on

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)


class Operators(TorchDispatchMode):
    """Notes the names of torch's operators on tensors of a size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._sizes = (size, 2 * size)  # complex numbers are pairs

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if any(isinstance(arg, torch.Tensor) and arg.numel() in self._sizes for arg in args):
            self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


COPYING = {"copy_", "clone", "contiguous", "empty_like", "empty_strided", "_to_copy"}


def image(seed: int) -> torch.Tensor:
    return torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(seed))


DENSE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "channels_last_3d": lambda x: x[None].contiguous(memory_format=torch.channels_last_3d),
    "one_channel": lambda x: x[:, :1].contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.reshape(12, 10).t().contiguous().t(),
    "permuted": lambda x: x.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2),
    "complex": lambda x: torch.view_as_complex(x[..., :2].contiguous()).permute(2, 0, 1),
    "a slice": lambda x: torch.cat([x, x])[4:],
    "no dimension": lambda x: x[0, 0, 0, 0].clone(),
}


@pytest.mark.parametrize("layout", DENSE)
@by_class
def test_dense_tensors_are_walked_in_the_order_of_memory_without_copies(
    case: Case, layout: str
) -> None:
    lay = DENSE[layout]
    plain = torch.nn.Parameter(lay(image(1)).clone(memory_format=torch.contiguous_format))
    dense = torch.nn.Parameter(lay(image(1)))
    a, b = case.ours([plain], **case.arguments), case.ours([dense], **case.arguments)
    for step in range(1, 5):
        dense.grad = lay(image(step))
        plain.grad = dense.grad.clone(memory_format=torch.contiguous_format)
        a.step()
        operators = Operators(dense.numel())
        with operators:
            b.step()
        assert step == 1 or not operators.names & COPYING, operators.names
    assert torch.equal(plain, dense)
    for key, value in a.state[plain].items() if plain in a.state else ():
        assert torch.equal(value, b.state[dense][key]), key
        if value.dim():
            assert b.state[dense][key].stride() == torch.zeros_like(dense).stride()


@pytest.mark.parametrize("layout", [name for name in DENSE if name != "no dimension"])
@pytest.mark.parametrize("path", ["device", "free"])
@by_class
def test_launches_copy_no_dense_tensor(case: Case, path: str, layout: str) -> None:
    """But for gradients that lie otherwise than their parameter."""
    p = torch.nn.Parameter(DENSE[layout](image(1)))
    optimizer = case.ours([p], **case.arguments)
    for as_p in (True, True, False):
        p.grad = DENSE[layout](image(2))
        if not as_p:
            p.grad = torch.stack([p.grad, p.grad], -1)[..., 0]
        operators = Operators(p.numel())
        with on(path, case), operators:
            optimizer.step()
        assert as_p != bool(operators.names & {"copy_", "clone", "contiguous"}), operators.names


@by_class
def test_other_layouts_of_gradient_and_states_change_no_bit(case: Case) -> None:
    lay = DENSE["channels_last"]
    for first, second in ((lay, torch.clone), (torch.clone, lay)):
        p, q = torch.nn.Parameter(image(1)), torch.nn.Parameter(first(image(1)))
        a, b = case.ours([p], **case.arguments), case.ours([q], **case.arguments)
        for step in range(1, 5):
            p.grad, q.grad = image(step), second(image(step))
            for key, value in b.state[q].items() if q in b.state else ():
                b.state[q][key] = second(value) if value.dim() == 4 else value
            a.step()
            b.step()
        assert torch.equal(p, q)
        for key, value in a.state[p].items() if p in a.state else ():
            assert torch.equal(value, b.state[q][key]), key


def negated(x: torch.Tensor) -> torch.Tensor:
    """The same numbers, with a lazy sign."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def conjugate(x: torch.Tensor) -> torch.Tensor:
    return x.conj().resolve_conj().conj()


LAZY = {
    "negated": (negated, torch.float32),
    "conjugate": (conjugate, torch.complex64),
    "conjugate and transposed": (lambda x: conjugate(x.t().contiguous()).t(), torch.complex64),
}


@pytest.mark.parametrize("what", LAZY)
@by_class
def test_lazy_signs_are_trained_through(case: Case, what: str) -> None:
    """Torch's loop trains them or refuses them, by class; they end where plain ones do."""
    lazy, dtype = LAZY[what]

    def draw(seed: int) -> torch.Tensor:
        return torch.randn(3, 4, dtype=dtype, generator=torch.Generator().manual_seed(seed))

    p, q = torch.nn.Parameter(draw(1)), lazy(draw(1)).detach().requires_grad_()
    assert q.is_neg() or q.is_conj()
    assert torch.equal(p, q)
    a, b = case.ours([p], **case.arguments), case.ours([q], **case.arguments)
    for step in range(1, 5):
        p.grad, q.grad = draw(step), lazy(draw(step)) if step > 2 else draw(step)
        for optimizer in (a, b):
            optimizer.grad_scale = torch.tensor(4.0)
            optimizer.step()
        assert torch.equal(p.grad, q.grad)
    assert q.is_neg() or q.is_conj()
    assert not torch.equal(p, draw(1))
    assert torch.equal(p, q)


@by_class
def test_lazy_signs_are_trained_as_torch_trains_them(case: Case) -> None:
    if not case.spec.torch_class:
        return
    start = torch.randn(5, generator=torch.Generator().manual_seed(1))
    p, q = (negated(start).detach().requires_grad_() for _ in range(2))
    ours = case.ours([p], **case.arguments)
    theirs = case.theirs([q], **case.torch_arguments, foreach=False)
    for step in range(1, 5):
        p.grad, q.grad = (torch.full((5,), float(step)) for _ in range(2))
        ours.step()
        theirs.step()
    assert not torch.equal(p, start)
    torch.testing.assert_close(p, q)


OVERLAPPING = {
    "expanded": lambda: torch.ones(1).expand(4),
    "one row for all": lambda: torch.ones(1, 3).expand(4, 3),
    "sliding windows": lambda: torch.arange(6.0).as_strided((3, 3), (1, 1)),
}


@pytest.mark.parametrize("what", OVERLAPPING)
@by_class
def test_memory_that_overlaps_is_refused_before_anything_is_written(case: Case, what: str) -> None:
    first, second = parameters((4,))[:1], OVERLAPPING[what]().requires_grad_()
    before = copy.deepcopy((first[0].detach(), second.detach()))
    for p in (*first, second):
        p.grad = torch.ones(p.shape)
    optimizer = case.ours([{"params": first}, {"params": [second]}], **case.arguments)
    states = {p: dict(state) for p, state in optimizer.state.items()}
    words = (
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation."
    )
    with pytest.raises(RuntimeError) as caught:
        optimizer.step()
    assert str(caught.value).startswith(words)
    assert torch.equal(first[0], before[0])
    assert torch.equal(second, before[1])
    assert optimizer.state == states
    if what != "sliding windows":  # which torch writes in an order that it does not promise
        with pytest.raises(RuntimeError) as caught:
            torch.optim.SGD([second], lr=0.1).step()
        assert str(caught.value).startswith(words)


@by_class
def test_states_that_overlap_are_refused(case: Case) -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = case.ours([p], **case.arguments)
    for kind in (None, "expanded"):
        p.grad = torch.ones(3)
        state = optimizer.state.get(p, {})
        state.update({k: v[:1].expand(3) for k, v in state.items() if kind and v.dim()})
        before = p.detach().clone()
        if kind is None or not any(value.dim() for value in state.values()):
            optimizer.step()
            continue
        with pytest.raises(RuntimeError, match="refers to a single memory location"):
            optimizer.step()
        assert torch.equal(p, before)


def test_only_memory_that_overlaps_is_refused() -> None:
    from generated.torch._tensors import overlaps

    for sizes, strides in (((2, 3), (3, 2)), ((3, 3), (1, 1)), ((2, 2, 2), (1, 3, 4)),
                           ((4, 1), (1, 0)), ((2, 2), (2, 1)), ((3, 2), (2, 3)),
                           ((2, 3, 2), (5, 2, 4)), ((0, 3), (0, 0)), ((2,), (0,))):  # fmt: skip
        tensor = torch.arange(40.0).as_strided(sizes, strides)
        with torch.device("meta"):  # where new tensors go makes no difference
            found = overlaps(tensor)
        assert found == (len(tensor.unique()) < tensor.numel()), (sizes, strides)


@by_class
def test_expanded_gradients_are_read_and_unscaled(case: Case) -> None:
    p, q = torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(4, 3))
    a, b = case.ours([p], **case.arguments), case.ours([q], **case.arguments)
    for step in range(1, 4):
        row = torch.randn(1, 3, generator=torch.Generator().manual_seed(step)).expand(4, 3)
        p.grad, q.grad = row.clone(), row
        for optimizer in (a, b):
            optimizer.grad_scale = torch.tensor(8.0) if step == 3 else None
            optimizer.step()
        assert torch.equal(p.grad, q.grad)
    assert torch.equal(p, q)


def wrong_shape(optimizer: Any, p: torch.Tensor) -> None:
    p.data = torch.ones(2)


def wrong_type(optimizer: Any, p: torch.Tensor) -> None:
    p.grad, p.data = None, torch.ones(3).to(torch.float8_e5m2)
    p.grad = torch.ones(3).to(torch.float8_e5m2)


def wrong_number(optimizer: Any, p: torch.Tensor) -> None:
    optimizer.param_groups[1]["lr"] = "fast"


def sparse(optimizer: Any, p: torch.Tensor) -> None:
    p.grad = torch.ones(3).to_sparse()


def state_elsewhere(optimizer: Any, p: torch.Tensor) -> None:
    state = optimizer.state[p]
    state.update({k: torch.empty(3, device="meta") for k, v in state.items() if v.dim()})
    if not any(value.is_meta for value in state.values()):
        sparse(optimizer, p)


@pytest.mark.parametrize("spoil", [wrong_shape, wrong_type, wrong_number, sparse, state_elsewhere])
@by_class
def test_a_step_that_raises_has_changed_nothing(case: Case, spoil: Callable[..., None]) -> None:
    """The fault is in the second group, and the first one is as it was."""
    for steps in (0, 1):
        p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
        optimizer = case.ours([{"params": [p]}, {"params": [q]}], **case.arguments)
        for _ in range(steps + 1):
            p.grad, q.grad = torch.ones(3), torch.ones(3)
            optimizer.step() if _ < steps else None
        spoil(optimizer, q)
        before = copy.deepcopy((p.detach(), p.grad, list(optimizer.state.values())))
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            optimizer.step()
        after = p.detach(), p.grad, list(optimizer.state.values())
        assert str(after) == str(before)


@by_path
@by_class
def test_parameters_without_elements_count_and_keep_scalar_states(case: Case, path: str) -> None:
    """Also where they are alone, and nothing is launched for them."""
    p = torch.nn.Parameter(torch.ones(0, 3))
    ours = case.ours([p], **case.arguments)
    for _ in range(3):
        p.grad = torch.ones_like(p)
        with on(path, case):
            ours.step()
    if case.spec.torch_class:
        q = torch.nn.Parameter(torch.ones(0, 3))
        theirs = case.theirs([q], **case.torch_arguments, foreach=False)
        for _ in range(3):
            q.grad = torch.ones_like(q)
            theirs.step()
        for key, value in ours.state.get(p, {}).items():
            torch.testing.assert_close(value, theirs.state[q][key], check_dtype=path != "free")


@by_class
def test_parameters_on_several_devices_share_a_group(case: Case) -> None:
    start = torch.ones(3)
    alone, here, nowhere = (torch.nn.Parameter(start.clone().to(d)) for d in ("cpu", "cpu", "meta"))
    one = case.ours([alone], **case.arguments)
    both = case.ours([here, nowhere], **case.arguments)
    for step in range(1, 4):
        for p in (alone, here, nowhere):
            p.grad = torch.full_like(p, step)
        one.step()
        both.step()
    assert torch.equal(alone, here)
    assert all(value.is_meta or not value.dim() for value in both.state.get(nowhere, {}).values())


@by_class
def test_a_module_can_swap_the_tensors_of_its_parameters(case: Case) -> None:
    """Which torch refuses while anybody else holds them."""
    model = torch.nn.Linear(2, 2)
    optimizer = case.ours(model.parameters(), **case.arguments)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        for dtype in (torch.float32, torch.float64):
            model.to(dtype)
            optimizer.state.clear()
            model(torch.ones(2, dtype=dtype)).sum().backward()
            before = model.weight.detach().clone()
            optimizer.step()
            optimizer.zero_grad()
            assert not torch.equal(before, model.weight)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
