"""An `OptimizerInfo` for the generated classes of `PLAIN`, as torch's tests have them for its own.

Where torch has the optimizer, its inputs, wrong inputs and schedulers are those of torch's entry in
`optim_db`; what only torch can do (`differentiable`, sparse gradients) is left out.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch.testing._internal.common_optimizers import (
    OptimizerInfo,
    OptimizerInput,
    _get_optim_inputs_including_global_cliquey_kwargs,
    optim_db,
)

from .support import PLAIN, ours

DB = {info.name: info for info in optim_db}


def _nesterov_inputs(device: str, dtype: torch.dtype | None = None) -> list[OptimizerInput]:
    """Those of SGD, without what this class has one value of."""
    found = []
    for given in DB["SGD"].optim_inputs_func(device, dtype):
        for fixed in ("nesterov", "dampening"):
            given.kwargs.pop(fixed, None)
        found.append(given)
    return found


def _lion_inputs(device: str, dtype: torch.dtype | None = None) -> list[OptimizerInput]:
    """Those of Adam, without what Lion has not."""
    found = []
    for given in DB["Adam"].optim_inputs_func(device, dtype):
        if not given.kwargs.pop("amsgrad", False):
            given.kwargs.pop("eps", None)
            found.append(given)
    betas = {"betas": (0.95, 0.98), "weight_decay": 0.1, "maximize": True}
    return [*found, OptimizerInput(params=None, kwargs=betas, desc="betas, maximize")]


def _averaging_inputs(
    momentum: str, device: str, dtype: torch.dtype | None = None
) -> list[OptimizerInput]:
    """Those of SGD, where the momentum has another name and cannot be off."""
    found = []
    for given in DB["SGD"].optim_inputs_func(device, dtype):
        if "dampening" in given.kwargs or "nesterov" in given.kwargs:
            continue
        if (value := given.kwargs.pop("momentum", None)) is not None:
            given.kwargs[momentum] = value
        given.kwargs["lr"] = given.kwargs.get("lr", 1e-3) / 10  # steps are up to ten times as far
        found.append(given)
    return found


def _plain_inputs(
    arguments: Iterable[str], device: str, dtype: torch.dtype | None = None
) -> list[OptimizerInput]:
    """Of a class that torch has nothing like."""
    found = [{}, {"lr": torch.tensor(0.001)}, {"weight_decay": 0.1}, {"maximize": True}]
    return [
        OptimizerInput(params=None, kwargs=kwargs, desc=", ".join(kwargs) or "default")
        for kwargs in found
        if {*kwargs} <= {*arguments}
    ]


OWN = {
    "Nesterov": (_nesterov_inputs, "SGD"),
    "Lion": (_lion_inputs, "Adam"),
    "Momentum": (functools.partial(_averaging_inputs, "momentum"), "SGD"),
    "MomentumEma": (functools.partial(_averaging_inputs, "beta"), "SGD"),
}
"""Classes under another name than torch's, or that torch has not: inputs, and whose schedulers."""


def _info(name: str) -> OptimizerInfo:
    optimizer = getattr(ours, name)
    accepted = inspect.signature(optimizer.__init__).parameters
    own = OWN.get(name)
    if name not in DB and own is None:
        own = (functools.partial(_plain_inputs, [*accepted]), "Adam")
    torchs = DB[own[1] if own else name]
    supported = tuple(x for x in torchs.supported_impls if x in accepted and x != "differentiable")
    return OptimizerInfo(
        optimizer,
        optim_inputs_func=own[0] if own else torchs.optim_inputs_func,
        scheduler_inputs=torchs.scheduler_inputs,
        supported_impls=supported,
        not_og_supported_flags=torchs.not_og_supported_flags,
        has_capturable_arg="capturable" in accepted,
        optim_error_inputs_func=None if own else torchs.optim_error_inputs_func,
        supports_fused_on=("cpu", "cuda") if "fused" in supported else (),
    )


