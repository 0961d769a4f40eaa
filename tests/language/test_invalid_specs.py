"""Every diagnostic, with its exact text.

`invalid_specs/` has a spec and its message for every code that one file can show; `stepforge
explain` prints the pair that is named after the code alone. Each file is named after the `name` in
it, so that it is checked the way an author's file is. `python
tests/language/test_invalid_specs.py` writes the messages anew, to be reviewed as a diff.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from front_end import text
from support import Command
from typer.testing import CliRunner

from stepforge.commands.cli import app
from stepforge.commands.scaffold import example
from stepforge.language.diagnostics import CODES, SpecError, render
from stepforge.language.source import MAX_BYTES
from stepforge.project.loading import load

FOLDER = Path(__file__).parents[1] / "invalid_specs"
CASES = sorted(path.stem for path in FOLDER.glob("*.toml"))
NO_FILE_SHOWS = {
    "E001": "the file is missing or a directory",
    "E002": "bytes that are not text",
    "E003": "a large file",
    "E006": "a name on the command line",
    "E007": "a folder that cannot be written",
    "E008": "a file that exists already",
    "E009": "two files with one name",
    "E019": "two files whose classes have one name",
    "E020": "a name that the output folder has: `check` knows of none",
    "E021": "an output folder that Python imports from",
    "E022": "a manifest that is damaged",
    "E023": "a build that another one waits for",
    "E024": "a setting of a configuration",
    "E025": "a setting of a configuration",
    "E026": "a schedule for a command about optimizers",
    "E029": "files that name each other",
    "W301": "an output folder",
    "E090": "the command line",
    "E091": "a compiler",
    "E092": "a signal",
    "E093": "a bug",
}


def message(path: Path, shown: str) -> str:
    try:
        return render(load(path, shown)[1])
    except SpecError as error:
        return render(error.diagnostics)


@pytest.mark.parametrize("case", CASES)
def test_the_message_is_exactly_this(case: str) -> None:
    path = FOLDER / f"{case}.toml"
    assert message(path, path.name) == (FOLDER / f"{case}.txt").read_text("utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_case_shows_the_code_that_it_is_named_after(case: str) -> None:
    shown = re.findall(r"(?m)^(?:error|warning)\[(\w+)\]", (FOLDER / f"{case}.txt").read_text())
    assert case.split("_")[0] in shown


def test_every_code_that_a_file_can_show_has_a_pair() -> None:
    assert {case for case in CASES if "_" not in case} == CODES.keys() - NO_FILE_SHOWS.keys()


def test_every_message_has_its_spec() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 75


@pytest.mark.parametrize("code", CODES)
def test_explain_prints_the_meaning_and_the_pair(code: str) -> None:
    result = CliRunner().invoke(app, ["explain", code])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{code}: {CODES[code]}\n")
    spec, shown = example(code)
    assert bool(spec) is bool(shown) is (code not in NO_FILE_SHOWS)
    for line in (spec + shown).splitlines():
        assert f"    {line}".rstrip() in result.stdout.splitlines()


# Files that are too large or too odd to be committed.


def large(path: Path) -> str:
    path.write_bytes(b"# " + b"x" * 5_000_000)
    return f"error[E003]: the spec has 5000002 bytes, the limit is {MAX_BYTES}\n  --> {path.name}\n"


def one_byte_too_large(path: Path) -> str:
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    return f"error[E003]: the spec has 262145 bytes, the limit is {MAX_BYTES}\n  --> {path.name}\n"


def not_utf8(path: Path) -> str:
    path.write_bytes(b'name = "x"\ntitle = "caf\xe9"\n')
    return (
        "error[E002]: byte 0xe9 is not UTF-8\n"
        f" --> {path.name}:2:13\n"
        "  |\n"
        '2 | title = "caf�"\n'
        "  |             ^\n"
        "  = help: save the file as UTF-8\n"
    )


def utf16(path: Path) -> str:
    path.write_bytes('name = "x"'.encode("utf-16"))
    return (
        "error[E002]: byte 0xff is not UTF-8\n"
        f" --> {path.name}:1:1\n"
        "  |\n"
        '1 | ��n a m e   =   " x " \n'.rstrip()
        + "\n"
        "  | ^\n"
        "  = help: save the file as UTF-8\n"
    )


def byte_order_mark(path: Path) -> str:
    path.write_bytes(b'\xef\xbb\xbfname = "x"\n')
    return (
        "error[E004]: invalid TOML: the file begins with a byte order mark\n"
        f" --> {path.name}:1:1\n"
        "  |\n"
        '1 |  name = "x"\n'
        "  | ^\n"
        "  = help: save it as UTF-8 without one\n"
    )


def directory(path: Path) -> str:
    path.mkdir()
    return f"error[E001]: cannot read the spec: it is a directory\n  --> {path.name}\n"


def missing(path: Path) -> str:
    return f"error[E001]: cannot read the spec: no such file or directory\n  --> {path.name}\n"


def not_a_file(path: Path) -> str:
    os.mkfifo(path)
    return f"error[E001]: cannot read the spec: it is not a regular file\n  --> {path.name}\n"


def terms(path: Path) -> str:
    path.write_text(text("p = p - lr*(" + " + ".join(["g"] * 10_000) + ")"))
    return (
        "error[E107]: the text has 40011 characters, the limit is 16384\n"
        f"  --> {path.name}:17:1\n"
        "   |\n"
        f"17 | p = p - lr*({'g + ' * 22}…\n"
        "   | ^\n"
    )


def parentheses(path: Path) -> str:
    path.write_text(text("p = p - " + "(" * 2000 + "g" + ")" * 2000))
    return (
        "error[E108]: parentheses are nested more than 60 deep\n"
        f"  --> {path.name}:17:69\n"
        "   |\n"
        f"17 | …{'(' * 100}…\n"
        f"   | {' ' * 51}^\n"
    )


def many_keys(path: Path) -> str:
    path.write_text("a." * 100_000 + "a = 1")
    return (
        "error[E004]: invalid TOML: a key has more than 16 parts\n"
        f" --> {path.name}:1:33\n"
        "  |\n"
        f"1 | {'a.' * 50}…\n"
        f"  | {' ' * 32}^\n"
    )


def many_arrays(path: Path) -> str:
    path.write_text("a = " + "[" * 100_000)
    return (
        "error[E004]: invalid TOML: values are nested too deeply\n"
        f" --> {path.name}:1:22\n"
        "  |\n"
        f"1 | a = {'[' * 96}…\n"
        f"  | {' ' * 21}^\n"
    )


Make = Callable[[Path], str]
GENERATED: tuple[Make, ...] = (
    large, one_byte_too_large, not_utf8, utf16, byte_order_mark, directory, missing, not_a_file,
    terms, parentheses, many_keys, many_arrays,
)  # fmt: skip


@pytest.mark.parametrize("make", GENERATED)
def test_the_message_of_an_odd_file_is_exactly_this(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    expected = make(path)
    assert message(path, path.name) == expected


# The same through the command line.

DANGEROUS = (
    "E005", "E010", "E013_path", "E014", "E017", "E017_doc", "E017_line_break",
    "E017_template", "E101_comment_in_domain", "E102_class", "E102_real", "E102_system",
    "E104_state", "E109_repeated", "E112", "E113", "E124", "E125", "E127", "E141",
    "E150",
)  # fmt: skip


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("case", DANGEROUS)
def test_a_dangerous_spec_is_refused_and_changes_nothing(
    case: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / f"{case}.toml"
    path.write_bytes((FOLDER / path.name).read_bytes())
    expected = (FOLDER / f"{case}.txt").read_text("utf-8")
    before = listing(tmp_path)
    done = command("check", path.name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip("\n") == expected.rstrip("\n")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("make", GENERATED)
def test_an_odd_file_is_refused_and_changes_nothing(
    make: Make, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "example.toml"
    expected = make(path)
    before = listing(tmp_path)
    done = command("check", path.name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip("\n") == expected.rstrip("\n")
    assert listing(tmp_path) == before


if __name__ == "__main__":
    for name in CASES:
        rewritten = message(FOLDER / f"{name}.toml", f"{name}.toml")
        (FOLDER / f"{name}.txt").write_text(rewritten, encoding="utf-8")
