"""The folder of classes: complete in itself, documented, and with torch's signatures."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import catalogue
import numpy as np
import pytest
import torch
from support import EVERY as ALL
from support import ROOT, Command, small, stock

from stepforge.backends.render import render
from stepforge.backends.torch_class import class_name
from stepforge.lowering.lower import lower
from stepforge.verify.cases import inputs

from .support import EVERY, PLAIN, Case, label, ours


def run(
    code: str, folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs code in a folder, without the generator; torch itself needs SymPy and Jinja."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    blocked = "import sys\nsys.modules['stepforge'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + code, *arguments],
        cwd=folder,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_the_constructor_is_torchs_with_two_arguments_more(case: Case) -> None:
    mine = list(inspect.signature(case.ours.__init__).parameters.values())
    assert [(p.name, p.kind, p.default) for p in mine[-2:]] == [
        (name, inspect.Parameter.KEYWORD_ONLY, None) for name in ("state_dtype", "backend")
    ]
    theirs = inspect.signature(case.theirs.__init__).parameters.values()
    if case.name == "nesterov":
        theirs = [p for p in theirs if p.name not in ("dampening", "nesterov")]
        mine[3] = mine[3].replace(default=0)  # heavy-ball momentum is off in torch
    assert [(p.name, p.kind, repr(p.default)) for p in mine[:-2]] == [
        (p.name, p.kind, repr(p.default)) for p in theirs
    ]


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_the_documentation_has_rule_hyperparameters_and_reference(case: Case) -> None:
    text = " ".join((inspect.getdoc(case.ours) or "").split())
    assert text.startswith(f"{case.spec.title}: {case.spec.summary}")
    assert f"Reference: {case.spec.reference}" in text
    for line in case.spec.source.data["rule"]["update"].splitlines():
        if line.strip() and not line.strip().startswith(("#", "if", "el")):
            assert line.strip() in text
    for h in case.spec.hyperparameters:
        assert h.doc.removesuffix(".") in text
    for name in inspect.signature(case.ours.__init__).parameters:
        assert name == "self" or f" {name}: " in text


def test_every_class_is_exported() -> None:
    names = {case.ours.__name__ for case in EVERY}
    names |= {class_name(stock(name)) for name in ALL}
    assert set(ours.__all__) == names | {"Optimizer", "Schedule"}
    assert len(names) == len(ALL)


def test_a_built_folder_is_complete_in_itself(command: Command, tmp_path: Path) -> None:
    done = command("build", "adamw", "lion", "--out", tmp_path / "mypkg" / "optim")
    assert done.returncode == 0, done.stderr
    code = (
        "sys.modules['triton'] = None\n"
        "from mypkg.optim.torch import AdamW, Lion\n"
        "import torch\n"
        "for kind in (AdamW, Lion):\n"
        "    p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
        "    kind([p], lr=0.25, weight_decay=0).step(); print(p.tolist())\n"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.75, 0.75, 0.75]\n" * 2


def test_without_torch_the_package_says_what_is_missing_and_the_rest_works() -> None:
    code = (
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from generated.numpy import lion\n"
        "print(lion.step(np.ones(1), np.ones(1), lion.init(np.ones(1)), 1)[0])\n"
        "from generated.torch import Lion\n"
    )
    done = run(code, ROOT)
    assert done.stdout == "[0.9999]\n"
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: the optimizer classes need torch: pip install torch"
    )


CLASSES = [case.ours.__name__ for case in PLAIN]

PATHS = """
import torch
import generated.torch as ours
from generated.torch._runtime import Optimizer

LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.t().contiguous().t(),
    "holes": lambda x: torch.stack([x, x], -1)[..., 0],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.reshape(-1)])[1:].view_as(x),
    "channels last": lambda x: x.view(5, 2, 2, 14).contiguous(memory_format=torch.channels_last),
    "expanded": lambda x: x[:1].expand_as(x),
    "negated": lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
    "conjugate": lambda x: torch.complex(x, 2 * x).conj(),
}

def train(kind, path, dtype):
    generator = torch.Generator().manual_seed(3)
    make = lambda: torch.randn((40, 7), generator=generator).to(dtype)
    Optimizer._is_on_host = staticmethod(lambda parameter: path != "device")
    Optimizer._is_free = staticmethod(lambda parameter, group: path == "free")
    pairs = ("negated", "conjugate") if dtype == torch.float16 else ()
    layouts = [name for name in LAYOUTS if name not in pairs]
    ps = [LAYOUTS[name if name != "expanded" else "dense"](make()) for name in layouts]
    ps = [p.detach().requires_grad_() for p in ps]
    optimizer = kind(ps)
    for step, scale in enumerate((None, 3.0, 65536.0)):
        for name, p in zip(layouts, ps):
            p.grad = LAYOUTS[name if step != 1 else "dense"](make()).view_as(p).to(p.dtype)
            if scale == 65536:
                p.grad = p.grad * 1e-3 if name != "expanded" else p.grad
        if scale is not None:
            optimizer.grad_scale = torch.tensor(scale)
        optimizer.step()
    found = [value for p in ps for value in (p.detach(), p.grad)]
    return found + [v for s in optimizer.state.values() for v in s.values()]

compared = 0
for name in sys.argv[1:]:
    for dtype in (torch.float32, torch.float16):  # the interpreter truncates bfloat16
        host, device, free = (
            train(getattr(ours, name), path, dtype) for path in ("host", "device", "free")
        )
        for other in (device, free):
            for index, (a, b) in enumerate(zip(host, other, strict=True)):
                assert a.isfinite().all() and torch.equal(a, b), (name, dtype, index, other is free)
                compared += 1
