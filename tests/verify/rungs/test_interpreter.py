"""R2 compares bits, and its cases reach the sizes and histories where kernels go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from catalogue import FEW, ON_DEVICE
from support import ROOT, stock

from stepforge.verify.cases.sequences import cases
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import fresh, same_bits
from verify.support import build, copy_of, edit, run, task


def test_bits_are_compared_with_any_nan_equal_to_any_nan() -> None:
    a = np.array([0.0, 1.0, np.nan, np.inf, 1.0], "float32")
    b = np.array([-0.0, 1.0, -np.nan, np.inf, np.nextafter(np.float32(1), 2)], "float32")
    assert same_bits(a, b).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("name", ON_DEVICE)
def test_cases_have_all_sizes_both_types_and_long_trajectories(name: str) -> None:
    spec = stock(name)
    options = next(spec.option_sets())
    found = list(cases(spec, options, 1024, np.random.default_rng(0)))
    for dtype in ("float32", "float64"):
        sizes = {case.p.size for case in found if case.dtype == dtype}
        assert {0, 1, 2, 1023, 1024, 1025, 3 * 1024 + 17} <= sizes
        lengths = {len(case.steps) for case in found if case.dtype == dtype}
        assert {1, 50} <= lengths
        long = max((c for c in found if c.dtype == dtype), key=lambda c: len(c.steps))
        assert len({step.values["lr"] for step in long.steps}) > 25
        assert [step.t for step in long.steps] == list(range(1, 51))
        shapes = {case.p.shape for case in found if case.dtype == dtype}
        assert {(), (5, 0), (3, 5, 2)} <= shapes
    assert {case.dtype for case in found} == {"float16", "float32", "float64"}


FAULTS = {
    "guard only in the last element": ("offsets < n", "offsets < n - 1"),
    "no mask": ("mask = start + offsets < n", "mask = start + offsets < n + BLOCK"),
    "32-bit block gap": ("offsets = tl.max_contiguous(", "offsets = 2 * tl.max_contiguous("),
    "nan swallowed": ("propagate_nan=tl.PropagateNan.ALL", "propagate_nan=tl.PropagateNan.NONE"),
    "stale state": (
        "m = beta1 * m + one_minus_beta1 * g",
        "m_new = beta1 * m + one_minus_beta1 * g",
    ),
    "guarded division": (
        "sqrt(v_hat, EXACT) + eps",
        "tl.where(v_hat > 0, sqrt(v_hat, EXACT), 1.0) + eps",
    ),
    "gradient overwritten": (
        "        tl.store(p_ptr + start + offsets, p)\n",
        "        tl.store(p_ptr + start + offsets, p)\n"
        "        tl.store(g_ptr + start + offsets, m)\n",
    ),
    "no-op": ("p = p - div(", "q = p - div("),
    "one ulp in a maximum": ("tl.maximum(x, y", "tl.maximum(x * 1.0000001, y"),
    "grid too small": ("triton.cdiv(n, BLOCK)", "n // BLOCK"),
    "right only for full blocks": ("    if n > 0:", "    if n % BLOCK == 0 and n > 0:"),
    "right only at the defaults": ("    eps = float(eps)\n", "    eps = 1e-08\n"),
    "reads past the end": ("mask=mask, other=0.0", "mask=start + offsets <= n, other=0.0"),
    "another tensor in the state": (
        "    n = p.numel()\n",
        '    n = p.numel()\n    state["m"] = state["m"].new_full(p.shape, 0)\n',
    ),
    "right only in one dimension": ("    n = p.numel()\n", "    n = p.shape[0]\n"),
    "accepts any step number": (
        "    if t != int(t) or t < 1:\n        raise",
        "    if t != t:\n        raise",
    ),
    "contraction allowed": ("enable_fp_fusion=not exact", "enable_fp_fusion=exact"),
    "always approximate": ("EXACT=exact", "EXACT=False"),
    "approximate by default": ("exact=True", "exact=False"),
    "raises": ("    n = p.numel()\n", "    n = p.missing()\n"),
}

WITHOUT_AN_INPUT = (
    "accepts any step number", "contraction allowed", "always approximate",
    "approximate by default",
)  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_refuted(what: str, tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [FAULTS[what]])
    options = {"amsgrad": True, "maximize": False}
    (verdict,) = run(task("R2", folder, options=options, brief=what in WITHOUT_AN_INPUT))
    assert verdict.status is Status.REFUTED, verdict.detail
    if what not in WITHOUT_AN_INPUT:
        assert verdict.counterexample is not None


@pytest.mark.parametrize("name", FEW)
def test_the_mode_of_a_launch_is_what_step_is_called_with(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[dict[str, object]] = []

    class Recorded:
        def __getitem__(self, grid: object) -> Callable[..., None]:
            return lambda *args, **keywords: passed.append(keywords)

    made = fresh(ROOT / "generated" / "triton" / f"{name}.py")
    monkeypatch.setattr(made, f"{name}_kernel", Recorded())
    p, g = (Tensor(np.ones(3, np.float32)) for _ in range(2))
    state = made.init(p)
    for mode in ({}, {"exact": True}, {"exact": False}):
        made.step(p, g, state, 1, **mode)
    assert [k["EXACT"] for k in passed] == [True, True, False]
    assert [k["enable_fp_fusion"] for k in passed] == [False, False, True]


def test_a_scalar_state_that_is_not_stored_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("nadam", tmp_path / "generated")
    edit(folder / "triton" / "nadam.py", [('    state["mu_product"] = float(mu_product)\n', "")])
    (verdict,) = run(task("R2", folder, "nadam"))
    assert verdict.status is Status.REFUTED
    assert verdict.counterexample is not None
    assert verdict.counterexample.tensor == "mu_product"


EVERYTHING = """\
name = "everything"
title = "Everything"
summary = "Every operation of the language."
reference = "None"
[hyperparameters]
lr = { default = 0.1, domain = "lr >= 0", doc = "Learning rate." }
low = { default = -1.5, domain = "low < 0", doc = "Bound." }
[options]
fancy = { default = false, doc = "More." }
finer = { default = false, when = "fancy", doc = "Still more." }
[state]
m = { init = 0.5, doc = "Any." }
w = { init = "lr + 1", domain = "w > 0", when = "fancy", doc = "Positive." }
k = { init = 2, scalar = true, doc = "Scalar." }
[rule]
update = '''
k = min(max(k*0.9, 0.1), abs(low)) + (1 if t % 2 == 1 else 2)
c = clip(g, low, 2) + abs(m)**3 - (g + 1)**2/3
d = 1/(m**2 + 1) + exp(-abs(g)) + log(1 + g**2) + m**-2*0
if fancy:
    scale = min(w, 1 + abs(c))**0.5
    w = max(w, 0.25)*k
else:
    scale = 1
m = sign(c)*d if not (g > 0 and m <= 1) or g == m else -m + k
if finer:
    m = m*scale
p = p - lr*scale*(m if t == 1 else m/(t - 1)) + (1 if g != 0 else 0.1)*lr
p = p + (lr if (g > m or t > 2) and not lr > 1 else g)*0.5 + clip(lr, low*0.3, g)
'''
"""


def test_every_operation_agrees_in_every_bit_with_the_formula_beside_it(tmp_path: Path) -> None:
    path = build(EVERYTHING.replace("1 if t % 2 == 1 else 2", "1 if t <= 3 else 2"), tmp_path)
    sets = [
        {"fancy": False, "finer": False},
        {"fancy": True, "finer": True},
    ]
    tasks = [
        task(rung, tmp_path / "generated", "everything", options, path, brief=True)
        for rung in ("R1", "R2", "R5")
        for options in sets
    ]
    for verdict in run(*tasks):
        assert verdict.status is Status.TESTED, verdict
