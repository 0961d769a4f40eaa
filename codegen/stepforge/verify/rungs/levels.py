"""How much is looked at: the levels of `verify`, the GPUs and the types of tensors."""

from __future__ import annotations

from enum import StrEnum

from stepforge.operations.formats import BY_TRITON


class Level(StrEnum):
    """How much `verify` does, from least to most."""

    fast = "fast"
    full = "full"
    deep = "deep"


TARGETS = ("sm_80", "sm_90", "sm_100", "sm_120")
"""The GPUs whose PTX is executed and proved; compiled with them is `AMD`."""
AMD = "gfx942"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120", AMD)
"""The GPUs that Triton compiles for; what its version does not know is refuted when it is tried."""
DEVICE_TARGET = "sm_90"
"""The GPU whose PTX with numbers on the device is looked at, in exact mode."""
FAST_TARGETS = ("sm_90",)
"""Those of them that the fast level looks at."""
DTYPES = tuple(BY_TRITON)
"""Triton's names of the tensors' types; with the 16-bit ones the states are float32."""
