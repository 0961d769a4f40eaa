"""Denominators other than Adam's, and moments whose decays change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

Gradients = Sequence[float]


def adamnx(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if t == 1:
            m, v = g, g * g
        else:
            m += (1 - beta1) / (1 - beta1**t) * (g - m)
            b = beta2 ** (1 - beta2)
            v += (b ** (t - 1) - b**t) / (1 - b**t) * (g * g - v)
        p -= lr * weight_decay * p
        p -= lr / (sqrt(v) + eps) * m
        yield p


def nosadam(
    p: float, gradients: Gradients, lr: float, beta1: float, gamma: float, eps: float
) -> Iterator[float]:
    m, squares, weights = 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        squares += t**-gamma * g * g
        weights += t**-gamma
        p -= lr * m / (1 - beta1**t) / (sqrt(squares / weights) + eps)
        yield p


def dual_adam(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    switch_rate: float,
) -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g * g - v)
        step, root = lr * m / (1 - beta1**t), sqrt(v) / sqrt(1 - beta2**t) + eps
        share = max(0.0, 1 - t * switch_rate)
        if share >= switch_rate:
            p -= share * step * root + (1 - share) * step / root
        else:
            p -= step / root
        yield p


def cautious_decay(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g * g - v)
        update = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)
        opposed = (update > 0 > p) or (update < 0 < p)
        p -= lr * update if opposed else lr * update + lr * weight_decay * p
        yield p


def adam_inject(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    k: float,
) -> Iterator[float]:
    m = v = 0.0
    path = [p]
    for t, g in enumerate(gradients, 1):
        injected = g if t == 1 else (g + (path[-2] - path[-1]) * g * g) / k
        m = m * beta1 + injected * (1 - beta1)
        v = v * beta2 + g * g * (1 - beta2)
        size = lr * sqrt(1 - beta2**t) / (1 - beta1**t)
        path.append(path[-1] - size * m / (sqrt(v) + eps))
        yield path[-1]


def agd(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, delta: float
) -> Iterator[float]:
    m = b = corrected = 0.0
    for t, g in enumerate(gradients, 1):
        earlier, m = corrected, m * beta1 + g * (1 - beta1)
        corrected = m / (1 - beta1**t)
        b += (1 - beta2) * ((corrected - earlier) ** 2 - b)
        bound = delta * sqrt(1 - beta2**t)
        p -= lr * corrected * sqrt(1 - beta2**t) / max(sqrt(b), bound)
        yield p


def adapnm(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    beta: float,
    eps: float,
) -> Iterator[float]:
    buffers, v, largest = [0.0, 0.0], 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        positive, negative = t % 2, (t + 1) % 2
        buffers[positive] = buffers[positive] * beta1**2 + g * (1 - beta1**2)
        v += (1 - beta2) * (g * g - v)
        largest = max(largest, v)
        noise = sqrt((1 + beta) ** 2 + beta**2)
        root = sqrt(largest / (1 - beta2**t)) + eps
        update = (buffers[positive] * (1 + beta) - buffers[negative] * beta) / noise
        p -= lr * update / root / (1 - beta1**t)
        yield p


def acprop(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m = s = 0.0
    for t, g in enumerate(gradients, 1):
        root = 1.0 if t == 1 else sqrt(s) / sqrt(1 - beta2 ** (t - 1))
        s = beta2 * s + (1 - beta2) * (g - m) * (g - m) + eps
        m += (1 - beta1) * (g - m)
        p -= lr * g / (root + eps)
        yield p


def ano(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = m * beta1 + g * (1 - beta1)
        change = (1 - beta2) * g * g
        v = v * beta2 + (change if g * g > v else -change if g * g < v else 0.0)
        step = lr * abs(g) / (sqrt(v / (1 - beta2**t)) + eps)
        p += -step if m > 0 else step if m < 0 else 0
        yield p


def bcos_c(
    p: float, gradients: Gradients, lr: float, beta: float, eps: float, weight_decay: float
) -> Iterator[float]:
    m = gradients[0]
    for g in gradients:
        # What is expected of the next momentum squared, where the gradient's square is b*m² + ….
        b, c = beta, 1 - beta
        v = b * b * m * m + 2 * b * b * c * m * m + c * c * g * g + 2 * b * c * c * m * g
        m = b * m + c * g
        p = p - lr * weight_decay * p - lr * m / (sqrt(v) + eps)
        yield p


def bcos_m(
    p: float, gradients: Gradients, lr: float, beta: float, eps: float, weight_decay: float
) -> Iterator[float]:
    m, v = gradients[0], gradients[0] ** 2
    for g in gradients:
        m += (1 - beta) * (g - m)
        v += (1 - beta) * (m * m - v)
        p = p - lr * weight_decay * p - lr * m / (sqrt(v) + eps)
        yield p


def vsgd(
    p: float,
    gradients: Gradients,
    lr: float,
    ratio: float,
    prior: float,
    tau1: float,
    tau2: float,
    eps: float,
) -> Iterator[float]:
    """In the form of the authors' code."""
    shape = 2 * prior + 1 + 1e-4
    rate_g, rate_h = 2 * prior, 2 * ratio * prior
    mean = b_g = b_h = 0.0
    for t, g in enumerate(gradients, 1):
        sigma_g = b_g / shape if t > 1 else rate_g / (shape - 1)
        sigma_h = b_h / shape if t > 1 else rate_h / (shape - 1)
        earlier = mean
        mean = (earlier * sigma_h + g * sigma_g) / (sigma_g + sigma_h)
        variance = sigma_g * sigma_h / (sigma_g + sigma_h)
        square = mean * mean + variance
        b_g += t**-tau1 * (rate_g + square - 2 * mean * earlier + earlier**2 - b_g)
        b_h += t**-tau2 * (rate_h + square - 2 * g * mean + g * g - b_h)
        p -= lr / (sqrt(square) + eps) * mean
        yield p


