"""Random specs and random texts: what the tests of the catalogue do not think of.

Pipeline: `cases` numbers the cases, made of `specs` (random specs, over `expressions`) and `text`
(random texts that are no specs); `front` reads, checks and builds one of them; `campaign` runs many
of them through it and through the rungs of `verify.driver`; `shrink` makes what fails small;
`summary` prints what was found.

A rule at random may have no value, so nothing is asked about the spec itself. Rungs that look at
values are inconclusive where a rule has hardly any, which is counted apart. Everything else that is
no pass is a failure.
"""
