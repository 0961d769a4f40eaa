"""The contract on PTX sees what no execution with rounded numbers shows."""

from __future__ import annotations

from dataclasses import replace
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


def findings(body: str, name: str = "lion") -> contract.Findings:
    text = f"{HEAD}{body}\tret;\n}}\n"
    return contract.findings(text, stock(name), PLAIN, "fp32", 1024)


def found(body: str) -> list[str]:
    return findings(body).violations


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


def test_a_way_that_moves_nothing_is_no_fault() -> None:
    assert not found(f"\t@%p1 bra $L1;\n{TRAFFIC}$L1:\n")
    assert not found(f"\t@%p1 bra $L1;\n{TRAFFIC}\tbra.uni $L2;\n$L1:\n{TRAFFIC}$L2:\n")


def test_integer_multiply_add_is_no_contraction() -> None:
    assert found(TRAFFIC + "\tmad.lo.s32 \t%r1, %r2, %r3, %r1;\n") == []


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (TRAFFIC + WIDE["ld"], "loads of 112 bytes in a thread, the tensors need 96"),
        (
            TRAFFIC.replace(WIDE["st"], "", 1),
            "stores of 48 bytes in a thread, the tensors need 64",
        ),
        (TRAFFIC.replace("v4.b32", "b32"), "loads of 24 bytes"),
        (f"\t@%p1 bra $L1;\n{TRAFFIC}$L1:\n{WIDE['st']}", "stores of 16 bytes"),
    ],
)
def test_bytes_that_move_twice_or_never_are_found(body: str, what: str) -> None:
    assert any(what in violation for violation in found(body))


NARROW = {verb: line.replace("v4.b32", "b32") * 4 for verb, line in WIDE.items()}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (NARROW["ld"] * 6 + WIDE["st"] * 4, "0 loads of 128 bits in a thread, the tensors need 6"),
        (WIDE["ld"] * 6 + NARROW["st"] * 4, "0 stores of 128 bits in a thread, the tensors need 4"),
        (TRAFFIC + "\tld.local.b32 \t%r1, [%rd1];\n", "`ld.local.b32` uses local memory"),
        (TRAFFIC + "\tst.shared.b32 \t[%rd1], %r1;\n", "`st.shared.b32` uses shared memory"),
    ],
)
def test_what_only_takes_time_is_a_cost(body: str, what: str) -> None:
    assert any(what in cost for cost in findings(body).costs)
    assert not found(body)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("return tl.sqrt_rn(x) if EXACT", "return tl.sqrt_rn(x) if not EXACT", "sqrt.approx"),
        ("return tl.div_rn(x, y) if EXACT", "return tl.div_rn(x, y) if not EXACT", "div.full"),
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


@pytest.mark.parametrize(
    ("edits", "status", "said"),
    [
        (
            [
                (
                    "p = tl.load(p_ptr + start + offsets).to(real)",
                    "p = tl.load(p_ptr + start + offsets, mask=start + offsets < n).to(real)",
                )
            ],
            Status.TESTED,
            "6 loads of 128 bits in a thread, the tensors need 8",
        ),
        (
            [("        tl.store(m_ptr + start + offsets, m)\n", "")],
            Status.REFUTED,
            "stores of 64 bytes in a thread, the tensors need 96",
        ),
    ],
)
def test_a_narrow_access_is_a_warning_and_a_missing_one_a_refutation(
    edits: list[tuple[str, str]], status: Status, said: str, tmp_path: Path
) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", edits)
    for target in ("sm_90", "gfx942"):
        (verdict,) = run(replace(task("R5", folder), targets=(target,)))
        told = verdict.detail if status is Status.REFUTED else " ".join(verdict.warnings)
        if target == "sm_90":
            assert verdict.status is status
            assert said in told
        else:  # no way through the machine code is followed, so a missing one is for R3
            assert verdict.status is Status.TESTED


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
