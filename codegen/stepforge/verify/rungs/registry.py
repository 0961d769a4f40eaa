"""The rungs, one record for each: all that is to be known of a rung without running it.

A rung is a function that takes a `Task` and gives a `Verdict`, and a record here. The record has it
run at its level, puts it into the report, the certificate and `explain`, and has it judge mutants
and random specs; nothing else names rungs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stepforge.language.subjects import OPTIMIZER, SCHEDULE, Subject
from stepforge.verify.rungs.levels import AMD, Level


class Need(StrEnum):
    """What a rung cannot do without; the text is the reason of its UNSUPPORTED verdict.

    Without a kernel, a C file or a class of torch there is nothing to look at: `verify` does not
    ask then.
    """

    triton = "Triton is not installed"
    torch = "torch is not installed: pip install torch"
    ptx = f"{AMD} is compiled only: it has no PTX"
    kernel = "there is no kernel to look at"
    all_kernels = (
        "faults are planted in the files of triton and multi_tensor, not all of which exist"
    )
    torch_class = "the spec names no class of torch"
    c = "there is no C file with its caller to look at"


@dataclass(frozen=True, slots=True)
class Rung:
    """One kind of evidence.

    Attributes:
        number: What certificates, logs and kept verdicts know it by.
        name: What it is called.
        summary: One line of the report.
        explanation: What is done and what that finds, in whole sentences.
        function: `module:function` that takes a `Task` and gives a `Verdict`; "" for what runs
            above all others, and is given to the driver.
        artefacts: What it looks at, of "spec", "numpy", "kernel" (the files that launch one), "c"
            (a C file and its Python caller), "ttir" and "ptx".
        needs: What it cannot do without.
        level: The first level of `verify` that has it.
        assumptions: What it takes for granted, behind `{rungs}`; with `{ranges}` where that is said
            of hyperparameters whose domain is wider than what is looked at.
        fast_mode: Whether it looks at kernels in fast mode, too.
        mixes_types: Whether it looks at tensors of several types together, too.
        proves: Whether a pass may be a proof.
        subject: The kind of spec that it is about.
        excused: How its failures of a random spec are counted that say nothing of the spec → a
            pattern of status and detail.
    """

    number: str
    name: str
    summary: str
    explanation: str
    function: str = ""
    artefacts: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    level: Level = Level.fast
    assumptions: tuple[str, ...] = ()
    fast_mode: bool = False
    mixes_types: bool = False
    proves: bool = False
    subject: Subject = OPTIMIZER
    excused: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called in reports, as `Verdict.title`."""
        return f"{self.name} ({self.number})"

    @property
    def compiles(self) -> bool:
        """Whether it needs a worker with Triton's compiler, and a task for every type of tensors.

        The others run in workers with Triton's interpreter.
        """
        return "ttir" in self.artefacts

    @property
    def for_each_gpu(self) -> bool:
        """Whether there is a task for every type and GPU."""
        return "ptx" in self.artefacts


_COMPILED = ("kernel", "ttir", "ptx")
_OF_PTX = (Need.triton, Need.kernel, Need.ptx)
_USUAL = "{rungs}: random hyperparameters are in the usual ranges: {ranges}"
_BITS = "{rungs}, PROVED (bits): IEEE 754 arithmetic to nearest even; any NaN counts as any NaN"
_REALS = "{rungs}, PROVED (reals): exact arithmetic; denominators are not zero"
_EXP = (
    "{rungs}: ex2.approx, of a product with log2(e), is exp within the error that error-bound (R9) "
    "counts"
)
_PTX = "{rungs}: the PTX is what runs; its translation to machine code (ptxas) is not covered"

