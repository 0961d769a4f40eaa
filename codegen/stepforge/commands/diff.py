"""`stepforge diff`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from stepforge.commands.options import Json, complete_operand
from stepforge.commands.specs import load_all, optimizers
from stepforge.commands.terminal.output import answer, leave
from stepforge.language.diagnostics import Diagnostic, SpecError

if TYPE_CHECKING:
    from stepforge.relations.sides import Side

EXAMPLES = (
    "stepforge diff                             # all relations of the catalogue",
    "stepforge diff adam adamw                  # equal if weight_decay = 0",
    "stepforge diff momentum momentum_ema       # equal with another learning rate",
    "stepforge diff mine.toml 'sgd[use_momentum,nesterov]'",
    "stepforge diff nadam adam --with 'beta1 = 0'",
    "stepforge diff rmsprop adam --with 'lr_B = lr/sqrt(1 - alpha**t)'",
)
_OPERAND = re.compile(r"(?P<spec>[^\[\]]+)(?:\[(?P<options>[^\[\]]*)\])?", re.DOTALL)


def diff(
    a: Annotated[
        Optional[str],
        typer.Argument(
            metavar="A",
            help="Name or path, with options that are switched on in brackets: adam[amsgrad]. "
            "Without A and B, all relations of the catalogue.",
            autocompletion=complete_operand,
            show_default=False,
        ),
    ] = None,
    b: Annotated[
        Optional[str],
        typer.Argument(
            metavar="B",
            help="The same.",
            autocompletion=complete_operand,
            show_default=False,
        ),
    ] = None,
    conditions: Annotated[
        Optional[list[str]],
        typer.Option(
            "--with",
            metavar="CONDITION",
            help="What to take for granted (repeatable), such as 'beta1 = 0', 't = 1' (the first "
            "step), 'lr_B = lr/(1 - beta)'.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how two optimizers are related: equal, equal under conditions, or different.

    Equal is meant in exact arithmetic, for every input and every number of steps; it is proved, by
    induction. B's hyperparameters may have other names, and its states may be multiples of A's.
    Conditions are looked for: a hyperparameter that is 0, 1 or at an end of its domain, two that
    are equal. Different is shown by the smallest input, and the first lines that part.

    Exit status: 0 equal, also under conditions; 1 different or not decided; 2 bad input.
    """
    from stepforge.commands.terminal import relations as terminal
    from stepforge.relations.find import relate
    from stepforge.relations.given import asked

    if a is None:
        _survey(as_json)
        return
    if b is None:
        raise SpecError([Diagnostic("E090", "missing argument 'B'", "stepforge diff")])
    warnings: list[Diagnostic] = []
    one, other = operand(a, warnings), operand(b, warnings)
    if one.label == other.label:
        one, other = replace(one, mark=" (A)"), replace(other, mark=" (B)")
    found = relate(one, other, asked(conditions or [], one, other))
    status = 0 if found.kind in ("equal", "conditional") else 1
    if as_json:
        answer("diff", [terminal.as_dict(found)], warnings, status)
    else:
        terminal.show(found)
    leave(status)


def _survey(as_json: bool) -> None:
    """The relations of all specs."""
    from stepforge.commands.terminal import relations as terminal
    from stepforge.relations.survey import sides, survey

    warnings: list[Diagnostic] = []
    found = survey(sides(optimizers(load_all(None, warnings), None, "diff")), terminal.progress)
    if as_json:
        answer("diff", [terminal.as_dict(relation) for relation in found], warnings)
        return
    for relation in found:
        print(terminal.special_case(relation))


def operand(text: str, warnings: list[Diagnostic]) -> Side:
    """An operand: a name or path, and options.

    Raises:
        SpecError: There is no such spec or option.
    """
    from stepforge.commands.views import chosen
    from stepforge.relations.sides import Side

    parts = _OPERAND.fullmatch(text)
    if parts is None:
        help = "write for example `adam[amsgrad]`"
        raise SpecError([Diagnostic("E090", "this is no spec with options", text, help=help)])
    named = [parts["spec"].strip()]
    (spec,) = optimizers(load_all(named, warnings), named, "diff")
    on, off = [], set()
    for option in filter(None, re.split(r"[\s,]+", parts["options"] or "")):
        name, _, value = option.partition("=")
        if value.lower() == "false":
            off.add(name)
        on.append(name)
    options = chosen(spec, [name for name in on if name not in off])
    unknown = [name for name in off if name not in options]
    chosen(spec, unknown)  # says which there are
    return Side(spec, {name: value and name not in off for name, value in options.items()})
