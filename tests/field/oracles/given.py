"""Rules whose steps are given more than gradients: curvatures, or the value of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import copysign, sqrt

Numbers = Sequence[float]


def sophia_h(
    p: float,
    gradients: Numbers,
    h_hat: Numbers,
    lr: float,
    beta1: float,
    beta2: float,
    gamma: float,
    eps: float,
    k: int,
    weight_decay: float,
) -> Iterator[float]:
    """Algorithm 3: the estimate counts in steps 1, k + 1, 2k + 1, …"""
    m = h = 0.0
    refresh = 1
    for t, (g, estimate) in enumerate(zip(gradients, h_hat, strict=True), 1):
        m = beta1 * m + (1 - beta1) * g
        if t == refresh:
            h += (1 - beta2) * (estimate - h)
            refresh += int(k)
        p -= lr * weight_decay * p
        ratio = m / (gamma * h if gamma * h > eps else eps)
        p -= lr * (ratio if abs(ratio) < 1 else copysign(1.0, ratio))
        yield p


def adahessian(
    p: float,
    gradients: Numbers,
    d: Numbers,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    """The sums of equation 10, each of which is made anew in every step."""
    for t in range(1, len(gradients) + 1):
        ages = [t - i for i in range(1, t + 1)]
        m = (1 - beta1) * sum(beta1**a * g for a, g in zip(ages, gradients, strict=False))
        v = (1 - beta2) * sum(beta2**a * x * x for a, x in zip(ages, d, strict=False))
        p *= 1 - lr * weight_decay
        p -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)
        yield p


def alig(
    p: float,
    gradients: Numbers,
    loss: Numbers,
    squares: Numbers,
    lr: float,
    momentum: float,
    delta: float,
) -> Iterator[float]:
    velocity = 0.0
    for g, value, norm in zip(gradients, loss, squares, strict=True):
        step = value / (norm + delta)
        step = lr if step > lr else step
        velocity = momentum * velocity - step * g
        p += momentum * velocity - step * g
        yield p
