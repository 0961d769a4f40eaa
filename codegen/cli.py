"""The command line: the only place that prints and exits."""

from __future__ import annotations

import io
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from codegen import catalogue
from codegen.diagnostics import CODES, Diagnostic, GeneratorBug, SpecError, nearest, render
from codegen.reader import load
from codegen.show import View
from codegen.spec import Spec

app = typer.Typer(
    name="stepforge",
    help="Compile the formula of an optimizer into kernels, and show that they are the formula.",
    epilog="Exit status: 0 all is well; 1 refuted, unsupported or out of date; 2 bad input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete_spec(incomplete: str) -> list[str]:
    return [name for name in catalogue.known_names() if name.startswith(incomplete)]


def _complete_target(incomplete: str) -> list[str]:
    from codegen.verify.tasks import ARCHITECTURES

    return [name for name in ARCHITECTURES if name.startswith(incomplete)]


def _complete_kernel(incomplete: str) -> list[str]:
    from codegen.verify.generated import LAUNCHERS

    return [name for name in LAUNCHERS if name.startswith(incomplete)]


def _complete_dtype(incomplete: str) -> list[str]:
    from codegen.verify.tasks import DTYPES

    return [name for name in DTYPES if name.startswith(incomplete)]


def _complete_option(context: typer.Context, incomplete: str) -> list[str]:
    """The options of the spec that is on the line already; of all specs if there is none."""
    given = next(iter(context.args), None) or context.params.get("spec")
    try:
        specs = _load_all([given] if given else None)
    except SpecError:
        return []
    names = dict.fromkeys(option.name for spec in specs for option in spec.options)
    return [name for name in names if name.startswith(incomplete)]


def _complete_code(incomplete: str) -> list[str]:
    return [code for code in CODES if code.startswith(incomplete.upper())]


Specs = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="SPEC...",
        help="Names in specs/ or paths; all specs if there is none.",
        autocompletion=_complete_spec,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")]


def _version(value: bool) -> None:
    if value:
        from codegen import __version__

        print(f"stepforge {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Print the catalogue: name, title, states, bytes moved per element, evidence."""
    from codegen.lower import lower
    from codegen.verify import rungs

    rows: list[dict[str, Any]] = []
    for spec in _load_all(None):
        kernel, default = lower(spec), {o.name: o.default for o in spec.options}
        active = {s.name for s in spec.active_states(default)} | {"p", "g"}
        accesses = sum(t.loaded + t.stored for t in kernel.tensors if t.name in active)
        rows.append(
            {
                "name": spec.name,
                "title": spec.title,
                "states": [s.name for s in spec.states],
                "options": [o.name for o in spec.options],
                "bytes_per_element": 4 * accesses,
                "evidence": rungs(spec),
                "torch": spec.torch.class_name if spec.torch else None,
            }
        )
    if as_json:
        _print_json(rows)
        return
    header = ("name", "title", "states", "options", "bytes/element", "evidence")
    table = [
        (
            row["name"],
            row["title"],
            " ".join(row["states"]) or "–",
            " ".join(row["options"]) or "–",
            str(row["bytes_per_element"]),
            " ".join(row["evidence"]) + (f" (torch {row['torch']})" if row["torch"] else ""),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [header, *table]) for i in range(len(header))]
    for line in [header, *table]:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the optimizer and its file.")],
    origin: Annotated[
        Optional[str],
        typer.Option(
            "--from", metavar="SPEC", help="Copy this spec.", autocompletion=_complete_spec
        ),
    ] = None,
) -> None:
    """Write a commented spec that checks, builds and verifies as it is."""
    from codegen.scaffold import scaffold

    path = scaffold(name, origin)
    _note(f"wrote {path}")
    _note(f"next: edit it, then `stepforge build {name}` and `stepforge verify {name}`")


@app.command()
def check(specs: Specs = None, as_json: Json = False) -> None:
    """Parse specs and apply the semantic rules, without building anything.

    The rule language has + - * / **, comparisons, and, or, not, `x if c else y`, and the functions
    sqrt abs sign min max exp log clip.
    """
    found: list[Diagnostic] = []
    count = 0
    for located in _locate(specs, found):
        count += 1
        try:
            found += load(located.path, located.shown)[1]
        except SpecError as error:
            found += error.diagnostics
    failed = any(d.severity == "error" for d in found)
    if as_json:
        _print_json([d.as_dict() for d in found])
    else:
        _print_diagnostics(found)
    if failed:
        raise typer.Exit(2)
    _note(f"{count} spec{'s' if count != 1 else ''} checked, no errors")


@app.command()
def build(
    specs: Specs = None,
    out: Out = Path("generated"),
    only_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit 1 with a diff if anything is out of date."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the generated files that changed, and remove those whose spec is gone."""
    from codegen import emit

    loaded = _load_all(specs)
    found = emit.changes(loaded, out, not specs, catalogue.known_names())
    if not (only_check or dry_run):
        emit.apply(found)
    if as_json:
        _print_json([{"action": c.action, "path": str(c.path)} for c in found])
    elif only_check:
        for change in found:
            sys.stdout.write(change.diff())
    else:
        for change in found:
            print(f"{change.action:6}  {change.path}")
    plural = "s" if len(loaded) != 1 else ""
    if only_check:
        state = f"{_files(found)} out of date" if found else "everything is up to date"
        _note(f"{len(loaded)} spec{plural}: {state}")
        if found:
            raise typer.Exit(1)
    else:
        verb = "would change" if dry_run else "changed"
        _note(f"{len(loaded)} spec{plural}: {_files(found)} {verb}")


def _files(found: list[Any]) -> str:
    return f"{len(found)} file{'s' if len(found) != 1 else ''}"


class Level(StrEnum):
    """How much `verify` does; `codegen.verify.tasks` says what."""

    fast = "fast"
    full = "full"
    deep = "deep"


@app.command()
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
    ] = Level.full,
    target: Annotated[
        Optional[list[str]],
        typer.Option(
            "--target",
            metavar="GPU",
            help="GPU to compile for (repeatable), instead of those of the level.",
            autocompletion=_complete_target,
        ),
    ] = None,
    kernel: Annotated[
        Optional[list[str]],
        typer.Option(
            "--kernel",
            metavar="KERNEL",
            help="Kernel to look at (repeatable): triton, that of one tensor, or multi_tensor; "
            "by default both.",
            autocompletion=_complete_kernel,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    keep: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Keep verdicts in a file, and use those again whose inputs are all the same.",
        ),
    ] = None,
    as_json: Annotated[
        Optional[Path],
        typer.Option("--json", metavar="FILE", help="Write the certificates; - for stdout."),
    ] = None,
) -> None:
    """Verify the files on disk against their specs, so that an edited kernel is refuted."""
    from codegen import report, verify

    for name in target or ():
        if name not in verify.ARCHITECTURES:
            help = nearest(name, verify.ARCHITECTURES) or "there is sm_90, for example"
            raise SpecError([Diagnostic("E006", f"no target named `{name}`", "verify", help=help)])
    for name in kernel or ():
        if name not in verify.LAUNCHERS:
            help = nearest(name, verify.LAUNCHERS) or "there are triton and multi_tensor"
            raise SpecError([Diagnostic("E006", f"no kernel named `{name}`", "verify", help=help)])
    chosen = tuple(name for name in verify.LAUNCHERS if not kernel or name in kernel)
    loaded = _load_all(specs)
    with report.progress(sys.stderr) as advance:
        certificates = verify.verify(
            loaded, folder, seed, target, jobs, advance, verify.Level(level.value), keep, chosen
        )
    if as_json is not None:
        data = [certificate.as_dict() for certificate in certificates]
        if str(as_json) == "-":
            _print_json(data)
        else:
            _write_json(as_json, data)
    if as_json is None or str(as_json) != "-":
        report.print_table(certificates, sys.stdout)
    if not certificates or not all(certificate.passed for certificate in certificates):
        raise typer.Exit(1)


