"""`stepforge build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stepforge.backends.registry import BACKENDS, completed
from stepforge.commands.options import Json, Out, Specs, complete_backend
from stepforge.commands.specs import load_located, locate, refuse_transforms
from stepforge.commands.terminal.output import answer, leave, note, print_diagnostics
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short

EXAMPLES = (
    "stepforge build                  # every spec, into generated/",
    "stepforge build mine             # one of them; nothing is removed",
    "stepforge build --out mypkg/optim",
    "stepforge build mine --backend numpy,triton",
    "stepforge build --dry-run        # what would change",
    "stepforge build --check          # for CI: status 1 and a diff, or 0",
)


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
    backend: Annotated[
        Optional[list[str]],
        typer.Option(
            "--backend",
            metavar="NAME,...",
            help=f"What to generate: {', '.join(BACKENDS)}; what these need comes with them. "
            "By default what the folder has, and everything at first.",
            autocompletion=complete_backend,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the generated files that changed, and remove those whose spec is gone.

    The folder becomes a package with a manifest, stepforge.json, of what it holds.

    Without SPEC, --check compares all that the manifest lists.
    """
    from stepforge.output import emit, shadow
    from stepforge.project import selection

    warnings: list[Diagnostic] = []
    failed: list[Diagnostic] = []
    backends, notes = _backends(backend or [])
    named = locate(specs, failed) if specs else None
    chosen = selection.to_build(named, out, only_check)
    notes += chosen.notes
    pairs = load_located(chosen.located, failed, warnings)
    loaded = [spec for spec, _ in pairs]
    refuse_transforms(loaded)
    if not only_check:
        shadow.refuse(out)
        if doubt := shadow.doubt(out):
            warnings.append(doubt)
    if not as_json:
        print_diagnostics(warnings)
    work = emit.changes if only_check or dry_run else emit.build
    found = work(
        loaded,
        out,
        chosen.whole,
        chosen.known,
        backends=backends,
        files=chosen.files(located for _, located in pairs),
        everything=chosen.everything,
    )
    status = 1 if only_check and found else 0
    if as_json:
        results = [{"action": c.action, "path": str(c.path)} for c in found]
        answer("build", results, warnings, status, notes=notes)
    elif only_check:
        for change in found:
            sys.stdout.write(change.diff())
    else:
        for change in found:
            print(f"{change.action:6}  {change.path}")
    if not as_json:
        for text in notes:
            note(text)
        plural = "s" if len(loaded) != 1 else ""
        note(f"{len(loaded)} spec{plural}: {_summary(found, only_check, dry_run)}")
    leave(status)


def _backends(given: list[str]) -> tuple[tuple[str, ...] | None, list[str]]:
    """The backends of an option with what they need, and what is to be said of that.

    Args:
        given: Names with commas between them, or one by one.

    Raises:
        SpecError: There is no such backend.
    """
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in BACKENDS]
    if wrong or (given and not names):
        raise SpecError(
            Diagnostic(
                "E006", f"no backend named `{short(name)}`", "build",
                help=nearest(name, BACKENDS) or f"there are {', '.join(BACKENDS)}",
            )
            for name in wrong or [""]
        )  # fmt: skip
    if not names:
        return None, []
    found = completed(names)
    added = ", ".join(name for name in found if name not in names)
    plural = "need" if len(names) > 1 else "needs"
    return found, [f"{', '.join(names)} {plural} {added}, which comes with it"] if added else []


def _summary(found: list[Any], only_check: bool, dry_run: bool) -> str:
    files = f"{len(found)} file{'s' if len(found) != 1 else ''}"
    if only_check:
        return f"{files} out of date" if found else "everything is up to date"
    return f"{files} {'would change' if dry_run else 'changed'}"
