"""Calls of the NumPy file, which trust nothing that it returns.

It may have been edited: what it gets are copies, and what it gives is looked at before it is used.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stepforge.language.names import CHECKED, aside
from stepforge.language.spec import Options, Spec
from stepforge.language.spec import State as DeclaredState
from stepforge.verify.cases.inputs import Array
from stepforge.verify.files.generated import Text

ARITHMETIC = (ZeroDivisionError, OverflowError, ValueError)
"""What host scalars raise where the formula has no value."""
State = dict[str, Any]


class Malformed(Exception):
    """A generated file returns something else than a new `p` and state, or changes its inputs."""


def init(module: ModuleType, spec: Spec, options: Options, p: Array, values: Any) -> State:
    """The state before the first step.

    Raises:
        Malformed: It is not what the spec declares.
    """
    state = module.init(p.copy(), **accepted(module.init, {**values, **options}))
    _check_state(state, spec, options, p.shape, p.dtype)
    return dict(state)


def step(
    module: ModuleType, spec: Spec, options: Options, p: Array, g: Array, state: State, t: int,
    values: Mapping[str, Any],
) -> tuple[Array, State]:  # fmt: skip
    """One step.

    Args:
        module: The NumPy file.
        spec: Its spec.
        options: The option set.
        p: Parameters.
        g: Their gradient.
        state: The state.
        t: Number of the step.
        values: What else it is given by name: hyperparameters and inputs.

    Raises:
        Malformed: The result is not what the spec declares, or an input has changed.
    """
    kept = {k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}
    given, passed = {"p": p.copy(), "g": g.copy()}, dict(kept)
    named = {k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in values.items()}
    with np.errstate(all="ignore"):
        result = module.step(given["p"], given["g"], passed, t, **named, **options)
    if type(result) is not tuple or len(result) != 2:
        raise Malformed(f"step returns {_kind(result)}, not the new p and state")
    new_p, new_state = result
    _check_array("p", new_p, p.shape, p.dtype)
    _check_state(new_state, spec, options, p.shape, p.dtype)
    if passed.keys() != state.keys() or any(passed[k] is not kept[k] for k in kept):
        raise Malformed("step changes the state that is passed in")
    for name, after in {**given, **named, **kept}.items():
        before = {"p": p, "g": g, **values, **state}[name]
        if isinstance(after, np.ndarray) and after.tobytes() != before.tobytes():
            raise Malformed(f"step changes the `{name}` that is passed in")
    own = {name: np.array(value) for name, value in {"p": new_p, **new_state}.items()}
    return own["p"], {k: own[k] if k in _tensors(spec) else float(new_state[k]) for k in new_state}


def state_type(state: DeclaredState, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a state of a parameter: that of the parameter, or at least float32."""
    return dtype if state.has_p_type else np.result_type(dtype, np.float32)


def states_of(spec: Spec, tensors: Mapping[str, Array], dtype: np.dtype[Any]) -> dict[str, Array]:
    """The states among tensors, each in its type beside a parameter of a type."""
    declared = [s for s in spec.states if s.name in tensors and not s.scalar]
    return {s.name: tensors[s.name].astype(state_type(s, dtype)) for s in declared}


def accepted(function: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the keywords that a function has."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in keywords.items() if name in names}


def failure(error: BaseException) -> str:
    """An exception of a generated file in one line."""
    if isinstance(error, Malformed):
        return str(error)
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text}".split("\n")[0][:300]


