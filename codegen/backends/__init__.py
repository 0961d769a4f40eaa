"""Backends: each turns a kernel into the exact set of keys of its template.

A new backend is one module with a `Backend` here, one template, and one column of
`codegen.operations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from codegen.backends import multi_tensor, numpy, torch, triton
from codegen.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of output: folder and template are named after it."""

    name: str
    context: Callable[[Kernel], Mapping[str, object]]


BACKENDS: dict[str, Backend] = {
    "numpy": Backend("numpy", numpy.context),
    "triton": Backend("triton", triton.context),
    "multi_tensor": Backend("multi_tensor", multi_tensor.context),
    "torch": Backend("torch", torch.context),
}
