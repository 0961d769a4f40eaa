"""Generated Python as terms: NumPy's arithmetic on random expressions, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from catalogue import FEW
from support import ROOT, stock

from stepforge.language.spec import Spec
from stepforge.verify.rungs import proof
from stepforge.verify.terms import reference_proof, rule, terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.lifted import Unsupported
from stepforge.verify.terms.source_terms import Integer, Source, Value
from stepforge.verify.terms.terms import apply

HEAD = "import math\nimport numpy as np\n\n\n"
ARRAYS = {"x": np.float32, "y": np.float32, "z": np.float64, "h": np.float16}
KINDS = {np.float16: "f16", np.float32: "f32", np.float64: "f64"}
WEAK = ("a", "b", "3", "0.1", "1e-8", "-2.5", "math.sqrt(a)", "(a - 0.1)", "float(b)")
POINTS = 64


def numeric(rng: np.random.Generator, depth: int, arrays: list[str]) -> str:
    """A random expression of NumPy and of Python's own numbers."""
    if depth == 0:
        return str(rng.choice([*arrays, *arrays, *WEAK]))

    def one() -> str:
        return numeric(rng, depth - 1, arrays)

    match rng.integers(10):
        case 0 | 1:
            return f"({one()} + {one()})"
        case 2 | 3:
            return f"({one()} * {one()})"
        case 4:
            return f"({one()} - {one()})"
        case 5:
            return f"({one()} / ({rng.choice(arrays)} + 7.3))"
        case 6:
            return f"np.sqrt(np.abs({one()}))"
        case 7:
            return f"np.maximum({one()}, {one()} + 0.37)"
        case 8:
            return f"(-{one()})"
    return f"np.where({one()} > {one()}, {one()}, {one()})"


def lifted(expression: str, arrays: list[str]) -> terms.Term:
    source = Source(f"{HEAD}def step({', '.join([*arrays, 'a', 'b'])}):\n    return {expression}\n")
    given = {name: Value(terms.load(name, KINDS[ARRAYS[name]])) for name in arrays}
    given |= {name: Value(terms.scalar(name), weak=True) for name in ("a", "b")}
    return source.number(source.run("step", given), source.functions["step"]).term


