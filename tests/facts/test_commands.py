"""Facts on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import STOCK, Command

from stepforge.commands.options import complete_fact, complete_view
from stepforge.facts.derive import PROPERTIES


def results(command: Command, *arguments: str) -> Any:
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)["results"]


def joined(text: str) -> str:
    return " ".join(text.split())


def test_facts_are_sentences(command: Command) -> None:
    printed = command("show", "sgd", "--as", "facts").stdout
    text = joined(printed)
    assert "PROVED: The loss times c > 0 multiplies every step by c, if weight_decay = 0." in text
    assert "Yes, a tenth of the loss is a tenth of lr, if weight_decay = 0." in text
    assert "p is multiplied by 1 - lr*weight_decay; what that takes is proportional to lr." in text
    assert "With use_momentum: Memory: For each element 4 bytes of states" in text
    assert max(map(len, printed.splitlines())) <= 80
    text = joined(command("show", "adam", "--as", "facts").stdout)
    assert "PROVED: The loss times c > 0 changes no step, if eps = 0 and weight_decay = 0." in text
    assert "Numbers refute it without eps = 0" in text
    assert "No, it is not so that a tenth of the loss is a tenth of lr." in text


@pytest.mark.parametrize("name", ["sophia_h", "adahessian", "cocob", "ftrl", "asgd", "lion"])
def test_facts_fit_on_a_terminal(name: str, command: Command) -> None:
    lines = command("show", name, "--as", "facts").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("no consequence.")


def test_options_choose(command: Command) -> None:
    text = command("show", "adam", "--as", "facts", "--option", "amsgrad").stdout
    assert text.startswith("Adam with amsgrad\n")
    assert "With " not in text


def test_facts_are_data(command: Command) -> None:
    (found,) = results(command, "show", "adamw", "--as", "facts")
    default, *others = found["facts"]
    assert default["loss"]["conditions"] == default["loss"]["needed"] == ["eps"]
    assert default["loss"]["value"] == "0"
    assert default["bound"]["figures"]["1"] == pytest.approx(1e-3)
    assert [sum(o["options"].values()) for o in others] == [1, 1]
    assert found["text"].startswith("AdamW\n")
    (found,) = results(command, "show", "sophia_h", "--as", "facts")
    assert found["facts"][0]["loss"]["status"] == "refuted"
    assert found["facts"][0]["loss"]["witness"]["step"] >= 1


def test_limits(command: Command) -> None:
    text = command("show", "lion", "--as", "limits").stdout
    assert "lion with beta2 = beta1 is tiger (beta is beta1): PROVED (reals)" in text
    (found,) = results(command, "show", "signsgd", "--as", "limits")
    assert found["limits"] == []
    assert found["text"] == "signsgd is no other optimizer of the catalogue"


@pytest.mark.parametrize("view", ["facts", "limits"])
def test_a_schedule_has_none(view: str, command: Command) -> None:
    done = command("show", "cosine", "--as", view)
    assert done.returncode == 2
    assert f"a schedule has no view `{view}`" in done.stderr


def test_the_list_is_chosen_by_facts(command: Command) -> None:
    rows = results(command, "list", "--filter", "lion", "--fact", "bounded")
    assert {r["name"]: r["fact"]["conditions"] for r in rows} == {
        "lion": ["weight_decay"], "lion_refined": [], "lion_smooth": [],
    }  # fmt: skip
    assert {r["fact"]["value"] for r in rows} == {"lr"}
    printed = command("list", "--filter", "lion", "--fact", "loss-invariant").stdout
    assert "always" in printed
    assert "lion_smooth" not in printed


def test_the_list_has_costs(command: Command) -> None:
    rows = {row["name"]: row for row in results(command, "list")}
    assert rows["adam"]["state_bytes_per_element"] == 8
    assert rows["sgd"]["operations_per_element"] == 4  # with the weight decay
    assert rows["cosine"]["operations_per_element"] is None
    assert all(rows[name]["operations_per_element"] > 0 for name in STOCK)
    assert "fact" not in rows["adam"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fact", "bond"), "did you mean `bounded`?"),
        (("--fact", "happy"), f"there are {', '.join(PROPERTIES)}"),
        (("--fact", "odd", "--filter", "schedules"), "of no such optimizer `odd` is proved"),
    ],
)
def test_wrong_facts(arguments: tuple[str, ...], said: str, command: Command) -> None:
    done = command("list", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_shell_completes() -> None:
    assert complete_fact("l") == ["loss-invariant", "loss-proportional", "lr-proportional"]
    assert complete_view("fa") == ["facts"]
