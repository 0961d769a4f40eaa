"""One side of a relation: a spec under one option set, as terms over the reals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from stepforge.language.spec import Domains, Input, Interval, Options, Spec
from stepforge.relations.reals import KIND, ONE, replaced
from stepforge.verify.reading import reader
from stepforge.verify.reading.tree import Assign, Expression, Name, Number
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.terms import Term, apply, nodes

T = terms.scalar("t")
PAST = Interval(low=1, low_open=False)
"""Of the number of steps that have been made before a later one."""


@dataclass(frozen=True)
class Side:
    """A spec under one option set.

    Attributes:
        spec: The spec.
        options: The option set.
        mark: What tells it from another side of the same name.
        taken: Names of the other side that mean something else than an input of this one.
    """

    spec: Spec
    options: Options
    mark: str = ""
    taken: frozenset[str] = frozenset()

    def beside(self, other: Side) -> Side:
        """This side, whose inputs are the other one's of the same name, and nothing else of it."""
        taken = {i.name for i in self.spec.inputs} & {*other.hyperparameters}
        return replace(self, taken=frozenset(taken)) if taken else self

    @property
    def label(self) -> str:
        """The name, with the options that are not at their default in brackets."""
        changed = [
            o.name if self.options[o.name] else f"{o.name}=False"
            for o in self.spec.options
            if self.options[o.name] != o.default
        ]
        chosen = f"[{','.join(changed)}]" if changed else ""
        return f"{self.spec.name}{chosen}{self.mark}"

    @property
    def is_plain(self) -> bool:
        """Whether all options are at their default."""
        return all(self.options[option.name] == option.default for option in self.spec.options)

    @cached_property
    def expected(self) -> rule.Expected:
        """The rule, all of it in float64."""
        tensors = reader.of(self.spec).tensors(self.options)
        kinds = {tensor.name: KIND for tensor in tensors}
        called = {given.name: name for name, given in self.inputs.items()}
        return rule.expected(self.spec, self.options, kinds, called=called)

    @cached_property
    def inputs(self) -> Mapping[str, Input]:
        """The inputs, by the names of their leaves."""
        inputs = self.spec.inputs
        return {f"{i.name}_B" if i.name in self.taken else i.name: i for i in inputs}

    @cached_property
    def after(self) -> Mapping[str, Term]:
        """The new `p` and states, from the old ones."""
        return {**self.expected.stores, **self.expected.scalars}

    @property
    def states(self) -> tuple[str, ...]:
        """The states, without `p`."""
        return tuple(name for name in self.after if name != "p")

    @property
    def trace(self) -> list[tuple[Assign, Term]]:
        """The statements that run, with their values."""
        return self.expected.trace

    @cached_property
    def inits(self) -> Mapping[str, Term]:
        """The states before the first step."""
        active = reader.of(self.spec).active_states(self.options)
        return {state.name: _init(state.init) for state in active}

    @cached_property
    def hyperparameters(self) -> Mapping[str, float]:
        """The hyperparameters that the rule reads under these options, with their defaults."""
        defaults = reader.of(self.spec).defaults
        read = {n.data for n in nodes([*self.after.values(), *self.inits.values()])}
        return {name: value for name, value in defaults.items() if name in read}

    @cached_property
    def domains(self) -> Mapping[str, Interval]:
        """Of hyperparameters, states and inputs."""
        return self.spec.domains

    @cached_property
    def usual(self) -> Mapping[str, Interval]:
        """The usual values of the hyperparameters."""
        return {h.name: h.usual for h in self.spec.hyperparameters}

    def leaf(self, name: str) -> Term:
        """The old value of a state, or `p`."""
        scalar = name in self.expected.scalars
        return terms.scalar(name) if scalar else terms.load(name, KIND)

    def first(self, given: Mapping[str, Term], domains: Domains) -> dict[str, Term]:
        """The new `p` and states of the first step, from `p` and `g` alone.

        Args:
            given: The values of the hyperparameters.
            domains: Of the leaves of these values.
        """
        numbers = _scalars(given, ONE, domains)
        begin = {self.leaf(n): replaced(t, numbers, domains) for n, t in self.inits.items()}
        known = {**numbers, **begin, T: ONE}
        return {name: replaced(term, known, domains) for name, term in self.after.items()}

    def later(
        self, given: Mapping[str, Term], states: Mapping[str, Term], domains: Domains
    ) -> dict[str, Term]:
        """The new `p` and states of a later step, where `t` steps have been made before.

        Args:
            given: The values of the hyperparameters.
            states: The values of states that are replaced.
            domains: Of the leaves of all of these values.
        """
        now = apply("add", T, ONE)
        replacing = {self.leaf(name): value for name, value in states.items()}
        known = {**_scalars(given, now, domains), **replacing, T: now}
        return {name: replaced(term, known, domains) for name, term in self.after.items()}


def _scalars(given: Mapping[str, Term], now: Term, domains: Domains) -> dict[Term, Term]:
    """Hyperparameters as leaves → their values in the step of this number."""
    return {terms.scalar(k): replaced(value, {T: now}, domains) for k, value in given.items()}


def _init(e: Expression) -> Term:
    """An initial value: of hyperparameters, or of `p` as it is before the first step."""
    if isinstance(e, Number):
        return terms.constant(e.value, KIND)
    if isinstance(e, Name):
        return terms.load("p", KIND) if e.id == "p" else terms.scalar(e.id)
    return apply(e.op, *map(_init, e.args))


def influential(after: Mapping[str, Term], leaf: Mapping[str, Term]) -> list[str]:
    """The states whose old values have an effect on `p`, now or in a later step.

    Args:
        after: The new `p` and states.
        leaf: The old value of each state.
    """
    found: dict[str, None] = {}
    queue: Iterable[str] = ["p"]
    while queue:
        parts = set(nodes(after[name] for name in queue))
        queue = [name for name, term in leaf.items() if term in parts and name not in found]
        found |= dict.fromkeys(queue)
    return list(found)
