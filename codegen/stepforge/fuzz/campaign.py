"""Runs numbered cases through everything, makes small what fails, and keeps it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from stepforge.backends.registry import BACKENDS, shared
from stepforge.backends.render import copied
from stepforge.fuzz import cases, shrink
from stepforge.fuzz.draft import Draft
from stepforge.fuzz.front import Built, Fault
from stepforge.language.diagnostics import printable
from stepforge.language.spec import Options, Spec
from stepforge.verify.certificate import Status, Verdict, describe
from stepforge.verify.run.tasks import Group
from stepforge.verify.rungs.registry import RUNGS, Rung
from stepforge.verify.rungs.task import Task

BATCH = 250
"""Cases between two starts of the verifier's workers."""
SHRUNK = 1
"""Cases that are made small of those that fail in the same way."""
SECONDS = 60.0
"""After which a case is as small as it gets."""
SLOW_TRIES = 60
"""Smaller texts that are tried of one that does not end."""
BUILD, TEXTS = "check and build", "ill-formed texts"
"""Stages that are no rungs."""


class Runs(Protocol):
    """What a campaign needs of processes; see `workers.Workers`."""

    def build(self, texts: Sequence[str]) -> list[Built | Fault]:
        """Checks and builds specs."""

    def examine(self, texts: Sequence[bytes]) -> list[str | Fault]:
        """Checks texts."""

    def verdicts(self, groups: Iterable[Group]) -> Iterator[Verdict]:
        """Runs rungs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that fails.

    Attributes:
        number: Of the case.
        stage: The number of a rung, `BUILD` or `TEXTS`.
        fault: What is wrong with it.
        task: The rung's task, if it was one.
        path: The file that it was written to.
        shrunk: Whether it was made small.
    """

    number: int
    stage: str
    fault: Fault
    task: Task | None = None
    path: Path = Path()
    shrunk: bool = False


