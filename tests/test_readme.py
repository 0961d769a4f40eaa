"""What the README shows is what is there."""

from __future__ import annotations

import re

import pytest
from support import ROOT, STOCK, stepforge, stock
from typer.main import get_command

from codegen.cli import app
from codegen.diagnostics import SpecError, render
from codegen.reader import loads
from codegen.verify import Level
from codegen.verify.certificate import RUNGS, Certificate, Status

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def indented(text: str, depth: int) -> str:
    return "".join(f"{' ' * depth}{line}\n" for line in text.rstrip("\n").split("\n"))


def test_the_pair_beside_its_spec_is_the_generated_one() -> None:
    spec, numpy, triton = blocks("python")[:3]
    assert spec in (ROOT / "specs" / "lion.toml").read_text()
    assert indented(numpy, 4) in (ROOT / "generated" / "numpy" / "lion.py").read_text()
    assert indented(triton, 4) in (ROOT / "generated" / "triton" / "lion.py").read_text()


def test_the_spec_excerpt_is_part_of_the_spec() -> None:
    (excerpt,) = blocks("toml")
    lines = {re.sub(r"\s+", " ", line.split("  #")[0]).strip() for line in excerpt.split("\n")}
    text = (ROOT / "specs" / "adamw.toml").read_text()
    whole = {re.sub(r"\s+", " ", line).strip() for line in text.split("\n")}
    assert all("…" in line for line in lines - whole)
    assert len(lines & whole) > 10


def test_the_diagnostic_is_what_check_prints() -> None:
    text = (ROOT / "specs" / "adamw.toml").read_text()
    with pytest.raises(SpecError) as caught:
        loads(text.replace("v = beta2*v", "v = bta2*v"), "specs/adamw.toml")
    (shown,) = [b for b in blocks("text") if b.startswith("error[")]
    assert render(caught.value.diagnostics) == shown


def test_every_command_and_spec_is_listed() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name in commands:
        assert f"| `stepforge {name}" in README
    assert set(STOCK) == set(re.findall(r"`(\w+)`", README.split("Catalogue:")[1].split("\n\n")[0]))
    for rung in RUNGS:
        assert rung == "files" or f"| {rung} |" in README


def test_the_refutation_points_at_lines_that_exist() -> None:
    (shown,) = [b for b in blocks("text") if b.startswith("REFUTED")]
    line = int(re.search(r"specs/adamw.toml:(\d+)", shown)[1])  # type: ignore[index]
    assert stock("adamw").source.line(line) in shown
    line = int(re.search(r"triton/adamw.py:(\d+)", shown)[1])  # type: ignore[index]
    kernel = (ROOT / "generated" / "triton" / "adamw.py").read_text().split("\n")[line - 1]
    assert kernel.replace("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)").strip() in shown


def without_numbers(line: str) -> str:
    return " ".join(re.sub(r"n=\d+", "n=…", line).split())


def test_the_table_is_what_verify_prints_but_for_the_numbers() -> None:
    (shown,) = [b for b in blocks("text") if b.startswith("optimizer")]
    done = stepforge("verify", "adamw", "--level", "fast")
    assert done.returncode == 0
    printed = done.stdout.split("\n")[:2]
    assert [without_numbers(line) for line in shown.strip().split("\n")] == [
        without_numbers(line) for line in printed
    ]


def test_every_level_verdict_and_key_of_the_certificate_is_described() -> None:
    for level in Level:
        assert f"| `{level.value}`" in README
    for status in Status:
        assert f"| {status.value}" in README
    for key in Certificate("lion", ()).as_dict():
        assert f"`{key}`" in README
