"""R6: stock kernels agree in every bit; faults in PTX or source are refuted, with the PTX line."""

from __future__ import annotations

import itertools
import re
from functools import cache
from pathlib import Path

import pytest
from catalogue import ON_DEVICE
from support import ROOT, stock

from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import ON_HOST
from stepforge.verify.ptx import executor
from stepforge.verify.rungs import compiled, executed
from stepforge.verify.rungs.proof import storage
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from verify.support import Edit, copy_of, edit

FOLDER = ROOT / "generated"


def ptx(
    folder: Path, name: str, dtype: str, aligned: bool = True, exact: bool = True
) -> tuple[str, dict[str, bool]]:
    spec = stock(name)
    options = next(spec.option_sets())
    kernel = compiled.load(spec, folder)
    made = compiled.compile_kernel(kernel, spec, options, "sm_90", dtype, aligned, exact)
    return str(made["ptx"]), options


@cache
def original(name: str, dtype: str, aligned: bool) -> str:
    return ptx(FOLDER, name, dtype, aligned)[0]


def run(text: str, name: str, dtype: str, aligned: bool = True, folder: Path = FOLDER) -> Verdict:
    spec = stock(name)
    options = next(spec.option_sets())
    task = Task(
        RUNGS["R6"], spec, options, folder, 3, ("sm_90",), (dtype,), brief=True, kernels=ON_HOST[:1]
    )
    return executed.of_ptx(task, text, aligned)


OTHER_TYPES = [
    *((name, "fp64") for name in ON_DEVICE),
    *zip(ON_DEVICE, itertools.cycle(["bf16", "fp16"])),  # they load and store otherwise
    ("adamw", "fp16"), ("adamw", "bf16"),
]  # fmt: skip
"""Optimizers and types; float32 is looked at by the fast level."""


@pytest.mark.parametrize(("name", "dtype"), list(dict.fromkeys(OTHER_TYPES)))
def test_stock_kernels_agree_in_every_bit(name: str, dtype: str) -> None:
    found = run(original(name, dtype, True), name, dtype)
    assert found.status is Status.TESTED, found
    stored = len(storage(stock(name), next(stock(name).option_sets()), dtype)) - 1
    assert found.values > stored * 1000


@pytest.mark.parametrize(("name", "dtype"), [("adamw", "bf16"), ("lion", "fp32")])
def test_tensors_may_be_unaligned_where_the_kernel_is_compiled_for_it(
    name: str, dtype: str
) -> None:
    assert run(original(name, dtype, False), name, dtype, False).status is Status.TESTED
    found = run(original(name, dtype, True), name, dtype, False)
    assert found.status is Status.REFUTED
    assert "misaligned" in found.detail or "aligned" in found.detail, found


PATCHES = {
    # what → optimizer, type, pattern, replacement, in the reason or in the PTX line
    "approximate root": ("adamw", "fp32", r"sqrt\.rn\.f32", "sqrt.approx.f32", "sqrt.approx.f32"),
    "approximate division": ("adamw", "fp32", r"div\.rn\.f32", "div.full.f32", "div.full.f32"),
    "flushed": ("lion", "fp32", r"mul\.f32|mul\.rn\.f32", "mul.ftz.f32", "mul.ftz.f32"),
    "a sum for a difference": ("lion", "fp32", r"sub\.(rn\.)?f32", r"add.\1f32", "add."),
    "a store less": ("lion", "fp32", r"(?m)^.*\bst\.global.*$", "", "leaves elements of"),
    "a store twice": (
        "lion", "fp32", r"(?m)^(.*\bst\.global.*)$", r"\1\n\1", "twice|written|write",
    ),
    "the mask off by one": ("lion", "fp32", r"setp\.lt\.s64", "setp.le.s64", "memory of no tensor"),
    "truncated bfloat16": ("lion", "bf16", r"cvt\.rn\.bf16x2", "cvt.rz.bf16x2", ""),
    "another constant": ("lion", "fp32", r"0f3F800000", "0f3F800001", ""),
    "an unknown instruction": ("lion", "fp32", r"add\.rn\.f32|add\.f32", "sin.approx.f32", "sin"),
    "an atomic": ("lion", "fp32", r"ld\.global\.v4\.b32", "atom.global.add.f32", "atom"),
    "an endless loop": (
        "lion", "fp32", r"(?m)^\tret;$", "$again:\n\tbra.uni $again;\n\tret;", "endless|end",
    ),
}  # fmt: skip
UNKNOWN = ("an unknown instruction", "an atomic", "truncated bfloat16")
EVERYWHERE = ("a sum for a difference", "the mask off by one", "truncated bfloat16")


