"""Few specs of the catalogue that have, between them, everything that any of its specs has.

What holds for a spec because of how stepforge is made, not of what the spec says, is tested with
these few. They are chosen by what lowering makes of the specs and by their tables for torch: a new
spec joins them only if it has what none has had so far. Evidence on every spec is there from
`stepforge verify`, which CI runs on the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import fields
from typing import TypeVar

from support import STOCK, stock

from stepforge.language.kinds import Kind
from stepforge.language.spec import Options, Spec
from stepforge.language.torch_model import TORCH_SETTINGS
from stepforge.lowering.kernel import Step, Value
from stepforge.lowering.lower import lower

_T = TypeVar("_T")


def features(spec: Spec, options: Options) -> frozenset[str]:
    """What a rule has under an option set: operations, branches, kinds of tensors and arguments."""
    kernel = lower(spec)
    steps = {"host": kernel.host, "element": [s for stage in kernel.stages for s in stage.body]}
    found = {f"{place}: {what}" for place, body in steps.items() for what in _in(body, options)}
    for tensor in kernel.tensors:
        role = tensor.name if tensor.name in ("p", "g") else "state"
        role = "input" if tensor.name in spec.given[2:] else role
        found.add(f"{role}: {tensor.loaded}, {tensor.stored}, {tensor.when is not None}")
    for state in (states := spec.active_states(options)):
        kind = "scalar" if state.scalar else "tensor"
        found.add(f"a {kind} that starts with {type(state.init).__name__}")
        found.add(f"a state under a condition: {state.when is not None}")
    found.add(f"{len(states)} states")
    found |= {f"{type(a).__name__}: {a.boolean}, {a.decides}" for a in kernel.arguments}
    return frozenset(found | {f"{sum(options.values())} options are on"})


def shape(spec: Spec) -> frozenset[str]:
    """What a spec has beside its rule."""
    found = {f"{len(spec.options)} options"}
    found |= {"an option under a condition" for option in spec.options if option.when}
    found |= {"an option that is on" for option in spec.options if option.default}
    found |= {
        "random values from a part of the domain" for h in spec.hyperparameters if h.usual_text
    }
    if spec.torch is None:
        return frozenset(found | {"no table for torch"})
    table = {field.name: getattr(spec.torch, field.name) for field in fields(spec.torch)}
    found |= {f"torch: {name}" for name, value in table.items() if value and name != "class_name"}
    found |= {f"torch: no {name}" for name in ("counter",) if not table[name]}
    found |= {f"torch: {name}" for name in TORCH_SETTINGS if name in spec.torch.signature}
    return frozenset(found | {f"torch's class: {bool(spec.torch_class)}"})


def cover(found: Mapping[_T, Set[str]], cost: Mapping[_T, int] | None = None) -> list[_T]:
    """A few keys that have everything that any key has, in the order of the mapping.

    The one that adds most for its cost comes first; then those are dropped that the others have
    made unnecessary.
    """
    chosen: list[_T] = []
    missing = set().union(*found.values())
    while missing:
        best = max(found, key=lambda key: len(found[key] & missing) / (cost or {}).get(key, 1))
        chosen.append(best)
        missing -= found[best]
    for key in list(chosen):
        others = set().union(*(found[other] for other in chosen if other != key))
        if found[key] <= others:
            chosen.remove(key)
    return [key for key in found if key in chosen]


def few(names: Iterable[str] = STOCK) -> list[str]:
    """The names of few specs that have everything that any of these has."""
    specs = {name: stock(name) for name in names}
    sets = {name: list(spec.option_sets()) for name, spec in specs.items()}
    found = {
        name: shape(spec).union(*(features(spec, options) for options in sets[name]))
        for name, spec in specs.items()
    }
    return cover(found, {name: len(options) for name, options in sets.items()})


def cases(names: Iterable[str]) -> list[tuple[str, int]]:
    """Specs, and numbers of option sets that have between them what all their sets have."""
    return cover(
        {
            (name, number): features(stock(name), options)
            for name in names
            for number, options in enumerate(stock(name).option_sets())
        }
    )


def _in(steps: Iterable[Step], options: Options) -> Iterator[str]:
    for step in steps:
        if hasattr(step, "value"):
            yield from _nodes(step.value, options)
        elif step.condition.kind is Kind.OPTION:
            taken = _holds(step.condition, options)
            yield f"a branch of an option that is {taken}"
            yield from _in(step.body if taken else step.orelse, options)
        else:
            yield "a branch with another arm" if step.orelse else "a branch"
            yield from _nodes(step.condition, options)
            yield from _in((*step.body, *step.orelse), options)


def _nodes(value: Value, options: Options) -> Iterator[str]:
    if value.op == "select" and value.args[0].kind is Kind.OPTION:
        taken = _holds(value.args[0], options)
        yield f"a choice by an option that is {taken}"
        yield from _nodes(value.args[1] if taken else value.args[2], options)
        return
    if value.args:
        yield value.op
    for argument in value.args:
        yield from _nodes(argument, options)


def _holds(condition: Value, options: Options) -> bool:
    parts = (_holds(part, options) for part in condition.args)
    match condition.op:
        case "not":
            return not next(parts)
        case "and":
            return all(parts)
        case "or":
            return any(parts)
    return options[condition.text]


FEW = few()
ON_DEVICE = cover(
    {
        name: frozenset(
            f
            for f in features(stock(name), next(stock(name).option_sets()))
            if f.startswith(("element", "p:", "g:", "state:"))
        )
        for name in FEW
    }
)
"""Those whose kernels have, with the default options, all that kernels have then."""
CASES = cases(FEW)
"""Names of these specs, and numbers of option sets that have between them what all sets have."""
