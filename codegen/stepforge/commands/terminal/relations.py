"""How two optimizers are related, as text and as a dictionary."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stepforge.commands.terminal import screen as terminal
from stepforge.commands.terminal import table
from stepforge.relations.correspondences import NUMBER, Multiple
from stepforge.relations.differences import Difference
from stepforge.relations.find import Relation
from stepforge.relations.hypotheses import Condition, Hypothesis, shown
from stepforge.relations.reals import ONE
from stepforge.verify.terms.terms import apply

STRENGTH = {"PROVED": "PROVED (reals)"}
INDENT = "  "


def show(found: Relation) -> None:
    """Prints a relation."""
    screen, columns = table.console(sys.stdout), terminal.room(sys.stdout)
    for line in lines(found):
        table.say(screen, line, columns)


def headline(found: Relation) -> str:
    """The relation in one sentence, with the verdict."""
    a, b = found.a.label, found.b.label
    if found.kind == "different":
        return f"{a} and {b} are different"
    status = STRENGTH.get(found.status, found.status)
    if found.hypothesis is None:
        return f"{a} and {b}: {status}, neither a difference nor a proof was found"
    conditions = list_of_conditions(found, found.hypothesis)
    under = f" if {joined(conditions)}" if conditions else ""
    return f"{a} and {b} are equal{under}: {status}"


def special_case(found: Relation) -> str:
    """The relation in one line: A under conditions is B, and in brackets what else to know."""
    assert found.hypothesis is not None
    own, its = (
        [c.text for c in found.hypothesis.conditions if (c.name in found.a.hyperparameters) is mine]
        for mine in (True, False)
    )
    under, there = (f" with {joined(texts)}" if texts else "" for texts in (own, its))
    notes = [f"{name} is {text}" for name, text in found.hypothesis.translation.texts]
    if found.proof is not None and found.proof.constant:
        notes.append(f"{joined(found.proof.constant)} the same in every step")
    if found.proof is not None and found.proof.nonzero:
        notes.append("no gradient is 0")
    renamed = f" ({joined(notes)})" if notes else ""
    status = STRENGTH.get(found.status, found.status)
    return f"{found.a.label}{under} is {found.b.label}{there}{renamed}: {status}"


def progress(done: int, count: int) -> None:
    """How far the catalogue's relations are, on a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done} of {count} candidates are decided", end=end, file=sys.stderr, flush=True)


def list_of_conditions(found: Relation, hypothesis: Hypothesis) -> list[str]:
    """Everything that has to hold."""
    conditions = [c.text for c in hypothesis.conditions]
    values = hypothesis.translation.values.items()
    conditions += [f"{name} = {shown(v)} of {found.b.label}" for name, v in values if v.is_constant]
    if hypothesis.schedules:
        conditions.append(f"{joined(list(hypothesis.schedules))} of {found.b.label} as below")
    if hypothesis.first_only:
        conditions.append("t = 1")
    return conditions


def joined(parts: Sequence[str]) -> str:
    """Such as `a, b and c`."""
    *first, last = parts or [""]
    return f"{', '.join(first)} and {last}" if first else last


def lines(found: Relation) -> Iterator[str]:
    """Everything that is to be said of a relation."""
    yield headline(found)
    if found.hypothesis is not None:
        yield from (INDENT + line for line in _substitution(found))
    if apart := _defaults(found):
        texts = [f"{name} = {one:g} and {other:g}" for name, (one, other) in apart.items()]
        yield f"{INDENT}their defaults differ: {', '.join(texts)}"
    for alternative in found.alternatives:
        yield f"{INDENT}also equal if {joined([c.text for c in alternative])}"
    if found.doubtful is not None:
        conditions = joined(list_of_conditions(found, found.doubtful))
        under = f" if {conditions}" if conditions else ""
        yield f"{INDENT}equal in numbers{under}, but without a proof"
    if found.difference is not None:
        if found.hypothesis is not None:
            yield ""
            yield "without that they are different:"
        if found.first_step is not None:
            yield f"{INDENT}the first step is the same: PROVED (reals)"
        yield from (INDENT + line for line in _apart(found, found.difference))


def _defaults(found: Relation) -> dict[str, tuple[float, float]]:
    """Hyperparameters of one name whose defaults are not the same."""
    own, others = ({h.name: h.default for h in s.spec.hyperparameters} for s in (found.a, found.b))
    return {n: (v, others[n]) for n, v in own.items() if n in others and others[n] != v}