@pytest.mark.parametrize("what", PATCHES)
def test_a_fault_in_the_ptx_is_refuted(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "MAX_STEPS", 5_000)  # many more than any kernel has
    name, dtype, pattern, new, shown = PATCHES[what]
    text = original(name, dtype, True)
    patched = re.sub(pattern, new, text, count=0 if what in EVERYWHERE else 1)
    assert patched != text
    found = run(patched, name, dtype)
    assert found.status is (Status.UNSUPPORTED if what in UNKNOWN else Status.REFUTED), found
    counter = found.counterexample
    places = "" if counter is None else f"{counter.artefact_line} {counter.got}"
    assert re.search(shown, found.detail + places), found


SOURCE: dict[str, list[Edit]] = {
    "an approximate root": [("return tl.sqrt_rn(x) if EXACT", "return tl.sqrt(x) if EXACT")],
    "an approximate division": [("return tl.div_rn(x, y) if EXACT", "return x / y if EXACT")],
    "another formula": [("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)")],
    "a hyperparameter at its default": [
        ("beta1 = tl.full((), beta1, real)", "beta1 = tl.full((), 0.9, real)")
    ],
    "reassociated": [("one_minus_beta2 * (g * g)", "one_minus_beta2 * g * g")],
    "a shorter mask": [("mask = start + offsets < n", "mask = start + offsets < n - 1")],
    "rounded to float16": [
        ("    v = beta2 * v", "    g = g.to(tl.float16).to(real)\n    v = beta2 * v")
    ],
}


@pytest.mark.parametrize("what", SOURCE)
def test_a_fault_in_the_kernel_is_refuted_with_the_line_of_its_ptx(
    what: str, tmp_path: Path
) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", SOURCE[what])
    found = run(ptx(folder, "adamw", "fp32")[0], "adamw", "fp32", folder=folder)
    assert found.status is Status.REFUTED, found
    if what.startswith("an approximate") and found.counterexample is None:
        assert "approx" in found.detail or "div.full" in found.detail
        return
    counter = found.counterexample
    assert counter is not None
    assert counter.expected != counter.got
    if what != "a shorter mask":
        assert "PTX for sm_90" in counter.artefact_line
        assert "specs/adamw.toml:" in counter.spec_line


def test_a_result_that_is_rounded_twice_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    twice = "offsets, p.to(tl.float16).to(real)"
    edit(
        folder / "triton" / "lion.py", [("p_ptr + start + offsets, p", f"p_ptr + start + {twice}")]
    )
    found = run(ptx(folder, "lion", "bf16")[0], "lion", "bf16", folder=folder)
    assert found.status is Status.REFUTED
    assert found.counterexample is not None
    assert found.counterexample.tensor == "p"
    assert found.counterexample.dtype == "bfloat16"


def test_contraction_is_refuted() -> None:
    fused, _ = ptx(FOLDER, "momentum", "fp32", exact=False)
    assert re.search(r"\bfma\.rn\.f32", fused)
    found = run(fused, "momentum", "fp32")
    assert found.status is Status.REFUTED
    assert found.counterexample is not None
    assert "fma" in found.counterexample.artefact_line


def test_a_launcher_that_raises_is_refuted(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "triton" / "lion.py", [("    n = p.numel()\n", "    n = p.missing()\n")])
    found = run(original("lion", "fp32", True), "lion", "fp32", folder=folder)
    assert found.status is Status.REFUTED
    assert "missing" in found.detail
