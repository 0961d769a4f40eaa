"""Formulas are their functions; what is wrong in one of them is found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepforge.operations import formulas
from stepforge.verify.rounding.functions import difference, fault


@pytest.mark.parametrize("function", formulas.names())
def test_formulas_are_their_functions(function: str) -> None:
    for kind in formulas.FORMATS:
        assert fault(function, kind) == ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Formulas that may be changed."""
    place = tmp_path / "functions"
    shutil.copytree(formulas._FOLDER, place)
    monkeypatch.setattr(formulas, "_FOLDER", place)
    for cached in (formulas.of, formulas.digest, difference):
        cached.cache_clear()
    yield place
    for cached in (formulas.of, formulas.digest, difference):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("pow", "other = where(size == 0.0", "other = where(size != 0.0"),
        ("log", "x < inf", "x <= inf"),
        ("exp", "power * first * second", "power * first * first"),
        ("floor", "signed > x", "signed >= x"),
        ("tanh", "1.0 - quotient", "1.0 + quotient"),
    ],
)
def test_a_fault_of_a_formula_is_found(function: str, old: str, new: str, folder: Path) -> None:
    path = folder / f"{function}.formula"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert difference(function, "f32") or difference(function, "f64")
    assert "not been measured" in fault(function, "f32")


def test_a_formula_whose_error_nobody_has_measured_is_refused(folder: Path) -> None:
    path = folder / "cbrt.formula"
    text = path.read_text()
    path.write_text(text.replace("0.17507014", "0.18601202375"))
    assert path.read_text() != text
    assert "not been measured" in fault("cbrt", "f32")
    path.write_text("# A remark.\n" + text.replace("    # ", "\n    # Remark: "))
    formulas.digest.cache_clear()
    assert fault("cbrt", "f32") == ""
