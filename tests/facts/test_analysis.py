"""The analysis of made-up rules: what it must see, and what it must not take for granted."""

from __future__ import annotations

import pytest
from support import small, stock

from stepforge.facts.costs import costs
from stepforge.facts.derive import Facts, facts
from stepforge.facts.limits import limits
from stepforge.language.reader import loads
from stepforge.lowering.lower import lower


def of(rule: str, *states: str, numbers: tuple[str, ...] = ("lr", "beta"), **inputs: str) -> Facts:
    return facts(small(rule, hyperparameters=numbers, state=states, inputs=inputs), {})


@pytest.mark.parametrize(
    ("rule", "states", "status", "power"),
    [
        ("p = p - lr*g", "", "proved", "1"),
        ("p = p - lr*g**3", "", "proved", "3"),
        ("p = p - lr*sign(g)*sqrt(abs(g))", "", "proved", "1/2"),
        ("p = p - lr*sign(g)*abs(g)**beta", "", "proved", "beta"),
        ("m = beta*m + g\np = p - lr*t*m", "m", "proved", "1"),
        ("m = max(m, abs(g))\np = p - lr*g/m", "m", "proved", "0"),
        ("p = p - lr*g**t", "", "refuted", ""),
        ("p = p - lr*abs(g)**(1/t)", "", "refuted", ""),
        ("p = p - lr*sign(g - 1)", "", "refuted", ""),
        ("p = p - lr*(g if abs(g) > 1 else 0)", "", "refuted", ""),
        ("p = p - (lr*g if t == 1 else lr*sign(g))", "", "refuted", ""),
        ("m = m*g + 1\np = p - lr*m", "m", "refuted", ""),
        ("p = p - lr*tanh(g)", "", "refuted", ""),
        ("p = p - lr*(g if abs(g) > 1 else 2*g)", "", "refuted", ""),  # of one degree both
        ("if beta > lr:\n    g = 2*g\np = p - lr*g", "", "proved", "1"),
    ],
)
def test_powers(rule: str, states: str, status: str, power: str) -> None:
    found = of(rule, *states).loss
    assert (found.status, found.value) == (status, power)


def test_a_position_may_be_kept_in_parts() -> None:
    """Averages of positions are positions, and their differences are none."""
    rule = "if t == 1:\n    q = p/2\nd = 2*q - p\nq = beta*q + (1 - beta)*p/2\np = p - lr*(g + d)"
    found = of(rule, "q")
    assert found.free.status == found.loss.status == "proved"
    assert (found.loss.value, found.loss.conditions) == ("1", ())


def test_a_part_that_changes_with_the_steps_is_none() -> None:
    found = of("d = q - p/t\nq = p/t\np = p - lr*(g + d)", "q")
    assert found.free.status == "refuted"


def test_a_part_that_is_a_changing_number_is_none() -> None:
    rule = "s = s/2 + lr\nd = q - s*p\nq = s*p\np = p - lr*(g + d)"
    spec = small(rule, state={"q": "", "s": "scalar = true"})
    assert facts(spec, {}).free.status == "refuted"


def test_the_rate_is_looked_for_in_states() -> None:
    found = of("m = beta*m - lr*g\np = p + m", "m")
    assert found.rate is not None
    assert (found.rate.value, found.rate_states, found.tenth) == ("1", ("m",), True)
    found = of("m = beta*m + g\np = p - lr*m", "m")
    assert (found.rate_states, found.tenth) == ((), True)
    found = of("if lr > 1:\n    g = 2*g\np = p - lr*g")
    assert found.rate is not None
    assert found.rate.status == "unknown"  # of two rates, all steps change alike
    found = of("p = p - lr**2*g")
    assert found.rate is not None
    assert (found.rate.value, found.tenth) == ("2", False)
    assert of("p = p - beta*g", numbers=("beta",)).rate is None


def test_conditions_are_those_that_are_needed() -> None:
    found = of("p = p - lr*(g + a*p)/(abs(g) + b)", numbers=("lr", "a", "b"))
    assert (found.loss.value, found.loss.conditions, found.loss.needed) == (
        "0",
        ("a", "b"),
        ("a", "b"),
    )
    assert (found.free.conditions, found.free.needed) == (("a",), ("a",))


def test_what_stops_all_steps_is_no_condition() -> None:
    found = of("p = p - a*g/(abs(g) + 1)", numbers=("a",))
    assert (found.loss.status, found.loss.conditions) == ("refuted", ())


def test_what_rounding_alone_decides_is_no_witness() -> None:
    """`p - q_hat` is zero in the first step of FOCUS, but for rounding."""
    found = facts(stock("focus"), {})
    assert (found.free.conditions, found.free.needed) == (("gamma",), ())
    assert found.still.needed == ()


@pytest.mark.parametrize(
    ("rule", "states", "status"),
    [
        ("p = p - lr*max(g, 0)", "", "refuted"),
        ("p = p - lr*clip(g, -1, 2)", "", "refuted"),
        ("p = p - lr*clip(g, -beta, beta)", "", "proved"),
        ("p = p - lr*(abs(g) if g > 0 else g)", "", "unknown"),  # it is, but by both arms together
        ("p = p - lr*(g if g*p > 0 else 0)", "", "proved"),
        ("p = p - lr*atan2(g, m)\nm = beta*m + g", "m", "refuted"),
        ("p = p - lr*atan2(g, abs(m))\nm = beta*m + g", "m", "proved"),
        ("p = p - lr*atan2(g, cos(3*g))", "", "unknown"),  # not for no gradient and a negative one
        ("p = p - lr*(g if g > 0 else 2*g)", "", "refuted"),
        ("p = p - lr*g**2", "", "refuted"),
        ("p = p - lr*exp(g)", "", "refuted"),
    ],
)
def test_signs(rule: str, states: str, status: str) -> None:
    assert of(rule, *states).odd.status == status


