"""The Python functions that step arrays by the compiled C file."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.backends import numpy, python
from stepforge.backends.helpers import definitions
from stepforge.backends.python import HOST, PYTHON
from stepforge.backends.syntax import WIDTH
from stepforge.backends.writer import Writer
from stepforge.language.names import CHECKED
from stepforge.lowering.kernel import Kernel, values

_THREADS = {
    "threads": (
        "None",
        "How many threads may work; by default `OMP_NUM_THREADS`, or else all processors. The "
        "results are the same for every number.",
    )
}


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/cpu.py.jinja` needs."""
    spec = kernel.spec
    host_lines = HOST.steps(kernel.host, 1)
    read = {name for value in values(kernel.host) for name in value.names()}
    read |= {argument.name for argument in kernel.arguments}
    scalars = [s for s in spec.states if s.scalar]
    fetch = python.each(scalars, lambda s: f'{s.name} = float(state["{s.name}"])')
    host = python.common(spec, list(read), ["state", "t"], "list", {}, "numbers")
    single = python.common(spec, list(read), ["p", "g", "state", "t"], "None", _THREADS)
    checks = host["checks"]
    assert isinstance(checks, list)
    keywords = [number.name for number in spec.numbers] + [o.name for o in spec.options]
    passed = ["state", "t", *(f"{name}={name}" for name in [*keywords, CHECKED])]
    stored = [f'"{t.name}"' for t in kernel.tensors if t.stored]
    options = [f'"{option.name}"' for option in spec.options]
    bits = [f"bool({o.name}) << {index}" for index, o in enumerate(spec.options)]
    first = python.initial_state(spec, numpy.INITIAL)
    given = [f"float({a.name})" if a.boolean else a.name for a in kernel.arguments]
    return {
        "about": single["about"],
        "reference": single["reference"],
        "imports": "\n\n".join(
            [
                *(["import math"] if any("math." in line for line in host_lines) else []),
                *(["import numpy as np"] if "np." in first else []),
                "from ._library import load as _load\nfrom ._tables import of_arrays as _of_arrays",
            ]
        ),
        "columns": _literal("COLUMNS = ", [f'"{t.name}"' for t in kernel.tensors]),
        "written": _literal("_WRITTEN = ", stored),
        "options": _literal("_OPTIONS = ", options),
        "init_signature": python.signature("init", ["p"], python.init_parameters(spec), "dict"),
        "init": first,
        "types_of_states": python.types_of_states(spec),
        "step_signature": single["step_signature"],
        "arguments": single["arguments"],
        "table": PYTHON.layout("table = _of_arrays", _arrays(kernel), "", "    "),
        "call": PYTHON.layout("numbers = _numbers", passed, "", "    "),
        "run": PYTHON.layout(
            f'_load("{spec.name}").step',
            ["table", "numbers", " | ".join(bits) or "0", "threads"],
            "",
            "    ",
        ),
        "numbers_signature": str(host["numbers_signature"]).replace("numbers(", "_numbers(", 1),
        "checks": "\n".join("    " + line for line in checks),
        "host": "\n".join([*fetch, *host_lines]),
        "store_scalars": "\n".join(
            python.each(scalars, lambda s: f'state["{s.name}"] = float({s.name})')
        ),
        "numbers": _literal("return ", given, "    ", "[]"),
        "helpers": definitions("numpy", HOST.helpers(values(kernel.host))),
    }


def _literal(before: str, items: list[str], pad: str = "", brackets: str = "()") -> str:
    """A tuple or list, in one line or several."""
    if brackets == "()" and len(items) == 1:
        items = [f"{items[0]},"]
    line = f"{pad}{before}{brackets[0]}{', '.join(items)}{brackets[1]}"
    if len(line) <= WIDTH:
        return line
    inside = "".join(f"{pad}    {item.removesuffix(',')},\n" for item in items)
    return f"{pad}{before}{brackets[0]}\n{inside}{pad}{brackets[1]}"


def _arrays(kernel: Kernel) -> list[str]:
    """The arguments that name the columns, what is written, and the arrays in their order."""
    when = {state.name: state.when_text for state in kernel.spec.states}
    found = []
    for tensor in kernel.tensors:
        text = tensor.name if tensor.name in kernel.spec.given else f'state["{tensor.name}"]'
        condition = when.get(tensor.name)
        found.append(f"{text} if {condition} else None" if condition else text)
    return ["COLUMNS", "_WRITTEN", *found]
