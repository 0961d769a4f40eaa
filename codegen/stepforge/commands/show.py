"""`stepforge show`."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from stepforge.commands import gpus
from stepforge.commands.options import (
    Json,
    complete_dtype,
    complete_option,
    complete_spec,
    complete_target,
    complete_view,
)
from stepforge.commands.specs import load_all
from stepforge.commands.terminal.output import Failed, answer
from stepforge.commands.views import views as names
from stepforge.language.diagnostics import Diagnostic, SpecError

EXAMPLES = (
    "stepforge show adamw                          # the formula in words",
    "stepforge show adamw --as spec                # the file itself",
    "stepforge show adamw --as latex --option amsgrad",
    "stepforge show adamw --as facts        # how it scales, symmetries, costs",
    "stepforge show lion --as limits        # what its special cases are",
    "stepforge show mine --as triton               # what build would write",
    "stepforge show mine --as ptx --target h100    # what Triton makes of it",
)


def show(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Name or path.", autocompletion=complete_spec)
    ],
    view: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="VIEW",
            help=f"The view to print: {', '.join(names())}.",
            autocompletion=complete_view,
        ),
    ] = "text",
    option: Annotated[
        Optional[list[str]],
        typer.Option(
            "--option",
            help="Switch an option on (repeatable): text, mathematics and facts are then of that "
            "option set alone.",
            autocompletion=complete_option,
        ),
    ] = None,
    target: Annotated[
        Optional[str],
        typer.Option(
            metavar="GPU",
            help="For ttir and ptx: the GPU to compile for, such as sm_90, the default, or h100.",
            autocompletion=complete_target,
        ),
    ] = None,
    dtype: Annotated[
        Optional[str],
        typer.Option(
            metavar="TYPE",
            help="For ttir and ptx: fp32, fp64, bf16 or fp16, by default fp32.",
            autocompletion=complete_dtype,
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="For ttir and ptx: the fast mode, `exact=False`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print one view of a spec on stdout, and nothing else.

    spec is the file itself; the code views are what `build` would write; ttir and ptx are what
    Triton makes of it.
    """
    from stepforge.commands import views

    warnings: list[Diagnostic] = []
    (loaded,) = load_all([spec], warnings)
    options = views.chosen(loaded, option or [])
    more: dict[str, Any] = {}
    given = {"--target": target is not None, "--dtype": dtype is not None, "--fast": fast}
    if view in views.COMPILED:
        gpu = gpus.target(target, "show") if target else "sm_90"
        try:
            text = views.show_compiled(
                loaded, view, options, views.Compilation(gpu, dtype or "fp32", not fast)
            )
        except views.CannotShow as error:
            found = Diagnostic("E091", str(error), loaded.source.path)
            raise Failed([found], 1) from None
    elif any(given.values()):
        name = next(name for name, is_there in given.items() if is_there)
        message = f"`{name}` is for --as ttir and --as ptx"
        raise SpecError([Diagnostic("E006", message, "show")])
    else:
        chosen = options if option else None
        if view in views.OF_OPTIMIZER:
            text, more[view] = views.derived(loaded, view, chosen)
        else:
            text = views.show(loaded, view, chosen)
    if as_json:
        answer(
            "show",
            [{"spec": loaded.name, "view": view, "options": options, "text": text, **more}],
            warnings,
        )
    else:
        print(text)
