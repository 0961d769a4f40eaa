"""What a generated C file does to one element: `update`, as `step` calls it.

What the loop over tensors and threads does around it is the same for all files (`_stepforge.c`):
an element arrives in the compute type, converted from the type of its column, and what is stored
is rounded once to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.c_source import INT, Pointer, Reader, Value, Variable, type_of
from stepforge.verify.terms.c_text import CFile, line_of
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.terms import Term, apply

FORMATS = {
    "STEPFORGE_FLOAT32": 0, "STEPFORGE_FLOAT64": 1, "STEPFORGE_BFLOAT16": 2,
    "STEPFORGE_FLOAT16": 3,
}  # fmt: skip
"""The numbers that `_stepforge.h` has for formats."""
OF_KIND = {"f32": 0, "f64": 1, "bf16": 2, "f16": 3}
"""Kind of `p` → the format that `step` is called with."""
LOADED, STORED = 1, 2
"""The bits of a column's access."""


@dataclass(frozen=True)
class Element:
    """What `update` does to one element.

    Attributes:
        stores: New tensors, in the kinds of their columns.
        lines: The lines that store them.
        loaded: The tensors that it reads.
        origin: The first line that computes a term.
    """

    stores: dict[str, Term]
    lines: dict[str, int]
    loaded: set[str]
    origin: dict[Term, int]


def element(
    file: CFile, columns: Sequence[str], kinds: Mapping[str, str], numbers: Sequence[Term],
    bits: int,
) -> Element:  # fmt: skip
    """Runs `step` of a file on one element.

    Args:
        file: The file.
        columns: The names of the tensors of a row, in its order.
        kinds: Those that there are → their kinds.
        numbers: Of the host, in float64.
        bits: The options, as `step` gets them.

    Raises:
        Unsupported: It holds something that cannot be lifted.
        Refuted: It does what no rule may.
    """
    call, names = _dispatched(file, bits, OF_KIND[kinds["p"]])
    update = function(file.rule, "update")
    parameters = update.decl.type.args.params
    arguments = call.args.exprs if call.args else []
    if len(parameters) != len(arguments):
        raise Refuted(line_of(call), "`update` has other parameters")
    reader = _Rule(kinds, numbers)
    for parameter, argument in zip(parameters, arguments, strict=True):
        reader.bind(parameter, argument, columns, names)
    reader.body(update)
    for name in reader.stores:
        if name not in kinds:
            raise Refuted(reader.lines[name], f"stores `{name}`, which the options leave out")
    stores = {
        name: reader.noted(apply("cvt", value, kind=kinds[name]), None)
        for name, value in reader.stores.items()
    }
    return Element(stores, reader.lines, reader.loaded, reader.origin)


def function(functions: Mapping[str, Any], name: str) -> Any:
    """A function by its name; raises `Unsupported` if it is missing."""
    if name not in functions:
        raise Unsupported(0, f"no function `{name}`")
    return functions[name]


def _dispatched(file: CFile, bits: int, stored: int) -> tuple[Any, Mapping[str, int]]:
    """The call of `update` that `step` comes to, and what names are numbers there."""
    step = function(file.rule, "step")
    names = {**FORMATS, "options": bits, "stored": stored}
    items = step.body.block_items or []
    if len(items) == 1 and type(items[0]).__name__ == "Switch":
        items = _case(items[0], names)
    if not items or type(items[0]).__name__ != "FuncCall" or items[0].name.name != "update":
        raise Refuted(line_of(step), "`step` does not call `update` for these options")
    for item in items[1:]:
        if type(item).__name__ != "Break":
            raise Unsupported(line_of(item), "a statement behind `update`")
    return items[0], names


