"""Triton IR as terms: every load and store of a kernel for every `n` and every program.

Lanes are concrete, `n` and the program's number symbols; a branch on them forks the walk. Tensors
of floats are one term, since all lanes do the same to their own elements. What is not an
element-wise kernel, a loop or an atomic for example, is `Unsupported` with its line.

In one file, because it is one table of operations, with what each of them does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.operations.table import OPERATIONS
from stepforge.verify.terms import terms
from stepforge.verify.terms.integers import OF_FLOAT, OF_INTEGER, NoInteger, integer
from stepforge.verify.terms.lifted import (
    Binding,
    Lifted,
    Mask,
    Pointer,
    ProgramTable,
    Refuted,
    Table,
    TableAddress,
    Unsupported,
    Walk,
    starts_at,
    walked,
)
from stepforge.verify.terms.offsets import Offset, Overflow, lanes, number
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term, apply
from stepforge.verify.terms.ttir_text import Operation, parse


@dataclass(frozen=True, slots=True)
class Address:
    """The addresses of elements of a tensor."""

    pointer: Pointer
    index: Offset


Value = Term | Offset | Mask | Address | Pointer | TableAddress
"""A `Pointer` is the integer that a table holds for it."""


def lift(text: str, bindings: Sequence[Binding], block: int) -> Lifted:
    """Lifts the kernel of a module.

    Args:
        text: Triton IR, as the compiler prints it.
        bindings: What its parameters are, in order.
        block: Elements of one program.

    Raises:
        Unsupported: It holds something that this module does not know.
        Refuted: It leaves a tensor for some `n`, or an integer overflows.
    """
    parameters, body = parse(text)
    if len(parameters) != len(bindings):
        raise Refuted(0, f"the kernel has {len(parameters)} parameters, not {len(bindings)}")
    given: dict[str, Value] = {}
    for (name, kind), binding in zip(parameters, bindings, strict=True):
        given[name] = _bound(name, kind, binding)
    origin: dict[Term, int] = {}

    def walk(way: Walk) -> None:
        _run(body, _Run(way, dict(given), origin, starts_at(bindings)))

    return Lifted(walked(block, walk), origin)


def _bound(name: str, kind: str, binding: Binding) -> Value:
    """The value of a parameter, whose type has to be that of what is passed."""
    if isinstance(binding, Pointer):
        if kind != f"*{binding.kind}":
            raise Refuted(0, f"parameter {name} is {kind}, not the address of {binding.kind}")
        return Address(binding, number(0))
    if isinstance(binding, Table):
        if kind != ("*i32" if isinstance(binding, ProgramTable) else "*i64"):
            raise Refuted(0, f"parameter {name} is {kind}, not the address of the table")
        return TableAddress(binding, number(0))
    if isinstance(binding, Offset):
        if not re.fullmatch(r"i\d+", kind):
            raise Refuted(0, f"parameter {name} is {kind}, not an integer")
        return _fits(binding, kind, 0)
    if kind != binding.kind:
        raise Refuted(0, f"parameter {name} is {kind}, not {binding.kind}")
    return binding


@dataclass
class _Run:
    """The values of one walk."""

    walk: Walk
    values: dict[str, Value]
    origin: dict[Term, int]
    program: Offset

    def of(self, name: str, line: int) -> Value:
        """The value of a name."""
        if name not in self.values:
            raise Unsupported(line, f"{name} has no value")
        return self.values[name]

    def term(self, name: str, line: int) -> Term:
        """A float or a condition as a term."""
        value = self.of(name, line)
        if isinstance(value, Mask):
            return value.term
        if isinstance(value, Term):
            return value
        raise Unsupported(line, f"{name} is no number of the formula")

    def offset(self, name: str, line: int) -> Offset:
        """An integer."""
        value = self.of(name, line)
        if isinstance(value, Offset):
            return value
        raise Unsupported(line, f"{name} is no integer that follows from n and the lane")


def _run(body: list[Operation], run: _Run) -> list[Value]:
    """Runs operations; gives what they yield."""
    for operation in body:
        if operation.name == "scf.yield":
            return [run.of(name, operation.line) for name in operation.operands]
        if operation.name == "tt.return":
            return []
        if operation.name == "scf.if":
            found = _choice(operation, run)
        else:
            function = _OPERATIONS.get(operation.name) or _of_table(operation.name)
            if function is None:
                raise Unsupported(operation.line, f"`{operation.name}`")
            try:
                result = function(run, operation)
            except Overflow as error:
                raise Refuted(operation.line, str(error)) from None
            found = [] if result is None else [result]
        if len(found) != len(operation.results):
            raise Unsupported(operation.line, f"`{operation.name}` with other results")
        for name, value in zip(operation.results, found, strict=True):
            run.values[name] = value
            if isinstance(value, Term) and value.args:
                run.origin.setdefault(value, operation.line)
    return []


def _choice(operation: Operation, run: _Run) -> list[Value]:
    """A branch on `n` and the program's number, or on host scalars."""
    condition = run.of(operation.operands[0], operation.line)
    if isinstance(condition, Term) and condition.kind == "bool":
        holds = run.walk.holds(condition, operation.line)
    elif isinstance(condition, Mask) and condition.lanes.all():
        below = condition.below
        holds = below is None or run.walk.is_below(below, operation.line)
    else:
        raise Unsupported(operation.line, "a branch on values of the tensors")
    if not holds and len(operation.regions) == 1:
        return []
    return _run(operation.regions[0 if holds else 1], run)


