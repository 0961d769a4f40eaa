"""Random rules: what is proved of them holds for their own steps, in numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from support import small

from stepforge.facts.derive import Analysis
from stepforge.language.diagnostics import SpecError
from stepforge.language.spec import Spec

LEAVES = (
    "g", "m", "v", "p", "w", "g**2", "abs(g)", "sign(g)", "sqrt(abs(m))", "lr", "a", "b", "1/t",
    "q", "sign(m)", "(q - p)", "(p - w)", "s",
)  # fmt: skip
FORMS = (
    "({} + {})", "({} - {})", "{}*{}", "({})/(abs({}) + b)", "max({}, {})", "({} if {} > 0 else g)",
    "({} if sign(g) > 0 else {})", "abs({})*sign({})", "clip({}, -1, 1)*sign({})",
    "(a*{} + (1 - a)*{})", "({} if t > 2 else {})", "min(abs({}), abs({}))",
)  # fmt: skip
NUMBERS = ("s = s/2 + lr", "s = s + 1", "s = a*s + t")
STARTS = ("p", "g", "p/2")


def rule(rng: np.random.Generator) -> str:
    """A rule with states that are averages, other values, or numbers of the host."""
    names = [str(n) for n in rng.permutation([*"mvqws"])[: rng.integers(1, 5)]]
    leaves = [x for x in LEAVES if {*re.findall(r"\b[mvqws]\b", x)} <= {*names}]

    def value(depth: int) -> str:
        if depth == 0 or rng.random() < 0.25:
            return str(rng.choice(leaves))
        return str(rng.choice(FORMS)).format(value(depth - 1), value(depth - 1))

    lines = []
    for name in names:
        average = f"{name} = a*{name} + (1 - a)*"
        start = f"if t == 1:\n    {name} = {rng.choice(STARTS)}\n"
        kinds = (
            f"{name} = {value(2)}",
            f"{average}({value(1)})",
            f"{start}{average}{rng.choice(STARTS)}",
        )
        lines.append(str(rng.choice(NUMBERS if name == "s" else kinds)))
    return "\n".join([*lines, f"p = p - lr*({value(2)})"])


def spec(seed: int) -> Spec:
    """The first of some random rules that is one."""
    rng = np.random.default_rng(seed)
    while True:
        text = rule(rng)
        numbers = [n for n in ("lr", "a", "b") if re.search(rf"\b{n}\b", text)]
        states = {n: "scalar = true" if n == "s" else "" for n in "mvqws" if f"{n} = " in text}
        try:
            return small(text, hyperparameters=numbers, state=states)
        except SpecError:
            continue


@pytest.mark.parametrize("seed", range(24))
def test_what_is_proved_holds(seed: int) -> None:
    analysis = Analysis(spec(seed), {})
    numbers, found = analysis.numbers, analysis.facts()
    refute: dict[str, Any] = {
        "loss": numbers.no_power, "odd": numbers.not_odd, "free": numbers.not_free,
        "still": numbers.not_still, "rate": lambda z: numbers.no_power(z, of_rate=True),
    }  # fmt: skip
    for name, tried in refute.items():
        fact = getattr(found, name)
        if fact is not None and fact.status == "proved":
            assert tried(frozenset(fact.conditions)) is None, name


def test_the_rules_are_of_both_kinds() -> None:
    loss = [Analysis(spec(seed), {}).loss().status for seed in range(12)]
    assert {"proved", "refuted"} <= {*loss}
