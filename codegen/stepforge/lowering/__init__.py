"""From a spec to a kernel: the lowered program, which every backend prints."""
