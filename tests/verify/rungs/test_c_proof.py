"""c-proof (R10) on C files as built, on edited ones, and its reading of C beside a C compiler."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import stock

from stepforge.language.reader import loads
from stepforge.language.spec import Spec
from stepforge.mutate import c_texts
from stepforge.mutate.planted import SPEC
from stepforge.output import emit
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.inspection import inspect
from stepforge.verify.run import tasks
from stepforge.verify.rungs.levels import DTYPES, MIXED, Level
from stepforge.verify.rungs.registry import RUNGS
from stepforge.verify.rungs.task import Task
from stepforge.verify.terms import terms
from stepforge.verify.terms.c_rule import element
from stepforge.verify.terms.c_text import CFile
from stepforge.verify.terms.evaluation import evaluate

MANY = """
name = "many"
title = "Many"
summary = "Names that C has, and more options than are compiled one by one."
reference = "None"

[hyperparameters]
long = { default = 0.5, domain = "0 < long <= 1", doc = "H." }

[options]
int    = { default = false, doc = "O." }
n      = { default = false, doc = "O." }
i      = { default = false, doc = "O." }
at     = { default = false, doc = "O." }
static = { default = false, doc = "O." }

[state]
double = { init = 0, when = "int", doc = "S." }

[rule]
update = '''
numbers = g*long
if int:
    double = double + numbers
    numbers = double
if n:
    numbers = -numbers
if i:
    numbers = numbers/2
if at:
    numbers = abs(numbers)
if static:
    numbers = numbers + long
p = p - numbers
'''
"""


def built(spec: Spec, folder: Path) -> Path:
    emit.build([spec], folder, whole=False)
    return folder


def verdict(spec: Spec, folder: Path, options: dict[str, bool], *dtypes: str) -> Verdict:
    task = Task(RUNGS["R10"], spec, options, folder, 0, ("sm_90",), dtypes or ("fp32",))
    return tasks.run(task)


@pytest.mark.parametrize("text", [SPEC, MANY], ids=["dense", "many"])
def test_everything_that_the_language_has_is_proved(text: str, tmp_path: Path) -> None:
    spec = loads(text, "made_up.toml")[0]
    folder = built(spec, tmp_path)
    for options in spec.option_sets():
        found = verdict(spec, folder, options, *DTYPES, *MIXED[::9])
        assert (found.status, found.strength) == (Status.PROVED, "bits"), (options, found.detail)


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "asgd", "kahan_adamw"])
def test_all_option_sets_and_types_of_stock_specs_are_proved(name: str, tmp_path: Path) -> None:
    spec = stock(name)
    folder = built(spec, tmp_path)
    for options in spec.option_sets():
        found = verdict(spec, folder, options, *DTYPES, *MIXED)
        assert (found.status, found.strength) == (Status.PROVED, "bits"), (options, found.detail)


UPDATE = "p = p - lr_over_one_minus_beta1_to_t * m / (real_sqrt(v_hat) + eps);"
V = "v = beta2 * v + one_minus_beta2 * (g * g);"
M = "m = beta1 * m + one_minus_beta1 * g;"
WRONG = {
    "sign": (UPDATE, UPDATE.replace("p - ", "p + ")),
    "swapped": (UPDATE, UPDATE.replace("* m /", "* v_hat /").replace("sqrt(v_hat)", "sqrt(m)")),
    "brackets": (UPDATE, UPDATE.replace("(real_sqrt(v_hat) + eps)", "real_sqrt(v_hat) + eps")),
    "grouped": (V, V.replace("(g * g)", "g * g")),
    "double": (M, M.replace("beta1 * m", "0.9 * m")),
    "stale": (V, ""),
    "constant": (UPDATE, UPDATE.replace("eps", "(real)1e-08")),
    "within the root": (UPDATE, UPDATE.replace("(v_hat) + eps", "(v_hat + eps)")),
    "one ulp": (V, V.replace("(g * g)", "(g * g * (real)1.00000012)")),
    "integers": (UPDATE, UPDATE.replace("lr_over", "1 / 2 * lr_over")),
    "early": (f"{M}\n        {V}", f"{V.replace('g * g', 'm * m')}\n        {M}"),
    "guard": (UPDATE, f"{UPDATE[:-1]} + (g == (real)0.6180339 ? 1 : 0);"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_edited_rule_is_refuted_with_its_line(name: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / "adamw.c"
    old, new = WRONG[name]
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    looked = inspect(spec, tmp_path)
    assert (looked.verdict.status, looked.steps) == (Status.TESTED, True), "it may be edited"
    found = verdict(spec, tmp_path, next(spec.option_sets()))
    assert found.status is Status.REFUTED, found
    assert found.counterexample is not None
    line = text[: text.index(old)].count("\n") + 1
    if new:
        assert re.match(rf"{path}:{line}: ", found.counterexample.generated_line), found
    assert "specs/adamw.toml" in found.counterexample.spec_line


REFUSED = {
    "division by zero": (UPDATE, UPDATE.replace("eps", "1 / 0"), "`/` of two integers"),
    "octal": (UPDATE, UPDATE.replace("eps", "010"), "the literal `010`"),
    "unset": (M, f"m = v_hat; {M}", "reads `v_hat`, which may have no value yet"),
    "constant": (M, f"{M} eps = 0;", "assigns `eps`, which is constant"),
    "double root": (M, M.replace("* g", "* real_sqrt(2)"), "`real_sqrt` of integers"),
    "declared inside": (M, f"if (amsgrad) {{ real x = 1; m = x; }} {M}", ""),
    "comma": (M, "m = (1, g);", "the expression `exprlist`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rule_may_do_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / "adamw.c"
    old, new, what = REFUSED[name]
    text = path.read_text()
    path.write_text(text.replace(old, new))
    found = verdict(spec, tmp_path, {"amsgrad": True, "maximize": False})
    assert found.status in (Status.REFUTED, Status.UNSUPPORTED)
    assert what in found.detail
    assert f"{path}:{text[: text.index(old)].count(chr(10)) + 1}:" in found.detail, found.detail


SAME = {
    "commuted": (V, "v = one_minus_beta2 * (g * g) + v * beta2;"),
    "layout": (UPDATE, UPDATE.replace(" - ", "\n  -  ").replace("eps", "/* small */ eps // so\n")),
    "a name more": (M, f"real x = one_minus_beta1 * g; {M.replace('one_minus_beta1 * g', 'x')}"),
    "added": (UPDATE, UPDATE.replace("p = p - ", "p -= ")),
    "squared": (V, V.replace("(g * g)", "real_square(g)")),
    "brackets": (M, "{ m = ((beta1) * m) + (one_minus_beta1 * g); }"),
    "an exact double": (V, V.replace("(g * g)", "(g * g * (real)1.0)")),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_rule_in_other_words_passes(name: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / "adamw.c"
    old, new = SAME[name]
    path.write_text(path.read_text().replace(old, new))
    looked = inspect(spec, tmp_path)
    assert looked.verdict.status is Status.TESTED, looked.verdict.detail
    for options in spec.option_sets():
        found = verdict(spec, tmp_path, options, *DTYPES)
        assert (found.status, found.strength) == (Status.PROVED, "bits"), found.detail


AROUND = {
    "load": ("real g = g_ptr[i];", "real g = p_ptr[i];"),
    "store": ("m_ptr[i] = m;", "m_ptr[i] = v;"),
    "number": ("(real)numbers[2]", "(real)numbers[4]"),
    "loop": ("i < n", "i <= n"),
    "call": ("numbers, 1, 0)", "numbers, 0, 0)"),
    "host": ("1.0 - beta1", "1.0 + beta1"),
    "access": ("{ 3, 1,", "{ 3, 3,"),
    "type": ("#define real double", "#define real float"),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_surrounds_a_rule_has_to_be_as_built(name: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / "adamw.c"
    old, new = AROUND[name]
    text = path.read_text()
    line = text[: text.index(old)].count("\n") + 1
    path.write_text(text.replace(old, new, 1))
    looked = inspect(spec, tmp_path)
    assert (looked.verdict.status, looked.steps, looked.runs) == (Status.REFUTED, False, True)
    assert f"{path}:{line} differs from what build writes" in looked.verdict.detail
    assert new.split()[0] in looked.verdict.detail
    groups = tasks.groups(spec, tmp_path, 0, Level.fast, backends=(), steps=looked.steps)
    assert "R10" not in {task.rung.number for group in groups for task in group}
    if name != "type":  # the text as it is included is the business of the files' check alone
        found = verdict(spec, tmp_path, {"amsgrad": True, "maximize": False})
        assert found.status is Status.REFUTED, found


def test_a_caller_that_hands_over_something_else_is_found(tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "cpu" / "adamw.py"
    text = path.read_text()
    for old, new in (
        ('state["m"], state["v"]', 'state["v"], state["m"]'),
        ("bool(maximize) << 1", "bool(maximize) << 2"),
        ("1 - beta1\n", "1 + beta1\n"),
        ('_load("adamw")', '_load("adam")'),
        ('("p", "g", "m", "v", "v_max")\n_WRITTEN', '("p", "g", "v", "m", "v_max")\n_WRITTEN'),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        looked = inspect(spec, tmp_path)
        assert (looked.verdict.status, looked.steps) == (Status.REFUTED, False)
        found = verdict(spec, tmp_path, {"amsgrad": False, "maximize": True})
        assert found.status is Status.REFUTED, (new, found)


@pytest.mark.parametrize("file", ["_stepforge.h", "_functions.h", "_stepforge.c"])
def test_an_edit_of_what_all_c_files_share_fails(file: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / file
    text = path.read_text()
    path.write_text(text.replace("/* ", "/* Well: ", 1))
    assert inspect(spec, tmp_path).steps, "comments do not count"
    path.write_text(text.replace("    return ", "    return -", 1))
    looked = inspect(spec, tmp_path)
    assert (looked.verdict.status, looked.steps) == (Status.REFUTED, False)
    assert f"{file}:" in looked.verdict.detail


NEVER = {
    "a loop": "while (1) { m = m; }",
    "a call": "system(0);",
    "an address": "*(&m + 5) = 0;",
    "another element": "p_ptr[i + 1] = 0;",
    "the preprocessor": "\n#define g m\n",
    "an ending": "} } int f(void) { { return 1;",
    "a jump": "goto out;",
    "assembly": 'asm("nop");',
}


@pytest.mark.parametrize("name", NEVER)
def test_what_could_touch_anything_else_is_never_run(name: str, tmp_path: Path) -> None:
    spec = stock("adamw")
    path = built(spec, tmp_path) / "c" / "adamw.c"
    path.write_text(path.read_text().replace(M, NEVER[name] + M))
    looked = inspect(spec, tmp_path)
    assert (looked.verdict.status.passed, looked.steps, looked.runs) == (False, False, True)
    assert f"{path}:" in looked.verdict.detail


def test_a_folder_without_c_files_has_no_such_rung(tmp_path: Path) -> None:
    spec = stock("adamw")
    built(spec, tmp_path)
    for file in ("c/adamw.c", "cpu/adamw.py"):
        found = {t.rung.number for g in tasks.groups(spec, tmp_path, 0, Level.fast) for t in g}
        assert ("R10" in found) is (file == "c/adamw.c")
        (tmp_path / file).unlink()


HEAD = """#ifdef real
STEPFORGE_INLINE void update(int64_t n, real *restrict p_ptr, const real *restrict x_ptr,
    const real *restrict y_ptr, const double *numbers)
{
    const real a = (real)numbers[0];
    const int c = numbers[1] != 0;
    STEPFORGE_LOOP
    for (int64_t i = 0; i < n; i++) {
        real x = x_ptr[i];
        real y = y_ptr[i];
        real p;
"""
TAIL = """        p_ptr[i] = p;
    }
}
static void step(int64_t n, void *const *at, const double *numbers, unsigned options, int stored)
{
    update(n, at[0], at[1], at[2], numbers);
}
#else
#endif
"""
LEAVES = ("x", "y", "a", "3", "0.1", "2.5", "(real)0.1", "numbers[0]", "1e-3", "7")


def expression(rng: np.random.Generator, depth: int) -> str:
    """Random C of floats, doubles, integers and conditions; every operation has a float."""

    def one() -> str:
        return expression(rng, depth - 1)

    def floats() -> str:
        return f"({rng.choice(['x', 'y', '0.3'])} + {one()})"

    if depth == 0:
        return str(rng.choice(LEAVES))
    match rng.integers(9):
        case 0 | 1:
            return f"{floats()} * {one()}"
        case 2:
            return f"{one()} - {floats()}"
        case 3:
            return f"{floats()} / {floats()}"
        case 4:
            return f"({condition(rng, depth - 1)} ? {one()} : {floats()})"
        case 5:
            return f"(real){floats()}"
        case 6:
            return f"real_sqrt({floats()})"
        case 7:
            return f"real_max({floats()}, {one()})"
    return f"-{floats()} + ({condition(rng, depth - 1)})"


def condition(rng: np.random.Generator, depth: int) -> str:
    match rng.integers(5):
        case 0:
            return f"{expression(rng, depth)} < x * {rng.choice(LEAVES)}"
        case 1:
            return f"(x > y) & !(y > {rng.choice(LEAVES)})"
        case 2:
            return "c && x < 1 || y"
        case 3:
            return "c != 0"
    return f"x * 2 {rng.choice(['<=', '>=', '==', '!='])} {expression(rng, depth)}"


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_c_is_read_as_a_compiler_reads_it(kind: str, tmp_path: Path) -> None:
    """Conversions of floats, doubles, integers and conditions, and the order of operators."""
    built(stock("sgd"), tmp_path)
    rng = np.random.default_rng(7)
    texts = [f"        p = {expression(rng, 3)};\n" for _ in range(120)]
    real, dtype = {"f32": ("float", np.float32), "f64": ("double", np.float64)}[kind]
    code = f'#include "_stepforge.h"\n#define real {real}\n'
    for k, text in enumerate(texts):
        body = (HEAD + text + TAIL).replace("#ifdef real\n", "").replace("#else\n#endif\n", "")
        code += re.sub(r"\b(update|step)\(", rf"\g<1>{k}(", body).replace("static void", "void")
    source, out = tmp_path / "c" / "random.c", tmp_path / "random.so"
    source.write_text(code)
    flags = ["-O1", "-ffp-contract=off", "-fPIC", "-shared", "-fopenmp-simd", "-w"]
    subprocess.run(["cc", *flags, "-o", out, source, "-lm"], check=True)
    library = ctypes.CDLL(str(out))
    x, y = (rng.normal(size=64).astype(dtype) for _ in range(2))
    x[:8] = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 1e-30, 3.0]
    kinds = {"p": kind, "x": kind, "y": kind}
    for c in (0.0, 1.0):
        numbers = (ctypes.c_double * 2)(0.1, c)
        for k, text in enumerate(texts):
            p = np.empty_like(x)
            at = (ctypes.c_void_p * 3)(*(v.ctypes.data for v in (p, x, y)))
            library[f"step{k}"](ctypes.c_int64(x.size), at, numbers, 0, 0)
            given = [terms.constant(0.1, "f64"), terms.constant(c, "f64")]
            found = element(CFile(HEAD + text + TAIL), ("p", "x", "y"), kinds, given, 0)
            with np.errstate(all="ignore"):
                term = found.stores["p"]
                got = np.broadcast_to(evaluate(term, {"x": x, "y": y}), x.shape)
            assert got.dtype == dtype
            assert np.array_equal(got, p, equal_nan=True), text
            assert np.array_equal(np.signbit(got), np.signbit(p)) or np.isnan(p).any(), text


def test_planted_faults_are_refuted_and_rewritings_proved(tmp_path: Path) -> None:
    """Those of `mutate --level c`; what changes nothing under these options is proved as well."""
    spec = stock("kahan_adamw")
    path = built(spec, tmp_path) / "c" / "kahan_adamw.c"
    text = path.read_text()
    refuted = set()
    faults = [*c_texts.mutants(spec, {}, text)]
    for mutant in (*faults[::3], *c_texts.equivalents(spec, {}, text)):
        path.write_text(mutant.files["c"])
        found = verdict(spec, tmp_path, {}, *DTYPES)
        wanted = Status.PROVED if mutant.kind == "EQ" else Status.REFUTED
        assert found.status is wanted, (mutant.name, found)
        refuted |= {mutant.kind} - {"EQ"}
    assert refuted >= {*"ABCEFGIJ"}
