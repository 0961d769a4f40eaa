"""Compensated updates of 16-bit parameters, against the same written with torch's bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from support import ROOT, numpy_of, stock

from stepforge.project.loading import load

STEPS = 1000
LR, ULP = 1e-4, 2.0**-8
"""A step, and the distance of bfloat16 numbers just below 1."""


def gradients(count: int) -> np.ndarray:
    random = np.random.default_rng(4)
    return (1 + 0.5 * random.standard_normal((STEPS, count))).astype(ml_dtypes.bfloat16)


def walk(name: str, p: np.ndarray, **values: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    own = ROOT / "tests" / "correct_specs" / f"{name}.toml"
    numpy = numpy_of(load(own)[0] if own.is_file() else stock(name))
    state = numpy.init(p)
    for t, g in enumerate(gradients(p.size), 1):
        p, state = numpy.step(p, g.astype(p.dtype), state, t, lr=LR, **values)
    return p, state


def by_hand(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """AdamW with Kahan summation of bfloat16 parameters, without weight decay."""
    m, v = torch.zeros(p.shape), torch.zeros(p.shape)
    c = torch.zeros(p.shape, dtype=torch.bfloat16)
    for t, g in enumerate(gradients(p.numel()), 1):
        grad = torch.from_numpy(g.astype(np.float32))
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * grad * grad
        update = LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        due = c.float() - update
        new = (p.float() + due).to(torch.bfloat16)
        c = (due - (new.float() - p.float())).to(torch.bfloat16)
        p = new
    return p, c


def test_steps_far_below_the_distance_of_numbers_move_p_as_float32_does() -> None:
    one = np.ones(50, ml_dtypes.bfloat16)
    stuck, _ = walk("adamw", one, weight_decay=0)
    assert (stuck == 1).all()
    wide, _ = walk("adamw", one.astype(np.float32), weight_decay=0)
    assert (wide < 1 - 10 * ULP).all()
    p, state = walk("kahan_adamw", one, weight_decay=0)
    assert p.dtype == state["c"].dtype == ml_dtypes.bfloat16
    assert (np.abs(p.astype(np.float32) - wide) <= ULP).all()
    # With what is still due, the sum is much nearer than p alone can be.
    total = p.astype(np.float64) + state["c"].astype(np.float64)
    assert (np.abs(total - wide) <= ULP / 8).all()


def test_compensated_updates_are_those_written_by_hand() -> None:
    p, state = walk("kahan_adamw", np.ones(50, ml_dtypes.bfloat16), weight_decay=0)
    wanted, due = by_hand(torch.ones(50, dtype=torch.bfloat16))
    total = p.astype(np.float64) + state["c"].astype(np.float64)
    by_torch = wanted.double().numpy() + due.double().numpy()
    np.testing.assert_allclose(total, by_torch, atol=ULP / 64)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_split_master_weights_are_a_number_of_more_digits(dtype: type) -> None:
    one = np.ones(20, dtype)
    p, state = walk("split_master", one, momentum=0.5)
    assert p.dtype == state["low"].dtype == dtype
    master = np.ones(20)
    v = np.zeros(20)
    for g in gradients(20):
        v = 0.5 * v + g.astype(np.float64)
        master -= LR * v
    total = p.astype(np.float64) + state["low"].astype(np.float64)
    # The low part has an eighth of the parameter's digits to the power of two again.
    unit = float(ml_dtypes.finfo(dtype).eps)
    assert (np.abs(total - master) <= STEPS * unit * unit / 4 + 1e-6 * STEPS).all()
    assert (np.abs(state["low"].astype(np.float64)) <= unit / 2).all()


def test_wider_parameters_are_not_rounded() -> None:
    for dtype in (np.float32, np.float64):
        p, state = walk("split_master", np.ones(20, dtype), momentum=0.5)
        assert p.dtype == state["low"].dtype == dtype
        assert (state["low"] == 0).all()
