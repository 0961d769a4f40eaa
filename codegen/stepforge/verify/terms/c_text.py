"""The text of a generated C file as functions: comments taken out, its two halves parsed.

The rule stands between `#ifdef real` and `#else`; what is behind that is compiled once. Of the
preprocessor, nothing is understood but these three lines and the two macros before rule and loop:
what else it is told is part of what surrounds the rule, which is compared word by word.
"""

from __future__ import annotations

import re
from typing import Any

from pycparser import c_parser
from pycparser.c_parser import ParseError

from stepforge.verify.terms.lifted import Unsupported

_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"[^"\n]*"', re.DOTALL)
_SPLICED = re.compile(r"\\[^\S\n]*\n|\?\?[=/'()!<>-]")
"""A line that goes on in the next one, or another spelling of a sign: both before comments are."""
_HALVES = re.compile(
    r"(?P<before>.*?)^#ifdef real\n(?P<rule>.*?)^#else\n(?P<rest>.*?)^#endif\n(?P<behind>.*)\Z",
    re.DOTALL | re.MULTILINE,
)
_TYPES = "typedef float real; typedef long int64_t; "
_MACROS = re.compile(r"\bSTEPFORGE_INLINE\b|\bSTEPFORGE_LOOP\b")


class CFile:
    """The functions of a generated C file.

    Attributes:
        rule: Those that are compiled for every compute type, `update` and `step`.
        rest: The others.
    """

    def __init__(self, text: str) -> None:
        """Reads the text; raises `Unsupported` where it is no such file."""
        if spliced := _SPLICED.search(text):
            line = text.count("\n", 0, spliced.start()) + 1
            raise Unsupported(line, "a line that goes on in the next one, or a trigraph")
        plain = _COMMENT.sub(_blank, text)
        halves = _HALVES.fullmatch(plain)
        if halves is None or (halves["before"] + halves["behind"]).strip():
            raise Unsupported(0, "the rule does not stand between `#ifdef real` and `#else`")
        self.rule = self._functions(plain, halves, "rule")
        self.rest = self._functions(plain, halves, "rest")

    def _functions(self, plain: str, halves: re.Match[str], name: str) -> dict[str, Any]:
        half = halves[name]
        if name == "rule":
            half = _MACROS.sub(lambda m: " " * len(m[0]), half)
        else:
            half = re.sub(r"(?m)^#.*$", "", half)
        first = plain.count("\n", 0, halves.start(name))
        if "#" in half or "%:" in half:
            at = min(i for i in (half.find("#"), half.find("%:")) if i >= 0)
            raise Unsupported(first + half.count("\n", 0, at) + 1, "a line of the preprocessor")
        try:
            # Line numbers stay: the definitions of types are in the first line.
            tree = c_parser.CParser().parse(_TYPES + "\n" * first + half)
        except ParseError as error:
            found = re.match(r"\D*(\d+)", str(error))
            what = str(error).rpartition(": ")[2]
            raise Unsupported(int(found[1]) if found else 0, f"no C: {what}") from None
        except (RecursionError, AssertionError, ValueError):
            raise Unsupported(0, "no C that can be read") from None
        functions: dict[str, Any] = {}
        for node in tree.ext[2:]:
            if type(node).__name__ != "FuncDef" or node.decl.name in functions:
                raise Unsupported(line_of(node), "what is no function, or one twice")
            functions[node.decl.name] = node
        return functions


def line_of(node: Any) -> int:
    """The line of a part of the syntax tree; 0 if it has none."""
    return int(getattr(getattr(node, "coord", None), "line", 0) or 0)


def _blank(match: re.Match[str]) -> str:
    """A comment as one space and its ends of lines; a text in quotes stays."""
    return match[0] if match[0].startswith('"') else " " + "\n" * match[0].count("\n")
