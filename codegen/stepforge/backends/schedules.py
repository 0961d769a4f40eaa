"""What is printed of a schedule: its factor as a function of Python, and a scheduler of torch."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.backends import python
from stepforge.backends.helpers import definitions
from stepforge.backends.python import PYTHON
from stepforge.backends.torch_class import class_name
from stepforge.backends.writer import Writer
from stepforge.lowering.kernel import Kernel, values


def function(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/schedule/numpy.py.jinja` needs."""
    rule = writer.steps(kernel.rule, 1)
    read = [name for value in values(kernel.rule) for name in value.names()]
    shared = python.common(kernel.spec, read, ["t"], "float", function=kernel.spec.subject.result)
    checks = shared.pop("checks")
    assert isinstance(checks, list)
    return {
        **shared,
        "imports": "import math" if any("math." in line for line in rule) else "",
        "checks": "\n".join(PYTHON.indent + line for line in checks),
        "rule": "\n".join(rule),
        "helpers": definitions("numpy", writer.helpers(values(kernel.rule))),
    }


def scheduler(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/schedule/torch.py.jinja` needs."""
    spec, inner = kernel.spec, 2 * PYTHON.indent
    keywords = [*python.parameters(spec), 'hyperparameter="lr"', "last_epoch=-1"]
    entries = [f'{inner}    "{h.name}": {h.name},\n' for h in spec.hyperparameters]
    documented = python.documentation(spec)
    return {
        "about": python.wrap(f"{spec.title}: {spec.summary}", 3).replace("\n   ", "\n"),
        "purpose": python.wrap(spec.summary, 7),
        "reference": python.wrap(f"Reference: {spec.reference}", 4),
        "module": spec.name,
        "name": class_name(spec),
        "rule": "\n".join(inner + line for line in python.written(spec.rule)),
        "arguments": "\n".join(
            inner + python.wrap(f"{name}: {text}", 8, 4) for name, text in documented
        ),
        "signature": PYTHON.layout(
            "def __init__", ["self", "optimizer", "*", *keywords], ":", PYTHON.indent
        ),
        "values": f"{{\n{''.join(entries)}{inner}}}" if entries else "{}",
    }
