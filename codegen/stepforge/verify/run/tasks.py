"""What there is to do for a spec at a level: one task is one rung on one option set.

Tasks on tensors of one type form a group, which one worker runs: kernels for several GPUs have much
in common.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stepforge.language.spec import Spec
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import LAUNCHERS, ON_HOST
from stepforge.verify.run import coverage
from stepforge.verify.rungs import levels
from stepforge.verify.rungs.levels import AMD, Level
from stepforge.verify.rungs.registry import Need, Rung, of
from stepforge.verify.rungs.task import Task

Group = tuple[Task, ...]


def run(task: Task) -> Verdict:
    """Runs a task in this process."""
    if (missing := task.missing) is not None:
        return task.verdict(Status.UNSUPPORTED, missing.value)
    try:
        verdict: Verdict = pkgutil.resolve_name(task.rung.function)(task)
        return task.placed(verdict)
    except Exception:
        raise  # our fault
    except BaseException as error:
        what = f"a generated file ends the process: {type(error).__name__}"
        return task.verdict(Status.REFUTED, what)


def rungs(spec: Spec, level: Level = Level.full, backends: Sequence[str] = LAUNCHERS) -> list[Rung]:
    """The rungs that have something to look at, which need not be all that they need."""
    included = list(Level)[: list(Level).index(level) + 1]
    is_there = {Need.torch_class: bool(spec.torch_class), Need.kernel: bool(backends)}
    return [
        rung
        for rung in of(spec.subject)
        if rung.level in included and all(is_there.get(need, True) for need in rung.needs)
    ]


def groups(
    spec: Spec, folder: Path, seed: int, level: Level, targets: tuple[str, ...] | None = None,
    backends: tuple[str, ...] = LAUNCHERS, steps: bool = True,
) -> Iterator[Group]:  # fmt: skip
    """Everything to do for a spec; a target that the user names has to pass whatever it is.

    The fast level looks at float32 on one GPU; the others at every type and GPU, at kernels that
    are launched in fast mode, at tensors of several types together, and at AMD, which is compiled
    only. The deep one proves all of these on one GPU. Without kernels, what is left is the
    reference, and the C files where the folder has them.

    Args:
        spec: The spec.
        folder: The folder of generated code.
        seed: Of random inputs.
        level: How much to do.
        targets: GPUs that the user names, instead of those of the level.
        backends: Whose kernels to look at, of `LAUNCHERS`.
        steps: Whether C files may be looked at, if there are any.
    """
    fast = level is Level.fast
    chosen = targets or levels.targets(level)
    dtypes = levels.dtypes(level) if spec.subject.tensors else ()

    def at(task: Task, target: str, dtype: str, exact: bool = True) -> Task:
        required = bool(targets) or target != AMD or Need.ptx not in task.rung.needs
        return replace(task, targets=(target,), dtypes=(dtype,), exact=exact, required=required)

    for options in coverage.option_sets(spec, level):
        tasks = [
            Task(r, spec, options, folder, seed, chosen, dtypes, brief=fast, backends=backends)
            for r in rungs(spec, level, backends)
            if r.function
        ]
        tasks = [t for t in tasks if Need.c not in t.rung.needs or (steps and t.missing != Need.c)]
        compiled = [task for task in tasks if task.rung.for_each_gpu]
        lifted = [t for t in tasks if t.rung.compiles and not t.rung.for_each_gpu]
        for task in (t for t in tasks if not t.rung.compiles):
            more = levels.mixed(level) if task.rung.mixes_types else ()
            yield (replace(task, dtypes=(*dtypes, *more)),)
        for dtype in dtypes:
            group = [replace(task, dtypes=(dtype,)) for task in lifted]
            group += [at(task, target, dtype) for target in chosen for task in compiled]
            if group:
                yield tuple(group)
        for dtype in levels.fast_mode(level):
            group = [
                at(task, target, dtype, exact=False)
                for target in chosen
                if target != AMD
                for task in compiled
                if task.rung.fast_mode
            ]
            if group:
                yield tuple(group)
        mixing = [task for task in tasks if task.rung.mixes_types and task.rung.compiles]
        group = [replace(t, dtypes=levels.mixed(level)) for t in mixing if not t.rung.for_each_gpu]
        if level is Level.deep:
            host = tuple(kernel for kernel in ON_HOST if kernel[0] in backends)
            group += [
                replace(at(task, chosen[0], layout), kernels=host)
                for layout in levels.mixed(Level.full)
                for task in mixing
                if task.rung.for_each_gpu
            ]
        if group and not fast:
            yield tuple(group)
