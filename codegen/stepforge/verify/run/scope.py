"""What a level looks at, and what it leaves out: the last lines of a report."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.language.spec import Spec
from stepforge.verify.run import coverage
from stepforge.verify.run.tasks import rungs
from stepforge.verify.rungs import levels
from stepforge.verify.rungs.levels import ARCHITECTURES, DTYPES, MIXED, Level

Scope = dict[str, list[str]]
"""By kind, "dtypes", "mixtures", "targets", "modes", "rungs" and "options": which of them."""


def looked_at(level: Level, targets: Sequence[str] | None = None) -> Scope:
    """The types of tensors, the GPUs and the modes that a level looks at.

    Args:
        level: The level.
        targets: GPUs that the user names, instead of those of the level.
    """
    return {
        "dtypes": list(levels.dtypes(level)),
        "mixtures": list(levels.mixed(level)),
        "targets": list(targets or levels.targets(level)),
        "modes": ["exact mode", *_modes(levels.fast_mode(level))],
    }


def left_out(specs: Sequence[Spec], level: Level, targets: Sequence[str] | None = None) -> Scope:
    """What a level does not look at; kinds of which nothing is left out are not there.

    Args:
        specs: The specs that are verified.
        level: The level.
        targets: GPUs that the user names, instead of those of the level.
    """
    seen = looked_at(level, targets)
    sets = {spec.name: text for spec in specs if (text := coverage.told(spec, level))}
    found = {
        "dtypes": [name for name in DTYPES if name not in seen["dtypes"]],
        "mixtures": [name for name in MIXED if name not in seen["mixtures"]],
        "targets": [name for name in ARCHITECTURES if name not in seen["targets"]],
        "modes": _modes([name for name in DTYPES if name not in levels.fast_mode(level)]),
        "rungs": sorted({r.number for s in specs for r in rungs(s) if r not in rungs(s, level)}),
        "options": [f"{name}: {text}" for name, text in sets.items()],
    }
    return {kind: names for kind, names in found.items() if names}


def _modes(dtypes: Sequence[str]) -> list[str]:
    """Fast mode, with these types of tensors."""
    if len(dtypes) in (0, len(DTYPES)):
        return ["fast mode"][: len(dtypes)]
    return [f"fast mode with {' '.join(dtypes)}"]
