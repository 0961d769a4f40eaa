"""The rule of a spec as terms: what every kernel has to compute, taken from the parsed text.

Nothing of `lowering.lower` is used: what it does with powers, fills and the split into host and
device is among the things that are verified. The arithmetic is that of the specification:

- What contains no tensor is a host scalar, in float64; it is rounded once to the compute kind where
  it meets a tensor. So are literals.
- Tensors are widened to the compute kind, operations run in it in source order, and what is stored
  is rounded once to the kind of the tensor.
- An integer power of a tensor is a product from left to right, a negative one its reciprocal;
  `x**0.5` is the square root. `max`, `min` and `clip` give +0 for equal zeros of any sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from stepforge.language import kinds
from stepforge.language.expression import Apply, Assign, Expression, If, Name, Number, Statement
from stepforge.language.kinds import Kind
from stepforge.language.literals import literal
from stepforge.language.spec import Options, Spec, holds, is_option_condition
from stepforge.operations.powers import MAX_PRODUCT
from stepforge.operations.table import OPERATIONS
from stepforge.verify.terms import functions, terms
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
    """

    real: str
    trace: list[tuple[Assign, Term]]
    stores: dict[str, Term]
    scalars: dict[str, Term]


SCALE = "grad scale"
"""What gradients are divided by before the rule where a kernel is asked to."""


def expected(
    spec: Spec, options: Options, storage: Mapping[str, str], scaled: bool = False
) -> Expected:
    """The rule under one set of options.

    Args:
        spec: The spec.
        options: A value for each of its options.
        storage: The kind of `p`, `g` and of every tensor state that these options have.
        scaled: Whether gradients are divided by `SCALE` first, and stored so.
    """
    run = _Run(spec, options, storage)
    unscaled = {}
    if scaled:
        scale = run.rounded(terms.scalar(SCALE))
        run.values["g"] = unscaled["g"] = apply("div", run.values["g"], scale)
    run.block(spec.rule, kinds.declared(spec), True)
    active = spec.active_states(options)
    stored = ["p", *(s.name for s in active if not s.scalar)]
    return Expected(
        run.real,
        run.trace,
        {
            name: apply("cvt", value, kind=storage[name])
            for name, value in (*((n, run.values[n]) for n in stored), *unscaled.items())
        },
        {s.name: run.values[s.name] for s in active if s.scalar},
    )


def compute_kind(storage: Mapping[str, str]) -> str:
    """The kind that tensors are computed in."""
    return "f64" if storage["p"] == "f64" else "f32"


