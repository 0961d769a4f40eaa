"""Adam and its kin: a first moment, divided by the root of a second one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import atan2, exp, sqrt

Gradients = Sequence[float]


class _Average:
    """A moving average from 0, with and without correction of its bias."""

    def __init__(self, beta: float) -> None:
        self.beta, self.raw, self.steps = beta, 0.0, 0

    def add(self, x: float) -> float:
        self.raw += (1 - self.beta) * (x - self.raw)
        self.steps += 1
        return self.raw

    @property
    def corrected(self) -> float:
        return self.raw / (1 - self.beta**self.steps) if self.steps else 0.0


def adan(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps: float,
    weight_decay: float,
    no_prox: bool = False,
) -> Iterator[float]:
    m, v, n = _Average(beta1), _Average(beta2), _Average(beta3)
    earlier = gradients[0]
    for g in gradients:
        m.add(g)
        v.add(g - earlier)
        n.add((g + beta2 * (g - earlier)) ** 2)
        earlier = g
        denominator = sqrt(n.corrected) + eps
        if no_prox:
            p -= lr * weight_decay * p
        p -= lr * m.corrected / denominator + lr * beta2 * v.corrected / denominator
        if not no_prox:
            p /= 1 + lr * weight_decay
        yield p


def adabelief(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, s = 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m += (1 - beta1) * (g - m)
        s = s * beta2 + (1 - beta2) * (g - m) * (g - m)
        s += eps
        p -= lr / (1 - beta1**t) * m / (sqrt(s) / sqrt(1 - beta2**t) + eps)
        yield p


def yogi(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    initial: float,
) -> Iterator[float]:
    m = v = initial
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        if g * g > v:
            v += (1 - beta2) * g * g
        elif g * g < v:
            v -= (1 - beta2) * g * g
        p -= lr / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)
        yield p


def amsgrad(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v, largest = _Average(beta1), _Average(beta2), 0.0
    for g in gradients:
        largest = max(largest, sqrt(v.add(g * g)))
        p -= lr * m.add(g) / (largest + eps)
        yield p


def qhadam(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    nu1: float,
    nu2: float,
    eps: float,
) -> Iterator[float]:
    """The authors' code: weights that make the averages unbiased from the first step."""
    weight1 = weight2 = average = average_square = 0.0
    for g in gradients:
        weight1 = 1 + beta1 * weight1
        weight2 = 1 + beta2 * weight2
        average = (1 - 1 / weight1) * average + 1 / weight1 * g
        average_square = (1 - 1 / weight2) * average_square + 1 / weight2 * g * g
        root = sqrt(average_square * nu2 + g * g * (1 - nu2)) + eps
        p += -lr * nu1 * average / root - lr * (1 - nu1) * g / root
        yield p


