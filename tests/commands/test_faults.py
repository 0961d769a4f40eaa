"""What several rungs say of one fault is one report; two faults are two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stepforge.commands.terminal import faults
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.rungs.registry import RUNGS

SPEC = "specs/lion.toml:24: m = beta2*m"
KERNEL = "out/triton/lion.py:133: m = 1.1 * m"


def failed(
    rung: str, detail: str = "the kernel's `m` differs from NumPy's", **more: Any
) -> Verdict:
    places = {k: more.pop(k) for k in ("spec", "kernel", "artefact", "tensor") if k in more}
    found = None
    if places:
        found = Counterexample(
            places.get("tensor", "m"), "float32", 1, 0, 1, {"lr": "1.0"}, "0.5", "0.7",
            places.get("spec", ""), places.get("kernel", ""), places.get("artefact", ""),
        )  # fmt: skip
    verdict = Verdict(rung, "lion", {"maximize": False}, Status.REFUTED, 1, detail)
    return replace(verdict, name=RUNGS[rung].name, counterexample=found, **more)


def rungs(*verdicts: Verdict) -> list[tuple[str, ...]]:
    return [fault.rungs for fault in faults.faults(verdicts)]


def test_the_same_line_of_the_rule_is_one_fault_with_what_each_rung_adds() -> None:
    verdicts = [
        failed("R2", spec=SPEC, kernel=KERNEL),
        failed("R3", "the formula differs", spec=SPEC, kernel=KERNEL, artefact="IR:82: mulf"),
        failed("R6", spec=SPEC, kernel=KERNEL, artefact="PTX:838: mul.rn", target="sm_90"),
        failed("R7", "the formula differs", spec=SPEC, kernel=KERNEL, artefact="PTX:99: mul.rn"),
    ]
    verdicts += [replace(v, options={"maximize": True}) for v in verdicts]
    (fault,) = faults.faults(verdicts)
    assert fault.rungs == ("R2", "R3", "R6", "R7")
    assert len(fault.verdicts) == 8
    told = faults.told(fault, 2)
    assert told.startswith("REFUTED interpreter (R2) lion [maximize=False]\n")
    assert told.count("smallest input") == told.count(SPEC) == told.count(KERNEL) == 1
    assert told.endswith(
        "  found by interpreter (R2) triton-ir-proof (R3) ptx-executed (R6) ptx-proof (R7), with 2 "
        "of 2 option sets\n"
        "    triton-ir-proof (R3) IR:82: mulf\n"
        "    ptx-executed (R6) PTX:838: mul.rn\n"
        "    ptx-proof (R7) PTX:99: mul.rn"
    )


def test_the_line_of_a_generated_file_is_enough() -> None:
    other = "specs/lion.toml:23: p = p - lr*c"
    same = failed("R2", spec=SPEC, kernel=KERNEL), failed("R3", spec=other, kernel=KERNEL)
    assert rungs(*same) == [("R2", "R3")]
    in_the_detail = failed("R7", "writes to it\n  out/triton/lion.py:133: tl.store")
    assert rungs(same[0], in_the_detail) == [("R2", "R7")]


def test_two_lines_are_two_faults() -> None:
    other = failed("R2", spec="specs/lion.toml:23: p", kernel="out/triton/lion.py:9: p", tensor="p")
    assert rungs(failed("R2", spec=SPEC, kernel=KERNEL), other) == [("R2",), ("R2",)]
    joins_both = failed("R3", spec=SPEC, kernel="out/triton/lion.py:9: p")
    both = rungs(failed("R2", spec=SPEC, kernel=KERNEL), other, joins_both)
    assert both == [("R2", "R3")]


def test_line_1_and_line_13_are_not_the_same() -> None:
    one, thirteen = (failed("R2", spec=f"specs/lion.toml:{n}: p = p") for n in (1, 13))
    assert len(faults.faults([one, thirteen])) == 2


def test_a_file_that_cannot_be_used_is_behind_whatever_fails_in_it() -> None:
    file = "out/triton/lion.py"
    broken = [
        failed("R2", f"{file} cannot be imported: SyntaxError: invalid syntax"),
        failed("R3", f"cannot be lifted\n  {file}:131: c = = 1", status=Status.UNSUPPORTED),
        failed("R5", f"{file} cannot be imported: SyntaxError('invalid syntax')", target="sm_90"),
    ]
    assert rungs(*broken) == [("R2", "R3", "R5")]
    compiles_not = [
        failed("R3", f"{file} does not compile for sm_90, fp32: no such name"),
        failed("R7", f"{file} does not compile for sm_100, bf16: no such name"),
    ]
    assert rungs(*compiles_not) == [("R3", "R7")]
    assert rungs(*compiles_not, failed("R1", spec="specs/lion.toml:3: x = 1")) == [
        ("R3", "R7"),
        ("R1",),
    ]


def test_an_access_outside_of_one_tensor_is_one_fault() -> None:
    verdicts = [
        failed("R2", "the kernel writes outside of `m`", spec=SPEC),
        failed("R3", "writes behind the last element of `m` for some n"),
        failed("R6", "Fault: line 7: `st.global.b32` leaves `m`", spec="specs/lion.toml:3: y"),
    ]
    assert rungs(*verdicts) == [("R2", "R3", "R6")]
    assert (
        len(faults.faults([*verdicts, failed("R3", "reads behind the last element of `v`")])) == 1
    )
    elsewhere = failed("R6", "leaves `v`", spec="specs/lion.toml:5: v")
    assert len(faults.faults([*verdicts, elsewhere])) == 2


def test_what_names_no_place_joins_the_only_fault_of_its_optimizer() -> None:
    placed = failed("R2", spec=SPEC, kernel=KERNEL)
    placeless = failed("R5", "full blocks have 12 stores, the tensors need 8")
    assert rungs(placed, placeless) == [("R2", "R5")]
    told = faults.told(faults.faults([placed, placeless])[0], 2)
    assert "compiled-contract (R5) full blocks have 12 stores" in told
    another = failed("R2", spec="specs/lion.toml:23: p", kernel="out/triton/lion.py:9: p")
    assert rungs(placed, another, placeless) == [("R2",), ("R2",), ("R5",)]
    assert rungs(placed, replace(placeless, optimizer="sgd")) == [("R2",), ("R5",)]


def test_what_is_missing_on_this_machine_is_said_once_for_all() -> None:
    missing = [
        replace(failed(rung, "Triton is not installed"), status=Status.UNSUPPORTED, optimizer=name)
        for name in ("lion", "sgd")
        for rung in ("R2", "R3")
    ]
    (fault,) = faults.faults(missing)
    assert fault.optimizers == ("lion", "sgd")
    assert faults.told(fault, 1).endswith(
        "found by interpreter (R2) triton-ir-proof (R3), of lion, sgd"
    )
    slow = [replace(v, status=Status.REFUTED, detail="did not finish") for v in missing]
    assert len(faults.faults(slow)) == 2


def test_a_refutation_with_an_input_says_most() -> None:
    unsupported = failed("R1", spec=SPEC, status=Status.UNSUPPORTED)
    without = failed("R2", "wrong\n  out/triton/lion.py:133: m")
    best = failed("R3", spec=SPEC, kernel=KERNEL)
    (fault,) = faults.faults([unsupported, without, best])
    assert fault.verdicts[0] is best


@pytest.mark.parametrize("verdicts", [[], [failed("R2")]])
def test_few_verdicts(verdicts: list[Verdict]) -> None:
    found = faults.faults(verdicts)
    assert [fault.verdicts for fault in found] == [(v,) for v in verdicts]
    assert all("found by" not in faults.told(fault, 1) for fault in found)
