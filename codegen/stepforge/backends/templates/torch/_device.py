"""The step on accelerators: launches of the multi-tensor kernel, which finds tensors in tables."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch

from ._jobs import Job, Scaling, Work
from ._tensors import GRADIENT, Walked, compute_type, scalar_on

KEPT_TABLES = 16
"""Sets of tables that an optimizer remembers: groups and steps apart, gradients that alternate."""


class Tables:
    """Tables on the device that say which tensors a kernel steps, kept from step to step.

    They hold addresses, sizes and types, and are found again by exactly these: no tensor is owned,
    and one that took the memory of another has the same table.

    Attributes:
        last: Those that were asked for last.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._kept: dict[Any, list[Any]] = {}
        self._captured: list[Any] = []
        self._spare: list[torch.Tensor] = []
        self.last: list[Any] = []

    def of(
        self, names: Sequence[str], batch: Sequence[Walked], kernel: Any, device: torch.device
    ) -> list[Any]:
        """The tables of some parameters; built again only when a tensor has another address.

        Args:
            names: The rule's names of the tensors of a parameter: `p`, `g`, inputs and states.
            batch: The tensors of every parameter.
            kernel: Module of the multi-tensor kernel.
            device: Where they are.
        """
        key = (
            device,
            *names,
            *[tensor.data_ptr() for one in batch for tensor in one.tensors],
            *[one.tensors[0].numel() for one in batch],
            *[tensor.dtype for one in batch for tensor in one.tensors],
        )
        found = self._kept.get(key)
        if found is None:
            tables = importlib.import_module(f"{kernel.__package__}._tables")
            given = [dict(zip(names, one.tensors, strict=True)) for one in batch]
            found = tables.build(given, kernel.COLUMNS, kernel.BLOCK, partial(self._place, device))
        if is_capturing(device):  # a graph reads them as long as it is replayed
            self._captured.append(found)
        elif key not in self._kept:
            while len(self._kept) >= KEPT_TABLES:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = found
        self.last = found
        return found

    def _place(self, device: torch.device, array: Any) -> torch.Tensor:
        """A table on the device.

        A graph copies it again whenever it is replayed, from memory that nothing else uses; that
        cannot be allocated while the graph is captured, so steps before put some by.
        """
        host = torch.from_numpy(array)
        if device.type != "cuda":
            return host.to(device)
        if not is_capturing(device):
            self._spare.append(torch.empty(array.nbytes, dtype=torch.uint8, pin_memory=True))
            del self._spare[: -3 * KEPT_TABLES]
            return host.to(device)
        for index, memory in enumerate(self._spare):
            if memory.numel() >= array.nbytes:
                used = self._spare.pop(index)[: array.nbytes].view(host.dtype).view(host.shape)
                used.copy_(host)
                self._captured.append(used)
                return used.to(device, non_blocking=True)
        raise RuntimeError(f"{self._owner} needs a step before it is captured in a graph")


def step_on_device(
    kernel: Any, tables: Tables, work: Work, jobs: Iterable[Job], scale: float | None
) -> None:
    """One step of parameters on accelerators whose counters are on the CPU.

    There is one launch for all tensors of one device, set of types, step number and set of scalar
    states; tensors that are not aligned to 16 bytes, such as views, have a launch of their own.

    Args:
        kernel: Module of the multi-tensor kernel.
        tables: Where its tables are kept.
        work: What there is to do in their group.
        jobs: The parameters.
        scale: What the gradients are divided by, in the compute type; they are stored so, too.
    """
    batches: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        batches.setdefault((job.parts[0].device, job.t, *job.before), []).append(job)
    for (device, t, *before), batch in batches.items():
        with _current(device):
            ready = [job.walked() for job in batch]
            stored = [] if scale is None else [unscale(each, scale) for each in ready]
            for table in tables.of(work.names, ready, kernel, device):
                state = dict(zip(work.scalars, before, strict=True))
                kernel.step(table, state, t, **work.numbers, _checked=False)
            for gradient, unscaled in stored:
                if unscaled is not gradient:
                    gradient.copy_(unscaled)
            for each in ready:
                each.restore(scale is not None, len(work.inputs))


