"""Views of a spec: text, mathematics, lowered program, generated code, what that compiles to."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepforge.backends.python import expression, written
from stepforge.backends.registry import BACKENDS, of
from stepforge.commands import gpus
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.language.spec import Hyperparameter, Input, Options, Spec, State, holds, under
from stepforge.language.subjects import OPTIMIZER

OF_SPEC = ("text", "spec", "latex", "mathml", "kernel")
"""Views of what is the same for all backends, whose views come next."""
OF_OPTIMIZER = ("facts", "limits")
"""Views of what follows from the rule of an optimizer."""
COMPILED = ("ttir", "ptx")
"""Views of what Triton's compiler makes of the generated kernel."""


def views() -> tuple[str, ...]:
    """What `stepforge show --as` prints."""
    return (*OF_SPEC, *OF_OPTIMIZER, *BACKENDS, *COMPILED)


@dataclass(frozen=True, slots=True)
class Compilation:
    """What a kernel is compiled for; tensors are aligned to 16 bytes, as those of torch are.

    Attributes:
        target: The GPU, such as "sm_90".
        dtype: Triton's name of the type of parameters and gradients.
        exact: The mode that the launcher is called with.
    """

    target: str = "sm_90"
    dtype: str = "fp32"
    exact: bool = True


class CannotShow(Exception):
    """The compiler refuses the kernel, or is not installed."""


def show(spec: Spec, view: str, options: Options | None = None) -> str:
    """One view of a spec.

    Args:
        spec: The spec.
        view: One of `views`, none of `COMPILED`.
        options: For text and mathematics, what decides the conditions on options; if None, the
            whole rule is shown, with its conditions. For what follows from a rule, see `derived`.
            Code has all options in any case.

    Raises:
        SpecError: There is no such view.
    """
    if view not in views():
        help = nearest(view, views()) or f"there are {', '.join(views())}"
        message = f"no view named `{short(view)}`"
        raise SpecError([Diagnostic("E006", message, "show", help=help)])
    if view == "text":
        return "\n".join(_text(spec, options))
    if view == "spec":
        return spec.source.text.rstrip("\n")
    if view in ("latex", "mathml"):
        from stepforge.language.typeset import Latex, MathML

        return (Latex if view == "latex" else MathML)(spec, options).text()
    if view in OF_OPTIMIZER:
        return derived(spec, view, options)[0]
    from stepforge.backends.render import render
    from stepforge.lowering.lower import lower

    kernel = lower(spec)
    if view in BACKENDS and view not in of(spec.subject):
        raise _nothing(spec, view)
    return str(kernel) if view == "kernel" else render(kernel, view).rstrip("\n")


def derived(spec: Spec, view: str, options: Options | None) -> tuple[str, list[dict[str, Any]]]:
    """What follows from a rule, as text and as data.

    Args:
        spec: The optimizer.
        view: One of `OF_OPTIMIZER`.
        options: The option set; None for the default one, and for facts also with each of the
            other options alone.

    Raises:
        SpecError: It is no optimizer.
    """
    if spec.subject != OPTIMIZER:
        raise _nothing(spec, view)
    first, *others = spec.option_sets()
    chosen = first if options is None else options
    if view == "facts":
        from stepforge.commands.terminal import facts as terminal
        from stepforge.facts.derive import facts

        alone = [o for o in others if sum(o[name] != first[name] for name in first) == 1]
        sets = [chosen, *(alone if options is None else ())]
        found = [facts(spec, one) for one in sets]
        return terminal.text(spec, found), [terminal.as_dict(one) for one in found]
    from stepforge.commands.specs import load_all, optimizers
    from stepforge.commands.terminal import relations
    from stepforge.facts.limits import limits

    catalogue = optimizers(load_all(None), None, "show")
    related = limits(spec, chosen, catalogue)
    lines = [relations.special_case(relation) for relation in related]
    text = "\n".join(lines) or f"{spec.name} is no other optimizer of the catalogue"
    return text, [relations.as_dict(relation) for relation in related]


def show_compiled(spec: Spec, view: str, options: Options, compilation: Compilation) -> str:
    """What Triton makes of the kernel that build would write, whatever the generated files are.

    Args:
        spec: The spec.
        view: One of `COMPILED`.
        options: The option set.
        compilation: GPU, type and mode.

    Returns:
        The text without locations in the source: the same on every machine.

    Raises:
        SpecError: There is no such GPU or type, or Triton is not installed.
        CannotShow: The compiler refuses the kernel.
    """
    _check(view, compilation)
    if not spec.subject.tensors:
        raise _nothing(spec, view)
    from stepforge.output import emit
    from stepforge.verify.processes import scratch

    with scratch(), tempfile.TemporaryDirectory(prefix="stepforge-") as name, _settings():
        from stepforge.verify.rungs.compiled import CannotCompile, compile_kernel, load

        folder = Path(name)
        emit.apply(emit.changes([spec], folder, whole=False))
        try:
            artefacts = compile_kernel(
                load(spec, folder), spec, options, compilation.target, compilation.dtype,
                exact=compilation.exact,
            )  # fmt: skip
        except CannotCompile as error:
            raise CannotShow(str(error).replace(name, "generated")) from None
    text = str(artefacts[view])
    return (_without_locations(text) if view == "ttir" else text).strip("\n")


