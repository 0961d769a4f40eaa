"""What rungs, verdicts and levels mean, in the words of `stepforge explain`."""

from __future__ import annotations

from stepforge.language.diagnostics import CODES

RUNGS: dict[str, str] = {
    "R0": (
        "Static rules, and the first steps at the defaults in 50 digits: they go downhill, have "
        "values, and keep every state in its domain. Finds a sign that is wrong, a division by "
        "zero, a domain that does not hold."
    ),
    "R1": (
        "The formula, evaluated in 50 digits without the generator, against the NumPy reference in "
        "float64 and float32. Every value has to be within a rounding bound that follows from the "
        "expression. Finds what all generated files have wrong, because they come from one program."
    ),
    "R2": (
        "The NumPy reference against the kernel in Triton's interpreter, every stored bit: sizes "
        "around the block, special values, random hyperparameters, many steps, guard zones around "
        "every buffer. Finds crashes, lost states, wrong masks and swapped arguments."
    ),
    "R3": (
        "NumPy file, launcher and Triton IR are lifted to formulas and compared with the rule: "
        "values, casts, offsets, masks, loads and stores, for every size and every input. Finds "
        "what no random input hits."
    ),
    "R5": (
        "The kernel is compiled for every GPU and type, and its PTX is held against a contract: no "
        "approximate, flushing or contracting instruction, every tensor read once and written "
        "once, full blocks in accesses of 128 bits. Finds settings of the compiler that change "
        "bits or cost speed."
    ),
    "R6": (
        "The PTX is executed on the CPU, started by the generated launcher, and compared with "
        "NumPy, every stored bit, every access checked. Finds where compiler and interpreter "
        "differ."
    ),
    "R7": (
        "The PTX is lifted to formulas and compared with the rule, for every size and every input: "
        "what R3 shows of Triton IR, after the compiler."
    ),
    "R8": (
        "torch's own class runs beside the NumPy reference: 100 steps in float64, parameters and "
        "states. Finds a formula that is not what the world calls by this name. Specs without a "
        "class of torch do not have it."
    ),
    "R9": (
        "Rounding along the PTX: a bound for every input where there is one, and the worst input "
        "that a search finds. Finds a right formula in bad arithmetic."
    ),
    "R12": (
        "Faults are planted in rule, files, Triton IR and PTX; the share that the other rungs find "
        "has to be high. Finds a verifier that has gone blind."
    ),
}
VERDICTS: dict[str, str] = {
    "PROVED": (
        "Shown for every input. `PROVED (bits)`: the kernel performs the rule's rounded operations "
        "in the rule's order, so every bit is the same; any NaN counts as any NaN. "
        "`PROVED (reals)`: the formulas are equal in exact arithmetic, but rounding may differ. "
        "What a proof takes for granted stands in the certificate, under `assumptions`."
    ),
    "TESTED": (
        "Right for so many values, of random inputs of a seed that the certificate names. Another "
        "seed looks at others."
    ),
    "REFUTED": (
        "Wrong: there is an input for which the kernel does not give what the rule gives, and the "
        "report has the smallest one found; or the file could not be compiled, did not end, or "
        "died."
    ),
    "UNSUPPORTED": (
        "Not checked, and the report says why: a library that is missing, or something that the "
        "rung cannot read. It counts as a failure."
    ),
}
LEVELS: dict[str, str] = {
    "FAST": (
        "`verify --level fast`, the default: R0 to R7 on float32 and one GPU, in seconds. The last "
        "line of the report says what that leaves out."
    ),
    "FULL": (
        "`verify --level full`: every type and every GPU, also kernels in fast mode, torch's class "
        "(R8) and rounding (R9); minutes."
    ),
    "DEEP": "`verify --level deep`: all of `full`, and R12 on each optimizer.",
}
EXPLANATIONS: dict[str, str] = {**CODES, **RUNGS, **VERDICTS, **LEVELS}
"""Everything that `explain` knows, by its name in capitals."""
