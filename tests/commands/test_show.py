"""Views of a spec."""

from __future__ import annotations

import json
import re
import sys
from xml.etree import ElementTree

import pytest
from catalogue import CASES, FEW
from support import ROOT, Command, run_command, small, stock

from stepforge.commands import cli
from stepforge.commands.views import COMPILED, Compilation, chosen, show, show_compiled
from stepforge.language.diagnostics import SpecError
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower
from stepforge.verify.rungs import compiled
from stepforge.verify.rungs.levels import ARCHITECTURES, DTYPES

SETS = [(name, list(stock(name).option_sets())[number]) for name, number in CASES]
ids = [f"{name}-{'-'.join(o for o, on in options.items() if on)}" for name, options in SETS]


def defaults(spec: Spec) -> dict[str, bool]:
    return chosen(spec, [])


def assigned(spec: Spec, options: dict[str, bool]) -> list[str]:
    """The lines of the text view that are assignments."""
    rule = show(spec, "text", options).split("\n\n")[1]
    return [line for line in rule.split("\n") if not line.endswith(":")]


def test_the_text_has_the_authors_statements_under_the_options() -> None:
    spec = stock("adamw")
    text = show(spec, "text", chosen(spec, ["amsgrad"])).split("\n")
    assert text[0] == f"AdamW — {spec.summary}"
    assert text[1] == f"Reference: {spec.reference}"
    assert "v_max = max(v_max, v)" in text
    assert "    p = p - lr*weight_decay*p" in text  # what a step decides stays
    assert "g = -g" not in text
    assert "  lr = 0.001           Learning rate. (lr >= 0)" in text


def test_the_text_without_options_is_the_whole_spec() -> None:
    spec = stock("nadam")
    text = show(spec, "text")
    for name in ("adamw", "lion"):
        rule = stock(name).source.data["rule"]["update"].strip()
        assert f"\n\n{rule}\n\n" in show(stock(name), "text")
    for h in spec.hyperparameters:
        assert re.search(
            rf"  {h.name} = {h.default:g} +{re.escape(h.doc)} \({h.domain_text}\)", text
        )
    for o in spec.options:
        assert re.search(rf"  {o.name} = false +{re.escape(o.doc)}", text)
    assert "  v = 0 at first           Second moment. (a tensor like p, v >= 0)" in text
    assert (
        "  mu_product = 1 at first  Product of the momentum schedule so far. (one number)" in text
    )
    only = "(a tensor like p, v_max >= 0, only if amsgrad)"
    assert f"  v_max = 0 at first  Largest second moment. {only}" in show(stock("adamw"), "text")


@pytest.mark.parametrize(("name", "options"), SETS, ids=ids)
def test_latex_is_balanced_and_has_a_line_for_every_statement(
    name: str, options: dict[str, bool]
) -> None:
    spec = stock(name)
    text = show(spec, "latex", options)
    first, *lines, last = text.split("\n")
    assert (first, last) == (r"\begin{aligned}", r"\end{aligned}")
    assert text.count("{") == text.count("}")
    assert len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text))
    assert all(r"&\leftarrow" in line and line.endswith(r"\\") for line in lines)
    assert len(lines) == len(assigned(spec, options))


def test_latex_has_the_fields_symbols() -> None:
    text = show(stock("adamw"), "latex", defaults(stock("adamw")))
    for symbol in (r"\varepsilon", r"\beta_{1}", r"\hat{v}", r"\frac{", r"\mathrm{weight\_decay}"):
        assert symbol in text


@pytest.mark.parametrize(("name", "options"), SETS, ids=ids)
def test_mathml_is_xml_with_a_row_for_every_statement(name: str, options: dict[str, bool]) -> None:
    spec = stock(name)
    root = ElementTree.fromstring(show(spec, "mathml", options))
    space = "{http://www.w3.org/1998/Math/MathML}"
    assert root.tag == f"{space}math"
    rows = root.findall(f"{space}mtable/{space}mtr")
    assert len(rows) == len(assigned(spec, options))


@pytest.mark.parametrize("name", FEW)
def test_the_kernel_view_is_the_lowered_program(name: str) -> None:
    assert show(stock(name), "kernel", defaults(stock(name))) == str(lower(stock(name)))


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("view", ["numpy", "triton", "multi_tensor", "torch"])
def test_the_code_views_are_the_generated_files(name: str, view: str) -> None:
    text = (ROOT / "generated" / view / f"{name}.py").read_text("utf-8")
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


@pytest.mark.parametrize("view", ["latex", "mathml"])
@pytest.mark.parametrize(
    "rule",
    [
        "p = p - lr*(g if sqrt(p - 1) > 0 else 1)",
        "p = p - lr*max(log(lr - lr), g)",
        "p = p - lr*min(g, 1/(lr - lr))",
        "p = p - lr*g*(1 if sqrt(0 - lr**2) > 1 else 2)",
    ],
)
def test_mathematics_without_a_real_value_is_shown_all_the_same(view: str, rule: str) -> None:
    assert show(small(rule), view, {})


