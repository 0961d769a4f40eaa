"""The configuration file: where it is found, what it sets, and how its mistakes are shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import ROOT, Command

from stepforge.language.diagnostics import SpecError, render
from stepforge.project import catalogue, config
from stepforge.verify.driver import Level
from stepforge.verify.run.cache import is_ours

OWN = (ROOT / "specs" / "lion.toml").read_text("utf-8").replace('"lion"', '"mine"')
FULL = """\
specs = "formulas"
out = "package/optim"
backends = ["numpy", "triton"]
level = "fast"
cache = "kept"
"""


def project(folder: Path, text: str = FULL, name: str = "stepforge.toml") -> Path:
    """A project with a configuration and a spec, and a folder somewhere below it."""
    (folder / "formulas").mkdir(parents=True)
    (folder / "formulas" / "mine.toml").write_text(OWN)
    (folder / name).write_text(text)
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    return below


def in_pyproject(text: str = FULL) -> str:
    return f'[project]\nname = "x"\n\n[tool.stepforge]\n{text}\n[tool.other]\nout = 3\n'


@pytest.mark.parametrize("name", ["stepforge.toml", "pyproject.toml"])
def test_it_is_found_above_and_its_paths_are_relative_to_it(
    name: str, tmp_path: Path, command: Command
) -> None:
    text = FULL if name == "stepforge.toml" else in_pyproject()
    below = project(tmp_path, text, name)
    done = command("build", cwd=below)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "package" / "optim"
    assert {str(p.relative_to(out)) for p in out.rglob("[!_]*.py")} == {
        "numpy/mine.py",
        "triton/mine.py",
    }
    assert not (below / "generated").exists()
    assert json.loads((out / "stepforge.json").read_text())["specs"]["mine"] == {
        "file": "formulas/mine.toml",
        "sha256": json.loads((out / "stepforge.json").read_text())["specs"]["mine"]["sha256"],
        "backends": ["numpy", "triton"],
    }
    for place in (below, tmp_path, out):
        assert command("build", "--check", cwd=place).returncode == 0, place
    assert command("check", "mine", cwd=below).stderr == "1 spec checked, no errors\n"
    assert command("new", "other", cwd=below).returncode == 0
    assert (tmp_path / "formulas" / "other.toml").exists()
    assert "mine" in command("list", cwd=tmp_path).stdout


def test_options_win(tmp_path: Path, command: Command) -> None:
    below = project(tmp_path)
    done = command("build", "mine", "--out", "here", "--backend", "numpy", cwd=below)
    assert done.returncode == 0, done.stderr
    assert [p.parent.name for p in (below / "here").rglob("mine.py")] == ["numpy"]
    assert not (tmp_path / "package").exists()


@pytest.mark.usefixtures("_pretended")
def test_verify_has_its_folder_level_and_kept_verdicts(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEPFORGE_CACHE")
    below = project(tmp_path)
    command("build", "--backend", "numpy", cwd=below)
    done = command("verify", "--json", cwd=below)
    assert done.returncode == 0, done.stdout + done.stderr
    (certificate,) = json.loads(done.stdout)["results"]
    rungs = {verdict["rung"] for verdict in certificate["verdicts"]}
    assert rungs == {"files", "R0", "R1", "R3"}  # no kernels, and no R9 at this level
    (again,) = json.loads(command("verify", "--json", cwd=below).stdout)["results"]
    assert all(v["kept"] for v in again["verdicts"] if v["rung"] != "files")
    assert is_ours(tmp_path / "kept")


def test_the_nearest_counts_and_stepforge_toml_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project(tmp_path, 'out = "far"')
    (tmp_path / "a" / "pyproject.toml").write_text(in_pyproject('out = "near"'))
    monkeypatch.chdir(below)
    assert config.current().out == Path("../near")
    (tmp_path / "a" / "stepforge.toml").write_text('out = "nearest"')
    assert config.current().out == Path("../nearest")
    (below / "pyproject.toml").write_text("[project]\n[tool.other]\n# stepforge\n")
    assert config.current().out == Path("../nearest"), "one without our table is passed by"
    (tmp_path / "a" / "stepforge.toml").write_text('out = "changed since"')
    assert config.current().out == Path("../changed since")
    assert config.current().root == tmp_path / "a"


def test_without_one_everything_is_as_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.current() == config.Config()
    assert config.current().root == tmp_path
    assert config.defaults() == {"build": {}, "verify": {}, "mutate": {}}
    assert catalogue.local() == Path("specs")


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_one_marks_the_top_of_a_project(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project(tmp_path, text))
    assert config.current().root == tmp_path


def test_paths_may_lead_out_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stepforge.toml").write_text('out = "../elsewhere"\nspecs = "/formulas"\n')
    monkeypatch.chdir(tmp_path)
    assert config.current().out == Path("../elsewhere")
    assert os.path.realpath(config.current().specs or "") == "/formulas"


def test_the_levels_are_those_of_verify() -> None:
    assert [level.value for level in Level] == list(config.LEVELS)


# Mistakes.

MISTAKES = {
    'outt = "x"': """\