@dataclass
class _Run:
    """The values of the names along the statements that run."""

    spec: Spec
    options: Options
    storage: Mapping[str, str]
    values: dict[str, Term] = field(default_factory=dict)
    trace: list[tuple[Assign, Term]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.real = compute_kind(self.storage)
        self.tensors = kinds.fixed(self.spec)
        scalars = {h.name for h in self.spec.hyperparameters} | {"t"}
        scalars |= {s.name for s in self.spec.active_states(self.options) if s.scalar}
        self.values |= {name: terms.scalar(name) for name in scalars}
        self.values |= {
            name: apply("cvt", terms.load(name, kind), kind=self.real)
            for name, kind in self.storage.items()
        }

    def block(self, statements: tuple[Statement, ...], known: dict[str, Kind], runs: bool) -> None:
        """Follows the kinds of all branches, and the values of those that run."""
        for statement in statements:
            if isinstance(statement, Assign):
                if runs:
                    self.assign(statement, known)
                known[statement.name] = kinds.after(statement, known, self.tensors)
                continue
            left, right = dict(known), dict(known)
            if not is_option_condition(statement.condition):
                self.paths(statement, left, right, runs)
                known.update(kinds.join(left, right))
                continue
            holding = holds(statement.condition, self.options)
            self.block(statement.body, left, runs and holding)
            self.block(statement.orelse, right, runs and not holding)
            joined = kinds.join(left, right)
            if runs:
                self.promote(left if holding else right, joined)
            known.update(joined)

    def paths(
        self, block: If, left: dict[str, Kind], right: dict[str, Kind], runs: bool
    ) -> None:  # fmt: skip
        """Both arms of a block on host scalars, whose values its condition chooses from."""
        condition = self.value(block.condition, left) if runs else terms.truth(True)
        before = self.values
        found = []
        for statements, known in ((block.body, left), (block.orelse, right)):
            self.values = dict(before)
            self.block(statements, known, runs)
            found.append(self.values)
        joined = kinds.join(left, right)
        for values, known in zip(found, (left, right), strict=True):
            self.values = values
            self.promote(known, joined)
        taken, other = found
        self.values = {
            name: value if other.get(name, value) is value
            else apply("select", condition, value, other[name])
            for name, value in taken.items()
        }  # fmt: skip
        self.values |= {name: value for name, value in other.items() if name not in taken}

    def assign(self, statement: Assign, known: kinds.Kinds) -> None:
        """Gives a name its new value."""
        after = kinds.after(statement, known, self.tensors)
        value = self.value(statement.value, known)
        if after is Kind.TENSOR:
            value = self.rounded(value)
        self.values[statement.name] = value
        self.trace.append((statement, value))

    def promote(self, known: kinds.Kinds, joined: kinds.Kinds) -> None:
        """Rounds the scalars that the branch that was not taken has as tensors."""
        for name, kind in known.items():
            if kind is Kind.SCALAR and joined[name] is Kind.TENSOR:
                self.values[name] = self.rounded(self.values[name])

    def rounded(self, value: Term) -> Term:
        """A scalar where a tensor is needed; conditions and tensors stay as they are."""
        return value if value.kind == "bool" else apply("cvt", value, kind=self.real)

    def value(self, e: Expression, known: kinds.Kinds) -> Term:
        """The value of an expression, in float64 unless it contains a tensor."""
        if isinstance(e, Number):
            return terms.constant(e.value, HOST)
        if isinstance(e, Name):
            if known.get(e.id) is Kind.OPTION:
                return terms.truth(self.options[e.id])
            return self.values[e.id]
        is_tensor = kinds.kind(e, known) is Kind.TENSOR
        if e.op == "select":
            return self.choice(e, known, is_tensor)
        if e.op == "pow":
            return self.power(e, known, is_tensor)
        args = [self.value(argument, known) for argument in e.args]
        return Builder(self.real, is_tensor).operation(e.op, *args)

    def choice(self, e: Apply, known: kinds.Kinds, is_tensor: bool) -> Term:
        """One arm by options, both by conditions on values."""
        condition, *arms = e.args
        if kinds.kind(condition, known) is Kind.OPTION:
            value = self.value(arms[0 if holds(condition, self.options) else 1], known)
            return self.rounded(value) if is_tensor else value
        values = [self.value(arm, known) for arm in arms]
        if is_tensor:
            values = [self.rounded(value) for value in values]
        return apply("select", self.value(condition, known), *values)

    def power(self, e: Apply, known: kinds.Kinds, is_tensor: bool) -> Term:
        """Square roots, a product, or any power."""
        base, exponent = self.value(e.args[0], known), literal(e.args[1])
        if exponent is not None and abs(exponent) in (Fraction(1, 2), Fraction(1, 4)):
            root = apply("sqrt", base)
            root = apply("sqrt", root) if exponent.denominator == 4 else root
            return _reciprocal_if(exponent < 0, root)
        is_product = exponent is not None and exponent.denominator == 1
        if not is_tensor or exponent is None or not is_product or abs(exponent) > MAX_PRODUCT:
            power = self.value(e.args[1], known)
            return Builder(self.real, is_tensor).operation("pow", base, power)
        product = terms.constant(1.0, self.real) if exponent == 0 else base
        for _ in range(abs(int(exponent)) - 1):
            product = apply("mul", product, base)
        return _reciprocal_if(exponent < 0, product)


def _reciprocal_if(wanted: bool, x: Term) -> Term:
    return apply("div", terms.constant(1.0, x.kind), x) if wanted else x


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
    """

    real: str
    is_tensor: bool

    def number(self, value: float, like: Term) -> Term:
        """A constant of the kind of another term."""
        return terms.constant(value, like.kind)

    def rounded(self, value: Term) -> Term:
        """A scalar where a tensor is needed; conditions and tensors stay as they are."""
        return value if value.kind == "bool" else apply("cvt", value, kind=self.real)

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
