"""What rungs, verdicts and levels mean, in the words of `stepforge explain`."""

from __future__ import annotations

from stepforge.language.diagnostics import CODES
from stepforge.language.subjects import OPTIMIZER
from stepforge.verify.rungs.levels import Level
from stepforge.verify.rungs.registry import RUNGS, of

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
        "report has the smallest one found; or the file could not be compiled, or ended the "
        "process. What a kernel costs is a warning, which fails with `--strict` alone."
    ),
    "UNSUPPORTED": (
        "Not checked, and the report says why: a library that is missing, something that the "
        "rung cannot read, no time left, a fault in the verifier. It counts as a failure."
    ),
}


def levels() -> dict[str, str]:
    """What `verify` does at each level."""
    fast, full, deep = (
        [rung.title for rung in of(OPTIMIZER) if rung.level is level] for level in Level
    )
    return {
        "FAST": (
            f"`verify --level fast`, the default: {fast[0]} to {fast[-1]} on float32 and one GPU, "
            "in seconds. The last line of the report says what that leaves out."
        ),
        "FULL": (
            "`verify --level full`: every type and every GPU, also kernels in fast mode, "
            f"{' and '.join(full)}; minutes."
        ),
        "DEEP": f"`verify --level deep`: all of `full`, and {deep[0]} on each optimizer.",
    }


def explanations() -> dict[str, dict[str, str]]:
    """Everything that `explain` knows: kind → name → meaning."""
    return {
        "code": CODES,
        "rung": {rung.name: rung.explanation for rung in RUNGS.values()},
        "verdict": VERDICTS,
        "level": levels(),
    }


def names() -> list[str]:
    """What can be asked for: names of all kinds, and the numbers of rungs."""
    return [*(name for table in explanations().values() for name in table), *RUNGS]
