"""Lightning: its Trainer and its Fabric, in every precision that a CPU has, with clipping."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision as FabricMixedPrecision
from lightning.pytorch.plugins import MixedPrecision

from .support import assert_close, batches, by_class, line, made

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GRADIENTS = {
    "64-true": "float64",
    "32-true": "float32",
    "bf16-mixed": "bfloat16",
    "16-mixed": "float16",
}
by_precision = pytest.mark.parametrize("precision", GRADIENTS)
by_clipping = pytest.mark.parametrize("clipping", [None, "norm", "value"])
INITIAL_SCALE = 2.0**17
"""So large that the first steps find infinities and are skipped."""


class Module(lightning.LightningModule):
    """A line that is fitted."""

    def __init__(self, name: str, mine: bool, precision: str = "", **more: Any) -> None:
        super().__init__()
        # A checkpoint is loaded before the Trainer makes the module float64.
        self.line = line(torch.float64 if precision == "64-true" else torch.float32)
        self.made = (name, mine, more)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        x, y = batch
        return torch.nn.functional.mse_loss(self.line(x.to(self.line.weight.dtype)), y.to(x.dtype))

    def configure_optimizers(self) -> Any:
        name, mine, more = self.made
        optimizer = made(name, mine, self.parameters(), **more)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def plugins(precision: str) -> dict[str, Any]:
    """Lightning turns 16-mixed on a CPU into bf16-mixed, unless it is given the plugin."""
    if precision == "16-mixed":
        scaler = torch.amp.GradScaler("cpu", init_scale=INITIAL_SCALE)
        return {"plugins": [MixedPrecision("16-mixed", device="cpu", scaler=scaler)]}
    return {"precision": precision}


def fit(
    module: Module, folder: Path, precision: str, clipping: str | None, steps: int, **more: Any
) -> lightning.Trainer:
    given: dict[str, Any] = {}
    if clipping:
        given = {"gradient_clip_val": 0.5, "gradient_clip_algorithm": clipping}
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **plugins(precision),
        **given,
    )
    loader = torch.utils.data.DataLoader(16 * batches(1), batch_size=None)  # it is resumed anywhere
    trainer.fit(module, loader, **more)
    return trainer


@by_clipping
@by_precision
@by_class
def test_a_trainer_trains_as_with_torchs_class(
    name: str, precision: str, clipping: str | None, tmp_path: Path
) -> None:
    found = []
    for mine in (True, False):
        module = Module(name, mine)
        trainer = fit(module, tmp_path, precision, clipping, 8)
        assert trainer.precision_plugin.precision == precision
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        found.append((list(module.parameters()), scaler and scaler.get_scale()))
    (p, scale), (q, other) = found
    assert_close(p, q, 8, GRADIENTS[precision])
    assert scale == other
    if precision == "16-mixed":
        assert scale < INITIAL_SCALE  # some steps were skipped
    assert not torch.equal(p[0].float(), line().weight)


@pytest.mark.parametrize("source", ["ours", "torch's"])
@by_precision
@by_class
def test_a_trainer_resumes_from_a_checkpoint(
    name: str, precision: str, source: str, tmp_path: Path
) -> None:
    whole = Module(name, True, precision)
    fit(whole, tmp_path, precision, "norm", 8)
    half = Module(name, source == "ours", precision)
    trainer = fit(half, tmp_path, precision, "norm", 4)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed = Module(name, True, precision, lr=0.5)
    fit(resumed, tmp_path, precision, "norm", 8, ckpt_path=tmp_path / "half.ckpt")
    if source == "ours":
        for p, q in zip(resumed.parameters(), whole.parameters(), strict=True):
            assert torch.equal(p, q)
    assert_close(resumed.parameters(), whole.parameters(), 8, GRADIENTS[precision])


@by_class
def test_torchs_class_resumes_from_our_checkpoint(name: str, tmp_path: Path) -> None:
    whole = Module(name, False, "64-true")
    fit(whole, tmp_path, "64-true", "norm", 8)
    half = Module(name, True, "64-true")
    fit(half, tmp_path, "64-true", "norm", 4).save_checkpoint(tmp_path / "half.ckpt")
    resumed = Module(name, False, "64-true", lr=0.5)
    fit(resumed, tmp_path, "64-true", "norm", 8, ckpt_path=tmp_path / "half.ckpt")
    assert_close(resumed.parameters(), whole.parameters(), 8, "float64")


def fabric(precision: str) -> Fabric:
    if precision == "16-mixed":
        scaler = torch.amp.GradScaler("cpu", init_scale=INITIAL_SCALE)
        plugin = FabricMixedPrecision("16-mixed", device="cpu", scaler=scaler)
        return Fabric(accelerator="cpu", devices=1, plugins=[plugin])
    return Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]


@by_clipping
@by_precision
@by_class
def test_fabric_trains_as_with_torchs_class(
    name: str, precision: str, clipping: str | None, tmp_path: Path
) -> None:
    found = []
    for mine in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner = fabric(precision)
        bare = line()
        model, optimizer = runner.setup(bare, made(name, mine, bare.parameters()))
        for step, (x, y) in enumerate(batches(8)):
            optimizer.zero_grad()
            value = model(x)
            runner.backward(torch.nn.functional.mse_loss(value, y.to(value.dtype)))
            if clipping == "norm":
                runner.clip_gradients(model, optimizer, max_norm=0.5, error_if_nonfinite=False)
            elif clipping == "value":
                runner.clip_gradients(model, optimizer, clip_val=0.5)
            optimizer.step()
            if step == 4:
                state = {"model": model, "optimizer": optimizer}
                runner.save(tmp_path / "fabric.ckpt", state)
                bare = line()
                model, optimizer = runner.setup(bare, made(name, mine, bare.parameters(), lr=9.0))
                runner.load(tmp_path / "fabric.ckpt", {"model": model, "optimizer": optimizer})
        found.append(bare)
    assert_close(found[0].parameters(), found[1].parameters(), 8, GRADIENTS[precision])
    assert not torch.equal(found[0].weight.float(), line().weight)
