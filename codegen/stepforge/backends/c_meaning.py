"""What a C file means: layout and comments do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPLICE = re.compile(r"\\[^\S\n]*\n")
"""A line that goes on in the next one."""
_TRIGRAPH = re.compile(r"\?\?[=/'()!<>-]")
_TOKEN = re.compile(
    r"""
    (?P<directive>(?:^|(?<=\n))[ \t]*\#(?:/\*.*?\*/|//[^\n]*|[^\n])*)
    |(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'
    |[A-Za-z_]\w*
    |\.?\d(?:[eEpP][+-]|[\w.])*
    |<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number or sign of C, or a whole line of its preprocessor.

    Attributes:
        text: Its text, in which every space is one.
        line: Where it begins.
    """

    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """What a text consists of, comments left out.

    Raises:
        ValueError: It holds a trigraph, which some compilers read as another sign.
    """
    if _TRIGRAPH.search(text):
        raise ValueError("a trigraph")
    return list(_tokens(_SPLICE.sub("", text)))


def _tokens(text: str) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["directive"]:
            plain = re.sub(r"/\*.*?\*/|//[^\n]*", " ", match[0], flags=re.DOTALL)
            yield Token(" ".join(plain.split()), line)
        elif not match["space"]:
            yield Token(match[0], line)
        line += match[0].count("\n")


def of(text: str) -> str | None:
    """A text in a form that no formatter changes; None if it cannot be told."""
    try:
        return "\n".join(token.text for token in tokens(text))
    except ValueError:
        return None
