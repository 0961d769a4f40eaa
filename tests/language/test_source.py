from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from front_end import LR, text
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.language.diagnostics import Diagnostic, Span, SpecError
from stepforge.language.source import MAX_BYTES, KeyPath, Source, parse, read


def under(source: Source, span: Span | None) -> str:
    """The text that a caret marks."""
    assert span is not None
    return source.line(span.line)[span.column - 1 : span.end - 1]


def refused(toml: str) -> list[Diagnostic]:
    with pytest.raises(SpecError) as error:
        parse(toml, "x.toml")
    return list(error.value.diagnostics)


NESTED = """\
# a comment with = and [brackets]
name = "adam" # another
'quoted key' = 1
"esc\\u0061ped" = 2
a.b.c = 3

[section]   # header comment
entry = { x = [1, [2, 'three']], "y z" = { deep = "d#e}]" } }
long = [
    1, # one
    2,
]
[section.sub]
date = 1979-05-27 07:32:00
[[many]]
k = 1
[[many]]
k = 2
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("name",), "name", '"adam"'),
        (("quoted key",), "'quoted key'", "1"),
        (("escaped",), '"esc\\u0061ped"', "2"),
        (("a",), "a", "a"),
        (("a", "b", "c"), "c", "3"),
        (("section",), "section", "section"),
        (("section", "entry", "x"), "x", "[1, [2, 'three']]"),
        (("section", "entry", "x", "1", "1"), "'three'", "'three'"),
        (("section", "entry", "y z"), '"y z"', '{ deep = "d#e}]" }'),
        (("section", "entry", "y z", "deep"), "deep", '"d#e}]"'),
        (("section", "long", "1"), "2", "2"),
        (("section", "sub"), "sub", "sub"),
        (("section", "sub", "date"), "date", "1979-05-27 07:32:00"),
        (("many",), "many", "many"),
    ],
)
def test_every_key_and_value_has_its_place(path: KeyPath, key: str, value: str) -> None:
    source = parse(NESTED, "x.toml")
    assert under(source, source.key_span(path)) == key
    assert under(source, source.value_span(path)) == value


def test_a_value_of_several_lines_is_marked_on_its_first() -> None:
    source = parse(NESTED, "x.toml")
    assert under(source, source.value_span(("section", "long"))) == "["


def test_a_missing_key_is_marked_at_its_table() -> None:
    source = parse(NESTED, "x.toml")
    assert under(source, source.key_span(("section", "entry", "missing"))) == "entry"
    assert source.key_span(("missing",)) is None


STRINGS = {
    "basic": '"one two"',
    "literal": "'one two'",
    "multi-line basic": '"""one two"""',
    "multi-line literal": "'''one two'''",
    "after a line break": "'''\none two'''",
    "with escapes": '"\\u006fne\\ttwo"',
    "with an escape in front": '"\\U0001F600 one two"',
    "folded": '"""\\\n    one \\\n   two"""',
    "closed by five quotes": "'''one two'''''",
    "with quotes inside": '"""\\"" one two"""',
}


@pytest.mark.parametrize("literal", STRINGS.values(), ids=STRINGS.keys())
def test_a_position_in_a_string_is_found_in_the_file(literal: str) -> None:
    source = parse(f"# first\nkey = {literal}\n", "x.toml")
    value = source.data["key"]
    column = value.index("two")
    assert under(source, source.inner_span(("key",), 1, column, column + 3)) == "two"


def test_lines_of_a_string_are_lines_of_the_file() -> None:
    source = parse("key = '''\nfirst\n  second\n'''\n", "x.toml")
    assert source.inner_span(("key",), 2, 2, 8) == Span(3, 3, 9)


def test_an_escaped_line_break_is_a_line_of_the_string_only() -> None:
    source = parse('key = "first\\nsecond"\n', "x.toml")
    assert under(source, source.inner_span(("key",), 2, 0, 6)) == "second"


def test_a_position_beyond_the_string_is_its_end() -> None:
    source = parse('key = "ab"\n', "x.toml")
    assert source.inner_span(("key",), 9, 7, 9) == Span(1, 10, 11)


def test_carriage_returns_before_line_ends_do_not_count() -> None:
    unix, windows = parse(NESTED, "x"), parse(NESTED.replace("\n", "\r\n"), "x")
    assert unix == windows
    assert unix.digest == windows.digest


def test_a_repeated_table_is_reported_without_what_is_in_it() -> None:
    toml = "[a]\nx = 1\n[b]\nx = 1\n[a]\nx = 2\n"
    assert [(d.code, d.message, d.span) for d in refused(toml)] == [
        ("E005", "`a` is defined twice", Span(5, 2, 3))
    ]


def test_tables_of_an_array_may_repeat_their_keys() -> None:
    assert parse("[[a]]\nk = 1\n[[a]]\nk = 2\n", "x").data == {"a": [{"k": 1}, {"k": 2}]}


def test_only_so_many_repetitions_are_reported() -> None:
    assert len(refused("a = 1\n" * 5000)) == 100


def test_dotted_keys_share_their_tables() -> None:
    source = parse("a.x = 1\na.y = 2\n", "x")
    assert source.data == {"a": {"x": 1, "y": 2}}
    assert under(source, source.value_span(("a", "y"))) == "2"


@pytest.mark.parametrize(
    "toml",
    [
        "a = " + "9" * 5000,
        "a = 0x",
        "a = 1979-13-01",
        "a = [1 2]",
        "a = {b = 1 c = 2}",
        "a = {b = 1,}",
        "a = ",
        "= 1",
        "[a",
        "[[a]",
        "a = '''",
        'a = "\\q"',
        'a = "\\ud800"',
        "a\x00 = 1",
        "a = 1\rb = 2",
        "'",
        "a = tru",
    ],
)
def test_what_is_not_toml_is_one_error_with_a_place(toml: str) -> None:
    (diagnostic,) = refused(toml)
    assert diagnostic.code == "E004"
    assert diagnostic.span is not None


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(text().ljust(MAX_BYTES - 1, "#") + "\n")
    assert read(path).data["name"] == "example"


def test_the_digest_depends_on_the_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(text())
    assert read(path, "shown").digest == parse(text(), "elsewhere").digest


TOML_PIECES = st.lists(
    st.sampled_from(
        [*"abc.=[]{},#'\"\\ \n\t01-:+_eé", "'''", '"""', "true", "inf", "\\u0041", " = ", "1e5", LR]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=500)
