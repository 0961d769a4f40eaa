"""The shapes of values in a spec: tables with known keys, values of a type, lines of text.

Whatever is wrong is collected, so that an author reads all of it at once.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any, TypeVar

from stepforge.language.diagnostics import Diagnostic, Span, nearest, short
from stepforge.language.source import KeyPath, Source

_T = TypeVar("_T")
MAX_TEXT = 500
MAX_DIAGNOSTICS = 100


class TooMany(Exception):
    """No author reads more diagnostics at once."""


class Values:
    """The values of a file; what is wrong with them is in `out`."""

    def __init__(self, source: Source, out: list[Diagnostic]) -> None:
        self.source = source
        self.out = out

    def error(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Collects a diagnostic; raises `TooMany` where there are enough."""
        self.out.append(self.source.diagnostic(code, message, span, help))
        if len(self.out) >= MAX_DIAGNOSTICS:
            raise TooMany

    def table(
        self, data: dict[str, Any], path: KeyPath, known: Iterable[str], required: Iterable[str]
    ) -> dict[str, Any]:
        """The table at `path` after its keys were checked."""
        known = tuple(known)
        where = f" in `{'.'.join(map(short, path))}`" if path else ""
        for key in data:
            if key not in known:
                span = self.source.key_span((*path, key))
                only = (
                    f"the keys are {', '.join(known)}"
                    if known[1:]
                    else f"the only key is `{known[0]}`"
                )
                help = nearest(key, known) or only
                self.error("E010", f"unknown key `{short(key)}`{where}", span, help)
        for key in required:
            if key not in data:
                span = self.source.key_span(path)
                self.error("E011", f"`{key}` is missing{where}", span, _ADD.get(key, ""))
        return data

    def typed(
        self, data: dict[str, Any], path: KeyPath, key: str, kind: type[_T], default: _T
    ) -> _T:
        """A value of the given type, or the default after a diagnostic."""
        value = data.get(key, default)
        if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
            return value
        what = {str: "a string", bool: "true or false", dict: "a table", list: "an array"}[kind]
        span = self.source.value_span((*path, key))
        self.error("E012", f"`{key}` must be {what}, not {kind_of(value)}", span)
        return default

    def text(self, data: dict[str, Any], path: KeyPath, key: str) -> str:
        """A line of text that can stand in a docstring."""
        value = self.typed(data, path, key, str, "")
        if key not in data or not isinstance(data[key], str):
            return ""
        span = self.source.value_span((*path, key))
        problems = {
            "is empty": not value.strip(),
            f"has more than {MAX_TEXT} characters": len(value) > MAX_TEXT,
            "holds a line break": "\n" in value or "\r" in value,
            "holds a triple quote": '"""' in value or "'''" in value,
            "holds a backslash": "\\" in value,
            "holds template braces": any(b in value for b in ("{{", "}}", "{%", "%}", "{#", "#}")),
            "holds a control character": not value.isprintable(),
            "ends with a quotation mark": value.endswith('"'),
        }
        for problem, found in problems.items():
            if found:
                self.error("E017", f"`{key}` {problem}", span, "write one line of plain text")
                break
        return value


_ADD = {
    "name": 'add `name = "…"`, the name of the file without `.toml`',
    "title": 'add `title = "…"`, the name as people write it',
    "summary": 'add `summary = "…"`, one sentence',
    "reference": 'add `reference = "…"`, where the rule comes from',
    "rule": "add `[rule]` with `update`, the statements of one step",
    "update": "add `update`, the statements of one step",
    "default": "add `default = …`",
    "init": "add `init = …`, the value before the first step",
    "doc": 'add `doc = "…"`, one sentence',
}


def kind_of(value: object) -> str:
    """What TOML calls a value."""
    match value:
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case datetime.time():
            return "a time"
        case _:
            return "a date"


def finite(value: float) -> bool:
    """Whether a number is one of float64."""
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
