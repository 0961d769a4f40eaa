"""The command line: what is in `commands/` put together, and every failure made a message.

Nothing else prints or exits.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from codegen.commands.build import build
from codegen.commands.check import check
from codegen.commands.explain import explain
from codegen.commands.fuzz import fuzz
from codegen.commands.listing import list_
from codegen.commands.mutate import mutate
from codegen.commands.new import new
from codegen.commands.output import close_stdout, note, print_diagnostics
from codegen.commands.show import show
from codegen.commands.verify import verify
from codegen.diagnostics import GeneratorBug, SpecError

app = typer.Typer(
    name="stepforge",
    help="Compile the formula of an optimizer into kernels, and show that they are the formula.",
    epilog="Exit status: 0 all is well; 1 refuted, unsupported or out of date; 2 bad input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command("list")(list_)
for command in (new, check, build, verify, fuzz, mutate, show, explain):
    app.command()(command)


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
        print_diagnostics(list(error.diagnostics))
        sys.exit(2)
    except KeyboardInterrupt:
        note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        close_stdout()
        sys.exit(0)
    except OSError as error:
        close_stdout()
        note(f"cannot write: {(error.strerror or str(error)).lower()}")
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
    note(f"internal error: {what}\nThis is a bug in stepforge, not in your spec.")
    note("STEPFORGE_TRACEBACK=1 shows where it happened.")
    sys.exit(70)
