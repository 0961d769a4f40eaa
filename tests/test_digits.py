"""The example that trains with every class, one's own included."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from support import ROOT, environment, run_command

DIGITS = """
import numpy as np
from types import SimpleNamespace

def load_digits():
    random = np.random.default_rng(0)
    return SimpleNamespace(data=random.integers(0, 17, (1797, 64)), target=np.arange(1797) % 10)
"""
"""A data set of the same shape, so that scikit-learn need not be there."""


def test_an_optimizer_of_ones_own_takes_part(tmp_path: Path) -> None:
    for name in ("examples", "generated", "specs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").touch()
    (tmp_path / "sklearn" / "datasets.py").write_text(DIGITS)
    assert run_command("new", "mine", cwd=tmp_path).returncode == 0
    assert run_command("build", "mine", cwd=tmp_path).returncode == 0
    done = subprocess.run(
        [sys.executable, "examples/digits.py", "--epochs", "1"], cwd=tmp_path,
        env=environment({"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}),
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = re.findall(r"^(\w+) +ours ", done.stdout, re.MULTILINE)
    assert "Mine" in ours
    classes = (tmp_path / "generated" / "torch" / "__init__.py").read_text("utf-8")
    assert {*ours} == {*re.findall(r"import (\w+)", classes)} - {"Optimizer", "annotations"}
    apart = [float(number) for number in re.findall(r"apart (\S+)", done.stdout)]
    assert len(apart) >= 10
    assert max(apart) < 1e-5
