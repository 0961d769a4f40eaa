"""Where specs are: the project's own folder first, then the stock specs.

The own folder is `specs/` in the working directory, unless the configuration names another one.
Schedules, dialects of optimizers and transforms are in folders of their own in it; a name is of one
spec, whichever of them it is. The file of a dialect is called like `adam@keras.toml`, and what is
generated from it `adam_keras`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.project import config

SCHEDULES, DIALECTS, TRANSFORMS = FOLDERS = "schedules", "dialects", "transforms"
"""The folders in a folder of specs."""


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
    if path.parent in (of_stock, *(of_stock / folder for folder in FOLDERS)):
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
    """The specs of a folder from which code is generated, sorted by name."""
    places = (folder, folder / SCHEDULES, folder / DIALECTS)
    return sorted((path for place in places for path in place.glob("*.toml")), key=name_of)


def _files(folder: Path) -> list[Path]:
    """All of its specs, transforms included."""
    return [*_specs(folder), *sorted((folder / TRANSFORMS).glob("*.toml"))]


def name_of(path: Path) -> str:
    """The name of a spec, from that of its file."""
    return path.stem.replace("@", "_")


def _stock(path: Path) -> Located:
    return Located(path, f"specs/{path.relative_to(stock()).as_posix()}")


def stock_names() -> list[str]:
    """The names of the stock specs."""
    return [name_of(path) for path in _files(stock())]


def known_names() -> list[str]:
    """The names that `locate` finds without a path."""
    return sorted({path.stem for folder in (stock(), local()) for path in _files(folder)})


def known_in(folder: str) -> list[str]:
    """Those of them that are in one of `FOLDERS`."""
    places = (local() / folder, stock() / folder)
    return sorted({path.stem for place in places for path in place.glob("*.toml")})


def transforms() -> list[Located]:
    """All transforms of the local folder, or the stock ones if there is none; sorted by name."""
    own = local()
    if own.is_dir():
        return [Located(path, str(path)) for path in sorted((own / TRANSFORMS).glob("*.toml"))]
    return [_stock(path) for path in sorted((stock() / TRANSFORMS).glob("*.toml"))]


def locate(name: str) -> Located:
    """The file of a spec, given by name or path; that in a folder also as `schedules/NAME`.

    Raises:
        SpecError: No spec has this name.
    """
    folder, slash, rest = name.partition("/")
    inside = folder in FOLDERS and slash and not name.endswith(".toml")
    if not inside and ("/" in name or name.endswith(".toml")):
        return Located(Path(name), name)
    help = ""
    with suppress(OSError):  # the name may be too long for a file
        if found := _named(name, local()):
            return Located(found, str(found))
        if name and Path(name).is_dir():
            help = f"`{short(name)}` is a directory; run the command where it is called `specs`"
    if found := _named(name, stock()):
        return _stock(found)
    help = help or (nearest(rest, known_in(folder)) if inside else nearest(name, known_names()))
    help = help or "`stepforge list` shows all names"
    message, shown = f"no spec named `{short(name)}`", f"specs/{short(name)}.toml"
    raise SpecError([Diagnostic("E006", message, shown, help=help)])


def _named(name: str, folder: Path) -> Path | None:
    """The spec of a folder that is called so on the command line."""
    for path in _files(folder):
        if name in (path.stem, name_of(path)):
            return path
        if "/" in name and name == path.relative_to(folder).with_suffix("").as_posix():
            return path
    return None
