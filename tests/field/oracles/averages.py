"""Averages of the iterates, dual averaging and betting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

Gradients = Sequence[float]


def schedule_free_sgd(
    p: float, gradients: Gradients, lr: float, beta: float, weight_decay: float
) -> Iterator[float]:
    z = [p]
    for y_gradient in gradients:
        average = sum(z[1:]) / (len(z) - 1) if len(z) > 1 else p
        y = (1 - beta) * z[-1] + beta * average
        z.append(z[-1] - lr * (y_gradient + weight_decay * y))
        yield (1 - beta) * z[-1] + beta * sum(z[1:]) / (len(z) - 1)


def schedule_free_adamw(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    warmup: float,
    r: float,
) -> Iterator[float]:
    """In the form of the paper: three sequences, of which `y` is where gradients are taken."""
    x = y = z = p
    v = largest = total = 0.0
    for t, g in enumerate(gradients, 1):
        v += (1 - beta2) * (g * g - v)
        now = lr * min(1.0, t / warmup)
        largest = max(largest, now)
        total += t**r * largest**2
        c = t**r * largest**2 / total
        z -= now * (g / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * y)
        x += c * (z - x)
        y = (1 - beta1) * z + beta1 * x
        yield y


def asgd(
    p: float,
    gradients: Gradients,
    lr: float,
    lambd: float,
    alpha: float,
    t0: float,
    weight_decay: float,
) -> Iterator[float]:
    for t, g in enumerate(gradients):
        eta = lr / (1 + lambd * lr * t) ** alpha
        p -= eta * (lambd * p + g + weight_decay * p)
        yield p


def accsgd(
    p: float, gradients: Gradients, lr: float, kappa: float, xi: float, c: float
) -> Iterator[float]:
    large_lr = lr * kappa / c
    beta = c * c * xi / kappa
    zeta = c / (c + beta)
    buffer = p
    for g in gradients:
        buffer = (buffer * (1 / beta - 1) - large_lr * g + p) * beta
        p = (p - lr * g) * zeta + buffer * (1 - zeta)
        yield p


def madgrad(
    p: float, gradients: Gradients, lr: float, momentum: float, eps: float
) -> Iterator[float]:
    first, total, squares = p, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        lamb = (lr + eps) * sqrt(t)
        total += lamb * g
        squares += lamb * g * g
        z = first - total / (squares ** (1 / 3) + eps)
        p += (1 - momentum) * (z - p)
        yield p


def mirror_madgrad(
    p: float, gradients: Gradients, lr: float, momentum: float, eps: float
) -> Iterator[float]:
    z, v = p, 0.0
    for k, g in enumerate(gradients):
        v = v * sqrt(k / (k + 1)) + g * g
        root = v ** (1 / 3) + eps
        z -= (lr + eps) * (k + 1) ** (1 / 3) * g / root if root else 0.0
        p += (1 - momentum) * (z - p)
        yield p


def ftrl_power(
    p: float,
    gradients: Gradients,
    lr: float,
    power: float,
    initial: float,
    l1: float,
    l2: float,
    shrinkage: float,
    beta: float,
) -> Iterator[float]:
    """In the form of Keras."""
    accumulator, linear = initial, 0.0
    strength = l2 + beta / (2 * lr)
    for g in gradients:
        new = accumulator + g * g
        linear += g + 2 * shrinkage * p - (new**-power - accumulator**-power) / lr * p
        quadratic = new**-power / lr + 2 * strength
        clipped = min(max(linear, -l1), l1)
        p = (clipped - linear) / quadratic
        accumulator = new
        yield p


def ftrl(p: float, gradients: Gradients, **numbers: float) -> Iterator[float]:
    yield from ftrl_power(p, gradients, power=-0.5, **numbers)


def cocob(p: float, gradients: Gradients, alpha: float, eps: float) -> Iterator[float]:
    first, scale, total, reward, theta = p, eps, 0.0, 0.0, 0.0
    for g in gradients:
        scale = max(scale, abs(g))
        total += abs(g)
        reward = max(reward + (first - p) * g, 0.0)
        theta += g
        p = first - theta / (scale * max(total + scale, alpha * scale)) * (scale + reward)
        yield p