@pytest.mark.parametrize(
    ("rule", "states", "limit"),
    [
        ("p = p - lr**2*sign(g)", "", "lr**2"),
        ("p = p - lr**2*(sign(g) + tanh(p))", "", "2*lr**2"),
        ("p = p - clip(g, -1, 2)", "", "2"),
        ("p = p - min(abs(g), 3)", "", "3"),
        ("m = sign(g)\np = p - lr**2*m", "m", "lr**2"),
        ("p = p - lr*g", "", ""),
        ("p = p - sign(g)/abs(p)", "", ""),
        ("p = p - m\nm = sign(g)/t", "m", ""),  # of the step before: larger than 1/t
        ("m = m + sign(g)\np = p - m", "m", ""),
        ("p = p - max(-abs(g), -1)*t", "", ""),  # of no sign that is known
        ("v = v + g**2\nm = m + g\np = p - m/sqrt(v)", "mv", ""),  # v has no domain
    ],
)
def test_bounds(rule: str, states: str, limit: str) -> None:
    found = of(rule, *states).bound
    assert (found.status, found.value) == (("proved", limit) if limit else ("unknown", ""))


def quotient(rule: str) -> Facts:
    return facts(small(rule, state={"m": "", "v": 'domain = "v >= 0"'}, hyperparameters=()), {})


def test_averages_are_bounded_by_those_of_squares() -> None:
    """Of sums, the bound is the root of the number of steps: all gradients may be alike."""
    found = quotient("v = v/2 + g**2\nm = m/2 + g\np = p - m/sqrt(v)").bound
    assert found.status == "proved"
    assert found.figures[1] == 1
    assert found.figures[100] == pytest.approx(2**0.5)  # 1 + 1/2 + 1/4 + …, under the root
    for rule in (
        "v = v/2 + g**2\nv = v/4\nm = m/2 + g\np = p - m/sqrt(v)",
        "v = v/2 + g**2\nm = m/2 + p\np = p - m/sqrt(v)",
        "m = m/2 + g\np = p - m/sqrt(v)\nv = v/2 + g**2",
        "v = t*v + g**2\nm = m/2 + g\np = p - m/sqrt(v)",
        "v = v/2 + g**2\nm = m/2 + t*g\np = p - m/sqrt(v)",
    ):
        assert quotient(rule).bound.status == "unknown", rule


def test_inputs_may_follow_the_loss() -> None:
    found = of("p = p - lr*f/abs(g)*sign(g)", numbers=("lr",), f='domain = "f > 0"')
    assert (found.loss.value, found.loss.inputs) == ("0", "scaled")
    found = of("p = p - lr*g*tanh(f)", numbers=("lr",), f="scalar = true")
    assert (found.loss.value, found.loss.inputs) == ("1", "unchanged")
    assert (found.odd.status, found.odd.inputs) == ("proved", "unchanged")
    found = of("p = p - lr*(f + g)", numbers=("lr",), f="")
    assert (found.odd.status, found.odd.inputs) == ("proved", "negated")


@pytest.mark.parametrize(
    ("rule", "factor", "by_rate"),
    [
        ("p = p - lr*g - lr*beta*p", "1 - beta*lr", "proportional"),
        ("p = (1 - beta)*p - lr*g", "1 - beta", "independent"),
        ("p = (p - lr*g)/(1 + lr*beta)", "1/(1 + beta*lr)", "otherwise"),
        ("p = p - lr*g", "1", ""),
    ],
)
def test_decay(rule: str, factor: str, by_rate: str) -> None:
    found = of(rule)
    assert (found.decay.status, found.decay.value, found.decay_rate) == ("proved", factor, by_rate)


def test_what_moves_without_gradient_is_told() -> None:
    assert of("p = p - lr*cos(g)").still.status == "refuted"
    found = of("m = beta*m + g + lr*p\np = p - m", "m")
    assert (found.still.status, found.decay.status) == ("refuted", "unknown")


def test_operations_are_counted_by_hand() -> None:
    rule = (
        "m = beta*m + (1 - beta)*g\n"
        "if t == 1:\n    p = p - lr*m\nelse:\n    p = p - lr*m/sqrt(abs(m))"
    )
    kernel = lower(small(rule, hyperparameters=("lr", "beta"), state=("m",)))
    found = costs(kernel, {})
    assert found.operations == {
        "additions": 2, "multiplications": 3, "divisions": 1, "roots": 1, "functions": 0,
        "choices": 1,
    }  # fmt: skip
    assert (found.state_bytes, found.moved_bytes, found.moved_bytes_mixed) == (4, 20, 14)


def test_options_decide_what_is_counted() -> None:
    kernel = lower(stock("adam"))
    default = {o.name: False for o in stock("adam").options}
    plain, larger = costs(kernel, default), costs(kernel, {**default, "amsgrad": True})
    assert (plain.moved_bytes, larger.moved_bytes) == (28, 36)
    assert larger.operations["choices"] == plain.operations["choices"] + 1


def test_limits_are_the_relations_of_one() -> None:
    others = [stock(name) for name in ("sgd", "momentum_ema", "adam", "qhm")]
    found = limits(stock("qhm"), {}, others)
    assert {r.b.spec.name: r.status for r in found} == {"momentum_ema": "PROVED", "sgd": "PROVED"}
    assert all(r.a.spec.name == "qhm" for r in found)


def test_without_a_learning_rate() -> None:
    text = stock("cocob").source.text
    assert facts(loads(text)[0], {}).tenth is None
