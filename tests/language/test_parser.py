from __future__ import annotations

from fractions import Fraction

import pytest
from front_end import codes, found, spec, text
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.language.diagnostics import Diagnostic, Span, SpecError
from stepforge.language.expression import Apply, Assign, Expression, If, Name, Number, Statement
from stepforge.language.parser import MAX_BLOCKS, MAX_DEPTH, MAX_RULE, parse_expression, parse_rule
from stepforge.language.source import parse
from stepforge.language.tokens import MAX_BRACKETS, MAX_STATEMENTS, MAX_TOKENS


def tree(expression: Expression) -> str:
    """The expression with every operation in parentheses."""
    if isinstance(expression, Name):
        return expression.id
    if isinstance(expression, Number):
        return expression.text
    return f"({expression.op} {' '.join(map(tree, expression.args))})"


def parsed(text: str) -> tuple[Expression | None, list[Diagnostic]]:
    out: list[Diagnostic] = []
    source = parse(f"x = '''{text}'''", "x.toml")
    return parse_expression(source, ("x",), source.data["x"], out), out


def rule(text: str) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    out: list[Diagnostic] = []
    source = parse(f"x = '''\n{text}'''", "x.toml")
    return parse_rule(source, ("x",), source.data["x"], out), out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a - b - c", "(sub (sub a b) c)"),
        ("a - (b - c)", "(sub a (sub b c))"),
        ("a/b*c", "(mul (div a b) c)"),
        ("a*b/c*d", "(mul (div (mul a b) c) d)"),
        ("c + b + a", "(add (add c b) a)"),
        ("-a**2", "(neg (pow a 2))"),
        ("(-a)**2", "(pow (neg a) 2)"),
        ("-a*b", "(mul (neg a) b)"),
        ("a - -b", "(sub a (neg b))"),
        ("+a", "a"),
        ("a**b**c", "(pow a (pow b c))"),
        ("a**-b", "(pow a (neg b))"),
        ("1 - b**t", "(sub 1 (pow b t))"),
        ("a < b < c", "(and (lt a b) (lt b c))"),
        ("a < b <= c != d", "(and (and (lt a b) (le b c)) (ne c d))"),
        ("a and b or not c", "(or (and a b) (not c))"),
        ("a and b and c", "(and (and a b) c)"),
        ("max(a, b, c)", "(max (max a b) c)"),
        ("min(a, b)", "(min a b)"),
        ("clip(a, 0, 1)", "(clip a 0 1)"),
        ("a if c else b", "(select c a b)"),
        ("a if c else b if d else e", "(select c a (select d b e))"),
        ("0*m", "(mul 0 m)"),
        ("exp(800.0 - x)", "(exp (sub 800.0 x))"),
        ("a\n+ b", "(add a b)"),
        ("  a + b  ", "(add a b)"),
    ],
)
def test_operations_keep_the_order_they_are_written_in(text: str, expected: str) -> None:
    expression, out = parsed(text)
    assert out == []
    assert expression is not None
    assert tree(expression) == expected


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("0.1", Fraction(1, 10), "0.1"),
        ("1e-3", Fraction(1, 1000), "1e-3"),
        ("1_000", Fraction(1000), "1000"),
        (".5", Fraction(1, 2), ".5"),
        ("2.", Fraction(2), "2."),
        ("00", Fraction(0), "00"),
        ("1e300", Fraction(10) ** 300, "1e300"),
        ("2147483647", Fraction(2**31 - 1), "2147483647"),
        ("2147483648", Fraction(2**31), "2147483648.0"),
    ],
)
def test_a_number_is_exact_and_keeps_its_text(text: str, value: Fraction, shown: str) -> None:
    assert parsed(text)[0] == Number(shown, value, Span(1, 1, 2))


def test_spans_are_those_of_the_file() -> None:
    expression, _ = parsed("first +\n  second*third")
    assert isinstance(expression, Apply)
    assert (expression.args[0].span.line, expression.args[0].span.column) == (1, 8)
    assert (expression.args[1].span.line, expression.args[1].span.column) == (2, 3)
    assert expression.args[1].span.end == 15


def test_statements_keep_their_text_without_comments() -> None:
    statements, out = rule("# first\na = (b   # why\n     + c)  # more\n")
    assert out == []
    (assign,) = statements
    assert isinstance(assign, Assign)
    assert (assign.name, assign.text) == ("a", "a = (b + c)")


def test_elif_is_an_if_in_the_else_block() -> None:
    (block,), out = rule("if a:\n    x = 1\nelif b:\n    x = 2\nelse:\n    x = 3\n")
    assert out == []
    assert isinstance(block, If)
    (inner,) = block.orelse
    assert isinstance(inner, If)
    assert [tree(e) for e in (block.condition, inner.condition)] == ["a", "b"]
    assert [s.text for s in (*block.body, *inner.body, *inner.orelse)] == [
        "x = 1", "x = 2", "x = 3"
    ]  # fmt: skip


def test_a_comment_may_hold_any_printable_character() -> None:
    assert rule("a = 1  # β '\"(\n")[1] == []


def test_every_statement_with_an_error_is_reported() -> None:
    _, out = rule("a = x.y\nb = 1\nif a.b:\n    c = x[0]\nd += 1\n")
    assert [(d.code, d.span.line) for d in out if d.span] == [
        ("E102", 2),
        ("E102", 4),
        ("E102", 5),
        ("E120", 6),
    ]


