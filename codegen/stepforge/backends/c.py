"""C as backends print it, and the C file of an optimizer: the split program."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from stepforge.backends import c_meaning, python
from stepforge.backends.aside import renamed
from stepforge.backends.c_names import KEYWORDS, OWN
from stepforge.backends.syntax import WIDTH, Syntax
from stepforge.backends.writer import Writer
from stepforge.language.kinds import Kind
from stepforge.language.names import author_names, stepped_aside
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Kernel, Step, Tensor, lets
from stepforge.operations.table import OPERATIONS

MOST_OPTIONS = 4
"""Options of which every combination is compiled by itself; with more they are looked at in the
loop, which takes more time for each element."""
_EXACT = 1 << 24
"""Whole numbers below it are floats."""


def conflicts(spec: Spec) -> frozenset[str]:
    """The names of an author that C, or the text of a file, has for something else.

    Macros are in upper case.
    """
    prefixes = ("real_", "host_", "stepforge_")
    return frozenset(
        name
        for name in author_names(spec)
        if name in KEYWORDS
        or name in OWN
        or (len(name) > 1 and name.isupper())
        or name.startswith(prefixes)
        or name.endswith(("_float32", "_float64"))
    )


def _hidden(spec: Spec) -> Spec:
    """The spec with an underscore behind such names."""
    taken = author_names(spec)
    return renamed(spec, {name: stepped_aside(f"{name}_", taken) for name in conflicts(spec)})


def _number(text: str) -> str:
    if text in ("True", "False"):
        return "1" if text == "True" else "0"
    return f"{text}.0" if text.isdigit() and int(text) >= _EXACT else text


C = Syntax(
    comment="//",
    pragmas=("clang-format off",),
    end=";",
    arms=("if ({}) {{", "}} else if ({}) {{", "} else {"),
    close="}",
    comma="",
    scalars="c_scalar",
    number=_number,
    hidden=_hidden,
    meaning=c_meaning.of,
)


def _double(op: str, text: str) -> str:
    """A literal of the host: of two whole numbers C would make another one."""
    return f"{text}.0" if text.lstrip("-").isdigit() else text


HOST = Writer(C, C.scalars, typed=_double)


def _real(op: str, text: str) -> str:
    """A literal in a rule: a whole number takes the type of what it is added to."""
    row = OPERATIONS[op]
    whole = text.lstrip("-").isdigit() and op != "select"
    return text if whole or row.conditions else f"(real){text}"


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/c.c.jinja` needs."""
    spec = kernel.spec
    device = replace(writer, typed=_real, decided=Kind.OPTION)
    body = kernel.stages[0].body
    options = [option.name for option in spec.options]
    takes_format = any(node.op == "stored" for let in lets(body) for node in let.value.operations())
    return {
        "about": comment(f"{spec.title}: {python.sentence(spec.summary)}"),
        "reference": comment(f"Reference: {spec.reference}"),
        "module": spec.name,
        "update_signature": _update_signature(kernel, takes_format),
        "arrive": "\n".join(_arrive(kernel)),
        "load": "\n".join(_load(device, kernel.tensors)),
        "locals": "\n".join(_locals(kernel, body, "real", 2)),
        "rule": "\n".join(map(_filled, device.steps(body, 2))),
        "store": "\n".join(_store(device, kernel.tensors)),
        "ways": "\n".join(_ways(kernel, options, takes_format)),
        "tensors": len(kernel.tensors),
        "access": ", ".join(str(t.loaded + 2 * t.stored) for t in kernel.tensors),
        "columns": comment("The tensors of a row are " + _listed(t.name for t in kernel.tensors)),
        "bits": comment(
            "The bits of options are, from the lowest one, " + _listed(options)
            if options
            else "It has no options"
        ),
        "numbers_signature": numbers_signature(kernel),
        "numbers_about": comment(_numbers_about(kernel)),
        "host": "\n".join(map(_filled, _host(kernel))),
    }


