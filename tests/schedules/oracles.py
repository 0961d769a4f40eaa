"""Every schedule of the catalogue by hand, from its paper or torch's documentation.

Each takes `e`, the number of steps that are done: 0 in the first one.
"""

from __future__ import annotations

import math


def constant(e: int, share: float, steps: float) -> float:
    return share if e < steps else 1.0


def linear(e: int, first: float, last: float, steps: float) -> float:
    weight = min(e / steps, 1.0)
    return first * (1 - weight) + last * weight


def warmup(e: int, steps: float) -> float:
    return (e + 1) / steps if e + 1 < steps else 1.0


def step_decay(e: int, steps: float, gamma: float) -> float:
    factor = 1.0
    for done in range(1, e + 1):
        if done % steps == 0:
            factor *= gamma
    return factor


def multistep(
    e: int, milestone1: float, milestone2: float, milestone3: float, gamma: float
) -> float:
    factor = 1.0
    for milestone in (milestone1, milestone2, milestone3):
        factor *= gamma if e >= milestone else 1.0
    return factor


def exponential(e: int, gamma: float) -> float:
    return math.exp(e * math.log(gamma))


def polynomial(e: int, steps: float, power: float, last: float) -> float:
    """Keras: `((initial - end)*(1 - step/decay_steps)**power) + end`."""
    return (1 - last) * math.pow(1 - min(e, steps) / steps, power) + last


def cosine(e: int, steps: float, last: float) -> float:
    """SGDR, Equation 5, with one cycle."""
    return last + 0.5 * (1 - last) * (1 + math.cos(math.pi * min(e / steps, 1)))


def cosine_restarts(e: int, steps: float, growth: float, last: float) -> float:
    """SGDR, Equation 5: the cycles are walked one by one."""
    current, length = float(e), steps
    while current >= length:
        current, length = current - length, length * growth
    return last + 0.5 * (1 - last) * (1 + math.cos(math.pi * current / length))


def inverse_sqrt(e: int, warmup: float) -> float:
    """Vaswani et al., Equation 3, over its largest value, which step `warmup` has."""
    size = 512

    def rate(step: float) -> float:
        return size**-0.5 * min(step**-0.5, step * warmup**-1.5)

    return rate(e + 1) / rate(warmup)


def one_cycle(e: int, steps: float, share: float, div: float, final: float) -> float:
    """torch's phases: `initial_lr = max_lr/div_factor`, `min_lr = initial_lr/final_div_factor`."""
    e, top = min(e, steps - 1), share * steps - 1

    def between(start: float, end: float, done: float) -> float:
        return end + (start - end) / 2 * (1 + math.cos(math.pi * done))

    if e <= top:
        return between(1 / div, 1, e / top)
    return between(1, 1 / div / final, (e - top) / (steps - 1 - top))


def trapezoid(e: int, steps: float, warmup: float, decay: float, last: float) -> float:
    """WSD: three cases of the step, as the paper writes them."""
    step = e + 1
    if step < warmup:
        return step / warmup
    if e <= steps - decay:
        return 1.0
    left = max(steps - e, 0) / decay
    return left + last * (1 - left)


def inverse_time(e: int, decay: float) -> float:
    """Keras: `lr * (1. / (1. + self.decay * K.cast(self.iterations, K.dtype(self.decay))))`."""
    return 1.0 / (1.0 + decay * e)


def warmup_cosine(e: int, steps: float, warmup: float, last: float) -> float:
    """transformers, whose `current_step` is one less: `max(0, 0.5*(1 + cos(pi*progress)))`."""
    step = e + 1
    if step < warmup:
        return step / warmup
    progress = min((step - warmup) / (steps - warmup), 1.0)
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress))
