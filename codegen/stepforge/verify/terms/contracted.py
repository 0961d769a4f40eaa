"""What approximate and contracted instructions stand for: fast mode beside the rule."""

from __future__ import annotations

from stepforge.operations import formulas
from stepforge.verify.terms import functions, terms
from stepforge.verify.terms.operations import plain
from stepforge.verify.terms.terms import Term, apply, node, nodes


def meant(term: Term) -> Term:
    """A term with what approximate and contracted instructions stand for over the reals.

    So they have the normal forms of the rule's operations, and what comes to the operations of a
    function's formula is that function.
    """
    return _meant(term)[term]


def _meant(term: Term) -> dict[Term, Term]:
    """The same of every part of a term."""
    done: dict[Term, Term] = {}
    for part in nodes([term]):
        args = tuple(done[a] for a in part.args)
        op, is_approximate = plain(part.op), ".approx" in part.op or ".full" in part.op
        if all(a.is_constant for a in args):
            done[part] = part  # a number that is not to be rounded
        elif is_approximate and op in formulas.names():
            done[part] = functions.call(op, *args)
        elif is_approximate and op in ("div", "sqrt"):
            done[part] = apply(op, *args)
        elif op == "rcp":
            done[part] = apply("div", terms.constant(1.0, part.kind), *args)
        elif op == "fma":
            done[part] = apply("add", apply("mul", *args[:2]), args[2])
        elif args == part.args:
            done[part] = part
        else:
            done[part] = apply(part.op, *args, kind=part.kind, data=part.data)
    return done


def with_functions(term: Term) -> Term:
    """A term with a function where there is its formula, but for products fused with sums."""
    stands_for, made = _meant(term), dict[Term, Term]()
    origins: dict[Term, Term] = {}
    for part in nodes([term]):
        args, whole = tuple(made[a] for a in part.args), stands_for[part]
        is_found = whole.op.endswith(functions.SUFFIX) and plain(part.op) != plain(whole.op)
        if is_found and all(a in origins for a in whole.args):
            op = plain(whole.op) + functions.FUSED
            made[part] = node(op, part.kind, tuple(origins[a] for a in whole.args))
        elif args == part.args:
            made[part] = part
        else:
            made[part] = apply(part.op, *args, kind=part.kind, data=part.data)
        origins.setdefault(whole, made[part])
    return made[term]


def loosened(rule: Term, like: Term) -> Term:
    """A rule by the least exact instructions that another term has for its operations."""
    forms = {plain(n.op): n.op for n in nodes([like]) if ".approx" in n.op or ".full" in n.op}
    done: dict[Term, Term] = {}
    for part in nodes([rule]):
        args, op = tuple(done[a] for a in part.args), plain(part.op)
        form = op + functions.FUSED if part.op.endswith(functions.SUFFIX) else part.op
        form = forms.get(op, form)
        if form == part.op and args == part.args:
            done[part] = part
        else:
            done[part] = node(form, part.kind, args, part.data)
    return done[rule]
