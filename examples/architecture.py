"""Draws `docs/architecture.svg`: the rooms of the package, and which imports which.

The arrows are read from the files: one from a room to every room below it that a module of it
imports, thicker the more modules do. `tests/test_floors.py` compares the picture with the file.
"""

from __future__ import annotations

import ast
import html
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "codegen" / "stepforge"
FILE = ROOT / "docs" / "architecture.svg"
ROOMS = (
    "commands", "mutate", "fuzz", "facts", "relations", "verify", "project", "output", "backends",
    "lowering", "language", "operations",
)  # fmt: skip
"""From the top: nothing imports from above."""
WIDTH, HEIGHT, GAP, LEFT, TOP = 560, 40, 16, 24, 24


def imports() -> Iterator[tuple[str, str]]:
    """Room and imported room of every module, each pair once for a module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room not in ROOMS or "templates" in path.parts:
            continue
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stepforge."):
                found.add(str(node.module).split(".")[1])
        yield from ((room, other) for other in sorted(found) if other in ROOMS and other != room)


def about(room: str) -> str:
    """What a room is for: the first line of its docstring."""
    text = (PACKAGE / room / "__init__.py").read_text("utf-8")
    return str(ast.get_docstring(ast.parse(text))).splitlines()[0].rstrip(".")


def picture() -> str:
    """The picture as SVG."""
    arrows = Counter(imports())
    tall = 2 * TOP + len(ROOMS) * (HEIGHT + GAP) - GAP
    wide = LEFT + WIDTH + 40 + 14 * len(ROOMS) + 24
    middle = {room: TOP + i * (HEIGHT + GAP) + HEIGHT // 2 for i, room in enumerate(ROOMS)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{tall}" '
        f'viewBox="0 0 {wide} {tall}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{tall}" fill="#ffffff"/>',
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#4a6785"/>'
        "</marker>",
    ]
    right = LEFT + WIDTH
    for room, y in middle.items():
        lines += [
            f'<rect x="{LEFT}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="4" '
            'fill="#eef3f8" stroke="#4a6785"/>',
            f'<text x="{LEFT + 12}" y="{y + 4}" font-weight="bold">{room}</text>',
            f'<text x="{LEFT + 104}" y="{y + 4}">{html.escape(about(room))}</text>',
        ]
    for (room, other), count in sorted(arrows.items()):
        floors = ROOMS.index(other) - ROOMS.index(room)
        out, start = right + 30 + 14 * floors, middle[room] + min(floors, 9) - 5
        end = middle[other] + 12 - 2 * min(floors, 9)
        lines.append(
            f'<path d="M{right} {start} C{out} {start} {out} {end} {right} {end}" fill="none" '
            f'stroke="#4a6785" stroke-opacity="0.7" stroke-width="{min(1 + count / 8, 4):.2f}" '
            'marker-end="url(#tip)"/>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
