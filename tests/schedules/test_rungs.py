"""What `verify` finds in files and formulas of schedules, and where it says that the fault is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import SCHEDULES, Command, stock
from verify.support import build, copy_of, edit, here

from stepforge.language.reader import loads
from stepforge.project.loading import load
from stepforge.verify.certificate import Status
from stepforge.verify.files.inspection import Folder
from stepforge.verify.rounding.enclosure import Evaluator
from stepforge.verify.rounding.intervals import mp

Edit = tuple[str, str]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_catalogue_passes(name: str, tmp_path: Path) -> None:
    spec, folder = stock(name), copy_of(name, tmp_path)
    rungs = ["S0", "S1", "S3", *(["S8"] if spec.torch_class else [])]
    for rung in rungs:
        found = here(rung, spec, folder, {}, brief=True)
        expected = (Status.PROVED, "bits") if rung == "S3" else (Status.TESTED, "")
        assert (found.status, found.strength, found.warnings) == (*expected, ()), found.detail
        assert found.values > 0


EDITS: list[tuple[str, Edit]] = [
    ("step_decay", ("(t - 1) / steps", "t / steps")),
    ("step_decay", ("(t - 1) / steps", "(t - 2) / steps")),
    ("constant", ("t - 1 < steps", "t - 1 <= steps")),
    ("multistep", ("t - 1 < milestone2", "t - 1 <= milestone2")),
    ("multistep", ("factor = gamma**3", "factor = gamma**2")),
    ("cosine", ("last + (1 - last)", "last + (1 + last)")),
    ("cosine", ("3.141592653589793", "3.141592")),
    ("cosine_restarts", ("+ 1e-9", "+ 1e-1")),
    ("cosine_restarts", ("scalar_max(t - 1 - before, 0)", "scalar_max(t - before, 0)")),
    ("cosine_restarts", ("(t - 1) % steps", "t % steps")),
    ("warmup", ("scalar_min(t / steps, 1)", "t / steps")),
    ("warmup", ("t / steps", "(t - 1) / steps")),
    ("linear", ("scalar_min(t - 1, steps)", "scalar_min(t - 1, steps + 1)")),
    ("one_cycle", ("(t - 1) / (top - 1)", "(t - 1) / top")),
    ("one_cycle", ("1 / (div * final)", "1 / final")),
    ("trapezoid", ("t - 1 - (steps - decay)", "t - (steps - decay)")),
    ("inverse_sqrt", ("warmup / t", "warmup / (t + 1)")),
    ("inverse_time", ("decay * (t - 1)", "decay * t")),
    ("exponential", ("t - 1)", "t - 1 + 1e-13)")),
    ("polynomial", ("left, power)", "left, 2)")),
    ("warmup_cosine", ("if t <= warmup", "if t <= warmup + 1")),
]


@pytest.mark.parametrize(("name", "change"), EDITS, ids=lambda x: str(x))
def test_an_edited_function_is_refuted_with_its_line(
    name: str, change: Edit, tmp_path: Path
) -> None:
    spec, folder = stock(name), copy_of(name, tmp_path)
    path = folder / "numpy" / f"{name}.py"
    edit(path, [change])
    inspected = Folder(folder, None, [spec]).inspect(spec)
    assert inspected.runs
    assert "the rule is not as build writes it" in inspected.verdict.detail
    assert not here("S3", spec, folder, {}).status.passed
    found = here("S1", spec, folder, {}, brief=True)
    assert found.status is Status.REFUTED, found.detail
    shown = found.counterexample
    assert shown is not None
    assert shown.generated_line in [*_changed(path, change[1])]
    assert re.match(rf"specs/schedules/{name}\.toml:\d+: \w+ = ", shown.spec_line)
    assert shown.inputs["t"].isdigit()
    assert {*shown.inputs} == {"t", *(h.name for h in spec.hyperparameters)}


def test_the_proof_finds_what_no_number_hits(tmp_path: Path) -> None:
    spec, folder = stock("cosine"), copy_of("cosine", tmp_path)
    line = "    factor = last"
    once = f"    if t == 123457:\n        last = 1\n{line}"
    edit(folder / "numpy" / "cosine.py", [(line, once)])
    assert here("S1", spec, folder, {}).status is Status.TESTED
    found = here("S3", spec, folder, {})
    assert (found.status, found.counterexample) == (Status.UNSUPPORTED, None)
    assert "`factor` cannot be decided" in found.detail


def test_the_proof_shows_a_step_where_two_formulas_differ(tmp_path: Path) -> None:
    spec, folder = stock("constant"), copy_of("constant", tmp_path)
    path = folder / "numpy" / "constant.py"
    edit(path, [("t - 1 < steps", "t - 1 <= steps")])
    found = here("S3", spec, folder, {})
    assert found.status is Status.REFUTED
    shown = found.counterexample
    assert shown is not None
    assert float(shown.inputs["t"]) - 1 == float(shown.inputs["steps"])
    assert shown.generated_line in [*_changed(path, "t - 1 <= steps")]
    assert shown.spec_line.startswith("specs/schedules/constant.toml:12: factor = ")


def test_the_same_formula_in_other_words_is_proved(tmp_path: Path) -> None:
    """Names, and the order of lines that do not depend on each other, are the editor's business."""
    spec, folder = stock("cosine"), copy_of("cosine", tmp_path)
    path = folder / "numpy" / "cosine.py"
    whole = "    done = scalar_min(t - 1, steps) / steps\n"
    parts = "    most = 1 - last\n    past = scalar_min(t - 1, steps)\n    done = past / steps\n"
    edit(path, [(whole, parts), ("+ (1 - last) *", "+ most *")])
    found = here("S3", spec, folder, {})
    assert (found.status, found.strength) == (Status.PROVED, "bits"), found.detail
    assert here("S1", spec, folder, {}, brief=True).status is Status.TESTED


