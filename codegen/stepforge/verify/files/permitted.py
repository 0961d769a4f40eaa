"""What the statements of a rule may be, before a file that has others is run.

Whoever edits a rule by hand may write it otherwise, as long as every word of it is looked at: it
assigns names, chooses by conditions, and calls functions that compute. Whatever else Python could
do there, such as look at the machine that it runs on, is said to be not supported, and never run.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence

from stepforge.backends.aside import PUBLIC
from stepforge.operations.table import OPERATIONS
from stepforge.verify.files.surroundings import is_cut

_TRITON = (
    "abs", "bfloat16", "cast", "ceil", "clamp", "cos", "div_rn", "erf", "exp", "exp2", "float16",
    "float32", "float64", "floor", "fma", "full", "full_like", "int16", "int32", "int64", "log",
    "log2", "maximum", "minimum", "rsqrt", "sin", "sqrt", "sqrt_rn", "where", "zeros", "zeros_like",
    "PropagateNan.ALL", "PropagateNan.NONE",
)  # fmt: skip
"""Of `triton.language`: what follows from its arguments alone, element by element."""
_NUMPY = (
    "float32", "float64", "full_like", "inf", "nan", "result_type", "where",
)  # fmt: skip
"""Of NumPy, beside what the table of operations has."""
_BUILTINS = ("abs", "float")
_METHODS = {"numpy": ("astype",), "triton.language": ("to",)}
"""Library → methods of its tensors; beside them they have a `dtype`."""
_PURE = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip
"""Nodes that do nothing but what their parts do."""


def unread(
    rule: Iterable[ast.stmt], own: Iterable[ast.stmt], surroundings: ast.Module, library: str
) -> tuple[int, str] | None:
    """The first thing in a rule that nothing looks at: its line, and what it is.

    Args:
        rule: The statements in the place of the rule.
        own: Those that `build` writes there.
        surroundings: The syntax tree around them, with `CUT` in their place.
        library: What the rule computes with, "numpy" or "triton.language".
    """
    statements = list(rule)
    reader = _Reader(statements, own, surroundings, library)
    return next(reader.statements(statements), None)


class _Reader:
    """Looks at the statements of a rule.

    Attributes:
        libraries: Names of modules in the file → the modules.
        functions: Helper functions that the file defines.
        constants: Other names of the file for a name, such as `float_ = float`.
        taken: Names that mean something around the rule.
        assigned: Names that a rule may assign although they do: tensors, and what it has itself.
        known: Names that it may read.
        library: What it computes with.
    """

    def __init__(
        self, rule: Iterable[ast.stmt], own: Iterable[ast.stmt], surroundings: ast.Module,
        library: str,
    ) -> None:  # fmt: skip
        self.library = library
        self.libraries: dict[str, str] = {}
        self.functions: set[str] = set()
        self.constants: dict[str, str] = {}
        self.taken: set[str] = set()
        for node in surroundings.body:
            match node:
                case ast.Import(names=names):
                    self.libraries |= {alias.asname or alias.name: alias.name for alias in names}
                case ast.FunctionDef(name=name, body=body) if any(map(is_cut, body)):
                    self.taken |= {name, *_names(node)}
                case ast.FunctionDef(name=name):
                    self.functions.add(name)
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)):
                    self.constants[name] = other
                case ast.Assign(targets=[ast.Name(id=name)]):
                    self.taken.add(name)
        self.functions -= set(PUBLIC)
        self.taken |= {*self.libraries, *self.functions, *self.constants}
        self.assigned = {"p", "g", *(name for s in own for name in _stored(s))}
        self.known = self.taken | {name for s in rule for name in _stored(s)}

    def statements(self, body: Sequence[ast.stmt]) -> Iterator[tuple[int, str]]:
        """What is not looked at in statements."""
        for s in body:
            match s:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    yield from self._assigns(name, s)
                    yield from self.expression(value)
                case ast.AugAssign(target=ast.Name(id=name), value=value) if not self._in_place:
                    yield from self._assigns(name, s)
                    yield from self.expression(value)
                case ast.If(test=test, body=inner, orelse=orelse):
                    yield from self.expression(test)
                    yield from self.statements(inner)
                    yield from self.statements(orelse)
                case ast.Pass():
                    pass
                case _:
                    yield s.lineno, f"the statement `{ast.unparse(s).splitlines()[0][:80]}`"

    @property
    def _in_place(self) -> bool:
        """Whether `x += y` changes what `x` is, and not only the name."""
        return self.library == "numpy"

    def _assigns(self, name: str, s: ast.stmt) -> Iterator[tuple[int, str]]:
        if name in {*self.taken, *dir(builtins)} - self.assigned:
            yield s.lineno, f"an assignment to `{name}`, which means something outside of the rule"

    def expression(self, e: ast.AST) -> Iterator[tuple[int, str]]:
        """What is not looked at in an expression."""
        match e:
            case ast.Constant(value=bool() | int() | float()):
                return
            case ast.Name(id=name):
                if name in self.known and name not in (*self.libraries, *self.functions):
                    return  # a variable, or a constant of the file
            case ast.Call(func=function, args=args, keywords=keywords):
                parts: list[ast.AST] = [*args, *keywords]
                if isinstance(function, ast.Attribute) and self._is_method(function):
                    parts.append(function.value)
                if self._calls(function):
                    for part in parts:
                        yield from self.expression(part)
                    return
            case ast.Attribute(value=inner, attr="dtype"):
                yield from self.expression(inner)
                return
            case ast.Attribute() if self._of_library(e):
                return
            case _ if isinstance(e, _PURE) and getattr(e, "arg", "") is not None:
                for part in ast.iter_child_nodes(e):
                    yield from self.expression(part)
                return
        yield getattr(e, "lineno", 0), f"the expression `{ast.unparse(e)[:80]}`"

    def _calls(self, function: ast.expr) -> bool:
        """Whether something is a function that computes."""
        if isinstance(function, ast.Name):
            name = self.constants.get(function.id, function.id)
            return name in self.functions or (name in _BUILTINS and name not in self.assigned)
        return self._of_library(function) or self._is_method(function)

    def _is_method(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Attribute) or self._of_library(function):
            return False
        return function.attr in _METHODS[self.library]

    def _of_library(self, e: ast.expr) -> bool:
        """Whether something is a function, type or constant of a module that only computes."""
        parts = ast.unparse(e).split(".")
        module = self.libraries.get(parts[0], "")
        name = ".".join([module, *parts[1:]])
        known = [f"triton.language.{n}" for n in _TRITON] + [f"numpy.{n}" for n in _NUMPY]
        return name in known or any(name in row.python for row in OPERATIONS.values())


def _names(tree: ast.AST) -> Iterator[str]:
    """Every variable and parameter of a tree."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                yield name


def _stored(tree: ast.AST) -> Iterator[str]:
    """Every name that a tree assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
