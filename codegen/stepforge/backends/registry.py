"""Backends: each turns a kernel into the exact set of keys of its template.

A new backend is one module with a `Backend` here, one template, and one column of
`stepforge.operations.table`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from stepforge.backends import multi_tensor, numpy, torch, triton
from stepforge.lowering.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of output: folder and template are named after it.

    Attributes:
        name: Its name.
        context: What its template needs.
        needs: The backends that it is nothing without: `torch` computes with the files of others,
            and a kernel is verified against its reference.
    """

    name: str
    context: Callable[[Kernel], Mapping[str, object]]
    needs: tuple[str, ...] = ()


BACKENDS: dict[str, Backend] = {
    "numpy": Backend("numpy", numpy.context),
    "triton": Backend("triton", triton.context, ("numpy",)),
    "multi_tensor": Backend("multi_tensor", multi_tensor.context, ("numpy",)),
    "torch": Backend("torch", torch.context, ("numpy", "multi_tensor")),
}


def completed(names: Collection[str]) -> tuple[str, ...]:
    """Backends and those that they need, in the order of `BACKENDS`."""
    wanted = {*names, *(needed for name in names for needed in BACKENDS[name].needs)}
    return tuple(name for name in BACKENDS if name in wanted)
