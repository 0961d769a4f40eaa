"""Specs that are made of other specs, written out as plain ones.

A *dialect* names a `base` and states only what differs from it. A *pipeline* names in `use` one
optimizer and the *transforms* around it, whose statements go before or after those of its rule.
A hyperparameter with a `schedule` is computed ahead of the rule (`scheduled`).
Each becomes the text of a spec like all others, so that nothing behind this module knows how it was
written; what is found wrong in that text is reported where the author wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.language.drafts import ABOUT, DECLARED, Draft, Piece, draft_of, together_of
from stepforge.language.parser import parse_rule
from stepforge.language.pieces import Line, Written, lines_of, sections_of
from stepforge.language.reader import from_source
from stepforge.language.scheduled import KEYS, Scheduling, places
from stepforge.language.source import KeyPath, Source
from stepforge.language.spec import Spec
from stepforge.language.subjects import (
    OPTIMIZER,
    SCHEDULE,
    SIDES,
    TRANSFORM,
    subject_of,
)
from stepforge.language.values import kind_of

MAX_PIECES = 16
MAX_BASES = 8
_NEEDED = ABOUT[:-1]
_RIGHT: set[str] = set()
"""Digests of the bases and pieces without an error: many dialects have one base."""

Find = Callable[[str], Source]
"""The file of a spec that another one names; raises `SpecError` if there is none."""


def is_composed(data: Mapping[str, Any]) -> bool:
    """Whether a spec is made of others, or is a part for that."""
    made = "base" in data or "use" in data or subject_of(data) == TRANSFORM
    return made or any(places(data))


def load(source: Source, stem: str | None, find: Find) -> tuple[Spec, list[Diagnostic]]:
    """Builds the model of a spec that is made of others; see `reader.from_source`.

    Args:
        source: The dialect, pipeline or transform. A transform is built around a rule that only
            descends, `p = p - g`.
        stem: The name that the file gives it, or None.
        find: Where the specs are that it names.

    Raises:
        SpecError: With the errors of all files.
    """
    found = from_source(resolved(source, find), stem)
    if subject_of(source.data) == TRANSFORM:
        return replace(found[0], subject=TRANSFORM), found[1]
    return found


def resolved(source: Source, find: Find, above: tuple[str, ...] = ()) -> Source:
    """The plain spec that a source stands for: the source itself if it is one.

    Args:
        source: The source.
        find: Where the specs are that it names.
        above: The files that led to it.
    """
    if not is_composed(source.data):
        return source
    out: list[Diagnostic] = []
    composer = _Composer(source, out, find, (*above, source.path))
    draft: Draft | None
    if subject_of(source.data) == TRANSFORM:
        draft = composer.alone()
    elif "base" in source.data:
        draft = composer.dialect()
    elif "use" in source.data:
        draft = composer.pipeline()
    else:
        draft = composer.plain()
    if draft is not None and not out:
        composer.scheduled(draft)
    if out or draft is None:
        raise SpecError(out)
    return draft.written(source)


class _Composer(Scheduling):
    """Reads one file that names others."""

    def __init__(
        self, source: Source, out: list[Diagnostic], find: Find, above: tuple[str, ...]
    ) -> None:
        super().__init__(source, out)
        self.find = find
        self.above = above

    # What the file names.

    def named(self, name: str, path: KeyPath) -> Source | None:
        """The plain text of a spec that the file names; None after an error."""
        span = self.source.value_span(path)
        try:
            source = self.find(name)
        except SpecError as error:
            for problem in error.diagnostics:
                self.error(problem.code, problem.message, span, problem.help)
            return None
        if source.path in self.above or len(self.above) > MAX_BASES:
            again = source.path in self.above
            why = "is made of itself" if again else f"is made of more than {MAX_BASES} others"
            self.error("E029", f"`{short(self.above[0])}` {why}", span)
            return None
        plain = resolved(source, self.find, self.above)
        if plain.digest not in _RIGHT:
            from_source(plain, None)  # what is wrong with it is said of its own file
            _RIGHT.add(plain.digest)
        return source if subject_of(source.data) == TRANSFORM else plain

    def about(self, family: Written | None) -> dict[str, Written]:
        """The keys at the top of the file, and the family of what it is made of."""
        data = self.source.data
        found = {k: Written.of(self.source, (k,), k) for k in ABOUT if k in data}
        if family:
            found.setdefault("family", family)
        return found

    def declared(self, sections: Sequence[str]) -> dict[str, dict[str, Written]]:
        """The declarations of the file by section and name."""
        for section in sections:
            self.typed(self.source.data, (), section, dict, {})
        return sections_of(self.source, sections)

    def changed(self, draft: Draft, sections: Sequence[str], what: str, new: bool) -> set[str]:
        """Lays the file's declarations over those of a draft.

        Args:
            draft: The draft.
            sections: Those that the file may have.
            what: Whose declarations they are, in words.
            new: Whether it may declare further ones.

        Returns:
            The names that it declares.
        """
        own: set[str] = set()
        for section, entries in self.declared(sections).items():
            below = draft.sections[section]
            for name, entry in entries.items():
                own.add(name)
                if name in below:
                    below[name] = below[name].under(entry)
                elif new:
                    below[name] = entry
                else:
                    noun = {"options": "option", "hyperparameters": "hyperparameter"}[section]
                    message = f"{what} has no {noun} `{short(name)}`"
                    help = nearest(name, below) or (
                        f"there are {', '.join(below)}" if below else "there is none"
                    )
                    self.error("E028", message, self.source.key_span((section, name)), help)
        return own

    def together(self) -> list[Written] | None:
        """What `[domains]` of the file says, if it has any."""
        table = self.source.data.get("domains")
        if table is None:
            return None
        table = self.table(self.typed(self.source.data, (), "domains", dict, {}), ("domains",),
                           ("together",), ())  # fmt: skip
        return together_of(self.source, self.typed(table, ("domains",), "together", list, []))

    def torch(self) -> list[Written]:
        """The lines of the file's own `[torch]`."""
        table = self.typed(self.source.data, (), "torch", dict, {})
        return [Written.of(self.source, ("torch", key), key) for key in table]

    # A spec that names nothing but schedules.

    def plain(self) -> Draft:
        """What is written in the file itself."""
        from_source(self.source, None, KEYS)  # raises what is wrong with the rest of it
        draft = draft_of(self.source)
        draft.torch = self.torch()
        return draft

    # A dialect.

    def dialect(self) -> Draft | None:
        """What the base becomes."""
        known = (*ABOUT, "base", *DECLARED, "domains", "rule", "torch")
        data = self.table(self.source.data, (), known, (*_NEEDED, "base"))
        name = self.typed(data, (), "base", str, "")
        base = self.named(name, ("base",)) if isinstance(data.get("base"), str) else None
        if base is None:
            return None
        if subject_of(base.data) != OPTIMIZER:
            message = f"`{short(name)}` is a {subject_of(base.data).name}, and no optimizer"
            self.error("E027", message, self.source.value_span(("base",)))
            return None
        draft = draft_of(base)
        draft.about = self.about(draft.about.get("family"))
        own = self.changed(draft, DECLARED, f"`{short(name)}`", new=True)
        self.rewritten(draft, name)
        draft.without_unused(own)
        if (together := self.together()) is not None:
            draft.together = together
        draft.torch = self.torch()
        return draft

    def rewritten(self, draft: Draft, base: str) -> None:
        """Replaces the rule, or lines of it."""
        table = self.typed(self.source.data, (), "rule", dict, {})
        self.table(table, ("rule",), ("update", "lines"), ())
        if "update" in table:
            draft.rule = list(self.statements(("rule", "update"), table))
            if "lines" in table:
                message = "`update` is the whole rule, and `lines` are lines of the base's"
                self.error("E027", message, self.source.key_span(("rule", "lines")))
            return
        path = ("rule", "lines")
        lines = self.typed(table, ("rule",), "lines", dict, {})
        for name in lines:
            places = [i for i, line in enumerate(draft.rule) if line.assigns == name]
            if not places:
                message = f"no line of `{short(base)}` assigns `{short(name)}`"
                help = nearest(name, {line.assigns for line in draft.rule if line.assigns})
                self.error("E028", message, self.source.key_span((*path, name)), help)
                continue
            old = draft.rule[places[-1]]
            new = [line.indented(old.indent) for line in self.statements((*path, name), lines)]
            draft.rule[places[-1] : places[-1] + 1] = new

    def statements(self, path: KeyPath, table: Mapping[str, Any]) -> Iterator[Line]:
        """The lines of a text with statements."""
        text = self.typed(dict(table), path[:-1], path[-1], str, "")
        if isinstance(table.get(path[-1]), str):
            yield from lines_of(parse_rule(self.source, path, text, self.out), self.source)

    # A transform.

    def transform(self, name: str, place: KeyPath) -> Piece:
        """What a transform declares and states."""
        known = (*_NEEDED, "reads", *DECLARED, "domains", "rule")
        data = self.table(self.source.data, (), known, (*_NEEDED, "rule"))
        table = self.table(self.typed(data, (), "rule", dict, {}), ("rule",),
                           SIDES, ())  # fmt: skip
        before, after = (list(self.statements(("rule", key), table)) for key in SIDES)
        if not (before or after or self.out):
            self.error("E101", "a transform without a statement", self.source.key_span(("rule",)))
        draft = Draft(self.about(None), self.declared(DECLARED), self.together() or [])
        reads = [
            item
            for index, item in enumerate(self.typed(data, (), "reads", list, []))
            if self.text_at(item, ("reads", str(index)))
        ]
        return Piece(name, place, draft, before, after, tuple(reads))

    def text_at(self, item: object, path: KeyPath) -> bool:
        """Whether an item of an array is a text; an error if not."""
        if isinstance(item, str):
            return True
        message = f"`{path[0]}` holds names, not {kind_of(item)}"
        self.error("E012", message, self.source.value_span(path), "write them in quotes")
        return False

    def alone(self) -> Draft:
        """A transform around a rule that only descends."""
        piece = self.transform(str(self.source.data.get("name", "")), ("name",))
        draft = Draft(piece.draft.about, piece.draft.sections, piece.draft.together)
        for name in piece.reads:
            place = self.source.value_span(("reads",))
            text = f'{name} = {{ default = 1, domain = "{name} > 0", doc = "Of the optimizer." }}'
            entry = Written(text, self.source, place.line if place else 0)
            draft.sections["hyperparameters"].setdefault(name, entry)
        descent = Line("p = p - g", self.source, 0, "p")
        draft.rule = [*piece.before, descent, *piece.after]
        return draft

    # A pipeline.

    def pipeline(self) -> Draft | None:
        """The optimizer with its transforms."""
        known = (*ABOUT, "use", "hyperparameters", "options", "torch")
        data = self.table(self.source.data, (), known, (*_NEEDED, "use"))
        optimizers: list[tuple[int, str, Source]] = []
        pieces: list[tuple[int, Piece]] = []
        used = self.typed(data, (), "use", list, [])
        if len(used) > MAX_PIECES:
            message = f"`use` names {len(used)} specs, the limit is {MAX_PIECES}"
            self.error("E152", message, self.source.key_span(("use",)))
            return None
        for index, name in enumerate(used):
            place = ("use", str(index))
            if not self.text_at(name, place):
                continue
            if name in used[:index]:
                message = f"`{short(name)}` is used twice"
                self.error("E027", message, self.source.value_span(place))
                continue
            source = self.named(name, place)
            if source is None:
                continue
            subject = subject_of(source.data)
            if subject == TRANSFORM:
                inner = _Composer(source, self.out, self.find, self.above)
                pieces.append((index, inner.transform(str(source.data.get("name", "")), place)))
            elif subject == SCHEDULE:
                message = f"`{short(name)}` is a schedule"
                help = "one optimizer and transforms make a rule; a schedule is chosen in torch"
                self.error("E027", message, self.source.value_span(place), help)
            else:
                optimizers.append((index, name, source))
        if self.out:
            return None
        if len(optimizers) != 1:
            self.not_one_optimizer([name for _, name, _ in optimizers])
            return None
        position, name, source = optimizers[0]
        draft = draft_of(source)
        draft.about = self.about(draft.about.get("family"))
        self.sided(position, name, pieces)
        self.arranged(draft, name, position, pieces)
        self.changed(draft, ("hyperparameters", "options"), "what `use` makes", new=False)
        draft.torch = self.torch()
        return draft

    def not_one_optimizer(self, names: Sequence[str]) -> None:
        """E027: every piece is a transform, or two are optimizers."""
        if names:
            place = ("use", str(self.source.data["use"].index(names[1])))
            message = f"`{short(names[1])}` is a second optimizer, after `{short(names[0])}`"
            self.error("E027", message, self.source.value_span(place), "both would move `p`")
        else:
            message = "`use` names no optimizer"
            self.error("E027", message, self.source.value_span(("use",)), "name one, as in "
                       '`use = ["clip_by_value", "adamw"]`')  # fmt: skip

    def sided(self, position: int, optimizer: str, pieces: list[tuple[int, Piece]]) -> None:
        """E027: a transform stands on the wrong side of the optimizer, or its change is lost."""
        owner: Piece | None = None
        owners = [piece for _, piece in pieces if piece.owns]
        for index, piece in pieces:
            span = self.source.value_span(piece.place)
            if index < position and piece.after:
                message = f"`{piece.name}` acts after the rule"
                self.error("E027", message, span, f"list it behind `{short(optimizer)}`")
            elif index > position and not piece.after:
                message = f"`{piece.name}` acts before the rule"
                self.error("E027", message, span, f"list it ahead of `{short(optimizer)}`")
            elif index < position and piece.moves and owners:
                message = f"what `{piece.name}` does to `p` is lost"
                help = f"`{owners[0].name}` hands the rule a `p` of its own"
                self.error("E027", message, span, help)
            elif owner and piece.moves:
                message = f"`{piece.name}` moves `p`, which `{owner.name}` computes from a state"
                self.error("E027", message, span, f"list it ahead of `{owner.name}`")
            owner = owner or (piece if piece.owns else None)

    def arranged(
        self, draft: Draft, optimizer: str, position: int, pieces: list[tuple[int, Piece]]
    ) -> None:
        """Puts the statements of transforms around those of the rule, and adds what they declare.

        Ahead of the rule are those of the transforms that are listed before the optimizer, in this
        order; then those of transforms behind it, the outermost first. What comes after the rule
        comes in the order of the list.
        """
        hyperparameters = {*draft.sections["hyperparameters"]}
        taken = draft.names()
        called: list[tuple[int, Piece]] = []
        for index, piece in pieces:
            if missing := [name for name in piece.reads if name not in hyperparameters]:
                message = f"`{piece.name}` reads `{missing[0]}`, which `{short(optimizer)}` lacks"
                self.error("E028", message, self.source.value_span(piece.place))
            piece = piece.called(taken)
            taken |= piece.names()
            called.append((index, piece))
            for section, entries in piece.draft.sections.items():
                draft.sections[section] |= entries
            draft.together += piece.draft.together
        ahead = [piece.before for index, piece in called if index < position]
        ahead += [piece.before for index, piece in reversed(called) if index > position]
        behind = [piece.after for _, piece in called]
        draft.rule = [*_joined(ahead), *draft.rule, *_joined(behind)]


def _joined(sides: Sequence[list[Line]]) -> Iterator[Line]:
    for side in sides:
        yield from side
