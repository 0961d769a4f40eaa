"""Specs that cannot stand in one folder are refused, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import EVERY, ROOT, Command, stock

from stepforge.backends.registry import BACKENDS, shared
from stepforge.backends.torch_class import class_name
from stepforge.output.collisions import Member, collisions

OWN = (ROOT / "specs" / "lion.toml").read_text("utf-8").split("[torch]")[0]
OWN = OWN.replace(
    'title = "Lion"', 'title = "Of one\'s own"'
)  # no name, so the class has the spec's


def own(folder: Path, *names: str) -> None:
    (folder / "specs").mkdir(exist_ok=True)
    for name in names:
        text = OWN.replace('name = "lion"', f'name = "{name}"')
        (folder / "specs" / f"{name}.toml").write_text(text)


@pytest.mark.parametrize("names", [("my_opt", "myOpt"), ("adam_w", "AdamW"), ("a_b", "aB")])
def test_two_specs_with_one_class_name_are_refused(
    names: tuple[str, str], tmp_path: Path, command: Command
) -> None:
    own(tmp_path, *names)
    done = command("build", *names, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error[E019]: the class `")
    for name in names:
        assert f"specs/{name}.toml" in done.stderr
    assert not (tmp_path / "generated").exists()


def test_the_other_spec_may_be_a_stock_one_that_was_built_before(
    tmp_path: Path, command: Command
) -> None:
    own(tmp_path, "adam_w")
    assert command("build", "adamw", cwd=tmp_path).returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "generated").rglob("*") if p.is_file()}
    done = command("build", "adam_w", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error[E019]: the class `AdamW` is also that of specs/adamw.toml\n"
        "  --> specs/adam_w.toml\n"
        "  = help: give one of them another `name` and `title`, or another `class` in `[torch]`\n\n"
    )
    after = {p: p.read_bytes() for p in (tmp_path / "generated").rglob("*") if p.is_file()}
    assert after == before


def test_a_title_that_is_a_name_is_the_class(tmp_path: Path, command: Command) -> None:
    own(tmp_path, "mine")
    path = tmp_path / "specs" / "mine.toml"
    path.write_text(path.read_text().replace('"Of one\'s own"', '"Lion"'))
    done = command("build", "lion", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[E019]: the class `Lion` is also that of specs/lion.toml" in done.stderr


def test_names_that_differ_in_case_only_are_one_file_somewhere(
    tmp_path: Path, command: Command
) -> None:
    own(tmp_path, "mine", "Mine")
    done = command("build", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[E019]: `mine` and `Mine` of specs/Mine.toml are one file" in done.stderr
    assert "--> specs/mine.toml" in done.stderr


def test_classes_do_not_matter_where_there_are_none(tmp_path: Path, command: Command) -> None:
    own(tmp_path, "my_opt", "myOpt")
    assert command("build", "--backend", "numpy", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["schedule", "multi_tensor", "Multi_Tensor"])
def test_a_name_that_the_folder_has_already_is_refused(
    name: str, tmp_path: Path, command: Command
) -> None:
    own(tmp_path, name)
    done = command("build", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error[E020]: ")
    assert f"specs/{name}.toml" in done.stderr
    assert not (tmp_path / "generated").exists()


@pytest.mark.parametrize("name", [*BACKENDS, "_runtime", "Optimizer", "__init__"])
def test_no_name_of_the_folder_gets_through(name: str, tmp_path: Path, command: Command) -> None:
    """Some of them are no names of specs at all, which is said before."""
    own(tmp_path, name)
    assert command("build", name, cwd=tmp_path).returncode == 2
    assert not (tmp_path / "generated").exists()


@pytest.mark.parametrize("name", [*BACKENDS, *(Path(f).stem for f in shared()), "__init__"])
def test_what_the_folder_holds_is_refused_whatever_the_language_reserves(name: str) -> None:
    (found,) = collisions([Member(name, f"{name}.toml", "Mine")])
    assert found.code == "E020"


def test_a_class_that_is_called_like_a_module_is_refused() -> None:
    (found,) = collisions([Member("a", "a.toml", "b")], [Member("b", "b.toml", "B")])
    assert found.code == "E019"
    assert (found.path, "b.toml" in found.message) == ("a.toml", True)
    assert collisions([Member("Mine", "Mine.toml", "Mine")]) == []


def test_the_catalogue_has_no_collisions() -> None:
    specs = [stock(name) for name in EVERY]
    members = [Member(s.name, s.source.path, class_name(s)) for s in specs]
    assert collisions(members) == []
