"""What there is to do for a spec at a level: one task is one rung on one option set.

Tasks on tensors of one type form a group, which one worker runs: kernels for several GPUs have much
in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from stepforge.language.spec import Spec
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import KERNELS, LAUNCHERS, ON_HOST, Variant

TARGETS = ("sm_80", "sm_90", "sm_100", "sm_120")
"""The GPUs whose PTX is executed and proved; compiled with them is `AMD`."""
AMD = "gfx942"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120", AMD)
"""The GPUs that Triton compiles for; what its version does not know is refuted by R5."""
DEVICE_TARGET = "sm_90"
"""The GPU whose PTX with numbers on the device is looked at, in exact mode."""
FAST_TARGETS = ("sm_90",)
"""Those of them that the fast level looks at."""
DTYPES = ("fp32", "fp64", "bf16", "fp16")
"""Triton's names of the tensors' types; with the 16-bit ones the states are float32."""

INTERPRETED = ("R0", "R1", "R2")
"""Rungs of the workers that have Triton's interpreter."""
NEEDS_TRITON = ("R2", "R3", "R5", "R6", "R7", "R9")
COMPILED = ("R5", "R6", "R7", "R9")
"""Rungs that look at a compiled kernel."""


class Level(StrEnum):
    """How much `verify` does."""

    fast = "fast"
    full = "full"
    deep = "deep"


@dataclass(frozen=True, slots=True)
class Task:
    """One rung on one option set of one spec.

    Attributes:
        rung: Key of `certificate.RUNGS`.
        spec: The spec.
        options: The option set.
        folder: The folder of generated code.
        seed: Of random inputs.
        targets: GPUs to compile for.
        dtypes: Types of the tensors.
        exact: Whether the kernel is launched in exact mode.
        required: Whether verification fails if it does not pass.
        brief: A smaller selection of inputs is enough.
        kernels: Which kernels; by default those that are launched from the host, and all of them
            in Triton IR and for `DEVICE_TARGET`.
        backends: Whose kernels, of `LAUNCHERS`.
    """

    rung: str
    spec: Spec
    options: dict[str, bool]
    folder: Path
    seed: int
    targets: tuple[str, ...] = TARGETS
    dtypes: tuple[str, ...] = DTYPES
    exact: bool = True
    required: bool = True
    brief: bool = False
    kernels: tuple[Variant, ...] = ()
    backends: tuple[str, ...] = LAUNCHERS

    @property
    def chosen(self) -> tuple[Variant, ...]:
        """The kernels to look at."""
        on_device = self.exact and not self.brief and self.targets == (DEVICE_TARGET,)
        kernels = self.kernels or (KERNELS if on_device or self.rung == "R3" else ON_HOST)
        return tuple(kernel for kernel in kernels if kernel[0] in self.backends)

    def verdict(self, status: Status, detail: str) -> Verdict:
        """A verdict that the rung itself did not live to give."""
        found = Verdict(self.rung, self.spec.name, self.options, status, 0, detail, self.seed)
        return self.placed(found)

    def placed(self, verdict: Verdict) -> Verdict:
        """The verdict with what the task says of it."""
        target = self.targets[0] if self.rung in COMPILED and len(self.targets) == 1 else ""
        dtype = self.dtypes[0] if len(self.dtypes) == 1 else ""
        return replace(
            verdict, target=target, dtype=dtype, exact=self.exact, required=self.required
        )


Group = tuple[Task, ...]


def run(task: Task) -> Verdict:
    """Runs a task in this process."""
    try:
        return task.placed(_rung(task))
    except Exception:
        raise  # our fault
    except BaseException as error:
        what = f"a generated file ends the process: {type(error).__name__}"
        return task.verdict(Status.REFUTED, what)


