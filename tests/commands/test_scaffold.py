"""A new spec is complete as it is, and so are the examples in its comments."""

from __future__ import annotations

import re
from pathlib import Path

from support import Command, stock

from stepforge.backends.render import environment
from stepforge.language.reader import loads


def template() -> str:
    return environment().get_template("spec.toml.jinja").render(name="mine", title="Mine")


def test_the_template_is_a_spec_without_warnings() -> None:
    spec, warnings = loads(template())
    assert warnings == []
    assert [h.name for h in spec.hyperparameters] == ["lr"]
    assert spec.states == ()


def test_the_examples_in_the_comments_are_right_too() -> None:
    head, rule = template().split("[rule]")
    head = re.sub(r"(?m)^# (?=\w+ += )", "", head)
    rule = re.sub(r"(?m)^# ", "", rule).replace("p = p - lr*g\n", "")
    spec, warnings = loads(f"{head}[rule]{rule}")
    assert warnings == []
    assert [s.name for s in spec.states] == ["velocity"]
    assert [o.name for o in spec.options] == ["maximize"]


def test_any_rule_can_be_written_into_it() -> None:
    text = template().replace("p = p - lr*g\n", "p = p - lr*sign(g)*sqrt(abs(g))\n")
    assert loads(text)[1] == []


def test_the_copy_of_a_schedule_is_none_of_torchs(command: Command, tmp_path: Path) -> None:
    text = stock("cosine").source.text
    table = text[text.index("[torch]") :]
    path = tmp_path / "first.toml"
    moved = text.replace(table, "").replace("[rule]", f"{table}\n[rule]")
    path.write_text(moved.replace('name = "cosine"', 'name = "first"'))
    assert command("new", "mine", "--from", path, cwd=tmp_path).returncode == 0
    copied = tmp_path / "specs" / "schedules" / "mine.toml"
    assert "[torch]" not in copied.read_text()
    assert command("check", "mine", cwd=tmp_path).returncode == 0
    assert loads(copied.read_text())[0].rule == stock("cosine").rule
