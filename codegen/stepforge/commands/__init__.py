"""The commands, one file each; `options`, `specs` and `output` are what they share."""
