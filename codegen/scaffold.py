"""Files for authors: a new spec, and the examples of `explain`."""

from __future__ import annotations

from pathlib import Path

from codegen import catalogue
from codegen.diagnostics import Diagnostic, SpecError, short
from codegen.emit import write
from codegen.names import name_problem
from codegen.reader import load
from codegen.render import environment


def scaffold(name: str, origin: str | None) -> Path:
    """Writes `specs/NAME.toml`.

    Args:
        name: Name of the optimizer.
        origin: The spec to copy; by default a commented template.

    Returns:
        The path of the new file.

    Raises:
        SpecError: The name is not allowed, the file exists, or it cannot be written.
    """
    if problem := name_problem(name):
        code, reason, help = problem
        help = help or "use letters, digits and single underscores"
        raise SpecError([Diagnostic(code, f"`{short(name)}` {reason}", "new", help=help)])
    path = catalogue.LOCAL / f"{name}.toml"
    if path.exists():
        help = "choose another name, or edit the file"
        raise SpecError([Diagnostic("E008", "the file exists already", str(path), help=help)])
    text = (
        _copy(name, origin)
        if origin is not None
        else environment()
        .get_template("spec.toml.jinja")
        .render(name=name, title=name.replace("_", " ").title())
    )
    try:
        path.parent.mkdir(exist_ok=True)
        write(path, text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(
            [Diagnostic("E007", f"cannot write the spec: {reason}", str(path))]
        ) from None
    return path


def _copy(name: str, origin: str) -> str:
    located = catalogue.locate(origin)
    spec, _ = load(located.path, located.shown)
    start, end = spec.source.places[("name",)].value
    return f'{spec.source.text[:start]}"{name}"{spec.source.text[end:]}'


def example(code: str) -> tuple[str, str]:
    """A spec that gives a code, and the diagnostic; empty where no file can show it."""
    folder = catalogue.shipped("invalid_specs", "tests/invalid_specs")
    spec, message = folder / f"{code}.toml", folder / f"{code}.txt"
    if not (spec.is_file() and message.is_file()):
        return "", ""
    return spec.read_text("utf-8", "replace"), message.read_text("utf-8")
