"""What lifting a kernel gives, whatever it was lifted from: loads and stores with terms.

A path is one way through the kernel's branches on `n` and the program's number. On every path each
access is checked against the tensor's bounds for every `n`, and each tensor has to be read at most
once and written exactly once in every element.

In one file, because what a walk finds and how it is judged for every `n` are one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from stepforge.verify.terms import terms
from stepforge.verify.terms.offsets import GRID, PROGRAM, ROW, SIZE, Facts, Offset, number
from stepforge.verify.terms.terms import Term


class Refuted(Exception):
    """The kernel does what no kernel may, with the line where it does.

    Attributes:
        line: The line.
        file: The generated file that it is of; "" for the artefact that is lifted.
    """

    def __init__(self, line: int, what: str, file: str = "") -> None:
        super().__init__(what)
        self.line, self.file = line, file


class Unsupported(Exception):
    """The kernel holds something that the lifter does not know; `line` and `file` as above."""

    def __init__(self, line: int, what: str, file: str = "") -> None:
        super().__init__(what)
        self.line, self.file = line, file


@dataclass(frozen=True, slots=True)
class Pointer:
    """A kernel parameter that is the address of a tensor's first element."""

    tensor: str
    kind: str


@dataclass(frozen=True, slots=True)
class ProgramTable:
    """The address of int32 pairs: for every program the row of its tensor, and its block."""

    def entry(self, index: Offset, line: int) -> Offset:
        """What an element is.

        Raises:
            Refuted: It is not one of the pair of this program.
        """
        for place, found in enumerate((ROW, PROGRAM)):
            if not _differs(index, GRID.times(2) + number(place)):
                return found
        raise Refuted(line, "reads what is not this program's in the table of programs")


@dataclass(frozen=True, slots=True)
class RowTable:
    """The address of int64 rows: for every tensor its addresses, and its number of elements.

    Attributes:
        columns: The tensors of the columns; None where the option set has none.
        numbers: Those of the launch, in float64, where the rows have them behind the size.
    """

    columns: tuple[Pointer | None, ...]
    numbers: tuple[Term, ...] = ()

    def entry(self, index: Offset, line: int) -> Pointer | Offset | Term:
        """What an element is.

        Raises:
            Refuted: It is not one of this program's row, or there is no such tensor.
        """
        found: list[Pointer | Offset | Term | None] = [*self.columns, SIZE, *self.numbers]
        for place, entry in enumerate(found):
            if entry is not None and not _differs(index, ROW.times(len(found)) + number(place)):
                return entry
        raise Refuted(line, "reads what is not this tensor's in the table of rows")


Table = ProgramTable | RowTable
TABLE_BYTES = {ProgramTable: 4, RowTable: 8}
"""Of an element."""


@dataclass(frozen=True, slots=True)
class TableAddress:
    """Addresses in a table.

    Attributes:
        table: The table.
        offset: From its first element, in the units of the artefact.
    """

    table: Table
    offset: Offset


Binding = Pointer | Table | Term | Offset
"""What a parameter of the compiled kernel is: a tensor, a float64 of the host, or `n` (`SIZE`)."""


def starts_at(bindings: Sequence[Binding]) -> Offset:
    """What the number of a program is: with a table its place in the grid alone."""
    return GRID if any(isinstance(b, Table) for b in bindings) else PROGRAM


@dataclass(frozen=True, eq=False)
class Mask:
    """Lanes that access memory.

    Attributes:
        lanes: Those that may at all.
        below: And among them where this is negative; None if that is no condition.
    """

    lanes: np.ndarray[Any, Any]
    below: Offset | None = None

    @cached_property
    def term(self) -> Term:
        """The condition as a term: the same for the same mask."""
        if self.below is None and self.lanes.all():
            return terms.truth(True)
        key = "" if self.below is None else self.below.key
        return terms.fresh(f"mask {key} {np.packbits(self.lanes).tobytes().hex()}", "bool")


@dataclass(frozen=True, eq=False)
class Access:
    """A load or a store.

    Attributes:
        tensor: Name of the tensor.
        kind: Its type.
        index: Element of each lane.
        mask: The lanes that take part.
        value: What is stored, in terms of elements of the same lane; for a load what it gives.
        line: Line of the artefact.
    """

    tensor: str
    kind: str
    index: Offset
    mask: Mask
    value: Term
    line: int


