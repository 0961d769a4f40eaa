"""The rule language: from TOML text to a checked, frozen spec."""
