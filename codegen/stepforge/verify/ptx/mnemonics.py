"""Names of PTX instructions, taken apart: operation, modifiers, types; and the widths of types."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from stepforge.operations.formats import FORMATS

FLOATS: dict[str, int] = {kind: found.bits for kind, found in FORMATS.items()}
"""Types of floating-point numbers and their bits; followed by "x2" for a packed pair."""
_TYPE = re.compile(r"(bf16|f16|f32)x2|bf16|f(16|32|64)|[bsu](16|32|64)|pred")


@dataclass(frozen=True, slots=True)
class Mnemonic:
    """The name of an instruction.

    Attributes:
        text: All of it, such as "cvt.rn.f32.f64".
        operation: What is before the first dot, "cvt".
        modifiers: What is between operation and types, ("rn",).
        types: The types at its end, that of the result first, ("f32", "f64").
    """

    text: str
    operation: str
    modifiers: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def target(self) -> str:
        """The first type: that of the result, if there is one for it."""
        return self.types[0]

    @property
    def source(self) -> str:
        """The last type: that of the operands."""
        return self.types[-1]


def split(text: str) -> Mnemonic:
    """Takes a name apart."""
    operation, *others = text.split(".")
    count = len(list(itertools.takewhile(_TYPE.fullmatch, reversed(others))))
    middle = len(others) - count
    return Mnemonic(text, operation, tuple(others[:middle]), tuple(others[middle:]))


def expanded(form: str, types: str) -> Iterator[Mnemonic]:
    """The names that a form stands for.

    Args:
        form: Parts of the name, separated by spaces: `a|b` is one of both, `a?` may be missing.
        types: Types that may stand behind them, separated by spaces.
    """
    parts = [part.removesuffix("?").split("|") + [""] * part.endswith("?") for part in form.split()]
    for *found, kind in itertools.product(*parts, types.split()):
        if "ftz" not in found or kind == "f32":  # no other type has it
            yield split(".".join([*filter(None, found), kind]))


@cache
def is_float(kind: str) -> bool:
    """Whether a type is one of numbers that round."""
    return kind.removesuffix("x2") in FLOATS


@cache
def width_of(kind: str) -> int:
    """The bits of a type, of a pair those of both; raises `KeyError` if it has none."""
    if is_float(kind):
        return FLOATS[kind.removesuffix("x2")] * (2 if kind.endswith("x2") else 1)
    if not re.fullmatch(r"[bsu](16|32|64)", kind):
        raise KeyError(kind)
    return int(kind[1:])


@cache
def members(operand: str) -> tuple[str, ...]:
    """The registers of a vector such as "{%r1, %r2}", or the one that it is."""
    return tuple(part.strip() for part in operand.strip("{} ").split(","))


@dataclass(frozen=True, slots=True)
class Access:
    """What a load or a store does.

    Attributes:
        loads: Whether it is a load.
        space: "global", "shared" or "param".
        count: How many registers it has.
        width: Bits of each.
    """

    loads: bool
    space: str
    count: int
    width: int


_ACCESS = re.compile(
    r"(?P<verb>ld|st)\.(?P<space>global|shared|param)(?:\.v(?P<count>[248]))?"
    r"\.[busf](?P<width>8|16|32|64|128)"
)


@cache
def access(name: str) -> Access | None:
    """What an access does; None if it does something else, too."""
    match = _ACCESS.fullmatch(name)
    if match is None:
        return None
    return Access(
        match["verb"] == "ld", match["space"], int(match["count"] or 1), int(match["width"])
    )
