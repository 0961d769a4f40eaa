"""A backend that only this file knows of, in a language with braces: everything walks the registry.

Its files are C, a function for one element of a tensor; its column of operations is one more that
every row gets here.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from catalogue import FEW
from support import Command, numpy_of, small, stock

from stepforge.backends import aside
from stepforge.backends.python import condition
from stepforge.backends.registry import BACKENDS, Backend, completed
from stepforge.backends.render import environment, render
from stepforge.backends.syntax import Syntax
from stepforge.backends.writer import Writer
from stepforge.commands.options import complete_backend, complete_view
from stepforge.fuzz import front
from stepforge.language.names import author_names
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Kernel, lets
from stepforge.lowering.lower import lower
from stepforge.operations import operation
from stepforge.operations.operation import AND, COLUMNS, OR, TERNARY, UNARY, Spelling, infix
from stepforge.operations.table import OPERATIONS
from stepforge.output import emit, manifest
from stepforge.verify.certificate import Status
from stepforge.verify.files.generated import LAUNCHERS
from stepforge.verify.files.inspection import inspect

RESERVED = frozenset({"double", "int", "register", "void", "return", "if", "else", "exp", "pow"})
SPELLINGS = {
    "pow": Spelling("pow({0}, {1})"), "real_pow": Spelling("pow({0}, {1})"),
    "fill": Spelling("({0})"), "sqrt": Spelling("sqrt({0})"), "abs": Spelling("fabs({0})"),
    "sign": Spelling("sign({0})"), "min": Spelling("minimum({0}, {1})"),
    "max": Spelling("maximum({0}, {1})"), "smaller": Spelling("minimum({0}, {1})"),
    "larger": Spelling("maximum({0}, {1})"), "exp": Spelling("exp({0})"),
    "log": Spelling("log({0})"), "clip": Spelling("minimum(maximum({0}, {1}), {2})"),
    "select": Spelling("{0} ? {1} : {2}", TERNARY), "and": infix("&&", AND), "or": infix("||", OR),
    "not": infix("!", UNARY, 1),
}  # fmt: skip
"""The column; what is not in it is spelled as Python spells it."""
TEMPLATES = {
    "plain.c.jinja": """\
{{ header }}
/* {{ about }} */
#include "_rules.h"

{{ signature }}
{{ declared }}
{{ loaded }}

{{ rule }}

{{ stored }}
}
""",
    "plain/rules.h": """\
#include <math.h>

