"""Hyperparameters that have a schedule, written out as statements ahead of the rule.

`lr = { default = 1e-3, schedule = "cosine", with = { steps = 5000 }, … }` stands for the rule of
`cosine`, with the name of the hyperparameter put in front of its names, for the product of the
hyperparameter and the factor, `lr_now = lr*lr_factor`, and for `lr_now` wherever the optimizer's
own rule has `lr`. The schedule's hyperparameters become the optimizer's, as `lr_steps`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stepforge.language.diagnostics import nearest, short
from stepforge.language.drafts import Draft, together_of
from stepforge.language.parser import parse_rule
from stepforge.language.pieces import Line, Written, lines_of, sections_of
from stepforge.language.source import KeyPath, Source
from stepforge.language.subjects import OPTIMIZER, SCHEDULE, subject_of
from stepforge.language.values import Values

KEYS = ("schedule", "with")
"""The keys of a hyperparameter that are about its schedule."""
_GIVEN = frozenset({"p", "g", "t"})


def places(data: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Where a file declares hyperparameters that have a schedule."""
    table = data.get("hyperparameters")
    if subject_of(data) != OPTIMIZER or not isinstance(table, dict):
        return
    for name, entry in table.items():
        if isinstance(entry, dict) and any(key in entry for key in KEYS):
            yield ("hyperparameters", name)


@dataclass(frozen=True)
class Scheduled:
    """A schedule with the name of a hyperparameter in front of its own names.

    Attributes:
        name: The hyperparameter.
        declared: Hyperparameters of the schedule, by the names that they have in it.
        together: What they have to be together.
        rule: The statements that compute the factor.
        new: The schedule's names → those that they become.
    """

    name: str
    declared: Mapping[str, Written]
    together: Sequence[Written]
    rule: Sequence[Line]
    new: Mapping[str, str]

    @classmethod
    def of(cls, source: Source, name: str) -> Scheduled:
        """The schedule of a file that is known to be right, for a hyperparameter."""
        declared = sections_of(source, ("hyperparameters",))["hyperparameters"]
        items = source.data.get("domains", {}).get("together", [])
        text = source.data["rule"][SCHEDULE.key]
        parsed = parse_rule(source, ("rule", SCHEDULE.key), text, [])
        rule = list(lines_of(parsed, source))
        names = [*declared, *(line.assigns for line in rule if line.assigns)]
        new = {inner: f"{name}_{inner}" for inner in names}
        return cls(name, declared, together_of(source, items), rule, new)

    @property
    def now(self) -> str:
        """What the value of a step is called."""
        return f"{self.name}_now"

    def taken(self, draft: Draft) -> list[str]:
        """Its names that a draft has already, or has for something else, such as `pi`."""
        names = draft.names() | _GIVEN
        read = {name for line in self.rule for name in line.names()} - self.new.keys() - {"t"}
        return [name for name in (*self.new.values(), self.now, *sorted(read)) if name in names]

    def into(self, draft: Draft, numbers: Mapping[str, Written]) -> None:
        """Puts the schedule ahead of the rule of a draft.

        Args:
            draft: The draft, in which the rule then reads the value of the step.
            numbers: Hyperparameters of the schedule, by its own names → what is declared otherwise.
        """
        below = draft.sections["hyperparameters"]
        below[self.name] = below[self.name].without(KEYS)
        for inner, entry in self.declared.items():
            changed = entry.under(numbers[inner]) if inner in numbers else entry
            below[self.new[inner]] = changed.called(self.new)
        draft.together += [entry.called(self.new) for entry in self.together]
        ahead = [line.called(self.new) for line in self.rule]
        source = ahead[0].source
        product = f"{self.now} = {self.name}*{self.new[SCHEDULE.result]}"
        ahead.append(Line(product, source, 0, self.now))
        draft.rule = [*ahead, *(line.called({self.name: self.now}) for line in draft.rule)]


class Scheduling(Values):
    """The schedules that a file names."""

    def named(self, name: str, path: KeyPath) -> Source | None:
        """The plain text of a spec that the file names; None after an error."""
        raise NotImplementedError

    def scheduled(self, draft: Draft) -> None:
        """Puts the schedules of hyperparameters ahead of the rule."""
        for path in places(self.source.data):
            name = path[-1]
            table = self.source.data["hyperparameters"][name]
            if "schedule" not in table:
                message = f"`with` in `{'.'.join(map(short, path))}` has no `schedule`"
                self.error("E011", message, self.source.key_span((*path, "with")))
                continue
            chosen = self.typed(table, path, "schedule", str, "")
            given = self.typed(table, path, "with", dict, {})
            place = (*path, "schedule")
            source = self.named(chosen, place) if isinstance(table["schedule"], str) else None
            if source is None:
                continue
            if subject_of(source.data) != SCHEDULE:
                message = f"`{short(chosen)}` is no schedule"
                help = "`stepforge list` shows the schedules"
                self.error("E027", message, self.source.value_span(place), help)
                continue
            found = Scheduled.of(source, name)
            if taken := found.taken(draft):
                message = f"the schedule of `{short(name)}` needs the name `{taken[0]}` itself"
                self.error("E016", message, self.source.value_span(place), "rename the other one")
                continue
            numbers = {}
            for key in given:
                where = (*path, "with", key)
                if key not in found.declared:
                    message = f"`{short(chosen)}` has no hyperparameter `{short(key)}`"
                    help = nearest(key, found.declared) or (
                        f"there are {', '.join(found.declared)}"
                    )
                    self.error("E028", message, self.source.key_span(where), help)
                    continue
                value = Written.of(self.source, where)
                numbers[key] = replace(value, key=key, values={"default": value.text})
            if not self.out:
                found.into(draft, numbers)