@dataclass
class Path:
    """One way through the kernel.

    Attributes:
        facts: What is known of `n` and the program's number.
        assumed: Conditions on host scalars in the order in which the kernel asks, as they are here.
        loads: What it reads.
        stores: What it writes.
    """

    facts: Facts
    assumed: dict[Term, bool] = field(default_factory=dict)
    loads: list[Access] = field(default_factory=list)
    stores: list[Access] = field(default_factory=list)
    _known: set[tuple[str, Term]] = field(default_factory=set)

    def load(
        self, pointer: Pointer, index: Offset, mask: Mask, other: Term | None, line: int
    ) -> Term:
        """Records a load; its value is `other` where the mask is off, unknown without `other`.

        Raises:
            Refuted: It leaves the tensor for some `n`.
        """
        self._inside(pointer.tensor, index, mask, "reads", line)
        element = terms.load(f"{pointer.tensor}@{index.key}", pointer.kind)
        if other is None:
            other = terms.fresh(f"what {pointer.tensor} has in lanes that are off", pointer.kind)
        value = terms.apply("select", mask.term, element, other)
        self.loads.append(Access(pointer.tensor, pointer.kind, index, mask, element, line))
        return value

    def store(self, pointer: Pointer, index: Offset, mask: Mask, value: Term, line: int) -> None:
        """Records a store.

        Raises:
            Refuted: It leaves the tensor for some `n`, has another type than the tensor, or takes
                its value from other elements.
        """
        self._inside(pointer.tensor, index, mask, "writes", line)
        if value.kind != pointer.kind:
            raise Refuted(line, f"stores {value.kind} to `{pointer.tensor}`, of {pointer.kind}")
        if mask.term.op != "const":
            value = terms.substitute(value, {mask.term: terms.truth(True)})
        value = _own(value, index, pointer.tensor, line)
        self.stores.append(Access(pointer.tensor, pointer.kind, index, mask, value, line))

    def simplified(self, mask: Mask) -> Mask:
        """The mask without a condition that holds on this path."""
        if mask.below is not None:
            known = self.facts.is_below(mask.below)
            if known is not None:
                return Mask(mask.lanes & known)
        return mask

    def _inside(self, tensor: str, index: Offset, mask: Mask, verb: str, line: int) -> None:
        key = index.key, mask.term
        if key not in self._known:  # all tensors have the same size
            self._check(tensor, index, mask, verb, line)
            self._known.add(key)

    def _check(self, tensor: str, index: Offset, mask: Mask, verb: str, line: int) -> None:
        lanes = np.broadcast_to(mask.lanes, np.broadcast(mask.lanes, index.base).shape)
        if not lanes.any():
            return
        if min(index.factors) < 0 or (np.broadcast_to(index.base, lanes.shape)[lanes] < 0).any():
            raise Refuted(line, f"{verb} before the first element of `{tensor}`")
        over = index - SIZE
        known = self.facts.is_below(over)
        if known is None:
            known = self.facts.is_below_each(over)
        if mask.below is not None:
            known = known | Facts((mask.below,)).is_below_each(over)
        if np.broadcast_to(known, lanes.shape)[lanes].all():
            return
        raise Refuted(line, f"{verb} behind the last element of `{tensor}` for some n")


def _own(value: Term, index: Offset, tensor: str, line: int) -> Term:
    """The value with its elements named by tensor alone, if they are all of this lane's element."""
    renamed: dict[Term, Term] = {}
    for node in terms.nodes([value]):
        if node.op == "load":
            name, _, key = node.data.partition("@")
            if key != index.key:
                raise Refuted(line, f"`{tensor}` gets a value of another element of `{name}`")
            renamed[node] = terms.load(name, node.kind)
    return terms.substitute(value, renamed)


@dataclass(frozen=True)
class Lifted:
    """A kernel as terms.

    Attributes:
        paths: Every way through it.
        origin: The first line of the artefact that computes a term.
    """

    paths: tuple[Path, ...]
    origin: Mapping[Term, int]

    def stores(self) -> Iterator[Access]:
        """What is stored, with a choice for every condition on host scalars that a branch asks.

        Of paths that differ in such conditions alone there is one store of an element, if they all
        have it.
        """
        groups: dict[tuple[str, ...], list[Path]] = {}
        for path in self.paths:
            groups.setdefault(path.facts.keys(), []).append(path)
        for paths in groups.values():
            yield from _joined([(tuple(p.assumed.items()), p.stores) for p in paths])


Assumed = tuple[tuple[Term, bool], ...]


