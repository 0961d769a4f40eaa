"""Classes of specs that torch does not have: names, arguments and types."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small

from stepforge.backends.render import render
from stepforge.backends.torch import class_name
from stepforge.language.reader import load, loads
from stepforge.lowering.lower import lower
from stepforge.output import emit
from stepforge.verify.run.tasks import rungs

from .support import ours


@pytest.mark.parametrize(
    ("title", "table", "expected"),
    [
        ("AdaBelief", "", "AdaBelief"),
        ("Ada Belief", "", "MyOwn"),
        ("adaBelief", "", "MyOwn"),
        ("None", "", "MyOwn"),
        ("Ada Belief", 'class = "AdaBelief"', "AdaBelief"),
        ("AdaBelief", 'arguments = { rate = "lr" }', "AdaBelief"),
        ("AdaBelief", 'class = "SGD"', "AdaBelief"),
        ("Ada Belief", 'class = "SGD"', "MyOwn"),
    ],
)
def test_a_class_is_called_as_its_author_says(title: str, table: str, expected: str) -> None:
    """Torch's names are for torch's classes; a spec that is compared with one has its own."""
    text = small("p = p - lr*g", name="my_own", title=title).source.text
    spec = loads(f"{text}[torch]\n{table}\n" if table else text)[0]
    assert class_name(spec) == expected
    assert spec.torch_class == ("SGD" if "SGD" in table else "")
    assert ("R8" in [rung.number for rung in rungs(spec)]) == ("SGD" in table)
    assert f"class {expected}(Optimizer):" in render(lower(spec), "torch")


THREE = """
c = beta1*m + (1 - beta1)*g
u = beta3*u + (1 - beta3)*g**2
p = p - lr*c/(sqrt(u) + eps)
m = beta2*m + (1 - beta2)*g
"""


def own_class(text: str, name: str, folder: Path) -> Any:
    """The class of a spec that somebody has written."""
    (folder / f"{name}.toml").write_text(text)
    spec = load(folder / f"{name}.toml")[0]
    emit.apply(emit.changes([spec], folder / f"built_{name}", whole=True))
    (folder / f"built_{name}" / "__init__.py").touch()
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(f"built_{name}.torch")
    finally:
        sys.path.remove(str(folder))
    return getattr(module, class_name(spec))


def test_betas_are_one_argument_for_every_class_and_cycle(tmp_path: Path) -> None:
    """`OneCycleLR` and `CyclicLR` look for `betas`, and move the first of them."""
    text = small(THREE, name="three", title="Three", state={"m": "", "u": 'domain = "u >= 0"'},
                 hyperparameters=("lr", "beta1", "beta2", "beta3", "eps")).source.text  # fmt: skip
    three = own_class(text, "three", tmp_path)
    for kind, betas in ((ours.Lion, (0.9, 0.99)), (ours.AdamW, (0.9, 0.999)), (three, (0.5,) * 3)):
        for make in (
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=6),
            lambda o: torch.optim.lr_scheduler.CyclicLR(o, 1e-4, 1e-2, step_size_up=2),
        ):
            p = torch.nn.Parameter(torch.ones(3))
            optimizer = kind([p])
            assert optimizer.defaults["betas"] == betas
            schedule = make(optimizer)
            firsts = set()
            for _ in range(4):
                p.grad = torch.ones(3)
                optimizer.step()
                schedule.step()
                firsts.add(optimizer.param_groups[0]["betas"][0])
                assert optimizer.param_groups[0]["betas"][1:] == betas[1:]
            assert len(firsts) > 2
    for name, value in [("foreach", True), ("fused", True), ("capturable", False)]:
        assert three([p], **{name: value}).param_groups[0][name] is value
    with pytest.raises(ValueError, match="Three has maximize=False, not True"):
        three([p], maximize=True)
    with pytest.raises(ValueError, match=r"betas must be 3 numbers \(beta1, beta2, beta3\), not"):
        three([p], betas=(0.9, 0.99))


def test_scalar_states_of_a_rule_are_float64(tmp_path: Path) -> None:
    """As the rule has them; 16 bits and 2**24 do not stop them."""
    spec = small("k = k + 1\np = p - lr*g/k", name="count", title="Count",
                 state={"k": "scalar = true"})  # fmt: skip
    count = own_class(spec.source.text, "count", tmp_path)
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    p.grad = torch.ones_like(p)
    optimizer = count([p])
    optimizer.step()
    assert optimizer.state[p]["k"].dtype == torch.float64
    saved = optimizer.state_dict()
    saved["state"][0]["k"] = torch.tensor(float(1 << 24))
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.state[p]["k"] == (1 << 24) + 1
