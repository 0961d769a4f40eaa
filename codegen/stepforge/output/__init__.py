"""From text to files: the folder of generated code, and what it holds."""
