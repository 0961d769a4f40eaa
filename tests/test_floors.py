"""The rooms of the package: none imports from above, and no two modules import each other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support import ROOT

sys.path.append(str(ROOT / "examples"))

import architecture

PACKAGE = ROOT / "codegen" / "stepforge"
FLOORS = (
    "version", "operations", "language", "lowering", "backends", "output", "project", "verify",
    "relations", "facts", "fuzz", "mutate", "notebook", "", "commands", "__main__",
)  # fmt: skip
VERIFY = (
    "", "processes", "certificate", "files", "reading", "cases", "terms", "ptx", "rounding",
    "rungs", "run", "driver",
)  # fmt: skip
"""Both from the ground up; "" is the package itself."""
LONG = 400
"""Lines that a file may have without saying why it is longer."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__")


MODULES = {
    name_of(path).rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "templates" not in path.parts
}


def imported(name: str) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in found:
            if full == "stepforge" or full.startswith("stepforge."):
                inside = full.removeprefix("stepforge").lstrip(".")
                yield inside if inside in MODULES else inside.rpartition(".")[0]


@cache
def arrows() -> dict[str, list[str]]:
    return {name: sorted(set(imported(name)) - {name}) for name in MODULES}


def floor(name: str, floors: tuple[str, ...]) -> int:
    return floors.index(name.partition(".")[0])


def test_there_are_arrows() -> None:
    assert sum(map(len, arrows().values())) > 400


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_from_above(name: str) -> None:
    for other in arrows()[name]:
        assert floor(other, FLOORS) <= floor(name, FLOORS), other
        if name.startswith("verify.") and other.startswith("verify."):
            inside, there = (n.removeprefix("verify.") for n in (name, other))
            assert floor(there, VERIFY) <= floor(inside, VERIFY), other


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("name", MODULES)
def test_a_room_itself_holds_no_code(name: str) -> None:
    """Importing one module of a room imports no other: no circle goes through a room."""
    if name and MODULES[name].name == "__init__.py":
        assert len(ast.parse(MODULES[name].read_text("utf-8")).body) == 1


def test_the_picture_shows_the_imports() -> None:
    assert architecture.FILE.read_text("utf-8") == architecture.picture()
    assert set(architecture.ROOMS) < set(FLOORS)


@pytest.mark.parametrize(
    "name", [n for n, p in MODULES.items() if p.read_text().count("\n") > LONG]
)
def test_a_long_file_says_why(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8"))) or ""
    assert "In one file, " in docstring


JUDGES = ("reading", "cases", "terms", "ptx", "rounding", "rungs")
"""The rooms of `verify` that say what is right. Where files are is the business of `files`."""
MODEL = {
    f"language.{n}" for n in ("constraints", "expression", "names", "source", "spec", "subjects")
}
"""What a spec consists of, without what reads a rule or decides what it means."""
SETTINGS = {
    "verify.rungs.static": {"language.reader"},
    "verify.rungs.schedule": {"language.reader"},
    "verify.rungs.compiled": {"backends.triton"},
    "verify.rungs.proof": {"backends.triton"},
    "verify.rungs.contract": {"backends.triton", "lowering.lower"},
}
"""R0 and S0 repeat the warnings of `language`; the number of warps and of arguments is what a
launch is held to, not what it computes."""


@pytest.mark.parametrize(
    "name", [n for n in MODULES if n.startswith(tuple(f"verify.{room}." for room in JUDGES))]
)
def test_judges_share_nothing_with_what_generates(name: str) -> None:
    generating = ("lowering", "backends", "language")
    shared = {other for other in arrows()[name] if other.startswith(generating)}
    assert shared - MODEL <= SETTINGS.get(name, set())
    if name.startswith(("verify.reading.", "verify.rounding.")):
        assert shared <= {"language.spec"}
