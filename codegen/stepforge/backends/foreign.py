"""What a generated file has no use for, so that an edited one cannot reach what judges it.

It computes with NumPy or Triton. One that imports more, replaces parts of modules or looks
behind Python's names could write to disk, end processes, or change the functions that compare.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

MODULES = ("__future__", "math", "typing")
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


def foreign(text: str, libraries: tuple[str, ...]) -> tuple[int, str] | None:
    """The first line of a file that does something else than compute, and what it does.

    A file that is not Python is no business of this rule.

    Args:
        text: The text of the file.
        libraries: What it may import beside `MODULES`.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return min(_found(tree, (*MODULES, *libraries)), default=None)


def _found(tree: ast.AST, allowed: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for node, own in _nodes(tree, frozenset()):
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
        if isinstance(node, ast.Name) and (
            _is_dunder(node.id) or (node.id in _BUILTINS and node.id not in own)
        ):
            yield node.lineno, f"uses `{node.id}`"
        if isinstance(node, ast.Attribute):
            if _hidden(node.attr):
                yield node.lineno, f"uses `{node.attr}`"
            if not isinstance(node.ctx, ast.Load):
                yield node.lineno, f"sets the attribute `{node.attr}`"


Nodes = Iterator[tuple[ast.AST, frozenset[str]]]
_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


def _nodes(node: ast.AST, own: frozenset[str]) -> Nodes:
    """Every node, with the names that cannot be Python's there: variables of its function."""
    yield node, own
    if isinstance(node, ast.ClassDef):
        own = frozenset()  # its body looks for names elsewhere
    for field, value in ast.iter_fields(node):
        inside = isinstance(node, ast.FunctionDef) and field == "body"
        names = own | _variables(node) if inside and isinstance(node, ast.FunctionDef) else own
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child, names)


def _variables(function: ast.FunctionDef) -> frozenset[str]:
    """Parameters, and names that are assigned without being declared as those of others."""
    given = function.args
    names = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    others: set[str] = set()
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.Global | ast.Nonlocal):
            others |= set(node.names)
        if not isinstance(node, _SCOPES):
            pending += ast.iter_child_nodes(node)
    return frozenset(names - others)


def _hidden(name: str) -> bool:
    return name in _ATTRIBUTES or name.startswith("_")


def _is_dunder(name: str) -> bool:
    return name.startswith("__")
