"""`stepforge mutate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from stepforge.commands.options import Json, Specs, Wide
from stepforge.commands.specs import load_held, optimizers
from stepforge.commands.terminal.output import answer, leave
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest

EXAMPLES = (
    "stepforge mutate                 # 1,000 faults over all specs: takes a while",
    "stepforge mutate lion --count 50",
    "stepforge mutate lion --level surroundings",
    "stepforge mutate --level generator --count 200  # faults of stepforge itself",
    "stepforge mutate --keep log.json # goes on where a run was interrupted",
)


def mutate(
    specs: Specs = None,
    folder: Annotated[
        Path, typer.Option("--generated", metavar="DIR", help="The folder of generated code.")
    ] = Path("generated"),
    count: Annotated[int, typer.Option(min=1, help="Faults, over all optimizers.")] = 1000,
    equivalents: Annotated[
        int, typer.Option(min=0, help="Rewritings without a fault, which have to pass.")
    ] = 100,
    level: Annotated[
        Optional[list[str]],
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Where faults are planted (repeatable), by default everywhere: "
            "spec, rule, numpy, triton, multi_tensor, c, ttir, ptx, surroundings, generator.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    keep: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Keep verdicts in a file, and go on from what it holds."),
    ] = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Plant faults in rule, generated files, Triton IR, PTX and stepforge itself: which are found.

    Rungs are the checks of verify; `stepforge explain` says what each of them does.
    """
    from stepforge.commands.terminal import mutations as summary
    from stepforge.commands.terminal import report
    from stepforge.mutate.log import Log
    from stepforge.mutate.mutant import GENERATOR, LEVELS
    from stepforge.mutate.score import mutate as run
    from stepforge.verify.processes import scratch

    for name in level or ():
        if name not in LEVELS:
            help = nearest(name, LEVELS) or f"there are {', '.join(LEVELS)}"
            raise SpecError([Diagnostic("E006", f"no level named `{name}`", "mutate", help=help)])
    # Faults of stepforge itself are not those of an optimizer.
    levels = level or [name for name in LEVELS if not (specs and name == GENERATOR)]
    warnings: list[Diagnostic] = []
    held = load_held(specs, folder, warnings, [])
    loaded = {spec.name: spec for spec in optimizers(held, specs, "mutate")}
    with scratch(), report.progress(sys.stderr) as advance, Log(keep) as log:
        found = run(
            loaded,
            folder,
            count,
            equivalents,
            seed,
            jobs,
            log.known,
            lambda mutant, rungs, total: advance(log.add(mutant.name, rungs), total, mutant.kind),
            levels,
        )
    status = 0 if found.passed else 1
    if as_json:
        about = found.as_dict()
        answer("mutate", about.pop("results"), warnings, status, **about)
    else:
        summary.print_report(found, sys.stdout, wide)
    leave(status)
