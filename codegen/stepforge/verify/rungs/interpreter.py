"""R2: the NumPy file against the kernel in Triton's interpreter, every stored bit.

Both run from the same inputs and then each on its own states, so that a state that is not stored,
or a launcher that remembers something, shows in a later step. There is no tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stepforge.language.names import aside, kernel_of
from stepforge.language.spec import Interval, Options, Spec
from stepforge.lowering.lower import tensors_of
from stepforge.verify.cases import inputs, reference
from stepforge.verify.cases.memory import Stray, watched
from stepforge.verify.cases.reference import ARITHMETIC, accepted, failure, raised_at, state_type
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import LAUNCHERS, Pair, fresh, same_bits

DTYPES = ("float32", "float64")
LONG_TRAJECTORY = 50
MAX_BLOCK = 1 << 16
"""Larger blocks would make the inputs so large that nothing can be said in time."""


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
        kind: "value", "bounds" for an access outside of a tensor, or "failure" for an exception.
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
        self.unread = {t.name for t in tensors_of(spec) if t.stored and not t.loaded}
        self.compared = 0
        self.first: Step | None = None

    def again(self) -> Bench:
        """The same files, imported afresh."""
        return Bench(self.spec, self.pair)

    def differing(
        self, name: str, ours: inputs.Array, theirs: inputs.Array,
        before: tuple[inputs.Array, dict[str, Any]], step: Step,
    ) -> inputs.Array:  # fmt: skip
        """The elements of a tensor, flat, that differ more than they may: by no bit.

        Args:
            name: The tensor.
            ours: NumPy's.
            theirs: The kernel's.
            before: `p` and state before the step.
            step: The step.
        """
        return ~same_bits(ours.reshape(-1), theirs.reshape(-1))

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

    def start(self, values: dict[str, float]) -> Mismatch | None:
        """Both states before the first step."""
        bench, case = self.bench, self.case

        def ours() -> None:
            self.state = reference.init(bench.numpy, bench.spec, case.options, case.p, values)

        def theirs() -> None:
            named = accepted(bench.triton.init, {**values, **case.options})
            self.device = bench.triton.init(self.device_p, **named)
            if type(self.device) is not dict:
                raise reference.Malformed(f"init returns {self.device!r:.50}, not a dict")

        return self._both(0, ours, theirs) or (None if self.ended else self._compare(0, None))

    def step(self, index: int, step: Step) -> Mismatch | None:
        """One step of both files, and every bit that it leaves."""
        bench, options, before = self.bench, self.case.options, (self.p, self.state)
        g, tensors = Tensor(step.g), dict(self.device)
        for name in bench.unread & self.device.keys():
            self.device[name].poison()
        stray: Stray | None = None

        def ours() -> None:
            self.p, self.state = reference.step(
                bench.numpy, bench.spec, options, self.p, step.g, self.state, step.t, step.values
            )

        def theirs() -> None:
            nonlocal stray
            known = {"p": self.device_p, "g": g, **tensors}
            with watched({k: v for k, v in known.items() if isinstance(v, Tensor)}) as watch:
                try:
                    bench.triton.step(
                        self.device_p, g, self.device, step.t, **step.values, **options
                    )
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
        return self._compare(index, (g, step.g), before)

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
            got, where = f"NumPy: {failure(error)}", raised_at(error, self.bench.pair.numpy)
            return Mismatch("failure", "p", 0, index, "a value", got, before, where)
        try:
            with np.errstate(all="ignore"):
                theirs()
        except Exception as error:
            self.ended = raised is not None and isinstance(error, raised)
            if self.ended:
                return None
            got, where = failure(error), raised_at(error, self.bench.pair.triton)
            return Mismatch("failure", "p", 0, index, "a value", got, before, where)
        if raised is not None:
            expected = f"NumPy raises {raised.__name__}"
            return Mismatch("failure", "p", 0, index, expected, "no exception", before)
        return None

    def _compare(
        self, index: int, gradient: tuple[Tensor, inputs.Array] | None,
        before: tuple[inputs.Array, dict[str, Any]] | None = None,
    ) -> Mismatch | None:  # fmt: skip
        before = before or (self.p, self.state)
        expected: dict[str, Any] = {"p": self.p, **self.state}
        got: dict[str, Any] = {"p": self.device_p, **self.device}
        if gradient is not None:
            got["g"], expected["g"] = gradient
        for name, value in got.items():
            if isinstance(value, Tensor) and not value.intact:
                what = "writes outside of the tensor"
                last = value.numel()
                return Mismatch("bounds", str(name), last, index, "nothing", what, before)
        for name in sorted(
            expected.keys() | got.keys(), key=lambda n: (n != "p", n == "g", str(n))
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
            step = self.case.steps[index]
            differ = self.bench.differing(name, ours, theirs, before, step)
            if differ.any():
                at = int(differ.argmax())
                wanted, have = (inputs.shown(a.reshape(-1)[at]) for a in (ours, theirs))
                return Mismatch("value", name, at, index, wanted, have, before)
        return None


def _array(value: Any) -> tuple[inputs.Array, str]:
    """What a state of the launcher holds; the second is what is wrong with it."""
    if type(value) is Tensor:
        return value.array.reshape(value.shape), ""
    if isinstance(value, float):
        return np.asarray(float(value)), ""
    return np.zeros(0), f"a {type(value).__name__}"


def few_cases(spec: Spec, options: Options, block: int, rng: inputs.Generator) -> Iterator[Case]:
    """One case of every kind, with short trajectories."""
    for dtype in DTYPES:
        for n in (1, block + 1):
            tensors = inputs.ordinary(spec, options, n, dtype, rng)
            yield single(spec, options, tensors, rng)
        yield single(spec, options, inputs.specials(spec, options, dtype, rng), rng)
        yield _with_numpy_scalars(trajectory(spec, options, dtype, 4, (3, 5, 2), rng))
    yield single(spec, options, inputs.specials(spec, options, "float16", rng), rng)


def cases(spec: Spec, options: Options, block: int, rng: inputs.Generator) -> Iterator[Case]:
    """Sizes around the block, special values, and trajectories of up to 50 steps."""
    for dtype in DTYPES:
        for n in (1, 2, block - 1, block, block + 1, 3 * block + 17, 0):
            tensors = inputs.ordinary(spec, options, n, dtype, rng)
            yield single(spec, options, tensors, rng)
        for _ in range(2):
            yield single(spec, options, inputs.specials(spec, options, dtype, rng), rng)
        yield trajectory(spec, options, dtype, LONG_TRAJECTORY, (37,), rng)
        yield trajectory(spec, options, dtype, int(rng.integers(2, 20)), (block + 1,), rng)
        for shape in ((), (5, 0), (3, 5, 2)):
            yield _with_numpy_scalars(trajectory(spec, options, dtype, 8, shape, rng))
    for tensors in (
        inputs.ordinary(spec, options, block + 17, "float16", rng),
        inputs.specials(spec, options, "float16", rng),
    ):
        yield single(spec, options, tensors, rng)
    yield trajectory(spec, options, "float16", 3, (37,), rng)


def _with_numpy_scalars(case: Case) -> Case:
    """What callers may pass as well; float64 is then a type that spreads to float32 arrays."""
    steps = tuple(
        Step(s.g, {k: np.float64(v) for k, v in s.values.items()}, int(s.t)) for s in case.steps
    )
    return replace(case, steps=steps)


def single(spec: Spec, options: Options, tensors: dict[str, inputs.Array], rng: Any) -> Case:
    """One step from random states, somewhere in a training run."""
    p, g = tensors.pop("p"), tensors.pop("g")
    wide = state_type(p.dtype)
    state: dict[str, Any] = {name: tensor.astype(wide) for name, tensor in tensors.items()}
    state |= inputs.scalar_states(spec, options, rng)
    t = int(rng.choice([1, 2, 3, 10, 1000, 123_456_789]))
    step = Step(g, inputs.hyperparameters(spec, rng), t)
    return Case(options, p.dtype.name, p, state, (step,))


def trajectory(
    spec: Spec, options: Options, dtype: str, count: int, shape: tuple[int, ...],
    rng: inputs.Generator,
) -> Case:  # fmt: skip
    """Steps from `init`; the learning rate changes in between, now and then everything does."""
    n = int(np.prod(shape))
    values = inputs.hyperparameters(spec, rng)
    p = inputs.log_uniform(n, dtype, Interval(), rng, 3).reshape(shape)
    steps = []
    for t in range(1, count + 1):
        drawn = inputs.hyperparameters(spec, rng)
        if t % 10 == 0:
            values = drawn
        elif "lr" in values:
            values = {**values, "lr": drawn["lr"]}
        g = inputs.log_uniform(n, dtype, Interval(), rng, 3).reshape(shape)
        steps.append(Step(g, values, t))
    return Case(options, dtype, p, None, tuple(steps))


def check(
    spec: Spec, folder: Path, options: Options, seed: int, *, brief: bool = False,
    backends: Sequence[str] = LAUNCHERS,
) -> Verdict:  # fmt: skip
    """R2 on one option set.

    Args:
        spec: The spec.
        folder: The folder of generated code.
        options: The option set.
        seed: Of the inputs.
        brief: Whether a smaller selection of inputs is enough.
        backends: Whose kernels.
    """
    from stepforge.verify.rungs import tables

    found = Verdict("R2", spec.name, dict(options), Status.TESTED, seed=seed)
    details = []
    if "triton" in backends:
        found = _single(spec, folder, options, seed, brief)
        if not found.status.passed:
            return found
        details.append(found.detail)
    if "multi_tensor" in backends:
        different, compared = tables.interpreted(spec, folder, options, seed)
        found = replace(found, values=found.values + compared)
        if different is not None:
            counter, detail = different.counterexample, different.detail
            return replace(found, status=Status.REFUTED, detail=detail, counterexample=counter)
        details.append("on tables of tensors")
    detail = f"{found.values} values agree in every bit, {' and '.join(details)}"
    return replace(found, detail=detail)


def _single(spec: Spec, folder: Path, options: Options, seed: int, brief: bool) -> Verdict:
    """All cases on the kernel for one tensor; a difference comes back as its smallest input."""
    from stepforge.verify.cases import locate, shrink

    pair = Pair.of(spec, folder)

    def verdict(
        status: Status, detail: str, count: int = 0, found: Counterexample | None = None
    ) -> Verdict:
        return Verdict("R2", spec.name, dict(options), status, count, detail, seed, found)

    try:
        bench = Bench(spec, pair)
    except Exception as error:  # whatever an edited file does when it is imported
        return verdict(Status.REFUTED, f"{pair.triton} cannot be imported: {failure(error)}")
    steps = 0
    chosen = few_cases if brief else cases
    for case in chosen(spec, options, bench.block, np.random.default_rng([seed, 2])):
        mismatch = bench.run(case)
        steps += len(case.steps)
        if mismatch:
            case, mismatch = shrink.smallest(bench, case, mismatch)
            detail = {
                "value": f"the kernel's `{mismatch.tensor}` differs from NumPy's",
                "bounds": f"the kernel {mismatch.got.split()[0]} outside of `{mismatch.tensor}`",
                "failure": f"one of the files fails: {mismatch.got}",
            }[mismatch.kind]
            found = locate.counterexample(bench, case, mismatch)
            return verdict(Status.REFUTED, detail, bench.compared, found)
    if reason := refusals(bench, options):
        return verdict(Status.REFUTED, reason, bench.compared)
    if bench.kernel.contracts:
        reason = f"{pair.triton}: a launch in exact mode does not pass enable_fp_fusion=False"
        return verdict(Status.REFUTED, reason, bench.compared)
    if bench.kernel.approximates:
        reason = f"{pair.triton}: a launch in exact mode does not pass EXACT=True"
        return verdict(Status.REFUTED, reason, bench.compared)
    if not bench.compared:
        reason = "no step that was tried has a value"
        return replace(verdict(Status.UNSUPPORTED, reason), evidence={"no value": reason})
    return verdict(Status.TESTED, f"in {steps} steps", bench.compared)


def refusals(bench: Bench, options: Options) -> str:
    """What a file accepts although it must raise a ValueError: a bad `t`, or bad shapes."""
    spec, values = bench.spec, {h.name: h.default for h in bench.spec.hyperparameters}
    wrong = [("t = 0", 0, 3), ("t = -1", -1, 3), ("t = 1.5", 1.5, 3), ("g of another shape", 1, 4)]
    for what, t, n in wrong:
        p, g = np.ones(3, np.float32), np.ones(n, np.float32)
        state: dict[str, Any] = {
            s.name: 0.5 if s.scalar else np.ones(3, np.float32) for s in spec.active_states(options)
        }
        device = {k: v if np.ndim(v) == 0 else Tensor(v) for k, v in state.items()}
        calls = {
            bench.pair.numpy: (bench.numpy, p, g, state),
            bench.pair.triton: (bench.triton, Tensor(p), Tensor(g), device),
        }
        for path, (module, *given) in calls.items():
            try:
                with np.errstate(all="ignore"):
                    module.step(*given, t, **values, **options)
            except ValueError:
                continue
            except Exception as error:
                return f"{path}: with {what}, {failure(error)}"
            return f"{path}: step accepts {what}"
    return ""


def narrowed(case: Case, mismatch: Mismatch) -> Case:
    """Only the step that differs, from the states before it."""
    if case.state is None and mismatch.step == 0:
        return replace(case, steps=case.steps[:1])
    p, state = mismatch.before
    return replace(case, p=p, state=state, steps=(case.steps[mismatch.step],))
