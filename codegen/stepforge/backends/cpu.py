"""The Python functions that step arrays by the compiled C file."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.backends import numpy, python
from stepforge.backends.helpers import definitions
from stepforge.backends.python import HOST, PYTHON
from stepforge.backends.writer import Writer
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
    table = python.common(spec, list(read), ["table", "state", "t"], "None", _THREADS, "table")
    single = python.common(spec, list(read), ["p", "g", "state", "t"], "None", _THREADS)
    checks = table["checks"]
    assert isinstance(checks, list)
    keywords = [*(i.name for i in spec.inputs if i.scalar), *(h.name for h in spec.hyperparameters)]
    keywords += [o.name for o in spec.options] + ["_checked", "threads"]
    passed = ["table", "state", "t", *(f"{name}={name}" for name in keywords)]
    stored = [f'"{t.name}"' for t in kernel.tensors if t.stored]
    numbers = [f"float({a.name})" if a.boolean else a.name for a in kernel.arguments]
    bits = [f"bool({o.name}) << {index}" for index, o in enumerate(spec.options)]
    return {
        "about": single["about"],
        "reference": single["reference"],
        "imports": "import math\n\nimport numpy as np"
        if any("math." in line for line in host_lines)
        else "import numpy as np",
        "columns": PYTHON.layout("COLUMNS = ", [f'"{t.name}"' for t in kernel.tensors], ""),
        "written": PYTHON.layout("WRITTEN = ", [*stored[:-1], f"{stored[-1]},"], ""),
        "init_signature": python.signature("init", ["p"], python.init_parameters(spec), "dict"),
        "init": python.initial_state(spec, numpy.INITIAL),
        "types_of_states": python.types_of_states(spec),
        "step_signature": single["step_signature"],
        "arguments": single["arguments"],
        "tensors": PYTHON.layout("table = of_arrays", _arrays(kernel), "", "    "),
        "pass_on": PYTHON.layout("step_table", passed, "", "    "),
        "table_signature": str(table["table_signature"]).replace("def table(", "def step_table(", 1),
        "table_arguments": table["arguments"],
        "checks": "\n".join("    " + line for line in checks),
        "host": "\n".join([*fetch, *host_lines]),
        "numbers": _list("numbers = ", numbers),
        "options": " | ".join(bits) or "0",
        "module": spec.name,
        "store_scalars": "\n".join(
            python.each(scalars, lambda s: f'state["{s.name}"] = float({s.name})')
        ),
        "helpers": definitions("numpy", HOST.helpers(values(kernel.host))),
    }


def _arrays(kernel: Kernel) -> list[str]:
    """The arguments that name the columns, what is written, and the arrays in their order."""
    when = {state.name: state.when_text for state in kernel.spec.states}
    found = []
    for tensor in kernel.tensors:
        text = tensor.name if tensor.name in kernel.spec.given else f'state["{tensor.name}"]'
        condition = when.get(tensor.name)
        found.append(f"{text} if {condition} else None" if condition else text)
    return ["COLUMNS", "WRITTEN", *found]


def _list(before: str, items: list[str]) -> str:
    """An assignment of a list, in one line or several."""
    text = PYTHON.layout(before, items, "", "    ")
    first, last = text.index("("), text.rindex(")")
    return f"{text[:first]}[{text[first + 1 : last]}]{text[last + 1 :]}"