def _rung(task: Task) -> Verdict:
    spec, folder, options = task.spec, task.folder, task.options
    if task.rung in ("R6", "R7", "R9") and AMD in task.targets:
        return task.verdict(Status.UNSUPPORTED, f"{AMD} is compiled only: it has no PTX")
    if task.rung == "R0":
        from stepforge.verify.rungs import static

        return static.check(spec, options)
    if task.rung == "R1":
        from stepforge.verify.rungs import formula

        return formula.check(spec, folder, options, task.seed, brief=task.brief)
    if task.rung == "R2":
        from stepforge.verify.rungs import interpreter

        return interpreter.check(
            spec, folder, options, task.seed, brief=task.brief, backends=task.backends
        )
    if task.rung == "R3":
        from stepforge.verify.rungs import proof

        return proof.check_source(
            spec, folder, options, task.dtypes, task.seed, kernels=task.chosen
        )
    if task.rung == "R5":
        from stepforge.verify.rungs import compiled

        return compiled.check(
            spec, folder, options, task.targets, task.dtypes, task.exact, task.chosen
        )
    if task.rung == "R6":
        from stepforge.verify.rungs import executed

        return executed.check(
            spec, folder, options, task.targets, task.dtypes, task.seed, task.brief, task.chosen
        )
    if task.rung == "R7":
        from stepforge.verify.rungs import proof

        return proof.check_compiled(
            spec, folder, options, task.targets, task.dtypes, task.seed, task.exact, task.chosen
        )
    if task.rung == "R9":
        from stepforge.verify.rungs import bounded

        return bounded.check(
            spec, folder, options, task.targets, task.dtypes, task.seed, task.exact, task.chosen
        )
    from stepforge.verify.rungs import third_party

    return third_party.check(spec, folder, options, task.seed)


def rungs(spec: Spec, level: Level = Level.full) -> list[str]:
    """The rungs that apply to a spec: R8 needs a class of torch to compare with."""
    found = ["R0", "R1", "R2", "R3", "R5", "R6", "R7"]
    if level is not Level.fast:
        found += [*(["R8"] if spec.torch_class else []), "R9"]
    return [*found, "R12"] if level is Level.deep else found


def left_out(
    specs: Iterable[Spec], level: Level, targets: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """What the fast level does not look at and the full one does; nothing at the others.

    Args:
        specs: The specs that are verified.
        level: The level.
        targets: GPUs that the user names, instead of those of the level.
    """
    if level is not Level.fast:
        return {}
    rest = {r for spec in specs for r in {*rungs(spec, Level.full)} - {*rungs(spec, level)}}
    other = [target for target in (*TARGETS, AMD) if target not in FAST_TARGETS]
    return {
        "dtypes": list(DTYPES[1:]),
        **({} if targets else {"targets": other}),
        "modes": ["fast mode"],
        "rungs": sorted(rest),
    }


def groups(
    spec: Spec, folder: Path, seed: int, level: Level, targets: tuple[str, ...] | None = None,
    backends: tuple[str, ...] = LAUNCHERS,
) -> Iterator[Group]:  # fmt: skip
    """Everything to do for a spec; a target that the user names has to pass whatever it is.

    The fast level looks at float32 on one GPU; the others at every type and GPU, at kernels that
    are launched in fast mode, and at AMD, which is compiled only. Without kernels, what is left is
    the reference: against the formula in R1, lifted in R3, and against torch in R8.
    """
    fast = level is Level.fast
    chosen = targets or (FAST_TARGETS if fast else (*TARGETS, AMD))
    dtypes = DTYPES[:1] if fast else DTYPES
    for options in spec.option_sets():
        task = Task(
            "R0", spec, options, folder, seed, chosen, dtypes, brief=fast, backends=backends
        )
        for rung in rungs(spec, level):
            if rung in ("R0", "R1", "R8") or (rung == "R2" and backends):
                yield (replace(task, rung=rung),)
        compiled = [r for r in COMPILED if r in rungs(spec, level) and backends]
        for dtype in dtypes:
            group = [replace(task, rung="R3", dtypes=(dtype,))]
            for target in chosen:
                here = replace(task, targets=(target,), dtypes=(dtype,))
                group += [
                    replace(
                        here, rung=rung, required=bool(targets) or target != AMD or rung == "R5"
                    )
                    for rung in compiled
                ]
            yield tuple(group)
        if not fast and backends:
            here = replace(task, dtypes=("fp32",), exact=False)
            yield tuple(
                replace(here, rung=rung, targets=(target,))
                for target in chosen
                if target != AMD
                for rung in ("R5", "R7", "R9")
            )
