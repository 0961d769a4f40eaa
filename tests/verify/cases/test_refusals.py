"""A check that the generator leaves out, or gets wrong, is found by trying what it is for."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import ROOT, stock

from stepforge.language.spec import Spec
from stepforge.project.loading import load
from stepforge.verify.cases import refusals
from stepforge.verify.files.generated import expected_text, fresh

TOGETHER = ROOT / "tests" / "correct_specs" / "step_sizes.toml"


def tried(spec: Spec, text: str, folder: Path) -> str:
    path = folder / f"{spec.name}.py"
    path.write_text(text)
    module, options = fresh(path), next(spec.option_sets())
    if "COLUMNS" in text:
        return refusals.wrong(partial(module.step, SimpleNamespace(size=0), {}), spec, options)
    right, wrong = np.ones(0, np.float32), np.ones(1, np.float32)
    state = {s.name: right for s in spec.active_states(options)}
    step, misshapen = refusals.of_shapes(module.step, spec, right, wrong, state)
    return refusals.wrong(step, spec, options, misshapen)


EDITS = {
    r"    if _checked and not lr >= 0:\n.*\n": "accepts lr = -5e-324",
    r"(?<=not )lr >= 0(?=:)": ("lr > 0", "refuses lr = 0.0"),
    r"(?<=not 0 <= beta1 )< 1(?=:)": ("<= 1", "accepts beta1 = 1.0"),
    r"not 0 <= beta2 < 1(?=:)": ("(beta2 < 0 or beta2 >= 1)", "accepts beta2 = nan"),
    r"(?<=if )_checked and (?=not eps)": ("", "refuses eps = -5e-324 with _checked=False"),
    r" or t < 1": "accepts t = 0",
    r"t != int\(t\) or ": "accepts t = 1.5",
}  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "multi_tensor"])
def test_checks_are_tried_at_the_edges_of_domains(backend: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    text = expected_text(spec, backend)
    assert tried(spec, text, tmp_path) == ""
    for pattern, what in EDITS.items():
        new, told = ("", what) if isinstance(what, str) else what
        edited, count = re.subn(pattern, new, text)
        assert count == 1, pattern
        assert tried(spec, edited, tmp_path) == f"step {told}"


def test_shapes_are_looked_at(tmp_path: Path) -> None:
    spec = stock("adamw")
    edited = expected_text(spec, "numpy").replace('{"g": g, **state}', "state")
    assert tried(spec, edited, tmp_path) == "step accepts g of another shape"


def test_inputs_are_looked_at(tmp_path: Path) -> None:
    spec = load(ROOT / "tests" / "verify" / "damped_newton.toml")[0]
    text = expected_text(spec, "numpy")
    assert tried(spec, text, tmp_path) == ""
    edited = text.replace('{"g": g, "h": h, **state}', '{"g": g, **state}')
    assert tried(spec, edited, tmp_path) == "step accepts h of another shape"
    edited = text.replace("not loss >= 0:", "not loss > 0:")
    assert tried(spec, edited, tmp_path) == "step refuses loss = 0.0"


def test_what_numbers_have_to_be_together_is_tried(tmp_path: Path) -> None:
    spec = load(TOGETHER)[0]
    text = expected_text(spec, "numpy")
    assert tried(spec, text, tmp_path) == ""
    constraint = spec.together[0].text
    edited, count = re.subn(rf"    if .*:\n.*not {re.escape(constraint)}.*\n", "", text)
    assert count == 1
    assert tried(spec, edited, tmp_path).startswith("step accepts ")


def test_an_option_that_needs_another_is_tried(tmp_path: Path) -> None:
    spec = next(s for s in map(stock, ("rmsprop", "sgd", "nadam", "adam")) if _needs(s))
    edited, count = re.subn(r"    if .*:\n        .* needs .*\n", "", expected_text(spec, "numpy"))
    assert count >= 1
    assert "=True" in tried(spec, edited, tmp_path)


def _needs(spec: Spec) -> bool:
    return any(option.when is not None for option in spec.options)
