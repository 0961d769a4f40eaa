"""A kept verdict stands where every input is the same, and nowhere else."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support import ROOT, Command, run_command

from stepforge.backends.registry import BACKENDS, shared
from stepforge.language.diagnostics import SpecError
from stepforge.language.reader import loads
from stepforge.project.loading import load
from stepforge.verify.certificate import Certificate, Status, Verdict
from stepforge.verify.driver import Level, Task, verify
from stepforge.verify.run import cache, environment
from stepforge.verify.run.cache import Cache, clean, inputs_of, is_ours
from stepforge.verify.run.environment import ALWAYS, packages
from stepforge.verify.rungs.registry import RUNGS
from verify.support import copy_of, edit, short, task


@pytest.fixture
def afresh() -> Iterator[None]:
    """Nothing is remembered of code and libraries."""
    forget()
    yield
    forget()


def forget() -> None:
    for function in (environment.fingerprint, environment.own, environment._package):
        function.cache_clear()


def key_of(work: Task) -> str:
    return cache.key_of(work, inputs_of(work.spec, work.folder))


def passing(work: Task) -> Verdict:
    return replace(work.verdict(Status.PROVED, "fine"), strength="bits", evidence={"n": [1, 2.5]})


def after_a_run(folder: Path, *verdicts: tuple[Task, Verdict], limit: int = cache.LIMIT) -> None:
    with closing(Cache(folder, limit)) as kept:
        for work, verdict in verdicts:
            kept.split((work,))
            kept.put(verdict)


def found(folder: Path, *works: Task) -> list[Verdict]:
    with closing(Cache(folder)) as kept:
        return kept.split(works)[1]


def test_the_second_run_has_the_verdicts_of_the_first(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    first, second = (task(rung, folder, "lion") for rung in ("R3", "R7"))
    assert found(place, first, second) == []
    after_a_run(place, (first, replace(passing(first), warnings=("dear",))))
    (verdict,) = found(place, first, second)
    assert replace(verdict, kept="", warnings=()) == passing(first)
    assert verdict.warnings == ("dear",)
    assert verdict.kept.endswith("+00:00")


def test_the_time_of_a_kept_verdict_stays(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work = task("R3", folder, "lion")
    after_a_run(place, (work, passing(work)))
    before = found(place, work)
    with closing(Cache(place)) as kept:
        kept.split((work,))
        kept.put(replace(before[0], kept="2001-01-01T00:00:00+00:00"))
    assert found(place, work) == before


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    work = task("R3", copy_of("lion", tmp_path / "generated"), "lion")
    with closing(Cache(None)) as kept:
        assert kept.split((work,)) == ((work,), [])
        kept.put(passing(work))
    assert [path.name for path in tmp_path.iterdir()] == ["generated"]


def test_an_interrupted_run_keeps_what_it_has_found(tmp_path: Path) -> None:
    spec, place = load(short(tmp_path))[0], tmp_path / "kept"
    folder = tmp_path / "generated"
    seen: list[str] = []

    def until_the_third(done: int, total: int, what: str) -> None:
        seen.append(what)
        if done == 3:
            raise KeyboardInterrupt

    def run(progress: Callable[[int, int, str], None]) -> Certificate:
        level = Level.fast
        (certificate,) = verify([spec], folder, progress=progress, level=level, cache=place)
        return certificate

    with pytest.raises(KeyboardInterrupt):
        run(until_the_third)
    first = [what for what in seen[:2] if what != "short compiled-contract (R5)"]
    seen.clear()
    certificate = run(lambda done, total, what: seen.append(what))
    assert certificate.passed
    numbers = sorted(w.split()[-1].strip("()") for w in first)
    assert [v.rung for v in certificate.verdicts if v.kept] == numbers
    whole = [v for v in certificate.verdicts if v.rung != "files"]
    assert len(seen) == len(whole) - len(first)
    assert all(v.evidence["figures"]["instructions"] for v in certificate.of("R5"))


def test_what_is_kept_and_what_is_not(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    works = [task(rung, folder, "lion") for rung in ("R0", "R2", "R3", "R6", "R7")]
    verdicts = [
        works[0].verdict(Status.TESTED, ""), works[1].verdict(Status.REFUTED, "wrong"),
        works[2].verdict(Status.UNSUPPORTED, "cannot be decided"),
        works[3].verdict(Status.UNSUPPORTED, "ran out of time", lasting=False),
        works[4].verdict(Status.PROVED, "", lasting=False),
    ]  # fmt: skip
    after_a_run(place, *zip(works, verdicts, strict=True))
    assert [v.rung for v in found(place, *works)] == ["R0", "R3"]


@pytest.mark.parametrize("back", [False, True])
def test_a_verdict_whose_files_changed_on_the_way_is_not_kept(back: bool, tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work, common = task("R3", folder, "lion"), folder / next(iter(shared()))
    before = common.read_text()
    with closing(Cache(place)) as kept:
        kept.split((work,))
        common.write_text(before + "\n")
        if back:
            common.write_text(before)
        kept.put(passing(work))
    common.write_text(before)
    assert found(place, work) == []


def test_a_verdict_whose_libraries_changed_on_the_way_is_not_kept(
    tmp_path: Path, afresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "library"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(environment, "ALWAYS", ("library",))
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work = task("R0", folder, "lion")
    with closing(Cache(place)) as kept:
        kept.split((work,))
        (package / "__init__.py").write_text("x = 2\n")
        kept.put(passing(work))
    (package / "__init__.py").write_text("x = 1\n")
    forget()
    assert found(place, work) == []
    after_a_run(place, (work, passing(work)))
    assert len(found(place, work)) == 1


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
    changed = {name for other in others for name in work.__slots__ if
               getattr(other, name) != getattr(work, name)}  # fmt: skip
    assert changed == {*work.__slots__} - {"spec", "folder"}  # which the next tests are about


@pytest.mark.parametrize("file", [*(b.file("lion") for b in BACKENDS.values()), *shared()])
def test_every_generated_file_is_in_the_key(file: str, tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    work = task("R7", folder, "lion")
    before = key_of(work)
    assert key_of(work) == before
    path = folder / file
    status, text = path.stat(), path.read_bytes()
    path.write_bytes(text[:-2] + b" \n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert key_of(work) != before, "the same size and time, and other contents"
    path.write_bytes(text)
    assert key_of(work) == before


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
    [
        ("TRITON_PTXAS_PATH", True), ("DISABLE_PTXAS_OPT", True), ("DISABLE_LLVM_OPT", True),
        ("USE_IR_LOC", True), ("OMP_NUM_THREADS", True), ("PATH", True), ("ANYTHING_ELSE", True),
        ("TERM", False), ("COLUMNS", False), ("TMPDIR", False), ("GITHUB_RUN_ID", False),
    ],
)  # fmt: skip
def test_variables_that_a_library_may_read_are_in_the_key(
    variable: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.fingerprint.__wrapped__(())
    monkeypatch.setenv(variable, "something else")
    assert (environment.fingerprint.__wrapped__(()).digest != before.digest) == counts


def test_triton_s_own_variables_count() -> None:
    knobs = pytest.importorskip("triton.knobs")
    text = Path(knobs.__file__).read_text()
    names = set(_quoted(text))
    assert {"TRITON_CACHE_DIR", "DISABLE_PTXAS_OPT"} <= names
    assert set(environment.variables(dict.fromkeys(names, ""))) == names


def _quoted(text: str) -> Iterator[str]:
    """What stands in quotes and looks like the name of a variable."""
    for part in text.split('"')[1::2]:
        if part.isupper() and part.replace("_", "").isalnum() and "_" in part:
            yield part


def test_what_a_rung_runs_is_in_its_key() -> None:
    assert set(packages(RUNGS["R0"])) == {*ALWAYS}
    assert set(packages(RUNGS["R5"])) == {*ALWAYS, "triton"}
    assert set(packages(RUNGS["R8"])) == {*ALWAYS, "torch"}
    files = environment._files("stepforge")
    for name in ("lowering/lower.py", "verify/terms/terms.py", "backends/templates/triton.py.jinja",
                 "operations/functions/exp.formula"):  # fmt: skip
        assert f"0/stepforge/{name}" in files
    triton = environment._files("triton")
    for end in ("bin/ptxas", "libtriton.so", "libdevice.10.bc", "language/core.py"):
        assert any(name.endswith(end) for name in triton), end


def test_a_library_that_was_edited_in_place_is_another(
    tmp_path: Path, afresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "library"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/code.py", "inner/tool", "inner/lib.so.3"):
        (package / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = {environment.fingerprint(("library",)).digest}
    for number, name in enumerate(("__init__.py", "inner/code.py", "inner/tool", "inner/lib.so.3")):
        path = package / name
        status = path.stat()
        path.write_text("x = 2\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert not environment.unchanged(("library",))
        forget()
        seen.add(environment.fingerprint(("library",)).digest)
        assert environment.unchanged(("library",))
        assert len(seen) == number + 2
    (package / "more.py").write_text("")
    forget()
    assert environment.fingerprint(("library",)).digest not in seen
    assert environment._files("no_such_library") == {}


def test_an_edit_and_its_revert_lie_side_by_side(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work = task("R3", folder, "lion")
    path = folder / "numpy" / "lion.py"
    before = path.read_text()
    after_a_run(place, (work, passing(work)))
    edit(path, [("One step.", "One step!")])
    assert found(place, work) == []
    after_a_run(place, (work, passing(work)))
    assert len(found(place, work)) == 1
    path.write_text(before)
    assert len(found(place, work)) == 1


def test_what_was_not_used_for_the_longest_time_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    works = [replace(task("R3", folder, "lion"), seed=seed) for seed in range(5)]
    now = 1_000_000

    def tick() -> float:
        nonlocal now
        now += 1
        return now

    monkeypatch.setattr(cache.time, "time", tick)
    for work in works[:4]:
        after_a_run(place, (work, passing(work)))
    assert len(found(place, works[0])) == 1  # and so it was used last
    with closing(sqlite3.connect(place / "verdicts.sqlite")) as database:
        (total,) = database.execute("SELECT sum(size) FROM verdicts").fetchone()
    after_a_run(place, (works[4], passing(works[4])), limit=total)
    assert [len(found(place, work)) for work in works] == [1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "data",
    [
        "", "[]", "{}", "not json", '{"rung": "R3"}',
        '{"rung": "R3", "optimizer": "lion", "status": "PASSED", "options": {}, "warnings": []}',
        '{"rung": "R3", "optimizer": "lion", "status": "REFUTED", "options": {}, "warnings": []}',
        '{"rung": "R3", "optimizer": "sgd", "status": "PROVED", "options": {}, "warnings": []}',
        '{"rung": "R3", "optimizer": "lion", "status": "PROVED", "options": {}, "warnings": [1]}',
    ],
)  # fmt: skip
def test_an_entry_that_is_no_verdict_is_not_taken(data: str, tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work = task("R3", folder, "lion")
    after_a_run(place, (work, passing(work)))
    with closing(sqlite3.connect(place / "verdicts.sqlite")) as database, database:
        database.execute("UPDATE verdicts SET data = ?", (data,))
    assert found(place, work) == []
    after_a_run(place, (work, passing(work)))
    assert len(found(place, work)) == 1


def test_a_broken_database_makes_place_for_a_new_one(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    work = task("R3", folder, "lion")
    after_a_run(place, (work, passing(work)))
    (place / "verdicts.sqlite").write_bytes(b"no database at all" * 1000)
    after_a_run(place, (work, passing(work)))
    assert len(found(place, work)) == 1


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, command: Command) -> None:
    place = tmp_path / "photographs"
    place.mkdir()
    (place / "cat.jpg").write_text("meow")
    with pytest.raises(SpecError, match="E001"):
        Cache(place)
    done = command("clean", "--cache", place)
    assert done.returncode == 2
    assert "no folder of kept verdicts" in done.stderr
    assert [path.name for path in place.iterdir()] == ["cat.jpg"]
    (tmp_path / "file").write_text("")
    assert not is_ours(tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    work = task("R3", copy_of("lion", tmp_path / "generated"), "lion")
    (tmp_path / "file").write_text("")
    with closing(Cache(tmp_path / "file" / "kept")) as kept:
        assert kept.split((work,)) == ((work,), [])
        assert kept.trouble.startswith("verdicts are not kept: ")


def test_the_folder_ignores_itself_and_is_cleaned(tmp_path: Path, command: Command) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "deep" / "kept"
    work = task("R3", folder, "lion")
    after_a_run(place, (work, passing(work)))
    assert (place / ".gitignore").read_text() == "*\n"
    assert (
        (place / "CACHEDIR.TAG")
        .read_text()
        .startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    assert is_ours(place)
    done = command("clean", "--cache", place, "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["folder"] == str(place)
    assert result["bytes"] > 1000
    assert not place.exists()
    assert "nothing to remove" in command("clean", "--cache", place).stderr
    assert clean(place) == 0


def test_several_runs_write_at_a_time(tmp_path: Path) -> None:
    folder, place = copy_of("lion", tmp_path / "generated"), tmp_path / "kept"
    works = [replace(task("R3", folder, "lion"), seed=seed) for seed in range(40)]
    failures: list[Exception] = []

    def run(mine: list[Task]) -> None:
        try:
            for work in mine:
                after_a_run(place, (work, passing(work)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(works[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(found(place, *works)) == 40


def test_several_runs_make_the_folder_at_a_time(tmp_path: Path) -> None:
    for round_number in range(20):
        place, together = tmp_path / str(round_number), threading.Barrier(6)
        failures: list[Exception] = []

        def opened(place: Path, together: threading.Barrier, failures: list[Exception]) -> None:
            together.wait()
            try:
                Cache(place)
            except Exception as error:
                failures.append(error)

        given = place, together, failures
        threads = [threading.Thread(target=opened, args=given) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert {".gitignore", "CACHEDIR.TAG"} < {path.name for path in place.iterdir()}
        clean(place)
        assert not place.exists()


@pytest.mark.usefixtures("_pretended")
def test_after_an_edit_of_one_spec_only_its_tasks_run(tmp_path: Path, command: Command) -> None:
    folder, place = tmp_path / "generated", tmp_path / "kept"
    command("build", "lion", "momentum", "--out", folder)
    line = ("verify", "lion", "momentum", "--generated", folder, "--cache", place)

    def kept(*more: str) -> list[str]:
        certificates = json.loads(command(*line, *more, "--json").stdout)["results"]
        return [
            f"{c['optimizer']} {'kept' if v['kept'] else 'new'}"
            for c in certificates
            for v in c["verdicts"]
            if v["rung"] != "files"
        ]

    assert set(first := kept()) == {"lion new", "momentum new"}
    assert set(kept()) == {"lion kept", "momentum kept"}
    assert f"{len(first)} of {len(first)} kept, from earlier runs" in command(*line).stdout
    assert kept("--no-cache") == first
    edit(folder / "numpy" / "momentum.py", [("One step.", "One step!")])
    assert set(kept()) == {"lion kept", "momentum new"}


def test_a_kept_verdict_does_not_cover_an_edit(tmp_path: Path) -> None:
    """In processes of their own, as a user runs them."""
    spec, place = short(tmp_path), tmp_path / "kept"
    folder = tmp_path / "generated"
    line = (
        "verify", spec, "--level", "fast", "--kernel", "triton", "--generated", folder,
        "--cache", place, "--jobs", "1",
    )  # fmt: skip
    first, second = run_command(*line, "--json"), run_command(*line, "--json")
    assert first.returncode == second.returncode == 0
    one, two = (json.loads(done.stdout)["results"] for done in (first, second))
    assert not any(verdict["kept"] for verdict in one[0]["verdicts"])
    for verdict in two[0]["verdicts"]:
        assert verdict["kept"] or verdict["rung"] == "files"
        verdict["kept"] = ""
    assert one == two
    edit(folder / "triton" / "short.py", [("    p = p + v", "    p = p - v")])
    third = run_command(*line)
    assert third.returncode == 1
    assert "REFUTED interpreter (R2) short" in third.stdout
    assert "first line where they part" in third.stdout
    assert "Traceback" not in third.stdout + third.stderr
    assert " kept, " not in third.stdout


def test_the_folder_lies_beside_the_settings(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepforge.project import config

    monkeypatch.delenv("STEPFORGE_CACHE")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert config.current().verdicts == Path(".stepforge_cache")
    (tmp_path / "stepforge.toml").write_text('level = "fast"\n')
    assert config.current().verdicts == Path("../.stepforge_cache")
    (tmp_path / "stepforge.toml").write_text('cache = "elsewhere"\n')
    assert config.current().verdicts == Path("../elsewhere")
    (tmp_path / "stepforge.toml").write_text('keep = "verdicts.json"\n')
    assert "write `cache`" in command("list", cwd=tmp_path).stderr
    assert ROOT.is_dir()
