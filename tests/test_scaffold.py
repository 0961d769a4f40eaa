from __future__ import annotations

from pathlib import Path

import pytest

from codegen.diagnostics import SpecError
from codegen.scaffold import example, scaffold
from codegen.spec import load


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_spec_checks_as_it_is() -> None:
    path = scaffold("mine", None)
    assert path == Path("specs/mine.toml")
    model, warnings = load(path)
    assert (model.name, warnings) == ("mine", [])


@pytest.mark.parametrize("origin", ["adamw", "sgd", "radam"])
def test_a_copy_differs_in_its_name_alone(origin: str) -> None:
    copy = load(scaffold("mine", origin))[0].source.text
    assert copy.replace('name = "mine"', f'name = "{origin}"', 1) == (
        Path(__file__).parents[1] / "specs" / f"{origin}.toml"
    ).read_text("utf-8")


def test_only_the_name_of_a_copy_is_replaced(empty: Path) -> None:
    source = (
        "title = 'First'\nsummary = 'name = \"odd\" is odd'\n'name'   =   'odd' # here\n"
        "reference = 'None'\nrule.update = 'p = p - g'\n"
    )
    (empty / "odd.toml").write_text(source)
    copy = scaffold("mine", "./odd.toml").read_text()
    assert copy == source.replace("=   'odd'", '=   "mine"')
    assert load(Path("specs/mine.toml"))[0].name == "mine"


@pytest.mark.parametrize(
    ("name", "code"),
    [("lambda", "E014"), ("../x", "E013"), ("", "E013"), ("a-b", "E013"), ("np", "E014")],
)
def test_a_name_that_cannot_be_is_refused(name: str, code: str, empty: Path) -> None:
    with pytest.raises(SpecError, match=code):
        scaffold(name, None)
    assert list(empty.iterdir()) == []


def test_an_existing_file_is_not_overwritten() -> None:
    path = scaffold("mine", None)
    path.write_text("mine")
    with pytest.raises(SpecError, match="E008"):
        scaffold("mine", "adamw")
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_an_error(empty: Path) -> None:
    (empty / "specs").write_text("a file")
    with pytest.raises(SpecError, match="E007"):
        scaffold("mine", None)


def test_an_unknown_origin_is_an_error(empty: Path) -> None:
    with pytest.raises(SpecError, match="E006"):
        scaffold("mine", "adamx")
    assert list(empty.iterdir()) == []


def test_an_example_is_a_spec_and_its_message() -> None:
    spec, message = example("E104")
    assert 'name = "E104"' in spec
    assert message.startswith("error[E104]: ")
    assert example("E001") == ("", "")
