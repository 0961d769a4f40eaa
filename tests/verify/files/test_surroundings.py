"""Only the rule of a generated file may be another one, and all of it is looked at."""

from __future__ import annotations

import marshal
import os
import py_compile
import shutil
from pathlib import Path

import pytest
from support import stock

from stepforge.language.diagnostics import SpecError
from stepforge.mutate import surroundings as planted
from stepforge.mutate.mutant import Mutant
from stepforge.output import emit, manifest
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import fresh, hashes
from stepforge.verify.files.inspection import inspect, same_meaning
from stepforge.verify.run.cache import inputs_of
from verify.support import edit

SPEC = stock("adamw")
RULE = "    v = beta2 * v + one_minus_beta2 * (g * g)\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder; whoever changes it changes it back."""
    folder = tmp_path_factory.mktemp("built")
    emit.build([SPEC], folder, whole=False)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    emit.build([SPEC], tmp_path, whole=False)
    return tmp_path


def look(folder: Path) -> Verdict:
    return inspect(SPEC, folder, manifest.read(folder)).verdict


def looked_at(mutant: Mutant, folder: Path) -> Verdict:
    """The verdict on a folder that has the fault for a moment."""
    before = {f: (folder / f).read_bytes() for f in mutant.files if (folder / f).is_file()}
    for file, text in mutant.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(text.encode("utf-8"))
    try:
        return look(folder)
    finally:
        for file in mutant.files:
            if file in before:
                (folder / file).write_bytes(before[file])
                continue
            place = folder / file
            place.unlink()
            while not any((place := place.parent).iterdir()):
                place.rmdir()


def test_every_kind_of_fault_around_the_rule_is_found(built: Path) -> None:
    kinds = {m.operator: m for m in planted.mutants(SPEC)}
    assert len(kinds) > 60
    for mutant in kinds.values():
        verdict = looked_at(mutant, built)
        assert not verdict.status.passed, mutant.name
        assert next(iter(mutant.files)).split("/")[0] in verdict.detail, mutant.name
    assert look(built).detail == "as built"


def test_no_other_layout_is_one(built: Path) -> None:
    layouts = list(planted.equivalents(SPEC))
    assert len(layouts) > 10
    for mutant in layouts:
        verdict = looked_at(mutant, built)
        assert (verdict.status, verdict.detail) == (Status.TESTED, "as built"), mutant.name


def test_what_differs_is_shown_with_its_line(folder: Path) -> None:
    path = folder / "triton" / "adamw.py"
    edit(path, [("num_warps=4,", "num_warps=4,\n            num_ctas=2,")])
    line = path.read_text().split("\n").index("            num_ctas=2,") + 1
    head, *difference = look(folder).detail.split("\n")
    assert head == f"{path}:{line} differs from what build writes, outside of the rule"
    assert [text[:6] for text in difference] == ["    - ", "    + "]
    assert [text.count("num_ctas=2") for text in difference] == [0, 1]


# The rule.


