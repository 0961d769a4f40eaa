"""Classes of specs that torch does not have: names, arguments and types."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import ROOT, small, stock

from stepforge.backends.render import render
from stepforge.backends.torch_class import class_name
from stepforge.language.reader import loads
from stepforge.lowering.lower import lower
from stepforge.output import emit
from stepforge.project.loading import load
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


ROLES = """\
name = "{name}"
title = "{title}"
summary = "Signs with other names."
reference = "Nobody"
[hyperparameters]
{rate} = {{ default = 0.1, domain = "{rate} >= 0", doc = "Rate." }}
delta = {{ default = 1e-3, domain = "delta > 0", doc = "Added." }}
momentum = {{ default = 0.5, domain = "0 <= momentum < 1", doc = "Kept." }}
[options]
ascend = {{ default = false, doc = "Ascend." }}
slow = {{ default = false, when = "ascend", doc = "Slower." }}
[state]
m = {{ init = 0, doc = "Mean." }}
[rule]
update = '''
if ascend:
    g = -g
if slow:
    g = g/2
m = momentum*m + g
p = p - {rate}*m/(abs(m) + delta)
'''
[torch]
{torch}
"""
GIVEN = 'roles = {{ learning_rate = "{}", epsilon = "delta", maximize = "ascend" }}\n'


@pytest.mark.parametrize("rate", ["eta", "n", "group"])
def test_who_has_a_role_is_called_as_torch_calls_it(rate: str, tmp_path: Path) -> None:
    """Schedulers look for `lr`, whatever the rule and generated code call it."""
    text = ROLES.format(name="roled", title="Roled", rate=rate, torch=GIVEN.format(rate))
    roled = own_class(text, "roled", tmp_path)
    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match=r"^Invalid learning rate: -1$"):
        roled([p], lr=-1, eps=-1, momentum=-1)
    with pytest.raises(ValueError, match=r"^Invalid epsilon value: 0$"):
        roled([p], eps=0, momentum=-1)
    with pytest.raises(ValueError, match=r"^Invalid momentum value: -1$"):
        roled([p], momentum=-1)
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        roled([p], lr=torch.ones(2))
    optimizer = roled([p], lr=1.0, maximize=True)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    p.grad = torch.ones(3)
    moved = []
    for _ in range(2):
        before = p.detach().clone()
        optimizer.step()
        schedule.step()
        moved.append((p.detach() - before)[0].item())
    assert moved[0] == pytest.approx(1 / 1.001)
    assert moved[1] == pytest.approx(0.5 * 1.5 / 1.501)


def test_without_roles_names_are_the_authors(tmp_path: Path) -> None:
    text = ROLES.format(name="unroled", title="Unroled", rate="eta", torch='class = "Unroled"')
    unroled = own_class(text, "unroled", tmp_path)
    p = torch.nn.Parameter(torch.ones(3))
    assert {"eta", "delta", "ascend", "maximize"} <= unroled([p]).defaults.keys()
    with pytest.raises(ValueError, match=r"^Invalid eta value: -1$"):
        unroled([p], eta=-1)


def test_a_name_of_another_role_is_free(tmp_path: Path) -> None:
    """Here `lr` is no learning rate: the author says who is."""
    told = GIVEN.format("delta").replace('epsilon = "delta"', 'epsilon = "lr"')
    text = ROLES.format(name="turned", title="Turned", rate="lr", torch=told)
    spec = loads(text)[0]
    assert spec.roles == {"learning_rate": "delta", "epsilon": "lr", "maximize": "ascend"}
    turned = own_class(text, "turned", tmp_path)
    defaults = turned([torch.nn.Parameter(torch.ones(3))]).defaults
    assert (defaults["lr"], defaults["eps"]) == (1e-3, 0.1)


def test_an_option_is_refused_in_the_authors_words(tmp_path: Path) -> None:
    words = """'say "no" to {all} of it'"""
    told = f"{GIVEN.format('eta')}refusals = {{ slow = {words} }}\n"
    text = ROLES.format(name="worded", title="Worded", rate="eta", torch=told)
    worded = own_class(text, "worded", tmp_path)
    p = torch.nn.Parameter(torch.ones(3))
    assert worded([p], slow=True, maximize=True).defaults["slow"]
    with pytest.raises(ValueError, match=r'^say "no" to \{all\} of it$'):
        worded([p], slow=True)
    plain = text.replace(f"refusals = {{ slow = {words} }}", "").replace("worded", "plainly")
    with pytest.raises(ValueError, match=r"^slow needs maximize$"):
        own_class(plain, "plainly", tmp_path)([p], slow=True)


def test_what_is_known_of_a_class_of_torch_counts_for_that_class_alone() -> None:
    """A copy of a spec under another name is not torch's class."""
    for name in ("adam", "adadelta", "rmsprop"):
        text = stock(name).source.text
        mine = text.replace(f'class = "{stock(name).torch_class}"', 'class = "Mine"')
        facts = ("_has_xla", "_sparse", "_is_torchs", "betas=betas, foreach")
        found = [fact for fact in facts if fact in render(lower(loads(text)[0]), "torch")]
        assert "_is_torchs" in found
        assert not [fact for fact in facts if fact in render(lower(loads(mine)[0]), "torch")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_a_state_may_start_as_a_copy_of_the_parameter(dtype: torch.dtype, tmp_path: Path) -> None:
    text = (ROOT / "tests" / "correct_specs" / "weight_average.toml").read_text()
    own = own_class(text, "weight_average", tmp_path)
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0, 0.0]).to(dtype))
    before = parameter.detach().clone()
    optimizer = own([parameter], lr=0.25, beta=0.5)
    parameter.grad = torch.full_like(parameter, 2.0)
    optimizer.step()
    average = optimizer.state[parameter]["average"]
    assert average.dtype == (torch.float32 if dtype is torch.bfloat16 else dtype)
    assert torch.equal(average, ((before + parameter.detach()) / 2).to(average.dtype))
    loaded = own([parameter])
    loaded.load_state_dict(optimizer.state_dict())
    assert torch.equal(loaded.state[parameter]["average"], average)