@dataclass
class Report:
    """What a campaign has found.

    Attributes:
        outcomes: Stage and outcome → how many cases: "passed", "no value", "undecided" or
            "failed", of texts "refused", "accepted" or "failed".
        findings: What fails.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return not self.findings


class Campaign:
    """Cases of one seed on their way.

    Args:
        seed: Of every case.
        runs: Where they run.
        advance: Called with done, total, and what was done last.
        rungs: The rungs that specs go through; by default all that random specs are for.
    """

    def __init__(
        self,
        seed: int,
        runs: Runs,
        advance: Callable[[int, int, str], None] | None = None,
        rungs: tuple[Rung, ...] | None = None,
    ) -> None:
        self.seed = seed
        self.runs = runs
        self.rungs = cases.asked() if rungs is None else rungs
        self.report = Report()
        self._advance = advance
        self._done = self._total = 0

    def run(self, specs: Sequence[int], texts: Sequence[int], keep: Path) -> Report:
        """Runs the cases of these numbers.

        Args:
            specs: Of random specs.
            texts: Of ill-formed texts.
            keep: The folder that failing cases are written to; it is made when there is one.
        """
        self._total = len(specs) * (1 + len(self.rungs)) + len(texts)
        for start in range(0, len(texts), BATCH):
            self._texts(texts[start : start + BATCH])
        for start in range(0, len(specs), BATCH):
            with TemporaryDirectory(prefix="stepforge-") as folder:
                self._specs(specs[start : start + BATCH], Path(folder))
        self.report.findings = [*self._kept(keep)]
        return self.report

    # Running.

    def _count(self, stage: str, outcome: str, number: int) -> None:
        self.report.outcomes[stage, outcome] += 1
        self._done += 1
        self._show(f"{stage} {number}")

    def _show(self, what: str) -> None:
        if self._advance:
            self._advance(self._done, self._total, what)

    def _found(self, finding: Finding) -> None:
        self.report.findings.append(finding)
        self._count(finding.stage, "failed", finding.number)

    def _texts(self, numbers: Sequence[int]) -> None:
        texts = [cases.text_case(self.seed, number) for number in numbers]
        for number, result in zip(numbers, self.runs.examine(texts), strict=True):
            if isinstance(result, Fault):
                self._found(Finding(number, TEXTS, result))
            else:
                self._count(TEXTS, result, number)

    def _specs(self, numbers: Sequence[int], folder: Path) -> None:
        texts = [cases.spec_case(self.seed, number).text() for number in numbers]
        todo: dict[tuple[str, str], tuple[int, Task]] = {}
        groups: list[Group] = []
        for number, result in zip(numbers, self.runs.build(texts), strict=True):
            if isinstance(result, Fault):
                self._found(Finding(number, BUILD, result))
                continue
            self._count(BUILD, "passed", number)
            _write(result, folder)
            for group in cases.groups(result.spec, folder, self.seed, number, self.rungs):
                groups.append(group)
                todo |= {(task.spec.name, task.rung.number): (number, task) for task in group}
        for verdict in self.runs.verdicts(groups):
            number, task = todo[verdict.optimizer, verdict.rung]
            if outcome := outcome_of(verdict):
                self._count(verdict.rung, outcome, number)
            else:
                self._found(Finding(number, verdict.rung, fault_of(verdict), task))

    # Making small and keeping.

    def _kept(self, keep: Path) -> Iterator[Finding]:
        seen: Counter[str] = Counter()
        for finding in self.report.findings:
            seen[finding.fault.what] += 1
            self._show(f"makes {finding.stage} {finding.number} small")
            small = seen[finding.fault.what] <= SHRUNK
            if finding.stage == TEXTS:
                path, data = self._text_file(finding, small)
            else:
                path, data = self._spec_file(finding, small)
            keep.mkdir(parents=True, exist_ok=True)
            (keep / path).write_bytes(data)
            yield replace(finding, path=keep / path, shrunk=small)

    def _text_file(self, finding: Finding, small: bool) -> tuple[str, bytes]:
        data = cases.text_case(self.seed, finding.number)
        if small:
            tries = SLOW_TRIES if finding.fault.what == "hang" else shrink.TRIES
            data = shrink.shortest(data, lambda text: self._text_fails(text, finding), tries)
        return f"text_{self.seed}_{finding.number}.txt", data

    def _text_fails(self, text: bytes, finding: Finding) -> bool:
        (found,) = self.runs.examine([text])
        return isinstance(found, Fault) and found.what == finding.fault.what

    def _spec_file(self, finding: Finding, small: bool) -> tuple[str, bytes]:
        draft = cases.spec_case(self.seed, finding.number)
        if small:
            end = time.monotonic() + SECONDS
            draft = shrink.smallest(
                draft,
                lambda batch: self._specs_fail(batch, finding),
                lambda: time.monotonic() > end,
            )
        lines = [f"{finding.stage}: {finding.fault.what}"]
        lines += ["before it was made small:"] if small else []
        lines += finding.fault.detail.split("\n")
        head = "".join(f"# {printable(line)}".rstrip() + "\n" for line in lines)
        name = f"{draft.name}_{finding.stage.replace(' ', '_')}"  # of the file, so of the spec
        return f"{name}.toml", (head + replace(draft, name=name).text()).encode()

    def _specs_fail(self, batch: Sequence[Draft], finding: Finding) -> list[bool]:
        """Which candidates fail as the finding does."""
        names = [f"{draft.name}_{index}" for index, draft in enumerate(batch)]
        texts = [replace(d, name=name).text() for d, name in zip(batch, names, strict=True)]
        built = self.runs.build(texts)
        what, task = finding.fault.what, finding.task
        if task is None:
            return [isinstance(b, Fault) and b.what == what for b in built]
        with TemporaryDirectory(prefix="stepforge-") as folder:
            groups: list[Group] = []
            for result in built:
                if isinstance(result, Built):
                    _write(result, Path(folder))
                    options = _nearest(result.spec, task.options)
                    groups.append(
                        (replace(task, spec=result.spec, options=options, folder=Path(folder)),)
                    )
            found = list(self.runs.verdicts(groups))
        failing = {v.optimizer for v in found if not v.status.passed and fault_of(v).what == what}
        return [name in failing for name in names]


def outcome_of(verdict: Verdict) -> str:
    """How a verdict is counted that is no failure of the spec; "" if it is one.

    It is none if the rule has hardly any value, so that there is nothing to say of it; and if the
    rung's record excuses it: a proof may find neither a reason nor a difference where compilers
    rewrite a lot, and a long rule takes registers.
    """
    if verdict.status.passed:
        return "passed"
    if verdict.status is Status.UNSUPPORTED and "no value" in verdict.evidence:
        return "no value"
    said = f"{verdict.status}: {verdict.detail}"
    excused = RUNGS[verdict.rung].excused.items()
    return next((o for o, pattern in excused if re.search(pattern, said, re.DOTALL)), "")


def fault_of(verdict: Verdict) -> Fault:
    """A failed verdict; names and numbers are left out of the words."""
    reason = verdict.detail.split("\n")[0]
    kind = re.sub(r"`[^`]*`|\S*random_\w*\S*|[-+]?\d[\w.+-]*", "…", reason)[:80]
    return Fault(f"{verdict.title} {verdict.status}: {kind}", describe(verdict))


def _nearest(spec: Spec, options: Options) -> dict[str, bool]:
    """The option set that has most in common with the given one."""
    return max(spec.option_sets(), key=lambda s: sum(options[k] is v for k, v in s.items()))


def _write(built: Built, folder: Path) -> None:
    for backend, text in built.files.items():
        path = folder / BACKENDS[backend].file(built.spec.name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for file in shared():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(copied(file), encoding="utf-8")
