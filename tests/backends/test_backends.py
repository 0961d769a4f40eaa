"""The contexts of the backends and the code they make, beyond its arithmetic."""

from __future__ import annotations

import ast
import inspect
import re

import numpy as np
import pytest
from catalogue import FEW
from support import ROOT, lowered, module, numpy_of, small, stock

from stepforge.backends.python import PYTHON
from stepforge.backends.registry import BACKENDS, REFERENCE, Backend
from stepforge.backends.render import environment, render
from stepforge.lowering.lower import lower
from stepforge.operations.operation import COLUMNS
from stepforge.verify.files.generated import KERNELS, MODES, ON_HOST


def test_every_backend_has_its_template_and_its_folder() -> None:
    templates = {n for n in environment().list_templates() if "/" not in n} - {"spec.toml.jinja"}
    assert templates == {backend.template for backend in BACKENDS.values()}
    folders = {p.name for p in (ROOT / "generated").iterdir() if p.is_dir()} - {"__pycache__"}
    assert folders == set(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=[*BACKENDS])
def test_a_record_names_what_there_is(backend: Backend) -> None:
    assert BACKENDS[backend.name] is backend
    assert backend.column in COLUMNS
    assert backend.syntax.scalars in COLUMNS
    before = [*BACKENDS][: [*BACKENDS].index(backend.name)]
    assert {*backend.needs} <= {*before}
    assert bool(backend.modes) is (backend.artefact == "kernel")
    assert {*backend.modes} <= {*MODES}
    assert {*backend.copied.values()} <= {*environment().list_templates()}
    assert REFERENCE in (backend.name, *backend.needs)


def test_kernels_are_those_that_launchers_have() -> None:
    assert KERNELS == (
        ("triton", "host"), ("multi_tensor", "host"), ("multi_tensor", "device"),
        ("multi_tensor", "scaled"),
    )  # fmt: skip
    assert KERNELS[:2] == ON_HOST


@pytest.mark.parametrize("name", FEW)
def test_both_files_of_a_pair_have_the_same_signatures_but_for_the_mode(name: str) -> None:
    def signatures(backend: str) -> dict[str, str]:
        tree = ast.parse(render(lower(stock(name)), backend))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        return {f.name: ast.unparse(f.args) for f in functions if f.name in ("init", "step")}

    numpy, triton = signatures("numpy"), signatures("triton")
    assert triton == {**numpy, "step": f"{numpy['step']}, exact=True"}
    assert set(signatures("numpy")) == {"init", "step"}


@pytest.mark.parametrize("name", FEW)
def test_defaults_are_those_of_the_spec(name: str) -> None:
    spec = stock(name)
    step = inspect.signature(numpy_of(spec).step)
    keywords = {p.name: p.default for p in step.parameters.values() if p.kind is p.KEYWORD_ONLY}
    declared = {i.name: inspect.Parameter.empty for i in spec.inputs}
    declared |= {h.name: h.default for h in spec.hyperparameters}
    assert keywords == declared | {o.name: o.default for o in spec.options} | {"_checked": True}


@pytest.mark.parametrize("name", FEW)
def test_the_reference_has_the_authors_lines(name: str) -> None:
    """Every assignment of the rule is a line of the reference, up to spaces and spellings."""
    lines = {
        line.split("=")[0].strip()
        for line in render(lower(stock(name)), "numpy").split("new = {}")[0].splitlines()
    }
    for line in stock(name).source.data["rule"]["update"].splitlines():
        if not line.strip().startswith(("if", "else", "elif", "#")) and line.strip():
            assert line.split("=")[0].strip() in lines


@pytest.mark.parametrize("name", FEW)
def test_every_option_set_initializes_exactly_its_states(name: str) -> None:
    spec = stock(name)
    reference = numpy_of(spec)
    accepted = reference.init.__kwdefaults__ or {}
    for options in spec.option_sets():
        state = reference.init(
            np.ones(2, np.float32), **{k: v for k, v in options.items() if k in accepted}
        )
        assert list(state) == [s.name for s in spec.active_states(options)]


def reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


@pytest.mark.parametrize("name", FEW)
def test_kernel_scalars_are_float64_and_rounded_first(name: str) -> None:
    kernel = lower(stock(name))
    tree = ast.parse(render(kernel, "triton"))
    (function,) = (
        n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == f"{name}_kernel"
    )
    annotated = {a.arg: ast.unparse(a.annotation) for a in function.args.args if a.annotation}
    for argument in kernel.arguments:
        assert annotated[argument.name] == "tl.float64"
        if not argument.boolean:
            uses = (line for line in function.body if reads(line, argument.name))
            rounded = f"{argument.name} = tl.full((), {argument.name}, real)"
            assert ast.unparse(next(uses)) == rounded


@pytest.mark.parametrize("name", FEW)
def test_hyperparameters_are_never_constants_of_the_kernel(name: str) -> None:
    spec = stock(name)
    constants = set(re.findall(r"(\w+): tl\.constexpr", render(lower(spec), "triton")))
    assert constants == {o.name.upper() for o in spec.options} | {"EXACT", "BLOCK"}


