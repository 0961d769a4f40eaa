"""Positions, error codes and the rendering of diagnostics.

Two kinds of failure are kept apart by type: a `SpecError` is the author's and carries diagnostics
with positions; a `GeneratorBug` is ours and says so.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in one line of a file: line and column count from 1, `end` is exclusive."""

    line: int
    column: int
    end: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: what is wrong, where, and what would be right.

    Attributes:
        code: Key of `CODES`, such as "E104"; codes that begin with "W" are warnings.
        message: One sentence without a full stop.
        path: The file as the user named it.
        span: The place, or None when it concerns the whole file.
        line: The text of that line, without its newline.
        help: A suggestion, or "".
    """

    code: str
    message: str
    path: str
    span: Span | None = None
    line: str = ""
    help: str = ""

    @property
    def severity(self) -> str:
        """Either "error" or "warning"."""
        return "warning" if self.code.startswith("W") else "error"

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form that `--json` prints."""
        span = self.span
        return {
            "code": self.code,
            "severity": self.severity,
            "message": printable(self.message),
            "path": printable(self.path),
            "line": span.line if span else None,
            "column": span.column if span else None,
            "end_column": span.end if span else None,
            "help": printable(self.help) or None,
        }


class SpecError(Exception):
    """The author's input is wrong; `diagnostics` says where and how."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(f"{d.code}: {d.message}" for d in self.diagnostics))


class GeneratorBug(Exception):
    """An invariant of the generator does not hold: our fault, never the author's."""


def order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sorts by position and drops repetitions."""
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (d.path, d.span or Span(0, 0, 0), d.code))


def nearest(word: str, candidates: Iterable[str]) -> str:
    """A "did you mean" help for a misspelt word, or "" when nothing is near."""
    if len(word) > 100:
        return ""
    lowered = {c.lower(): c for c in sorted(candidates, reverse=True)}
    matches = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f"did you mean `{lowered[matches[0]]}`?" if matches else ""


def printable(text: str) -> str:
    """Text with escapes in place of characters that would move or recolour a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(text: str) -> str:
    """A name from a file as a message shows it: printable, and at most 40 characters."""
    shown = printable(text[:41])
    return shown if len(shown) <= 40 else shown[:39] + "…"


_MAX_WIDTH = 100


