"""Inputs that find faults, calls of generated files with them, and differences made small."""
