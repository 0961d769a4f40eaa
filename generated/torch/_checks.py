# Copied by `stepforge build` from templates/torch/_checks.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What a step refuses, before it has written anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ._tensors import GRADIENT, PLAIN, REALS, overlaps

_COMPLEX = frozenset((torch.complex32, torch.complex64, torch.complex128))


def is_fake(tensor: torch.Tensor) -> bool:
    """Whether a tensor only pretends to be on its device, as in a `FakeTensorMode`."""
    return isinstance(tensor, FakeTensor)


def refuse_tracing(owner: str) -> None:
    """Refuses to be traced: the update is not made of torch's operators, so a trace would lack it.

    Args:
        owner: The name of the optimizer's class.

    Raises:
        RuntimeError: `make_fx`, `torch.jit.trace` or a transform of `torch.func` is at work.
    """
    if get_proxy_mode() is not None:
        tracer = "make_fx"
    elif torch.jit.is_tracing():
        tracer = "torch.jit.trace"
    elif torch._C._functorch.peek_interpreter_stack() is not None:
        tracer = "a transform of torch.func"
    else:
        return
    raise RuntimeError(
        f"a step of {owner} cannot be traced by {tracer}: kernels of its own compute it, and a "
        "trace of torch's operators would lack the update. Call step() outside of what is traced"
    )


def are_simple(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether the tensors of a parameter, itself first, are plain, real, contiguous and together.

    Then there is nothing to refuse. Almost all are so, and this is what is done for every one.
    """
    shape, device = tensors[0].shape, tensors[0].device
    for tensor in tensors:
        if not (
            type(tensor) in PLAIN
            and tensor.layout is torch.strided
            and tensor.dtype in REALS
            and tensor.is_contiguous()
            and tensor.shape == shape
            and tensor.device == device
            and not tensor.is_neg()
            and not tensor.is_inference()
        ):
            return False
    return True


def check(
    owner: str, names: Sequence[str], tensors: Sequence[torch.Tensor], inputs: int = 0
) -> None:
    """Refuses tensors that the kernels cannot step, in torch's words where it refuses them, too.

    Args:
        owner: The name of the optimizer's class.
        names: "parameter", "gradient", those of inputs, and torch's names of the states.
        tensors: Their local tensors.
        inputs: How many of them, behind the gradient, are inputs.

    Raises:
        RuntimeError: A layout, a subclass, a shape, a device, memory that overlaps, or a tensor of
            inference mode outside of it.
        TypeError: A type of numbers that no kernel computes with.
    """
    for index, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        is_read = GRADIENT <= index <= GRADIENT + inputs
        for refusal in _refusals(owner, name, tensor, tensors[0], is_read):
            raise refusal


def _refusals(
    owner: str, name: str, tensor: torch.Tensor, p: torch.Tensor, is_read: bool
) -> Iterator[Exception]:
    """What is wrong with a tensor, the first first."""
    if tensor.layout != torch.strided:
        yield RuntimeError(f"{owner} does not support a {name} with layout {tensor.layout}")
    if isinstance(tensor, FakeTensor):
        return
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        yield RuntimeError(
            f"{owner} does not support a {name} of type {type(tensor).__name__}: its numbers are "
            "not those in its memory"
        )
    if tensor.dtype not in REALS and tensor.dtype not in _COMPLEX:
        kind = "which no kernel computes with"
        if not tensor.dtype.is_floating_point:
            kind = "which is no floating-point type"
        yield TypeError(f"{name} has dtype {str(tensor.dtype).removeprefix('torch.')}, {kind}")
    if tensor.is_complex() != p.is_complex():
        yield TypeError(f"the parameter has dtype {p.dtype}, and the {name} {tensor.dtype}")
    if tensor.shape != p.shape:
        shapes = f"{tuple(tensor.shape)}, and the parameter {tuple(p.shape)}"
        yield RuntimeError(f"the {name} has shape {shapes}")
    if tensor.device != p.device:
        yield RuntimeError(
            f"Expected all tensors to be on the same device, but the {name} is on {tensor.device}, "
            f"and the parameter on {p.device}"
        )
    if is_read:  # and not written
        return
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        yield RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. "
            f"Make a clone of the {name} to get a normal tensor"
        )
    if overlaps(tensor):
        yield RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation. "
            f"It is the {name}"
        )
