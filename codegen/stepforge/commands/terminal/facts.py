"""Facts about an optimizer, in sentences for a terminal and in JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from stepforge.commands.terminal.relations import joined
from stepforge.facts.costs import Costs
from stepforge.facts.derive import Fact, Facts
from stepforge.language.spec import Options, Spec

WIDTH, INDENT = 80, "  "
ABOUT = (
    "PROVED is meant in exact arithmetic, for hyperparameters that stay the same from step to "
    "step and wherever nothing is divided by zero; REFUTED is shown by numbers. Every element is "
    "updated by itself, so the order of the elements is of no consequence."
)
_STATUS = {"proved": "PROVED", "refuted": "REFUTED", "unknown": "NOT KNOWN"}


def text(spec: Spec, found: Sequence[Facts]) -> str:
    """All facts of the first option set, and what is different in each of the others."""
    first, *others = found
    lines = [f"{spec.title}{_options(first.options, spec, ' with')}", ""]
    shown = dict(sections(first))
    for title, sentence in shown.items():
        lines += _section(title, sentence)
    for other in others:
        changed = {k: v for k, v in sections(other) if shown.get(k) != v}
        name = _options(other.options, spec, "")
        if not changed:
            lines += ["", f"With{name}: the same."]
            continue
        lines += ["", f"With{name}:"]
        for title, sentence in changed.items():
            lines += _section(title, sentence)
    return "\n".join([*lines, "", *textwrap.wrap(ABOUT, WIDTH)])


def _options(options: Options, spec: Spec, before: str) -> str:
    changed = [
        o.name if options[o.name] else f"{o.name} off"
        for o in spec.options
        if options[o.name] != o.default
    ]
    return f"{before} {joined(changed)}" if changed else ""


def _section(title: str, sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=f"{title + ':':<14}", subsequent_indent=" " * 14,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def sections(found: Facts) -> Iterator[tuple[str, str]]:
    """Titles and sentences."""
    yield "Memory", _memory(found.costs, found.spec)
    yield "Arithmetic", _arithmetic(found.costs)
    inputs = [i.name for i in found.spec.inputs]
    yield "Loss times c", _power(found.loss, "The loss times c > 0", inputs)
    rate = found.spec.roles.get("learning_rate", "")
    if found.rate is not None:
        yield f"{rate} times c", _rate(found, rate)
        yield "Loss or rate", _tenth(found, rate)
    yield "Bound", _bound(found.bound)
    what = {"": "", "unchanged": f", for the same {joined(inputs)},"}.get(
        found.odd.inputs, f", and negative {joined(inputs)},"
    )
    sentence = f"From negative p and gradients{what} comes negative p"
    yield "Sign", _plain(found.odd, sentence)
    yield "Translation", _plain(found.free, "The steps follow from the gradients, wherever p is")
    sentence = "Without gradient, from the first step on, p stays where it is"
    yield "No gradient", _plain(found.still, sentence)
    if (decay := _decay(found, rate)) is not None:
        yield "Decay", decay


def _memory(costs: Costs, spec: Spec) -> str:
    kept = ", ".join(s.name for s in spec.states if s.has_p_type)
    apart = f", but for {kept}" if kept else ""
    return (
        f"For each element {costs.state_bytes} bytes of states, float32 also for bfloat16 "
        f"parameters{apart}. A step reads and writes {costs.moved_bytes} bytes for each, with "
        f"bfloat16 parameters and gradients {costs.moved_bytes_mixed}."
    )


def _arithmetic(costs: Costs) -> str:
    parts = [
        f"{count} {name if count > 1 else name[:-1]}"
        for name, count in costs.operations.items()
        if count
    ]
    return f"{joined(parts) or 'nothing'}, for each element in each step.".capitalize()


def _if(names: Sequence[str]) -> str:
    return f", if {joined([f'{name} = 0' for name in names])}" if names else ""


def _plain(fact: Fact, sentence: str) -> str:
    """A sentence that holds, does not, or may."""
    if fact.status == "unknown":
        return f"{_STATUS[fact.status]}: {sentence}."
    if fact.status == "refuted":
        return f"REFUTED: {sentence}. {_witness(fact)}"
    return f"PROVED: {sentence}{_if(fact.conditions)}.{_needed(fact)}"


def _needed(fact: Fact) -> str:
    """What numbers say about the conditions."""
    if not fact.needed:
        return ""
    return f" Numbers refute it without {' and without '.join(f'{n} = 0' for n in fact.needed)}."


def _witness(fact: Fact) -> str:
    found = fact.witness
    assert found is not None
    values = ", ".join(f"{name} = {value:.3g}" for name, value in found.hyperparameters.items())
    return f"In step {found.step} with {values}: {found.shown}."


def _longer(power: str) -> str:
    """What becomes of a step."""
    if power in ("0", "1"):
        return {"0": "changes no step", "1": "multiplies every step by c"}[power]
    shown = power if power.isalnum() else f"({power})"
    return f"multiplies every step by c**{shown}"


def _power(fact: Fact, what: str, inputs: Sequence[str]) -> str:
    if fact.inputs:
        same = fact.inputs == "unchanged"
        what += f", for the same {joined(inputs)}," if same else f", and {joined(inputs)} times c,"
    if fact.status == "proved":
        return _plain(fact, f"{what} {_longer(fact.value)}")
    return _plain(fact, f"{what} multiplies all steps by one power of c")


def _rate(found: Facts, rate: str) -> str:
    assert found.rate is not None
    text = _power(found.rate, f"{rate} times c > 0 in all steps", ())
    if found.rate.status != "proved":
        return text
    if found.rate_states:
        verb = "keep" if len(found.rate_states) > 1 else "keeps"
        return f"{text} {joined(found.rate_states)} {verb} the old {rate} when it changes."
    return f"{text} When {rate} changes, so does the next step."


def _tenth(found: Facts, rate: str) -> str:
    assert found.rate is not None
    question = f"a tenth of the loss is a tenth of {rate}"
    if found.tenth is None:
        return f"NOT KNOWN: whether {question}."
    if found.tenth:
        conditions = dict.fromkeys((*found.loss.conditions, *found.rate.conditions))
        return f"Yes, {question}{_if([*conditions])}."
    return f"No, it is not so that {question}."


def _bound(fact: Fact) -> str:
    if fact.status != "proved":
        return "None derived."
    sentence = f"In a step no element moves by more than {fact.value}"
    where = f", where {joined(fact.assumed)}" if fact.assumed else ""
    figures = [f"{value:.3g} in step {t}" for t, value in fact.figures.items()]
    if len({f"{value:.3g}" for value in fact.figures.values()}) == 1:
        figures = [f"{next(iter(fact.figures.values())):.3g}"]
    at = f" At the defaults: {joined(figures)}." if figures else ""
    return f"PROVED: {sentence}{_if(fact.conditions)}{where}.{at}"


def _decay(found: Facts, rate: str) -> str | None:
    fact = found.decay
    if fact.value == "1" or (found.still.status == "proved" and not found.still.conditions):
        return None
    if fact.status != "proved":
        return "NOT KNOWN: by which factor p is multiplied in a step without gradient."
    text = f"PROVED: In a step without gradient p is multiplied by {fact.value}"
    kind = {
        "proportional": f"; what that takes is proportional to {rate}",
        "independent": f"; that does not depend on {rate}",
        "otherwise": f"; what that takes is not proportional to {rate}",
    }
    return f"{text}{kind[found.decay_rate] if rate else ''}."


# JSON.


def fact_as_dict(fact: Fact) -> dict[str, Any]:
    """One fact."""
    found = asdict(fact)
    found["figures"] = {str(step): value for step, value in fact.figures.items()}
    return found


def as_dict(found: Facts) -> dict[str, Any]:
    """The facts of one option set, for `--json`."""
    result: dict[str, Any] = {"options": dict(found.options)}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, Fact):
            result[field.name] = fact_as_dict(value)
        elif isinstance(value, Costs):
            result[field.name] = {**asdict(value), "operations": dict(value.operations)}
        elif field.name in ("rate", "rate_states", "decay_rate"):
            result[field.name] = value
    return {**result, "tenth": found.tenth}
