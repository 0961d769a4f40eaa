"""The text of Triton IR, as its compiler prints it, taken apart: parameters, and operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from stepforge.verify.terms.lifted import Unsupported


@dataclass
class Operation:
    """One operation.

    Attributes:
        line: Its line in the text.
        results: Names of its results, "%0:3" written as "%0#0", "%0#1", "%0#2".
        name: Such as "arith.addf".
        operands: Names of values.
        text: All that follows the name, without its location.
        regions: The blocks in it.
    """

    line: int
    results: tuple[str, ...]
    name: str
    operands: tuple[str, ...]
    text: str
    regions: list[list[Operation]] = field(default_factory=list)


_OPERATION = re.compile(
    r"(?:(?P<results>%[\w#:]+) = )?(?P<name>[a-z_]+\.[a-z_0-9.]+)(?P<rest>.*)", re.DOTALL
)
_FUNCTION = re.compile(r"tt\.func\b[^@]*@(?P<name>\w+)\((?P<parameters>.*)\)")
_PARAMETER = re.compile(r"(%[\w]+): (!tt\.ptr<(\w+)>|\w+)")
_LOCATION = re.compile(r' ?loc\((?:[^()"]|"[^"]*"|\([^()]*\))*\)')
Lines = Iterator[tuple[int, str]]


def parse(text: str) -> tuple[list[tuple[str, str]], list[Operation]]:
    """Parameters with their types ("*f32" for addresses), and the operations of the function."""
    lines = iter(
        [
            (number, content)
            for number, raw in enumerate(text.split("\n"), 1)
            if (content := _LOCATION.sub("", raw).strip()) and not content.startswith(("#", "//"))
        ]
    )
    for line, content in lines:
        if function := _FUNCTION.match(content):
            found = _PARAMETER.finditer(function["parameters"])
            parameters = [(m[1], f"*{m[3]}" if m[3] else m[2]) for m in found]
            body, _ = _block(lines)
            if any("tt.func" in content for _, content in lines):
                raise Unsupported(line, "a second function")
            return parameters, body
        if not content.startswith("module"):
            raise Unsupported(line, f"`{content[:60]}`")
    raise Unsupported(0, "a module without a function")


def _block(lines: Lines) -> tuple[list[Operation], str]:
    """The operations up to the brace that closes them, and the line of that brace."""
    found: list[Operation] = []
    for line, content in lines:
        if content.startswith("}"):
            return found, content
        operation = _operation(content, line)
        found.append(operation)
        if content.endswith("{"):
            region, end = _block(lines)
            operation.regions.append(region)
            if end == "} else {":
                region, end = _block(lines)
                operation.regions.append(region)
            if end != "}":
                raise Unsupported(line, f"`{content[:60]}`")
    raise Unsupported(0, "braces that do not close")


def _operation(content: str, line: int) -> Operation:
    match = _OPERATION.match(content)
    if match is None:
        raise Unsupported(line, f"`{content[:60]}`")
    rest = match["rest"]
    operands = tuple(re.findall(r"%\w+(?:#\d+)?", rest.split(" : ")[0]))
    return Operation(line, _results(match["results"] or ""), match["name"], operands, rest)


def _results(written: str) -> tuple[str, ...]:
    name, _, count = written.partition(":")
    if not name:
        return ()
    return tuple(f"{name}#{i}" for i in range(int(count))) if count else (name,)


def source_lines(text: str) -> dict[int, int]:
    """Lines of the text → the line of the kernel's file that they were compiled from.

    Of a function that the kernel calls, the line of the call counts.
    """
    known: dict[str, int] = {}
    pending: dict[str, str] = {}
    for match in re.finditer(r"^(#loc\d*) = loc\((.*)\)$", text, re.MULTILINE):
        if place := re.fullmatch(r'"[^"]*":(\d+):\d+', match[2]):
            known[match[1]] = int(place[1])
        elif inner := re.findall(r"#loc\d*", match[2]):
            pending[match[1]] = inner[-1]
    found: dict[int, int] = {}
    for line, raw in enumerate(text.split("\n"), 1):
        if raw.startswith("#") or not (places := re.findall(r"loc\((#loc\d*)\)$", raw)):
            continue
        name = places[-1]
        for _ in range(len(pending)):
            name = pending.get(name, name)
        if name in known:
            found[line] = known[name]
    return found
