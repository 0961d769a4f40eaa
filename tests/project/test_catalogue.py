from __future__ import annotations

from pathlib import Path

import pytest
from front_end import text
from support import DIALECTS, ROOT, SCHEDULES, STOCK

from stepforge.language.diagnostics import SpecError
from stepforge.project import catalogue


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_local_spec_comes_before_a_stock_spec(empty: Path) -> None:
    assert catalogue.locate("adamw").path == catalogue.stock() / "adamw.toml"
    (empty / "specs").mkdir()
    (empty / "specs" / "adamw.toml").write_text(text())
    assert catalogue.locate("adamw").path == Path("specs/adamw.toml")
    assert catalogue.locate("lion").path == catalogue.stock() / "lion.toml"


def test_the_local_folder_replaces_the_stock_specs(empty: Path) -> None:
    shown = {name: f"specs/{name}.toml" for name in STOCK}
    shown |= {name: f"specs/schedules/{name}.toml" for name in SCHEDULES}
    shown |= {name: path.relative_to(ROOT).as_posix() for name, path in DIALECTS.items()}
    assert [s.shown for s in catalogue.everything()] == [shown[name] for name in sorted(shown)]
    (empty / "specs").mkdir()
    (empty / "specs" / "mine.toml").write_text(text())
    assert [s.shown for s in catalogue.everything()] == ["specs/mine.toml"]


def test_an_empty_local_folder_is_an_error_not_an_empty_catalogue(empty: Path) -> None:
    (empty / "specs").mkdir()
    with pytest.raises(SpecError) as error:
        catalogue.everything()
    assert error.value.diagnostics[0].message == "there are no specs"


@pytest.mark.parametrize("path", ["mine.toml", "./mine", "a/b/mine.toml"])
def test_a_path_is_taken_as_it_is(path: str, empty: Path) -> None:
    assert catalogue.locate(path) == catalogue.Located(Path(path), path)


@pytest.mark.parametrize(
    ("name", "shown", "help"),
    [
        ("adamww", "adamww", "did you mean `adamw`?"),
        ("qqqq", "qqqq", "`stepforge list` shows all names"),
        ("x" * 5000, "x" * 39 + "…", "`stepforge list` shows "),
        ("\x1b[31m", "\\x1b[31m", "`stepforge list` shows "),
        ("", "", "`stepforge list` shows "),
        ("folder", "folder", "`folder` is a directory"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_suggestion(
    name: str, shown: str, help: str, empty: Path
) -> None:
    (empty / "folder").mkdir()
    with pytest.raises(SpecError) as error:
        catalogue.locate(name)
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E006", f"no spec named `{shown}`")
    assert diagnostic.help.startswith(help)
