"""A reading of the spec's text that shares nothing with the one that files are generated from."""
