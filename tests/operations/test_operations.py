"""THE table: every operation, in every column, against its mathematical value."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import environment, lowered, module, small

from stepforge.backends.helpers import definitions
from stepforge.backends.python import HOST, PYTHON
from stepforge.backends.render import render
from stepforge.backends.writer import Writer
from stepforge.language.kinds import Kind
from stepforge.lowering.kernel import Value, lets
from stepforge.lowering.lower import lower
from stepforge.operations.operation import COLUMNS
from stepforge.operations.table import OPERATIONS, author_functions

EVERYTHING = """
a = (p + g)*(p - g)/(g + lr)
b = min(a, max(g, lr), p) + max(p, lr) + clip(g, -1, lr)
c = sqrt(abs(a)) + (g - 1)**2 + sign(b) + g**2
d = exp(clip(g, -2, 2)) + log(abs(g) + 1)*abs(p)**lr + -p
h = tanh(g) + expm1(g) + cbrt(p)*sin(g) + cos(g) + atan2(g, p) + floor(g) + t % 2*g
e = (a if g > 0 and not p >= lr else lr) + (b if g < 0.25 or p <= 0 else c)
f = (1 if g == p else 2) + (d if g != p else 3)
p = p - lr*(a + b + c + d + e + f + h) + exp(lr)*g + log(lr + 1)*g + lr**t*g + sqrt(lr)*g
p = p + abs(lr)*g
p = p + (lr + 1)**lr*g
p = p + stored(g)
p = p + sign(lr)*g + min(lr, t)*g + max(lr, t)*g + clip(lr, 0, t)*g + (lr if t > 1 else 3)*g
"""
"""One function with every operation, on elements and, where it can be, on the host."""

POINTS = (-2.5, -1.0, -0.75, -0.0, 0.0, 0.25, 0.5, 1.0, 1.75, 3.0)


def test_the_function_with_everything_has_every_operation() -> None:
    kernel = lowered(EVERYTHING)
    steps = [*lets(kernel.rule), *lets(kernel.stages[0].body)]
    used = {v.op for let in steps for v in let.value.operations()}
    assert used >= set(OPERATIONS)


def test_authors_functions_are_rows() -> None:
    assert {"sqrt", "abs", "max", "clip", "exp", "tanh", "atan2"} < set(author_functions())
    assert all(OPERATIONS[name].symbol == name for name in author_functions())


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_spelling_has_exactly_the_arguments(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.spellings.keys() == set(COLUMNS)
    for spelling in operation.spellings.values():
        used = {int(field) for field in range(9) if f"{{{field}}}" in spelling.text}
        assert used == set(range(operation.arity))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_helper_has_a_template(name: str) -> None:
    operation = OPERATIONS[name]
    for column in ("scalar", "numpy", "triton"):
        helpers = operation.spellings[column].helper.split()
        texts = "\n".join(definitions(column, helpers))
        assert all(f"def {helper}(" in texts for helper in helpers)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_not_exact_says_how_far_off_it_is(name: str) -> None:
    operation = OPERATIONS[name]
    assert (operation.rounding == "bounded") == (operation.ulps > 0)


# Values.


def exact(name: str, *x: Fraction) -> mpmath.mpf | bool:
    """The value of an operation, from its definition."""
    if name in ("exp", "expm1", "log", "sqrt", "tanh", "sin", "cos", "atan2", "floor"):
        return getattr(mpmath, name)(*(mpmath.mpf(v.numerator) / v.denominator for v in x))
    if name == "cbrt":
        size = mpmath.mpf(abs(x[0].numerator)) / x[0].denominator
        return mpmath.sign(x[0].numerator) * size ** (mpmath.mpf(1) / 3)
    value = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "mod": lambda a, b: a % b,
        "square": lambda a: a * a,
        "neg": lambda a: -a,
        "abs": abs,
        "sign": lambda a: Fraction((a > 0) - (a < 0)),
        "min": min,
        "max": max,
        "smaller": min,
        "larger": max,
        "clip": lambda a, low, high: min(max(a, low), high),
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "fill": lambda a: a,
        "stored": lambda a: a,
        "select": lambda c, a, b: a if c else b,
    }[name](*x)
    return value if isinstance(value, bool) else mpmath.mpf(value.numerator) / value.denominator


def defined(name: str, x: tuple[float, ...]) -> bool:
    return not (
        (name in ("div", "mod") and x[1] == 0)
        or (name == "atan2" and x[0] == 0 and x[1] <= 0)  # by the sign of zero
        or (name == "log" and x[0] <= 0)
        or (name == "sqrt" and x[0] < 0)
        or (name == "clip" and x[1] > x[2])
    )


NUMERIC = [n for n in OPERATIONS if n not in ("and", "or", "not", "pow", "real_pow")]
COMPUTED = [(n, c) for n in NUMERIC for c in ("scalar", "numpy")]
PROPAGATING = ("min", "max", "sign", "clip", "abs", "neg", "square", "add", "sub", "mul", "div")


def evaluate(name: str, column: str, x: tuple[float, ...]) -> float | bool:
    """One operation, computed by its spelling in a column."""
    spelling = OPERATIONS[name].spellings[column]
    space: dict[str, object] = {"np": np, "math": math, "real": np.float64, "p": np.zeros(1)}
    space["dtype"] = np.float64
    for text in definitions("numpy", spelling.helper.split()):
        exec(text, space)
    arguments = [v if column == "scalar" else np.array([v]) for v in x]
    if name == "select":
        arguments[0] = x[0] > 0 if column == "scalar" else np.array([x[0] > 0])
    if name == "fill":
        arguments = list(x)
    space |= {f"x{i}": v for i, v in enumerate(arguments)}
    result = eval(spelling.text.format(*(f"x{i}" for i in range(len(x)))), space)
    return result if column == "scalar" else result[0]


@pytest.mark.parametrize(("name", "column"), COMPUTED)
def test_a_column_computes_what_the_operation_means(name: str, column: str) -> None:
    operation = OPERATIONS[name]
    points = [(a, b, c) for a in POINTS for b in POINTS for c in POINTS[::3]]
    for point in dict.fromkeys(x[: operation.arity] for x in points):
        if not defined(name, point):
            continue
        fractions = [Fraction(v) for v in point]
        if name == "select":
            fractions[0] = Fraction(point[0] > 0)
        with mpmath.workdps(40):
            wanted = exact(name, *fractions)
            got = evaluate(name, column, point)
            if isinstance(wanted, bool):
                assert bool(got) is wanted
                continue
            rounded = float(wanted)
        if operation.rounding == "bounded":
            assert abs(float(got) - rounded) <= operation.ulps * math.ulp(rounded)
        else:
            assert float(got) == rounded, f"{name}{point}"


@pytest.mark.parametrize(("name", "column"), [c for c in COMPUTED if c[0] in PROPAGATING])
def test_nan_propagates_from_every_argument(name: str, column: str) -> None:
    arity = OPERATIONS[name].arity
    for place in range(arity):
        point = tuple(math.nan if i == place else 1.0 for i in range(arity))
        assert math.isnan(float(evaluate(name, column, point))), f"{name}{point}"


@pytest.mark.parametrize("column", ["scalar", "numpy"])
@pytest.mark.parametrize("name", ["min", "max", "sign", "clip"])
def test_zero_results_are_positive(name: str, column: str) -> None:
    for point in [(-0.0, 0.0, 0.0), (0.0, -0.0, -0.0), (-0.0, -0.0, -0.0)]:
        result = float(evaluate(name, column, point[: OPERATIONS[name].arity]))
        assert math.copysign(1, result) == 1, f"{name}{point}"


@pytest.mark.parametrize("a", [False, True])
@pytest.mark.parametrize("b", [False, True])
def test_connectives_are_those_of_logic(a: bool, b: bool) -> None:
    for name, wanted in {"and": a and b, "or": a or b, "not": not a}.items():
        row = OPERATIONS[name]
        space = {"x": a, "y": b, "X": np.array([a]), "Y": np.array([b])}
        assert eval(row.spellings["scalar"].text.format("x", "y"), space) is wanted
        assert eval(row.spellings["numpy"].text.format("X", "Y"), space)[0] == wanted


KERNEL_RUN = """
import json, sys, torch
sys.path.insert(0, sys.argv[1])
import everything
p, g = (torch.tensor(x, dtype=torch.float32) for x in json.load(sys.stdin))
everything.step(p, g, {}, 3, lr=0.5)
print(json.dumps([float(x).hex() for x in p]))
"""


@pytest.mark.skipif(
    find_spec("triton") is None or find_spec("torch") is None, reason="needs Triton and torch"
)
def test_the_triton_column_computes_what_the_numpy_column_computes(tmp_path: object) -> None:
    spec = small(EVERYTHING, name="everything")
    with open(f"{tmp_path}/everything.py", "w") as stream:
        stream.write(render(lower(spec), "triton"))
    p = np.float32([a for a in POINTS for _ in POINTS])
    g = np.float32([b for _ in POINTS for b in POINTS])
    done = subprocess.run(
        [sys.executable, "-c", KERNEL_RUN, str(tmp_path)],
        input=json.dumps([p.tolist(), g.tolist()]),
        env=environment({"TRITON_INTERPRET": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = np.float32([float.fromhex(x) for x in json.loads(done.stdout)])
    with np.errstate(all="ignore"):
        expected, _ = module(render(lower(spec), "numpy")).step(p, g, {}, 3, lr=0.5)
    # exp and log are the interpreter's own NumPy calls, so even they agree.
    assert np.array_equal(got, expected, equal_nan=True)


# Printing: what was grouped stays grouped.

NAMES = ("x", "y", "z")
_BINARY = {"add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "div": ast.Div, "pow": ast.Pow}
_COMPARE = {"lt": ast.Lt, "le": ast.LtE, "gt": ast.Gt, "ge": ast.GtE, "eq": ast.Eq, "ne": ast.NotEq}


def apply(op: str, *args: Value, kind: Kind = Kind.SCALAR) -> Value:
    return Value(op, args, kind)


@st.composite
def trees(draw: st.DrawFn, kind: Kind, depth: int = 4) -> Value:
    """Random numeric expressions of one kind."""
    operations = ["name", "number", "add", "sub", "mul", "div", "neg", "abs", "select"]
    op = draw(st.sampled_from(operations if depth else ["name", "number"]))
    if op == "name":
        return Value("name", (), kind, draw(st.sampled_from(NAMES)))
    if op == "number":
        return Value("number", (), kind, draw(st.sampled_from(("1", "2.5", "1e-08"))))
    if op == "div" and kind is Kind.SCALAR:
        op = draw(st.sampled_from(["div", "pow"]))
    arms = [draw(trees(kind, depth - 1)) for _ in range(OPERATIONS[op].arity - (op == "select"))]
    return apply(
        op, *([draw(conditions(kind, depth - 1))] if op == "select" else []), *arms, kind=kind
    )


@st.composite
def conditions(draw: st.DrawFn, kind: Kind, depth: int) -> Value:
    """Random conditions on values of one kind."""
    op = draw(st.sampled_from([*sorted(_COMPARE), *(["and", "or", "not"] if depth > 0 else [])]))
    below = conditions if op in ("and", "or", "not") else trees
    arms = [draw(below(kind, max(0, depth - 1))) for _ in range(OPERATIONS[op].arity)]
    return apply(op, *arms, kind=kind)


def reread(node: ast.expr) -> str:
    """A Python syntax tree in the notation that values print in."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant():
            return ast.unparse(node)
        case ast.BinOp(left=a, op=op, right=b):
            names = {v: k for k, v in _BINARY.items()} | {ast.BitAnd: "and", ast.BitOr: "or"}
            return f"({names[type(op)]} {reread(a)} {reread(b)})"
        case ast.UnaryOp(op=op, operand=a):
            names = {ast.USub: "neg", ast.Not: "not", ast.Invert: "not"}
            return f"({names[type(op)]} {reread(a)})"
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            names = {v: k for k, v in _COMPARE.items()}
            return f"({names[type(op)]} {reread(a)} {reread(b)})"
        case ast.BoolOp(op=op, values=values):
            name = "and" if isinstance(op, ast.And) else "or"
            text = reread(values[0])
            for value in values[1:]:
                text = f"({name} {text} {reread(value)})"
            return text
        case ast.IfExp(test=c, body=a, orelse=b):
            return f"(select {reread(c)} {reread(a)} {reread(b)})"
        case ast.Call(func=f, args=args):
            name = ast.unparse(f).removeprefix("np.").replace("where", "select")
            return f"({name} {' '.join(map(reread, args))})"
    raise AssertionError(ast.dump(node))


