"""The Python caller of a C file as terms: what `step` hands to the compiled code.

Beside what `Source` understands there are two functions that the file imports: `of_arrays`, which
makes the table of one parameter, and `load`, which finds the compiled code. Both are the same for
all files.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stepforge.language.names import CHECKED, aside
from stepforge.language.spec import Options, Spec
from stepforge.verify.terms import reference_proof, rule, terms
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.source_terms import Library, Scope, Source, Tensor, Value
from stepforge.verify.terms.terms import Term

_IMPORTED = {("_library", "load"), ("_tables", "of_arrays")}
_BITS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


@dataclass(frozen=True, slots=True)
class _Arrays:
    """A table of one row."""

    columns: tuple[str, ...]
    written: tuple[str, ...]
    arrays: tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The compiled code of an optimizer."""

    name: str


@dataclass(frozen=True, slots=True)
class Handed:
    """What a step is called with.

    Attributes:
        name: The optimizer whose compiled code it is.
        columns: The names of the columns.
        written: Those that have to be writable.
        arrays: What stands in them; None where the options leave one out.
        numbers: Of the host, in float64.
        bits: The options.
        scalars: New scalar states.
        line: Where.
    """

    name: str
    columns: tuple[str, ...]
    written: tuple[str, ...]
    arrays: tuple[Tensor | None, ...]
    numbers: tuple[Term, ...]
    bits: int
    scalars: Mapping[str, Term]
    line: int


class Caller(Source):
    """The file, whose `step` can be run on symbols."""

    def __init__(self, text: str) -> None:
        self.handed: list[tuple[str, _Arrays, list[Any], int, int]] = []
        super().__init__(text)

    def _top_level(self, node: ast.stmt) -> None:
        match node:
            case ast.ImportFrom(level=1, module=str() as module, names=names):
                for alias in names:
                    name = alias.asname or alias.name
                    known = (module, alias.name) in _IMPORTED
                    if not known or name in self.globals or name in self.functions:
                        raise Unsupported(node.lineno, f"the import of `{alias.name}`")
                    self.globals[name] = Library(f"{module}.{alias.name}")
            case _:
                super()._top_level(node)

    def _expression(self, e: ast.expr, scope: Scope) -> Any:
        if isinstance(e, ast.List):
            return [self.expression(part, scope) for part in e.elts]
        return super()._expression(e, scope)

    def attribute(self, holder: Any, name: str, node: ast.AST) -> Any:
        """The step of the compiled code, beside what a source has."""
        if isinstance(holder, _Compiled) and name == "step":
            return (holder, name)
        return super().attribute(holder, name, node)

    def binary(self, op: type[ast.operator], a: Any, b: Any, node: ast.AST) -> Any:
        """Operations on the bits of options, which are known."""
        if isinstance(a, int) and isinstance(b, int) and op in _BITS and 0 <= b < 64:
            return _BITS[op](a, b)
        return super().binary(op, a, b, node)

    def call(self, e: ast.Call, scope: Scope) -> Any:
        """The functions that a caller imports, and its own with keywords."""
        function = self.expression(e.func, scope)
        args = [self.expression(a, scope) for a in e.args]
        match function:
            case Library(name="bool") if [type(a) for a in args] == [bool] and not e.keywords:
                return args[0]
            case Library(name="_library.load") if len(args) == 1 and not e.keywords:
                return _Compiled(str(args[0]))
            case Library(name="_tables.of_arrays") if len(args) >= 2 and not e.keywords:
                columns, written, *arrays = args
                return _Arrays(columns, written, tuple(arrays))
            case (_Compiled(name=name), "step") if len(args) == 4 and not e.keywords:
                table, numbers, bits, _ = args
                is_known = isinstance(table, _Arrays) and isinstance(numbers, list)
                if not is_known or not isinstance(bits, int):
                    raise Unsupported(e.lineno, "a step with something else")
                self.handed.append((name, table, numbers, int(bits), e.lineno))
                return None
            case Library(name=name) if name in self.functions and e.keywords:
                inner = self.functions[name]
                given = dict(zip((a.arg for a in inner.args.args), args, strict=False))
                for keyword in e.keywords:
                    is_checked = isinstance(keyword.value, ast.Name) and keyword.value.id == CHECKED
                    if keyword.arg == CHECKED and is_checked:
                        continue
                    if keyword.arg is None or keyword.arg in given:
                        raise Unsupported(e.lineno, f"a call of `{name}` that cannot be read")
                    given[keyword.arg] = self.expression(keyword.value, scope)
                return self.run(name, given)
        return super().call(e, scope)


def handed(source: Caller, spec: Spec, options: Options) -> Handed:
    """Runs `step` of the file.

    Raises:
        Unsupported: It holds something that cannot be lifted.
        Refuted: It steps not once, or not the arrays of a parameter in their columns.
    """
    source.handed.clear()
    active = spec.active_states(options)
    state: dict[str, Any] = {
        s.name: Value(terms.scalar(s.name), weak=True) if s.scalar else Tensor(s.name)
        for s in active
    }
    before = dict(state)
    given = reference_proof.inputs(spec, options) | {n: Tensor(n) for n in spec.given}
    given |= {aside(spec, "state"): state, aside(spec, "threads"): Library("threads")}
    source.run("step", given)
    if len(source.handed) != 1:
        raise Refuted(0, f"the step calls the compiled code {len(source.handed)} times, not once")
    name, table, numbers, bits, line = source.handed[0]
    for column, array in zip(table.columns, table.arrays, strict=False):
        wanted = Tensor(column) if column in before or column in spec.given else None
        if array != wanted:
            raise Refuted(line, f"hands over {array}, where `{column}` has its column")
    if len(table.columns) != len(table.arrays) or len({*table.columns}) != len(table.columns):
        raise Refuted(line, "hands over other arrays than it has columns")
    step = source.functions["step"]
    scalars = {}
    for s in active:
        if s.scalar:
            scalars[s.name] = source.number(state[s.name], step).term
        elif state[s.name] is not before[s.name]:
            raise Refuted(line, f"replaces `{s.name}` of the state")
    if set(state) != set(before):
        raise Refuted(line, "adds to the state")
    found = []
    for number in numbers:
        value = source.number(number, step)
        if not value.weak or value.term.kind != rule.HOST:
            raise Unsupported(line, "a number that is none of Python's")
        found.append(value.term)
    return Handed(
        name, table.columns, table.written, table.arrays, tuple(found), bits, scalars, line
    )
