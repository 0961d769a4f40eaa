"""The machine-readable certificate has every verdict with its evidence, and what they rest on."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, run_command, stock

from stepforge.commands.cli import main
from stepforge.commands.terminal import report
from stepforge.verify.certificate import FORMAT, Certificate, Compiled, Status, Verdict
from stepforge.verify.driver import TARGETS
from stepforge.verify.ptx import figures, sass
from stepforge.verify.run import provenance
from stepforge.verify.run.tasks import groups
from stepforge.verify.rungs.levels import Level
from verify.support import copy_of, edit, run, task

COMPILED_FOR = ("sm_90", "sm_100")


def strict(text: str) -> Any:
    """JSON without what only Python reads."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@cache
def certificate() -> dict[str, Any]:
    """Lion's, from the command."""
    targets = [word for target in COMPILED_FOR for word in ("--target", target)]
    done = run_command(
        "verify", "lion", "--level", "fast", *targets, "--jobs", "1", "--no-cache", "--json"
    )
    assert done.returncode == 0, done.stdout
    (found,) = strict(done.stdout)["results"]
    return dict(found)


def test_it_has_a_verdict_for_every_task() -> None:
    found = certificate()
    assert (found["format"], found["optimizer"], found["passed"]) == (FORMAT, "lion", True)
    expected = [
        (t.rung.number, t.options, t.dtypes)
        for group in groups(stock("lion"), ROOT / "generated", 0, Level.fast, COMPILED_FOR)
        for t in group
    ]
    verdicts = [v for v in found["verdicts"] if v["rung"] != "files"]
    assert len(verdicts) == len(expected)
    for rung, options, dtypes in expected:
        (dtype,) = dtypes
        same = [v for v in verdicts if (v["rung"], v["options"]) == (rung, options)]
        assert {v["dtype"] for v in same} == {dtype}
        wanted = set(COMPILED_FOR) if rung in ("R5", "R6", "R7") else {""}
        assert {v["target"] for v in same} == wanted
    keys = {field.name for field in fields(Verdict)} - {"machine_code", "lasting"}
    assert all(set(v) == keys for v in found["verdicts"])
    assert {v["strength"] for v in verdicts if v["status"] == "PROVED"} == {"bits"}


def test_it_names_what_the_verdicts_rest_on() -> None:
    found = certificate()
    assert found["assumptions"]
    paths = {"spec": "specs/lion.toml", "numpy": "generated/numpy/lion.py"}
    for name, path in {**paths, "triton": "generated/triton/lion.py"}.items():
        assert found["hashes"][name] == hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
    assert found["templates"] == provenance.templates()
    assert {"python", "numpy", "triton", "ptxas", "stepforge"} <= set(found["versions"])
    assert all(target in found["versions"]["ptxas"] for target in COMPILED_FOR)


def test_compiled_kernels_have_hashes_and_figures() -> None:
    compiled = [v for v in certificate()["verdicts"] if v["rung"] == "R5"]
    artefacts = {(v["target"], str(v["options"])): v["evidence"]["artefact"] for v in compiled}
    assert len(set(artefacts.values())) == len(compiled) == 4
    for verdict in compiled:
        assert verdict["evidence"]["bytes_per_element"] == {"fp32": 20}
        for evidence in (verdict["evidence"], verdict["evidence"]["multi_tensor"]):
            assert len(evidence["artefact_unaligned"]) == 64
            assert set(evidence["figures"]) == {field.name for field in fields(sass.Figures)}
            assert evidence["figures"]["instructions"] > 10
            assert evidence["figures"]["registers"] > 16
            assert evidence["figures"]["local_bytes"] == 0
            assert evidence["figures"]["access_bits"] == 128
            assert 0 < evidence["figures"]["occupancy"] <= 1
            assert 0 < evidence["figures"]["issue_share"] < 1


