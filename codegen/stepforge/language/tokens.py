"""Tokens of the rule language: where words begin and end, and what each may be by itself.

These checks come before Python's parser sees a text: they bound what it has to bear, and they keep
out what it would read in its own ways.
"""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepforge.language import advice
from stepforge.language.diagnostics import short
from stepforge.operations.table import BUILT_IN

MAX_STATEMENTS = 200
MAX_TOKENS = 500
"""Names, numbers and signs of one statement."""
MAX_BRACKETS = 60
MAX_NAME = 40
MAX_DIGITS = 40
MAX_EXPONENT = 300

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t]+)
    | (?P<newline>\n)
    | (?P<comment>\#[^\n]*)
    | (?P<string>[A-Za-z]{0,2}(?:
          \"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|\Z) | '''(?:[^\\]|\\.)*?(?:'''|\Z)
        | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'?
      ))
    | (?P<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?[\w.]*)
    | (?P<name>[^\W\d]\w*)
    | (?P<operator>\*\*=?|//=?|<<|>>|[<>=!:]=|->|&&|\|\||(?:\+\+|--)(?=[ \t]*$)|[-+*/%@&|^]=|.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_DIGITS = r"\d+(?:_\d+)*"
# A text matches in one way at most: with two, a long number would take quadratic time.
_DECIMAL = re.compile(rf"(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE]([+-]?\d+))?\Z")
_PLAIN = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "ϵ": "eps", "ζ": "zeta",
    "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda_", "μ": "mu", "µ": "mu", "ν": "nu",
    "ξ": "xi", "π": "pi_", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "Δ": "delta", "Σ": "sigma", "Φ": "phi", "Ψ": "psi", "Ω": "omega",
    "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "√": "sqrt", "²": "**2",
    "³": "**3", "≤": "<=", "≥": ">=", "≠": "!=", "←": "=", "∇": "g",
    **{chr(0x2080 + digit): str(digit) for digit in range(10)},
}  # fmt: skip
_CLOSING = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a rule; lines count from 1, columns from 0."""

    kind: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, at which token, and what would be right."""

    code: str
    message: str
    token: Token
    help: str = ""


def tokens(text: str) -> Iterator[Token]:
    """Splits a text; white space is left out, comments and line ends are not."""
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match[0], line, match.start() - start)
        if breaks := match[0].count("\n"):
            line += breaks
            start = match.start() + match[0].rindex("\n") + 1


def spelled_out(text: str) -> str:
    """Greek letters and mathematical signs as the rule language has them, or "" if it has not."""
    plain = "".join(c if c.isascii() else _PLAIN.get(c, "?") for c in text)
    return "" if "?" in plain else plain


def unclosed(string: Token) -> bool:
    """Whether a string token ends without its quote."""
    quote = string.text.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    width = 3 if quote.startswith(('"""', "'''")) else 1
    return len(quote) < 2 * width or not quote.endswith(quote[:width])


def bracket_problem(found: Sequence[Token]) -> Problem | None:
    """The first bracket without a partner."""
    opened: list[Token] = []
    for token in found:
        if token.kind != "operator":
            continue
        if token.text in "([{":
            opened.append(token)
        elif token.text in _CLOSING:
            if not opened:
                return Problem("E101", f"`{token.text}` closes nothing", token)
            if opened.pop().text != _CLOSING[token.text]:
                return Problem("E101", f"`{token.text}` closes another kind of bracket", token)
    return Problem("E101", f"`{opened[-1].text}` is never closed", opened[-1]) if opened else None


