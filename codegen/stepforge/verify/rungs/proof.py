"""triton-ir-proof (R3) and ptx-proof (R7): code lifted to terms, against the rule.

The proofs are for every `n` and every input. Stored terms that are the same object as the rule's,
or become it whatever the comparisons in them come to, are proved to the bit. In exact mode others
do not pass: where they differ from the rule in a bit is looked for. In fast mode they are decided
over the reals by `equality`; what that can only test is TESTED, with the probability of an error.

In one file, because both compare with the same rule, and tell where the two part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stepforge.backends.triton import WARPS
from stepforge.language.spec import Domains, Interval, Options, Spec
from stepforge.operations.formats import Layout
from stepforge.verify.cases import inputs
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import KERNELS, Pair
from stepforge.verify.ptx import lifter, parser
from stepforge.verify.reading import reader
from stepforge.verify.rungs import compiled
from stepforge.verify.rungs.compiled import ALIGNMENT, CannotCompile, Kernel
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import (
    computed,
    congruence,
    contracted,
    equality,
    evaluation,
    launcher,
    reference_proof,
    rule,
    terms,
    ttir,
    ttir_text,
    witnesses,
)
from stepforge.verify.terms.algebra import Undecided
from stepforge.verify.terms.launcher import Launch, launch
from stepforge.verify.terms.lifted import (
    Binding,
    Lifted,
    Pointer,
    ProgramTable,
    Refuted,
    RowTable,
    Unsupported,
    findings,
)
from stepforge.verify.terms.operations import NoValue
from stepforge.verify.terms.parting import Artefact, artefact_line, counterexample, spec_line
from stepforge.verify.terms.rule import Expected
from stepforge.verify.terms.source_terms import Source, Table, Tensor
from stepforge.verify.terms.terms import Term

IR_TARGET = "sm_90"
"""Triton IR is the same for all GPUs; this is the one that it is compiled for."""


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
    layout = Layout.named(dtype)
    return {t.name: layout.of(t.role).kind for t in reader.of(spec).tensors(options)}


def domains(spec: Spec) -> Domains:
    """The domain of every leaf that has one; `t` counts from 1."""
    return _of_leaves(spec, {})


def usual(spec: Spec) -> Domains:
    """The same with the usual ranges of hyperparameters: what bounds are shown for."""
    return _of_leaves(spec, {h.name: h.usual for h in spec.hyperparameters})


def _of_leaves(spec: Spec, found: dict[str, Interval]) -> Domains:
    found = spec.domains | found
    own = {"t": Interval(low=1, low_open=False), rule.SCALE: Interval(low=0)}
    return Domains({**found, **own}, spec.together)


@dataclass(frozen=True)
class Subject:
    """What is compared: a spec under one option set with tensors of one type.

    Attributes:
        spec: The spec.
        options: The option set.
        dtype: Type of parameters and gradients.
        expected: The rule as terms.
        seed: Of random points.
        backend: Whose kernel it is, "triton" or "multi_tensor".
        mode: One of `generated.MODES`.
    """

    spec: Spec
    options: Options
    dtype: str
    expected: Expected
    seed: int
    backend: str = "triton"
    mode: str = "host"

    @classmethod
    def of(
        cls, spec: Spec, options: Options, dtype: str, seed: int, backend: str = "triton",
        mode: str = "host",
    ) -> Subject:  # fmt: skip
        """The rule for these."""
        kinds = storage(spec, options, dtype)
        expected = rule.expected(spec, options, kinds, mode == "scaled")
        return cls(spec, options, dtype, expected, seed, backend, mode)

    @classmethod
    def at(cls, task: Task) -> Subject:
        """The rule for a task on one type and one kernel."""
        (dtype,), ((backend, mode),) = task.dtypes, task.kernels
        return cls.of(task.spec, task.options, dtype, task.seed, backend, mode)

    def file(self, folder: Path) -> Path:
        """The generated file that launches the kernel."""
        return Pair.of(self.spec, folder).launches(self.backend)

    @property
    def stored(self) -> list[str]:
        """The tensors that a step has to write."""
        return list(self.expected.stores)


def bindings(
    made: Launch, kinds: Mapping[str, str], source: Source, numbers: Sequence[Term] = ()
) -> list[Binding]:
    """What the parameters of the compiled kernel are, from what the launcher passes.

    Args:
        made: The launch.
        kinds: Of the tensors.
        source: The generated file.
        numbers: Those that the rows of the table have on the device.
    """
    found: list[Binding] = []
    for argument in made.arguments:
        if isinstance(argument, Tensor):
            found.append(Pointer(argument.name, kinds[argument.name]))
        elif argument == Table("programs"):
            found.append(ProgramTable())
        elif argument == Table("rows"):
            names = source.globals.get("COLUMNS", ())
            columns = [Pointer(n, kinds[n]) if n in kinds else None for n in names]
            found.append(RowTable(tuple(columns), tuple(numbers)))
        elif isinstance(argument, Table):
            raise Refuted(made.line, f"passes `table.{argument.part}` as a number")
        else:
            found.append(argument)
    return found


def compare(
    subject: Subject, artefact: Artefact, lifted: Lifted, block: int, exact: bool = True
) -> Outcome:
    """Every access and every stored term of a lifted kernel against the rule.

    In exact mode the rounded operations have to be the rule's, in fast mode the formula.
    """
    pairs: dict[tuple[str, Term], int] = {}
    for path in lifted.paths:
        for line, what in findings(path, block, subject.stored):
            return refuted_at(artefact, line, what)
    for access in lifted.stores():
        pairs.setdefault((access.tensor, access.value), access.line)
    found = [judged(subject, artefact, tensor, got, exact) for tensor, got in pairs]
    return worst(found)


def worst(found: Sequence[Outcome]) -> Outcome:
    """A refutation, best with an input, or the weakest of the outcomes that pass."""
    failed = [outcome for outcome in found if not outcome.status.passed]
    if failed:
        return min(failed, key=_doubt)
    ranked = sorted(found, key=lambda o: (o.status is Status.PROVED, o.strength == "bits"))
    weakest = ranked[0]
    return Outcome(weakest.status, weakest.strength, weakest.detail, len(found))


def _doubt(failed: Outcome) -> int:
    """Less for what is better evidence."""
    if failed.status is not Status.REFUTED:
        return 2
    return 0 if failed.counterexample is None or failed.counterexample.inputs else 1


def refuted_at(artefact: Artefact, line: int, what: str) -> Outcome:
    """A refutation with the lines of artefact and generated file."""
    places = [artefact.line(line), artefact.source_line(line)]
    return Outcome(Status.REFUTED, "", "\n  ".join([what, *filter(None, places)]))


def judged(
    subject: Subject, artefact: Artefact, name: str, got: Term, exact: bool = True
) -> Outcome:
    """One stored term against the rule's."""
    spec, expected = subject.spec, subject.expected
    wanted = expected.stores[name] if name in expected.stores else expected.scalars[name]
    if got is wanted:
        return Outcome(Status.PROVED, "bits", "the rule's rounded operations in its order")
    if congruence.same_operations(got, wanted):
        detail = "the rule's rounded operations, whatever its comparisons come to"
        return Outcome(Status.PROVED, "bits", detail)

    def refuted(
        detail: str, at: Mapping[str, float], values: tuple[str, str] | None = None
    ) -> Outcome:
        values = values or _values(got, wanted, at)
        given = {leaf: inputs.shown(value) for leaf, value in at.items()}
        dtype = subject.dtype
        found = counterexample(spec, expected, artefact, name, got, dtype, given, values)
        return Outcome(Status.REFUTED, "", detail, 0, found)

    def undecided(reason: str) -> Outcome:
        detail = f"{artefact.name}: `{name}` cannot be decided: {reason}"
        return Outcome(Status.UNSUPPORTED, "", detail)

    reals = Outcome(
        Status.PROVED, "reals", "equal over the reals; the rounded operations are not the rule's"
    )
    meant = got if exact else contracted.meant(got)
    if not exact and congruence.same_operations(meant, wanted):
        return reals
    meant, formula = equality.kept(meant, wanted)
    if (narrow := equality.narrowed(meant, formula, expected.real)) is not None:
        detail = f"`{name}` is computed in {narrow.kind}, where the rule has more digits: {narrow}"
        at = _seen(subject, got, wanted, {})
        return undecided(f"{detail}, {at}") if isinstance(at, str) else refuted(detail, at)
    decision = _decided(spec, meant, formula, subject.seed)
    if exact and decision.status != "different":
        reason = f"`{name}` may be another formula: {decision.reason}"
        if decision.status in ("equal", "tested"):
            first = f"{SAME_FORMULA}, but " if decision.status == "equal" else ""
            reason = f"{first}`{name}` is not computed in its rounded operations"
        at = _seen(subject, got, wanted, {})
        return undecided(f"{reason}, {at}") if isinstance(at, str) else refuted(reason, at)
    if decision.status == "equal":
        return reals
    if decision.status == "tested":
        note = f"equal in a prime field; the probability of an error is below {decision.error:.1g}"
        return Outcome(Status.TESTED, "", note)
    if decision.status == "different":
        detail = f"the formula of `{name}` differs from the rule's"
        at = _seen(subject, got, wanted, decision.witness)
        if isinstance(at, str):
            return undecided(f"{detail}, {at}")
        return refuted(detail, at, decision.values if at is decision.witness else None)
    return undecided(decision.reason)


