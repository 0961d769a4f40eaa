"""The NumPy reference: the whole rule, printed line by line."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.backends import python
from stepforge.backends.helpers import definitions
from stepforge.backends.python import besides_scalars
from stepforge.backends.syntax import WIDTH
from stepforge.backends.writer import Writer
from stepforge.language.spec import Spec, State
from stepforge.lowering.kernel import Kernel, values

INITIAL = python.Initial(
    real="np.result_type(p, np.float32)",
    full="np.full(p.shape, {}, real)",
    copy="p.astype(real)",
    stored="np.full(p.shape, {}, real).astype(p.dtype)",
    same="p.copy()",
)
"""How NumPy writes the tensors that states are before the first step."""


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/numpy.py.jinja` needs."""
    spec = kernel.spec
    rule = writer.steps(kernel.rule, 1)
    read = [name for value in values(kernel.rule) for name in value.names()]
    positional = ["p", "g", "state", "t"]
    shared = python.common(spec, read, positional, "tuple[np.ndarray, dict]")
    scalars = besides_scalars(spec)
    checks = [
        'if p.dtype.kind not in "fV":  # V: the 16-bit types of ml_dtypes',
        '    raise TypeError(f"p has dtype {p.dtype}, which is no floating-point type")',
        *shared.pop("checks"),  # type: ignore[misc]
        f"for name, tensor in {python.tensors_given(spec, 'g')}.items():",
        f"    if {scalars}np.shape(tensor) != p.shape:",
        '        raise ValueError(f"{name} has shape {np.shape(tensor)}, p has {p.shape}")',
    ]
    return {
        **shared,
        "imports": "\n\n".join(
            [
                *(["import math"] if any("math." in line for line in rule) else []),
                "import numpy as np",
            ]
        ),
        "checks": "\n".join("    " + line for line in checks),
        "init_signature": python.signature("init", ["p"], python.init_parameters(spec), "dict"),
        "widen": _widen(spec),
        "init": python.initial_state(spec, INITIAL),
        "types_of_states": python.types_of_states(spec),
        "load": "\n".join(python.each(spec.states, _load)),
        "rule": "\n".join(rule),
        "store": "\n".join(python.each(spec.states, _store)),
        "helpers": definitions("numpy", writer.helpers(values(kernel.rule))),
    }


def _widen(spec: Spec) -> str:
    """The line that brings the given tensors into the compute type."""
    values = [f"{name}.astype(real)" for name in spec.given]
    line = f"    {', '.join(spec.given)} = {', '.join(values)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join(f"    {name} = {name}.astype(real)" for name in spec.given)


def _load(state: State) -> str:
    text = f'state["{state.name}"]'
    value = f"float({text})" if state.scalar else f"{text}.astype(real)"
    return f"{state.name} = {value}"


def _store(state: State) -> str:
    name = state.name
    # Python's integers are among the literals that a scalar may come from.
    value = f"float({name})" if state.scalar else f'{name}.astype(state["{name}"].dtype)'
    return f'new["{name}"] = {value}'
