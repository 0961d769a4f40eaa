"""`stepforge list`."""

from __future__ import annotations

import sys
from typing import Any

from stepforge.commands.options import Json, Wide
from stepforge.commands.specs import load_all
from stepforge.commands.terminal.output import answer

EXAMPLES = (
    "stepforge list",
    "stepforge list --wide | less -S",
    "stepforge list --json            # for a script",
)


def list_(wide: Wide = False, as_json: Json = False) -> None:
    """Print the catalogue: name, title, states, bytes moved per element, evidence."""
    from stepforge.lowering.lower import lower
    from stepforge.verify.run.tasks import rungs

    results: list[dict[str, Any]] = []
    for spec in load_all(None):
        kernel, default = lower(spec), {o.name: o.default for o in spec.options}
        active = {s.name for s in spec.active_states(default)} | {"p", "g"}
        accesses = sum(t.loaded + t.stored for t in kernel.tensors if t.name in active)
        results.append(
            {
                "name": spec.name,
                "title": spec.title,
                "states": [s.name for s in spec.states],
                "options": [o.name for o in spec.options],
                "bytes_per_element": 4 * accesses,
                "evidence": [rung.number for rung in rungs(spec)],
                "torch": spec.torch_class or None,
            }
        )
    if as_json:
        answer("list", results)
    else:
        _print(results, wide)


def _print(results: list[dict[str, Any]], wide: bool) -> None:
    from stepforge.commands.terminal import screen as terminal
    from stepforge.commands.terminal import table

    header = ("name", "title", "states", "options", "bytes/element", "evidence")
    rows = [
        (
            row["name"],
            row["title"],
            " ".join(row["states"]) or table.NONE,
            " ".join(row["options"]) or table.NONE,
            str(row["bytes_per_element"]),
            " ".join(row["evidence"]) + (f" (torch {row['torch']})" if row["torch"] else ""),
        )
        for row in results
    ]
    columns = None if wide else terminal.room(sys.stdout)
    table.print_table(table.console(sys.stdout), header, rows, columns)