@pytest.mark.parametrize("name", FEW)
def test_each_tensor_is_read_once_and_written_once_on_each_path(name: str) -> None:
    kernel = lower(stock(name))
    text = render(kernel, "triton")
    for tensor in kernel.tensors:
        loads = re.findall(
            rf"tl\.load\({tensor.name}_ptr \+ start \+ offsets(.*?)\)\.to\(real\)", text
        )
        stores = re.findall(
            rf"tl\.store\({tensor.name}_ptr \+ start \+ offsets, {tensor.name}(.*?)\)", text
        )
        assert loads == (["", ", mask=mask, other=0.0"] if tensor.loaded else [])
        assert stores == (["", ", mask=mask"] if tensor.stored else [])


@pytest.mark.parametrize("name", FEW)
def test_the_launch_passes_the_kernels_parameters_in_order(name: str) -> None:
    kernel = lower(stock(name))
    text = render(kernel, "triton")
    launch = re.search(rf"{name}_kernel\[.*?\]\((.*?)\n        \)", text, re.DOTALL)
    assert launch is not None
    arguments = [a.strip() for a in launch[1].replace("\n", " ").split(", ") if a.strip(" ,")]
    names = [re.split(r"=| if ", a)[0].strip(' ,"])') for a in arguments]
    names = [name.replace('state["', "").replace("float(", "") for name in names]
    parameters = [a.arg for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)
                  and n.name == f"{name}_kernel" for a in n.args.args]  # fmt: skip
    passed = [n for n in names if n not in ("num_warps", "enable_fp_fusion")]
    assert [p.removesuffix("_ptr") for p in parameters] == passed
    assert "EXACT=exact," in launch[1]
    assert "enable_fp_fusion=not exact" in launch[1]


def test_a_literal_argument_of_a_helper_gets_a_type_even_on_a_broken_line() -> None:
    long = "a_hyperparameter_with_a_long_name"
    rule = f"m = max(0, {long}*g - {long}*p + {long}*g*p - g*{long}/p)\np = p - m"
    text = render(lowered(rule, state=("m",), hyperparameters=(long,)), "triton")
    assert "tl.full([BLOCK], 0, real)," in text


def test_an_if_with_an_else_only_is_negated() -> None:
    rule = "if a:\n    k = lr\nelse:\n    p = p - g\n    k = lr*2\np = p - k*g"
    text = render(lowered(rule, options=("a",)), "triton")
    assert "    if not A:\n        p = p - g\n" in text


def test_elif_chains_stay_chains() -> None:
    rule = "if a:\n    p = p - g\nelif b:\n    p = p - 2*g\nelse:\n    p = p - 3*g*lr"
    text = render(lowered(rule, options=("a", "b")), "numpy")
    assert "    elif b:\n        p = p - 2 * g\n    else:\n" in text


def test_nested_choices_on_broken_lines_keep_their_meaning() -> None:
    names = [f"hyperparameter_number_{i}" for i in range(5)]
    a, b, c, d, e = names
    rule = f"p = p - g*1\nk = ({a} if {b} > {c} else {d}) if {e} > 1 else {a}*{b}*{c}\np = p - k*g"
    reference = numpy_of(small(rule, hyperparameters=names))
    one = np.ones(1, np.float32)
    for values in [(3, 2, 1, 4, 2), (3, 1, 2, 4, 2), (3, 1, 2, 4, 0), (3, 2, 1, 4, 0)]:
        va, vb, vc, vd, ve = values
        expected = (va if vb > vc else vd) if ve > 1 else va * vb * vc
        p, _ = reference.step(one, one, {}, 1, **dict(zip(names, values, strict=True)))
        assert p[0] == -expected


def test_a_layout_is_one_line_if_it_fits_then_indented_then_one_item_a_line() -> None:
    assert PYTHON.layout("f", ["a", "b"], ":") == "f(a, b):"
    items = ["a" * 45, "b" * 45]
    assert PYTHON.layout("f" * 20, items, "") == f"{'f' * 20}(\n    {items[0]}, {items[1]}\n)"
    three = ["a" * 40] * 3
    assert PYTHON.layout("f", three, "") == "f(\n" + "".join(f"    {i},\n" for i in three) + ")"


def test_names_that_generated_code_uses_are_known_to_step_aside() -> None:
    """Everything that a file with every helper binds or reads."""
    from operations.test_operations import EVERYTHING

    from stepforge.backends.torch_class import OF_TORCH
    from stepforge.language.names import GENERATED

    spec = small(EVERYTHING, name="everything")
    own = {"lr", "everything_kernel", "base", *"abcdefh"} | {a.name for a in lower(spec).arguments}
    for backend in (b for b in BACKENDS if BACKENDS[b].suffix == ".py"):
        tree = ast.parse(render(lower(spec), backend))
        own.add("maximize")  # there where nothing of the author's is called so
        own_class = own | {"Everything"}
        steps = [n for n in tree.body if getattr(n, "name", "") in ("init", "step", *own_class)]
        used = {n.id for step in steps for n in ast.walk(step) if isinstance(n, ast.Name)}
        expected = {"numpy": {"p", "state"}, "triton": {"p", "state", "div"}, "torch": {"params"}}
        expected |= {"multi_tensor": {"table", "div"}, "cpu": {"p", "state", "table"}}
        assert expected[backend] <= used
        used = {n for n in used - own if n[0] != "_" and not n.endswith(("_ptr", "_type"))}
        assert used <= GENERATED | {*OF_TORCH, "p", "g", "t", "abs"}


def test_generated_references_are_plain_modules() -> None:
    for name in FEW:
        text = render(lower(stock(name)), "numpy")
        assert set(vars(module(text))) >= {"init", "step"}
