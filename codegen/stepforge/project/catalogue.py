"""Where specs are: the project's own folder first, then the stock specs.

The own folder is `specs/` in the working directory, unless the configuration names another one.
Schedules are in a folder of their own in it; a name is of one spec, whichever of the two it is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.project import config

SCHEDULES = "schedules"
"""The folder of schedules, in a folder of specs."""


@dataclass(frozen=True, slots=True)
class Located:
    """A spec file and the name that diagnostics give it."""

    path: Path
    shown: str


def local() -> Path:
    """The project's own folder of specs, as seen from the working directory."""
    return config.current().specs or Path("specs")


def root() -> Path:
    """The folder of the project: that of the configuration, or the working directory."""
    return config.current().root


def origin(located: Located) -> str | None:
    """The file of a spec relative to the project; None if it lies outside and is no stock one."""
    path = Path(os.path.realpath(located.path))
    of_stock = Path(os.path.realpath(stock()))
    if path.parent in (of_stock, of_stock / SCHEDULES):
        return f"specs/{path.relative_to(of_stock).as_posix()}"
    top = os.path.realpath(root())
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else None


def shipped(folder: str, checkout: str) -> Path:
    """A data folder of the installed package, or its origin in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / folder
    return installed if installed.is_dir() else package.parents[1] / checkout


def stock() -> Path:
    """The folder of the stock specs, which travel with the package."""
    return shipped("specs", "specs")


def everything() -> list[Located]:
    """All specs of the local folder, or the stock specs if there is none; sorted by name.

    Raises:
        SpecError: The local folder holds no specs: with none given, all others would be orphans.
    """
    own = local()
    if own.is_dir():
        found = [Located(path, str(path)) for path in _specs(own)]
        if found:
            return found
        help = "begin one with `stepforge new NAME`"
        raise SpecError([Diagnostic("E006", "there are no specs", str(own), help=help)])
    return [_stock(path) for path in _specs(stock())]


def _specs(folder: Path) -> list[Path]:
    """The specs of a folder, optimizers and schedules, sorted by name."""
    return sorted(
        (*folder.glob("*.toml"), *(folder / SCHEDULES).glob("*.toml")), key=lambda path: path.stem
    )


def _stock(path: Path) -> Located:
    return Located(path, f"specs/{path.relative_to(stock()).as_posix()}")


def stock_names() -> list[str]:
    """The names of the stock specs."""
    return [path.stem for path in _specs(stock())]


def known_names() -> list[str]:
    """The names that `locate` finds without a path."""
    return sorted({*stock_names(), *(path.stem for path in _specs(local()))})


def known_schedules() -> list[str]:
    """Those of them that are schedules."""
    folders = (local() / SCHEDULES, stock() / SCHEDULES)
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def locate(name: str) -> Located:
    """The file of a spec, given by name or path, that of a schedule also as `schedules/NAME`.

    Raises:
        SpecError: No spec has this name.
    """
    is_schedule = name.startswith(f"{SCHEDULES}/") and not name.endswith(".toml")
    if not is_schedule and ("/" in name or name.endswith(".toml")):
        return Located(Path(name), name)
    known = known_schedules() if is_schedule else known_names()
    near = nearest(name.removeprefix(f"{SCHEDULES}/") if is_schedule else name, known)
    help = near or "`stepforge list` shows all names"
    with suppress(OSError):  # the name may be too long for a file
        for own in (local() / f"{name}.toml", local() / SCHEDULES / f"{name}.toml"):
            if own.is_file():
                return Located(own, str(own))
        if name and Path(name).is_dir():
            help = f"`{short(name)}` is a directory; run the command where it is called `specs`"
    for path in _specs(stock()):
        if name in (path.stem, path.relative_to(stock()).with_suffix("").as_posix()):
            return _stock(path)
    message, shown = f"no spec named `{short(name)}`", f"specs/{short(name)}.toml"
    raise SpecError([Diagnostic("E006", message, shown, help=help)])
