"""From a difference to the smallest input that shows it, and the line where the two part."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codegen.kernel import lets
from codegen.lower import lower
from codegen.verify import inputs, trace
from codegen.verify.certificate import Counterexample
from codegen.verify.generated import Pair, Text, expected_text
from codegen.verify.interpreter import Bench, Case, Mismatch, narrowed

_TRIALS = 120


class _Trials:
    """Runs cases in freshly imported files, within a budget."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.left = _TRIALS

    def differs(self, case: Case) -> Mismatch | None:
        if self.left <= 0:
            return None
        self.left -= 1
        return Bench(self.bench.spec, self.bench.pair).run(case)


def smallest(bench: Bench, case: Case, mismatch: Mismatch) -> tuple[Case, Mismatch]:
    """Fewer steps, fewer elements, simpler numbers, as long as the two files differ."""
    trials = _Trials(bench)
    case = replace(case, steps=case.steps[: mismatch.step + 1])
    for smaller in _reductions(bench, case, mismatch):
        found = trials.differs(smaller)
        if found:
            case, mismatch = smaller, found
            break
    if 0 < len(case.p) <= 2:
        for simpler in _simpler(case):
            case, mismatch = _accept(trials, case, mismatch, simpler)
    return case, mismatch


def _reductions(bench: Bench, case: Case, mismatch: Mismatch) -> Iterator[Case]:
    """Candidates, smallest first."""
    single, at = narrowed(case, mismatch), mismatch.element
    sizes = [n for n in (1, 2, bench.block - 1, bench.block, bench.block + 1) if n <= len(case.p)]
    if at < len(case.p):
        yield _elements(single, slice(at, at + 1))
        for count in (2, 3, len(case.steps)):
            if count <= len(case.steps):
                yield _elements(_last(case, count), slice(at, at + 1))
    for n in sizes:
        yield _elements(single, slice(0, n))
    yield single
    for n in sizes:
        yield _elements(case, slice(0, n))
    # Only after other calls: the launcher remembers something of the first one.
    if bench.first is not None:
        step = single.steps[0]
        both = replace(single, steps=(replace(step, values=bench.first.values), step))
        yield from (_elements(both, slice(0, n)) for n in sizes)


def _last(case: Case, count: int) -> Case:
    """The first steps of a trajectory, whose last one is the step that differs."""
    if count == len(case.steps):
        return case
    return replace(case, steps=(*case.steps[: count - 1], case.steps[-1]))


def _elements(case: Case, part: slice) -> Case:
    state = case.state and {k: v if np.ndim(v) == 0 else v[part] for k, v in case.state.items()}
    steps = tuple(replace(step, g=step.g[part]) for step in case.steps)
    return replace(case, p=case.p[part], state=state, steps=steps)


def _simpler(case: Case) -> Iterator[tuple[str, list[Any]]]:
    """For every input, the values to try instead of it, simplest first."""
    yield "t", [1, 2]
    for name in case.steps[0].values:
        yield name, [1.0, 0.5, 0.0, 0.25]
    for name in ("p", "g", *(case.state or {})):
        yield name, [0.0, 1.0, 2.0, -1.0]


def _get(case: Case, name: str) -> Any:
    step = case.steps[-1]
    if name == "t":
        return step.t
    if name in step.values:
        return step.values[name]
    array = case.p if name == "p" else step.g if name == "g" else (case.state or {})[name]
    return float(np.asarray(array).reshape(-1)[0])


def _with(case: Case, name: str, value: Any) -> Case:
    def filled(old: Any) -> Any:
        return value if np.ndim(old) == 0 else np.full_like(old, value)

    if name == "t":
        steps = tuple(replace(s, t=value + i) for i, s in enumerate(case.steps))
        return replace(case, steps=steps)
    if name in case.steps[0].values:
        steps = tuple(replace(s, values={**s.values, name: value}) for s in case.steps)
        return replace(case, steps=steps)
    if name == "p":
        return replace(case, p=filled(case.p))
    if name == "g":
        return replace(case, steps=tuple(replace(s, g=filled(s.g)) for s in case.steps))
    state = dict(case.state or {})
    return replace(case, state={**state, name: filled(state[name])})


def _accept(
    trials: _Trials, case: Case, mismatch: Mismatch, simpler: tuple[str, list[Any]]
) -> tuple[Case, Mismatch]:
    name, values = simpler
    if len({step.values.get(name, step.t) for step in case.steps}) > 1:
        return case, mismatch  # a trajectory is about what changes between its steps
    old = _get(case, name)
    rounded = [float(f"{old:.{digits}g}") for digits in (1, 2, 4)] if name != "t" else []
    domains = {h.name: h.domain for h in trials.bench.spec.hyperparameters}
    domains |= {s.name: s.domain for s in trials.bench.spec.states}
    for value in dict.fromkeys([*values, *rounded]):
        if value == old:
            break
        if name in domains and value not in domains[name]:
            continue
        candidate = _with(case, name, value)
        found = trials.differs(candidate)
        if found and found.kind == mismatch.kind and found.tensor == mismatch.tensor:
            return candidate, found
    return case, mismatch


