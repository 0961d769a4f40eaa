"""The `torch.optim` class: a constructor with its checks, and what maps its names to the rule's."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from stepforge.backends import python
from stepforge.backends.aside import shown
from stepforge.backends.python import PYTHON, number, within, wrap
from stepforge.backends.syntax import WIDTH
from stepforge.backends.writer import Writer
from stepforge.language.kinds import Kind
from stepforge.language.names import NAME, stepped_aside
from stepforge.language.spec import TORCH_SETTINGS, Hyperparameter, Spec, Torch
from stepforge.lowering.kernel import Kernel, lets, without_paths

OF_TORCH = ("params", "param_names", "initial_lr", *TORCH_SETTINGS, "state_dtype")
"""Keys of parameter groups that are torch's own, or the base class's."""
PLAIN = Torch("", {}, {}, {}, {}, {}, {})
"""For specs without a `[torch]` table."""
_BETAS = re.compile(r"beta[1-9]")
"""Hyperparameters that torch's classes have as one argument, `betas`."""
_CLASS = re.compile(r"(?m)^class (\w+)\(Optimizer\):$")

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
}
_WORDS = {"lr": "learning rate", "eps": "epsilon value"}
"""What torch calls a hyperparameter in its errors; `x value` for all others."""
_TENSOR_BETAS = ("Adam", "AdamW")
"""Classes of torch whose betas may be tensors, and that refuse tensors with `foreach`."""
_LATER = {"RMSprop": ("momentum",)}
"""Hyperparameters that torch's class has not had from the first: checkpoints may lack them."""
_WITHOUT_XLA = ("Adadelta",)
"""Classes that are not capturable on XLA, for torch."""
_REFUSALS = {"nesterov": "Nesterov momentum requires a momentum and zero dampening"}
"""Torch's words for an option whose needs are not met."""
_SPARSE = dict.fromkeys(
    _TENSOR_BETAS, "Adam does not support sparse gradients, please consider SparseAdam instead"
)


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


def class_name(spec: Spec) -> str:
    """The name of the generated class.

    It is torch's if that is the spec's name, too, or the name of `[torch]` where torch has no such
    class; else the title if that is the name of a class, or the spec's name in capitalized words.
    """
    table = spec.torch or PLAIN
    is_own = not spec.torch_class or table.class_name.lower() == spec.name.lower()
    if table.class_name and is_own:
        return table.class_name
    if NAME.match(spec.title) and spec.title[:1].isupper() and not keyword.iskeyword(spec.title):
        return spec.title
    name = "".join(part[:1].upper() + part[1:] for part in spec.name.split("_"))
    return f"{name}_" if keyword.iskeyword(name) else name


def table_of(spec: Spec) -> Torch:
    """The `[torch]` table, with what a class of torch's would have where the author says nothing.

    `beta1`, `beta2` and so on are one argument, `betas`, as schedules such as `OneCycleLR` expect
    it, and a rule that cannot ascend takes `maximize=False`.
    """
    table = spec.torch or PLAIN
    if spec.torch_class:
        return table
    names = [h.name for h in spec.hyperparameters]
    taken = {part for parts in table.arguments.values() for part in parts}
    betas = tuple(sorted(name for name in names if _BETAS.fullmatch(name)))
    is_free = not taken & set(betas) and "betas" not in (*names, *table.arguments)
    if is_free and len(betas) > 1 and "betas" not in table.constants:
        table = replace(table, arguments={**table.arguments, "betas": betas})
    known = {*names, *(o.name for o in spec.options), *table.arguments, *table.constants}
    if "maximize" not in known | set(table.group):
        table = replace(table, constants={**table.constants, "maximize": False})
    return table


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    """What `templates/torch.py.jinja` needs."""
    spec = kernel.spec
    table = _free(spec, table_of(spec))
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


def _free(spec: Spec, table: Torch) -> Torch:
    """The table where names of the spec that torch's groups or states have get an underscore."""
    names = [*(h.name for h in spec.hyperparameters), *(o.name for o in spec.options)]
    mapped = {part for parts in table.arguments.values() for part in parts}
    taken = {shown(name) for name in names} | {*table.arguments, *OF_TORCH}
    arguments = dict(table.arguments)
    for name in names:
        if shown(name) in OF_TORCH and name not in mapped:
            arguments[stepped_aside(shown(name), taken)] = (name,)
    return replace(table, arguments=arguments)


def _numbers(kernel: Kernel, writer: Writer) -> tuple[list[str], list[str]]:
    """The host program on tensors, and the functions that it calls."""
    spec, writer = kernel.spec, replace(writer, decided=Kind.OPTION, columnar=Kind.SCALAR)
    scalars = [s for s in spec.states if s.scalar]
    host = without_paths(
        kernel.host, ["t", *(h.name for h in spec.hyperparameters), *(s.name for s in scalars)]
    )
    values = [let.value for let in lets(host)]
    read = {name for value in values for name in value.names()}
    read |= {argument.name for argument in kernel.arguments}
    given = [*(h.name for h in spec.hyperparameters), *(o.name for o in spec.options)]
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
    return lines, writer.helpers(values)


