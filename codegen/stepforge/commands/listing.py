"""`stepforge list`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Optional

import typer

from stepforge.commands.options import Json, Wide, complete_family
from stepforge.commands.specs import load_all, load_transforms
from stepforge.commands.terminal.output import answer
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.language.spec import FAMILIES, NO_FAMILY, Spec
from stepforge.language.subjects import OPTIMIZER
from stepforge.project.catalogue import SCHEDULES, TRANSFORMS

EXAMPLES = (
    "stepforge list",
    "stepforge list --filter lion     # in name, title, summary or family",
    "stepforge list --filter schedules",
    "stepforge list --wide | less -S",
    "stepforge list --json            # for a script",
)
Filter = Annotated[
    Optional[str],
    typer.Option(
        "--filter",
        metavar="TEXT",
        help="Only those whose name, title, summary or family has this text, in any case.",
        autocompletion=complete_family,
        show_default=False,
    ),
]


def list_(text: Filter = None, wide: Wide = False, as_json: Json = False) -> None:
    """Print the catalogue by families: name, title, states, options, bytes moved per element.

    Schedules and transforms come last, in groups of their own.
    """
    found = [*load_all(None), *load_transforms()]
    specs = [spec for spec in found if _has(spec, text or "")]
    if not specs:
        message = f"no spec has `{short(text or '')}` in its name, title, summary or family"
        groups = [*FAMILIES, SCHEDULES, TRANSFORMS]
        help = nearest(text or "", groups) or f"the families are {', '.join(groups)}"
        raise SpecError([Diagnostic("E006", message, "list", help=help)])
    groups = [*_MEANINGS]
    results = [_entry(s) for s in sorted(specs, key=lambda s: groups.index(_group(s)))]
    if as_json:
        answer("list", results)
    else:
        _print(results, wide)


def _has(spec: Spec, text: str) -> bool:
    texts = (spec.name, spec.title, spec.summary, _group(spec))
    return any(text.lower() in one.lower() for one in texts)


def _group(spec: Spec) -> str:
    """Where it is listed."""
    return spec.family if spec.subject == OPTIMIZER else f"{spec.subject.name}s"


def _entry(spec: Spec) -> dict[str, Any]:
    from stepforge.lowering.lower import lower
    from stepforge.verify.run.tasks import rungs

    kernel, default = lower(spec), {o.name: o.default for o in spec.options}
    active = {*spec.given, *(s.name for s in spec.active_states(default))}
    accesses = sum(t.loaded + t.stored for t in kernel.tensors if t.name in active)
    return {
        "name": spec.name,
        "title": spec.title,
        "summary": spec.summary,
        "kind": spec.subject.name,
        "family": _group(spec),
        "states": [s.name for s in spec.states],
        "inputs": [i.name for i in spec.inputs],
        "options": [o.name for o in spec.options],
        "bytes_per_element": 4 * accesses if spec.subject == OPTIMIZER else None,
        "evidence": [rung.number for rung in rungs(spec)],
        "torch": spec.torch_class or None,
    }


def _print(results: list[dict[str, Any]], wide: bool) -> None:
    from stepforge.commands.terminal import screen as terminal
    from stepforge.commands.terminal import table
    from stepforge.commands.terminal.table import Cell

    def names(found: list[str]) -> Cell:
        return Cell(" ".join(found) or table.NONE, brief=str(len(found) or table.NONE))

    numbers = ("bytes/element", "bytes")
    header = (
        "name", "title", "states", "options", Cell(numbers[0], brief=numbers[1]), "evidence",
    )  # fmt: skip
    rows = [
        (
            row["name"],
            row["title"],
            names(row["states"]),
            names(row["options"]),
            str(row["bytes_per_element"] or table.NONE),
            Cell(
                " ".join(row["evidence"]) + (f" (torch {row['torch']})" if row["torch"] else ""),
                brief="",
            ),
        )
        for row in results
    ]
    first = {row["family"]: number for number, row in reversed([*enumerate(results)])}
    headings = {n: f"{family}: {_MEANINGS[family]}" for family, n in first.items()}
    columns = None if wide else terminal.room(sys.stdout)
    table.print_table(
        table.console(sys.stdout), header, rows, columns, right=numbers, headings=headings
    )


_MEANINGS = {
    **FAMILIES,
    NO_FAMILY: "specs that name no family",
    SCHEDULES: "what a hyperparameter is multiplied by, step by step",
    TRANSFORMS: "what goes around the rule of an optimizer, by `use`",
}
