"""Everything that a GPU is needed for: kernels and classes on the one at hand, then their speed.

Four parts. *Bits*: the inputs of R2 and R6, for every optimizer, set of options, type and kernel,
launched on the GPU and compared with the NumPy reference in every bit; this includes what no rung
sees, the step from PTX to machine code. *Fast*: kernels in fast mode against the bounds of R9,
which rest on what is documented of approximate instructions. *Classes*: the optimizer classes on
the GPU, plain, with `capturable`, in a CUDA graph and under `GradScaler`, against themselves on the
CPU and against torch's. *Speed*: the bytes a second of the kernels as a share of a copy's, and the
time of a step over that of torch's foreach and fused.

The exit status is 1 if anything differs, 2 without a GPU.

Run from the project's root: python benchmarks/on_gpu.py [--only bits|fast|classes|speed] [SPEC ...]
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "codegen"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
os.environ["TRITON_INTERPRET"] = "0"

import numpy as np
import torch
import triton
from support import ROOT, STOCK, stock
from torch_optim.support import CASES, WITH_TORCH, Case, parameters

import generated.torch as ours
from stepforge.backends.torch_class import class_name
from stepforge.operations.formats import BY_TRITON, UNIT
from stepforge.verify.cases.bench import Bench
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.files.generated import KERNELS, Pair, fresh
from stepforge.verify.rungs import bounded, executed, proof, tables
from stepforge.verify.rungs.bounded import Problem
from stepforge.verify.rungs.levels import DTYPES
from stepforge.verify.terms.terms import Term

GENERATED = ROOT / "generated"
GUARD = 512
"""Bytes before and behind a tensor that no launch may touch."""
PATTERN = 0xFA
SEED = 0
DEVICE = "cuda"


# Bits.


class Copy:
    """Bytes of the host on the GPU, between guard zones.

    Attributes:
        data: The copy.
    """

    def __init__(self, host: np.ndarray[Any, Any], shift: int = 0) -> None:
        """Copies; `shift` is by how many bytes the address misses a multiple of 16."""
        self.host, start = host.reshape(-1).view(np.uint8), GUARD + shift
        size = self.host.size + 2 * GUARD + shift
        self.memory = torch.full((size,), PATTERN, dtype=torch.uint8, device=DEVICE)
        self.data = self.memory[start : start + self.host.size]
        self.data.copy_(torch.from_numpy(self.host))

    def back(self) -> None:
        """Copies what is there now to the host; nothing else may have changed."""
        start, stop = self.data.storage_offset(), self.data.storage_offset() + self.host.size
        guards = torch.cat([self.memory[:start], self.memory[stop:]])
        if not bool((guards == PATTERN).all()):
            raise RuntimeError("the kernel writes outside of a tensor")
        self.host[...] = self.data.cpu().numpy()


class Single:
    """Stands in for the kernel of one tensor: launches it on copies."""

    def __init__(self, kernel: Any, aligned: bool) -> None:
        self.kernel, self.aligned = kernel, aligned

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(*arguments: Any, **keywords: Any) -> None:
            copies, given = [], []
            for argument in arguments:
                if not isinstance(argument, Tensor):
                    given.append(argument)
                    continue
                copy = Copy(argument.array, 0 if self.aligned else argument.element_size())
                copies.append(copy)
                given.append(copy.data.view(getattr(torch, argument.dtype.removeprefix("torch."))))
            self.kernel[grid](*given, **keywords)
            for copy in copies:
                copy.back()

        return launch


class Several:
    """Stands in for a multi-tensor kernel: launches it on copies of the columns."""

    def __init__(self, kernel: Any, columns: Sequence[str]) -> None:
        self.kernel, self.names = kernel, columns
        self.columns: dict[str, tables.Column] = {}

    @contextmanager
    def guarded(self, batch: tables.Batch, made: Sequence[Any]) -> Iterator[None]:
        """Notes the columns."""
        self.columns = batch.columns
        yield

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(programs: Tensor, rows: Tensor, *numbers: float, **keywords: Any) -> None:
            table = rows.array.reshape(rows.shape).copy()
            copies = []
            for index, name in enumerate(self.names):
                if name in self.columns:
                    data = self.columns[name].data
                    copies.append(Copy(data))
                    moved = copies[-1].data.data_ptr() - data.ctypes.data
                    table[:, index] += np.where(table[:, index] != 0, moved, 0)
            given = (torch.from_numpy(a).to(DEVICE) for a in (programs.array, table))
            self.kernel[grid](*given, *numbers, **keywords)
            for copy in copies:
                copy.back()

        return launch


def replay(name: str, number: int, dtype: str) -> tuple[int, str]:
    """How many values of one option set agree in one type, and the first thing that is wrong."""
    spec = stock(name)
    options = list(spec.option_sets())[number]
    compared = 0
    for aligned in (True, False):
        bench = Bench(spec, Pair.of(spec, GENERATED))
        kernel = getattr(bench.triton, f"{name}_kernel")._kernel
        setattr(bench.triton, f"{name}_kernel", Single(kernel, aligned))
        rng = np.random.default_rng([SEED, 6])
        for case in executed.cases(spec, options, bench.block, dtype, aligned, False, rng):
            if mismatch := bench.run(case):
                where = f"{name} {dict(options)} {dtype}, {'' if aligned else 'un'}aligned"
                return compared, f"{where}: {mismatch}"[:600]
        compared += bench.compared
    for _, mode in KERNELS[1:]:
        several = tables.Bench(spec, GENERATED)
        launcher = Several(getattr(several.module, f"{name}_kernel"), several.module.COLUMNS)
        setattr(several.module, f"{name}_kernel", launcher)
        rng = np.random.default_rng([SEED, 66])
        kind = BY_TRITON[dtype].numpy
        found = several.steps(options, kind, rng, tables.MANY, launcher.guarded, mode=mode)
        if found is not None:
            return compared, f"{name} {dict(options)} {dtype}, {mode}: {found}"[:600]
        compared += several.compared
    return compared, ""


def bits(names: Sequence[str]) -> bool:
    """Replays all; whether every bit agrees."""
    tasks = [
        (name, number, dtype)
        for name in names
        for number in range(len(list(stock(name).option_sets())))
        for dtype in DTYPES
    ]
    start, total, wrong = time.perf_counter(), 0, []
    workers = max(1, (os.cpu_count() or 2) - 2)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for task, (compared, reason) in zip(
            tasks, pool.map(replay, *zip(*tasks, strict=True)), strict=True
        ):
            total += compared
            if reason:
                wrong.append((task, reason))
    for _, reason in wrong:
        print(reason)
    took = time.perf_counter() - start
    print(
        f"bits: {len(tasks) - len(wrong)} of {len(tasks)} combinations of optimizer, options and "
        f"type agree with NumPy in every bit, {total:,} values, {took:.0f} s"
    )
    return not wrong


# Fast mode.

ELEMENTS = 64
DRAWS = 12
"""Of hyperparameters."""


def within(name: str, number: int) -> tuple[int, float, str]:
    """Values of one option set in fast mode: how many, the largest error in u, and what fails.

    The bound is R9's, of the operations of the PTX that the GPU runs.
    """
    spec = stock(name)
    options = list(spec.option_sets())[number]
    major, minor = torch.cuda.get_device_capability()
    subject = proof.Subject.of(spec, options, "fp32", SEED)
    kinds = proof.storage(spec, options, "fp32")

    def problem(tensor: str, got: Term) -> Problem:
        wanted = subject.expected.stores[tensor]
        return Problem(tensor, got, wanted, kinds, proof.domains(spec), UNIT["f32"])

    module, rng = fresh(Pair.of(spec, GENERATED).triton), np.random.default_rng([SEED, 9])
    as_written = problem("p", subject.expected.stores["p"])
    results = []
    for _ in range(DRAWS):
        points = [bounded.random_point(as_written, spec, rng) for _ in range(ELEMENTS)]
        numbers = {k: v for k, v in points[0].items() if k not in kinds}
        points = [{**one, **numbers} for one in points]
        columns = {k: [one[k] for one in points] for k in kinds}
        stored: dict[str, Any] = {
            k: torch.tensor(v, dtype=torch.float32, device=DEVICE) for k, v in columns.items()
        }
        scalars = {s.name: numbers[s.name] for s in spec.active_states(options) if s.scalar}
        given: dict[str, Any] = {h.name: numbers[h.name] for h in spec.numbers}
        given |= {name: stored[name] for name in spec.given[2:]}
        state = {**{k: v for k, v in stored.items() if k not in spec.given}, **scalars}
        t = int(numbers["t"])
        module.step(stored["p"], stored["g"], state, t, **given, **options, exact=False)
        results.append((points, {k: v.tolist() for k, v in stored.items()}))

    # Compiling offline changes how this process compiles, so it comes last.
    target = f"sm_{major}{minor}"
    text = proof.ptx_of(subject, GENERATED, target, True, False)
    _, stores = proof.lifted_stores(subject, GENERATED, target, text, False)
    compared, most = 0, 0.0
    for tensor, got in stores:
        for points, values in results:
            for one, value in zip(points, values[tensor], strict=True):
                error = bounded.error_at(problem(tensor, got), one, value)
                if isinstance(error, bounded.Excess):
                    return compared, most, f"{name} {dict(options)}: {error}"
                if error is not None:
                    compared, most = compared + 1, max(most, error[0])
    return compared, most, ""


def fast(names: Sequence[str]) -> bool:
    """Compares fast mode with its bounds; whether all values are within them."""
    tasks = [(n, i) for n in names for i in range(len(list(stock(n).option_sets())))]
    workers = max(1, (os.cpu_count() or 2) - 2)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        found = list(pool.map(within, *zip(*tasks, strict=True)))
    wrong = [reason for *_, reason in found if reason]
    print("".join(f"{reason}\n" for reason in wrong), end="")
    print(
        f"fast: {len(tasks) - len(wrong)} of {len(tasks)} combinations of optimizer and options "
        f"are within their bounds in float32, {sum(n for n, *_ in found):,} values; "
        f"the largest error is {max(error for _, error, _ in found):.2f} u"
    )
    return not wrong


# Classes.

SHAPES = ((5, 7), (1024,), (3000,), (2, 3, 4), (1,))
STEPS = 12
SCALE = 1024.0
"""Of the gradients; a power of two, so that dividing by it is exact."""


def trained(
    case: Case, device: str, dtype: torch.dtype, how: str = "plain", kind: Any = None, **more: Any
) -> list[torch.Tensor]:
    """Parameters and states after some steps, on the CPU.

    Args:
        case: A class with its options.
        device: Of the parameters.
        dtype: Of the parameters.
        how: "plain", "graph" for a CUDA graph, or "scaled" for steps of `GradScaler`, one of them
            with an infinity that is not a step.
        kind: Another class, with the arguments of torch's.
        more: Further arguments.
    """
    tensors = [torch.nn.Parameter(p.detach().to(device)) for p in parameters(*SHAPES, dtype=dtype)]
    arguments = case.arguments if kind is None else case.torch_arguments
    optimizer = (kind or case.ours)(tensors, **arguments, **more)
    generator = torch.Generator().manual_seed(1)
    all_gradients = [
        [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype) for p in tensors]
        for _ in range(STEPS)
    ]
    for p, g in zip(tensors, all_gradients[0], strict=True):
        p.grad = torch.empty_like(g, device=device)
    scaler = torch.amp.GradScaler(device, init_scale=SCALE)
    scaler.scale(torch.zeros((), device=device))  # makes the scale
    graph = torch.cuda.CUDAGraph() if how == "graph" else None
    for number, gradients in enumerate(all_gradients):
        for p, g in zip(tensors, gradients, strict=True):
            p.grad.copy_(g * SCALE if how == "scaled" else g)
        if graph is not None and number == 3:
            with torch.cuda.graph(graph):
                optimizer.step()
        if graph is not None and number >= 3:
            graph.replay()
        elif how == "scaled":
            if number == 5:
                tensors[1].grad.fill_(torch.inf)
                scaler.step(optimizer)
                scaler.update(SCALE)
                for p, g in zip(tensors, gradients, strict=True):
                    p.grad.copy_(g * SCALE)
            scaler.step(optimizer)
            scaler.update(SCALE)
        else:
            optimizer.step()
    states = [
        value
        for p in tensors
        for _, value in sorted(optimizer.state[p].items())
        if isinstance(value, torch.Tensor)
    ]
    return [t.detach().double().cpu() for t in (*tensors, *states)]


def distance(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    """The largest difference, relative to the largest number of its tensor; 0 for equal bits."""
    assert len(a) == len(b)
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x.numel() and not torch.equal(x, y):
            scale = float(x.abs().max()) or 1.0
            worst = max(worst, float((x - y).abs().max()) / scale)
    return worst


def classes(names: Sequence[str]) -> bool:
    """Every class in every way; whether all agree as they must."""
    cases = [case for case in CASES if case.name in names]
    equal: dict[str, list[float]] = {}
    for case in cases:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            kind = str(dtype).removeprefix("torch.")
            on_cpu = trained(case, "cpu", dtype)
            plain = trained(case, DEVICE, dtype)
            equal.setdefault(f"GPU = CPU, {kind}", []).append(distance(plain, on_cpu))
            on_device = counting_on_device(case.ours)
            free = trained(case, DEVICE, dtype, **on_device)
            equal.setdefault(f"capturable ~ CPU, {kind}", []).append(distance(free, on_cpu))
            # Torch's GradScaler has no kernel for bfloat16, which needs none.
            for how in ("graph", "scaled") if dtype != torch.bfloat16 else ("graph",):
                found = trained(case, DEVICE, dtype, how, **on_device)
                equal.setdefault(f"{how} = capturable, {kind}", []).append(distance(found, free))
    torch.set_default_dtype(torch.float64)  # of torch's numbers beside the tensors, as NAdam has
    for case in WITH_TORCH:
        if case.name in names:
            theirs = trained(case, DEVICE, torch.float64, kind=case.theirs)
            mine = trained(case, DEVICE, torch.float64)
            equal.setdefault("GPU ~ torch's class, float64", []).append(distance(mine, theirs))
    torch.set_default_dtype(torch.float32)
    fine = True
    for what, found in equal.items():
        allowed = 0.0 if "=" in what else 1e-12 if "float64" in what else 1e-6
        allowed = 2.0**-8 if "~" in what and "bfloat16" in what else allowed
        exact = sum(d == 0 for d in found)
        fine &= max(found) <= allowed
        print(
            f"classes: {what}: {exact} of {len(found)} to the bit, largest difference "
            f"{max(found):.1e}{'' if max(found) <= allowed else '  DIFFERS'}"
        )
    return fine


def counting_on_device(kind: Any) -> dict[str, bool]:
    """What puts counters on the device: `capturable` where torch's class has it, else `fused`."""
    known = kind([torch.nn.Parameter(torch.zeros(1))]).defaults
    return {"capturable": True} if "capturable" in known else {"fused": True}


