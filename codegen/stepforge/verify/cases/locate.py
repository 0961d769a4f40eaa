"""A difference in words, with the lines of spec and kernel where the two files part."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stepforge.language.names import kernel_of
from stepforge.verify.cases import inputs, trace
from stepforge.verify.cases.bench import Bench, Case, Mismatch
from stepforge.verify.cases.shrink import elements, values_of
from stepforge.verify.certificate import Counterexample
from stepforge.verify.files.generated import Pair, Text, expected_text
from stepforge.verify.reading import reader

Events = list[trace.Event]


def counterexample(bench: Bench, case: Case, mismatch: Mismatch) -> Counterexample:
    """The case in words, with the lines where the two files part."""
    last = case.steps[mismatch.step]
    names = (*last.values, "p", "g", *(case.state or {}))
    given = {"t": str(case.steps[0].t)}
    if mismatch.step:
        given["t"] += f" to {last.t}"
    given |= {name: _listed(values_of(case, name), mismatch) for name in names}
    if case.state is None:
        given["state"] = "init"
    try:
        spec_line, generated_line = _lines(bench, case, mismatch)
    except Exception:  # an edited file need not be readable for Python, nor run twice
        spec_line, generated_line = "", mismatch.where
    return Counterexample(
        mismatch.tensor, case.dtype, case.p.size, mismatch.element, mismatch.step + 1, given,
        mismatch.expected, mismatch.got, spec_line, generated_line,
    )  # fmt: skip


def _listed(history: Sequence[Any], mismatch: Mismatch) -> str:
    """The values of an input, once if they are the same in all steps."""
    texts = [_tensor(value, mismatch.element) for value in history[: mismatch.step + 1]]
    if len(set(texts)) == 1:
        return texts[0]
    return f"[{', '.join(texts[:8])}{', …' if len(texts) > 8 else ''}]"


def _tensor(value: Any, element: int) -> str:
    array = np.asarray(value).reshape(-1)
    if array.size == 0:
        return "[]"
    if (array == array[0]).all():
        return inputs.shown(array[0])
    if 0 <= element < array.size:
        return f"{inputs.shown(array[element])} at {element} of {array.size}"
    return inputs.listing(array)


def _lines(bench: Bench, case: Case, mismatch: Mismatch) -> tuple[str, str]:
    """Spec line and generated line where the first difference appears."""
    spec, options, text = bench.spec, case.options, Text(bench.pair.triton)
    if mismatch.kind == "start":
        start = text.first(f'state["{mismatch.tensor}"] =', "def init(")
        return trace.state_line(spec, mismatch.tensor), start
    last = trace.spec_line(spec, options, trace.last_assignment(spec, options, mismatch.tensor))
    if mismatch.kind == "bounds":
        return last, text.first("mask = ", "tl.store(")
    if 0 <= mismatch.element < case.p.size:
        case = elements(case, slice(mismatch.element, mismatch.element + 1))
    kernel = _recorded(bench, bench.pair, bench.pair.triton, case)
    scalar = _wrong_scalar(bench, case, kernel)
    where = mismatch.where or (text.at(scalar) if scalar else "")
    statement = _first_difference(bench, case, kernel)
    if statement is not None:
        number, line = statement
        return trace.spec_line(spec, options, number), where or text.at(line)
    return last, where or _store_line(bench, text, mismatch)


def _first_difference(bench: Bench, case: Case, kernel: Events) -> tuple[int, int] | None:
    """Number and generated line of the first statement that gives another value than NumPy."""
    spec, options = bench.spec, case.options
    on_host = {s.name for s in reader.of(spec).straight(options) if s.on_host}
    function = kernel_of(spec)
    theirs = [e for e in kernel if e.function == ("step" if e.name in on_host else function)]
    ours = _recorded(bench, bench.pair, bench.pair.numpy, case)
    last = case.steps[-1]
    ran = trace.ran(spec, options, {**last.values, "t": last.t})
    pairs = zip(
        trace.statement_events(spec, options, [e for e in ours if e.function == "step"], ran),
        trace.statement_events(spec, options, theirs, ran),
        strict=True,
    )
    for number, (a, b) in enumerate(pairs):
        if a is not None and b is not None and not trace.same(a.value, b.value):
            return number, b.line
    return None


def _wrong_scalar(bench: Bench, case: Case, kernel: Events) -> int:
    """The line of the launcher whose scalar is not what build would compute; 0 if none."""
    built = expected_text(bench.spec, "triton")
    if built == bench.pair.triton.read_text(encoding="utf-8"):
        return 0
    with tempfile.TemporaryDirectory(prefix="stepforge-") as folder:
        path = Path(folder) / bench.pair.triton.name
        path.write_text(built, encoding="utf-8")
        right = _recorded(bench, replace(bench.pair, triton=path), path, case)
    found = {e.name: e for e in kernel if e.function == "step"}
    for event in {e.name: e for e in right if e.function == "step"}.values():
        other = found.get(event.name)
        if other is not None and not trace.same(event.value, other.value):
            return other.line
    return 0


def _recorded(bench: Bench, pair: Pair, path: Path, case: Case) -> Events:
    """The assignments of one file of a pair in the last step of a case."""
    fresh = Bench(bench.spec, pair)
    events = trace.record(Text(path), lambda: fresh.run(case))
    if len(case.steps) == 1:
        return events
    starts = [i for i, e in enumerate(events) if e.name == events[0].name]
    return events[starts[-1] :] if starts else events


def _store_line(bench: Bench, text: Text, mismatch: Mismatch) -> str:
    """The line that stores the wrong tensor, or would have to."""
    name = mismatch.tensor
    if any(s.scalar and s.name == name for s in bench.spec.states):
        return text.first(f'state["{name}"] =', "tl.store(")
    store, size = f"tl.store({name}_ptr", mismatch.before[0].size
    in_tail = mismatch.element >= size // bench.block * bench.block
    if in_tail and not any("mask" in text.lines[n - 1] for n in text.containing(store)):
        return text.first("else:", last=True)
    return text.first(store, "tl.store(", last=in_tail)
