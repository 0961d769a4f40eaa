# Copied by `stepforge build` from templates/torch/runtime.py. Do not edit.
"""What the optimizer classes of this folder share; it needs torch, NumPy and ml_dtypes.

On the CPU a step computes on NumPy views of the tensors, with the NumPy reference beside this
folder. On other devices it launches the multi-tensor kernel, which is imported only then. Groups
with `capturable` or `fused` have their counters there, and what the kernel needs to know of them is
computed there, too: such a step waits for nothing, and a CUDA graph can hold it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "the optimizer classes need torch: pip install 'stepforge[torch]', or pip install torch",
        name="torch",
    ) from None

Group = dict[str, Any]
CHUNK = 1 << 15
"""Elements of a contiguous tensor that NumPy computes at a time, so that they stay in the cache."""
KEPT_TABLES = 16
"""Sets of tables that an optimizer remembers: groups and steps apart, gradients that alternate."""
_EXACT_COUNTS = 1 << 24
"""From here on float32 counters would stand still."""
_HALF = (torch.bfloat16, torch.float16)
_REALS = frozenset((torch.float32, torch.float64, *_HALF))
_PLAIN = (torch.Tensor, torch.nn.Parameter)


class Needed(NamedTuple):
    """A state that the options of a group need.

    Attributes:
        name: The rule's name.
        key: Torch's name.
        first: Its first value.
        is_scalar: Whether it is one number for each parameter.
    """

    name: str
    key: str
    first: float
    is_scalar: bool


class Kept(NamedTuple):
    """What a step of one parameter works on beside the gradient, as long as it stays the same.

    Complex numbers are pairs of reals, of a DTensor it is the local part.

    Attributes:
        needed: The states that its group needs.
        values: Torch's name of a state → its tensor.
        parameter: The parameter.
        tensors: The rule's name of a state → its tensor.
        scalars: The rule's name of a scalar state → a tensor of one element.
        dense: Whether parameter and states are contiguous.
    """

    needed: list[Needed]
    values: dict[str, torch.Tensor]
    parameter: torch.Tensor
    tensors: dict[str, torch.Tensor]
    scalars: dict[str, torch.Tensor]
    dense: bool


class Job(NamedTuple):
    """One parameter in one step.

    Attributes:
        kept: What stays the same from step to step.
        gradient: Its gradient.
        counter: The number of steps so far; None if torch's class keeps none.
        t: The number of this step, from 1; 0 if the counter alone knows.
        waits: Whether the step may wait for numbers of the device.
    """

    kept: Kept
    gradient: torch.Tensor
    counter: torch.Tensor | None
    t: int
    waits: bool


class Scaling:
    """What `GradScaler` hands over: tensors of one element on the parameters' device.

    Attributes:
        scale: What the gradients are divided by; None if they are not.
        found_inf: Not zero if one of them is infinite or NaN; None if nobody has looked.
    """

    def __init__(self, scale: torch.Tensor | None, found_inf: torch.Tensor | None) -> None:
        self.scale = scale
        self.found_inf = found_inf
        self._skips: bool | None = None

    @property
    def skips(self) -> bool:
        """Whether nothing is to be done; waits for the device."""
        if self._skips is None:
            self._skips = self.found_inf is not None and bool(self.found_inf.item())
        return self._skips


class Optimizer(torch.optim.Optimizer):  # type: ignore[misc]
    """Base of the generated classes, which say what the rule needs.

    `GradScaler` hands its scale and whether it found an infinity over to the step, as it does to
    torch's fused classes: gradients are divided by the scale in place, and a step with an infinity
    changes nothing, counters included.
    """

    _step_supports_amp_scaling = True
    _reference: ClassVar[Any]
    """Module of the NumPy reference; the Triton kernel's has the same name."""
    _keys: ClassVar[Mapping[str, str]]
    """The rule's name of a state → torch's."""
    _constants: ClassVar[Mapping[str, object]] = {}
    """Options of torch's class that have one value here."""
    _has_counter: ClassVar[bool] = True
    _is_eager: ClassVar[bool] = False
    _sparse: ClassVar[str] = ""

    def __init__(self, params: Any, defaults: Group) -> None:
        super().__init__(params, defaults)
        if self._is_eager:
            for group in self.param_groups:
                for parameter in group["params"]:
                    self._initialize(parameter, group, self._needed(self._values(group)))

    @staticmethod
    def _values(group: Group) -> dict[str, Any]:
        """The arguments of the rule's `step` in a parameter group."""
        raise NotImplementedError

    @staticmethod
    def _numbers(state: dict[str, Any], t: torch.Tensor, values: dict[str, Any]) -> list[Any]:
        """The kernel's numbers as float64 tensors, an element for every parameter; new scalars."""
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores what was pickled or loaded; what older checkpoints lack gets its default."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            for parameter in group["params"]:
                if parameter in self.state:
                    self._to_tensors(parameter, group)

    def _to_tensors(self, parameter: torch.Tensor, group: Group) -> None:
        """Counters and scalar states that an older checkpoint holds as numbers."""
        state = self.state[parameter]
        for key in ("step", *self._keys.values()):
            if isinstance(state.get(key), int | float):
                state[key] = _scalar(state[key], parameter, group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a checkpoint of this class or of torch's.

        Unlike torch's, states of 16-bit parameters keep the type they come with, unless the group
        has a `state_dtype`.
        """
        loaded: dict[str, Any] = {}
        before = self.register_load_state_dict_pre_hook(lambda _, final: loaded.update(final))
        after = self.register_load_state_dict_post_hook(
            lambda _: self._keep_types(loaded), prepend=True
        )
        # User's hooks may replace the checkpoint: the one that counts is that of the last hook.
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _keep_types(self, loaded: dict[str, Any]) -> None:
        """Undoes that torch has cast the states to the type of their parameter."""
        for group, saved in zip(self.param_groups, loaded["param_groups"], strict=True):
            for parameter, index in zip(group["params"], saved["params"], strict=True):
                for key in self._keys.values():
                    value = loaded["state"].get(index, {}).get(key)
                    if not isinstance(value, torch.Tensor):
                        continue
                    if value.numel() == 1 and key in self._scalars():
                        kept = value.to(_scalar_device(parameter, group))
                    elif parameter.is_floating_point():
                        dtype = group["state_dtype"]
                        if dtype is None and parameter.dtype not in _HALF:
                            continue
                        kept = value.to(device=parameter.device, dtype=dtype or value.dtype)
                    else:
                        continue
                    self.state[parameter][key] = kept

    @classmethod
    def _scalars(cls) -> list[str]:
        """Torch's names of the states that are one number."""
        state = cls._reference.init(np.empty(1, np.float64))
        return [cls._keys[name] for name, value in state.items() if np.ndim(value) == 0]

    def add_param_group(self, param_group: Group) -> None:
        """Adds a group of parameters with options of its own."""
        super().add_param_group(param_group)
        self._check(self.param_groups[-1])

    def share_memory(self) -> None:
        """Moves the states to memory that processes can share."""
        for state in self.state.values():
            for value in state.values():
                value.share_memory_()

    @torch._disable_dynamo  # type: ignore[untyped-decorator]
    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            The loss, or None without closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        scaling = Scaling(getattr(self, "grad_scale", None), getattr(self, "found_inf", None))
        for group in self.param_groups:
            self._check(group)
            values = self._values(group)
            jobs = self._jobs(group, self._needed(values), scaling)
            free = [job for job in jobs if not job.waits]
            self._step_without_waiting(free, values, scaling)
            jobs = [job for job in jobs if job.waits] if free else jobs
            if not jobs:
                continue
            scale = None if scaling.scale is None else scaling.scale.item()
            host = [job for job in jobs if job.kept.parameter.is_cpu]
            others = [job for job in jobs if not job.kept.parameter.is_cpu] if host else jobs
            device = [job for job in others if not job.kept.parameter.is_meta]  # has no numbers
            self._step_on_host(host, values, scale)
            self._step_on_device(device, values, scale)
            if counters := [job.counter for job in jobs if job.counter is not None]:
                torch._foreach_add_(counters, 1)
        return loss

    def _check(self, group: Group) -> None:
        """Refuses options of a group that have no meaning here.

        Raises:
            ValueError: An option has another value than the only one of this class.
            RuntimeError: The group is differentiable.
        """
        for name, value in self._constants.items():
            if group.get(name, value) != value:
                text = f"{type(self).__name__} has {name}={value}, not {group[name]}"
                raise ValueError(text)
        if group.get("differentiable"):
            raise RuntimeError(
                f"{type(self).__name__} does not support `differentiable`: "
                "no gradient flows through a step"
            )

    def _needed(self, values: dict[str, Any]) -> list[Needed]:
        """The states that these arguments of the rule need."""
        wanted = self._reference.init.__kwdefaults__ or {}
        arguments = {name: values[name] for name in wanted}
        first = self._reference.init(np.empty(1, np.float64), **arguments)
        return [
            Needed(name, self._keys[name], float(np.ravel(value)[0]), np.ndim(value) == 0)
            for name, value in first.items()
        ]

    def _jobs(self, group: Group, needed: list[Needed], scaling: Scaling) -> list[Job]:
        """What there is to do in a group; makes states that are not there yet."""
        kept = self.__dict__.setdefault("_kept", {})
        is_fused = group.get("fused")
        refuses_host = group.get("capturable") and not is_fused
        found = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                name = type(self).__name__
                raise RuntimeError(self._sparse or f"{name} does not support sparse gradients")
            if is_fused and parameter.is_meta:
                raise RuntimeError(
                    "`fused=True` requires all the params to be floating point Tensors of "
                    "supported devices: ['cpu', 'cuda'] "
                    f"but {parameter.dtype} and {parameter.device.type}"
                )
            if refuses_host and (parameter.is_cpu or parameter.is_meta):
                listed = ", ".join(["params", *(f"{name}s" for name in self._scalars())])
                raise AssertionError(
                    f"If capturable=True, {listed} and state_steps must be on supported devices: "
                    "['cuda']."
                )
            waits = not self._is_free(parameter, group)
            if waits and scaling.skips:
                continue
            one, is_first = kept.get(parameter), False
            if one is None or not self._is_same(one, parameter, needed):
                is_first = self._initialize(parameter, group, needed)
                one = kept[parameter] = self._keep(parameter, needed)
            counter, t = None, 1 if is_first or not needed else 2
            if self._has_counter:
                counter = self.state[parameter]["step"]
                t = int(counter.item()) + 1 if waits else 0
                if t >= _EXACT_COUNTS and counter.dtype == torch.float32:
                    counter = self.state[parameter]["step"] = counter.double()
            found.append(Job(one, _plain(gradient, parameter), counter, t, waits))
        return found

    @staticmethod
    def _is_free(parameter: torch.Tensor, group: Group) -> bool:
        """Whether a step of this parameter waits for nothing: its counter is on its device."""
        on_device = group.get("capturable") or group.get("fused")
        return bool(on_device) and not parameter.is_cpu

    def _is_same(self, kept: Kept, parameter: torch.Tensor, needed: list[Needed]) -> bool:
        """Whether the tensors of a step are still those that were kept."""
        if kept.parameter is not parameter or kept.needed != needed:
            return False
        if not kept.values and not self._has_counter:
            return True
        state = self.state[parameter]
        for key, value in kept.values.items():
            if state.get(key) is not value:
                return False
        return not self._has_counter or "step" in state

    def _keep(self, parameter: torch.Tensor, needed: list[Needed]) -> Kept:
        """The tensors of a step, as the rule names them."""
        values = {one.key: self.state[parameter][one.key] for one in needed}
        tensors = {n.name: _plain(values[n.key]) for n in needed if not n.is_scalar}
        scalars = {n.name: values[n.key] for n in needed if n.is_scalar}
        p = _plain(parameter)
        dense = all(tensor.is_contiguous() for tensor in (p, *tensors.values()))
        return Kept(needed, values, p, tensors, scalars, dense)

    def _initialize(self, parameter: torch.Tensor, group: Group, needed: list[Needed]) -> bool:
        """Makes the states that are needed and not there yet; returns whether there were none."""
        if not needed and not self._has_counter:
            return True
        state = self.state[parameter]
        if self._has_counter and "step" not in state:
            state["step"] = _scalar(0.0, parameter, group)
        missing = [one for one in needed if state.get(one.key) is None]
        for one in missing:
            make = _scalar if one.is_scalar else _full_like
            state[one.key] = make(one.first, parameter, group)
        return len(missing) == len(needed)

    def _step_on_host(self, jobs: list[Job], values: dict[str, Any], scale: float | None) -> None:
        """One step on the CPU: the NumPy reference on views of the tensors."""
        with np.errstate(all="ignore"):
            for job in jobs:
                p, g = _array(job.kept.parameter), _array(job.gradient)
                state = {name: _array(tensor) for name, tensor in job.kept.tensors.items()}
                old = {name: value.item() for name, value in job.kept.scalars.items()}
                new: dict[str, Any] = old
                for p_, g_, state_ in _chunks(p, g, state):
                    if scale is not None:
                        real = np.result_type(g_, np.float32).type
                        unscaled = g_.astype(real) / real(scale)
                        g_[...] = unscaled.astype(g_.dtype)
                        g_ = unscaled
                    p_[...], new = self._reference.step(p_, g_, {**state_, **old}, job.t, **values)
                    for name, view in state_.items():
                        view[...] = new[name]
                for name, value in job.kept.scalars.items():
                    value.fill_(new[name])

    def _step_on_device(self, jobs: list[Job], values: dict[str, Any], scale: float | None) -> None:
        """One step on an accelerator: one launch for all tensors of one device, type and step.

        Tensors that are not aligned to 16 bytes, such as views, have a launch of their own.

        Raises:
            RuntimeError: The stream is being captured: the kernel takes host scalars.
        """
        if not jobs:
            return
        if _is_capturing(jobs[0].kept.parameter.device):
            raise RuntimeError(
                f"{type(self).__name__} cannot be captured in a CUDA graph without capturable=True"
            )
        kernel = self._kernel()
        values = {key: _number(value) for key, value in values.items()}
        batches: dict[tuple[Any, ...], list[Job]] = {}
        for job in jobs:
            if scale is not None:
                job.gradient.div_(scale)
            scalars = tuple([value.item() for value in job.kept.scalars.values()])
            batches.setdefault((job.kept.parameter.device, job.t, scalars), []).append(job)
        for (device, t, scalars), batch in batches.items():
            names = tuple(batch[0].kept.scalars)
            state = before = dict(zip(names, scalars, strict=True))
            with self._tables(batch, kernel, device) as tables:
                for table in tables:
                    state = dict(before)
                    kernel.step(table, state, t, **values)
            for job in batch:
                for key, value in job.kept.scalars.items():
                    value.fill_(state[key])

    def _step_without_waiting(
        self, jobs: list[Job], values: dict[str, Any], scaling: Scaling
    ) -> None:
        """One step of parameters whose counters are on their device.

        An infinity leaves no tensor an element, and adds nothing to the counters.
        """
        batches: dict[tuple[torch.device, int], list[Job]] = {}
        for job in jobs:
            batches.setdefault((job.kept.parameter.device, job.t), []).append(job)
        for (device, first), batch in batches.items():
            kernel = self._kernel()
            flags = {
                k: bool(values[k]) for k in kernel.step_on_device.__kwdefaults__ if k in values
            }
            skips = (
                None if scaling.found_inf is None else scaling.found_inf.to(device).reshape(()) != 0
            )
            counters = [job.counter for job in batch if job.counter is not None]
            t = _on(device, first).expand(len(batch))
            if counters:
                t = torch.stack(counters).to(device, torch.float64).reshape(-1) + 1
            before = {
                name: torch.stack([job.kept.scalars[name] for job in batch]).double().reshape(-1)
                for name in batch[0].kept.scalars
            }
            state = dict(before)
            given = {
                key: value if isinstance(value, bool) else _on(device, value)
                for key, value in values.items()
            }
            scale = _on(device, 1.0 if scaling.scale is None else scaling.scale)
            found = [*self._numbers(state, t, given), scale]
            numbers = torch.stack([number.double().expand(len(batch)) for number in found], 1)
            with self._tables(batch, kernel, device) as tables:
                for table in tables:
                    bits = numbers.view(torch.int64).index_select(0, table.order)
                    addresses, size = table.rows[:, :-1], table.rows[:, -1:]
                    size = size if skips is None else size * ~skips
                    rows = torch.cat([addresses, size, bits], 1)
                    scaled = scaling.scale is not None
                    kernel.step_on_device(table, rows, scaled=scaled, **flags)
            for name, new in state.items():
                new = new if skips is None else torch.where(skips, before[name], new)
                scalars = [job.kept.scalars[name] for job in batch]
                pairs = zip(scalars, new.to(scalars[0].dtype).unbind(), strict=True)
                torch._foreach_copy_(scalars, [value.view_as(old) for old, value in pairs])
            if counters:
                one = 1 if skips is None else (~skips).to(counters[0].dtype)
                torch._foreach_add_(counters, one)

    def _kernel(self) -> Any:
        """The module of the multi-tensor kernel."""
        package, _, name = self._reference.__name__.rpartition(".")
        return importlib.import_module(f"{package.rpartition('.')[0]}.multi_tensor.{name}")

    @contextlib.contextmanager
    def _tables(self, jobs: list[Job], kernel: Any, device: torch.device) -> Iterator[list[Any]]:
        """The tables of tensors, for launches; what is not contiguous is copied, and back.

        They are built again only when a tensor has another address.
        """
        given = [[j.kept.parameter, j.gradient, *j.kept.tensors.values()] for j in jobs]
        dense = [
            tensors
            if job.kept.dense and tensors[0].is_contiguous() and tensors[1].is_contiguous()
            else [tensor.contiguous() for tensor in tensors]
            for job, tensors in zip(jobs, given, strict=True)
        ]
        columns = ("p", "g", *jobs[0].kept.tensors)
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            yield self._built(columns, dense, kernel, device)
        for tensors, used in zip(given, dense, strict=True):
            if used is not tensors:
                for place, result in zip(tensors, used, strict=True):
                    if place is not result:
                        place.copy_(result)

    def _built(
        self,
        columns: tuple[str, ...],
        tensors: list[list[torch.Tensor]],
        kernel: Any,
        device: torch.device,
    ) -> list[Any]:
        """Tables that are kept, or new ones."""
        key = (
            columns,
            *[tensor.data_ptr() for one in tensors for tensor in one],
            *[one[0].numel() for one in tensors],
            *[tensor.dtype for one in tensors for tensor in one],
        )
        kept: dict[Any, list[Any]] = self.__dict__.setdefault("_kept_tables", {})
        found = kept.get(key)
        if found is None:
            tables = importlib.import_module(f"{kernel.__package__}._tables")
            given = [dict(zip(columns, one, strict=True)) for one in tensors]
            found = tables.build(given, kernel.COLUMNS, kernel.BLOCK, partial(self._place, device))
        if _is_capturing(device):  # a graph reads them as long as it is replayed
            self.__dict__.setdefault("_captured", []).append(found)
        elif key not in kept:
            while len(kept) >= KEPT_TABLES:
                del kept[next(iter(kept))]
            kept[key] = found
        return found

    def _place(self, device: torch.device, array: Any) -> torch.Tensor:
        """A table on the device.

        A graph copies it again whenever it is replayed, from memory that nothing else uses; that
        cannot be allocated while the graph is captured, so steps before put some by.
        """
        host = torch.from_numpy(array)
        if device.type != "cuda":
            return host.to(device)
        spare = self.__dict__.setdefault("_spare", [])
        if not _is_capturing(device):
            spare.append(torch.empty(array.nbytes, dtype=torch.uint8, pin_memory=True))
            del spare[: -3 * KEPT_TABLES]
            return host.to(device)
        for index, memory in enumerate(spare):
            if memory.numel() >= array.nbytes:
                used = spare.pop(index)[: array.nbytes].view(host.dtype).view(host.shape)
                used.copy_(host)
                self.__dict__.setdefault("_captured", []).append(used)
                return used.to(device, non_blocking=True)
        raise RuntimeError(f"{type(self).__name__} needs a step before it is captured in a graph")


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


def _is_capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being captured."""
    return device.type == "cuda" and bool(torch.cuda.is_current_stream_capturing())


def _on(device: torch.device, value: Any) -> torch.Tensor:
    """A number as float64 on a device, without waiting for one."""
    if isinstance(value, torch.Tensor) and value.device == device:
        return value.double().reshape(())
    return torch.full((), _number(value), dtype=torch.float64, device=device)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def _scalar(value: float, parameter: torch.Tensor, group: Group) -> torch.Tensor:
    """A counter or scalar state as torch keeps it: in the default type, or on p's device."""
    double = torch.get_default_dtype() == torch.float64 and not group.get("fused")
    dtype = torch.float64 if double else torch.float32
    return torch.tensor(float(value), dtype=dtype, device=_scalar_device(parameter, group))


def _scalar_device(parameter: torch.Tensor, group: Group) -> torch.device:
    on_device = group.get("capturable") or group.get("fused")
    return parameter.device if on_device else torch.device("cpu")


def _full_like(value: float, parameter: torch.Tensor, group: Group) -> torch.Tensor:
    """A new state in the memory order of the parameter; of complex ones both parts are `value`."""
    dtype = parameter.dtype
    if parameter.is_floating_point():
        dtype = group.get("state_dtype") or (torch.float32 if dtype in _HALF else dtype)
    state = torch.zeros_like(parameter, dtype=dtype, memory_format=torch.preserve_format)
    if value:
        _real(state).fill_(float(value))
    return state


def _plain(tensor: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """The real numbers that are here: complex ones as pairs, of a DTensor the local part.

    Args:
        tensor: A parameter, a gradient or a state.
        like: The parameter, whose placement a gradient has to have.
    """
    if type(tensor) not in _PLAIN:
        if like is not None and hasattr(tensor, "redistribute"):
            tensor = tensor.redistribute(placements=like.placements)
        if hasattr(tensor, "to_local"):
            tensor = tensor.to_local()
            if hasattr(tensor, "wait"):
                tensor = tensor.wait()
    return tensor if tensor.dtype in _REALS and not tensor.is_neg() else _real(tensor.detach())


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Complex numbers as pairs of reals, and without lazy signs."""
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _array(tensor: torch.Tensor) -> Any:
    """A NumPy view of a tensor on the CPU."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _chunks(p: Any, g: Any, state: dict[str, Any]) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Views of the same elements of all arrays, each at most `CHUNK` of them if all are dense."""
    arrays = [p, g, *state.values()]
    if p.size <= CHUNK or not all(array.flags.c_contiguous for array in arrays):
        yield p, g, state
        return
    p, g, *states = (array.reshape(-1) for array in arrays)
    for start in range(0, p.size, CHUNK):
        part = slice(start, start + CHUNK)
        yield p[part], g[part], {k: v[part] for k, v in zip(state, states, strict=True)}