Function = Callable[[_Run, Operation], Value | None]


def _type(operation: Operation) -> str:
    """The element type at the end: of the result, or what `tensor<1024xf32>` has."""
    found = re.findall(r"\b(i\d+|f16|bf16|f32|f64)\b|x(i\d+|f16|bf16|f32|f64)>", operation.text)
    if not found:
        raise Unsupported(operation.line, f"`{operation.name}` without a type")
    return str(found[-1][0] or found[-1][1])


def _fits(offset: Offset, kind: str, line: int) -> Offset:
    """An integer that fits its type for every `n`."""
    try:
        return offset.checked(int(kind[1:]))
    except Overflow as error:
        raise Refuted(line, str(error)) from None


def _constant(_: _Run, o: Operation) -> Value:
    match = re.match(r" (?:dense<)?(?P<value>[^ >]+)>?", o.text)
    kind = "i1" if match and match["value"] in ("true", "false") else _type(o)
    if match is None:
        raise Unsupported(o.line, "a constant of unknown form")
    written = match["value"]
    if kind == "i1":
        return terms.truth(written in ("true", "1", "-1"))
    try:
        if kind.startswith("i"):
            return number(int(written, 0))
        if written.startswith("0x"):
            integer = f"u{FLOATS[kind](0).itemsize}"
            return terms.constant(
                float(np.array(int(written, 16), integer).view(FLOATS[kind])), kind
            )
        return terms.constant(float(written), kind)
    except ValueError:
        raise Unsupported(o.line, f"the constant `{written[:40]}`") from None


def _float(op: str) -> Function:
    """An operation on floats; its name may depend on the type."""

    def run(r: _Run, o: Operation) -> Value:
        args = [r.term(name, o.line) for name in o.operands]
        kinds = {a.kind for a in args}
        if len(kinds) != 1:
            raise Unsupported(o.line, f"`{o.name}` on different types")
        return apply(op, *args)

    return run


def _of_table(name: str) -> Function | None:
    """What the table of operations says of a name: approximations are exact in float64."""
    found = next((row.ttir[name] for row in OPERATIONS.values() if name in row.ttir), None)
    if found is None or "." not in found:
        return None if found is None else _float(found)

    def run(r: _Run, o: Operation) -> Value:
        args = [r.term(operand, o.line) for operand in o.operands]
        return apply(found.split(".")[0] if args[0].kind == "f64" else found, *args)

    return run


