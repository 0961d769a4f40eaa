"""A user's project: its settings, its specs, and which of them a command is about."""
