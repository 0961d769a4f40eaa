"""stepforge: from the formula of an optimizer to kernels that can be trusted.

The pipeline, one folder for each part; a folder imports only from those above it::

    operations   the table of operations, which every part reads
    language     TOML text → checked spec (source, parser, reader, rules)
    lowering     spec → kernel: host scalars │ element program
    backends     kernel → text (numpy, triton, multi_tensor, torch, and their templates)
    output       text → the folder of generated files, written atomically
    project      the settings and the specs of a user's project
    verify       files → certificate
    relations    how two rules are related
    facts        what follows from a rule: how its steps scale, its symmetries, its bounds
    fuzz         random specs through all of it
    mutate       faults planted on purpose: how many of them `verify` finds
    commands     the command line: the only place that prints and exits

`notebook` takes rules from Python as SymPy expressions.
"""

from __future__ import annotations

from stepforge.language.diagnostics import Diagnostic, GeneratorBug, SpecError
from stepforge.language.spec import Spec
from stepforge.notebook import spec_from_sympy
from stepforge.project.loading import load, loads
from stepforge.version import __version__

__all__ = [
    "Diagnostic",
    "GeneratorBug",
    "Spec",
    "SpecError",
    "__version__",
    "load",
    "loads",
    "spec_from_sympy",
]