@pytest.mark.parametrize(
    "new",
    [
        "    v = one_minus_beta2 * (g * g) + v * beta2\n",
        "    square_of_g = g * g\n    v = beta2 * v + one_minus_beta2 * square_of_g\n",
        "    v = tl.fma(beta2, v, one_minus_beta2 * (g * g))\n",
        "    v = (beta2 * v).to(real) + one_minus_beta2 * (g * g)\n",
        "    if AMSGRAD:\n        v = beta2 * v + one_minus_beta2 * g * g\n    else:\n    " + RULE,
        "    v *= beta2\n    v += one_minus_beta2 * (g * g)\n",
        "",
    ],
)
def test_a_rule_may_be_written_otherwise(new: str, folder: Path) -> None:
    path = folder / "triton" / "adamw.py"
    edit(path, [(RULE, new)])
    verdict = look(folder)
    assert (verdict.status, verdict.detail) == (
        Status.TESTED, f"the rule is not as build writes it: {path}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("    v = (v := g)\n", "the expression `(v := g)`"),
        ("    v: tl.constexpr = g\n", "the statement `v: tl.constexpr = g`"),
        ("    v = step(v)\n", "the expression `step(v)`"),
        ("    v = tl.load(v_ptr)\n", "the expression `tl.load(v_ptr)`"),
        ("    v = adamw_kernel(v)\n", "the expression `adamw_kernel(v)`"),
        ("    v = [g for _ in (1,)]\n", "the expression `[g for _ in (1,)]`"),
        ("    v = tl.where(**g)\n", "the expression `**g`"),
        ("    v = v if __debug__ else g\n", "the expression `__debug__`"),
        ("    v = v.to(tl.float32, bitcast=print)\n", "the expression `print`"),
        ("    v = v.device\n", "the expression `v.device`"),
        ("    mask = g\n", "an assignment to `mask`, which means something outside of the rule"),
        ("    div = g\n", "an assignment to `div`, which means something outside of the rule"),
        ("    print = g\n", "an assignment to `print`, which means something outside of the rule"),
        ("    return\n", "the statement `return`"),
    ],
)
def test_what_a_rule_has_no_use_for_is_not_run(line: str, what: str, folder: Path) -> None:
    path = folder / "triton" / "adamw.py"
    edit(path, [(RULE, RULE + line)])
    number = path.read_text().split("\n").index(line.rstrip("\n")) + 1
    found = inspect(SPEC, folder, manifest.read(folder))
    assert found.verdict.status is Status.UNSUPPORTED
    assert found.verdict.detail == f"{path}:{number}: in a rule, {what} is not supported"
    assert found.launchers == ("multi_tensor",)


@pytest.mark.parametrize("backend", ["numpy", "triton"])
def test_a_rule_that_is_nested_too_deeply_is_no_fault_of_the_verifier(
    backend: str, folder: Path
) -> None:
    path = folder / backend / "adamw.py"
    edit(path, [("    m = beta1 * m", "    m = beta1 * m" + " - 0.0" * 3000)])
    verdict = look(folder)
    assert verdict.status is Status.REFUTED
    assert f"{path} is not Python: maximum recursion depth exceeded" in verdict.detail


# What others read of a file.


HIDDEN = '    """\ndef neg(x):\n    return x * -2.0\n    """\n'


@pytest.mark.parametrize(
    ("head", "line", "is_compiled"),
    [("def \\\nneg(x):", "def \\", True), ("def neg(x):", "def neg(x):", False)],
)
def test_triton_reads_the_functions_that_python_has(
    head: str, line: str, is_compiled: bool, folder: Path
) -> None:
    """Its compiler takes the first line that looks like a definition, its interpreter the last."""
    path = folder / "triton" / "adamw.py"
    before = path.read_text()
    body = "    return x * -1.0\n"
    text = before.replace("def neg(x):", head).replace(body, HIDDEN + body)
    path.write_text(text)
    assert same_meaning(text, before)
    compiled = fresh(path).neg.src
    assert compiled.startswith("def neg(x):\n    return x * -2.0") is is_compiled
    number = len(text.split("\n")) - text.split("\n")[::-1].index(line)
    verdict = look(folder)
    assert verdict.status is Status.REFUTED
    assert f"{path}:{number}: Triton would read another function" in verdict.detail


@pytest.mark.parametrize("name", ["utf8", "UTF-8", "U8", "utf_8"])
def test_every_name_of_the_encoding_is_one(name: str, folder: Path) -> None:
    for path in folder.rglob("*.py"):
        path.write_text(f"# coding: {name}\n{path.read_text()}")
    assert look(folder).detail == "as built"


def test_a_definition_may_have_another_layout(folder: Path) -> None:
    path = folder / "triton" / "adamw.py"
    edit(path, [("def neg(x):", "def  neg (\n    x,  # def other(\n):")])
    assert look(folder).detail == "as built"


# Files beside them.


