"""interpreter (R2): the NumPy file against the kernel in Triton's interpreter, every stored bit.

Both run from the same inputs and then each on its own states, so that a state that is not stored,
or a launcher that remembers something, shows in a later step. There is no tolerance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stepforge.language.spec import Options
from stepforge.verify.cases import locate, refusals, shrink
from stepforge.verify.cases.bench import Bench
from stepforge.verify.cases.reference import failure
from stepforge.verify.cases.sequences import cases, few_cases
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.rungs import tables
from stepforge.verify.rungs.task import Task


def check(task: Task) -> Verdict:
    """Both kernels on one option set."""
    found = task.verdict(Status.TESTED, "")
    details = []
    if "triton" in task.backends:
        found = _single(task)
        if not found.status.passed:
            return found
        details.append(found.detail)
    if "multi_tensor" in task.backends:
        different, compared = tables.interpreted(task)
        found = replace(found, values=found.values + compared)
        if different is not None:
            counter, detail = different.counterexample, different.detail
            return replace(found, status=Status.REFUTED, detail=detail, counterexample=counter)
        details.append("on tables of tensors")
    detail = f"{found.values} values agree in every bit, {' and '.join(details)}"
    return replace(found, detail=detail)


def _single(task: Task) -> Verdict:
    """All cases on the kernel for one tensor; a difference comes back as its smallest input."""
    spec, options, pair = task.spec, task.options, task.pair
    try:
        bench = Bench(spec, pair)
    except Exception as error:  # whatever an edited file does when it is imported
        return task.verdict(Status.REFUTED, f"{pair.triton} cannot be imported: {failure(error)}")

    def verdict(
        status: Status, detail: str, found: Counterexample | None = None, **more: Any
    ) -> Verdict:
        return task.verdict(status, detail, bench.compared, found, **more)

    steps = 0
    chosen = few_cases if task.brief else cases
    for case in chosen(spec, options, bench.block, np.random.default_rng([task.seed, 2])):
        mismatch = bench.run(case)
        steps += len(case.steps)
        if mismatch:
            case, mismatch = shrink.smallest(bench, case, mismatch)
            detail = {
                "value": f"the kernel's `{mismatch.tensor}` differs from NumPy's",
                "start": f"the kernel's `{mismatch.tensor}` starts otherwise than NumPy's",
                "bounds": f"the kernel {mismatch.got.split()[0]} outside of `{mismatch.tensor}`",
                "failure": f"one of the files fails: {mismatch.got}",
            }[mismatch.kind]
            found = locate.counterexample(bench, case, mismatch)
            return verdict(Status.REFUTED, detail, found)
    if reason := refused(bench, options):
        return verdict(Status.REFUTED, reason)
    if bench.kernel.contracts:
        reason = f"{pair.triton}: a launch in exact mode does not pass enable_fp_fusion=False"
        return verdict(Status.REFUTED, reason)
    if bench.kernel.approximates:
        reason = f"{pair.triton}: a launch in exact mode does not pass EXACT=True"
        return verdict(Status.REFUTED, reason)
    if not bench.compared:
        reason = "no step that was tried has a value"
        return verdict(Status.UNSUPPORTED, reason, evidence={"no value": reason})
    return verdict(Status.TESTED, f"in {steps} steps")


def refused(bench: Bench, options: Options) -> str:
    """What the kernel's file takes although it must not, or refuses although it must not."""
    spec = bench.spec
    state = {
        s.name: 0.5 if s.scalar else Tensor(np.ones(0, np.float32))
        for s in spec.active_states(options)
    }
    right, wrong = Tensor(np.ones(0, np.float32)), Tensor(np.ones(1, np.float32))
    steps = refusals.of_shapes(bench.triton.step, spec, right, wrong, state)
    reason = refusals.wrong(steps[0], spec, options, steps[1])
    return f"{bench.pair.triton}: {reason}" if reason else ""
