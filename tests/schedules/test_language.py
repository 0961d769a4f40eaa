"""A schedule as a spec: what it may say, what is made of its names, and what strangers may send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from support import ROOT, SCHEDULES, module, numpy_of, stock
from verify.support import here

from stepforge.backends.registry import of
from stepforge.backends.render import render
from stepforge.fuzz import text
from stepforge.language import kinds, mathematics
from stepforge.language.diagnostics import SpecError
from stepforge.language.kinds import Kind
from stepforge.language.names import GENERATED, name_problem
from stepforge.language.reader import loads
from stepforge.language.spec import Spec
from stepforge.language.subjects import OPTIMIZER, SCHEDULE
from stepforge.language.torch_model import TORCH_SCHEDULERS
from stepforge.lowering.lower import lower
from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify.certificate import Status
from stepforge.verify.reading import agreement, reader


def spec_of(rule: str, *hyperparameters: str, tables: str = "", name: str = "mine") -> Spec:
    declared = "\n".join(
        f'{h} = {{ default = 2, domain = "{h} >= 1", usual = "1 <= {h} <= 50", doc = "H." }}'
        for h in hyperparameters
    )
    head = f'name = "{name}"\ntitle = "Mine"\nsummary = "S."\nreference = "R"\n'
    own = f"[hyperparameters]\n{declared}\n" if declared else ""
    return loads(f"{head}{own}{tables}[rule]\nfactor = '''\n{rule}\n'''\n")[0]


def codes(rule: str, *hyperparameters: str, **more: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec_of(rule, *hyperparameters, **more)
    return [d.code for d in caught.value.diagnostics]


def test_what_the_rule_computes_says_what_a_spec_is_about() -> None:
    assert {stock(name).subject for name in SCHEDULES} == {SCHEDULE}
    assert stock("adamw").subject == OPTIMIZER
    assert spec_of("factor = 1/t").subject == SCHEDULE
    with pytest.raises(SpecError) as caught:
        loads(stock("sgd").source.text.replace("update = ", "factor = 'factor = t'\nupdate = ", 1))
    assert [d.message for d in caught.value.diagnostics] == ["unknown key `factor` in `rule`"]


def test_everything_is_a_number_of_the_host() -> None:
    for name in SCHEDULES:
        spec = stock(name)
        known = {k for _, before in kinds.walk(spec) for k in before.values()}
        assert known == {Kind.SCALAR}
        kernel = lower(spec)
        assert (kernel.tensors, kernel.stages, kernel.arguments) == ((), (), ())
        assert agreement.disagreement(spec) == ""
        assert reader.of(spec).functions == set()
        assert list(spec.option_sets()) == [{}]


@pytest.mark.parametrize("name", SCHEDULES)
def test_mathematics_means_what_the_function_computes(name: str) -> None:
    spec, factor = stock(name), numpy_of(stock(name)).factor
    values = {h.name: h.default for h in spec.hyperparameters}
    meaning = mathematics.meaning(spec, {})["factor"]
    symbols = mathematics.symbols(spec)
    for t in (1, 2, 7, 31, 100, 101, 5000):
        given = {symbols[k]: sympy.Rational(*v.as_integer_ratio()) for k, v in values.items()}
        exact = meaning.subs({**given, symbols["t"]: t}).evalf(30)
        assert factor(t, **values) == pytest.approx(float(exact), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("factor = steps", ["E135"]),
        ("factor = t if p > 0 else 1", ["E104"]),
        ("if t < steps:\n    factor = 1", ["E129"]),
        ("if t < steps:\n    factor = 1\nelse:\n    factor = t/steps\nfactor = factor/2", None),
        ("factor = t/steps\nif t < 3:\n    factor = 1", None),
        ("factor = norm(t)", ["E103"]),
        ("factor = t @ steps", ["E102"]),
        ("for i in t:\n    factor = i", ["E120", "E125"]),
        ("factor = t < steps", ["E111"]),
        ("factor = [t, steps]", ["E102", "E125"]),
        ("factor = eval('t')", ["E103", "E125"]),
        ("factor = 9**9**9*t", ["E109"]),
        ("factor = t/0", ["E113"]),
        ("steps = t\nfactor = steps", ["E122"]),
    ],
)
def test_what_a_rule_may_say(rule: str, expected: list[str] | None) -> None:
    if expected is None:
        assert spec_of(rule, "steps")
        return
    found = codes(rule, "steps")
    assert found[0] == expected[0]
    assert {*found} <= {*expected, "E102", "E103", "E125"}


def test_conditions_that_read_the_step_are_enough() -> None:
    spec = spec_of("factor = 1 if t < steps else 0.5", "steps")
    factor = numpy_of(spec).factor
    assert [factor(t) for t in (1, 2, 3)] == [1, 0.5, 0.5]


def test_every_key_is_of_one_kind_of_spec() -> None:
    others = {*OPTIMIZER.tables} - {*SCHEDULE.tables}
    assert others == {"family", "inputs", "options", "state"}
    for key in others:
        value = 'family = "sgd"\n' if key == "family" else f'[{key}]\nx = {{ doc = "X." }}\n'
        tables, head = ("", value) if key == "family" else (value, "")
        with pytest.raises(SpecError) as caught:
            loads(
                f'name = "mine"\ntitle = "M"\nsummary = "S."\nreference = "R"\n{head}{tables}'
                "[rule]\nfactor = 'factor = 1/t'\n"
            )
        assert [d.message for d in caught.value.diagnostics] == [f"a schedule has no `{key}`"]


def test_the_schedulers_of_the_table_are_torchs() -> None:
    for name in TORCH_SCHEDULERS:
        assert issubclass(
            getattr(torch.optim.lr_scheduler, name), torch.optim.lr_scheduler.LRScheduler
        )
    assert {stock(name).torch_class for name in SCHEDULES} <= {*TORCH_SCHEDULERS, ""}


# Names.


def test_a_schedule_without_hyperparameters() -> None:
    spec = spec_of("factor = 1/t")
    assert numpy_of(spec).factor(4) == 0.25
    assert "def __init__(self, optimizer, *, hyperparameter=" in render(lower(spec), "torch")


NAMES = sorted(name for name in GENERATED if name_problem(name) is None)


@pytest.mark.parametrize("names", [NAMES[start::8] for start in range(8)])
def test_generated_code_steps_aside(names: list[str], tmp_path: Path) -> None:
    """Names of generated code, of its modules and of Python are an author's if he wants them."""
    total = " + ".join(names)
    local = f"local_ = t/({total})\nfactor = local_ if local_ < 2 else 2"
    spec = spec_of(local, *names)
    for backend in of(SCHEDULE):
        compile(render(lower(spec), backend), f"<{backend}>", "exec")
    function = numpy_of(spec).factor
    assert function(3, **dict.fromkeys(names, 1.0)) == 3 / len(names)
    emit.build([spec], tmp_path, whole=False)
    assert here("S3", spec, tmp_path, {}).status is Status.PROVED


