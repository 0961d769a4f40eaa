"""TOML text to values with positions.

`tomllib` decides what is valid and what it means; the scanner here walks the same text first, to
learn where every key and value stands and to bound what `tomllib` gets to see.

In one file, because text, TOML and positions are read in one pass.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stepforge.language.diagnostics import Diagnostic, Span, SpecError, short
from stepforge.language.tokens import spelled_out

MAX_BYTES = 256 * 1024
MAX_PARTS = 16
"""Parts of a dotted key; `tomllib` takes quadratic time for many."""
MAX_NESTING = 16
"""Tables and arrays inside each other; `tomllib` is recursive."""
MAX_DUPLICATES = 100
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value stand, as offsets into the text."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """A parsed spec file: its values, and the position of each of them.

    Attributes:
        path: The file as the user named it; appears in diagnostics.
        text: The file's text with `\\n` line ends.
        data: The TOML values.
        places: Offsets of every key path.
    """

    path: str
    text: str
    data: dict[str, Any]
    places: dict[KeyPath, Place] = field(repr=False)
    _contents: dict[KeyPath, tuple[list[int], list[int]]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """Offset of every character of a string value, and the characters that begin its lines."""

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self._lines[:-1]:
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def span(self, offset: int, end: int | None = None) -> Span:
        """Line and column of an offset; `end` is cut at the end of that line."""
        line = bisect_right(self._starts, offset)
        start = self._starts[line - 1]
        stop = start + len(self._lines[line - 1])
        last = max(min(stop, offset + 1 if end is None else end), offset + 1)
        return Span(line, offset - start + 1, last - start + 1)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def key_span(self, path: KeyPath) -> Span | None:
        """Where the key stands; the nearest enclosing table if it is not there, or None."""
        while path:
            if path in self.places:
                return self.span(*self.places[path].key)
            path = path[:-1]
        return None

    def value_span(self, path: KeyPath) -> Span | None:
        """Where the value stands, cut at its first line."""
        if path in self.places:
            return self.span(*self.places[path].value)
        return self.key_span(path)

    def inner_span(self, path: KeyPath, line: int, column: int, end: int) -> Span:
        """The file position of a position inside a string value (line from 1, column from 0)."""
        if path not in self.places:
            return self.value_span(path) or Span(1, 1, 2)
        if path not in self._contents:
            offsets, value = _content(self.text, *self.places[path].value)
            lines = [0, *(i + 1 for i, character in enumerate(value) if character == "\n")]
            self._contents[path] = offsets, lines
        offsets, lines = self._contents[path]
        first, closing = lines[min(line, len(lines)) - 1], len(offsets) - 1
        begin, last = min(first + column, closing), min(first + end - 1, closing)
        return self.span(offsets[begin], offsets[last] + 1)

    def quoted(self, line: int) -> str:
        """A line as messages cite it: file, number, text."""
        return f"{self.path}:{line}: {self.line(line).strip()}"

    def diagnostic(self, code: str, message: str, span: Span | None, help: str = "") -> Diagnostic:
        """A diagnostic of this file."""
        line = self.line(span.line) if span else ""
        return Diagnostic(code, message, self.path, span, line, help)


def read(path: Path, shown: str | None = None) -> Source:
    """Reads a spec file.

    Args:
        path: The file.
        shown: The name that diagnostics use, by default the path itself.

    Raises:
        SpecError: It cannot be read, is too large, not UTF-8 or not TOML.
    """
    shown = shown or str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
            raise SpecError([Diagnostic("E001", f"cannot read the spec: it {what}", shown)])
        if status.st_size > MAX_BYTES:
            raise SpecError([_too_large(status.st_size, shown)])
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"cannot read the spec: {reason.lower()}"
        raise SpecError([Diagnostic("E001", message, shown)]) from None
    if len(raw) > MAX_BYTES:
        raise SpecError([_too_large(len(raw), shown)])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        start = raw.rfind(b"\n", 0, error.start) + 1
        stop = raw.find(b"\n", error.start)
        shown_line = raw[start : stop if stop >= 0 else len(raw)].decode("utf-8", "replace")
        column = len(raw[start : error.start].decode("utf-8", "replace")) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        place = Span(line, column, column + 1)
        help = "save the file as UTF-8"
        raise SpecError([Diagnostic("E002", message, shown, place, shown_line, help)]) from None
    return parse(text, shown)


def _too_large(size: int, shown: str) -> Diagnostic:
    return Diagnostic("E003", f"the spec has {size} bytes, the limit is {MAX_BYTES}", shown)


def parse(text: str, shown: str) -> Source:
    """Parses TOML text into values with positions; raises `SpecError` like `read`."""
    text = text.replace("\r\n", "\n")
    scanner = _Scanner(text)
    source = Source(shown, text, {}, scanner.places)
    complete = False
    try:
        scanner.document()
        complete = True
    except _TooDeep as error:
        found = source.diagnostic("E004", f"invalid TOML: {error}", source.span(error.offset))
        raise SpecError([found]) from None
    except (IndexError, ValueError):
        pass  # `tomllib` says what is wrong
    try:
        source.data.update(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        known = complete and str(error).startswith(_REDEFINED)
        duplicates = scanner.duplicates if known else []
        raise SpecError(_toml_errors(source, str(error), duplicates)) from None
    return source


Duplicate = tuple[KeyPath, tuple[int, int], tuple[int, int]]
_REDEFINED = ("Cannot", "Duplicate")


def _toml_errors(source: Source, message: str, duplicates: list[Duplicate]) -> list[Diagnostic]:
    """Duplicate keys by name and place; otherwise what `tomllib` says, and what to do."""
    again = {path for path, _, _ in duplicates}
    # What stands inside a table that is there twice is there twice with it.
    outer = [d for d in duplicates if not any(d[0][:i] in again for i in range(1, len(d[0])))]
    if outer:
        return [
            source.diagnostic(
                "E005",
                f"`{short(path[-1])}` is defined twice",
                source.span(*place),
                f"it was first defined in line {source.span(first[0]).line}",
            )
            for path, place, first in outer[:MAX_DUPLICATES]
        ]
    match = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", message, re.S)
    if match is None:
        # A decimal integer of more than 4300 digits; `tomllib` does not say where.
        long = re.search(r"\d{4300}", source.text)
        span = source.span(*long.span()) if long else None
        return [source.diagnostic("E004", "invalid TOML: a number has too many digits", span)]
    if match[2]:
        line, column = int(match[2]), int(match[3])
    else:
        line = source.text.rstrip("\n").count("\n") + 1
        column = len(source.line(line)) + 1
    span = Span(line, column, column + 1)
    if match[1].startswith(_REDEFINED):
        message = "a key or table is defined again, or extended where it is complete"
        return [source.diagnostic("E005", message, Span(line, 1, max(2, column)))]
    what, help = _reworded(match[1], source.line(line), column)
    return [source.diagnostic("E004", f"invalid TOML: {what}", span, help)]


def _reworded(message: str, line: str, column: int) -> tuple[str, str]:
    """The message of `tomllib` in our words, and a help for likely slips."""
    found, before = line[column - 1 : column], line[: column - 1]
    if found == "\ufeff":
        return "the file begins with a byte order mark", "save it as UTF-8 without one"
    if found and not found.isascii() and found.isprintable():
        word = re.match(r"\w+|.", line[column - 1 :])
        plain = spelled_out(word[0]) if word else ""
        help = f"write `{plain}`" if plain else "texts are quoted, and keys are ASCII"
        return f"`{found}` cannot stand here", help
    if message == "Invalid value":
        return "this is not a value", "texts are quoted; booleans are `true` and `false`"
    if message == "Invalid statement":
        return "this is not a statement", "write `key = value`, `[table]` or a comment"
    if not found and before.count("{") > before.count("}"):
        message = "a table in braces ends on the line that it begins on"
        return message, "write it on one line, without a comma at its end"
    if message.startswith("Illegal character '\\n'"):
        return (
            "the string is not closed on its line",
            "close it, or use three quotes for several lines",
        )
    if missing := re.fullmatch(r"Expected ([\"'])(.+)\1", message):
        return f"`{missing[2]}` is missing", ""
    return message[0].lower() + message[1:], ""


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_PLAIN = {'"': re.compile(r'[^"\\\n]*'), "'": re.compile(r"[^'\n]*")}
"""What of a string neither ends it nor says anything of how it goes on, by its quote."""
_SCALAR = re.compile(r"[^,\]}#\n]*")


class _TooDeep(Exception):
    """A bound was passed at this offset."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.offset = offset


