"""The `torch.optim` class: a constructor with its checks, and what maps its names to the rule's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from stepforge.backends import python, torch_inputs
from stepforge.backends.aside import renamed_in, shown
from stepforge.backends.python import PYTHON, number, violated, within, wrap
from stepforge.backends.syntax import WIDTH
from stepforge.backends.torch_class import (
    OF_BASE,
    OF_TORCH,
    WORDS,
    class_name,
    freed,
    places_of,
    table_of,
    tuples_of,
    when_of,
)
from stepforge.backends.writer import Writer
from stepforge.language.kinds import Kind
from stepforge.language.spec import Hyperparameter, Spec
from stepforge.language.torch_model import TORCH_SETTINGS, Torch
from stepforge.lowering.kernel import Kernel, values, without_paths

_CLASS = re.compile(r"(?m)^class (\w+)\((?:Optimizer|Schedule)\):$")

_SETTINGS = {
    "foreach": ("None", "Accepted and without effect: it chooses among torch's ways to compute."),
    "fused": ("None", "Accepted: every step is fused. If on, the counter is on p's device."),
    "capturable": ("False", "Keep the counter on p's device, for CUDA graphs. Not on the CPU."),
    "differentiable": ("False", "Refused if on: no gradient flows through a step."),
    "state_dtype": (
        "None",
        "Type of new and loaded states of real parameters. By default new ones have p's type, "
        "float32 where that has 16 bits, and loaded ones the type they come with.",
    ),
    "backend": (
        "None",
        'What steps parameters on the CPU: "c", the compiled C file, or "numpy". By default C, and '
        "NumPy with a warning where C cannot be compiled. The bits are the same.",
    ),
}


@dataclass(frozen=True, slots=True)
class Argument:
    """A keyword of the constructor.

    Attributes:
        name: Its name.
        default: Its default as Python text.
        doc: One line of documentation.
    """

    name: str
    default: str
    doc: str


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/torch.py.jinja` needs."""
    spec = kernel.spec
    table = freed(spec, table_of(spec))
    known = {argument.name: argument for argument in _arguments(spec, table)}
    order = _order(spec, table)
    settings = [name for name in TORCH_SETTINGS if name in order]
    star = order.index("*") if "*" in order else len(order)
    accepted = [known[name] for name in order if name != "*"]
    kept = {name: name for name in order if name != "*"}
    fixed = {**table.constants, **table.group}
    kept |= {key: str(value) for key, value in fixed.items() if key not in kept}
    parameters = [f"{a.name}={a.default}" for a in accepted]
    parameters.insert(star, "*")
    name = class_name(spec)
    lines, functions = _numbers(kernel, writer)
    return {
        "about": wrap(f"{spec.title}: {spec.summary}", 3).replace("\n   ", "\n"),
        "purpose": "\n    ".join(
            wrap(f"{spec.title}: {spec.summary}", 7).replace("\n" + " " * 7, "\n").split("\n")
        ),
        "reference": wrap(f"Reference: {spec.reference}", 4),
        "module": spec.name,
        "name": name,
        "rule": "\n".join(f"        {line}" for line in _wrapped(spec)),
        "arguments": "\n".join("        " + wrap(f"{a.name}: {a.doc}", 8, 4) for a in accepted),
        "functions": f"from ._numbers import {', '.join(functions)}\n" if functions else "",
        "numbers": "\n".join(lines),
        "inputs": torch_inputs.methods(spec),
        "attributes": "\n".join(_attributes(spec, table, order)),
        "signature": PYTHON.layout(
            "def __init__", ["self", "params", *parameters], " -> None:", "    "
        ),
        "checks": "\n".join(f"        {line}" for line in _checks(spec, table, settings, order)),
        "defaults": "\n".join(f'            "{key}": {value},' for key, value in kept.items()),
        "values": "\n".join(
            f'            "{key}": {value},' for key, value in _values(spec, table)
        ),
    }


