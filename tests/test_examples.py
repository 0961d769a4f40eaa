"""The tests of properties are the same in every run, unless a seed asks for others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hypothesis import settings
from support import ROOT

PRINTED = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=40)
@given(st.integers(0, 10**9))
def test_prints(number):
    print("example", number)
"""
LITERALS = f"NUMBERS = {[*range(1000, 5000)]}"


def test_examples_are_those_of_the_last_run_unless_a_seed_is_given(tmp_path: Path) -> None:
    """Whether the environment says CI, which Hypothesis asks for, makes no difference."""
    (tmp_path / "test_printed.py").write_text(PRINTED)
    (tmp_path / "test_before.py").write_text(LITERALS)  # what is loaded makes none, either
    shutil.copy(ROOT / "tests" / "examples.py", tmp_path / "conftest.py")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [sys.executable, "-m", "pytest", "-n", "0", "-s"]
    both, seed = ["test_before.py", "test_printed.py"], "--hypothesis-seed"
    plain = {name: value for name, value in os.environ.items() if name != "CI"}
    ci = {**plain, "CI": "true"}
    runs = [
        subprocess.Popen(
            [*command, *more], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        for environment, more in (
            (plain, both[1:]), (ci, both), (plain, [*both, f"{seed}=1"]), (ci, [*both, f"{seed}=2"])
        )
    ]  # fmt: skip
    found = []
    for run in runs:
        printed = run.communicate()[0]
        assert run.returncode == 0
        found.append([line for line in printed.splitlines() if "example" in line])
    assert all(len(examples) >= 40 for examples in found)
    assert found[0] == found[1]
    assert found[0] != found[2] != found[3] != found[0]
    assert not (tmp_path / ".hypothesis").exists()


def test_no_example_fails_because_the_machine_is_busy() -> None:
    assert settings().deadline is None
    assert settings().database is None
