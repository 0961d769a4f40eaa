"""R2: the NumPy file against the kernel in Triton's interpreter, every stored bit.

Both run from the same inputs and then each on its own states, so that a state that is not stored,
or a launcher that remembers something, shows in a later step. There is no tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from codegen.lower import lower
from codegen.spec import Interval, Options, Spec
from codegen.verify import inputs
from codegen.verify.certificate import Status, Verdict
from codegen.verify.generated import Pair, fresh
from codegen.verify.tensors import Tensor

DTYPES = ("float32", "float64")
LONG_TRAJECTORY = 50
ARITHMETIC = (ZeroDivisionError, OverflowError, ValueError)
"""What host scalars raise where the formula has no value; both files must then agree on it."""


@dataclass(frozen=True)
class Step:
    """The inputs of one step."""

    g: inputs.Array
    values: dict[str, float]
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
        kind: "value", "bounds" for a write outside of a tensor, or "failure" for an exception.
        tensor: Name of the tensor or state.
        element: Index of the first wrong element.
        step: Index of the step.
        expected: NumPy's value.
        got: The kernel's value, or what happened.
        before: `p` and state before that step.
    """

    kind: str
    tensor: str
    element: int
    step: int
    expected: str
    got: str
    before: tuple[inputs.Array, dict[str, Any]]


class Bench:
    """Both files of a pair, imported, with what a launch needs to know."""

    def __init__(self, spec: Spec, pair: Pair) -> None:
        self.spec = spec
        self.pair = pair
        self.numpy: ModuleType = fresh(pair.numpy)
        self.triton: ModuleType = fresh(pair.triton)
        self.block = int(self.triton.BLOCK)
        tensors = lower(spec).tensors
        self.unread = {t.name for t in tensors if t.stored and not t.loaded}
        self.compared = 0
        self.first: Step | None = None

    def run(self, case: Case) -> Mismatch | None:
        """The first difference in a case; None if every bit agrees."""
        device = {"p": Tensor(case.p)}
        p = case.p.copy()
        if case.state is None:
            named = {**case.steps[0].values, **case.options}
            state = _init(self.numpy, p, named)
            before = (p, state)
            try:
                on_device = _init(self.triton, device["p"], named)
            except Exception as error:
                return Mismatch("failure", "p", 0, 0, "a state", _error(error), before)
        else:
            state = dict(case.state)
            on_device = {k: v if np.ndim(v) == 0 else Tensor(v) for k, v in state.items()}
        for index, step in enumerate(case.steps):
            before = (p, state)
            g = Tensor(step.g)
            for name in self.unread & on_device.keys():
                on_device[name].poison()
            keywords = {**step.values, **case.options}
            self.first = self.first or step
            raised: type[Exception] | None = None
            try:
                with np.errstate(all="ignore"):
                    p, state = self.numpy.step(p, step.g.copy(), state, step.t, **keywords)
            except ARITHMETIC as error:
                raised = type(error)
            except Exception as error:
                got = f"NumPy fails: {_error(error)}"
                return Mismatch("failure", "p", 0, index, "a value", got, before)
            try:
                with np.errstate(all="ignore"):
                    self.triton.step(device["p"], g, on_device, step.t, **keywords)
            except Exception as error:
                if raised is not None and isinstance(error, raised):
                    return None
                return Mismatch("failure", "p", 0, index, "a value", _error(error), before)
            if raised is not None:
                expected = f"NumPy raises {raised.__name__}"
                return Mismatch("failure", "p", 0, index, expected, "no exception", before)
            mismatch = self._compare(index, p, state, device["p"], on_device, g, step, before)
            if mismatch:
                return mismatch
        return None

    def _compare(
        self, index: int, p: Any, state: dict[str, Any], device: Tensor, on_device: dict[str, Any],
        g: Tensor, step: Step, before: tuple[inputs.Array, dict[str, Any]],
    ) -> Mismatch | None:  # fmt: skip
        expected: dict[str, Any] = {"p": p, **state, "g": step.g}
        got: dict[str, Any] = {"p": device, **on_device, "g": g}
        for name in sorted(got):
            if isinstance(got[name], Tensor) and not got[name].intact:
                what = "an element outside of the tensor is written"
                last = got[name].numel()
                return Mismatch("bounds", name, last, index, "nothing", what, before)
        for name in ["p", *sorted(state.keys() | on_device.keys()), "g"]:
            if name not in expected or name not in got:
                present = "NumPy" if name in expected else "the kernel"
                message = f"only {present} has it"
                return Mismatch("value", name, 0, index, "in both states", message, before)
            ours = np.asarray(expected[name]).reshape(-1)
            theirs = got[name].array if isinstance(got[name], Tensor) else np.asarray(got[name])
            theirs = theirs.reshape(-1)
            if ours.dtype != theirs.dtype or ours.size != theirs.size:
                wanted, have = (f"{a.dtype} of size {a.size}" for a in (ours, theirs))
                return Mismatch("value", name, 0, index, wanted, have, before)
            self.compared += ours.size
            differ = ~same_bits(ours, theirs)
            if differ.any():
                at = int(np.argmax(differ))
                values = (inputs.shown(ours[at]), inputs.shown(theirs[at]))
                return Mismatch("value", name, at, index, *values, before)
        return None


