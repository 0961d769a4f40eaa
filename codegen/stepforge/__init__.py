"""stepforge: from the formula of an optimizer to kernels that can be trusted.

The pipeline, one module for each stage::

    catalogue    which specs there are
    source       TOML text → values with positions
    parser       rule text → expressions in source order       (tokens, slips, expression: the tree)
    reader       values and expressions → the frozen model     (spec: the model, names)
    rules        semantic rules, each with an error code       (literals, signs, kinds)
    lower        spec → kernel: host scalars │ element stages  (kernel: the lowered program)
    render       kernel → text                                 (backends/, templates/)
    emit         text → files, atomically                      (manifest: what a folder holds)
    verify/      files → certificate               (report: how it looks; faults, table)

`config` reads the settings of a project and `selection` says which specs a command is about;
`collisions` and `shadow` refuse names and folders that would hide something else. `operations` is
THE table that every stage reads. `mathematics` gives expressions a SymPy meaning,
`notebook` takes rules from there, `show` prints views, `scaffold` writes new specs, `diagnostics`
has the error codes, `gpus` the names of targets, `terminal` what a stream can show. `cli` is the
command, and `commands/` has a file for each of its subcommands: the only place that prints and
exits.
"""

from __future__ import annotations

from stepforge.language.diagnostics import Diagnostic, GeneratorBug, SpecError
from stepforge.language.reader import load, loads
from stepforge.language.spec import Spec
from stepforge.notebook import spec_from_sympy

__version__ = "0.1.0"

__all__ = ["Diagnostic", "GeneratorBug", "Spec", "SpecError", "load", "loads", "spec_from_sympy"]
