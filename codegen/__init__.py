"""stepforge: from the formula of an optimizer to kernels that can be trusted.

The pipeline, one module for each stage::

    catalogue    which specs there are
    source       TOML text → values with positions
    expression   rule text → expressions in source order      (operations: THE table)
    spec         → the frozen model
    rules        semantic rules, each with an error code       (kinds: scalar or tensor)
    lower        Spec → Kernel: host scalars │ element stages  (kernel: the lowered program)
    render       Kernel → text                                 (backends/, templates/)
    emit         text → files, atomically
    verify       files → certificate

`mathematics` gives expressions their SymPy meaning, `notebook` takes rules from SymPy, `show`
prints views, `cli` is the command.
"""

from __future__ import annotations

from importlib import metadata

from codegen.diagnostics import Diagnostic, GeneratorBug, SpecError
from codegen.notebook import spec_from_sympy
from codegen.spec import Spec, load, loads

try:
    __version__ = metadata.version("stepforge")
except metadata.PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = ["Diagnostic", "GeneratorBug", "Spec", "SpecError", "load", "loads", "spec_from_sympy"]
