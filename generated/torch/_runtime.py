# Copied by `stepforge build` from templates/torch/runtime.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What the optimizer classes of this folder share; it needs torch, NumPy and ml_dtypes.

On the CPU a step is that of the compiled C file, or of the NumPy reference on views of the tensors,
which lie beside this folder (`_host`). On other devices it launches the multi-tensor kernel, which
is imported only then (`_device`). Groups with `capturable` or `fused` have their counters there,
and what the kernel needs to know of them is computed there, too: such a step waits for nothing, and
a CUDA graph can hold it. A step after one whose tensors lie where they lay is quicker (`_plans`).

A step finds out what there is to do (`_jobs`) and refuses what cannot be done (`_checks`) for all
parameters, before it writes any of them (`_tensors`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "the optimizer classes need torch: pip install torch", name="torch"
    ) from None

from ._arguments import capturable_devices, fused_devices
from ._checkpoints import Checkpoints, Group, counter, counts_on, full_like
from ._checks import are_simple, check, is_fake, refuse_tracing
from ._device import (
    Tables,
    is_capturing,
    refuse_capture,
    step_as_before,
    step_on_device,
    step_without_waiting,
)
from ._host import compiled, compiled_library, module_of, step_on_host
from ._inputs import Inputs
from ._jobs import Job, Needed, Scaling, Work
from ._plans import Places, Plan, Planned
from ._tensors import local, mark_written, number


