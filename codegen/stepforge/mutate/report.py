"""Counting: kills for each class and rung, kills that one rung alone makes, survivors by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from stepforge.mutate.mutant import AROUND, BUILD, CLASSES, FILES, SAME, WARNED, Mutant
from stepforge.verify.certificate import Status
from stepforge.verify.rungs.proof import SAME_FORMULA
from stepforge.verify.rungs.registry import RUNGS

GOALS = {**dict.fromkeys("ABCDEFJKLM", 1.0), **dict.fromkeys("GHI", 0.95), "S": 0.0}
"""Share of each class that has to be killed; of S, what torch has no options for cannot be."""


@dataclass(frozen=True, slots=True)
class Result:
    """A mutant and what the rungs say of it.

    Attributes:
        name: The mutant's.
        optimizer: Its spec's name.
        level: Where the fault is.
        kind: Its class.
        operator: What was done.
        rungs: Number of a rung → status, with the strength of a proof or the reason of a failure.
    """

    name: str
    optimizer: str
    level: str
    kind: str
    operator: str
    rungs: Mapping[str, str]

    @classmethod
    def of(cls, mutant: Mutant, rungs: Mapping[str, str]) -> Result:
        """What is known after the rungs have run."""
        return cls(
            mutant.name, mutant.spec.name, mutant.level, mutant.kind, mutant.operator, dict(rungs)
        )

    @property
    def killers(self) -> tuple[str, ...]:
        """The rungs that refute it; UNSUPPORTED is no kill, but by `FILES`.

        Where none does, those kill it that warn of it, as `verify --strict` fails: of a fault of
        the spec itself, and of what a fault costs whose arithmetic a proof shows to be the same.
        """
        if FILES in self.alarms:
            return (FILES,)
        if self.rungs.get(BUILD, "").startswith(Status.REFUTED):
            return (BUILD,)
        is_proved = "PROVED (bits)" in self.rungs.values()
        warned = WARNED if is_proved or self.level == "spec" else Status.REFUTED
        each = (self._saying(said) for said in (Status.REFUTED, warned))
        return next(filter(None, each), ())

    def _saying(self, said: str) -> tuple[str, ...]:
        return tuple(r for r in RUNGS if self.rungs.get(r, "").startswith(said))

    @property
    def same(self) -> bool:
        """Whether it is no fault, by proof.

        Either no file changes, or it performs the rule's own rounded operations and changes
        nothing around them, or the rule itself was changed to one that is equal over the reals for
        all states and hyperparameters of the declared domains, and no input was found for which a
        bit differs.
        """
        if self.rungs.get(BUILD) == SAME:
            return True
        if self.rungs.get(AROUND, SAME) != SAME:
            return False
        proofs = {said for r, said in self.rungs.items() if r in RUNGS and RUNGS[r].proves}
        if self.level == "rule" and self.kind in "ABCDEI":
            proofs = {"PROVED (bits)" if SAME_FORMULA in said else said for said in proofs}
        return proofs == {"PROVED (bits)"} and not self.killers

    @property
    def alarms(self) -> tuple[str, ...]:
        """The rungs that do not pass it."""
        passing = (Status.PROVED, Status.TESTED, SAME)
        return tuple(r for r, status in self.rungs.items() if not status.startswith(passing))


@dataclass(frozen=True)
class Report:
    """All results of a run."""

    results: tuple[Result, ...]

    @cached_property
    def counted(self) -> list[Result]:
        """The faults: without those that are none, and without EQ."""
        return [r for r in self.results if r.kind != "EQ" and not r.same]

    @property
    def faults(self) -> int:
        """How many faults."""
        return len(self.counted)

    @property
    def killed(self) -> int:
        """How many of them some rung refutes."""
        return sum(bool(r.killers) for r in self.counted)

    @cached_property
    def survivors(self) -> list[Result]:
        """Faults that every rung lets pass."""
        return [r for r in self.counted if not r.killers]

    @cached_property
    def equivalents(self) -> list[Result]:
        """Rewritings that have to pass."""
        return [r for r in self.results if r.kind == "EQ"]

    @cached_property
    def false_alarms(self) -> list[Result]:
        """Those of them that some rung does not pass."""
        return [r for r in self.equivalents if r.alarms]

    def kills(self, kind: str) -> Counter[str]:
        """Rung → how many mutants of a class it kills."""
        return Counter(k for r in self.counted if r.kind == kind for k in r.killers)

    @cached_property
    def alone(self) -> dict[str, list[Result]]:
        """Rung → the mutants that it kills and no other does."""
        found: dict[str, list[Result]] = {}
        for result in self.counted:
            if len(result.killers) == 1:
                found.setdefault(result.killers[0], []).append(result)
        return found

    def share(self, kind: str) -> tuple[int, int]:
        """How many mutants of a class are killed, of how many."""
        mine = [r for r in self.counted if r.kind == kind]
        return sum(bool(r.killers) for r in mine), len(mine)

    @property
    def kinds(self) -> Sequence[str]:
        """The classes that there are mutants of."""
        return [k for k in CLASSES if k != "EQ" and self.share(k)[1]]

    @property
    def passed(self) -> bool:
        """Whether every class meets its goal and nothing right was refused."""
        enough = all(
            done >= GOALS[k] * total for k in self.kinds for done, total in [self.share(k)]
        )
        return enough and not self.false_alarms

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form."""
        return {
            "passed": self.passed,
            "faults": self.faults,
            "killed": self.killed,
            "equivalents": len(self.equivalents),
            "false_alarms": [r.name for r in self.false_alarms],
            "survivors": [r.name for r in self.survivors],
            "no_faults": [r.name for r in self.results if r.kind != "EQ" and r.same],
            "classes": {
                k: {"killed": self.share(k)[0], "of": self.share(k)[1], "by": self.kills(k)}
                for k in self.kinds
            },
            "alone": {rung: len(found) for rung, found in self.alone.items()},
            "results": [asdict(r) for r in self.results],
        }