def counterexample(bench: Bench, case: Case, mismatch: Mismatch) -> Counterexample:
    """The case in words, with the lines where the two files part."""
    first, last = case.steps[0], case.steps[mismatch.step]
    given: dict[str, str] = {"t": str(first.t)}
    if len(case.steps) > 1:
        given["t"] = f"{first.t} to {last.t}"
    for name in first.values:
        history = [step.values[name] for step in case.steps[: mismatch.step + 1]]
        changes = len(set(history)) > 1
        given[name] = inputs.listing(history, 6) if changes else inputs.shown(history[0])
    given["p"] = _tensor(case.p, mismatch.element)
    given["g"] = _tensor(last.g, mismatch.element)
    if case.state is None:
        given["state"] = "init"
    for name, value in (case.state or {}).items():
        given[name] = _tensor(value, mismatch.element)
    spec_line, generated_line = _part(bench, case, mismatch)
    return Counterexample(
        mismatch.tensor, case.dtype, len(case.p), mismatch.element, mismatch.step + 1, given,
        mismatch.expected, mismatch.got, spec_line, generated_line,
    )  # fmt: skip


def _tensor(value: Any, element: int) -> str:
    array = np.asarray(value).reshape(-1)
    if array.size == 1:
        return inputs.shown(array[0])
    if element < array.size:
        return f"{inputs.shown(array[element])} at {element} of {array.size}"
    return inputs.listing(array)


def _part(bench: Bench, case: Case, mismatch: Mismatch) -> tuple[str, str]:
    """Spec line and generated line where the first difference appears."""
    spec, options, text = bench.spec, case.options, Text(bench.pair.triton)
    index = trace.last_assignment(spec, options, mismatch.tensor)
    if mismatch.kind == "bounds":
        return trace.spec_line(spec, options, index), _first_line(text, ["mask = ", "tl.store("])
    if mismatch.element < len(case.p):
        part = slice(mismatch.element, mismatch.element + 1)
        case = _elements(case, part)
    theirs = _events(bench, bench.pair.triton, case)
    ours = _events(bench, bench.pair.numpy, case)
    host = {let.name for let in lets(lower(spec).host)}
    kernel = f"{spec.name}_kernel"
    device = [e for e in theirs if e.function == ("step" if e.name in host else kernel)]
    reference = trace.statement_events(spec, options, [e for e in ours if e.function == "step"])
    for number, (a, b) in enumerate(
        zip(reference, trace.statement_events(spec, options, device), strict=True)
    ):
        if a is not None and b is not None and not trace.same(a.value, b.value):
            line = _host_line(bench, case, theirs) or b.line
            return trace.spec_line(spec, options, number), text.at(line)
    line = _host_line(bench, case, theirs)
    where = text.at(line) if line else ""
    tail = mismatch.element >= len(mismatch.before[0]) // bench.block * bench.block
    store = f"tl.store({mismatch.tensor}_ptr"
    scalar = any(s.scalar and s.name == mismatch.tensor for s in spec.states)
    wanted = [f'state["{mismatch.tensor}"] =' if scalar else store, "tl.store("]
    if not scalar and tail and not any("mask" in text.lines[n - 1] for n in text.containing(store)):
        wanted = ["else:"]  # where the store of the tail would have to be
    return trace.spec_line(spec, options, index), where or _first_line(text, wanted, tail)


def _first_line(text: Text, wanted: list[str], last: bool = False) -> str:
    """The first line with one of the texts, in their order; or the last one."""
    for piece in wanted:
        lines = list(text.containing(piece))
        if lines:
            return text.at(lines[-1] if last else lines[0])
    return ""


def _events(bench: Bench, path: Path, case: Case) -> list[trace.Event]:
    """The assignments of one file in the last step of a case."""
    fresh_bench = Bench(bench.spec, Pair(bench.pair.numpy, bench.pair.triton))
    events = trace.record(Text(path), lambda: fresh_bench.run(case))
    if len(case.steps) == 1:
        return events
    starts = [i for i, e in enumerate(events) if e.name == events[0].name]
    return events[starts[-1] :] if starts else events


def _host_line(bench: Bench, case: Case, found: list[trace.Event]) -> int:
    """The line of the launcher whose scalar is not what build would compute; 0 if none."""
    built = expected_text(bench.spec, "triton")
    if built == bench.pair.triton.read_text(encoding="utf-8"):
        return 0
    with tempfile.TemporaryDirectory(prefix="stepforge-") as folder:
        path = Path(folder) / bench.pair.triton.name
        path.write_text(built, encoding="utf-8")
        events = _launcher(bench, path, case)
    values = {e.name: e for e in found if e.function == "step"}
    for event in {e.name: e for e in events}.values():  # of the last step
        other = values.get(event.name)
        if other is not None and not trace.same(event.value, other.value):
            return other.line
    return 0


def _launcher(bench: Bench, path: Path, case: Case) -> list[trace.Event]:
    """The launcher's assignments in a freshly built file."""
    fresh_bench = Bench(bench.spec, Pair(bench.pair.numpy, path))
    events = trace.record(Text(path), lambda: fresh_bench.run(case))
    return [e for e in events if e.function == "step"]
