"""The Triton kernel for many tensors, which it finds in a table, and its launcher."""

from __future__ import annotations

from collections.abc import Mapping

from codegen.backends import python, triton
from codegen.backends.python import under
from codegen.backends.writer import Writer, layout
from codegen.kernel import Kernel, Tensor
from codegen.spec import Spec


def context(kernel: Kernel) -> Mapping[str, object]:
    """What `templates/multi_tensor.py.jinja` needs."""
    shared = triton.program(kernel, ["table", "state", "t"])
    return {
        **shared,
        "checks": "\n".join("    " + line for line in shared["checks"]),  # type: ignore[attr-defined]
        "columns": _columns(kernel),
        "width": len(kernel.tensors) + 1,
        "launch": _launch(kernel),
        "kernel_signature": _kernel_signature(kernel),
        "addresses": _each(kernel, _ADDRESS),
        "aligned": _each(kernel, _ALIGNED, 2),
        "size": len(kernel.tensors),
    }


_ADDRESS = "{0}_ptr = tl.load({1}).to(tl.pointer_type({0}_type))"
_ALIGNED = "{0}_ptr = tl.multiple_of({0}_ptr, 16)"


def _columns(kernel: Kernel) -> str:
    return layout("COLUMNS = ", [f'"{tensor.name}"' for tensor in kernel.tensors], "")


def _each(kernel: Kernel, line: str, depth: int = 1) -> str:
    """One line for every tensor, under its condition in upper-case option names."""
    device = Writer(triton.column, str.upper)
    lines: list[str] = []
    for index, tensor in enumerate(kernel.tensors):
        place = f"row + {index}" if index else "row"
        lines += under(_when(device, tensor), [line.format(tensor.name, place)], depth)
    return "\n".join(lines)


def _when(device: Writer, tensor: Tensor) -> str:
    return "" if tensor.when is None else device.value(python.condition(tensor.when))


def _launch(kernel: Kernel) -> str:
    when = {state.name: state.when_text for state in kernel.spec.states}
    types = []
    for tensor in kernel.tensors:
        text, condition = f'table.types["{tensor.name}"]', when.get(tensor.name)
        value = f"{text} if {condition} else None" if condition else text
        types.append(f"{tensor.name}_type={value}")
    given = triton.launched(kernel)
    numbers = [text for text in given if "=" not in text]
    settings = [text for text in given if "=" in text]
    arguments = [
        "table.programs", "table.rows", *numbers, *types, "ALIGNED=table.aligned", *settings,
    ]  # fmt: skip
    return layout(f"{name(kernel.spec)}[(table.size,)]", arguments, "", " " * 8)


def _kernel_signature(kernel: Kernel) -> str:
    given = triton.arguments(kernel)
    numbers = [text for text in given if not text.endswith("constexpr")]
    constants = [text for text in given if text.endswith("constexpr")]
    types = [f"{tensor.name}_type: tl.constexpr" for tensor in kernel.tensors]
    parameters = [
        "programs_ptr", "rows_ptr", *numbers, *types, "ALIGNED: tl.constexpr", *constants,
    ]  # fmt: skip
    return layout(f"def {name(kernel.spec)}", parameters, ":")


def name(spec: Spec) -> str:
    """The name of the kernel function."""
    return f"{spec.name}_kernel"
