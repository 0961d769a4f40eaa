"""What the constructors of the optimizer classes refuse, beside numbers outside of domains."""

from __future__ import annotations

from typing import Any

import torch

BACKENDS = ("c", "numpy")
STATE_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_tensors(
    lr: Any, betas: tuple[Any, Any] = (0.0, 0.0), foreach: Any = None, capturable: bool = False
) -> None:
    """Refuses what torch's constructors refuse among hyperparameters that are tensors.

    Raises:
        ValueError: A tensor has several elements, betas are of two kinds, or `foreach` is on.
    """
    named = {"lr": lr, "betas[0]": betas[0], "betas[1]": betas[1]}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        if foreach and not capturable:
            raise ValueError(
                f"{name} as a Tensor is not supported for capturable=False and foreach=True"
            )
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element")
    if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, torch.Tensor)):
        raise ValueError("betas must be either both floats or both Tensors")


def entries(name: str, values: Any, parts: tuple[str, ...]) -> tuple[Any, ...]:
    """An argument of several numbers as a tuple.

    Args:
        name: The argument.
        values: What was given.
        parts: What the rule calls its numbers.

    Raises:
        ValueError: There are more numbers than the rule has names, or fewer.
    """
    found = tuple(values) if isinstance(values, list | tuple | torch.Tensor) else (values,)
    if len(found) != len(parts):
        text = f"{name} must be {len(parts)} numbers ({', '.join(parts)}), not {values}"
        raise ValueError(text)
    return found


def check_state_dtype(dtype: Any) -> None:
    """Refuses a type that states cannot have.

    Raises:
        ValueError: It is none of the floating-point types that a kernel computes with.
    """
    if dtype is not None and dtype not in STATE_TYPES:
        known = ", ".join(str(one) for one in STATE_TYPES)
        raise ValueError(f"state_dtype must be one of {known}, not {dtype}")


def check_backend(backend: Any) -> None:
    """Refuses what does not compute on the CPU.

    Raises:
        ValueError: It is neither None nor one of `BACKENDS`.
    """
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f'backend must be "c" or "numpy", not {backend!r}')


def fused_devices() -> list[str]:
    """The devices that torch names for `fused`."""
    try:
        from torch.utils._foreach_utils import _get_fused_kernels_supported_devices
    except ImportError:  # a version of torch that names them elsewhere
        return ["cuda", "cpu"]
    return list(_get_fused_kernels_supported_devices())


def capturable_devices(has_xla: bool) -> list[str]:
    """The devices that torch names for `capturable`."""
    try:
        from torch.optim.optimizer import _get_capturable_supported_devices
    except ImportError:
        return ["cuda"]
    return list(_get_capturable_supported_devices(supports_xla=has_xla))
