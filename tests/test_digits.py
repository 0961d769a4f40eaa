"""The example that trains with every class, one's own included."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from catalogue import FEW
from support import ROOT, Command, environment, stock

DIGITS = """
import numpy as np
from types import SimpleNamespace

def load_digits():
    random = np.random.default_rng(0)
    return SimpleNamespace(data=random.integers(0, 17, (1797, 64)), target=np.arange(1797) % 10)
"""
"""A data set of the same shape, so that scikit-learn need not be there."""


def test_an_optimizer_of_ones_own_takes_part(command: Command, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").touch()
    (tmp_path / "sklearn" / "datasets.py").write_text(DIGITS)
    assert command("new", "mine", cwd=tmp_path).returncode == 0
    assert command("build", *FEW, "mine", cwd=tmp_path).returncode == 0
    done = subprocess.run(
        [sys.executable, "examples/digits.py", "--epochs", "1"], cwd=tmp_path,
        env=environment({"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}),
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = re.findall(r"^(\w+) +ours ", done.stdout, re.MULTILINE)
    assert "Mine" in ours
    classes = (tmp_path / "generated" / "torch" / "__init__.py").read_text("utf-8")
    assert {*ours} == {*re.findall(r"import (\w+)", classes)} - {
        "Optimizer", "Schedule", "annotations",
    }  # fmt: skip
    apart = [float(number) for number in re.findall(r"apart (\S+)", done.stdout)]
    assert len(apart) >= sum(bool(stock(name).torch_class) for name in FEW)
    assert max(apart) < 1e-5
