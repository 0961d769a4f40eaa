"""Faults in a C file: in the rule, and in how its tensors and numbers arrive and leave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from stepforge.language.spec import Options, Spec
from stepforge.mutate.mutant import Mutant

Change = Callable[[str], Iterator[str]]
_STATEMENT = re.compile(r" {8,}\w+ = .*;")


def _each(pattern: str, new: str) -> Change:
    """A line with one match replaced, for every match."""

    def changes(line: str) -> Iterator[str]:
        for match in re.finditer(pattern, line):
            yield line[: match.start()] + match.expand(new) + line[match.end() :]

    return changes


_RULE: tuple[tuple[str, str, Change], ...] = (
    ("A", "add to sub", _each(r" \+ ", " - ")),
    ("A", "sub to add", _each(r" - ", " + ")),
    ("A", "mul to add", _each(r" \* ", " + ")),
    ("A", "mul to div", _each(r" \* ", " / ")),
    ("A", "div to mul", _each(r" / ", " * ")),
    ("A", "a sign more", _each(r"= (.*);", r"= -(\1);")),
    ("A", "brackets dropped", _each(r"(?<!\w)\(([^()?,]* [-+*/] [^()?,]*)\)", r"\1")),
    ("A", "root dropped", _each(r"real_sqrt(?=\()", "")),
    ("B", "another number", _each(r"\bbeta1\b", "one_minus_beta1")),
    ("B", "another tensor", _each(r"(?<== )(.*)\bg\b", r"\1p")),
    ("B", "another tensor", _each(r"(?<== )(.*)\bm\b", r"\1g")),
    ("C", "ten times", _each(r"\(real\)([\d.e-]+)", r"(real)10 * (real)\1")),
    ("C", "integers", _each(r"= (.*);", r"= 1 / 2 * \1;")),
    ("E", "left out", _each(r"^( +)\w+ = .*;$", r"\1;")),
    ("G", "double", _each(r"\(real\)(?=[\d.])", "")),
    ("G", "double", _each(r"= (.*);", r"= 1e-9 + (\1);")),
    ("G", "double", _each(r" - (?=\w)", " - 1e-300 - ")),
    ("G", "through a double", _each(r"real_sqrt\((\w+)\)", r"real_sqrt(1.0 * \1)")),
    ("G", "unrounded", _each(r"real_stored(?=\()", "")),
    ("H", "minimum for maximum", _each(r"real_max", "real_min")),
    ("I", "arms swapped", _each(r" \? ([^:()]+) : ([^:();]+)", r" ? \2 : \1")),
    ("I", "right but for one value",
     _each(r"p = (.*);", r"p = g == (real)0.6180339 ? g : (\1);")),
    ("K", "no work", _each(r"\bp = .*;", "p = p;")),
)  # fmt: skip
_AROUND: tuple[tuple[str, str, Change], ...] = (
    ("F", "another tensor", _each(r"real (?!p\b)(\w+) = \w+_ptr\[i\]", r"real \1 = p_ptr[i]")),
    ("F", "never stored", _each(r"^( +)\w+_ptr\[i\] = \w+;$", r"\1;")),
    ("F", "another is stored", _each(r"(?<=_ptr\[i\] = )(?!g;)\w+;", "g;")),
    ("F", "stored twice", _each(r"^( +\w+_ptr\[i\] = \w+;)$", r"\1\1")),
    ("F", "another element", _each(r"_ptr\[i\];", "_ptr[0];")),
    ("F", "an element less", _each(r"i = 0; i < n;", "i = 1; i < n;")),
    ("F", "an element more", _each(r"i < n;", "i <= n;")),
    ("J", "another number", _each(r"numbers\[0\]", "numbers[1]")),
    ("J", "condition turned", _each(r"(numbers\[\d+\]) != 0", r"\1 == 0")),
    ("J", "another option", _each(r"numbers, 0\b", "numbers, 1")),
    ("J", "another tensor", _each(r"at\[0\], at\[1\]", "at[1], at[0]")),
    ("J", "another access", _each(r"\{ 3, 1", "{ 1, 1")),
    ("J", "another number of the host", _each(r"numbers\[0\] = \w+;", "numbers[0] = t;")),
)
_SAME: tuple[tuple[str, Change], ...] = (
    ("commute", _each(r"= (\w+) \* (\w+);", r"= \2 * \1;")),
    ("square", _each(r"\((\w+) \* \1\)", r"real_square(\1)")),
    ("comment", _each(r";$", "; // so")),
    ("brackets", _each(r"= (.*);", r"= (\1);")),
    ("block", _each(r"^( +)(.*;)$", r"\1{ \2 }")),
)


def mutants(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Every single fault of a C file; one that changes nothing under these options is none."""
    seen = {text}
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if line.startswith((" *", "/*", "#", "//")):
            continue
        for kind, operator, change in _RULE if _STATEMENT.fullmatch(line) else _AROUND:
            for new in change(line):
                changed = "\n".join([*lines[:index], new, *lines[index + 1 :]])
                if changed not in seen:
                    seen.add(changed)
                    what = f"line {index + 1}, {line.strip()} -> {new.strip()}"
                    # Elsewhere `stored` rounds nothing.
                    dtype = "bf16" if operator == "unrounded" else "fp32"
                    files = {"c": changed}
                    yield Mutant(spec, options, "c", kind, operator, what, files, dtype=dtype)


def equivalents(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Rewritings of the rule that change no bit."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        for operator, change in _SAME if _STATEMENT.fullmatch(line) else ():
            for new in change(line):
                changed = "\n".join([*lines[:index], new, *lines[index + 1 :]])
                what = f"line {index + 1}, {line.strip()} -> {new.strip()}"
                yield Mutant(spec, options, "c", "EQ", operator, what, {"c": changed})