def test_the_templates_of_a_backend_have_a_digest_of_all_that_they_can_include(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ROOT / "codegen" / "stepforge" / "backends" / "templates"
    copy = tmp_path / "templates"
    for path in folder.rglob("*.jinja"):
        (copy / path.parent.relative_to(folder)).mkdir(parents=True, exist_ok=True)
        (copy / path.relative_to(folder)).write_bytes(path.read_bytes())
    shutil.copytree(ROOT / "codegen/stepforge/operations/functions", tmp_path / "functions")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    digests = provenance.templates.__wrapped__
    before = digests()
    assert before == provenance.templates()
    changed = {}
    for name in (
        "numpy.py.jinja", "triton/div.jinja", "host/scalar_max.jinja", "spec.toml.jinja",
        "../functions/exp.formula",
    ):  # fmt: skip
        text = (copy / name).read_text()
        (copy / name).write_text(text + "#")
        after = digests()
        changed[name] = {backend for backend in before if before[backend] != after[backend]}
        (copy / name).write_text(text)
    assert changed == {
        "numpy.py.jinja": {"numpy"},
        "triton/div.jinja": {"triton", "multi_tensor"},
        "host/scalar_max.jinja": {"numpy", "triton", "multi_tensor", "cpu"},
        "spec.toml.jinja": set(),
        "../functions/exp.formula": {"numpy", "triton", "multi_tensor", "cpu"},
    }


def test_a_kernel_that_spills_is_right_and_warned_of(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    path = folder / "triton" / "lion.py"
    (line,) = [s for s in path.read_text().split("\n") if s.startswith("BLOCK = ")]
    edit(path, [(line, "BLOCK = 16384")])
    (verdict,) = run(task("R5", folder, "lion"))
    assert verdict.status is Status.TESTED
    (spills,) = verdict.warnings
    assert f"takes {verdict.evidence['figures']['local_bytes']} bytes of local memory" in spills
    found = Certificate("lion", (verdict,))
    assert found.passed
    assert found.warned
    document = json.loads(json.dumps(found.as_dict()))
    assert document["verdicts"][0]["warnings"] == [spills]


def test_warnings_that_differ_in_numbers_are_told_once(tmp_path: Path) -> None:
    made = [
        verdict(warnings=(f"triton: {n} bytes",), dtype=d) for n, d in [(8, "fp32"), (24, "fp64")]
    ]
    other = verdict(optimizer="sgd", warnings=("triton: 16 bytes", "slow"), target="sm_90")
    with (tmp_path / "out").open("w") as stream:
        report.print_table(
            [Certificate("lion", tuple(made)), Certificate("sgd", (other,))], stream, strict=True
        )
    text = (tmp_path / "out").read_text()
    assert "warning: R5 lion sgd: triton: 8 to 24 bytes (3 times, sm_90, fp32 fp64)\n" in text
    assert "warning: R5 sgd: slow (sm_90)\n" in text
    assert "warnings of 2 of 2 optimizers; which --strict does not let pass" in text


def test_kernels_for_amd_have_the_figures_of_their_metadata(tmp_path: Path) -> None:
    asked = replace(
        task("R5", copy_of("lion", tmp_path / "generated"), "lion"), targets=("gfx942",)
    )
    (verdict,) = run(asked)
    assert verdict.status is Status.TESTED
    assert verdict.machine_code == {}
    assert verdict.evidence["figures"]["registers"] > 16
    assert verdict.evidence["figures"]["local_bytes"] == 0


def verdict(**changes: Any) -> Verdict:
    return replace(Verdict("R5", "lion", {"maximize": False}, Status.TESTED), **changes)


def test_machine_code_that_cannot_be_measured_says_why() -> None:
    code = Compiled(b"no ELF file", "k", "sm_90", 128, 1024, 20)
    held = verdict(
        machine_code={"triton": code, "multi_tensor": code},
        evidence={"figures": {"registers": 7}, "multi_tensor": {"figures": {"registers": 8}}},
    )
    plain, found = figures.completed([verdict(), held], jobs=2)
    assert plain == verdict()
    assert found.machine_code == {}
    for kernel, registers in ((found.evidence, 7), (found.evidence["multi_tensor"], 8)):
        assert kernel["figures"]["registers"] == registers
        assert "no ELF file" in kernel["figures"]["unmeasured"]


def test_a_certificate_is_json_whatever_its_verdicts_carry() -> None:
    code = Compiled(b"\0", "k", "sm_90", 128, 1024, 20)
    found = Certificate("lion", (verdict(machine_code={"triton": code}),)).as_dict()
    assert strict(json.dumps(found, allow_nan=False))["verdicts"][0]["rung"] == "R5"


def test_every_target_that_is_proved_has_its_limits() -> None:
    for target in TARGETS:
        assert 0 < sass.occupancy(target, 64, 128, 0) <= 1


def test_the_figures_of_a_kernel_are_summed_up_below_the_table(tmp_path: Path) -> None:
    made = [
        verdict(evidence={"figures": {"registers": r, "occupancy": o, "issue_share": s}}, dtype=d)
        for r, o, s, d in [(40, 0.5, 0.1, "fp32"), (64, 0.25, None, "fp32"), (99, 1, 0.9, "fp64")]
    ]
    with (tmp_path / "out").open("w") as stream:
        report.print_table([Certificate("lion", tuple(made))], stream)
    text = (tmp_path / "out").read_text()
    assert "2 kernels in float32: at most 64 registers, no spills" in text
    assert "occupancy at least 25 %, issue share at most 10 %" in text


@pytest.mark.parametrize(("strict_too", "status"), [([], 0), (["--strict"], 1)])
def test_warnings_fail_with_strict_alone(
    strict_too: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Certificate("lion", (verdict(warnings=("triton: 8 bytes",)),))
    monkeypatch.setattr("stepforge.verify.driver.verify", lambda *_: [found])
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["stepforge", "verify", "lion", "--json", *strict_too])
    with pytest.raises(SystemExit) as ended:
        main()
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == status
    assert (told["passed"], told["strict"]) == (not status, bool(strict_too))
