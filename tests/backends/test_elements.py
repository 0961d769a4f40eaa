"""How many elements a thread has follows from the rule, so that registers suffice."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import lowered, small, stock

from stepforge.backends import triton
from stepforge.lowering.lower import lower
from stepforge.output import emit
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status
from stepforge.verify.rungs.contract import THREADS
from stepforge.verify.rungs.registry import RUNGS

PAPER = """
m = beta1*m + (1 - beta1)*g
v = beta2*v + (1 - beta2)*g**2
p = p - lr*(m/(1 - beta1**t)) / (sqrt(v/(1 - beta2**t)) + eps)
"""
HYPER = ("lr", "beta1", "beta2", "eps")
SIGNS = "m = beta1*m + (1 - beta1)*g\np = p - lr*(1 + sign(g)*sign(m))*g"
STATES = [f"m{i}" for i in range(31)]
MANY = "\n".join(f"{m} = lr*{m} + g" for m in STATES) + f"\np = p - lr*({' + '.join(STATES)})"


@pytest.mark.parametrize(("name", "elements"), [("adamw", 8), ("rmsprop", 8), ("lion", 16)])
def test_the_catalogue_has_as_many_elements_as_its_registers_hold(name: str, elements: int) -> None:
    assert triton.block(lower(stock(name))) == elements * THREADS


def test_what_keeps_more_values_has_fewer_elements() -> None:
    kernels = {
        4: [lowered(PAPER, hyperparameters=HYPER, state=["m", "v"]), lowered(MANY, state=STATES)],
        8: [lowered(SIGNS, hyperparameters=HYPER, state=["m"])],
    }
    for elements, those in kernels.items():
        assert [triton.block(kernel) for kernel in those] == [elements * THREADS] * len(those)


def test_options_that_exclude_each_other_do_not_count_together() -> None:
    rule = "q = g/p + g/p\nif x:\n    p = p - q/g\nelse:\n    p = p - q/p"
    assert triton.block(lowered(rule, options=["x"], hyperparameters=[])) == 8 * THREADS


def test_adam_as_in_its_paper_needs_no_stack(tmp_path: Path) -> None:
    """It had one in this type, on this GPU, with 8 elements."""
    spec = small(PAPER, hyperparameters=HYPER, state=["m", "v"])
    emit.build([spec], tmp_path, whole=False)
    task = verify.Task(
        RUNGS["R5"], spec, {}, tmp_path, 0, ("sm_100",), ("bf16",), backends=("multi_tensor",)
    )
    verdict = verify.run(task)
    assert verdict.status is Status.TESTED
    assert not verdict.warnings
    assert verdict.evidence["multi_tensor"]["figures"]["local_bytes"] == 0
