"""What files are generated from, beside what the text says: two readings that share no code."""

from __future__ import annotations

from typing import Any

from stepforge.language.spec import Spec
from stepforge.verify.reading.reader import Domain, of


def disagreement(spec: Spec) -> str:
    """Where the declarations that files are generated from are not those of the text; "" if not."""
    text = of(spec)

    def domain(own: Domain, read: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        ends = ("low", "high", "low_open", "high_open")
        return tuple(getattr(own, e) for e in ends), tuple(getattr(read, e) for e in ends)

    pairs: list[tuple[str, Any, Any]] = [
        ("hyperparameters", list(text.defaults), [h.name for h in spec.hyperparameters]),
        ("options", dict(text.options), {o.name: o.default for o in spec.options}),
        ("option sets", list(text.option_sets()), list(spec.option_sets())),
        ("states", [s.name for s in text.states], [s.name for s in spec.states]),
        ("inputs", [i.name for i in text.inputs], [i.name for i in spec.inputs]),
    ]
    for h in spec.hyperparameters:
        if h.name in text.defaults:
            pairs.append((f"default of `{h.name}`", text.defaults[h.name], h.default))
            pairs.append((f"domain of `{h.name}`", *domain(text.domains[h.name], h.domain)))
            pairs.append((f"usual range of `{h.name}`", *domain(text.usual[h.name], h.usual)))
    for own, s in zip(text.states, spec.states, strict=False):
        pairs.append((f"domain of `{s.name}`", *domain(own.domain, s.domain)))
        pairs.append((f"`scalar` of `{s.name}`", own.scalar, s.scalar))
        pairs.append((f"`dtype` of `{s.name}`", own.has_p_type, s.has_p_type))
    for taken, i in zip(text.inputs, spec.inputs, strict=False):
        pairs.append((f"domain of `{i.name}`", *domain(taken.domain, i.domain)))
        pairs.append((f"`scalar` of `{i.name}`", taken.scalar, i.scalar))
    for options in text.option_sets():
        active = [s.name for s in text.active_states(options)]
        pairs.append(("states", active, [s.name for s in spec.active_states(options)]))
    for what, own, read in pairs:
        if own != read:
            return f"the {what} of the spec's text are {own}, generated from were {read}"
    return ""
