from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from front_end import LR, codes, found, option, spec, text
from hypothesis import given, settings
from hypothesis import strategies as st
from support import numpy_of

import stepforge
from stepforge.backends.registry import BACKENDS
from stepforge.backends.render import render
from stepforge.language.expression import assignments, subexpressions
from stepforge.language.literals import literal
from stepforge.language.spec import straight, taken
from stepforge.lowering.lower import lower

A, B = option("a"), option("b")
AB = f"{A}\n{B}"
V = 'v = { init = 0, doc = "Sum." }'


def value(expression: str) -> Fraction | None:
    rule = f"p = p - lr*g\nx = {expression}\np = p - x"
    (assign,) = (s for s in assignments(spec(rule=rule).rule) if s.name == "x")
    return literal(assign.value)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1/3", Fraction(1, 3)),
        ("-(1 - 0.5)*4", Fraction(-2)),
        ("2**10", Fraction(1024)),
        ("2**-1", Fraction(1, 2)),
        ("2**0.5", None),
        ("2**0.3", None),
        ("0**0.5", Fraction(0)),
        ("abs(-2)", Fraction(2)),
        ("max(1, 2, 3)", Fraction(3)),
        ("min(1, 2)", Fraction(1)),
        ("sqrt(0)", Fraction(0)),
        ("sqrt(2)", None),
        ("1e-300*1e-300", Fraction(0)),
        ("lr", None),
        ("0*lr", None),
    ],
)
def test_an_expression_of_literals_has_its_exact_value(
    expression: str, expected: Fraction | None
) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("1/0", "E113"),
        ("lr/(2 - 2)", "E113"),
        ("1/(1 - 2*0.5)", "E113"),
        ("g/-0.0", "E113"),
        ("0**-1", "E113"),
        ("0**-0.5", "E113"),
        ("1/sqrt(0)", "E113"),
        ("1/(1e-200*1e-200)", "E113"),
        ("9**9**9", "E109"),
        ("2**301", "E109"),
        ("1e300**2", "E109"),
        ("((1.000001**300)**300)**300", "E109"),
        ("1e300*1e300", "E106"),
        ("1e300/1e-300", "E106"),
    ],
)
def test_an_impossible_constant_is_reported_once(expression: str, code: str) -> None:
    assert codes(rule=f"p = p - lr*g*({expression})") == [code]


def test_an_impossible_constant_does_not_hide_another() -> None:
    assert codes(rule="p = p - lr*g*(1/0)*(2/0)") == ["E113", "E113"]


def test_a_rule_is_straight_under_given_options() -> None:
    model = spec(
        options=AB,
        rule="if a:\n    g = 1*g\nelif b:\n    g = 2*g\nelse:\n    g = 3*g\np = p - lr*g",
    )

    def run(a: bool, b: bool) -> list[str]:
        return [s.text for s in straight(model.rule, {"a": a, "b": b})]

    assert run(True, True) == ["g = 1*g", "p = p - lr*g"]
    assert run(False, True) == ["g = 2*g", "p = p - lr*g"]
    assert run(False, False) == ["g = 3*g", "p = p - lr*g"]


def test_names_are_taken_from_the_arm_that_runs() -> None:
    model = spec(options=A, rule="x = g\ny = p\np = p - lr*((x if a else y) + g)")
    last = list(assignments(model.rule))[-1].value
    assert [n.id for n in taken(last, {"a": True})] == ["p", "lr", "x", "g"]
    assert [n.id for n in taken(last, {"a": False})] == ["p", "lr", "y", "g"]


def test_subexpressions_come_inner_first() -> None:
    (assign,) = assignments(spec(rule="p = p - lr*-g").rule)
    assert [e.op for e in subexpressions(assign.value)] == ["neg", "mul", "sub"]