def _numbers(kernel: Kernel, writer: Writer) -> tuple[list[str], list[str]]:
    """The host program on tensors, and the functions that it calls."""
    spec, writer = kernel.spec, replace(writer, decided=Kind.OPTION, columnar=Kind.SCALAR)
    scalars = [s for s in spec.states if s.scalar]
    host = without_paths(
        kernel.host, ["t", *(number.name for number in spec.numbers), *(s.name for s in scalars)]
    )
    read = {name for value in values(host) for name in value.names()}
    read |= {argument.name for argument in kernel.arguments}
    given = [*(number.name for number in spec.numbers), *(o.name for o in spec.options)]
    lines = [f'        {name} = values["{name}"]' for name in given if name in read]
    for s in scalars:
        lines += PYTHON.under(s.when_text, [f'{s.name} = state["{s.name}"]'], 2)
    lines += writer.steps(host, 2)
    for s in scalars:
        lines += PYTHON.under(s.when_text, [f'state["{s.name}"] = {s.name}'], 2)
    names = [argument.name for argument in kernel.arguments]
    inline = f"        return [{', '.join(names)}]"
    exploded = ["        return [", *(f"            {name}," for name in names), "        ]"]
    lines += [inline] if len(inline) <= WIDTH else exploded
    return lines, writer.helpers(values(host))


def _arguments(spec: Spec, table: Torch) -> Iterator[Argument]:
    """Everything the constructor may accept, in the order of the spec."""
    docs = dict(python.documentation(spec))
    for option in spec.options:
        when = when_of(spec, table, option)
        docs[option.name] = docs[option.name].replace(f"`{option.when_text}`", f"`{when}`")
    for name in docs:
        if shown(name) in OF_TORCH:
            docs[name] += f" The rule calls it `{name}`, which is torch's name for something else."
    defaults = {h.name: _literal(spec, h) for h in spec.hyperparameters}
    defaults |= {o.name: str(o.default) for o in spec.options}
    group = {parts: name for name, parts in table.arguments.items()}
    member = {part: parts for parts in group for part in parts}
    done: set[tuple[str, ...]] = set()
    for part, default in defaults.items():
        if part in table.switches:
            continue
        parts = member.get(part, (part,))
        if len(parts) == 1:
            yield Argument(group.get(parts, part), default, docs[part])
        elif parts not in done:
            done.add(parts)
            text = f"({', '.join(defaults[name] for name in parts)})"
            doc = " ".join(f"{name}: {docs[name]}" for name in parts)
            yield Argument(group[parts], text, doc)
    for name, value in table.constants.items():
        doc = f"Only {value}, which is what {spec.title} means."
        if name == "maximize":
            doc = "Only False: the rule does not ascend."
        yield Argument(name, str(value), doc)
    kept = [table.state.get(s.name, s.name) for s in spec.states if s.has_p_type]
    for name, (default, doc) in _SETTINGS.items():
        if name == "state_dtype" and kept:
            doc += f" Without effect on {', '.join(kept)}, which p's type belongs to."
        yield Argument(name, default, doc)


def _literal(spec: Spec, h: Hyperparameter) -> str:
    """The default as the author wrote it, an integer or a float: groups show it so."""
    written = spec.source.data["hyperparameters"][shown(h.name)]["default"]
    return repr(written) if isinstance(written, float) else number(h.default)


def _order(spec: Spec, table: Torch) -> list[str]:
    """Names of the constructor's arguments, with `*` where those by name only begin."""
    found = list(table.signature)
    if not found:
        options = {option.name for option in spec.options}
        names = [a.name for a in _arguments(spec, table) if a.name not in _SETTINGS]
        found = [n for n in names if n not in options and n not in table.constants]
        found += ["*", *(n for n in names if n in options)]
    if "*" not in found:
        found.append("*")
    if not spec.torch_class:
        further = [*(["maximize"] if "maximize" in table.constants else []), *TORCH_SETTINGS]
        found += [name for name in further if name not in found]
    return [*found, *OF_BASE]


