"""Whatever an author calls things, generated code is the same but for names that step aside."""

from __future__ import annotations

import ast
import builtins
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import small
from verify.support import build, run, task

from stepforge.backends.aside import conflicts
from stepforge.backends.registry import BACKENDS
from stepforge.backends.render import render
from stepforge.backends.torch_class import OF_TORCH
from stepforge.language.names import GENERATED, OF_TRITON, aside
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower
from stepforge.operations.table import author_functions

OTHERS = {
    "input", "vars", "open", "print", "id", "x", "y", "other", "inf", "device", "small_kernel",
    "params", "fused", "foreach", "capturable", "state_dtype", "initial_lr", "constexpr", "int64",
    "float64", "hasattr", "args", "cls", "key", "value", "table_", "state_", "n_", "ALIGNED",
}  # fmt: skip
NAMES = sorted({*GENERATED, *OF_TRITON, *OTHERS} - {*author_functions()})


def hyperparameters(names: list[str]) -> Spec:
    rule = "\n".join(f"p = p - lr*g*{name} + (1 - {name})*p" for name in names)
    return small(rule, hyperparameters=["lr", *names])


def options(names: list[str]) -> Spec:
    rule = "\n".join(f"if {n}:\n    p = p - lr*g\nelse:\n    p = p - g" for n in names)
    return small(f"{rule}\nRW = (g if {names[0]} else p)\np = p - lr*RW", options=names)


def states(names: list[str]) -> Spec:
    rule = "\n".join(f"{n} = {n}/2 + sqrt(abs(g))*lr\np = p - max({n}, 1)" for n in names)
    return small(rule, state=names)


def scalars(names: list[str]) -> Spec:
    rule = "\n".join(f"{n} = {n}/2 + lr\np = p - {n}*g" for n in names)
    return small(rule, state=dict.fromkeys(names, "scalar = true"))


def locals_(names: list[str]) -> Spec:
    rule = "\n".join(f"{n} = clip(g, -1, 1) - lr\np = p - {n}*sign(g)/2" for n in names)
    return small(rule)


ROLES = {
    hyperparameters: 40, options: 4, states: 20, scalars: 20, locals_: 60,
}  # fmt: skip
"""What names are used for, and how many of them in one spec."""