FLOW = [
    # Assigned before use, under all options.
    ("x = g\np = p - lr*x", "", []),
    ("p = p - lr*x\nx = g", "", ["E123"]),
    ("x = x + g\np = p - lr*x", "", ["E123"]),
    ("if a:\n    x = g\nelse:\n    x = 2*g\np = p - lr*x", A, []),
    ("if a:\n    x = g\np = p - lr*x", A, ["E129"]),
    ("if a:\n    x = g\np = p - lr*(x if a else g)", A, []),
    ("if a:\n    x = g\np = p - lr*(g if not a else x)", A, []),
    ("if a:\n    x = g\nif a and b:\n    g = x\nif b:\n    g = -g\np = p - lr*g", AB, []),
    ("if a:\n    x = g\nif a or b:\n    g = x\np = p - lr*g", AB, ["E129"]),
    ("if a:\n    x = g\nelif b:\n    x = 2*g\nelse:\n    x = 3*g\np = p - lr*x", AB, []),
    ("if a:\n    if b:\n        x = g\n    else:\n        x = 1\n    g = g + x\np = p - lr*g",
     AB, []),
    ("if a:\n    p = p - x\nx = g\np = p - lr*x", A, ["E123"]),
    # Assigned at all.
    ("if a:\n    p = p - lr*g", A, ["E125"]),
    ("if a:\n    p = p - lr*g\nelse:\n    p = p - g", A, []),
    # Used at all.
    ("x = g\ny = x\np = p - lr*g", "", ["E127"]),
    ("x = g\np = p - lr*g", "", ["E127"]),
    ("p = p - lr*g", A, ["W202"]),
    # The gradient reaches the parameter.
    ("g = 0\np = p - lr*g", "", ["E133"]),
    ("if a:\n    g = 0*p\np = p - lr*g", A, ["E133"]),
    ("x = g\ng = 0\np = p - lr*(x + g)", "", []),
    ("p = p - lr*(g if a else 1)", A, ["E133"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "options", "expected"), FLOW)
def test_flow_is_followed_under_all_options(rule: str, options: str, expected: list[str]) -> None:
    assert codes(rule=rule, options=options) == expected


STATE_FLOW = [
    ("v = v + g\np = p - lr*v", V, "", []),
    ("p = p - lr*v\nv = g", V, "", []),
    ("p = p - lr*(v + g)", V, "", ["E124"]),
    ("if a:\n    v = g\np = p - lr*(v + g)", V, A, ["E124"]),
    ("v = 0.5*v\np = p - lr*v", V, "", ["E133"]),
    ("p = p - lr*w\nw = v\nv = g", V + '\nw = { init = 0, doc = "Last." }', "", []),
    ("if a:\n    v = v + g\n    g = v\np = p - lr*g", V.replace("0,", '0, when = "a",'), A, []),
    ("if a:\n    v = v + g\np = p - lr*(v if a else g)", V.replace("0,", '0, when = "a",'), A, []),
    ("v = v + g\nif a:\n    g = v\np = p - lr*g", V.replace("0,", '0, when = "a",'), A,
     ["E128", "E128"]),
    ("if b:\n    v = v + g\n    g = v\nif a:\n    g = -g\np = p - lr*g",
     V.replace("0,", '0, when = "a and b",'), AB, ["E128", "E128", "E128"]),
    ("if a and b:\n    v = v + g\n    g = v\np = p - lr*g",
     V.replace("0,", '0, when = "a and b",'), AB, []),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "state", "options", "expected"), STATE_FLOW)
def test_states_are_assigned_and_used_where_they_exist(
    rule: str, state: str, options: str, expected: list[str]
) -> None:
    assert codes(rule=rule, state=state, options=options) == expected


@pytest.mark.parametrize(
    ("rule", "options", "under"),
    [
        ("if a:\n    x = g\nif b:\n    g = -g\np = p - lr*x", AB, "when `not a`"),
        ("if a:\n    x = g\nif a or b:\n    g = x\np = p - lr*g", AB, "when `not a and b`"),
        ("if not b:\n    x = g\nif a:\n    g = x\np = p - lr*g", AB, "when `a and b`"),
    ],
)  # fmt: skip
def test_a_message_names_the_options_that_matter(rule: str, options: str, under: str) -> None:
    (diagnostic,) = found(text(rule=rule, options=options))
    assert diagnostic.message == f"`x` has no value {under}"


