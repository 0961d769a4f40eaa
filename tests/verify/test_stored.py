"""Rules that round to the type of p: what every rung says of them, and of files that do not."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from support import ROOT, small, stock

from stepforge.language.spec import Spec
from stepforge.operations.formats import BY_NUMPY
from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import ON_HOST
from stepforge.verify.reading import reader
from stepforge.verify.rounding.enclosure import Evaluator
from stepforge.verify.rounding.intervals import mp, nearest
from stepforge.verify.rungs import contract
from stepforge.verify.rungs.proof import storage
from verify.support import copy_of, edit, here

SPLIT = ROOT / "tests" / "correct_specs" / "split_master.toml"
ROUNDED = "p = stored(before + d, p_ptr)"
OTHERS = {
    "not rounded": "p = before + d",
    "rounded to another type": "p = (before + d).to(tl.float16).to(real)",
    "rounded toward zero": 'p = (before + d).to(tl.bfloat16, fp_downcast_rounding="rtz").to(real)',
    "rounded too early": "p = before + stored(d, p_ptr)",
    "rounded once more": "p = stored(stored(before, p_ptr) + stored(d, p_ptr), p_ptr)",
}


def split() -> Spec:
    return load(SPLIT, "split_master.toml")[0]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_kernels_are_the_rule_to_the_bit(dtype: str, target: str, tmp_path: Path) -> None:
    """R7 sees the casts that compilers make of the two, which are others for other GPUs."""
    spec = split()
    emit.apply(emit.changes([spec], tmp_path, whole=False))
    options = {"nesterov": True, "slow": True}
    for rung in ("R3", "R6", "R7"):
        more = {"targets": (target,), "dtypes": (dtype,)}
        found = here(rung, spec, tmp_path, options, brief=True, **more)
        wanted = Status.TESTED if rung == "R6" else Status.PROVED
        assert (found.status, found.strength) == (wanted, "" if rung == "R6" else "bits"), found


@pytest.mark.parametrize("wrong", OTHERS.values(), ids=OTHERS)
def test_a_kernel_that_rounds_otherwise_is_refuted(wrong: str, tmp_path: Path) -> None:
    folder = copy_of("kahan_adamw", tmp_path / "generated")
    edit(folder / "triton" / "kahan_adamw.py", [(ROUNDED, wrong)])
    for rung in ("R3", "R6", "R7"):
        found = here(
            rung, stock("kahan_adamw"), folder, {}, brief=True,
            targets=("sm_90",), dtypes=("bf16",), kernels=ON_HOST[:1],
        )  # fmt: skip
        assert not found.status.passed
        if "rtz" in wrong:  # a cast that nothing else uses, and no rung knows
            continue
        assert found.status is Status.REFUTED, (rung, found)
        assert found.counterexample is not None
        assert found.counterexample.tensor in ("p", "c")


@pytest.mark.parametrize("wrong", OTHERS.values(), ids=OTHERS)
def test_fast_mode_keeps_the_roundings_of_the_rule(wrong: str, tmp_path: Path) -> None:
    """Over the reals none of these changes anything."""
    folder = copy_of("kahan_adamw", tmp_path / "generated")
    more = {"targets": ("sm_90",), "dtypes": ("bf16",), "kernels": ON_HOST[:1], "exact": False}
    right = here("R7", stock("kahan_adamw"), folder, {}, brief=True, **more)
    assert (right.status, right.strength) == (Status.PROVED, "reals")
    edit(folder / "triton" / "kahan_adamw.py", [(ROUNDED, wrong)])
    assert not here("R7", stock("kahan_adamw"), folder, {}, brief=True, **more).status.passed


def test_a_reference_that_does_not_round_is_refuted(tmp_path: Path) -> None:
    """Float32 cannot show it: the formula in 50 digits is compared in 16 bits as well."""
    folder = copy_of("kahan_adamw", tmp_path / "generated")
    edit(folder / "numpy" / "kahan_adamw.py", [("stored(before + d, dtype)", "before + d")])
    found = here("R1", stock("kahan_adamw"), folder, {})
    assert found.status is Status.REFUTED
    assert found.counterexample is not None
    assert found.counterexample.dtype in ("float16", "bfloat16")
    assert found.counterexample.tensor == "c"


def test_a_state_of_another_type_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("kahan_adamw", tmp_path / "generated")
    edit(folder / "numpy" / "kahan_adamw.py", [(", 0, real).astype(p.dtype)", ", 0, real)")])
    found = here("R1", stock("kahan_adamw"), folder, {})
    assert found.status is Status.REFUTED
    assert "`c` is of type float32, not" in found.detail


def test_the_type_of_p_is_where_it_is_said() -> None:
    options = {"nesterov": False, "slow": True}
    for dtype in ("bf16", "fp16", "fp32", "fp64", "bf16/fp32/fp16"):
        kinds = storage(split(), options, dtype)
        assert kinds["low"] == kinds["mean"] == kinds["p"]
    kinds = storage(split(), options, "bf16")
    assert kinds == {"p": "bf16", "g": "bf16", "v": "f32", "low": "bf16", "mean": "bf16"}
    assert {t.name: t.role for t in reader.of(split()).tensors(options)}["low"] == "p"
    # p, low and mean are read and written, g is read, v of float32 both.
    assert contract.bytes_moved(split(), options, "bf16") == 3 * 4 + 2 + 8


def test_stored_in_50_digits_is_the_nearest_number_of_the_type() -> None:
    """Against casts of NumPy and ml_dtypes; float64 numbers near and at ties of both types."""
    random = np.random.default_rng(5)
    sizes = 2.0 ** random.integers(-30, 20, 4000).astype(float)
    ties = np.round(random.uniform(1, 2, 4000) * 2**12) / 2**12 * sizes
    values = np.concatenate([ties, -ties, random.standard_normal(4000) * sizes])
    values = np.append(values, [65504, 65519.99, 65520, 2.0**-24, 2.0**-25, 3 * 2.0**-26, 0])
    for name, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        narrow = values.astype(np.float32)  # exact enough a start for casts that round once
        with np.errstate(over="ignore"):
            wanted = narrow.astype(dtype).astype(np.float64)
        got = [float(nearest(mp.mpf(float(x)), BY_NUMPY[name])) for x in narrow]
        np.testing.assert_array_equal(got, wanted)


def test_enclosures_of_what_is_stored_are_numbers_of_the_type() -> None:
    spec = small("p = stored(p + lr*g)\nc = p - g", state={"c": 'dtype = "p"'})
    found = Evaluator(spec, {}, "bfloat16").step([1.0], [1.0], {"c": [0.0]}, 1, {"lr": 0.3})
    (p,) = found["p"]
    assert p.low == p.high == p.value == 1.296875  # of bfloat16 the nearest to 1.3
    (p,) = Evaluator(spec, {}, "float64").step([1.0], [1.0], {"c": [0.0]}, 1, {"lr": 0.3})["p"]
    assert abs(p.value - mp.mpf(0.3) - 1) < 1e-30
