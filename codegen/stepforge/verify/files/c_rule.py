"""What surrounds the rule in a C file, and what the statements of the rule may be.

Every word outside of the rule is one of what `build` writes, comments left out. The rule assigns
numbers, chooses by conditions and calls the functions of `_stepforge.h`; it has no loops and no
addresses, so that whatever it is, compiling and running it touches nothing but these numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepforge.backends.c_meaning import Token, tokens
from stepforge.backends.render import CUT
from stepforge.operations.table import OPERATIONS

_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_SIGNS = frozenset(
    "( ) { } ; , ? : ! & | && || < <= > >= == != + - * / = += -= *= /=".split()  # noqa: SIM905
)
_WORDS = ("if", "else", "real")
_FUNCTIONS = frozenset(
    name
    for row in OPERATIONS.values()
    for name in re.findall(r"\breal_\w+(?=\()", row.spellings["c"].text)
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A file beside what `build` writes.

    Attributes:
        rule: What stands in the place of the rule.
        before: What stands before it.
        line: The first line that is not as it should be; 0 if there is none.
        difference: What should be there and what is, lines that begin with "-" and "+".
    """

    rule: Sequence[Token]
    before: Sequence[Token]
    line: int = 0
    difference: tuple[str, ...] = ()


def compared(text: str, expected: str) -> Compared:
    """Compares a text with what `build` writes, with `CUT` in place of the rule.

    Raises:
        ValueError: It is not C that can be read.
    """
    found, wanted = tokens(text), tokens(expected)
    cut = next((i for i, token in enumerate(wanted) if token.text == CUT), len(wanted))
    before, behind = wanted[:cut], wanted[cut + 1 :]
    end = max(len(found) - len(behind), cut)
    rule = found[cut:end]
    for own, other in ((found[:cut], before), (found[end:], behind)):
        for k in range(max(len(own), len(other))):
            a, b = (side[k] if k < len(side) else None for side in (own, other))
            if a is None or b is None or a.text != b.text:
                line = a.line if a else found[-1].line if found else 1
                shown = [f"- {_line(expected, b.line)}"] if b else []
                shown += [f"+ {_line(text, a.line)}"] if a else []
                return Compared(rule, before, line, tuple(shown))
    return Compared(rule, before)


def _line(text: str, number: int) -> str:
    return text.split("\n")[number - 1].strip()[:100]


def unread(rule: Sequence[Token], before: Sequence[Token]) -> tuple[int, str] | None:
    """The first thing in a rule that nothing looks at: its line, and what it is.

    Args:
        rule: What stands in the place of the rule.
        before: What stands before it.
    """
    return next(_unread(rule, before), None)


def _unread(rule: Sequence[Token], before: Sequence[Token]) -> Iterator[tuple[int, str]]:
    start = next((i for i, token in enumerate(before) if token.text == "update"), 0)
    known = {*_declared(before[start:]), *_declared(rule)}
    depth = 0
    for k, token in enumerate(rule):
        text, after = token.text, rule[k + 1].text if k + 1 < len(rule) else ""
        last = rule[k - 1].text if k else ";"
        if _NAME.match(text):
            called = text in _FUNCTIONS and after == "("
            if not called and text not in known and text not in _WORDS:
                yield token.line, f"the name `{text}`"
            elif after == "(" and not called and text != "if":
                yield token.line, f"the call of `{text}`"
        elif text not in _SIGNS and not _NUMBER.match(text):
            yield token.line, f"`{text}`"
        elif text in ("*", "&") and not (_NAME.match(last) or _NUMBER.match(last) or last == ")"):
            yield token.line, f"an address: `{text}` before `{after}`"
        depth += (text == "{") - (text == "}")
        if depth < 0:
            break
    if depth:
        yield rule[-1].line, "a bracket without its other half"


def _declared(text: Sequence[Token]) -> Iterator[str]:
    """The numbers and conditions that are declared."""
    words = [token.text for token in text]
    for k, word in enumerate(words):
        if word not in ("real", "int") or (k and words[k - 1] == "("):
            continue
        k += 1
        while k < len(words) and _NAME.match(words[k]):
            yield words[k]
            k += 2 if k + 1 < len(words) and words[k + 1] == "," else len(words)