def _window(line: str, span: Span) -> tuple[str, int]:
    """Cuts a long line to the part around the span; returns it with the caret's offset."""
    start, text = span.column - 1, line
    if len(line) > _MAX_WIDTH:
        cut = max(0, start - _MAX_WIDTH // 2)
        text = ("…" if cut else "") + line[cut : cut + _MAX_WIDTH]
        text += "…" if cut + _MAX_WIDTH < len(line) else ""
        start = start - cut + (1 if cut else 0)
    return "".join(c if c.isprintable() else " " for c in text), start


def _columns(text: str) -> int:
    """The columns of a terminal that a text fills."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """The text form of diagnostics: code, place, source line with caret, help."""
    return "\n".join(_render_one(d) for d in diagnostics)


def _render_one(d: Diagnostic) -> str:
    head = f"{d.severity}[{d.code}]: {printable(d.message)}"
    path = printable(d.path)
    if d.span is None:
        lines = [head, f"  --> {path}"]
        pad = " "
    else:
        number = str(d.span.line)
        pad = " " * len(number)
        text, start = _window(d.line, d.span)
        width = max(1, min(d.span.end - d.span.column, len(text) - start))
        # Characters that fill two columns, or none, shift the caret.
        carets = "^" * max(
            1, _columns(text[start : start + width]) + max(0, start + width - len(text))
        )
        lines = [
            head,
            f"{pad}--> {path}:{d.span.line}:{d.span.column}",
            f"{pad} |",
            f"{number} | {text}".rstrip(),
            f"{pad} | {' ' * (_columns(text[:start]) + max(0, start - len(text)))}{carets}",
        ]
    if d.help:
        lines.append(f"{pad} = help: {printable(d.help)}")
    return "\n".join(lines) + "\n"


CODES: dict[str, str] = {
    "E001": "The file cannot be read: it is missing, a directory, or not permitted.",
    "E002": "The file is not UTF-8 text.",
    "E003": "The file is larger than a spec may be (256 KiB).",
    "E004": "The file is not valid TOML 1.0.",
    "E005": "A key or table is defined twice. TOML keeps neither silently, and neither do we.",
    "E006": "There is no spec, option, target, error code or other thing of this name.",
    "E007": "The output cannot be written. Nothing was changed.",
    "E008": (
        "A file of this name exists already and is not overwritten, or a stock spec has this name, "
        "which the new file would hide."
    ),
    "E009": "Two specs have the same name, so their generated files would overwrite each other.",
    "E010": "The key is not part of the spec language.",
    "E011": "A required key is missing.",
    "E012": "The value has the wrong type.",
    "E013": (
        "The name is not allowed: names are ASCII letters, digits and underscores, begin with a "
        "letter, do not end with `_ptr`, contain no double underscore and have at most 40 "
        "characters."
    ),
    "E014": (
        "The name is reserved: it is a Python keyword, a function of the rule language, or one of "
        "`p`, `g` and `t`, which are the parameter, the gradient and the step number. The `name` "
        "of a spec can be no name that generated code uses itself."
    ),
    "E015": "`name` and the file name differ; a spec named `adamw` lives in `adamw.toml`.",
    "E016": "One name is declared twice, as hyperparameter, option, state or input.",
    "E017": (
        "The text cannot become part of a docstring: it holds control characters, line breaks, "
        "triple quotes, backslashes or template braces, or it is empty or too long."
    ),
    "E018": (
        "Kernels have options in upper case: the option `amsgrad` is `AMSGRAD` there, which no "
        "other name may be."
    ),
    "E019": (
        "Two specs would make classes or modules of one name. The folder that `build` writes has "
        "one module for each spec, called like it, and one package with the classes of all."
    ),
    "E020": (
        "The spec is called like something that the folder of generated code has already: one of "
        "its folders, a module that all specs share, or the base class."
    ),
    "E021": (
        "Python imports from this output folder, or would. The folders in it are called `numpy`, "
        "`torch` and `triton`, so they would be found instead of the real packages."
    ),
    "E022": (
        "The manifest `stepforge.json` of an output folder is damaged: `build` writes it, and it "
        "says what the folder holds."
    ),
    "E023": "Another build is writing into the same folder and did not come to its end.",
    "E024": "The configuration has no setting of this name.",
    "E025": "The setting of the configuration has another kind of value.",
    "E026": (
        "The command is about another kind of spec: a schedule is no optimizer, and code is "
        "generated from what uses a transform, not from the transform alone."
    ),
    "E027": (
        "The specs do not go together: `use` is of one optimizer, with transforms that act before "
        "its rule listed ahead of it and those that act after it behind; of two that make `p` from "
        "states of their own, one would undo the other. A `base` is an optimizer, and the "
        "`schedule` of a hyperparameter a schedule."
    ),
    "E028": (
        "What is to be changed is not there: a line of the base's rule, or a hyperparameter or "
        "option of what `use` makes, or a hyperparameter of a schedule. Or a transform reads a "
        "hyperparameter that the optimizer does not have."
    ),
    "E029": "The spec is made of itself, or of others more than 8 deep.",
    "E090": (
        "The command line is not understood: a command or option that does not exist, an argument "
        "that is missing or too many, or a value of the wrong kind. `stepforge COMMAND --help` "
        "has examples."
    ),
    "E091": "The compiler refuses the generated code, or there is none.",
    "E092": "The command was interrupted, by Ctrl-C or by a signal, before it was done.",
    "E093": "stepforge itself failed. That is a bug in it, and no fault of the input.",
    "E101": "The expression or statement is not well-formed.",
    "E102": (
        "The rule language has `+ - * / **`, comparisons, `and or not`, `x if c else y` and the "
        "functions of `stepforge check --help`; nothing else of Python is part of it."
    ),
    "E103": "The function is not part of the rule language.",
    "E104": "The name is neither declared nor assigned anywhere.",
    "E105": "The function takes another number of arguments.",
    "E106": "The number, or a constant made of numbers, is out of range or not decimal.",
    "E107": "The rule or a statement is too long.",
    "E108": "An expression or `if` block is nested too deeply.",
    "E109": "The power of literals is out of range.",
    "E110": "`^` is exclusive or in Python; powers are written `**`.",
    "E111": "A condition stands where a number is needed, or a number where a condition is.",
    "E112": "The expression holds a character outside ASCII; names are written out.",
    "E113": "The divisor is always zero, or zero is raised to a negative power.",
    "E120": "Only assignments `name = expression` and `if` blocks are statements.",
    "E121": "The condition of an `if` block is the same for all elements.",
    "E122": (
        "The name cannot be assigned: it is a hyperparameter, an option, an input of one number or "
        "the step number."
    ),
    "E123": "The name is used before anything is assigned to it.",
    "E124": "A declared state is never assigned.",
    "E125": (
        "The rule never assigns what it is there for: `p`, without which it would train nothing, "
        "or the `factor` of a schedule."
    ),
    "E126": (
        "An input is assigned before the rule reads it, so what a step is given for it has no "
        "effect."
    ),
    "E127": "The local is assigned but its value is never used.",
    "E128": "The state exists only under its `when` condition but is used outside of it.",
    "E129": "The name is assigned on some paths only, but used on all of them.",
    "E130": "A scalar state is one number per tensor and cannot hold tensor values.",
    "E132": "A condition mixes options, known at compile time, with values, known at run time.",
    "E133": "The new `p` does not depend on the gradient.",
    "E134": "The operation is of numbers that are the same for all elements, not of tensors.",
    "E135": "The factor of a schedule does not depend on the step number `t`.",
    "E136": (
        "`stored` rounds tensors to the type of the parameter. What contains no tensor is a number "
        "of the host, in float64, and has no such type."
    ),
    "E140": "The domain is not of the form `0 <= name < 1`, `name > 0` or similar.",
    "E141": "The default, or a usual value, is outside the declared domain.",
    "E142": "The domain is empty.",
    "E143": "A domain speaks about the name it belongs to, and about no other.",
    "E144": "The initial value is outside the state's domain.",
    "E145": "An initial value is a number or an expression of hyperparameters.",
    "E146": (
        "`together` in `[domains]` compares sums and products of hyperparameters, as in "
        "`step_min <= step_max`, and nothing else."
    ),
    "E147": (
        "`together` is for what depends on several hyperparameters. What is about one of them is "
        "its domain."
    ),
    "E148": "The defaults do not satisfy what `[domains]` says of them together.",
    "E150": "The default has the wrong type: options are true or false, hyperparameters finite.",
    "E151": "`when` is a condition on options declared above it, and true for some of their sets.",
    "E152": (
        "Too many names: there are at most 8 options, 64 hyperparameters, 32 states and 8 inputs."
    ),
    "E153": (
        "The family is none of those by which `stepforge list` groups: `sgd`, `sign`, `adagrad`, "
        "`adam`, `curvature`, `averaging`, `parameter_free`, or `other`, which is that of a spec "
        "without one."
    ),
    "E154": (
        '`dtype` of a state is `"p"`, the type of the parameter, and of a tensor. Without it '
        "16-bit parameters have states of float32, and others states of their own type."
    ),
    "E160": "The `[torch]` table names something that the spec does not have, or something twice.",
    "E161": (
        "The class of `[torch]` is no name such as `AdamW`, or torch spells it otherwise, or it is "
        "one of torch's, which take no inputs. That of a schedule is a scheduler of torch."
    ),
    "W201": (
        "The argument of a square root or logarithm, or the base of a real power, may be "
        "negative: its names have no domain that excludes it. A tensor would be NaN there, and a "
        "host scalar raises ValueError."
    ),
    "W202": (
        "A declared hyperparameter, option, state or input is never used. A state that the rule "
        "neither reads nor assigns takes no memory, and no step asks for such an input: there is "
        "none."
    ),
    "W203": (
        "A state remembers nothing: the rule never reads its old value, or gives it no other one. "
        "It takes memory and time for nothing, and the formula has often lost something."
    ),
    "W301": (
        "Python may import from this output folder, because it looks like the top of a project. "
        "Its folders `numpy`, `torch` and `triton` would then be found instead of the real ones."
    ),
}
"""What each code means; `stepforge explain CODE` prints it with the example of the tests."""