def same_bits(a: inputs.Array, b: inputs.Array) -> inputs.Array:
    """Equal in every bit; any NaN equals any NaN."""
    integer = f"u{a.dtype.itemsize}"
    same: inputs.Array = (
        np.ascontiguousarray(a).view(integer) == np.ascontiguousarray(b).view(integer)
    ) | (np.isnan(a) & np.isnan(b))
    return same


def _init(module: ModuleType, p: Any, named: dict[str, Any]) -> dict[str, Any]:
    code = module.init.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    state: dict[str, Any] = module.init(p, **{k: v for k, v in named.items() if k in known})
    return state


def _error(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text}".split("\n")[0][:300]


def cases(spec: Spec, options: Options, block: int, rng: inputs.Generator) -> Iterator[Case]:
    """Sizes around the block, special values, and trajectories of up to 50 steps."""
    for dtype in DTYPES:
        for n in (1, 2, block - 1, block, block + 1, 3 * block + 17, 0):
            tensors = inputs.ordinary(spec, options, n, dtype, rng)
            yield _single(spec, options, dtype, tensors, rng)
        for _ in range(2):
            tensors = inputs.specials(spec, options, dtype, rng)
            yield _single(spec, options, dtype, tensors, rng)
        for count, n in ((LONG_TRAJECTORY, 37), (int(rng.integers(2, 20)), block + 1)):
            yield _trajectory(spec, options, dtype, count, n, rng)


def _single(
    spec: Spec, options: Options, dtype: str, tensors: dict[str, inputs.Array], rng: Any
) -> Case:
    """One step from random states, somewhere in a training run."""
    p, g = tensors.pop("p"), tensors.pop("g")
    state: dict[str, Any] = {**tensors, **inputs.scalar_states(spec, options, rng)}
    t = int(rng.choice([1, 2, 3, 10, 1000, 123_456_789]))
    step = Step(g, inputs.hyperparameters(spec, rng), t)
    return Case(options, dtype, p, state, (step,))


def _trajectory(
    spec: Spec, options: Options, dtype: str, count: int, n: int, rng: inputs.Generator
) -> Case:
    """Steps from `init`; the learning rate changes in between, now and then everything does."""
    values = inputs.hyperparameters(spec, rng)
    p = inputs.log_uniform(n, dtype, Interval(), rng, 3)
    steps = []
    for t in range(1, count + 1):
        drawn = inputs.hyperparameters(spec, rng)
        if t % 10 == 0:
            values = drawn
        elif "lr" in values:
            values = {**values, "lr": drawn["lr"]}
        g = inputs.log_uniform(n, dtype, Interval(), rng, 3)
        steps.append(Step(g, values, t))
    return Case(options, dtype, p, None, tuple(steps))


def check(spec: Spec, folder: Path, options: Options, seed: int) -> Verdict:
    """Runs all cases of one option set; a difference comes back as its smallest input."""
    from codegen.verify import shrink

    pair = Pair.of(spec, folder)

    def verdict(status: Status, detail: str, counterexample: Any = None, count: int = 0) -> Verdict:
        return Verdict("R2", spec.name, dict(options), status, count, detail, seed, counterexample)

    try:
        bench = Bench(spec, pair)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{pair.triton} cannot be imported: {_error(error)}")
    steps = 0
    for case in cases(spec, options, bench.block, np.random.default_rng([seed, 2])):
        mismatch = bench.run(case)
        steps += len(case.steps)
        if mismatch:
            case, mismatch = shrink.smallest(bench, case, mismatch)
            detail = {
                "value": f"the kernel's `{mismatch.tensor}` differs from NumPy's",
                "bounds": f"the kernel writes outside of `{mismatch.tensor}`",
                "failure": f"the kernel fails: {mismatch.got}",
            }[mismatch.kind]
            found = shrink.counterexample(bench, case, mismatch)
            return verdict(Status.REFUTED, detail, found, bench.compared)
    detail = f"{bench.compared} values in {steps} steps agree in every bit"
    return verdict(Status.TESTED, detail, None, bench.compared)


def narrowed(case: Case, mismatch: Mismatch) -> Case:
    """Only the step that differs, from the states before it."""
    p, state = mismatch.before
    return replace(case, p=p, state=state, steps=(case.steps[mismatch.step],))
