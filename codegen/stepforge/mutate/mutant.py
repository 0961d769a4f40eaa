"""What a mutant is: one small fault, planted at one level on the way from rule to PTX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stepforge.language.spec import Options, Spec
from stepforge.verify.certificate import Status, Verdict

CLASSES = {
    "A": "arithmetic: another operator, an operand dropped, doubled or negated",
    "B": "symbol: another hyperparameter, tensor, or state",
    "C": "constant: scaled, off by one ulp, of the other sign, a literal instead of an argument",
    "D": "structure: where eps, bias corrections and weight decay stand",
    "E": "order: stale states, statements swapped or left out",
    "F": "memory: masks, offsets, pointers, loads and stores",
    "G": "type: narrower intermediate results, other roundings",
    "H": "instruction: approximations, contraction, maxima that lose a NaN",
    "I": "control: predicates and choices, guards for some values",
    "J": "launch: scalars, arguments, grid, step count",
    "K": "cheats: no work, copies, right for some calls, sizes or hyperparameters alone",
    "L": "surroundings: checks, defaults, `init`, launches, classes, files that are too much",
    "M": "stepforge itself: its reader, constants, kinds, lowering, writers, templates, formulas",
    "S": "the spec itself: a formula that is not the one of its name",
    "EQ": "equivalent: has to pass",
}
"""Every class of mutants; EQ are none."""
TARGET = "sm_90"
"""The GPU that rungs compile mutants for."""
GENERATOR = "generator"
SURROUNDINGS = "surroundings"
LEVELS = {
    "spec": {"spec"},
    "rule": {"numpy", "kernel", "c"},
    "numpy": {"numpy"},
    "triton": {"kernel"},
    "multi_tensor": {"kernel"},
    "c": {"c"},
    "ttir": {"ttir"},
    "ptx": {"ptx"},
    SURROUNDINGS: {"numpy", "kernel"},
    GENERATOR: {"numpy", "kernel"},
}
"""Where a fault is planted → what has it first; rungs that look at that are asked.

spec: in the formula, with all files built from it. rule: after reading, so that both files have the
fault and agree. numpy, triton, multi_tensor, c: in one file. ttir, ptx: in what the compiler makes.
surroundings: in any file, around the rule: `FILES` is asked first, as `verify` does it. generator:
in what makes the files, and in a verifier that has the same fault.
"""
FILES = "files"
"""What is asked before all rungs: whether the files may be looked at. What it does not pass is not
run, so UNSUPPORTED is a kill, too."""
BUILD = "build"
"""What is asked of a fault of the generator before all rungs: whether other files come of it."""
SAME = "SAME"
"""What is said of a fault by which no file changes in more than its comments."""
AROUND = "around"
"""What is asked of a fault of the generator at last, and kills none: whether what surrounds the
rule is what the generator without a fault writes. If so, and the rule is proved, it is no fault."""
WARNED = "TESTED, warned"
"""What is said of a mutant in place of TESTED, where `verify --strict` would fail."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        spec: The optimizer; at level "spec" with the fault.
        options: The option set in which the fault shows.
        level: Key of `LEVELS`.
        kind: Key of `CLASSES`.
        operator: What was done, in one or two words.
        what: Where, such as the line before and after.
        files: Contents of the generated files that have the fault, by backend; at level
            "surroundings" of files in the folder, by their paths in it.
        text: Of Triton IR or PTX with the fault; at level "generator" the edit, as JSON.
        dtype: Type of the tensors.
        fast: Whether the fault is in fast mode alone, where no bits are claimed.
    """

    spec: Spec
    options: Options
    level: str
    kind: str
    operator: str
    what: str
    files: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    dtype: str = "fp32"
    fast: bool = False

    @property
    def name(self) -> str:
        """Unique, and the same in every run."""
        chosen = ",".join(k for k, v in self.options.items() if v)
        where = f"{self.spec.name}[{chosen}]" if chosen else self.spec.name
        return f"{where} {self.level} {self.kind} {self.operator}: {self.what}"


def shown(verdict: Verdict) -> str:
    """Status, strength and the first line of the reason."""
    if verdict.status is Status.PROVED:
        return f"{verdict.status} ({verdict.strength})"
    if verdict.status is Status.TESTED:
        return f"{WARNED}: {verdict.warnings[0]}" if verdict.warnings else str(verdict.status)
    return f"{verdict.status}: {verdict.detail.split(chr(10))[0][:200]}"
