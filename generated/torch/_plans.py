# Copied by `stepforge build` from templates/torch/_plans.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What a group's last step found, for a next step whose tensors are where they were.

A full step looks at everything about every tensor. Most of that stays as it is from step to step,
and a plan remembers it as addresses: one pass compares them, and only gradients may have moved. A
plan owns no tensor of the optimizer.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, NamedTuple

import numpy as np

# isort: split
import torch

from ._jobs import Job, Work
from ._tensors import GRADIENT, mark_written

FARTHEST = 1 << 24
"""Steps that a float32 counter can count."""


class Found(NamedTuple):
    """The tensors of a step for which there is a plan.

    Attributes:
        gradients: The addresses of the gradients, in the order of the parameters.
        scalars: For every scalar state its tensors.
        counters: The counters of steps.
        written: The parameters and their states.
    """

    gradients: list[int]
    scalars: list[list[torch.Tensor]]
    counters: list[torch.Tensor]
    written: list[torch.Tensor]


class Planned(NamedTuple):
    """A step of a group by its plan, for which nothing has been written yet.

    Attributes:
        plan: The plan.
        found: The tensors.
        values: The arguments of the rule's step, without tensors.
        numbers: What the C file needs of the host.
        after: The scalar states after the step.
    """

    plan: Plan
    found: Found
    values: dict[str, Any]
    numbers: list[float]
    after: tuple[float, ...]


class Places:
    """Whose states an optimizer has, by which plans know whether any were added or removed.

    The parameters are alive as long as they have states, so their identities are theirs alone.
    """

    def __init__(self) -> None:
        self._owners: list[int] = []
        self.token = object()
        self.of: dict[int, int] = {}
        self.states: list[Any] = []

    def look(self, states: Mapping[Any, Any]) -> None:
        """Looks at the states of all parameters before a step."""
        owners = [*map(id, states)]
        self.states = [*states.values()]
        if owners != self._owners:
            self._owners, self.token = owners, object()
            self.of = {owner: place for place, owner in enumerate(owners)}

    def forget(self) -> None:
        """Lets go of the states after a step."""
        self.states = []


