"""The Triton kernel for many tensors, which it finds in a table, and its launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stepforge.backends import python, triton
from stepforge.backends.python import PYTHON
from stepforge.backends.writer import Writer
from stepforge.language.names import kernel_name
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Kernel, Tensor


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/multi_tensor.py.jinja` needs."""
    shared = triton.program(kernel, writer, ["table", "state", "t"], _numbers(kernel), ("div",))
    device = replace(writer, option=str.upper)
    return {
        **shared,
        "checks": "\n".join("    " + line for line in shared["checks"]),  # type: ignore[attr-defined]
        "columns": _columns(kernel),
        "width": len(kernel.tensors) + 1,
        "wide": len(kernel.tensors) + 1 + len(numbers(kernel)),
        "launch": _launch(kernel),
        "device_signature": _device_signature(kernel),
        "device_arguments": _device_arguments(kernel),
        "device_launch": _device_launch(kernel),
        "kernel_signature": _kernel_signature(kernel),
        "addresses": _each(kernel, device, _ADDRESS),
        "aligned": _each(kernel, device, _ALIGNED, 2),
        "size": len(kernel.tensors),
    }


_ADDRESS = "{0}_ptr = tl.load({1}).to(tl.pointer_type({0}_type))"
_ALIGNED = "{0}_ptr = tl.multiple_of({0}_ptr, 16)"


def _columns(kernel: Kernel) -> str:
    return PYTHON.layout("COLUMNS = ", [f'"{tensor.name}"' for tensor in kernel.tensors], "")


def _each(kernel: Kernel, device: Writer, line: str, depth: int = 1) -> str:
    """One line for every tensor, under its condition in upper-case option names."""
    lines: list[str] = []
    for index, tensor in enumerate(kernel.tensors):
        place = f"row + {index}" if index else "row"
        lines += PYTHON.under(_when(device, tensor), [line.format(tensor.name, place)], depth)
    return "\n".join(lines)


def _when(device: Writer, tensor: Tensor) -> str:
    return "" if tensor.when is None else device.value(python.condition(tensor.when))


def numbers(kernel: Kernel) -> list[str]:
    """The numbers of a launch; the last one is that of gradient scaling."""
    return [*(triton.parameter(kernel, a) for a in kernel.arguments), "grad_scale"]


def _numbers(kernel: Kernel) -> list[str]:
    """Where a row has them, behind the addresses and the size."""
    start = len(kernel.tensors) + 1
    lines = (
        f"{name} = tl.load(row + {index}).to(tl.float64, bitcast=True)"
        for index, name in enumerate(numbers(kernel), start)
    )
    return PYTHON.under("ON_DEVICE", lines, 1)


def _launch(kernel: Kernel) -> str:
    given = [text for text in triton.launched(kernel) if "=" not in text]
    return _launched(kernel, "table.rows", [*given, "1.0"], on_device="False", scaled="False")


def _device_launch(kernel: Kernel) -> str:
    zeros = ["0.0" for _ in numbers(kernel)]
    return _launched(kernel, "rows", zeros, on_device="True", scaled="scaled")


def _launched(kernel: Kernel, rows: str, given: list[str], on_device: str, scaled: str) -> str:
    when = {state.name: state.when_text for state in kernel.spec.states}
    types = []
    for tensor in kernel.tensors:
        text, condition = f'table.types["{tensor.name}"]', when.get(tensor.name)
        value = f"{text} if {condition} else None" if condition else text
        types.append(f"{tensor.name}_type={value}")
    settings = [text for text in triton.launched(kernel) if "=" in text]
    arguments = [
        "table.programs", rows, *given, *types, "ALIGNED=table.aligned",
        f"ON_DEVICE={on_device}", f"SCALED={scaled}", *settings,
    ]  # fmt: skip
    return PYTHON.layout(f"{name(kernel.spec)}[(table.size,)]", arguments, "", " " * 8)


def _device_signature(kernel: Kernel) -> str:
    options = [f"{option.name}={option.default}" for option in kernel.spec.options]
    parameters = ["table", "rows", "*", *options, "scaled=False", "exact=True"]
    return PYTHON.layout("def step_on_device", parameters, " -> None:")


def _device_arguments(kernel: Kernel) -> str:
    """Documentation of the options."""
    docs = dict(python.documentation(kernel.spec))
    lines = [f"{option.name}: {docs[option.name]}" for option in kernel.spec.options]
    lines.append("scaled: Divide the gradients by `grad_scale`, and store them so.")
    lines.append(f"exact: {triton.SETTINGS['exact'][1]}")
    return "\n".join("        " + python.wrap(line, 8, 4) for line in lines)


def _kernel_signature(kernel: Kernel) -> str:
    given = triton.arguments(kernel)
    constants = [text for text in given if text.endswith("constexpr")]
    types = [f"{tensor.name}_type: tl.constexpr" for tensor in kernel.tensors]
    parameters = [
        "programs_ptr", "rows_ptr", *(f"{number}: tl.float64" for number in numbers(kernel)),
        *types, *(f"{name}: tl.constexpr" for name in ("ALIGNED", "ON_DEVICE", "SCALED")),
        *constants,
    ]  # fmt: skip
    return PYTHON.layout(f"def {name(kernel.spec)}", parameters, ":")


def name(spec: Spec) -> str:
    """The name of the kernel function."""
    return kernel_name(spec.name)
