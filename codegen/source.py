"""TOML text to values with positions.

`tomllib` decides what is valid and what it means; the scanner here walks the same text once more
to learn where every key and value stands.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codegen.diagnostics import Diagnostic, Span, SpecError

MAX_BYTES = 256 * 1024
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value stand, as offsets into the text."""

    key: tuple[int, int]
    value: tuple[int, int]
    content: int | None = None
    """Offset of the first character of a string's content, when it can be mapped directly."""


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

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def span(self, offset: int, end: int | None = None) -> Span:
        """Line and column of an offset; `end` is cut at the end of that line."""
        start = self.text.rfind("\n", 0, offset) + 1
        stop = self.text.find("\n", offset)
        stop = len(self.text) if stop < 0 else stop
        last = max(min(stop, offset + 1 if end is None else end), offset + 1)
        line = self.text.count("\n", 0, offset) + 1
        return Span(line, offset - start + 1, last - start + 1)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def key_span(self, path: KeyPath) -> Span | None:
        """Where the key stands; the nearest enclosing table if it is not there."""
        while path:
            if path in self.places:
                return self.span(*self.places[path].key)
            path = path[:-1]
        return Span(1, 1, 2)

    def value_span(self, path: KeyPath) -> Span | None:
        """Where the value stands, cut at its first line."""
        if path in self.places:
            return self.span(*self.places[path].value)
        return self.key_span(path)

    def inner_span(self, path: KeyPath, line: int, column: int, end: int) -> Span:
        """The file position of a position inside a string value (line from 1, column from 0)."""
        place = self.places[path]
        value = self.value_span(path) or Span(1, 1, 2)
        if place.content is None:
            return value
        offset = place.content
        for _ in range(line - 1):
            step = self.text.find("\n", offset)
            if step < 0:
                return value
            offset = step + 1
        return self.span(min(offset + column, len(self.text)), offset + end)

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
        raise SpecError(
            [Diagnostic("E002", message, shown, Span(line, column, column + 1), shown_line)]
        ) from None
    return parse(text, shown)


def _too_large(size: int, shown: str) -> Diagnostic:
    return Diagnostic("E003", f"the spec has {size} bytes, the limit is {MAX_BYTES}", shown)


def parse(text: str, shown: str) -> Source:
    """Parses TOML text into values with positions; raises `SpecError` like `read`."""
    text = text.replace("\r\n", "\n")
    bare = Source(shown, text, {}, {})
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(_toml_errors(bare, str(error))) from None
    except RecursionError:
        raise SpecError(
            [Diagnostic("E004", "invalid TOML: values are nested too deeply", shown)]
        ) from None
    scanner = _Scanner(text)
    scanner.document()
    return Source(shown, text, data, scanner.places)


def _toml_errors(source: Source, message: str) -> list[Diagnostic]:
    """Duplicate keys by name and place; otherwise what `tomllib` says."""
    scanner = _Scanner(source.text)
    try:
        scanner.document()
    except (IndexError, ValueError, RecursionError):
        scanner.duplicates.clear()
    if scanner.duplicates and "Expected" not in message:
        return [
            source.diagnostic(
                "E005",
                f"`{path[-1]}` is defined twice",
                source.span(*place),
                f"it was first defined in line {source.span(first[0]).line}",
            )
            for path, place, first in scanner.duplicates
        ]
    match = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if match is None:
        return [source.diagnostic("E004", f"invalid TOML: {message}", None)]
    what = match[1][0].lower() + match[1][1:]
    if match[2]:
        line, column = int(match[2]), int(match[3])
    else:
        line = source.text.rstrip("\n").count("\n") + 1
        column = len(source.line(line)) + 1
    return [source.diagnostic("E004", f"invalid TOML: {what}", Span(line, column, column + 1))]


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t]|\n|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")


class _Scanner:
    """Walks valid TOML and notes where every key and value stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.places: dict[KeyPath, Place] = {}
        self.duplicates: list[tuple[KeyPath, tuple[int, int], tuple[int, int]]] = []

    def document(self) -> None:
        prefix: KeyPath = ()
        position = self._blank(0)
        while position < len(self.text):
            if self.text[position] == "[":
                position, prefix = self._header(position)
            else:
                position = self._pair(position, prefix)
            position = self._blank(position)

    def _blank(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def _header(self, position: int) -> tuple[int, KeyPath]:
        array = self.text.startswith("[[", position)
        start = position + (2 if array else 1)
        keys, position = self._keys(start)
        path = tuple(k for k, _, _ in keys)
        place = (keys[0][1], keys[-1][2])
        if path in self.places and not array:
            self.duplicates.append((path, place, self.places[path].key))
        self.places.setdefault(path, Place(place, place))
        return self.text.index("]", position) + (2 if array else 1), path

    def _keys(self, position: int) -> tuple[list[tuple[str, int, int]], int]:
        keys = []
        while True:
            position = self._blank(position)
            if self.text[position] in "\"'":
                end, _ = self._string(position)
                keys.append((self.text[position + 1 : end - 1], position, end))
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

    def _pair(self, position: int, prefix: KeyPath) -> int:
        keys, position = self._keys(position)
        path = prefix + tuple(k for k, _, _ in keys)
        place = (keys[-1][1], keys[-1][2])
        if self.text[position] != "=":
            raise ValueError("no value")
        start = self._blank(position + 1)
        if path in self.places:
            self.duplicates.append((path, place, self.places[path].key))
        end, content = self._value(start, path)
        self.places.setdefault(path, Place(place, (start, end), content))
        return end

    def _value(self, start: int, path: KeyPath) -> tuple[int, int | None]:
        first = self.text[start]
        if first in "\"'":
            return self._string(start)
        if first == "{":
            position = self._blank(start + 1)
            while self.text[position] != "}":
                position = self._blank(self._pair(position, path))
                if self.text[position] == ",":
                    position = self._blank(position + 1)
            return position + 1, None
        if first == "[":
            position, index = self._blank(start + 1), 0
            while self.text[position] != "]":
                item = (*path, str(index))
                end, content = self._value(position, item)
                self.places.setdefault(item, Place((position, end), (position, end), content))
                position, index = self._blank(end), index + 1
                if self.text[position] == ",":
                    position = self._blank(position + 1)
            return position + 1, None
        match = _SCALAR.match(self.text, start)
        if match is None or not match[0].strip():
            raise ValueError("no value")
        return start + len(match[0].rstrip()), None

    def _string(self, start: int) -> tuple[int, int | None]:
        """End of a string and, when no escape shifts positions, where its content begins."""
        quote = self.text[start]
        width = 3 if self.text.startswith(quote * 3, start) else 1
        position = content = start + width
        if width == 3 and self.text.startswith("\n", content):
            content += 1
        escaped = False
        while not self.text.startswith(quote * width, position):
            if quote == '"' and self.text[position] == "\\":
                escaped = True
                position += 1
            position += 1
            if position >= len(self.text):
                raise ValueError("unterminated string")
        end = position + width
        while width == 3 and end < len(self.text) and self.text[end] == quote:
            end += 1
        return end, None if escaped else content
