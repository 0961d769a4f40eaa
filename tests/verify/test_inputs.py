"""Inputs: what a step is given beside the gradient is verified as everything else is.

Every fault here is one that only a rung that knows of inputs finds: a kernel that takes the
gradient for the Hessian's diagonal, a launcher that computes with another number, a table whose
columns are in another order, an input that is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, numpy_of, small, stock

from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify import driver as verify
from stepforge.verify.cases import inputs
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import KERNELS, ON_HOST
from stepforge.verify.reading import agreement, reader
from stepforge.verify.rungs import contract
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from verify.support import edit, run

PATH = ROOT / "tests" / "verify" / "damped_newton.toml"
SPEC = load(PATH, PATH.name)[0]
OPTIONS = {"maximize": False, "clipped": False}


def verdict(
    rung: str, folder: Path, options: Mapping[str, bool] = OPTIONS, dtype: str = "fp32"
) -> Verdict:
    """In this process, but for the interpreter, which needs one of its own."""
    task = Task(
        RUNGS[rung],
        SPEC,
        dict(options),
        folder,
        0,
        ("sm_90",),
        (dtype,),
        kernels=ON_HOST,
        brief=True,
    )
    return run(task)[0] if rung == "R2" else verify.run(task)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    emit.apply(emit.changes([SPEC], tmp_path, whole=False))
    return tmp_path


@pytest.mark.parametrize("rung", ["R0", "R1", "R2", "R3", "R5", "R6", "R7", "R9"])
def test_what_is_built_passes(rung: str, folder: Path) -> None:
    for options in (OPTIONS, {"maximize": True, "clipped": True}):
        found = verdict(rung, folder, options)
        assert found.status.passed, found.detail
        assert not found.warnings


@pytest.mark.parametrize(
    ("rung", "dtype"),
    [("R5", "bf16"), ("R6", "bf16"), ("R7", "bf16"), ("R5", "bf16/fp32/bf16"),
     ("R7", "bf16/fp32/bf16")],
)  # fmt: skip
def test_inputs_have_the_type_of_the_gradient(rung: str, dtype: str, folder: Path) -> None:
    found = verdict(rung, folder, dtype=dtype)
    assert found.status.passed, found.detail


FAULTS = {
    ("numpy", "abs(h)", "abs(g)"): ("R1", "R2", "R3"),
    ("numpy", "loss = float(loss)", "loss = float(loss) * (1 + 1e-6)"): ("R1", "R3"),
    ("numpy", '"h": h, **state', "**state"): ("R1",),
    ("numpy", "not loss >= 0", "not loss > 0"): ("R1",),
    ("triton", "tl.load(h_ptr", "tl.load(g_ptr"): ("R2", "R3", "R5", "R6", "R7"),
    ("triton", "loss = float(loss)", "loss = float(lr)"): ("R2", "R3"),
    ("triton", "            h,\n", "            g,\n"): ("R2", "R3"),
    ("triton", '"h": h, **state', "**state"): ("R2",),
    ("triton", "tl.store(v_ptr + start + offsets, v)",
     "tl.store(v_ptr + start + offsets, v)\n        tl.store(h_ptr + start + offsets, v)"):
        ("R2", "R3", "R5", "R6", "R7"),
    ("multi_tensor", '("p", "g", "h", "v")', '("p", "h", "g", "v")'): ("R2", "R3"),
    ("multi_tensor", "h_ptr = tl.load(row + 2)", "h_ptr = tl.load(row + 1)"): ("R2", "R3", "R6"),
    ("multi_tensor", "loss = float(loss)", "loss = float(loss) + 1e-3"): ("R2", "R3"),
}  # fmt: skip
"""File, what stands there, and what stands there by mistake → the rungs that find it."""


@pytest.mark.parametrize(("fault", "rung"), [(f, r) for f, rungs in FAULTS.items() for r in rungs])
def test_a_fault_is_refuted(fault: tuple[str, str, str], rung: str, folder: Path) -> None:
    file, right, wrong = fault
    edit(folder / file / "damped_newton.py", [(right, wrong)])
    found = verdict(rung, folder)
    assert not found.status.passed
    assert found.status is not Status.UNSUPPORTED or rung == "R3", found.detail


def test_a_counterexample_names_the_inputs(folder: Path) -> None:
    edit(folder / "triton" / "damped_newton.py", [("tl.load(h_ptr", "tl.load(g_ptr")])
    found = verdict("R2", folder).counterexample
    assert found is not None
    assert {"h", "loss", "g"} <= found.inputs.keys()
    assert "v = beta*v" in found.spec_line


def test_a_required_keyword_must_not_have_a_default(folder: Path) -> None:
    edit(folder / "numpy" / "damped_newton.py", [(" loss,", " loss=1.0,")])
    found = verdict("R1", folder)
    assert found.status is Status.REFUTED
    assert "`loss` is an input, and has no default" in found.detail


def test_both_readings_have_the_same_inputs() -> None:
    assert agreement.disagreement(SPEC) == ""
    text = reader.of(SPEC)
    assert [(i.name, i.scalar) for i in text.inputs] == [("h", False), ("loss", True)]
    roles = {tensor.name: (tensor.role, tensor.stored) for tensor in text.tensors()}
    assert roles["h"] == roles["g"] == ("g", False)
    assert text.numbers == ["lr", "beta", "eps", "loss"]


def test_special_values_are_drawn_for_inputs() -> None:
    rng = np.random.default_rng(1)
    tensors = inputs.specials(SPEC, OPTIONS, "float32", rng)
    assert list(tensors) == ["p", "g", "h", "v"]
    assert np.isnan(tensors["h"]).any()
    assert np.isinf(tensors["h"]).any()
    drawn = [inputs.numbers(SPEC, rng)["loss"] for _ in range(200)]
    assert min(drawn) == 0
    assert max(drawn) > 0.1


def test_an_input_moves_its_bytes() -> None:
    """Three tensors that are read and one of them written, beside `g` and `h`, which are read."""
    assert contract.bytes_moved(SPEC, OPTIONS, "fp32") == 4 * (2 + 1 + 1 + 2)
    assert contract.bytes_moved(SPEC, OPTIONS, "bf16") == 2 * (2 + 1 + 1) + 4 * 2


def test_the_average_of_estimates_changes_every_k_steps() -> None:
    """Sophia's `h_hat` may be anything in other steps."""
    reference, p = numpy_of(stock("sophia_h")), np.zeros(3)
    state = reference.init(p)
    refreshed = []
    for t in range(1, 26):
        before = state["h"]
        p, state = reference.step(p, np.ones(3), state, t, h_hat=np.full(3, float(t)), k=10)
        refreshed += [t] if (state["h"] != before).all() else []
    assert refreshed == [1, 11, 21]


@pytest.mark.parametrize("damped", [False, True])
def test_an_input_of_one_option_need_not_be_read_with_another(damped: bool, tmp_path: Path) -> None:
    """Compilers then leave out its address as well, in a table of tensors."""
    rule = "if damped:\n    g = g/(abs(h) + 1)\np = p - lr*g"
    spec = small(rule, name="optional", options=("damped",), inputs=("h",))
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    for rung, kernel in itertools.product(("R3", "R5", "R6", "R7"), KERNELS):
        task = Task(RUNGS[rung], spec, {"damped": damped}, tmp_path, 0, ("sm_90",), ("fp16",),
                    kernels=(kernel,), brief=True)  # fmt: skip
        found = verify.run(task)
        assert found.status.passed, found.detail
        assert not found.warnings
