"""PTX text to instructions, taken apart; nothing is interpreted here.

The executor runs them on numbers, the lifter on symbols. What the parser does not know is
`Unsupported`, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache


class Unsupported(Exception):
    """The kernel holds something that this executor does not know."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, taken apart.

    Attributes:
        line: Its line in the PTX.
        name: Such as "add.rn.f32".
        operands: Texts between the commas; braces and brackets kept.
        guard: Register of its predicate, or "".
        negated: Whether it runs where the predicate is false.
    """

    line: int
    name: str
    operands: tuple[str, ...]
    guard: str
    negated: bool


@dataclass(frozen=True)
class Program:
    """A kernel's PTX after parsing.

    Attributes:
        parameters: Their names.
        kinds: Their types, such as "u64", by name.
        widths: Bits of the registers by the letters of their names; 1 for predicates.
        instructions: All of them in order.
        labels: Index of the instruction behind a label.
        threads: Lanes of one program.
        shared: Names of the shared memory that a launch allocates.
    """

    parameters: tuple[str, ...]
    kinds: Mapping[str, str]
    widths: Mapping[str, int]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    threads: int
    shared: tuple[str, ...] = ()

    def width(self, register: str) -> int:
        """Bits of a register; 1 for a predicate."""
        if register not in self._known:
            name = register.rstrip("0123456789")
            if name == register or name not in self.widths:
                raise Unsupported(f"register {register}")
            self._known[register] = self.widths[name]
        return self._known[register]

    @cached_property
    def _known(self) -> dict[str, int]:
        return {}


_STATEMENT = re.compile(
    r"(?:@(?P<negated>!?)(?P<guard>%\w+)\s+)?(?P<name>[a-z][\w.:]*)(?:\s+(?P<operands>[^;]*))?;"
)


@lru_cache(maxsize=8)
def parse(ptx: str) -> Program:
    """Parses the one kernel of a PTX module; raises `Unsupported` for what it does not know."""
    header, _, body = ptx.partition("\n{")
    declared = re.findall(r"\.param\s+\.(\w+)[^,)]*?(\w+)\s*(?=[,)\n])", header)
    kinds = {name: kind for kind, name in declared}
    shared = tuple(re.findall(r"^\.extern \.shared \.align 16 \.b8 (\w+)\[\];", header, re.M))
    threads = re.search(r"\.(?:reqntid|maxntid) (\d+)", header)
    if not body or threads is None:
        raise Unsupported("a module without a kernel of fixed size")
    widths: dict[str, int] = {}
    labels: dict[str, int] = {}
    instructions: list[Instruction] = []
    first = header.count("\n") + 2
    for number, raw in enumerate(body.split("\n"), first):
        line = raw.split("//", 1)[0].strip()
        if not line or line in ("{", "}") or line.startswith((".loc", ".file", ".pragma")):
            continue
        if line.startswith((".section", ".visible")):
            break
        if register := re.match(r"\.reg \.(\w+)\s+(%[a-z]+)<\d+>;", line):
            kind = register[1]
            widths[register[2]] = 1 if kind == "pred" else int(re.sub(r"\D", "", kind))
        elif label := re.match(r"([$\w]+):$", line):
            labels[label[1]] = len(instructions)
        elif statement := _STATEMENT.fullmatch(line):
            operands = tuple(_operands(statement["operands"] or ""))
            guard, negated = statement["guard"] or "", bool(statement["negated"])
            instructions.append(Instruction(number, statement["name"], operands, guard, negated))
        else:
            raise Unsupported(f"line {number}: {line}")
    return Program(
        tuple(kinds), kinds, widths, tuple(instructions), labels, int(threads[1]), shared
    )


def _operands(text: str) -> Iterator[str]:
    """Splits at commas outside of braces and brackets."""
    depth, start = 0, 0
    for position, character in enumerate(text):
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    if text[start:].strip():
        yield text[start:].strip()


def source_lines(text: str) -> dict[int, int]:
    """Lines of the PTX → the line of the kernel's file that they were compiled from.

    Of a function that the kernel calls, the line of the call counts.
    """
    found: dict[int, int] = {}
    current = 0
    for line, raw in enumerate(text.split("\n"), 1):
        if ".loc" in raw and (place := re.match(r"\s*\.loc\s+\d+\s+(\d+)\s", raw)):
            outer = re.findall(r"inlined_at \d+ (\d+) ", raw)
            current = int(outer[-1] if outer else place[1])
        elif current and raw.startswith("\t"):
            found[line] = current
    return found
