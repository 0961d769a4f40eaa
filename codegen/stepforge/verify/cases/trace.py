"""Where two executions part: the values of every assignment of a generated file, in order."""

from __future__ import annotations

import math
import operator
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from stepforge.language.spec import Options, Spec
from stepforge.operations.table import OPERATIONS
from stepforge.verify.files.generated import Text
from stepforge.verify.reading import reader
from stepforge.verify.reading.tree import Apply, Assign, Expression, Name, Number, Statement, holds


@dataclass(frozen=True, slots=True)
class Event:
    """A name that got a value in a line of a function."""

    function: str
    line: int
    name: str
    value: float | None


def record(text: Text, action: Callable[[], Any]) -> list[Event]:
    """Runs an action and notes every assignment of the file's functions, first elements only.

    Exceptions of the action are the caller's to expect; the events so far are kept.
    """
    events: list[Event] = []
    targets, paths = text.targets, {str(text.path), str(text.path.resolve())}
    pending: dict[FrameType, int] = {}

    def finish(frame: FrameType) -> None:
        line = pending.pop(frame, None)
        if line is not None and line in targets:
            first, name = targets[line]
            if name in frame.f_locals:
                value = _first(frame.f_locals[name])
                events.append(Event(frame.f_code.co_name, first, name, value))

    def local(frame: FrameType, kind: str, _: Any) -> Any:
        if kind == "line":
            before = targets.get(pending.get(frame, 0))
            now = targets.get(frame.f_lineno)
            if before is None or before != now:
                finish(frame)
                pending[frame] = frame.f_lineno
        elif kind == "return":
            finish(frame)
        return local

    def tracer(frame: FrameType, kind: str, _: Any) -> Any:
        return local if frame.f_code.co_filename in paths else None

    outer = sys.gettrace()
    sys.settrace(tracer)
    try:
        action()
    except Exception:  # the events up to the failure are what is wanted
        pass
    finally:
        sys.settrace(outer)
    return events


def _first(value: Any) -> float | None:
    """The first element of an array, a Triton tensor or a number; None if there is none."""
    handle = getattr(value, "handle", None)
    data = getattr(handle, "data", value)
    try:
        flat = np.asarray(data).reshape(-1)
        return float(flat[0]) if flat.size and flat.dtype.kind in "fiub" else None
    except (TypeError, ValueError):
        return None


def same(a: float | None, b: float | None) -> bool:
    """Equal in every bit; any NaN equals any NaN."""
    if a is None or b is None or (a != a and b != b):
        return True
    return a == b and np.signbit(a) == np.signbit(b)


def statement_events(
    spec: Spec, options: Options, events: list[Event], ran: Sequence[bool]
) -> list[Event | None]:
    """The event of every statement that may run under these options.

    The assignments of a name in the rule are the last ones of that name in a function; earlier ones
    load or convert it.

    Args:
        spec: The spec.
        options: The option set.
        events: Those of one step.
        ran: Which of the statements did run, see `ran`.
    """
    statements = reader.of(spec).straight(options)
    by_name: dict[str, list[Event]] = {}
    for event in events:
        by_name.setdefault(event.name, []).append(event)
    remaining = Counter(s.name for s, did in zip(statements, ran, strict=True) if did)
    found: list[Event | None] = []
    for statement, did in zip(statements, ran, strict=True):
        if not did:
            found.append(None)
            continue
        history = by_name.get(statement.name, [])
        back = remaining[statement.name]
        remaining[statement.name] -= 1
        found.append(history[-back] if len(history) >= back else None)
    return found


def ran(spec: Spec, options: Options, scalars: Mapping[str, float]) -> list[bool]:
    """Which of the statements that may run under these options do.

    Args:
        spec: The spec.
        options: The option set.
        scalars: The hyperparameters and `t`; a condition on more than them counts as true.
    """

    def visit(statements: tuple[Statement, ...], runs: bool) -> Iterator[bool]:
        for statement in statements:
            if isinstance(statement, Assign):
                yield runs
            elif (choice := holds(statement.condition, options)) is not None:
                yield from visit(statement.body if choice else statement.orelse, runs)
            else:
                holding = _holds(statement.condition, scalars)
                yield from visit(statement.body, runs and holding)
                yield from visit(statement.orelse, runs and not holding)

    return list(visit(reader.of(spec).rule, True))


def _holds(condition: Expression, scalars: Mapping[str, float]) -> bool:
    """A condition on numbers that are known; true if one of them is not."""
    if not isinstance(condition, Apply):
        return True
    row = OPERATIONS[condition.op]
    if row.conditions:
        return bool(row.value(math, *(_holds(a, scalars) for a in condition.args)))
    if not row.compares:
        return True
    try:
        left, right = (_number(a, scalars) for a in condition.args)
    except (ArithmeticError, KeyError):
        return True
    return bool(row.value(math, left, right))


def _number(e: Expression, scalars: Mapping[str, float]) -> float:
    """The float64 value of arithmetic on numbers that are known."""
    if isinstance(e, Number):
        return float(e.value)
    if isinstance(e, Name):
        return scalars[e.id]
    operation = _ARITHMETIC[e.op]
    return operation(*(_number(argument, scalars) for argument in e.args))


_ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "neg": operator.neg, "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "div": operator.truediv, "mod": operator.mod,
}  # fmt: skip


def spec_line(spec: Spec, options: Options, index: int) -> str:
    """`file:line: text` of the statement with this index under these options."""
    return reader.place(spec, reader.of(spec).straight(options)[index])


def state_line(spec: Spec, name: str) -> str:
    """`file:line: text` of the declaration of a state."""
    line = next(s.span.line for s in spec.states if s.name == name)
    return spec.source.quoted(line)


def last_assignment(spec: Spec, options: Options, name: str) -> int:
    """The index of the statement that gives a stored tensor its value."""
    statements = reader.of(spec).straight(options)
    return max((i for i, s in enumerate(statements) if s.name == name), default=0)
