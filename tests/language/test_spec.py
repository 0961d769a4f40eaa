from __future__ import annotations

import ast
import builtins
import keyword
import math
from pathlib import Path

import pytest
from front_end import LR, codes, found, option, spec, text
from support import small

from stepforge.backends.registry import BACKENDS
from stepforge.backends.render import render
from stepforge.backends.torch_class import OF_TORCH, class_name
from stepforge.language.constraints import constant
from stepforge.language.diagnostics import Span, SpecError
from stepforge.language.expression import Apply, Name, Number
from stepforge.language.names import GENERATED, kernel_name, name_problem
from stepforge.language.reader import loads
from stepforge.language.spec import Interval, holds
from stepforge.language.values import MAX_DIAGNOSTICS
from stepforge.lowering.kernel import lets
from stepforge.lowering.lower import lower
from stepforge.operations import formulas
from stepforge.operations.table import BUILT_IN, author_functions
from stepforge.project import catalogue
from stepforge.project.loading import load

INF = math.inf
PLACE = Span(1, 1, 2)


def domain(condition: str) -> Interval:
    entry = f'x = {{ default = 0.5, domain = "{condition}", doc = "A number." }}'
    return spec(hyperparameters=entry, rule="p = p - x*g").hyperparameters[0].domain


@pytest.mark.parametrize(
    ("condition", "interval"),
    [
        ("x >= 0", Interval(0, INF, False, True)),
        ("x > 0", Interval(0, INF, True, True)),
        ("0 <= x", Interval(0, INF, False, True)),
        ("0 < x", Interval(0, INF, True, True)),
        ("x < 1", Interval(-INF, 1, True, True)),
        ("1 >= x", Interval(-INF, 1, True, False)),
        ("0 <= x < 1", Interval(0, 1, False, True)),
        ("0 < x <= 1", Interval(0, 1, True, False)),
        ("1 > x >= 0", Interval(0, 1, False, True)),
        ("x >= 0 and x < 1", Interval(0, 1, False, True)),
        ("x >= 0 and x > 0 and x >= -1", Interval(0, INF, True, True)),
        ("x <= 1 and x < 1 and x <= 2", Interval(-INF, 1, True, True)),
        ("-1/2 <= x <= (1 + 1)*0.5", Interval(-0.5, 1, False, False)),
        ("x >= 0.5 and x <= 0.5", Interval(0.5, 0.5, False, False)),
    ],
)
def test_a_domain_is_an_interval(condition: str, interval: Interval) -> None:
    assert domain(condition) == interval


def test_without_a_domain_any_finite_number_is_allowed() -> None:
    assert spec(hyperparameters=LR.replace('domain = "lr >= 0", ', "")).hyperparameters[
        0
    ].domain == Interval(-INF, INF, True, True)


@pytest.mark.parametrize(
    ("value", "inside"), [(-0.1, False), (0.0, True), (0.5, True), (1.0, False), (math.nan, False)]
)
def test_an_interval_contains_what_is_between_its_ends(value: float, inside: bool) -> None:
    assert (value in Interval(0, 1, False, True)) is inside


@pytest.mark.parametrize(
    ("interval", "empty"),
    [
        (Interval(), False),
        (Interval(0, 0, False, False), False),
        (Interval(0, 0, True, False), True),
        (Interval(0, 0, False, True), True),
        (Interval(1, 0, False, False), True),
    ],
)
def test_an_interval_without_numbers_is_empty(interval: Interval, empty: bool) -> None:
    assert interval.empty is empty


RULE = "if a:\n    g = -g\nif b:\n    g = 2*g\nif c:\n    g = 3*g\np = p - lr*g"


def test_option_sets_are_all_combinations_with_the_defaults_first() -> None:
    options = option("a") + "\n" + option("b").replace("false", "true")
    sets = list(spec(options=options, rule=RULE.replace("if c:\n    g = 3*g\n", "")).option_sets())
    assert sets == [
        {"a": False, "b": True},
        {"a": False, "b": False},
        {"a": True, "b": True},
        {"a": True, "b": False},
    ]


def test_without_options_there_is_one_set() -> None:
    assert list(spec().option_sets()) == [{}]


def test_an_option_with_a_condition_is_on_only_under_it() -> None:
    options = "\n".join([option("a"), option("b", "a"), option("c", "a and not b")])
    sets = list(spec(options=options, rule=RULE).option_sets())
    assert [[name for name, value in s.items() if value] for s in sets] == [
        [],
        ["a"],
        ["a", "c"],
        ["a", "b"],
    ]


