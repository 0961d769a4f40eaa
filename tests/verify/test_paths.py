"""Blocks on host scalars: what runs is the path that their condition selects, in every rung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import small

from stepforge.language.spec import Spec, steps
from stepforge.verify.certificate import Status
from stepforge.verify.rounding.enclosure import Evaluator
from stepforge.verify.terms import lifted
from stepforge.verify.terms.offsets import number
from stepforge.verify.terms.terms import apply, constant, load, scalar, truth
from verify.support import Edit, build, copy_of, edit, run, task

RUNGS = ("R1", "R2", "R3", "R5", "R6", "R7", "R9")
RULE = """
decay = lr
if t == 1:
    m = g
elif t < warm:
    decay = lr/2
    m = beta*m + (1 - beta)*g
else:
    if weight_decay != 0:
        g = g + weight_decay*p
        rho = rho*beta
    m = beta*m + g
    if t > 2*warm:
        u = m*rho
    else:
        u = m
    m = u
if maximize:
    if not (weight_decay != 0):
        m = -m
p = p - decay*m
"""
SPEC = (
    """
name = "paths"
title = "Paths"
summary = "Blocks of all kinds inside each other."
reference = "Nobody"
[hyperparameters]
lr = { default = 1e-2, domain = "lr >= 0", doc = "H." }
beta = { default = 0.9, domain = "0 <= beta < 1", doc = "H." }
warm = { default = 3, domain = "warm >= 0", doc = "H." }
weight_decay = { default = 0, domain = "weight_decay >= 0", doc = "H." }
[options]
maximize = { default = false, doc = "O." }
[state]
m = { init = 0, doc = "S." }
rho = { init = 1, scalar = true, domain = "rho >= 0", doc = "S." }
[rule]
update = '''
"""
    + RULE.strip()
    + "\n'''\n"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    return build(SPEC, folder)


def test_nested_blocks_pass_every_rung(built: Path) -> None:
    folder, on = built.parent / "generated", {"maximize": True}
    found = run(*(task(rung, folder, options=on, spec=built, brief=True) for rung in RUNGS))
    assert [v.rung for v in found if not v.status.passed] == [], [v.detail for v in found]
    assert {v.strength for v in found if v.rung in ("R3", "R7")} == {"bits"}


ASKED = "if weight_decay_differs_from_zero != 0:"
FAULTS: dict[str, tuple[str, list[Edit]]] = {
    "always taken": ("triton", [(ASKED, "if n > 0:")]),
    "the other way round": ("triton", [(ASKED, ASKED.replace("!=", "=="))]),
    "on another number": (
        "triton",
        [("float(weight_decay_differs_from_zero)", "float(lr != 0)")],
    ),
    "in the reference": ("numpy", [("if weight_decay != 0:", "if weight_decay > 1e-3:")]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_condition_that_is_another_one_is_refuted(fault: str, tmp_path: Path) -> None:
    backend, edits = FAULTS[fault]
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / backend / "lion.py", edits)
    rungs = ("R2", "R3", "R7") if backend == "triton" else ("R2", "R3")
    works = [replace(task(rung, folder, "lion"), backends=("triton",)) for rung in rungs]
    found = {v.rung: v for v in run(*works)}
    assert found["R2"].status is Status.REFUTED
    assert found["R3"].status is Status.REFUTED  # over the reals, adding 0*p changes nothing
    if backend == "triton":
        assert found["R7"].status is Status.REFUTED


def test_paths_that_differ_in_a_condition_alone_are_joined_into_a_choice() -> None:
    condition = apply("lt", scalar("t"), constant(2.0, "f64"))
    other = apply("lt", scalar("lr"), constant(1.0, "f64"))
    p = load("p", "f32")
    pointer = lifted.Pointer("p", "f32")
    everywhere = lifted.Mask(np.ones(1, bool))

    def walk(way: lifted.Walk) -> None:
        value = p
        if way.holds(condition, 1):
            value = apply("neg", value)
            if way.holds(apply("not", other), 2):
                value = apply("abs", value)
        assert way.holds(condition, 3) is way.path.assumed[condition]
        access = lifted.Access("p", "f32", number(0), everywhere, value, 1)
        way.path.stores.append(access)
        assert pointer.kind == access.kind

    found = lifted.Lifted(lifted.walked(64, walk), {})
    (access,) = found.stores()
    inner = apply("select", other, apply("neg", p), apply("abs", apply("neg", p)))
    assert access.value is apply("select", condition, inner, p)
    assert len(found.paths) == 3


def test_a_branch_on_tensors_is_none_that_all_lanes_share() -> None:
    way = lifted.Walk(lifted.Path(lifted.Facts.of_launch(64)), [])
    with pytest.raises(lifted.Unsupported, match="values of the tensors"):
        way.holds(apply("lt", load("g", "f32"), constant(0.0, "f32")), 1)
    assert way.holds(truth(True), 1) is True


def evaluated(spec: Spec, weight_decay: float, t: int) -> tuple[float, list[bool]]:
    evaluator = Evaluator(spec, {}, "float64")
    values = {"lr": 0.5, "weight_decay": weight_decay}
    found = evaluator.step([2.0], [1.0], {}, t, values)
    return float(found["p"][0].value), [value is not None for _, value in evaluator.trace]


def test_the_evaluation_in_50_digits_runs_the_path_that_is_taken() -> None:
    rule = "if weight_decay != 0:\n    g = g/weight_decay\nelse:\n    g = 2*g\np = p - lr*g"
    spec = small(rule, hyperparameters=("lr", "weight_decay"))
    assert evaluated(spec, 0.0, 1) == (1.0, [False, True, True])
    assert evaluated(spec, 4.0, 1) == (1.875, [True, False, True])


def test_where_rounding_decides_the_path_both_are_possible() -> None:
    rule = "if lr*0.1 != lr/10:\n    g = 2*g\np = p - lr*g"
    evaluator = Evaluator(small(rule), {}, "float64")
    found = evaluator.step([2.0], [1.0], {}, 1, {"lr": 0.7})["p"][0]
    assert 2 - 0.7 in found
    assert 2 - 1.4 in found
    assert [value is None for _, value in evaluator.trace] == [True, False]


def test_statements_that_a_step_decides_may_run_and_may_not() -> None:
    spec = small("if t == 1:\n    g = -g\np = p - lr*g")
    assert [(a.name, surely) for a, surely in steps(spec.rule, {})] == [("g", False), ("p", True)]
