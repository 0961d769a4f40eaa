"""Steps of the generated optimizer classes against torch's own, as ratios of one run, with no GPU.

On the CPU there are two sizes: 1,000 parameters of 100 elements, where Python's work counts, and 4
of 2**20 elements, where memory does. Of a step on a GPU, Python's part is measured, for 1,000
parameters: every launch is stubbed out, of both sides. That is, our kernel and torch's `_foreach`
and `_fused` operations return at once; tables, groups, counters and states are what they are on a
GPU, but that they lie in CPU memory. The ways take turns, so that other work on the machine slows
all of them.

Run from the project's root: python benchmarks/torch_step.py
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import generated.torch as ours

NAMES = ("SGD", "AdamW", "Adam", "RMSprop", "Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam")
SIZES = {"1,000 x 100": (1000, 100, 10), "4 x 2**20": (4, 1 << 20, 5)}
"""Parameters, elements of each, and rounds."""
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")
"""Classes that torch fuses."""


def steps(kind: type, number: int, elements: int, **settings: bool) -> Callable[[], object]:
    """The step of an optimizer over parameters that have gradients, made ready by one step."""
    parameters = [torch.nn.Parameter(torch.ones(elements)) for _ in range(number)]
    for parameter in parameters:
        parameter.grad = torch.full((elements,), 0.5)
    optimizer = kind(parameters, lr=1e-3, **settings)
    optimizer.step()
    return optimizer.step  # type: ignore[no-any-return]


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of each way: other work on the machine can only add to them."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, step in ways.items():
            start = time.perf_counter()
            step()
            seconds[way].append(time.perf_counter() - start)
    return {way: min(values) for way, values in seconds.items()}


class Launch:
    """A kernel that does nothing."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *_, **__: None


@contextmanager
def stubbed(name: str) -> Iterator[None]:
    """Neither our kernel nor torch's operations on lists of tensors do anything."""
    module = importlib.import_module(f"generated.multi_tensor.{name}")
    with mock.patch.object(module, f"{name}_kernel", Launch()), mock.patch.multiple(torch, **_NONE):
        yield


def _nothing(*arguments: Any, **_: Any) -> Any:
    return arguments[0]


_NONE = {name: _nothing for name in dir(torch) if name.startswith(("_foreach_", "_fused_"))}


def on_device(step: Callable[[], object]) -> Callable[[], object]:
    """Our step as it is for parameters on a GPU."""
    optimizer = step.__self__  # type: ignore[attr-defined]
    optimizer._is_on_host = lambda parameter: False
    return step


def report(label: str, name: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """Prints the times as ratios to foreach."""
    times = measure(ways, rounds)
    ratio = {way: f"{seconds / times['foreach']:.2f}" for way, seconds in times.items()}
    others = "".join(f"{ratio.get(way, '–'):>10}" for way in ("ours", "for-loop", "fused"))
    print(f"{name:9} {label:16} {1e3 * times['ours']:8.2f}{others}")


def main() -> None:
    """Prints one line for each class and size."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; time / time of foreach")
    print(f"{'class':9} {'parameters':16} {'ours ms':>8}{'ours':>10}{'for-loop':>10}{'fused':>10}")
    for label, (number, elements, rounds) in SIZES.items():
        for name in NAMES:
            theirs = getattr(torch.optim, name)
            ways = {
                "ours": steps(getattr(ours, name), number, elements),
                "foreach": steps(theirs, number, elements, foreach=True),
                "for-loop": steps(theirs, number, elements, foreach=False),
            }
            if name in FUSED:
                ways["fused"] = steps(theirs, number, elements, fused=True)
            report(label, name, ways, rounds)
    for name in NAMES:
        theirs = getattr(torch.optim, name)
        ways = {
            "ours": on_device(steps(getattr(ours, name), 1000, 1)),
            "foreach": steps(theirs, 1000, 1, foreach=True),
        }
        if name in FUSED:
            ways["fused"] = steps(theirs, 1000, 1, fused=True)
        with stubbed(name.lower()):
            ways["ours"]()  # builds the tables
            report("1,000, no launch", name, ways, 20)


if __name__ == "__main__":
    main()