def test_states_exist_under_their_condition() -> None:
    model = spec(
        options=option("a"),
        state='m = { init = 0, doc = "M." }\nv = { init = 0, when = "not a", doc = "V." }',
        rule="m = m + g\nif not a:\n    v = v + g\n    m = m + v\np = p - lr*m",
    )
    assert [s.name for s in model.active_states({"a": False})] == ["m", "v"]
    assert [s.name for s in model.active_states({"a": True})] == ["m"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("a", True), ("not a", False), ("a and b", False), ("a or b", True), ("not (a and b)", True)],
)
def test_a_condition_holds_as_python_reads_it(condition: str, expected: bool) -> None:
    state = f'v = {{ init = 0, when = "{condition}", doc = "V." }}'
    model = spec(
        options=option("a") + "\n" + option("b"),
        state=state,
        rule=f"if {condition}:\n    v = v + g\n    g = v\nif b or a:\n    g = -g\np = p - lr*g",
    )
    assert holds(model.states[0].when, {"a": True, "b": False}) is expected


def init(value: str) -> float:
    state = f'v = {{ init = {value}, doc = "V." }}'
    model = spec(state=state, rule="v = v + g\np = p - lr*v")
    return constant(model.states[0].init, {"lr": 0.1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("-1", -1.0),
        ("0.1", 0.1),
        ("1e-8", 1e-8),
        ('"lr"', 0.1),
        ('"2*lr - 1"', -0.8),
        ('"-(1 + 2)/4"', -0.75),
        ("100000000000000000000000", 1e23),
        ("0x10", 16.0),
        ("1_000", 1000.0),
    ],
)
def test_an_initial_value_is_a_number_or_an_expression(value: str, expected: float) -> None:
    assert init(value) == expected


def test_a_constant_has_a_finite_value_or_none() -> None:
    x = Name("x", PLACE)
    with pytest.raises(ArithmeticError):
        constant(Apply("div", (x, x), PLACE), {"x": 0.0})
    with pytest.raises(ArithmeticError):
        constant(Apply("mul", (x, x), PLACE), {"x": 1e200})
    with pytest.raises(KeyError):
        constant(Apply("sqrt", (x,), PLACE), {"x": 1.0})
    with pytest.raises(KeyError):
        constant(x, {})