class Optimizer(Checkpoints):
    """Base of the generated classes, which say what the rule needs.

    A step takes the `grad_scale` and `found_inf` that `GradScaler` sets on optimizers with the mark
    `_step_supports_amp_scaling`, which `fused=True` and `capturable=True` leave on an instance:
    gradients are divided by the scale in place, and a step with an infinity changes nothing,
    counters included. Other instances have their gradients unscaled by `GradScaler` itself.
    """

    _is_eager: ClassVar[bool] = False
    _sparse: ClassVar[str] = ""
    _inputs: ClassVar[Mapping[str, bool]] = {}
    """The rule's names of its inputs → whether each is one number."""

    def __init__(self, params: Any, defaults: Group) -> None:
        super().__init__(params, defaults)
        self._take_scales()
        if self._is_eager:
            for group in self.param_groups:
                for parameter in group["params"]:
                    self._initialize(parameter, group, self._needed(self._values(group)))

    @staticmethod
    def _numbers(state: dict[str, Any], t: torch.Tensor, values: dict[str, Any]) -> list[Any]:
        """The kernel's numbers as float64 tensors, an element for every parameter; new scalars."""
        raise NotImplementedError

    @staticmethod
    def _check_inputs(values: dict[str, Any]) -> None:
        """Refuses inputs outside of their domains; what is None is not known yet."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores what was pickled or loaded."""
        super().__setstate__(state)
        self._take_scales()

    def add_param_group(self, param_group: Group) -> None:
        """Adds a group of parameters with options of its own."""
        super().add_param_group(param_group)
        self._check(self.param_groups[-1])

    def share_memory(self) -> None:
        """Moves the states to memory that processes can share."""
        for state in self.state.values():
            for value in state.values():
                value.share_memory_()

    def _take_scales(self) -> None:
        """Asks `GradScaler` for its scale where torch's classes do: the mark is the instance's."""
        if self.defaults.get("fused") or self.defaults.get("capturable"):
            self._step_supports_amp_scaling = True

    @torch._disable_dynamo  # type: ignore[untyped-decorator]
    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Whatever is refused is refused before any parameter or state changes.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            The loss, or None without closure.

        Raises:
            ValueError: An option has no meaning here, or an input is outside of its domain.
            RuntimeError: A parameter, gradient, input or state is missing or cannot be stepped, or
                the step is traced.
            TypeError: One of them has a type that no kernel computes with.
        """
        return self._step(closure, {})

    @torch._disable_dynamo  # type: ignore[untyped-decorator]
    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _step(self, closure: Callable[[], Any] | None, given: Mapping[str, Any]) -> Any:
        """A step that is given inputs by the rule's names, None where there is none; see `step`."""
        refuse_tracing(type(self).__name__)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        scaling = Scaling(getattr(self, "grad_scale", None), getattr(self, "found_inf", None))
        inputs = Inputs(type(self).__name__, self._inputs, given, self.param_groups)
        self._check_inputs(inputs.on_host())
        known: dict[Any, dict[str, float]] = {}
        plans, places = self.__dict__.setdefault("_plans", ({}, Places()))
        places.look(self.state)
        todo: list[Planned | Work] = []
        for group in self.param_groups:
            planned = self._planned(group, scaling, plans.pop(id(group), None), places)
            todo.append(planned or self._work(group, scaling, known, inputs))
        for group, work in zip(self.param_groups, todo, strict=True):
            if isinstance(work, Planned):
                plan: Plan | None = self._run_planned(work)
            else:
                self._run(work, scaling)
                plan = self._plan(group, work, scaling, places)
            if plan is not None:
                plans[id(group)] = plan
        places.forget()
        return loss

    def _planned(
        self, group: Group, scaling: Scaling, plan: Plan | None, places: Places
    ) -> Planned | None:
        """A step of a group that its last step has prepared; None if something has changed."""
        if plan is None or not scaling.is_off or is_capturing(plan.device):
            return None
        self._check(group)
        values = self._values(group)
        found = plan.find(group, values, places)
        if found is None or not (plan.is_on_host or found.gradients == plan.gradients):
            return None
        given = {name: number(value) for name, value in values.items()}
        after = dict(zip(plan.scalars, plan.before, strict=True))
        numbers = module_of(self._reference)._numbers(after, plan.t + 1, **given, _checked=False)
        return Planned(plan, found, given, numbers, tuple(after.values()))

    def _plan(self, group: Group, work: Work, scaling: Scaling, places: Places) -> Plan | None:
        """A plan for the next step of a group."""
        jobs = work.host or work.device
        if not scaling.is_off or not Plan.fits(work, jobs):
            return None
        by_c = None
        if work.host:
            by_c = compiled(type(self).__name__, self._reference, work.backend)
            if by_c is None:
                return None
        places.look(self.state)
        plan = Plan(group, work, jobs, self._keys, places)
        if by_c is not None:
            table = by_c.table(plan.names, plan.rows, plan.types, plan.sizes)
            plan.launched = by_c, table, by_c.options(work.numbers)
        else:
            plan.launched = self._tables().last
        return plan

    def _run_planned(self, planned: Planned) -> Plan:
        """Steps the parameters of a group by its plan."""
        plan, found = planned.plan, planned.found
        if plan.is_on_host:
            by_c, table, options = plan.launched
            if found.gradients != plan.gradients:
                by_c.moved(table, found.gradients)
                plan.gradients = found.gradients
            by_c.step(table, planned.numbers, options)
        else:
            state = dict(zip(plan.scalars, plan.before, strict=True))
            step_as_before(
                self._kernel(), plan.launched, state, plan.t + 1, planned.values, plan.device
            )
        plan.done(found, planned.after, compiled_library(self._reference))
        return plan

    def _check_parameter(self, parameter: torch.Tensor, group: Group) -> None:
        """Refuses parameters that cannot be stepped with the settings of their group."""
        if parameter.grad.is_sparse:
            name = type(self).__name__
            raise RuntimeError(self._sparse or f"{name} does not support sparse gradients")
        if group.get("fused"):
            if parameter.is_meta:
                raise RuntimeError(
                    "`fused=True` requires all the params to be floating point Tensors of "
                    f"supported devices: {fused_devices()} "
                    f"but {parameter.dtype} and {parameter.device.type}"
                )
        elif group.get("capturable") and (parameter.is_cpu or parameter.is_meta):
            listed = ", ".join(["params", *(f"{name}s" for name in self._scalars())])
            raise AssertionError(
                f"If capturable=True, {listed} and state_steps must be on supported devices: "
                f"{capturable_devices(self._has_xla)}."
            )

    def _work(
        self, group: Group, scaling: Scaling, known: dict[Any, dict[str, float]], inputs: Inputs
    ) -> Work:
        """What there is to do in a group; changes nothing.

        Args:
            group: A parameter group.
            scaling: What `GradScaler` hands over.
            known: The numbers that the rule needs → scalar states after the step; added to.
            inputs: What the step is given.
        """
        self._check(group)
        values = {**self._values(group), **inputs.numbers}
        needed = self._needed(values)
        names = ["p", "g", *inputs.names, *(one.name for one in needed if not one.is_scalar)]
        scalars = [one.name for one in needed if one.is_scalar]
        work = Work(
            names, inputs.names, scalars, values, {}, {}, [], [], [], [], group.get("backend")
        )
        is_special = group.get("fused") or group.get("capturable")
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            if is_special or gradient.is_sparse:
                self._check_parameter(parameter, group)
            job = self._job(parameter, group, needed, inputs)
            p = job.parts[0]
            if not job.waits:
                (work.empty if is_fake(p) else work.free).append(job)
                continue
            if scaling.skips:
                continue
            waiting = work.host if self._is_on_host(p) else work.device
            (work.empty if p.is_meta else waiting).append(job)
            if (job.t, *job.before) not in work.after:
                work.numbers.update({name: number(value) for name, value in values.items()})
                self._check_inputs(work.numbers)
                key = (*work.numbers.items(), job.t, *job.before)
                if key not in known:
                    known[key] = self._after(work, job)
                work.after[job.t, *job.before] = known[key]
        if work.device:
            refuse_capture(type(self).__name__, work.device)
            self._kernel()
        return work

    def _job(
        self, parameter: torch.Tensor, group: Group, needed: list[Needed], inputs: Inputs
    ) -> Job:
        """What there is to do for one parameter; changes nothing."""
        state = self.state.get(parameter, {})
        new = self._missing(parameter, group, needed)
        if new:
            state = {**state, **new}
        tensors = [parameter, parameter.grad, *inputs.of(parameter)]
        tensors += [state[one.key] for one in needed if not one.is_scalar]
        scalars = [state[one.key] for one in needed if one.is_scalar]
        parts, is_simple, fakes = tensors, are_simple(tensors), False
        if not is_simple:
            parts = [local(tensor, parameter) for tensor in tensors]
            keys = [one.key for one in needed if not one.is_scalar]
            names = ("parameter", "gradient", *inputs.names, *keys)
            check(type(self).__name__, names, parts, len(inputs.names))
            fakes = is_fake(parts[0])
        waits = not (fakes or self._is_free(parameter, group))
        before = tuple([value.item() for value in scalars]) if waits and scalars else ()
        steps, t = None, 1 if all(one.key in new for one in needed) else 2
        if self._has_counter:
            steps = state["step"]
            t = int(steps.item()) + 1 if waits else 0
            if not fakes and not counts_on(steps, t):
                steps = new["step"] = steps.double()
        number_of_inputs = len(inputs.names)
        return Job(
            tensors, parts, is_simple, scalars, before, steps, t, waits, new, number_of_inputs
        )

    def _after(self, work: Work, job: Job) -> dict[str, float]:
        """The scalar states after a step; refuses numbers with which the rule has no value.

        Raises:
            ArithmeticError: A host scalar has no value, such as a division by zero.
        """
        nothing = np.empty(0, np.float32)
        given = dict.fromkeys(work.inputs, nothing)
        state: dict[str, Any] = dict.fromkeys(work.names[2 + len(given) :], nothing)
        state.update(zip(work.scalars, job.before, strict=True))
        with np.errstate(all="ignore"):
            _, new = self._reference.step(
                nothing, nothing, state, job.t, **given, **work.numbers, _checked=False
            )
        return {name: new[name] for name in work.scalars}

    def _run(self, work: Work, scaling: Scaling) -> None:
        """Steps the parameters of a group."""
        waiting = [*work.host, *work.device, *work.empty]
        jobs = [*work.free, *waiting]
        for job in jobs:
            if job.new:
                self.state[job.tensors[0]].update(job.new)
        if work.free:
            tables = self._tables()
            step_without_waiting(self._kernel(), tables, work, scaling, self._numbers)
        if work.host:
            self._step_on_host(work, work.host, scaling.number)
        if work.device:
            self._step_on_device(work, work.device, scaling.number)
        for job in waiting:
            if job.before:
                after = work.after[job.t, *job.before]
                for name, value in zip(work.scalars, job.scalars, strict=True):
                    value.fill_(after[name])
        if counters := [job.counter for job in waiting if job.counter is not None]:
            torch._foreach_add_(counters, 1)
        is_scaled = scaling.scale is not None
        mark_written([tensor for job in jobs for tensor in job.written(is_scaled)])

    def _step_on_host(self, work: Work, jobs: list[Job], scale: float | None) -> None:
        """One step on the CPU."""
        step_on_host(type(self).__name__, self._reference, work, jobs, scale)

    def _step_on_device(self, work: Work, jobs: list[Job], scale: float | None) -> None:
        """One step on accelerators, with counters on the CPU."""
        step_on_device(self._kernel(), self._tables(), work, jobs, scale)

    @staticmethod
    def _is_on_host(parameter: torch.Tensor) -> bool:
        """Whether a parameter is stepped on the CPU."""
        return bool(parameter.is_cpu)

    @staticmethod
    def _is_free(parameter: torch.Tensor, group: Group) -> bool:
        """Whether a step of this parameter waits for nothing: its counter is on its device."""
        on_device = group.get("capturable") or group.get("fused")
        return bool(on_device) and not parameter.is_cpu

    def _initialize(self, parameter: torch.Tensor, group: Group, needed: list[Needed]) -> None:
        """Makes the states that are needed and not there yet."""
        if new := self._missing(parameter, group, needed):
            self.state[parameter].update(new)

    def _missing(
        self, parameter: torch.Tensor, group: Group, needed: list[Needed]
    ) -> dict[str, torch.Tensor]:
        """The counter and the states that a parameter needs and does not have yet."""
        state, new = self.state.get(parameter, {}), {}
        if self._has_counter and "step" not in state:
            new["step"] = counter(0.0, parameter, group)
        for one in needed:
            if state.get(one.key) is None:
                if one.is_scalar:
                    new[one.key] = self._scalar(one.first, parameter, group)
                else:
                    new[one.key] = full_like(one, parameter, group)
        return new

    def _kernel(self) -> Any:
        """The module of the multi-tensor kernel."""
        package, _, name = self._reference.__name__.rpartition(".")
        return importlib.import_module(f"{package.rpartition('.')[0]}.multi_tensor.{name}")

    def _tables(self) -> Tables:
        """Tables of this optimizer; they do not travel with it when it is copied or pickled."""
        if "_device_tables" not in self.__dict__:
            self._device_tables = Tables(type(self).__name__)
        return self._device_tables
