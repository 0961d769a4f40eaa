"""What is tried: which hyperparameter is which, and under which conditions.

The names of A's hyperparameters are the variables. Those of B are variables of the same name, A's
under another name, or an expression of variables; what is left of B's has variables of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepforge.language.spec import Interval
from stepforge.relations.reals import ONE, number, replaced
from stepforge.relations.sides import Side, T
from stepforge.verify.terms import terms
from stepforge.verify.terms.terms import Term, apply, nodes

MOST_RENAMINGS = 24
"""Ways to call hyperparameters that are tried."""
LEARNING_RATE, EPSILON = "learning_rate", "epsilon"


@dataclass(frozen=True, slots=True)
class Condition:
    """One variable has a value: a number, or that of another variable."""

    name: str
    value: Term

    @property
    def text(self) -> str:
        """Such as `beta1 = 0`."""
        return f"{self.name} = {shown(self.value)}"


@dataclass(frozen=True)
class Translation:
    """What B's hyperparameters are.

    Attributes:
        values: Of each of B's hyperparameters, as a term of variables.
        own: B's hyperparameters that are variables by themselves → their variables.
        substitutions: How many of the values are more than a variable.
        fixed: Those of B's hyperparameters whose values the user has given.
        plain: The same with variables in place of expressions that were looked for.
    """

    values: Mapping[str, Term]
    own: Mapping[str, str]
    substitutions: int = 0
    fixed: frozenset[str] = frozenset()
    plain: Translation | None = None

    @property
    def texts(self) -> list[tuple[str, str]]:
        """B's name and what it is, of what is not called the same."""
        return [(k, shown(v)) for k, v in self.values.items() if v is not terms.scalar(k)]


@dataclass(frozen=True)
class Hypothesis:
    """One way in which two sides may be equal.

    Attributes:
        translation: What B's hyperparameters are.
        conditions: What has to hold.
        first_only: Whether it is about the first step alone.
    """

    translation: Translation
    conditions: tuple[Condition, ...] = ()
    first_only: bool = field(default=False, kw_only=True)

    @property
    def is_conditional(self) -> bool:
        """Whether more is needed than other names, or numbers that are the same in every step."""
        fixed = any(v.is_constant for v in self.translation.values.values())
        return bool(self.conditions) or self.first_only or fixed or bool(self.schedules)

    @property
    def schedules(self) -> dict[str, Term]:
        """What hyperparameters of B are in a step, if it depends on the step."""
        values = self.translation.values.items()
        return {name: value for name, value in values if T in {*nodes([value])}}

    def given(self, a: Side, b: Side, domains: Mapping[str, Interval]) -> tuple[Given, Given]:
        """The hyperparameters of both sides as terms of what is still free."""
        known = {terms.scalar(c.name): c.value for c in self.conditions}
        own = {name: replaced(terms.scalar(name), known, domains) for name in a.hyperparameters}
        values = self.translation.values
        return own, {name: replaced(values[name], known, domains) for name in b.hyperparameters}


Given = Mapping[str, Term]


def shown(term: Term) -> str:
    """A term of few operations as it is written."""
    return _shown(term, 0)


def _shown(term: Term, level: int) -> str:
    """A term in brackets if its operation binds less than what is around it."""
    if term.is_constant:
        return f"{term.number:g}"
    if not term.args:
        return str(term.data)
    a = term.args
    match term.op:
        case "add" if any(x.op == "neg" for x in a) and not all(x.op == "neg" for x in a):
            minus, plus = a if a[0].op == "neg" else a[::-1]
            text, own = f"{_shown(plus, 1)} - {_shown(minus.args[0], 2)}", 1
        case "add":
            text, own = " + ".join(sorted(_shown(x, 1) for x in a)), 1
        case "mul" if a[0] is a[1]:
            text, own = f"{_shown(a[0], 5)}**2", 4
        case "mul":
            text, own = "*".join(sorted((_shown(x, 2) for x in a), key=_order)), 2
        case "div":
            text, own = f"{_shown(a[0], 2)}/{_shown(a[1], 3)}", 2
        case "pow":
            text, own = f"{_shown(a[0], 5)}**{_shown(a[1], 5)}", 4
        case "neg":
            text, own = f"-{_shown(a[0], 2)}", 2
        case op:
            text, own = f"{op}({', '.join(_shown(x, 0) for x in a)})", 9
    return f"({text})" if own < level else text


