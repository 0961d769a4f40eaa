"""What hyperparameters have to be together holds in everything that is generated or drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, numpy_of

from stepforge.language.reader import loads
from stepforge.language.spec import Domains
from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify.cases import inputs
from stepforge.verify.rungs import proof
from stepforge.verify.terms.equality import decide
from stepforge.verify.terms.terms import apply, scalar
from stepforge.verify.terms.witnesses import points

SPEC = load(ROOT / "tests" / "correct_specs" / "step_sizes.toml", "step_sizes.toml")[0]
NARROW = """
name = "narrow"
title = "Narrow"
summary = "S."
reference = "R"
[hyperparameters]
a = { default = 0.25, domain = "a >= 0", doc = "A." }
b = { default = 0.5, domain = "b >= 0", doc = "B." }
c = { default = 0.125, doc = "C." }
[domains]
together = ["a < b < a + 0.5", "0.1 < a*b + c <= 0.26"]
[rule]
update = "p = p - (a*b + c)*g"
"""


def test_steps_refuse_what_is_not_allowed_together() -> None:
    step = numpy_of(SPEC).step
    p = np.ones(3)
    state = {"before": p, "size": p}
    step(p, p, state, 1, step_min=0.5, step_max=0.5)
    for low, high in ((1.0, 0.5), (float("nan"), 0.5)):
        with pytest.raises(ValueError, match="step_min"):
            step(p, p, state, 1, step_min=low, step_max=high)
        step(p, p, state, 1, step_min=low, step_max=high, _checked=False)


def test_the_class_refuses_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    emit.apply(emit.changes([SPEC], tmp_path / "made_steps", whole=False))
    monkeypatch.syspath_prepend(tmp_path)
    from made_steps.torch.step_sizes import StepSizes  # type: ignore[import-not-found]

    parameters = [torch.nn.Parameter(torch.ones(2))]
    StepSizes(parameters, step_min=1.0, step_max=1.0)
    with pytest.raises(ValueError, match="step_min <= step_max"):
        StepSizes(parameters, step_min=1.0, step_max=0.5)
    for name in [name for name in sys.modules if name.startswith("made_steps")]:
        del sys.modules[name]


@pytest.mark.parametrize("text", [NARROW, None])
def test_all_random_hyperparameters_are_allowed(text: str | None) -> None:
    spec = SPEC if text is None else loads(text)[0]
    rng = np.random.default_rng(1)
    drawn = [inputs.numbers(spec, rng) for _ in range(200)]
    for values in drawn:
        assert all(values[h.name] in h.domain for h in spec.hyperparameters)
        assert spec.allows(values)
    assert len({tuple(values.values()) for values in drawn}) > 150
    leaves = [scalar(h.name) for h in spec.hyperparameters]
    for point in points(leaves, proof.domains(spec), rng, 100):
        assert spec.allows(point)


def test_a_comparison_is_one_of_float64_numbers() -> None:
    (one, *_) = SPEC.together
    assert one.holds({"step_min": 0.5, "step_max": 0.5})
    assert not one.holds({"step_min": np.nextafter(0.5, 1), "step_max": 0.5})
    assert one.holds({"step_min": 1.0})  # nothing is said of one of them alone


def test_a_proof_may_use_it() -> None:
    low, high = scalar("step_min"), scalar("step_max")
    larger = apply("max", low, high)
    intervals = proof.domains(SPEC)
    assert decide(larger, high, intervals, 0).status == "equal"
    assert decide(larger, high, Domains(dict(intervals)), 0).status == "different"