def test_an_option_that_needs_another_is_checked_only_with_it() -> None:
    options = A + "\n" + option("b", "a")
    rule = "if a:\n    x = g\nif b:\n    g = x\np = p - lr*g"
    assert codes(rule=rule, options=options) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("p = p - lr*(1 if g > 0 else -1)*g", []),
        ("p = p - lr*(g if lr > 0 and g < 1 else -g)", []),
        ("p = p - lr*(g > 0)*g", ["E111"]),
        ("p = p - sqrt(g > 0)*lr", ["E111"]),
        ("p = p - (g if lr else p)", ["E111"]),
        ("p = p - (g if not lr else p)", ["E111"]),
        ("p = p - (g if (g > 0) > lr else p)", ["E111"]),
        ("x = lr > 0\np = p - (g if x else p)", ["E111"]),
    ],
)
def test_conditions_and_numbers_are_kept_apart(rule: str, expected: list[str]) -> None:
    assert codes(rule=rule) == expected


@pytest.mark.parametrize(
    "exponent", ["2", "-3", "17", "0.5", "-0.5", "0.25", "1/2", "1 + 1", "1.5", "lr", "t", "g"]
)
def test_tensors_have_any_power(exponent: str) -> None:
    assert codes(rule=f"p = p - lr*abs(g)**({exponent})") == []


def test_scalars_have_all_powers() -> None:
    assert codes(rule="p = p - lr**(1.5*t)*g") == []


def test_a_local_is_a_tensor_after_branches_that_make_it_one() -> None:
    state = 'mu = { init = 1, scalar = true, doc = "Product." }'
    rule = "if a:\n    x = g\nelse:\n    x = lr\nmu = mu*x\np = p - lr*mu*g"
    assert codes(rule=rule, options=A, state=state) == ["E130"]


DOMAINS = "\n".join(
    [
        LR,
        'beta = { default = 0.5, domain = "0 <= beta < 1", doc = "Decay." }',
        'shift = { default = 0, doc = "Anything." }',
    ]
)


@pytest.mark.parametrize(
    ("argument", "clear"),
    [
        ("g", False),
        ("g**2", True),
        ("g*g", True),
        ("abs(g)", True),
        ("g**3", False),
        ("lr", True),
        ("shift", False),
        ("shift + lr", False),
        ("beta*g**2 + lr", True),
        ("1 - beta", True),
        ("1 - beta**t", True),
        ("1 - lr", False),
        ("2 - beta", False),
        ("max(shift, 0)", True),
        ("min(shift, 1)", False),
        ("clip(shift, 0, 1)", True),
        ("clip(lr, shift, 1)", True),
        ("clip(lr, 0, shift)", False),
        ("g**2 if 1 < 2 else g", False),
        ("exp(shift)", True),
        ("-lr", False),
        ("t - 1", True),
        ("t - 2", False),
        ("lr/t", True),
        ("lr if beta > 0 else g**2", True),
        ("lr if beta > 0 else g", False),
    ],
)
@pytest.mark.parametrize("function", ["sqrt({})", "log({})", "({})**0.5"])
def test_a_root_of_what_may_be_negative_is_a_warning(
    function: str, argument: str, clear: bool
) -> None:
    rule = f"p = p - lr*g*(beta + shift)*{function.format(argument)}"
    assert codes(rule=rule, hyperparameters=DOMAINS) == ([] if clear else ["W201"])


@pytest.mark.parametrize(
    ("power", "clear"),
    [("shift**t", True), ("shift**(2*t - 1)", True), ("shift**beta", False), ("lr**beta", True)],
)
def test_a_real_power_of_what_may_be_negative_is_a_warning(power: str, clear: bool) -> None:
    rule = f"p = p - lr*g*beta*shift*{power}"
    assert codes(rule=rule, hyperparameters=DOMAINS) == ([] if clear else ["W201"])