def _wrapped(spec: Spec) -> Iterator[str]:
    """The rule, filled to the width of the docstring."""
    for line in python.written(spec.rule):
        depth = len(line) - len(line.lstrip())
        yield from wrap(line, 8, depth + 4).split("\n")


def _attributes(spec: Spec, table: Torch, order: list[str]) -> Iterator[str]:
    """Class attributes that tell the runtime what differs from its defaults."""
    yield "    _reference = reference"
    keys = {state.name: table.state.get(state.name, state.name) for state in spec.states}
    if table.counter:  # torch's counters have this key
        keys = {name: "step_" if shown(key) == "step" else key for name, key in keys.items()}
    yield from _mapping("_keys", {name: f'"{key}"' for name, key in keys.items()})
    if tuples := tuples_of(table):
        yield from _mapping("_tuples", {key: _texts(parts) for key, parts in tuples.items()})
    free = {*(option.name for option in spec.options), *table.later}
    names = [n for n in order if n not in ("*", *OF_BASE, *table.constants)]
    optional = [
        n for n in names if n in TORCH_SETTINGS or free.issuperset(table.arguments.get(n, (n,)))
    ]
    yield f"    _required = {_texts([n for n in names if n not in optional])}"
    given = {argument.name: argument.default for argument in _arguments(spec, table)}
    yield from _mapping("_options", {name: given[name] for name in optional})
    if table.constants:
        yield from _mapping("_constants", {k: str(v) for k, v in table.constants.items()})
    if table.group:
        yield from _mapping("_forced", {k: str(v) for k, v in table.group.items()})
    if copies := [state.name for state in spec.states if state.is_copy]:
        yield f"    _copies = {_texts(copies)}"
    if kept := [state.name for state in spec.states if state.has_p_type]:
        yield f"    _of_p_type = {_texts(kept)}"
    if spec.inputs:
        yield from _mapping("_inputs", torch_inputs.attribute(spec))
    if not table.counter:
        yield "    _has_counter = False"
    if table.eager:
        yield "    _is_eager = True"
    if spec.torch_class:
        yield "    _is_torchs = True"
    if not table.xla:
        yield "    _has_xla = False"
    if table.sparse:
        yield f"    _sparse = {_text(table.sparse)}"


def _text(text: str) -> str:
    """A line of text as a literal."""
    return json.dumps(text, ensure_ascii=False)


def _texts(names: Iterable[str]) -> str:
    """A tuple of texts."""
    quoted = [f'"{name}"' for name in names]
    return f"({', '.join(quoted)}{',' * (len(quoted) == 1)})"


def _mapping(name: str, items: Mapping[str, str]) -> Iterator[str]:
    """A class attribute that is a dictionary: on one line, or one item a line."""
    texts = [f'"{key}": {value}' for key, value in items.items()]
    line = f"    {name} = {{{', '.join(texts)}}}"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"    {name} = {{"
    yield from (f"        {text}," for text in texts)
    yield "    }"