static double maximum(double x, double y) { return (x >= y || x != x ? x : y) + 0.0; }
static double minimum(double x, double y) { return (x <= y || x != x ? x : y) + 0.0; }
static double sign(double x) { return x != x ? x : (x > 0) - (x < 0); }
""",
}


def hidden(spec: Spec) -> Spec:
    """Words of C are no variables."""
    return aside.renamed(spec, {name: f"{name}_" for name in author_names(spec) & RESERVED})


def number(text: str) -> str:
    if text in ("True", "False"):
        return str(int(text == "True"))
    return text if {*text} & {*".e"} else f"{text}.0"


def context(kernel: Kernel, writer: Writer) -> Mapping[str, object]:
    spec, syntax = kernel.spec, writer.syntax
    states = {s.name: writer.value(condition(s.when)) if s.when else "" for s in spec.states}
    given = ["p", "g", *states]
    own = dict.fromkeys(let.name for let in lets(kernel.rule) if let.name not in given)
    parameters = [
        "double *p_ptr", "double g", *(f"double *{name}_ptr" for name in states), "double t",
        *(f"double {h.name}" for h in spec.hyperparameters),
        *(f"int {option.name}" for option in spec.options),
    ]  # fmt: skip

    def moved(line: str) -> str:
        lines = [syntax.under("", [line.format("p")], 1)]
        lines += [syntax.under(when, [line.format(name)], 1) for name, when in states.items()]
        return "\n".join(text for block in lines for text in block)

    return {
        "about": spec.title,
        "signature": syntax.layout(f"void {spec.name}", parameters, " {"),
        "declared": "\n".join(f"  double {name};" for name in ["p", *states, *own]),
        "loaded": moved("{0} = *{0}_ptr;"),
        "rule": "\n".join(writer.steps(kernel.rule, 1)),
        "stored": moved("*{0}_ptr = {0};"),
    }


def compiled(text: str, folder: Path, *arguments: str) -> None:
    """Compiles a text as a file of a folder."""
    (folder / "_rules.h").write_text(TEMPLATES["plain/rules.h"])
    (folder / "text.c").write_text(text)
    command = ["cc", "-std=c99", "-Wall", "-Wno-unused-function", "-Werror", *arguments, "text.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SyntaxError(done.stderr)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """The backend, for one test."""
    monkeypatch.setattr(operation, "COLUMNS", (*COLUMNS, "c"))
    for name, row in OPERATIONS.items():
        spellings = {**row.spellings, "c": SPELLINGS.get(name, row.spellings["scalar"])}
        monkeypatch.setitem(OPERATIONS, name, replace(row, spellings=spellings))
    place = tmp_path_factory.mktemp("compiled")
    syntax = Syntax(
        comment="//",
        pragmas=("clang-format off",),
        indent="  ",
        end=";",
        arms=("if ({}) {{", "}} else if ({}) {{", "} else {"),
        close="}",
        comma="",
        scalars="c",
        number=number,
        hidden=hidden,
        check=lambda text, file: compiled(text, place, "-fsyntax-only"),
    )
    backend = Backend(
        name="plain",
        suffix=".c",
        syntax=syntax,
        column="c",
        context=context,
        doc="One element in C.",
        needs=("numpy",),
        copied={"_rules.h": "plain/rules.h"},
    )
    monkeypatch.setitem(BACKENDS, "plain", backend)
    env = environment()
    loaders = [jinja2.DictLoader(TEMPLATES), env.loader]
    monkeypatch.setattr(env, "loader", jinja2.ChoiceLoader(loaders))  # type: ignore[arg-type]
    return backend


def operations(name: str) -> set[str]:
    """What the kernel of a spec computes of elements."""
    steps = [step for stage in lower(stock(name)).stages for step in lets(stage.body)]
    return {node.op for step in steps for node in step.value.operations()}


FORMULAS = {name for name, row in OPERATIONS.items() if row.formula}
"""Functions that C rounds otherwise."""
pytestmark = pytest.mark.usefixtures("plain")
compiles = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
FILES = {"_rules.h", "lion.c", "sgd.c"}


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "plain").iterdir()}


def built(folder: Path, *names: str) -> None:
    emit.build([stock(name) for name in names], folder, whole=True)


# What it prints.


def test_a_file_is_in_its_language() -> None:
    spec = small(
        "if a:\n    g = g if t == 1 and not lr > 2 else -g\nelif b:\n    g = 2*g\n"
        "else:\n    g = -(-g)\np = p - lr*g",
        name="toy", title="Toy", options=("a", "b"),
    )  # fmt: skip
    assert render(lower(spec), "plain") == (
        f"// Generated by `stepforge build toy` from specs/toy.toml (sha256 {spec.source.digest})\n"
        "// with templates/plain.c.jinja. Do not edit: edit the spec and build again. @generated\n"
        "// clang-format off\n"
        "/* Toy */\n"
        '#include "_rules.h"\n\n'
        "void toy(double *p_ptr, double g, double t, double lr, int a, int b) {\n"
        "  double p;\n"
        "  p = *p_ptr;\n\n"
        "  if (a) {\n"
        "    g = t == 1.0 && !(lr > 2.0) ? g : -g;\n"
        "  } else if (b) {\n"
        "    g = 2.0 * g;\n"
        "  } else {\n"
        "    g = -(-g);\n"
        "  }\n"
        "  p = p - lr * g;\n\n"
        "  *p_ptr = p;\n"
        "}\n"
    )


LONG = " - ".join(["p", *["lr*lr*lr*g"] * 7])


@compiles
@pytest.mark.parametrize(
    "rule", [f"p = {LONG}", f"p = {LONG} if lr > 1 else {LONG}", f"p = max({LONG}, {LONG})"]
)
def test_long_statements_are_broken_into_lines_that_compile(rule: str, plain: Backend) -> None:
    text = render(lower(small(rule)), "plain")
    assert re.search(r"= \w*\(\n    (lr > 1\.0\n    \? )?p( -|\n    -)", text)
    plain.syntax.check(text, "")
    with pytest.raises(SyntaxError):
        plain.syntax.check(text.replace(";", ""), "")


@compiles
def test_words_of_the_language_are_no_names_of_variables(plain: Backend) -> None:
    spec = small("register = double*g\np = p - register*double", hyperparameters=("double",))
    text = render(lower(spec), "plain")
    assert "  register_ = double_ * g;\n" in text
    plain.syntax.check(text, "")
    assert "register = double * g" in render(lower(spec), "numpy")


PRINTED = [name for name in FEW if not FORMULAS & operations(name) and not stock(name).inputs]
"""Specs whose operations its language has, and whose tensors its template knows."""


@compiles
@pytest.mark.parametrize("name", PRINTED)
def test_what_it_computes_is_the_reference_in_every_bit(name: str, tmp_path: Path) -> None:
    """In float64, where the reference rounds host scalars no further."""
    spec = stock(name)
    flags = ("-ffp-contract=off", "-fPIC", "-shared", "-o", "text.so")
    compiled(render(lower(spec), "plain"), tmp_path, *flags, "-lm")
    step = getattr(ctypes.CDLL(str(tmp_path / "text.so")), name)
    step.restype = None
    reference = numpy_of(spec)
    defaults = {h.name: h.default for h in spec.hyperparameters}
    used = {**defaults, "weight_decay": 0.01, "momentum": 0.9}
    given = {n: v for n, v in used.items() if n in defaults}
    keywords = reference.init.__kwdefaults__ or {}
    for options in spec.option_sets():
        known = {**given, **options}
        p = np.array([0.3])
        state = reference.init(p, **{n: v for n, v in known.items() if n in keywords})
        cells: dict[str, Any] = {"p": ctypes.c_double(p[0])}
        cells |= {s.name: ctypes.c_double(0.0) for s in spec.states}
        cells |= {n: ctypes.c_double(float(np.asarray(v).item())) for n, v in state.items()}
        for t, g in enumerate((0.7, -0.2, 1.3, 0.01, -0.5, 0.25, 2.0), 1):
            p, state = reference.step(p, np.array([g]), state, t, **known)
            step(
                ctypes.byref(cells["p"]), ctypes.c_double(g),
                *(ctypes.byref(cells[s.name]) for s in spec.states), ctypes.c_double(t),
                *(ctypes.c_double(value) for value in given.values()),
                *(ctypes.c_int(value) for value in options.values()),
            )  # fmt: skip
            assert cells["p"].value == p[0]
            for key, value in state.items():
                assert cells[key].value == float(np.asarray(value).item())


# What builds and lists it.


def test_build_writes_it_and_check_compares_it(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    assert command("build", "lion", "sgd", "--out", out).returncode == 0
    assert files(out) == FILES
    assert command("build", "--check", "--out", out).returncode == 0
    path = out / "plain" / "lion.c"
    path.write_text(path.read_text().replace("lr", "2.0*lr"))
    done = command("build", "--check", "--out", out)
    assert done.returncode == 1
    assert f"--- {path}\n+++ {path} (expected)\n" in done.stdout
    assert command("build", "lion", "--out", out).stdout == f"update  {path}\n"


def test_what_it_needs_comes_with_it(tmp_path: Path, command: Command) -> None:
    done = command("build", "lion", "--backend", "plain", "--out", tmp_path / "out")
    assert "plain needs numpy, which comes with it" in done.stderr
    assert completed(["plain"]) == ("numpy", "plain")
    assert files(tmp_path / "out") == {"_rules.h", "lion.c"}
    assert not (tmp_path / "out" / "torch").exists()


def test_the_manifest_has_it(tmp_path: Path) -> None:
    built(tmp_path, "lion", "sgd")
    held = manifest.read(tmp_path)
    assert held is not None
    assert held.specs["lion"].backends == tuple(BACKENDS)
    assert {f"plain/{file}" for file in FILES} <= held.files.keys()
    (tmp_path / manifest.NAME).unlink()
    assert manifest.adopted(tmp_path)["lion"].backends == tuple(BACKENDS)


@pytest.mark.parametrize("file", ["plain/lion.py", "numpy/lion.c", "lion.c", "plain/../lion.c"])
def test_the_manifest_names_files_with_its_suffix_alone(
    file: str, tmp_path: Path, command: Command
) -> None:
    built(tmp_path, "lion")
    data = json.loads((tmp_path / manifest.NAME).read_text())
    data["files"][file] = "0" * 64
    (tmp_path / manifest.NAME).write_text(json.dumps(data))
    assert f"no build writes a file `{file}`" in command("build", "--out", tmp_path).stderr


def test_orphans_are_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    built(tmp_path, "lion", "sgd")
    others = tmp_path / "plain" / "other.c"
    others.write_text("int x;\n")
    (tmp_path / "plain" / "made.c").write_text((tmp_path / "plain" / "sgd.c").read_text())
    (tmp_path / manifest.NAME).unlink()
    built(tmp_path, "lion")
    assert files(tmp_path) == {"_rules.h", "lion.c", "other.c"}
    assert others.read_text() == "int x;\n"


def test_a_file_in_its_way_is_not_overwritten(tmp_path: Path, command: Command) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "lion.c").write_text("int x;\n")
    done = command("build", "lion", "--out", tmp_path)
    assert "error[E008]: a file is in the way that is not generated" in done.stderr


def test_no_spec_is_called_like_its_folder(tmp_path: Path, command: Command) -> None:
    (tmp_path / "specs").mkdir()
    text = stock("lion").source.text.replace('name = "lion"', 'name = "plain"')
    (tmp_path / "specs" / "plain.toml").write_text(text)
    done = command("build", cwd=tmp_path)
    assert "error[E020]: `plain` is a folder of the output" in done.stderr


def test_commands_know_its_name(tmp_path: Path, command: Command) -> None:
    shown = command("show", "lion", "--as", "plain").stdout
    assert shown == render(lower(stock("lion")), "plain")
    assert json.loads(command("show", "lion", "--as", "plain", "--json").stdout)["results"][0][
        "text"
    ] == shown.rstrip("\n")
    assert "did you mean `plain`?" in command("show", "lion", "--as", "plane").stderr
    assert "did you mean `plain`?" in command("build", "lion", "--backend", "plane").stderr
    assert complete_backend("numpy,pl") == ["numpy,plain"]
    assert complete_view("pl") == ["plain"]
    (tmp_path / "stepforge.toml").write_text('backends = ["plain"]\n')
    assert command("build", "lion", cwd=tmp_path).returncode == 0
    assert files(tmp_path / "generated") == {"_rules.h", "lion.c"}
    (tmp_path / "stepforge.toml").write_text('backends = ["plane"]\n')
    assert "did you mean `plain`?" in command("build", cwd=tmp_path).stderr


@compiles
def test_random_specs_are_built_for_it_and_checked() -> None:
    text = stock("adamw").source.text
    found = front.build(text)
    assert isinstance(found, front.Built)
    assert found.files.keys() == BACKENDS.keys()
    assert front.examine(text.encode()) == "accepted"


@compiles
def test_a_text_that_does_not_compile_is_a_fault(
    plain: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(plain, context=lambda k, w: {**context(k, w), "stored": "}"})
    monkeypatch.setitem(BACKENDS, "plain", broken)
    found = front.examine(stock("adamw").source.text.encode())
    assert isinstance(found, front.Fault)
    assert found.what.startswith("crash: SyntaxError")


# What looks at it: no rung yet, so it has to be what build writes.


@pytest.mark.parametrize("file", ["lion.c", "_rules.h"])
def test_an_edited_file_is_refuted_where_no_rung_looks(file: str, tmp_path: Path) -> None:
    built(tmp_path, "lion")
    found = inspect(stock("lion"), tmp_path)
    assert (found.verdict.status, found.verdict.detail) == (Status.TESTED, "as built")
    path = tmp_path / "plain" / file
    path.write_text(path.read_text() + "\nint x;\n")
    found = inspect(stock("lion"), tmp_path)
    assert found.verdict.status is Status.REFUTED
    assert f"{path} differs from what build writes" in found.verdict.detail
    assert (found.launchers, found.runs) == (LAUNCHERS, True)
    path.unlink()
    assert f"{path} is missing" in inspect(stock("lion"), tmp_path).verdict.detail
