"""interpreter (R2) and ptx-executed (R6) on tables of many tensors, stepped at once.

Every stored bit of the multi-tensor kernel is compared. The tensors of a column lie in one memory
with gaps between them that no access may touch. The reference steps all of them as one array, since
it knows no neighbours.

In one file, because tables, their memory and their launchers have no other use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from stepforge.language.names import aside, kernel_of
from stepforge.language.spec import Options, Spec
from stepforge.verify.cases import inputs, reference, refusals, trace
from stepforge.verify.cases.memory import watched
from stepforge.verify.cases.reference import ARITHMETIC, failure, states_of
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Counterexample
from stepforge.verify.files.generated import Pair, Text, fresh, same_bits
from stepforge.verify.ptx.buffers import Buffer, Fault
from stepforge.verify.ptx.executor import Executor
from stepforge.verify.ptx.parser import Program
from stepforge.verify.reading import reader
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms.rule import SCALE

Array = np.ndarray[Any, Any]
GAP = 64
"""Bytes between two tensors of a column, of the pattern of guard zones."""
_PATTERN = 0xFA
MANY = 1000
"""Tensors of the largest table."""


class Slice(Tensor):
    """A tensor that is a part of a column."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = f"torch.{array.dtype.name}"
        self.device = "cpu"

    def data_ptr(self) -> int:
        """Address of the first element."""
        return int(self.array.ctypes.data)


class Column:
    """The tensors of one column, in one memory.

    Attributes:
        data: The memory, in bytes.
        spans: First byte and end of every tensor.
        slices: The tensors.
    """

    def __init__(self, arrays: Sequence[Array], shifted: Sequence[bool]) -> None:
        """Copies arrays; a shifted one is aligned to its elements alone."""
        self.spans: list[tuple[int, int]] = []
        end = GAP
        for array, shift in zip(arrays, shifted, strict=True):
            start = end + -end % 16 + (array.dtype.itemsize if shift else 0)
            end = start + array.nbytes
            self.spans.append((start, end))
            end += GAP
        memory = np.full(end + 32, _PATTERN, np.uint8)
        offset = -memory.ctypes.data % 16
        self.data: Array = memory[offset : offset + end + end % 2]
        self.slices = []
        for (start, stop), array in zip(self.spans, arrays, strict=True):
            view = self.data[start:stop].view(array.dtype)
            view[...] = array
            self.slices.append(Slice(view))

    @property
    def intact(self) -> bool:
        """Whether nothing was written between the tensors."""
        outside = np.ones(len(self.data), bool)
        for start, stop in self.spans:
            outside[start:stop] = False
        return bool((self.data[outside] == _PATTERN).all())


class Arena(Buffer):
    """A column that a kernel may access within its tensors."""

    def __init__(self, name: str, column: Column) -> None:
        super().__init__(name, int(column.data.ctypes.data), column.data)
        self._starts, self._stops = (np.array(ends) for ends in zip(*column.spans, strict=True))
        self._sizes = self._stops - self._starts

    def units(self, address: Array, size: int) -> Array:
        """The pairs of bytes of accesses, as `Memory.units`."""
        offsets = address.astype(np.int64) - self.address
        index = np.searchsorted(self._starts, offsets, side="right") - 1
        if (index < 0).any() or (offsets + size > self._stops[index]).any():
            raise Fault(f"leaves a tensor of `{self.name}`")
        return super().units(address, size)

    @property
    def complete(self) -> bool:
        """Whether every element of every tensor was written."""
        written = np.concatenate([[0], np.cumsum(self.written, dtype=np.int64)])
        return bool((written[self._stops] - written[self._starts] == self._sizes).all())


