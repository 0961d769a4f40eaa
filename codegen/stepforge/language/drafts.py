"""Specs that are put together from parts: what they hold until they are a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from stepforge.language.parser import parse_rule
from stepforge.language.pieces import Composed, Line, Written, lines_of, sections_of
from stepforge.language.source import KeyPath, Source, parse

ABOUT = ("name", "title", "summary", "reference", "family")
DECLARED = ("hyperparameters", "options", "state", "inputs")
_GIVEN = frozenset({"p", "g", "t"})


@dataclass
class Draft:
    """A spec on its way to a text.

    Attributes:
        about: The keys at its top.
        sections: Section → name → its declaration.
        together: What hyperparameters have to be together.
        rule: The lines of the rule.
        torch: The lines of its `[torch]`, if it has one.
    """

    about: dict[str, Written]
    sections: dict[str, dict[str, Written]]
    together: list[Written] = field(default_factory=list)
    rule: list[Line] = field(default_factory=list)
    torch: list[Written] = field(default_factory=list)

    def names(self) -> set[str]:
        """What is declared or assigned."""
        return {name for section in self.sections.values() for name in section} | _of(self.rule)

    def mentioned(self) -> set[str]:
        """The names that its rule, first values and conditions speak of."""
        parts: list[Line | Written] = [*self.rule]
        for section in ("state", "options"):
            parts += self.sections[section].values()
        return {name for part in parts for name in part.names()}

    def without_unused(self, own: set[str]) -> None:
        """Leaves out what only the base needed: all that nothing speaks of any more.

        Args:
            own: What the dialect declares itself, which stays.
        """
        for section in ("state", "inputs", "options", "hyperparameters"):
            used = own | self.mentioned()
            self.sections[section] = {n: e for n, e in self.sections[section].items() if n in used}
        declared = {*self.sections["hyperparameters"]}
        self.together = [c for c in self.together if {*c.names()} <= declared]

    def written(self, source: Source) -> Composed:
        """The text, and where each of its lines comes from."""
        text: list[Written] = [*self.about.values()]
        for section in ("hyperparameters", "domains", *DECLARED[1:]):
            entries = list(self.sections.get(section, {}).values())
            if section == "domains" and self.together:
                entries = [Written.made("together = [", source)]
                entries += [replace(c, text=f"{c.text},") for c in self.together]
                entries += [Written.made("]", source)]
            if entries:
                text += [Written.made("", source), Written.made(f"[{section}]", source), *entries]
        text += [Written.made(line, source) for line in ("", "[rule]", "update = '''")]
        text += [Written(line.text, line.source, line.number) for line in self.rule]
        text += [Written.made("'''", source)]
        if self.torch:
            text += [Written.made("", source), Written.made("[torch]", source), *self.torch]
        plain = parse("".join(f"{part.text}\n" for part in text), source.path)
        origins = [
            (part.source, part.number + offset if part.number else 0)
            for part in text
            for offset in range(part.text.count("\n") + 1)
        ]
        return Composed(source.path, plain.text, plain.data, plain.places, origins=tuple(origins))


@dataclass(frozen=True)
class Piece:
    """A transform of a pipeline.

    Attributes:
        name: Its name.
        place: Where the pipeline names it.
        draft: What it declares; its rule is empty.
        before: Its statements before the rule.
        after: Those behind it.
        reads: Hyperparameters of the optimizer that it uses.
    """

    name: str
    place: KeyPath
    draft: Draft
    before: list[Line]
    after: list[Line]
    reads: tuple[str, ...]

    @property
    def owns(self) -> bool:
        """Whether it hands the rule another `p` and makes the new one itself."""
        return "p" in _of(self.before) & _of(self.after)

    @property
    def moves(self) -> bool:
        """Whether it changes `p`."""
        return "p" in self.names()

    def names(self) -> set[str]:
        """What it declares or assigns."""
        return self.draft.names() | _of(self.before) | _of(self.after)

    def called(self, taken: set[str]) -> Piece:
        """The piece with the names that are taken put behind its own."""
        new = {name: f"{self.name}_{name}" for name in (self.names() & taken) - _GIVEN}
        if not new:
            return self
        draft = self.draft
        sections = {
            section: {new.get(n, n): e.called(new) for n, e in entries.items()}
            for section, entries in draft.sections.items()
        }
        together = [entry.called(new) for entry in draft.together]
        before, after = ([line.called(new) for line in side] for side in (self.before, self.after))
        draft = Draft(draft.about, sections, together)
        return replace(self, draft=draft, before=before, after=after)


def draft_of(source: Source) -> Draft:
    """The parts of a plain spec that is known to be right."""
    about = {k: Written.of(source, (k,), k) for k in ABOUT if k in source.data}
    together = together_of(source, source.data.get("domains", {}).get("together", []))
    rule = parse_rule(source, ("rule", "update"), source.data["rule"]["update"], [])
    return Draft(about, sections_of(source, DECLARED), together, list(lines_of(rule, source)))


def together_of(source: Source, items: Sequence[object]) -> list[Written]:
    """What hyperparameters have to be together, item by item."""
    paths = (("domains", "together", str(index)) for index in range(len(items)))
    return [Written.of(source, path) for path in paths]


def _of(lines: Iterable[Line]) -> set[str]:
    """The names that lines assign."""
    return {line.assigns for line in lines if line.assigns}