@settings(max_examples=400)
@given(trees(Kind.SCALAR))
def test_host_text_parses_back_to_the_same_tree(value: Value) -> None:
    text = HOST.value(value)
    assert reread(ast.parse(text, mode="eval").body) == str(value)


@settings(max_examples=400)
@given(trees(Kind.TENSOR))
def test_numpy_text_parses_back_to_the_same_tree(value: Value) -> None:
    text = Writer(PYTHON, "numpy").value(value)
    assert reread(ast.parse(text, mode="eval").body) == str(value)


@settings(max_examples=200)
@given(trees(Kind.SCALAR), st.sampled_from([0, 60, 95]))
def test_a_statement_broken_into_lines_keeps_its_tree(value: Value, indent: int) -> None:
    from stepforge.lowering.kernel import Let

    lines = list(HOST.assignment(Let("v" * (1 + indent), value), ""))
    (statement,) = ast.parse("\n".join(lines)).body
    assert isinstance(statement, ast.Assign)
    assert reread(statement.value) == str(value)


def test_numbers_are_written_as_formatters_write_them() -> None:
    written = {
        "1.": "1.0",
        ".5": "0.5",
        "1E5": "1e5",
        "1e+5": "1e5",
        "True": "True",
        "1e-08": "1e-08",
    }
    for text, formatted in written.items():
        assert HOST.value(Value("number", text=text)) == formatted