@dataclass(frozen=True)
class Batch:
    """Tensors that are stepped together.

    Attributes:
        sizes: Elements of each.
        columns: `p`, `g`, inputs and the tensors of the state, by name.
        scalars: The scalar states.
        before: What is in the columns, all tensors as one array.
    """

    sizes: tuple[int, ...]
    columns: dict[str, Column]
    scalars: dict[str, float]
    before: dict[str, Array]

    @classmethod
    def random(
        cls, spec: Spec, options: Options, sizes: Sequence[int], shifted: Sequence[bool],
        dtype: str, rng: inputs.Generator,
    ) -> Batch:  # fmt: skip
        """Random states, somewhere in a training run; special values at the end of a long one."""
        drawn = inputs.ordinary(spec, options, sum(sizes), dtype, rng)
        special = inputs.specials(spec, options, dtype, rng)
        if 2 * len(special["p"]) <= sum(sizes):
            for name, values in drawn.items():
                values[-len(special[name]) :] = special[name]
        before = {**drawn, **states_of(spec, drawn, drawn["p"].dtype)}
        ends = np.cumsum(sizes)[:-1]
        columns = {k: Column(np.split(v, ends), shifted) for k, v in before.items()}
        scalars = inputs.scalar_states(spec, options, rng)
        return cls(tuple(sizes), columns, scalars, before)

    def tensors(self) -> list[dict[str, Slice]]:
        """The tensors of every parameter."""
        names = list(self.columns)
        slices = zip(*(self.columns[n].slices for n in names), strict=True)
        return [dict(zip(names, own, strict=True)) for own in slices]

    def now(self, name: str) -> Array:
        """What is in a column, all tensors as one array."""
        return np.concatenate([s.array for s in self.columns[name].slices])


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong.

    Attributes:
        detail: In words.
        counterexample: Where one element shows it.
    """

    detail: str
    counterexample: Counterexample | None = None


class Bench:
    """The reference and the multi-tensor file of a spec, imported.

    Attributes:
        compared: Values that agreed so far.
    """

    called = "the multi-tensor kernel"

    def __init__(self, spec: Spec, folder: Path) -> None:
        """Imports the files; raises whatever an edited file does."""
        self.spec = spec
        self.pair = Pair.of(spec, folder)
        self.numpy: ModuleType = fresh(self.pair.numpy)
        self.module: ModuleType = fresh(self.pair.multi_tensor)
        self.tables: ModuleType = fresh(self.pair.multi_tensor.parent / "_tables.py")
        self.scaled = aside(spec, "scaled")
        self.compared = 0

    def steps(
        self, options: Options, dtype: str, rng: inputs.Generator, most: int,
        guarded: Callable[[Batch, Sequence[Any]], AbstractContextManager[None]],
        mode: str = "host",
    ) -> Difference | None:  # fmt: skip
        """One step of every mixture by both; the first difference.

        Args:
            options: The option set.
            dtype: NumPy's type of parameters and gradients.
            rng: Of the inputs.
            most: Tensors of the largest table, if that is more than a few.
            guarded: As for `run`, and so are the others.
            mode: One of `generated.MODES`.
        """
        for sizes, shifted in mixtures(self.module.BLOCK, most):
            batch = Batch.random(self.spec, options, sizes, shifted, dtype, rng)
            t, values = int(rng.integers(1, 1000)), _values(self.spec, rng)
            found = self.run(options, batch, t, values, guarded, mode)
            if found is not None:
                return found
        return None

    def run(
        self, options: Options, batch: Batch, t: int, values: Mapping[str, float],
        guarded: Callable[[Batch, Sequence[Any]], AbstractContextManager[None]],
        mode: str = "host",
    ) -> Difference | None:  # fmt: skip
        """One step of a batch by both.

        Args:
            options: The option set.
            batch: The tensors.
            t: Number of the step.
            values: Of hyperparameters.
            guarded: Watches the accesses to a batch and its tables.
            mode: One of `generated.MODES`.
        """
        spec, before = self.spec, batch.before
        g, scaled = before["g"], {}
        if mode == "scaled":
            real = np.result_type(g.dtype, np.float32)
            with np.errstate(all="ignore"):
                g = g.astype(real) / real.type(values[SCALE])
                scaled = {"g": g.astype(before["g"].dtype)}
        given = {name: value for name, value in values.items() if name != SCALE}
        tensors, old = inputs.parted(spec, before)
        raised: type[Exception] | None = None
        p, state = before["p"], dict[str, Any]()
        try:
            p, state = reference.step(
                self.numpy, spec, options, p, g, {**old, **batch.scalars}, t, {**given, **tensors}
            )
        except ARITHMETIC as error:
            raised = type(error)
        scalars = dict(batch.scalars)
        try:
            columns, block = self.module.COLUMNS, self.module.BLOCK
            made = self.tables.build(batch.tensors(), columns, block, Tensor)
            if mode != "host":
                numbers = self._numbers(made, scalars, t, {**given, **options})
                numbers.append(values.get(SCALE, 1.0))
                made = [table._replace(rows=_rows(table, numbers)) for table in made]
            with np.errstate(all="ignore"), guarded(batch, made):
                for table in made:
                    if mode != "host":
                        self.module.step_on_device(
                            table, table.rows, **options, **{self.scaled: mode == "scaled"}
                        )
                        continue
                    scalars = dict(batch.scalars)
                    self.module.step(table, scalars, t, **given, **options)
        except Exception as error:
            if raised is not None and isinstance(error, raised):
                return None
            reference.blame(error, self.pair.multi_tensor)
            return Difference(f"{self.pair.multi_tensor}: {failure(error)}")
        if raised is not None:
            return Difference(f"{self.pair.multi_tensor}: NumPy raises {raised.__name__}")
        expected = {"p": p, "g": before["g"], **tensors, **state, **scaled}
        for name, column in batch.columns.items():
            if not column.intact:
                return Difference(
                    f"{self.pair.multi_tensor} writes outside of a tensor of `{name}`"
                )
            ours, theirs = np.asarray(expected[name]), batch.now(name)
            differ = ~same_bits(ours, theirs)
            if differ.any():
                at = int(differ.argmax())
                return self._difference(options, batch, name, at, ours, theirs, t, values)
            self.compared += ours.size
        for name in batch.scalars:
            if any(batch.sizes) and not _same(scalars[name], state[name]):
                found = f"`{name}` is {scalars[name]!r}, not {state[name]!r}"
                return Difference(f"{self.pair.multi_tensor}: {found}")
        return None

    def _numbers(
        self, made: Sequence[Any], scalars: dict[str, float], t: int, keywords: Mapping[str, Any]
    ) -> list[float]:
        """What a launch from the host would pass, but for the scale; updates the scalar states."""
        name, found = kernel_of(self.spec), _Recorder()
        kernel = getattr(self.module, name)
        setattr(self.module, name, found)
        try:
            for table in made[:1]:
                self.module.step(table, scalars, t, **keywords)
        finally:
            setattr(self.module, name, kernel)
        return found.numbers[:-1]

    def _difference(
        self, options: Options, batch: Batch, name: str, at: int, ours: Array, theirs: Array,
        t: int, values: Mapping[str, float],
    ) -> Difference:  # fmt: skip
        ends = np.cumsum(batch.sizes)
        tensor = int(np.searchsorted(ends, at, side="right"))
        element = at - int(ends[tensor]) + batch.sizes[tensor]
        given = {"t": str(t)} | {k: inputs.shown(v) for k, v in values.items()}
        given |= {k: inputs.shown(v[at]) for k, v in batch.before.items()}
        given |= {k: inputs.shown(v) for k, v in batch.scalars.items()}
        spec_line = ""  # of a gradient that is scaled there is none
        if name != "g":
            index = trace.last_assignment(self.spec, options, name)
            spec_line = trace.spec_line(self.spec, options, index)
        counter = Counterexample(
            name, ours.dtype.name, batch.sizes[tensor], element, 1, given,
            inputs.shown(ours[at]), inputs.shown(theirs[at]),
            spec_line, self.line(name),
        )  # fmt: skip
        where = f"tensor {tensor} of {len(batch.sizes)}"
        what = f"{self.called}'s `{name}` differs from NumPy's in {where}"
        return Difference(what, counter)

    def line(self, name: str) -> str:
        """`file:line: text` of the line that stores a tensor."""
        return Text(self.pair.multi_tensor).first(f"tl.store({name}_ptr")


class _Recorder:
    """Stands in for a kernel, and keeps the numbers that it is launched with."""

    def __init__(self) -> None:
        self.numbers: list[float] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(programs: Tensor, rows: Tensor, *numbers: float, **_: Any) -> None:
            self.numbers = [float(number) for number in numbers]

        return launch


def _rows(table: Any, numbers: Sequence[float]) -> Tensor:
    """The rows of a table with numbers behind them, the same for all tensors."""
    bits = np.asarray(numbers, np.float64).view(np.int64)
    rows = table.rows.array.reshape(table.order.numel(), -1)
    return Tensor(np.hstack([rows, np.broadcast_to(bits, (len(rows), len(bits)))]))


def _same(a: Any, b: float) -> bool:
    return isinstance(a, float) and bool(same_bits(np.asarray(a), np.asarray(b)).all())


def mixtures(block: int, most: int) -> Iterator[tuple[list[int], list[bool]]]:
    """Sizes of the tensors of a table, and which of them are not aligned.

    Args:
        block: Elements of one program.
        most: Tensors of the largest table.
    """
    yield [block + 17], [False]
    yield [1, 2 * block], [False, True]
    several = [0, 1, 17, block, 3 * block + 5, 0, block - 1, 4]
    yield several, [size == 17 for size in several]
    if most > len(several):
        sizes = [(0, 1, 17, 4, 33)[i % 5] for i in range(most)]
        sizes[3], sizes[-1], sizes[most // 2] = block, 5 * block + 1, block + 16
        yield sizes, [i % 101 == 7 for i in range(most)]


# Interpreted.


def interpreted(task: Task) -> tuple[Difference | None, int]:
    """The interpreted kernel on tables of a few tensors; how many values agreed."""
    try:
        bench = Bench(task.spec, task.folder)
    except Exception as error:  # whatever an edited file does when it is imported
        return Difference(f"{task.pair.multi_tensor} cannot be imported: {failure(error)}"), 0
    scalars = {s.name: 0.5 for s in task.spec.active_states(task.options) if s.scalar}
    empty = partial(bench.module.step, SimpleNamespace(size=0), scalars)
    if reason := refusals.wrong(empty, task.spec, task.options):
        return Difference(f"{task.pair.multi_tensor}: {reason}"), 0
    rng = np.random.default_rng([task.seed, 22])
    for dtype, mode in (("float32", "host"), ("float64", "device"), ("float16", "scaled")):
        found = bench.steps(task.options, dtype, rng, 0, _watched, mode=mode)
        if found is not None:
            return found, bench.compared
    return None, bench.compared


def _values(spec: Spec, rng: inputs.Generator) -> dict[str, float]:
    """Hyperparameters, and a scale such as `GradScaler` has: powers of two as a rule."""
    scale = float(2.0 ** rng.integers(-2, 17)) if rng.random() < 0.7 else float(rng.uniform(1, 9))
    return {**inputs.numbers(spec, rng), SCALE: scale}


@contextmanager
def _watched(batch: Batch, made: Sequence[Any]) -> Iterator[None]:
    known: dict[str, Tensor] = {}
    for name, column in batch.columns.items():
        known |= {f"{name}[{i}]": s for i, s in enumerate(column.slices) if s.numel()}
    for index, table in enumerate(made):
        known |= {f"programs {index}": table.programs, f"rows {index}": table.rows}
    with watched(known):
        yield


# Executed.


class Launcher:
    """Stands in for the `triton.jit` function: a launch executes compiled PTX.

    Attributes:
        approximate: Executed instructions whose result PTX does not fix to the bit.
    """

    def __init__(
        self, programs: Mapping[bool, Program], bench: Bench, spec: Spec, options: Options,
        mode: str = "host",
    ) -> None:  # fmt: skip
        """Takes what the kernel was compiled to for aligned tensors and for others."""
        self.programs = programs
        self.approximate: set[str] = set()
        self.arenas: list[Arena] = []
        self.stored = {t.name for t in reader.of(spec).tensors(options) if t.stored}
        constants = {name.upper(): value for name, value in options.items()}
        own = {"BLOCK": bench.module.BLOCK, "EXACT": True}
        own |= {"ON_DEVICE": mode != "host", "SCALED": mode == "scaled"}
        self.constants = {**constants, **{aside(spec, name): value for name, value in own.items()}}
        self.aligned = aside(spec, "ALIGNED")
        self.stored |= {"g"} if mode == "scaled" else set()
        setattr(bench.module, kernel_of(spec), self)

    @contextmanager
    def guarded(self, batch: Batch, made: Sequence[Any]) -> Iterator[None]:
        """Lets launches access a batch; afterwards every stored element must be written."""
        self.arenas = [Arena(name, column) for name, column in batch.columns.items()]
        yield
        for arena in self.arenas:
            if arena.name in self.stored and not arena.complete:
                raise Fault(f"leaves elements of `{arena.name}` as they were")

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(programs: Tensor, rows: Tensor, *numbers: float, **keywords: Any) -> None:
            for name, value in self.constants.items():
                if keywords.get(name, value) != value:
                    raise Fault(f"the kernel is launched with {name}={keywords[name]}")
            tables = [
                Buffer(name, tensor.data_ptr(), tensor.array.reshape(-1).view(np.uint8))
                for name, tensor in (("programs", programs), ("rows", rows))
            ]
            values = [programs.data_ptr(), rows.data_ptr(), *numbers]
            program = self.programs[keywords[self.aligned]]
            executor = Executor(program, values, [*tables, *self.arenas])
            executor.run(int(grid[0]))
            self.approximate |= executor.approximate

        return launch


def executed(
    task: Task, programs: Mapping[bool, Program], dtype: str, most: int
) -> tuple[Difference | None, int]:  # fmt: skip
    """The executed PTX on tables of up to a thousand tensors; how many values agreed.

    Args:
        task: On one type, GPU and kernel.
        programs: The kernel, compiled for aligned tensors and for such that are not.
        dtype: NumPy's type of parameters and gradients.
        most: Tensors of the largest table, if that is more than a few.
    """
    options, ((_, mode),) = task.options, task.kernels
    try:
        bench = Bench(task.spec, task.folder)
        launcher = Launcher(programs, bench, task.spec, options, mode)
    except Exception as error:  # whatever an edited file does when it is imported
        return Difference(f"{task.pair.multi_tensor} cannot be imported: {failure(error)}"), 0
    rng = np.random.default_rng([task.seed, 66])
    found = bench.steps(options, dtype, rng, most, launcher.guarded, mode)
    if found is not None:
        return found, bench.compared
    if launcher.approximate:
        shown = ", ".join(f"`{i}`" for i in sorted(launcher.approximate))
        return Difference(f"executes {shown}, which no bits follow from"), bench.compared
    return None, bench.compared
