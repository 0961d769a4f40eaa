"""The Triton kernel and its launcher: the split program."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from stepforge.backends import python
from stepforge.backends.aside import shown
from stepforge.backends.helpers import definitions
from stepforge.backends.python import HOST, PYTHON, besides_scalars
from stepforge.backends.writer import Writer
from stepforge.language.kinds import Kind
from stepforge.language.names import OF_TRITON, kernel_name, owned, stepped_aside
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Argument, Kernel, Let, Step, Tensor, lets, values
from stepforge.operations import formulas

WARPS = 4
"""Of 32 threads each, in one program; the verifier compiles kernels as the launcher does."""
GROUP, FEW_TENSORS = 4, 3
"""Elements of one thread come in groups, so that float32 moves 128 bits an access."""
ELEMENTS = 2 * GROUP
MOST_VALUES, MOST_ROOTS = 6, 3
"""Of an element: values that a thread has at once, and divisions and roots, which keep some more.
Beyond that the registers for two groups run out; `benchmarks/elements.py` measures it."""


SETTINGS = {
    "exact": (
        "True",
        "Round every operation correctly, so that every bit is the reference's. Off, float32 "
        "division and square root are approximate, and a product may fuse with a sum.",
    )
}
"""Keywords that the launcher has beside those of the spec: their defaults and documentation."""


def wide(kernel: Kernel) -> bool:
    """Whether its threads have registers for twice as many elements.

    Each thread's own work, such as indices and the conversion of arguments, costs an element half
    then. Exact divisions and square roots need the registers themselves, and so do two signs.
    """
    body = kernel.stages[0].body
    few = len(kernel.tensors) <= FEW_TENSORS and _count(body, {"sign"}) <= 1
    return few and not _operations(kernel) & {"div", "sqrt"}


def _count(steps: Iterable[Step], operations: Collection[str]) -> int:
    """How many operations of some kinds an element takes, with the options that take most."""
    count = 0
    for step in steps:
        if isinstance(step, Let):
            count += sum(node.op in operations for node in step.value.operations())
        else:
            count += max(_count(step.body, operations), _count(step.orelse, operations))
    return count


def _values(kernel: Kernel) -> int:
    """How many values of an element there are at once, at most: those that are needed later."""
    most = 0

    def before(steps: Iterable[Step], needed: frozenset[str]) -> frozenset[str]:
        nonlocal most
        for step in reversed([*steps]):
            if isinstance(step, Let):
                read = frozenset(
                    node.text
                    for node in step.value.operations()
                    if node.op == "name" and node.kind is Kind.TENSOR
                )
                most = max(most, len(needed | read | {step.name}))
                needed = (needed - {step.name}) | read
            else:
                needed = before(step.body, needed) | before(step.orelse, needed)
        return needed

    before(kernel.stages[0].body, frozenset(t.name for t in kernel.tensors if t.stored))
    return most


def _operations(kernel: Kernel) -> set[str]:
    return {node.op for let in lets(kernel.stages[0].body) for node in let.value.operations()}


def block(kernel: Kernel) -> int:
    """Elements of one program; what keeps much in registers has fewer of them."""
    roots = _count(kernel.stages[0].body, {"div", "sqrt"})
    has_formulas = _operations(kernel) & set(formulas.names())
    if has_formulas or roots > MOST_ROOTS or _values(kernel) > MOST_VALUES:
        return GROUP * WARPS * 32
    return (2 * ELEMENTS if wide(kernel) else ELEMENTS) * WARPS * 32


def _arrives(kernel: Kernel, argument: Argument) -> str:
    """The line that brings a number of the host into the compute type."""
    # The interpreter combines conditions of equal shape only.
    shape = "[BLOCK]" if argument.boolean else "()"
    test = " != 0" if argument.boolean else ""
    passed = parameter(kernel, argument)
    return PYTHON.layout(f"{argument.name} = tl.full", [shape, passed, "real"], test, "    ")


def _constant(text: str) -> str:
    """A literal in the compute type, for helper functions that look at the type."""
    return f"tl.full([BLOCK], {text}, real)"


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/triton.py.jinja` needs."""
    spec = kernel.spec
    shared = program(kernel, writer, ["p", "g", "state", "t"])
    checks = [
        "if not p.is_floating_point():",
        '    raise TypeError(f"p has dtype {p.dtype}, which is no floating-point type")',
        "if g is None:",
        '    raise ValueError("p has no gradient: g is None")',
        *shared.pop("checks"),  # type: ignore[misc]
        *_checks(spec),
    ]
    return {
        **shared,
        "checks": "\n".join("    " + line for line in checks),
        "init_signature": python.signature("init", ["p"], python.init_parameters(spec), "dict"),
        "init": python.initial_state(spec, _INITIAL),
        "types_of_states": python.types_of_states(spec),
        "launch": _launch(kernel),
        "kernel_signature": _kernel_signature(kernel),
    }