def _joined(found: Sequence[tuple[Assumed, Sequence[Access]]]) -> Sequence[Access]:
    """The stores of paths as those of one."""
    if len(found) == 1:
        return found[0][1]
    condition = found[0][0][0][0]  # paths part at the same condition, wherever they lead then
    arms = []
    for holds in (True, False):
        arms.append(
            _joined([(assumed[1:], stores) for assumed, stores in found if assumed[0][1] is holds])
        )
    other = {(a.tensor, a.index.key, a.mask.term): a for a in arms[1]}
    joined = []
    for access in arms[0]:
        twin = other.pop((access.tensor, access.index.key, access.mask.term), access)
        if twin.value is not access.value:
            value = terms.apply("select", condition, access.value, twin.value)
            access = replace(access, value=value)
        joined.append(access)
    return [*joined, *other.values()]


MAX_PATHS = 256
"""Ways through a kernel; a full and a partial block make two, and each branch doubles them."""


class _Fork(Exception):
    """A condition that is open on this path."""


@dataclass
class Walk:
    """One way through a kernel while it is walked.

    Attributes:
        path: What it does.
        decisions: The open conditions on the way, as they were decided.
    """

    path: Path
    decisions: list[bool]
    taken: int = 0

    def is_below(self, offset: Offset, line: int) -> bool:
        """Decides `offset < 0`, a condition that all lanes share.

        Raises:
            Unsupported: Lanes would part ways.
        """
        known = self.path.facts.is_below(offset)
        if known is not None:
            if known.all() or not known.any():
                return bool(known.all())
            raise Unsupported(line, "lanes part ways")
        if not offset.uniform:
            raise Unsupported(line, "lanes part ways")
        if self.taken == len(self.decisions):
            raise _Fork
        decision = self.decisions[self.taken]
        self.taken += 1
        self.path.facts = self.path.facts.assuming(offset, decision)
        return decision

    def holds(self, condition: Term, line: int) -> bool:
        """Decides a condition on host scalars, which all lanes share.

        Raises:
            Unsupported: It depends on the tensors.
        """
        if condition.op == "not":
            return not self.holds(condition.args[0], line)
        if condition.is_constant:
            return bool(condition.data)
        if any(node.op in ("load", "unknown") for node in terms.nodes([condition])):
            raise Unsupported(line, "a branch on values of the tensors")
        if condition not in self.path.assumed:
            if self.taken == len(self.decisions):
                raise _Fork
            self.path.assumed[condition] = self.decisions[self.taken]
            self.taken += 1
        return self.path.assumed[condition]


def walked(block: int, walk: Callable[[Walk], None]) -> tuple[Path, ...]:
    """Walks every way through a kernel.

    Args:
        block: Elements of one program.
        walk: Goes one way, from the start; asks the walk at every open condition.
    """
    pending: list[list[bool]] = [[]]
    paths: list[Path] = []
    while pending:
        decisions = pending.pop()
        way = Walk(Path(Facts.of_launch(block)), decisions)
        try:
            walk(way)
        except _Fork:
            pending += [[*decisions, False], [*decisions, True]]
            if len(pending) + len(paths) > MAX_PATHS:
                raise Unsupported(0, f"more than {MAX_PATHS} ways through the kernel") from None
        else:
            paths.append(way.path)
    return tuple(paths)


def findings(path: Path, block: int, stored: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the accesses of a path, with lines: gaps, overlaps, repeated reads."""
    for verb, accesses in (("reads", path.loads), ("writes", path.stores)):
        for tensor in dict.fromkeys(a.tensor for a in accesses):
            mine = [a for a in accesses if a.tensor == tensor]
            count = np.zeros(block, np.int64)
            for access in mine:
                index, mask = access.index, path.simplified(access.mask)
                if index.factors != (block, 0, 0, 0):
                    yield access.line, f"{verb} `{tensor}` with a stride of {index.program}"
                    break
                lanes = np.broadcast(index.base, mask.lanes).shape
                elements = np.broadcast_to(index.base, lanes)[np.broadcast_to(mask.lanes, lanes)]
                if (elements >= block).any():
                    yield access.line, f"{verb} elements of `{tensor}` of the next program"
                    break
                np.add.at(count, elements.reshape(-1), 1)
                if mask.below is not None and _differs(mask.below, index - SIZE):
                    yield access.line, f"{verb} not all elements of `{tensor}` below n"
                    break
            else:
                if (count > 1).any():
                    yield mine[-1].line, f"{verb} elements of `{tensor}` more than once"
                if (count < 1).any():
                    gap = int((count < 1).argmax())
                    yield mine[0].line, f"leaves out element {gap} of every block of `{tensor}`"
    for tensor in stored:
        if not any(a.tensor == tensor for a in path.stores):
            yield 0, f"never writes `{tensor}`"
    for access in path.stores:
        if access.tensor not in stored:
            yield access.line, f"writes `{access.tensor}`, which it only reads"


def _differs(a: Offset, b: Offset) -> bool:
    return a.factors != b.factors or bool((a.base != b.base).any())
