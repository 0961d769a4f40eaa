"""Faults planted on purpose: how many of them the rungs find."""
