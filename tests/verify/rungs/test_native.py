"""c-executed (R11) on C files as built, and on edited ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import stock

from stepforge.output import emit
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.rungs import native
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    emit.build([stock("lion"), stock("kahan_adamw")], folder, whole=False)
    return folder


def verdict(folder: Path, name: str = "lion", brief: bool = True) -> Verdict:
    spec = stock(name)
    options = dict.fromkeys((option.name for option in spec.options), False)
    return native.check(Task(RUNGS["R11"], spec, options, folder, 0, brief=brief))


def edited(built: Path, tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A copy of the folder in which one text is another."""
    for path in built.rglob("*.*"):
        copy = tmp_path / path.relative_to(built)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8")
        if str(path.relative_to(built)) == file:
            assert old in text
            text = text.replace(old, new, 1)
        copy.write_text(text, "utf-8")
    return tmp_path


def test_a_file_as_built_passes_with_all_compilers_and_sanitizers(built: Path) -> None:
    found = verdict(built, brief=False)
    assert found.status is Status.TESTED, found.detail
    assert found.values > 100_000
    assert "AddressSanitizer" in found.detail
    assert "-O2" in found.detail


def test_a_rule_that_stores_in_the_type_of_p_passes(built: Path) -> None:
    assert verdict(built, "kahan_adamw").status is Status.TESTED


@pytest.mark.parametrize(
    ("file", "old", "new", "detail"),
    [
        ("c/lion.c", "beta1 * m", "-beta1 * m", "`p` differs from NumPy's"),
        ("c/lion.c", "m_ptr[i] = m;", "p_ptr[i + n] = m;", "outside of"),
        ("c/lion.c", "i < n;", "i < n - 1;", "differs from NumPy's"),
        ("c/lion.c", "m = beta2 * m", "m = beta2 ** m /", "cannot be compiled"),
        ("c/_stepforge.c", "before += n;", "before += n + 1;", "differs from NumPy's"),
        ("c/_stepforge.h", "0x7FFF + ((bits >> 16) & 1)", "0", "differs from NumPy's"),
        ("cpu/lion.py", "        beta1,\n", "        beta2,\n", "differs from NumPy's"),
    ],
)
def test_an_edit_is_found(
    built: Path, tmp_path: Path, file: str, old: str, new: str, detail: str
) -> None:
    found = verdict(edited(built, tmp_path, file, old, new))
    assert found.status is Status.REFUTED
    assert detail in found.detail


def test_the_line_of_the_c_file_is_cited(built: Path, tmp_path: Path) -> None:
    found = verdict(edited(built, tmp_path, "c/lion.c", "beta1 * m", "-beta1 * m"))
    assert found.counterexample is not None
    assert "lion.c:" in found.counterexample.generated_line


def test_contraction_is_seen_in_the_machine_code(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the processor has such instructions, and the flags allow them."""
    folder = edited(built, tmp_path, "cpu/_library.py", "-ffp-contract=off", "-ffp-contract=fast")
    found = verdict(folder)
    assert found.status is Status.REFUTED
    assert "contracts" in found.detail or "differs" in found.detail
