"""Rounding errors: enclosures of the formula, and bounds along lifted code."""
