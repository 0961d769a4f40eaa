"""Which names an author may choose, and which are those of generated code, which step aside."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from stepforge.language.expression import assignments
from stepforge.language.tokens import spelled_out
from stepforge.operations.table import BUILT_IN, OPERATIONS, author_functions

if TYPE_CHECKING:
    from stepforge.language.spec import Spec

GENERATED = frozenset({
    # Modules, arguments and locals of the generated files, whatever the backend.
    "np", "numpy", "tl", "triton", "math", "torch", "init", "step", "state", "new", "name",
    "tensor", "dtype", "real", "shape", "n", "pid", "program", "start", "offsets", "block",
    "mask", "full", "table", "row", "COLUMNS", "ALIGNED", "rows", "scaled", "SCALED", "on_device",
    "step_on_device", "ON_DEVICE", "grad_scale", "unscaled",
    "values", "self", "BLOCK", "exact", "EXACT", "programs", "threads", "numbers",
    # The optimizer class.
    "defaults", "group", "reference", "Optimizer", "check_tensors", "super", "staticmethod",
    "closure",
    # The class of a schedule.
    "optimizer", "hyperparameter", "hyperparameters", "last_epoch", "Schedule",
    # Functions of Python that they call.
    "float", "int", "bool", "dict", "list", "tuple", "ValueError", "TypeError", "RuntimeError",
}) | {
    helper
    for operation in OPERATIONS.values()
    for spelling in operation.spellings.values()
    for helper in spelling.helper.split()
}  # fmt: skip
"""What generated code calls its own where no author has the name; see `backends.aside`."""
CHECKED = "_checked"
"""The keyword of `step` for callers that compute with numbers outside of domains: torch's classes
refuse such numbers in their constructors, and never look again. No author's name begins so."""
OF_TRITON = frozenset({
    "options", "params", "specialization", "backend", "specialize_impl", "grid", "warmup",
    "num_warps", "num_stages", "num_ctas", "maxnreg", "debug", "sanitize", "instrumentation_mode",
    "enable_fp_fusion", "self", "args", "kwargs", "stream", "device",
})  # fmt: skip
"""What no parameter of a kernel may be called: Triton compiles a launcher with these names, and
takes its settings beside the arguments."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z", re.ASCII)


def name_problem(name: str, also: Iterable[str] = ()) -> tuple[str, str, str] | None:
    """What is wrong with a name.

    Args:
        name: A name that an author chose.
        also: Further names that generated code uses.

    Returns:
        Code, reason and help, or None if the name can be used in generated code.
    """
    if reason := malformed(name):
        plain = re.sub(r"[^A-Za-z0-9]+", "_", spelled_out(name[:41])).strip("_")
        help = f"write `{plain}`" if plain != name and not name_problem(plain) else ""
        return "E013", f"is not an allowed name: {reason}", help
    if name in BUILT_IN:
        return "E014", f"is reserved: it is {BUILT_IN[name]}", ""
    help = f"write `{name}_`"
    if keyword.iskeyword(name):
        return "E014", "is a keyword of Python", help
    if name in author_functions():
        return "E014", "is a function of the rule language", help
    if name in also:
        return "E014", "is reserved: generated code uses it", help
    return None


def malformed(name: str) -> str:
    """Why a text is no name, or ""."""
    if not name:
        return "it is empty"
    if not name.isascii():
        return "it holds a character outside ASCII"
    if not name[0].isalpha():
        return "it does not begin with a letter"
    if not NAME.match(name):
        return "it holds something other than letters, digits and underscores"
    if "__" in name:
        return "it holds a double underscore"
    if name.endswith("_ptr"):
        return "it ends with `_ptr`, like the pointers of a kernel"
    if name.endswith("_type"):
        return "it ends with `_type`, like the types of a kernel's tensors"
    return "it has more than 40 characters" if len(name) > 40 else ""


def kernel_name(name: str) -> str:
    """The function that the kernel of a spec is, if the author has no such name."""
    return f"{name}_kernel"


def author_names(spec: Spec) -> set[str]:
    """Every name that an author has declared or assigned, but for `p` and `g`."""
    found = {h.name for h in spec.hyperparameters} | {o.name for o in spec.options}
    found |= {s.name for s in spec.states} | {i.name for i in spec.inputs}
    found |= {a.name for a in assignments(spec.rule)}
    return found - BUILT_IN.keys()


def owned(spec: Spec) -> set[str]:
    """The names that are the author's in generated files: kernels have options in upper case."""
    return author_names(spec) | {option.name.upper() for option in spec.options}


def stepped_aside(name: str, taken: Container[str]) -> str:
    """A name of generated code, or with underscores behind it, so that it is not taken."""
    while name in taken:
        name += "_"
    return name


def aside(spec: Spec, name: str) -> str:
    """What a name of generated code is in the files of a spec."""
    return stepped_aside(name, owned(spec))


def kernel_of(spec: Spec) -> str:
    """The function that the kernel of a spec is."""
    return aside(spec, kernel_name(spec.name))
