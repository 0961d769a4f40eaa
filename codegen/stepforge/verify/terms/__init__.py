"""Code as graphs of rounded operations: lifted, compared, and proved equal."""