def _nothing(spec: Spec, view: str) -> SpecError:
    """There is no such view of a schedule."""
    message = f"a {spec.subject.name} has no view `{view}`"
    help = f"there are {', '.join((*OF_SPEC, *of(spec.subject)))}"
    return SpecError([Diagnostic("E006", message, spec.source.path, help=help)])


def _check(view: str, compilation: Compilation) -> None:
    from stepforge.verify.rungs.levels import AMD, ARCHITECTURES, DTYPES

    def error(message: str, help: str) -> SpecError:
        return SpecError([Diagnostic("E006", message, "show", help=help)])

    target, dtype = compilation.target, compilation.dtype
    if target not in ARCHITECTURES:
        gpus.target(target, "show")  # says which there are
    if dtype not in DTYPES:
        help = nearest(dtype, DTYPES) or f"there are {', '.join(DTYPES)}"
        raise error(f"no type named `{dtype}`", help)
    if target == AMD and view == "ptx":
        raise error(f"there is no PTX for `{AMD}`", "PTX is NVIDIA's; --as ttir is for all")
    if importlib.util.find_spec("triton") is None:
        raise error("Triton is not installed", f"--as {view} is made by its compiler")


@contextmanager
def _settings() -> Iterator[None]:
    """For a while, Triton compiles, and leaves out debugging information."""
    settings = {"TRITON_INTERPRET": "0", "TRITON_DISABLE_LINE_INFO": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_LOCATION = re.compile(r' loc\((?:unknown|#loc\d*|"[^"\n]*"(?:\(#loc\d*\))?)\)')


def _without_locations(text: str) -> str:
    """Triton IR without what only says where an operation comes from."""
    lines = (line for line in text.split("\n") if not line.startswith("#loc"))
    return "\n".join(_LOCATION.sub("", line) for line in lines)


def chosen(spec: Spec, switched_on: list[str]) -> dict[str, bool]:
    """The option set in which the named options are on, all others at their default.

    Raises:
        SpecError: An option is unknown or lacks what its `when` asks for.
    """
    options = {option.name: option.default for option in spec.options}
    path = spec.source.path
    for name in switched_on:
        if name not in options:
            help = nearest(name, options) or f"there are {', '.join(options) or 'none'}"
            raise SpecError([Diagnostic("E006", f"no option named `{name}`", path, help=help)])
        options[name] = True
    for option in spec.options:
        if options[option.name] and not holds(option.when, options):
            message = f"option `{option.name}` needs `{option.when_text}`"
            raise SpecError([Diagnostic("E006", message, path)])
    return options


def _text(spec: Spec, options: Options | None) -> Iterator[str]:
    yield f"{spec.title} — {spec.summary}"
    yield f"Reference: {spec.reference}"
    yield ""
    yield from written(under(spec.rule, options))
    numbers = [
        (h.name, f"= {h.default:g}", h.doc, f"({text})" if (text := _domain(spec, h)) else "")
        for h in spec.hyperparameters
    ]
    switches = [
        (o.name, f"= {str(o.default).lower()}", o.doc, f"(only if {o.when_text})" * bool(o.when))
        for o in spec.options
    ]
    states = spec.states if options is None else spec.active_states(options)
    remembered = [
        (s.name, f"= {expression(s.init)} at first", s.doc, f"({', '.join(_limits(s))})")
        for s in states
    ]
    given = [(i.name, "", i.doc, f"({', '.join(_kinds(i))})") for i in spec.inputs]
    sections = (
        ("Hyperparameters", numbers), ("Options", switches), ("State", remembered),
        ("Inputs", given),
    )  # fmt: skip
    for title, entries in sections:
        if entries:
            yield ""
            yield f"{title}:"
            width = max(len(f"{name} {value}".rstrip()) for name, value, *_ in entries)
            for name, value, doc, limits in entries:
                yield f"  {f'{name} {value}'.rstrip():{width}}  {doc} {limits}".rstrip()


def _domain(spec: Spec, h: Hyperparameter) -> str:
    others = (c.text for c in spec.together if h.name in c.names)
    return ", ".join(filter(None, (h.domain_text, *others)))


def _kinds(declared: State | Input) -> Iterator[str]:
    has_p_type = isinstance(declared, State) and declared.has_p_type
    yield "one number" if declared.scalar else "a tensor like p" + ", of its type" * has_p_type
    if declared.domain_text:
        yield declared.domain_text


def _limits(state: State) -> Iterator[str]:
    yield from _kinds(state)
    if state.when_text:
        yield f"only if {state.when_text}"
