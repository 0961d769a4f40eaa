"""`stepforge diff` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT, Command

from stepforge.commands.options import complete_operand


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("number", [0, 1])
def test_the_page_shows_what_is_printed(number: int, command: Command) -> None:
    page = (ROOT / "docs" / "relations.md").read_text("utf-8")
    call = page.split("```sh\nstepforge ")[number + 1].split("\n")[0]
    shown = page.split("```text\n")[number + 1].split("```")[0]
    done = command(*call.split())
    assert (done.stdout, done.stderr, done.returncode) == (shown, "", 0)


def test_different_is_a_status_of_its_own(command: Command) -> None:
    done = command("diff", "sgd", "adagrad")
    assert done.returncode == 1
    assert done.stdout.startswith("sgd and adagrad are different\n")


def test_json_has_the_same(command: Command) -> None:
    done = command("diff", "adam[amsgrad]", "adamw [amsgrad=True maximize=False]", "--json")
    document = json.loads(done.stdout)
    (found,) = document["results"]
    assert (document["command"], document["exit"], done.returncode) == ("diff", 0, 0)
    assert found["a"]["options"]["amsgrad"]
    assert found["b"]["options"] == {"amsgrad": True, "maximize": False}
    assert found["conditions"] == ["weight_decay = 0"]
    assert (found["relation"], found["status"], found["strength"]) == (
        "conditional", "PROVED", "reals",
    )  # fmt: skip
    assert found["states"]["v_max"] == {"state": "v_max", "factor": "1"}
    assert found["difference"]["lines"][0].endswith("g = g + weight_decay*p")


def test_defaults_are_no_difference_of_formulas(command: Command) -> None:
    done = command("diff", "nadam", "nadam@keras")
    assert done.stdout.splitlines() == [
        "nadam and nadam_keras are equal: PROVED (reals)",
        "  their defaults differ: lr = 0.002 and 0.001, eps = 1e-08 and 1e-07, momentum_decay = "
        "0.004 and 1",
    ]
    found = json.loads(command("diff", "nadam", "nadam@keras", "--json").stdout)["results"][0]
    assert found["defaults"]["momentum_decay"] == [0.004, 1]


def test_two_specs_of_one_name_are_told_apart(tmp_path: Path, command: Command) -> None:
    (tmp_path / "specs").mkdir()
    text = (ROOT / "specs" / "momentum.toml").read_text("utf-8")
    (tmp_path / "specs" / "momentum.toml").write_text(text, "utf-8")
    (tmp_path / "momentum.toml").write_text(text.replace("- lr*g", "+ lr*g"), "utf-8")
    done = command("diff", "./momentum.toml", "momentum", cwd=tmp_path)
    assert done.returncode == 1
    assert "the first step of momentum (A) is that of momentum (B) in the other direction" in (
        done.stdout
    )
    line = text[: text.index("v = momentum*v")].count("\n") + 1
    assert f"    ./momentum.toml:{line}: v = momentum*v + lr*g\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adam"], "missing argument 'B'"),
        (["adam", "adma"], "no spec named `adma`"),
        (["adam", "sgd[nestrov]"], "no option named `nestrov`"),
        (["adam", "sgd[nesterov]"], "option `nesterov` needs `use_momentum`"),
        (["adam", "sgd[nesterov"], "this is no spec with options"),
        (["adam", "sgd", "--with", "beta1"], "alone does nothing"),
        (["adam", "sgd", "--with", "beta1 == 0"], "alone does nothing"),
        (["adam", "sgd", "--with", "beta9 = 0"], "no hyperparameter named `beta9`"),
        (["adam", "sgd", "--with", "beta1 = 2"], "2 is not in the domain of `beta1`"),
        (["adam", "sgd", "--with", "beta1 = lr_C"], "`lr_C` is none of adam"),
        (["adam", "sgd", "--with", "beta1 = exp(lr)"], "there are only + - * / ** and sqrt"),
        (["adam", "sgd", "--with", "t = 2"], "`t` can be 1 alone"),
        (["adam", "sgd", "--with", "eps = 0", "--with", "eps = 1"], "a name has two values"),
        (["adam", "sgd", "--with", "if lr > 0:\n    eps = 0"], "this is no condition"),
        (["adam", "sgd", "--with", "lr = __import__('os')"], "unknown function `__import__`"),
    ],
)
def test_wrong_input_is_explained(arguments: list[str], message: str, command: Command) -> None:
    done = command("diff", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_shell_completes_names_and_options() -> None:
    assert "momentum_ema" in complete_operand("mom")
    assert complete_operand("sgd[") == ["sgd[use_momentum", "sgd[nesterov", "sgd[maximize"]
    assert complete_operand("sgd[use_momentum,n") == ["sgd[use_momentum,nesterov"]
    assert complete_operand("sgd[nesterov,n") == []
    assert complete_operand("nothing[") == []
