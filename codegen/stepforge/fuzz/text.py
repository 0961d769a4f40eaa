"""Random texts that are no specs: good ones that were damaged, and garbage."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")
LARGE = (20, 130, 300, 5000, 5000, 60_000)
"""Times that something is repeated; what takes quadratic time does not end with the last one."""
MAX_LARGE = 200_000
"""Bytes: a file of more is refused before anything reads it."""
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\s+|\*\*|[<>=!]=|.", re.DOTALL)
_PIECES = (
    "\x00", "\x7f", "\x1b[31m", "\ufeff", "\u202e", "\u2028", "\x85", "\r", "\r\n", "\t", "\x0c",
    "β", "µ", "é", "e\u0301", "𝛽", "١", "－", "×", "∞", "\U0001f600", "ﬁ",
    "{{", "}}", "{%", "%}", "{#", "{", "}", "[", "]", "[[", "(", ")", '"', "'", '"""', "'''",
    "\\", "\\u0041", "\\x", "\\", "#", ";", ":", "::", "=", "==", ":=", ",", ".", "..", "...",
    "$", "?", "!", "@", "`", "~", "^", "|", "&", "&&", "//", "%", "->", "<>", "<<", "@=", "+=",
    "__import__('os')", "lambda: 0", "p.x", "p[0]", "[p for p in g]", "*p", "**p", "f'{p}'",
    "yield", "await p", "None", "True", "not", "if", "else", "elif p:", "for p in g:", "pass",
    "return", "import os", "def f():", "class A:", "del p", "nan", "inf", "+nan", "-inf", "1e999",
    "1e-999", "9**9**9", "2**2**2**2**2**2", "0x1f", "0b1", "0o7", "1j", "1_", "_1", "1__0", "0777",
    "1e", "1.", ".", "1.e5", "1..2", "0/0", "1/0", "0**-1", "1e308*10", "1.000001**300**300",
    "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "true", "false", "a.b.c", "[rule]",
    "[rule.update]", "[[state]]", "[state.m]", "name = 1", "update = ''", "p = p", "g = g",
    "t = 1", "m = m", "default", "domain", "when", "init", "scalar", "doc", "lr", "p", "g", "t",
    "sqrt", "max()", "clip(p)", "sqrt(p, g)", "log(-1)", "sqrt(-1)", "exp(1000)", "sign",
)  # fmt: skip


def random_text(rng: np.random.Generator, corpus: Sequence[str]) -> bytes:
    """One text.

    Args:
        rng: Where every choice comes from.
        corpus: Good specs, to be damaged.
    """
    if rng.random() < 0.08:
        return _garbage(rng)
    head, text, tail = _one(rng, corpus), "", ""
    if rng.random() < 0.6:  # what is inside of a text is no TOML, so that the rule is read
        head, quotes, rest = head.partition("'''")
        text, *others = rest.split("'''")
        head, tail = head + quotes, "".join(quotes + other for other in others)
    else:
        head, text = "", head
    for _ in range(int(rng.choice((1, 1, 1, 2, 3, 6)))):
        text = _one(rng, _CHANGES)(rng, text)
    data = (head + text + tail).encode("utf-8", "surrogatepass")
    if rng.random() < 0.06:
        at = int(rng.integers(len(data) + 1))
        data = data[:at] + rng.bytes(int(rng.integers(1, 4))) + data[at:]
    return data


def _one(rng: np.random.Generator, items: Sequence[_Item]) -> _Item:
    return items[int(rng.integers(len(items)))]


def _garbage(rng: np.random.Generator) -> bytes:
    """Random bytes, random ASCII, or a heap of pieces of the language."""
    size = int(rng.integers(0, 400))
    kind = int(rng.integers(3))
    if kind == 0:
        return rng.bytes(size)
    if kind == 1:
        return bytes(rng.integers(9, 127, size, dtype=np.uint8))
    return " ".join(_one(rng, _PIECES) for _ in range(size // 8)).encode("utf-8", "surrogatepass")


def _place(rng: np.random.Generator, text: str) -> int:
    """Somewhere in the text, every other time inside of the rule."""
    start = text.find("'''") if rng.random() < 0.5 else 0
    return int(rng.integers(max(start, 0), len(text) + 1))


def _insert(rng: np.random.Generator, text: str) -> str:
    at = _place(rng, text)
    return text[:at] + _one(rng, _PIECES) + text[at:]


def _replace_token(rng: np.random.Generator, text: str) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return text
    match = _one(rng, found)
    return text[: match.start()] + _one(rng, _PIECES) + text[match.end() :]


def _delete(rng: np.random.Generator, text: str) -> str:
    at = _place(rng, text)
    return text[:at] + text[at + int(rng.choice((1, 1, 2, 5, 40))) :]


def _double(rng: np.random.Generator, text: str) -> str:
    at = _place(rng, text)
    piece = text[at : at + int(rng.choice((1, 2, 10, 80)))]
    return text[:at] + piece * int(rng.choice((2, 2, 3, 50))) + text[at:]


def _swap(rng: np.random.Generator, text: str) -> str:
    """Exchanges two tokens."""
    found = [m.group() for m in _TOKEN.finditer(text)]
    if len(found) > 1:
        i, j = (int(k) for k in rng.integers(0, len(found), 2))
        found[i], found[j] = found[j], found[i]
    return "".join(found)


def _lines(rng: np.random.Generator, text: str) -> str:
    """Deletes, doubles, moves or re-indents a line."""
    lines = text.split("\n")
    i, j = (int(k) for k in rng.integers(0, len(lines), 2))
    match int(rng.integers(4)):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            lines[i] = _one(rng, (" ", "    ", "\t")) + lines[i]
    return "\n".join(lines)


def _cut(rng: np.random.Generator, text: str) -> str:
    return text[: _place(rng, text)]


def _large(rng: np.random.Generator, text: str) -> str:
    """Inserts something long or deep."""
    count = int(rng.choice(LARGE))
    few = min(count, 300)
    pieces = (
        "9" * count, "9" * count + "a", f"1e{'9' * few}", "0." + "0" * count + "1", "a" * count,
        "(" * count, "[" * count, "{" * count, "(" * count + "p" + ")" * count,
        "[" * count + "]" * count, "{a=" * count + "1" + "}" * count, "max(" * count,
        "-" * count + "p", "p+" * count + "p", "p**" * count + "2", "p<" * count + "p",
        "not " * count + "p", "p if p else " * count + "p", "a." * count + "b",
        "\n" * count, " " * count, "#" * count, "'" * count, '"' * count, "\\" * count,
        "if p:\n" * count, "x = p\n" * count,
        "".join("\n" + " " * d + "if p:" for d in range(few)),
        "\n".join(f"k{i} = {{ default = 0, doc = 'D' }}" for i in range(few)),
    )  # fmt: skip
    at = _place(rng, text)
    return text[:at] + _one(rng, pieces)[:MAX_LARGE] + text[at:]


_Change = Callable[[np.random.Generator, str], str]
_CHANGES: tuple[_Change, ...] = (
    _insert, _insert, _replace_token, _replace_token, _replace_token, _delete, _delete, _double,
    _swap, _lines, _lines, _cut, _large,
)  # fmt: skip
