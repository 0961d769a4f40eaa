"""What `step` has to refuse before it computes, tried at the edges of what it must take.

Proofs take for granted that numbers are in their domains, so it is looked at that somebody asks.
The tensors have no elements, so that nothing is launched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from stepforge.language.expression import names, read
from stepforge.language.names import CHECKED
from stepforge.language.spec import Hyperparameter, Input, Options, Spec, holds
from stepforge.verify.cases import inputs

_DRAWS = 100
"""Of hyperparameters, to find some that are not allowed together."""
Step = Callable[..., Any]
"""A `step` whose tensors are given; it takes `t` and keywords."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call, and what is to come of it.

    Attributes:
        what: What is tried.
        told: How the text of the ValueError begins that is about this, or for options ends.
        refused: Whether it has to come.
        t: Number of the step.
        values: Of hyperparameters, and of inputs that are numbers.
        options: The option set.
        checked: Whether `step` is to look at domains.
    """

    what: str
    told: str
    refused: bool
    t: float
    values: Mapping[str, float]
    options: Options
    checked: bool = True


def wrong(
    step: Step,
    spec: Spec,
    options: Options,
    misshapen: Mapping[str, Step] = MappingProxyType({}),
    name: str = "step",
) -> str:
    """The first thing that a `step` takes although it must not, or the other way round, or "".

    Args:
        step: The `step`.
        spec: Its spec.
        options: The option set that the tensors are of.
        misshapen: The same where a tensor, such as `g`, has another shape than the parameters.
        name: What it is called.
    """
    for tensor, other in misshapen.items():
        try:
            other(1, **{h.name: h.default for h in spec.numbers}, **options)
        except ValueError:
            pass
        else:
            return f"{name} accepts {tensor} of another shape"
    for call in _calls(spec, options):
        try:
            with np.errstate(all="ignore"):
                step(call.t, **call.values, **call.options, **{CHECKED: call.checked})
        except Exception as error:
            refused = type(error) is ValueError and call.told in str(error)
        else:
            refused = False
        if refused is not call.refused:
            does = "refuses" if refused else "accepts"
            return f"{name} {does} {call.what}{'' if call.checked else f' with {CHECKED}=False'}"
    return ""


def _calls(spec: Spec, options: Options) -> Iterator[_Call]:
    usual = {h.name: h.default for h in spec.numbers}
    for t in (0, -1, 1.5, math.nan):
        # What int() says of a NaN is as good.
        told = "" if t != t else "t counts the steps from 1"
        yield _Call(f"t = {t}", told, True, t, usual, options)
    spoken = {*(n.id for n in read(spec.rule)), *(name for c in spec.together for name in c.names)}
    for h in spec.numbers:
        if h.name not in spoken:
            continue
        for value, inside in _edges(h):
            what, values = f"{h.name} = {value!r}", {**usual, h.name: value}
            yield _Call(what, f"{h.name} is ", not inside, 1, values, options)
            if not inside:
                yield _Call(what, f"{h.name} is ", False, 1, values, options, checked=False)
    rng = np.random.default_rng(0)
    for constraint in spec.together:
        drawn = [{h.name: inputs.draw(h, rng) for h in spec.numbers} for _ in range(_DRAWS)]
        if apart := next((values for values in drawn if not constraint.holds(values)), None):
            what = f"{', '.join(f'{name} = {apart[name]!r}' for name in sorted(constraint.names))}"
            others = [c for c in spec.together if not c.holds(apart)]
            told = "not " + (constraint.text if others == [constraint] else "")
            yield _Call(what, told, True, 1, apart, options)
    for option in spec.options:
        if option.when is None:
            continue
        known = sorted({name.id for name in names(option.when)})
        for chosen in itertools.product((False, True), repeat=len(known)):
            other = {**options, **dict(zip(known, chosen, strict=True)), option.name: True}
            if not holds(option.when, other):
                what = ", ".join(f"{name}={other[name]}" for name in (option.name, *known))
                yield _Call(what, " needs ", True, 1, usual, other)
                break


def of_shapes(
    step: Step, spec: Spec, right: Any, wrong: Any, state: Mapping[str, Any]
) -> tuple[Step, dict[str, Step]]:
    """A `step` with its tensors, and the same where one of those that it reads is misshapen.

    Args:
        step: The function.
        spec: Its spec.
        right: A tensor for `p`, and of its shape.
        wrong: A tensor of another shape.
        state: The state.
    """

    def given(odd: str) -> Step:
        g, *others = (wrong if name == odd else right for name in spec.given[1:])
        return partial(step, right, g, state, **dict(zip(spec.given[2:], others, strict=True)))

    return given(""), {name: given(name) for name in spec.given[1:]}


def _edges(h: Hyperparameter | Input) -> Iterator[tuple[float, bool]]:
    """Numbers at the ends of a domain, and NaN if it has any; whether they are inside."""
    ends = [(h.domain.low, -math.inf), (h.domain.high, math.inf)]
    finite = [(end, outward) for end, outward in ends if math.isfinite(end)]
    for end, outward in finite:
        for value in (end, math.nextafter(end, outward), math.nextafter(end, -outward)):
            yield value, value in h.domain
    if finite:
        yield math.nan, False