SAME_FORMULA = "the formula is the rule's"
_UNSEEN = "yet the same bits come out for every input that was tried"
"""A compiler may have computed with numbers what it then computes with other roundings."""


def _seen(
    subject: Subject, got: Term, wanted: Term, at: Mapping[str, float]
) -> Mapping[str, float] | str:
    """An input at which the two differ in a bit, first of all the given one, or why there is none.

    A difference of the formulas need not be one of what they compute.
    """
    try:
        if at and witnesses.bits_differ(got, wanted, at):
            return at
        with congruence.limited(SEARCH):
            found = witnesses.bits_witness(got, wanted, domains(subject.spec), subject.seed)
    except Undecided:
        return _UNSEEN
    except NoValue as error:
        return at or f"and no input can be tried: {error}"
    return found or _UNSEEN


SEARCH = 10.0
"""Seconds for a search of an input at which a bit differs."""
_DECISIONS: dict[Any, equality.Decision] = {}
"""Of this process, by the terms and the domains of their leaves."""


def _decided(spec: Spec, got: Term, wanted: Term, seed: int) -> equality.Decision:
    key = (spec.source.text, got.digest, wanted.digest, seed)
    if key not in _DECISIONS:
        _DECISIONS[key] = equality.decide(got, wanted, domains(spec), seed)
    return _DECISIONS[key]


