"""Schedules on the command line, beside optimizers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import ROOT, SCHEDULES, STOCK, Command

from stepforge.commands.options import complete_family, complete_spec
from stepforge.language.diagnostics import SpecError
from stepforge.project import catalogue


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(name: str, text_of: str, folder: Path) -> Path:
    """A spec of the project, copied from a stock schedule or optimizer."""
    source = ROOT / "specs" / f"{text_of}.toml"
    path = folder / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    old = f'name = "{Path(text_of).name}"'
    text = source.read_text()
    assert old in text
    path.write_text(text.replace(old, f'name = "{name}"'))
    return path


# Names.


def test_a_schedule_is_found_by_its_name_its_folder_and_its_path(project: Path) -> None:
    stock = catalogue.stock() / "schedules" / "cosine.toml"
    for name in ("cosine", "schedules/cosine"):
        found = catalogue.locate(name)
        assert (found.path, found.shown) == (stock, "specs/schedules/cosine.toml")
    assert catalogue.locate(str(stock)).path == stock
    mine = own("cosine", "schedules/cosine", project / "specs" / "schedules")
    for name in ("cosine", "schedules/cosine"):
        assert catalogue.locate(name).path.resolve() == mine
    assert [s.shown for s in catalogue.everything()] == ["specs/schedules/cosine.toml"]


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("cosin", "did you mean `cosine`?"),
        ("schedules/adam", "`stepforge list` shows all names"),
        ("schedules/../adamw", "`stepforge list` shows all names"),
        ("schedules/", "`stepforge list` shows all names"),
    ],
)
def test_a_name_that_there_is_not(name: str, help: str, project: Path) -> None:
    with pytest.raises(SpecError) as caught:
        catalogue.locate(name)
    (found,) = caught.value.diagnostics
    assert (found.code, found.help) == ("E006", help)


def test_an_optimizer_and_a_schedule_of_one_name_are_refused(
    project: Path, command: Command
) -> None:
    own("mine", "lion", project / "specs")
    own("mine", "schedules/cosine", project / "specs" / "schedules")
    for line in (("build",), ("build", "mine", "schedules/mine"), ("verify",)):
        done = command(*line, cwd=project)
        assert done.returncode == 2
        assert "error[E009]: `mine` is also the name of specs/" in done.stderr
        assert not (project / "generated").exists()


def test_the_shell_completes_schedules(project: Path) -> None:
    assert complete_spec("cos") == ["cosine", "cosine_restarts"]
    assert complete_spec("schedules/cos") == ["schedules/cosine", "schedules/cosine_restarts"]
    assert complete_family("sched") == ["schedules"]


# Commands.


def test_list_shows_them_in_a_group_of_their_own(command: Command) -> None:
    done = command("list", "--wide")
    group = done.stdout.partition("\nschedules: ")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in group.splitlines()[1:] if line.strip()]
    assert names == SCHEDULES
    (cosine,) = [line for line in group.splitlines() if line.startswith("cosine ")]
    assert cosine.split()[-6:-2] == ["S0", "S1", "S3", "S8"]
    assert cosine.endswith("(torch CosineAnnealingLR)")
    found = json.loads(command("list", "--filter", "schedules", "--json").stdout)["results"]
    assert [row["name"] for row in found] == SCHEDULES
    for row in found:
        assert (row["kind"], row["family"], row["states"]) == ("schedule", "schedules", [])
        assert row["bytes_per_element"] is None
    kinds = {row["kind"] for row in json.loads(command("list", "--json").stdout)["results"]}
    assert kinds == {"optimizer", "schedule", "transform"}


@pytest.mark.parametrize("view", ["text", "spec", "latex", "mathml", "kernel", "numpy", "torch"])
def test_show_prints_its_views(view: str, command: Command) -> None:
    done = command("show", "warmup_cosine", "--as", view)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = {"latex": r"\mathrm{warmup}", "mathml": "<mi>warmup</mi>"}.get(view, "warmup")
    assert wanted in done.stdout
    if view in ("numpy", "torch"):
        file = ROOT / "generated" / view / "warmup_cosine.py"
        assert done.stdout == file.read_text("utf-8")


@pytest.mark.parametrize("view", ["triton", "multi_tensor", "ttir", "ptx"])
def test_show_says_which_views_a_schedule_has(view: str, command: Command) -> None:
    done = command("show", "cosine", "--as", view)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error[E006]: a schedule has no view `{view}`\n")
    assert "there are text, spec, latex, mathml, kernel, numpy, torch" in done.stderr


@pytest.mark.parametrize(
    "line", [("diff", "cosine", "linear"), ("diff", "adam", "cosine"), ("mutate", "cosine")]
)
def test_commands_about_optimizers_say_so(line: tuple[str, ...], command: Command) -> None:
    done = command(*line)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[E026]: `cosine` is a schedule\n" in done.stderr
    assert f"help: `stepforge {line[0]}` is about optimizers" in done.stderr


def test_a_new_schedule_is_a_copy_of_another_and_passes(project: Path, command: Command) -> None:
    done = command("new", "mine", "--from", "schedules/cosine", cwd=project)
    assert done.returncode == 0, done.stderr
    text = (project / "specs" / "schedules" / "mine.toml").read_text()
    assert 'reference = "Unpublished; changed from cosine"' in text
    assert "torch" not in text
    assert command("check", cwd=project).returncode == 0
    assert command("build", cwd=project).returncode == 0
    files = {p.relative_to(project / "generated").as_posix() for p in project.rglob("mine.py")}
    assert files == {"numpy/mine.py", "torch/mine.py"}
    done = command("verify", "--no-cache", "--json", cwd=project)
    (certificate,) = json.loads(done.stdout)["results"]
    assert (done.returncode, certificate["kind"], certificate["passed"]) == (0, "schedule", True)
    assert [v["rung"] for v in certificate["verdicts"]] == ["files", "S0", "S1", "S3"]
    assert not any("(R" in text for text in certificate["assumptions"])
    assert {*certificate["hashes"]} == {"spec", "numpy", "torch"}
    assert command("new", "mine", "--from", "cosine", cwd=project).returncode == 2
    done = command("new", "linear", "--from", "cosine", cwd=project)
    assert "`linear` is the name of a stock spec" in done.stderr


def test_check_refuses_a_wrong_schedule(project: Path, command: Command) -> None:
    path = own("mine", "schedules/cosine", project / "specs" / "schedules")
    path.write_text(path.read_text().replace("cos(pi*done)", "cos(pi*don)"))
    done = command("check", "mine", cwd=project)
    assert done.returncode == 2
    assert done.stderr == (
        "error[E104]: unknown name `don`\n"
        "  --> specs/schedules/mine.toml:13:40\n"
        "   |\n"
        "13 | factor = last + (1 - last)*(1 + cos(pi*don))/2\n"
        "   |                                        ^^^\n"
        "   = help: did you mean `done`?\n\n"
    )


# The folder.


def test_build_knows_them_and_removes_what_has_no_spec(project: Path, command: Command) -> None:
    own("mine", "schedules/cosine", project / "specs" / "schedules")
    own("lion", "lion", project / "specs")
    assert command("build", cwd=project).returncode == 0
    held = json.loads((project / "generated" / "stepforge.json").read_text())
    assert held["specs"]["mine"]["file"] == "specs/schedules/mine.toml"
    assert held["specs"]["mine"]["backends"] == ["numpy", "torch"]
    assert {"numpy/mine.py", "torch/mine.py", "torch/_schedule.py"} <= {*held["files"]}
    path = project / "generated" / "torch" / "mine.py"
    path.write_text(path.read_text().replace("last=0", "last=1"))
    done = command("build", "--check", cwd=project)
    assert done.returncode == 1
    assert "generated/torch/mine.py (expected)" in done.stdout
    (project / "specs" / "schedules" / "mine.toml").unlink()
    done = command("build", cwd=project)
    assert "remove  generated/numpy/mine.py\n" in done.stdout
    listed = (project / "generated" / "torch" / "__init__.py").read_text()
    assert "MineSchedule" not in listed
    assert "import Lion\n" in listed


def test_the_class_must_have_a_name_of_its_own(project: Path, command: Command) -> None:
    path = own("mine", "lion", project / "specs")
    path.write_text(path.read_text().replace('title = "Lion"', 'title = "MineSchedule"'))
    own("mine_", "schedules/cosine", project / "specs" / "schedules")
    other = own("schedule", "schedules/cosine", project / "specs" / "schedules")
    assert command("build", cwd=project).returncode == 2
    other.unlink()
    (project / "specs" / "schedules" / "mine_.toml").unlink()
    own("Mine", "schedules/cosine", project / "specs" / "schedules")
    done = command("build", cwd=project)
    assert "error[E019]" in done.stderr


def test_a_folder_with_one_schedule_is_a_package(project: Path, command: Command) -> None:
    assert command("build", "cosine", "--out", "only", cwd=project).returncode == 0
    names = {p.parent.name for p in (project / "only").rglob("*.py")}
    assert names == {"only", "numpy", "torch"}
    done = command("verify", "--generated", "only", "--no-cache", cwd=project)
    assert done.returncode == 0, done.stdout
    assert "1 of 1 schedules passed every rung" in done.stdout
    shutil.rmtree(project / "only")
    done = command("build", "cosine", "--backend", "triton", "--out", "only", cwd=project)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (project / "only" / "numpy").glob("*.py")} == {
        "__init__.py", "cosine.py",
    }  # fmt: skip
    assert not (project / "only" / "triton").exists()


def test_names_are_of_one_spec() -> None:
    assert not {*STOCK} & {*SCHEDULES}