def _integer(op: str) -> Function:
    """An operation on integers or on conditions."""

    def run(r: _Run, o: Operation) -> Value:
        values = [r.of(name, o.line) for name in o.operands]
        kinds = {v.kind for v in values if isinstance(v, Term)} & INTEGERS.keys()
        if kinds:
            return _on_bits(op, kinds.pop(), values, o)
        if isinstance(values[0], Mask | Term):
            return _connected(op, r, o)
        a, b = (r.offset(name, o.line) for name in o.operands)
        kind = _type(o)
        found: Offset | None = None
        if op == "add":
            found = a + b
        elif op == "sub":
            found = a - b
        elif op == "or":
            found = a.joined(b)
        elif op == "mul":
            for x, y in ((a, b), (b, a)):
                if y.concrete and y.uniform:
                    found = x.times(int(y.base.reshape(-1)[0]))
        if found is None and a.concrete and b.concrete and op in _CONCRETE:
            found = Offset(_CONCRETE[op](a.base, b.base))
        if found is None:
            raise Unsupported(o.line, f"`{o.name}` on n or the program's number")
        return _fits(found, kind, o.line)

    return run


_CONCRETE: dict[str, Callable[[Any, Any], Any]] = {
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "div": lambda a, b: (np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b),
    "rem": lambda a, b: np.fmod(a, b), "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _on_bits(op: str, kind: str, values: Sequence[Value], o: Operation) -> Value:
    """Integers that are the bits of floats."""
    try:
        return apply(f"i{op}", *(_bits(v, kind, o.line) for v in values))
    except NoInteger as error:
        raise Unsupported(o.line, str(error)) from None


def _bits(value: Value, kind: str, line: int) -> Term:
    """The bits of a float, or a constant, which is the same in all lanes."""
    if isinstance(value, Term) and value.kind == kind:
        return value
    if isinstance(value, Offset) and value.concrete and value.uniform:
        return integer(int(value.base.reshape(-1)[0]), kind)
    raise Unsupported(line, "an integer that is not the bits of a float, with one that is")


def _connected(op: str, r: _Run, o: Operation) -> Value:
    """`and`, `or`, `xor` of conditions."""
    a, b = (r.of(name, o.line) for name in o.operands)
    if isinstance(a, Mask) and isinstance(b, Mask):
        if op == "and" and a.below is None:
            return Mask(a.lanes & b.lanes, b.below)
        if op == "and" and (b.below is None or b.below.key == a.below.key):  # type: ignore[union-attr]
            return Mask(a.lanes & b.lanes, a.below)
        raise Unsupported(o.line, "a mask of several conditions")
    x, y = r.term(o.operands[0], o.line), r.term(o.operands[1], o.line)
    if op == "xor":
        return apply("or", apply("and", x, apply("not", y)), apply("and", apply("not", x), y))
    if op not in ("and", "or"):
        raise Unsupported(o.line, f"`{o.name}` on conditions")
    return apply(op, x, y)


_ORDERED = ("lt", "le", "gt", "ge", "eq")


def _compare_floats(r: _Run, o: Operation) -> Value:
    predicate = o.text.split()[0].rstrip(",")
    a, b = (r.term(name, o.line) for name in o.operands)
    return compared(predicate, a, b, o.line)


def compared(predicate: str, a: Term, b: Term, line: int) -> Term:
    """A comparison by its name in LLVM: `o…` is false on NaN, `u…` true."""
    either = apply("nan", a, b)
    match predicate[0], predicate[1:]:
        case ("o", op) if op in _ORDERED:
            return apply(op, a, b)
        case ("o", "ne"):
            return apply("and", apply("ne", a, b), apply("not", either))
        case ("u", "ne"):
            return apply("ne", a, b)
        case ("u", "eq"):
            return apply("or", apply("eq", a, b), either)
        case ("u", op) if op in _ORDERED:
            opposite = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}[op]
            return apply("not", apply(opposite, a, b))
        case ("o", "rd"):
            return apply("not", either)
        case ("u", "no"):
            return either
    raise Unsupported(line, f"the comparison {predicate}")