def _values(got: Term, wanted: Term, at: Mapping[str, float]) -> tuple[str, str]:
    """What the rule and the artefact give at an input, in their own arithmetic."""
    if not at:
        return str(wanted), str(got)
    columns = {name: np.asarray([value]) for name, value in at.items()}
    pair = [float(np.ravel(evaluation.evaluate(t, columns))[0]) for t in (wanted, got)]
    return inputs.shown(pair[0]), inputs.shown(pair[1])


# NumPy file, launcher, Triton IR.


def check_source(task: Task) -> Verdict:
    """All three legs, for every type and kernel."""
    spec, options, folder, seed = task.spec, task.options, task.folder, task.seed
    found = []
    for dtype in task.dtypes:
        if text := task.artefacts.get("ttir"):
            subject = Subject.of(spec, options, dtype, seed, *task.chosen[0])
            found.append(of_triton(subject, folder, text))
            continue
        subject = Subject.of(spec, options, dtype, seed)
        found.append(guarded(partial(_numpy, subject, folder), task.pair.numpy))
        for backend, mode in task.chosen:
            one = Subject.of(spec, options, dtype, seed, backend, mode)
            found.append(guarded(partial(_launcher, one, folder), one.file(folder)))
            if all(outcome.status.passed for outcome in found):
                found.append(_triton(one, folder))
    return verdict_of(task, found)


