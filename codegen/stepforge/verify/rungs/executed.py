"""ptx-executed (R6): on the CPU, by the generated launcher, against NumPy, every bit.

The interpreter runs the kernel's source; this runs what the compiler made of it, 16-bit types
included, on tensors that are aligned and on such that are not. Every access is checked against its
tensor, no byte may be written twice in a launch, and none of a stored tensor be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stepforge.language.names import aside, kernel_of
from stepforge.language.spec import Options, Spec
from stepforge.operations.formats import BY_TRITON
from stepforge.verify.cases import inputs, locate, shrink
from stepforge.verify.cases.bench import Bench, Case
from stepforge.verify.cases.reference import failure
from stepforge.verify.cases.sequences import at_edges, single, trajectory
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import Pair
from stepforge.verify.ptx.executor import Buffer, Executor, Fault
from stepforge.verify.ptx.parser import Program, Unsupported, parse
from stepforge.verify.reading import reader
from stepforge.verify.rungs import compiled, proof, tables
from stepforge.verify.rungs.compiled import CannotCompile
from stepforge.verify.rungs.task import Task


class Launcher:
    """Stands in for the `triton.jit` function: a launch executes compiled PTX.

    Attributes:
        approximate: Executed instructions whose result PTX does not fix to the bit.
        contracts: A launch lets the compiler contract operations.
        approximates: A launch asks for approximate divisions and square roots.
    """

    def __init__(
        self, program: Program, kernel: compiled.Kernel, spec: Spec, options: Options, aligned: bool
    ) -> None:
        """Takes the program that the kernel was compiled to."""
        self.program = program
        self.names = [p.name for p in kernel.function.params]
        self.aligned = aligned
        self.approximate: set[str] = set()
        self.contracts = self.approximates = False
        self.stored = {f"{t.name}_ptr" for t in reader.of(spec).tensors(options) if t.stored}
        constants = {name.upper(): value for name, value in options.items()}
        own = {aside(spec, "BLOCK"): kernel.block, aside(spec, "EXACT"): True}
        self.constants = {**constants, **own}

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **keywords: Any) -> None:
            for name, value in self.constants.items():
                if keywords.get(name, value) != value:
                    raise Fault(f"the kernel is launched with {name}={keywords[name]}")
            given = dict(zip(self.names, arguments, strict=False))
            present = {name: value for name, value in given.items() if value is not None}
            buffers: dict[int, Buffer] = {}
            for name, value in present.items():
                if isinstance(value, Tensor) and value.data_ptr() not in buffers:
                    address = (len(buffers) + 1 << 40) + self._shift(value)
                    data = value.array.view(np.uint8)
                    buffers[value.data_ptr()] = Buffer(name.removesuffix("_ptr"), address, data)
            values = [
                buffers[v.data_ptr()].address if isinstance(v, Tensor) else v
                for v in present.values()
            ]
            executor = Executor(self.program, values, list(buffers.values()))
            executor.run(int(grid[0]))
            self.approximate |= executor.approximate
            for name, value in present.items():
                if name in self.stored:
                    _check_written(buffers[value.data_ptr()])

        return launch

    def _shift(self, tensor: Tensor) -> int:
        return 0 if self.aligned else tensor.element_size()


def _check_written(buffer: Buffer) -> None:
    if not buffer.complete:
        raise Fault(f"leaves elements of `{buffer.name}` as they were")


class Compiled(Bench):
    """Both files of a pair, the launcher of the Triton file with a compiled kernel."""

    def __init__(self, spec: Spec, pair: Pair, launcher: Launcher) -> None:
        """Takes the launcher."""
        super().__init__(spec, pair)
        self.launcher = launcher
        setattr(self.triton, kernel_of(spec), launcher)

    def again(self) -> Compiled:
        """The same files, imported afresh, with the same kernel."""
        return Compiled(self.spec, self.pair, self.launcher)


def check(task: Task) -> Verdict:
    """Every kernel on one option set."""
    compared = 0
    for one in task.each():
        ((backend, mode),) = one.kernels
        subject = proof.Subject.at(one)
        try:
            texts = {a: proof.text_of(one, subject, a) for a in one.alignments}
        except CannotCompile as error:
            return task.verdict(Status.REFUTED, str(error))
        if backend == "triton":
            found = [of_ptx(one, text, aligned) for aligned, text in texts.items()]
        else:
            # What a thousand tensors show is in the table, the same for all of them.
            first = (task.dtypes[:1], task.targets[:1], "host")
            most = tables.MANY if (one.dtypes, one.targets, mode) == first and not task.brief else 0
            found = [_of_tables(one, subject, texts, most)]
        compared += sum(v.values for v in found)
        for verdict in found:
            if not verdict.status.passed:
                return replace(verdict, values=compared)
    detail = f"{compared} values agree with NumPy in every bit; aligned tensors and unaligned ones"
    return task.verdict(Status.TESTED, detail, compared)


def of_ptx(task: Task, text: str, aligned: bool) -> Verdict:
    """The PTX of the kernel for one tensor.

    Args:
        task: On one type, GPU and kernel.
        text: The PTX.
        aligned: Whether it was compiled for aligned tensors.
    """
    spec, options, (target,), (dtype,) = task.spec, task.options, task.targets, task.dtypes
    subject = proof.Subject.at(task)
    key = (proof.proof_key(subject, task.folder, text), aligned, task.brief)
    if (known := _PASSED.get(key)) is not None:
        return known
    name = f"PTX for {target}, {dtype}{'' if aligned else ', unaligned'}"

    def verdict(
        status: Status, detail: str, counter: Counterexample | None = None, **more: Any
    ) -> Verdict:
        compared = bench.compared if bench is not None else 0
        return task.verdict(status, detail, compared, counter, **more)

    bench: Bench | None = None
    try:
        program = parse(text)
    except Unsupported as error:
        return verdict(Status.UNSUPPORTED, f"{name}: {error}")
    kernel = compiled.load(spec, task.folder)  # it has been compiled
    launcher = Launcher(program, kernel, spec, options, aligned)
    try:
        bench = Compiled(spec, task.pair, launcher)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{name} cannot be run: {failure(error)}")
    rng = np.random.default_rng([task.seed, 6])
    for case in cases(spec, options, kernel.block, dtype, aligned, task.brief, rng):
        mismatch = bench.run(case)
        if mismatch is None:
            continue
        if "Unsupported: " in mismatch.got:
            return verdict(Status.UNSUPPORTED, f"{name}: {mismatch.got}")
        if mismatch.kind == "failure":
            detail = f"{name}: {mismatch.got}"
        else:
            detail = f"{name}: the `{mismatch.tensor}` that is stored differs from NumPy's"
        case, mismatch = shrink.smallest(bench, case, mismatch)
        counter = locate.counterexample(bench, case, mismatch)
        found = _located(counter, subject, task.folder, text, name)
        return verdict(Status.REFUTED, detail, found)
    if launcher.approximate:
        shown = ", ".join(f"`{i}`" for i in sorted(launcher.approximate))
        return verdict(Status.REFUTED, f"{name} executes {shown}, which no bits follow from")
    if not bench.compared:
        reason = "no step that was tried has a value"
        return verdict(Status.UNSUPPORTED, reason, evidence={"no value": reason})
    _PASSED[key] = verdict(Status.TESTED, f"{bench.compared} values agree in every bit")
    return _PASSED[key]


def _of_tables(task: Task, subject: proof.Subject, texts: Mapping[bool, str], most: int) -> Verdict:
    """The PTX of a multi-tensor kernel.

    Args:
        task: On one type, GPU and kernel.
        subject: The rule for it.
        texts: The PTX for aligned tensors, and for such that are not.
        most: Tensors of the largest table, if that is more than a few.
    """
    keys = (proof.proof_key(subject, task.folder, texts[aligned]) for aligned in (True, False))
    key = (*keys, most)
    if (known := _PASSED.get(key)) is not None:
        return known
    name = f"PTX for {task.targets[0]}, {subject.dtype}{proof.variant(subject)}"
    try:
        programs = {aligned: parse(text) for aligned, text in texts.items()}
    except Unsupported as error:
        return task.verdict(Status.UNSUPPORTED, f"{name}: {error}")
    dtype = BY_TRITON[subject.dtype].numpy
    found, compared = tables.executed(task, programs, dtype, most)
    if found is None:
        _PASSED[key] = task.verdict(Status.TESTED, "agree in every bit", compared)
        return _PASSED[key]
    is_unknown = "Unsupported: " in found.detail
    status = Status.UNSUPPORTED if is_unknown else Status.REFUTED
    counter = found.counterexample
    if counter is not None:
        counter = _located(counter, subject, task.folder, texts[True], name)
    return task.verdict(status, f"{name}: {found.detail}", compared, counter)


_PASSED: dict[Any, Verdict] = {}
"""What has passed in this process: compilers write one text for several GPUs."""


def cases(
    spec: Spec, options: Options, block: int, dtype: str, aligned: bool, brief: bool,
    rng: inputs.Generator,
) -> Iterator[Case]:  # fmt: skip
    """Inputs of the interpreter's rung in one type: sizes, special values, a trajectory."""
    kind = BY_TRITON[dtype].numpy
    sizes = (1, block + 1) if brief or not aligned else (1, block - 1, block, 2 * block + 17)
    for n in sizes:
        yield single(spec, options, inputs.ordinary(spec, options, n, kind, rng), rng)
    special = inputs.specials(spec, options, kind, rng)
    yield single(spec, options, inputs.everywhere(special, block), rng)
    for _ in range(2 if brief else 4):
        yield at_edges(spec, options, kind, rng)
    if aligned:
        yield trajectory(spec, options, kind, 3 if brief else 6, (37,), rng)


def _located(
    counter: Counterexample, subject: proof.Subject, folder: Path, text: str, name: str
) -> Counterexample:
    """With the first lines where PTX and rule part, if the PTX can be lifted."""
    found = proof.parting_lines(subject, folder, text, name, counter.tensor)
    if found is None:
        return counter
    spec_line, generated_line, artefact_line = found
    return replace(
        counter,
        spec_line=spec_line or counter.spec_line,
        generated_line=generated_line or counter.generated_line,
        artefact_line=artefact_line,
    )