def _changed(path: Path, text: str) -> Iterator[str]:
    """`file:line: text` of the changed lines; of a condition, of the statement that it leads to."""
    lines = path.read_text().split("\n")
    for number, line in enumerate(lines, 1):
        if text in line:
            number += line.endswith(":")
            yield f"{path}:{number}: {lines[number - 1].strip()}"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("numpy", ("steps=1000", "steps=999")),
        ("numpy", ("_checked=True", "_checked=False")),
        ("numpy", ("not steps > 0", "not steps > -1")),
        ("numpy", ("if t != int(t) or t < 1:", "if t < 1:")),
        ("numpy", ("return float(factor)", "return float(factor) / 2")),
        ("torch", ('"last": last', '"last": steps')),
        ("torch", ("last_epoch=-1", "last_epoch=0")),
        ("torch", ("staticmethod(reference.factor)", "staticmethod(lambda t, **_: 1.0)")),
    ],
)
def test_everything_around_the_rule_is_what_build_writes(
    file: str, change: Edit, tmp_path: Path
) -> None:
    spec, folder = stock("cosine"), copy_of("cosine", tmp_path)
    path = folder / file / "cosine.py"
    edit(path, [change])
    verdict = Folder(folder, None, [spec]).inspect(spec).verdict
    assert verdict.status is Status.REFUTED
    assert re.match(rf"{re.escape(str(path))}:\d+ differs from what build writes", verdict.detail)


def test_what_all_schedules_share_is_looked_at(tmp_path: Path) -> None:
    spec, folder = stock("cosine"), copy_of("cosine", tmp_path)
    edit(folder / "torch" / "_schedule.py", [("self.last_epoch + 1", "self.last_epoch")])
    verdict = Folder(folder, None, [spec]).inspect(spec).verdict
    assert verdict.status is Status.REFUTED
    assert "_schedule.py:" in verdict.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("factor = ", "factor = 1 // 0 * "), "ZeroDivisionError"),
        (("factor = last", "factor = done / 0 + last"), "ZeroDivisionError"),
    ],
)
def test_a_function_that_raises_is_refuted(change: Edit, reason: str, tmp_path: Path) -> None:
    spec, folder = stock("cosine"), copy_of("cosine", tmp_path)
    edit(folder / "numpy" / "cosine.py", [change])
    found = here("S1", spec, folder, {}, brief=True)
    assert found.status is Status.REFUTED
    assert reason in found.detail
    assert "cosine.py:" in found.detail