class Plan:
    """A step of a group whose parameters are plain, on one device, of the same types and step.

    Attributes:
        t: The number of the last step.
        before: The scalar states after it.
        names: The rule's names of the tensors of a parameter.
        types: The types of these tensors.
        sizes: The numbers of elements of the parameters that have gradients.
        rows: The addresses of their tensors.
        gradients: Those of the gradients, where the last step has found them.
        scalars: The rule's names of the scalar states.
        device: Where the parameters are.
        is_on_host: Whether they are stepped on the CPU.
        launched: What the step was launched with: the tables of the kernel, or C code and table.
    """

    def __init__(
        self, group: Mapping[str, Any], work: Work, jobs: Sequence[Job], keys: Mapping[str, str],
        places: Places,
    ) -> None:  # fmt: skip
        """A plan for the step after one that has been done.

        Args:
            group: The parameter group.
            work: What there was to do in it.
            jobs: The parameters that have gradients, in the order of the group.
            keys: The rule's names of states → torch's.
            places: Where the states of all parameters are.
        """
        first = jobs[0]
        self.t, self.names, self.types = first.t, work.names, _types(first)
        self.before = tuple([scalar.item() for scalar in first.scalars])
        self.scalars, self.device = work.scalars, first.tensors[0].device
        self.is_on_host = bool(work.host)
        self.sizes = [job.tensors[0].numel() for job in jobs]
        self.rows = [[tensor.data_ptr() for tensor in job.tensors] for job in jobs]
        self.gradients = [row[GRADIENT] for row in self.rows]
        self.launched: Any = None
        self._backend, self._options = work.backend, _options(work.values)
        self._parameters = [*map(id, group["params"])]
        stepped = {id(job.tensors[0]) for job in jobs}
        self._has_gradient = [owner in stepped for owner in self._parameters]
        self._all_have = all(self._has_gradient)
        self._token = places.token
        has_states = len(first.tensors) > GRADIENT + 1 or first.scalars or first.counter is not None
        self._places = [places.of[id(job.tensors[0])] for job in jobs] if has_states else []
        self._addresses = [row[0] for row in self.rows]
        self._states = [
            (
                keys[name],
                [weakref.ref(job.tensors[at]) for job in jobs],
                [row[at] for row in self.rows],
            )
            for at, name in enumerate(work.names[GRADIENT + 1 :], GRADIENT + 1)
        ]
        self._scalars = [
            (keys[name], [weakref.ref(job.scalars[at]) for job in jobs])
            for at, name in enumerate(work.scalars)
        ]
        self._versions = [
            [job.scalars[at]._version for job in jobs] for at in range(len(work.scalars))
        ]
        counters = [job.counter for job in jobs if job.counter is not None]
        self._counters = [weakref.ref(counter) for counter in counters]
        self._addresses_of_counters = [counter.data_ptr() for counter in counters]
        self._counted = np.array(self._addresses_of_counters, np.int64)
        self._are_wide = bool(counters) and counters[0].dtype == torch.float64
        self._counter_versions = [counter._version for counter in counters]

    @staticmethod
    def fits(work: Work, jobs: Sequence[Job]) -> bool:
        """Whether a step that is done is one that a plan can be made of."""
        if not jobs or work.inputs or work.free or work.empty or (work.host and work.device):
            return False
        first = jobs[0]
        types, key, device = _types(first), (first.t, first.before), first.tensors[0].device
        counters = [job.counter for job in jobs if job.counter is not None]
        scalars = [scalar for job in jobs for scalar in job.scalars]
        return (
            first.t + 1 < FARTHEST
            and all(
                job.is_simple
                and (job.t, job.before) == key
                and _types(job) == types
                and job.tensors[0].device == device
                for job in jobs
            )
            and len({*map(id, counters)}) == len(counters)
            and not any(map(torch.Tensor.is_inference, [*counters, *scalars]))
            and len({counter.dtype for counter in counters}) <= 1
            and all(type(c) is torch.Tensor and c.is_cpu and c.numel() == 1 for c in counters)
            and all(c.dtype in (torch.float32, torch.float64) for c in counters)
        )

    def find(
        self, group: Mapping[str, Any], values: Mapping[str, Any], places: Places
    ) -> Found | None:
        """The tensors of the next step, or None if anything but gradients is elsewhere now."""
        parameters = group["params"]
        if (
            self._token is not places.token
            or self.t + 1 >= FARTHEST
            or group.get("backend") != self._backend
            or _options(values) != self._options
            or [*map(id, parameters)] != self._parameters
        ):
            return None
        gradients = [parameter.grad for parameter in parameters]
        if not self._all_have:
            if [gradient is not None for gradient in gradients] != self._has_gradient:
                return None
            pairs = zip(parameters, gradients, strict=True)
            parameters = [p for p, gradient in pairs if gradient is not None]
            gradients = [gradient for gradient in gradients if gradient is not None]
        of = torch.Tensor
        if (
            {*map(type, gradients)} != {of}
            or {gradient.layout for gradient in gradients} != {torch.strided}
            or {gradient.dtype for gradient in gradients} != {self.types[GRADIENT]}
            or {parameter.dtype for parameter in parameters} != {self.types[0]}
            or [*map(of.numel, gradients)] != self.sizes
            or [*map(of.data_ptr, parameters)] != self._addresses
            or not all(map(of.is_contiguous, gradients))
            or any(map(of.is_neg, gradients))
            or any(map(of.is_inference, gradients))
        ):
            return None
        states = [places.states[place] for place in self._places]
        written: list[torch.Tensor] = [*parameters]
        for key, references, addresses in self._states:
            tensors = _same(states, key, references)
            if tensors is None or [*map(of.data_ptr, tensors)] != addresses:
                return None
            written += tensors
        scalars = []
        for (key, references), versions in zip(self._scalars, self._versions, strict=True):
            tensors = _same(states, key, references)
            if tensors is None or [tensor._version for tensor in tensors] != versions:
                return None
            scalars.append(tensors)
        counters = _same(states, "step", self._counters) if self._counters else []
        if (
            counters is None
            or [counter._version for counter in counters] != self._counter_versions
            or [*map(of.data_ptr, counters)] != self._addresses_of_counters
        ):
            return None
        return Found([*map(of.data_ptr, gradients)], scalars, counters, written)

    def done(self, found: Found, after: tuple[float, ...], library: Any) -> None:
        """Counts a step that has been done.

        Args:
            found: Its tensors.
            after: The scalar states after it.
            library: Compiled code that counts; None where there is none.
        """
        for places, value in zip(found.scalars, after, strict=True):
            for place in places:
                place.fill_(value)
        if library is not None:
            library.count(self._counted, self._are_wide)
            mark_written([*found.written, *found.counters])
        else:
            if found.counters:
                torch._foreach_add_(found.counters, 1)
            mark_written(found.written)
        self._versions = [[version + 1 for version in versions] for versions in self._versions]
        self._counter_versions = [version + 1 for version in self._counter_versions]
        self.t += 1
        # The tensors may have fewer digits.
        self.before = tuple([places[0].item() for places in found.scalars])


def _same(states: Sequence[Any], key: str, references: Sequence[Any]) -> list[Any] | None:
    """The tensors of a key in the states of all parameters, if they are those that are referred to.

    Args:
        states: The states of every parameter.
        key: The key.
        references: Weak references to tensors.
    """
    try:
        tensors = [state[key] for state in states]
    except KeyError:
        return None
    return tensors if all(map(is_, tensors, [of() for of in references])) else None


def _types(job: Job) -> tuple[torch.dtype, ...]:
    return tuple([tensor.dtype for tensor in job.tensors])


def _options(values: Mapping[str, Any]) -> list[Any]:
    """The options among the arguments of the rule's step: which states there are."""
    return [value for value in values.values() if isinstance(value, bool)]