def adopt(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    v, m = gradients[0] ** 2, 0.0
    yield p
    for step, g in enumerate(gradients[1:], 1):
        p -= lr * weight_decay * p
        limit = step**0.25
        normalized = min(max(g / max(sqrt(v), eps), -limit), limit)
        m += (1 - beta1) * (normalized - m)
        p -= lr * m
        v += (1 - beta2) * (g * g - v)
        yield p


def ademamix(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    fast, v, slow = _Average(beta1), _Average(beta2), _Average(beta3)
    for g in gradients:
        for average, x in ((fast, g), (v, g * g), (slow, g)):
            average.add(x)
        update = (fast.corrected + alpha * slow.raw) / (sqrt(v.corrected) + eps)
        p -= lr * (weight_decay * p + update)
        yield p


def simplified_ademamix(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    alpha: float,
    eps: float,
) -> Iterator[float]:
    total, v = 0.0, _Average(beta2)
    for g in gradients:
        total = total * beta1 + g
        v.add(g * g)
        p -= lr * (g * alpha + total) / (sqrt(v.corrected) + eps)
        yield p


def kahan_adamw(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m, v, due = _Average(beta1), _Average(beta2), 0.0
    for g in gradients:
        m.add(g)
        v.add(g * g)
        due -= lr * (m.corrected / (sqrt(v.corrected) + eps) + weight_decay * p)
        after = p + due
        due -= after - p
        p = after
        yield p


def laprop(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for g in gradients:
        v.add(g * g)
        m.add(g / (sqrt(v.corrected) + eps))
        p -= lr * m.corrected
        yield p


def adabound(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    final_lr: float,
    base_lr: float,
    gamma: float,
    amsbound: bool = False,
) -> Iterator[float]:
    m, v, largest = _Average(beta1), _Average(beta2), 0.0
    for t, g in enumerate(gradients, 1):
        m.add(g)
        largest = max(v.add(g * g), largest)
        root = sqrt(largest if amsbound else v.raw) + eps
        size = lr * sqrt(1 - beta2**t) / (1 - beta1**t) / root
        final = final_lr * lr / base_lr
        lower = final * (1 - 1 / (gamma * t + 1))
        upper = final * (1 + 1 / (gamma * t))
        p -= min(max(size, lower), upper) * m.raw
        yield p


def padam(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float, q: float
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for t, g in enumerate(gradients, 1):
        m.add(g)
        root = sqrt(v.add(g * g)) + eps
        p -= lr * sqrt(1 - beta2**t) * m.corrected * root ** (-q) / root**q
        yield p


def adamod(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps: float,
) -> Iterator[float]:
    m, v, sizes = _Average(beta1), _Average(beta2), _Average(beta3)
    for t, g in enumerate(gradients, 1):
        m.add(g)
        v.add(g * g)
        size = lr * sqrt(1 - beta2**t) / ((1 - beta1**t) * (sqrt(v.raw) + eps))
        p -= min(size, sizes.add(size)) * m.raw
        yield p


def diffgrad(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v, earlier = _Average(beta1), _Average(beta2), 0.0
    for t, g in enumerate(gradients, 1):
        m.add(g)
        v.add(g * g)
        change = abs(earlier - g)
        friction = exp(change) / (1 + exp(change))
        p -= lr * friction * m.corrected * sqrt(1 - beta2**t) / (sqrt(v.raw) + eps)
        earlier = g
        yield p


def grams(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for g in gradients:
        m.add(g)
        v.add(g * g)
        p *= 1 - lr * weight_decay
        size = lr * abs(m.corrected) / (sqrt(v.corrected) + eps)
        p += -size if g > 0 else size if g < 0 else 0
        yield p


def _nesterov(m: _Average, g: float) -> float:
    """The first moment as it will be when the next gradient is 0, corrected, and the gradient."""
    beta, t = m.beta, m.steps
    return beta * m.raw / (1 - beta ** (t + 1)) + (1 - beta) / (1 - beta**t) * g


def nadamw(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for g in gradients:
        m.add(g)
        v.add(g * g)
        p -= lr * weight_decay * p + lr * _nesterov(m, g) / (sqrt(v.corrected) + eps)
        yield p


def optimistic_adam(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v, earlier = _Average(beta1), _Average(beta2), None
    for g in gradients:
        m.add(g)
        v.add(g * g)
        update = _nesterov(m, g) / (sqrt(v.corrected) + eps)
        p -= lr * update
        if earlier is not None:
            p -= lr * (update - earlier)
        earlier = update
        yield p


def adamaxw(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[float]:
    m, norms = _Average(beta1), []
    for g in gradients:
        m.add(g)
        norms = [beta2 * norm for norm in norms] + [abs(g) + eps]
        p += -lr * weight_decay * p - lr * m.corrected / max(0.0, *norms)
        yield p


def exadam(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for t, g in enumerate(gradients, 1):
        m.add(g)
        v.add(g * g)
        m_tilde = m.corrected * (1 + v.raw / (v.raw + eps) * beta2**t)
        v_tilde = v.corrected * (1 + m.raw**2 / (m.raw**2 + eps) * beta1**t)
        g_tilde = g / (1 - beta1**t) * (1 + v.raw / (v.raw + eps) * beta2**t)
        p -= lr * (m_tilde + g_tilde) / (sqrt(v_tilde) + eps)
        yield p


def grokfast_adamw(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    alpha: float,
    amplification: float,
) -> Iterator[float]:
    m, v, slow = _Average(beta1), _Average(beta2), gradients[0]
    for t, g in enumerate(gradients, 1):
        slow += (1 - alpha) * (g - slow)
        g += amplification * slow
        m.add(g)
        v.add(g * g)
        p -= lr * weight_decay * p
        p -= lr * m.corrected / max(sqrt(v.raw) / sqrt(1 - beta2**t), eps)
        yield p


def adam_atan2(
    p: float,
    gradients: Gradients,
    lr: float,
    beta1: float,
    beta2: float,
    a: float,
    b: float,
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for g in gradients:
        m.add(g)
        v.add(g * g)
        p -= lr * a * atan2(m.corrected, b * sqrt(v.corrected))
        yield p


def eadam(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v = _Average(beta1), 0.0
    for t, g in enumerate(gradients, 1):
        m.add(g)
        v = v * beta2 + g * g * (1 - beta2) + eps
        p -= lr * m.corrected / sqrt(v / (1 - beta2**t))
        yield p


def adamd(
    p: float, gradients: Gradients, lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[float]:
    m, v = _Average(beta1), _Average(beta2)
    for t, g in enumerate(gradients, 1):
        root = sqrt(v.add(g * g) / (1 - beta2**t))
        p -= lr * m.add(g) / (root + eps / sqrt(1 - beta2**t))
        yield p