@given(TOML_PIECES)
def test_any_text_is_toml_or_a_spec_error(toml: str) -> None:
    try:
        data = tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        refused(toml)
        return
    assert parse(toml, "x").data == data


def paths(data: object, path: KeyPath = ()) -> list[tuple[KeyPath, object]]:
    """The path of every value in tables."""
    if isinstance(data, dict):
        return [found for key, value in data.items() for found in paths(value, (*path, key))]
    return [(path, data)]


@settings(max_examples=500)
@given(TOML_PIECES)
def test_every_value_has_a_place_that_holds_it(toml: str) -> None:
    try:
        source = parse(toml, "x")
    except SpecError:
        return
    for path, value in paths(source.data):
        if path not in source.places:  # inside an array of tables
            continue
        start, end = source.places[path].value
        if isinstance(value, str):
            assert tomllib.loads(f"x = {source.text[start:end]}")["x"] == value


@settings(max_examples=300)
@given(st.text(alphabet="ab\\\"'\n\t ué\U0001f600", max_size=20))
def test_every_character_of_a_string_is_found(content: str) -> None:
    escaped = content.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    source = parse(f'key = "{escaped}"\n', "x")
    assert source.data["key"] == content
    for number, line in enumerate(content.split("\n"), 1):
        for column, character in enumerate(line):
            shown = under(source, source.inner_span(("key",), number, column, column + 1))
            assert shown == {"\\": "\\", '"': "\\"}.get(character, character)