def _order(text: str) -> tuple[bool, str]:
    return text.startswith("("), text


# Which hyperparameter is which.


def translations(a: Side, b: Side, fixed: Mapping[str, Term]) -> list[Translation]:
    """The ways to call B's hyperparameters by A's, most first.

    Args:
        a: The one side.
        b: The other one.
        fixed: Values of B's hyperparameters that the user has given.
    """
    named = {name: _namesake(a, b, name) for name in b.hyperparameters if name not in fixed}
    named = {name: found for name, found in named.items() if found}
    free_a = [n for n in a.hyperparameters if n not in named.values()]
    free_b = [n for n in b.hyperparameters if n not in named and n not in fixed]
    made = []
    for renamed in _renamings(a, b, free_a, free_b):
        mapped = named | renamed
        own = {n: _own_name(a, n) for n in free_b if n not in renamed}
        values = {n: terms.scalar((mapped | own)[n]) for n in b.hyperparameters if n not in fixed}
        made.append(Translation({**values, **fixed}, own, fixed=frozenset(fixed)))
    return made[:MOST_RENAMINGS]


def _namesake(a: Side, b: Side, name: str) -> str:
    """A's hyperparameter that is surely meant: it has the same role, or name and kind; or ""."""
    for role in (LEARNING_RATE, EPSILON):
        one, other = a.spec.roles.get(role), b.spec.roles.get(role)
        if name in (one, other) and (one in a.hyperparameters or role == LEARNING_RATE):
            return one if one and name == other and one in a.hyperparameters else ""
    same = name in a.hyperparameters
    return name if same and is_share(a.usual[name]) == is_share(b.usual[name]) else ""


def _own_name(a: Side, name: str) -> str:
    return f"{name}_B" if name in {*a.domains, *a.inputs, "p", "g", "t"} else name


