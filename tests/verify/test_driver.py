"""The driver: what is missing, stale, foreign, crashing or endless is never a pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pebble
import pytest
from catalogue import FEW
from support import ROOT, Command, stock

from stepforge.backends.registry import BACKENDS
from stepforge.language.spec import Spec
from stepforge.project.loading import load
from stepforge.verify import driver as verify
from stepforge.verify.cases.reference import blame
from stepforge.verify.certificate import Certificate, Status, Verdict, worst
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.files.inspection import inspect
from stepforge.verify.processes import Pool, out_of_time
from verify.support import copy_of, edit, made_up, run, short, task


def cli(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepforge", "verify", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=400)


def checked(
    certificate: dict[str, Any], spec: Spec, level: verify.Level, each: dict[str, int]
) -> None:
    """Whether a certificate has a pass for all there is to do: so many of a rung per option set."""
    found: dict[str, list[dict[str, bool]]] = {}
    for verdict in certificate["verdicts"]:
        if verdict["required"]:
            assert verdict["status"] in ("TESTED", "PROVED"), verdict
            assert verdict["values"] > 0
            if verdict["exact"]:
                assert verdict["strength"] == ("bits" if verdict["status"] == "PROVED" else "")
            found.setdefault(verdict["rung"], []).append(verdict["options"])
    sets = list(spec.option_sets())
    rungs = [rung.number for rung in verify.rungs(spec, level)]
    assert sorted(found) == sorted(["files", *rungs])
    for rung in rungs:
        assert all(found[rung].count(options) == each.get(rung, 1) for options in sets), rung
    assert set(certificate["hashes"]) == {"spec", *BACKENDS}
    assert certificate["passed"] is True
    assert certificate["versions"]["triton"]


def test_what_a_folder_holds_passes_the_fast_level_which_is_the_default(
    tmp_path: Path, command: Command
) -> None:
    """As certificates on stdout. CI verifies the whole catalogue."""
    (tmp_path / "specs").mkdir()
    spec = load(short(tmp_path / "specs"))[0]
    assert command("build", cwd=tmp_path).returncode == 0
    done = cli("--json", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert (document["level"], document["passed"]) == ("fast", True)
    (certificate,) = document["results"]
    checked(certificate, spec, verify.Level.fast, {})
    assert done.stderr == ""


@pytest.mark.usefixtures("_pretended")
@pytest.mark.parametrize("name", FEW)
def test_the_full_level_has_every_rung_for_all_types_and_gpus(name: str, command: Command) -> None:
    """As if every rung passed. CI runs them on one optimizer."""
    done = command("verify", name, "--level", "full", "--no-cache", "--json")
    document = json.loads(done.stdout)
    assert set(document["left_out"]) == {"mixtures", "targets", "modes"}
    assert document["looked_at"]["dtypes"] == list(verify.DTYPES)
    (certificate,) = document["results"]
    dtypes, targets = len(verify.DTYPES), len(verify.TARGETS)
    compiled = dtypes * targets
    each = {"R3": dtypes + 1, "R5": compiled + dtypes + targets, "R6": compiled}
    each |= dict.fromkeys(("R7", "R9"), compiled + targets)
    checked(certificate, stock(name), verify.Level.full, each)
    assert {v["dtype"] for v in certificate["verdicts"] if v["rung"] == "R7"} == set(verify.DTYPES)


@pytest.mark.usefixtures("_pretended")
def test_a_missing_file_is_an_error(tmp_path: Path, command: Command) -> None:
    """Whatever the rungs say of the other kernel."""
    folder = copy_of("lion", tmp_path / "generated")
    (folder / "triton" / "lion.py").unlink()
    done = command("verify", "lion", "--generated", folder, "--level", "fast")
    assert done.returncode == 1
    assert "is missing; run `stepforge build lion`" in done.stdout
    assert "0 of 1 optimizers passed every rung" in done.stdout


@pytest.mark.usefixtures("_pretended")
def test_a_stale_file_is_an_error(tmp_path: Path, command: Command) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    text = (ROOT / "specs" / "lion.toml").read_text()
    (tmp_path / "lion.toml").write_text(text.replace("sign(c)", "2*sign(c)"))
    done = command("verify", tmp_path / "lion.toml", "--generated", folder)
    assert done.returncode == 1
    assert "is stale" in done.stdout


def test_a_file_of_another_optimizer_is_an_error(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    other = copy_of("sgd", tmp_path / "other")
    (folder / "numpy" / "lion.py").write_bytes((other / "numpy" / "sgd.py").read_bytes())
    verdict = inspect(stock("lion"), folder).verdict
    assert verdict.status is Status.REFUTED
    assert "was not generated from `lion`" in verdict.detail


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    (folder / "numpy" / "lion.py").write_bytes(b"\xff\xfe")
    assert inspect(stock("lion"), folder).verdict.status is Status.REFUTED


def test_a_rule_that_is_written_otherwise_is_called_edited(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "numpy" / "lion.py", [("p = p - lr * u", "p = p - u * lr")])
    verdict = inspect(stock("lion"), folder).verdict
    assert verdict.status is Status.TESTED
    assert "the rule is not as build writes it: " in verdict.detail
    assert "lion.py" in verdict.detail


@pytest.mark.parametrize("name", ["lion", "_runtime"])
def test_an_edited_optimizer_class_is_refuted_because_no_rung_runs_it(
    name: str, tmp_path: Path
) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    path = folder / "torch" / f"{name}.py"
    path.write_text(path.read_text() + "edited = True\n")
    verdict = inspect(stock("lion"), folder).verdict
    assert verdict.status is Status.REFUTED
    assert f"{name}.py:" in verdict.detail
    assert "differs from what build writes" in verdict.detail
    path.unlink()
    verdict = inspect(stock("lion"), folder).verdict
    assert verdict.status is Status.REFUTED
    assert f"{name}.py is missing" in verdict.detail


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("while True: pass", Status.UNSUPPORTED, "ran out of time after 1 s of computing; --time"),
        ("import os; os._exit(3)", Status.REFUTED, "the process died (exit code 3)"),
        ("import ctypes; ctypes.string_at(0)", Status.UNSUPPORTED, "the process died (SIGSEGV)"),
        ("raise SystemExit(0)", Status.REFUTED, ""),
    ],
)
def test_a_launcher_that_hangs_or_dies_is_no_pass(
    code: str, status: Status, reason: str, tmp_path: Path
) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(
        folder / "triton" / "lion.py", [("    n = p.numel()\n", f"    n = p.numel()\n    {code}\n")]
    )
    seconds = 1 if "1 s" in reason else 60
    (verdict,) = run(task("R2", folder, "lion"), seconds=seconds)
    assert verdict.status is status, verdict
    assert reason in verdict.detail
    assert verdict.lasting == (reason == "")


def test_a_task_that_ends_its_worker_takes_no_other_verdict_with_it(tmp_path: Path) -> None:
    """Tasks in one group: each has its own time, and what ran out is not tried a third time."""
    ends = {"passes": "R3", "computes_forever": "R5", "is_wrong": "R6", "is_killed": "R7"}
    group = tuple(made_up(function, tmp_path, number) for function, number in ends.items())
    found = list(verify.execute([group, group[1:2]], 1, seconds=1))
    said = {function: [v for v in found if v.rung == r] for function, r in ends.items()}
    assert [v.status for v in said["passes"]] == [Status.TESTED]
    assert {v.status for v in found if v.rung != "R3"} == {Status.UNSUPPORTED}
    assert len(said["computes_forever"]) == 2
    assert all("ran out of time" in v.detail for v in said["computes_forever"])
    (fault,), (killed,) = said["is_wrong"], said["is_killed"]
    assert "a fault in the verifier" in fault.detail
    assert "KeyError: 'lion'" in fault.detail
    assert "the process died (SIGKILL)" in killed.detail
    assert not any(v.lasting for v in found if v.rung != "R3")


def test_time_counts_while_a_process_computes_and_waiting_has_a_limit_of_its_own() -> None:
    with closing(Pool(1, int)) as pool:
        for seconds, slept, ends in [(0.3, 1.0, True), (0.05, 600.0, False)]:
            future = pool.schedule(time.sleep, [slept], seconds)
            if ends:
                future.result()
                continue
            with pytest.raises(pebble.ProcessExpired) as died:
                future.result()
            assert "has not ended after 0.5 s" in out_of_time(died.value, seconds)


@pytest.mark.parametrize("where", ["verify/ptx/executor.py", "verify/rounding/enclosure.py"])
def test_a_fault_of_the_verifier_is_no_fault_of_a_file(where: str, tmp_path: Path) -> None:
    """Called by a line of the file where that is the executor, or else by the verifier itself."""
    path, own = tmp_path / "lion.py", Path(verify.__file__).parents[1] / where
    made: dict[str, Any] = {}
    exec(compile("def ours(): raise KeyError()", own, "exec"), made)
    exec(compile("def step(f): f()\ndef bad(): return {}[0]", path, "exec"), made)
    call = partial(made["step"], made["ours"]) if "ptx" in where else made["ours"]
    with pytest.raises(KeyError) as raised:
        call()
    with pytest.raises(KeyError):
        blame(raised.value, path)
    with pytest.raises(KeyError) as raised:
        made["bad"]()
    blame(raised.value, path)


def test_options_that_were_not_tried_after_a_hang_are_no_pass(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    path = folder / "triton" / "adamw.py"
    edit(path, [("    n = p.numel()\n", "    n = p.numel()\n    while True: pass\n")])
    todo = [task("R2", folder, options=o) for o in stock("adamw").option_sets()]
    verdicts = list(verify.execute(todo, 1, seconds=1))
    assert len(verdicts) == 4
    assert not any(v.status.passed for v in verdicts)


def test_a_syntax_error_is_refuted_by_every_rung_that_reads_the_file(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "triton" / "lion.py", [("if MAXIMIZE:", "if MAXIMIZE")])
    rungs = ("R2", "R3", "R5", "R6", "R7", "R9")
    for verdict in run(*(task(rung, folder, "lion") for rung in rungs)):
        assert verdict.status is (Status.UNSUPPORTED if verdict.rung == "R3" else Status.REFUTED)
        assert "cannot be imported" in verdict.detail or "is not Python" in verdict.detail


SLEEP = "while True: pass\n"
ENDLESS = {
    "at import": ("\nBLOCK = ", f"\n{SLEEP}BLOCK = "),
    "in the launcher": ("    n = p.numel()\n", f"    n = p.numel()\n    {SLEEP}"),
    "in the kernel": (
        "    if MAXIMIZE:\n",
        "    while n > 0:\n        tl.store(p_ptr + start, 0.0)\n    if MAXIMIZE:\n",
    ),
}


@pytest.mark.parametrize("where", ENDLESS)
def test_what_never_ends_is_no_pass_of_any_rung(where: str, tmp_path: Path) -> None:
    """R5 compiles and never launches: of what does not end then there is nothing to see."""
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "triton" / "lion.py", [ENDLESS[where]])
    rungs = ("R2", "R3", "R5", "R9") if where == "at import" else ("R2", "R3", "R6", "R7")
    found = run(*(task(rung, folder, "lion") for rung in rungs), seconds=1)
    assert not any(v.status.passed for v in found), found
    assert all(v.detail for v in found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import triton\n", "import nothing_like_it\nimport triton\n"),
        ("import triton\n", "import triton\nraise RuntimeError('no')\n"),
        ("import triton\n", "import triton\nimport os\nos._exit(7)\n"),
        ("\nBLOCK = 2048\n", "\nBLOCK = None\n"),
        ("def lion_kernel(", "def lion_kern("),
    ],
)
def test_a_file_that_cannot_be_imported_is_no_pass_of_any_rung(
    old: str, new: str, tmp_path: Path
) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "triton" / "lion.py", [(old, new)])
    rungs = ("R2", "R3", "R5", "R6", "R7", "R9")
    seconds = 20 if "_exit" in new else None  # what ends a worker ends one of its own
    for verdict in run(*(task(rung, folder, "lion") for rung in rungs), seconds=seconds):
        assert verdict.status in (Status.REFUTED, Status.UNSUPPORTED), verdict
        assert verdict.detail
        assert "fault in the verifier" not in verdict.detail, verdict


def test_without_triton_its_rungs_are_unsupported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder = copy_of("lion", tmp_path / "generated")
    verdicts = list(verify.execute([task("R2", folder, "lion"), task("R5", folder, "lion")], 1))
    assert [v.status for v in verdicts] == [Status.UNSUPPORTED] * 2


def test_what_a_generated_file_prints_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    for backend, line in (("numpy", "    dtype, real"), ("triton", "    n = p.numel()\n")):
        loud = f"    print('noise' * 1000)\n{line}"
        edit(folder / backend / "lion.py", [(line, loud)])
    works = [replace(task(rung, folder, "lion"), brief=True) for rung in ("R1", "R2", "R3")]
    found = run(*(replace(work, backends=("triton",)) for work in works))
    assert [v.status for v in found] == [Status.TESTED, Status.TESTED, Status.UNSUPPORTED]
    assert capfd.readouterr() == ("", "")


def test_a_certificate_without_verdicts_is_no_pass() -> None:
    assert not Certificate("x", ()).passed


def test_unsupported_is_no_pass() -> None:
    good = Verdict("R1", "x", {}, Status.TESTED)
    bad = Verdict("R2", "x", {}, Status.UNSUPPORTED)
    assert Certificate("x", (good,)).passed
    assert not Certificate("x", (good, bad)).passed
    assert worst((good, bad)) is Status.UNSUPPORTED
    assert worst(()) is None


@pytest.mark.parametrize("broken", LAUNCHERS)
def test_only_the_kernels_that_are_asked_for_are_looked_at(broken: str, tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    with (folder / broken / "lion.py").open("a") as file:
        file.write("\nraise RuntimeError\n")
    (other,) = {*LAUNCHERS} - {broken}
    works = [task(rung, folder, "lion") for rung in ("R2", "R3", "R5", "R6", "R7", "R9")]
    for backend, passed in ((broken, False), (other, True)):
        for verdict in run(*(replace(work, backends=(backend,)) for work in works)):
            assert verdict.status.passed is passed, verdict
            assert verdict.values > 0 or not passed


@pytest.mark.usefixtures("_pretended")
def test_kernels_that_were_not_looked_at_are_named(command: Command) -> None:
    done = command("verify", "lion", "--level", "fast", "--kernel", "triton")
    assert (done.returncode, done.stderr) == (0, "")
    assert "interpreter (R2) to error-bound (R9): the kernels in multi_tensor/\n" in done.stdout


def test_evidence_is_about_the_kernels_that_are_asked_for(tmp_path: Path) -> None:
    asked = ("--kernel", "multi_tensor", "--generated", str(tmp_path / "generated"))
    done = cli(str(short(tmp_path)), *asked, "--jobs", "1", "--no-cache", "--json")
    (certificate,) = json.loads(done.stdout)["results"]
    assert certificate["kernels"] == ["multi_tensor"]
    for verdict in (v for v in certificate["verdicts"] if v["rung"] == "R5"):
        assert "artefact" in verdict["evidence"]["multi_tensor"]
        assert "artefact" not in verdict["evidence"]


@pytest.mark.parametrize(
    "arguments",
    [("nothing_like_it",), ("lion", "--target", "gfx"), ("lion", "--kernel", "tritn")],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], command: Command) -> None:
    done = command("verify", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error[" in done.stderr


def test_a_worker_that_dies_with_nothing_to_do_is_replaced() -> None:
    """As a system that is short of memory may kill it."""
    with closing(Pool(1, os.getpid)) as pool:
        first = pool.schedule(os.getpid, (), 60).result()
        os.kill(first, signal.SIGKILL)
        wait_until = time.monotonic() + 60
        while pool._pool.active and time.monotonic() < wait_until:
            time.sleep(0.05)
        assert pool.schedule(os.getpid, (), 60).result() != first
