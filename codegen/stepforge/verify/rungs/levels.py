"""How much is looked at: the levels of `verify`, the GPUs and the types of tensors."""

from __future__ import annotations

import itertools
from enum import StrEnum

from stepforge.operations.formats import BY_TRITON, Layout


class Level(StrEnum):
    """How much `verify` does, from least to most."""

    fast = "fast"
    full = "full"
    deep = "deep"


TIME_LIMITS = {Level.fast: 120.0, Level.full: 300.0, Level.deep: 600.0}
"""Seconds of processor time for one task, unless the user says something else."""
TARGETS = ("sm_80", "sm_90", "sm_100", "sm_120")
"""The GPUs whose PTX is executed and proved; compiled with them is `AMD`."""
AMD = "gfx942"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120", AMD)
"""The GPUs that Triton compiles for; what its version does not know is refuted when it is tried."""
DEVICE_TARGET = "sm_90"
"""The GPU whose PTX with numbers on the device is looked at, in exact mode."""
FAST_TARGETS = (DEVICE_TARGET,)
"""Those of them that the fast level looks at."""
DTYPES = tuple(BY_TRITON)
"""Triton's names of the tensors' types; with the 16-bit ones the states are float32."""
_USUAL = {f"{p}/{p}/{Layout.named(p).states.triton}" for p in DTYPES}
MIXED = tuple(m for m in map("/".join, itertools.product(DTYPES, repeat=3)) if m not in _USUAL)
"""Other types of parameter, gradient and states, as a gradient of float32 for a parameter of
bfloat16, or states of bfloat16. The classes of torch take all of them."""
_PAIRS = """
    fp32: fp32 fp16 fp64 bf16
    fp64: bf16 fp64 fp16 fp32
    bf16: fp16 fp32 bf16 fp64
    fp16: fp64 bf16 fp32 fp16
"""
"""A Latin square: by the parameter's type, for a gradient of each of `DTYPES`, the states' type."""


def mixed(level: Level) -> tuple[str, ...]:
    """Those of `MIXED` that a level looks at.

    The full one looks at so many that every two of parameter, gradient and states have every two
    types together: how one tensor is loaded or stored depends on what it is computed with, at most.
    """
    if level is not Level.full:
        return MIXED if level is Level.deep else ()
    rows = (line.strip().split(": ") for line in _PAIRS.strip().splitlines())
    every = [f"{p}/{g}/{s}" for p, row in rows for g, s in zip(DTYPES, row.split(), strict=True)]
    return tuple(name for name in every if name in MIXED)


def dtypes(level: Level) -> tuple[str, ...]:
    """The types of parameters and gradients that a level looks at."""
    return DTYPES[:1] if level is Level.fast else DTYPES


def targets(level: Level) -> tuple[str, ...]:
    """The GPUs that a level looks at, unless the user names others; `AMD` is compiled only."""
    return FAST_TARGETS if level is Level.fast else (*TARGETS, AMD)


def fast_mode(level: Level) -> tuple[str, ...]:
    """The types of tensors with which a level looks at fast mode."""
    return {Level.fast: (), Level.full: DTYPES[:1], Level.deep: DTYPES}[level]