def guarded(run: Callable[[], Outcome], path: Path) -> Outcome:
    """An outcome even where a file cannot be lifted."""
    try:
        return run()
    except (Refuted, Unsupported) as error:
        return not_lifted(error, Artefact.of(path, {}))


def not_lifted(error: Refuted | Unsupported, artefact: Artefact) -> Outcome:
    """The outcome where an artefact, or the generated file that launches it, is not lifted."""
    if error.file:
        artefact = Artefact.of(Path(error.file), {})
    if isinstance(error, Refuted):
        return refuted_at(artefact, error.line, str(error))
    places = [artefact.line(error.line), artefact.source_line(error.line)]
    known = list(filter(None, places)) or [artefact.name]
    return Outcome(Status.UNSUPPORTED, "", "\n  ".join([f"cannot be lifted: {error}", *known]))


def _numpy(subject: Subject, folder: Path) -> Outcome:
    """The NumPy file: its tensors and scalar states."""
    spec, path = subject.spec, Pair.of(subject.spec, folder).numpy
    text = path.read_text(encoding="utf-8")
    source = Source(text)
    kinds = storage(spec, subject.options, subject.dtype)
    values = reference_proof.values(source, spec, subject.options, kinds)
    raises_as(subject, source)
    artefact = Artefact.of(path, source.origin)
    found = []
    for name, got in {**values.stores, **values.scalars}.items():
        wanted = kinds.get(name, rule.HOST)
        if got.kind != wanted:
            return Outcome(Status.REFUTED, "", f"{path}: `{name}` is {got.kind}, not {wanted}")
        found.append(judged(subject, artefact, name, got))
    return worst(found)


def raises_as(subject: Subject, source: Source) -> None:
    """Refuses numbers that Python may have none for, unless the rule computes them, too.

    It has to do so wherever the file does: a division that has left its `if` may raise where the
    rule divides by nothing.
    """
    known = computed.computed(subject.expected.numbers)
    for number, under, line in source.raising:
        if not any(held <= computed.facts(under) for held in known.get(number, ())):
            there = "computes it elsewhere only" if number in known else "computes no such number"
            raise Unsupported(line, f"`{number}` may raise an exception, and the rule {there}")


def check_schedule(task: Task) -> Verdict:
    """The generated function of a schedule, which is numbers of the host alone."""
    spec, path = task.spec, task.pair.numpy
    subject = Subject(spec, task.options, "fp64", rule.factor(spec), task.seed)

    def outcome() -> Outcome:
        source = Source(path.read_text(encoding="utf-8"))
        got = reference_proof.factor(source, spec)
        raises_as(subject, source)
        return judged(subject, Artefact.of(path, source.origin), "factor", got)

    return verdict_of(task, [worst([guarded(outcome, path)])])


def _launch(subject: Subject, folder: Path, exact: bool) -> tuple[Launch, list[Binding]]:
    """How a kernel is launched, and what its parameters are.

    Numbers on the device are those that the launch from the host passes, in its order; the last of
    them is the scale.
    """
    path = subject.file(folder)
    try:
        return _launched(subject, path, exact)
    except (Refuted, Unsupported) as error:
        error.file = str(path)
        raise


def _launched(subject: Subject, path: Path, exact: bool) -> tuple[Launch, list[Binding]]:
    source = Source(path.read_text(encoding="utf-8"))
    spec, options = subject.spec, subject.options
    kinds = storage(spec, options, subject.dtype)
    made = launch(source, spec, options, exact, subject.backend == "multi_tensor")
    if subject.mode == "host":
        return made, bindings(made, kinds, source)
    passed = [argument for argument in made.arguments if isinstance(argument, Term)]
    numbers = [*passed[:-1], terms.scalar(rule.SCALE)]
    made = launch(source, spec, options, exact, True, subject.mode)
    return made, bindings(made, kinds, source, numbers)


