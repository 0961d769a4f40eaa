"""The mutator: what it plants, how it counts, and that the rungs find what it plants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest
from catalogue import ON_DEVICE
from support import ROOT, STOCK, stock

from stepforge.backends.registry import verified
from stepforge.language.diagnostics import SpecError
from stepforge.language.spec import Spec
from stepforge.mutate import generator, rules, score, texts
from stepforge.mutate.log import Log
from stepforge.mutate.mutant import CLASSES, FILES, LEVELS, Mutant
from stepforge.mutate.report import Report
from stepforge.mutate.score import Result, collect, mutate
from stepforge.verify.rungs.proof import SAME_FORMULA
from stepforge.verify.rungs.registry import RUNGS

FOLDER = ROOT / "generated"
REFUTED, TESTED, BITS, REALS = "REFUTED: so", "TESTED", "PROVED (bits)", "PROVED (reals)"
SAME = f"UNSUPPORTED: {SAME_FORMULA}, and no input differs"


MADE: dict[str, list[Mutant]] = {}
"""All mutants of an optimizer, and of stepforge itself by the name ""."""


@pytest.fixture
def _made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutants are made once for several tests; which of them are chosen is not kept."""
    of_one, of_stepforge = score._all, generator.mutants

    def once(spec: Spec, folder: Path, levels: Collection[str]) -> list[Mutant]:
        assert (folder, set(levels)) == (FOLDER, set(LEVELS))
        if spec.name not in MADE:
            MADE[spec.name] = list(of_one(spec, folder, levels))
        return MADE[spec.name]

    def planted() -> list[Mutant]:
        if "" not in MADE:
            MADE[""] = list(of_stepforge())
        return MADE[""]

    monkeypatch.setattr(score, "_all", once)
    monkeypatch.setattr(generator, "mutants", planted)


def result(kind: str = "A", level: str = "triton", **rungs: str) -> Result:
    return Result(f"{kind} {level} {sorted(rungs.items())}", "adamw", level, kind, "op", rungs)


@pytest.mark.usefixtures("_made_once")
def test_every_optimizer_has_mutants_of_every_class_and_level() -> None:
    chosen = collect({name: stock(name) for name in ("lion", "sgd")}, FOLDER, 260, 20, 0)
    assert {m.level for m in chosen} == set(LEVELS)
    assert {m.kind for m in chosen} == set(CLASSES)
    count = Counter(m.spec.name for m in chosen)
    assert min(count.values()) >= 70
    names = [m.name for m in chosen]
    assert len(set(names)) == len(names)


@pytest.mark.usefixtures("_made_once")
def test_the_choice_is_the_same_for_a_seed() -> None:
    specs = {"momentum": stock("momentum")}
    first = collect(specs, FOLDER, 30, 6, 5)
    MADE.pop("momentum")
    again = collect(specs, FOLDER, 30, 6, 5)
    other = collect(specs, FOLDER, 30, 6, 6)
    assert [m.name for m in first] == [m.name for m in again]
    assert [m.name for m in first] != [m.name for m in other]


@pytest.mark.parametrize("name", ON_DEVICE[::3])
def test_mutants_of_the_rule_differ_from_what_is_built(name: str) -> None:
    spec = stock(name)
    built = {b.name: (FOLDER / b.file(name)).read_text("utf-8") for b in verified()}
    mutants = list(rules.mutants(spec, next(spec.option_sets())))
    assert len(mutants) > 20
    for mutant in mutants:
        assert mutant.files != built, mutant.name


def test_named_bugs_are_still_in_the_stock_specs() -> None:
    found = {m.what for m in rules.bugs({name: stock(name) for name in STOCK})}
    assert found == {name for name, *_ in rules.BUGS}


def test_only_lines_that_run_are_changed() -> None:
    spec = stock("adamw")
    text = (FOLDER / "triton" / "adamw.py").read_text()
    for mutant in texts.mutants(spec, {"amsgrad": False, "maximize": False}, text):
        if mutant.kind in "FGI":
            assert not mutant.what.startswith("v_max"), mutant.name


