"""From a kernel to text: one module and its templates for each kind of output."""
