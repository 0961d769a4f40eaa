"""R0 refutes specs that cannot be meant."""

from __future__ import annotations

import pytest
from catalogue import FEW
from support import stock

from stepforge.language.reader import loads
from stepforge.verify.certificate import Status
from stepforge.verify.rungs import static

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


def spec(eps: str = "1e-8", v: str = "g**2", sign: str = "-") -> object:
    return loads(TEMPLATE.format(eps=eps, v=v, sign=sign))[0]


@pytest.mark.parametrize("name", FEW)
def test_stock_specs_are_fine_under_all_options(name: str) -> None:
    for options in stock(name).option_sets():
        assert static.check(stock(name), options).status is Status.TESTED


def test_a_spec_that_climbs_is_refuted() -> None:
    verdict = static.check(spec(sign="+"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "does not descend" in verdict.detail


def test_with_maximize_a_spec_must_climb() -> None:
    assert static.check(spec(), {"maximize": True}).status is Status.TESTED
    assert static.check(spec(sign="+"), {"maximize": True}).status is Status.REFUTED


def test_zero_over_zero_at_the_defaults_is_refuted() -> None:
    verdict = static.check(spec(eps="0"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "0/0" in verdict.detail
    assert verdict.counterexample is not None
    assert verdict.counterexample.inputs["g"] == "0.0"
    assert "p = p - lr*g" in verdict.counterexample.spec_line


def test_a_state_that_leaves_its_domain_is_refuted() -> None:
    verdict = static.check(spec(v="abs(g) - g**2"), PLAIN)
    assert verdict.status is Status.REFUTED
    assert "`v`" in verdict.detail
