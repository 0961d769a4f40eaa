"""The command: exit status, what goes to stdout and stderr, names and places."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from catalogue import FEW
from support import (
    DIALECTS,
    EVERY,
    ROOT,
    SCHEDULES,
    STOCK,
    TRANSFORMS,
    Command,
    environment,
    numpy_of,
    run_command,
    stock,
)
from typer.main import get_command

from stepforge.backends.registry import BACKENDS, shared
from stepforge.commands import explanations
from stepforge.commands.cli import app, main
from stepforge.commands.explain import explain
from stepforge.commands.new import new
from stepforge.language.diagnostics import CODES, Diagnostic
from stepforge.language.spec import FAMILIES
from stepforge.project.loading import load
from stepforge.verify.certificate import Certificate, Status
from stepforge.verify.rungs.levels import Level
from stepforge.verify.rungs.registry import RUNGS, named

BROKEN = (ROOT / "specs" / "adamw.toml").read_text().replace("beta2*v +", "bta2*v +")

NAMES = sorted([*STOCK, *SCHEDULES, *TRANSFORMS, *(path.stem for path in DIALECTS.values())])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a good spec, `mine`, and a broken one, `adamw`."""
    (tmp_path / "specs").mkdir()
    text = (ROOT / "specs" / "lion.toml").read_text().replace('name = "lion"', 'name = "mine"')
    (tmp_path / "specs" / "mine.toml").write_text(text)
    (tmp_path / "specs" / "adamw.toml").write_text(BROKEN)
    return tmp_path


