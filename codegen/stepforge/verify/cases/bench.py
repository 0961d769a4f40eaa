"""Both files of a pair, side by side: a case runs through both until they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from stepforge.language.names import aside, kernel_of
from stepforge.language.spec import Options, Spec
from stepforge.verify.cases import inputs, reference
from stepforge.verify.cases.memory import Stray, Watch, watched
from stepforge.verify.cases.reference import ARITHMETIC, accepted, blame, failure, raised_at
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.files.generated import Pair, fresh, same_bits
from stepforge.verify.reading import reader

MAX_BLOCK = 1 << 16
"""Larger blocks would make the inputs so large that nothing can be said in time."""


@dataclass(frozen=True)
class Step:
    """What one step is given; `values` by name: hyperparameters and inputs."""

    g: inputs.Array
    values: dict[str, Any]
    t: int


@dataclass(frozen=True)
class Case:
    """Consecutive steps from one start; `state` is None to start with `init`."""

    options: Options
    dtype: str
    p: inputs.Array
    state: dict[str, Any] | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where the two files differ.

    Attributes:
        kind: "value", "start" for one before the first step, "bounds" for an access outside of a
            tensor, or "failure" for an exception.
        tensor: Name of the tensor or state.
        element: Index of the first wrong element.
        step: Index of the step.
        expected: NumPy's value.
        got: The kernel's value, or what happened.
        before: `p` and state before that step.
        where: For an exception, `file:line: text` of the generated line that raises it.
    """

    kind: str
    tensor: str
    element: int
    step: int
    expected: str
    got: str
    before: tuple[inputs.Array, dict[str, Any]]
    where: str = ""


class Bench:
    """Both files of a pair, imported, with what a launch needs to know."""

    def __init__(self, spec: Spec, pair: Pair) -> None:
        self.spec = spec
        self.pair = pair
        self.numpy: ModuleType = fresh(pair.numpy)
        self.triton: ModuleType = fresh(pair.triton)
        self.block = _block(self.triton)
        reference.check_signatures(self.triton, spec, {"exact": True})
        name = kernel_of(spec)
        self.kernel = _Launches(getattr(self.triton, name), aside(spec, "EXACT"))
        setattr(self.triton, name, self.kernel)
        self.unread = {t.name for t in reader.of(spec).tensors() if t.stored and not t.loaded}
        self.compared = 0
        self.first: Step | None = None

    def again(self) -> Bench:
        """The same files, imported afresh."""
        return Bench(self.spec, self.pair)

    def watched(self, tensors: Mapping[str, Tensor]) -> AbstractContextManager[Watch]:
        """Checks the kernel's accesses to tensors for a while."""
        return watched(tensors)

    def run(self, case: Case) -> Mismatch | None:
        """The first difference in a case; None if every bit agrees."""
        run = _Run(self, case)
        if case.state is None:
            mismatch = run.start(case.steps[0].values)
            if mismatch or run.ended:
                return mismatch
        for index, step in enumerate(case.steps):
            self.first = self.first or step
            mismatch = run.step(index, step)
            if mismatch or run.ended:
                return mismatch
        return None


class _Launches:
    """Stands in for the kernel; notes whether a launch is in exact mode in every respect.

    The interpreter always is, whatever the launch asks for.

    Attributes:
        contracts: A launch lets the compiler contract operations.
        approximates: A launch asks for approximate divisions and square roots.
    """

    def __init__(self, kernel: Any, exact: str) -> None:
        self._kernel = kernel
        self._exact = exact
        self.contracts = False
        self.approximates = False

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        def launch(*args: Any, **keywords: Any) -> Any:
            self.contracts |= keywords.get("enable_fp_fusion") is not False
            self.approximates |= keywords.get(self._exact) is not True
            return self._kernel[grid](*args, **keywords)

        return launch


def _block(module: ModuleType) -> int:
    block = module.BLOCK
    if type(block) is not int or block < 1 or block & (block - 1):
        raise reference.Malformed(f"BLOCK is {block!r:.50}, not a power of two")
    if block > MAX_BLOCK:
        raise reference.Malformed(f"BLOCK is {block}, more than {MAX_BLOCK}")
    return block