def step_without_waiting(
    kernel: Any,
    tables: Tables,
    work: Work,
    scaling: Scaling,
    host_program: Callable[..., list[torch.Tensor]],
) -> None:
    """One step of the parameters of a group whose counters are on their device.

    An infinity leaves no tensor an element, and adds nothing to the counters.

    Args:
        kernel: Module of the multi-tensor kernel.
        tables: Where its tables are kept.
        work: What there is to do in the group.
        scaling: What `GradScaler` hands over.
        host_program: `_numbers` of the optimizer's class.
    """
    values, is_scaled = work.values, scaling.scale is not None
    keywords = kernel.step_on_device.__kwdefaults__
    flags = {k: bool(values[k]) for k in keywords if k in values}
    # An option of the rule may have the name, and is a flag then.
    scaled = next(k for k in keywords if k not in values and k.rstrip("_") == "scaled")
    batches: dict[tuple[torch.device, int], list[Job]] = {}
    for job in work.free:
        batches.setdefault((job.parts[0].device, job.t), []).append(job)
    for (device, first), batch in batches.items():
        skips = None
        if scaling.found_inf is not None:
            skips = scaling.found_inf.to(device).reshape(()) != 0
        counters = [job.counter for job in batch if job.counter is not None]
        t = scalar_on(device, first).expand(len(batch))
        if counters:
            t = torch.stack(counters).to(device, torch.float64).reshape(-1) + 1
        scalars = [[job.scalars[index] for job in batch] for index in range(len(work.scalars))]
        before = [torch.stack(one).double().reshape(-1) for one in scalars]
        after = dict(zip(work.scalars, before, strict=True))
        given = {
            key: value if isinstance(value, bool) else scalar_on(device, value)
            for key, value in values.items()
        }
        scale = scalar_on(device, scaling.scale if is_scaled else 1.0)
        found = [*host_program(after, t, given), scale]
        numbers = torch.stack([number.double().expand(len(batch)) for number in found], 1)
        with _current(device):
            ready = [job.walked() for job in batch]
            for table in tables.of(work.names, ready, kernel, device):
                bits = numbers.view(torch.int64).index_select(0, table.order)
                addresses, size = table.rows[:, :-1], table.rows[:, -1:]
                size = size if skips is None else size * ~skips
                rows = torch.cat([addresses, size, bits], 1)
                kernel.step_on_device(table, rows, **{scaled: is_scaled}, **flags)
            for each in ready:
                each.restore(is_scaled, len(work.inputs))
        for name, places, old in zip(work.scalars, scalars, before, strict=True):
            new = after[name] if skips is None else torch.where(skips, old, after[name])
            pairs = zip(places, new.to(places[0].dtype).unbind(), strict=True)
            torch._foreach_copy_(places, [value.view_as(place) for place, value in pairs])
        if counters:
            one = 1 if skips is None else (~skips).to(counters[0].dtype)
            torch._foreach_add_(counters, one)


def step_as_before(
    kernel: Any, tables: Iterable[Any], state: dict[str, float], t: int, values: dict[str, Any],
    device: torch.device,
) -> None:  # fmt: skip
    """One step of tensors whose tables are known.

    Args:
        kernel: Module of the multi-tensor kernel.
        tables: Its tables.
        state: The scalar states, the same for all tensors; updated.
        t: The number of the step.
        values: The arguments of the rule's step.
        device: Where the tensors are.
    """
    before = dict(state)
    with _current(device):
        for table in tables:
            state.update(before)
            kernel.step(table, state, t, **values, _checked=False)


def refuse_capture(owner: str, jobs: Sequence[Job]) -> None:
    """Refuses steps with counters on the CPU while a stream is captured: they take host scalars.

    Raises:
        RuntimeError: The stream of a parameter's device is being captured.
    """
    if any(is_capturing(device) for device in {job.parts[0].device for job in jobs}):
        raise RuntimeError(f"{owner} cannot be captured in a CUDA graph without capturable=True")


def is_capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being captured."""
    return device.type == "cuda" and bool(torch.cuda.is_current_stream_capturing())


def unscale(ready: Walked, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts the gradient divided by the scale, in the compute type, in the place of the gradient.

    Returns:
        The gradient, and what was put in its place: the gradient itself if it has the compute type.
    """
    p, g = ready.tensors[0], ready.tensors[GRADIENT]
    real = compute_type(p)
    # Divided by a tensor: of a number, torch takes the reciprocal on some devices.
    divisor = torch.full((), scale, dtype=real, device=g.device)
    unscaled = g.div_(divisor) if g.dtype == real else g.to(real).div_(divisor)
    ready.tensors[GRADIENT] = unscaled
    return g, unscaled


def _current(device: torch.device) -> Any:
    """Makes a device the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
