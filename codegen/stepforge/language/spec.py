"""The frozen model of a spec, and what can be asked of it.

No dictionary and no text to be parsed is part of it; `stepforge.language.reader` fills it once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepforge.language.constraints import Constraint
from stepforge.language.diagnostics import Span
from stepforge.language.expression import Apply, Assign, Expression, Name, Statement
from stepforge.language.source import Source
from stepforge.language.subjects import OPTIMIZER, Subject
from stepforge.language.torch_model import TORCH_CLASSES, TORCH_SCHEDULERS, Torch

Options = Mapping[str, bool]
ROLES = {"learning_rate": "lr", "epsilon": "eps", "maximize": "maximize"}
"""Roles of hyperparameters, and of the option `maximize`, to ascend → what torch calls them. What a
spec calls so has the role, unless `[torch]` gives it to another name, or another role to this one.
"""

FAMILIES = {
    "sgd": "the gradient, or momenta of it",
    "sign": "the sign of the gradient or of a momentum",
    "adagrad": "the gradient over what its past squares say",
    "adam": "a momentum over what past squares or changes of the gradient say",
    "curvature": "a momentum over what estimates of the Hessian say",
    "averaging": "as in another family; parameters are averages over the steps",
    "parameter_free": "no learning rate to tune",
}
"""Families of optimizers, in the order of `stepforge list` → what moves their parameters."""
NO_FAMILY = "other"
"""Where optimizers are listed that name no family."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The values a hyperparameter or state may have; infinite ends are always open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def covers(self, other: Interval) -> bool:
        """Whether every number of another interval is inside."""
        low = (other.low, other.low_open) >= (self.low, self.low_open)
        high = (other.high, not other.high_open) <= (self.high, not self.high_open)
        return low and high

    @property
    def typical(self) -> float:
        """A number inside: 1 if it is, else one near it or an end."""
        tried = (1.0, 0.5, -1.0, 0.0, (self.low + self.high) / 2, self.low + 1, self.high - 1)
        return next((x for x in (*tried, self.low) if x in self), self.low)

    @property
    def empty(self) -> bool:
        """Whether no number is inside."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A float64 number that may change from step to step.

    Attributes:
        name: Its name.
        default: Its default.
        domain: The values that it may have.
        domain_text: The same in the author's words.
        usual: The part of the domain that random values are drawn from, and that bounds are
            shown for: the domain itself unless the author says otherwise.
        usual_text: The same in the author's words; "" for the domain itself.
        doc: One line of documentation.
        span: Where it is declared.
    """

    name: str
    default: float
    domain: Interval
    domain_text: str
    usual: Interval
    usual_text: str
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Input:
    """What every step is given beside the gradient, and does not keep.

    A tensor like `g`, with its type, or one float64 number if `scalar`, which is used like a
    hyperparameter and has no default.
    """

    name: str
    scalar: bool
    domain: Interval
    domain_text: str
    doc: str
    span: Span

    @property
    def default(self) -> float:
        """The number that stands for it where a default is needed to try something."""
        return self.domain.typical

    @property
    def usual(self) -> Interval:
        """The domain, as for hyperparameters without a usual range."""
        return self.domain


class Domains(dict[str, Interval]):
    """The values that names may have, each for itself and several together."""

    def __init__(
        self, intervals: Mapping[str, Interval], together: tuple[Constraint, ...] = ()
    ) -> None:
        super().__init__(intervals)
        self.together = together


@dataclass(frozen=True, slots=True)
class Option:
    """A structural switch, fixed when a kernel is compiled; `when` limits where it has meaning."""

    name: str
    default: bool
    doc: str
    when: Expression | None
    when_text: str
    span: Span


@dataclass(frozen=True, slots=True)
class State:
    """What the optimizer remembers: a tensor like `p`, or one float64 if `scalar`.

    `init` is the value before the first step: an expression of hyperparameters, or `p` itself.
    `has_p_type` says that a tensor is stored in the type of `p`, also where that has 16 bits.
    """

    name: str
    init: Expression
    scalar: bool
    domain: Interval
    domain_text: str
    doc: str
    when: Expression | None
    when_text: str
    span: Span
    has_p_type: bool = False

    @property
    def is_copy(self) -> bool:
        """Whether it starts as a copy of the parameter."""
        return is_parameter(self.init)


def is_parameter(e: Expression) -> bool:
    """Whether it is `p` itself."""
    return isinstance(e, Name) and e.id == "p"


