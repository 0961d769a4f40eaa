"""The optimizer class from outside: its name, its arguments, and what errors call them."""

from __future__ import annotations

import keyword
import re
from dataclasses import replace

from stepforge.backends.aside import shown
from stepforge.language.names import NAME, stepped_aside
from stepforge.language.spec import Option, Spec
from stepforge.language.subjects import SCHEDULE
from stepforge.language.torch_model import TORCH_SETTINGS, Torch

OF_BASE = ("state_dtype", "backend")
"""Arguments that every generated class has, and torch's have not."""
OF_TORCH = ("params", "param_names", "initial_lr", *TORCH_SETTINGS, *OF_BASE)
"""Keys of parameter groups that are torch's own, or the base class's."""
PLAIN = Torch()
"""For specs without a `[torch]` table."""
_BETAS = re.compile(r"beta[1-9]")
"""Hyperparameters that torch's classes have as one argument, `betas`."""
WORDS = {"learning_rate": "learning rate", "epsilon": "epsilon value"}
"""Roles, which torch's constructors look at first, → what torch calls them in its errors."""


def class_name(spec: Spec) -> str:
    """The name of the generated class.

    It is torch's if that is the spec's name, too, or the name of `[torch]` where torch has no such
    class; else the title if that is the name of a class, or the spec's name in capitalized words. A
    schedule's is always the latter, with `Schedule` behind it.
    """
    if spec.subject == SCHEDULE:
        return f"{_capitalized(spec.name)}Schedule"
    table = spec.torch or PLAIN
    is_own = not spec.torch_class or table.class_name.lower() == spec.name.lower()
    if table.class_name and is_own:
        return table.class_name
    if NAME.match(spec.title) and spec.title[:1].isupper() and not keyword.iskeyword(spec.title):
        return spec.title
    name = _capitalized(spec.name)
    return f"{name}_" if keyword.iskeyword(name) else name


def _capitalized(name: str) -> str:
    """The words of a name, each with a capital letter."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def table_of(spec: Spec) -> Torch:
    """The `[torch]` table, with what a class of torch's would have where the author says nothing.

    `beta1`, `beta2` and so on are one argument, `betas`, as schedules such as `OneCycleLR` expect
    it, and a rule that cannot ascend takes `maximize=False`. What is known of a class of torch
    alone does not count, and checkpoints may lack what only switches an option on.
    """
    table = spec.torch or PLAIN
    if spec.torch_class:
        return table
    later = tuple(table.switches.values())
    table = replace(table, later=later, sparse="", tensor_betas=False, xla=True)
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


def freed(spec: Spec, table: Torch) -> Torch:
    """The table where names of the spec that torch's groups or states have get an underscore."""
    names = [*(h.name for h in spec.hyperparameters), *(o.name for o in spec.options)]
    mapped = {part for parts in table.arguments.values() for part in parts}
    taken = {shown(name) for name in names} | {*table.arguments, *OF_TORCH}
    arguments = dict(table.arguments)
    for name in names:
        if shown(name) in OF_TORCH and name not in mapped:
            arguments[stepped_aside(shown(name), taken)] = (name,)
    return replace(table, arguments=arguments)


def tuples_of(table: Torch) -> dict[str, tuple[str, ...]]:
    """The arguments that are several numbers."""
    return {name: parts for name, parts in table.arguments.items() if len(parts) > 1}


def places_of(spec: Spec, table: Torch) -> dict[str, tuple[str, str]]:
    """Hyperparameter or option → where the constructor has it, and torch's words for it."""
    found = {}
    known = {name: WORDS[role] for role, name in spec.roles.items() if role in WORDS}
    for name in [*(h.name for h in spec.hyperparameters), *(o.name for o in spec.options)]:
        found[name] = (name, known.get(name, f"{name} value"))
    for argument, parts in table.arguments.items():
        for index, part in enumerate(parts):
            if len(parts) > 1:
                words = f"{argument.removesuffix('s')} parameter at index {index}"
                found[part] = (f"{argument}[{index}]", words)
            else:
                found[part] = (argument, known.get(part, f"{argument} value"))
    return found


def when_of(spec: Spec, table: Torch, option: Option) -> str:
    """In which other options one has a meaning, in the names of the constructor."""
    places = places_of(spec, table)

    def named(word: re.Match[str]) -> str:
        switch = table.switches.get(word[0])
        return f"{places[switch][0]} != 0" if switch else places.get(word[0], word)[0]

    return re.sub(r"\w+", named, option.when_text)