def test_files_that_belong_to_somebody_else_are_no_fault(folder: Path) -> None:
    """A folder may be somebody's package, and other optimizers may have been edited in it."""
    (folder / "__init__.py").unlink()
    held = manifest.read(folder)
    assert held is not None
    del held.files["__init__.py"]  # type: ignore[attr-defined]
    (folder / "__init__.py").write_text("from .torch import AdamW\n")
    (folder / "schedules.py").write_text("x = 1\n")
    (folder / "more").mkdir()
    (folder / "numpy" / "README.md").write_text("Notes.\n")
    (folder / "numpy" / "py.typed").write_text("")
    verdict = inspect(SPEC, folder, held).verdict
    assert verdict.status is Status.TESTED
    (warning,) = verdict.warnings
    assert "__init__.py is not of build" in warning


def test_edited_files_of_optimizers_that_are_not_looked_at_are_named(tmp_path: Path) -> None:
    emit.build([SPEC, stock("lion")], tmp_path, whole=False)
    assert look(tmp_path).warnings == ()
    edit(tmp_path / "numpy" / "lion.py", [("p = p - lr * u", "p = p - u * lr")])
    (warning,) = look(tmp_path).warnings
    assert warning.startswith("1 files of optimizers that are not looked at, such as numpy/lion.py")


@pytest.mark.parametrize("file", ["numpy/adamw.py", "triton/adamw.py", "torch/_runtime.py"])
def test_files_without_an_end_are_not_read(file: str, folder: Path) -> None:
    for other in (lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero")):
        (folder / file).unlink()
        other(folder / file)
        verdict = look(folder)
        assert verdict.status is Status.REFUTED
        assert f"{folder / file} cannot be read: it is no regular file" in verdict.detail
        assert inputs_of(SPEC, folder).contents[str(folder / file)] == ""
        assert file.split("/")[0] not in hashes(SPEC, folder) or file.startswith("torch")
        with pytest.raises(SpecError, match="no regular file"):
            emit.build([SPEC], folder, whole=False)


def test_what_lies_in_pycache_is_a_regular_file(folder: Path) -> None:
    place = folder / "numpy" / "__pycache__" / "adamw.cpython-311.pyc"
    for make in (Path.mkdir, os.mkfifo):
        place.parent.mkdir(exist_ok=True)
        make(place)
        assert look(folder).detail == f"{place} is no regular file: move it away"
        shutil.rmtree(place.parent)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("co_filename", "/other.py"), ("co_qualname", "other"), ("co_stacksize", 1)],
)
def test_compiled_files_hold_what_python_does_not_compare(
    attribute: str, value: object, folder: Path
) -> None:
    """Triton reads the source of a kernel where its compiled code says that it is."""
    source = folder / "triton" / "adamw.py"
    cached = Path(py_compile.compile(str(source), dfile="moved.py", doraise=True) or "")
    data = cached.read_bytes()
    code = marshal.loads(data[16:])
    assert look(folder).detail == "as built", "Python gives it the name of its file anew"
    inner = tuple(
        c.replace(**{attribute: value}) if getattr(c, "co_name", "") == "adamw_kernel" else c
        for c in code.co_consts
    )
    other = code.replace(co_consts=inner)
    assert other == code
    cached.write_bytes(data[:16] + marshal.dumps(other))
    assert look(folder).detail == f"{cached} holds other code than adamw.py: move it away"


def test_compiled_files_hold_the_code_of_their_sources(folder: Path) -> None:
    source = folder / "numpy" / "adamw.py"
    text = source.read_text()
    for level in (0, 1, 2):
        py_compile.compile(str(source), optimize=level, doraise=True)
    assert look(folder).detail == "as built"
    source.write_text(text.replace("0.999", "0.998"))
    os.utime(source, (1e9, 1e9))
    cached = py_compile.compile(str(source), doraise=True)
    source.write_text(text)
    assert look(folder).detail == "as built", "Python compiles it anew, as the times differ"
    os.utime(source, (1e9, 1e9))
    assert look(folder).detail == f"{cached} holds other code than adamw.py: move it away"
    assert fresh(source).step.__kwdefaults__["beta2"] == 0.999
    data = Path(cached).read_bytes()
    Path(cached).write_bytes(b"0000" + data[4:])
    (warning,) = look(folder).warnings
    assert warning == f"{cached} is of another version of Python, and was not looked at"
