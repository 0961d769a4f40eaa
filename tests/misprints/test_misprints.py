"""Rules as tutorials print them wrongly: `diff` names the line, and shows an input."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from support import ROOT

from stepforge.commands.diff import operand
from stepforge.project.loading import load
from stepforge.relations.find import Relation, relate

HERE = Path(__file__).parent
V, M = "v = beta2*v + (1 - beta2)*g**2", "m = beta1*m + (1 - beta1)*g"
ADAM = "p = p - lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps)"
RMSPROP = "v = alpha*v + (1 - alpha)*g**2"
MISPRINTS: dict[str, tuple[str, str, str, set[str] | None]] = {
    "momentum_uphill": ("momentum", "v = momentum*v + lr*g", "v = momentum*v - lr*g", None),
    "momentum_twice": ("momentum", "v = v + momentum*v - lr*g", "v = momentum*v - lr*g", None),
    "rmsprop_confused": (
        "rmsprop", "v = eps*v + (1 - eps)*g**2", RMSPROP, {"alpha = 0", "eps = 0"},
    ),
    "rmsprop_eps_in_average": ("rmsprop", f"{RMSPROP} + eps", RMSPROP, {"eps = 0"}),
    "rmsprop_twice": ("rmsprop", "p = p - lr*g/(sqrt(w) + eps)", "d = sqrt(v) + eps", None),
    "adagrad_sums_gradients": ("adagrad", "s = s + g", "s = s + g**2", None),
    "adagrad_roots_first": ("adagrad", "s = s + sqrt(g**2)", "s = s + g**2", None),
    "adagrad_mean": (
        "adagrad", "p = p - lr*g/(sqrt(s/t) + eps)",
        "p = p - lr/(1 + (t - 1)*lr_decay) * g / (sqrt(s) + eps)", None,
    ),
    "adadelta_is_adam": ("adadelta", V, "v = rho*v + (1 - rho)*g**2", None),
    "adam_one_beta": ("adam", "v = beta1*v + (1 - beta1)*g**2", V, {"beta2 = beta1"}),
    "adam_corrected_twice": (
        "adam", "m = (beta1*m + (1 - beta1)*g)/(1 - beta1**t)", M, {"beta1 = 0"},
    ),
    "adam_uncorrected": ("adam", "p = p - lr*m/(sqrt(v) + eps)", ADAM, set()),
    "adam_eps_inside": ("adam", "p = p - lr/(1 - beta1**t)*m/sqrt(v_hat + eps)", ADAM, {"eps = 0"}),
    "adam_eps_twice": (
        "adam", "p = p - lr/(1 - beta1**t)*m/(sqrt(v_hat + eps) + eps)", ADAM, {"eps = 0"},
    ),
    "adam_forgets": ("adam", "m = (1 - beta1)*g", M, {"beta1 = 0"}),
    "nadam_mu_twice": (
        "nadam", "m_bar = mu/(1 - mu_product*mu)*m + (1 - mu)/(1 - mu_product)*g",
        "m_bar = mu_next/(1 - mu_product*mu_next) * m + (1 - mu)/(1 - mu_product) * g",
        {"momentum_decay = 0"},
    ),
    "radam_rho": ("radam", "rho_inf = 2/(1 - beta2)", "rho_inf = 2/(1 - beta2) - 1", {"beta2 = 0"}),
    "amsgrad_forgets": ("amsgrad", "v_max = v_max", "v_max = max(v_max, v)", None),
}  # fmt: skip
"""The spec it should have been, the wrong line and the right one, and under which conditions both
are equal all the same, beside a weight decay of 0; None without such.
"""
FORGET = {"adam_forgets": "m", "amsgrad_forgets": "v_max"}
"""Misprints that `check` warns of, and the state."""


@cache
def found(name: str) -> Relation:
    right = operand(str(ROOT / "specs" / f"{MISPRINTS[name][0]}.toml"), [])
    return relate(operand(str(HERE / f"{name}.toml"), []), right)


def test_every_misprint_is_tried() -> None:
    assert {path.stem for path in HERE.glob("*.toml")} == {*MISPRINTS}


@pytest.mark.parametrize("name", MISPRINTS)
def test_the_wrong_line_and_the_right_one_are_named(name: str) -> None:
    apart = found(name).difference
    assert apart is not None
    texts = tuple(line.split(": ", 1)[1] for line in apart.lines)
    assert texts == MISPRINTS[name][1:3]
    assert apart.lines[0].startswith(str(HERE / f"{name}.toml"))
    assert apart.witness.results[0] != apart.witness.results[1]


@pytest.mark.parametrize("name", MISPRINTS)
def test_only_known_conditions_make_it_right(name: str) -> None:
    relation, conditions = found(name), MISPRINTS[name][3]
    if conditions is None:
        assert (relation.kind, relation.status) == ("different", "REFUTED")
        return
    assert (relation.kind, relation.status) == ("conditional", "PROVED")
    assert relation.hypothesis is not None
    texts = {condition.text for condition in relation.hypothesis.conditions}
    assert texts == {*conditions, "weight_decay = 0"}
    assert bool(relation.hypothesis.schedules) == (name == "adam_uncorrected")


@pytest.mark.parametrize("name", MISPRINTS)
def test_check_warns_of_what_a_rule_without_numbers_can_see(name: str) -> None:
    warned = [(d.code, d.message.split("`")[1]) for d in load(HERE / f"{name}.toml")[1]]
    assert warned == ([("W203", FORGET[name])] if name in FORGET else [])
