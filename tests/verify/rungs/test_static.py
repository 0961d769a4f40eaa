"""R0 refutes specs that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import FEW
from support import stock

from stepforge.language.reader import loads
from stepforge.language.spec import Options, Spec
from stepforge.verify.certificate import Status, Verdict
from verify.support import here

TEMPLATE = """\
name = "x"
title = "X"
summary = "S."
reference = "R"
[hyperparameters]
lr = {{ default = 0.1, domain = "lr >= 0", doc = "Rate." }}
eps = {{ default = {eps}, domain = "eps >= 0", doc = "Eps." }}
[options]
maximize = {{ default = false, doc = "Ascend." }}
[state]
v = {{ init = 0, domain = "v >= 0", doc = "V." }}
[rule]
update = '''
if maximize:
    g = -g
v = v + {v}
p = p {sign} lr*g/(sqrt(v) + eps)
'''
"""
PLAIN = {"maximize": False}


def spec(eps: str = "1e-8", v: str = "g**2", sign: str = "-") -> Spec:
    return loads(TEMPLATE.format(eps=eps, v=v, sign=sign))[0]


def look(one: Spec, options: Options) -> Verdict:
    """The rung looks at no file."""
    return here("R0", one, Path("nowhere"), options)


@pytest.mark.parametrize("name", FEW)
def test_stock_specs_are_fine_under_all_options(name: str) -> None:
    for options in stock(name).option_sets():
        assert look(stock(name), options).status is Status.TESTED


def test_a_spec_that_climbs_is_refuted() -> None:
    verdict = look(spec(sign="+"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "does not descend" in verdict.detail


def test_with_maximize_a_spec_must_climb() -> None:
    assert look(spec(), {"maximize": True}).status is Status.TESTED
    assert look(spec(sign="+"), {"maximize": True}).status is Status.REFUTED


def test_zero_over_zero_at_the_defaults_is_refuted() -> None:
    verdict = look(spec(eps="0"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "0/0" in verdict.detail
    assert verdict.counterexample is not None
    assert verdict.counterexample.inputs["g"] == "0.0"
    assert "p = p - lr*g" in verdict.counterexample.spec_line


def test_a_state_that_leaves_its_domain_is_refuted() -> None:
    verdict = look(spec(v="abs(g) - g**2"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "`v`" in verdict.detail


def test_a_rule_descends_and_ascends_whatever_its_names_are() -> None:
    other = TEMPLATE.replace("lr", "rate").replace("maximize", "ascend")
    text = other.format(eps="1e-8", v="g**2", sign="-")
    told = 'roles = { learning_rate = "rate", maximize = "ascend" }'
    roled = loads(f"{text}[torch]\n{told}\n")[0]
    assert look(roled, {"ascend": False}).status is Status.TESTED
    assert look(roled, {"ascend": True}).status is Status.TESTED
    verdict = look(loads(text)[0], {"ascend": True})
    assert "does not descend" in verdict.detail


def test_a_learning_rate_of_zero_moves_nothing() -> None:
    other = TEMPLATE.replace("lr", "rate").replace("0.1", "0")
    text = other.format(eps="1e-8", v="g**2", sign="-")
    roled = loads(f'{text}[torch]\nroles = {{ learning_rate = "rate" }}\n')[0]
    assert look(roled, PLAIN).status is Status.TESTED
    assert "it does not move" in look(loads(text)[0], PLAIN).detail
