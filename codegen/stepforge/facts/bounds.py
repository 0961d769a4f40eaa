"""How far one step can go: bounds on values, also by what the past gradients add up to.

Of an average `v = c*v + d*g**2` of squares, Cauchy and Schwarz bound every average `m = a*m + b*g`:

    |m| <= |b| * sqrt((1 + r + … + r**(t - 1))/d) * sqrt(v),  r = a**2/c

So sizes are bounded by powers of such a `v`, the reference, above and below; where a step is a
quotient of both, the power is gone and a number is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import sympy

from stepforge.facts.run import LATER, Question, T, steps, symbol
from stepforge.facts.values import NONE, Value
from stepforge.language.mathematics import meaning, symbols
from stepforge.language.spec import Options, Spec, straight
from stepforge.operations.table import OPERATIONS

ONE = sympy.Integer(1)


@dataclass(frozen=True)
class Size:
    """`low * v**(power/2) <= x`, and `|x| <= high * v**(power/2)`.

    Attributes:
        high: Infinite if there is no bound.
        low: None if it may be negative.
        power: Of the root of the reference.
    """

    high: sympy.Expr = sympy.oo
    low: sympy.Expr | None = None
    power: sympy.Expr = NONE


LONGEST = 12
"""Operations of the larger of two bounds."""
UNKNOWN, ZERO = Size(), Size(NONE, NONE)


@dataclass(frozen=True)
class Bounds:
    """Sizes of values.

    Attributes:
        shares: The names of numbers between 0 and 1.
        gradient: The size of the gradient.
    """

    shares: frozenset[str]
    gradient: Size = UNKNOWN
    zero: Size = ZERO
    unknown: Size = UNKNOWN
    moves: bool = True

    def leaf(self, name: str, exact: sympy.Expr | None) -> Size:
        """The size of a number, or of a tensor that a step is given."""
        if exact is None:
            return self.gradient if name == "g" else UNKNOWN
        if self.nonnegative(exact):
            return Size(exact, exact)
        return Size(-exact if self.nonnegative(-exact) else sympy.Abs(exact))

    def settled(self, rest: Size, exact: object) -> Size:
        """A number of the host is its own bound."""
        return self.leaf("", exact) if isinstance(exact, sympy.Expr) else rest

    def lasting(self, rest: Size, changing: Set[sympy.Symbol]) -> Size:
        """A bound by what changes, or by the reference, is none."""
        if rest.power == 0 and not rest.high.free_symbols & changing:
            return Size(rest.high, NONE if rest.low is not None else None)
        return Size(low=NONE if rest.low is not None else None)

    def nonnegative(self, e: sympy.Expr) -> bool:
        """Whether a number of the host is surely zero or more."""
        if e.is_nonnegative:
            return True
        if isinstance(e, sympy.Mul):
            return all(map(self.nonnegative, e.args))
        if isinstance(e, sympy.Pow):
            return self.nonnegative(e.base)
        if isinstance(e, sympy.Add):
            if all(map(self.nonnegative, e.args)):
                return True
            first, *rest = sorted(e.args, key=lambda a: not a.is_number)
            return bool(first.is_number and first >= 1 and len(rest) == 1) and self._share(-rest[0])
        return False

    def _share(self, e: sympy.Expr) -> bool:
        """Whether it is surely between 0 and 1."""
        if isinstance(e, sympy.Symbol):
            return e.name in self.shares
        if isinstance(e, sympy.Pow):
            return self._share(e.base) and bool(e.exp.is_nonnegative)
        return isinstance(e, sympy.Mul) and all(map(self._share, e.args))

    def add(self, a: Size, b: Size) -> Size:
        """The bounds add."""
        if ZERO in (a, b):
            return b if a == ZERO else a
        if a.power == b.power:
            low = None if a.low is None or b.low is None else a.low + b.low
            high = a.high + b.high if _finite(a.high) and _finite(b.high) else sympy.oo
            return Size(high, low, a.power)
        return self._below(a, b) if a.low is not None and b.low is not None else UNKNOWN

    def _below(self, *sizes: Size) -> Size:
        """What is at least each of these, and not negative."""
        best = next((s for s in sizes if s.power != 0 and s.low not in (None, NONE)), None)
        best = best or next((s for s in sizes if s.low not in (None, NONE)), None)
        return Size(low=best.low, power=best.power) if best else Size(low=NONE)

    def either(self, a: Size, b: Size) -> Size:
        """The wider bounds."""
        if a.power != b.power and ZERO not in (a, b):
            return UNKNOWN
        power = b.power if a == ZERO else a.power
        low = None
        if a.low is not None and b.low is not None:
            low = a.low if a.low == b.low else NONE
        return Size(_larger(a.high, b.high), low, power)

    def chosen(self, condition: Size, a: Size, b: Size) -> Size:
        """Any of the two."""
        return self.either(a, b)

    def multiply(self, a: Size, b: Size) -> Size:
        """The bounds are multiplied."""
        if ZERO in (a, b):
            return ZERO
        low = None if a.low is None or b.low is None else a.low * b.low
        bounded = _finite(a.high) and _finite(b.high)
        return Size(a.high * b.high if bounded else sympy.oo, low, a.power + b.power)

    def divide(self, a: Size, b: Size) -> Size:
        """The upper bound over the lower one."""
        if b.low is None or b.low == 0:
            return Size(low=NONE if a.low is not None and b.low is not None else None)
        low = None
        if a.low is not None:
            low = a.low / b.high if _finite(b.high) else NONE
        return Size(a.high / b.low if _finite(a.high) else sympy.oo, low, a.power - b.power)

    def power(self, a: Size, exponent: sympy.Expr) -> Size:
        """The bounds to this power."""
        if exponent.is_negative:
            return self.divide(Size(ONE, ONE), self.power(a, -exponent))
        even = bool(exponent.is_even)
        if not exponent.is_nonnegative or not (even or exponent.is_integer or a.low is not None):
            return UNKNOWN
        low = NONE if even else None
        if a.low is not None:
            low = self._raised(a.low, exponent)
        high = self._raised(a.high, exponent) if _finite(a.high) else sympy.oo
        return Size(high, low, a.power * exponent)

    def _raised(self, e: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        """A power, also of the factors where none is negative."""
        if isinstance(e, sympy.Mul) and self.nonnegative(e):
            return sympy.Mul(*(self._raised(factor, exponent) for factor in e.args))
        if isinstance(e, sympy.Pow) and self.nonnegative(e.base):
            return e.base ** (e.exp * exponent)
        return e**exponent

    def call(self, op: str, args: Sequence[Value[Size]]) -> Size:
        """Functions with bounded results have their bounds."""
        rests = [a.rest for a in args]
        first, low = rests[0], NONE if args[0].nonnegative or rests[0].low is not None else None
        if OPERATIONS[op].boolean:
            return Size(ONE, NONE)
        match op, rests:
            case "neg", _:
                return Size(first.high, NONE if first == ZERO else None, first.power)
            case "abs", _:
                return Size(first.high, low if low is not None else NONE, first.power)
            case "sqrt", _:
                half = sympy.Rational(1, 2)
                return self.power(Size(first.high, first.low or NONE, first.power), half)
            case (("sign" | "tanh" | "sin" | "cos"), _):
                return Size(ONE, None if op in ("sin", "cos") else low)
            case "atan2", _:
                return Size(sympy.pi / 2 if args[1].nonnegative else sympy.pi)
            case "exp", _ if first.power == 0:
                return Size(sympy.exp(first.high) if _finite(first.high) else sympy.oo, NONE)
            case "clip", (_, least, most) if least.power == most.power == 0:
                ends = self.either(least, most)
                return Size(ends.high, NONE if args[1].nonnegative else None)
            case "max", (a, b):
                if a.low is None and b.low is None:
                    return self.either(a, b)
                high = _larger(a.high, b.high) if a.power == b.power else sympy.oo
                least = self._below(a, b)
                if a.power == b.power == least.power:
                    return Size(high, least.low, a.power)
                return least
            case "min", (a, b) if a.low is not None and b.low is not None:
                best = next((s for s in (a, b) if _finite(s.high) and s.power == 0), a)
                return Size(best.high, NONE, best.power)
            case "min", (a, b):
                return self.either(a, b)
        return UNKNOWN


def _left(spec: Spec, e: sympy.Expr) -> bool:
    """Whether it is what a number below 1 leaves."""
    below = [h.name for h in spec.hyperparameters if h.domain.high <= 1 and h.domain.high_open]
    left = 1 - e
    return isinstance(left, sympy.Symbol) and left.name in below


def _finite(e: sympy.Expr) -> bool:
    return bool(e != sympy.oo)


def _larger(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """The larger of two bounds; infinite where that would be long."""
    if a == b:
        return a
    if sympy.oo in (a, b) or sympy.count_ops(a) + sympy.count_ops(b) > LONGEST:
        return sympy.oo
    return sympy.Max(a, b)


@dataclass(frozen=True)
class Averages:
    """Averages of gradients, bounded by an average of their squares, the reference.

    Attributes:
        reference: Its name.
        c: What is kept of it in a step.
        d: What is added of the squared gradient.
        linear: Averages of the gradient: the name → what is kept, and the size of what is added.
    """

    reference: str
    c: sympy.Expr
    d: sympy.Expr
    linear: Mapping[str, tuple[sympy.Expr, sympy.Expr]] = field(default_factory=dict)

    def before(self, name: str, t: sympy.Expr) -> Value[Size] | None:
        """Of an average before a step: less than after it, but for what is kept."""
        if name == self.reference:
            return Value(Size(1 / self.c, NONE, sympy.Integer(2)), nonnegative=True)
        if name in self.linear:
            return Value(Size(self._factor(name, t) / sympy.sqrt(self.c), None, ONE))
        return None

    def after(self, name: str, t: sympy.Expr) -> Value[Size] | None:
        """Of an average after a step."""
        if name == self.reference:
            return Value(Size(ONE, ONE, sympy.Integer(2)), nonnegative=True)
        return Value(Size(self._factor(name, t), None, ONE)) if name in self.linear else None

    def _factor(self, name: str, t: sympy.Expr) -> sympy.Expr:
        kept, added = self.linear[name]
        ratio = kept**2 / self.c
        return added / sympy.sqrt(self.d) * sympy.sqrt((1 - ratio**t) / (1 - ratio))


def averages(
    spec: Spec, options: Options, zeros: frozenset[str], bounds: Bounds
) -> Iterator[Averages]:
    """The averages of squares that a rule has, each with the averages of gradients."""
    names = symbols(spec)
    g, given = names["g"], {symbol(h.name, h.domain): names[h.name] for h in spec.hyperparameters}
    nothing = {names[name]: NONE for name in zeros}
    back = {own: outer for outer, own in given.items()}
    constants = {names[h.name] for h in spec.hyperparameters}
    assigned = [s.name for s in straight(spec.rule, options)]
    found: dict[str, tuple[int, sympy.Expr, sympy.Expr]] = {}
    after = meaning(spec, options)
    for state in spec.active_states(options):
        new = after[state.name].subs(nothing)
        if state.scalar or assigned.count(state.name) != 1 or new.has(sympy.Piecewise):
            continue
        own, new = names[state.name], sympy.expand(new)
        kept = new.coeff(own, 1).coeff(g, 0)
        for power in (1, 2):
            added = new.coeff(g, power).coeff(own, 0)
            parts = kept.free_symbols | added.free_symbols
            if parts <= constants and sympy.expand(new - kept * own - added * g**power) == 0:
                found[state.name] = power, kept.xreplace(back), sympy.factor(added.xreplace(back))
    starts = {s.name: s.init for s in spec.active_states(options)}
    zero = {n for n, e in starts.items() if getattr(e, "value", None) == 0}
    linear = {}
    for name, (power, kept, added) in found.items():
        size = next((x for x in (added, -added) if bounds.nonnegative(x)), NONE)
        if power == 1 and name in zero and size != 0:
            linear[name] = kept, size
    for name, (power, kept, added) in found.items():
        positive = spec.domains[name].low >= 0 and bounds.nonnegative(kept)
        if power == 2 and positive and bounds.nonnegative(added) and 0 not in (kept, added):
            yield Averages(name, kept, added, linear)


@dataclass(frozen=True)
class Bound:
    """How far a step goes at most.

    Attributes:
        later: In a step from the second on, with `t` for its number.
        first: In the first one.
        positive: What has to be more than zero.
        other: What must not be 1.
    """

    later: sympy.Expr
    first: sympy.Expr
    positive: tuple[sympy.Expr, ...] = ()
    other: tuple[sympy.Expr, ...] = ()


def bound(spec: Spec, options: Options, zeros: frozenset[str]) -> Bound | None:
    """A bound on a step, if one is found.

    Args:
        spec: The optimizer.
        options: The option set.
        zeros: The hyperparameters that are zero.
    """
    shares = {h.name for h in spec.hyperparameters if h.domain.low >= 0 and h.domain.high <= 1}
    plain = Bounds(frozenset(shares))
    if found := _bound(spec, options, zeros, plain, None):
        return found
    for known in averages(spec, options, zeros, plain):
        size = Size(1 / sympy.sqrt(known.d), None, ONE)
        if found := _bound(spec, options, zeros, Bounds(plain.shares, size), known):
            return found
    return None


def _bound(
    spec: Spec, options: Options, zeros: frozenset[str], bounds: Bounds, known: Averages | None
) -> Bound | None:
    found = steps(Question(spec, options, bounds, zeros, each=True, known=known))
    sizes = []
    for after in (found.later["p"], found.first["p"]):
        if after.weight != 1 or after.rest.power != 0 or not _finite(after.rest.high):
            return None
        sizes.append(after.rest.high)
    later, first = sizes
    later = later.subs(LATER, T - 2)
    if not later.free_symbols <= {T, *(symbol(h.name, h.domain) for h in spec.hyperparameters)}:
        return None
    if known is None:
        return Bound(later, first)
    ratios = {kept**2 / known.c for kept, _ in known.linear.values()}
    used = tuple(sorted((r for r in ratios if later.has(r) or not r.is_number), key=str))
    positive = tuple(x for x in (known.c, known.d) if not (x.is_positive or _left(spec, x)))
    return Bound(later, first, positive, used)
