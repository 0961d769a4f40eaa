"""Rules handed over from Python as SymPy expressions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy as sp
from support import environment, numpy_of, stock

import stepforge
from stepforge import SpecError, spec_from_sympy
from stepforge.language.mathematics import meaning, symbols
from stepforge.language.spec import Spec

lr, beta1, beta2, eps, decay = sp.symbols("lr beta1 beta2 eps weight_decay")
p, g, t, m, v, v_max, amsgrad, maximize = sp.symbols("p g t m v v_max amsgrad maximize")
m_hat, v_hat = sp.symbols("m_hat v_hat")

ADAMW: dict[str, Any] = {
    "name": "notebook_adamw",
    "title": "AdamW",
    "summary": "AdamW from a notebook.",
    "reference": "Loshchilov & Hutter 2019",
    "hyperparameters": {
        lr: {"default": 1e-3, "domain": lr >= 0, "doc": "Learning rate."},
        beta1: {"default": sp.Float("0.9"), "domain": "0 <= beta1 < 1", "doc": "First."},
        beta2: {"default": 0.999, "domain": (beta2 >= 0) & (beta2 < 1), "doc": "Second."},
        "eps": {"default": 1e-8, "domain": "eps >= 0", "doc": "Epsilon."},
        "weight_decay": {"default": sp.Rational(1, 100).evalf(), "doc": "Decay."},
    },
    "options": {
        "amsgrad": {"default": False, "doc": "Largest second moment."},
        maximize: {"default": False, "doc": "Ascend."},
    },
    "state": {
        m: {"init": 0, "doc": "First moment."},
        v: {"init": sp.Integer(0), "domain": v >= 0, "doc": "Second moment."},
        v_max: {"init": 0, "domain": v_max >= 0, "when": amsgrad, "doc": "Largest."},
    },
    "rule": [
        (g, sp.Piecewise((-g, maximize), (g, True))),
        ("p", p - lr * decay * p),
        ("m", beta1 * m + (1 - beta1) * g),
        (v, beta2 * v + (1 - beta2) * g**2),
        (v_max, sp.Max(v_max, v)),
        (v_hat, sp.Piecewise((v_max, amsgrad), (v, True)) / (1 - beta2**t)),
        (p, p - lr / (1 - beta1**t) * m / (sp.sqrt(v_hat) + eps)),
    ],
}


def tiny(**changed: Any) -> Spec:
    parts: dict[str, Any] = {
        "name": "tiny", "title": "T", "summary": "S.", "reference": "R",
        "hyperparameters": {"lr": {"default": 0.5, "doc": "H."}},
        "rule": [("p", p - lr * g)],
    }  # fmt: skip
    return spec_from_sympy(**{**parts, **changed})


@pytest.mark.parametrize("options", list(stock("adamw").option_sets()), ids=str)
def test_a_spec_handed_over_builds_the_same_mathematics(options: dict[str, bool]) -> None:
    """With a decay and without: the stock rule skips one of zero, which changes no real number."""
    ours, theirs = spec_from_sympy(**ADAMW), stock("adamw")
    plain = {name: sp.Symbol(name) for name in {**symbols(theirs)}}
    for chosen in (sp.Symbol("weight_decay", positive=True), sp.Integer(0)):
        plain["weight_decay"] = chosen
        for (name, a), b in zip(
            meaning(ours, options).items(), meaning(theirs, options).values(), strict=True
        ):
            a = a.subs({s: plain[s.name] for s in a.free_symbols})
            b = b.subs({s: plain[s.name] for s in b.free_symbols})
            assert sp.simplify(a - b) == 0, name


def test_it_runs_and_is_near_the_stock_spec() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = numpy_of(spec_from_sympy(**ADAMW)), numpy_of(stock("adamw"))
    values = generator.standard_normal((2, 100))
    results = []
    for reference in (ours, theirs):
        new, state = values[0], reference.init(values[0], amsgrad=True)
        for step in range(1, 5):
            new, state = reference.step(new, values[1], state, step, amsgrad=True)
        results.append(new)
    assert np.allclose(*results, rtol=1e-13, atol=0)


def test_defaults_options_and_states_arrive() -> None:
    spec = spec_from_sympy(**ADAMW)
    assert [(h.name, h.default) for h in spec.hyperparameters] == [
        ("lr", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8), ("weight_decay", 0.01),
    ]  # fmt: skip
    assert [o.name for o in spec.options] == ["amsgrad", "maximize"]
    assert [(s.name, s.when_text) for s in spec.states] == [
        ("m", ""), ("v", ""), ("v_max", "amsgrad"),
    ]  # fmt: skip


def test_its_text_is_a_spec_of_its_own() -> None:
    spec = spec_from_sympy(**ADAMW)
    again, warnings = stepforge.loads(spec.source.text)
    assert again == spec
    assert warnings == []


def test_sympys_argument_order_counts() -> None:
    spec = tiny(rule=[("p", sp.Add(p, sp.Mul(g, lr, -1, evaluate=False), evaluate=False))])
    assert "p = p + g * lr * -1" in spec.source.text


def test_a_broken_rule_is_reported_in_its_text() -> None:
    with pytest.raises(SpecError) as error:
        tiny(rule=[("p", p - lr * g * sp.Symbol("lrr"))])
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.path) == ("E104", "<tiny>")
    assert diagnostic.help == "did you mean `lr`?"


def test_the_rules_of_the_language_apply() -> None:
    with pytest.raises(SpecError, match="E013"):
        tiny(name="not a name")
    with pytest.raises(SpecError, match="E010"):
        tiny(hyperparameters={"lr": {"default": 1, "doc": "H.", "colour": "red"}})
    with pytest.raises(SpecError, match="E017"):
        tiny(title='"""')
    with pytest.raises(SpecError, match="E124"):
        tiny(state={"s": {"init": 0, "doc": "S."}}, rule=[("p", p - lr * sp.Symbol("s"))])


def test_text_from_python_stays_in_its_place() -> None:
    for bad in ["x'''\nname = 1", "x; y", "x y", "β", "", "x\n"]:
        with pytest.raises(ValueError, match="is not a name"):
            tiny(rule=[("p", p - lr * g), (bad, p)])
        with pytest.raises(ValueError, match="is not a name"):
            tiny(rule=[("p", p - lr * g * sp.Symbol(bad or " "))])
    with pytest.raises(SpecError):
        tiny(
            options={"a": {"default": False, "doc": "O."}},
            state={"s": {"init": 0, "doc": "S.", "when": "a'''\n[torch]"}},
            rule=[("s", p), ("p", p - lr * g)],
        )
    assert tiny(title="it's 'quoted' \"text\" here").title == "it's 'quoted' \"text\" here"


def test_what_the_language_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no `tan\(g\)`"):
        tiny(rule=[("p", p - lr * sp.tan(g))])


def test_importing_stepforge_imports_no_sympy() -> None:
    code = "import stepforge, sys; print({'sympy', 'jinja2', 'numpy', 'triton'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
