"""Optimizers whose hyperparameters have a schedule: their steps, and what they stand for."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import ROOT, module, numpy_of, stock

from stepforge.backends.render import render
from stepforge.language.diagnostics import SpecError
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower
from stepforge.output import emit
from stepforge.project.loading import load, loads

from . import oracles

FILE = ROOT / "tests" / "correct_specs" / "scheduled_rate.toml"
ABOUT = 'name = "mine"\ntitle = "Example"\nsummary = "Steps."\nreference = "None"\n'
COSINE = '[hyperparameters]\nlr = { schedule = "cosine", with = { steps = 20, last = 0.1 } }\n'


def walk(spec: Spec, steps: int, values: Any) -> list[np.ndarray]:
    """The parameters after every step, with the hyperparameters that `values` has for it."""
    made, rng = numpy_of(spec), np.random.default_rng(5)
    p = rng.standard_normal(8)
    state, found = made.init(p), []
    for t in range(1, steps + 1):
        p, state = made.step(p, rng.standard_normal(8), state, t, **values(t))
        found.append(p)
    return found


def test_steps_are_those_of_the_formula_by_hand() -> None:
    """Momentum with the learning rate and the momentum that the papers' formulas give."""
    spec, rng = load(FILE)[0], np.random.default_rng(5)
    p, m = rng.standard_normal(8), np.zeros(8)
    for t, found in enumerate(walk(spec, 70, lambda _: {}), 1):
        m = (0.9 / 3 if t <= 5 else 0.9) * m + rng.standard_normal(8)
        p = p - 0.1 * oracles.warmup_cosine(t - 1, 50, 5, 0) * m
        np.testing.assert_allclose(found, p, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("head", ['use = ["clip_by_value", "adamw"]', 'base = "adamw"'])
def test_a_step_has_the_bits_of_the_optimizer_with_the_value_of_the_step(head: str) -> None:
    """Dialects and pipelines have schedules, too, here that of every line that reads `lr`."""
    plain = loads(f"{ABOUT}{head}\n")[0]
    made = loads(f"{ABOUT}{head}\n{COSINE}")[0]
    factor = module(render(lower(stock("cosine")), "numpy"), "cosine").factor

    def rate(t: int) -> dict[str, float]:
        return {"lr": 0.01 * factor(t, steps=20, last=0.1)}

    pairs = zip(walk(made, 30, lambda _: {"lr": 0.01}), walk(plain, 30, rate), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_a_dialect_may_stand_on_a_spec_with_a_schedule(tmp_path: Path) -> None:
    below = tmp_path / "scheduled_rate.toml"
    below.write_text(FILE.read_text())
    spec = loads(f'{ABOUT}base = "{below}"\n[hyperparameters]\nlr_steps = {{ default = 9 }}\n')[0]
    assert {h.name: h.default for h in spec.hyperparameters}["lr_steps"] == 9
    with pytest.raises(SpecError, match="needs the name `lr_steps`"):
        loads(f'{ABOUT}base = "{below}"\n[hyperparameters]\nlr = {{ schedule = "cosine" }}\n')


def test_the_plain_spec_is_one_by_itself() -> None:
    spec = load(FILE)[0]
    assert loads(spec.source.text)[0] == spec
    assert "schedule" not in spec.source.data["hyperparameters"]["lr"]
    assert [constraint.text for constraint in spec.together] == ["lr_warmup < lr_steps"]


def test_a_class_takes_the_schedule_by_group_and_keeps_it_in_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups with runs of different length, one of them from a checkpoint on."""
    spec = load(FILE)[0]
    emit.apply(emit.changes([spec], tmp_path / "built_with_schedule", whole=True))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    own = importlib.import_module("built_with_schedule.torch").ScheduledRate

    # With counters on the device, the numbers of all tensors are computed there.
    values = {h.name: torch.tensor(h.default, dtype=torch.float64) for h in spec.hyperparameters}
    counters = torch.arange(1, 71, dtype=torch.float64)
    _, rates = own._numbers({}, counters, values)
    right = [0.1 * oracles.warmup_cosine(e, 50, 5, 0) for e in range(70)]
    np.testing.assert_allclose(rates.numpy(), right, rtol=1e-12, atol=1e-16)

    def groups() -> list[Any]:
        return [
            {"params": [torch.nn.Parameter(torch.ones(2, dtype=torch.float64))], "lr_steps": n}
            for n in (8, 40)
        ]

    optimizer = own(groups(), beta=0)
    for t in range(1, 13):
        before = [group["params"][0].detach().clone() for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(2, dtype=torch.float64)
        optimizer.step()
        for group, start, steps in zip(optimizer.param_groups, before, (8, 40), strict=True):
            moved = (start - group["params"][0].detach()).numpy()
            right = 0.1 * oracles.warmup_cosine(t - 1, steps, 5, 0)
            np.testing.assert_allclose(moved, right, atol=1e-14)
        if t == 6:
            loaded = own(groups())
            for group, old in zip(loaded.param_groups, optimizer.param_groups, strict=True):
                group["params"][0].data.copy_(old["params"][0].data)
            loaded.load_state_dict(optimizer.state_dict())
            optimizer = loaded
    with pytest.raises(ValueError, match="lr_warmup < lr_steps"):
        own(groups(), lr_warmup=60)
