"""R8 tells the formula that goes by a name from its neighbours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from support import ROOT, STOCK, stock

from stepforge.project.loading import load
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status
from stepforge.verify.rungs import third_party
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from verify.support import build, here

WITH_TORCH = [name for name in STOCK if stock(name).torch_class]


@pytest.fixture(autouse=True)
def _default_type() -> object:
    import torch

    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", WITH_TORCH)
def test_hundred_steps_of_torch_agree_in_parameters_and_states(name: str) -> None:
    """With the default options, and with all of them the other way."""
    spec = stock(name)
    sets = list(spec.option_sets())
    for options in (sets[0], sets[-1]):
        verdict = here("R8", spec, ROOT / "generated", options, seed=3)
        assert verdict.status is Status.TESTED, verdict
        tensors = 1 + len(spec.active_states(options))
        assert verdict.values > 100 * third_party.DRAWS * 48 * (tensors - 1)


def test_the_catalogue_maps_the_nine_classes_of_torch() -> None:
    classes = {stock(name).torch.class_name for name in WITH_TORCH}  # type: ignore[union-attr]
    assert classes == {
        "SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam",
    }  # fmt: skip


NEIGHBOURS = {
    # Shipped bugs: eps before the bias correction, decay of the gradient, decay after the step.
    "eps scaled by the bias correction": (
        "v_hat = 1/(1 - beta2**t) * (v_max if amsgrad else v)\n"
        "p = p - lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps)",
        "v_hat = v_max if amsgrad else v\n"
        "p = p - lr*sqrt(1 - beta2**t)/(1 - beta1**t) * m / (sqrt(v_hat) + eps)",
    ),
    "eps inside the root": ("(sqrt(v_hat) + eps)", "sqrt(v_hat + eps)"),
    "decay through the gradient": ("p = p - lr*weight_decay*p\n", "g = g + weight_decay*p\n"),
    "maximum of the corrected moment": (
        "    v_max = max(v_max, v)\nv_hat = 1/(1 - beta2**t) * (v_max if amsgrad else v)",
        "    v_max = max(v_max, v/(1 - beta2**t))\nv_hat = v_max if amsgrad else v/(1 - beta2**t)",
    ),
    "correction one step late": ("(1 - beta2**t)", "(1 - beta2**(t + 1))"),
}


@pytest.mark.parametrize("what", NEIGHBOURS)
def test_a_neighbour_of_adamw_is_refuted(what: str, tmp_path: Path) -> None:
    old, new = NEIGHBOURS[what]
    text = (ROOT / "specs" / "adamw.toml").read_text()
    assert old in text
    path = build(text.replace(old, new), tmp_path)
    options = {"amsgrad": "maximum" in what, "maximize": False}
    verdict = here("R8", load(path)[0], tmp_path / "generated", options, seed=0)
    assert verdict.status is Status.REFUTED
    assert "torch.optim.AdamW" in verdict.detail
    assert verdict.counterexample is not None
    assert "(torch)" in verdict.counterexample.expected


def test_a_decay_of_zero_that_is_multiplied_is_refuted(tmp_path: Path) -> None:
    """An infinite parameter becomes NaN by it, which torch's class leaves alone."""
    text = (ROOT / "specs" / "adam.toml").read_text()
    guard = "    if weight_decay != 0:\n        g = g"
    assert guard in text
    path = build(text.replace(guard, "    g = g"), tmp_path)
    spec = load(path)[0]
    verdict = here("R8", spec, tmp_path / "generated", next(spec.option_sets()), seed=0)
    assert verdict.status is Status.REFUTED
    assert verdict.counterexample is not None
    assert "inf" in verdict.counterexample.inputs["p"]


def test_a_state_under_the_wrong_name_is_refuted(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "adamw.toml").read_text()
    path = build(text.replace('m = "exp_avg"', 'm = "momentum"'), tmp_path)
    options = {"amsgrad": False, "maximize": False}
    verdict = here("R8", load(path)[0], tmp_path / "generated", options, seed=0)
    assert verdict.status is Status.REFUTED
    assert "no state for `m`" in verdict.detail


def test_without_torch_the_rung_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    spec = stock("adamw")
    work = Task(RUNGS["R8"], spec, next(spec.option_sets()), ROOT / "generated", 0)
    for verdict in (verify.run(work), third_party.check(work)):  # the second one cannot import it
        assert verdict.status is Status.UNSUPPORTED
        assert verdict.detail == "torch is not installed: pip install torch"


def test_a_class_that_this_torch_does_not_have_is_unsupported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with an older torch."""
    monkeypatch.delattr(torch.optim, "AdamW")
    spec = stock("adamw")
    verdict = here("R8", spec, ROOT / "generated", next(spec.option_sets()), seed=0)
    assert verdict.status is Status.UNSUPPORTED
    assert "has no torch.optim.AdamW" in verdict.detail
