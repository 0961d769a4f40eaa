"""Whether every step keeps the states in their domains.

If the states are in their domains, and hyperparameters in their usual ranges, the ranges of the new
states follow from the operations that make them, in exact arithmetic. Where such a range is within
the domain, so is every later state; for the domain `v >= 0` cases and polynomials are tried, too.
Where neither shows it, nothing is known: the domain is an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from stepforge.language.spec import Interval, Options, Spec
from stepforge.verify.reading import reader
from stepforge.verify.terms import rule
from stepforge.verify.terms.operations import Range
from stepforge.verify.terms.positivity import never_negative
from stepforge.verify.terms.ranges import span

NEVER_NEGATIVE = Interval(low=0.0, low_open=False)


def assumed(spec: Spec, options: Options) -> Iterator[str]:
    """The states whose domain is not shown to be kept, from the first step on.

    Args:
        spec: The spec.
        options: The option set.
    """
    domains = {name: _closed(domain) for name, domain in _domains(spec).items()}
    active = spec.active_states(options)
    tensors = (*spec.given, *(s.name for s in active if not s.scalar))
    storage = dict.fromkeys(tensors, "f64")
    new = rule.expected(spec, options, storage)
    starts = {s.name: rule.host(s.init) for s in reader.of(spec).active_states(options)}
    for s in active:
        after = {**new.stores, **new.scalars}[s.name]
        kept = _within(span(after, domains), s.domain) or (
            s.domain == NEVER_NEGATIVE and never_negative(after, domains)
        )
        if not (kept and _within(span(starts[s.name], domains), s.domain)):
            yield s.name


def _domains(spec: Spec) -> dict[str, Interval]:
    found = spec.domains | {h.name: h.usual for h in spec.hyperparameters}
    return {**found, "t": Interval(low=1, low_open=False)}


def _closed(domain: Interval) -> Interval:
    """The same numbers of float64, without ends that are left out."""
    low, high = domain.low, domain.high
    low = math.nextafter(low, math.inf) if domain.low_open and math.isfinite(low) else low
    high = math.nextafter(high, -math.inf) if domain.high_open and math.isfinite(high) else high
    return Interval(low, high, domain.low_open, domain.high_open)


def _within(found: Range, domain: Interval) -> bool:
    """Whether a range is inside of a domain."""
    low, high = _closed(domain).low, _closed(domain).high
    return low <= found[0] and found[1] <= high
