"""A generated file computes; what else it does is found before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import FEW
from support import ROOT, stock

from stepforge.backends.foreign import foreign
from stepforge.verify.certificate import Status
from stepforge.verify.files.inspection import inspect
from verify.support import copy_of, edit


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os", "imports `os`"),
        ("import numpy, subprocess", "imports `subprocess`"),
        ("from stepforge import verify", "imports `stepforge`"),
        ("from . import other", "imports `.`"),
        ("from triton.runtime import interpreter", "imports `triton.runtime`"),
        ("np.isnan = abs", "sets the attribute `isnan`"),
        ("del np.isnan", "sets the attribute `isnan`"),
        ("np.seterr(all='raise')", "uses `seterr`"),
        ("().__class__", "uses `__class__`"),
        ("__import__('os')", "uses `__import__`"),
        ("open('x', 'w')", "uses `open`"),
        ("setattr(np, 'isnan', abs)", "uses `setattr`"),
    ],
)
def test_what_a_generated_file_has_no_use_for_is_found(code: str, what: str) -> None:
    found = foreign(f"import numpy as np\n{code}\n", ("numpy", "triton"))
    assert found is not None
    line, reason = found
    assert line == 2
    assert reason.startswith(what.removesuffix("`"))


def test_arithmetic_is_not_foreign() -> None:
    text = "import math\nimport numpy as np\nx = np.maximum(math.pi, 1)\n"
    assert foreign(text, ("numpy",)) is None
    assert foreign(text, ("triton",)) == (2, "imports `numpy`")
    assert foreign("not Python at all", ()) is None


@pytest.mark.parametrize("name", FEW)
def test_generated_files_are_not_foreign(name: str) -> None:
    assert inspect(stock(name), ROOT / "generated").verdict.status is Status.TESTED


def test_a_foreign_file_is_refuted_before_it_runs(tmp_path: Path) -> None:
    folder = copy_of("lion", tmp_path / "generated")
    edit(folder / "numpy" / "lion.py", [("import numpy as np", "import os\nimport numpy as np")])
    verdict = inspect(stock("lion"), folder).verdict
    assert verdict.status is Status.REFUTED
    assert "imports `os`" in verdict.detail
