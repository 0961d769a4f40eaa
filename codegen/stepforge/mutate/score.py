"""mutation-score (R12), how good the verifier is: mutants of all classes, judged by every rung.

`mutant` says what a mutant is. `rules`, `texts`, `c_texts`, `surroundings`, `artefacts` and
`generator` make them in the rule, in generated files, around the rule, in Triton IR and PTX, and in
stepforge itself; `judge` runs the rungs, `report` counts. A mutant that a proof shows to perform
the rule's own rounded operations is no fault, and is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from stepforge.backends.registry import verified
from stepforge.language.spec import Options, Spec
from stepforge.mutate import artefacts, c_texts, generator, rules, surroundings, texts
from stepforge.mutate.judge import Statuses, judged, processes
from stepforge.mutate.mutant import GENERATOR, LEVELS, TARGET, Mutant
from stepforge.mutate.report import Report, Result
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.rungs import compiled
from stepforge.verify.rungs.registry import MUTATION_SCORE

__all__ = ["Mutant", "Report", "Result", "collect", "mutate", "score"]


def mutate(
    specs: Mapping[str, Spec],
    folder: Path,
    count: int,
    equivalents: int,
    seed: int = 0,
    jobs: int | None = None,
    known: Mapping[str, Statuses] | None = None,
    done: Callable[[Mutant, Statuses, int], None] | None = None,
    levels: Collection[str] = tuple(LEVELS),
) -> Report:
    """Makes and judges mutants.

    Args:
        specs: The optimizers, by name.
        folder: Their generated files.
        count: How many faults, over all of them.
        equivalents: How many rewritings that have to pass.
        seed: Of the choice among all mutants, and of the rungs' inputs.
        jobs: Processes of each kind; by default the number of processors.
        known: Verdicts of an earlier run, by the mutants' names, which are not asked for again.
        done: Called with every mutant as it is judged, and their number.
        levels: Where the faults are, of `LEVELS`.
    """
    chosen = collect(specs, folder, count, equivalents, seed, levels)
    known = known or {}
    results = [Result.of(m, known[m.name]) for m in chosen if m.name in known]
    missing = [m for m in chosen if m.name not in known]
    with closing(judged(missing, folder, jobs or processes(), seed)) as coming:
        for mutant, statuses in coming:
            results.append(Result.of(mutant, statuses))
            if done:
                done(mutant, statuses, len(chosen))
    return Report(tuple(sorted(results, key=lambda r: r.name)))


def collect(
    specs: Mapping[str, Spec], folder: Path, count: int, equivalents: int, seed: int,
    levels: Collection[str] = tuple(LEVELS),
) -> list[Mutant]:  # fmt: skip
    """Some of all mutants: every optimizer, level and class in turn; named bugs come first."""
    rng = np.random.default_rng([seed, 12])
    named = [mutant for mutant in rules.bugs(specs) if mutant.level in levels]
    groups: dict[tuple[str, str, str], list[Mutant]] = {}
    same: dict[str, list[Mutant]] = {}
    for spec in specs.values():
        for mutant in _all(spec, folder, levels):
            if mutant.kind == "EQ":
                same.setdefault(spec.name, []).append(mutant)
            else:
                key = (mutant.spec.name, mutant.level, mutant.kind)
                groups.setdefault(key, []).append(mutant)
    for mutant in generator.mutants() if GENERATOR in levels else ():
        groups.setdefault((mutant.what.split(":")[0], mutant.level, mutant.kind), []).append(mutant)
    faults = _spread(list(groups.values()), count - len(named), rng)
    return [*named[:count], *faults, *_spread(list(same.values()), equivalents, rng)]


def _spread(
    groups: Sequence[Sequence[Mutant]], count: int, rng: np.random.Generator
) -> list[Mutant]:
    """So many, one of each group after the other; names are unique."""
    shuffled = [[group[i] for i in rng.permutation(len(group))] for group in groups]
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
    found: dict[str, Mutant] = {}
    for mutant in rounds:
        if len(found) >= max(count, 0):
            break
        if mutant is not None:
            found.setdefault(mutant.name, mutant)
    return list(found.values())


def _all(spec: Spec, folder: Path, levels: Collection[str]) -> Iterator[Mutant]:
    """Every mutant of an optimizer at some levels, with the default options and with all others."""
    for mutant in itertools.chain(_of_texts(spec, folder), surroundings.every(spec)):
        if mutant.level in levels:
            yield mutant
    if compiled_levels := {"ttir", "ptx"}.intersection(levels):
        for mutant in _of_compiled(spec, folder):
            if mutant.level in compiled_levels:
                yield mutant


def _option_sets(spec: Spec) -> Sequence[Options]:
    """The defaults, and everything else."""
    sets = list(spec.option_sets())
    return [sets[0], *sets[-1:]][: len(sets)]


def _of_texts(spec: Spec, folder: Path) -> Iterator[Mutant]:
    """Mutants of the rule and of generated files."""
    files = {
        backend.name: (folder / backend.file(spec.name)).read_text(encoding="utf-8")
        for backend in verified()
    }
    for options in _option_sets(spec):
        yield from rules.mutants(spec, options)
        yield from rules.equivalents(spec, options)
        yield from rules.misnamed(spec, options)
        yield from texts.mutants(spec, options, files["triton"])
        yield from texts.mutants(spec, options, files["multi_tensor"], "multi_tensor")
        yield from c_texts.mutants(spec, options, files["c"])
        yield from c_texts.equivalents(spec, options, files["c"])
        yield from texts.of_fast_mode(spec, options, files["triton"])
        yield from texts.equivalents(spec, options, files["triton"])
        yield from texts.of_reference(spec, options, files["numpy"])


def _of_compiled(spec: Spec, folder: Path) -> Iterator[Mutant]:
    """Mutants of Triton IR and PTX."""
    for options in _option_sets(spec):
        kernel = compiled.load(spec, folder)
        for dtype in ("fp32", "bf16"):
            made = compiled.compile_kernel(kernel, spec, options, TARGET, dtype)
            yield from artefacts.mutants(spec, options, "ttir", made["ttir"], dtype)
            yield from artefacts.mutants(spec, options, "ptx", made["ptx"], dtype)


def score(spec: Spec, folder: Path, seed: int, count: int = 60, jobs: int | None = None) -> Verdict:
    """Of one optimizer: some of its mutants, and whether the other rungs kill them."""
    levels = [level for level in LEVELS if level != GENERATOR]  # no faults of an optimizer
    report = mutate({spec.name: spec}, folder, count, count // 6, seed, jobs, levels=levels)
    status = Status.TESTED if report.passed else Status.REFUTED
    detail = f"{report.killed} of {report.faults} mutants killed"
    if report.survivors:
        detail += f"; alive: {report.survivors[0].name}"
    if report.false_alarms:
        detail += (
            f"; {len(report.false_alarms)} false alarms, such as {report.false_alarms[0].name}"
        )
    return Verdict(
        MUTATION_SCORE.number, spec.name, None, status, report.faults, detail, seed,
        name=MUTATION_SCORE.name,
    )  # fmt: skip
