"""Verdicts: what was found, by which rung, on what evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """Strength of a verdict; only PROVED and TESTED are passes."""

    PROVED = "PROVED"
    TESTED = "TESTED"
    REFUTED = "REFUTED"
    UNSUPPORTED = "UNSUPPORTED"

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong and the check did run."""
        return self in (Status.PROVED, Status.TESTED)


FORMAT = 1
"""Of the machine-readable form; it counts up when a key changes its meaning or goes."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel to measure.

    Attributes:
        cubin: The compiled kernel as an ELF file.
        name: The kernel's function.
        target: What it was compiled for, such as "sm_90".
        threads: Of one program.
        elements: Of one program.
        bytes_per_element: That a step has to move: every tensor read once and written once.
        dynamic_shared: Bytes of shared memory that a launch asks for, which no cubin says.
        table_bytes: That a thread reads from a table beside them.
    """

    cubin: bytes
    name: str
    target: str
    threads: int
    elements: int
    bytes_per_element: float
    dynamic_shared: int = 0
    table_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Counterexample:
    """The smallest input found that shows a refutation.

    Attributes:
        tensor: The stored tensor or state that is wrong.
        dtype: Type of the tensors.
        n: Number of elements.
        element: Which of them is wrong.
        step: In which step from the start, counted from 1.
        inputs: What went in: `t`, hyperparameters, and tensors before the first step.
        expected: The right value.
        got: The value found.
        spec_line: `file:line: text` of the first line of the rule where the two part.
        generated_line: The same of the generated file.
        artefact_line: The same of Triton IR or PTX, if it was found there.
    """

    tensor: str
    dtype: str
    n: int
    element: int
    step: int
    inputs: dict[str, str]
    expected: str
    got: str
    spec_line: str = ""
    generated_line: str = ""
    artefact_line: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rung says of one optimizer under one set of options.

    Attributes:
        rung: Number of the rung, or "files" where it is about the files themselves.
        optimizer: Name of the spec.
        options: The options, or None when the verdict is about all of them.
        status: The verdict.
        values: How many values were compared, or artefacts made.
        detail: One line of evidence, or the reason of a failure.
        seed: Of the random inputs.
        counterexample: For REFUTED, where there is one.
        target: The GPU, or "" when the verdict is about all of them or none.
        dtype: Type of the tensors, or "" likewise; with 16-bit ones the states are float32.
        strength: Of PROVED: "bits", the kernel performs the rule's rounded operations in its order
            and agrees for every input in every bit; "reals", the formulas are equal.
        exact: Whether the kernel is launched in exact mode.
        required: Whether verification fails without it.
        evidence: What was measured: bounds, static figures, hashes of artefacts.
        warnings: What is no fault and should be looked at, one line each: what a kernel costs, a
            first step that does not descend. A pass stays one, except for who is strict.
        machine_code: Kernels whose figures are still to be measured, by name.
        kept: When it was found, in UTC, if that was in an earlier run from the same inputs.
        name: Of the rung; "" where it is the number.
        lasting: Whether the same inputs give it again: not where time or memory ran out.
    """

    rung: str
    optimizer: str
    options: dict[str, bool] | None
    status: Status
    values: int = 0
    detail: str = ""
    seed: int | None = None
    counterexample: Counterexample | None = None
    target: str = ""
    dtype: str = ""
    strength: str = ""
    exact: bool = True
    required: bool = True
    evidence: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    machine_code: dict[str, Compiled] = field(default_factory=dict, repr=False)
    kept: str = ""
    name: str = ""
    lasting: bool = True

    @property
    def title(self) -> str:
        """What the rung is called in reports."""
        return f"{self.name} ({self.rung})" if self.name else self.rung

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells it from the other verdicts of a run."""
        options = tuple(sorted((self.options or {}).items()))
        return self.optimizer, self.rung, options, self.target, self.dtype, self.exact

    @property
    def passed(self) -> bool:
        """Whether verification may go on with it."""
        return self.status.passed or not self.required

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form, the rung's name first."""
        data = asdict(self)
        del data["name"], data["machine_code"], data["lasting"]
        return {"name": self.name or self.rung, **data}


@dataclass(frozen=True, slots=True)
class Certificate:
    """All verdicts about one optimizer, and what they depend on.

    Attributes:
        optimizer: Name of the spec.
        verdicts: In the order of the rungs, then of the option sets.
        assumptions: What the verdicts take for granted.
        hashes: SHA-256 of spec and generated files.
        templates: SHA-256 of the templates of each backend, with all that they can include.
        versions: Of Python, libraries and assemblers that were involved.
        kernels: The backends whose kernels were looked at.
        kind: Of the spec, "optimizer" or "schedule".
    """

    optimizer: str
    verdicts: tuple[Verdict, ...]
    assumptions: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    kind: str = "optimizer"

    @property
    def passed(self) -> bool:
        """Whether there are verdicts and all of them are passes."""
        required = [v for v in self.verdicts if v.required]
        return bool(required) and all(v.status.passed for v in required)

    @property
    def warned(self) -> bool:
        """Whether a verdict has warnings: who is strict fails then."""
        return any(v.warnings for v in self.verdicts)

    def of(self, rung: str) -> tuple[Verdict, ...]:
        """The verdicts of one rung."""
        return tuple(v for v in self.verdicts if v.rung == rung)

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form; docs/json.md describes it."""
        data = asdict(replace(self, verdicts=()))
        data["verdicts"] = [verdict.as_dict() for verdict in self.verdicts]
        return {"format": FORMAT, **data, "passed": self.passed}


def worst(verdicts: tuple[Verdict, ...]) -> Status | None:
    """The weakest status of several verdicts; None if there are none."""
    ranking = (Status.REFUTED, Status.UNSUPPORTED, Status.TESTED, Status.PROVED)
    present = {v.status for v in verdicts}
    return next((status for status in ranking if status in present), None)


def describe(verdict: Verdict) -> str:
    """A failed verdict in words: what, where, the smallest input, expected and got."""
    options = verdict.options
    shown = " ".join(f"{k}={v}" for k, v in options.items()) if options else ""
    where = " ".join(filter(None, (verdict.target, verdict.dtype)))
    head = f"{verdict.status} {verdict.title} {verdict.optimizer}{f' [{shown}]' if shown else ''}"
    lines = [f"{head} {where}".rstrip()]
    lines.append(f"  {verdict.detail}")
    if (c := verdict.counterexample) is not None:
        lines.append(f"  {c.tensor}[{c.element}] of n = {c.n}, {c.dtype}, step {c.step}:")
        lines.append(f"    expected {c.expected}")
        lines.append(f"    got      {c.got}")
        lines.append("  smallest input:")
        lines += [f"    {name} = {value}" for name, value in c.inputs.items()]
        if parting := [line for line in (c.spec_line, c.generated_line, c.artefact_line) if line]:
            lines.append("  first line where they part:")
            lines += [f"    {line}" for line in parting]
    return "\n".join(lines)
