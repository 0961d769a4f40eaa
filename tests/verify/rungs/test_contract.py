"""The contract on PTX sees what no execution with rounded numbers shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import stock

from stepforge.verify.certificate import Status
from stepforge.verify.rungs import contract
from verify.support import build, copy_of, edit, run, task

PLAIN = {"maximize": False}
HEAD = ".visible .entry k(\n)\n.reqntid 128\n{\n\t.reg .b32 %r<4>;\n"
WIDE = {
    "ld": "\tld.global.v4.b32 {%r1, %r2, %r3, %r4}, [ %rd1 + 0 ];\n",
    "st": "\tst.global.v4.b32 [ %rd1 + 0 ], {%r1, %r2, %r3, %r4};\n",
}
# lion loads p, g, m and stores p, m: two accesses of 16 bytes each for 8 elements in a thread.
TRAFFIC = WIDE["ld"] * 6 + WIDE["st"] * 4


def found(body: str, name: str = "lion") -> list[str]:
    text = f"{HEAD}{body}\tret;\n}}\n"
    return list(contract.violations(text, stock(name), PLAIN, "fp32", 1024))


def test_a_kernel_that_keeps_the_contract_has_no_violations() -> None:
    assert found(TRAFFIC + "\tadd.rn.f32 \t%r1, %r2, %r3;\n") == []


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("sqrt.approx.ftz.f32 \t%r1, %r2;", "is an approximation"),
        ("div.full.f32 \t%r1, %r2, %r3;", "is an approximation"),
        ("ex2.approx.f32 \t%r1, %r2;", "is an approximation"),
        ("mul.ftz.f32 \t%r1, %r2, %r3;", "flushes subnormal numbers"),
        ("add.sat.f32 \t%r1, %r2, %r3;", "clamps its result"),
        ("fma.rn.f32 \t%r1, %r2, %r3, %r1;", "contracts"),
        ("@%p1 fma.rn.f64 \t%rd1, %rd2, %rd3, %rd1;", "contracts"),
        ("fma.rn.f32x2 \t%rd1, %rd2, %rd3, %rd1;", "contracts"),
        ("ld.local.b32 \t%r1, [%rd1];", "local memory"),
        ("st.shared.b32 \t[%rd1], %r1;", "shared memory"),
        ("atom.global.add.f32 \t%r1, [%rd1], %r2;", "is atomic"),
        ("red.global.add.f32 \t[%rd1], %r2;", "is atomic"),
        ("call.uni (retval0), __nv_powf, (param0);", "calls a function"),
    ],
)
def test_an_instruction_outside_of_the_contract_is_found(instruction: str, reason: str) -> None:
    (violation,) = found(f"{TRAFFIC}\t{instruction}\n")
    assert reason in violation
    assert f"`{instruction.split()[-4 if '@' in instruction else 0]}" in violation or (
        instruction.split()[1] in violation
    )


def test_integer_multiply_add_is_no_contraction() -> None:
    assert found(TRAFFIC + "\tmad.lo.s32 \t%r1, %r2, %r3, %r1;\n") == []


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (TRAFFIC + WIDE["ld"], "7 loads of 128 bits in a thread, the tensors need 6"),
        (
            TRAFFIC.replace(WIDE["st"], "", 1),
            "3 stores of 128 bits in a thread, the tensors need 4",
        ),
        (TRAFFIC.replace("v4.b32", "b32"), "0 loads"),
    ],
)
def test_bytes_that_move_twice_never_or_narrowly_are_found(body: str, what: str) -> None:
    assert any(what in violation for violation in found(body))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("return tl.sqrt_rn(x) if EXACT", "return tl.sqrt_rn(x) if not EXACT", "sqrt.approx"),
        ("return tl.div_rn(x, y) if EXACT", "return tl.div_rn(x, y) if not EXACT", "div.full"),
        (
            "p = tl.load(p_ptr + start + offsets).to(real)",
            "p = tl.load(p_ptr + start + offsets, mask=start + offsets < n, other=0.0).to(real)",
            "6 loads of 128 bits in a thread, the tensors need 8",
        ),
        (
            "m = beta1 * m + one_minus_beta1 * g",
            "m = tl.fma(beta1 + 0.0 * m, m, one_minus_beta1 * g)",
            "contracts",
        ),
    ],
)
def test_an_edit_that_the_interpreter_does_not_see_is_refuted(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", [(old, new)])
    (verdict,) = run(task("R5", folder))
    assert verdict.status is Status.REFUTED
    assert reason in verdict.detail


def test_a_rule_with_exp_is_held_to_exact_instructions(tmp_path: Path) -> None:
    text = (
        (Path(__file__).parents[3] / "specs" / "lion.toml")
        .read_text()
        .replace("sign(c)", "exp(-abs(c))*sign(c)")
    )
    path = build(text, tmp_path)
    (verdict,) = run(task("R5", tmp_path / "generated", "lion", spec=path))
    assert verdict.status is Status.TESTED
    assert "exact instructions" in verdict.detail