def comment(text: str, indent: int = 3) -> str:
    """A text for the inside of a comment, which nothing in it can end.

    Args:
        text: The text.
        indent: Columns before its lines.
    """
    plain = text.replace("*/", "* /").replace("/*", "/ *")
    lines = textwrap.wrap(plain, WIDTH - indent - len(" */"), break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def _filled(line: str) -> str:
    """A line, or several where it is too long: C does not care."""
    if len(line) <= WIDTH:
        return line
    pad = line[: len(line) - len(line.lstrip())]
    return "\n".join(
        textwrap.wrap(line, WIDTH, subsequent_indent=pad + C.indent, break_on_hyphens=False)
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) + "."


def _update_signature(kernel: Kernel, takes_format: bool) -> str:
    pointers = [
        f"{'' if tensor.stored else 'const '}real *restrict {tensor.name}_ptr"
        for tensor in kernel.tensors
    ]
    options = [f"const int {option.name}" for option in kernel.spec.options]
    parameters = ["int64_t n", *pointers, "const double *numbers", *options]
    parameters += ["const int stored"] if takes_format else []
    return C.layout("STEPFORGE_INLINE void update", parameters, "")


def _arrive(kernel: Kernel) -> Iterator[str]:
    """The lines that bring the numbers of the host into the compute type."""
    for index, argument in enumerate(kernel.arguments):
        if argument.boolean:
            yield f"    const int {argument.name} = numbers[{index}] != 0;"
        else:
            yield f"    const real {argument.name} = (real)numbers[{index}];"


def _when(device: Writer, tensor: Tensor) -> str:
    if tensor.when is None:
        return ""
    return device.value(python.condition(tensor.when))


def _load(device: Writer, tensors: Iterable[Tensor]) -> Iterator[str]:
    for tensor in tensors:
        if not tensor.loaded:
            yield f"        real {tensor.name};"
            continue
        when = _when(device, tensor)
        value = f"{tensor.name}_ptr[i]"
        yield f"        real {tensor.name} = {f'{when} ? {value} : 0' if when else value};"


def _store(device: Writer, tensors: Iterable[Tensor]) -> Iterator[str]:
    for tensor in tensors:
        if tensor.stored:
            line = f"{tensor.name}_ptr[i] = {tensor.name};"
            yield from C.under(_when(device, tensor), [line], 2)


def _locals(kernel: Kernel, steps: Iterable[Step], kind: str, depth: int) -> Iterator[str]:
    """Declarations of what is neither a tensor nor given."""
    known = {tensor.name for tensor in kernel.tensors} | {"t"}
    known |= {n.name for n in kernel.spec.numbers} | {s.name for s in kernel.spec.states}
    found: dict[str, list[str]] = {"int": [], kind: []}
    for let in lets(steps):
        if let.name not in known:
            known.add(let.name)
            found["int" if let.value.boolean else kind].append(let.name)
    pad = C.indent * depth
    for of_kind, names in found.items():
        line = ""
        # Of the host, some have a value on some paths only.
        for name in names if kind == "real" else [f"{name} = 0" for name in names]:
            if line and len(f"{pad}{of_kind} {line}, {name};") > WIDTH:
                yield f"{pad}{of_kind} {line};"
                line = ""
            line += f", {name}" if line else name
        if line:
            yield f"{pad}{of_kind} {line};"


def _ways(kernel: Kernel, options: list[str], takes_format: bool) -> Iterator[str]:
    """Calls of the rule, one for every combination of options, which are constants there."""
    pointers = [f"at[{index}]" for index in range(len(kernel.tensors))]
    formats = ["STEPFORGE_FLOAT32", "STEPFORGE_BFLOAT16", "STEPFORGE_FLOAT16"]

    def call(chosen: Iterable[str], pad: str) -> str:
        return C.layout("update", ["n", *pointers, "numbers", *chosen], ";", pad)

    whole = [f"options >> {index} & 1" for index in range(len(options))]
    every = [*whole, *(["stored"] if takes_format else [])]
    if len(options) > MOST_OPTIONS or not every:
        yield call(every, "    ")
        return
    places = len(options)
    yield f"    switch (options{f' | (unsigned)stored << {places}' if takes_format else ''}) {{"
    for format in formats if takes_format else [""]:
        for number in range(1 << places):
            bits = [str(number >> index & 1) for index in range(places)]
            label = f"{format} << {places} | {number}" if format else str(number)
            yield f"    case {label}:"
            yield call([*bits, *([format] if format else [])], "        ")
            yield "        break;"
    if takes_format:
        yield "    default:"
        yield call(every, "        ")
    yield "    }"


def numbers_signature(kernel: Kernel) -> str:
    """The first lines of the function of numbers."""
    spec = kernel.spec
    given = [f"double {number.name}" for number in spec.numbers]
    scalars = [f"double *{state.name}_ptr" for state in spec.states if state.scalar]
    options = [f"int {option.name}" for option in spec.options]
    parameters = ["double *numbers", "double t", *given, *options, *scalars]
    return C.layout(f"void {spec.name}_numbers", parameters, "")


def _numbers_about(kernel: Kernel) -> str:
    count = len(kernel.arguments)
    step = f"`{kernel.spec.name}_step`"
    text = f"The {count} numbers of step t, which is 1 on the first step, for {step}."
    if any(state.scalar for state in kernel.spec.states):
        text += " Scalar states are updated."
    return text


def _host(kernel: Kernel) -> Iterator[str]:
    """The body of the function of numbers."""
    scalars = [state for state in kernel.spec.states if state.scalar]
    for state in scalars:
        yield f"    double {state.name} = *{state.name}_ptr;"
    yield from _locals(kernel, kernel.host, "double", 1)
    yield from HOST.steps(kernel.host, 1)
    for index, argument in enumerate(kernel.arguments):
        yield f"    numbers[{index}] = {argument.name};"
    for state in scalars:
        yield f"    *{state.name}_ptr = {state.name};"
