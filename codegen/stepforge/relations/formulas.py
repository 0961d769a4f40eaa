"""The difference of two `p` as one short formula, with SymPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stepforge.language.spec import Interval
from stepforge.operations.table import OPERATIONS
from stepforge.relations.hypotheses import Translation, variables
from stepforge.relations.reals import KIND, ZERO, number, replaced
from stepforge.relations.sides import Side, T
from stepforge.verify.terms import terms
from stepforge.verify.terms.algebra import Undecided
from stepforge.verify.terms.congruence import limited
from stepforge.verify.terms.evaluation import Real
from stepforge.verify.terms.operations import TERM_OPERATIONS, NoValue, plain
from stepforge.verify.terms.terms import Term
from stepforge.verify.terms.walk import walk

SECONDS = 3.0
LONGEST = 120
"""Characters of a formula that is of use."""


def difference(
    a: Side, b: Side, translation: Translation, values: Mapping[str, float], p: float,
    read: Mapping[str, Sequence[float]],
) -> str:  # fmt: skip
    """A's `p` less B's after some steps, around the point of a witness.

    What is zero there in a step is zero, and of every choice the arm that is taken there counts.

    Args:
        a: The one side.
        b: The other one.
        translation: What B's hyperparameters are.
        values: Of the variables.
        p: Before the first step.
        read: What every step is given, by name: gradients and inputs.
    """
    import sympy

    spans = variables(a, b, translation)
    zeros = {terms.scalar(name): ZERO for name, value in values.items() if value == 0}
    point: dict[str, Any] = {**values, "p": p}
    point |= {_at(n, t, own): x for n, own in read.items() for t, x in enumerate(own, 1)}
    found = []
    for side, given in (
        (a, {name: terms.scalar(name) for name in a.hyperparameters}),
        (b, {name: translation.values[name] for name in b.hyperparameters}),
    ):
        given = {name: replaced(value, zeros, spans) for name, value in given.items()}
        found.append(_after(side, given, spans, read))
    try:
        with limited(SECONDS):
            one, other = (walk(term, _Symbols(sympy, point, spans)) for term in found)
            return _short(sympy, one - other)
    except (Undecided, NoValue, ArithmeticError, TypeError, ValueError):
        return ""


def _short(sympy: Any, e: Any) -> str:
    """The shortest of some forms of a formula."""
    forms = [e]
    for change in (sympy.factor, sympy.simplify, sympy.together):
        try:
            with limited(SECONDS / 2):
                forms.append(change(e))
        except Undecided:
            continue
    text = min((str(form) for form in forms), key=len)
    return text if len(text) <= LONGEST else ""


def _at(name: str, t: int, values: Sequence[float]) -> str:
    """What is given in a step: its name, and the number of the step if there are several."""
    return name if len(values) == 1 else f"{name}{t}"


def _after(
    side: Side, given: Mapping[str, Term], spans: Mapping[str, Interval],
    read: Mapping[str, Sequence[float]],
) -> Term:  # fmt: skip
    """The new `p` after some steps, from the gradients and inputs."""
    state = {name: replaced(term, {}, spans) for name, term in side.inits.items()}
    state["p"] = terms.load("p", KIND)
    scalars = {name for name, given in side.inputs.items() if given.scalar}
    for t in range(1, len(read["g"]) + 1):
        now = {T: number(t)}
        known = {side.leaf(name): value for name, value in state.items()}
        known |= {terms.scalar(n): replaced(v, now, spans) for n, v in given.items()} | now
        for name, values in read.items():
            leaf = terms.scalar if name in scalars else partial(terms.load, kind=KIND)
            known[leaf(name)] = ZERO if values[t - 1] == 0 else leaf(_at(name, t, values))
        state = {name: replaced(term, known, spans) for name, term in side.after.items()}
    return state["p"]


class _Symbols:
    """Formulas of SymPy; choices are decided at a point."""

    def __init__(self, sympy: Any, point: Mapping[str, Any], spans: Mapping[str, Interval]) -> None:
        self.sympy, self.point, self.spans = sympy, point, spans
        self.values: dict[Term, Any] = {}

    def leaf(self, term: Term) -> Any:
        """A symbol; of hyperparameters the sign of the domain, of others that at the point."""
        if term.data in self.spans:
            sign = self.spans[term.data].low >= 0 or None
        else:
            sign = self.point[term.data] > 0
        return self.sympy.Symbol(term.data, positive=sign, real=True)

    def constant(self, term: Term) -> Any:
        """A number, as short as it was written."""
        if term.kind == "bool":
            return self.sympy.true if term.data else self.sympy.false
        return self.sympy.Rational(repr(term.number))

    def apply(self, term: Term, args: list[Any]) -> Any:
        """An operation, or the operand that is chosen at the point."""
        op = plain(term.op)
        if term.kind == "bool":
            return self.sympy.true
        if op == "select":
            return args[1 if self._value(term.args[0]) else 2]
        choice = TERM_OPERATIONS[op].choice if op in TERM_OPERATIONS else ""
        if choice == "abs":
            return args[0] if self._value(term.args[0]) >= 0 else -args[0]
        if choice:
            larger = self._value(term.args[0]) >= self._value(term.args[1])
            return args[0 if larger == (choice == "max") else 1]
        return OPERATIONS[op].meaning(self.sympy, *args)

    def _value(self, term: Term) -> Any:
        return walk(term, Real(self.point), self.values)
