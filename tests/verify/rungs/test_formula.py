"""R1 sees what both generated files would share, because it never looks at the lowering."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import CASES
from support import ROOT, stock

from stepforge.verify.certificate import Status
from verify.support import copy_of, edit, here

OPTIONS = {"amsgrad": False, "maximize": False}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)", "p = p - lr/(1 - beta1**t)"),
        ("m = beta1 * m", "m = 0.9 * m", "m = beta1*m"),
        ("(1 - beta2) * (g * g)", "np.float32(1 - beta2) * (g * g)", "v = beta2*v"),
        ("    p = p - lr * weight_decay * p\n", "", "p = p - "),
        ("1 - beta2**t", "1 - beta2 ** (t + 1)", "v_hat = "),
        ('new["m"] = m', 'new["m"] = v', "m = beta1*m"),
    ],
)
def test_a_wrong_reference_is_refuted_at_its_line(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "numpy" / "adamw.py", [(old, new)])
    verdict = here("R1", stock("adamw"), folder, OPTIONS)
    assert verdict.status is Status.REFUTED
    if verdict.counterexample is not None:  # an exception has none
        assert line in verdict.counterexample.spec_line
        assert " = " in verdict.counterexample.generated_line
    else:
        assert "NumPy fails" in verdict.detail


def test_an_error_of_a_few_roundings_is_outside_of_the_bound(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "numpy" / "adamw.py", [("m = beta1 * m", "m = (1 + 1e-15) * beta1 * m")])
    verdict = here("R1", stock("adamw"), folder, OPTIONS)
    assert verdict.status is Status.REFUTED
    assert verdict.counterexample is not None
    assert verdict.counterexample.dtype == "float64"


def test_other_roundings_of_the_same_formula_are_within_the_bound(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    swapped = "m = (1 - beta1) * g + m * beta1"
    edit(folder / "numpy" / "adamw.py", [("m = beta1 * m + (1 - beta1) * g", swapped)])
    verdict = here("R1", stock("adamw"), folder, OPTIONS)
    assert verdict.status is Status.TESTED
    assert verdict.values > 1000


@pytest.mark.parametrize(("name", "number"), CASES)
def test_stock_references_are_within_the_bound_at_a_fresh_seed(name: str, number: int) -> None:
    options = list(stock(name).option_sets())[number]
    verdict = here("R1", stock(name), ROOT / "generated", options, seed=20260, brief=True)
    assert verdict.status is Status.TESTED, verdict


def test_a_missing_state_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "numpy" / "adamw.py", [('    new["m"] = m.astype(state["m"].dtype)\n', "")])
    verdict = here("R1", stock("adamw"), folder, OPTIONS)
    assert verdict.status is Status.REFUTED
