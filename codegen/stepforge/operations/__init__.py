"""The table of operations, and the arithmetic that its rows need."""