class _Scanner:
    """Walks TOML and notes where every key and value stands.

    On valid TOML it understands what `tomllib` does. On other text it stops with IndexError or
    ValueError where it cannot go on, and what it noted is not used.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.places: dict[KeyPath, Place] = {}
        self.defined: set[KeyPath] = set()
        """Keys that were given a value and tables that had a header; `places` has parents too."""
        self.duplicates: list[Duplicate] = []

    def document(self) -> None:
        prefix: KeyPath = ()
        position = self._space(0)
        while position < len(self.text):
            if self.text[position] == "[":
                position, prefix = self._header(position)
            else:
                position = self._pair(position, prefix, 0)
            position = self._space(position)

    def _past(self, pattern: re.Pattern[str], position: int) -> int:
        """The end of what a pattern matches here."""
        match = pattern.match(self.text, position)
        return match.end() if match else position

    def _space(self, position: int) -> int:
        """Skips white space, line ends and comments."""
        return self._past(_SPACE, position)

    def _blank(self, position: int) -> int:
        """Skips white space of the line."""
        return self._past(_BLANK, position)

    def _define(self, path: KeyPath, place: Place, again: bool = False) -> None:
        if path in self.defined and not again:
            self.duplicates.append((path, place.key, self.places[path].key))
        if path not in self.defined:
            self.places[path] = place
        self.defined.add(path)

    def _parents(self, prefix: KeyPath, keys: list[tuple[str, int, int]]) -> KeyPath:
        """The full path of a dotted key; its parents get a place if they have none."""
        path = prefix
        for key, start, end in keys:
            path = (*path, key)
            self.places.setdefault(path, Place((start, end), (start, end)))
        return path

    def _header(self, position: int) -> tuple[int, KeyPath]:
        array = self.text.startswith("[[", position)
        keys, position = self._keys(position + (2 if array else 1))
        path = self._parents((), keys)
        place = keys[-1][1:]
        self._define(path, Place(place, place), again=array)
        return self.text.index("]", position) + (2 if array else 1), path

    def _keys(self, position: int) -> tuple[list[tuple[str, int, int]], int]:
        keys: list[tuple[str, int, int]] = []
        while True:
            position = self._blank(position)
            if len(keys) == MAX_PARTS:
                raise _TooDeep(f"a key has more than {MAX_PARTS} parts", position)
            if self.text[position] in "\"'":
                end = self._string(position)
                _, name = _content(self.text, position, end)
                keys.append((name, position, end))
            else:
                match = _BARE.match(self.text, position)
                if match is None:
                    raise ValueError("no key")
                end = match.end()
                keys.append((match[0], position, end))
            position = self._blank(end)
            if not self.text.startswith(".", position):
                return keys, position
            position += 1

    def _pair(self, position: int, prefix: KeyPath, depth: int) -> int:
        keys, position = self._keys(position)
        path = self._parents(prefix, keys)
        place = keys[-1][1:]
        if self.text[position] != "=":
            raise ValueError("no value")
        start = self._blank(position + 1)
        end = self._value(start, path, depth)
        self._define(path, Place(place, (start, end)))
        return end

    def _value(self, start: int, path: KeyPath, depth: int) -> int:
        """The end of a value; notes the places inside it."""
        if depth > MAX_NESTING:
            raise _TooDeep("values are nested too deeply", start)
        first = self.text[start]
        if first in "\"'":
            return self._string(start)
        if first == "{":
            position = self._space(start + 1)
            while self.text[position] != "}":
                position = self._space(self._pair(position, path, depth + 1))
                if self.text[position] == ",":
                    position = self._space(position + 1)
                elif self.text[position] != "}":
                    raise ValueError("no comma")
            return position + 1
        if first == "[":
            position, index = self._space(start + 1), 0
            while self.text[position] != "]":
                item = (*path, str(index))
                end = self._value(position, item, depth + 1)
                self.places.setdefault(item, Place((position, end), (position, end)))
                position, index = self._space(end), index + 1
                if self.text[position] == ",":
                    position = self._space(position + 1)
                elif self.text[position] != "]":
                    raise ValueError("no comma")
            return position + 1
        match = _SCALAR.match(self.text, start)
        if match is None or not match[0].strip():
            raise ValueError("no value")
        return start + len(match[0].rstrip())

    def _string(self, start: int) -> int:
        """The end of a string."""
        quote = self.text[start]
        width = 3 if self.text.startswith(quote * 3, start) else 1
        position = start + width
        position = self._past(_PLAIN[quote], position)
        while not self.text.startswith(quote * width, position):
            if self.text[position] == "\n" and width == 1:
                raise ValueError("unterminated string")
            position += 2 if quote == '"' and self.text[position] == "\\" else 1
            position = self._past(_PLAIN[quote], position)
        end = position + width
        # Up to two quotes may stand right before the three that close.
        while width == 3 and end < min(position + 5, len(self.text)) and self.text[end] == quote:
            end += 1
        return end


_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}
_FOLDED = re.compile(r"\\[ \t]*\n[ \t\n]*")


def _content(text: str, start: int, end: int) -> tuple[list[int], str]:
    """The characters of a string literal and the offset of each, closed by that of its end."""
    quote = text[start]
    width = 3 if text.startswith(quote * 3, start) and end - start >= 6 else 1
    position, stop = start + width, end - width
    if width == 3 and text.startswith("\n", position):
        position += 1
    offsets: list[int] = []
    characters: list[str] = []
    while position < stop:
        character, length = text[position], 1
        if quote == '"' and character == "\\":
            if folded := _FOLDED.match(text, position):
                position = folded.end()
                continue
            character, length = _escape(text, position)
        offsets.append(position)
        characters.append(character)
        position += length
    return [*offsets, stop], "".join(characters)


def _escape(text: str, position: int) -> tuple[str, int]:
    """The character of an escape sequence and the length of the sequence."""
    letter = text[position + 1]
    digits = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
    if digits:
        return chr(int(text[position + 2 : position + 2 + digits], 16)), 2 + digits
    return _ESCAPES.get(letter, letter), 2
