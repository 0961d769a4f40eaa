"""`stepforge explain`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Optional

import typer

from stepforge.commands.explanations import explanations, names
from stepforge.commands.options import Json, complete_explained
from stepforge.commands.terminal.output import answer
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.verify.rungs.registry import RUNGS, named

EXAMPLES = (
    "stepforge explain                # everything there is",
    "stepforge explain E104           # an error code, with an example",
    "stepforge explain ptx-proof      # a kind of evidence, by name or number",
    "stepforge explain proved         # a verdict",
)
_TITLES = {
    "code": "Error codes; those with W are warnings",
    "rung": "Rungs, the kinds of evidence",
    "verdict": "Verdicts",
    "level": "Levels of `verify`",
}


def explain(
    name: Annotated[
        Optional[str],
        typer.Argument(
            metavar="NAME",
            help="An error code such as E104, a rung by its name or number such as "
            "ptx-proof, a verdict or a level; all of them if there is none.",
            autocompletion=complete_explained,
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what an error code, a rung, a verdict or a level means."""
    if name is None:
        everything = [_entry(kind, n) for kind, table in explanations().items() for n in table]
        if as_json:
            answer("explain", everything)
        else:
            _print_all()
        return
    rung = named(name)
    wanted = rung.name if rung else name.strip().upper()
    kind = next((kind for kind, table in explanations().items() if wanted in table), None)
    if kind is None:
        help = nearest(wanted, names()) or "`stepforge explain` lists what there is"
        message = f"nothing to explain is called `{short(name)}`"
        raise SpecError([Diagnostic("E006", message, "explain", help=help)])
    found = _entry(kind, wanted)
    if as_json:
        answer("explain", [found])
        return
    _say(f"{_heading(wanted)}: {found['meaning']}")
    if found["example"]:
        shown = _indent(found["example"]), _indent(found["diagnostic"])
        print(f"\nFor example\n\n{shown[0]}\n\ngives\n\n{shown[1]}")


def _entry(kind: str, name: str) -> dict[str, Any]:
    from stepforge.commands.scaffold import example

    spec, message = example(name) if kind == "code" else ("", "")
    rung = named(name) if kind == "rung" else None
    return {
        "name": name,
        "kind": kind,
        "rung": rung.number if rung else None,
        "meaning": explanations()[kind][name],
        "example": spec,
        "diagnostic": message,
    }


def _heading(name: str) -> str:
    """A name as it is printed: that of a rung with its number."""
    return next((rung.title for rung in RUNGS.values() if rung.name == name), name)


def _print_all() -> None:
    for kind, table in explanations().items():
        print(f"{_TITLES[kind]}:\n")
        for name, meaning in table.items():
            _say(f"{_heading(name)}: {meaning}")
        print()
    print("`stepforge explain NAME` has an example for most error codes.")


def _say(text: str) -> None:
    from stepforge.commands.terminal import screen as terminal
    from stepforge.commands.terminal import table

    table.say(table.console(sys.stdout), text, terminal.room(sys.stdout))


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
