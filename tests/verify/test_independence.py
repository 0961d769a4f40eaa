"""Faults in what generates files are found although the verifier runs with the same fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepforge.backends.registry import verified
from stepforge.backends.render import render
from stepforge.language import constants, literals, parser, reader
from stepforge.language.spec import Spec
from stepforge.lowering import lower
from stepforge.operations.table import OPERATIONS
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import ON_HOST
from verify.support import here

TEXT = """
name = "planted"
title = "Planted"
summary = "Powers, host scalars and a state."
reference = "None"
[hyperparameters]
lr = { default = 0.5, domain = "lr >= 0", doc = "Learning rate." }
[options]
extra = { default = true, doc = "Whether." }
[state]
v = { init = 1, domain = "v >= 1", doc = "Second moment." }
[rule]
update = '''
v = v + g**(3 - 1)
c = pi*t
if extra:
    c = 2*v
p = p - (lr - lr/(t + 1))*v**-2*g/c
'''
"""
Plant = Callable[[pytest.MonkeyPatch], None]


def folded(value: Callable[[Any], Any]) -> Plant:
    """The constant folder gives another value."""
    right = literals.folded

    def wrong(op: str, parts: list[Any]) -> Any:
        found = right(op, parts)
        return None if found is None else value(found)

    return lambda patch: patch.setattr(literals, "folded", wrong)


def negative_as_positive(patch: pytest.MonkeyPatch) -> None:
    """`-a` is `a` in the constant folder."""
    patch.setitem(OPERATIONS, "neg", replace(OPERATIONS["neg"], rational=lambda x: x))


def minus_as_plus(patch: pytest.MonkeyPatch) -> None:
    """The parser takes `-` for `+`."""
    right = parser._operation
    patch.setattr(parser, "_operation", lambda o: "add" if right(o) == "sub" else right(o))


FAULTS: dict[str, Plant] = {
    "-a is a in the constant folder": negative_as_positive,
    "constants are one more": folded(lambda x: x + 1),
    "- is + in the parser": minus_as_plus,
    "pi is 3": lambda patch: patch.setitem(constants.CONSTANTS, "pi", 3.0),
}


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], Spec]:
    """Builds the files of the spec, with whatever faults are planted."""

    def build() -> Spec:
        lower._lowered.cache_clear()
        spec = reader.loads(TEXT)[0]
        kernel = lower.lower(spec)
        for backend in verified():
            path = tmp_path / backend.file(spec.name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(render(kernel, backend.name))
        lower._lowered.cache_clear()
        return spec

    return build


def verdict(rung: str, spec: Spec, folder: Path) -> Verdict:
    settings: dict[str, Any] = {"targets": ("sm_90",), "dtypes": ("fp32",), "brief": True}
    return here(rung, spec, folder, {"extra": False}, kernels=ON_HOST[:1], **settings)


def test_without_a_fault_all_is_well(files: Callable[[], Spec], tmp_path: Path) -> None:
    spec = files()
    for rung in ("R1", "R3", "R7"):
        assert verdict(rung, spec, tmp_path).status.passed, rung


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_generator_is_found(
    fault: str, files: Callable[[], Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[fault](monkeypatch)
    spec = files()
    for rung in ("R1", "R3", "R7"):
        found = verdict(rung, spec, tmp_path)
        assert found.status is Status.REFUTED, f"{rung}: {found.detail}"