def test_signs_follow_assignments_and_domains_of_states() -> None:
    state = 'v = { init = 0, domain = "v >= 0", doc = "Sum." }'
    assert codes(rule="v = v + g**2\np = p - lr*g/sqrt(v)", state=state) == []
    assert codes(rule="x = g**2\np = p - lr*g*sqrt(x)") == []
    assert codes(rule="x = g\np = p - lr*g*sqrt(x)") == ["W201"]


@pytest.mark.parametrize(
    ("options", "rule", "expected"),
    [
        (A, "A = g\nif a:\n    g = -g\np = p - lr*A*g", ["E018"]),
        (option("A"), "if A:\n    g = -g\np = p - lr*g", []),
        (option("a") + "\n" + option("A"), "if a and A:\n    g = -g\np = p - lr*g", ["E018"]),
    ],
)
def test_an_option_in_upper_case_is_no_other_name(
    options: str, rule: str, expected: list[str]
) -> None:
    assert codes(options=options, rule=rule) == expected


SIMPLE = (
    "x = g", "x = lr", "y = x", "y = 2*x + g", "g = -g", "g = x", "v = v + g", "p = p - lr*g",
    "p = p - lr*(x if a else y)", "p = p - v", "v = y", "x = (v if b else g)",
)  # fmt: skip
CONDITIONS = ("a", "b", "not a", "a and b", "a or b")
STATEMENTS = st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=4)
BLOCKS = st.tuples(st.sampled_from(CONDITIONS), STATEMENTS).map(
    lambda t: f"if {t[0]}:\n" + "\n".join(f"    {s}" for s in t[1])
)
RULES = st.lists(st.one_of(STATEMENTS.map("\n".join), BLOCKS), min_size=1, max_size=5)


def runs(rule: str, a: bool, b: bool) -> bool:
    """Whether Python finds a value for every name."""
    try:
        exec(rule, {"a": a, "b": b, "p": 1.0, "g": 1.0, "v": 0.0, "lr": 0.1})
    except NameError:
        return False
    return True


@settings(max_examples=500)
@given(RULES.map("\n".join))
def test_names_have_values_exactly_when_python_finds_them(rule: str) -> None:
    reported = set(codes(rule=rule, options=AB, state=V))
    if "E104" in reported:
        return
    complete = all(runs(rule, a, b) for a in (False, True) for b in (False, True))
    assert complete is not bool(reported & {"E123", "E129"})


def test_what_is_never_used_is_a_warning_and_takes_no_memory() -> None:
    head = 'name = "x"\ntitle = "T"\nsummary = "S."\nreference = "R"\n'
    tables = (
        '[hyperparameters]\nlr = { default = 0.1, doc = "L." }\nk = { default = 1, doc = "K." }\n'
        '[options]\nflag = { default = false, doc = "F." }\n'
        '[state]\nm = { init = 0, doc = "M." }\nlast = { init = 0, doc = "L." }\n'
    )
    torch = '[torch]\nclass = "SGD"\nstate = { m = "momentum_buffer", last = "last" }\n'
    rule = "[rule]\nupdate = '''\nlast = g\np = p - lr*g\n'''\n"
    made, found = stepforge.loads(head + tables + rule + torch)
    assert [(d.code, d.severity) for d in found] == [("W202", "warning")] * 4
    assert [s.name for s in made.states] == ["last"]
    assert made.torch is not None
    assert dict(made.torch.state) == {"last": "last"}
    p, state = np.ones(2), {"last": np.zeros(2)}
    p, state = numpy_of(made).step(p, np.array([1.0, 2.0]), state, 1, k=7, flag=True)
    assert p.tolist() == [0.9, 0.8]
    assert state["last"].tolist() == [1.0, 2.0]
    for backend in (b for b in BACKENDS if BACKENDS[b].suffix == ".py"):
        assert compile(render(lower(made), backend), backend, "exec")
