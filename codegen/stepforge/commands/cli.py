"""The command line: what is in `commands/` put together, and every failure made a message.

Nothing else prints or exits.
"""

from __future__ import annotations

import codecs
import inspect
import os
import sys
from collections.abc import Callable
from itertools import takewhile
from typing import Annotated, Any, NoReturn

import typer

from stepforge.commands import (
    build,
    check,
    clean,
    compile,
    diff,
    explain,
    fuzz,
    listing,
    mutate,
    new,
    show,
    verify,
)
from stepforge.commands.terminal import signals, streams
from stepforge.commands.terminal.output import (
    Failed,
    answer,
    close_both,
    close_stdout,
    note,
    plainly,
    print_diagnostics,
)
from stepforge.language.diagnostics import Diagnostic, GeneratorBug, SpecError
from stepforge.output import shadow

app = typer.Typer(
    name="stepforge",
    help="Compile the formula of an optimizer into kernels, and show that they are the formula.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_STATUS = "Exit status: 0 all is well; 1 refuted, unsupported or out of date; 2 bad input."
_SETTINGS = (
    "Settings are read from the nearest stepforge.toml, or the table tool.stepforge of "
    "pyproject.toml, in the working directory or above it: specs and out (folders), backends, and "
    "of verify level, cache and time_limit. Paths are relative to that file; the command line wins."
)
_EXAMPLES = (
    "stepforge new mine               # writes specs/mine.toml, to be edited",
    "stepforge build mine             # writes the kernels",
    "stepforge verify mine            # shows that they are the formula",
)
_COMMANDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "list": (listing.list_, listing.EXAMPLES),
    "new": (new.new, new.EXAMPLES),
    "check": (check.check, check.EXAMPLES),
    "build": (build.build, build.EXAMPLES),
    "compile": (compile.compile_, compile.EXAMPLES),
    "verify": (verify.verify, verify.EXAMPLES),
    "fuzz": (fuzz.fuzz, fuzz.EXAMPLES),
    "mutate": (mutate.mutate, mutate.EXAMPLES),
    "diff": (diff.diff, diff.EXAMPLES),
    "clean": (clean.clean, clean.EXAMPLES),
    "show": (show.show, show.EXAMPLES),
    "explain": (explain.explain, explain.EXAMPLES),
}
_UsageError: Any = typer.BadParameter.__mro__[1]
"""What the library raises for every wrong command line."""


def _help(command: Callable[..., None]) -> str:
    """The docstring with every paragraph in one line, which the terminal breaks where it ends."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _epilog(examples: tuple[str, ...], *more: str) -> str:
    return "\n\n".join(["Examples:", *examples, *more])


def _version(value: bool) -> None:
    if value:
        from stepforge.version import __version__

        print(f"stepforge {__version__}")
        raise typer.Exit


@app.callback(epilog=_epilog(_EXAMPLES, _STATUS, _SETTINGS))
def common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    if context.invoked_subcommand != "explain" and not {"-h", "--help"} & {*sys.argv}:
        from stepforge.project import config

        context.default_map = config.defaults()


for _name, (_command, _examples) in _COMMANDS.items():
    app.command(_name, help=_help(_command), epilog=_epilog(_examples))(_command)


def main() -> NoReturn:
    """Runs the command; turns every failure into a message and an exit status."""
    signals.listen()
    codecs.register_error("plainly", plainly)
    shadow.step_aside()
    streams.prepare("plainly")
    try:
        status = _run(sys.argv[1:])
    except BaseException:
        if not signals.status():
            raise
        close_both()  # the terminal is gone
        status = 0
    sys.exit(signals.status() or status)


def _run(arguments: list[str]) -> int:
    try:
        try:
            status = app(arguments, standalone_mode=False) or 0
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
        if signals.status():
            raise KeyboardInterrupt
        return int(status)
    except OSError as error:
        close_stdout()
        note(f"cannot write: {(error.strerror or str(error)).lower()}")
        return signals.status() or 2
    except BaseException as error:
        diagnostics, status = _failure(error, arguments)
        if not diagnostics:
            return status
        if _wants_json(arguments):
            answer(_command_of(arguments), [], diagnostics, status)
            sys.stdout.flush()
        elif status in (1, 2):
            print_diagnostics(diagnostics)
        else:
            _print_plainly(diagnostics[0], status)
        return status


def _failure(error: BaseException, arguments: list[str]) -> tuple[list[Diagnostic], int]:
    """What a failure is called, and its exit status."""
    where = f"stepforge {_command_of(arguments)}".strip()
    if isinstance(error, KeyboardInterrupt) or signals.status():
        return [Diagnostic("E092", signals.told(), where)], signals.status() or 130
    if isinstance(error, Failed):
        return list(error.diagnostics), error.status
    if isinstance(error, SpecError):
        return list(error.diagnostics), 2
    if isinstance(error, _UsageError):
        return _usage(error, where), 2
    if isinstance(error, GeneratorBug):
        return [Diagnostic("E093", str(error), where)], 70
    if not isinstance(error, Exception) or os.environ.get("STEPFORGE_TRACEBACK"):
        raise error
    return [Diagnostic("E093", f"{type(error).__name__}: {error}", where)], 70


def _usage(error: Any, where: str) -> list[Diagnostic]:
    """A wrong command line in words; nothing if it is the help text that is shown."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return []
    message = " ".join(error.format_message().split())
    message = message[:1].lower() + message[1:].rstrip(".")
    message, near, what = message.partition(". Did you mean")
    help = f"did you mean{what}" if near else f"`{where} --help` has examples"
    return [Diagnostic("E090", message, where, help=help)]


def _print_plainly(found: Diagnostic, status: int) -> None:
    """What is the fault of no input, so that there is no place to show."""
    if status != 70:
        note(found.message)
        return
    note(f"internal error: {found.message}\nThis is a bug in stepforge, not in your spec.")
    note("STEPFORGE_TRACEBACK=1 shows where it happened.")


def _wants_json(arguments: list[str]) -> bool:
    return "--json" in takewhile(lambda argument: argument != "--", arguments)


def _command_of(arguments: list[str]) -> str:
    return next((argument for argument in arguments if argument in _COMMANDS), "")