def values(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {
        name: (rng.normal(size=POINTS) * 2.0 ** rng.integers(-6, 6, POINTS)).astype(kind)
        for name, kind in ARRAYS.items()
    }
    return {**found, "a": float(rng.uniform(0.2, 4)), "b": float(rng.uniform(-4, 4))}


def computed(expression: str, at: dict[str, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        result = eval(expression, {"np": np, "math": math}, at)  # the test's own text
        return np.broadcast_to(np.asarray(result), (POINTS,))


@pytest.mark.parametrize("arrays", [["x", "y"], ["x", "z"], ["h"], ["z"], ["x", "h"]])
def test_lifted_expressions_have_the_bits_of_numpy(arrays: list[str]) -> None:
    rng = np.random.default_rng(len(arrays))
    changed = 0
    for number in range(150):
        expression = numeric(rng, 3, arrays)
        term, at = lifted(expression, arrays), values(number)
        expected = computed(expression, at)
        got = np.broadcast_to(evaluate(term, at), (POINTS,))
        assert got.dtype == expected.dtype, expression
        np.testing.assert_array_equal(got, expected, err_msg=expression)
        # Had Python's numbers the type of an array, other bits would come out now and then.
        strong = {name: np.float64(v) if name in "ab" else v for name, v in at.items()}
        changed += not np.array_equal(computed(expression, strong), expected, equal_nan=True)
    assert changed > 0 or arrays == ["z"]


STATEMENTS = {
    "def step(x):\n    for _ in range(2):\n        x = x + x\n    return x": (6, "for"),
    "def step(x):\n    while x:\n        pass\n    return x": (6, "while"),
    "def step(x):\n    return [v for v in x]": (6, "`[v for v in x]`"),
    "def step(x):\n    global y\n    return x": (6, "global"),
    "CACHE = {}\n\n\ndef step(x):\n    return CACHE.setdefault('x', x)": (9, "setdefault"),
    "def step(x):\n    return np.float_power(x, x)": (6, "float_power"),
    "def step(x):\n    return x[0]": (6, "an index"),
    "def step(x):\n    return x @ x": (6, "operator"),
    "def step(x):\n    return y": (6, "`y`"),
    "def step(x):\n    return step(x)": (0, ""),
    "def step(x):\n    try:\n        return x\n    except ValueError:\n        pass": (6, "try"),
    "def step(x):\n    import os\n    return x": (6, "import"),
    "def step(x):\n    return x ** x": (6, "operator"),
    "def step(x):\n    return x if x > 0 else -x": (6, "truth"),
    "def step(x):\n    if x > 0:\n        return x\n    return -x": (6, "truth"),
    "def step(x, y):\n    return x": (5, "`y`"),
    "print('at import')": (5, "outside of functions"),
    "def step(x):\n    return x if": (6, "not Python"),
    "def step(x):\n    return exec('x')": (6, "`exec`"),
    "def step(x):\n    return np.random.normal() * x": (6, "normal"),
    "def step(x):\n    return x * 100000000000000000000": (6, "no number"),
    "def step(x):\n    x += 1\n    return x": (6, "in place"),
    "def step(x):\n    if (x := 2.0) < 1:\n        raise ValueError\n    return x": (6, "x := 2.0"),
    "def step(x):\n    if x.fill(0):\n        raise ValueError\n    return x": (6, "fill"),
    "def f(x, y=2.0):\n    return y\ndef step(x):\n    return f(x)": (8, "f(x)"),
    "def f(x, *, y=2.0):\n    return y\ndef step(x):\n    return f(x)": (8, "f(x)"),
    "def step(x):\n    return x\nstep = abs": (7, "`step` is bound twice"),
    "def step(x):\n    return x\ndef step(x):\n    return -x": (7, "`step` is bound twice"),
    "a = 1.0\ndef step(x):\n    b = a\n    a = 2.0\n    return b": (7, "`a`"),
    "def step(x):\n    return x * (0.5 or 2.0)": (6, "no condition"),
    "def step(x):\n    return x * (True and 0.5)": (6, "no condition"),
    "def step(x):\n    return ((x > 0) + (x > 1)) * x": (6, "conditions of elements"),
    "def step(x):\n    return (x > 0) * 9007199254740992": (6, "conditions of elements"),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_what_is_not_understood_is_unsupported_with_its_line(text: str) -> None:
    line, what = STATEMENTS[text]
    with pytest.raises(Unsupported) as caught:
        Source(HEAD + text + "\n").run("step", {"x": Value(terms.load("x", "f32"))})
    assert what in str(caught.value)
    assert caught.value.line == line or not line


def test_numpy_and_python_compute_otherwise_with_what_is_not_understood() -> None:
    """Conditions are no numbers there, and `or` gives an operand."""
    x = np.asarray([2.0], np.float32)
    assert ((x > 0) + (x > 1)) * x == 2 != (1 + 1) * 2
    assert ((x > 0) * 9007199254740992) * 4096 == 0 != 9007199254740992 * 4096
    assert (x[0] or 3.0) == 2 != float(True)


def test_an_integer_is_computed_with_once_it_is_a_float() -> None:
    """Python's integers are not rounded, as float64 numbers are."""
    given = {"t": Integer(terms.scalar("t"))}
    for use in ("t * t", "t + 0.5", "t > 1", "t if t else 1.0"):
        with pytest.raises(Unsupported):
            Source(f"def step(t):\n    return {use}\n").run("step", given)
    text = "def step(t):\n    t = float(t)\n    return t * t\n"
    assert Source(text).run("step", given).term is apply("mul", *2 * [terms.scalar("t")])


def test_understood_statements_are_no_unsupported_ones() -> None:
    text = f"{HEAD}def f(x, y):\n    x += y\n    return x\n\n\ndef step(x):\n    return f(x, 1)\n"
    found = Source(text).run("step", {"x": Value(terms.scalar("x"), weak=True)})
    assert found.term is apply("add", terms.scalar("x"), terms.constant(1.0, "f64"))


def test_a_name_that_a_function_assigns_is_never_one_of_the_file() -> None:
    """In Python it has no value where the branch was not taken, and not that of the file."""
    text = "a = 1.0\ndef step(x):\n    if x > 5:\n        a = 1.0\n    return a\n"
    with pytest.raises(Unsupported, match="`a` may have no value"):
        Source(text).run("step", {"x": Value(terms.scalar("x"), weak=True)})


def test_both_branches_of_an_open_choice_are_joined() -> None:
    body = "    if a > 1:\n        x = x * a\n    else:\n        x = -x\n    return x\n"
    text = f"def step(x, a):\n{body}"
    given = {"x": Value(terms.load("x", "f32")), "a": Value(terms.scalar("a"), weak=True)}
    term = Source(text).run("step", given).term
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(evaluate(term, {"x": x, "a": 3.0}), 3 * x)
    np.testing.assert_array_equal(evaluate(term, {"x": x, "a": 0.5}), -x)


# NumPy files against the rule.


def reference(
    spec: Spec, text: str, dtype: str = "fp32"
) -> tuple[dict[str, terms.Term], dict[str, terms.Term]]:
    """Lifted values of the first option set's file, and what the rule says."""
    options = next(spec.option_sets())
    kinds = proof.storage(spec, options, dtype)
    want = rule.expected(spec, options, kinds)  # first: it makes its formulas known
    got = reference_proof.values(Source(text), spec, options, kinds)
    return {**got.stores, **got.scalars}, {**want.stores, **want.scalars}


@pytest.mark.parametrize("dtype", ["fp32", "fp64", "bf16", "fp16"])
@pytest.mark.parametrize("name", FEW)
def test_the_numpy_files_are_the_rule_to_the_bit(name: str, dtype: str) -> None:
    text = (ROOT / "generated" / "numpy" / f"{name}.py").read_text()
    got, wanted = reference(stock(name), text, dtype)
    assert set(got) == set(wanted)
    assert all(got[tensor] is wanted[tensor] for tensor in wanted)


@pytest.mark.parametrize(
    ("old", "new", "tensor"),
    [
        ("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)", "p"),
        ("beta1 * m", "0.9 * m", "m"),
        ("(1 - beta2)", "np.float32(1 - beta2)", ""),
        ("(1 - beta2)", "(1.0000000000000002 - beta2)", "v"),
        ("beta2 * v", "beta1 * v", "v"),
    ],
)
def test_another_formula_is_another_term(old: str, new: str, tensor: str) -> None:
    text = (ROOT / "generated" / "numpy" / "adamw.py").read_text()
    assert old in text
    got, wanted = reference(stock("adamw"), text.replace(old, new))
    assert {name for name in wanted if got[name] is not wanted[name]} >= {tensor} - {""}
    got, wanted = reference(stock("adamw"), text.replace(old, new), "fp64")
    assert any(got[name] is not wanted[name] for name in wanted)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('    new["m"] = ', '    new["q"] = ', "`m`|`q`"),
        ("return p.astype(dtype), new", "return new, p", "does not return"),
        ("return p.astype(dtype), new", "return p", "does not return"),
        ("def step(", "def stride(", "no function `step`"),
    ],
)
def test_a_reference_that_returns_something_else_is_unsupported(
    old: str, new: str, what: str
) -> None:
    text = (ROOT / "generated" / "numpy" / "lion.py").read_text()
    assert old in text
    with pytest.raises(Unsupported, match=what):
        reference(stock("lion"), text.replace(old, new))


def test_nothing_but_a_refusal_may_depend_on_whether_domains_are_checked() -> None:
    """So that what is proved holds for callers of both kinds."""
    text = (
        "def step(x, *, _checked=True):\n"
        "    if _checked and not x >= 0:\n"
        "        raise ValueError('no')\n"
        "    return x\n"
    )
    assert Source(text).run("step", {"x": 2.0}) == 2.0
    uses = ("raise ValueError('no')", "x = -x"), ("return x", "return x if _checked else 1.0")
    for edit in uses:
        with pytest.raises(Unsupported):
            Source(text.replace(*edit)).run("step", {"x": 2.0})
