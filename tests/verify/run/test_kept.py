"""A kept verdict stands where every input is the same, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import run_command

from stepforge.backends.registry import BACKENDS, shared
from stepforge.language.diagnostics import SpecError
from stepforge.language.reader import load, loads
from stepforge.verify.certificate import Certificate, Status, Verdict
from stepforge.verify.driver import Level, Task, verify
from stepforge.verify.run import kept
from stepforge.verify.run.kept import Kept, key_of
from stepforge.verify.rungs.registry import RUNGS
from verify.support import copy_of, edit, short, task


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    kept.environment.cache_clear()
    yield
    kept.environment.cache_clear()


def passing(work: Task) -> Verdict:
    return replace(work.verdict(Status.PROVED, "fine"), strength="bits", evidence={"n": [1, 2.5]})


def after_a_run(path: Path, *verdicts: tuple[Task, Verdict]) -> None:
    run = Kept(path)
    for work, verdict in verdicts:
        run.split((work,))
        run.add([verdict])
    run.write()


def test_the_second_run_has_the_verdicts_of_the_first(tmp_path: Path) -> None:
    folder, file = copy_of("lion", tmp_path / "generated"), tmp_path / "kept.json"
    first, second = (task(rung, folder, "lion") for rung in ("R3", "R7"))
    assert Kept(file).split((first, second)) == ((first, second), [])
    after_a_run(file, (first, passing(first)))
    left, (found,) = Kept(file).split((first, second))
    assert left == (second,)
    assert replace(found, kept="") == passing(first)
    assert found.kept.endswith("+00:00")


def test_the_time_of_a_kept_verdict_stays(tmp_path: Path) -> None:
    folder, file = copy_of("lion", tmp_path / "generated"), tmp_path / "kept.json"
    work = task("R3", folder, "lion")
    after_a_run(file, (work, replace(passing(work), kept="2001-01-01T00:00:00+00:00")))
    _, (found,) = Kept(file).split((work,))
    assert found.kept.startswith("2001")


def test_an_interrupted_run_keeps_what_it_has_found(tmp_path: Path) -> None:
    spec, file = load(short(tmp_path))[0], tmp_path / "kept.json"
    folder = tmp_path / "generated"
    seen: list[str] = []

    def until_the_third(done: int, total: int, what: str) -> None:
        seen.append(what)
        if done == 3:
            raise KeyboardInterrupt

    def run(progress: Callable[[int, int, str], None]) -> Certificate:
        level = Level.fast
        (found,) = verify([spec], folder, progress=progress, level=level, keep=file)
        return found

    with pytest.raises(KeyboardInterrupt):
        run(until_the_third)
    first = [what for what in seen if what != "short compiled-contract (R5)"]
    seen.clear()
    certificate = run(lambda done, total, what: seen.append(what))
    assert certificate.passed
    numbers = sorted(w.split()[-1].strip("()") for w in first)
    assert [v.rung for v in certificate.verdicts if v.kept] == numbers
    whole = [v for v in certificate.verdicts if v.rung != "files"]
    assert len(seen) == len(whole) - len(first)
    assert all(v.evidence["figures"]["instructions"] for v in certificate.of("R5"))


def test_failures_are_not_kept(tmp_path: Path) -> None:
    folder, file = copy_of("lion", tmp_path / "generated"), tmp_path / "kept.json"
    works = [task(rung, folder, "lion") for rung in ("R3", "R7")]
    bad = [w.verdict(s, "") for w, s in zip(works, (Status.REFUTED, Status.UNSUPPORTED))]  # noqa: B905
    after_a_run(file, *zip(works, bad, strict=True))
    assert Kept(file).split(tuple(works)) == (tuple(works), [])


def test_a_verdict_whose_files_changed_on_the_way_is_not_kept(tmp_path: Path) -> None:
    folder, file = copy_of("lion", tmp_path / "generated"), tmp_path / "kept.json"
    work, common = task("R3", folder, "lion"), folder / next(iter(shared()))
    run = Kept(file)
    run.split((work,))
    before = common.read_text()
    common.write_text(before + "\n")
    run.add([passing(work)])
    common.write_text(before)
    run.write()
    assert Kept(file).split((work,)) == ((work,), [])


def test_every_part_of_a_task_is_in_the_key(tmp_path: Path) -> None:
    work = task("R7", copy_of("lion", tmp_path / "generated"), "lion")
    others = [
        replace(work, rung=RUNGS["R3"]), replace(work, options={"maximize": True}),
        replace(work, seed=1),
        replace(work, targets=("sm_90",)), replace(work, dtypes=("bf16",)),
        replace(work, exact=False), replace(work, required=False), replace(work, brief=True),
        replace(work, kernels=(("multi_tensor", "device"),)), replace(work, backends=("triton",)),
        replace(work, artefacts={"ptx": ""}),
    ]  # fmt: skip
    assert len({key_of(w) for w in (work, *others)}) == len(others) + 1


@pytest.mark.parametrize("file", [*(f"{b}/lion.py" for b in BACKENDS), *shared()])
def test_every_generated_file_is_in_the_key(file: str, tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    work = task("R7", folder, "lion")
    before = key_of(work)
    assert key_of(work) == before
    path = folder / file
    path.write_text(path.read_text() + "\n")
    assert key_of(work) != before


def test_the_spec_is_in_the_key_and_the_folder(tmp_path: Path) -> None:
    work = task("R7", copy_of("lion", tmp_path / "generated"), "lion")
    text = work.spec.source.text
    same, commented, moved = (
        replace(work, spec=loads(t, p)[0])
        for t, p in (
            (text, work.spec.source.path), (text + "# more\n", work.spec.source.path),
            (text, "elsewhere/lion.toml"),
        )
    )  # fmt: skip
    other = replace(work, folder=copy_of("lion", tmp_path / "other"))
    assert key_of(same) == key_of(work)
    assert len({key_of(w) for w in (work, commented, moved, other)}) == 4


@pytest.mark.parametrize(
    ("variable", "counts"),
    [("TRITON_PTXAS_PATH", True), ("OMP_NUM_THREADS", True), ("PATH", True), ("TERM", False)],
)
def test_variables_that_a_library_may_read_are_in_the_key(
    variable: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept.environment()
    kept.environment.cache_clear()
    monkeypatch.setenv(variable, "something else")
    assert (kept.environment() != before) == counts


def test_code_and_libraries_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    package = dict(kept._package(kept.resources.files("stepforge")))
    assert {
        "lowering/lower.py",
        "verify/terms/terms.py",
        "backends/templates/triton.py.jinja",
    } <= set(package)
    triton = kept._library("triton")
    assert any(part[0].endswith("bin/ptxas") and part[1] > 10**6 for part in triton[2:])
    assert kept._library("no-such-library") == ["no-such-library"]
    for name in ("_package", "_library"):
        found = [kept.environment()]
        monkeypatch.setattr(kept, name, lambda _: ["changed"])
        kept.environment.cache_clear()
        assert kept.environment() not in found


def test_a_library_without_a_list_of_its_files_is_never_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept.metadata.Distribution, "read_text", lambda *_: None)
    monkeypatch.setattr(kept.metadata.PathDistribution, "read_text", lambda *_: None)
    assert kept._library("numpy") != kept._library("numpy")


def test_what_came_from_other_inputs_is_dropped_and_other_tasks_stay(tmp_path: Path) -> None:
    folder, file = copy_of("lion", tmp_path / "generated"), tmp_path / "kept.json"
    copy_of("sgd", tmp_path / "more")
    brief = replace(task("R3", folder, "lion"), brief=True)
    full, other = task("R7", folder, "lion"), task("R3", tmp_path / "more", "sgd")
    for work in (brief, other, full):
        after_a_run(file, (work, passing(work)))
    assert len(json.loads(file.read_text())["verdicts"]) == 3
    edit(folder / "numpy" / "lion.py", [("One step.", "One step!")])
    after_a_run(file, (full, passing(full)))
    assert len(json.loads(file.read_text())["verdicts"]) == 2
    assert Kept(file).split((brief,))[1] == []
    assert len(Kept(file).split((other,))[1]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"format": 1}', '{"format": 1, "verdicts": {"k": {}}}',
        '{"format": 1, "verdicts": {"k": {"rung": "R0", "optimizer": "a", "status": "REFUTED", '
        '"options": null}}}',
        '{"format": 1, "verdicts": {"k": {"rung": "R0", "optimizer": "a", "status": "TESTED", '
        '"options": null, "more": 1}}}',
    ],
)  # fmt: skip
def test_another_file_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text(text)
    with pytest.raises(SpecError, match="E001"):
        Kept(file)
    assert file.read_text() == text


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="E007"):
        Kept(tmp_path / "none" / "kept.json")


def test_a_kept_verdict_does_not_cover_an_edit_and_the_command_names_it(tmp_path: Path) -> None:
    spec, file = short(tmp_path), tmp_path / "kept.json"
    folder = tmp_path / "generated"
    command = (
        "verify", spec, "--level", "fast", "--kernel", "triton", "--generated", folder,
        "--keep", file,
    )  # fmt: skip
    first, second = run_command(*command, "--json"), run_command(*command, "--json")
    assert first.returncode == second.returncode == 0
    assert "7 of 7 verdicts are kept ones" in run_command(*command).stdout
    one, two = (json.loads(done.stdout)["results"] for done in (first, second))
    assert not any(verdict["kept"] for verdict in one[0]["verdicts"])
    for verdict in two[0]["verdicts"]:
        assert verdict["kept"] or verdict["rung"] == "files"
        verdict["kept"] = ""
    assert one == two
    edit(folder / "triton" / "short.py", [("    p = p + v", "    p = p - v")])
    third = run_command(*command)
    assert third.returncode == 1
    assert "REFUTED interpreter (R2) short" in third.stdout
    assert "first line where they part" in third.stdout
    assert "edited" in third.stdout
    assert "Traceback" not in third.stdout + third.stderr
    assert "kept ones" not in third.stdout