MUTATION_SCORE = Rung(
    "R12", "mutation-score", "mutants of this optimizer that the other rungs kill",
    "Faults are planted in rule, files, Triton IR and PTX; the share that the other rungs find has "
    "to be high. Finds a verifier that has gone blind.",
    needs=(Need.all_kernels,), level=Level.deep,
)  # fmt: skip
_ALL = (
    Rung(
        "R0", "static-rules", "static rules; first steps at the defaults in 50 digits",
        "Static rules, and the first steps at the defaults in 50 digits: they have values, and "
        "keep every state in its domain; a warning where they do not go downhill. Finds a "
        "division by zero, a domain that does not hold, a sign that may be wrong.",
        "stepforge.verify.rungs.static:check", ("spec",),
        assumptions=(
            "{rungs}: where no warning says otherwise, states keep their domains, over the reals",
            "{rungs}: hyperparameters are in the usual ranges: {ranges}",
        ),
    ),
    Rung(
        "R1", "formula-in-50-digits",
        "the formula in 50 digits against NumPy float64 and float32",
        "The formula, evaluated in 50 digits without the generator, against the NumPy reference in "
        "float64 and float32. Every value has to be within a rounding bound that follows from the "
        "expression. Finds what all generated files have wrong, because they come from one "
        "program.",
        "stepforge.verify.rungs.formula:check", ("numpy",),
        assumptions=(
            "{rungs}: host pow, exp and log are within the bounds of stepforge.operations.table",
            _USUAL,
        ),
    ),
    Rung(
        "R2", "interpreter", "NumPy against the interpreted kernel, bit for bit",
        "The NumPy reference against the kernel in Triton's interpreter, every stored bit: sizes "
        "around the block, special values, random hyperparameters, many steps, guard zones around "
        "every buffer. Finds crashes, lost states, wrong masks and swapped arguments.",
        "stepforge.verify.rungs.interpreter:check", ("numpy", "kernel"),
        (Need.triton, Need.kernel),
        assumptions=(
            "{rungs}: Triton's interpreter stands for the compiled kernel; programs run one after "
            "the other",
            _USUAL,
        ),
    ),
    Rung(
        "R3", "triton-ir-proof",
        "NumPy file, launcher and Triton IR lifted to formulas, against the rule, for every n",
        "NumPy file, launcher and Triton IR are lifted to formulas and compared with the rule: "
        "values, casts, offsets, masks, loads and stores, for every size and every input. Finds "
        "what no random input hits.",
        "stepforge.verify.rungs.proof:check_source", ("numpy", "kernel", "ttir"), (Need.triton,),
        assumptions=(_BITS, _REALS), mixes_types=True, proves=True,
        excused={"undecided": "^UNSUPPORTED: .*cannot be decided"},
    ),
    Rung(
        "R5", "compiled-contract",
        "the kernel compiles for every target, to exact instructions; every tensor moves once",
        "The kernel is compiled for every GPU and type, and its PTX is held against a contract: no "
        "approximate, flushing or contracting instruction, every tensor read once and written "
        "once. Finds settings of the compiler that change bits. What the kernel costs is measured: "
        "local memory, occupancy, instructions, accesses of fewer than 128 bits in full blocks "
        "are warnings.",
        "stepforge.verify.rungs.compiled:check", _COMPILED, (Need.triton, Need.kernel),
        assumptions=(
            "{rungs}: compiled with the launcher's num_warps, pointers aligned to 16 bytes and to "
            "one element",
        ),
        fast_mode=True,
    ),
    Rung(
        "R6", "ptx-executed",
        "the PTX executed on the CPU against NumPy, bit for bit, every access checked",
        "The PTX is executed on the CPU, started by the generated launcher, and compared with "
        "NumPy, every stored bit, every access checked. Finds where compiler and interpreter "
        "differ.",
        "stepforge.verify.rungs.executed:check", _COMPILED, _OF_PTX,
        assumptions=(_EXP, _PTX, _USUAL),
    ),
    Rung(
        "R7", "ptx-proof", "the PTX lifted to formulas, against the rule, for every n",
        "The PTX is lifted to formulas and compared with the rule, for every size and every input: "
        "what triton-ir-proof (R3) shows of Triton IR, after the compiler.",
        "stepforge.verify.rungs.proof:check_compiled", _COMPILED, _OF_PTX,
        assumptions=(_BITS, _REALS, _EXP, _PTX), fast_mode=True, mixes_types=True,
        proves=True,
        excused={"undecided": "^UNSUPPORTED: .*cannot be (decided|lifted)"},
    ),
    Rung(
        "R8", "third-party", "torch's class against NumPy float64",
        "torch's own class runs beside the NumPy reference: 100 steps in float64, parameters and "
        "states. Finds a formula that is not what the world calls by this name. Specs without a "
        "class of torch do not have it.",
        "stepforge.verify.rungs.third_party:check", ("spec", "numpy"),
        (Need.torch_class, Need.torch), Level.full, (_USUAL,),
    ),
    Rung(
        "R9", "error-bound", "rounding error along the PTX: a bound, and the worst input found",
        "Rounding along the PTX: a bound for every input where there is one, and the worst input "
        "that a search finds. Finds a right formula in bad arithmetic.",
        "stepforge.verify.rungs.bounded:check", _COMPILED, _OF_PTX, Level.full,
        assumptions=(
            _EXP,
            _PTX,
            "{rungs}: no intermediate result underflows or overflows, no condition is as close as "
            "its rounding",
            "{rungs}: bounds hold in the usual ranges: {ranges}",
        ),
        fast_mode=True,
    ),
    Rung(
        "R10", "c-proof", "C file and its caller lifted to formulas, against the rule, for every n",
        "The rule in the C file, the calls of it, the Python caller and the numbers that both "
        "languages compute for a step are lifted to formulas and compared with the rule: values, "
        "conversions, loads and stores, for every size and every input, with tensors of several "
        "types. Finds a literal that makes C compute in double, and what no random input hits.",
        "stepforge.verify.rungs.c_proof:check", ("c",), (Need.c,),
        assumptions=(
            _BITS,
            "{rungs}: the C compiler rounds every operation as the C standard says, without "
            "contraction; the loop over tensors and threads, which all files share, is not lifted",
        ),
        mixes_types=True, proves=True,
        excused={"undecided": "^UNSUPPORTED: .*cannot be decided"},
    ),
    Rung(
        "R11", "c-executed", "the C file compiled and run against NumPy, bit for bit",
        "The C file, compiled by gcc and clang as far as they are installed, with -O3 and -O2, "
        "against the NumPy reference, every stored bit: on one array and on tables of many, in all "
        "types, with one thread and several, between guard zones; under AddressSanitizer and "
        "UndefinedBehaviorSanitizer; and its machine code has no instruction that contracts. Finds "
        "what a compiler does, and the loop around the rule.",
        "stepforge.verify.rungs.native:check", ("c",), (Need.c,), Level.full,
        assumptions=(
            "{rungs}: this processor and these compilers stand for others",
            _USUAL,
        ),
    ),
    MUTATION_SCORE,
    Rung(
        "S0", "schedule-rules", "static rules; the factor at the defaults in 50 digits",
        "Of a schedule: static rules, and its factor at the defaults in 50 digits, which is a "
        "number in every step, at the ends of its pieces and long after; a warning where it is "
        "negative. Finds a division by zero and a sign that may be wrong.",
        "stepforge.verify.rungs.schedule:check_rules", ("spec",), subject=SCHEDULE,
    ),
    Rung(
        "S1", "schedule-in-50-digits",
        "the formula of a schedule in 50 digits against the generated function",
        "The formula of a schedule, evaluated in 50 digits without the generator, against the "
        "generated function: the defaults and hyperparameters at random, in the first steps, "
        "around the ends of all pieces and long after. Every factor has to be within a rounding "
        "bound that follows from the expression. Finds an edited function, and what the generator "
        "has wrong.",
        "stepforge.verify.rungs.schedule:check", ("numpy",), subject=SCHEDULE,
        assumptions=(
            "{rungs}: host pow, exp, log, sin and cos are within the bounds of "
            "stepforge.operations.table",
            _USUAL,
        ),
    ),
    Rung(
        "S3", "schedule-proof", "the generated function lifted to a formula, against the rule",
        "The generated function of a schedule is lifted to a formula and compared with the rule, "
        "for every step and all hyperparameters: PROVED (bits) says that it performs the rule's "
        "rounded operations in its order. Finds what no number that was tried hits.",
        "stepforge.verify.rungs.proof:check_schedule", ("numpy",), assumptions=(_BITS,),
        proves=True, subject=SCHEDULE,
    ),
    Rung(
        "S8", "torch-scheduler", "torch's scheduler against the generated function",
        "torch's own scheduler runs beside the generated function of a schedule: whole runs with "
        "the defaults and with hyperparameters at random. Finds a formula that is not what torch "
        "calls by this name, and one that is a step early or late. Schedules without a class of "
        "torch do not have it.",
        "stepforge.verify.rungs.torch_scheduler:check", ("spec", "numpy"),
        (Need.torch_class, Need.torch), Level.full, (_USUAL,), subject=SCHEDULE,
    ),
)  # fmt: skip
RUNGS: dict[str, Rung] = {rung.number: rung for rung in _ALL}
"""By number, in the order of the report. R4 is not used."""

