"""What a step costs: bytes of states, bytes moved, operations, counted on the lowered rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stepforge.language.kinds import Kind
from stepforge.language.spec import Options
from stepforge.lowering.kernel import Kernel, Let, Step, Value

CLASSES: Mapping[str, str] = {
    "add": "additions", "sub": "additions", "mul": "multiplications", "square": "multiplications",
    "div": "divisions", "sqrt": "roots", "cbrt": "roots", "pow": "functions",
    "exp": "functions", "log": "functions", "expm1": "functions", "tanh": "functions",
    "sin": "functions", "cos": "functions", "atan2": "functions",
}  # fmt: skip
"""What operations are counted as; all others are choices: comparisons, signs, extremes."""
NAMES = ("additions", "multiplications", "divisions", "roots", "functions", "choices")
FREE = ("name", "number", "fill", "neg")
"""What costs nothing, or is part of the next operation."""


@dataclass(frozen=True)
class Costs:
    """Of one element in one step; `mixed` is for bfloat16 parameters with float32 states.

    States that the rule keeps in the type of the parameter are bfloat16 there.

    Attributes:
        state_bytes: Of all tensor states beside float32 parameters.
        moved_bytes: Read and written, every tensor once, of float32 parameters.
        moved_bytes_mixed: The same of bfloat16 parameters.
        operations: How many of each of `NAMES`; of a block on numbers, the dearer arm.
    """

    state_bytes: int
    moved_bytes: int
    moved_bytes_mixed: int
    operations: Mapping[str, int]


def costs(kernel: Kernel, options: Options) -> Costs:
    """What a step costs under an option set."""
    spec = kernel.spec
    states = {s.name for s in spec.active_states(options) if not s.scalar}
    accesses = {t.name: t.loaded + t.stored for t in kernel.tensors}
    own = sum(accesses.get(name, 0) for name in states)
    given = sum(accesses.get(name, 0) for name in spec.given)
    kept = sum(accesses.get(s.name, 0) for s in spec.states if s.name in states and s.has_p_type)
    counted = Counter[str]()
    for stage in kernel.stages:
        counted += _operations(stage.body, options)
    return Costs(
        4 * len(states), 4 * (own + given), 4 * (own - kept) + 2 * (given + kept),
        {name: counted[name] for name in NAMES},
    )  # fmt: skip


def _operations(steps: Iterable[Step], options: Options) -> Counter[str]:
    found: Counter[str] = Counter()
    for step in steps:
        if isinstance(step, Let):
            found += _of(step.value, options)
            continue
        body, orelse = _operations(step.body, options), _operations(step.orelse, options)
        if step.condition.kind is Kind.OPTION:
            found += body if _holds(step.condition, options) else orelse
        else:
            found += body if sum(body.values()) >= sum(orelse.values()) else orelse
    return found


def _of(value: Value, options: Options) -> Counter[str]:
    if value.op == "select" and value.args[0].kind is Kind.OPTION:
        return _of(value.args[1 if _holds(value.args[0], options) else 2], options)
    found = Counter[str]()
    for argument in value.args:
        found += _of(argument, options)
    if value.op not in FREE:
        found[CLASSES.get(value.op, "choices")] += 1
    return found


def _holds(condition: Value, options: Options) -> bool:
    match condition.op:
        case "name":
            return options[condition.text]
        case "not":
            return not _holds(condition.args[0], options)
        case "and":
            return all(_holds(a, options) for a in condition.args)
    return any(_holds(a, options) for a in condition.args)
