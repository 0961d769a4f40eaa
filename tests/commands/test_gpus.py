"""GPUs by the names that they are sold under; the architectures are NVIDIA's and AMD's."""

from __future__ import annotations

import pytest

from stepforge.commands.gpus import NAMES, architecture, target, targets
from stepforge.language.diagnostics import SpecError
from stepforge.verify.rungs.levels import ARCHITECTURES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h100", "sm_90"), ("H100", "sm_90"), ("NVIDIA H200 SXM", "sm_90"), ("GH200", "sm_90"),
        ("a100", "sm_80"), ("A100-PCIE", "sm_80"), ("b200", "sm_100"), ("GB200", "sm_100"),
        ("4090", "sm_89"), ("rtx4090", "sm_89"), ("RTX 4090", "sm_89"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "sm_89"), ("l40s", "sm_89"), ("L4", "sm_89"),
        ("RTX 6000 Ada", "sm_89"), ("rtx_a6000", "sm_86"), ("a10g", "sm_86"), ("3090", "sm_86"),
        ("GTX 1660 Ti", "sm_75"), ("T4", "sm_75"), ("Quadro RTX 6000", "sm_75"),
        ("RTX PRO 6000 Blackwell", "sm_120"), ("5090", "sm_120"), ("Orin", "sm_87"),
        ("mi300x", "gfx942"), ("AMD Instinct MI325X", "gfx942"),
        ("sm_90", "sm_90"), ("sm90", "sm_90"), ("SM_90a", "sm_90"), ("9.0", "sm_90"),
        ("compute_80", "sm_80"), ("GFX942", "gfx942"),
    ],
)  # fmt: skip
def test_a_gpu_is_understood_by_any_of_its_names(name: str, expected: str) -> None:
    assert target(name, "verify") == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_target_is_its_own_name(name: str) -> None:
    assert target(name, "verify") == name


def test_names_that_are_sold_are_written_plainly() -> None:
    assert all(architecture(name) == found for name, found in NAMES.items())


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("h10", "no target named `h10`", "did you mean `h100`?"),
        ("sm_9", "no target named `sm_9`", "did you mean `sm_90`?"),
        ("v100", "no target `sm_70`, which `v100` is", "there are sm_75"),
        ("sm_70", "no target `sm_70`", "there are sm_75"),
        ("abacus", "no target named `abacus`", "there are sm_75"),
        ("", "no target named ``", "there are sm_75"),
    ],
)
def test_what_is_no_target_has_a_suggestion(name: str, message: str, help: str) -> None:
    with pytest.raises(SpecError) as error:
        target(name, "verify")
    (found,) = error.value.diagnostics
    assert message in found.message
    assert found.help.startswith(help)


def test_several_targets_are_each_taken_once() -> None:
    assert targets(["h100,a100", "sm_90", "b200, 4090"], "verify") == [
        "sm_90", "sm_80", "sm_100", "sm_89",
    ]  # fmt: skip
    assert targets(None, "verify") is None