def statements(found: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of every logical line: brackets join lines, comments are left out."""
    line: list[Token] = []
    depth = 0
    for token in found:
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in _CLOSING)
        if token.kind == "newline" and depth == 0:
            if line:
                yield line
            line = []
        elif token.kind not in ("newline", "comment"):
            line.append(token)
    if line:
        yield line


def word_problems(found: Sequence[Token]) -> Iterator[Problem]:
    """What is wrong with words by themselves."""
    passed = 0
    for index, token in enumerate(found):
        if not token.text.isprintable():
            yield from _control_characters(token)
        if token.kind == "comment" or index < passed:
            continue
        typeset = token.text.endswith(("\\", "_")) and _typeset(found[index : index + 12])
        if typeset:
            problem, length = typeset
            passed = index + length
            yield problem
        elif not token.text.isascii():
            yield Problem(
                "E112", f"`{short(token.text)}` is not ASCII", token, _ascii(found, index)
            )
        elif token.kind == "number":
            yield from _number(token)
        elif token.kind == "string" and unclosed(token):
            yield Problem("E101", "the string is never closed", token)
        elif token.kind == "name" and len(token.text) > MAX_NAME:
            message = f"`{short(token.text)}` has {len(token.text)} characters"
            yield Problem("E013", message, token, f"names have at most {MAX_NAME}")
        elif token.text in _NEVER:
            code, help = _NEVER[token.text]
            yield Problem(code, f"`{token.text}` is not part of the rule language", token, help)


def _ascii(found: Sequence[Token], index: int) -> str:
    """What to write in place of a token that is not ASCII, or ""."""
    text = found[index].text
    if found[index].kind == "string":
        return ""
    if text in _SIGNS:
        return _SIGNS[text]
    plain = spelled_out(text)
    if built_in := advice.spelled_otherwise(plain):
        return f"{BUILT_IN[built_in]} is `{built_in}`"
    if text == "√":
        behind = found[index + 1] if index + 1 < len(found) else None
        inside = behind.text if behind and behind.kind in ("name", "number") else "…"
        return f"write `sqrt({spelled_out(inside) or '…'})`"
    return f"write `{plain}`" if plain else ""


_NO_SUM, _NO_NORM = (advice.FUNCTIONS_OF_OTHERS[name][1] for name in ("sum", "norm"))
_SIGNS = {
    "π": advice.CONSTANTS["pi"], "∞": advice.CONSTANTS["inf"], "‖": _NO_NORM, "∥": _NO_NORM,
    "∑": _NO_SUM, "Σ": _NO_SUM, "∏": _NO_SUM, "⊙": "products are written `x*y`",
}  # fmt: skip


def _typeset(found: Sequence[Token]) -> tuple[Problem, int] | None:
    """A command of LaTeX or an index in braces, and how many tokens it takes."""
    first, *others = found
    if not others or (others[0].line, others[0].column) != (
        first.line, first.column + len(first.text)
    ):  # fmt: skip
        return None
    if first.text == "\\" and others[0].kind == "name":
        command, _, index = others[0].text.partition("_")
        token = Token("operator", "\\" + command, first.line, first.column)
        message = f"`{short(token.text)}` is LaTeX; rules are written as in Python"
        help = advice.about_latex(command)
        if index and help.endswith(f"`{command}`"):
            help = help.removesuffix("`") + index + "`"
        return Problem("E101", message, token, help), 2
    if first.kind == "name" and first.text.endswith("_") and others[0].text == "{":
        inside = list(itertools.takewhile(lambda t: t.text != "}", others[1:]))
        index = "".join(t.text for t in inside)
        base = first.text.removesuffix("_")
        base = advice.spelled_otherwise(base) or base
        token = Token("operator", f"{first.text}{{{index}}}", first.line, first.column)
        message = f"`{short(token.text)}` is LaTeX; rules are written as in Python"
        help = f"write `{base}{'' if index.isdigit() else '_'}{index}`"
        if index == "t-1":
            help = f"write `{base}`: until a statement assigns it, it is that of the last step"
        elif index.startswith("t"):
            help = f"write `{base}`: a name has its newest value"
        return Problem("E101", message, token, help), 3 + len(inside)
    return None


_NEVER = {
    ";": ("E120", "write every statement on a line of its own"),
    "\\": ("E101", "put the expression into parentheses to break the line"),
}


def _control_characters(token: Token) -> Iterator[Problem]:
    """Editors hide them, and Python reads some of them as line ends."""
    for index, line in enumerate(token.text.split("\n")):
        for match in re.finditer(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            column = match.start() + (token.column if index == 0 else 0)
            at = Token("operator", match[0], token.line + index, column)
            message = f"the control character U+{ord(match[0]):04X} cannot stand in a rule"
            yield Problem("E101", message, at)


def _number(token: Token) -> Iterator[Problem]:
    """E106: decimal, and within what a float64 can hold."""
    text = token.text
    match = _DECIMAL.match(text)
    digits = re.sub(r"[eE].*|\D", "", text)
    leading = len(digits) > 1 and text.isdigit() and text[0] == "0" and text.strip("0")
    help = f"numbers are decimal, with at most {MAX_DIGITS} digits and 1e±{MAX_EXPONENT}"
    if match is None or leading:
        factor = re.match(r"([1-9]\d*)([A-Za-z]\w*)\Z", text)
        if text[-1] in "jJ":
            help = "imaginary numbers are not part of the rule language"
        elif factor and factor[2][0] not in "eE" and not keyword.iskeyword(factor[2]):
            help = f"products are written `{factor[1]}*{factor[2]}`"
        message = f"`{short(text)}` is not a number of the rule language"
        yield Problem("E106", message, token, help)
    elif len(digits) > MAX_DIGITS or _exponent(match[1] or "0") > MAX_EXPONENT:
        yield Problem("E106", f"`{short(text)}` is out of range", token, help)


def _exponent(text: str) -> int:
    """Its absolute value, or too much for any number when it is long."""
    return abs(int(text)) if len(text) <= 6 else 10**6


def size_problem(found: Sequence[Token]) -> Problem | None:
    """The first bound that the words of a rule pass."""
    depth = 0
    for token in found:
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in _CLOSING)
        if depth > MAX_BRACKETS:
            return Problem("E108", f"parentheses are nested more than {MAX_BRACKETS} deep", token)
    lines = list(statements(found))
    for line in lines:
        if len(line) > MAX_TOKENS:
            message = f"the statement has {len(line)} names, numbers and signs"
            help = f"the limit is {MAX_TOKENS}: give parts of it names of their own"
            return Problem("E107", message, line[0], help)
    if len(lines) > MAX_STATEMENTS:
        message = f"the rule has {len(lines)} statements, the limit is {MAX_STATEMENTS}"
        return Problem("E107", message, lines[MAX_STATEMENTS][0])
    return None