@app.command()
def fuzz(
    count: Annotated[int, typer.Option(min=0, help="Random specs.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cases.")] = 0,
    ill_formed: Annotated[
        Optional[int],
        typer.Option(min=0, help="Random texts that are no specs; by default as many as specs."),
    ] = None,
    only: Annotated[
        Optional[int],
        typer.Option(min=0, metavar="I", help="Run number I alone, whatever the counts are."),
    ] = None,
    keep: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder that failing cases are written to.")
    ] = Path("fuzz_failures"),
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    as_json: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Write JSON; - for stdout.")
    ] = None,
) -> None:
    """Check, build and verify random specs; check random texts that are no specs.

    Case I of a seed is the same whatever the counts are. Failing cases are made small and kept.
    """
    from codegen import report
    from codegen.fuzz import summary
    from codegen.fuzz.campaign import Campaign
    from codegen.fuzz.workers import Workers

    specs, texts = range(count), range(count if ill_formed is None else ill_formed)
    if only is not None:
        specs, texts = (range(only, only + 1) if r else r for r in (specs, texts))
    if not specs and not texts:
        raise SpecError([Diagnostic("E006", "there is nothing to run", "fuzz")])
    with (
        report.progress(sys.stderr) as advance,
        Workers(jobs or os.cpu_count() or 1) as workers,
    ):
        found = Campaign(seed, workers, advance).run(specs, texts, keep)
    if as_json is not None:
        data = summary.as_dict(found, seed)
        if str(as_json) == "-":
            _print_json(data)
        else:
            _write_json(as_json, data)
    if as_json is None or str(as_json) != "-":
        summary.print_report(found, seed, sys.stdout)
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def mutate(
    specs: Specs = None,
    folder: Annotated[
        Path, typer.Option("--generated", metavar="DIR", help="The folder of generated code.")
    ] = Path("generated"),
    count: Annotated[int, typer.Option(min=1, help="Faults, over all optimizers.")] = 1000,
    equivalents: Annotated[
        int, typer.Option(min=0, help="Rewritings without a fault, which have to pass.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Worker processes of each kind.")
    ] = None,
    keep: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Keep verdicts in a file, and go on from what it holds."),
    ] = None,
    as_json: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Write JSON; - for stdout.")
    ] = None,
) -> None:
    """Plant faults in rule, generated files, Triton IR and PTX; see which rungs find them."""
    from codegen import report
    from codegen.mutate import mutate as run
    from codegen.mutate import summary
    from codegen.mutate.log import Log

    loaded = {spec.name: spec for spec in _load_all(specs)}
    with report.progress(sys.stderr) as advance, Log(keep) as log:
        found = run(
            loaded,
            folder,
            count,
            equivalents,
            seed,
            jobs,
            log.known,
            lambda mutant, rungs, total: advance(log.add(mutant.name, rungs), total, mutant.kind),
        )
    if as_json is not None:
        if str(as_json) == "-":
            _print_json(found.as_dict())
        else:
            _write_json(as_json, found.as_dict())
    if as_json is None or str(as_json) != "-":
        summary.print_report(found, sys.stdout)
    if not found.passed:
        raise typer.Exit(1)