def _launcher(subject: Subject, folder: Path) -> Outcome:
    """How the kernel is launched in both modes, and the scalar states."""
    path = subject.file(folder)
    found = []
    for exact in (True, False):
        source = Source(path.read_text(encoding="utf-8"))
        tabular = subject.backend == "multi_tensor"
        made = launch(source, subject.spec, subject.options, exact, tabular, subject.mode)
        raises_as(subject, source)
        artefact = Artefact.of(path, source.origin)
        for line, what in launcher.findings(
            subject.spec, made, subject.options, exact, WARPS, subject.mode
        ):
            return refuted_at(artefact, line, what)
        found += [judged(subject, artefact, name, got) for name, got in made.scalars.items()]
    return worst(found) if found else Outcome(Status.PROVED, "bits", "no scalar states", 0)


def _triton(subject: Subject, folder: Path) -> Outcome:
    """Triton IR."""
    try:
        kernel = compiled.load(subject.spec, folder, subject.backend)
        text = compiled.triton_ir(
            kernel, subject.spec, subject.options, IR_TARGET, subject.dtype, subject.mode
        )
    except CannotCompile as error:
        return Outcome(Status.REFUTED, "", str(error))
    return of_triton(subject, folder, text)


def of_triton(subject: Subject, folder: Path, text: str) -> Outcome:
    """Triton IR that belongs to the launcher of a generated file."""
    path = subject.file(folder)
    lines = ttir_text.source_lines(text)
    name = f"Triton IR, {subject.dtype}{variant(subject)}"
    try:
        made, given = _launch(subject, folder, True)
        lifted = ttir.lift(text, given, made.block)
    except (Refuted, Unsupported) as error:
        return not_lifted(error, Artefact(name, text, {}, lines, path))
    return compare(subject, Artefact(name, text, lifted.origin, lines, path), lifted, made.block)


# PTX.


def check_compiled(task: Task) -> Verdict:
    """The PTX for tensors that are aligned, and for such that are not, of every kernel."""
    found = []
    for one in task.each():
        subject, (target,) = Subject.at(one), one.targets
        for aligned in reversed(one.alignments):
            try:
                text = text_of(one, subject, aligned)
            except CannotCompile as error:
                found.append(Outcome(Status.REFUTED, "", str(error)))
                continue
            found.append(of_ptx(subject, task.folder, target, text, aligned, task.exact))
    return verdict_of(task, found)


def text_of(task: Task, subject: Subject, aligned: bool) -> str:
    """The PTX of a task on one type, GPU and kernel; raises `CannotCompile`."""
    (target,) = task.targets
    given = task.artefacts.get("ptx")
    return given or ptx_of(subject, task.folder, target, aligned, task.exact)


def ptx_of(subject: Subject, folder: Path, target: str, aligned: bool, exact: bool) -> str:
    """The PTX of a generated kernel; raises `CannotCompile`."""
    kernel: Kernel = compiled.load(subject.spec, folder, subject.backend)
    options, dtype = subject.options, subject.dtype
    made = compiled.compile_kernel(
        kernel, subject.spec, options, target, dtype, aligned, exact, subject.mode
    )
    return str(made["ptx"])


def of_ptx(
    subject: Subject, folder: Path, target: str, text: str, aligned: bool, exact: bool
) -> Outcome:
    """PTX that belongs to the launcher of a generated file."""
    key = (proof_key(subject, folder, text), aligned, exact)
    if (known := _PASSED.get(key)) is not None:
        return known
    artefact = artefact_of(subject, folder, target, text, aligned)
    try:
        lifted, block = _lifted(subject, folder, text, aligned, exact)
    except (Refuted, Unsupported) as error:
        return not_lifted(error, artefact)
    outcome = compare(subject, replace(artefact, origin=lifted.origin), lifted, block, exact)
    if outcome.status.passed:
        _PASSED[key] = outcome
    return outcome


_PASSED: dict[Any, Outcome] = {}
"""What has passed in this process: compilers write one text for several GPUs."""


