"""What a generated file has no use for, so that an edited one cannot reach what judges it.

It computes with NumPy or Triton. A file that imports more, replaces parts of modules or looks
behind Python's names could write to disk, end processes, or change the functions that compare.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

MODULES = ("__future__", "math", "numpy", "triton", "typing")
_BUILTINS = (
    "breakpoint", "compile", "delattr", "eval", "exec", "exit", "getattr", "globals", "input",
    "locals", "open", "quit", "setattr", "vars",
)  # fmt: skip
_ATTRIBUTES = (
    # Of NumPy: files, memory, other languages, and settings of the process.
    "core", "ctypes", "ctypeslib", "data", "dump", "f2py", "fromfile", "genfromtxt", "lib",
    "loadtxt", "memmap", "save", "savetxt", "savez", "savez_compressed", "set_printoptions",
    "setbufsize", "seterr", "seterrcall", "testing", "tofile",
    # Of Triton: everything that is not the language.
    "backends", "compiler", "driver", "knobs", "runtime", "tools",
)  # fmt: skip


def foreign(text: str, also: tuple[str, ...] = ()) -> tuple[int, str] | None:
    """The first line of a file that does something else than compute, and what it does.

    A file that is not Python is no business of this rule.

    Args:
        text: The text of the file.
        also: Modules that this file may import beside `MODULES`.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return min(_found(tree, (*MODULES, *also)), default=None)


def _found(tree: ast.AST, allowed: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, level=level):
                origin = "." * level + (module or "")
                modules = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
            case _:
                modules = []
        for module in modules:
            root, *parts = module.split(".")
            if root not in allowed or any(_hidden(part) for part in parts):
                yield getattr(node, "lineno", 1), f"imports `{module}`"
        if isinstance(node, ast.Name) and (node.id in _BUILTINS or _is_dunder(node.id)):
            yield node.lineno, f"uses `{node.id}`"
        if isinstance(node, ast.Attribute):
            if _hidden(node.attr):
                yield node.lineno, f"uses `{node.attr}`"
            if not isinstance(node.ctx, ast.Load):
                yield node.lineno, f"sets the attribute `{node.attr}`"


def _hidden(name: str) -> bool:
    return name in _ATTRIBUTES or name.startswith("_")


def _is_dunder(name: str) -> bool:
    return name.startswith("__")
