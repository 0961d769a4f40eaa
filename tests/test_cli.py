"""The command: exit status, what goes to stdout and stderr, names and places."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, STOCK, environment, numpy_of, stepforge

from codegen.cli import main
from codegen.commands.explain import explain
from codegen.commands.new import new
from codegen.diagnostics import CODES
from codegen.reader import load

BROKEN = (ROOT / "specs" / "adamw.toml").read_text().replace("beta2*v +", "bta2*v +")


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
        (["build", "lion", "--check"], 0),
        (["build", "nobody", "--dry-run"], 2),
    ],
)
def test_exit_status(arguments: list[str], status: int) -> None:
    done = stepforge(*arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    if status == 2 and arguments:
        assert done.stdout == ""
        assert done.stderr != ""


def test_version_is_one_line() -> None:
    assert re.fullmatch(r"stepforge \d+\.\d+\S*\n", stepforge("--version").stdout)


def test_diagnostics_go_to_stderr_and_all_of_them_at_once(project: Path) -> None:
    (project / "specs" / "broken.toml").write_text("name = 3")
    done = stepforge("check", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[E104]: unknown name `bta2`\n  --> specs/adamw.toml:" in done.stderr
    assert "specs/broken.toml" in done.stderr
    assert done.stderr.index("adamw.toml") < done.stderr.index("broken.toml")


def test_one_broken_spec_builds_nothing(project: Path) -> None:
    done = stepforge("build", cwd=project)
    assert done.returncode == 2
    assert "E104" in done.stderr
    assert not (project / "generated").exists()


def test_show_prints_the_view_and_nothing_else() -> None:
    done = stepforge("show", "lion", "--as", "numpy")
    assert done.stdout == (ROOT / "generated" / "numpy" / "lion.py").read_text()
    assert done.stderr == ""


def test_build_prints_what_it_did_and_dry_run_does_nothing(project: Path) -> None:
    done = stepforge("build", "mine", "--dry-run", cwd=project)
    written = (
        "multi_tensor/_tables", "multi_tensor/mine", "numpy/mine", "torch/__init__",
        "torch/_arguments", "torch/_checkpoints", "torch/_checks", "torch/_device", "torch/_host",
        "torch/_jobs", "torch/_numbers", "torch/_runtime", "torch/_tensors", "torch/mine",
        "triton/mine",
    )  # fmt: skip
    assert done.stdout == "".join(f"write   generated/{name}.py\n" for name in written)
    assert done.stderr == "1 spec: 15 files would change\n"
    assert not (project / "generated").exists()
    assert stepforge("build", "mine", cwd=project).stderr == "1 spec: 15 files changed\n"
    again = stepforge("build", "mine", cwd=project)
    assert (again.stdout, again.stderr) == ("", "1 spec: 0 files changed\n")


def test_a_build_of_one_spec_removes_nothing(project: Path) -> None:
    stepforge("build", "mine", cwd=project)
    stepforge("build", "sgd", cwd=project)
    assert {p.stem for p in (project / "generated").rglob("[!_]*.py")} == {"mine", "sgd"}
    (project / "specs" / "adamw.toml").unlink()
    assert stepforge("build", cwd=project).stdout == "", "sgd can still be built: it is stock"
    folders = ("multi_tensor", "numpy", "torch", "triton")
    for backend in folders:
        orphan = project / "generated" / backend / "gone.py"
        orphan.write_bytes((orphan.parent / "sgd.py").read_bytes())
    done = stepforge("build", cwd=project)
    assert done.stdout == "".join(f"remove  generated/{name}/gone.py\n" for name in folders)


def test_the_list_has_every_spec() -> None:
    done = stepforge("list")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == STOCK
    assert done.stderr == ""


def test_bytes_per_element_are_loads_and_stores_of_float32() -> None:
    rows = {row["name"]: row for row in json.loads(stepforge("list", "--json").stdout)}
    # p, m, v are read and written, g is read.
    assert rows["adamw"]["bytes_per_element"] == 4 * 7
    assert rows["sgd"]["bytes_per_element"] == 4 * 3
    assert rows["lion"]["states"] == ["m"]


# JSON.


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["check"],
        ["check", "adamw"],
        ["build", "lion", "--check"],
        ["build", "adamw", "--dry-run", "--out", "/tmp/nowhere/at/all"],
        *(
            ["show", "sgd", "--as", v]
            for v in ("text", "latex", "mathml", "kernel", "numpy", "torch")
        ),
        ["explain", "E104"],
    ],
    ids=" ".join,
)
def test_json_is_all_there_is_on_stdout(arguments: list[str]) -> None:
    done = stepforge(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is not None


def test_json_of_check_has_the_diagnostics(project: Path) -> None:
    done = stepforge("check", "adamw", "--json", cwd=project)
    assert done.returncode == 2
    assert done.stderr == ""
    (diagnostic,) = json.loads(done.stdout)
    assert diagnostic["code"] == "E104"
    assert diagnostic["severity"] == "error"
    assert diagnostic["path"] == "specs/adamw.toml"
    assert diagnostic["help"] == "did you mean `beta2`?"
    line = BROKEN.split("\n")[diagnostic["line"] - 1]
    assert line[diagnostic["column"] - 1 : diagnostic["end_column"] - 1] == "bta2"


def test_json_of_build_check_says_what_is_out_of_date(project: Path) -> None:
    done = stepforge("build", "mine", "--check", "--json", cwd=project)
    assert done.returncode == 1
    assert json.loads(done.stdout)[0] == {
        "action": "write",
        "path": "generated/multi_tensor/_tables.py",
    }


# new.


def test_a_new_spec_checks_builds_and_runs_as_it_is(tmp_path: Path) -> None:
    done = stepforge("new", "fresh", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("wrote specs/fresh.toml\n")
    assert stepforge("check", cwd=tmp_path).returncode == 0
    assert stepforge("check", "fresh", "--json", cwd=tmp_path).stdout == "[]\n"
    assert stepforge("build", cwd=tmp_path).returncode == 0
    assert {p.name for p in (tmp_path / "generated").rglob("[!_]*.py")} == {"fresh.py"}
    spec, warnings = load(tmp_path / "specs" / "fresh.toml")
    assert warnings == []
    assert hasattr(numpy_of(spec), "step")


@pytest.mark.parametrize("origin", STOCK)
def test_a_copy_differs_in_its_name_only(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new("twin", origin)
    text = (tmp_path / "specs" / "twin.toml").read_text()
    original = (ROOT / "specs" / f"{origin}.toml").read_text()
    assert text == original.replace(f'name = "{origin}"', 'name = "twin"')
    assert load(tmp_path / "specs" / "twin.toml")[0].name == "twin"


def test_an_existing_file_is_not_overwritten(project: Path) -> None:
    before = (project / "specs" / "mine.toml").read_text()
    done = stepforge("new", "mine", cwd=project)
    assert done.returncode == 2
    assert done.stderr.startswith("error[E008]: the file exists already\n  --> specs/mine.toml\n")
    assert (project / "specs" / "mine.toml").read_text() == before


@pytest.mark.parametrize("name", ["lambda", "two words", "../up", "a/b", "p", "", "ä", "-x", "x.y"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    done = stepforge("new", "--", name, cwd=tmp_path)
    assert done.returncode == 2
    assert re.match(r"error\[E01[34]\]", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_nothing_is_refused(tmp_path: Path) -> None:
    done = stepforge("new", "mine", "--from", "adamww", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean `adamw`?" in done.stderr
    assert not (tmp_path / "specs").exists()


# Names and places.


def test_a_local_spec_comes_before_the_stock_one_of_its_name(project: Path) -> None:
    text = (ROOT / "specs" / "adamw.toml").read_text().replace('title = "AdamW"', 'title = "Own"')
    (project / "specs" / "adamw.toml").write_text(text)
    assert stepforge("show", "adamw", cwd=project).stdout.startswith("Own — ")
    assert stepforge("show", "sgd", cwd=project).stdout.startswith("SGD — ")
    listed = stepforge("list", cwd=project).stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["adamw", "mine"]


def test_every_command_works_from_any_directory(tmp_path: Path) -> None:
    for arguments in (["list"], ["check"], ["show", "adamw"], ["explain", "E104"], ["build"]):
        done = stepforge(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    written = {p.stem for p in (tmp_path / "generated").rglob("[!_]*.py")}
    assert written == set(STOCK)


def test_a_spec_can_be_given_by_its_path(project: Path) -> None:
    done = stepforge("show", project / "specs" / "mine.toml", cwd=ROOT)
    assert done.returncode == 0
    assert stepforge("show", "specs/mine.toml", cwd=project).stdout == done.stdout
    assert stepforge("show", "mine.toml", cwd=project / "specs").stdout == done.stdout


def test_two_specs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lion.toml").write_bytes((ROOT / "specs" / "lion.toml").read_bytes())
    done = stepforge("build", "lion", "./lion.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[E009]: `lion` is also the name of specs/lion.toml" in done.stderr
    assert not (tmp_path / "generated").exists()


def test_our_own_failure_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codegen.commands.check.load", broken)
        patch.setattr("sys.argv", ["stepforge", "check", "lion"])
        with pytest.raises(SystemExit) as exit_status:
            main()
    assert exit_status.value.code == 70
    shown = capsys.readouterr()
    assert "internal error: RuntimeError: no such thing" in shown.err
    assert shown.out == ""


def test_a_misspelt_name_has_a_suggestion() -> None:
    done = stepforge("check", "adamww")
    assert done.stderr == (
        "error[E006]: no spec named `adamww`\n  --> specs/adamww.toml\n"
        "  = help: did you mean `adamw`?\n\n"
    )


def test_a_spec_that_is_given_twice_counts_once() -> None:
    assert stepforge("check", "adamw", "adamw").stderr == "1 spec checked, no errors\n"


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(code)
    assert capsys.readouterr().out.startswith(f"{code}: {CODES[code]}\n")


# Completion.


COMMAND = "import sys; sys.argv[0] = 'stepforge'; from codegen.cli import main; main()"


def completions(line: str, cwd: Path = ROOT) -> list[str]:
    """What bash offers for the last word of a command line."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        cwd=cwd,
        env=environment(
            {
                "_STEPFORGE_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split(" ")) - 1),
            }
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("command", ["check", "build", "show", "new twin --from"])
def test_the_shell_completes_names_of_specs(command: str) -> None:
    assert completions(f"stepforge {command} adam") == ["adam", "adamax", "adamw"]
    assert completions(f"stepforge {command} ") == STOCK


def test_the_shell_completes_local_names_too(project: Path) -> None:
    assert completions("stepforge check mi", project) == ["mine"]


def test_the_shell_completes_codes_and_commands() -> None:
    assert completions("stepforge explain E14") == [c for c in CODES if c.startswith("E14")]
    assert "build" in completions("stepforge b")


def test_the_shell_completes_what_a_kernel_is_compiled_for() -> None:
    assert completions("stepforge show lion --target sm_1") == ["sm_100", "sm_120"]
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
        [sys.executable, "-m", "codegen", *arguments],
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
    assert "\x1b[" not in stepforge("check", cwd=project).stderr
    status, text = run_in_terminal("check", cwd=project, env={"NO_COLOR": ""})
    assert status == 2
    assert "\x1b[1;31merror\x1b[0m[E104]" in text
    status, text = run_in_terminal("check", cwd=project, env={"NO_COLOR": "1"})
    assert status == 2
    assert "\x1b[" not in text
    assert "\x1b[" not in run_in_terminal("check", cwd=project, env={"TERM": "dumb"})[1]


def test_a_closed_pipe_is_no_failure() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "codegen", "list"],
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
        command = f"exec {sys.executable} -m codegen check no_such_spec {stream}>&-"
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"Traceback" not in done.stdout + done.stderr
        assert b"internal" not in done.stdout + done.stderr


def test_a_full_disk_is_a_message() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "codegen", "list"],
            cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "cannot write: no space left on device\n"


def test_a_terminal_without_utf8_is_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "show", "adamw"],
        cwd=ROOT,
        env={**environment(), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("AdamW \\u2014 Adam with")


def test_names_that_are_no_text_are_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"codegen", b"check", b"\xff\xfe", b"--json"],
        cwd=ROOT, env=environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
