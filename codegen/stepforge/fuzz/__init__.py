"""Random specs and random texts: what the tests of the catalogue do not think of.

Pipeline: `cases` numbers the cases, made of `specs` (random specs, over `expressions`) and `text`
(random texts that are no specs); `front` reads, checks and builds one of them; `campaign` runs many
of them through it and through the rungs of `verify.driver`; `shrink` makes what fails small;
`summary` prints what was found.

A rule at random need not go downhill, so R0 is not asked. R1, R2 and R6 are inconclusive where a
rule has hardly any value, which is counted apart. Everything else that is no pass is a failure.
"""
