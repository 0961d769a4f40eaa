"""The rows of the table of operations, by family."""
