"""Spec to kernel: the split into host and elements, arguments, guards, powers, joins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import STOCK, lowered, module, numpy_of, small, stock

from stepforge.backends.python import HOST, PYTHON
from stepforge.backends.render import environment, render
from stepforge.backends.writer import Writer
from stepforge.language.diagnostics import SpecError
from stepforge.language.kinds import Kind
from stepforge.lowering.kernel import Kernel, lets
from stepforge.lowering.lower import lower


def host(kernel: Kernel, **values: float | bool) -> dict[str, Any]:
    """The values after the host program."""
    space: dict[str, Any] = {"math": math, **values}
    for helper in HOST.helpers(let.value for let in lets(kernel.host)):
        exec(environment().get_template(f"host/{helper}.jinja").render(), space)
    exec("\n".join(HOST.steps(kernel.host, 0)), space)
    return space


def stage(kernel: Kernel) -> str:
    """The element program as text."""
    return str(kernel).split("stage 0: element\n")[1]


def assigned(kernel: Kernel, name: str) -> str:
    """The host values of a name, as text."""
    return "; ".join(str(let.value) for let in lets(kernel.host) if let.name == name)


# The split.


def test_maximal_scalar_subexpressions_become_arguments() -> None:
    kernel = lowered("p = p - lr/(1 - beta**t) * (g*(lr + 1))", hyperparameters=("lr", "beta"))
    values = [assigned(kernel, a.name) for a in kernel.arguments]
    assert values == ["(div lr (sub 1 (pow beta t)))", "(add lr 1)"]


def test_products_are_not_regrouped_to_make_scalars_larger() -> None:
    kernel = lowered("p = p - lr*g*beta*lr", hyperparameters=("lr", "beta"))
    assert [a.name for a in kernel.arguments] == ["lr", "beta"]
    assert stage(kernel).strip() == "p = (sub p (mul (mul (mul lr g) beta) lr))"


def test_a_scalar_that_is_used_twice_is_one_argument() -> None:
    kernel = lowered("p = p - (1 - lr)*g\np = p - (1 - lr)*g")
    assert [a.name for a in kernel.arguments] == ["one_minus_lr"]


def test_literals_are_no_arguments() -> None:
    kernel = lowered("p = p - lr*(2*g + -3*p)")
    assert [a.name for a in kernel.arguments] == ["lr"]
    assert "(mul (neg 3) p)" in stage(kernel)


def test_arithmetic_of_literals_is_done_on_the_host() -> None:
    kernel = lowered("p = p - lr*(1/3)*g - (1/3)*g")
    arguments = {a.name: assigned(kernel, a.name) for a in kernel.arguments}
    assert arguments["one_over_three"] == "(div 1 3)"


def test_scalar_states_live_on_the_host() -> None:
    kernel = lowered("c = c*lr\np = p - c*g", state={"c": "scalar = true"}, hyperparameters=("lr",))
    assert {t.name for t in kernel.tensors} == {"p", "g"}
    assert assigned(kernel, "c") == "(mul c lr)"


def test_conditions_on_host_scalars_are_boolean_arguments() -> None:
    kernel = lowered("p = p - (g if t > 1 else lr*g)")
    kinds = {a.name: a.boolean for a in kernel.arguments}
    assert kinds == {"lr": False, "t_above_one": True}


def test_no_stage_computes_a_scalar_in_any_stock_spec() -> None:
    for name in STOCK:
        for let in lets(lower(stock(name)).stages[0].body):
            for value in let.value.operations():
                assert value.args == () or value.kind is not Kind.SCALAR or value.is_literal


def test_a_tensor_that_is_assigned_before_it_is_read_is_not_loaded() -> None:
    kernel = lowered("b = g\np = p - lr*b", state=("b",))
    (b,) = (t for t in kernel.tensors if t.name == "b")
    assert not b.loaded
    assert b.stored


def test_a_tensor_that_only_one_option_set_reads_is_loaded() -> None:
    kernel = lowered("b = lr*b + g if keep else g\np = p - lr*b", state=("b",), options=("keep",))
    (b,) = (t for t in kernel.tensors if t.name == "b")
    assert b.loaded


# Arguments keep their value.


def test_an_argument_keeps_its_value_when_its_local_is_reassigned() -> None:
    kernel = lowered("a = lr*2\nm = a*g\na = lr*5\np = p - a*m", state=("m",))
    values = host(kernel, lr=10.0)
    first, second = (a.name for a in kernel.arguments)
    assert (values[first], values[second]) == (20.0, 50.0)


def test_an_argument_keeps_its_value_when_a_scalar_state_changes() -> None:
    kernel = lowered("m = c*g\nc = c + 1\np = p - lr*m*c", state={"m": "", "c": "scalar = true"})
    values = host(kernel, lr=0.5, c=7.0)
    assert [values[a.name] for a in kernel.arguments] == [7.0, 0.5, 8.0]
    assert values["c"] == 8.0


def test_the_reference_keeps_values_too() -> None:
    spec = small("a = lr*2\nm = a*g\na = lr*5\np = p - a*m", state=("m",))
    one = np.ones(1, np.float32)
    p, state = numpy_of(spec).step(one, one, {"m": one}, 1, lr=10.0)
    assert (state["m"][0], p[0]) == (20.0, 1 - 50.0 * 20.0)


# Options.


def test_arguments_that_an_option_leaves_out_are_zero_there() -> None:
    kernel = lowered(
        "if plain:\n    p = p - lr*g\nelse:\n    k = lr/2 + 1\n    p = p - k*g",
        options=("plain",),
    )
    assert host(kernel, lr=4.0, plain=True)["k"] == 0.0
    assert host(kernel, lr=4.0, plain=False)["k"] == 3.0


def test_both_branches_may_bind_the_same_argument() -> None:
    rule = "if a:\n    p = p - lr/t*g\nelse:\n    p = p + lr/t*g"
    kernel = lowered(rule, options=("a",))
    assert [a.name for a in kernel.arguments] == ["lr_over_t"]
    for option in (True, False):
        assert host(kernel, lr=4.0, t=2, a=option)["lr_over_t"] == 2.0


def test_a_local_of_both_branches_has_the_value_of_the_one_that_ran() -> None:
    rule = "if a:\n    k = lr*2\nelse:\n    k = lr*3\np = p - k*g"
    kernel = lowered(rule, options=("a",))
    (argument,) = kernel.arguments
    assert host(kernel, lr=1.0, a=True)[argument.name] == 2.0
    assert host(kernel, lr=1.0, a=False)[argument.name] == 3.0


def test_a_host_local_changed_in_a_branch_is_read_anew_after_it() -> None:
    rule = "k = lr\nm = k*g\nif a:\n    k = lr*3\np = p - k*m"
    kernel = lowered(rule, options=("a",), state=("m",))
    first, last = (a.name for a in kernel.arguments)
    values = host(kernel, lr=1.0, a=True)
    assert (values[first], values[last]) == (1.0, 3.0)


def test_a_scalar_is_promoted_where_the_other_branch_has_a_tensor() -> None:
    rule = "if a:\n    d = g*g\nelse:\n    d = lr\np = p - lr*g/d"
    spec = small(rule, options=("a",))
    assert "d = (fill d_2)" in stage(lower(spec))
    p, g = np.ones(3, np.float32), np.full(3, 2, np.float32)
    step = numpy_of(spec).step
    assert step(p, g, {}, 1, lr=0.5, a=False)[0].tolist() == [-1.0] * 3
    assert step(p, g, {}, 1, lr=0.5, a=True)[0].tolist() == [0.75] * 3


def test_a_long_promotion_keeps_the_shape_and_type() -> None:
    long = " + ".join(["a_hyperparameter_with_a_long_name"] * 5)
    spec = small(f"m = {long}\np = p - m*g", state=("m",),
                 hyperparameters=("a_hyperparameter_with_a_long_name",))  # fmt: skip
    one = np.ones(3, np.float32)
    _, state = numpy_of(spec).step(one, one, {"m": one}, 1)
    assert state["m"].dtype == np.float32
    assert state["m"].tolist() == [2.5] * 3


def test_a_state_assigned_a_scalar_becomes_a_full_tensor() -> None:
    assert stage(lowered("m = lr\np = p - m*g", state=("m",))).startswith("  m = (fill lr)")


# Guards: what is not taken is not evaluated.


@pytest.mark.parametrize(
    "rule",
    [
        "p = p - (lr/(t - 1)*g if t > 1 else g)",
        "p = p - (g if t <= 1 else lr/(t - 1)*g)",
        "k = lr/(t - 1) if t > 1 else 1\np = p - k*g",
        "p = p - ((lr/(t - 1)*g)**3 if t > 1 else g)",
        "p = p - ((lr/(t - 1)*g)**2 if t > 1 else g)",
        "p = p - ((g if t < 2 else lr*sqrt(t - 2)/(t - 1)*g) if t > 1 else g)",
        "if late:\n    p = p - lr/(t - 1)*g\nelse:\n    p = p - g",
        "p = p - (lr/(t - 1)*g if late else g)",
        "p = p - ((lr/(t - 1)*g)**5 if late else g)",
    ],
)
def test_an_untaken_division_by_zero_is_not_evaluated(rule: str) -> None:
    spec = small(rule, options=("late",) if "late" in rule else ())
    options = {"late": False} if "late" in rule else {}
    host(lower(spec), lr=0.5, t=1, **options)
    p, _ = numpy_of(spec).step(np.ones(2, np.float32), np.ones(2, np.float32), {}, 1, **options)
    assert p.tolist() == [0.0, 0.0]


def test_a_guarded_power_has_its_value_where_it_is_taken() -> None:
    spec = small("p = p - ((lr/(t - 1)*g)**3 if t > 1 else g)")
    one = np.ones(2, np.float32)
    assert numpy_of(spec).step(one, one, {}, 3, lr=1.0)[0].tolist() == [0.875, 0.875]


# Powers.


@pytest.mark.parametrize(
    ("power", "lowered_to"),
    [
        ("g**0.5", "(sqrt g)"),
        ("g**(1/2)", "(sqrt g)"),
        ("g**-0.5", "(div 1 (sqrt g))"),
        ("g**0.25", "(sqrt (sqrt g))"),
        ("g**-0.25", "(div 1 (sqrt (sqrt g)))"),
        ("g**0.75", "(pow g (fill 0.75))"),
        ("g**17", "(pow g (fill 17))"),
        ("g**lr", "(pow g (fill lr))"),
        ("g**p", "(pow g p)"),
        ("g**0", "(fill 1)"),
        ("g**1", "g"),
        ("g**2", "(mul g g)"),
        ("g**2.0", "(mul g g)"),
        ("g**3", "(mul (mul g g) g)"),
        ("g**-1", "(div 1 g)"),
        ("g**-2", "(div 1 (mul g g))"),
        ("(g + p)**2", "(square (add g p))"),
    ],
)
def test_tensor_powers_are_products_and_roots(power: str, lowered_to: str) -> None:
    kernel = lowered(f"p = p - lr*({power} + g)")
    assert f"(add {lowered_to} g)" in stage(kernel)


def test_the_base_of_a_higher_power_is_computed_once() -> None:
    kernel = lowered("p = p - lr*(g + p)**4")
    assert stage(kernel) == (
        "  base = (add g p)\n  p = (sub p (mul lr (mul (mul (mul base base) base) base)))"
    )


def test_the_name_of_a_base_avoids_the_authors_names() -> None:
    kernel = lowered("base = g*2\np = p - lr*(g + base)**3")
    assert [let.name for let in lets(kernel.rule)] == ["base", "base_2", "p"]


def test_powers_in_the_kernel_agree_with_those_of_the_reference() -> None:
    rule = "p = p - lr*((g + 1)**5 + g**-3 + (g - 1)**-2)"
    spec = small(rule)
    g = np.linspace(-3, 3, 50).astype(np.float32)
    p = np.zeros_like(g)

    def power(x: np.ndarray, n: int) -> np.ndarray:
        result = x
        for _ in range(n - 1):
            result = result * x
        return result

    one = np.float32(1)
    expected = p - np.float32(0.5) * (
        power(g + one, 5) + one / power(g, 3) + one / power(g - one, 2)
    )
    assert np.array_equal(numpy_of(spec).step(p, g, {}, 1)[0], expected)


def test_host_powers_stay_powers() -> None:
    assert assigned(lowered("p = p - lr**t*g"), "lr_to_t") == "(pow lr t)"


# Host values.


def test_host_minimum_maximum_clip_and_sign_keep_nan() -> None:
    rule = "a = max(1, lr)\nb = min(1, lr)\nc = clip(lr, -1, 1)\nd = sign(lr)\np = p - a*b*c*d*g"
    kernel = lowered(rule)
    values = host(kernel, lr=math.nan)
    assert all(math.isnan(values[name]) for name in "abcd")
    values = host(kernel, lr=-2.0)
    assert [values[name] for name in "abcd"] == [1.0, -2.0, -1.0, -1.0]


def test_lowering_is_the_same_twice() -> None:
    for name in STOCK:
        assert str(lower(stock(name))) == str(lower(stock(name)))


def test_every_argument_name_is_new_and_an_identifier() -> None:
    rule = "p = p - lr*1.5/7*g - 3*lr*g - (lr*4 if t > 0.5 else -lr)*g - -lr*g - abs(lr)*g"
    kernel = lowered(rule)
    names = [a.name for a in kernel.arguments]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
    assert module(render(kernel, "numpy"))


# Any rule at all: host program and stage together are the rule.


@st.composite
def rules(draw: st.DrawFn) -> str:
    """A random rule of scalars, tensors, powers, choices and option blocks."""
    known = ["p", "g", "m", "t", "lr", "beta", "c", "first"]

    def name() -> str:
        return draw(st.sampled_from(known))

    def expression(depth: int) -> str:
        kind = draw(st.sampled_from("nnlbbbfpcso" if depth else "nnl"))
        if kind == "n":
            return name()
        if kind == "l":
            return draw(st.sampled_from(["1", "2", "0.5", "3.25"]))
        a, b = expression(depth - 1), expression(depth - 1)
        condition = f"{name()}*{name()} {draw(st.sampled_from(['<', '>=']))} {name()}"
        return {
            "b": f"({a} {draw(st.sampled_from('+-*/'))} {b})",
            "f": f"{draw(st.sampled_from(['abs', 'sign']))}({a})",
            "p": f"({a} + 1)**{draw(st.sampled_from([0, 1, 2, 3, 4, -1, -2]))}",
            "c": f"{draw(st.sampled_from(['min', 'max']))}({a}, {b})",
            "s": f"({a} if {condition} else {b})",
            "o": f"({a} if keep else {b})",
        }[kind]

    lines = ["first = g"]
    for _ in range(draw(st.integers(1, 4))):
        target, depth = draw(st.sampled_from(["a", "b", "p", "m", "g"])), 3
        if draw(st.booleans()):
            lines += ["if keep:", f"    {target} = {expression(depth)}"]
            lines += ["else:", f"    {target} = {expression(depth)}"]
        else:
            lines.append(f"{target} = {expression(depth)}")
        known += [target] if target not in known else []
    lines.append("c = c*lr + beta*t - (1 if keep else 2)")
    lines.append(" + ".join(["m = m", expression(2), *(x for x in "ab" if x in known)]))
    return "\n".join([*lines, "p = p - lr*first*m"])


def outcome(run: Callable[[], Any]) -> Any:
    """The result, or that the host failed on it, such as by a division by zero."""
    try:
        with np.errstate(all="ignore"):
            return run()
    except (ArithmeticError, ValueError) as error:
        return type(error)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(rules(), st.booleans(), st.sampled_from([1, 2, 3]))
def test_host_and_stage_together_compute_the_rule(rule: str, keep: bool, t: int) -> None:
    try:
        spec = small(
            rule,
            hyperparameters=("lr", "beta"),
            options=("keep",),
            state={"m": "", "c": "scalar = true"},
        )
    except SpecError:
        assume(False)
    kernel, reference = lower(spec), numpy_of(spec)
    p = np.linspace(-2, 2, 17).astype(np.float32)
    g, m = p[::-1] * np.float32(1.37), p * p
    values = {"lr": 0.3, "beta": 0.75}

    def split() -> list[np.ndarray]:
        space = host(kernel, **values, t=float(t), c=0.5, keep=keep)
        after = {"c": space["c"]}
        space |= vars(reference) | {"real": np.float32, "p": p, "g": g, "m": m}
        writer = Writer(PYTHON, "numpy")
        exec("\n".join(writer.steps(kernel.stages[0].body, 0)), space)
        return [space["p"], space["m"], np.float64(after["c"])]

    def whole() -> list[np.ndarray]:
        new, state = reference.step(p, g, {"m": m, "c": 0.5}, t, **values, keep=keep)
        return [new, state["m"], np.float64(state["c"])]

    a, b = outcome(split), outcome(whole)
    if isinstance(a, list) and isinstance(b, list):
        for x, y in zip(a, b, strict=True):
            assert x.dtype == y.dtype
            assert np.array_equal(x, y, equal_nan=True)
    else:
        assert a is b