def test_kills_survivors_and_alarms_are_counted() -> None:
    report = Report((
        result(R2=REFUTED, R7=REFUTED),
        result(R2=TESTED, R7=REFUTED),
        result(kind="G", R2=TESTED, R7=TESTED),
        result(kind="H", R2="UNSUPPORTED: no", R7=TESTED),
        result(kind="EQ", R2=TESTED, R7=REALS),
        result(kind="EQ", R2="UNSUPPORTED: no", R7=REALS),
        result(kind="B", R3=BITS, R7=BITS),
    ))  # fmt: skip
    assert (report.faults, report.killed) == (4, 2)
    assert [r.kind for r in report.survivors] == ["G", "H"]
    assert report.kills("A") == {"R2": 1, "R7": 2}
    assert {rung: len(found) for rung, found in report.alone.items()} == {"R7": 1}
    assert len(report.false_alarms) == 1
    assert not report.passed


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (result(R3=BITS, R7=BITS, R2=TESTED), True),
        (result(R3=BITS, R7=REALS, R2=TESTED), False),
        (result(level="rule", R3=SAME, R7=SAME), True),
        (result(level="rule", R3=SAME, R7=REFUTED), False),
        (result(level="rule", kind="G", R3=SAME, R7=SAME), False),
        (result(R3=BITS, R7=BITS, R5=REFUTED), False),
        (result(level="spec", R8=TESTED), False),
    ],
)
def test_what_is_no_fault_is_shown_by_a_proof(one: Result, expected: bool) -> None:
    assert one.same is expected


def test_the_goals_are_shares_of_classes() -> None:
    killed = [result(kind="G", R2=REFUTED, R9=str(i)) for i in range(19)]
    alive = result(kind="G", R2=TESTED)
    assert Report((*killed, alive)).passed
    assert not Report((*killed[1:], alive)).passed
    assert not Report((result(kind="A", R2=TESTED), *[result(R2=REFUTED)] * 99)).passed


@pytest.mark.usefixtures("_made_once")
def test_the_rungs_find_planted_faults_and_pass_rewritings() -> None:
    """One on each of several levels; the verdicts of all others are known."""
    chosen = collect({"sgd": stock("sgd")}, FOLDER, 40, 1, seed=4)
    levels = {m.level: m for m in chosen if m.kind != "EQ"}
    judged = [levels[level] for level in ("rule", "triton", "spec")]
    names = {m.name for m in (*judged, *(m for m in chosen if m.kind == "EQ"))}
    known = {m.name: {"R2": REFUTED} for m in chosen if m.name not in names}
    report = mutate({"sgd": stock("sgd")}, FOLDER, 40, 1, seed=4, jobs=1, known=known)
    assert report.killed == report.faults == 40
    assert report.false_alarms == []
    (same,) = report.equivalents
    assert same.name in names
    for one in report.results:
        assert set(one.rungs) <= {FILES, *RUNGS}
        assert (one.rungs == {"R2": REFUTED}) == (one.name in known)


@pytest.mark.usefixtures("_made_once")
def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with Log(path) as log:
        log.add("a", {"R2": TESTED})
    with Log(path) as log:
        assert log.known == {"a": {"R2": TESTED}}
        assert log.add("b", {"R2": REFUTED}) == 2
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["a", "b"]
    chosen = collect({"sgd": stock("sgd")}, FOLDER, 3, 0, 0)
    known = {m.name: {"R2": REFUTED} for m in chosen}
    asked: list[str] = []
    report = mutate(
        {"sgd": stock("sgd")}, FOLDER, 3, 0, known=known,
        done=lambda mutant, *_: asked.append(mutant.name),
    )  # fmt: skip
    assert asked == []
    assert report.killed == 3


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("[1, 2]\n")
    with pytest.raises(SpecError, match="no file of verdicts"):
        Log(path)
