"""The NumPy file as terms, which have to be the rule's: the same rounded operations, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepforge.language.names import aside
from stepforge.language.spec import Options, Spec
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.lifted import Unsupported
from stepforge.verify.terms.rule import Expected
from stepforge.verify.terms.source_terms import Integer, Source, Value
from stepforge.verify.terms.terms import Term


def values(source: Source, spec: Spec, options: Options, storage: Mapping[str, str]) -> Expected:
    """What `step` of the NumPy file returns.

    Args:
        source: The file.
        spec: Its spec.
        options: The option set.
        storage: The kind of every tensor.

    Returns:
        New tensors and scalar states; the trace is empty.

    Raises:
        Unsupported: It holds something that cannot be lifted, or returns something else.
    """
    given = inputs(spec, options)
    given |= {name: Value(terms.load(name, storage[name])) for name in spec.given}
    state: dict[str, Any] = {
        s.name: Value(terms.scalar(s.name), weak=True)
        if s.scalar
        else Value(terms.load(s.name, storage[s.name]))
        for s in spec.active_states(options)
    }
    result = source.run("step", {**given, aside(spec, "state"): state})
    match result:
        case (Value(term=p, weak=False), dict() as new):
            pass
        case _:
            raise Unsupported(0, "step does not return the new p and state")
    active = spec.active_states(options)
    if set(new) != {s.name for s in active}:
        odd = sorted(set(new) ^ {s.name for s in active})[0]
        raise Unsupported(0, f"the returned state and `{odd}`")
    stores: dict[str, Term] = {"p": p}
    scalars: dict[str, Term] = {}
    for s in active:
        value = source.number(new[s.name], source.functions["step"])
        if s.scalar is not value.weak:
            raise Unsupported(0, f"the returned `{s.name}` is of another type")
        (scalars if s.scalar else stores)[s.name] = value.term
    return Expected(rule.compute_kind(storage), [], stores, scalars)


def factor(source: Source, spec: Spec) -> Term:
    """What `factor` of the file of a schedule returns.

    Raises:
        Unsupported: It holds something that cannot be lifted, or returns something else.
    """
    match source.run("factor", inputs(spec, {})):
        case Value(term=term, weak=True):
            return term
    raise Unsupported(0, "factor does not return a number of Python")


def inputs(spec: Spec, options: Options) -> dict[str, Any]:
    """The parameters of `step` that are not tensors."""
    return {
        "t": Integer(terms.scalar("t")),
        **{h.name: Value(terms.scalar(h.name), weak=True) for h in spec.numbers},
        **{o.name: options[o.name] for o in spec.options},
    }
