"""The lowered program: what every backend prints.

`Kernel.rule` is the whole rule with the kind of every value. `Kernel.host` and `Kernel.stages` are
the same rule split for a device: the host computes scalars in float64, a stage updates elements.
Today there is one stage; reductions and matrix products will be further ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from stepforge.language.diagnostics import GeneratorBug
from stepforge.language.expression import Expression
from stepforge.language.kinds import Kind
from stepforge.language.spec import Spec
from stepforge.operations.table import OPERATIONS


@dataclass(frozen=True, slots=True)
class Value:
    """A typed expression: an operation, or a leaf with `op` "name" or "number" and its text."""

    op: str
    args: tuple[Value, ...] = ()
    kind: Kind = Kind.SCALAR
    text: str = ""

    @property
    def boolean(self) -> bool:
        """Whether it is a condition computed from values."""
        if self.op == "select":
            return self.args[1].boolean
        if self.op == "number":
            return self.text in ("True", "False")
        return self.op in OPERATIONS and OPERATIONS[self.op].boolean

    @property
    def is_literal(self) -> bool:
        """Whether it is a number, perhaps negated."""
        if self.op == "neg":
            return self.args[0].op == "number"
        return self.op == "number"

    def names(self) -> Iterator[str]:
        """The names it reads, left to right."""
        if self.op == "name":
            yield self.text
        for argument in self.args:
            yield from argument.names()

    def operations(self) -> Iterator[Value]:
        """All of its nodes, inner ones first."""
        for argument in self.args:
            yield from argument.operations()
        yield self

    def __str__(self) -> str:
        if not self.args:
            return self.text
        return f"({self.op} {' '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True)
class Let:
    """`name = value`."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Branch:
    """`if` on options, or on host scalars; a stage reads such a condition as an argument."""

    condition: Value
    body: tuple[Step, ...]
    orelse: tuple[Step, ...]


Step = Let | Branch


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the kernel: `p`, `g`, an input or a state.

    `when` is None if it always exists.
    """

    name: str
    loaded: bool
    stored: bool
    when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """A host scalar that a stage reads: float64, or a condition.

    Attributes:
        name: Its name.
        boolean: Whether it is a condition.
        decides: Whether branches read it, which compare it with 0: one condition for all elements.
    """

    name: str
    boolean: bool
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """One element-wise pass: load, update, store."""

    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """An optimizer after lowering."""

    spec: Spec
    tensors: tuple[Tensor, ...]
    rule: tuple[Step, ...]
    host: tuple[Step, ...]
    arguments: tuple[Argument, ...]
    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        lines = [f"kernel {self.spec.name}"]
        for tensor in self.tensors:
            access = "+".join(
                word for word, is_so in (("load", tensor.loaded), ("store", tensor.stored)) if is_so
            )
            when = next((s.when_text for s in self.spec.states if s.name == tensor.name), "")
            lines.append(f"  tensor {tensor.name}: {access}{f' when {when}' if when else ''}")
        lines += ["host (float64)", *_indented(self.host, 1)]
        for argument in self.arguments:
            lines.append(f"  argument {argument.name}: {'bool' if argument.boolean else 'real'}")
        for number, stage in enumerate(self.stages):
            lines += [f"stage {number}: element", *_indented(stage.body, 1)]
        return "\n".join(lines)


def _indented(steps: Iterable[Step], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for step in steps:
        if isinstance(step, Let):
            yield f"{pad}{step.name} = {step.value}"
        else:
            yield f"{pad}if {step.condition}"
            yield from _indented(step.body, depth + 1)
            if step.orelse:
                yield f"{pad}else"
                yield from _indented(step.orelse, depth + 1)


def lets(steps: Iterable[Step]) -> Iterator[Let]:
    """Every assignment, whatever the options."""
    for step in steps:
        if isinstance(step, Let):
            yield step
        else:
            yield from lets(step.body)
            yield from lets(step.orelse)


def values(steps: Iterable[Step]) -> Iterator[Value]:
    """Everything that is computed, conditions of branches included, whatever the options."""
    for step in steps:
        if isinstance(step, Let):
            yield step.value
        else:
            yield step.condition
            yield from values((*step.body, *step.orelse))


def without_paths(steps: Iterable[Step], known: Collection[str] = ()) -> tuple[Step, ...]:
    """Steps on the host with choices in place of branches on host scalars.

    Both arms are computed, which is possible where no operation raises an exception.

    Args:
        steps: The steps.
        known: Names that have a value before them.
    """
    found: list[Step] = []
    names = set(known)
    for step in steps:
        if isinstance(step, Let):
            found.append(step)
        elif step.condition.kind is Kind.OPTION:
            arms = [without_paths(arm, names) for arm in (step.body, step.orelse)]
            found.append(Branch(step.condition, *arms))
        else:
            for is_taken, arm in ((True, step.body), (False, step.orelse)):
                for inner in without_paths(arm, names):
                    found.append(_chosen(step.condition, is_taken, inner, names))
                    names |= {let.name for let in lets([found[-1]])}
        names |= {let.name for let in lets([found[-1]])} if found else set()
    return tuple(found)


def _chosen(condition: Value, is_taken: bool, step: Step, known: Collection[str]) -> Step:
    """A step that has an effect only if a condition holds, or does not."""
    if isinstance(step, Branch):
        body, orelse = (
            tuple(_chosen(condition, is_taken, inner, known) for inner in arm)
            for arm in (step.body, step.orelse)
        )
        return Branch(step.condition, body, orelse)
    zero = Value("number", (), Kind.SCALAR, "False" if step.value.boolean else "0.0")
    old = Value("name", (), Kind.SCALAR, step.name) if step.name in known else zero
    arms = (step.value, old) if is_taken else (old, step.value)
    return Let(step.name, Value("select", (condition, *arms), Kind.SCALAR))


def validate(kernel: Kernel) -> None:
    """Checks what lowering promises.

    Raises:
        GeneratorBug: A stage computes a scalar, reads a name that nobody provides, has an operation
            without rounding rule, or does not assign what is stored.
    """
    spec = kernel.spec
    options = {option.name for option in spec.options}
    provided = {tensor.name for tensor in kernel.tensors} | {a.name for a in kernel.arguments}
    host = {number.name for number in spec.numbers} | {s.name for s in spec.states if s.scalar}
    host |= {"t"} | {let.name for let in lets(kernel.host)}
    for argument in kernel.arguments:
        if argument.name not in host:
            raise GeneratorBug(f"{spec.name}: argument {argument.name} is never computed")
    assigned = {let.name for stage in kernel.stages for let in lets(stage.body)}
    for let in (let for stage in kernel.stages for let in lets(stage.body)):
        for value in let.value.operations():
            if value.op == "name":
                if value.text not in provided | assigned | options:
                    raise GeneratorBug(f"{spec.name}: `{value.text}` in a stage has no value")
            elif value.kind is Kind.SCALAR and not value.is_literal:
                raise GeneratorBug(f"{spec.name}: `{value}` is computed on the device")
    for tensor in kernel.tensors:
        if tensor.stored and tensor.name not in assigned:
            raise GeneratorBug(f"{spec.name}: `{tensor.name}` is stored but never assigned")