@pytest.mark.parametrize("name", ["optimizer", "hyperparameter", "last_epoch", "self", "float"])
def test_the_class_steps_aside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(f"factor = min(t/{name}, 1)", name)
    package = tmp_path / f"aside_{name}"
    emit.build([spec], package, whole=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    made: dict[str, Any] = {}
    exec(f"from {package.name}.torch import MineSchedule", made)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = made["MineSchedule"](optimizer, **{name: 4})
    assert scheduler.get_last_lr() == [0.25]


def test_a_local_may_have_the_name_of_a_module() -> None:
    spec = spec_of("math = t/steps\nnp = cos(math)\nfactor = np*np", "steps")
    assert module(render(lower(spec), "numpy")).factor(2) == pytest.approx(np.cos(1.0) ** 2)


# Strangers.


@pytest.mark.parametrize("seed", range(40))
def test_damaged_texts_are_refused_or_understood(seed: int) -> None:
    """None ends in an exception, or in code that is not Python."""
    corpus = tuple(stock(name).source.text for name in SCHEDULES)
    rng = np.random.default_rng([seed, 5])
    for _ in range(5):
        data = text.random_text(rng, corpus)
        try:
            spec, _ = loads(data.decode("utf-8"))
        except UnicodeDecodeError:
            continue
        except SpecError:
            continue
        for backend in of(spec.subject):
            compile(render(lower(spec), backend), "<text>", "exec")


def test_a_spec_may_lie_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "cosine.toml"
    path.write_bytes((ROOT / "specs" / "schedules" / "cosine.toml").read_bytes())
    assert load(path)[0].subject == SCHEDULE
