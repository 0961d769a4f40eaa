from __future__ import annotations

import pytest
from front_end import option, spec

from stepforge.language import kinds
from stepforge.language.expression import Assign, Expression, assignments
from stepforge.language.kinds import Kind
from stepforge.language.spec import Spec

OPTION, SCALAR, TENSOR = Kind.OPTION, Kind.SCALAR, Kind.TENSOR
STATES = 'v = { init = 0, doc = "Sum." }\nmu = { init = 1, scalar = true, doc = "Product." }\n'
KEEP = "\nmu = 0.5*mu\nv = v + g\np = p - lr*mu*(v + x)"


def local(rule: str) -> Spec:
    """A spec whose rule assigns `x` first."""
    return spec(rule=rule + KEEP, options=option("a"), state=STATES)


def value(text: str) -> tuple[Expression, Spec]:
    model = local(f"if a:\n    g = -g\nx = {text}")
    return next(s.value for s in assignments(model.rule) if s.name == "x"), model


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", SCALAR),
        ("lr", SCALAR),
        ("t", SCALAR),
        ("mu", SCALAR),
        ("1 - lr**t", SCALAR),
        ("max(lr, 1)", SCALAR),
        ("p", TENSOR),
        ("g", TENSOR),
        ("v", TENSOR),
        ("lr*g", TENSOR),
        ("sqrt(v)", TENSOR),
        ("1 if lr > 0 else 2", SCALAR),
        ("1 if g > 0 else 2", TENSOR),
        ("g if lr > 0 else 2", TENSOR),
        ("1 if a else 2", SCALAR),
        ("g if a else 2", TENSOR),
        ("1 if not a else g", TENSOR),
    ],
)
def test_whatever_holds_no_tensor_is_a_scalar(text: str, kind: Kind) -> None:
    expression, model = value(text)
    assert kinds.kind(expression, kinds.declared(model)) is kind


def test_declared_names_have_their_kinds() -> None:
    assert kinds.declared(local("if a:\n    g = -g\nx = g")) == {
        "p": TENSOR,
        "g": TENSOR,
        "t": SCALAR,
        "lr": SCALAR,
        "a": OPTION,
        "v": TENSOR,
        "mu": SCALAR,
    }


def test_p_g_and_tensor_states_stay_tensors() -> None:
    model = local("x = g\nif a:\n    g = 1\n    x = x + g")
    assert kinds.fixed(model) == {"p", "g", "v"}
    (assign,) = (s for s in assignments(model.rule) if s.name == "g")
    assert kinds.after(assign, kinds.declared(model), kinds.fixed(model)) is TENSOR


def test_a_name_that_is_a_tensor_in_one_branch_is_a_tensor() -> None:
    assert kinds.join({"x": SCALAR, "y": SCALAR}, {"x": TENSOR, "z": TENSOR}) == {
        "x": TENSOR,
        "y": SCALAR,
        "z": TENSOR,
    }


def kind_at_end(rule: str) -> Kind:
    """The kind of `x` before the last statement."""
    *_, (statement, known) = kinds.walk(local(rule))
    assert isinstance(statement, Assign)
    return known["x"]


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("if a:\n    x = g\nelse:\n    x = lr", TENSOR),
        ("if a:\n    x = lr\nelse:\n    x = 1", SCALAR),
        ("x = lr\nif a:\n    x = g", TENSOR),
        ("x = lr\nif not a:\n    if a:\n        x = g\n    else:\n        x = 1", TENSOR),
        ("x = g\nx = x*0\nif a:\n    x = 1\nelse:\n    x = 2", SCALAR),
        ("y = g\nx = y if a else 1", TENSOR),
        ("y = lr\nx = y if a else 1", SCALAR),
    ],
)
def test_the_kind_of_a_local_follows_the_rule(rule: str, kind: Kind) -> None:
    assert kind_at_end(rule) is kind


def test_every_statement_is_visited_with_what_is_known_before_it() -> None:
    model = local("if a:\n    g = -g\nx = lr")
    known = {s.name: k for s, k in kinds.walk(model) if isinstance(s, Assign)}
    assert "x" not in known["x"]
    assert known["mu"]["x"] is SCALAR
