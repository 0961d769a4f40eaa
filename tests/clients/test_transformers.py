"""transformers' Trainer with a tiny model of random numbers; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from .support import ARGUMENTS, by_class, made, ours

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Texts(torch.utils.data.Dataset[Any]):
    """Rows of random tokens."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        tokens = torch.randint(0, 32, (8,), generator=generator)
        return {"input_ids": tokens, "labels": tokens}


def model() -> GPT2LMHeadModel:
    set_seed(0)
    config = GPT2Config(
        vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2, n_inner=32,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double()


def trained(
    name: str, mine: bool, folder: Path, steps: int, *, as_class: bool = False, resumes: Any = None
) -> GPT2LMHeadModel:
    """The model behind so many steps; a checkpoint is written every third."""
    network = model()
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, max_steps=steps, save_steps=3, report_to=[],
        per_device_train_batch_size=4, learning_rate=0.01, warmup_steps=2, max_grad_norm=0.5,
        lr_scheduler_type="cosine", disable_tqdm=True, logging_strategy="no", seed=0,
        gradient_accumulation_steps=2, dataloader_num_workers=0,
    )  # fmt: skip
    given: dict[str, Any] = {}
    if as_class:
        optimizer = getattr(ours if mine else torch.optim, name)
        given["optimizer_cls_and_kwargs"] = (optimizer, dict(ARGUMENTS[name]))
    else:
        given["optimizers"] = (made(name, mine, network.parameters()), None)
    trainer = Trainer(model=network, args=arguments, train_dataset=Texts(), **given)
    trainer.train(resume_from_checkpoint=resumes)
    assert trainer.state.global_step == steps
    return network


def assert_same_model(a: GPT2LMHeadModel, b: GPT2LMHeadModel) -> None:
    """In float64, to the tolerance of rounding errors that a few steps amplify."""
    start, others = model().state_dict(), b.state_dict()
    for name, p in a.state_dict().items():
        trained = torch.ones(p.shape[-1], dtype=torch.bool)
        if name.endswith("attn.c_attn.bias"):
            trained[16:32] = False  # the bias of the keys: its gradient is rounding alone
        mine, theirs = p[..., trained], others[name][..., trained]
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-8)
        assert not torch.equal(mine, start[name][..., trained]), name


@pytest.mark.parametrize("as_class", [False, True], ids=["an instance", "a class"])
@by_class
def test_a_trainer_trains_as_with_torchs_class(name: str, as_class: bool, tmp_path: Path) -> None:
    mine = trained(name, True, tmp_path / "a", 5, as_class=as_class)
    theirs = trained(name, False, tmp_path / "b", 5, as_class=as_class)
    assert_same_model(mine, theirs)


@pytest.mark.parametrize("source", ["ours", "torch's"])
@by_class
def test_a_trainer_resumes_from_a_checkpoint(name: str, source: str, tmp_path: Path) -> None:
    whole = trained(name, True, tmp_path / "whole", 6)
    folder = tmp_path / "saved"
    trained(name, source == "ours", folder, 6)
    resumed = trained(name, True, folder, 6, resumes=str(folder / "checkpoint-3"))
    assert_same_model(resumed, whole)
    if source == "ours":
        for p, q in zip(resumed.parameters(), whole.parameters(), strict=True):
            assert torch.equal(p, q)
