"""Steps of the generated optimizer classes against torch's own, on the CPU, as ratios of one run.

Two sizes: 1,000 parameters of 100 elements, where Python's work counts, and 4 of 2**20 elements,
where memory does. The ways take turns, so that other work on the machine slows all of them.

Run from the project's root: python benchmarks/torch_step.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import generated.torch as ours

NAMES = ("SGD", "AdamW", "Adam", "RMSprop", "Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam")
SIZES = {"1,000 x 100": (1000, 100, 10), "4 x 2**20": (4, 1 << 20, 5)}
"""Parameters, elements of each, and rounds."""


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


def main() -> None:
    """Prints one line for each class and size."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; time / time of foreach")
    print(f"{'class':9} {'parameters':12} {'ours ms':>8} {'ours':>6} {'for-loop':>9} {'fused':>6}")
    for label, (number, elements, rounds) in SIZES.items():
        for name in NAMES:
            theirs = getattr(torch.optim, name)
            ways = {
                "ours": steps(getattr(ours, name), number, elements),
                "foreach": steps(theirs, number, elements, foreach=True),
                "for-loop": steps(theirs, number, elements, foreach=False),
            }
            if name in ("SGD", "Adam", "AdamW", "Adagrad"):
                ways["fused"] = steps(theirs, number, elements, fused=True)
            times = measure(ways, rounds)
            ratio = {way: f"{seconds / times['foreach']:.2f}" for way, seconds in times.items()}
            print(
                f"{name:9} {label:12} {1e3 * times['ours']:8.1f} {ratio['ours']:>6} "
                f"{ratio['for-loop']:>9} {ratio.get('fused', '–'):>6}"
            )


if __name__ == "__main__":
    main()
