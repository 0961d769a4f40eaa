"""What the user takes for granted: `--with "beta1 = 0"`, `--with "lr_B = lr/(1 - beta)"`.

The text is parsed as a statement of the rule language; it is bounded, and never evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.language.expression import Apply, Assign, Expression, Name, Number, names
from stepforge.language.parser import parse_rule
from stepforge.language.source import parse
from stepforge.relations.hypotheses import Condition
from stepforge.relations.reals import KIND
from stepforge.relations.sides import Side, T
from stepforge.verify.terms import terms
from stepforge.verify.terms.terms import Term, apply

_OPERATIONS = ("add", "sub", "mul", "div", "pow", "neg", "sqrt")


@dataclass(frozen=True)
class Asked:
    """What is taken for granted.

    Attributes:
        conditions: Values of A's hyperparameters, and of those of B with the same name.
        of_b: Values of B's hyperparameters, made of A's and of `t`.
        first_only: Whether only the first step counts.
    """

    conditions: tuple[Condition, ...] = ()
    of_b: Mapping[str, Term] = field(default_factory=dict)
    first_only: bool = False


NOTHING = Asked()


def asked(texts: Sequence[str], a: Side, b: Side) -> Asked:
    """What the texts say.

    Args:
        texts: Statements `name = expression`; a name with `_A` or `_B` is that of one side.
        a: The one side.
        b: The other one.

    Raises:
        SpecError: A text is no such statement, or about something that there is not.
    """
    conditions: list[Condition] = []
    of_b: dict[str, Term] = {}
    first_only = False
    for text in texts:
        for statement in _statements(text):
            name, value = statement.name, statement.value
            if name == "t":
                if not (isinstance(value, Number) and value.value == 1):
                    raise _error(text, "`t` can be 1 alone: the first step", "write `t = 1`")
                first_only = True
                continue
            side, own = _side(text, name, a, b)
            term = _term(text, value, a)
            if term.is_constant and term.number not in side.domains[own]:
                raise _error(text, f"{term.number:g} is not in the domain of `{own}`", "")
            if side is b:
                of_b[own] = term
            else:
                conditions.append(Condition(own, term))
    left = {c.name for c in conditions}
    if len(left) < len(conditions):
        raise _error(texts[-1], "a name has two values", "")
    return Asked(tuple(conditions), of_b, first_only)


def _error(text: str, message: str, help: str) -> SpecError:
    return SpecError([Diagnostic("E090", message, f"--with '{short(text)}'", help=help)])


def _statements(text: str) -> list[Assign]:
    source = parse(f"with = {json.dumps(text, ensure_ascii=False)}\n", "--with")
    found: list[Diagnostic] = []
    statements = parse_rule(source, ("with",), text, found)
    if found:
        raise SpecError(found)
    assigned = [statement for statement in statements if isinstance(statement, Assign)]
    if not assigned or len(assigned) < len(statements):
        raise _error(text, "this is no condition", "write for example `beta1 = 0`")
    return assigned


def _side(text: str, name: str, a: Side, b: Side) -> tuple[Side, str]:
    """Whose hyperparameter it is, and how it is called there."""
    for ending, sides in (("_A", (a,)), ("_B", (b,)), ("", (a, b))):
        own = name.removesuffix(ending)
        for side in sides:
            if name.endswith(ending) and own in side.usual:
                return side, own
    known = sorted({*a.usual, *b.usual})
    help = nearest(name, known) or f"there are {', '.join(known) or 'none'}"
    raise _error(text, f"no hyperparameter named `{short(name)}`", help)


def _term(text: str, value: Expression, a: Side) -> Term:
    """The value, made of A's hyperparameters and of `t`."""
    for name in names(value):
        own = name.id.removesuffix("_A")
        if own not in a.hyperparameters and name.id != "t":
            known = [*a.hyperparameters, "t"]
            help = nearest(own, known) or f"there are {', '.join(known)}"
            raise _error(text, f"`{short(name.id)}` is none of {a.label}", help)
    found = _translated(value)
    if found is None:
        raise _error(text, "there are only + - * / ** and sqrt in a condition", "")
    return found


def _translated(e: Expression) -> Term | None:
    if isinstance(e, Number):
        return terms.constant(e.value, KIND)
    if isinstance(e, Name):
        return T if e.id == "t" else terms.scalar(e.id.removesuffix("_A"))
    args = [_translated(argument) for argument in e.args]
    known = [argument for argument in args if argument is not None]
    if not isinstance(e, Apply) or e.op not in _OPERATIONS or len(known) < len(args):
        return None
    return apply(e.op, *known)