def is_share(interval: Interval) -> bool:
    """Whether it has two ends, as the range of a decay has."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _renamings(a: Side, b: Side, free_a: list[str], free_b: list[str]) -> Iterator[dict[str, str]]:
    """Pairs of shares without a counterpart that have the same range; most pairs first."""
    pairs = [
        (one, other)
        for one in free_b
        for other in free_a
        if is_share(b.usual[one]) and _same_kind(b.usual[one], a.usual[other])
    ]
    for size in range(min(len(free_a), len(free_b)), -1, -1):
        for chosen in itertools.combinations(pairs, size):
            if len({one for one, _ in chosen}) == len({other for _, other in chosen}) == size:
                yield dict(chosen)


def _same_kind(one: Interval, other: Interval) -> bool:
    return (one.low, one.high) == (other.low, other.high)


def variables(a: Side, b: Side, translation: Translation) -> dict[str, Interval]:
    """The variables and the values that they may have on both sides."""
    found = {name: a.domains[name] for name in a.hyperparameters}
    for name, value in translation.values.items():
        if value.args or value.is_constant:
            continue
        known = found.get(value.data)
        found[value.data] = common(known, b.domains[name]) if known else b.domains[name]
    return found


def common(one: Interval, other: Interval) -> Interval:
    """What is inside of both."""
    low, low_open = max((one.low, one.low_open), (other.low, other.low_open))
    high, closed = min((one.high, not one.high_open), (other.high, not other.high_open))
    return Interval(low, high, low_open, not closed)


# Expressions in place of names.


def substituted(a: Side, b: Side, plain: Translation, most: int) -> Iterator[Translation]:
    """Translations in which some of B's hyperparameters are expressions of variables.

    Args:
        a: The one side.
        b: The other one.
        plain: The translation without such.
        most: How many there may be: 0 for none, 1 for one or a schedule, 2 for two.
    """
    choices = list(_expressions(a, b, plain)) if most else []
    for count in range(most + 1):
        for chosen in itertools.combinations(choices, count):
            if len({name for name, _ in chosen}) == count:
                values = {**plain.values, **dict(chosen)}
                yield replace(plain, values=values, substitutions=count, plain=plain)
    for schedule in _schedules(a, b, plain) if most else ():
        values = {**plain.values, **schedule}
        yield replace(plain, values=values, substitutions=2, plain=plain)


def usual(a: Side, b: Side, plain: Translation) -> dict[str, Interval]:
    """The usual values of the variables, on both sides."""
    found = {name: a.usual[name] for name in a.hyperparameters}
    for name, value in plain.values.items():
        if not value.args and not value.is_constant:
            own = b.usual[name]
            found[value.data] = common(found[value.data], own) if value.data in found else own
    return found


def _named(a: Side, plain: Translation) -> dict[str, Term]:
    """Those of B's hyperparameters that are one of A's, but for what the user has given."""
    found = {n: v for n, v in plain.values.items() if not v.args and not v.is_constant}
    return {
        name: value
        for name, value in found.items()
        if value.data in a.hyperparameters and name not in plain.fixed
    }


def _expressions(a: Side, b: Side, plain: Translation) -> Iterator[tuple[str, Term]]:
    """A rate times or over a share, what a share leaves of 1, a number times or over the rate."""
    rate = a.spec.roles.get(LEARNING_RATE)
    spans = usual(a, b, plain)
    shares = [terms.scalar(n) for n, span in spans.items() if is_share(span)]
    for name, value in _named(a, plain).items():
        if value.data == rate:
            for factor in (x for share in shares for x in (minus(share), share)):
                yield name, apply("mul", value, factor)
                yield name, apply("div", value, factor)
        elif is_share(spans[value.data]):
            yield name, minus(value)
        elif rate is not None and rate in a.hyperparameters:
            yield name, apply("mul", value, terms.scalar(rate))
            yield name, apply("div", value, terms.scalar(rate))


def _schedules(a: Side, b: Side, plain: Translation) -> Iterator[dict[str, Term]]:
    """Rates with the corrections of the bias of averages, and the epsilon with that of a root."""
    rate, epsilon = (a.spec.roles.get(role) for role in (LEARNING_RATE, EPSILON))
    named = _named(a, plain)
    rates = [name for name, value in named.items() if value.data == rate]
    epsilons = [name for name, value in named.items() if value.data == epsilon]
    spans = usual(a, b, plain)
    left = [minus(apply("pow", terms.scalar(n), T)) for n, s in spans.items() if is_share(s)]
    for name, op in itertools.product(rates, ("mul", "div")):
        back = "div" if op == "mul" else "mul"
        for one in left:
            yield {name: apply(op, named[name], one)}
            root = apply("sqrt", one)
            rooted = {e: apply(op, named[e], root) for e in epsilons}
            value = apply(op, named[name], root)
            yield {name: value, **rooted}
            for other in left:
                if other is not one:
                    yield {name: apply(back, value, other), **rooted}


def minus(share: Term) -> Term:
    """What a share leaves of 1."""
    return apply("add", ONE, apply("neg", share))


# Conditions.


def condition_sets(
    spans: Mapping[str, Interval], inner: Mapping[str, Interval], size: int, taken: Iterable[str]
) -> list[tuple[Condition, ...]]:
    """Sets of conditions of one size: numbers first, then equal names.

    Args:
        spans: The variables and their domains.
        inner: Their usual values.
        size: How many conditions.
        taken: Variables that have a condition already.
    """
    free = {name: span for name, span in spans.items() if name not in {*taken}}
    singles = [Condition(n, number(x)) for n in free for x in _ends(common(spans[n], inner[n]))]
    for one, other in itertools.combinations(free, 2):
        if is_share(inner[one]) and _same_kind(inner[one], inner[other]):
            singles.append(Condition(other, terms.scalar(one)))
    found = itertools.combinations(singles, size)
    return [chosen for chosen in found if _independent(chosen)]


def _ends(span: Interval) -> list[float]:
    """0, 1, and the ends of a domain."""
    return [x for x in dict.fromkeys((0.0, 1.0, span.low, span.high)) if x in span]


def _independent(chosen: Sequence[Condition]) -> bool:
    """Whether no variable has two values, and none that gets one is in another's."""
    names = [c.name for c in chosen]
    others = {c.value.data for c in chosen if not c.value.is_constant}
    return len(set(names)) == len(names) and not others & {*names}
