"""Number formats."""

from __future__ import annotations

UNIT = {"bf16": 2.0**-8, "f16": 2.0**-11, "f32": 2.0**-24, "f64": 2.0**-53}
"""Largest relative error of one rounding to nearest."""