TEXT = """
name = "mine"
title = "Mine"
summary = "S."
reference = "None"
[hyperparameters]
steps = {{ default = 10, domain = "steps >= 1", usual = "1 <= steps <= 100", doc = "Length." }}
[rule]
factor = '''
{rule}
'''
"""


def test_a_schedule_without_a_factor_at_the_defaults_is_refuted(tmp_path: Path) -> None:
    path = build(TEXT.format(rule="factor = 1/(t - steps)"), tmp_path)
    found = here("S0", load(path)[0], tmp_path / "generated", {})
    assert (found.status, found.detail) == (
        Status.REFUTED,
        "at the default hyperparameters, step 10 has no factor: `/` of numbers of the host is not "
        "finite",
    )


def test_a_negative_factor_is_a_warning(tmp_path: Path) -> None:
    path = build(TEXT.format(rule="factor = 1 - t/steps"), tmp_path)
    found = here("S0", load(path)[0], tmp_path / "generated", {})
    assert (found.status, found.warnings) == (
        Status.TESTED,
        ("the factor is negative in step 11",),
    )


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(t - 1)/steps", "t/steps"),
        ("min(t - 1, steps)", "min(t, steps)"),
        ("first + (last - first)", "last + (first - last)"),
    ],
)
def test_torchs_scheduler_refutes_another_formula(right: str, wrong: str, tmp_path: Path) -> None:
    """A step early, for example: the file is what the spec says, and the spec is not torch's."""
    name = "step_decay" if right == "(t - 1)/steps" else "linear"
    text = stock(name).source.text
    assert right in text
    path = build(text.replace(right, wrong), tmp_path)
    spec, folder = load(path)[0], tmp_path / "generated"
    assert here("S1", spec, folder, {}, brief=True).status is Status.TESTED
    found = here("S8", spec, folder, {})
    assert found.status is Status.REFUTED
    assert re.match(r"the factor departs from torch\.optim\.lr_scheduler\.\w+ by", found.detail)
    assert found.counterexample is not None
    assert found.counterexample.expected.endswith(" (torch)")


def test_whole_numbers_of_steps_have_exact_ends() -> None:
    """Correct rounding changes no whole number, so a step is known to be before or after an end."""
    for t, expected in ((30, 1), (31, mp.mpf(0.1)), (60, mp.mpf(0.1)), (61, mp.mpf(0.1) ** 2)):
        found = Evaluator(stock("step_decay"), {}, "float64").factor(
            t, {"steps": 30.0, "gamma": 0.1}
        )
        assert abs(found.value - expected) < 1e-40
        assert found.high - found.low < 1e-14


def test_options_and_backends_of_kernels_are_nothing_to_a_schedule(
    command: Command, tmp_path: Path
) -> None:
    copy_of("cosine", tmp_path)
    done = command("verify", "cosine", "--generated", tmp_path, "--kernel", "triton", "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "looked at" not in done.stdout
    assert "1 of 1 schedules passed every rung" in done.stdout


def test_a_schedule_with_names_of_generated_code_is_right_all_the_same(tmp_path: Path) -> None:
    rule = "math = t/start\nself = min(math, values)\nfactor = cos(self*pi) + values"
    text = TEXT.format(rule=rule).replace(
        "steps = {",
        'start = { default = 3, domain = "start > 0", usual = "1 <= start <= 9", doc = "S." }\n'
        'values = { default = 1, domain = "values > 0", usual = "1 <= values <= 2", doc = "V." }\n'
        'float = { default = 1, domain = "float > 0", usual = "1 <= float <= 2", doc = "F." }\n'
        "unused = {",
    )
    text = text.replace("steps >= 1", "unused >= 1").replace("1 <= steps <= 100", "")
    text = text.replace('usual = "", ', "").replace("+ values", "+ values*float/float")
    path = build(text, tmp_path)
    spec, folder = loads(text)[0], tmp_path / "generated"
    assert here("S1", load(path)[0], folder, {}, brief=True).status is Status.TESTED
    assert spec.name == "mine"