# What the compiler makes.


def test_triton_ir_is_the_kernel_under_the_options_without_locations(command: Command) -> None:
    plain = compiled_view(command, "adamw", "--as", "ttir")
    assert plain.startswith("module {")
    assert plain.rstrip().endswith("}")
    assert plain.count("tt.func public @adamw_kernel(") == 1
    assert "loc" not in plain
    assert "/" not in plain
    assert plain.count("tt.store") == 2 * 3
    more = compiled_view(command, "adamw", "--as", "ttir", "--option", "amsgrad")
    assert more.count("tt.store") == 2 * 4


def compiled_view(command: Command, *arguments: str) -> str:
    done = command("show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_ptx_is_for_the_target_type_and_mode_that_are_asked_for(command: Command) -> None:
    exact = compiled_view(command, "adamw", "--as", "ptx", "--target", "sm_80")
    assert ".target sm_80" in exact
    assert ".visible .entry adamw_kernel(" in exact
    assert re.search(r"\bdiv\.rn\.f32\b", exact)
    fast = compiled_view(command, "adamw", "--as", "ptx", "--fast", "--dtype", "bf16")
    assert ".target sm_90" in fast
    assert re.search(r"\bdiv\.full\.f32\b", fast)
    assert not re.search(r"\bdiv\.rn\.f32\b", fast)
    assert "bf16" in fast
    assert "bf16" not in exact


def test_ptx_does_not_depend_on_machine_or_settings(tmp_path: object, command: Command) -> None:
    first = compiled_view(command, "lion", "--as", "ptx")
    other = {"TMPDIR": str(tmp_path), "TRITON_INTERPRET": "1"}
    again = run_command("show", "lion", "--as", "ptx", env=other)
    assert (again.returncode, again.stdout, again.stderr) == (0, first, "")
    for machine in (".loc", ".file", ".debug", "stepforge-", str(ROOT)):
        assert machine not in first


def test_the_compiled_views_are_of_the_spec_not_of_the_files_on_disk(command: Command) -> None:
    """The tests' own folder has no generated files at all."""
    done = command("show", "sgd", "--as", "ttir", "--json", cwd=ROOT / "tests")
    (data,) = json.loads(done.stdout)["results"]
    assert (data["spec"], data["view"]) == ("sgd", "ttir")
    assert "@sgd_kernel" in data["text"]


@pytest.mark.parametrize(
    ("compilation", "view", "message", "help"),
    [
        (Compilation("sm_9"), "ptx", "no target named `sm_9`", "did you mean `sm_90`?"),
        (Compilation("?"), "ttir", "no target named `?`", ", ".join(ARCHITECTURES)),
        (Compilation("V100"), "ttir", "no target `sm_70`, which `V100` is", "sm_75"),
        (Compilation(dtype="pf32"), "ptx", "no type named `pf32`", "did you mean `fp32`?"),
        (Compilation(dtype="half"), "ptx", "no type named `half`", ", ".join(DTYPES)),
        (Compilation("gfx942"), "ptx", "there is no PTX for `gfx942`", "--as ttir"),
    ],
)
def test_an_unknown_target_or_type_is_refused_with_a_suggestion(
    compilation: Compilation, view: str, message: str, help: str
) -> None:
    with pytest.raises(SpecError, match=message) as error:
        show_compiled(stock("lion"), view, defaults(stock("lion")), compilation)
    assert help in error.value.diagnostics[0].help


@pytest.mark.parametrize("view", COMPILED)
def test_without_triton_the_compiled_views_are_refused(
    view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="Triton is not installed"):
        show_compiled(stock("lion"), view, defaults(stock("lion")), Compilation())


def status(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["stepforge", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_bad_input_is_status_2_before_anything_is_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "compile_kernel", None)
    for arguments in (
        ("--as", "ptx", "--target", "sm_9"),
        ("--as", "ttir", "--dtype", "half"),
        ("--as", "ptx", "--option", "amsgard"),
        ("--as", "triton", "--fast"),
        ("--target", "sm_90"),
        ("--as", "kernel", "--dtype", "fp32"),
    ):
        assert status("show", "adamw", *arguments, monkeypatch=monkeypatch) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "error[E006]" in shown.err


def test_a_kernel_that_does_not_compile_is_status_1_and_named_as_build_would(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise compiled.Refused(RuntimeError("PassManager::run failed"))

    monkeypatch.setattr(compiled, "compile_source", refuse)
    assert status("show", "lion", "--as", "ptx", monkeypatch=monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    reason = "generated/triton/lion.py does not compile for sm_90, fp32: PassManager::run failed"
    assert shown.err.startswith(f"error[E091]: {reason}")
