"""Views of a spec."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from support import ROOT, STOCK, small, stock

from codegen.diagnostics import SpecError
from codegen.lower import lower
from codegen.show import View, chosen, show
from codegen.spec import Spec

SETS = [(name, options) for name in STOCK for options in stock(name).option_sets()]
ids = [f"{name}-{'-'.join(o for o, on in options.items() if on)}" for name, options in SETS]


def defaults(spec: Spec) -> dict[str, bool]:
    return chosen(spec, [])


def test_the_text_has_the_authors_statements_under_the_options() -> None:
    spec = stock("adamw")
    text = show(spec, View.text, chosen(spec, ["amsgrad"])).split("\n")
    assert text[0] == f"AdamW — {spec.summary}"
    assert text[1] == f"Reference: {spec.reference}"
    assert "v_max = max(v_max, v)" in text
    assert "g = -g" not in text
    assert "v_max  Largest second moment." in text
    assert "lr = 0.001  Learning rate. (lr >= 0)" in text


@pytest.mark.parametrize(("name", "options"), SETS, ids=ids)
def test_latex_is_balanced_and_has_a_line_for_every_statement(
    name: str, options: dict[str, bool]
) -> None:
    spec = stock(name)
    text = show(spec, View.latex, options)
    first, *lines, last = text.split("\n")
    assert (first, last) == (r"\begin{aligned}", r"\end{aligned}")
    assert text.count("{") == text.count("}")
    assert len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text))
    assert all(r"&\leftarrow" in line and line.endswith(r"\\") for line in lines)
    body = show(spec, View.text, options).split("\n\n")[1]
    assert len(lines) == len(body.split("\n"))


def test_latex_has_the_fields_symbols() -> None:
    text = show(stock("adamw"), View.latex, defaults(stock("adamw")))
    for symbol in (r"\theta", r"\eta", r"\epsilon", r"\lambda", r"\beta_{1}", r"\hat{v}"):
        assert symbol in text


@pytest.mark.parametrize(("name", "options"), SETS, ids=ids)
def test_mathml_is_xml_with_a_row_for_every_statement(name: str, options: dict[str, bool]) -> None:
    spec = stock(name)
    root = ElementTree.fromstring(show(spec, View.mathml, options))
    space = "{http://www.w3.org/1998/Math/MathML}"
    assert root.tag == f"{space}math"
    body = show(spec, View.text, options).split("\n\n")[1]
    assert len(root.findall(f".//{space}mtable/{space}mtr")) >= len(body.split("\n"))


@pytest.mark.parametrize("name", STOCK)
def test_the_kernel_view_is_the_lowered_program(name: str) -> None:
    assert show(stock(name), View.kernel, defaults(stock(name))) == str(lower(stock(name)))


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("view", [View.numpy, View.triton])
def test_the_code_views_are_the_generated_files(name: str, view: View) -> None:
    text = (ROOT / "generated" / view.value / f"{name}.py").read_text("utf-8")
    assert show(stock(name), view, defaults(stock(name))) + "\n" == text


def test_options_that_are_switched_on_join_the_defaults() -> None:
    assert chosen(stock("adamw"), ["maximize"]) == {"amsgrad": False, "maximize": True}


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match="no option named `amsgard`") as error:
        chosen(stock("adamw"), ["amsgard"])
    assert error.value.diagnostics[0].help == "did you mean `amsgrad`?"
    with pytest.raises(SpecError) as error:
        chosen(small("p = p - lr*g"), ["anything"])
    assert error.value.diagnostics[0].help == "there are none"


def test_an_option_without_what_it_needs_is_refused() -> None:
    with pytest.raises(SpecError, match="option `nesterov` needs `use_momentum`"):
        chosen(stock("sgd"), ["nesterov"])
    assert chosen(stock("sgd"), ["nesterov", "use_momentum"])["nesterov"]


@pytest.mark.parametrize("view", [View.latex, View.mathml])
@pytest.mark.parametrize(
    "rule",
    [
        "p = p - lr*(g if sqrt(p - 1) > 0 else 1)",
        "p = p - lr*max(log(lr - lr), g)",
        "p = p - lr*min(g, 1/(lr - lr))",
        "p = p - lr*g*(1 if sqrt(0 - lr**2) > 1 else 2)",
    ],
)
def test_mathematics_without_a_real_value_is_shown_all_the_same(view: View, rule: str) -> None:
    assert show(small(rule), view, {})
