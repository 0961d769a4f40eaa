"""`stepforge list`."""

from __future__ import annotations

from typing import Any

from codegen.commands.options import Json
from codegen.commands.output import print_json
from codegen.commands.specs import load_all


def list_(as_json: Json = False) -> None:
    """Print the catalogue: name, title, states, bytes moved per element, evidence."""
    from codegen.lower import lower
    from codegen.verify import rungs

    rows: list[dict[str, Any]] = []
    for spec in load_all(None):
        kernel, default = lower(spec), {o.name: o.default for o in spec.options}
        active = {s.name for s in spec.active_states(default)} | {"p", "g"}
        accesses = sum(t.loaded + t.stored for t in kernel.tensors if t.name in active)
        rows.append(
            {
                "name": spec.name,
                "title": spec.title,
                "states": [s.name for s in spec.states],
                "options": [o.name for o in spec.options],
                "bytes_per_element": 4 * accesses,
                "evidence": rungs(spec),
                "torch": spec.torch_class or None,
            }
        )
    if as_json:
        print_json(rows)
        return
    header = ("name", "title", "states", "options", "bytes/element", "evidence")
    table = [
        (
            row["name"],
            row["title"],
            " ".join(row["states"]) or "–",
            " ".join(row["options"]) or "–",
            str(row["bytes_per_element"]),
            " ".join(row["evidence"]) + (f" (torch {row['torch']})" if row["torch"] else ""),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [header, *table]) for i in range(len(header))]
    for line in [header, *table]:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
