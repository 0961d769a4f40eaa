"""Faults that a hand puts into a generated file are refuted by evidence, not by a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepforge.verify.certificate import Status, Verdict
from verify.support import Edit, copy_of, edit, run, task

DECAY = "    p = p - lr_times_weight_decay * p\n"
UPDATE = "    p = p - div(lr_over_one_minus_beta1_to_t * m, sqrt(v_hat, EXACT) + eps, EXACT)\n"
TAIL_OF_V_MAX = (
    "        if AMSGRAD:\n            tl.store(v_max_ptr + start + offsets, v_max, mask=mask)\n"
)
WITH_NUMPY = ("import triton\n", "import numpy as np\nimport triton\n")

EDITS: dict[str, tuple[list[Edit], str, str]] = {
    # what was done → edits, and what the spec line and the generated line must show
    "eps moved inside the square root": (
        [("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)")],
        "p = p - lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps)",
        "sqrt(v_hat + eps, EXACT)",
    ),
    "beta1 replaced by 0.9": (
        [("m = beta1 * m", "m = 0.9 * m")],
        "m = beta1*m + (1 - beta1)*g",
        "m = 0.9 * m",
    ),
    "mask with <=": (
        [("mask = start + offsets < n", "mask = start + offsets <= n")],
        "",
        "mask = start + offsets <= n",
    ),
    "tail of the last block not stored": (
        [
            ("        tl.store(p_ptr + start + offsets, p, mask=mask)\n", "        pass\n"),
            ("        tl.store(m_ptr + start + offsets, m, mask=mask)\n", ""),
            ("        tl.store(v_ptr + start + offsets, v, mask=mask)\n", ""),
            (TAIL_OF_V_MAX, ""),
        ],
        "",
        "else:",
    ),
    "stores of two states swapped": (
        [
            ("tl.store(m_ptr + start + offsets, m", "tl.store(m_ptr + start + offsets, OTHER"),
            ("tl.store(v_ptr + start + offsets, v", "tl.store(v_ptr + start + offsets, m"),
            ("OTHER", "v"),
        ],
        "m = beta1*m + (1 - beta1)*g",
        "tl.store(m_ptr + start + offsets, v",
    ),
    "bias correction with t + 1": (
        [("1 - beta2**t", "1 - beta2**(t + 1)")],
        "v_hat = ",
        "1 - beta2**(t + 1)",
    ),
    "weight decay after the step": (
        [(DECAY, ""), (UPDATE, UPDATE + DECAY)],
        "p = p - lr*weight_decay*p",
        "p = p - div(",
    ),
    "1 - beta2 in float32 on the host": (
        [
            WITH_NUMPY,
            (
                "one_minus_beta2 = 1 - beta2\n",
                "one_minus_beta2 = float(np.float32(1) - np.float32(beta2))\n",
            ),
        ],
        "v = beta2*v + (1 - beta2)*g**2",
        "one_minus_beta2 = float(np.float32(1) - np.float32(beta2))",
    ),
    "a state never stored": (
        [
            ("        tl.store(v_ptr + start + offsets, v)\n", ""),
            ("        tl.store(v_ptr + start + offsets, v, mask=mask)\n", ""),
        ],
        "v = beta2*v + (1 - beta2)*g**2",
        "",
    ),
    "learning rate of the first call cached": (
        [
            ("    lr = float(lr)\n", "    lr = _FIRST.setdefault('lr', float(lr))\n"),
            ("BLOCK = 1024\n", "BLOCK = 1024\n_FIRST = {}\n"),
        ],
        "",
        "_FIRST.setdefault",
    ),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """R2 on every edited kernel, all in one set of workers."""
    tasks = {}
    for number, (what, (edits, _, _)) in enumerate(EDITS.items()):
        folder = copy_of("adamw", tmp_path_factory.mktemp("edited") / str(number))
        edit(folder / "triton" / "adamw.py", edits)
        tasks[what] = task("R2", folder, options={"amsgrad": number % 2 == 0, "maximize": False})
    found = {}
    for what, single in tasks.items():
        (found[what],) = run(single)
    return found


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_refuted_with_the_line_that_was_edited(
    what: str, verdicts: dict[str, Verdict]
) -> None:
    _, spec_line, generated_line = EDITS[what]
    verdict = verdicts[what]
    assert verdict.status is Status.REFUTED
    found = verdict.counterexample
    assert found is not None
    assert found.expected != found.got
    assert found.n <= 2
    assert spec_line in found.spec_line
    assert found.spec_line.startswith("specs/adamw.toml:")
    assert generated_line in found.generated_line
    assert {"t", "p", "g", "beta1", "eps"} <= found.inputs.keys()


def test_an_edit_that_changes_nothing_is_not_refuted(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(
        folder / "triton" / "adamw.py",
        [("m = beta1 * m + one_minus_beta1 * g", "m = one_minus_beta1 * g + m * beta1")],
    )
    (verdict,) = run(task("R2", folder, brief=True))
    assert verdict.status is Status.TESTED
