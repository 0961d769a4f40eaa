"""What is wrong with a text that Python's parser refuses.

Python's own messages differ between its versions and speak about Python. The explanations here
look at the tokens alone.
"""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Sequence

from stepforge.language.advice import FUNCTIONS_OF_OTHERS
from stepforge.language.diagnostics import short
from stepforge.language.tokens import Problem, Token, statements

_CLOSING = (")", "]", "}")
NO_NORM = FUNCTIONS_OF_OTHERS["norm"][1]


def explain(found: Sequence[Token], error: SyntaxError) -> Problem:
    """Why Python's parser refuses tokens whose brackets match.

    Args:
        found: The tokens; not empty.
        error: What the parser raised; only its class and line are looked at.
    """
    number = min(error.lineno or 1, found[-1].line)
    on_line = [t for t in found if t.line >= number and t.kind not in ("newline", "comment")]
    at = on_line[0] if on_line else found[-1]
    if isinstance(error, IndentationError):
        return _indentation(error, at)
    for line in statements(found):
        if problem := _Line(line).problem():
            return problem
    if at.text in ("else", "elif"):
        return Problem("E101", f"`{at.text}` has no `if` before it", at)
    return Problem("E101", "cannot read this statement", at)


def _indentation(error: IndentationError, at: Token) -> Problem:
    if isinstance(error, TabError):
        return Problem("E101", "tabs and spaces are mixed", at, "indent with four spaces")
    if "expected an indented block" in (error.msg or ""):
        message = "the lines that belong to the `if` must be indented"
        return Problem("E101", message, at, "indent them with four spaces")
    if "too many levels" in (error.msg or ""):
        return Problem("E108", "blocks are nested too deeply", at)
    message = "this line is indented unlike the lines around it"
    return Problem("E101", message, at, "only the lines below an `if` are indented")


_STATEMENTS = {
    "for", "while", "def", "class", "return", "import", "from", "with", "try", "del", "pass",
    "raise", "global", "nonlocal", "assert", "break", "continue", "async", "except", "finally",
}  # fmt: skip
_CONSTANTS = ("True", "False", "None")
_WORDS_BETWEEN = ("and", "or", "if", "else", "in", "is", "not", "for")
_BETWEEN = {
    "+", "-", "*", "/", "**", "//", "%", "@", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=",
    "==", "!=", ",", ":=",
}  # fmt: skip
_INSTEAD = {
    "&&": "write `and`",
    "||": "write `or`",
    "!": "write `not`",
    "?": "write `x if condition else y`",
    "<>": "write `!=`",
    "++": "write `x = x + 1`",
    "--": "write `x = x - 1`",
    ";": "write every statement on a line of its own",
    "$": "",
    "\\": "put the expression into parentheses to break the line",
}