def _compare_integers(r: _Run, o: Operation) -> Value:
    predicate = o.text.split()[0].rstrip(",")
    a, b = (r.offset(name, o.line) for name in o.operands)
    return mask_of(predicate, a, b, o.line)


def mask_of(predicate: str, a: Offset, b: Offset, line: int) -> Mask:
    """An integer comparison, as the lanes for which it holds."""
    if predicate[0] == "u" and (a.extent()[0] < 0 or b.extent()[0] < 0):
        raise Unsupported(line, "an unsigned comparison of negative numbers")
    difference = a - b
    match predicate.lstrip("su"):
        case "lt":
            below = difference
        case "le":
            below = difference - number(1)
        case "gt":
            below = -difference
        case "ge":
            below = -difference - number(1)
        case "eq" | "ne" if difference.concrete:
            zero = difference.base == 0
            return Mask(np.atleast_1d(zero if predicate == "eq" else ~zero))
        case _:
            raise Unsupported(line, f"the comparison {predicate} of n or the program's number")
    if below.concrete:
        return Mask(np.atleast_1d(below.base < 0))
    return Mask(np.ones(below.base.shape or (1,), bool), below)


def _select(r: _Run, o: Operation) -> Value:
    condition = r.of(o.operands[0], o.line)
    a, b = (r.of(name, o.line) for name in o.operands[1:])
    if not isinstance(condition, Mask) and (kind := _type(o)) in INTEGERS:
        arms = (_bits(v, kind, o.line) for v in (a, b))
        return apply("select", r.term(o.operands[0], o.line), *arms)
    if isinstance(a, Term | Mask) and isinstance(b, Term | Mask):
        x, y = (r.term(name, o.line) for name in o.operands[1:])
        return apply("select", r.term(o.operands[0], o.line), x, y)
    if isinstance(condition, Mask) and condition.below is None and condition.lanes.all():
        return a
    raise Unsupported(o.line, "a choice between integers")


def _convert(r: _Run, o: Operation) -> Value:
    return apply("cvt", r.term(o.operands[0], o.line), kind=_type(o))


def _to_float(r: _Run, o: Operation) -> Value:
    """A condition as a number."""
    kind, value = _type(o), r.of(o.operands[0], o.line)
    if isinstance(value, Mask) or (isinstance(value, Term) and value.kind == "bool"):
        one, zero = (terms.constant(x, kind) for x in (1.0, 0.0))
        return apply("select", r.term(o.operands[0], o.line), one, zero)
    raise Unsupported(o.line, "an integer as a number of the formula")


def _resize(r: _Run, o: Operation) -> Value:
    return _fits(r.offset(o.operands[0], o.line), _type(o), o.line)


def _same(r: _Run, o: Operation) -> Value:
    return r.of(o.operands[0], o.line)


def _range(_: _Run, o: Operation) -> Value:
    found = {m[1]: int(m[2]) for m in re.finditer(r"(start|end) = (-?\d+)", o.text)}
    return Offset(lanes(found["end"] - found["start"]).base + found["start"])


def _program(r: _Run, o: Operation) -> Value:
    if o.text.split()[0] != "x":
        raise Unsupported(o.line, "a grid of several dimensions")
    return r.program


def _to_pointer(r: _Run, o: Operation) -> Value:
    """An integer of a table as the address that it is."""
    value, wanted = r.of(o.operands[0], o.line), re.search(r"-> !tt\.ptr<(\w+)>$", o.text)
    if isinstance(value, Pointer) and wanted:
        if wanted[1] != value.kind:
            raise Refuted(o.line, f"takes `{value.tensor}`, of {value.kind}, for {wanted[1]}")
        return Address(value, number(0))
    raise Unsupported(o.line, "an integer as an address")