# Speed.


STEPS_AT_ONCE = 5
"""So that Python is ahead of the GPU."""


def seconds(step: Callable[[], object], least: int = 15) -> float:
    """Median time of a step on the GPU, measured with events around several."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    times = []
    for _ in range(least):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(STEPS_AT_ONCE):
            step()
        last.record()
        torch.cuda.synchronize()
        times.append(1e-3 * first.elapsed_time(last) / STEPS_AT_ONCE)
    return float(np.median(times))


def wall(step: Callable[[], object], least: int = 30) -> float:
    """Median time of a step on the clock, waiting for the GPU behind it."""
    for _ in range(5):
        step()
    times = []
    for _ in range(least):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def moved(optimizer: Any) -> int:
    """Bytes that a step has to read and write: everything once each way, gradients only read."""
    total = 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            total += 3 * p.numel() * p.element_size()
            for value in optimizer.state[p].values():
                if isinstance(value, torch.Tensor) and value.numel() == p.numel() > 1:
                    total += 2 * value.numel() * value.element_size()
    return total


def copy_speed() -> float:
    """Bytes a second, read and written, of a large copy."""
    a = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    b = torch.empty_like(a)
    return 2 * a.numel() / seconds(lambda: b.copy_(a))


def speed(names: Sequence[str]) -> bool:
    """Two tables: large tensors, where memory decides, and many small ones; nothing can fail."""
    kinds = {name: class_name(stock(name)) for name in names}
    peak = copy_speed()
    print(f"speed: a copy moves {peak / 1e12:.2f} TB/s")
    print("speed: 4 tensors of 2**27 elements; bytes a second over a copy's; time over ours")
    row("class", "type", "ms", "of copy", "one by one", "capturable", "foreach", "fused")
    for name, kind in kinds.items():
        for dtype in (torch.float32, torch.bfloat16):
            optimizer = Ready(getattr(ours, kind), LARGE, dtype)
            mine = seconds(optimizer.step)
            share = moved(optimizer.optimizer) / mine / peak
            del optimizer
            device = counting_on_device(getattr(ours, kind))
            ratios = [
                ratio(mine, seconds, OneByOne, name, LARGE, dtype),
                ratio(mine, seconds, Ready, getattr(ours, kind), LARGE, dtype, **device),
                ratio(mine, seconds, Ready, theirs(kind), LARGE, dtype, foreach=True),
                ratio(mine, seconds, Ready, theirs(kind), LARGE, dtype, fused=True),
            ]
            row(kind, str(dtype)[6:], f"{1e3 * mine:.2f}", f"{share:.0%}", *ratios)
    print("speed: 1,000 tensors of 1,000 elements, float32, on the clock; time over ours")
    row("class", "ms", "capturable", "graph", "foreach", "fused", "foreach graph", "fused graph")
    for kind in kinds.values():
        mine = wall(Ready(getattr(ours, kind), SMALL).step)
        device = counting_on_device(getattr(ours, kind))
        ratios = [
            ratio(mine, wall, Ready, getattr(ours, kind), SMALL, **device),
            ratio(mine, wall, Captured, getattr(ours, kind), SMALL, **device),
            ratio(mine, wall, Ready, theirs(kind), SMALL, foreach=True),
            ratio(mine, wall, Ready, theirs(kind), SMALL, fused=True),
            ratio(mine, wall, Captured, theirs(kind), SMALL, foreach=True, capturable=True),
            ratio(mine, wall, Captured, theirs(kind), SMALL, fused=True),
        ]
        row(kind, f"{1e3 * mine:.2f}", *ratios)
    return True


LARGE = (1 << 27,) * 4
SMALL = (1000,) * 1000


def theirs(kind: str) -> Any:
    """Torch's class, if there is one."""
    return getattr(torch.optim, kind, None)