@dataclass(frozen=True)
class Spec:
    """One optimizer, or one schedule, which has neither options nor states.

    `family` is one of `FAMILIES`, or `NO_FAMILY`; `roles` has who has one of `ROLES`; `together`
    what hyperparameters have to be together.
    """

    name: str
    title: str
    summary: str
    reference: str
    family: str
    hyperparameters: tuple[Hyperparameter, ...]
    options: tuple[Option, ...]
    states: tuple[State, ...]
    rule: tuple[Statement, ...]
    roles: Mapping[str, str]
    torch: Torch | None
    together: tuple[Constraint, ...] = field(default=(), kw_only=True)
    inputs: tuple[Input, ...] = field(default=(), kw_only=True)
    subject: Subject = field(default=OPTIMIZER, kw_only=True)
    source: Source = field(repr=False, compare=False)

    @property
    def numbers(self) -> tuple[Hyperparameter | Input, ...]:
        """What a step takes as numbers of the host: hyperparameters and inputs."""
        return (*self.hyperparameters, *(i for i in self.inputs if i.scalar))

    @property
    def domains(self) -> dict[str, Interval]:
        """The domain of every hyperparameter, state and input."""
        found = {h.name: h.domain for h in self.hyperparameters}
        found |= {s.name: s.domain for s in self.states}
        return found | {i.name: i.domain for i in self.inputs}

    @property
    def given(self) -> tuple[str, ...]:
        """The tensors that a step takes beside the states: `p`, `g` and inputs."""
        return (*self.subject.tensors, *(i.name for i in self.inputs if not i.scalar))

    @property
    def torch_class(self) -> str:
        """The class of torch that this rule is compared with, or ""."""
        name = self.torch.class_name if self.torch else ""
        known = TORCH_CLASSES if self.subject == OPTIMIZER else TORCH_SCHEDULERS
        return name if name in known else ""

    def allows(self, values: Mapping[str, float]) -> bool:
        """Whether hyperparameters have values that are allowed together."""
        return all(constraint.holds(values) for constraint in self.together)

    def option_sets(self) -> Iterator[dict[str, bool]]:
        """Every combination of options that the `when` conditions allow, defaults first."""
        yield from option_sets(self.options)

    def active_states(self, options: Options) -> tuple[State, ...]:
        """The states that exist under these options."""
        return tuple(s for s in self.states if holds(s.when, options))


@dataclass(frozen=True)
class Held:
    """A spec as the key of a cache: equal if everything is, its file included."""

    spec: Spec

    def __hash__(self) -> int:
        return hash(self.spec.source.text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Held):
            return False
        own, others = self.spec.source, other.spec.source
        same_file = own is others or (own.text, own.path) == (others.text, others.path)
        return same_file and self.spec == other.spec


def option_sets(options: Sequence[Option]) -> Iterator[dict[str, bool]]:
    """Every combination that the `when` conditions allow, defaults first."""
    for values in itertools.product(*((o.default, not o.default) for o in options)):
        chosen = dict(zip((o.name for o in options), values, strict=True))
        if all(not chosen[o.name] or holds(o.when, chosen) for o in options):
            yield chosen


def holds(condition: Expression | None, options: Options) -> bool:
    """The value of a condition on options; None is always true."""
    match condition:
        case None:
            return True
        case Name(id=name):
            return options[name]
        case Apply(op="not", args=(inner,)):
            return not holds(inner, options)
        case Apply(op="and", args=(left, right)):
            return holds(left, options) and holds(right, options)
        case Apply(op="or", args=(left, right)):
            return holds(left, options) or holds(right, options)
        case _:
            raise ValueError(f"not a condition on options: {condition}")


def is_option_condition(expression: Expression) -> bool:
    """Whether it is made of names, `and`, `or`, `not` alone."""
    if isinstance(expression, Apply):
        connective = expression.op in ("and", "or", "not")
        return connective and all(is_option_condition(a) for a in expression.args)
    return isinstance(expression, Name)


def under(statements: Iterable[Statement], options: Options | None) -> tuple[Statement, ...]:
    """The statements without the blocks that the options decide; all of them without options."""
    found: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Assign) or options is None:
            found.append(statement)
        elif is_option_condition(statement.condition):
            arm = statement.body if holds(statement.condition, options) else statement.orelse
            found += under(arm, options)
        else:
            arms = (under(statement.body, options), under(statement.orelse, options))
            found.append(replace(statement, body=arms[0], orelse=arms[1]))
    return tuple(found)


def straight(statements: Iterable[Statement], options: Options) -> Iterator[Assign]:
    """The assignments that may run under these options, in order; see `steps`."""
    return (statement for statement, _ in steps(statements, options))


def steps(
    statements: Iterable[Statement], options: Options, surely: bool = True
) -> Iterator[tuple[Assign, bool]]:
    """The assignments that may run under these options, in order, and whether they surely do.

    Of a block on host scalars, which only a step decides, both arms may run.
    """
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement, surely
        elif is_option_condition(statement.condition):
            arm = statement.body if holds(statement.condition, options) else statement.orelse
            yield from steps(arm, options, surely)
        else:
            yield from steps(statement.body, options, False)
            yield from steps(statement.orelse, options, False)


def read_early(
    statements: Iterable[Statement], options: Options, assigned: set[str]
) -> Iterator[Name]:
    """The names that are read where no statement has surely assigned them yet.

    Args:
        statements: The statements.
        options: The options under which they run.
        assigned: Names that have a value before them; those that surely have one behind them when
            the iteration ends.
    """
    for statement in statements:
        if isinstance(statement, Assign):
            yield from (n for n in taken(statement.value, options) if n.id not in assigned)
            assigned.add(statement.name)
        elif is_option_condition(statement.condition):
            arm = statement.body if holds(statement.condition, options) else statement.orelse
            yield from read_early(arm, options, assigned)
        else:
            yield from (n for n in taken(statement.condition, options) if n.id not in assigned)
            left, right = set(assigned), set(assigned)
            yield from read_early(statement.body, options, left)
            yield from read_early(statement.orelse, options, right)
            assigned |= left & right


def taken(expression: Expression, options: Options) -> Iterator[Name]:
    """The names that are read under these options, conditions on options left out."""
    rest = [expression]
    while rest:
        e = rest.pop()
        if isinstance(e, Name):
            if e.id not in options:
                yield e
        elif isinstance(e, Apply):
            args = e.args
            if e.op == "select" and is_option_condition(args[0]):
                args = (args[1] if holds(args[0], options) else args[2],)
            rest.extend(reversed(args))