def proof_key(subject: Subject, folder: Path, text: str) -> tuple[Any, ...]:
    """All that a verdict about a PTX depends on; what GPU it is for changes no instruction."""
    pair = Pair.of(subject.spec, folder)
    paths = (pair.numpy, subject.file(folder))
    files = tuple(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    body = re.sub(r"^(\.target|\.version|//).*$", "", text, flags=re.MULTILINE)
    code = hashlib.sha256(body.encode()).digest()
    options = tuple(subject.options.items())
    return subject.spec.source.text, options, subject.dtype, subject.seed, subject.mode, files, code


def lifted_stores(
    subject: Subject, folder: Path, target: str, text: str, exact: bool
) -> tuple[Artefact, list[tuple[str, Term]]]:
    """The stored tensors of PTX for aligned tensors, each different value once.

    Raises:
        Refuted, Unsupported: It cannot be lifted.
    """
    lifted, _ = _lifted(subject, folder, text, True, exact)
    artefact = replace(artefact_of(subject, folder, target, text, True), origin=lifted.origin)
    stores = [(a.tensor, a.value) for a in lifted.stores()]
    return artefact, list(dict.fromkeys(stores))


def parting_lines(
    subject: Subject, folder: Path, text: str, name: str, tensor: str
) -> tuple[str, str, str] | None:
    """The first lines of spec, generated file and PTX that part, where one tensor is wrong.

    Args:
        subject: The rule.
        folder: The folder of generated code.
        text: The PTX.
        name: What it is called.
        tensor: The tensor.

    Returns:
        None if the PTX cannot be lifted.
    """
    path = subject.file(folder)
    try:
        lifted, _ = _lifted(subject, folder, text, True, True)
    except (Refuted, Unsupported):
        return None
    artefact = Artefact(name, text, lifted.origin, parser.source_lines(text), path)
    got = [a.value for a in lifted.stores() if a.tensor == tensor]
    wrong = [term for term in got if term is not subject.expected.stores.get(tensor)]
    if not wrong:
        return None
    line = artefact_line(artefact, wrong[0], [term for _, term in subject.expected.trace])
    place = spec_line(subject.spec, subject.expected, wrong[:1], tensor)
    return place, artefact.source_line(line), artefact.line(line)


def variant(subject: Subject) -> str:
    """Which of the kernels it is, behind the words for the single-tensor one."""
    if subject.backend != "multi_tensor":
        return ""
    where = {"host": "", "device": ", numbers on the device", "scaled": ", scaled gradients"}
    return f", multi-tensor{where[subject.mode]}"


def artefact_of(subject: Subject, folder: Path, target: str, text: str, aligned: bool) -> Artefact:
    """PTX of which nothing is known yet."""
    name = f"PTX for {target}, {subject.dtype}{'' if aligned else ', unaligned'}{variant(subject)}"
    path = subject.file(folder)
    return Artefact(name, text, {}, parser.source_lines(text), path)


def _lifted(
    subject: Subject, folder: Path, text: str, aligned: bool, exact: bool
) -> tuple[Lifted, int]:
    """The lifted PTX and the elements of a program; the last ones are kept."""
    key = (proof_key(subject, folder, text), aligned, exact)
    if key not in _LIFTED:
        made, given = _launch(subject, folder, exact)
        program = lifter.parsed(text)
        found = lifter.lift(program, given, made.block, ALIGNMENT if aligned else 1)
        while len(_LIFTED) >= KEPT:
            del _LIFTED[next(iter(_LIFTED))]
        _LIFTED[key] = found, made.block
    return _LIFTED[key]


_LIFTED: dict[Any, tuple[Lifted, int]] = {}
KEPT = 2 * len(KERNELS)
"""Lifted kernels of this process: those of one target and type, which two rungs look at."""


def verdict_of(task: Task, found: Sequence[Outcome]) -> Verdict:
    """The verdict of a task from all of its outcomes."""
    weakest = worst(found)
    values = sum(o.values for o in found)
    return task.verdict(
        weakest.status, weakest.detail, values, weakest.counterexample, strength=weakest.strength
    )