class Ready:
    """An optimizer whose parameters have gradients, after one step.

    Attributes:
        step: The next one.
    """

    def __init__(
        self, kind: Any, sizes: Sequence[int], dtype: torch.dtype = torch.float32, **more: Any
    ) -> None:
        tensors = [torch.nn.Parameter(torch.randn(n, device=DEVICE).to(dtype)) for n in sizes]
        for p in tensors:
            p.grad = torch.randn_like(p)
        if kind.__name__ == "SGD":
            more["momentum"] = 0.9
        self.optimizer = kind(tensors, lr=1e-3, **more)
        self.optimizer.step()
        self.step: Callable[[], object] = self.optimizer.step


class Captured(Ready):
    """The same in a CUDA graph."""

    def __init__(self, kind: Any, sizes: Sequence[int], **more: Any) -> None:
        super().__init__(kind, sizes, **more)
        self.graph = torch.cuda.CUDAGraph()
        self.step()
        with torch.cuda.graph(self.graph):
            self.step()
        self.step = self.graph.replay


class OneByOne:
    """A launch of the kernel for one tensor, for each of them."""

    def __init__(self, name: str, sizes: Sequence[int], dtype: torch.dtype) -> None:
        module = importlib.import_module(f"generated.triton.{name}")
        options = {"use_momentum": True} if name == "sgd" else {}
        more = {**options, "momentum": 0.9} if name == "sgd" else {}
        tensors = [torch.randn(n, device=DEVICE).to(dtype) for n in sizes]
        made = [(p, torch.randn_like(p), module.init(p, **options)) for p in tensors]
        self.step = lambda: [module.step(*one, 2, lr=1e-3, **more) for one in made]


def ratio(
    basis: float, measure: Callable[[Callable[[], object]], float], make: Any, *arguments: Any,
    **more: Any,
) -> str:  # fmt: skip
    """A time over the basis; a dash where torch has no such class, or not this way of it."""
    if arguments[0] is None:
        return "–"
    try:
        return f"{measure(make(*arguments, **more).step) / basis:.2f}"
    except (RuntimeError, TypeError):
        return "–"


def row(*cells: str) -> None:
    """Prints a line of a table."""
    print("  " + "".join(f"{cell:>14}" for cell in cells), flush=True)


PARTS: dict[str, Callable[[Sequence[str]], bool]] = {
    "bits": bits, "fast": fast, "classes": classes, "speed": speed
}  # fmt: skip


def main() -> int:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=list(STOCK))
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("UNSUPPORTED: there is no GPU that torch knows", file=sys.stderr)
        return 2
    versions = f"torch {torch.__version__}, triton {triton.__version__}"
    print(f"{torch.cuda.get_device_name()}, {versions}", flush=True)
    parts = [arguments.only] if arguments.only else list(PARTS)
    passed = [PARTS[part](arguments.specs) for part in parts]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
