"""Faults of stepforge itself: what is planted, and that its own verifier finds it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stepforge.language.reader import loads
from stepforge.mutate import copies, generator
from stepforge.mutate.mutant import AROUND, BUILD, GENERATOR, SAME, Mutant
from stepforge.mutate.planted import SPEC
from stepforge.mutate.report import Report, Result
from stepforge.operations.table import OPERATIONS
from stepforge.verify.reading import reader, tree


@pytest.fixture(scope="module")
def mutants() -> list[Mutant]:
    return list(generator.mutants())


def test_every_part_of_what_generates_is_changed(mutants: list[Mutant]) -> None:
    places = Counter(m.what.split(":")[0] for m in mutants)
    for file, least in {
        "language/parser.py": 100, "language/literals.py": 10, "language/kinds.py": 20,
        "lowering/lower.py": 300, "backends/writer.py": 80,
        "backends/templates/triton.py.jinja": 20,
        "backends/templates/multi_tensor/tables.py": 20, "operations/functions/exp.formula": 50,
        "operations/rows/arithmetic.py": 50,
    }.items():  # fmt: skip
        assert places[file] >= least, file
    assert not [file for file in places if "torch" in file.split("/")[-1] and "templates" in file]
    for mutant in mutants[:: len(mutants) // 200]:
        file, begin, end, new = json.loads(mutant.text)
        old = (copies.PACKAGE / file).read_bytes()[begin:end].decode()
        assert old != new


def test_the_spec_has_everything_that_the_language_has() -> None:
    spec = loads(SPEC)[0]
    rule = reader.of(spec).rule

    def operations(e: tree.Expression) -> set[str]:
        if not isinstance(e, tree.Apply):
            return set()
        return {e.op}.union(*map(operations, e.args))

    found = set[str]()
    for s in tree.everything(rule):
        found |= operations(s.value if isinstance(s, tree.Assign) else s.condition)
    assert found == {name for name, row in OPERATIONS.items() if row.usage}
    assert {s.scalar for s in spec.states} == {True, False}


FOLDED = "rational=lambda x: -x"


def test_the_verifier_finds_faults_that_it_has_itself(
    mutants: list[Mutant], tmp_path: Path
) -> None:
    """One that no file shows, one that ends the build, and one of the constant folder."""
    rows = "operations/rows/arithmetic.py"
    line, column = next(
        (number, text.index(FOLDED) + len(FOLDED) - 1)
        for number, text in enumerate(_lines(rows), 1)
        if FOLDED in text
    )
    names = "language/expression.py"
    ends = next(n for n, text in enumerate(_lines(names), 1) if "isinstance(e, Name)" in text)
    wanted = {
        f"{rows}:{line}:{column}: -x -> (x)": ("R1", "REFUTED"),
        "language/torch_table.py": (BUILD, SAME),
        f"{names}:{ends}:": (BUILD, "REFUTED"),
    }
    copy = copies.Copy(tmp_path / "copy")
    for start, (asked, said) in wanted.items():
        tried = [m for m in mutants if m.what.startswith(start)]
        assert tried, start
        assert any(copy.verdicts(m).get(asked, "").startswith(said) for m in tried[:2]), start


def _lines(file: str) -> list[str]:
    return (copies.PACKAGE / file).read_text("utf-8").split("\n")


def test_what_changes_around_a_proved_rule_is_a_fault() -> None:
    def of(**rungs: str) -> Result:
        return Result(str(rungs), "dense", GENERATOR, "M", "op", rungs)

    bits = {"R1": "TESTED", "R3": "PROVED (bits)"}
    unchanged, crashed = of(**{BUILD: SAME}), of(**{BUILD: "REFUTED: KeyError"})
    proved, around = of(**bits, **{AROUND: SAME}), of(**bits, **{AROUND: "CHANGED: - a"})
    unread = of(R1="UNSUPPORTED: a fault", R3="UNSUPPORTED: a fault")
    report = Report((unchanged, crashed, proved, around, unread))
    assert [unchanged.same, proved.same, around.same] == [True, True, False]
    assert (report.faults, report.killed) == (3, 1)
    assert report.survivors == [around, unread]
