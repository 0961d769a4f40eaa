"""One task: a rung, and what it looks at."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stepforge.language.spec import Spec
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import (
    KERNELS,
    LAUNCHERS,
    ON_HOST,
    Pair,
    Variant,
    c_files,
)
from stepforge.verify.rungs.levels import AMD, DEVICE_TARGET, DTYPES, TARGETS
from stepforge.verify.rungs.registry import Need, Rung


@dataclass(frozen=True, slots=True)
class Task:
    """One rung on one option set of one spec.

    Attributes:
        rung: The rung.
        spec: The spec.
        options: The option set.
        folder: The folder of generated code.
        seed: Of random inputs.
        targets: GPUs to compile for.
        dtypes: Types of parameters and gradients.
        exact: Whether the kernel is launched in exact mode.
        required: Whether verification fails if it does not pass.
        brief: A smaller selection of inputs is enough.
        kernels: Which kernels; by default those that are launched from the host, and all of them
            in Triton IR and for `DEVICE_TARGET`.
        backends: Whose kernels, of `LAUNCHERS`.
        artefacts: "ttir" or "ptx" → its text for aligned tensors, which is looked at instead of
            what the compiler makes; then there is one kernel, one type and one GPU.
    """

    rung: Rung
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
    artefacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> Need | None:
        """The first of the rung's needs that is not there."""
        return next((need for need in self.rung.needs if not _IS_THERE[need](self)), None)

    @property
    def pair(self) -> Pair:
        """The generated files."""
        return Pair.of(self.spec, self.folder)

    @property
    def chosen(self) -> tuple[Variant, ...]:
        """The kernels to look at."""
        on_device = self.exact and not self.brief and self.targets == (DEVICE_TARGET,)
        every = on_device or not self.rung.for_each_gpu
        kernels = self.kernels or (KERNELS if every else ON_HOST)
        return tuple(kernel for kernel in kernels if kernel[0] in self.backends)

    @property
    def alignments(self) -> tuple[bool, ...]:
        """Whether the tensors are aligned to 16 bytes: those that are, then such that are not."""
        return (True,) if self.artefacts else (True, False)

    def each(self) -> Iterator[Task]:
        """A task for every type, GPU and kernel."""
        for dtype, target, kernel in itertools.product(self.dtypes, self.targets, self.chosen):
            yield replace(self, dtypes=(dtype,), targets=(target,), kernels=(kernel,))

    def verdict(
        self, status: Status, detail: str, values: int = 0,
        counterexample: Counterexample | None = None, **more: Any,
    ) -> Verdict:  # fmt: skip
        """A verdict about all of the task; `more` are further attributes of it."""
        found = Verdict(
            self.rung.number, self.spec.name, dict(self.options), status, values, detail,
            counterexample=counterexample, name=self.rung.name, **{"seed": self.seed, **more},
        )  # fmt: skip
        return self.placed(found)

    def placed(self, verdict: Verdict) -> Verdict:
        """The verdict with what the task says of it."""
        target = self.targets[0] if self.rung.for_each_gpu and len(self.targets) == 1 else ""
        dtype = self.dtypes[0] if len(self.dtypes) == 1 else ""
        return replace(
            verdict, target=target, dtype=dtype, exact=self.exact, required=self.required
        )


_IS_THERE: dict[Need, Callable[[Task], bool]] = {
    Need.triton: lambda task: importlib.util.find_spec("triton") is not None,
    Need.torch: lambda task: importlib.util.find_spec("torch") is not None,
    Need.ptx: lambda task: AMD not in task.targets,
    Need.kernel: lambda task: bool(task.backends),
    Need.all_kernels: lambda task: task.backends == LAUNCHERS,
    Need.torch_class: lambda task: bool(task.spec.torch_class),
    Need.c: lambda task: all(path.is_file() for path in c_files(task.spec, task.folder)),
}