def _substitution(found: Relation) -> Iterator[str]:
    a, b = found.a.label, found.b.label
    assert found.hypothesis is not None
    for name, text in found.hypothesis.translation.texts:
        yield f"{name} of {b} is {text}"
    proof = found.proof
    if proof is None:
        return
    if proof.status == "tested":
        yield f"equal in a prime field; the probability of an error is below {proof.error:.1g}"
    own, other = (a, b) if proof.reverse else (b, a)
    for name, multiple in proof.states.items():
        if multiple.state != name or multiple.factor is not ONE:
            is_constant = multiple.state == NUMBER and multiple.factor.is_constant
            of = "" if is_constant else f" of {other}"
            yield f"state {name} of {own} is {_multiple(multiple)}{of}"
    for label, states in zip((a, b), proof.left_out, strict=True):
        if states:
            plural = "s have" if len(states) > 1 else " has"
            yield f"state{plural} no effect on p: {', '.join(states)} of {label}"
    if proof.constant:
        yield f"the same in every step: {', '.join(proof.constant)}"
    if proof.nonzero:
        yield "where no gradient is 0"


def _multiple(multiple: Multiple) -> str:
    if multiple.state == NUMBER:
        return shown(multiple.factor)
    if multiple.factor is ONE:
        return multiple.state
    if multiple.factor is apply("neg", ONE):
        return f"-{multiple.state}"
    return f"{shown(multiple.factor)} times {multiple.state}"


def _apart(found: Relation, apart: Difference) -> Iterator[str]:
    witness = apart.witness
    a, b = found.a.label, found.b.label
    if apart.explanation:
        yield apart.explanation
    if apart.formula:
        yield f"p of {a} less p of {b}: {apart.formula}"
    if any(apart.lines):
        yield "the first lines that part:"
        yield from (INDENT + line for line in apart.lines if line)
    given = [f"{name} = {value:g}" for name, value in witness.values.items()]
    gradients = _numbers(witness.gradients)
    many = "s" if len(witness.gradients) > 1 else ""
    yield f"the smallest input: {', '.join(given)}"
    read = "".join(f", {n} {_numbers(own)}" for n, own in witness.inputs.items())
    yield f"{INDENT}p = {witness.p:g}, gradient{many} {gradients}{read}"
    yield f"{INDENT}p after step {witness.step}: {witness.results[0]} and {witness.results[1]}"
    parts = joined([_percent(share) for share in apart.drift.values()])
    steps = joined([str(step) for step in apart.drift])
    yield f"on a random problem they are {parts} of the way apart after {steps} steps"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


# JSON.


def as_dict(found: Relation) -> dict[str, Any]:
    """A relation for `--json`."""
    hypothesis, proof, apart = found.hypothesis, found.proof, found.difference
    return {
        "a": _side(found.a),
        "b": _side(found.b),
        "relation": found.kind,
        "status": found.status,
        "strength": "reals" if found.status == "PROVED" else "",
        "conditions": _texts(hypothesis.conditions) if hypothesis else [],
        "first_step_only": hypothesis.first_only if hypothesis else False,
        "first_step_equal": found.first_step is not None,
        "hyperparameters": dict(hypothesis.translation.texts) if hypothesis else {},
        "defaults": {name: list(pair) for name, pair in _defaults(found).items()},
        "states": _states(proof.states) if proof else {},
        "states_of": ("a" if proof.reverse else "b") if proof else None,
        "without_effect": [list(names) for names in proof.left_out] if proof else [],
        "constant": list(proof.constant) if proof else [],
        "nonzero_gradients": proof.nonzero if proof else False,
        "doubtful": list_of_conditions(found, found.doubtful) if found.doubtful else None,
        "alternatives": [_texts(alternative) for alternative in found.alternatives],
        "difference": _difference(apart) if apart else None,
    }


def _side(side: Any) -> dict[str, Any]:
    return {"spec": side.spec.name, "path": side.spec.source.path, "options": dict(side.options)}


def _texts(conditions: Sequence[Condition]) -> list[str]:
    return [condition.text for condition in conditions]


def _states(states: Mapping[str, Multiple]) -> dict[str, dict[str, str]]:
    return {
        name: {"state": multiple.state, "factor": shown(multiple.factor)}
        for name, multiple in states.items()
    }


def _difference(apart: Difference) -> dict[str, Any]:
    witness = apart.witness
    return {
        "step": witness.step,
        "values": dict(witness.values),
        "p": witness.p,
        "gradients": list(witness.gradients),
        "inputs": {name: list(values) for name, values in witness.inputs.items()},
        "results": list(witness.results),
        "formula": apart.formula,
        "lines": list(apart.lines),
        "explanation": apart.explanation,
        "drift": {str(step): share for step, share in apart.drift.items()},
    }
