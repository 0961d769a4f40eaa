"""Failed verdicts put together: what several rungs say of one fault is one report.

A fault shows at several places. Two failed verdicts are about the same one if both name the same
line of the rule or of a generated file, the same access outside of a tensor, the same file that
cannot be used, or the same reason. A verdict that names no place joins the only fault of its
optimizer, if there is but one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stepforge.backends.registry import BACKENDS
from stepforge.verify.certificate import Status, Verdict, describe
from stepforge.verify.rungs.registry import rank

_SUFFIX = "|".join(sorted({re.escape(backend.suffix) for backend in BACKENDS.values()}))
_PLACE = re.compile(rf"(?m)(?:^|\s)(\S+(?:{_SUFFIX}|\.toml):\d+)\b")
_FILE = re.compile(rf"\S+(?:{_SUFFIX})\b")
_UNUSABLE = re.compile(rf"^(\S+(?:{_SUFFIX})) (?:does not compile|cannot be imported)")
_OUTSIDE = re.compile(
    r"(?:writes|reads|stores|loads) (?:outside of|behind|before)\b.*?`(\w+)`|leaves `(\w+)`"
)
_COMPILED_FOR = re.compile(r" for (?:sm_|gfx)\w+(?:, \w+)?")
_Mark = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, once.

    Attributes:
        verdicts: All that are about it; the first one says most.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def rungs(self) -> tuple[str, ...]:
        """The numbers of the rungs that found it."""
        return tuple(sorted({v.rung for v in self.verdicts}, key=rank))

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Whose fault it is: of one, but for what is missing on this machine."""
        return tuple(dict.fromkeys(v.optimizer for v in self.verdicts))


def faults(verdicts: Iterable[Verdict]) -> list[Fault]:
    """The faults behind failed verdicts, in the order of the verdicts."""
    failed = list(verdicts)
    unusable = {m[1] for v in failed if (m := _UNUSABLE.match(v.detail))}
    groups: list[tuple[set[_Mark], list[Verdict]]] = []
    for verdict in failed:
        marks, found = set(_marks(verdict, unusable)), [verdict]
        others = []
        for group in groups:
            if marks.isdisjoint(group[0]):
                others.append(group)
            else:
                marks |= group[0]
                found = group[1] + found
        groups = [*others, (marks, found)]
    together = _with_the_only_one([found for _, found in groups])
    order = {id(verdict): number for number, verdict in enumerate(failed)}
    together.sort(key=lambda group: min(order[id(v)] for v in group))
    return [Fault(tuple(sorted(group, key=_says_most))) for group in together]


def _marks(verdict: Verdict, unusable: set[str]) -> Iterator[_Mark]:
    """What tells the fault of a verdict from others."""
    mine = verdict.optimizer
    places = _places(verdict)
    yield from ((mine, "place", place) for place in places)
    if outside := _OUTSIDE.search(verdict.detail):
        yield mine, "outside", outside[1] or outside[2]
    for file in {*_FILE.findall(verdict.detail), *(p.rsplit(":", 1)[0] for p in places)}:
        if file in unusable:
            yield mine, "unusable", file
    reason = _COMPILED_FOR.sub("", verdict.detail)
    if verdict.status is Status.UNSUPPORTED:
        yield "reason", reason  # such as what is not installed: the same for all optimizers
    elif verdict.counterexample is None:
        yield mine, "reason", reason


def _places(verdict: Verdict) -> set[str]:
    """Lines of the rule and of generated files that a verdict names."""
    texts = [verdict.detail]
    if (c := verdict.counterexample) is not None:
        texts += [c.spec_line, c.generated_line]
    return {place for text in texts for place in _PLACE.findall(text)}


def _with_the_only_one(groups: Sequence[list[Verdict]]) -> list[list[Verdict]]:
    """Groups of verdicts without a place go to the one fault of their optimizer that has one."""
    placed: dict[str, list[list[Verdict]]] = {}
    for group in groups:
        if any(_places(v) or _UNUSABLE.match(v.detail) for v in group):
            placed.setdefault(group[0].optimizer, []).append(group)
    found = []
    for group in groups:
        mine = placed.get(group[0].optimizer, [])
        told = any(v.counterexample for v in group) or group[0].rung == "files"
        if len(mine) == 1 and mine[0] is not group and not told and _of_one(group):
            mine[0] += group
        else:
            found.append(group)
    return found


def _of_one(group: Sequence[Verdict]) -> bool:
    return len({v.optimizer for v in group}) == 1


def _says_most(verdict: Verdict) -> tuple[bool, bool, int]:
    """Order within a fault: refutations, with an input that shows them, by the first rung."""
    return (
        verdict.status is not Status.REFUTED,
        verdict.counterexample is None,
        rank(verdict.rung),
    )


def told(fault: Fault, option_sets: int) -> str:
    """A fault in words: the verdict that says most, then what the other rungs add.

    Args:
        fault: The fault.
        option_sets: How many of them its optimizer has been looked at with.
    """
    first, *others = fault.verdicts
    lines = [describe(first)]
    added: list[str] = []
    for rung in fault.rungs:
        found = next((v for v in others if v.rung == rung != first.rung), None)
        if found is not None:
            added += _added(found, [*lines, *added])
    sets = {tuple(v.options.items()) for v in fault.verdicts if v.options is not None}
    titles = {v.rung: v.title for v in fault.verdicts}
    by = f"  found by {' '.join(titles[rung] for rung in fault.rungs)}"
    if len(fault.optimizers) > 1:
        by += f", of {', '.join(fault.optimizers)}"
    elif len(sets) > 1:
        by += f", with {len(sets)} of {option_sets} option sets"
    if len(fault.verdicts) > 1:
        lines.append(by)
    return "\n".join([*lines, *added])


def _added(verdict: Verdict, before: Sequence[str]) -> Iterator[str]:
    """What a further rung says that is not said yet."""
    c = verdict.counterexample
    said = "\n".join(before)
    texts = (c.generated_line, c.artefact_line) if c else tuple(verdict.detail.split("\n"))
    head = f"    {verdict.title}"
    for text in texts:
        if text and text.strip() not in said:
            yield f"{head} {text.strip()}"
            head = " " * len(head)