class _Run:
    """A case on its way through both files.

    Attributes:
        ended: Both files have raised: the formula has no value, and there is no further step.
    """

    def __init__(self, bench: Bench, case: Case) -> None:
        self.bench = bench
        self.case = case
        self.p = case.p.copy()
        self.state: dict[str, Any] = dict(case.state or {})
        self.device_p = Tensor(case.p)
        self.device: dict[str, Any] = {
            k: v if np.ndim(v) == 0 else Tensor(v) for k, v in self.state.items()
        }
        self.ended = False

    def start(self, values: dict[str, Any]) -> Mismatch | None:
        """Both states before the first step."""
        bench, case = self.bench, self.case

        def ours() -> None:
            self.state = reference.init(bench.numpy, bench.spec, case.options, case.p, values)

        def theirs() -> None:
            named = accepted(bench.triton.init, {**values, **case.options})
            self.device = bench.triton.init(self.device_p, **named)
            if type(self.device) is not dict:
                raise reference.Malformed(f"init returns {self.device!r:.50}, not a dict")

        if (mismatch := self._both(0, ours, theirs)) or self.ended:
            return mismatch
        mismatch = self._compare(0, None)
        is_value = mismatch is not None and mismatch.kind == "value"
        return replace(mismatch, kind="start") if mismatch and is_value else mismatch

    def step(self, index: int, step: Step) -> Mismatch | None:
        """One step of both files, and every bit that it leaves."""
        bench, options, before = self.bench, self.case.options, (self.p, self.state)
        g, tensors = Tensor(step.g), dict(self.device)
        values = {k: Tensor(v) if is_tensor(v) else v for k, v in step.values.items()}
        for name in bench.unread & self.device.keys():
            self.device[name].poison()
        stray: Stray | None = None

        def ours() -> None:
            self.p, self.state = reference.step(
                bench.numpy, bench.spec, options, self.p, step.g, self.state, step.t, step.values
            )

        def theirs() -> None:
            nonlocal stray
            known = {"p": self.device_p, "g": g, **values, **tensors}
            own = {k: v for k, v in known.items() if isinstance(v, Tensor)}
            with bench.watched(own) as watch:
                try:
                    bench.triton.step(self.device_p, g, self.device, step.t, **values, **options)
                finally:
                    stray = watch.stray

        mismatch = self._both(index, ours, theirs, before)
        for name, value in tensors.items():
            if isinstance(value, Tensor) and self.device.get(name, value) is not value:
                what = "another tensor in its place"
                return Mismatch("value", name, 0, index, "the same tensor", what, before)
        if stray is not None:
            what = f"{stray.verb} outside of the tensor"
            return Mismatch("bounds", stray.tensor, stray.element, index, "nothing", what, before)
        if mismatch or self.ended:
            return mismatch
        read = {"g": (g, step.g)}
        read |= {k: (v, step.values[k]) for k, v in values.items() if isinstance(v, Tensor)}
        return self._compare(index, read, before)

    def _both(
        self, index: int, ours: Callable[[], None], theirs: Callable[[], None],
        before: tuple[inputs.Array, dict[str, Any]] | None = None,
    ) -> Mismatch | None:  # fmt: skip
        """Runs both files; what one of them cannot compute, the other must not either."""
        before = before or (self.p, self.state)
        raised: type[Exception] | None = None
        try:
            ours()
        except ARITHMETIC as error:
            raised = type(error)
        except Exception as error:
            blame(error, self.bench.pair.numpy)
            got, where = f"NumPy: {failure(error)}", raised_at(error, self.bench.pair.numpy)
            return Mismatch("failure", "p", 0, index, "a value", got, before, where)
        try:
            with np.errstate(all="ignore"):
                theirs()
        except Exception as error:
            self.ended = raised is not None and isinstance(error, raised)
            if self.ended:
                return None
            blame(error, self.bench.pair.triton)
            got, where = failure(error), raised_at(error, self.bench.pair.triton)
            return Mismatch("failure", "p", 0, index, "a value", got, before, where)
        if raised is not None:
            expected = f"NumPy raises {raised.__name__}"
            return Mismatch("failure", "p", 0, index, expected, "no exception", before)
        return None

    def _compare(
        self, index: int, read: Mapping[str, tuple[Tensor, inputs.Array]] | None,
        before: tuple[inputs.Array, dict[str, Any]] | None = None,
    ) -> Mismatch | None:  # fmt: skip
        before = before or (self.p, self.state)
        expected: dict[str, Any] = {"p": self.p, **self.state}
        got: dict[str, Any] = {"p": self.device_p, **self.device}
        for name, (after, given) in (read or {}).items():
            got[name], expected[name] = after, given
        for name, value in got.items():
            if isinstance(value, Tensor) and not value.intact:
                what = "writes outside of the tensor"
                last = value.numel()
                return Mismatch("bounds", str(name), last, index, "nothing", what, before)
        for name in sorted(
            expected.keys() | got.keys(), key=lambda n: (n != "p", n in (read or {}), str(n))
        ):
            if name not in expected or name not in got:
                present = "NumPy" if name in expected else "the kernel"
                message = f"only {present} has it"
                return Mismatch("value", str(name), 0, index, "in both states", message, before)
            ours = np.asarray(expected[name])
            theirs, problem = _array(got[name])
            if problem or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
                wanted, have = (f"{a.dtype} of shape {a.shape}" for a in (ours, theirs))
                return Mismatch("value", name, 0, index, wanted, problem or have, before)
            self.bench.compared += ours.size
            differ = ~same_bits(ours.reshape(-1), theirs.reshape(-1))
            if differ.any():
                at = int(differ.argmax())
                wanted, have = (inputs.shown(a.reshape(-1)[at]) for a in (ours, theirs))
                return Mismatch("value", name, at, index, wanted, have, before)
        return None


def is_tensor(value: Any) -> bool:
    """Whether what a step is given by name is a tensor, and no number."""
    return isinstance(value, np.ndarray)


def _array(value: Any) -> tuple[inputs.Array, str]:
    """What a state of the launcher holds; the second is what is wrong with it."""
    if type(value) is Tensor:
        return value.array.reshape(value.shape), ""
    if isinstance(value, float):
        return np.asarray(float(value)), ""
    return np.zeros(0), f"a {type(value).__name__}"


def narrowed(case: Case, mismatch: Mismatch) -> Case:
    """Only the step that differs, from the states before it."""
    if case.state is None and mismatch.step == 0:
        return replace(case, steps=case.steps[:1])
    p, state = mismatch.before
    return replace(case, p=p, state=state, steps=(case.steps[mismatch.step],))