def blame(error: Exception, path: Path) -> None:
    """Raises an exception again that is a fault of this package, and none of a generated file.

    It is to blame, or one beside it, for what passes through one of its lines, unless the executor
    of PTX raised it, and for every exception that this package has for such faults.
    """
    if type(error).__module__.startswith("stepforge."):
        return
    files: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        files += [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
        cause = cause.__cause__
    beside = [file for file in files if Path(file).parent == path.parent]
    if not beside or Path(files[-1]).parent == _EXECUTOR:
        raise error


_EXECUTOR = Path(__file__).parents[1] / "ptx"


def check_signatures(module: ModuleType, spec: Spec, settings: Mapping[str, bool] = {}) -> None:
    """Whether `init` and `step` take what the spec declares, with its defaults.

    Args:
        module: A generated file.
        spec: Its spec.
        settings: Further keywords that `step` must have, with their defaults.

    Raises:
        Malformed: They do not.
    """
    defaults: dict[str, Any] = {h.name: h.default for h in spec.hyperparameters}
    defaults |= {o.name: o.default for o in spec.options}
    required = [i.name for i in spec.inputs]
    state = aside(spec, "state")
    settings = {aside(spec, name): default for name, default in settings.items()}
    read = [name for name in inspect.signature(module.init).parameters if name in defaults]
    check_keywords(module.init, ["p"], {name: defaults[name] for name in read})
    asked = dict.fromkeys(required, inspect.Parameter.empty)
    wanted = {**asked, **defaults, **settings, CHECKED: True}
    check_keywords(module.step, ["p", "g", state, "t"], wanted)


def check_keywords(function: Any, positional: list[str], wanted: Mapping[str, Any]) -> None:
    """Whether a function takes some arguments and keywords, with their defaults.

    Raises:
        Malformed: It does not.
    """
    parameters = dict(inspect.signature(function).parameters)
    if list(parameters)[: len(positional)] != positional:
        raise Malformed(f"{function.__name__} does not begin with {', '.join(positional)}")
    for name in positional:
        del parameters[name]
    for name in (*wanted, *parameters):
        if name not in wanted or name not in parameters:
            raise Malformed(f"{function.__name__}: argument `{name}` is missing or too much")
        given = parameters[name].default
        if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY:
            raise Malformed(f"{function.__name__}: argument `{name}` is not a keyword alone")
        if isinstance(given, bool) != isinstance(wanted[name], bool) or (given != wanted[name]):
            reason = f"the default of `{name}` is {wanted[name]}, not {given!r:.50}"
            if wanted[name] is inspect.Parameter.empty:
                reason = f"`{name}` is an input, and has no default"
            raise Malformed(f"{function.__name__}: {reason}")


def raised_at(error: BaseException, path: Path) -> str:
    """`file:line: text` of the innermost line of a file that an exception went through, or ""."""
    line, cause = 0, error
    while cause is not None:
        for frame in traceback.extract_tb(cause.__traceback__):
            if frame.filename == str(path):
                line = frame.lineno or line
        cause = cause.__cause__  # type: ignore[assignment]
    return Text(path).at(line) if line else ""


def _tensors(spec: Spec) -> set[str]:
    return {s.name for s in spec.states if not s.scalar}


def _check_state(
    state: Any, spec: Spec, options: Options, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    active = {s.name: s for s in spec.active_states(options)}
    if type(state) is not dict:
        raise Malformed(f"the state is {_kind(state)}, not a dict")
    if state.keys() != active.keys():
        names = sorted(active.keys() ^ state.keys(), key=str)
        what = "is missing in" if names[0] in active else "does not belong into"
        raise Malformed(f"`{names[0]}` {what} the state")
    for name, s in active.items():
        if not s.scalar:
            _check_array(name, state[name], shape, state_type(s, dtype))
        elif not isinstance(state[name], float):
            raise Malformed(f"`{name}` is {_kind(state[name])}, not a float")


def _check_array(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if type(value) is not np.ndarray and not (shape == () and isinstance(value, np.generic)):
        raise Malformed(f"`{name}` is {_kind(value)}, not an array")
    if value.dtype != dtype:
        raise Malformed(f"`{name}` is of type {value.dtype}, not {dtype}")
    if value.shape != shape:
        raise Malformed(f"`{name}` has shape {value.shape}, not {shape}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
