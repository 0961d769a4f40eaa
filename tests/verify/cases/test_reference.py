"""What the NumPy file returns is looked at before it is used, and what it gets is its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import small, stock

from stepforge.verify.certificate import Status
from verify.support import build, copy_of, edit, here, run, task

RETURN = "    return p.astype(dtype), new\n"
FAULTS = {
    "nothing": (RETURN, "    return None\n", "step returns None"),
    "a list": (RETURN, "    return [p, new]\n", "step returns a list"),
    "p in a wider type": (RETURN, "    return p.astype(np.float64), new\n", "float64, not float32"),
    "p in another shape": (RETURN, "    return p.reshape(1, -1), new\n", "has shape (1, 24)"),
    "p as a list": (RETURN, "    return list(p), new\n", "`p` is a list"),
    "no state": (RETURN, "    return p.astype(dtype), None\n", "the state is None"),
    "a state too much": (RETURN, '    new["z"] = m\n' + RETURN, "`z` does not belong"),
    "a state in a narrower type": (
        'm.astype(state["m"].dtype)', "m.astype(np.float16)", "`m` is of type float16",
    ),
    "the gradient changed": ("    dtype, real", "    g *= 2\n    dtype, real", "changes the `g`"),
    "the state changed": (
        "    dtype, real", '    state["m"] = -state["m"]\n    dtype, real', "changes the state",
    ),
    "a state's elements changed": (
        "    dtype, real", '    state["m"] *= -1\n    dtype, real', "changes the `m`",
    ),
    "another default": ("    lr=0.0001,\n", "    lr=0.001,\n", "the default of `lr` is 0.0001"),
    "16 bits computed in 16 bits": (
        "p, g = p.astype(real), g.astype(real)", "p, g = p, g", "is not what float32 gives",
    ),
    "an initial state of one": ("np.full(p.shape, 0, real)", "np.full(p.shape, 1, real)", "before"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_malformed_result_is_refuted_with_its_reason(what: str, tmp_path: Path) -> None:
    old, new, reason = FAULTS[what]
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "numpy" / "lion.py", [(old, new)])
    verdict = here("R1", stock("lion"), folder, {"maximize": False})
    assert verdict.status is Status.REFUTED
    assert reason in verdict.detail


HOST = """\
name = "host"
title = "Host"
summary = "Host scalars without a value."
reference = "None"
[hyperparameters]
lr = { default = 0.1, domain = "lr >= 0", doc = "Rate." }
a = { default = 0.5, doc = "Any." }
[rule]
update = '''
p = p - lr*g - EXPRESSION*g
'''
"""


@pytest.mark.parametrize("expression", ["a/lr", "exp(1000*a)", "a**0.3", "log(a)", "sqrt(a)"])
def test_host_scalars_without_a_value_are_no_fault(expression: str, tmp_path: Path) -> None:
    path = build(HOST.replace("EXPRESSION", expression), tmp_path)
    tasks = [task(rung, tmp_path / "generated", "host", {}, path) for rung in ("R1", "R2")]
    for verdict in run(*tasks):
        assert verdict.status is Status.TESTED, verdict


def test_a_clip_between_scalars_stays_in_the_compute_type() -> None:
    from support import numpy_of

    module = numpy_of(small("p = p - clip(lr, lr*0.5, g)"))
    p, _ = module.step(np.ones(3, np.float32), np.ones(3, np.float32), {}, 1)
    assert p.dtype == np.float32
    assert p[0] == np.float32(0.5)
