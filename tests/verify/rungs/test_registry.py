"""A rung is one record: a made-up one goes through everything, and nothing else names rungs."""

from __future__ import annotations

import ast
import inspect
import io
import json
import pkgutil
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support import ROOT, Command, small, stock

from stepforge.commands.terminal import mutations
from stepforge.fuzz import cases
from stepforge.language.subjects import OPTIMIZER
from stepforge.mutate.judge import judged
from stepforge.mutate.mutant import LEVELS, Mutant
from stepforge.mutate.report import Report, Result
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.run.tasks import run, rungs
from stepforge.verify.run.workers import execute
from stepforge.verify.rungs import levels
from stepforge.verify.rungs.levels import Level
from stepforge.verify.rungs.registry import RUNGS, Need, Rung, assumptions, named, of
from stepforge.verify.rungs.task import Task
from verify.support import copy_of, edit, task

PACKAGE = ROOT / "codegen" / "stepforge"
REGISTRY = PACKAGE / "verify" / "rungs" / "registry.py"
PLANTED = "planted = 1"

MADE_UP = Rung(
    "R99",
    "made-up",
    summary="nothing is planted",
    explanation="Looks whether something is planted. Finds what this test plants.",
    function="verify.rungs.test_registry:check",
    artefacts=("kernel", "ttir", "ptx"),
    needs=(Need.triton, Need.kernel, Need.ptx),
    assumptions=("{rungs}: whoever plants says so",),
    excused={"undecided": "^UNSUPPORTED: perhaps"},
)


def check(task: Task) -> Verdict:
    """The rung that is made up."""
    texts = [*task.artefacts.values()]
    if not texts:
        texts = [task.pair.launches(backend).read_text("utf-8") for backend, _ in task.chosen]
    if any(PLANTED in text for text in texts):
        return task.verdict(Status.REFUTED, "something is planted", len(texts))
    return task.verdict(Status.TESTED, "nothing is planted", len(texts), evidence={"seen": 1})


@pytest.fixture
def made_up() -> Iterator[Rung]:
    """One record more, beside the first and the last of the others, which are the fast ones."""
    before = dict(RUNGS)
    RUNGS.clear()
    RUNGS.update({n: r for n, r in before.items() if n in ("R0", "R12")} | {"R99": MADE_UP})
    yield MADE_UP
    RUNGS.clear()
    RUNGS.update(before)


# What is made up.


@pytest.mark.usefixtures("made_up")
def test_it_is_run_reported_certified_and_kept(tmp_path: Path, command: Command) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    line = ("verify", "lion", "--generated", folder, "--cache", tmp_path / "kept")
    shown = command(*line)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert re.search(r"^optimizer .* made-up \(R99\)$", shown.stdout, re.MULTILINE)
    assert re.search(r"^lion .* TESTED n=4$", shown.stdout, re.MULTILINE)
    assert "\nmade-up (R99): nothing is planted\n" in shown.stdout
    (certificate,) = json.loads(command(*line, "--json").stdout)["results"]
    assert "made-up (R99): whoever plants says so" in certificate["assumptions"]
    found = [v for v in certificate["verdicts"] if v["rung"] == "R99"]
    assert [next(iter(v.items())) for v in found] == [("name", "made-up")] * 2
    assert {(v["target"], v["dtype"], v["evidence"]["seen"]) for v in found} == {
        ("sm_90", "fp32", 1)
    }
    assert all(v["kept"] for v in found)


@pytest.mark.usefixtures("made_up")
def test_it_refutes(tmp_path: Path, command: Command) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    rule = "    if MAXIMIZE:\n"
    edit(folder / "triton" / "lion.py", [(rule, f"    {PLANTED}\n{rule}")])
    done = command("verify", "lion", "--generated", folder)
    assert done.returncode == 1
    assert "REFUTED made-up (R99) lion [maximize=False] sm_90 fp32\n" in done.stdout
    assert "  found by made-up (R99), with 2 of 2 option sets\n" in done.stdout


def test_it_is_explained(made_up: Rung, command: Command) -> None:
    for name in (made_up.name, made_up.number):
        assert command("explain", name).stdout == f"made-up (R99): {made_up.explanation}\n"
    assert f"made-up (R99): {made_up.explanation}\n" in command("explain").stdout
    assert "static-rules (R0) to made-up (R99)" in command("explain", "fast").stdout


def test_it_judges_mutants(made_up: Rung) -> None:
    spec = stock("lion")
    options = next(spec.option_sets())
    kernel = (ROOT / "generated" / "triton" / "lion.py").read_text("utf-8")
    mutants = [
        Mutant(spec, options, "triton", "K", "planted", "", {"triton": f"{kernel}{PLANTED}\n"}),
        Mutant(spec, options, "ptx", "K", "planted", "", text=f"// {PLANTED}\n"),
        Mutant(spec, options, "triton", "EQ", "nothing", "", {"triton": kernel}),
        Mutant(spec, options, "numpy", "K", "unseen", ""),
    ]
    with closing(judged(mutants, ROOT / "generated", 1, 0)) as coming:
        found = {mutant.name: statuses for mutant, statuses in coming}
    planted, equivalent = {"R99": "REFUTED: something is planted"}, {"R99": "TESTED"}
    assert [found.get(m.name) for m in mutants] == [planted, planted, equivalent, None]
    report = Report(tuple(Result.of(m, found[m.name]) for m in mutants[:3]))
    assert (report.killed, report.false_alarms, {*report.alone}) == (2, [], {made_up.number})
    stream = io.StringIO()
    mutations.print_report(report, stream)
    assert re.search(r"^class .* made-up \(R99\)$", stream.getvalue(), re.MULTILINE)


