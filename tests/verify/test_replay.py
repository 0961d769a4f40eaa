"""A counterexample is an input: typed in again, it shows the same two values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from stepforge.verify.certificate import Counterexample, Status
from verify.support import copy_of, edit, run, task

REPLAY = """
import sys
import numpy as np
from stepforge.verify.files.generated import fresh
from stepforge.verify.cases.tensors import Tensor
from pathlib import Path

folder, name, tensor, dtype = sys.argv[1:5]
given = dict(pair.split("=") for pair in sys.argv[5:])
arrays = {k: np.array([float(given.pop(k))], dtype) for k in ("p", "g", "m", "v") if k in given}
t, values = int(given.pop("t")), {k: float(v) for k, v in given.items()}
p, g, states = arrays.pop("p"), arrays.pop("g"), arrays
ours, theirs = (fresh(Path(folder, b, f"{name}.py")) for b in ("numpy", "triton"))
device = {"p": Tensor(p), **{k: Tensor(v) for k, v in states.items()}}
theirs.step(
    device["p"], Tensor(g), {k: device[k] for k in states}, t, **values
)
new, state = ours.step(p, g, states, t, **values)
print(repr(float({"p": new, **state}[tensor][0])), repr(float(device[tensor].array[0])))
"""


def replay(folder: Path, name: str, found: Counterexample) -> tuple[str, str]:
    """NumPy's value and the kernel's for the input of a counterexample."""
    given = [f"{k}={v}" for k, v in found.inputs.items()]
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(folder), name, found.tensor, found.dtype, *given],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT / "codegen")},
    )
    ours, theirs = done.stdout.split()
    return ours, theirs


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("adamw", "sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)"),
        ("adamw", "m = beta1 * m", "m = 0.9 * m"),
        ("lion", "one_minus_beta2 * g", "one_minus_beta1 * g"),
        ("radam", "1 - beta2**t", "1 - beta2**(t + 1)"),
    ],
)
def test_a_counterexample_can_be_typed_in_again(
    name: str, old: str, new: str, tmp_path: Path
) -> None:
    folder = copy_of(name, tmp_path / "generated")
    edit(folder / "triton" / f"{name}.py", [(old, new)])
    (verdict,) = run(task("R2", folder, name))
    assert verdict.status is Status.REFUTED
    assert verdict.counterexample is not None
    found = verdict.counterexample
    assert found.n == 1
    assert replay(folder, name, found) == (found.expected, found.got)
