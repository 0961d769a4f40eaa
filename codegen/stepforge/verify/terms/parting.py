"""Where two lifted programs part: the first line of the rule, and the first of the artefact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepforge.language.spec import Spec
from stepforge.verify.certificate import Counterexample
from stepforge.verify.files.generated import Text
from stepforge.verify.reading.reader import place
from stepforge.verify.terms import terms
from stepforge.verify.terms.rule import Expected
from stepforge.verify.terms.terms import Term, nodes


@dataclass(frozen=True)
class Artefact:
    """What a kernel was lifted from.

    Attributes:
        name: Such as "PTX for sm_90, fp32".
        text: Its text.
        origin: The first line of it that computes a term.
        source: Its lines → lines of the generated file, as far as they are known; None for that
            file itself.
        path: The generated file.
    """

    name: str
    text: str
    origin: Mapping[Term, int]
    source: Mapping[int, int] | None = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def of(cls, path: Path, origin: Mapping[Term, int]) -> Artefact:
        """A generated file itself, which has no lines but its own."""
        return cls(str(path), "", origin, None, path)

    def line(self, number: int) -> str:
        """`name:line: text`, or "" for no line."""
        lines = self.text.split("\n") if self.text else []
        if not 0 < number <= len(lines):
            return ""
        return f"{self.name}:{number}: {' '.join(lines[number - 1].split())}"

    def source_line(self, number: int) -> str:
        """`file:line: text` of the generated line that a line was compiled from, or ""."""
        if self.path is None:
            return ""
        text = Text(self.path)
        line = number if self.source is None else self.source.get(number, 0)
        return text.at(line) if 0 < line <= len(text.lines) else ""


def counterexample(
    spec: Spec, expected: Expected, artefact: Artefact, tensor: str, got: Term, dtype: str,
    inputs: Mapping[str, str], values: tuple[str, str],
) -> Counterexample:  # fmt: skip
    """An input with the lines where rule and artefact part.

    Args:
        spec: The spec.
        expected: The rule as terms.
        artefact: What was lifted.
        tensor: The stored tensor that is wrong.
        got: Its lifted value.
        dtype: Type of the tensors.
        inputs: The input.
        values: What the rule gives there, and what the artefact gives.
    """
    number = artefact_line(artefact, got, [term for _, term in expected.trace])
    return Counterexample(
        tensor, dtype, 1, 0, 1, dict(inputs), *values,
        spec_line(spec, expected, [got], tensor), artefact.source_line(number),
        artefact.line(number),
    )  # fmt: skip


def spec_line(spec: Spec, expected: Expected, got: Sequence[Term], tensor: str) -> str:
    """`file:line: text` of the first statement whose value the artefact never computes.

    If it computes all of them, the last one that assigns the tensor: then a wrong one is stored.
    """
    computed = set(nodes(got))
    needed = set(nodes([expected.stores[tensor]])) if tensor in expected.stores else set()
    for statement, term in expected.trace:
        if term.args and term in needed and term not in computed:
            return place(spec, statement)
    assigning = [s for s, _ in expected.trace if s.name == tensor]
    return place(spec, assigning[-1]) if assigning else ""


def artefact_line(artefact: Artefact, got: Term, rule: Iterable[Term]) -> int:
    """The first line of an artefact that computes what the rule does not; 0 if unknown."""
    wanted = set(nodes(rule))
    lines = own_names(artefact.origin)
    found = [
        lines[node] for node in nodes([got]) if node.args and node not in wanted and node in lines
    ]
    return min(found, default=0)


def own_names(origin: Mapping[Term, int]) -> dict[Term, int]:
    """Lines by terms whose elements are named by tensor alone, as in stored values."""
    done: dict[Term, Term] = {}
    for node in nodes(origin):
        if node.op == "load":
            done[node] = terms.load(node.data.partition("@")[0], node.kind)
        elif node.args:
            args = [done[a] for a in node.args]
            done[node] = terms.apply(node.op, *args, kind=node.kind, data=node.data)
        else:
            done[node] = node
    found: dict[Term, int] = {}
    for term, line in origin.items():
        found[done[term]] = min(line, found.get(done[term], line))
    return found