def _write_json(path: Path, data: object) -> None:
    from codegen import emit

    try:
        emit.write(path, json.dumps(data, indent=2) + "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError([Diagnostic("E007", f"cannot write: {reason}", str(path))]) from None


@app.command()
def show(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Name or path.", autocompletion=_complete_spec)
    ],
    view: Annotated[View, typer.Option("--as", help="The view to print.")] = View.text,
    option: Annotated[
        Optional[list[str]],
        typer.Option(
            "--option", help="Switch an option on (repeatable).", autocompletion=_complete_option
        ),
    ] = None,
    target: Annotated[
        Optional[str],
        typer.Option(
            metavar="GPU",
            help="For ttir and ptx: the GPU to compile for, by default sm_90.",
            autocompletion=_complete_target,
        ),
    ] = None,
    dtype: Annotated[
        Optional[str],
        typer.Option(
            metavar="TYPE",
            help="For ttir and ptx: fp32, fp64, bf16 or fp16, by default fp32.",
            autocompletion=_complete_dtype,
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="For ttir and ptx: the fast mode, `exact=False`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print one view of a spec on stdout, and nothing else.

    The code views are what `build` would write; ttir and ptx are what Triton makes of it.
    """
    from codegen import show as views

    (loaded,) = _load_all([spec])
    options = views.chosen(loaded, option or [])
    given = {"--target": target is not None, "--dtype": dtype is not None, "--fast": fast}
    if view in views.COMPILED:
        compilation = views.Compilation(target or "sm_90", dtype or "fp32", not fast)
        try:
            text = views.show_compiled(loaded, view, options, compilation)
        except views.CannotShow as error:
            _note(str(error))
            raise typer.Exit(1) from None
    elif any(given.values()):
        name = next(name for name, is_there in given.items() if is_there)
        message = f"`{name}` is for --as ttir and --as ptx"
        raise SpecError([Diagnostic("E006", message, "show")])
    else:
        text = views.show(loaded, view, options)
    if as_json:
        _print_json({"spec": loaded.name, "view": view.value, "text": text})
    else:
        print(text)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="Such as E104.", autocompletion=_complete_code)],
    as_json: Json = False,
) -> None:
    """Print what an error code means, with an example."""
    from codegen.scaffold import example

    wanted = code.upper()
    if wanted not in CODES:
        help = nearest(wanted, CODES) or f"there are {', '.join(CODES)}"
        raise SpecError([Diagnostic("E006", f"no error code `{code}`", "explain", help=help)])
    spec, message = example(wanted)
    if as_json:
        _print_json(
            {"code": wanted, "meaning": CODES[wanted], "example": spec, "diagnostic": message}
        )
        return
    print(f"{wanted}: {CODES[wanted]}")
    if spec:
        print(f"\nFor example\n\n{_indent(spec)}\n\ngives\n\n{_indent(message)}")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))


def _locate(specs: list[str] | None, found: list[Diagnostic]) -> list[catalogue.Located]:
    """The files of the given specs; those that do not exist become diagnostics."""
    if not specs:
        return catalogue.everything()
    located = []
    for name in dict.fromkeys(specs):
        try:
            located.append(catalogue.locate(name))
        except SpecError as error:
            found += error.diagnostics
    return located


def _load_all(specs: list[str] | None) -> list[Spec]:
    """The specs alone; see `_load_pairs`."""
    return [spec for spec, _ in _load_pairs(specs)]


def _load_pairs(specs: list[str] | None) -> list[tuple[Spec, catalogue.Located]]:
    """Loads specs; raises every error of all of them at once. Warnings are for `check`."""
    found: list[Diagnostic] = []
    loaded: list[tuple[Spec, catalogue.Located]] = []
    for located in _locate(specs, found):
        try:
            loaded.append((load(located.path, located.shown)[0], located))
        except SpecError as error:
            found += error.diagnostics
    seen: dict[str, str] = {}
    for spec, located in loaded:
        if spec.name in seen:
            message = f"`{spec.name}` is also the name of {seen[spec.name]}"
            help = "their generated files would be the same"
            found.append(Diagnostic("E009", message, located.shown, help=help))
        seen.setdefault(spec.name, located.shown)
    if found:
        raise SpecError(found)
    return loaded


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2))


def _colourful(stream: Any) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_diagnostics(found: list[Diagnostic]) -> None:
    if not found:
        return
    text = render(found)
    if _colourful(sys.stderr):
        text = text.replace("error[", "\033[1;31merror\033[0m[")
        text = text.replace("warning[", "\033[1;33mwarning\033[0m[")
    print(text, file=sys.stderr)


def main() -> NoReturn:
    """Runs the command; turns every failure into a message and an exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
    stdout = sys.stdout
    try:
        try:
            app(standalone_mode=True)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit:
        if sys.stdout is not stdout:
            sys.exit(0)  # the command line library met a closed pipe: the reader has enough
        raise
    except SpecError as error:
        _print_diagnostics(list(error.diagnostics))
        sys.exit(2)
    except KeyboardInterrupt:
        _note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(0)
    except OSError as error:
        _close_stdout()
        _note(f"cannot write: {(error.strerror or str(error)).lower()}")
        sys.exit(2)
    except GeneratorBug as error:
        _internal(str(error))
    except Exception as error:  # a traceback would help nobody who is not at work on stepforge
        if os.environ.get("STEPFORGE_TRACEBACK"):
            raise
        _internal(f"{type(error).__name__}: {error}")
    sys.exit(0)


def _internal(what: str) -> NoReturn:
    """Our fault: neither bad input nor a refutation, so the status is none of theirs."""
    _note(f"internal error: {what}\nThis is a bug in stepforge, not in your spec.")
    _note("STEPFORGE_TRACEBACK=1 shows where it happened.")
    sys.exit(70)


def _close_stdout() -> None:
    """Lets the interpreter's last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
