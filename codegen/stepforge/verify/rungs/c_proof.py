"""c-proof (R10): a C file and its Python caller lifted to terms, against the rule.

The proof is for every `n` and every input: what the loop over tensors and threads does, which is
the same text for all optimizers, is taken as it is (`terms.c_rule`); that the files hold this text
is what the inspection of files shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.rungs.native import Files
from stepforge.verify.rungs.proof import (
    Outcome,
    Subject,
    judged,
    not_lifted,
    raises_as,
    refuted_at,
    storage,
    verdict_of,
    worst,
)
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import c_host, c_rule, congruence
from stepforge.verify.terms.c_caller import Caller, Handed, handed
from stepforge.verify.terms.c_rule import LOADED, STORED, Element
from stepforge.verify.terms.c_text import CFile
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.parting import Artefact


def check(task: Task) -> Verdict:
    """Caller, function of numbers and rule, for every type."""
    files = Files.of(task.spec, task.folder)
    found: list[Outcome] = []
    path = files.caller
    try:
        caller = Caller(path.read_text(encoding="utf-8"))
        made = handed(caller, task.spec, task.options)
        path = files.source
        source = CFile(path.read_text(encoding="utf-8"))
        for dtype in task.dtypes:
            subject = Subject.of(task.spec, task.options, dtype, task.seed)
            path = files.caller
            raises_as(subject, caller)
            artefact = Artefact.of(path, caller.origin)
            found += [judged(subject, artefact, *scalar) for scalar in made.scalars.items()]
            path = files.source
            found.append(_rule(subject, path, source, made))
        found.append(_numbers(subject, path, source, made))
    except (Refuted, Unsupported) as error:
        found.append(not_lifted(error, Artefact.of(path, {})))
    return verdict_of(task, found)


def _rule(subject: Subject, path: Path, source: CFile, made: Handed) -> Outcome:
    """Every tensor that the rule of the file stores."""
    kinds = storage(subject.spec, subject.options, subject.dtype)
    element = c_rule.element(source, made.columns, kinds, made.numbers, made.bits)
    artefact = Artefact.of(path, element.origin)
    for line, what in _findings(subject, source, made, element):
        return refuted_at(artefact, line, what)
    return worst([judged(subject, artefact, *stored) for stored in element.stores.items()])


def _findings(
    subject: Subject, source: CFile, made: Handed, element: Element
) -> Iterator[tuple[int, str]]:
    """What is wrong with the columns of the row, and with what is done to them."""
    name, kinds = subject.spec.name, storage(subject.spec, subject.options, subject.dtype)
    if made.name != name:
        raise Refuted(made.line, f"steps by the code of `{made.name}`")
    around = c_rule.around(source, name)
    if len(around.access) != len(made.columns):
        yield around.line, "has not so many columns as the caller"
        return
    for tensor in subject.stored:
        if tensor not in element.stores:
            yield 0, f"never stores `{tensor}`"
        elif tensor not in made.written:
            yield element.lines[tensor], f"stores `{tensor}`, which its caller takes for constant"
    for tensor, access in zip(made.columns, around.access, strict=True):
        if tensor in element.stores and tensor not in subject.stored:
            yield element.lines[tensor], f"stores `{tensor}`, which the rule leaves as it is"
        if tensor in element.loaded and not access & LOADED:
            yield around.line, f"declares that `{tensor}` is not read"
        if (tensor in element.stores) is not bool(access & STORED) and tensor in kinds:
            yield around.line, f"does not declare whether `{tensor}` is stored"


def _numbers(subject: Subject, path: Path, source: CFile, made: Handed) -> Outcome:
    """The numbers that C computes for a step, beside those of the Python caller."""
    spec, options = subject.spec, subject.options
    scalars = [state.name for state in spec.states if state.scalar]
    host = c_host.host(
        source, spec.name, [number.name for number in spec.numbers],
        [options[option.name] for option in spec.options], scalars, list(made.scalars),
    )  # fmt: skip
    both = zip(host.numbers, made.numbers, strict=False)
    pairs = {f"number {k}": pair for k, pair in enumerate(both)}
    pairs |= {f"`{name}`": (host.scalars[name], made.scalars[name]) for name in made.scalars}
    for what, (got, wanted) in pairs.items():
        if not congruence.same_operations(got, wanted):
            line = host.origin.get(got, 0)
            return refuted_at(
                Artefact.of(path, {}), line, f"{what} is not computed as in the caller: {got}"
            )
    if len(host.numbers) != len(made.numbers):
        raise Refuted(0, "has not so many numbers as the caller")
    return Outcome(Status.PROVED, "bits", "the caller's numbers", len(pairs))