OF_COPIES = (("R1", "R3"), ("R2",), ("R5", "R6"))
"""The rungs that judge faults of stepforge itself, the quick ones first, those of one process
together. R7 shows the same of PTX as R3 of Triton IR; between the two is the compiler, which has no
fault."""


def named(text: str) -> Rung | None:
    """The rung with a number or a name, in any case."""
    wanted = text.strip().lower()
    return next((r for r in RUNGS.values() if wanted in (r.number.lower(), r.name)), None)


def rank(number: str) -> int:
    """The place of a rung in reports and certificates; what is about the files comes first."""
    return list(RUNGS).index(number) if number in RUNGS else -1


def titles(numbers: Iterable[str]) -> str:
    """Several rungs, in the order of the report, with spaces between them."""
    return " ".join(RUNGS[number].title for number in sorted(numbers, key=rank))


def of(subject: Subject) -> tuple[Rung, ...]:
    """The rungs that are about a kind of spec, in the order of the report."""
    return tuple(rung for rung in RUNGS.values() if rung.subject == subject)


def assumptions(ranges: str, subject: Subject = OPTIMIZER) -> Iterator[str]:
    """What the rungs take for granted; last what depends on the spec.

    Args:
        ranges: Those of hyperparameters that are looked at in a part of their domain only.
        subject: The kind of spec.
    """
    found: dict[str, list[str]] = {}
    for rung in of(subject):
        for text in rung.assumptions:
            found.setdefault(text, []).append(rung.title)
    for text, those in sorted(found.items(), key=lambda item: "{ranges}" in item[0]):
        if ranges or "{ranges}" not in text:
            yield text.format(rungs=", ".join(those), ranges=ranges)