@pytest.mark.parametrize(
    ("good", "bad", "code"),
    [
        ("(" * MAX_BRACKETS + "a" + ")" * MAX_BRACKETS, None, ""),
        (None, "(" * (MAX_BRACKETS + 1) + "a" + ")" * (MAX_BRACKETS + 1), "E108"),
        ("+".join("a" * (MAX_DEPTH - 1)), "+".join("a" * (MAX_DEPTH + 2)), "E108"),
        ("-" * (MAX_DEPTH - 2) + "a", "-" * (MAX_DEPTH + 2) + "a", "E108"),
        ("a" * 40, "a" * 41, "E013"),
        ("1." + "1" * 39, "1." + "1" * 40, "E106"),
        ("1e300", "1e301", "E106"),
        ("1e-300", "1e-301", "E106"),
    ],
)
def test_an_expression_is_bounded(good: str | None, bad: str | None, code: str) -> None:
    if good is not None:
        assert parsed(good)[1] == []
    if bad is not None:
        expression, out = parsed(bad)
        assert expression is None
        assert [d.code for d in out] == [code]


def terms(count: int) -> str:
    """A statement of so many tokens that is not deep."""
    return "a = max(" + ", ".join(["b"] * ((count - 4) // 2)) + ")"


@pytest.mark.parametrize(
    ("good", "bad", "code"),
    [
        ("a = 1\n" * MAX_STATEMENTS, "a = 1\n" * (MAX_STATEMENTS + 1), "E107"),
        ("a = 1" + " " * (MAX_RULE - 5), "a = 1" + " " * (MAX_RULE - 4), "E107"),
        (terms(100), terms(MAX_TOKENS + 10), "E107"),
    ],
)
def test_a_rule_is_bounded(good: str, bad: str, code: str) -> None:
    assert rule(good)[1] == []
    statements, out = rule(bad)
    assert statements == ()
    assert [d.code for d in out] == [code]


def test_blocks_are_nested_only_so_deep() -> None:
    def nested(depth: int) -> str:
        return "".join(f"{' ' * i}if a:\n" for i in range(depth)) + " " * depth + "b = 1\n"

    assert rule(nested(MAX_BLOCKS))[1] == []
    assert [d.code for d in rule(nested(MAX_BLOCKS + 1))[1]] == ["E108"]
    assert [d.code for d in rule(nested(150))[1]] == ["E108"]


def test_a_line_break_by_escape_is_part_of_the_rule() -> None:
    assert found(text().replace("'''\np = p - lr*g\n'''", '"d = lr*g\\np = p - d"')) == []


def test_a_carriage_return_by_escape_is_no_line_break() -> None:
    source = text().replace("'''\np = p - lr*g\n'''", '"# \\r p = p - lr*g"')
    assert [d.code for d in found(source)] == ["E101"]


@pytest.mark.parametrize("options", ["", "# nothing"])
def test_a_comment_or_no_statement_is_an_empty_rule(options: str) -> None:
    assert "E125" in codes(rule=options)


def test_a_rule_of_several_blocks_is_accepted() -> None:
    options = "\n".join(f'{n} = {{ default = false, doc = "A switch." }}' for n in ("up", "fast"))
    assert len(spec(options=options, rule=BLOCKS).rule) == 3


BLOCKS = """
if up:
    g = -g  # ascend

    # a comment between
elif fast:
    g = 2*g
if fast: g = 3*g
p = (
    p
    - lr*g
)
"""

PIECES = [
    *"abpgt01.+-*/%@&|^~<>=!?:;,()[]{}#\\\"' \n\t", "**", "if ", " else ", "elif ", "lambda ",
    "not ", " and ", " in ", " is ", "for ", "max(", "sqrt", "1e9", "    ", "\n    ", "p = ",
    " if a else ", "True", "print ", "def ", "β", "\x0c", "'''", "async ", "await ", "yield ",
    "import ", "match ",
]  # fmt: skip


@settings(max_examples=1500)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_text_is_a_rule_or_a_diagnosis(rule: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" if c in '"\\' or not c.isprintable() else c for c in rule)
    source = text().replace("'''\np = p - lr*g\n'''", f'"{escaped}"')
    for diagnostic in found(source):
        assert diagnostic.span is not None
        assert diagnostic.message.isprintable()


@settings(max_examples=500)
@given(st.text(max_size=60))
def test_any_text_is_a_spec_or_a_diagnosis(toml: str) -> None:
    for diagnostic in found(toml):
        assert diagnostic.code


GRAMMAR = st.recursive(
    st.sampled_from(["a", "b", "2", "0.5"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "**"]), inner, inner).map(
            lambda t: f"({t[1]}{t[0]}{t[2]})"
        ),
        inner.map(lambda e: f"(-{e})"),
        inner.map(lambda e: f"sqrt({e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]}<1 else {t[2]})"),
    ),
    max_leaves=12,
)


def written(expression: Expression) -> str:
    """The expression in the notation of `GRAMMAR`."""
    if not isinstance(expression, Apply):
        return tree(expression)
    args = [written(argument) for argument in expression.args]
    match expression.op:
        case "neg":
            return f"(-{args[0]})"
        case "sqrt":
            return f"sqrt({args[0]})"
        case "select":
            return f"({args[1]} if {args[0]} else {args[2]})"
        case "lt":
            return f"{args[0]}<{args[1]}"
        case op:
            symbol = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}[op]
            return f"({args[0]}{symbol}{args[1]})"


@settings(max_examples=300)
@given(GRAMMAR)
def test_an_expression_is_its_text(text: str) -> None:
    expression, out = parsed(text)
    assert out == []
    assert expression is not None
    assert written(expression) == text


def test_a_spec_error_lists_everything_in_order() -> None:
    with pytest.raises(SpecError) as error:
        spec(rule="a = x.y\nb = 0x1\n")
    assert [d.code for d in error.value.diagnostics] == ["E106"]
    with pytest.raises(SpecError) as error:
        spec(rule="a = x.y\nb = x[0]\n", options="up = 1")
    assert [d.code for d in error.value.diagnostics] == ["E012", "E102", "E102"]