class _Line:
    """One logical line, walked from left to right until something cannot stand there."""

    def __init__(self, line: list[Token]) -> None:
        self.line = line
        self.first = line[0].text
        self.opened: list[str] = []
        self.choices = [0]
        """How many `if` wait for their `else`, for every open bracket."""
        self.operand = True
        """Whether a number, a name or a bracket must come next."""

    def problem(self) -> Problem | None:
        tokens = self.line
        if self.first in _STATEMENTS and len(tokens) > 1 and tokens[1].text != "=":
            message = f"`{self.first}` is not a statement of the rule language"
            return Problem("E120", message, tokens[0])
        if self.first in ("if", "elif"):
            return self.head()
        if self.first == "else":
            return self.otherwise()
        if len(tokens) > 1 and tokens[1].text == ":=" and tokens[0].kind == "name":
            help = f"write `{short(self.first)} = …`"
            return Problem("E120", "`:=` is not how a statement assigns", tokens[1], help)
        equals = [i for i, t in enumerate(tokens) if t.text == "=" and t.kind == "operator"]
        if equals and (equals[0] != 1 or tokens[0].kind != "name"):
            bare = equals[0] == 0
            message = "a name is missing before `=`" if bare else "only a name can be assigned"
            help = "write `name = expression`; comparisons are written `==`"
            return Problem("E120", message, tokens[0], help)
        if equals and keyword.iskeyword(self.first):
            return _reserved(tokens[0])
        return self.walk(2 if equals else 0)

    def head(self) -> Problem | None:
        """`if condition:`, perhaps with a statement behind it."""
        colon = next((i for i, t in enumerate(self.line) if t.text == ":"), None)
        if colon is None:
            found = self.walk(1)
            message = f"`:` is missing at the end of the `{self.first}` line"
            return found or Problem("E101", message, self.line[-1])
        rest = self.line[colon + 1 :]
        condition = _Line(self.line[:colon])
        return condition.walk(1) or (_Line(rest).problem() if rest else None)

    def otherwise(self) -> Problem | None:
        after = self.line[1] if len(self.line) > 1 else None
        if after is None:
            return Problem("E101", "`:` is missing after `else`", self.line[0])
        if after.text == "if":
            return Problem("E101", "`else if` is one word", self.line[0], "write `elif`")
        if after.text != ":":
            return Problem("E101", "`:` is missing after `else`", self.line[0])
        return _Line(self.line[2:]).problem() if len(self.line) > 2 else None

    def walk(self, begin: int) -> Problem | None:
        """The first token from `begin` on that cannot stand where it does."""
        for index in range(begin, len(self.line)):
            before = self.line[index - 1] if index else None
            token = self.line[index]
            step = self.at_operand if self.operand else self.at_operator
            if problem := step(token, before):
                return problem
        if self.operand:
            last = self.line[-1]
            message = f"an expression is missing after `{short(last.text)}`"
            return Problem("E101", message, last)
        if self.choices[-1]:
            return self.unfinished(self.line[-1])
        return None

    def at_operand(self, token: Token, before: Token | None) -> Problem | None:
        text = token.text
        if token.kind in ("number", "string"):
            self.operand = False
        elif token.kind == "name":
            if keyword.iskeyword(text) and text not in (*_CONSTANTS, "not"):
                return _reserved(token)
            self.operand = text == "not"
        elif text in ("(", "[", "{"):
            self.open(text)
        elif text in (")", "]", "}") and before and before.text in ("(", "[", "{", ","):
            self.close()
        elif text in ("*", "**") and before and before.text in ("(", ","):
            pass
        elif text not in ("+", "-", "~"):
            if text in ("|", "||"):
                return self.bars(token)
            instead = _INSTEAD.get(text, "")
            what = f"after `{short(before.text)}`" if before else f"before `{text}`"
            return Problem("E101", f"an expression is missing {what}", token, instead)
        return None

    def at_operator(self, token: Token, before: Token | None) -> Problem | None:
        text = token.text
        if token.kind == "name" and text in _WORDS_BETWEEN:
            if text == "else" and not self.choices[-1]:
                return Problem("E101", "`else` has no `if` before it", token)
            self.choices[-1] += (text == "if") - (text == "else")
            self.operand = True
        elif token.kind in ("name", "number", "string"):
            left = short(before.text) if before else ""
            message = f"an operator is missing between `{left}` and `{short(text)}`"
            help = "write `:`" if text == "then" else "products are written `x*y`"
            return Problem("E101", message, token, help)
        elif text in ("(", "["):
            self.open(text)
        elif text in _CLOSING:
            if self.choices[-1]:
                return self.unfinished(token)
            self.close()
        elif text in _BETWEEN:
            self.operand = True
        elif text == "=":
            help = "comparisons are written `==`"
            return Problem("E101", "`=` assigns and cannot stand in an expression", token, help)
        elif text != ".":
            message = f"`{short(text)}` cannot stand here"
            return Problem("E101", message, token, _INSTEAD.get(text, ""))
        else:
            self.operand = True
        return None

    def bars(self, token: Token) -> Problem:
        """`|x|` and `||x||`."""
        if token.text == "||":
            return Problem("E101", "a norm is not part of the rule language", token, NO_NORM)
        behind = self.line[self.line.index(token) + 1 :]
        inside = itertools.takewhile(lambda t: t.text != "|", behind)
        written = "".join(f" {t.text} " if t.text in "+-" else t.text for t in inside)
        help = f"write `abs({written})`" if 0 < len(written) <= 60 else "write `abs(x)`"
        return Problem("E101", "bars do not make an absolute value", token, help)

    def unfinished(self, token: Token) -> Problem:
        message = "the `else` of `x if condition else y` is missing"
        return Problem("E101", message, token)

    def open(self, bracket: str) -> None:
        self.opened.append(bracket)
        self.choices.append(0)
        self.operand = True

    def close(self) -> None:
        self.opened.pop()
        self.choices.pop()
        self.operand = False


def _reserved(token: Token) -> Problem:
    message = f"`{token.text}` is a keyword of Python"
    return Problem("E014", message, token, f"write `{token.text}_`")
