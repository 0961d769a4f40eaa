"""The facts about one optimizer under one option set, each proved, refuted, or not known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import sympy

from stepforge.facts.bounds import Bound, bound
from stepforge.facts.costs import Costs, costs
from stepforge.facts.degrees import STEADY, Degree, Degrees, Mark
from stepforge.facts.parity import ODD, Parities
from stepforge.facts.run import Question, Steps, T, steps
from stepforge.facts.values import written
from stepforge.facts.witnesses import Numbers, Witness
from stepforge.language.spec import Options, Spec
from stepforge.lowering.lower import lower
from stepforge.relations.hypotheses import LEARNING_RATE
from stepforge.relations.sides import Side

Status = Literal["proved", "refuted", "unknown"]
MOST_CONDITIONS = 3
FIGURES = (1, 10, 100, 1000)
"""The steps of which a bound is shown at the defaults."""
_AS_GIVEN, _SCALED, _MIRRORED = "unchanged", "scaled", "negated"


@dataclass(frozen=True)
class Fact:
    """One fact, in exact arithmetic and wherever nothing is divided by zero.

    Attributes:
        status: "proved" from the formula; "refuted" by numbers; "unknown".
        value: What is proved beside that it holds: a power, a factor, a bound; or "".
        conditions: The hyperparameters that have to be zero for it.
        needed: Those of them without which numbers show that it does not hold.
        inputs: What becomes of the inputs: "unchanged", "scaled", "negated"; "" without inputs.
        assumed: What else is taken for granted.
        witness: The numbers that refute it.
        figures: Of a bound: its value at the defaults, by the number of the step.
    """

    status: Status
    value: str = ""
    conditions: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    inputs: str = ""
    assumed: tuple[str, ...] = ()
    witness: Witness | None = None
    figures: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """All facts about an optimizer under one option set.

    Attributes:
        spec: The optimizer.
        options: The option set.
        costs: What a step costs.
        loss: The power of c that multiplies all steps if the loss is multiplied by c > 0.
        rate: The same of the learning rate, which is the same in all steps; None without one.
        rate_states: The states that keep the learning rate, so that a change of it comes late.
        odd: Negative `p` and gradients give negative `p`.
        free: The steps do not depend on where `p` starts, for the same gradients.
        still: `p` stays where it is if all gradients are zero.
        decay: The factor of `p` in a step without gradient.
        decay_rate: How what that takes from `p` depends on the learning rate: "proportional",
            "independent", "otherwise"; "" if it takes nothing, or is not known.
        bound: What no step exceeds.
    """

    spec: Spec
    options: Options
    costs: Costs
    loss: Fact
    rate: Fact | None
    rate_states: tuple[str, ...]
    odd: Fact
    free: Fact
    still: Fact
    decay: Fact
    decay_rate: str
    bound: Fact

    @property
    def tenth(self) -> bool | None:
        """Whether a tenth of the loss is a tenth of the learning rate; None if not known."""
        if self.rate is None or "unknown" in (self.loss.status, self.rate.status):
            return None
        both = self.loss.status == self.rate.status == "proved"
        return both and self.loss.value == self.rate.value


def _of(fact: Fact | None, value: str = "") -> Fact | None:
    """A fact that is proved, with this value if there is one."""
    wanted = fact is not None and fact.status == "proved" and value in ("", fact.value)
    return fact if wanted else None


Variant = tuple[str, tuple[str, ...]]
"""What becomes of inputs, and of which."""


def facts(spec: Spec, options: Options) -> Facts:
    """The facts about an optimizer under an option set."""
    return Analysis(spec, options).facts()


class Analysis:
    """Derives the facts about an optimizer under an option set, those that are asked for."""

    def __init__(self, spec: Spec, options: Options) -> None:
        self.spec, self.options = spec, options
        self.side = Side(spec, options)
        rate = spec.roles.get(LEARNING_RATE, "")
        self.rate = rate if rate in self.side.hyperparameters else ""
        self.numbers = Numbers(self.side, self.rate)
        self.inputs = tuple(i.name for i in spec.inputs)
        self.trivial: dict[frozenset[str], bool] = {}

    def facts(self) -> Facts:
        """All of them."""
        rate, kept = self.rate_fact()
        return Facts(
            self.spec, self.options, costs(lower(self.spec), self.options), self.loss(), rate, kept,
            self.odd(), self.free, self.still(), *self.decay(), self.bound(),
        )  # fmt: skip

    @cached_property
    def zeroable(self) -> list[str]:
        """The hyperparameters of which it is of interest that they are zero."""
        return [
            h.name
            for h in self.spec.hyperparameters
            if 0 in h.domain and h.domain.high > 1 and h.name != self.rate
            and h.name in self.side.hyperparameters
        ]  # fmt: skip

    def sets(self) -> Iterator[frozenset[str]]:
        """Sets of conditions, small ones first, under which `p` moves at all."""
        for count in range(min(MOST_CONDITIONS, len(self.zeroable)) + 1):
            for chosen in itertools.combinations(self.zeroable, count):
                zeros = frozenset(chosen)
                if zeros not in self.trivial:
                    found = self.ask(Degrees(), zeros).before["p"].rest
                    self.trivial[zeros] = found is Mark.ZERO
                if not self.trivial[zeros]:
                    yield zeros

    def ask(self, algebra: Degrees, zeros: frozenset[str], still: bool = False) -> Steps[Degree]:
        """What is known of degrees in all steps."""
        return steps(Question(self.spec, self.options, algebra, zeros, still))

    def power(self, leaves: Mapping[str, int], zeros: frozenset[str]) -> sympy.Expr | None:
        """The degree of all steps."""
        algebra = Degrees(leaves)
        if leaves and self.ask(replace(algebra, moves=False), zeros).before["p"].rest == STEADY:
            return STEADY  # wherever `p` is, and wherever it starts
        p = self.ask(algebra, zeros).before["p"]
        return p.rest if p.weight == 1 and not isinstance(p.rest, Mark) else None

    def variants(self, changed: str) -> list[Variant]:
        """What may become of inputs."""
        if not self.inputs:
            return [("", ())]
        return [(changed, self.inputs), (_AS_GIVEN, ())]

    def proved(
        self, value: str, zeros: frozenset[str], refute: Callable[[frozenset[str]], Witness | None],
        inputs: str = "",
    ) -> Fact:  # fmt: skip
        """A fact that is proved under conditions, and which of them numbers ask for."""
        conditions = tuple(name for name in self.zeroable if name in zeros)
        needed = tuple(n for n in conditions if refute(zeros - {n}) is not None)
        return Fact("proved", value, conditions, needed, inputs)

    def loss(self) -> Fact:
        """How steps scale with the loss, and so with all gradients."""
        variants = self.variants(_SCALED)
        for word, scaled in variants:
            for zeros in self.sets():
                k = self.power({"g": 1, **dict.fromkeys(scaled, 1)}, zeros)
                if k is not None:
                    refute = partial(self.numbers.no_power, with_inputs=scaled)
                    return self.proved(written(k), zeros, refute, word)
        found = [self.numbers.no_power(frozenset(), with_inputs=i) for _, i in variants]
        return _refuted(found)

    def rate_fact(self) -> tuple[Fact | None, tuple[str, ...]]:
        """How steps scale with the learning rate, if there is one, and which states keep it."""
        if not self.rate:
            return None, ()
        leaves = {self.rate: 1}
        for zeros in self.sets():
            k = self.power(leaves, zeros)
            if k is not None:
                known = self.ask(Degrees(leaves), zeros).before
                kept = tuple(
                    n for n, v in known.items() if n != "p" and v.rest not in (0, Mark.ZERO)
                )
                refute = partial(self.numbers.no_power, of_rate=True)
                return self.proved(written(k), zeros, refute), kept
        return _refuted([self.numbers.no_power(frozenset(), of_rate=True)]), ()

    def odd(self) -> Fact:
        """Whether negative numbers give negative ones."""
        variants: list[Variant] = [(_AS_GIVEN if self.inputs else "", ())]
        variants += self.variants(_MIRRORED)[:1] if self.inputs else []
        for zeros in self.sets():
            for word, negated in variants:
                algebra = Parities(frozenset({"p", "g", *negated}))
                found = steps(Question(self.spec, self.options, algebra, zeros))
                if found.before["p"].rest is ODD:
                    refute = partial(self.numbers.not_odd, odd_inputs=negated)
                    return self.proved("", zeros, refute, word)
        return _refuted([self.numbers.not_odd(frozenset(), i) for _, i in variants])

    @cached_property
    def free(self) -> Fact:
        """Whether it is of no consequence where `p` starts."""
        for zeros in self.sets():
            if self.power({}, zeros) is not None:
                return self.proved("", zeros, self.numbers.not_free)
        return _refuted([self.numbers.not_free(frozenset())])

    def still(self) -> Fact:
        """Whether `p` stays without gradients."""
        for zeros in self.sets():
            p = self.ask(Degrees(), zeros, still=True).before["p"]
            if p.weight == 1 and p.rest is Mark.ZERO:
                return self.proved("", zeros, self.numbers.not_still)
        return _refuted([self.numbers.not_still(frozenset())])

    def decay(self) -> tuple[Fact, str]:
        """The factor of `p` in a step without gradient, and how it depends on the rate."""
        asked = Question(self.spec, self.options, Degrees(), still=True, each=True, generic=True)
        found = steps(asked)
        first, later = found.first["p"], found.later["p"]
        chosen = later.weight.has(sympy.core.function.AppliedUndef)
        if later.rest is not Mark.ZERO or first != later or chosen:
            return Fact("unknown"), ""
        factor, taken = later.weight, 1 - later.weight
        rate = next((s for s in factor.free_symbols if s.name == self.rate), None)
        if taken == 0:
            return Fact("proved", "1"), ""
        if rate is None:
            return Fact("proved", written(factor)), "independent"
        is_linear = sympy.cancel(taken / rate).is_polynomial(rate) and not sympy.diff(
            taken, rate, 2
        )
        linear = bool(is_linear and taken.subs(rate, 0) == 0)
        return Fact("proved", written(factor)), "proportional" if linear else "otherwise"

    def figures(self, found: Bound, zeros: frozenset[str]) -> dict[int, float]:
        """A bound at the defaults, in some steps."""
        defaults = {h.name: h.default for h in self.spec.hyperparameters}
        values = {s: defaults[s.name] for s in found.later.free_symbols if s.name in defaults}
        values = {s: 0.0 if s.name in zeros else value for s, value in values.items()}
        made = {}
        for t in FIGURES:
            value = (found.first if t == 1 else found.later.subs(T, t)).subs(values)
            if value.is_number and value.is_finite:
                made[t] = float(value)
        return made

    def bound(self) -> Fact:
        """How far a step goes, if need be without what pulls at `p` itself."""
        tried = [frozenset[str]()]
        if self.free.status == "proved" and self.free.conditions:
            tried.append(frozenset(self.free.conditions))
        for zeros in tried:
            found = bound(self.spec, self.options, zeros)
            if found is None:
                continue
            assumed = [f"{written(x)} > 0" for x in found.positive] + [
                f"{written(x)} != 1" for x in found.other
            ]
            if sympy.simplify(found.first - found.later.subs(T, 1)) != 0:
                assumed.append(f"t > 1 (in step 1 {written(found.first)})")
            conditions = tuple(name for name in self.zeroable if name in zeros)
            figures = self.figures(found, zeros)
            return Fact(
                "proved", written(found.later), conditions, assumed=tuple(assumed), figures=figures
            )
        return Fact("unknown")


def _refuted(found: list[Witness | None]) -> Fact:
    """Refuted, if there are numbers for every way in which it could hold."""
    if None in found:
        return Fact("unknown")
    return Fact("refuted", witness=found[0])


PROPERTIES: Mapping[str, Callable[[Analysis], Fact | None]] = {
    "loss-invariant": lambda asked: _of(asked.loss(), "0"),
    "loss-proportional": lambda asked: _of(asked.loss(), "1"),
    "lr-proportional": lambda asked: _of(asked.rate_fact()[0], "1"),
    "odd": lambda asked: _of(asked.odd()),
    "translation-invariant": lambda asked: _of(asked.free),
    "still": lambda asked: _of(asked.still()),
    "bounded": lambda asked: _of(asked.bound()),
}
"""What optimizers can be chosen by: the fact if it is proved, else None."""
