# Copied by `stepforge build` from templates/torch/_checkpoints.py. Do not edit. @generated
# fmt: off
# mypy: ignore-errors
"""What the optimizer classes remember: states as torch's classes have them, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

# isort: split
import torch

from ._arguments import check_backend, check_state_dtype, entries
from ._jobs import Needed

Group = dict[str, Any]
HALF = (torch.bfloat16, torch.float16)
EXACT_COUNTS = 1 << 24
"""From here on float32 counters would stand still."""


class MissingKeys(KeyError):
    """A checkpoint lacks what the class cannot do without."""

    def __str__(self) -> str:
        return str(self.args[0])


class Checkpoints(torch.optim.Optimizer):  # type: ignore[misc]
    """What loads and restores the states of the optimizer classes."""

    _reference: ClassVar[Any]
    """Module of the NumPy reference; the Triton kernel's has the same name."""
    _keys: ClassVar[Mapping[str, str]]
    """The rule's name of a state → torch's."""
    _tuples: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Arguments of several numbers → the rule's names of these."""
    _required: ClassVar[tuple[str, ...]] = ()
    """Keys that every group of a checkpoint has."""
    _options: ClassVar[Mapping[str, object]] = {}
    """Keys that groups of older checkpoints may lack → what that means."""
    _constants: ClassVar[Mapping[str, object]] = {}
    """Options that have one value here."""
    _forced: ClassVar[Mapping[str, object]] = {}
    """Keys that loading sets, whatever the checkpoint has."""
    _copies: ClassVar[Sequence[str]] = ()
    """States that start as a copy of the parameter."""
    _of_p_type: ClassVar[Sequence[str]] = ()
    """States that are stored in the type of the parameter, whatever the `state_dtype`."""
    _has_counter: ClassVar[bool] = True
    _is_torchs: ClassVar[bool] = False
    """Whether torch has the class: then scalar states have the types of torch's."""
    _has_xla: ClassVar[bool] = True
    """Whether torch names XLA among the devices for `capturable`."""

    def __init__(self, params: Any, defaults: Group) -> None:
        _drop_unset(defaults)
        super().__init__(params, defaults)

    @staticmethod
    def _values(group: Group) -> dict[str, Any]:
        """The arguments of the rule's `step` in a parameter group."""
        raise NotImplementedError

    def _needed(self, values: dict[str, Any]) -> list[Needed]:
        """The states that these arguments of the rule need."""
        wanted = self._reference.init.__kwdefaults__ or {}
        arguments = {name: values[name] for name in wanted}
        found = self._reference.init(np.zeros(1, np.float64), **arguments)
        return [
            Needed(
                name,
                self._keys[name],
                None if name in self._copies else float(np.ravel(value)[0]),
                np.ndim(value) == 0,
                name in self._of_p_type,
            )
            for name, value in found.items()
        ]

    def _check(self, group: Group) -> None:
        """Refuses options of a group that have no meaning here.

        Raises:
            ValueError: An option has another value than the only one of this class, or an
                argument of several numbers has too many or too few of them.
            RuntimeError: The group is differentiable.
        """
        name = type(self).__name__
        for key, value in {**self._constants, **self._forced}.items():
            if group.get(key, value) != value:
                raise ValueError(f"{name} has {key}={value}, not {group[key]}")
        for key, parts in self._tuples.items():
            if key in group:
                entries(key, group[key], parts)
        if group.get("state_dtype") is not None:
            check_state_dtype(group["state_dtype"])
        check_backend(group.get("backend"))
        if group.get("differentiable"):
            raise RuntimeError(
                f"{name} does not support `differentiable`: no gradient flows through a step"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores what was pickled or loaded; what older checkpoints lack gets its default."""
        super().__setstate__(state)
        _drop_unset(self.defaults)
        if "differentiable" not in self._options:  # torch puts it there for all classes
            self.defaults.pop("differentiable", None)
        for group in self.param_groups:
            self._complete(group)
            for parameter in group["params"]:
                if parameter in self.state:
                    self._to_tensors(parameter, self.state[parameter], group)

    def _complete(self, group: Group) -> None:
        """Gives a group of an older checkpoint the keys of this version."""
        for key, parts in self._tuples.items():
            if key not in group and all(part in group for part in parts):
                group[key] = tuple(group.pop(part) for part in parts)
        for key, value in {**self._options, **self._constants}.items():
            group.setdefault(key, value)
        group.update(self._forced)
        _drop_unset(group)

    def _to_tensors(self, parameter: torch.Tensor, state: Group, group: Group) -> None:
        """Makes counters and scalar states tensors, of types that count on."""
        if self._has_counter and state.get("step") is not None:
            state["step"] = counter(state["step"], parameter, group)
        for key in self._scalars():
            if state.get(key) is not None:
                state[key] = self._scalar(state[key], parameter, group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a checkpoint of this class or of torch's, of any age.

        Unlike torch's, states of 16-bit parameters keep the type they come with, unless the group
        has a `state_dtype`, or the rule stores them in the type of the parameter.

        Raises:
            KeyError: A group lacks a hyperparameter, or a parameter lacks a state.
            ValueError: The checkpoint is of other parameters, or of another class: it has states
                or options that have no meaning here. Nothing is loaded then.
        """
        loaded: dict[str, Any] = {}

        def adopt(_: Any, final: dict[str, Any]) -> dict[str, Any]:
            loaded.update(self._adopted(final))
            return loaded

        before = self.register_load_state_dict_pre_hook(adopt)
        after = self.register_load_state_dict_post_hook(
            lambda _: self._keep_types(loaded), prepend=True
        )
        # User's hooks may replace the checkpoint: the one that counts is that of the last hook.
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _adopted(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint whose groups have the keys of this class.

        Raises:
            KeyError: Something is missing.
            ValueError: It is another optimizer's.
        """
        groups, states = checkpoint["param_groups"], checkpoint["state"]
        sizes = [[len(group["params"]) for group in both] for both in (groups, self.param_groups)]
        if sizes[0] != sizes[1]:
            return checkpoint  # torch says what is wrong
        adopted = []
        for index, (saved, own) in enumerate(zip(groups, self.param_groups, strict=True)):
            group = dict(saved)
            self._complete(group)
            # How this run keeps its states and computes, unless the checkpoint says so.
            for key in ("state_dtype", "backend"):
                if key in own:
                    group.setdefault(key, own[key])
            if missing := [key for key in self._required if key not in group]:
                problem = f"parameter group {index} has no {_listed(missing)}"
                raise MissingKeys(self._foreign(problem))
            self._check(group)
            needed = self._needed(self._values(group))
            for parameter, at in zip(own["params"], saved["params"], strict=True):
                self._check_state(parameter, at, states.get(at), needed)
            adopted.append(group)
        return {**checkpoint, "param_groups": adopted}

    def _check_state(
        self, parameter: torch.Tensor, index: Any, state: Any, needed: list[Needed]
    ) -> None:
        """Refuses the state of a parameter that is another optimizer's."""
        present = {key: value for key, value in (state or {}).items() if value is not None}
        wanted = [one.key for one in needed]
        lacking = [key for key in wanted if key not in present]
        if self._has_counter and "step" not in present:
            lacking.insert(0, "step")
        known = {*self._keys.values(), *(["step"] if self._has_counter else [])}
        foreign = [str(key) for key in present if key not in known]
        if not present or (not self._has_counter and lacking == wanted and not foreign):
            return  # not stepped yet: a class without a counter begins where it has no states
        problem = f"parameter {index} " + ", and ".join(
            [f"has no {_listed(lacking)}"] * bool(lacking)
            + [f"has {_listed(foreign)}, which {type(self).__name__} does not keep"] * bool(foreign)
        )
        if lacking:
            raise MissingKeys(self._foreign(problem))
        if foreign:
            raise ValueError(self._foreign(problem))
        numbers = {"step", *self._scalars()}
        for key, value in present.items():
            is_number = key in numbers
            if isinstance(value, torch.Tensor):
                fits = value.numel() == 1 if is_number else value.shape == parameter.shape
                shape = f"the shape {list(value.shape)}"
            else:
                fits = is_number and isinstance(value, int | float)
                shape = f"the type {type(value).__name__}"
            if not fits:
                wants = "be one number" if is_number else f"have shape {list(parameter.shape)}"
                text = f"the state `{key}` of parameter {index} has {shape}, but must {wants}"
                raise ValueError(self._foreign(text))

    def _foreign(self, problem: str) -> str:
        return f"this is not a checkpoint of {type(self).__name__}: {problem}"

    def _keep_types(self, loaded: dict[str, Any]) -> None:
        """Undoes that torch has cast the states to the type of their parameter."""
        scalars = self._scalars()
        cast = {*scalars, *(self._keys[name] for name in self._of_p_type)}
        for group, saved in zip(self.param_groups, loaded["param_groups"], strict=True):
            for parameter, index in zip(group["params"], saved["params"], strict=True):
                given = loaded["state"].get(index)
                if not given:
                    continue
                state, dtype = self.state[parameter], group.get("state_dtype")
                state.update({k: given[k] for k in ("step", *scalars) if k in given})
                self._to_tensors(parameter, state, group)
                if not parameter.is_floating_point():
                    continue
                if dtype is None and parameter.dtype not in HALF:
                    continue
                for key in self._keys.values():
                    value = given.get(key)
                    if isinstance(value, torch.Tensor) and key not in cast:
                        state[key] = value.to(device=parameter.device, dtype=dtype or value.dtype)

    @classmethod
    def _scalars(cls) -> list[str]:
        """Torch's names of the states that are one number."""
        state = cls._reference.init(np.zeros(1, np.float64))
        return [cls._keys[name] for name, value in state.items() if np.ndim(value) == 0]

    def _scalar(self, value: Any, parameter: torch.Tensor, group: Group) -> torch.Tensor:
        """A scalar state: float64 as in the rule, or as torch's class has it, with 32 bits."""
        dtype = _default_type(group) if self._is_torchs else torch.float64
        if isinstance(value, torch.Tensor):
            wide = value.dtype if value.dtype in (torch.float32, torch.float64) else dtype
            dtype = torch.promote_types(wide, dtype)
        return _number_on(scalar_device(parameter, group), value, dtype)


def counter(value: Any, parameter: torch.Tensor, group: Group) -> torch.Tensor:
    """The number of steps so far, in a type that counts on.

    On the host it is torch's, and float64 from where float32 would stand still. A device counts
    without being asked, so that its counters are float64 from the first step on.
    """
    device = scalar_device(parameter, group)
    if device.type not in ("cpu", "meta"):
        return _number_on(device, value, torch.float64)
    dtype = value.dtype if isinstance(value, torch.Tensor) else _default_type(group)
    dtype = dtype if dtype in (torch.float32, torch.float64) else _default_type(group)
    found = _number_on(device, value, dtype)
    is_large = not found.is_meta and float(value) >= EXACT_COUNTS
    return _number_on(device, value, torch.float64) if is_large else found


def counts_on(steps: torch.Tensor, t: int) -> bool:
    """Whether a counter that somebody has put there will show the next step.

    Args:
        steps: The counter.
        t: The number of the step; 0 if the device alone knows it.
    """
    if steps.dtype == torch.float32:
        # What is replaced while a graph is captured would be read again at every replay.
        is_captured = steps.is_cuda and bool(torch.cuda.is_current_stream_capturing())
        return is_captured or 0 < t < EXACT_COUNTS
    return bool(steps.dtype == torch.float64)


def scalar_device(parameter: torch.Tensor, group: Group) -> torch.device:
    """Where counters and scalar states are."""
    on_device = group.get("capturable") or group.get("fused")
    return parameter.device if on_device else torch.device("cpu")


def _default_type(group: Group) -> torch.dtype:
    """The type that torch's classes give a counter."""
    double = torch.get_default_dtype() == torch.float64 and not group.get("fused")
    return torch.float64 if double else torch.float32


def _number_on(device: torch.device, value: Any, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.to(device=device, dtype=dtype)
    return torch.tensor(float(value), dtype=dtype, device=device)


def full_like(one: Needed, parameter: torch.Tensor, group: Group) -> torch.Tensor:
    """A new state in the memory order of the parameter, which it may be a copy of.

    Of complex ones both parts are the first value.
    """
    dtype, value = parameter.dtype, one.first
    if parameter.is_floating_point() and not one.has_p_type:
        dtype = group.get("state_dtype") or (torch.float32 if dtype in HALF else dtype)
    if value is None:
        return parameter.detach().to(dtype, copy=True, memory_format=torch.preserve_format)
    state = torch.zeros_like(parameter, dtype=dtype, memory_format=torch.preserve_format)
    if value:
        (torch.view_as_real(state) if state.is_complex() else state).fill_(float(value))
    return state


def _drop_unset(group: Group) -> None:
    """Keys that torch's classes do not have are there only if somebody has set them."""
    for key in ("state_dtype", "backend"):
        if group.get(key) is None:
            group.pop(key, None)


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
