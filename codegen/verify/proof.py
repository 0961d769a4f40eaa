"""R3 and R7: code lifted to terms, against the rule, for every `n` and every input.

Stored terms that are the same object as the rule's are proved to the bit. Others are decided over
the reals by `equality`; what that can only test is TESTED, with the probability of an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codegen.lower import lower
from codegen.spec import Interval, Options, Spec, holds
from codegen.verify import compiled, equality, inputs, ptx, ptx_terms, reference_proof, rule, ttir
from codegen.verify.certificate import Counterexample, Status, Verdict
from codegen.verify.generated import Pair
from codegen.verify.launcher import Launch, launch, scalar_findings
from codegen.verify.lifted import (
    Access,
    Binding,
    Lifted,
    Pointer,
    Refuted,
    Unsupported,
    findings,
)
from codegen.verify.offsets import SIZE
from codegen.verify.parting import Artefact, counterexample
from codegen.verify.rule import Expected
from codegen.verify.terms import Term

KINDS = {"fp32": "f32", "fp64": "f64", "bf16": "bf16", "fp16": "f16"}
"""Triton's names of types → kinds of terms."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison of stored terms with the rule gives.

    Attributes:
        status: The verdict.
        strength: "bits" or "reals" for PROVED.
        detail: The reason, or what was proved.
        values: How many stored terms were compared.
        counterexample: Where there is one.
    """

    status: Status
    strength: str
    detail: str
    values: int = 0
    counterexample: Counterexample | None = None


def storage(spec: Spec, options: Options, dtype: str) -> dict[str, str]:
    """The kind of every tensor of an option set: 16-bit parameters have float32 states."""
    kind = KINDS[dtype]
    wide = kind if kind in ("f32", "f64") else "f32"
    active = [t.name for t in lower(spec).tensors if holds(t.when, options)]
    return {name: kind if name in ("p", "g") else wide for name in active}


def domains(spec: Spec) -> dict[str, Interval]:
    """The domain of every leaf that has one; `t` counts from 1."""
    found = {h.name: h.domain for h in spec.hyperparameters}
    found |= {s.name: s.domain for s in spec.states}
    return {**found, "t": Interval(low=1, low_open=False)}


def bindings(made: Launch, kinds: Mapping[str, str]) -> list[Binding]:
    """What the parameters of the compiled kernel are, from what the launcher passes."""
    found: list[Binding] = []
    for argument in made.arguments:
        match argument:
            case ("tensor", str(name)):
                found.append(Pointer(name, kinds[name]))
            case ("n",):
                found.append(SIZE)
            case ("scalar", Term() as term):
                found.append(term)
    return found


def stored(spec: Spec, options: Options) -> list[str]:
    """The tensors that a step has to write."""
    return [t.name for t in lower(spec).tensors if t.stored and holds(t.when, options)]


def compare(
    spec: Spec, options: Options, expected: Expected, artefact: Artefact, lifted: Lifted,
    block: int, dtype: str, seed: int,
) -> Outcome:  # fmt: skip
    """Every access and every stored term of a lifted kernel against the rule."""
    names = stored(spec, options)
    pairs: dict[tuple[str, Term], Access] = {}
    for path in lifted.paths:
        for line, what in findings(path, block, names):
            where = artefact.line(line) or artefact.name
            return Outcome(Status.REFUTED, "", f"{what}\n  {where}{_source(artefact, line)}")
        for access in path.stores:
            pairs.setdefault((access.tensor, access.value), access)
    strength, status, notes = "bits", Status.PROVED, []
    for (tensor, got), access in pairs.items():
        outcome = _store(spec, options, expected, artefact, access, tensor, got, dtype, seed)
        if not outcome.status.passed:
            return outcome
        strength = outcome.strength if outcome.strength != "bits" else strength
        status = outcome.status if outcome.status is not Status.PROVED else status
        notes += [outcome.detail] if outcome.detail else []
    detail = notes[0] if notes else "the rule's rounded operations in its order, for every n"
    return Outcome(status, strength if status is Status.PROVED else "", detail, len(pairs))


def _source(artefact: Artefact, line: int) -> str:
    source = artefact.source_line(line)
    return f"\n  {source}" if source else ""


def _store(
    spec: Spec, options: Options, expected: Expected, artefact: Artefact, access: Access,
    tensor: str, got: Term, dtype: str, seed: int,
) -> Outcome:  # fmt: skip
    """One stored term against the rule's."""
    wanted = expected.stores[tensor]
    if got is wanted or equality.equal_bits(got, wanted):
        return Outcome(Status.PROVED, "bits", "")
    kinds = storage(spec, options, dtype)
    narrow = equality.precision_findings(got, expected.real, kinds)

    def refuted(detail: str, at: Mapping[str, float], values: tuple[str, str]) -> Outcome:
        given = {name: inputs.shown(value) for name, value in at.items()}
        found = counterexample(spec, expected, artefact, tensor, got, dtype, given, values)
        return Outcome(Status.REFUTED, "", detail, 0, found)

    if narrow:
        at = equality.bits_witness(got, wanted, seed) or {}
        values = _values(got, wanted, at)
        return refuted(f"`{tensor}` is computed in less than {expected.real}", at, values)
    decision = equality.decide(got, wanted, domains(spec), seed)
    if decision.status == "equal":
        note = "the formulas are equal over the reals; the rounded operations are not the rule's"
        return Outcome(Status.PROVED, "reals", note)
    if decision.status == "tested":
        note = f"equal in a prime field; the probability of an error is {decision.error:.1g}"
        return Outcome(Status.TESTED, "", note)
    if decision.status == "different":
        detail = f"the formula of `{tensor}` differs from the rule's"
        return refuted(detail, decision.witness, decision.values)
    return Outcome(
        Status.UNSUPPORTED, "",
        f"`{tensor}` cannot be decided: {decision.reason}\n  {artefact.line(access.line)}",
    )  # fmt: skip


def _values(got: Term, wanted: Term, at: Mapping[str, float]) -> tuple[str, str]:
    """What the rule and the artefact give at an input, in their own arithmetic."""
    if not at:
        return "the rule's arithmetic", str(got)
    with np.errstate(all="ignore"):
        columns = {name: np.asarray([value]) for name, value in at.items()}
        pair = [float(np.ravel(equality.evaluate(t, columns))[0]) for t in (wanted, got)]
    return inputs.shown(pair[0]), inputs.shown(pair[1])