def _case(switch: Any, names: Mapping[str, int]) -> list[Any]:
    """The statements of the case that a choice takes, which end before the next one."""
    wanted, default = whole(switch.cond, names), []
    cases = switch.stmt.block_items or []
    for index, case in enumerate(cases):
        last = index == len(cases) - 1
        stops = last or (case.stmts and type(case.stmts[-1]).__name__ == "Break")
        if not stops:
            raise Unsupported(line_of(case), "a case that goes on in the next one")
        if type(case).__name__ == "Default":
            default = case.stmts
        elif whole(case.expr, names) == wanted:
            return list(case.stmts)
    return list(default)


def whole(node: Any, names: Mapping[str, int] = MappingProxyType({})) -> int:
    """An expression of integers that are known; their bits are few and none is negative."""
    match type(node).__name__:
        case "Constant" if node.type == "int" and node.value.isdigit():
            return int(node.value, 8 if node.value.startswith("0") else 10)
        case "ID" if node.name in names:
            return names[node.name]
        case "Cast" if type_of(node.to_type) == "unsigned":
            return whole(node.expr, names)
        case "BinaryOp":
            a, b = whole(node.left, names), whole(node.right, names)
            found = {"|": a | b, "&": a & b}
            if b < 32:
                found |= {"<<": a << b, ">>": a >> b}
            if node.op in found:
                return found[node.op]
    raise Unsupported(line_of(node), "a number that is not known")


@dataclass
class _Bound:
    """What the parameters of a function are, beside its variables."""

    pointers: dict[str, Pointer] = field(default_factory=dict)
    numbers: str = ""
    size: str = ""
    index: str = ""


