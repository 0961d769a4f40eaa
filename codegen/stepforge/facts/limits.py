"""Which settings of an optimizer make it which other one."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.language.spec import Options, Spec
from stepforge.relations.find import Relation
from stepforge.relations.sides import Side
from stepforge.relations.survey import sides, survey


def limits(spec: Spec, options: Options, others: Sequence[Spec]) -> list[Relation]:
    """The optimizers of a catalogue that this one is under conditions, or as it is.

    Args:
        spec: The optimizer.
        options: Its option set.
        others: The catalogue; one of its own name is left out.
    """
    own = Side(spec, options)
    plain = [s for s in sides([o for o in others if o.name != spec.name]) if s.is_plain]
    return survey([own, *plain], lambda done, count: None, only=own)
