"""The house rules that tools can check, and that the files about checking agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

FOLDERS = ["codegen", "tests", "benchmarks", "examples"]
PRE_COMMIT = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_lints_are_clean() -> None:
    run("ruff", "check", *FOLDERS)


def test_code_is_formatted() -> None:
    run("ruff", "format", "--check", *FOLDERS)


def test_types_are_strict_and_right() -> None:
    run("mypy", "--strict", "-p", "stepforge", "-m", "benchmarks.cold_start")


@pytest.mark.parametrize("path", sorted((ROOT / "codegen").rglob("*.py")), ids=lambda p: p.stem)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert path.read_text("utf-8").startswith('"""')


@pytest.mark.parametrize(
    "hook", ["ruff check", "ruff format --check", "mypy", "stepforge build --check"]
)
def test_a_commit_is_checked_by_local_tools(hook: str) -> None:
    assert f"entry: {hook}\n" in PRE_COMMIT
    assert set(re.findall(r"repo: (\S+)", PRE_COMMIT)) == {"local"}
    assert set(re.findall(r"language: (\S+)", PRE_COMMIT)) == {"system"}


def test_ci_runs_exactly_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    fences = re.findall(r"^```[a-z]*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = [line for fence in fences for line in fence.splitlines() if "pytest" in line]
    if not fences:
        pytest.skip("the README has no commands yet")
    (command,) = commands
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_ci_verifies_the_whole_catalogue_and_one_optimizer_with_all_types_and_gpus() -> None:
    """The tests rely on it, and look at few specs themselves."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert ".venv/bin/stepforge verify --level fast --strict && " in script
    assert " && .venv/bin/stepforge verify momentum --level full\n" in script


def test_ci_is_executable_and_is_valid_bash() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
