"""accelerate: `prepare`, clipping, accumulated gradients, skipped steps, saved states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, GradientState, PartialState

from .support import assert_close, batches, by_class, line, made


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """The library keeps its settings for the whole process."""
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def run(
    name: str, mine: bool, folder: Path, precision: str, source: bool | None = None
) -> torch.nn.Module:
    """Eight batches, two for each step; the state is saved and loaded in the middle."""
    accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=2)
    first = mine if source is None else source

    def prepared(model: torch.nn.Module, mine: bool, lr: float) -> Any:
        optimizer = made(name, mine, model.parameters(), lr=lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return accelerator.prepare(model, optimizer, scheduler)

    model, optimizer, scheduler = prepared(line(), first, 0.01)
    for step, (x, y) in enumerate(batches(8)):
        with accelerator.accumulate(model):
            value = model(x)
            accelerator.backward(torch.nn.functional.mse_loss(value.float(), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            assert not optimizer.step_was_skipped
            scheduler.step()
            optimizer.zero_grad()
        if step == 3:
            accelerator.save_state(str(folder), safe_serialization=False)
            accelerator.free_memory()
            model, optimizer, scheduler = prepared(line(), mine, 5.0)
            accelerator.load_state(str(folder))
    unwrapped: torch.nn.Module = accelerator.unwrap_model(model)
    return unwrapped


@pytest.mark.parametrize("precision", ["no", "bf16"])
@by_class
def test_an_accelerator_trains_as_with_torchs_class(
    name: str, precision: str, tmp_path: Path
) -> None:
    mine = run(name, True, tmp_path / "a", precision)
    theirs = run(name, False, tmp_path / "b", precision)
    dtype = "bfloat16" if precision == "bf16" else "float32"
    assert_close(mine.parameters(), theirs.parameters(), 4, dtype)
    assert not torch.equal(next(mine.parameters()), line().weight)


@pytest.mark.parametrize("source", [True, False], ids=["ours to torch's", "torch's to ours"])
@by_class
def test_states_pass_between_the_classes(name: str, source: bool, tmp_path: Path) -> None:
    passed = run(name, not source, tmp_path / "a", "no", source=source)
    whole = run(name, False, tmp_path / "b", "no")
    assert_close(passed.parameters(), whole.parameters(), 4, "float32")


@pytest.mark.parametrize("clips", [False, True], ids=["", "clipped"])
@by_class
def test_skipped_steps_are_seen(name: str, clips: bool) -> None:
    """fp16 needs an accelerator there; its optimizer and a scaler work on the CPU as well."""
    Accelerator(cpu=True)
    found = []
    for mine in (True, False):
        model = line()
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**17)
        inner = made(name, mine, model.parameters())
        optimizer = AcceleratedOptimizer(inner, device_placement=False, scaler=scaler)
        skipped, before = [], [p.detach().clone() for p in model.parameters()]
        for x, y in batches(8):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                value = model(x)
            scaler.scale(torch.nn.functional.mse_loss(value.float(), y)).backward()
            if clips:
                scaler.unscale_(inner)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            skipped.append(optimizer.step_was_skipped)
            after = [p.detach().clone() for p in model.parameters()]
            stays = all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
            assert stays == skipped[-1]
            before = after
        found.append((skipped, list(model.parameters())))
    (skipped, p), (others, q) = found
    assert skipped == others
    assert 0 < sum(skipped) < 8
    assert_close(p, q, 8, "float16")
