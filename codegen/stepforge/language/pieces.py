"""Parts of specs with the places that they come from, from which other specs are made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stepforge.language.diagnostics import Diagnostic, Span
from stepforge.language.expression import Assign, Statement
from stepforge.language.source import KeyPath, Source
from stepforge.language.tokens import tokens

INDENT = "    "
_TEXTS = ("domain", "usual", "when", "init")
"""The keys of declarations that speak of names."""


@dataclass(frozen=True)
class Composed(Source):
    """A text that was made of other files.

    Attributes:
        origins: Of every line, the file and the number of the line there; 0 where it is of nobody.
    """

    origins: tuple[tuple[Source, int], ...] = field(default=(), repr=False, compare=False)

    def diagnostic(self, code: str, message: str, span: Span | None, help: str = "") -> Diagnostic:
        """A diagnostic of the file that the line comes from."""
        if span is None or span.line > len(self.origins):
            return super().diagnostic(code, message, span, help)
        source, number = self.origins[span.line - 1]
        if not number:
            return Diagnostic(code, message, source.path, None, "", help)
        return source.diagnostic(
            code, message, self._there(span, source.line(number), number), help
        )

    def quoted(self, line: int) -> str:
        """A line as messages cite it: where the author wrote it."""
        source, number = self.origins[line - 1] if 0 < line <= len(self.origins) else (self, line)
        return source.quoted(number) if number else f"{source.path}: {self.line(line).strip()}"

    def _there(self, span: Span, line: str, number: int) -> Span:
        """The span of the same text in the author's line, or of the line."""
        here = self.line(span.line)
        text = here[span.column - 1 : span.end - 1]
        before = here[: span.column - 1].strip()
        start = line.find(before) + len(before) if before and before in line else 0
        column = line.find(text, start)
        if column < 0 or not text:
            column = len(line) - len(line.lstrip())
            text = line.strip() or " "
        return Span(number, column + 1, column + 1 + len(text))


@dataclass(frozen=True)
class Written:
    """A piece of TOML as its author wrote it.

    Attributes:
        text: The text, with its key.
        source: The file.
        number: The line there; 0 for none.
        key: The key, if it is a declaration.
        values: Of a declaration that is a table, the text of each value by its key.
    """

    text: str
    source: Source
    number: int
    key: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, text: str, source: Source) -> Written:
        """A text that nobody wrote."""
        return cls(text, source, 0)

    @classmethod
    def of(cls, source: Source, path: KeyPath, key: str = "") -> Written:
        """The value at a path, with a key if there is one."""
        place = source.value_span(path)
        value = _value(source, path, _at(source.data, path))
        text = f"{_key(key)} = {value}" if key else value
        return cls(text, source, place.line if place else 0, key)

    @classmethod
    def declaration(cls, source: Source, path: KeyPath) -> Written:
        """A declaration, key by key if it is a table."""
        entry = _at(source.data, path)
        if not isinstance(entry, dict) or not entry:
            return cls.of(source, path, path[-1])
        values = {key: _value(source, (*path, key), value) for key, value in entry.items()}
        place = source.key_span(path)
        return cls("", source, place.line if place else 0, path[-1], values)._in_full()

    def _in_full(self) -> Written:
        if not self.values:
            return self
        values = ", ".join(f"{_key(key)} = {value}" for key, value in self.values.items())
        return replace(self, text=f"{_key(self.key)} = {{ {values} }}")

    def under(self, other: Written) -> Written:
        """The declaration with another one of the same name laid over it."""
        if not (self.values and other.values):
            return other
        return replace(other, values={**self.values, **other.values})._in_full()

    def without(self, keys: Sequence[str]) -> Written:
        """The declaration without some of its keys."""
        values = {key: value for key, value in self.values.items() if key not in keys}
        return replace(self, values=values)._in_full()

    def names(self) -> Iterator[str]:
        """The names that it speaks of, that which it declares left out."""
        texts = [v for key, v in self.values.items() if key in _TEXTS] if self.key else [self.text]
        for text in texts:
            yield from (name for name in _NAME.findall(text) if name != self.key)

    def called(self, new: Mapping[str, str]) -> Written:
        """The declaration with other names."""
        if not self.key:
            return replace(self, text=renamed(self.text, new))
        values = {k: renamed(v, new) if k in _TEXTS else v for k, v in self.values.items()}
        key = new.get(self.key, self.key)
        return replace(self, key=key, values=values)._in_full()


@dataclass(frozen=True)
class Line:
    """A line of a rule.

    Attributes:
        text: The line, with its indentation.
        source: The file.
        number: The line there; 0 for none.
        assigns: The name that it assigns, or "".
    """

    text: str
    source: Source
    number: int
    assigns: str = ""

    @property
    def indent(self) -> str:
        """The white space that it begins with."""
        return self.text[: len(self.text) - len(self.text.lstrip())]

    def indented(self, indent: str) -> Line:
        """The line further to the right."""
        return replace(self, text=indent + self.text)

    def names(self) -> Iterator[str]:
        """The names in it."""
        yield from _NAME.findall(self.text)

    def called(self, new: Mapping[str, str]) -> Line:
        """The line with other names."""
        assigns = new.get(self.assigns, self.assigns)
        return replace(self, text=renamed(self.text, new), assigns=assigns)


_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def renamed(text: str, new: Mapping[str, str]) -> str:
    """A text of the rule language with other names."""
    parts: list[str] = []
    end = 0
    lines = text.split("\n")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    quote = text[:1] if text[:1] in ("'", '"') else ""
    for token in tokens(" " + text[1:-1] if quote else text):
        if token.kind == "name" and token.text in new:
            start = starts[token.line - 1] + token.column
            parts += [text[end:start], new[token.text]]
            end = start + len(token.text)
    return "".join([*parts, text[end:]])


def lines_of(statements: Iterable[Statement], source: Source, indent: str = "") -> Iterator[Line]:
    """Statements as the lines of a rule, one for each."""
    for statement in statements:
        if isinstance(statement, Assign):
            number = statement.name_span.line
            yield Line(indent + statement.text, source, number, statement.name)
            continue
        word, block = "if", statement
        while True:
            number = block.condition.span.line
            yield Line(f"{indent}{word} {block.text}:", source, number)
            yield from lines_of(block.body, source, indent + INDENT)
            if len(block.orelse) != 1 or isinstance(block.orelse[0], Assign):
                break
            word, block = "elif", block.orelse[0]
        if block.orelse:
            yield Line(f"{indent}else:", source, number)
            yield from lines_of(block.orelse, source, indent + INDENT)


def sections_of(source: Source, sections: Sequence[str]) -> dict[str, dict[str, Written]]:
    """The declarations of a file by section and name; those of other sections are left out."""
    found: dict[str, dict[str, Written]] = {}
    for section in sections:
        table = source.data.get(section, {})
        names = table if isinstance(table, dict) else {}
        found[section] = {n: Written.declaration(source, (section, n)) for n in names}
    return found


def _at(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[int(key) if isinstance(data, list) else key]
    return data


def _key(key: str) -> str:
    return key if _BARE.match(key) else json.dumps(key)


def _value(source: Source, path: KeyPath, value: Any) -> str:
    """The text of a value; a table with a header of its own becomes one in braces."""
    begin, end = source.places[path].value
    text = source.text[begin:end]
    if isinstance(value, dict) and not text.startswith("{"):
        parts = (f"{_key(k)} = {_value(source, (*path, k), v)}" for k, v in value.items())
        return f"{{ {', '.join(parts)} }}"
    return text