error[E024]: no setting is called `outt`
 --> stepforge.toml:1:1
  |
1 | outt = "x"
  | ^^^^
  = help: did you mean `out`?
""",
    'keep = "x"': """\
error[E024]: no setting is called `keep`
 --> stepforge.toml:1:1
  |
1 | keep = "x"
  | ^^^^
  = help: write `cache`
""",
    "out = 3": """\
error[E025]: `out` is a path in quotes
 --> stepforge.toml:1:7
  |
1 | out = 3
  |       ^
  = help: write `out = "generated"`
""",
    'level = "ful"': """\
error[E025]: no level is called `ful`
 --> stepforge.toml:1:9
  |
1 | level = "ful"
  |         ^^^^^
  = help: did you mean `full`?
""",
    "time_limit = 0": """\
error[E025]: `time_limit` is a number of seconds, 1 or more
 --> stepforge.toml:1:14
  |
1 | time_limit = 0
  |              ^
  = help: write `time_limit = 300`
""",
    'backends = ["numpy", "tritn"]': """\
error[E025]: no backend is called `tritn`
 --> stepforge.toml:1:22
  |
1 | backends = ["numpy", "tritn"]
  |                      ^^^^^^^
  = help: did you mean `triton`?
""",
    'backends = "numpy"': """\
error[E025]: `backends` is a list of names
 --> stepforge.toml:1:12
  |
1 | backends = "numpy"
  |            ^^^^^^^
  = help: write `backends = ["numpy", "triton"]`
""",
    "out = generated": """\
error[E004]: invalid TOML: this is not a value
 --> stepforge.toml:1:7
  |
1 | out = generated
  |       ^
  = help: texts are quoted; booleans are `true` and `false`
""",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_shown_where_it_is(text: str, tmp_path: Path, command: Command) -> None:
    project(tmp_path, text)
    done = command("build", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == MISTAKES[text] + "\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "formulas", "stepforge.toml"}


def test_all_mistakes_of_a_file_are_shown_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = in_pyproject('out = true\nlevels = "full"\nbackends = [1, "cc"]\nspecs = ""\n')
    monkeypatch.chdir(project(tmp_path, text, "pyproject.toml"))
    with pytest.raises(SpecError) as caught:
        config.current()
    shown = render(caught.value.diagnostics)
    assert [line.split(":")[0] for line in shown.split("\n") if line.startswith("error")] == [
        "error[E025]", "error[E024]", "error[E025]", "error[E025]", "error[E025]",
    ]  # fmt: skip
    assert "--> ../../pyproject.toml:5:7\n" in shown
    assert "help: did you mean `level`?" in shown


@pytest.mark.parametrize(
    "text", ["[tool]\nstepforge = 3\n", "[tool.stepforge.deep]\nx = 1\n", "tool.stepforge = []\n"]
)
def test_a_table_of_another_kind_is_a_mistake(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"E02[45]"):
        config.current()


def test_a_file_that_cannot_be_read_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stepforge.toml").write_bytes(b"\xff")
    with pytest.raises(SpecError, match="E001: cannot read the configuration: it is not utf-8"):
        config.current()
    (tmp_path / "stepforge.toml").unlink()
    (tmp_path / "stepforge.toml").mkdir()
    with pytest.raises(SpecError, match="it is not a regular file"):
        config.current()


def test_help_and_explanations_need_no_good_configuration(tmp_path: Path, command: Command) -> None:
    project(tmp_path, "nonsense = 1")
    for arguments in (["build", "--help"], ["explain", "E024"], ["--version"]):
        assert command(*arguments, cwd=tmp_path).returncode == 0, arguments
    for arguments in (["check"], ["list"], ["show", "mine"], ["verify"]):
        assert command(*arguments, cwd=tmp_path).returncode == 2, arguments


def test_the_help_says_where_it_is_read(command: Command) -> None:
    text = " ".join(command("--help").stdout.split())
    for part in ("stepforge.toml", "tool.stepforge", "pyproject.toml", *config.KEYS):
        assert part in text


def test_the_settings_of_the_readme_are_all_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (text,) = [b for b in readme.split("```") if b.startswith("toml\n") and "backends" in b]
    monkeypatch.chdir(project(tmp_path, text.removeprefix("toml\n")))
    found = config.current()
    assert found.backends == ("numpy", "triton")
    assert all(getattr(found, key) is not None for key in config.KEYS)