print(compared > 50 * len(sys.argv))
"""


FREE = """
import torch
import generated.torch as ours
from generated.torch._runtime import Optimizer

def train(kind, is_free, dtype, scale, **more):
    generator = torch.Generator().manual_seed(3)
    make = lambda *shape: torch.randn(shape, generator=generator).to(dtype)
    Optimizer._is_free = staticmethod(lambda parameter, group: is_free)
    starts = (make(40, 7), make(40, 7).t(), make(2000), make(0))
    ps = [torch.nn.Parameter(start) for start in starts]
    optimizer = kind(ps, **more)
    for step in range(7):
        for p in ps:
            p.grad = make(*p.shape)
        if step == 2:
            ps[2].grad = None
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        if scale is not None:
            optimizer.grad_scale = torch.tensor(scale)
            optimizer.found_inf = torch.tensor(float(step == 4))
        optimizer.step()
    found = [value for p in ps for value in (p.detach(), p.grad)]
    return found + [v for s in optimizer.state.values() for v in s.values()]

compared = 0
for name in sys.argv[1:]:
    kind = getattr(ours, name)
    for more in ({}, {"weight_decay": 0.1, "maximize": True}):
        if more and "weight_decay" not in kind.__init__.__code__.co_varnames:
            more = {"maximize": True}
        scales = (None, 3.0) if more else (3.0, None)
        for dtype, scale in zip((torch.float32, torch.float64), scales):
            pair = [train(kind, is_free, dtype, scale, **more) for is_free in (False, True)]
            for a, b in zip(*pair, strict=True):
                assert torch.equal(a, b), (name, dtype, scale, (a - b).abs().max())
                compared += 1
print(compared > 40 * len(sys.argv))
"""


def test_a_step_that_waits_for_nothing_is_the_same_in_every_bit() -> None:
    """Numbers on the device, a scale, and an infinity that changes nothing, counters included."""
    done = run(FREE, ROOT, *CLASSES, TRITON_INTERPRET="1")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


class Recorder:
    """Stands in for a kernel, and keeps the numbers that it is launched with."""

    def __init__(self) -> None:
        self.numbers: list[float] = []

    def __getitem__(self, grid: object) -> Callable[..., None]:
        def launch(programs: object, rows: object, *numbers: float, **_: object) -> None:
            self.numbers = list(numbers)

        return launch


@pytest.mark.parametrize("name", catalogue.FEW)
def test_numbers_on_the_device_are_those_of_a_launch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for powers, which every library rounds in its own way."""
    spec = stock(name)
    module = importlib.import_module(f"generated.multi_tensor.{name}")
    kind = getattr(ours, class_name(spec))
    recorder = Recorder()
    monkeypatch.setattr(module, f"{name}_kernel", recorder)
    table = types.SimpleNamespace(
        size=1, programs=0, rows=0, aligned=True, types=defaultdict(lambda: None)
    )
    rng = np.random.default_rng(5)
    for options in spec.option_sets():
        for t in (1, 2, 7, 1000):
            values = inputs.numbers(spec, rng)
            state = inputs.scalar_states(spec, options, rng)
            after = dict(state)
            module.step(table, after, t, **values, **options)
            on_device = {k: torch.tensor([v], dtype=torch.float64) for k, v in state.items()}
            numbers = {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
            steps = torch.tensor([t], dtype=torch.float64)
            found = kind._numbers(on_device, steps, {**numbers, **options})
            assert len(found) == len(recorder.numbers) - 1
            for mine, theirs in zip(
                [*found, *on_device.values()],
                [*recorder.numbers[:-1], *after.values()],
                strict=True,
            ):
                assert float(mine) == pytest.approx(theirs, rel=1e-9, abs=0), (options, t)


def test_the_kernel_takes_the_place_of_numpy_on_devices() -> None:
    """Whatever the layout, with gradients that vanish if they are unscaled in their own type."""
    done = run(PATHS, ROOT, *CLASSES, TRITON_INTERPRET="1")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_spec_without_torch_has_its_own_names() -> None:
    spec = small("m = beta*m + g\np = p - lr*m", name="my_own", hyperparameters=("lr", "beta"),
                 options=(), state=("m",))  # fmt: skip
    text = render(lower(spec), "torch")
    assert "class MyOwn(Optimizer):" in text
    (optimizer,) = (n for n in ast.parse(text).body if isinstance(n, ast.ClassDef))
    signature = next(n for n in optimizer.body if getattr(n, "name", "") == "__init__").args
    assert [a.arg for a in signature.args] == ["self", "params", "lr", "beta"]
    assert [a.arg for a in signature.kwonlyargs] == [
        "maximize", "foreach", "fused", "capturable", "differentiable", "state_dtype",
        "backend",
    ]  # fmt: skip


def test_the_name_of_a_keyword_gets_a_mark() -> None:
    spec = small("p = p - lr*g", name="none")
    assert "class None_(Optimizer):" in render(lower(spec), "torch")


def test_the_states_are_on_the_parameters_device() -> None:
    p = torch.nn.Parameter(torch.ones(2, device="meta"))
    optimizer = ours.AdamW([p], capturable=True)
    needed = optimizer._needed(optimizer._values(optimizer.param_groups[0]))
    optimizer._initialize(p, optimizer.param_groups[0], needed)
    assert {str(value.device) for value in optimizer.state[p].values()} == {"meta"}