def program(
    kernel: Kernel,
    writer: Writer,
    positional: list[str],
    numbers: Iterable[str] = (),
    also: Collection[str] = (),
) -> dict[str, object]:
    """What launchers and kernels share, however they come by their tensors.

    Args:
        kernel: The kernel.
        writer: Writes Triton's tensors.
        positional: The arguments of `step` before its keywords.
        numbers: Lines that read the kernel's numbers, if they are not passed. They stand where the
            numbers arrive: until then each would take two registers.
        also: Helper functions that the template itself calls.
    """
    spec = kernel.spec
    device = replace(writer, option=str.upper, literal=_constant, decided=Kind.OPTION)
    body = kernel.stages[0].body
    host_lines = HOST.steps(kernel.host, 1)
    read = {name for value in values(kernel.host) for name in value.names()}
    read |= {argument.name for argument in kernel.arguments}
    imports = ["import math"] if any("math." in line for line in host_lines) else []
    loaded = [tensor for tensor in kernel.tensors if tensor.loaded]
    stored = [tensor for tensor in kernel.tensors if tensor.stored]
    scalars = [s for s in spec.states if s.scalar]
    fetch = python.each(scalars, lambda s: f'{s.name} = float(state["{s.name}"])')
    arrive = [*numbers]
    # Conditions of branches stay as they come: less is kept in registers until a branch asks.
    arrive += [_arrives(kernel, a) for a in kernel.arguments if not a.decides]
    decisive = [(a.name, parameter(kernel, a)) for a in kernel.arguments if a.decides]
    arrive += [f"    {name} = {passed}" for name, passed in decisive if name != passed]
    helpers = {*also, *device.helpers(values(body))}
    return {
        **python.common(spec, list(read), positional, "None", SETTINGS),
        "imports": "\n\n".join([*imports, "import triton\nimport triton.language as tl"]),
        "block": block(kernel),
        "host": "\n".join([*fetch, *host_lines]),
        "store_scalars": "\n".join(
            python.each(scalars, lambda s: f'state["{s.name}"] = float({s.name})')
        ),
        # After the loads they take fewer instructions, before them fewer registers.
        "arrive_early": "\n".join(arrive) if wide(kernel) else "",
        "arrive_late": "" if wide(kernel) else "\n".join(arrive),
        "load_full": _access(device, loaded, _LOAD),
        "load_tail": _access(device, loaded, _LOAD, ", mask=mask, other=0.0"),
        "rule": "\n".join(device.steps(body, 1)),
        "store_full": _access(device, stored, _STORE),
        "store_tail": _access(device, stored, _STORE, ", mask=mask"),
        "helpers": definitions("triton", [*helpers, *HOST.helpers(values(kernel.host))]),
    }


_LOAD = "{0} = tl.load({0}_ptr + start + offsets{1}).to(real)"
_STORE = "tl.store({0}_ptr + start + offsets, {0}{1})"
_INITIAL = python.Initial(
    real="p if p.element_size() >= 4 else p.new_empty(0).float()",
    full="real.new_full(p.shape, {})",
    copy="p.detach().to(real, copy=True)",
    stored="real.new_full(p.shape, {}).to(p)",
    same="p.detach().to(p, copy=True)",
)


def _checks(spec: Spec) -> list[str]:
    """A kernel takes addresses on trust, so the launcher looks at what they belong to."""
    scalars = besides_scalars(spec)
    wrong = "tensor.shape != p.shape or tensor.device != p.device or not tensor.is_contiguous()"
    return [
        f"for name, tensor in {python.tensors_given(spec, 'p', 'g')}.items():",
        *(
            [f"    if {scalars}(", f"        {wrong}", "    ):"]
            if scalars
            else [f"    if {wrong}:"]
        ),
        '        raise ValueError(f"{name} is not contiguous, of p\'s shape and on its device")',
    ]


def _access(device: Writer, tensors: Iterable[Tensor], line: str, masked: str = "") -> str:
    """One access for every tensor, under its condition in upper-case option names."""
    lines: list[str] = []
    for tensor in tensors:
        when = "" if tensor.when is None else device.value(python.condition(tensor.when))
        lines += PYTHON.under(when, [line.format(tensor.name, masked)], 2)
    return "\n".join(lines)


def _launch(kernel: Kernel) -> str:
    spec = kernel.spec
    when = {state.name: state.when_text for state in spec.states}
    tensors = []
    for tensor in kernel.tensors:
        text = tensor.name if tensor.name in spec.given else f'state["{tensor.name}"]'
        condition = when.get(tensor.name)
        tensors.append(f"{text} if {condition} else None" if condition else text)
    arguments = [*tensors, "n", *launched(kernel)]
    return PYTHON.layout(f"{name(spec)}[(triton.cdiv(n, BLOCK),)]", arguments, "", " " * 8)


def launched(kernel: Kernel) -> list[str]:
    """The arguments of a launch behind its tensors."""
    return [
        # Conditions travel as 0 and 1: Triton 3.6 interprets no boolean arguments.
        *(f"float({a.name})" if a.boolean else a.name for a in kernel.arguments),
        *(f"{option.name.upper()}={option.name}" for option in kernel.spec.options),
        "EXACT=exact",
        "BLOCK=BLOCK",
        f"num_warps={WARPS}",
        "enable_fp_fusion=not exact",
    ]


def _kernel_signature(kernel: Kernel) -> str:
    tensors = [f"{tensor.name}_ptr" for tensor in kernel.tensors]
    parameters = [*tensors, "n: tl.int64", *arguments(kernel)]
    return PYTHON.layout(f"def {name(kernel.spec)}", parameters, ":")


def parameter(kernel: Kernel, argument: Argument) -> str:
    """What a number is called as a parameter, where some names are Triton's."""
    name = shown(argument.name)
    if name not in OF_TRITON:
        return argument.name
    taken = {shown(author) for author in owned(kernel.spec)} | {a.name for a in kernel.arguments}
    return stepped_aside(f"{name}_", taken)


def arguments(kernel: Kernel) -> list[str]:
    """The parameters of a kernel behind its tensors."""
    return [
        *(f"{parameter(kernel, argument)}: tl.float64" for argument in kernel.arguments),
        *(f"{option.name.upper()}: tl.constexpr" for option in kernel.spec.options),
        "EXACT: tl.constexpr",
        "BLOCK: tl.constexpr",
    ]


def name(spec: Spec) -> str:
    """The name of the kernel function."""
    return kernel_name(spec.name)