def _reinterpret(r: _Run, o: Operation) -> Value:
    """The bits of a number of a table as that number."""
    value, kind = r.of(o.operands[0], o.line), _type(o)
    if isinstance(value, Term):
        if value.kind == "f64" and o.text.endswith("i64 -> f64"):
            return value  # a number of a table, whose type is that of its rows
        for op, kinds in (("asint", OF_FLOAT), ("asfloat", OF_INTEGER)):
            if kinds.get(value.kind) == kind:
                return apply(op, value)
    raise Unsupported(o.line, "the bits of a value as another one")


def _advance(r: _Run, o: Operation) -> Value:
    address = r.of(o.operands[0], o.line)
    if isinstance(address, TableAddress):
        return TableAddress(address.table, address.offset + r.offset(o.operands[1], o.line))
    if not isinstance(address, Address):
        raise Unsupported(o.line, "an address that is none of a tensor")
    return Address(address.pointer, address.index + r.offset(o.operands[1], o.line))


def _access(r: _Run, o: Operation, names: Sequence[str]) -> tuple[Address, Mask]:
    address = r.of(names[0], o.line)
    if not isinstance(address, Address):
        raise Unsupported(o.line, "an address that is none of a tensor")
    mask: Value = Mask(np.ones(1, bool)) if len(names) < 2 else r.of(names[1], o.line)
    if isinstance(mask, Term) and mask.is_constant:
        mask = Mask(np.full(1, bool(mask.data)))
    if not isinstance(mask, Mask):
        raise Unsupported(o.line, "a mask by values of the tensors")
    shape = np.broadcast(address.index.base, mask.lanes).shape
    return address, Mask(np.broadcast_to(mask.lanes, shape), mask.below)


def _load(r: _Run, o: Operation) -> Value:
    place = r.of(o.operands[0], o.line)
    if isinstance(place, TableAddress) and len(o.operands) == 1:
        return place.table.entry(place.offset, o.line)
    address, mask = _access(r, o, o.operands[:2])
    other = r.term(o.operands[2], o.line) if len(o.operands) == 3 else None
    mask = r.walk.path.simplified(mask)
    value = r.walk.path.load(address.pointer, address.index, mask, other, o.line)
    r.origin.setdefault(value, o.line)
    return value


def _store(r: _Run, o: Operation) -> None:
    address, mask = _access(r, o, (o.operands[0], *o.operands[2:]))
    value = r.term(o.operands[1], o.line)
    mask = r.walk.path.simplified(mask)
    r.walk.path.store(address.pointer, address.index, mask, value, o.line)


_OPERATIONS: dict[str, Function] = {
    "arith.constant": _constant,
    "math.fma": _float("fma"),
    "arith.cmpf": _compare_floats,
    "arith.cmpi": _compare_integers,
    "arith.select": _select,
    "arith.extf": _convert,
    "arith.truncf": _convert,
    "arith.uitofp": _to_float,
    "arith.addi": _integer("add"),
    "arith.subi": _integer("sub"),
    "arith.muli": _integer("mul"),
    "arith.andi": _integer("and"),
    "arith.ori": _integer("or"),
    "arith.xori": _integer("xor"),
    "arith.divsi": _integer("div"),
    "arith.remsi": _integer("rem"),
    "arith.shli": _integer("shl"),
    "arith.shrsi": _integer("shr"),
    "arith.shrui": _integer("ushr"),
    "arith.maxsi": _integer("max"),
    "arith.minsi": _integer("min"),
    "arith.extsi": _resize,
    "arith.extui": _resize,
    "arith.trunci": _resize,
    "tt.splat": _same,
    "tt.broadcast": _same,
    "tt.make_range": _range,
    "tt.get_program_id": _program,
    "tt.addptr": _advance,
    "tt.int_to_ptr": _to_pointer,
    "tt.bitcast": _reinterpret,
    "arith.bitcast": _reinterpret,
    "tt.load": _load,
    "tt.store": _store,
}