def chunks(names: list[str], size: int) -> list[list[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


CASES = [(role, names) for role, size in ROLES.items() for names in chunks(NAMES, size)]


def neutral(names: list[str]) -> list[str]:
    """Names of the same lengths that meet nothing."""
    words = {n: itertools.product("qzju", repeat=n) for n in {*map(len, names)}}
    found = ["".join(next(words[len(name)])) for name in names]
    return [o.upper() if n.isupper() else o for o, n in zip(found, names, strict=True)]


def parts(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """What a syntax tree consists of, in order: names apart from everything else."""
    for node in ast.walk(tree):
        yield "node", type(node).__name__
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                yield "name", name
            case ast.keyword(arg=name):
                yield "keyword", name
            case ast.Attribute(attr=name):
                yield "fixed", name
            case ast.Constant(value=value) if not isinstance(value, str):
                yield "fixed", value


@cache
def spec_of(role: Callable[[list[str]], Spec], names: tuple[str, ...]) -> Spec:
    return role(list(names))


def written(role: Callable[[list[str]], Spec], names: tuple[str, ...], backend: str) -> str:
    return render(lower(spec_of(role, names)), backend)


@lru_cache(4)
def functions(text: str) -> list[ast.FunctionDef]:
    """Functions and methods of a file, in order."""
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]


def meanings(text: str) -> dict[str, object]:
    """What a file has names for: modules, functions of its own, and what it calls otherwise."""
    found: dict[str, object] = {n.name: i for i, n in enumerate(functions(text))}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            (target,) = node.targets
            assert isinstance(target, ast.Name)
            found[target.id] = node.value.id
    return found


@pytest.mark.parametrize("backend", [b for b in BACKENDS if BACKENDS[b].suffix == ".py"])
@pytest.mark.parametrize(
    ("role", "names"), CASES, ids=[f"{r.__name__}-{n[0]}-{n[-1]}" for r, n in CASES]
)
def test_files_are_alike_whatever_the_names(role: Any, names: list[str], backend: str) -> None:
    on_device = backend in ("triton", "multi_tensor")
    if on_device and role in (hyperparameters, scalars):
        # Parameters of a kernel have other names then; the rungs look at them below.
        names = [name for name in names if name not in OF_TRITON]
    if on_device:
        names = [name for name in names if name != "tl"]  # and so have annotations
    if backend == "torch":
        names = [name for name in names if name not in (*OF_TORCH, "super")]
    other = neutral(names)
    text, expected = (written(role, tuple(n), backend) for n in (names, other))
    compile(text, backend, "exec")
    assert text.isascii() or text.translate({0x2026: "", 0xD7: ""}).isascii()
    author = dict(zip(other, names, strict=True))
    author |= {o.upper(): n.upper() for o, n in author.items()}
    author |= {f"{o}_type": f"{n}_type" for o, n in author.items()}
    globals_, plain = meanings(text), meanings(expected)
    for old, new in zip(functions(expected), functions(text), strict=True):
        there, back = dict[str, str](), dict[str, str]()
        for (kind, a), (found, b) in zip(parts(old), parts(new), strict=True):
            assert kind == found
            if kind == "name":
                assert there.setdefault(a, b) == b
                assert back.setdefault(b, a) == a
            elif kind == "keyword":  # of Triton, or a parameter of the kernel
                assert b in (a, author.get(a)) or b.rstrip("_") == a
            else:
                assert a == b
        local = {n.arg for n in ast.walk(old) if isinstance(n, ast.arg)}
        local |= {
            n.id for n in ast.walk(old) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for a, b in there.items():
            if a in author:
                assert b == author[a]
            elif a not in local and (a in plain or hasattr(builtins, a)):
                assert globals_.get(b, b) == plain.get(a, a)
    assert [f.name for f in functions(text)][:2] == [f.name for f in functions(expected)][:2]


AUTHOR = """
name = "names"
title = "Names"
summary = "An optimizer whose names are those of generated code."
reference = "None"
[hyperparameters]
lr = { default = 0.1, domain = "lr >= 0", doc = "Learning rate." }
n = { default = 0.9, domain = "0 <= n < 1", doc = "Decay." }
mask = { default = 0.5, domain = "mask > 0", doc = "A number." }
row = { default = 0.5, doc = "A number." }
warmup = { default = 10, domain = "warmup >= 1", doc = "Steps." }
params = { default = 0.25, doc = "A number." }
self = { default = 1.5, doc = "A number." }
np = { default = 2.0, doc = "A number." }
tl = { default = 0.5, doc = "A number." }
triton = { default = 0.5, doc = "A number." }
torch = { default = 0.5, doc = "A number." }
float = { default = 0.5, doc = "A number." }
int = { default = 0.5, doc = "A number." }
state = { default = 0.125, doc = "A number." }
super = { default = 0.125, doc = "A number." }
initial_lr = { default = 0.125, doc = "A number." }
grid = { default = 0.125, doc = "A number." }
BLOCK = { default = 0.125, doc = "A number." }
ValueError = { default = 0.125, doc = "A number." }
grad_scale = { default = 0.5, doc = "A number." }
fused = { default = 0.5, doc = "A number." }
debug = { default = 0.5, doc = "A number." }
names_kernel = { default = 0.5, doc = "A number." }
warmup_ = { default = 0.5, doc = "A number." }
[options]
exact = { default = false, doc = "A switch." }
scaled = { default = true, doc = "A switch." }
[state]
group = { init = "n", doc = "A tensor." }
step = { init = 0, doc = "A tensor." }
input = { init = 0, doc = "A number.", scalar = true }
values = { init = 0, domain = "values >= 0", doc = "A tensor." }
rows = { init = 0, doc = "A tensor." }
table = { init = 0, domain = "table >= 0", doc = "A tensor." }
[rule]
update = '''
offsets = (params + self + np + tl + triton + torch + float + int + state)/10
vars = super*initial_lr*grid*BLOCK*ValueError
input = n*input + (1 - n)
init = g*mask if row > 0 else -g
group = n*group + (1 - n)*init
values = n*values + (1 - n)*init**2
table = max(table, sqrt(abs(init)))
step = step + group
rows = rows + step
if exact:
    defaults = step*offsets
else:
    defaults = group*offsets
if scaled:
    real = sign(init)*defaults
else:
    real = defaults
unscaled = real*vars*names_kernel
start = unscaled + rows + vars*grad_scale*fused*warmup_ + g*warmup + g*debug + g*p*grid
full = min(1, t/warmup)
dtype = start/(sqrt(values) + table + 1e-8)
div = clip(dtype, -10, 10)
name = lr*full*input
p = p - name*div
'''
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a spec with its files beside it, in `generated`."""
    return build(AUTHOR, tmp_path_factory.mktemp("named"))


@pytest.fixture
def importable(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These files are what `generated` is, until the test ends."""

    def known() -> list[str]:
        return [module for module in sys.modules if module.split(".")[0] == "generated"]

    monkeypatch.syspath_prepend(str(built.parent))
    for module in known():
        monkeypatch.delitem(sys.modules, module)
    yield
    for module in known():
        del sys.modules[module]


@pytest.mark.usefixtures("importable")
def test_the_class_trains_and_torch_keeps_its_keys() -> None:
    from generated.numpy import names as reference  # type: ignore[import-not-found]
    from generated.torch import Names  # type: ignore[import-not-found]

    p = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = Names([p], params_=0.75, self=2.5, fused_=0.25, exact=True, grid=0.5)
    assert {"params_", "initial_lr_", "fused_", "self", "exact"} <= optimizer.param_groups[0].keys()
    assert optimizer.param_groups[0]["params"] == [p]
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    given = {"params": 0.75, "self": 2.5, "fused": 0.25, "exact": True, "grid": 0.5}
    wanted = p.detach().numpy().copy()
    state = reference.init(wanted)
    for t, lr in ((1, 0.1), (2, 0.01), (3, 0.001)):
        gradient = np.array([0.5, -1.0, 0.25 * t], np.float32)
        p.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        schedule.step()
        wanted, state = reference.step(wanted, gradient, state, t, lr=np.float64(lr), **given)
        np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-6)
    assert float(optimizer.state[p]["step"]) == 3  # torch's counter; the rule's is `step_`
    np.testing.assert_allclose(optimizer.state[p]["step_"].numpy(), state["step"], rtol=1e-6)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1  # torch's schedulers write it
    other = Names([p])
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["params_"] == 0.75
    with pytest.raises(ValueError, match="Invalid n value: 2"):
        Names([p], n=2)


def test_files_with_the_authors_names_pass_the_rungs(built: Path) -> None:
    folder = built.parent / "generated"
    found = run(
        *(task(rung, folder, options=chosen, spec=built, brief=True) for rung, chosen in RUNGS)
    )
    assert [v.rung for v in found if not v.status.passed] == []
    assert {v.status.name for v in found if v.rung in ("R3", "R7")} == {"PROVED"}


RUNGS = [
    ("R1", {"exact": False, "scaled": True}), ("R2", {"exact": True, "scaled": False}),
    ("R3", {"exact": True, "scaled": True}), ("R6", {"exact": False, "scaled": False}),
    ("R7", {"exact": True, "scaled": False}),
]  # fmt: skip


def test_only_specs_with_such_names_are_looked_at() -> None:
    assert conflicts(small("m = g\np = p - lr*m")) == frozenset()
    spec = small("n = g\np = p - lr*n")
    assert conflicts(spec) == {"n"}
    assert aside(spec, "n") == "n_"
    assert aside(spec, "mask") == "mask"
    taken = small("n = g\nn_ = n\np = p - lr*n_")
    assert aside(taken, "n") == "n__"


def test_a_kernel_names_its_options_in_upper_case_and_others_step_aside() -> None:
    spec = small("p = p - lr*(g if exact else -g)", options=("exact",))
    text = render(lower(spec), "triton")
    assert "EXACT=exact" in text
    assert "EXACT_=exact_" in text
    assert "exact_=True" in text
