"""Trains a small network on scikit-learn's digits with every optimizer, torch's class beside ours.

Run from the project's root: pip install '.[example]' && python examples/digits.py [--epochs N]

Each line is a learning curve, from the loss of an untrained network (full block) to zero (space),
with the share of the held-out digits that are recognized in the end. "apart" is the largest
difference between the losses of our class and torch's, relative to the first loss.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import generated.torch as ours

BATCH = 128
HELD_OUT = 360
BLOCKS = " ▁▂▃▄▅▆▇█"
SETTINGS: dict[str, dict[str, Any]] = {
    "Adadelta": {},
    "Adagrad": {},
    "Adam": {},
    "AdamW": {},
    "Adamax": {},
    "Lion": {"lr": 3e-4},
    "Momentum": {"lr": 5e-2},
    "MomentumEma": {"lr": 3e-1},
    "NAdam": {},
    "Nesterov": {"lr": 5e-2},
    "RAdam": {},
    "RMSprop": {"lr": 1e-3},
    "SGD": {"lr": 5e-2, "momentum": 0.9},
}
"""Every class, with what its defaults are not good for."""


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 pictures of 8 by 8 pixels from 0 to 1, and the digits that they show, shuffled."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    pictures = torch.tensor(data.data, dtype=torch.float32)[order] / 16
    return pictures, torch.tensor(data.target)[order]


def train(kind: type[torch.optim.Optimizer], epochs: int, **settings: Any) -> tuple[Any, float]:
    """Trains one network.

    Returns:
        The loss on all training pictures before every epoch and at the end, and the share of the
        held-out ones that are recognized.
    """
    pictures, labels = digits()
    x, y = pictures[HELD_OUT:], labels[HELD_OUT:]
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10))
    optimizer = kind(network.parameters(), **settings)
    loss_of = torch.nn.functional.cross_entropy
    curve = [loss_of(network(x), y).item()]
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss_of(network(x[part]), y[part]).backward()
            optimizer.step()
        curve.append(loss_of(network(x), y).item())
    right = network(pictures[:HELD_OUT]).argmax(1) == labels[:HELD_OUT]
    return curve, right.float().mean().item()


def theirs(name: str, settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Torch's class of the same optimizer and its arguments; None if it has none."""
    if name == "Nesterov":
        return torch.optim.SGD, {**settings, "momentum": 0.9, "nesterov": True}
    return getattr(torch.optim, name, None), settings


def picture(curve: list[float]) -> str:
    """A learning curve as a line of blocks."""
    top = curve[0]
    return "".join(BLOCKS[min(8, max(0, round(8 * value / top)))] for value in curve)


def main() -> None:
    """Prints one line for each optimizer, and one for torch's class of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    assert set(SETTINGS) == set(ours.__all__) - {"Optimizer"}, "an optimizer has no settings"
    for name, settings in SETTINGS.items():
        curve, right = train(getattr(ours, name), epochs, **settings)
        print(f"{name:12} ours   {picture(curve)}  loss {curve[-1]:.4f}  right {right:.1%}")
        other, arguments = theirs(name, settings)
        if other is not None:
            beside, right = train(other, epochs, **arguments)
            apart = max(abs(a - b) for a, b in zip(curve, beside, strict=True)) / curve[0]
            print(
                f"{'':12} torch  {picture(beside)}  loss {beside[-1]:.4f}  right {right:.1%}"
                f"  apart {apart:.0e}"
            )


if __name__ == "__main__":
    main()
