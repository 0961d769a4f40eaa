"""Where specs are: a `specs/` folder in the working directory first, then the stock specs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codegen.diagnostics import Diagnostic, SpecError, nearest, short

LOCAL = Path("specs")


@dataclass(frozen=True, slots=True)
class Located:
    """A spec file and the name that diagnostics give it."""

    path: Path
    shown: str


def shipped(folder: str, checkout: str) -> Path:
    """A data folder of the installed package, or its origin in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / checkout


def stock() -> Path:
    """The folder of the stock specs, which travel with the package."""
    return shipped("specs", "specs")


def everything() -> list[Located]:
    """All specs of the local folder, or the stock specs if there is none; sorted by name.

    Raises:
        SpecError: The local folder holds no specs: with none given, all others would be orphans.
    """
    if LOCAL.is_dir():
        found = [Located(path, str(path)) for path in sorted(LOCAL.glob("*.toml"))]
        if found:
            return found
        help = "begin one with `stepforge new NAME`"
        raise SpecError([Diagnostic("E006", "there are no specs", str(LOCAL), help=help)])
    return [Located(path, f"specs/{path.name}") for path in sorted(stock().glob("*.toml"))]


def known_names() -> list[str]:
    """The names that `locate` finds without a path."""
    folders = [folder for folder in (LOCAL, stock()) if folder.is_dir()]
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def locate(name: str) -> Located:
    """The file of a spec, given by name or path.

    Raises:
        SpecError: No spec has this name.
    """
    if "/" in name or name.endswith(".toml"):
        return Located(Path(name), name)
    local = LOCAL / f"{name}.toml"
    help = nearest(name, known_names()) or f"there are {', '.join(known_names())}"
    with suppress(OSError):  # the name may be too long for a file
        if local.is_file():
            return Located(local, str(local))
        if name and Path(name).is_dir():
            help = f"`{short(name)}` is a directory; run the command where it is called `specs`"
    if name in {path.stem for path in stock().glob("*.toml")}:
        return Located(stock() / f"{name}.toml", f"specs/{name}.toml")
    message, shown = f"no spec named `{short(name)}`", f"specs/{short(name)}.toml"
    raise SpecError([Diagnostic("E006", message, shown, help=help)])