def adamg(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    scale: float,
    q: float,
    eps: float,
) -> Iterator[float]:
    m = v = r = 0.0
    for t, g in enumerate(gradients, 1):
        v += (1 - beta2) * (g * g - v)
        r += (1 - beta3) * (scale * v**q - r)
        m += (1 - beta1) * (r * g - m)
        size = min(lr, t**-0.5)
        p -= size * m / (1 - beta1**t) / (sqrt(v) / sqrt(1 - beta2**t) + eps)
        yield p


def kate(p: float, gradients: Gradients, lr: float, delta: float, eps: float) -> Iterator[float]:
    m = b = 0.0
    for g in gradients:
        b += g * g + eps
        m += delta * g * g + g * g / b
        p -= lr / b * sqrt(m) * g
        yield p


def msvag(p: float, gradients: Gradients, lr: float, beta: float) -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m += (1 - beta) * (g - m)
        v += (1 - beta) * (g * g - v)
        mean, square = m / (1 - beta**t), v / (1 - beta**t)
        rho = (1 - beta) * (1 + beta**t) / ((1 + beta) * (1 - beta**t))
        rho = min(rho, 0.9999)
        variance = (square - mean * mean) / (1 - rho)
        factor = mean * mean / (mean * mean + rho * variance) if mean else 0.0
        p -= lr * min(max(factor, 0.0), 1.0) * mean
        yield p


def rmsprop_tf(
    p: float, gradients: Gradients, lr: float, alpha: float, momentum: float, eps: float
) -> Iterator[float]:
    square, buffer = 1.0, 0.0
    for g in gradients:
        square += (1 - alpha) * (g * g - square)
        buffer = buffer * momentum + lr * g / sqrt(square + eps)
        p -= buffer
        yield p


def innaprop(
    p: float,
    gradients: Gradients,
    lr: float,
    alpha: float,
    beta: float,
    sigma: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    v, psi = 0.0, (1 - alpha * beta) * p
    for t, g in enumerate(gradients, 1):
        p -= lr * weight_decay * p
        v += (1 - sigma) * (g * g - v)
        psi -= lr * (psi - p) / beta + lr * alpha * p
        pull = lr * ((1 - alpha * beta) * p - psi) / (beta - lr)
        p = p + pull - lr * beta * g / (sqrt(v / (1 - sigma**t)) + eps)
        yield p


def maxva(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta_low: float,
    beta_high: float,
    eps: float,
) -> Iterator[float]:
    m = u = v = w = 0.0
    for t, g in enumerate(gradients, 1):
        b = beta_high
        if t > 1:
            mean = u / w
            variance, deviation = v / w - mean * mean, (g - mean) * (g - mean)
            b = deviation + variance
            b /= w * (deviation - variance) + deviation + variance + 1e-16
            b = min(max(b, beta_low), beta_high)
        u += (1 - b) * (g - u)
        v += (1 - b) * (g * g - v)
        w += (1 - b) * (1 - w)
        m += (1 - beta1) * (g - m)
        p -= lr * m / (1 - beta1**t) / (sqrt(v / w) + eps)
        yield p
