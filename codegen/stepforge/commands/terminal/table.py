"""Tables on a terminal of any width, and whole in a pipe: no cell is ever cut."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from stepforge.commands.terminal.screen import colourful

GAP = "  "
NONE = "–"
"""What a cell holds when there is nothing to say."""
_NO_BREAK = "\xa0"

Form = Literal["whole", "brief", "stacked"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table.

    Attributes:
        text: What it says.
        style: How Rich shows it.
        brief: What it says where the whole table is too wide; None if that is the same, "" if it
            is said elsewhere then.
    """

    text: str
    style: str = ""
    brief: str | None = None

    @property
    def short(self) -> str:
        """What it says in a brief table."""
        return self.text if self.brief is None else self.brief


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command decides what that means, not Rich


def console(stream: IO[str]) -> Console:
    """What prints styled text: without colour where none is wanted, and without cutting lines."""
    colour = colourful(stream)
    return _Screen(
        file=stream, highlight=False, soft_wrap=True, markup=False, emoji=False,
        force_terminal=colour, color_system="standard" if colour else None,
    )  # fmt: skip


def say(screen: Console, text: str, columns: int | None, style: str = "") -> None:
    """Prints a sentence; on a terminal it is broken between words."""
    if columns is not None and cell_len(text) > columns:
        text = _broken(text, columns, 0)
    screen.print(Text(text, style))


def print_table(
    screen: Console,
    header: Sequence[Cell | str],
    rows: Sequence[Sequence[Cell | str]],
    columns: int | None,
    right: Collection[str] = (),
    headings: Mapping[int, str] = MappingProxyType({}),
) -> Form:
    """Prints a table in the first form that fits.

    Args:
        screen: Where to.
        header: Names of the columns, which are short where the table does not fit with the whole
            ones; the first column says what a row is about.
        rows: A cell for every column.
        columns: How wide it may be; None for any width.
        right: The columns of numbers, which stand at the right.
        headings: Number of a row → a line that stands above it, after an empty one.

    Returns:
        "whole" as it is; "brief" with the short text of every cell; "stacked" with the
        name of a row in front, and its cells in several lines, each with the name of its column.
    """
    whole = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in (header, *rows)]
    short = [[Cell(c.short, c.style) for c in row] for row in whole]
    numbers = [name.text in right for name in whole[0]]
    told = [i for i in range(len(header)) if any(row[i].text for row in short[1:])]
    brief = [[row[i] for i in told] for row in short]
    room = sys.maxsize if columns is None else columns
    forms: dict[Form, list[list[Text]]] = {
        "whole": [_grid(whole, numbers), _grid([short[0], *whole[1:]], numbers)],
        "brief": [_grid(brief, [numbers[i] for i in told])],
    }
    for form, grids in forms.items():
        for lines in grids:
            if all(cell_len(line.plain) <= room for line in lines):
                blocks = [[line] for line in lines[1:]]
                screen.print(Text("\n").join([lines[0], *_headed(blocks, headings, room)]))
                return form
    blocks = [*_stacked([name.text for name in short[0]], whole[1:], room)]
    screen.print(Text("\n").join(_headed(blocks, headings, room)))
    return "stacked"


def _headed(
    blocks: Iterable[Iterable[Text]], headings: Mapping[int, str], columns: int
) -> Iterator[Text]:
    """The lines of all rows, with the headings above those that have one."""
    for number, lines in enumerate(blocks):
        if number in headings:
            yield Text("")
            yield Text(_broken(headings[number], columns, 0), "bold")
        yield from lines


def _grid(lines: Sequence[Sequence[Cell]], right: Sequence[bool]) -> list[Text]:
    """Lines whose columns stand below each other, at the right if they are such of numbers."""
    widths = [max(cell_len(line[i].text) for line in lines) for i in range(len(right))]
    found = []
    for line in lines:
        text = Text()
        for at_right, cell, width in zip(right, line, widths, strict=True):
            space = " " * (width - cell_len(cell.text))
            parts = (space, cell) if at_right else (cell, space)
            for part in parts:
                text.append(*(part if isinstance(part, tuple) else _styled(part)))
            text.append(GAP)
        text.rstrip()
        found.append(text)
    return found


def _styled(part: Cell | str) -> tuple[str, str]:
    return (part.text, part.style) if isinstance(part, Cell) else (part, "")


def _stacked(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], columns: int
) -> Iterator[list[Text]]:
    """The name of a row, and behind it or below it its cells, as many in a line as fit."""
    names = max(cell_len(row[0].text) for row in rows)
    named = [[*_named(header[1:], row[1:], columns - len(GAP))] for row in rows]
    widest = max(cell_len(cell.text) for row in named for cell in row)
    beside = names + len(GAP) + widest <= columns
    indent = names + len(GAP) if beside else len(GAP)
    aligned = _widths([[cell_len(c.text) for c in row] for row in named], columns - indent)
    for row, cells in zip(rows, named, strict=True):
        first = Text(row[0].text, row[0].style)
        found = []
        if not beside:
            found.append(first)
            first = Text("")
        for line in _lines(cells, aligned, columns - indent):
            first.append(" " * (indent - cell_len(first.plain)))
            for cell, width in line:
                text = _broken(cell.text, columns, indent) if not width else cell.text
                first.append(text, cell.style)
                first.append(" " * (width - cell_len(text)) + GAP)
            first.rstrip()
            found.append(first)
            first = Text("")
        yield found


def _named(names: Sequence[str], row: Sequence[Cell], columns: int) -> Iterator[Cell]:
    """Cells with the names of their columns; with their short text where they are too wide."""
    for name, cell in zip(names, row, strict=True):
        texts = [f"{name}: {text}" if name else text for text in (cell.text, cell.short)]
        if cell.text and cell.short:
            yield Cell(texts[0] if cell_len(texts[0]) <= columns else texts[1], cell.style)


def _lines(
    cells: Sequence[Cell], aligned: Sequence[int], columns: int
) -> list[list[tuple[Cell, int]]]:
    """The cells of every line with their widths: one below the other if that takes no more lines.

    A cell that is wider than a line has no width: it is broken.
    """
    flowing: list[list[tuple[Cell, int]]] = []
    used = columns
    for cell in cells:
        width = cell_len(cell.text)
        used += len(GAP) + width
        if used > columns:
            flowing.append([])
            used = width
        flowing[-1].append((cell, width if width <= columns else 0))
    starts = range(0, len(cells), len(aligned) or 1)
    if aligned and len(starts) <= len(flowing):
        return [list(zip(cells[start:], aligned, strict=False)) for start in starts]
    return flowing


def _widths(cells: Sequence[Sequence[int]], columns: int) -> list[int]:
    """The widths of as many columns as fit, over all rows; none if not even two do."""
    for count in range(max(map(len, cells)), 1, -1):
        widths = [
            max((width for row in cells for width in row[i::count]), default=0)
            for i in range(count)
        ]
        if sum(widths) + len(GAP) * (count - 1) <= columns:
            return widths
    return []


def _broken(text: str, columns: int, indent: int) -> str:
    """Text broken between words, not in commands; what is longer than a line stays whole."""
    whole = re.sub("`[^`]*`", lambda quoted: quoted[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        whole, columns, initial_indent=" " * indent, subsequent_indent=" " * (indent + len(GAP)),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines).lstrip(" ").replace(_NO_BREAK, " ")
