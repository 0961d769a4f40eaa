"""Random specs and texts: the same for the same seed, sound, and what is wrong with them is found.

Every file in `fuzz_cases/` failed once: the specs run through all rungs here, the texts through
`check`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from support import ROOT, Command, environment, run_command

from stepforge.fuzz import campaign as campaigns
from stepforge.fuzz import cases, shrink
from stepforge.fuzz.campaign import BUILD, TEXTS, Campaign, Report, outcome_of
from stepforge.fuzz.front import Built, Fault, build, examine
from stepforge.fuzz.workers import Workers, agreed
from stepforge.language import parser, reader, tokens
from stepforge.language.expression import If, subexpressions
from stepforge.language.reader import loads
from stepforge.language.rules import expressions
from stepforge.language.spec import Spec
from stepforge.lowering import lower
from stepforge.lowering.kernel import Value
from stepforge.operations.table import OPERATIONS
from stepforge.output import emit
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status, Verdict, describe
from stepforge.verify.files.generated import KERNELS
from stepforge.verify.run.tasks import Group
from stepforge.verify.rungs.levels import DTYPES, TARGETS
from stepforge.verify.rungs.registry import RUNGS

COUNT = 150
ASKED = [rung.number for rung in cases.asked()]
SEED = 5
FOLDER = ROOT / "tests" / "fuzz_cases"
SPECS = sorted(FOLDER.glob("*.toml"))
TEXT_FILES = sorted(FOLDER.glob("*.txt"))


once = cache(build)
"""Builds a text, unless a test has done so."""


class Here:
    """Runs cases in this process, where a test can plant a bug."""

    def build(self, texts: Sequence[str]) -> list[Built | Fault]:
        return [build(text) for text in texts]

    def examine(self, texts: Sequence[bytes]) -> list[str | Fault]:
        return [examine(text) for text in texts]

    def verdicts(self, groups: Iterable[Group]) -> Iterator[Verdict]:
        return (verify.run(task) for group in groups for task in group)


class HereOnce(Here):
    """The same, for tests that plant none."""

    def build(self, texts: Sequence[str]) -> list[Built | Fault]:
        return [once(text) for text in texts]


def campaign(keep: Path, specs: Iterable[int], texts: Iterable[int], *rungs: str) -> Report:
    chosen = tuple(RUNGS[rung] for rung in rungs)
    return Campaign(SEED, Here(), rungs=chosen).run(list(specs), list(texts), keep)


# What is drawn.


def test_a_case_is_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from stepforge.fuzz import cases; "
        "drawn = [(cases.spec_case(1, i).text(), cases.text_case(1, i)) for i in range(20)]; "
        "print(hashlib.sha256(repr(drawn).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment({"PYTHONHASHSEED": seed}),
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_numbers_and_seeds_give_different_cases() -> None:
    drawn = [cases.spec_case(seed, i).rule for seed in (1, 2) for i in range(20)]
    assert len(set(drawn)) == len(drawn)
    texts = [cases.text_case(seed, i) for seed in (1, 2) for i in range(20)]
    assert len(set(texts)) == len(texts)


def test_every_operation_and_every_kind_of_name_is_drawn() -> None:
    operations: set[str] = set()
    found: Counter[str] = Counter()
    for number in range(COUNT):
        made = once(cases.spec_case(SEED, number).text())
        assert isinstance(made, Built)
        spec = made.spec
        operations |= {e.op for root in expressions(spec) for e in subexpressions(root)}
        found["options"] += bool(spec.options)
        found["states under a condition"] += any(s.when for s in spec.states)
        found["scalar states"] += any(s.scalar for s in spec.states)
        found["blocks"] += any(isinstance(s, If) for s in spec.rule)
        found["inputs"] += bool(spec.inputs)
    made_by_lowering = {"square", "real_pow", "fill", "larger", "smaller"}
    assert operations == OPERATIONS.keys() - made_by_lowering
    assert min(found.values()) > COUNT / 10, found


def test_a_spec_is_placed_on_one_option_set_one_gpu_and_one_type() -> None:
    made = [once(cases.spec_case(SEED, number).text()) for number in range(40)]
    tasks = [
        task
        for number, one in enumerate(made)
        if isinstance(one, Built)
        for group in cases.groups(one.spec, Path(), SEED, number)
        for task in group
    ]
    assert len(tasks) == len(made) * len(ASKED)
    assert all(task.options in task.spec.option_sets() for task in tasks)
    assert {task.targets for task in tasks} == {(target,) for target in TARGETS}
    assert {task.dtypes for task in tasks} == {(dtype,) for dtype in DTYPES}


# What is done with it.


def test_random_specs_build_and_are_their_formula(tmp_path: Path) -> None:
    report = Campaign(SEED, HereOnce(), rungs=()).run(list(range(COUNT)), [], tmp_path / "kept")
    assert report.passed, report.findings[0].fault.detail
    assert report.outcomes == {(BUILD, "passed"): COUNT}
    report = campaign(tmp_path / "kept", range(COUNT, COUNT + 15), [], "R1")
    assert report.passed, report.findings[0].fault.detail
    assert report.outcomes["R1", "passed"] > 10
    assert not (tmp_path / "kept").exists()


def test_random_texts_have_diagnostics_or_are_accepted(tmp_path: Path) -> None:
    report = campaign(tmp_path / "kept", [], range(COUNT))
    assert report.passed, report.findings[0].fault.detail
    assert report.outcomes[TEXTS, "refused"] > COUNT / 2
    assert report.outcomes[TEXTS, "accepted"] > 0


def test_a_random_spec_passes_every_rung_and_the_command_says_so(tmp_path: Path) -> None:
    options = f"--count 1 --ill-formed 20 --seed {SEED} --jobs 1"
    done = run_command("fuzz", *options.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines() if line}
    titles = {rung.title for rung in cases.asked()}
    assert rows.keys() >= {BUILD, TEXTS, *titles}
    assert "0 failures, seed 5" in done.stdout
    assert {rows[title][2] for title in titles} == {"1"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [["--count", "0"], ["--count", "-1"], ["--seed", "x"], ["--jobs", "0"], ["--only", "-1"]],
)
def test_bad_usage(options: list[str], command: Command, tmp_path: Path) -> None:
    done = command("fuzz", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr


def test_one_number_alone(tmp_path: Path) -> None:
    options = ["--count", "0", "--ill-formed", "1", "--only", "7", "--json"]
    done = run_command("fuzz", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert sum(found["outcomes"][TEXTS].values()) == 1
    assert (found["command"], found["passed"], found["results"]) == ("fuzz", True, [])


# What is wrong is found, made small and kept.


def test_a_wrong_power_is_found_and_made_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = lower._Typing.product

    def wrong(self: lower._Typing, base: Value, count: int) -> Value:
        return right(self, base, count - 1 if count > 3 else count)

    monkeypatch.setattr(lower._Typing, "product", wrong)
    report = campaign(tmp_path / "kept", range(2, 3), [], "R1")
    found = [f for f in report.findings if f.shrunk]
    monkeypatch.undo()
    assert found
    for finding in found:
        assert finding.stage == "R1"
        spec = load_kept(finding.path)
        assert len(spec.rule) <= 2
        assert any(e.op == "pow" for root in expressions(spec) for e in subexpressions(root))
        assert len(finding.path.read_text()) < 1500
        assert finding.path.read_text().startswith("# R1: formula-in-50-digits (R1) REFUTED")
        assert all(v.status.passed for v in verdicts(finding.path, tmp_path, "R1"))


def test_a_crash_of_the_front_end_is_found_and_made_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(text: str) -> Iterator[tokens.Token]:
        if "clip(" in text:
            raise RecursionError("planted")
        return tokens.tokens(text)

    monkeypatch.setattr(parser, "tokens", wrong)
    report = campaign(tmp_path / "kept", range(8), range(40))
    assert {f.stage for f in report.findings} == {BUILD, TEXTS}
    assert all("RecursionError" in f.fault.what for f in report.findings)
    for finding in (f for f in report.findings if f.shrunk):
        data = finding.path.read_bytes()
        assert b"clip(" in data
        assert len(data) < 1500
        assert isinstance(examine(data), Fault)


def test_what_check_refuses_of_a_good_spec_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_OPTIONS", 0)
    monkeypatch.setattr(campaigns, "SHRUNK", 0)
    report = campaign(tmp_path / "kept", range(10), [])
    assert report.findings
    for finding in report.findings:
        assert re.fullmatch(r"refused .*E152", finding.fault.what)
        assert not finding.shrunk


def test_workers_outlive_what_a_case_does() -> None:
    with Workers(1, seconds=0.2) as workers:
        assert [f.what for f in workers.each(os._exit, [3])] == ["the process died"]
        assert [f.what for f in workers.each(time.sleep, [60])] == ["hang"]
        assert [f.what.split(" in ")[0] for f in workers.each(int, ["x"])] == ["crash: ValueError"]
        assert list(workers.each(int, ["5"])) == [5]


def test_another_text_on_a_second_build_is_a_fault() -> None:
    made = build(cases.spec_case(SEED, 0).text())
    assert isinstance(made, Built)
    other = replace(made, files={**made.files, "numpy": made.files["numpy"] + "\n# other\n"})
    assert agreed(made, made) is made
    found = agreed(made, other)
    assert isinstance(found, Fault)
    assert "+# other" in found.detail


@pytest.mark.parametrize(
    ("rung", "detail", "outcome"),
    [
        ("R3", "Triton IR: `p` cannot be decided: x\n  y", "undecided"),
        ("R3", "cannot be lifted: x", ""),
        ("R7", "PTX: `p` cannot be decided: x", "undecided"),
        ("R7", "cannot be lifted: x\n  y", "undecided"),
        ("R6", "cannot be lifted: x", ""),
    ],
)
def test_what_a_proof_does_not_decide_is_counted_apart(
    rung: str, detail: str, outcome: str
) -> None:
    found = Verdict(rung, "x", {}, Status.UNSUPPORTED, 0, detail)
    assert outcome_of(found) == outcome
    assert not outcome_of(replace(found, status=Status.REFUTED))
    assert outcome_of(replace(found, evidence={"no value": "x"})) == "no value"


def test_a_text_is_reduced_to_what_fails() -> None:
    text = cases.text_case(SEED, 0) + b"needle" + cases.text_case(SEED, 1)
    assert shrink.shortest(text, lambda data: b"nee" in data) == b"nee"


# What failed once.


def load_kept(path: Path) -> Spec:
    return loads(path.read_text("utf-8"))[0]


def verdicts(path: Path, folder: Path, *rungs: str, runs: Workers | None = None) -> list[Verdict]:
    """The verdicts of some rungs on every option set of a kept spec.

    What is compiled is one of its kernels, in turn; the sources of all are looked at.
    """
    spec = load_kept(path)
    emit.apply(emit.changes([spec], folder, whole=False))
    tasks = [
        verify.Task(
            RUNGS[rung], spec, options, folder, 0, ("sm_90",), ("fp32",), brief=True,
            kernels=(KERNELS[number % len(KERNELS)],) if RUNGS[rung].for_each_gpu else (),
        )
        for number, options in enumerate(spec.option_sets(), sum(map(ord, spec.name)))
        for rung in rungs
    ]  # fmt: skip
    if runs is None:
        return [verify.run(task) for task in tasks]
    return [*runs.verdicts([(task,) for task in tasks])]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as started:
        yield started


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_that_failed_once(path: Path, workers: Workers, tmp_path: Path) -> None:
    made = build(path.read_text("utf-8"))
    assert isinstance(made, Built), made.detail
    assert isinstance(workers.build([path.read_text("utf-8")])[0], Built)
    found = verdicts(path, tmp_path, *ASKED, runs=workers)
    failures = [v for v in found if not outcome_of(v)]
    assert not failures, describe(failures[0])


@pytest.mark.parametrize("path", TEXT_FILES, ids=lambda path: path.stem)
def test_a_text_that_failed_once(path: Path, workers: Workers) -> None:
    (found,) = workers.examine([path.read_bytes()])
    assert found in ("refused", "accepted"), found
