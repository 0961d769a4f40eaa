"""Who owns tensors: the parameter groups and the state, and nobody else."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .support import PLAIN, Case, label, parameters, tensors, train

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)
PATHS = ("host", "device", "free")
by_path = pytest.mark.parametrize("path", PATHS)


class Launch:
    """A kernel that does nothing."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *_, **__: None


@contextmanager
def on(path: str, case: Case) -> Iterator[None]:
    """Steps go the way they go on the CPU, on a device, or with counters on the device."""
    import generated.torch._runtime as runtime

    kernel = importlib.import_module(f"generated.multi_tensor.{case.name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, f"{case.name}_kernel", Launch())
        if path == "device":
            patch.setattr(runtime.Optimizer, "_is_on_host", staticmethod(lambda _: False))
        elif path == "free":
            patch.setattr(runtime.Optimizer, "_is_free", staticmethod(lambda *_: True))
        yield


def watched(*found: torch.Tensor) -> list[StorageWeakRef]:
    return [StorageWeakRef(tensor.untyped_storage()) for tensor in found]


def alive(references: list[StorageWeakRef]) -> int:
    if any(not reference.expired() for reference in references):
        gc.collect()
    return sum(not reference.expired() for reference in references)


def states(optimizer: Any, p: torch.Tensor) -> list[torch.Tensor]:
    return list(optimizer.state[p].values()) if p in optimizer.state else []


@by_path
@by_class
def test_a_replaced_parameter_is_freed(case: Case, path: str) -> None:
    """As in densify and prune loops: with its gradient and its states, and before the next step."""
    with on(path, case):
        optimizer = case.ours(parameters((5,), (3, 2)), **case.arguments)
        train(optimizer, [1, 2])
        for _ in range(3):
            old = optimizer.param_groups[0]["params"][1]
            references = watched(old, old.grad, *states(optimizer, old))
            new = torch.nn.Parameter(torch.cat([old.detach(), old.detach()[:1]]))
            optimizer.state.pop(old, None)
            optimizer.param_groups[0]["params"][1] = new
            del old
            assert alive(references) == 0
            train(optimizer, [1, 2])


@by_path
@by_class
def test_moved_and_dropped_states_are_freed(case: Case, path: str) -> None:
    with on(path, case):
        optimizer = case.ours(parameters((5,), (3, 2)), **case.arguments)
        train(optimizer, [1, 2])
        p = optimizer.param_groups[0]["params"][1]
        references = watched(*states(optimizer, p))
        for key, value in optimizer.state[p].items() if references else ():
            optimizer.state[p][key] = value.clone()
        value = None
        assert alive(references) == 0
        train(optimizer, [3])
        references = watched(*states(optimizer, p))
        optimizer.state.pop(p, None)
        assert alive(references) == 0


@by_path
@by_class
def test_gradients_are_freed(case: Case, path: str) -> None:
    with on(path, case):
        optimizer = train(case.ours(parameters((5,), (3, 2)), **case.arguments), [1, 2])
        references = watched(*(p.grad for p in optimizer.param_groups[0]["params"]))
        optimizer.zero_grad()
        assert alive(references) == 0


@by_path
@by_class
def test_an_optimizer_frees_all_that_it_has(case: Case, path: str) -> None:
    with on(path, case):
        ps: Any = parameters((5,), (3, 2))
        complex_ = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
        complex_.grad = torch.ones(3, dtype=torch.complex64)
        optimizer = case.ours([*ps, complex_], **case.arguments)
        train(optimizer, [1, 2])
        references = watched(*tensors(optimizer).values(), complex_)
        del optimizer, ps, complex_
        assert alive(references) == 0


@by_path
@by_class
def test_what_a_step_remembers_does_not_travel(case: Case, path: str) -> None:
    with on(path, case):
        fresh = case.ours(parameters((5,)), **case.arguments)
        optimizer = train(case.ours(parameters((5,)), **case.arguments), [1, 2])
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert vars(other).keys() <= vars(fresh).keys()
            train(other, [3])


@by_class
def test_a_parameter_whose_data_is_replaced_is_stepped_where_it_is(case: Case) -> None:
    """Complex ones, too: a step works on views, and these are of the memory of today."""
    for dtype in (torch.float32, torch.complex64):
        p, q = (torch.nn.Parameter(torch.ones(4, dtype=dtype)) for _ in range(2))
        ours, other = (case.ours([x], **case.arguments) for x in (p, q))
        for step in range(4):
            p.grad, q.grad = (torch.full((4,), step + 1.0, dtype=dtype) for _ in range(2))
            if step == 2:
                p.data = p.detach().clone()
            ours.step()
            other.step()
            assert torch.equal(p, q)
