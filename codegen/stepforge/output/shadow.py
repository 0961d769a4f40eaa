"""An output folder must not stand in for NumPy, torch or Triton: its own folders are called so.

Python finds `numpy` in the first folder of `sys.path` that has one. A folder of generated code is
therefore part of a package, and no place that modules are imported from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stepforge.language.diagnostics import Diagnostic, SpecError

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_aside: list[str] = []
"""What `step_aside` took off `sys.path`."""


def real() -> tuple[str, ...]:
    """What generated code imports, and what folders of it are called."""
    from stepforge.backends.registry import BACKENDS  # other commands can do without it

    libraries = {name for backend in BACKENDS.values() for name in backend.libraries}
    return tuple(sorted(libraries & BACKENDS.keys()))


def refuse(out: Path) -> None:
    """Refuses an output folder in which Python would look for modules.

    Raises:
        SpecError: It is such a folder, or is itself called like a real package.
    """
    place, packages = _resolved(out), real()
    reason = ""
    if place == _resolved(Path()):
        reason = "it is the working directory, which Python imports from"
    elif place in {_resolved(Path(entry)) for entry in _entries()}:
        reason = "it is on Python's path"
    elif place.name in packages and not (place.parent / "__init__.py").exists():
        reason = f"`import {place.name}` would find it beside a script"
    if reason:
        message = f"cannot build into this folder: {reason}, and it holds {', '.join(packages)}"
        if (place / "stepforge.json").is_file():
            help = f"run the command in the folder above, with `--out {place.name}`"
        else:
            named = Path("generated", place.name) if place.name in packages else out / "generated"
            help = f"choose a folder below it, such as `--out {named}`"
        raise SpecError([Diagnostic("E021", message, str(out), help=help)])


def doubt(out: Path) -> Diagnostic | None:
    """A warning where the folder looks like one that modules are imported from."""
    place = _resolved(out)
    found = [name for name in _PROJECT if (place / name).exists()]
    if not found and place.name != "src":
        return None
    reason = f"it holds {found[0]}" if found else "it is called `src`"
    message = f"if Python imports from this folder, its `torch` hides the real one; {reason}"
    help = f"choose a folder below it, such as `--out {out / 'generated'}`"
    return Diagnostic("W301", message, str(out), help=help)


def step_aside() -> None:
    """Takes folders of generated code off `sys.path`, so that the command finds the real packages.

    `python -m stepforge` puts the working directory there, and workers get what this process has.
    """
    _aside.extend(entry for entry in sys.path if _is_generated(entry))
    sys.path[:] = [entry for entry in sys.path if entry not in _aside]


def _is_generated(entry: str) -> bool:
    """Whether a folder is one that `build` wrote: by its manifest, or by the classes in it."""
    folder = entry or os.curdir
    if os.path.isfile(os.path.join(folder, "stepforge.json")):
        return True
    try:
        with open(os.path.join(folder, "torch", "__init__.py"), encoding="utf-8") as stream:
            return "by `stepforge build`" in stream.readline()
    except (OSError, ValueError):
        return False


def _entries() -> list[str]:
    """Where Python looks for modules, in this process and in those that are started like it."""
    variable = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [entry for entry in [*sys.path, *_aside, *variable] if entry]


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
