"""Reading, checking and building one case, in the process that calls it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stepforge.backends.registry import BACKENDS
from stepforge.backends.render import render
from stepforge.language.diagnostics import SpecError
from stepforge.language.diagnostics import render as render_diagnostics
from stepforge.language.reader import from_source, loads
from stepforge.language.source import read
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a case.

    Attributes:
        what: In few words; a smaller case fails in the same way if its words are the same.
        detail: All that is known.
    """

    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Built:
    """A spec and its generated files, by backend."""

    spec: Spec
    files: dict[str, str]


def build(text: str) -> Built | Fault:
    """Checks and builds a spec that ought to be good."""
    try:
        spec = loads(text)[0]
        kernel = lower(spec)
        return Built(spec, {backend: render(kernel, backend) for backend in BACKENDS})
    except SpecError as error:
        codes = sorted({d.code for d in error.diagnostics if d.severity == "error"})
        return Fault(f"refused {' '.join(codes)}", render_diagnostics(error.diagnostics))
    except Exception as error:
        return crash(error)


def examine(data: bytes) -> str | Fault:
    """Reads a text that may be anything, the way `check` does.

    Returns:
        "refused" if it has diagnostics, "accepted" if it is a spec after all, which then has to
        build, or what is wrong.
    """
    try:
        with TemporaryDirectory(prefix="stepforge-") as folder:
            path = Path(folder) / "text.toml"
            path.write_bytes(data)
            try:
                spec, found = from_source(read(path, path.name), stem=None)
            except SpecError as error:
                if not render_diagnostics(error.diagnostics):
                    return Fault("refused without a reason", "there is no diagnostic")
                return "refused"
        render_diagnostics(found)
        kernel = lower(spec)
        for name, backend in BACKENDS.items():
            backend.syntax.check(render(kernel, name), name)
        return "accepted"
    except Exception as error:
        return crash(error)


def crash(error: BaseException) -> Fault:
    """An exception that nobody expects; its kind and place name it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, {frames[-1].name}" if frames else ""
    what = f"crash: {type(error).__name__}{place}"
    return Fault(what, "".join(traceback.format_exception(error)[-12:]))
