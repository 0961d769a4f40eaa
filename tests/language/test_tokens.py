from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepforge.language.tokens import bracket_problem, spelled_out, statements, tokens, unclosed


def words(text: str) -> list[str]:
    return [token.text for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p = p - lr*g", ["p", "=", "p", "-", "lr", "*", "g"]),
        ("g**2//3<=x", ["g", "**", "2", "//", "3", "<=", "x"]),
        ("1.5e-3+.5-2.", ["1.5e-3", "+", ".5", "-", "2."]),
        ("1e5x 0x1F 2g", ["1e5x", "0x1F", "2g"]),
        ("x#'no'\ny", ["x", "#'no'", "\n", "y"]),
        ("'a#b' f\"{x}\"", ["'a#b'", 'f"{x}"']),
        ("'it\\'s' x", ["'it\\'s'", "x"]),
        ("'''a\nb''' x", ["'''a\nb'''", "x"]),
        ("β₁*v", ["β₁", "*", "v"]),
    ],
)
def test_a_text_is_split_into_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_token_knows_its_place() -> None:
    *_, last = tokens("a = 1\n'''x\ny''' + b")
    assert (last.text, last.line, last.column) == ("b", 3, 7)


@given(st.text(alphabet="ab1.'\"#\\\n\t +-*()[]βé", max_size=40))
def test_tokens_are_the_text_without_its_blanks(text: str) -> None:
    found = list(tokens(text))
    lines = text.split("\n")
    for token in found:
        assert lines[token.line - 1].startswith(token.text.split("\n")[0], token.column)
    assert sum(len(t.text) for t in found) >= len("".join(text.split()))


def test_brackets_join_lines() -> None:
    found = list(statements(list(tokens("a = (1 +\n  2)\n\n# comment\nb = 2"))))
    assert [[t.text for t in line] for line in found] == [
        ["a", "=", "(", "1", "+", "2", ")"],
        ["b", "=", "2"],
    ]


@pytest.mark.parametrize(
    ("text", "at"), [("(a))", 3), ("(a]", 2), ("a[(b)", 1), ("(a)", None), ("'('", None)]
)
def test_the_first_bracket_without_partner_is_found(text: str, at: int | None) -> None:
    problem = bracket_problem(list(tokens(text)))
    assert (problem.token.column if problem else None) == at


@pytest.mark.parametrize(
    ("text", "plain"),
    [("β1", "beta1"), ("λ", "lambda_"), ("g²", "g**2"), ("β₂", "beta2"), ("д", "")],
)
def test_greek_letters_and_signs_are_spelled_out(text: str, plain: str) -> None:
    assert spelled_out(text) == plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [("'a'", False), ("'a", True), ("'", True), ("'''a'''", False), ("'''a'", True), ('rb"', True)],
)
def test_a_string_without_its_closing_quote_is_unclosed(text: str, expected: bool) -> None:
    (token,) = tokens(text)
    assert unclosed(token) is expected
