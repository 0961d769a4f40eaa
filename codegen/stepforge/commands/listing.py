"""`stepforge list`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Optional

import typer

from stepforge.commands.options import Json, Wide, complete_fact, complete_family
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
    "stepforge list --fact loss-invariant    # the loss's scale changes no step",
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


Proved = Annotated[
    Optional[str],
    typer.Option(
        "--fact",
        metavar="FACT",
        help="Only optimizers of which this is proved, at the default options, with what has to "
        "be zero for it: loss-invariant, loss-proportional, lr-proportional, odd, "
        "translation-invariant, still, or bounded; `show --as facts` says it in sentences.",
        autocompletion=complete_fact,
        show_default=False,
    ),
]


def list_(
    text: Filter = None, fact: Proved = None, wide: Wide = False, as_json: Json = False
) -> None:
    """Print the catalogue by families: name, title, states, options, bytes moved per element.

    Schedules and transforms come last, in groups of their own.
    """
    found = [*load_all(None), *load_transforms()]
    specs = [spec for spec in found if _has(spec, text or "")]
    proved = {} if fact is None or not specs else _proved(specs, fact)
    if fact is not None and specs:
        specs = [spec for spec in specs if spec.name in proved]
        if not specs:
            message = f"of no such optimizer `{fact}` is proved"
            raise SpecError([Diagnostic("E006", message, "list")])
    if not specs:
        message = f"no spec has `{short(text or '')}` in its name, title, summary or family"
        groups = [*FAMILIES, SCHEDULES, TRANSFORMS]
        help = nearest(text or "", groups) or f"the families are {', '.join(groups)}"
        raise SpecError([Diagnostic("E006", message, "list", help=help)])
    groups = [*_MEANINGS]
    results = [_entry(s) for s in sorted(specs, key=lambda s: groups.index(_group(s)))]
    if fact is not None:
        results = [{**entry, "fact": proved[entry["name"]]} for entry in results]
    if as_json:
        answer("list", results)
    else:
        _print(results, wide)


def _proved(specs: Sequence[Spec], name: str) -> dict[str, dict[str, Any]]:
    """The optimizers of which a fact is proved, by name.

    Raises:
        SpecError: There is no such fact.
    """
    from stepforge.commands.terminal.facts import fact_as_dict
    from stepforge.facts.derive import PROPERTIES, Analysis

    if name not in PROPERTIES:
        help = nearest(name, PROPERTIES) or f"there are {', '.join(PROPERTIES)}"
        message = f"no fact named `{short(name)}`"
        raise SpecError([Diagnostic("E006", message, "list", help=help)])
    found = {}
    for spec in specs:
        if spec.subject != OPTIMIZER:
            continue
        default = {o.name: o.default for o in spec.options}
        if (fact := PROPERTIES[name](Analysis(spec, default))) is not None:
            found[spec.name] = {"name": name, **fact_as_dict(fact)}
    return found


def _has(spec: Spec, text: str) -> bool:
    texts = (spec.name, spec.title, spec.summary, _group(spec))
    return any(text.lower() in one.lower() for one in texts)


def _group(spec: Spec) -> str:
    """Where it is listed."""
    return spec.family if spec.subject == OPTIMIZER else f"{spec.subject.name}s"


def _entry(spec: Spec) -> dict[str, Any]:
    from stepforge.facts.costs import costs
    from stepforge.lowering.lower import lower
    from stepforge.verify.run.tasks import rungs

    default = {o.name: o.default for o in spec.options}
    spent = costs(lower(spec), default) if spec.subject == OPTIMIZER else None
    return {
        "name": spec.name,
        "title": spec.title,
        "summary": spec.summary,
        "kind": spec.subject.name,
        "family": _group(spec),
        "states": [s.name for s in spec.states],
        "inputs": [i.name for i in spec.inputs],
        "options": [o.name for o in spec.options],
        "bytes_per_element": spent.moved_bytes if spent else None,
        "state_bytes_per_element": spent.state_bytes if spent else None,
        "operations_per_element": sum(spent.operations.values()) if spent else None,
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
    has_fact = "fact" in results[0]
    header = (
        "name", "title", "states", "if" if has_fact else "options",
        Cell(numbers[0], brief=numbers[1]), "evidence",
    )  # fmt: skip
    rows = [
        (
            row["name"],
            row["title"],
            names(row["states"]),
            Cell(_conditions(row["fact"]), brief=_conditions(row["fact"], ""))
            if has_fact
            else names(row["options"]),
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


def _conditions(fact: dict[str, Any], equal: str = " = 0") -> str:
    """What has to be zero for a fact."""
    return ", ".join(f"{name}{equal}" for name in fact["conditions"]) or "always"


_MEANINGS = {
    **FAMILIES,
    NO_FAMILY: "specs that name no family",
    SCHEDULES: "what a hyperparameter is multiplied by, step by step",
    TRANSFORMS: "what goes around the rule of an optimizer, by `use`",
}