# Exit status and streams.


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["-h"], 0),
        ([], 2),
        (["nonsense"], 2),
        (["check", "--nonsense"], 2),
        (["check"], 0),
        (["check", "adamw", "sgd"], 0),
        (["check", "nobody"], 2),
        (["check", "/nowhere/x.toml"], 2),
        (["check", "."], 2),
        (["check", "specs/"], 2),
        (["list", "surplus"], 2),
        (["show", "adamw"], 0),
        (["show"], 2),
        (["show", "adamw", "--as", "music"], 2),
        (["show", "adamw", "--option", "nothing"], 2),
        (["show", "sgd", "--option", "nesterov"], 2),
        (["explain", "E104"], 0),
        (["explain", "e104"], 0),
        (["explain", "E999"], 2),
        (["explain"], 0),
        (["explain", "r7"], 0),
        (["explain", "Proved"], 0),
        (["explain", "proven"], 2),
        (["verify", "lion", "--target", "h10"], 2),
        (["show", "lion", "--as", "ptx", "--target", "b300"], 2),
        (["build", "lion", "--check"], 0),
        (["build", "nobody", "--dry-run"], 2),
    ],
)
def test_exit_status(arguments: list[str], status: int, command: Command) -> None:
    done = command(*arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    if status == 2 and arguments:
        assert done.stdout == ""
        assert done.stderr != ""


def test_version_is_one_line() -> None:
    assert re.fullmatch(r"stepforge \d+\.\d+\S*\n", run_command("--version").stdout)


def test_diagnostics_go_to_stderr_and_all_of_them_at_once(project: Path, command: Command) -> None:
    (project / "specs" / "broken.toml").write_text("name = 3")
    done = command("check", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[E104]: unknown name `bta2`\n  --> specs/adamw.toml:" in done.stderr
    assert "specs/broken.toml" in done.stderr
    assert done.stderr.index("adamw.toml") < done.stderr.index("broken.toml")


def test_one_broken_spec_builds_nothing(project: Path, command: Command) -> None:
    done = command("build", cwd=project)
    assert done.returncode == 2
    assert "E104" in done.stderr
    assert not (project / "generated").exists()


def test_show_prints_the_view_and_nothing_else(command: Command) -> None:
    done = command("show", "lion", "--as", "numpy")
    assert done.stdout == (ROOT / "generated" / "numpy" / "lion.py").read_text()
    assert done.stderr == ""


def test_build_prints_what_it_did_and_dry_run_does_nothing(project: Path, command: Command) -> None:
    done = command("build", "mine", "--dry-run", cwd=project)
    backends = BACKENDS.values()
    inits = ["__init__.py", *(backend.package for backend in backends if backend.package)]
    files = [backend.file("mine") for backend in backends]
    written = sorted([*inits, *shared(), *files, "stepforge.json"])
    assert done.stdout == "".join(f"write   generated/{name}\n" for name in written)
    assert done.stderr == f"1 spec: {len(written)} files would change\n"
    assert not (project / "generated").exists()
    done = command("build", "mine", cwd=project)
    assert done.stderr == f"1 spec: {len(written)} files changed\n"
    again = command("build", "mine", cwd=project)
    assert (again.stdout, again.stderr) == ("", "1 spec: 0 files changed\n")


def test_a_build_of_one_spec_removes_nothing(project: Path, command: Command) -> None:
    command("build", "mine", cwd=project)
    command("build", "sgd", cwd=project)
    assert {p.stem for p in (project / "generated").rglob("[!_]*.py")} == {"mine", "sgd"}
    (project / "specs" / "adamw.toml").unlink()
    done = command("build", cwd=project)
    assert done.stdout == "update  generated/stepforge.json\n", "sgd can be built: it is stock"
    assert command("build", "--check", cwd=project).returncode == 0
    folders = ("multi_tensor", "numpy", "torch", "triton")
    for backend in folders:
        orphan = project / "generated" / backend / "gone.py"
        orphan.write_bytes((orphan.parent / "sgd.py").read_bytes())
    done = command("build", cwd=project)
    assert done.stdout == "".join(f"remove  generated/{name}/gone.py\n" for name in folders)


def by_family(printed: str) -> dict[str, list[str]]:
    """The names below each heading of a list."""
    header, *blocks = printed.rstrip("\n").split("\n\n")
    assert header.startswith("name ")
    return {
        block.split(":")[0]: [line.split()[0] for line in block.splitlines()[1:]]
        for block in blocks
    }


def test_the_list_has_every_spec_in_its_family(command: Command) -> None:
    done = command("list")
    found = by_family(done.stdout)
    assert list(found) == [*FAMILIES, "schedules", "transforms"]
    assert found.pop("schedules") == SCHEDULES
    assert found.pop("transforms") == TRANSFORMS
    optimizers = sorted([*STOCK, *DIALECTS])
    for family, names in found.items():
        assert names == [name for name in optimizers if stock(name).family == family]
    assert done.stderr == ""


def test_a_terminal_of_80_columns_shows_one_line_for_each(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepforge.commands.terminal.screen.room", lambda stream: 80)
    lines = command("list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + 2 * (len(FAMILIES) + 2) + len(EVERY) + len(TRANSFORMS)
    assert "adamw                AdamW                              3       2           28" in lines


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("lion", ["lion", "lion_refined", "lion_smooth"]),
        ("LION", ["lion", "lion_refined", "lion_smooth"]),
        ("parameter_f", ["adamg", "cocob"]),
        ("Coin betting", ["cocob"]),
    ],
)
def test_a_filter_looks_at_names_titles_summaries_and_families(
    text: str, names: list[str], command: Command
) -> None:
    assert [row["name"] for row in results(command("list", "--filter", text, "--json"))] == names


def test_a_filter_that_nothing_has_is_an_error(command: Command) -> None:
    done = command("list", "--filter", "adams")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no spec has `adams` in its name, title, summary or family" in done.stderr
    assert "did you mean `adam`?" in done.stderr


def test_own_specs_without_a_family_are_listed_last(project: Path, command: Command) -> None:
    text = (project / "specs" / "mine.toml").read_text().replace('family = "sign"\n', "")
    (project / "specs" / "mine.toml").write_text(text)
    (project / "specs" / "adamw.toml").write_bytes((ROOT / "specs" / "adamw.toml").read_bytes())
    assert by_family(command("list", cwd=project).stdout) == {"adam": ["adamw"], "other": ["mine"]}


def test_bytes_per_element_are_loads_and_stores_of_float32(command: Command) -> None:
    rows = {row["name"]: row for row in results(command("list", "--json"))}
    # p, m, v are read and written, g is read.
    assert rows["adamw"]["bytes_per_element"] == 4 * 7
    assert rows["sgd"]["bytes_per_element"] == 4 * 3
    assert rows["lion"]["states"] == ["m"]


# JSON.

KEYS = {"format", "version", "command", "exit", "results", "diagnostics"}


def results(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command found, after a look at the document around it."""
    document = json.loads(done.stdout)
    assert document.keys() >= KEYS
    assert document["format"] == 2
    assert document["exit"] == done.returncode
    assert isinstance(document["results"], list)
    assert isinstance(document["diagnostics"], list)
    assert done.stderr == ""
    return document["results"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["check", "adamw"],
        ["build", "lion", "--check"],
        ["build", "adamw", "--dry-run", "--out", "/tmp/nowhere/at/all"],
        *(
            ["show", "sgd", "--as", v]
            for v in ("text", "spec", "latex", "mathml", "kernel", "numpy", "torch")
        ),
        ["explain", "E104"],
        ["explain", "R7"],
        ["explain"],
    ],
    ids=" ".join,
)
def test_json_is_all_there_is_on_stdout(arguments: list[str], command: Command) -> None:
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    results(done)
    assert json.loads(done.stdout)["command"] == arguments[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "surplus"], "E090"),
        (["chekc"], "E090"),
        (["check", "--nonsense"], "E090"),
        (["check", "adamww"], "E006"),
        (["build", "nobody"], "E006"),
        (["build", "lion", "--out", "/dev/null/x"], "E007"),
        (["verify", "nobody"], "E006"),
        (["verify", "--level", "thorough"], "E090"),
        (["verify", "lion", "--target", "h10"], "E006"),
        (["verify", "lion", "--cache", "pyproject.toml"], "E001"),
        (["mutate", "nobody"], "E006"),
        (["fuzz", "--count", "0"], "E006"),
        (["show"], "E090"),
        (["show", "adamw", "--as", "music"], "E006"),
        (["show", "adamw", "--option", "nothing"], "E006"),
        (["explain", "E999"], "E006"),
        (["new", "lambda"], "E014"),
    ],
    ids=" ".join,
)
def test_errors_are_in_the_document_too(arguments: list[str], code: str, command: Command) -> None:
    done = command(*arguments, "--json")
    assert done.returncode == 2
    assert results(done) == []
    document = json.loads(done.stdout)
    assert document["command"] == (arguments[0] if arguments[0] != "chekc" else "")
    (diagnostic,) = document["diagnostics"]
    assert (diagnostic["code"], diagnostic["severity"]) == (code, "error")
    assert diagnostic["message"]


def test_every_key_of_the_document_is_described() -> None:
    text = (ROOT / "docs" / "json.md").read_text()
    for key in KEYS | Diagnostic("E104", "", "").as_dict().keys():
        assert f"`{key}`" in text
    for command in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`{command}`" in text
    for key in Certificate("lion", ()).as_dict():
        assert f"`{key}`" in text


def test_what_went_wrong_inside_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepforge.commands.check.load", None)
        patch.setattr("sys.argv", ["stepforge", "check", "lion", "--json"])
        with pytest.raises(SystemExit) as exit_status:
            main()
    assert exit_status.value.code == 70
    document = json.loads(capsys.readouterr().out)
    assert (document["exit"], document["results"]) == (70, [])
    assert [d["code"] for d in document["diagnostics"]] == ["E093"]


def test_json_of_check_has_the_diagnostics(project: Path, command: Command) -> None:
    done = command("check", "adamw", "--json", cwd=project)
    assert done.returncode == 2
    assert results(done) == [{"path": "specs/adamw.toml", "errors": 1, "warnings": 0}]
    (diagnostic,) = json.loads(done.stdout)["diagnostics"]
    assert diagnostic["code"] == "E104"
    assert diagnostic["severity"] == "error"
    assert diagnostic["path"] == "specs/adamw.toml"
    assert diagnostic["help"] == "did you mean `beta2`?"
    line = BROKEN.split("\n")[diagnostic["line"] - 1]
    assert line[diagnostic["column"] - 1 : diagnostic["end_column"] - 1] == "bta2"


def test_json_of_build_check_says_what_is_out_of_date(project: Path, command: Command) -> None:
    done = command("build", "mine", "--check", "--json", cwd=project)
    assert done.returncode == 1
    assert results(done)[0] == {"action": "write", "path": "generated/__init__.py"}


# new.


def test_a_new_spec_checks_builds_and_runs_as_it_is(tmp_path: Path, command: Command) -> None:
    done = command("new", "fresh", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("wrote specs/fresh.toml\n")
    assert command("check", cwd=tmp_path).returncode == 0
    document = json.loads(command("check", "fresh", "--json", cwd=tmp_path).stdout)
    assert document["diagnostics"] == []
    assert command("build", cwd=tmp_path).returncode == 0
    assert {p.name for p in (tmp_path / "generated").rglob("[!_]*.py")} == {"fresh.py"}
    spec, warnings = load(tmp_path / "specs" / "fresh.toml")
    assert warnings == []
    assert hasattr(numpy_of(spec), "step")


@pytest.mark.parametrize("origin", FEW)
def test_a_copy_has_the_rule_and_is_no_publication_or_class_of_torch(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new("my_twin", origin)
    text = (tmp_path / "specs" / "my_twin.toml").read_text().splitlines()
    original = (ROOT / "specs" / f"{origin}.toml").read_text().splitlines()
    changed = [(old, now) for old, now in zip(original, text, strict=True) if old != now]
    spec = load(tmp_path / "specs" / "my_twin.toml")[0]
    assert (spec.name, spec.title) == ("my_twin", "My Twin")
    assert origin in spec.reference
    keys = ["name", "title", "reference"]
    if any(line.startswith("class = ") for line in original):
        keys.append("class")
        assert 'class = "MyTwin"' in text
    assert [old.split(" = ")[0] for old, _ in changed] == keys
    assert [now.split(" = ")[0] for _, now in changed] == keys


def test_the_name_of_a_stock_spec_is_taken_by_force_only(tmp_path: Path, command: Command) -> None:
    done = command("new", "adamw", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[E008]: `adamw` is the name of a stock spec" in done.stderr
    assert "stepforge new my_adamw --from adamw" in done.stderr
    assert not (tmp_path / "specs").exists()
    done = command("new", "adamw", "--force", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert results(done) == [{"name": "adamw", "path": "specs/adamw.toml", "from": None}]
    assert command("new", "adamw", "--force", cwd=tmp_path).returncode == 2, "it exists"


def test_the_file_of_a_spec_can_be_shown(tmp_path: Path, command: Command) -> None:
    done = command("show", "adamw", "--as", "spec", cwd=tmp_path)
    assert done.stdout == (ROOT / "specs" / "adamw.toml").read_text()


def test_build_prints_the_warnings_of_check(project: Path, command: Command) -> None:
    text = (ROOT / "tests" / "invalid_specs" / "W201.toml").read_text()
    (project / "specs" / "W201.toml").write_text(text)
    checked = command("check", "W201", cwd=project).stderr.split("1 spec")[0]
    assert "warning[W201]" in checked
    assert command("build", "W201", cwd=project).stderr.startswith(checked)
    done = command("build", "W201", "--json", cwd=project)
    assert results(done) == []
    assert [d["code"] for d in json.loads(done.stdout)["diagnostics"]] == ["W201"]


def test_an_existing_file_is_not_overwritten(project: Path, command: Command) -> None:
    before = (project / "specs" / "mine.toml").read_text()
    done = command("new", "mine", cwd=project)
    assert done.returncode == 2
    assert done.stderr.startswith("error[E008]: the file exists already\n  --> specs/mine.toml\n")
    assert (project / "specs" / "mine.toml").read_text() == before


@pytest.mark.parametrize("name", ["lambda", "two words", "../up", "a/b", "p", "", "ä", "-x", "x.y"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, command: Command) -> None:
    done = command("new", "--", name, cwd=tmp_path)
    assert done.returncode == 2
    assert re.match(r"error\[E01[34]\]", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_nothing_is_refused(tmp_path: Path, command: Command) -> None:
    done = command("new", "mine", "--from", "adamww", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean `adamw`?" in done.stderr
    assert not (tmp_path / "specs").exists()


# Names and places.


def test_a_local_spec_comes_before_the_stock_one_of_its_name(
    project: Path, command: Command
) -> None:
    text = (ROOT / "specs" / "adamw.toml").read_text().replace('title = "AdamW"', 'title = "Own"')
    (project / "specs" / "adamw.toml").write_text(text)
    assert command("show", "adamw", cwd=project).stdout.startswith("Own — ")
    assert command("show", "sgd", cwd=project).stdout.startswith("SGD — ")
    listed = by_family(command("list", cwd=project).stdout)
    assert listed == {"sign": ["mine"], "adam": ["adamw"]}


def test_every_command_works_from_any_directory(tmp_path: Path, command: Command) -> None:
    for arguments in (["check"], ["show", "adamw"], ["explain", "E104"], ["build"]):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    written = {p.stem for p in (tmp_path / "generated").rglob("[!_]*.py")}
    assert written == set(EVERY)


def test_a_spec_can_be_given_by_its_path(project: Path, command: Command) -> None:
    done = command("show", project / "specs" / "mine.toml", cwd=ROOT)
    assert done.returncode == 0
    assert command("show", "specs/mine.toml", cwd=project).stdout == done.stdout
    assert command("show", "mine.toml", cwd=project / "specs").stdout == done.stdout


def test_two_specs_of_one_name_are_refused(tmp_path: Path, command: Command) -> None:
    (tmp_path / "lion.toml").write_bytes((ROOT / "specs" / "lion.toml").read_bytes())
    done = command("build", "lion", "./lion.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[E009]: `lion` is also the name of specs/lion.toml" in done.stderr
    assert not (tmp_path / "generated").exists()


def test_our_own_failure_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepforge.commands.check.load", broken)
        patch.setattr("sys.argv", ["stepforge", "check", "lion"])
        with pytest.raises(SystemExit) as exit_status:
            main()
    assert exit_status.value.code == 70
    shown = capsys.readouterr()
    assert "internal error: RuntimeError: no such thing" in shown.err
    assert shown.out == ""


def test_a_misspelt_name_has_a_suggestion(command: Command) -> None:
    done = command("check", "adamww")
    assert done.stderr == (
        "error[E006]: no spec named `adamww`\n  --> specs/adamww.toml\n"
        "  = help: did you mean `adamw`?\n\n"
    )


def test_gpus_after_the_first_are_not_taken_for_specs_without_a_word(command: Command) -> None:
    done = command("verify", "lion", "--target", "h100", "a100")
    assert done.returncode == 2
    assert "no spec named `a100`" in done.stderr
    assert "help: a GPU is given with `--target a100`" in done.stderr


def test_a_spec_that_is_given_twice_counts_once(command: Command) -> None:
    assert command("check", "adamw", "adamw").stderr == "1 spec checked, no errors\n"


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(code)
    assert capsys.readouterr().out.startswith(f"{code}: {CODES[code]}\n")


def test_rungs_verdicts_and_levels_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(explanations.VERDICTS) == set(Status)
    assert set(explanations.levels()) == {level.value.upper() for level in Level}
    for name in ("r7", "R7", "ptx-proof", " PTX-Proof"):
        explain(name)
        assert capsys.readouterr().out == f"ptx-proof (R7): {RUNGS['R7'].explanation}\n"
    explain()
    out = capsys.readouterr().out
    for kind, table in explanations.explanations().items():
        for name, meaning in table.items():
            title = named(name).title if kind == "rung" else name
            assert f"{title}: {meaning}\n" in out


def test_a_rung_is_explained_with_its_name_and_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    explain("error-bound", as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert (found["name"], found["kind"], found["rung"]) == ("error-bound", "rung", "R9")
    explain("proved", as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert (found["name"], found["rung"]) == ("PROVED", None)


def examples() -> list[str]:
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        lines = [line.strip() for line in command.epilog.split("\n") if line.strip()]
        assert lines[0] == "Examples:"
        assert len(lines) > 2
        assert all(line.startswith(f"stepforge {name}") for line in lines[1:])
        found += lines[1:]
    return found


@pytest.mark.parametrize("example", examples())
def test_the_examples_of_the_help_are_command_lines(example: str) -> None:
    assert len(example) <= 78
    words = shlex.split(re.split(r" [>|] ", example)[0], comments=True)[1:]
    root = get_command(app)
    command = root.commands[words[0]]  # type: ignore[attr-defined]
    with command.make_context(words[0], words[1:]) as context:
        assert context.args == []


# Completion.


Completions = Callable[..., list[str]]


@pytest.fixture
def completions(command: Command, monkeypatch: pytest.MonkeyPatch) -> Completions:
    """What bash offers for the last word of a command line."""

    def offered(line: str, cwd: Path = ROOT) -> list[str]:
        for name, value in asked(line).items():
            monkeypatch.setenv(name, value)
        done = command(cwd=cwd)
        assert done.stderr == ""
        return done.stdout.split()

    return offered


def asked(line: str) -> dict[str, str]:
    """The environment in which bash asks what the last word of a command line may be."""
    last = str(len(line.split(" ")) - 1)
    return {"_STEPFORGE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": last}


def test_the_shell_asks_a_process_of_its_own() -> None:
    code = "import sys; sys.argv[0] = 'stepforge'; from stepforge.commands.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(asked("stepforge check adamw")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [name for name in NAMES if name.startswith("adamw")]


@pytest.mark.parametrize("words", ["check", "build", "show", "new twin --from"])
def test_the_shell_completes_names_of_specs(words: str, completions: Completions) -> None:
    assert completions(f"stepforge {words} adam") == [n for n in NAMES if n.startswith("adam")]
    assert completions(f"stepforge {words} ") == NAMES


def test_the_shell_completes_local_names_too(project: Path, completions: Completions) -> None:
    assert completions("stepforge check mine", project) == ["mine"]
    assert completions("stepforge check mi", project) == ["mine", "mirror_madgrad"]


def test_the_shell_completes_codes_and_commands(completions: Completions) -> None:
    assert completions("stepforge explain E14") == [c for c in CODES if c.startswith("E14")]
    assert completions("stepforge explain pr") == ["proved"]
    assert completions("stepforge list --filter ad") == ["adagrad", "adam"]
    assert completions("stepforge explain PR") == ["PROVED"]
    assert completions("stepforge explain R1") == ["R1", "R10", "R11", "R12"]
    assert completions("stepforge explain ptx") == ["ptx-executed", "ptx-proof"]
    assert "build" in completions("stepforge b")


def test_the_shell_completes_what_a_kernel_is_compiled_for(completions: Completions) -> None:
    assert completions("stepforge show lion --target sm_1") == ["sm_100", "sm_120"]
    assert completions("stepforge verify lion --target h1") == ["h100"]
    assert completions("stepforge verify lion --target H1") == ["H100"]
    assert completions("stepforge show lion --dtype f") == ["fp32", "fp64", "fp16"]
    assert completions("stepforge verify lion --kernel ") == ["triton", "multi_tensor"]
    assert completions("stepforge show adamw --option a") == ["amsgrad"]
    assert completions("stepforge show lion --option a") == []


# Terminals and pipes.


def run_in_terminal(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """The command with stderr on a terminal: its status and what appears there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepforge", *arguments],
        cwd=cwd,
        env={**environment(), "TERM": "xterm", **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    text = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(leader)
    return process.wait(), text.decode()


def test_colour_is_for_terminals_without_no_color(project: Path) -> None:
    assert "\x1b[" not in run_command("check", cwd=project).stderr
    status, text = run_in_terminal("check", cwd=project, env={"NO_COLOR": ""})
    assert status == 2
    assert "\x1b[1;31merror\x1b[0m[E104]" in text
    status, text = run_in_terminal("check", cwd=project, env={"NO_COLOR": "1"})
    assert status == 2
    assert "\x1b[" not in text
    assert "\x1b[" not in run_in_terminal("check", cwd=project, env={"TERM": "dumb"})[1]


def test_a_closed_pipe_is_no_failure() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stepforge", "explain"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_closed_streams_are_no_failure_of_ours() -> None:
    for stream in ("1", "2"):
        command = f"exec {sys.executable} -m stepforge check no_such_spec {stream}>&-"
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"Traceback" not in done.stdout + done.stderr
        assert b"internal" not in done.stdout + done.stderr


def test_a_full_disk_is_a_message() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stepforge", "explain"],
            cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "cannot write: no space left on device\n"


def test_a_terminal_without_utf8_is_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stepforge", "show", "adamw"],
        cwd=ROOT,
        env={**environment(), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("AdamW - Adam with")


def test_names_that_are_no_text_are_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"stepforge", b"check", b"\xff\xfe", b"--json"],
        cwd=ROOT, env=environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_the_command_starts_without_what_only_some_commands_need() -> None:
    heavy = "{'rich', 'numpy', 'sympy', 'triton', 'torch', 'pebble'}"
    code = f"import sys, stepforge.commands.cli; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
