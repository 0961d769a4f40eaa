"""What README and the documents beside it say is so: commands, tables, numbers, links, files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from support import (
    DIALECTS,
    ROOT,
    SCHEDULES,
    STOCK,
    TRANSFORMS,
    Command,
    environment,
    run_command,
    small,
    stock,
)
from typer.main import get_command

from stepforge.backends.registry import BACKENDS
from stepforge.commands.cli import app
from stepforge.commands.views import views
from stepforge.language.diagnostics import CODES, SpecError, render
from stepforge.language.spec import FAMILIES, NO_FAMILY
from stepforge.language.subjects import SCHEDULE
from stepforge.operations.table import author_functions
from stepforge.project import config
from stepforge.project.loading import loads
from stepforge.verify.certificate import Certificate, Status, describe
from stepforge.verify.driver import Level, Task, execute
from stepforge.verify.rungs.registry import RUNGS, of

PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
HIDES_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def shell_lines(page: str = "README.md") -> list[str]:
    return [line for block in blocks("sh", page) for line in block.splitlines()]


def rows(page: str) -> Iterator[list[str]]:
    """The rows of all tables, as cells."""
    for line in PAGES[page].splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_cells(page: str) -> set[str]:
    return {re.sub(r"[`,].*?$|`", "", row[0].lstrip("`")) for row in rows(page)}


def parse(arguments: list[str]) -> None:
    """Fails if the command line would not be understood; runs nothing."""
    name, *rest = arguments
    COMMANDS[name].make_context(name, [*rest])


# Commands


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_is_understood(page: str) -> None:
    found = [line for line in shell_lines(page) if "stepforge" in line]
    found += [
        text
        for line in PAGES[page].splitlines()
        if not line.startswith("| `stepforge")  # with brackets: compared with the options below
        for text in re.findall(r"`(stepforge [^`]*)`", line)
    ]
    for line in found:
        for part in line.split("&&"):
            program, *arguments = shlex.split(part, comments=True)
            if program.endswith("stepforge") and not arguments[0].startswith("-"):
                parse(arguments)


def test_what_is_installed_can_be_installed() -> None:
    found = 0
    for page in PAGES:
        for line in re.findall(r"pip install ([^`&\n]*)", PAGES[page]):
            for argument in shlex.split(line, comments=True):
                if argument.startswith("."):
                    extras = re.findall(r"[a-z]+", argument)
                    assert {*extras} <= {*PROJECT["optional-dependencies"]}, argument
                elif not argument.startswith("-"):
                    asked = Requirement(argument)
                    (needed,) = map(Requirement, PROJECT["optional-dependencies"]["torch"])
                    assert asked.name == needed.name == "torch"
                    assert [*needed.specifier.filter([s.version for s in asked.specifier])]
                found += 1
            assert "stepforge" not in line, "there is no index that has it"
    assert found > 4


def test_the_commands_print_what_the_readme_shows(tmp_path: Path, command: Command) -> None:
    """All of them, and what writes or verifies files without torch.

    In a project with one spec, beside the catalogue: what lists all specs has little to do.
    """
    (tmp_path / "specs").mkdir()
    shutil.copy(ROOT / "specs" / "lion.toml", tmp_path / "specs")
    shutil.copytree(ROOT / "generated", tmp_path / "generated")
    (tmp_path / "without" / "torch").mkdir(parents=True)
    (tmp_path / "without" / "torch" / "__init__.py").write_text(HIDES_TORCH)
    env = {"PYTHONPATH": f"{tmp_path / 'without'}:{ROOT / 'codegen'}"}
    printed, ran = {}, []
    for line in shell_lines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "$EDITOR":
            path = tmp_path / arguments[0]
            text = path.read_text("utf-8")
            assert "\np = p - lr*g\n" in text
            path.write_text(text.replace("\np = p - lr*g\n", f"\n{line.split('# ')[1]}\n"))
        elif program == "stepforge":
            if arguments[0] in ("build", "verify"):
                done = run_command(*arguments, cwd=tmp_path, env=env)
            else:
                done = command(*arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            printed[shlex.join(arguments)] = done.stdout
            ran.append(arguments[0])
        else:
            assert program in ("python3", "pip", "python"), line
    assert {*ran} == {"show", "build", "verify", "new", "check", "diff", "list"}
    (shown,) = [b for b in blocks("text") if b.startswith("optimizer")]
    assert printed["verify lion"].startswith(shown)
    assert "left out: " in printed["verify lion"].splitlines()[-1]
    assert "specs/lion.toml" not in printed["build lion"]
    assert (tmp_path / "generated" / "torch" / "mine.py").is_file()


def test_the_table_of_commands_has_every_option() -> None:
    options: dict[str, set[str]] = {}
    for row in rows("README.md"):
        if match := re.match(r"`stepforge (\w+)", row[0]):
            options.setdefault(match[1], set()).update(re.findall(r"--[\w-]+", row[0]))
    assert {*options} == {*COMMANDS}
    for name, command in COMMANDS.items():
        real = {o for p in command.params for o in p.opts if o.startswith("--")}
        assert options[name] == real - {"--help", "--json"}, name
        assert "--json" in real, name


def test_choices_are_those_of_the_commands() -> None:
    cells = [row[0].replace("\\|", "|") for row in rows("README.md")]
    (verify,) = [c for c in cells if c.startswith("`stepforge verify")]
    level, kernel = (re.findall(rf"--{o} ([\w|]+)", verify)[0] for o in ("level", "kernel"))
    assert level.split("|") == [level.value for level in Level]
    assert kernel.split("|") == [b for b in BACKENDS if b in ("triton", "multi_tensor")]
    shown = [v for c in cells for text in re.findall(r"--as ([\w|]+)", c) for v in text.split("|")]
    assert shown == [*views()]


def test_defaults_are_those_of_the_commands() -> None:
    stated = dict(re.findall(r"`(verify|build)` (?:looks at level|writes to) `(\w+)`", README))
    default = {
        (name, p.name): str(getattr(p.default, "value", p.default))
        for name in stated
        for p in COMMANDS[name].params
    }
    assert stated == {"verify": default["verify", "level"], "build": default["build", "out"]}
    assert f"| `{stated['verify']}`, the default |" in PAGES["docs/evidence.md"]


def test_the_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = [block for block in blocks("toml") if "backends" in block]
    (tmp_path / "stepforge.toml").write_text(shown)
    monkeypatch.chdir(tmp_path)
    found = config.current()
    assert all(getattr(found, key) is not None for key in config.KEYS)


# Texts and tables


def test_the_first_page_is_short() -> None:
    assert len(README.splitlines()) < 250


def test_the_picture_is_drawn_from_what_is_there() -> None:
    code = "import picture; print(picture.picture(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "examples", env=environment(),
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    drawn = (ROOT / "docs" / "example.svg").read_text("utf-8")
    assert done.stdout == drawn, "run: python examples/picture.py"


def test_the_diagnostic_is_what_check_prints() -> None:
    text = (ROOT / "specs" / "adamw.toml").read_text("utf-8")
    with pytest.raises(SpecError) as caught:
        loads(text.replace("v = beta2*v", "v = bta2*v"), "specs/adamw.toml")
    (shown,) = [b for b in blocks("text") if b.startswith("error[")]
    assert render(caught.value.diagnostics) == shown


def test_the_refutation_is_what_verify_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = [b for b in blocks("text", "docs/evidence.md") if b.startswith("REFUTED")]
    shutil.copytree(ROOT / "generated", tmp_path / "generated")
    path = tmp_path / "generated" / "triton" / "adamw.py"
    text = path.read_text("utf-8")
    edited = text.replace("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)")
    assert edited.count("v_hat + eps") == text.count("sqrt(v_hat, EXACT) + eps") == 1
    path.write_text(edited)
    options, folder = {"amsgrad": False, "maximize": False}, Path("generated")
    task = Task(
        RUNGS["R2"], stock("adamw"), options, folder, 0,
        dtypes=("fp32",), brief=True, backends=("triton",),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (found,) = execute([task], 1)
    printed = f"{describe(found)}\n"
    for part in shown.split("    …\n"):
        assert part in printed


def test_the_spec_excerpt_is_part_of_the_spec() -> None:
    excerpt, _ = blocks("toml", "docs/language.md")
    lines = {re.sub(r"\s+", " ", line.split("  #")[0]).strip() for line in excerpt.split("\n")}
    text = (ROOT / "specs" / "adamw.toml").read_text("utf-8")
    whole = {re.sub(r"\s+", " ", line).strip() for line in text.split("\n")}
    assert all("…" in line for line in lines - whole)
    assert len(lines & whole) > 10


def test_the_inputs_of_the_example_are_read() -> None:
    _, inputs = blocks("toml", "docs/language.md")
    text = small("p = p - lr*g").source.text.replace("[inputs]\n", f"{inputs}\n")
    spec, warnings = loads(text.replace("lr*g", "min(lr, loss)*g/h"))
    assert [(i.name, i.scalar) for i in spec.inputs] == [("h", False), ("loss", True)]
    assert warnings == []


def test_the_words_of_the_command_are_explained() -> None:
    evidence = first_cells("docs/evidence.md")
    assert {rung.title for rung in RUNGS.values()} <= evidence
    assert {rung.title for rung in of(SCHEDULE)} <= first_cells("docs/schedules.md")
    assert {level.value for level in Level} <= evidence
    statuses = {*Status} - {Status.PROVED} | {"PROVED (bits)", "PROVED (reals)"}
    assert {str(status) for status in statuses} <= evidence
    for key in Certificate("lion", ()).as_dict():
        assert f"`{key}`" in PAGES["docs/json.md"]
    for backend in BACKENDS:
        assert f"| `{BACKENDS[backend].file('NAME')}` |" in PAGES["docs/generated.md"]
    for function in author_functions():
        assert f"`{function}(" in PAGES["docs/language.md"]
    assert f"`{' '.join(author_functions())}`" in README


def test_every_key_of_the_torch_table_is_explained() -> None:
    keys = first_cells("docs/language.md")
    for name in STOCK:
        assert {*stock(name).source.data.get("torch", {})} <= keys, name
    for name in SCHEDULES:
        for key in stock(name).source.data.get("torch", {}):
            assert f"`{key}`" in PAGES["docs/schedules.md"], name


@pytest.mark.parametrize(
    "rule",
    ["norm(g)", "mean(g)", "g @ g", "g // 2", "g % 2", "round(g)", "erf(g)", "randn(g)", "e", "h"],
)
def test_what_cannot_be_said_yet_is_an_error_that_helps(rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        small(f"p = p - lr*({rule})")
    assert caught.value.diagnostics[0].severity == "error"
    assert rule == "h" or caught.value.diagnostics[0].help


@pytest.mark.parametrize(
    "rule", ["1/(1 + exp(-g))", "g if g*p > 0 else 0", "floor(g + 0.5)", "sin(g)/cos(g)"]
)
def test_what_is_written_instead_can_be_said(rule: str) -> None:
    assert small(f"p = p - lr*({rule})")


def test_every_spec_is_in_the_catalogue() -> None:
    shown = {
        row[0]: re.findall(r"`([\w@]+)`", row[1]) for row in rows("README.md") if len(row) == 2
    }
    for family in FAMILIES:
        assert shown[family] == [name for name in STOCK if stock(name).family == family]
    counts = f"{len(STOCK)} optimizers, {len(DIALECTS)} dialects and {len(SCHEDULES)} schedules"
    assert f"the {counts}" in README
    assert shown["schedules"] == SCHEDULES
    assert shown["dialects"] == [path.stem for path in DIALECTS.values()]
    assert shown["transforms"] == TRANSFORMS
    described = first_cells("docs/composition.md")
    assert {path.stem for path in DIALECTS.values()} | {*TRANSFORMS} <= described
    catalogue = {row[0]: row[2] for row in rows("docs/schedules.md") if len(row) == 3}
    for name in SCHEDULES:
        assert catalogue[f"`{name}`"] == (f"`{stock(name).torch_class}`".replace("``", "–")), name


def test_every_spec_of_the_catalogue_has_a_family() -> None:
    assert {stock(name).family for name in STOCK} == {*FAMILIES}


def test_every_family_is_explained() -> None:
    families = [row[0].strip("`") for row in rows("docs/language.md") if len(row) == 3]
    assert [f for f in families if f in (*FAMILIES, NO_FAMILY)] == [*FAMILIES, NO_FAMILY]
    assert all(f"`{family}`" in CODES["E153"] for family in (*FAMILIES, NO_FAMILY))


def test_versions_are_those_of_the_project() -> None:
    triton = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "triton")
    (torch,) = map(Requirement, PROJECT["optional-dependencies"]["torch"])
    needed = {
        "Python": SpecifierSet(PROJECT["requires-python"]),
        "Triton": triton.specifier,
        "torch": torch.specifier,
    }
    found = {
        (name, least)
        for text in PAGES.values()
        for name, least in re.findall(r"(Python|Triton|torch) (\d+\.\d+) or newer", text)
    }
    assert found == {(name, str(s).removeprefix(">=")) for name, s in needed.items()}


def test_numbers_of_speed_are_those_that_were_measured() -> None:
    measured = " ".join((ROOT / "benchmarks" / "README.md").read_text("utf-8").split())
    (speed,) = re.findall(r"- \*\*Speed\*\*: (.*?)\n\n", README, re.DOTALL)
    numbers = re.findall(r"\d+(?:\.\d+)?(?: %)?", re.sub(r"H\d+|float\d+", "", speed))
    assert len(numbers) > 3
    for number in numbers:
        assert number in measured


@pytest.mark.parametrize("page", [*PAGES, "benchmarks/README.md"])
def test_links_and_files_are_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (here / target).exists(), target
    known = r"(?:codegen|docs|examples|benchmarks|tests|specs|generated)/[\w./-]+\.(?:py|toml|md)"
    for path in re.findall(rf"\b{known}\b", text):
        to_be = path.endswith(("/mine.toml", "/NAME.py"))
        assert to_be or (ROOT / path).is_file() or (here / path).is_file(), path


@pytest.mark.parametrize("page", ["README.md", "docs/torch.md"])
def test_training_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    (code,) = blocks("python", page)
    model = torch.nn.Linear(2, 2)
    torch.save(torch.optim.AdamW(model.parameters(), lr=0.5).state_dict(), "from_torch.pt")
    names: dict[str, Any] = {"torch": torch, "model": model}
    exec(code, names)
    assert names["optimizer"].param_groups[0]["lr"] == 0.5


def test_the_code_of_schedules_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT))
    factor, training = blocks("python", "docs/schedules.md")
    names: dict[str, Any] = {"model": torch.nn.Linear(2, 2), "batches": torch.ones(3, 1, 2)}
    exec(factor, names)
    assert "\nfactor(1, steps=10_000, warmup=500)  # 0.002\n" in factor
    assert names["factor"](1, steps=10_000, warmup=500) == 0.002
    exec(training, names)
    (group,) = names["optimizer"].param_groups
    assert (group["lr"], group["weight_decay"]) == pytest.approx((1e-3 * 4 / 500, 0.1), rel=1e-6)


def test_the_example_of_schedules_is_the_spec() -> None:
    excerpt, within = blocks("toml", "docs/schedules.md")
    whole = " ".join(stock("warmup_cosine").source.text.split())
    rule = excerpt.partition("factor = ")[2]
    assert " ".join(rule.split()) in whole
    names = 'name = "mine"\ntitle = "Mine"\nsummary = "Steps."\nreference = "None"\n'
    spec = loads(f'{names}{within}[rule]\nupdate = "p = p - lr*beta*g"\n')[0]
    assert {h.name: h.default for h in spec.hyperparameters}["lr_steps"] == 5000
