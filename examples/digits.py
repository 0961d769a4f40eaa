"""Trains a small network on scikit-learn's digits with every optimizer, torch's class beside ours.

Run from the project's root, where an optimizer of your own takes part once it is built:

    pip install '.[example]'
    python examples/digits.py                    # every class that generated/torch has
    python examples/digits.py Lion --epochs 50   # one of them, for longer

Each line is a learning curve, from the loss of an untrained network (full block) to zero (space),
with the share of the held-out digits that are recognized in the end. "apart" is the largest
difference between the losses of our class and torch's, relative to the first loss.
"""

from __future__ import annotations

import argparse
import math
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
    "Lion": {"lr": 3e-4},
    "Momentum": {"lr": 5e-2},
    "MomentumEma": {"lr": 3e-1},
    "Nesterov": {"lr": 5e-2},
    "RMSprop": {"lr": 1e-3},
    "SGD": {"lr": 5e-2, "momentum": 0.9},
}
"""What a class needs beside its defaults to learn the digits; every other class has them alone."""
CURVATURE = {"AdaHessian": "d", "SophiaH": "h_hat"}
"""Classes that need an estimate of the Hessian's diagonal → the attribute of parameters for it."""


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
            loss = loss_of(network(x[part]), y[part])
            if kind.__name__ in CURVATURE:
                differentiate(loss, network, CURVATURE[kind.__name__])
            else:
                loss.backward()
            optimizer.step()
        curve.append(loss_of(network(x), y).item())
    right = network(pictures[:HELD_OUT]).argmax(1) == labels[:HELD_OUT]
    return curve, right.float().mean().item()


def differentiate(loss: torch.Tensor, network: torch.nn.Module, attribute: str) -> None:
    """Leaves gradients and Hutchinson's estimates of the Hessian's diagonal on the parameters.

    The estimate is u times the Hessian's product with u, where u is random signs.
    """
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    signs = [torch.randint_like(p, 2) * 2 - 1 for p in parameters]
    products = torch.autograd.grad(gradients, parameters, signs)
    for p, g, u, product in zip(parameters, gradients, signs, products, strict=True):
        p.grad = g.detach()
        setattr(p, attribute, u * product)


def theirs(name: str, settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Torch's class of the same optimizer and its arguments; None if it has none."""
    if name == "Nesterov":
        return torch.optim.SGD, {**settings, "momentum": 0.9, "nesterov": True}
    return getattr(torch.optim, name, None), settings


def picture(curve: list[float]) -> str:
    """A learning curve as a line of blocks."""
    shares = (value / curve[0] if math.isfinite(value) else 1 for value in curve)
    return "".join(BLOCKS[min(8, max(0, round(8 * share)))] for share in shares)


def main() -> None:
    """Prints one line for each optimizer, and one for torch's class of it."""
    every = {name: getattr(ours, name) for name in sorted(ours.__all__, key=str.lower)}
    classes = [name for name, kind in every.items() if issubclass(kind, torch.optim.Optimizer)]
    classes.remove("Optimizer")  # the base of the others
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("classes", nargs="*", metavar="CLASS", help="by default all of them")
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    if unknown := sorted({*given.classes} - {*classes}):
        parser.error(f"generated/torch has no class {unknown[0]}; it has {', '.join(classes)}")
    for name in given.classes or classes:
        settings = SETTINGS.get(name, {})
        curve, right = train(getattr(ours, name), given.epochs, **settings)
        print(f"{name:12} ours   {picture(curve)}  loss {curve[-1]:.4f}  right {right:.1%}")
        other, arguments = theirs(name, settings)
        if other is not None:
            beside, right = train(other, given.epochs, **arguments)
            apart = max(abs(a - b) for a, b in zip(curve, beside, strict=True)) / curve[0]
            print(
                f"{'':12} torch  {picture(beside)}  loss {beside[-1]:.4f}  right {right:.1%}"
                f"  apart {apart:.0e}"
            )


if __name__ == "__main__":
    main()
