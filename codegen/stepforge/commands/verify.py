"""`stepforge verify`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from stepforge.commands import gpus
from stepforge.commands.options import Cache, Json, Specs, Wide, complete_kernel, complete_target
from stepforge.commands.specs import load_held
from stepforge.commands.terminal.output import answer, leave, note
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest
from stepforge.project import config
from stepforge.verify.rungs import registry
from stepforge.verify.rungs.levels import Level

EXAMPLES = (
    "stepforge verify                       # every spec, in seconds each",
    "stepforge verify mine --level full     # every type and GPU, in minutes",
    "stepforge verify mine --target h100 --target 4090",
    "stepforge verify mine --strict          # what a kernel costs fails, too",
    "stepforge verify --generated mypkg/optim --no-cache",
    "stepforge verify adamw --json > certificate.json",
)


def verify(
    specs: Specs = None,
    folder: Annotated[
        Path, typer.Option("--generated", metavar="DIR", help="The folder of generated code.")
    ] = Path("generated"),
    level: Annotated[
        Level,
        typer.Option(
            help="fast: float32 on one GPU, in seconds; full: every type and GPU, fast mode, "
            "torch, rounding; deep: also mutants."
        ),
    ] = Level.fast,
    target: Annotated[
        Optional[list[str]],
        typer.Option(
            "--target",
            metavar="GPU",
            help="GPU to compile for, such as sm_90 or h100 (repeatable), instead of those of the "
            "level.",
            autocompletion=complete_target,
        ),
    ] = None,
    kernel: Annotated[
        Optional[list[str]],
        typer.Option(
            "--kernel",
            metavar="KERNEL",
            help="Kernel to look at (repeatable): triton, that of one tensor, or multi_tensor; "
            "by default both.",
            autocompletion=complete_kernel,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail on warnings, too, such as of a kernel that runs out of registers.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    time_limit: Annotated[
        Optional[float],
        typer.Option(
            "--time-limit",
            metavar="SECONDS",
            min=1,
            help="Processor time of each check of a kernel. By default 120 at level fast, 300 at "
            "full, 600 at deep; what runs out of it is UNSUPPORTED.",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Find every verdict anew, and keep none.")
    ] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Verify the files on disk against their specs, so that an edited kernel is refuted.

    Without --level the level is fast, and the last line says what that leaves out.
    """
    from stepforge.commands.terminal import report
    from stepforge.mutate.score import score
    from stepforge.verify import driver as verify
    from stepforge.verify.processes import scratch

    targets = gpus.targets(target, "verify")
    for name in kernel or ():
        if name not in verify.LAUNCHERS:
            help = nearest(name, verify.LAUNCHERS) or f"there are {', '.join(verify.LAUNCHERS)}"
            raise SpecError([Diagnostic("E006", f"no kernel named `{name}`", "verify", help=help)])
    chosen = tuple(name for name in verify.LAUNCHERS if not kernel or name in kernel)
    warnings: list[Diagnostic] = []
    notes: list[str] = []
    loaded = load_held(specs, folder, warnings, notes)
    with scratch(), report.progress(sys.stderr) as advance:
        certificates = verify.verify(
            loaded, folder, seed, targets, jobs, advance, level,
            None if no_cache else cache or config.current().verdicts, chosen, score, notes.append,
            time_limit,
        )  # fmt: skip
    if not as_json:
        for text in notes:
            note(text)
    looked_at, left_out = verify.looked_at(level, targets), verify.left_out(loaded, level, targets)
    passed = bool(certificates) and all(certificate.passed for certificate in certificates)
    passed = passed and not (strict and any(certificate.warned for certificate in certificates))
    if as_json:
        results = [certificate.as_dict() for certificate in certificates]
        answer(
            "verify", results, warnings, 0 if passed else 1, level=level.value, strict=strict,
            passed=passed, looked_at=looked_at, left_out=left_out, notes=notes,
        )  # fmt: skip
    else:
        elsewhere = [] if folder == Path("generated") else ["--generated", str(folder)]
        words = ["stepforge", "verify", *(specs or ()), *elsewhere]
        scope = [_looked_at(looked_at), _left_out(left_out, level, shlex.join(words))]
        if not any(spec.subject.tensors for spec in loaded):
            scope = []  # types and GPUs are those of tensors
        report.print_table(certificates, sys.stdout, wide, [line for line in scope if line], strict)
    leave(0 if passed else 1)


def _looked_at(scope: dict[str, list[str]]) -> str:
    """The types, GPUs and modes that the verdicts are about."""
    mixtures = f" and {len(scope['mixtures'])} mixtures of types" if scope["mixtures"] else ""
    targets, modes = " ".join(scope["targets"]), ", ".join(scope["modes"])
    return f"looked at: {' '.join(scope['dtypes'])}{mixtures}, {targets}, {modes}"


def _left_out(scope: dict[str, list[str]], level: Level, command: str) -> str:
    """What the level leaves out, and the command that does not."""
    if not scope:
        return ""
    shown = {kind: " ".join(names) for kind, names in scope.items()}
    if "mixtures" in scope:
        shown["mixtures"] = f"{len(scope['mixtures'])} mixtures of types"
    if "rungs" in scope:
        shown["rungs"] = registry.titles(scope["rungs"])
    levels = list(Level)
    if level is levels[-1]:
        more = f"`{command} --target {scope['targets'][0]}` looks at another GPU"
    else:
        more = f"`{command} --level {levels[levels.index(level) + 1]}` looks at more of it"
    return f"left out: {', '.join(shown.values())}; {more}"
