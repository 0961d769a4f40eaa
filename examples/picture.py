"""Draws docs/example.svg: the formula of Lion, what is generated from it, and what verify says.

Everything is read from the files themselves: the rule from the spec, the code from generated/, and
the verdicts from the table in the README, which a test compares with what `verify` prints.

Run from the project's root: python examples/picture.py
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "lion"
COLUMN, LINE, MARGIN, TOP = 292, 19, 16, 62
STYLE = """
  text { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
  .head, .rung, .what { font-family: system-ui, sans-serif }
  .head, .rung { font-weight: 600 }
  .what, .arrow { fill: #59636e; font-size: 11.5px }
  .rung { font-size: 11px }
  .arrow { font-size: 15px }
  .back { fill: #ffffff; stroke: #d1d9e0 }
  .panel { fill: #f6f8fa; stroke: #d1d9e0 }
  .proved { fill: #1a7f37; font-weight: 600 }
  .tested { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .what, .arrow { fill: #9198a1 }
    .back { fill: #0d1117; stroke: #3d444d }
    .panel { fill: #151b23; stroke: #3d444d }
    .proved { fill: #3fb950 }
    .tested { fill: #4493f8 }
  }
"""


def rule() -> list[str]:
    """The lines of the rule in the spec."""
    spec = tomllib.loads((ROOT / "specs" / f"{NAME}.toml").read_text("utf-8"))
    return str(spec["rule"]["update"]).strip("\n").split("\n")


def excerpt(backend: str, count: int) -> list[str]:
    """As many lines of a generated file as the rule has, from its first line on."""
    lines = (ROOT / "generated" / backend / f"{NAME}.py").read_text("utf-8").split("\n")
    start = next(i for i, line in enumerate(lines) if line.strip().lower() == rule()[0])
    return textwrap.dedent("\n".join(lines[start : start + count])).split("\n")


def verdicts() -> dict[str, str]:
    """Name and number of a rung → verdict, from the table in the README."""
    readme = (ROOT / "README.md").read_text("utf-8")
    header, row = (
        re.split(r" {2,}", re.findall(rf"^{first} .*$", readme, re.MULTILINE)[0].strip())
        for first in ("optimizer", NAME)
    )
    return {k: v for k, v in zip(header, row, strict=True) if re.search(r"\(R\d+\)$", k)}


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    text = text.replace("  ", 2 * "\N{NO-BREAK SPACE}")  # SVG makes one space of several
    return f'<text x="{x:g}" y="{y:g}"{style}>{escape(text)}</text>'


def picture() -> str:
    """The picture as SVG, for light and dark backgrounds."""
    lines = rule()
    panels = {
        "The formula": (f"specs/{NAME}.toml", lines),
        "NumPy reference": (f"generated/numpy/{NAME}.py", excerpt("numpy", len(lines))),
        "Triton kernel": (f"generated/triton/{NAME}.py", excerpt("triton", len(lines))),
    }
    bottom = TOP + len(lines) * LINE + 14
    width, height = MARGIN + 3 * (COLUMN + MARGIN), bottom + 84
    parts = [f'<rect class="back" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>']
    for number, (title, (file, code)) in enumerate(panels.items()):
        x = MARGIN + number * (COLUMN + MARGIN)
        parts += [
            _text(x, 24, title, "head"),
            _text(x, 40, file, "what"),
            f'<rect class="panel" x="{x}" y="{TOP - 14}" width="{COLUMN}" '
            f'height="{bottom - TOP + 8}" rx="6"/>',
            *(_text(x + 10, TOP + 6 + i * LINE, line) for i, line in enumerate(code)),
        ]
        if number:
            parts.append(_text(x - MARGIN + 1, (TOP + bottom) / 2, "→", "arrow"))
    found = verdicts()
    parts.append(_text(MARGIN, bottom + 22, f"stepforge verify {NAME}", "head"))
    wide = (width - 2 * MARGIN) / len(found)
    for number, (rung, verdict) in enumerate(found.items()):
        x = MARGIN + number * wide
        name, of = rung.removesuffix(")").split(" (")
        word, count = verdict.rsplit(" ", 1)
        parts += [
            _text(x, bottom + 44, name, "rung"),
            _text(x, bottom + 60, word, "proved" if "PROVED" in word else "tested"),
            _text(x, bottom + 75, f"{of}, {count}", "what"),
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            "<title>Lion: its formula, the NumPy and Triton code generated from it, and what each "
            "check found</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    (ROOT / "docs" / "example.svg").write_text(picture(), "utf-8")
