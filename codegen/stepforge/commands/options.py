"""Arguments and options that several commands have, and what a shell completes for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import typer

from stepforge.commands.specs import load_all
from stepforge.language.diagnostics import SpecError
from stepforge.project import catalogue


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that begin so in any case; in the case that was begun."""
    found = [name for name in names if name.lower().startswith(incomplete.lower())]
    if incomplete.islower():
        return [name.lower() for name in found]
    return [name.upper() for name in found] if incomplete.isupper() else found


def complete_spec(incomplete: str) -> list[str]:
    """Names of specs; those that are in a folder also behind its name."""
    try:
        names = catalogue.known_names()
        folder, slash, _ = incomplete.partition("/")
        if slash and folder in catalogue.FOLDERS:
            names = [f"{folder}/{name}" for name in catalogue.known_in(folder)]
        return [name for name in names if name.startswith(incomplete)]
    except SpecError:  # of the configuration
        return []


def complete_operand(incomplete: str) -> list[str]:
    """Names of specs; after a bracket the options of that spec."""
    name, bracket, options = incomplete.partition("[")
    if not bracket:
        return complete_spec(incomplete)
    try:
        (spec,) = load_all([name])
    except SpecError:
        return []
    before, comma, last = options.rpartition(",")
    taken = before.split(",")
    return [
        f"{name}[{before}{comma}{option.name}"
        for option in spec.options
        if option.name.startswith(last) and option.name not in taken
    ]


def complete_family(incomplete: str) -> list[str]:
    """Families of optimizers, the schedules, and the transforms."""
    from stepforge.language.spec import FAMILIES

    return _beginning([*FAMILIES, catalogue.SCHEDULES, catalogue.TRANSFORMS], incomplete)


def complete_fact(incomplete: str) -> list[str]:
    """Facts that optimizers are chosen by."""
    from stepforge.facts.derive import PROPERTIES

    return _beginning(PROPERTIES, incomplete)


def complete_backend(incomplete: str) -> list[str]:
    """Backends, after a comma too."""
    from stepforge.backends.registry import BACKENDS

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in BACKENDS if name.startswith(last)]


def complete_target(incomplete: str) -> list[str]:
    """GPUs: architectures, then what is sold, such as `h100`."""
    from stepforge.commands.gpus import NAMES
    from stepforge.verify.rungs.levels import ARCHITECTURES

    sold = [name for name, target in NAMES.items() if target in ARCHITECTURES]
    return _beginning([*ARCHITECTURES, *sold], incomplete)


def complete_kernel(incomplete: str) -> list[str]:
    """Kernels."""
    from stepforge.verify.files.generated import LAUNCHERS

    return [name for name in LAUNCHERS if name.startswith(incomplete)]


def complete_view(incomplete: str) -> list[str]:
    """Views of `show`."""
    from stepforge.commands.views import views

    return [name for name in views() if name.startswith(incomplete)]


def complete_dtype(incomplete: str) -> list[str]:
    """Types of tensors."""
    from stepforge.verify.rungs.levels import DTYPES

    return [name for name in DTYPES if name.startswith(incomplete)]


def complete_option(context: typer.Context, incomplete: str) -> list[str]:
    """The options of the spec that is on the line already; of all specs if there is none."""
    given = next(iter(context.args), None) or context.params.get("spec")
    try:
        specs = load_all([given] if given else None)
    except SpecError:
        return []
    names = dict.fromkeys(option.name for spec in specs for option in spec.options)
    return [name for name in names if name.startswith(incomplete)]


def complete_explained(incomplete: str) -> list[str]:
    """Error codes, rungs, verdicts and levels."""
    from stepforge.commands.explanations import names

    return _beginning(names(), incomplete)


Specs = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="SPEC...",
        help="Names in specs/ or paths; all specs if there is none.",
        autocompletion=complete_spec,
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, errors included.")
]
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Print all columns, however narrow the terminal is."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")]
Cache = Annotated[
    Optional[Path],
    typer.Option(
        "--cache",
        metavar="DIR",
        envvar="STEPFORGE_CACHE",
        help="The folder of kept verdicts, which stand as long as all of their inputs are the "
        "same. By default .stepforge_cache beside the settings.",
        show_default=False,
    ),
]