class _Rule(Reader):
    """`update` on one element.

    Attributes:
        kinds: Of the tensors.
        numbers: Of the host.
        stores: What is stored, in the compute kind.
        lines: Where.
        loaded: The tensors that are read.
    """

    def __init__(self, kinds: Mapping[str, str], numbers: Sequence[Term]) -> None:
        self.real = rule.compute_kind(kinds)
        types = {"real": self.real, "float": "f32", "double": "f64"}

        def builder(kind: str) -> rule.Builder:
            # What `p` is stored in is said by the parameter of this name, as the function has it.
            format = self.values.get("stored")
            parameter = next((k for k, number in OF_KIND.items() if number == format), kind)
            return rule.Builder(kind, True, kind if parameter == "f64" else parameter)

        super().__init__(types, "c", builder)
        self.kinds = kinds
        self.numbers = list(numbers)
        self.bound = _Bound()
        self.stores: dict[str, Term] = {}
        self.lines: dict[str, int] = {}
        self.loaded: set[str] = set()

    def bind(
        self, parameter: Any, argument: Any, columns: Sequence[str], names: Mapping[str, int]
    ) -> None:
        """Gives a parameter what `step` passes."""
        name, line = parameter.name, line_of(argument)
        if type(parameter.type).__name__ == "PtrDecl":
            pointed, const = type_of(parameter.type.type), "const" in parameter.quals
            if pointed == "double" and const and getattr(argument, "name", "") == "numbers":
                self.bound.numbers = name
                return
            if pointed != "real" or type(argument).__name__ != "ArrayRef":
                raise Refuted(line, f"`{name}` is not what `step` passes for it")
            at = whole(argument.subscript)
            if getattr(argument.name, "name", "") != "at" or at >= len(columns):
                raise Refuted(line, f"`{name}` is no tensor of the row")
            tensor = columns[at]
            if tensor in {p.name for p in self.bound.pointers.values()}:
                raise Refuted(line, f"passes `{tensor}` twice")
            self.bound.pointers[name] = Pointer(tensor, const)
            return
        kind = type_of(parameter.type)
        if kind == "int64_t" and getattr(argument, "name", "") == "n":
            self.bound.size = name
            return
        if kind != INT:
            raise Unsupported(line_of(parameter), f"the parameter `{name}`")
        self.declare(name, Variable(INT, True), whole(argument, names), parameter)

    def body(self, update: Any) -> None:
        """Declarations, and the loop over the elements."""
        items = update.body.block_items or []
        loops = [item for item in items if type(item).__name__ == "For"]
        if len(loops) != 1 or items[-1] is not loops[0]:
            raise Unsupported(line_of(update), "other than one loop, at the end")
        self.block(items[:-1])
        loop = loops[0]
        if not self._is_over_all(loop):
            raise Refuted(line_of(loop), "does not go from 0 to n, one by one")
        self.block(loop.stmt.block_items)

    def _is_over_all(self, loop: Any) -> bool:
        """`for (int64_t i = 0; i < n; i++)`."""
        declared: Any = getattr(loop.init, "decls", ())
        if len(declared) != 1 or type_of(declared[0].type) != "int64_t":
            return False
        name, start = declared[0].name, declared[0].init
        if name in self.variables or name in (self.bound.size, self.bound.numbers):
            return False
        self.bound.index = name
        test, after = loop.cond, loop.next
        return bool(
            getattr(start, "value", "") == "0"
            and type(test).__name__ == "BinaryOp"
            and test.op == "<"
            and getattr(test.left, "name", "") == name
            and getattr(test.right, "name", "") == self.bound.size
            and type(after).__name__ == "UnaryOp"
            and after.op in ("p++", "++")
            and getattr(after.expr, "name", "") == name
            and type(loop.stmt).__name__ == "Compound"
        )

    def element(self, node: Any) -> Value:
        """A number of the host, or an element of a tensor in the compute kind."""
        name = getattr(node.name, "name", "")
        if name == self.bound.numbers:
            at = whole(node.subscript)
            if at >= len(self.numbers):
                raise Refuted(line_of(node), f"the host computes no number {at}")
            return self.numbers[at]
        tensor = self._place(node).name
        if self.dead:
            return terms.constant(0.0, self.real)
        if tensor not in self.kinds:
            raise Refuted(line_of(node), f"reads `{tensor}`, which the options leave out")
        if tensor in self.stores:
            raise Refuted(line_of(node), f"reads `{tensor}` after it was stored")
        self.loaded.add(tensor)
        value = apply("cvt", terms.load(tensor, self.kinds[tensor]), kind=self.real)
        return self.noted(value, node)

    def _place(self, node: Any) -> Pointer:
        """The pointer of an element, which has to be that of the loop."""
        name = getattr(node.name, "name", "")
        if name not in self.bound.pointers:
            raise Unsupported(line_of(node), "an index of what is no tensor")
        if getattr(node.subscript, "name", "") != self.bound.index or not self.bound.index:
            raise Refuted(line_of(node), "accesses an element that is not the loop's")
        return self.bound.pointers[name]

    def store(self, place: Any, value: Value) -> None:
        """`x_ptr[i] = …`."""
        if type(place).__name__ != "ArrayRef":
            super().store(place, value)
        pointer, line = self._place(place), line_of(place)
        if pointer.const:
            raise Refuted(line, f"stores `{pointer.name}`, which is constant")
        if self.chosen:
            raise Refuted(line, f"stores `{pointer.name}` under a condition on values")
        if pointer.name in self.stores:
            raise Refuted(line, f"stores `{pointer.name}` twice")
        self.stores[pointer.name] = self.number(value, self.real, place)
        self.lines[pointer.name] = line


@dataclass(frozen=True)
class Around:
    """What else a file says of a kernel.

    Attributes:
        access: The bits of every column: `LOADED`, `STORED`.
        line: Where.
    """

    access: tuple[int, ...]
    line: int


def around(file: CFile, name: str) -> Around:
    """The columns that `<name>_step` declares."""
    step = function(file.rest, f"{name}_step")
    found = [item for item in step.body.block_items or [] if getattr(item, "name", "") == "access"]
    if len(found) != 1 or type(found[0].init).__name__ != "InitList":
        raise Unsupported(line_of(step), "other than one list of accesses")
    return Around(tuple(whole(e) for e in found[0].init.exprs), line_of(found[0]))