def test_random_specs_go_through_it(made_up: Rung) -> None:
    assert cases.asked() == (made_up,)
    (group,) = cases.groups(small("p = p - lr*g"), ROOT / "generated", 0, 0)
    assert [one.rung for one in group] == [made_up]
    assert [*cases.groups(small("p = p - lr*exp(g)"), ROOT / "generated", 0, 0)]


# The records.


def test_every_record_is_complete() -> None:
    names = [text for rung in RUNGS.values() for text in (rung.number, rung.name)]
    assert len({*names}) == len(names)
    for number, rung in RUNGS.items():
        assert number == rung.number
        assert re.fullmatch(r"R\d+" if rung.subject == OPTIMIZER else r"S\d+", number)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rung.name)
        assert rung.summary
        assert re.fullmatch(r"[A-Zt].*\.", rung.explanation)
        assert all("{rungs}" in text for text in rung.assumptions)
        assert not rung.for_each_gpu or rung.compiles
        if not rung.function:
            continue
        assert {*rung.artefacts} <= {artefact for level in LEVELS.values() for artefact in level}
        function = pkgutil.resolve_name(rung.function)
        assert [*inspect.signature(function).parameters] == ["task"]


def test_a_rung_has_a_name_and_a_number() -> None:
    for rung in RUNGS.values():
        assert named(rung.name.upper()) is named(f" {rung.number.lower()}") is rung
    assert named("R4") is named("files") is named("") is None


@pytest.mark.parametrize(
    ("number", "changes", "need"),
    [
        ("R6", {"targets": (levels.AMD,)}, Need.ptx),
        ("R2", {"backends": ()}, Need.kernel),
        ("R8", {"spec": small("p = p - lr*g")}, Need.torch_class),
        ("R10", {"folder": ROOT / "specs"}, Need.c),
        ("R12", {"backends": ("triton",)}, Need.all_kernels),
    ],
)
def test_what_is_missing_is_the_reason(number: str, changes: dict[str, object], need: Need) -> None:
    work = task(number, ROOT / "generated", "lion")
    lacking = replace(work, **changes)  # type: ignore[arg-type]
    assert (lacking.missing, lacking.verdict(Status.TESTED, "").rung) == (need, number)
    verdict = run(lacking)
    assert (verdict.status, verdict.detail) == (Status.UNSUPPORTED, need.value)
    assert [(v.status, v.detail) for v in execute([lacking], 1)] == [(verdict.status, need.value)]


@pytest.mark.parametrize(("number", "need"), [("R3", Need.triton), ("R8", Need.torch)])
def test_what_is_not_installed_is_the_reason(
    number: str, need: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = task(number, ROOT / "generated", "adamw")
    assert work.missing is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert work.missing is need


def test_levels_have_ever_more_rungs() -> None:
    fast, full, deep = (rungs(stock("adamw"), level) for level in Level)
    assert [r.number for r in fast] == ["R0", "R1", "R2", "R3", "R5", "R6", "R7", "R10"]
    assert [r.number for r in full] == [*(r.number for r in fast[:-1]), "R8", "R9", "R10", "R11"]
    assert [r.number for r in deep] == [*(r.number for r in full), "R12"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("spec", "R0 R8"), ("rule", "R1 R2 R3 R5 R6 R7 R8 R9 R10 R11"), ("numpy", "R1 R2 R3 R8"),
        ("triton", "R2 R3 R5 R6 R7 R9"), ("multi_tensor", "R2 R3 R5 R6 R7 R9"),
        ("c", "R10 R11"),
        ("ttir", "R3 R5 R6 R7 R9"), ("ptx", "R5 R6 R7 R9"),
    ],
)  # fmt: skip
def test_mutants_are_judged_by_what_looks_behind_them(level: str, expected: str) -> None:
    looking = [r.number for r in of(OPTIMIZER) if LEVELS[level].intersection(r.artefacts)]
    assert looking == expected.split()


def test_assumptions_name_all_rungs_that_make_them() -> None:
    texts = [*assumptions("")]
    (bits,) = (text for text in texts if "(bits)" in text)
    assert bits.startswith("triton-ir-proof (R3), ptx-proof (R7), c-proof (R10), PROVED (bits): ")
    assert not any("{" in text for text in texts)


# Nobody else's.


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring, with its line."""
    tree = ast.parse(path.read_text("utf-8"))
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_only_the_registry_names_rungs_by_number(path: Path) -> None:
    named_here = [found for found in literals(path) if re.search(r"\b[RS]\d+\b", found[1])]
    assert not named_here or path == REGISTRY, named_here
    assert path != REGISTRY or {text for _, text in named_here} >= {*RUNGS}
