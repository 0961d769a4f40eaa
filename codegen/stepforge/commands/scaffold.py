"""Files for authors: a new spec, and the examples of `explain`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stepforge.backends.render import environment
from stepforge.language.diagnostics import Diagnostic, SpecError, short
from stepforge.language.names import GENERATED, name_problem
from stepforge.language.source import Source, read
from stepforge.language.spec import Spec
from stepforge.language.subjects import SCHEDULE, TRANSFORM
from stepforge.output.emit import write
from stepforge.project import catalogue
from stepforge.project.loading import load


def scaffold(name: str, origin: str | None, force: bool = False) -> Path:
    """Writes `specs/NAME.toml`; a copy of a schedule or transform into the folder of those.

    Args:
        name: Name of the spec.
        origin: The spec to copy; by default a commented template.
        force: Whether it may have the name of a stock spec, which it then hides.

    Returns:
        The path of the new file.

    Raises:
        SpecError: The name is not allowed or taken, or the file cannot be written.
    """
    if problem := name_problem(name, GENERATED):
        code, reason, help = problem
        help = help or "use letters, digits and single underscores"
        raise SpecError([Diagnostic(code, f"`{short(name)}` {reason}", "new", help=help)])
    copied = _load(origin) if origin is not None else None
    inner = _FOLDERS.get(copied.subject.name, "") if copied is not None else ""
    path = catalogue.local() / inner / f"{name}.toml"
    if path.exists():
        help = "choose another name, or edit the file"
        raise SpecError([Diagnostic("E008", "the file exists already", str(path), help=help)])
    if not force and name in catalogue.stock_names():
        message = f"`{name}` is the name of a stock spec, which the new file would hide"
        help = f"`stepforge new my_{name} --from {name}` copies it; --force takes its name"
        raise SpecError([Diagnostic("E008", message, str(path), help=help)])
    title = name.replace("_", " ").title()
    text = (
        _copy(name, title, copied)
        if copied is not None
        else environment().get_template("spec.toml.jinja").render(name=name, title=title)
    )
    try:
        path.parent.mkdir(parents=bool(inner), exist_ok=True)
        write(path, text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(
            [Diagnostic("E007", f"cannot write the spec: {reason}", str(path))]
        ) from None
    return path


_FOLDERS = {SCHEDULE.name: catalogue.SCHEDULES, TRANSFORM.name: catalogue.TRANSFORMS}
"""Subject → the folder of its specs."""


def _load(origin: str) -> Spec:
    located = catalogue.locate(origin)
    spec = load(located.path, located.shown)[0]
    if spec.subject == TRANSFORM:  # its own text, without the rule that it was read around
        return replace(spec, source=read(located.path, located.shown))
    return spec


def _copy(name: str, title: str, spec: Spec) -> str:
    """The text of a spec under another name; it has its own title, reference and class.

    The copy is there to be changed, so it is neither what the paper says nor torch's class.
    """
    own = {
        ("name",): name,
        ("title",): title,
        ("reference",): f"Unpublished; changed from {spec.name}",
        ("torch", "class"): "".join(word.capitalize() for word in name.split("_")),
    }
    text = spec.source.text
    places = {key: spec.source.places[key].value for key in own if key in spec.source.places}
    if spec.subject == SCHEDULE and "torch" in spec.source.data:
        del places["torch", "class"]
        text = _without_torch(spec.source)
    for key, (start, end) in sorted(places.items(), key=lambda item: item[1], reverse=True):
        text = f'{text[:start]}"{own[key]}"{text[end:]}'
    return text


def _without_torch(source: Source) -> str:
    """The text of a schedule without the table `[torch]`."""
    start, stop = source.places["torch",].key[0] - 1, len(source.text)
    for (name, *inner), place in source.places.items():
        if name != "torch" and not inner and place.key[0] > start:
            stop = min(stop, place.key[0] - 1)
    before, behind = source.text[:start].rstrip("\n"), source.text[stop:]
    return f"{before}\n\n{behind}" if behind else f"{before}\n"


def example(code: str) -> tuple[str, str]:
    """A spec that gives a code, and the diagnostic; empty where no file can show it."""
    folder = catalogue.shipped("invalid_specs", "tests/invalid_specs")
    spec, message = folder / f"{code}.toml", folder / f"{code}.txt"
    if not (spec.is_file() and message.is_file()):
        return "", ""
    return spec.read_text("utf-8", "replace"), message.read_text("utf-8")
