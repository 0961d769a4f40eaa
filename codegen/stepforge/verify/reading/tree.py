"""What a rule consists of for those who judge: exact numbers, names, operations, statements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

Options = Mapping[str, bool]
MOST_FACTORS = 16
"""Up to here a whole power of a tensor is a product."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal, exactly as it is written."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """Whatever has a name."""

    id: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation, by its name in the table of operations, and its arguments in order."""

    op: str
    args: tuple[Expression, ...]


Expression = Number | Name | Apply


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    """`name = value`.

    Attributes:
        name: The name.
        value: Its new value.
        line: In the rule's text, from 1.
        before: The names that are tensors before it, whatever the options.
        after: Those that are tensors behind it.
    """

    name: str
    value: Expression
    line: int
    before: frozenset[str]
    after: frozenset[str]

    @property
    def on_host(self) -> bool:
        """Whether the name becomes one number of the host, and no tensor."""
        return self.name not in self.after


@dataclass(frozen=True, slots=True, eq=False)
class If:
    """A block; `elif` is an `If` in `orelse`. `before` and `after` are those of `Assign`."""

    condition: Expression
    body: tuple[Statement, ...]
    orelse: tuple[Statement, ...]
    before: frozenset[str]
    after: frozenset[str]


Statement = Assign | If


def names(e: Expression) -> Iterator[str]:
    """The names in an expression."""
    if isinstance(e, Name):
        yield e.id
    elif isinstance(e, Apply):
        for argument in e.args:
            yield from names(argument)


COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
"""Their names in the table of operations."""


def operations(e: Expression) -> Iterator[Apply]:
    """The operations of an expression."""
    if isinstance(e, Apply):
        yield e
        for argument in e.args:
            yield from operations(argument)


def compared(e: Expression) -> Iterator[tuple[Expression, str, Expression]]:
    """The comparisons in an expression: left side, operation, right side."""
    for part in operations(e):
        if part.op in COMPARISONS:
            yield part.args[0], part.op, part.args[1]


def holds(e: Expression | None, options: Options) -> bool | None:
    """A condition on options, which none is always true of; None where it is about more."""
    match e:
        case None:
            return True
        case Name(name):
            return options.get(name)
        case Apply("not", (inner,)):
            value = holds(inner, options)
            return None if value is None else not value
        case Apply("and" | "or" as op, args):
            values = [holds(argument, options) for argument in args]
            if None in values:
                return None
            return all(values) if op == "and" else any(values)
    return None


def constant(e: Expression) -> Fraction | None:
    """The exact value of arithmetic on numbers; None where there are names, or no exact value."""
    if isinstance(e, Number):
        return e.value
    if isinstance(e, Name):
        return None
    found = [constant(argument) for argument in e.args]
    match e.op, [value for value in found if value is not None]:
        case _, values if len(values) < len(found):
            return None
        case "neg", [x]:
            return -x
        case "add", [x, y]:
            return x + y
        case "sub", [x, y]:
            return x - y
        case "mul", [x, y]:
            return x * y
        case "div", [x, y] if y:
            return x / y
        case "mod", [x, y] if y:
            return x - y * math.floor(x / y)
        case "pow", [x, n] if n.denominator == 1 and (x or n >= 0):
            return x ** int(n)
        case "pow", [x, n] if not x and n > 0:
            return x
        case "sqrt", [x] if not x:
            return x
        case "abs", [x]:
            return abs(x)
        case "floor", [x]:
            return Fraction(math.floor(x))
        case "min", values:
            return min(values)
        case "max", values:
            return max(values)
    return None


@dataclass(frozen=True, slots=True)
class Power:
    """A power that is computed by other operations.

    Attributes:
        roots: How many square roots are taken of the base.
        factors: How many times the base, or its root, is a factor; 0 for the number 1.
        inverse: Whether the result is one over that.
    """

    roots: int
    factors: int
    inverse: bool


def power(exponent: Expression, is_tensor: bool) -> Power | None:
    """How a power is computed; None for the function of two numbers.

    Square and fourth roots are roots; of tensors, whole powers up to `MOST_FACTORS` are products.
    """
    value = constant(exponent)
    if value is None:
        return None
    size = abs(value)
    if size in (Fraction(1, 2), Fraction(1, 4)):
        return Power(1 if size == Fraction(1, 2) else 2, 1, value < 0)
    if is_tensor and size.denominator == 1 and size <= MOST_FACTORS:
        return Power(0, int(size), value < 0)
    return None


def straight(statements: Iterable[Statement], options: Options) -> Iterator[Assign]:
    """The assignments that may run under these options, in order.

    Of a block on numbers, which only a step decides, both arms may run.
    """
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement
            continue
        choice = holds(statement.condition, options)
        if choice is not False:
            yield from straight(statement.body, options)
        if choice is not True:
            yield from straight(statement.orelse, options)


def comparisons(statements: Iterable[Statement]) -> Iterator[tuple[Expression, str, Expression]]:
    """The comparisons of a rule, in the order of the text."""
    for s in everything(statements):
        yield from compared(s.value if isinstance(s, Assign) else s.condition)


def everything(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, in the order of the text, whatever the options."""
    for statement in statements:
        yield statement
        if isinstance(statement, If):
            yield from everything(statement.body)
            yield from everything(statement.orelse)