def _checks(spec: Spec, table: Torch, settings: list[str], order: list[str]) -> Iterator[str]:
    """What the constructor refuses, in torch's words."""
    for name, parts in tuples_of(table).items():
        yield f'{name} = _arguments.entries("{name}", {name}, {_texts(parts)})'
    places = places_of(spec, table)
    if rate := spec.roles.get("learning_rate"):
        items = [f"lr={places[rate][0]}"]
        if table.tensor_betas:
            items += ["betas=betas", "foreach=foreach", "capturable=capturable"]
        yield f"_arguments.check_tensors({', '.join(items)})"
    yield "_arguments.check_state_dtype(state_dtype)"
    yield "_arguments.check_backend(backend)"
    first = [spec.roles.get(role) for role in WORDS]
    for h in sorted(
        spec.hyperparameters, key=lambda h: first.index(h.name) if h.name in first else len(first)
    ):
        place, words = places[h.name]
        if inside := within(replace(h, name=place)):
            yield f"if not {inside}:"
            yield from _refuse("ValueError", f'f"Invalid {words}: {{{place}}}"')
    for constraint in spec.together:
        at = {name: places[name][0] for name in sorted(constraint.names)}
        yield f"if {violated(renamed_in(constraint.condition, at))}:"
        given = ", ".join(f"{place} = {{{place}}}" for place in at.values())
        yield from _refuse("ValueError", f'f"{given}, not {constraint.text}"')
    yield from _needs(spec, table)
    for name, value in table.constants.items():
        if name in order:
            wrong = f"{name} != {value}"
            if isinstance(value, bool):
                wrong = f"not {name}" if value else name
            yield f"if {wrong}:"
            text = f'f"{class_name(spec)} has {name}={value}, not {{{name}}}"'
            yield from _refuse("ValueError", text)
    if "fused" in settings:
        yield "if fused and differentiable:"
        yield '    raise RuntimeError("`fused` does not support `differentiable`")'
        yield "if fused and foreach:"
        yield '    raise RuntimeError("`fused` and `foreach` cannot be `True` together.")'


def _needs(spec: Spec, table: Torch) -> Iterator[str]:
    """Options that need others, and those with which torch wants zeros."""
    places = places_of(spec, table)
    for option in spec.options:
        if option.name in table.switches:
            continue
        argument, needed, wrong = places[option.name][0], [], []
        if text := when_of(spec, table, option):
            simple = option.when_text in table.switches
            negated = text.replace("!=", "==") if simple else f"not ({text})"
            wrong.append(negated if simple or " " in text else f"not {text}")
            needed.append(text)
        if zero := table.zero_with.get(option.name):
            wrong.append(f"{places[zero][0]} != 0")
            needed.append(f"{places[zero][0]} = 0")
        if wrong:
            joined = f"({' or '.join(wrong)})" if len(wrong) > 1 else wrong[0]
            message = f"{argument} needs {' and '.join(needed)}"
            yield f"if {argument} and {joined}:"
            yield from _refuse("ValueError", _text(table.refusals.get(option.name, message)))


def _refuse(kind: str, text: str) -> Iterator[str]:
    """The lines that raise an exception."""
    for line in PYTHON.layout(f"raise {kind}", [text], "", " " * 12).split("\n"):
        yield line[8:]


def _values(spec: Spec, table: Torch) -> Iterator[tuple[str, str]]:
    """Keyword of the rule's `step` → where a parameter group has it."""
    places = places_of(spec, table)

    def at(name: str) -> str:
        place, bracket, rest = places[name][0].partition("[")
        return f'group["{place}"]{bracket}{rest}'

    for h in spec.hyperparameters:
        yield h.name, at(h.name)
    for option in spec.options:
        switch = table.switches.get(option.name)
        value = f"{at(switch)} != 0" if switch else at(option.name)
        for needed, hyperparameter in table.switches.items():
            if option.when_text == needed:  # torch ignores the option then
                value = f"{value} and {at(hyperparameter)} != 0"
        yield option.name, value


def class_in(text: str) -> str:
    """The class in the text of a file that is there, or ""."""
    match = _CLASS.search(text)
    return match[1] if match else ""


def package(doc: str, classes: Mapping[str, str]) -> str:
    """The text of the package's `__init__.py`.

    Args:
        doc: Its docstring.
        classes: Module → the class that it holds.
    """
    imports = [f"from .{module} import {name}" for module, name in sorted(classes.items())]
    names = sorted(["Optimizer", "Schedule", *classes.values()])
    about = "Generated by `stepforge build`. Do not edit: it lists the classes here. @generated"
    return "\n".join(
        [
            PYTHON.comments(about, *PYTHON.pragmas),
            PYTHON.docstring(doc),
            "",
            "from ._runtime import Optimizer",
            "from ._schedule import Schedule",
            *imports,
            "",
            "__all__ = [",
            *(f'    "{name}",' for name in names),
            "]",
            "",
        ]
    )
