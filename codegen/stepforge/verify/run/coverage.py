"""Which option sets are looked at: all of them, or so many that cover what few options do together.

A spec with eight options has 256 kernels. A fault that depends on options nearly always depends on
one or two of them; a selection in which every two options take all of their values together has a
dozen sets (Kuhn, Wallace & Gallo 2004, Software Fault Interactions).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from stepforge.language.spec import Spec
from stepforge.verify.rungs.levels import Level

ALL = 16
"""So many option sets are all looked at, at every level."""
TOGETHER = {Level.fast: 2, Level.full: 3}
"""Level → of how many options all values are looked at together, where a spec has more sets."""
_Values = frozenset[tuple[str, bool]]


def option_sets(spec: Spec, level: Level) -> list[dict[str, bool]]:
    """The option sets that a level looks at, the defaults first."""
    every = list(spec.option_sets())
    strength = TOGETHER.get(level)
    return every if strength is None or len(every) <= ALL else covering(every, strength)


def told(spec: Spec, level: Level) -> str:
    """What a level leaves out of a spec's option sets, or ""."""
    chosen, every = len(option_sets(spec, level)), sum(1 for _ in spec.option_sets())
    if chosen == every:
        return ""
    together = {2: "two", 3: "three"}[TOGETHER[level]]
    return f"{every - chosen} of {every} option sets, but no values of {together} options together"


def covering(every: Sequence[dict[str, bool]], strength: int) -> list[dict[str, bool]]:
    """Some of several option sets, the first among them, with all that few options are together.

    Args:
        every: The sets that there are; combinations that are in none of them need not be covered.
        strength: How many options.
    """
    parts = [_parts(options, strength) for options in every]
    missing = frozenset().union(*parts) - parts[0]
    chosen = [0]
    while missing:
        best = max(range(len(every)), key=lambda i: (len(parts[i] & missing), -i))
        chosen.append(best)
        missing -= parts[best]
    return [every[i] for i in sorted(chosen)]


def _parts(options: dict[str, bool], strength: int) -> frozenset[_Values]:
    return frozenset(map(frozenset, itertools.combinations(options.items(), strength)))
