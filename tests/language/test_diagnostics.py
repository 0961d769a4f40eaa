from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepforge.language.diagnostics import (
    CODES,
    Diagnostic,
    Span,
    SpecError,
    nearest,
    order,
    printable,
    render,
    short,
)


def diagnostic(line: str, column: int, end: int, help: str = "") -> Diagnostic:
    return Diagnostic("E104", "unknown name", "x.toml", Span(7, column, end), line, help)


def test_a_diagnostic_has_code_place_line_caret_and_help() -> None:
    assert render([diagnostic("v = bta2*v", 5, 9, "did you mean `beta2`?")]) == (
        "error[E104]: unknown name\n"
        " --> x.toml:7:5\n"
        "  |\n"
        "7 | v = bta2*v\n"
        "  |     ^^^^\n"
        "  = help: did you mean `beta2`?\n"
    )


def test_a_warning_says_so() -> None:
    assert render([Diagnostic("W201", "may be negative", "x.toml")]).startswith("warning[W201]: ")


def test_without_a_place_there_is_only_the_path() -> None:
    text = render([Diagnostic("E001", "cannot read the spec", "x.toml", help="try again")])
    assert text == ("error[E001]: cannot read the spec\n  --> x.toml\n  = help: try again\n")


def test_a_blank_line_stands_between_diagnostics() -> None:
    one = diagnostic("a", 1, 2)
    assert render([one, one]) == render([one]) + "\n" + render([one])


def test_the_margin_is_as_wide_as_the_line_number() -> None:
    text = render([Diagnostic("E104", "unknown", "x.toml", Span(1234, 1, 2), "a")])
    assert "    --> x.toml:1234:1\n     |\n1234 | a\n     | ^\n" in text


def caret(text: str) -> tuple[str, str]:
    """The source line and the caret line, without the margin."""
    lines = text.splitlines()
    return lines[3][4:], lines[4][4:]


@pytest.mark.parametrize("column", [1, 40, 400, 990])
def test_a_long_line_is_cut_around_the_caret(column: int) -> None:
    line = "x" * (column - 1) + "HERE" + "x" * (1000 - column)
    shown, carets = caret(render([diagnostic(line, column, column + 4)]))
    assert len(shown) <= 102
    assert shown[carets.index("^") : carets.index("^") + 4] == "HERE"
    assert carets.count("^") == 4


def test_a_span_longer_than_the_window_ends_with_it() -> None:
    shown, carets = caret(render([diagnostic("x" * 1000, 1, 900)]))
    assert len(carets) == len(shown)


def test_a_tab_takes_one_column() -> None:
    assert caret(render([diagnostic("\tabc", 2, 5)])) == (" abc", " ^^^")


def test_wide_and_combining_characters_move_the_caret() -> None:
    assert caret(render([diagnostic("漢字 = x", 6, 7)])) == ("漢字 = x", "       ^")
    assert caret(render([diagnostic("e\u0301 = x", 6, 7)])) == ("e\u0301 = x", "    ^")


def test_an_empty_place_behind_the_line_still_has_a_caret() -> None:
    assert caret(render([diagnostic("ab", 3, 4)])) == ("ab", "  ^")


def test_terminal_escapes_are_written_out() -> None:
    text = render([Diagnostic("E010", "unknown key `\x1b[31m`", "a\nb.toml", help="\u202e")])
    assert text == ("error[E010]: unknown key `\\x1b[31m`\n  --> a\\nb.toml\n  = help: \\u202e\n")


@given(st.text(), st.integers(1, 50), st.integers(1, 50))
def test_any_line_is_rendered_in_one_line(line: str, column: int, width: int) -> None:
    text = render([diagnostic(line.replace("\n", ""), column, column + width)])
    assert text.count("\n") == 5
    assert all(part.isprintable() for part in text.split("\n"))


def test_diagnostics_are_in_the_order_of_the_file_and_once() -> None:
    late, early = diagnostic("a", 9, 10), diagnostic("a", 1, 2)
    whole = Diagnostic("E011", "`name` is missing", "x.toml")
    assert order([late, early, whole, late]) == [whole, early, late]


def test_the_machine_readable_form_has_the_same_facts() -> None:
    assert diagnostic("abc", 2, 4, "help").as_dict() == {
        "code": "E104", "severity": "error", "message": "unknown name", "path": "x.toml",
        "line": 7, "column": 2, "end_column": 4, "help": "help",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("bta2", "did you mean `beta2`?"),
        ("BETA2", "did you mean `beta2`?"),
        ("weight_deacy", "did you mean `weight_decay`?"),
        ("zzz", ""),
        ("", ""),
        ("b" * 5000, ""),
    ],
)
def test_a_near_name_is_suggested(word: str, expected: str) -> None:
    assert nearest(word, ["beta1", "beta2", "weight_decay"]) == expected


def test_the_suggestion_does_not_depend_on_the_order_of_the_candidates() -> None:
    names = ["beta1", "beta2", "Beta1", "eta1"]
    assert {nearest("bet1", names), nearest("bet1", reversed(names))} == {nearest("bet1", names)}


def test_names_are_shown_short_and_printable() -> None:
    assert short("a" * 40) == "a" * 40
    assert short("a" * 41) == "a" * 39 + "…"
    assert short("a\nb") == "a\\nb"
    assert printable("β = 1") == "β = 1"


def test_an_error_keeps_its_diagnostics_and_reads_well() -> None:
    error = SpecError([diagnostic("a", 1, 2)])
    assert error.diagnostics == (diagnostic("a", 1, 2),)
    assert str(error) == "E104: unknown name"


def test_codes_are_sorted_and_explained_in_sentences() -> None:
    assert list(CODES) == sorted(CODES)
    assert all(meaning.endswith(".") for meaning in CODES.values())
