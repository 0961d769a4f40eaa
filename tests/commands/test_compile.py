"""`stepforge compile`: one library and one header, which C and C++ can use."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import DIALECTS, ROOT, STOCK, Command, numpy_of, small, stock

from stepforge.backends.c_header import MARK, header
from stepforge.language.diagnostics import SpecError

QUICK = ("--flags", "-O1")


def test_the_library_steps_as_the_reference(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "new" / "liboptim.so"
    done = command("compile", "lion", "nadam", "--out", out, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "-O1 -std=gnu11" in done.stderr
    assert "native" not in done.stderr
    assert {path.name for path in out.parent.iterdir()} == {"liboptim.so", "liboptim.h"}
    library = ctypes.CDLL(str(out))
    p, g, m = np.array([0.3, -2.0], "f"), np.array([0.5, 1.0], "f"), np.zeros(2, "f")
    expected, _ = numpy_of(stock("lion")).step(p, g, {"m": m.copy()}, 1)
    numbers = (ctypes.c_double * 7)()
    given = [ctypes.c_double(x) for x in (1, 1e-4, 0.9, 0.99, 0)]
    library.lion_numbers(numbers, *given, 0)
    row = np.array([x.ctypes.data for x in (p, g, m)] + [2], np.int64)
    assert (
        library.lion_step(
            ctypes.c_void_p(row.ctypes.data), ctypes.c_int64(1), bytes(3), numbers, 0, 1
        )
        == 0
    )
    assert np.array_equal(p, expected)


def test_all_headers_compile_as_c_and_as_cpp(tmp_path: Path) -> None:
    """Those of every optimizer, without a warning."""
    text = header([stock(name) for name in (*STOCK, *DIALECTS)])
    (tmp_path / "all.h").write_text(text)
    for compiler, language in (("cc", "c"), ("c++", "c++")):
        (tmp_path / "main").write_text(
            '#include "all.h"\n#include "all.h"\nint x = ADAMW_NUMBERS;\n'
        )
        done = subprocess.run(
            [compiler, "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic",
             "-fsyntax-only", "main"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_texts_of_specs_end_no_comment_and_names_are_no_keywords(tmp_path: Path) -> None:
    spec = small(
        "template = new*template + g\np = p - lr*template",
        title="*/ int x; /* */*/ /*/", hyperparameters=("lr", "new"), state=("template",),
    )  # fmt: skip
    text = header([spec])
    assert "void *template_;" in text
    assert "double new_" in text
    (tmp_path / "main.cpp").write_text(text + "\nint x;\n")
    done = subprocess.run(
        ["c++", "-fsyntax-only", "main.cpp"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_names_that_would_be_declared_twice_are_refused() -> None:
    with pytest.raises(SpecError, match="E020"):
        header([small("p = p - lr*g", name="stepforge")])


def test_the_example_in_cpp_is_near_a_loop_in_double(tmp_path: Path, command: Command) -> None:
    done = command("compile", "adamw", "--out", tmp_path / "liboptim.so", *QUICK)
    assert done.returncode == 0, done.stderr
    built = subprocess.run(
        ["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror",
         str(ROOT / "examples" / "offload.cpp"), "-I.", "-L.", "-loptim",
         "-Wl,-rpath,.", "-o", "offload"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(["./offload"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert "difference from double" in ran.stdout


def test_files_of_others_are_replaced_by_force_only(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "a.so"
    (tmp_path / "a.h").write_text("int mine;\n")
    done = command("compile", "lion", "--out", out, *QUICK)
    assert done.returncode == 2
    assert "error[E008]" in done.stderr
    assert (tmp_path / "a.h").read_text() == "int mine;\n"
    assert not out.exists()
    assert command("compile", "lion", "--out", out, "--force", *QUICK).returncode == 0
    assert MARK in (tmp_path / "a.h").read_text()
    assert command("compile", "sgd", "--out", out, *QUICK).returncode == 0  # its own files
    assert "sgd_step" in (tmp_path / "a.h").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["cosine"], "E026"),
        (["kahan"], "E026"),
        (["nobody"], "E006"),
        (["lion", "--cc", "no-such-compiler"], "E091"),
        (["lion", "--flags", "--no-such-flag"], "E091"),
        (["lion", "--flags", "'"], "E090"),
        (["lion", "--cc", "false"], "E091"),
        (["lion", "--out", "a.h"], "E090"),
        (["lion", "--out", "/dev/null/a.so"], "E007"),
        (["lion", "--out", "folder"], "E008"),
    ],
    ids=" ".join,
)
def test_wrong_input_changes_nothing(
    arguments: list[str], code: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "folder").mkdir()
    before = {*tmp_path.rglob("*")}
    done = command("compile", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"error[{code}]" in done.stderr
    assert {*tmp_path.rglob("*")} == before


def test_json_says_how_it_was_compiled(tmp_path: Path, command: Command) -> None:
    done = command("compile", "lion", "--out", tmp_path / "x.so", "--json", *QUICK)
    (made,) = json.loads(done.stdout)["results"]
    assert made["specs"] == ["lion"]
    assert made["flags"][0] == "-O1"
    assert made["runs_here_only"] is False
    assert made["library_bytes"] == os.path.getsize(tmp_path / "x.so")
    assert made["compiler"][0] == shutil.which(Path(made["compiler"][0]).name)