@pytest.mark.parametrize(
    "name",
    [
        "lr", "beta1", "weight_decay", "M", "x_", "match", "type", "base", "adamw_kernel", "div",
        "square", "maximum", "scalar_sign", "start", "mask", "state", "np", "tl", "triton", "BLOCK",
        "init", "step", "float", "num_warps", "options", "self", "params", "exact", "open",
    ],
)  # fmt: skip
def test_ordinary_names_are_allowed(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", keyword.kwlist)
def test_keywords_are_not_names_but_have_an_alternative(name: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem[0] == "E014"
    assert name_problem(problem[2].removeprefix("write `").removesuffix("`")) is None


@pytest.mark.parametrize("name", ["p", "g", "t", *author_functions()])
def test_names_of_the_rule_language_are_reserved(name: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem[0] == "E014"


@pytest.mark.parametrize("name", ["numpy", "torch", "np", "init"])
def test_a_spec_has_no_name_of_generated_code(name: str) -> None:
    with pytest.raises(SpecError, match="E014"):
        small("p = p - lr*g", name=name)


EVERYTHING = """
if a:
    w = w + v
    g = g - w
x = sign(g)*min(abs(g), 1)*max(v, lr)*clip(g, -1, 1)*exp(-v)*log(v)/sqrt(v)*(g - p)**3
mu = mu*min(lr, 1)*max(lr, t)*sign(lr)*clip(lr, 0, 1)*exp(lr)*log(lr)*abs(lr)*sqrt(lr)
v = v + (g*2)**2 + (g if g > 0 and lr > 0 else 1)
p = p - lr*mu*x
"""


@pytest.mark.parametrize("backend", [b for b in BACKENDS if BACKENDS[b].suffix == ".py"])
def test_every_name_of_generated_code_is_known_to_step_aside(backend: str) -> None:
    model = spec(
        rule=EVERYTHING,
        options=option("a"),
        state='v = { init = 0, domain = "v >= 0", doc = "V." }\n'
        'w = { init = "lr", when = "a", doc = "W." }\n'
        'mu = { init = 1, scalar = true, doc = "M." }',
    )
    kernel = lower(model)
    names = set()
    tree = ast.parse(render(kernel, backend))
    # What is in a formula meets no author's name: it is a function that the rule does not call.
    of_formulas = {name for function in formulas.names() for name in formulas.of(function)}
    tree.body = [n for n in tree.body if getattr(n, "name", "") not in of_formulas]
    of_formulas |= {"to_bits", "from_bits"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    chosen = {"lr", "a", "A", "v", "w", "mu", "x", "y", *(a.name for a in kernel.arguments)}
    chosen.add("maximize")  # there where no hyperparameter or option is called so
    # Lowering keeps its own locals apart from the author's.
    chosen |= {let.name for let in (*lets(kernel.host), *lets(kernel.rule))}
    rest = {n for n in names - chosen if not n.endswith("_ptr") and "__" not in n}
    kernel_of_it = kernel_name(model.name)
    # No author has the names of helper functions' arguments there, nor those of torch's keywords.
    known = GENERATED | {*author_functions(), *BUILT_IN, *OF_TORCH, "x", "y", kernel_of_it}
    rest = {n for n in rest if n[0] != "_" and not n.endswith("_type")} - of_formulas
    assert rest <= known | {class_name(model)}
    assert kernel_of_it in rest or backend != "triton"
    assert rest & set(dir(builtins))


@pytest.mark.parametrize(
    "name",
    ["", "1x", "_x", "x__y", "x_ptr", "x_type", "x-y", "x y", "β", "x\n", "a" * 41, "x.y", "ｘ"],
)
def test_malformed_names_are_refused(name: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem[0] == "E013"


@pytest.mark.parametrize("place", ["title", "summary", "reference", "doc"])
def test_text_keeps_ordinary_punctuation(place: str) -> None:
    plain = "Röhm & Søn's “β₁”: 100% {of} 'it', \"quoted\"; see § 2 (eq. 3)."
    source = text().replace('"Example"', f"'''{plain}'''") if place == "title" else text()
    entry = f"lr = {{ default = 0.1, doc = '''{plain}''' }}"
    source = text(hyperparameters=entry) if place == "doc" else source
    assert found(source) == []


def test_texts_for_code_come_without_line_breaks_or_comments() -> None:
    model = spec(
        options=option("a") + "\n" + option("b").replace('"A switch."', '"B.", when = """\na """'),
        hyperparameters='lr = { default = 0.1, domain = """lr\n >= 0""", doc = "L." }',
        rule="if a:\n    g = -g\nif b:\n    g = 2*g\np = p - lr*g",
    )
    assert model.hyperparameters[0].domain_text == "lr >= 0"
    assert model.options[1].when_text == "a"


@pytest.mark.parametrize("character", ["#", "\\", ";", "'", '"'])
@pytest.mark.parametrize("place", ["domain", "when"])
def test_nothing_can_be_hidden_in_texts_for_code(place: str, character: str) -> None:
    escaped = f"\\u{ord(character):04x}"
    hyperparameters = LR.replace("lr >= 0", f"lr >= 0 {escaped}") if place == "domain" else LR
    options = option("a") + "\n" + option("b", f"a {escaped}" if place == "when" else "")
    assert codes(hyperparameters=hyperparameters, options=options)


def test_the_model_remembers_where_names_are_declared() -> None:
    model = spec(state='v = { init = 0, doc = "V." }', rule="v = v + g\np = p - lr*v")
    assert model.source.line(model.states[0].span.line).startswith("v = ")
    assert model.source.line(model.hyperparameters[0].span.line).startswith("lr = ")


def test_number_types_of_defaults_do_not_matter() -> None:
    model = spec(hyperparameters='lr = { default = 1, doc = "L." }')
    assert isinstance(model.hyperparameters[0].default, float)
    zero = spec(state='v = { init = 0, doc = "V." }', rule="v = v + g\np = p - lr*v")
    assert isinstance(zero.states[0].init, Number)


def test_the_file_must_have_the_name_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "example.toml").write_text(text())
    assert load(tmp_path / "example.toml")[0].name == "example"
    (tmp_path / "other.toml").write_text(text())
    with pytest.raises(SpecError, match="E015"):
        load(tmp_path / "other.toml")


def test_only_so_many_diagnostics_are_reported() -> None:
    keys = "".join(f"k{i} = 1\n" for i in range(1000))
    assert len(found(keys)) == MAX_DIAGNOSTICS


def test_torch_reads_names_and_lists_of_names() -> None:
    torch = (
        '[torch]\nclass = "Example"\narguments = { lr = "lr", pair = ["lr", "lr"] }\n'
        "constants = { foreach = false, scale = 2 }\n"
    )
    model, _ = loads(text() + torch)
    assert model.torch is not None
    assert model.torch.arguments == {"lr": ("lr",), "pair": ("lr", "lr")}
    assert model.torch.constants == {"foreach": False, "scale": 2}


@pytest.mark.parametrize("path", sorted(catalogue.stock().glob("*.toml")), ids=lambda p: p.stem)
def test_stock_specs_have_no_errors(path: Path) -> None:
    model, warnings = load(path)
    assert model.name == path.stem
    assert [d.code for d in warnings] == (["W201"] if path.stem == "rmsprop" else [])
