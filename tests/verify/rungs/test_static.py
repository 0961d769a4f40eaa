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
        verdict = look(stock(name), options)
        assert (verdict.status, verdict.warnings) == (Status.TESTED, ())


def test_a_spec_that_climbs_gets_a_warning() -> None:
    verdict = look(spec(sign="+"), PLAIN)
    assert verdict.status is Status.TESTED
    assert "moves the other way for g = 1, -1, 0.001, -0.001, 50" in verdict.warnings[0]


def test_with_maximize_a_spec_must_climb() -> None:
    assert not look(spec(), {"maximize": True}).warnings
    assert "uphill" in look(spec(sign="+"), {"maximize": True}).warnings[0]


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
    assert not look(roled, {"ascend": False}).warnings
    assert not look(roled, {"ascend": True}).warnings
    assert "downhill" in look(loads(text)[0], {"ascend": True}).warnings[0]


def test_a_default_learning_rate_of_zero_hides_no_direction() -> None:
    still = TEMPLATE.replace("0.1", "0")
    down, up = (loads(still.format(eps="1e-8", v="g**2", sign=s))[0] for s in "-+")
    assert not look(down, PLAIN).warnings
    assert "moves the other way" in look(up, PLAIN).warnings[0]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("v = 0.5*v + abs(g)", True),
        ("v = max(v - 0.0005, 0)", True),
        ("v = v - 0.0005 + lr/100", False),  # it leaves the domain where lr is small, or grows
        ("v = exp(v) - 1", False),  # it is kept, but that does not follow from ranges
        ("v = lr*v/(1 + v)", True),
        ("v = abs(v) if g > 0 else min(v, -g)", False),
    ],
)
def test_that_a_domain_is_kept_is_shown_or_a_warning_says_that_it_is_assumed(
    rule: str, kept: bool
) -> None:
    text = RULE.replace("v = v + g**2\n{rule}", "{rule}\np = p - lr*g")
    verdict = look(loads(text.format(rule=rule))[0], {})
    assert verdict.status is Status.TESTED, verdict
    assumed = [w for w in verdict.warnings if "`v` keeps its domain `v >= 0`" in w]
    assert bool(assumed) is not kept


WAITING = {
    "a product with p": ("p = p*exp(-lr*g)", "stays at 0"),
    "a soft threshold": ("p = sign(p - lr*g)*max(abs(p - lr*g) - lr*60, 0)", "stays at 0"),
    "every fifth step": ("p = p - lr*g if t > 4 else p", "stays at 0"),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_rule_that_does_not_move_at_once_gets_a_warning(name: str) -> None:
    rule, words = WAITING[name]
    verdict = look(loads(RULE.format(rule=rule))[0], {})
    assert verdict.status is Status.TESTED
    assert words in verdict.warnings[0]


RULE = """\
name = "x"
title = "X"
summary = "S."
reference = "R"
[hyperparameters]
lr = {{ default = 0.1, domain = "lr >= 0", doc = "Rate." }}
[state]
v = {{ init = 0, domain = "v >= 0", doc = "V." }}
[rule]
update = '''
v = v + g**2
{rule}
p = p - 0*v
'''
"""
VALUES = {
    "a cube root": ("p = p - lr*g*exp(log(v)/3)", Status.TESTED),
    "a part of infinity": ("p = p - lr*g/(1 + 1/v)", Status.TESTED),
    "zero times infinity": ("p = p - lr*g*log(v)", Status.REFUTED),
    "a root of less than zero": ("p = p - lr*sqrt(g)", Status.REFUTED),
    "a division by zero on the host": ("p = p - lr/(t - 1)*g", Status.REFUTED),
    "one that is not asked for": ("p = p - (lr/(t - 1) if t > 1 else lr)*g", Status.TESTED),
}


@pytest.mark.parametrize("name", VALUES)
def test_only_what_is_no_number_in_ieee_arithmetic_is_a_fault(name: str) -> None:
    rule, status = VALUES[name]
    one = loads(RULE.format(rule=rule))[0]
    assert look(one, {}).status is status