INFOS = [_info(case.ours.__name__) for case in PLAIN]
IN_TORCH = [info for info in INFOS if info.name in DB]
FUSED = [info for info in INFOS if "fused" in info.supported_impls]


def name_of(info: OptimizerInfo) -> str:
    return str(info.name)


def torchs(info: OptimizerInfo) -> Any:
    """Torch's class of the same name."""
    return DB[info.name].optim_cls


def inputs(info: OptimizerInfo, flags: bool = True) -> list[OptimizerInput]:
    """New inputs on the CPU; with flags, each also with every way to compute on and off."""
    if not flags:
        found: list[OptimizerInput] = info.optim_inputs_func("cpu")
        return found
    return list(_get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float32, info))


@contextlib.contextmanager
def saying(info: OptimizerInfo, given: OptimizerInput) -> Iterator[None]:
    """What fails here says with which arguments."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{info.name} with {given.desc}: {given.kwargs}")
        raise


Body = Callable[[OptimizerInfo, dict[str, Any]], None]


def for_every_input(infos: Iterable[OptimizerInfo], flags: bool = True) -> Callable[[Body], Any]:
    """Makes a test of `(info, arguments)` run with all inputs of every class.

    What fails says with which arguments.
    """

    def decorate(test: Body) -> Any:
        @pytest.mark.parametrize("info", infos, ids=name_of)
        @functools.wraps(test)
        def run(info: OptimizerInfo) -> None:
            for given in inputs(info, flags):
                torch.manual_seed(0)
                arguments = dict(given.kwargs)
                with saying(info, given):
                    test(info, arguments)

        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        )
        return run

    return decorate


def affine(
    dtype: torch.dtype = torch.float32, contiguous: bool = True
) -> tuple[list[torch.nn.Parameter], Callable[[], torch.Tensor]]:
    """A weight and a bias, and a closure that leaves the gradients of a convex loss."""
    if contiguous:
        weight, bias = torch.randn(10, 5, dtype=dtype), torch.randn(10, dtype=dtype)
    else:
        weight = torch.randn(10, 5, 2, dtype=dtype)[..., 0]
        bias = torch.randn(10, 2, dtype=dtype)[..., 0]
    given = torch.randn(5, dtype=dtype)
    found = [torch.nn.Parameter(weight), torch.nn.Parameter(bias)]
    assert all(p.is_contiguous() is contiguous for p in found)
    return found, functools.partial(loss_of, found, given)


def loss_of(parameters: list[torch.nn.Parameter], given: torch.Tensor) -> torch.Tensor:
    """The squared length of an affine map's value, with new gradients."""
    for p in parameters:
        p.grad = None
    weight, bias = parameters
    loss = (weight.mv(given) + bias).pow(2).sum()
    loss.backward()
    return loss.detach()


def twins(parameters: Iterable[torch.Tensor]) -> list[torch.nn.Parameter]:
    """Parameters with the same values."""
    return [torch.nn.Parameter(p.detach().clone()) for p in parameters]


def unnamed(state_dict: dict[str, Any]) -> dict[str, Any]:
    """A state dict without the names of the parameters."""
    found = copy.deepcopy(state_dict)
    for group in found["param_groups"]:
        group.pop("param_names", None)
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested dicts and lists, with where it is."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from leaves(one, f"{path}[{index}]")
    else:
        yield path, value


def assert_same(first: Any, second: Any) -> None:
    """Two state dicts, or parts of such, have the same keys, types and bits."""
    mine, others = dict(leaves(first)), dict(leaves(second))
    assert mine.keys() == others.keys()
    for path, value in mine.items():
        assert type(value) is type(others[path]), path
        if isinstance(value, torch.Tensor):
            assert value.dtype == others[path].dtype, path
            assert torch.equal(value, others[path]), path
        else:
            assert value == others[path], path
