"""The rule of a spec as terms: what every kernel has to compute, taken from the spec's text.

`verify.reading` reads it. Nothing that generates files is asked: what they do with constants,
powers, fills and the split into host and device is among the things that are verified. The
arithmetic is that of the specification:

- What contains no tensor is a host scalar, in float64; it is rounded once to the compute kind where
  it meets a tensor. So are literals.
- Tensors are widened to the compute kind, operations run in it in source order, and what is stored
  is rounded once to the kind of the tensor.
- `stored` rounds once to the kind of `p`, and widens again to the compute kind.
- An integer power of a tensor is a product from left to right, a negative one its reciprocal;
  `x**0.5` is the square root. `max`, `min` and `clip` give +0 for equal zeros of any sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from stepforge.language.spec import Options, Spec
from stepforge.operations.table import OPERATIONS
from stepforge.verify.reading import reader
from stepforge.verify.reading.reader import Reading
from stepforge.verify.reading.tree import (
    Apply,
    Assign,
    Expression,
    If,
    Name,
    Number,
    Statement,
    holds,
    names,
    power,
)
from stepforge.verify.terms import functions, terms
from stepforge.verify.terms.computed import Conditional, Conditions
from stepforge.verify.terms.terms import Term, apply

HOST = "f64"
"""The kind of host scalars."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one step has to do to one element.

    Attributes:
        real: The compute kind.
        trace: The statements that run and the values that they assign, in order.
        stores: New `p` and tensor states, in the kinds of their tensors.
        scalars: New scalar states, in float64.
        numbers: What is computed without tensors, conditions and all arms included; each with the
            conditions under which a step computes it.
    """

    real: str
    trace: list[tuple[Assign, Term]]
    stores: dict[str, Term]
    scalars: dict[str, Term]
    numbers: tuple[Conditional, ...] = ()


SCALE = "grad scale"
"""What gradients are divided by before the rule where a kernel is asked to."""


def expected(
    spec: Spec, options: Options, storage: Mapping[str, str], scaled: bool = False,
    called: Mapping[str, str] = MappingProxyType({}),
) -> Expected:  # fmt: skip
    """The rule under one set of options.

    Args:
        spec: The spec.
        options: A value for each of its options.
        storage: The kind of `p`, `g`, inputs and of every tensor state that these options have.
        scaled: Whether gradients are divided by `SCALE` first, and stored so.
        called: Leaves that have another name than the rule gives them.
    """
    reading = reader.of(spec)
    run = _Run(reading, options, storage, called)
    unscaled = {}
    if scaled:
        scale = run.rounded(terms.scalar(SCALE))
        run.values["g"] = unscaled["g"] = apply("div", run.values["g"], scale)
    run.block(reading.rule)
    active = reading.active_states(options)
    stored = ["p", *(s.name for s in active if not s.scalar)]
    return Expected(
        run.real,
        run.trace,
        {
            name: apply("cvt", value, kind=storage[name])
            for name, value in (*((n, run.values[n]) for n in stored), *unscaled.items())
        },
        {s.name: run.values[s.name] for s in active if s.scalar},
        tuple(run.numbers),
    )


def factor(spec: Spec) -> Expected:
    """The rule of a schedule, all of it on the host; its factor is among the scalars."""
    reading = reader.of(spec)
    run = _Run(reading, {}, {}, {})
    run.block(reading.rule)
    return Expected(run.real, run.trace, {}, {"factor": run.values["factor"]}, tuple(run.numbers))


def compute_kind(storage: Mapping[str, str]) -> str:
    """The kind that tensors are computed in; without any, that of the host."""
    return "f64" if storage.get("p", HOST) == "f64" else "f32"


@dataclass
class _Run(Conditions):
    """The values of the names along the statements that run."""

    reading: Reading
    options: Options
    storage: Mapping[str, str]
    called: Mapping[str, str]
    values: dict[str, Term] = field(default_factory=dict)
    trace: list[tuple[Assign, Term]] = field(default_factory=list)
    numbers: list[Conditional] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.real = compute_kind(self.storage)
        states = self.reading.active_states(self.options)
        scalars = ["t", *self.reading.numbers, *(s.name for s in states if s.scalar)]
        self.values |= {name: terms.scalar(self.called.get(name, name)) for name in scalars}
        self.values |= {
            name: apply("cvt", terms.load(self.called.get(name, name), kind), kind=self.real)
            for name, kind in self.storage.items()
        }

    def block(self, statements: Iterable[Statement]) -> None:
        """Runs statements; of a block on numbers both arms."""
        for statement in statements:
            if isinstance(statement, Assign):
                self.assign(statement)
                continue
            choice = holds(statement.condition, self.options)
            if choice is None:
                self.paths(statement)
            else:
                self.block(statement.body if choice else statement.orelse)
                self.arrive(statement.after)

    def paths(self, block: If) -> None:
        """Both arms of a block on host scalars, whose values its condition chooses from."""
        condition = self.value(block.condition, block.before)
        before, found = self.values, []
        for arm, test in ((block.body, condition), (block.orelse, apply("not", condition))):
            self.values = dict(before)
            with self.where(test):
                self.block(arm)
            self.arrive(block.after)
            found.append(self.values)
        taken, other = found
        self.values = {
            name: value if other.get(name, value) is value
            else apply("select", condition, value, other[name])
            for name, value in taken.items()
        }  # fmt: skip
        self.values |= {name: value for name, value in other.items() if name not in taken}

    def assign(self, statement: Assign) -> None:
        """Gives a name its new value."""
        value = self.value(statement.value, statement.before)
        self.values[statement.name] = value if statement.on_host else self.rounded(value)
        self.trace.append((statement, self.values[statement.name]))

    def arrive(self, tensors: Set[str]) -> None:
        """Rounds the scalars that are tensors on a path that was not taken."""
        self.values |= {
            name: self.rounded(self.values[name]) for name in tensors & self.values.keys()
        }

    def rounded(self, value: Term) -> Term:
        """A scalar where a tensor is needed; conditions and tensors stay as they are."""
        return value if value.kind == "bool" else apply("cvt", value, kind=self.real)

    def value(self, e: Expression, tensors: Set[str]) -> Term:
        """The value of an expression, in float64 unless it contains a tensor."""
        if isinstance(e, Number):
            return terms.constant(e.value, HOST)
        if isinstance(e, Name):
            choice = self.options.get(e.id)
            return self.values[e.id] if choice is None else terms.truth(choice)
        is_tensor = not tensors.isdisjoint(names(e))
        made = self.operation(e, tensors, is_tensor)
        if not is_tensor:
            self.numbers.append((made, self.under))
        return made

    def operation(self, e: Apply, tensors: Set[str], is_tensor: bool) -> Term:
        """The value of an operation."""
        if e.op == "select":
            return self.choice(e, tensors, is_tensor)
        if e.op == "pow":
            return self.power(e, tensors, is_tensor)
        args = [self.value(argument, tensors) for argument in e.args]
        return self.builder(is_tensor).operation(e.op, *args)

    def builder(self, is_tensor: bool) -> Builder:
        """What makes the terms of an operation here."""
        return Builder(self.real, is_tensor, self.storage.get("p", HOST))

    def choice(self, e: Apply, tensors: Set[str], is_tensor: bool) -> Term:
        """One arm by options, both by conditions on values."""
        condition, *arms = e.args
        choice = holds(condition, self.options)
        if choice is not None:
            value = self.value(arms[0 if choice else 1], tensors)
            return self.rounded(value) if is_tensor else value
        test, values = self.value(condition, tensors), []
        if not tensors.isdisjoint(names(condition)):  # all elements together take both arms
            values = [self.value(arm, tensors) for arm in arms]
        else:
            for arm, taken in zip(arms, (test, apply("not", test)), strict=True):
                with self.where(taken):
                    values.append(self.value(arm, tensors))
        if is_tensor:
            values = [self.rounded(value) for value in values]
        return apply("select", test, *values)

    def power(self, e: Apply, tensors: Set[str], is_tensor: bool) -> Term:
        """Roots, a product, or any power."""
        base, known = self.value(e.args[0], tensors), power(e.args[1], is_tensor)
        if known is None:
            exponent = self.value(e.args[1], tensors)
            return self.builder(is_tensor).operation("pow", base, exponent)
        for _ in range(known.roots):
            base = apply("sqrt", base)
        result = base if known.factors else terms.constant(1.0, self.real)
        for _ in range(known.factors - 1):
            result = apply("mul", result, base)
        one = terms.constant(1.0, result.kind)
        return apply("div", one, result) if known.inverse else result


def host(e: Expression) -> Term:
    """Arithmetic on hyperparameters, in float64."""
    if isinstance(e, Number):
        return terms.constant(e.value, HOST)
    if isinstance(e, Name):
        return terms.scalar(e.id)
    return apply(e.op, *map(host, e.args))


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the terms of an operation, for the rows of the table.

    Attributes:
        real: The compute kind.
        is_tensor: Whether the result is a tensor.
        parameter: The kind that `p` is stored in.
    """

    real: str
    is_tensor: bool
    parameter: str = HOST

    def number(self, value: float, like: Term) -> Term:
        """A constant of the kind of another term."""
        return terms.constant(value, like.kind)

    def rounded(self, value: Term) -> Term:
        """A scalar where a tensor is needed; conditions and tensors stay as they are."""
        return value if value.kind == "bool" else apply("cvt", value, kind=self.real)

    def stored(self, value: Term) -> Term:
        """A tensor rounded to the kind of `p`, in the compute kind again."""
        return self.rounded(apply("cvt", self.rounded(value), kind=self.parameter))

    def apply(self, op: str, *args: Term) -> Term:
        """An operation of `verify.terms`, in the compute kind if one of its operands is a tensor's.

        Scalars of the host meet tensors rounded.
        """
        if any(a.kind == self.real for a in args):
            args = tuple(map(self.rounded, args))
        return apply(op, *args)

    def function(self, name: str, *args: Term) -> Term:
        """A function: of tensors its formula, of scalars the host's."""
        if self.is_tensor:
            return functions.call(name, *map(self.rounded, args))
        return apply(name, *args)

    def operation(self, op: str, *args: Term) -> Term:
        """An operation of the table."""
        made: Term = OPERATIONS[op].term(self, *args)
        return made