def _arguments(spec: Spec, table: Torch) -> Iterator[Argument]:
    """Everything the constructor may accept, in the order of the spec."""
    docs = dict(python.documentation(spec))
    for option in spec.options:
        for switch, hyperparameter in table.switches.items():
            if option.when_text == switch:
                needed = f"`{hyperparameter} != 0`"
                docs[option.name] = docs[option.name].replace(f"`{switch}`", needed)
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
    for name, (default, doc) in _SETTINGS.items():
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
    return [*found, "state_dtype"]


def _has_tensors(spec: Spec) -> bool:
    return any(h.name == "lr" for h in spec.hyperparameters)


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
    if tuples := _tuples(table):
        yield from _mapping("_tuples", {key: _texts(parts) for key, parts in tuples.items()})
    free = {option.name for option in spec.options}
    free |= set(_LATER.get(spec.torch_class, () if spec.torch_class else table.switches.values()))
    names = [n for n in order if n not in ("*", "state_dtype", *table.constants)]
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
    if not table.counter:
        yield "    _has_counter = False"
    if table.eager:
        yield "    _is_eager = True"
    if spec.torch_class:
        yield "    _is_torchs = True"
    if spec.torch_class in _WITHOUT_XLA:
        yield "    _has_xla = False"
    if spec.torch_class in _SPARSE:
        yield f'    _sparse = "{_SPARSE[spec.torch_class]}"'


def _tuples(table: Torch) -> dict[str, tuple[str, ...]]:
    """The arguments that are several numbers."""
    return {name: parts for name, parts in table.arguments.items() if len(parts) > 1}


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


def _places(spec: Spec, table: Torch) -> dict[str, tuple[str, str]]:
    """Hyperparameter or option → where the constructor has it, and torch's words for it."""
    found = {}
    for name in [*(h.name for h in spec.hyperparameters), *(o.name for o in spec.options)]:
        found[name] = (name, _WORDS.get(name, f"{name} value"))
    for argument, parts in table.arguments.items():
        for index, part in enumerate(parts):
            if len(parts) > 1:
                words = f"{argument.removesuffix('s')} parameter at index {index}"
                found[part] = (f"{argument}[{index}]", words)
            else:
                found[part] = (argument, f"{argument} value")
    return found


def _checks(spec: Spec, table: Torch, settings: list[str], order: list[str]) -> Iterator[str]:
    """What the constructor refuses, in torch's words."""
    for name, parts in _tuples(table).items():
        yield f'{name} = _arguments.entries("{name}", {name}, {_texts(parts)})'
    if _has_tensors(spec):
        items = ["lr=lr"]
        if spec.torch_class in _TENSOR_BETAS and "betas" in table.arguments:
            items += ["betas=betas", "foreach=foreach", "capturable=capturable"]
        yield f"_arguments.check_tensors({', '.join(items)})"
    yield "_arguments.check_state_dtype(state_dtype)"
    places = _places(spec, table)
    first = {"lr": 0, "eps": 1}
    for h in sorted(spec.hyperparameters, key=lambda h: first.get(h.name, 2)):
        place, words = places[h.name]
        if inside := within(replace(h, name=place)):
            yield f"if not {inside}:"
            yield from _refuse("ValueError", f'f"Invalid {words}: {{{place}}}"')
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
    places = _places(spec, table)
    for option in spec.options:
        if option.name in table.switches:
            continue
        wrong = []
        if option.when is not None:
            text = option.when_text
            for switch, hyperparameter in table.switches.items():
                text = text.replace(switch, f"{places[hyperparameter][0]} != 0")
            simple = option.when_text in table.switches
            negated = text.replace("!=", "==") if simple else f"not ({text})"
            wrong.append(negated if simple or " " in text else f"not {text}")
        if zero := table.zero_with.get(option.name):
            wrong.append(f"{places[zero][0]} != 0")
        if wrong:
            joined = f"({' or '.join(wrong)})" if len(wrong) > 1 else wrong[0]
            zeros = f" and {zero} = 0" if zero else ""
            message = _REFUSALS.get(option.name, f"{option.name} needs {option.when_text}{zeros}")
            yield f"if {places[option.name][0]} and {joined}:"
            yield from _refuse("ValueError", f'"{message}"')


def _refuse(kind: str, text: str) -> Iterator[str]:
    """The lines that raise an exception."""
    for line in PYTHON.layout(f"raise {kind}", [text], "", " " * 12).split("\n"):
        yield line[8:]


def _values(spec: Spec, table: Torch) -> Iterator[tuple[str, str]]:
    """Keyword of the rule's `step` → where a parameter group has it."""
    places = _places(spec, table)

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


def package(classes: Mapping[str, str]) -> str:
    """The text of the package's `__init__.py`.

    Args:
        classes: Module → the class that it holds.
    """
    imports = [f"from .{module} import {name}" for module, name in sorted(classes.items())]
    names = sorted(["Optimizer", *classes.values()])
    about = "Generated by `stepforge build`. Do not edit: it lists the classes here. @generated"
    return "\n".join(
        [
            PYTHON.comments(about, *PYTHON.pragmas),
            PYTHON.docstring("Optimizers as drop-in classes of `torch.optim`."),
            "",
            "from ._runtime import Optimizer",
            *imports,
            "",
            "__all__ = [",
            *(f'    "{name}",' for name in names),
            "]",
            "",
        ]
    )
