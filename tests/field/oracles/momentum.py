"""Gradient descent, momentum and signs: steps that no second moment scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import copysign, exp, sqrt, tanh

Gradients = Sequence[float]


def _sign(x: float) -> float:
    return copysign(1.0, x) if x else 0.0


def signsgd(p: float, gradients: Gradients, lr: float) -> Iterator[float]:
    for g in gradients:
        p += -lr if g > 0 else lr if g < 0 else 0
        yield p


def signum(p: float, gradients: Gradients, lr: float, beta: float) -> Iterator[float]:
    buffer = 0.0
    for g in gradients:
        buffer += (1 - beta) * (g - buffer)
        p -= lr * _sign(buffer)
        yield p


def tiger(
    p: float, gradients: Gradients, lr: float, beta: float, weight_decay: float
) -> Iterator[float]:
    exp_avg = 0.0
    for g in gradients:
        exp_avg = exp_avg * beta + g * (1 - beta)
        p -= lr * weight_decay * p
        p -= lr * _sign(exp_avg)
        yield p


def lion_smooth(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, k: float
) -> Iterator[float]:
    exp_avg = 0.0
    for g in gradients:
        p += lr * tanh(-k * (exp_avg * beta1 + g * (1 - beta1)))
        exp_avg += (1 - beta2) * (g - exp_avg)
        yield p


def lion_refined(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float
) -> Iterator[float]:
    exp_avg = 0.0
    for g in gradients:
        update = exp_avg * beta1 + g * (1 - beta1)
        if update > 1:
            update = 1.0
        elif update < -1:
            update = -1.0
        p -= lr * update
        exp_avg += (1 - beta2) * (g - exp_avg)
        yield p


def qhm(p: float, gradients: Gradients, lr: float, beta: float, nu: float) -> Iterator[float]:
    buffer = 0.0
    for g in gradients:
        buffer = beta * buffer + (1 - beta) * g
        p -= lr * (1 - nu) * g + lr * nu * buffer
        yield p


def aggmo(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, beta3: float
) -> Iterator[float]:
    betas = (beta1, beta2, beta3)
    buffers = dict.fromkeys(betas, 0.0)
    for g in gradients:
        for beta in betas:
            buffers[beta] = buffers[beta] * beta + g
            p -= lr / len(betas) * buffers[beta]
        yield p


def pnm(p: float, gradients: Gradients, lr: float, beta1: float, beta: float) -> Iterator[float]:
    buffers = [0.0, 0.0]
    norm = sqrt((1 + beta) ** 2 + beta**2)
    for t, g in enumerate(gradients, 1):
        positive, negative = t % 2, (t + 1) % 2  # the authors' code swaps the two in every step
        buffers[positive] = buffers[positive] * beta1**2 + g * (1 - beta1**2)
        p -= lr / norm * (buffers[positive] * (1 + beta) - buffers[negative] * beta)
        yield p


def sgdw(
    p: float, gradients: Gradients, lr: float, momentum: float, weight_decay: float
) -> Iterator[float]:
    buffer = 0.0
    for g in gradients:
        buffer = buffer * momentum + g
        p = p - lr * weight_decay * p - lr * buffer
        yield p


def powersign(p: float, gradients: Gradients, lr: float, beta: float) -> Iterator[float]:
    m = 0.0
    for g in gradients:
        m += (1 - beta) * (g - m)
        p -= lr * g * exp(_sign(g * m))
        yield p


def addsign(p: float, gradients: Gradients, lr: float, beta: float) -> Iterator[float]:
    m = 0.0
    for g in gradients:
        m += (1 - beta) * (g - m)
        p -= lr * g * (1 + _sign(g * m))
        yield p


def pid_controller(
    p: float, gradients: Gradients, lr: float, momentum: float, k_i: float, k_d: float
) -> Iterator[float]:
    integral, derivative, earlier = 0.0, 0.0, gradients[0]
    for g in gradients:
        integral = integral * momentum + g
        derivative += (1 - momentum) * (g - earlier - derivative)
        earlier = g
        p -= lr * g + lr * k_i * integral + lr * k_d * derivative
        yield p


def optimistic_gd(
    p: float, gradients: Gradients, lr: float, alpha: float, beta: float
) -> Iterator[float]:
    earlier = gradients[0]
    for g in gradients:
        p -= lr * alpha * g + lr * beta * (g - earlier)
        earlier = g
        yield p


def pbsgd(
    p: float, gradients: Gradients, lr: float, gamma: float, momentum: float
) -> Iterator[float]:
    buffer = 0.0
    for g in gradients:
        buffer = buffer * momentum + copysign(abs(g) ** gamma, g)
        p -= lr * buffer
        yield p


def focus(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, gamma: float
) -> Iterator[float]:
    exp_avg, pbar = 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        exp_avg += (1 - beta1) * (g - exp_avg)
        pbar += (1 - beta2) * (p - pbar)
        p -= lr * (_sign(exp_avg) + gamma * _sign(p - pbar / (1 - beta2**t)))
        yield p


def rprop(
    p: float,
    gradients: Gradients,
    lr: float,
    eta_minus: float,
    eta_plus: float,
    step_min: float,
    step_max: float,
) -> Iterator[float]:
    size, previous = lr, 0.0
    for g in gradients:
        if previous * g > 0:
            size = min(size * eta_plus, step_max)
        elif previous * g < 0:
            size = max(size * eta_minus, step_min)
            g = 0.0
        p += -size if g > 0 else size if g < 0 else 0
        previous = g
        yield p
