"""The configuration of a project: `stepforge.toml`, or `[tool.stepforge]` in `pyproject.toml`.

The nearest one counts, in the working directory or above it, and `stepforge.toml` before the other.
Paths are relative to the file. It is the user's own, like a Makefile: they may lead anywhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from stepforge.backends.registry import BACKENDS
from stepforge.language.diagnostics import Diagnostic, SpecError, nearest, short
from stepforge.language.source import MAX_BYTES, KeyPath, Source, parse

VERDICTS = ".stepforge_cache"
"""The folder of kept verdicts, in that of the project."""
LEVELS = ("fast", "full", "deep")
_MENTIONED = re.compile(r"(?m)^[ \t]*\[?[ \t]*[\"']?tool\b.*\bstepforge\b|^[ \t]*\[tool\]")
_OTHER_NAMES = {
    "keep": "cache",
    "output": "out",
    "generated": "out",
    "spec": "specs",
    "timeout": "time_limit",
}
"""What somebody may call a key, beside its name."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration says; what it does not is None.

    Attributes:
        file: The file, or None if there is none.
        specs: The folder of specs.
        out: The folder of generated code.
        backends: What to generate.
        level: The level of `verify`.
        cache: The folder of kept verdicts.
        time_limit: Seconds of processor time of each check of a kernel.
    """

    file: Path | None = None
    specs: Path | None = None
    out: Path | None = None
    backends: tuple[str, ...] | None = None
    level: str | None = None
    cache: Path | None = None
    time_limit: float | None = None

    @property
    def root(self) -> Path:
        """The folder of the project: that of the file, or the working directory."""
        return self.file.parent if self.file else Path.cwd()

    @property
    def verdicts(self) -> Path:
        """The folder of kept verdicts, as seen from the working directory."""
        return self.cache or Path(os.path.relpath(self.root / VERDICTS))


KEYS: dict[str, Literal["path", "backends", "level", "seconds"]] = {
    "specs": "path",
    "out": "path",
    "backends": "backends",
    "level": "level",
    "cache": "path",
    "time_limit": "seconds",
}


def current() -> Config:
    """The configuration for the working directory.

    Raises:
        SpecError: With every error of the file.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name in ("stepforge.toml", "pyproject.toml"):
            file = folder / name
            try:
                status = file.stat()
            except OSError:
                continue
            config = _read(str(file), (status.st_mtime_ns, status.st_size), str(here))
            if config is not None:
                return config
    return Config()


def defaults() -> dict[str, dict[str, Any]]:
    """Command → parameter → what it is unless the command line says something else.

    Without a configuration, the folder of generated code is the working directory if that is one.
    """
    config = current()
    out = config.out
    if out is None and Path("stepforge.json").is_file() and not Path("generated").exists():
        out = Path()
    verify: dict[str, Any] = {
        "folder": out, "level": config.level, "time_limit": config.time_limit,
    }  # fmt: skip
    backends = list(config.backends) if config.backends is not None else None
    found: dict[str, dict[str, Any]] = {
        "build": {"out": out, "backend": backends},
        "verify": verify,
        "mutate": {"folder": out},
    }
    return {
        command: {
            name: str(value) if isinstance(value, Path) else value
            for name, value in values.items()
            if value is not None
        }
        for command, values in found.items()
    }


@lru_cache(maxsize=8)
def _read(name: str, stamp: tuple[int, int], here: str) -> Config | None:
    """The configuration of a file, or None if a `pyproject.toml` has none.

    Args:
        name: The file.
        stamp: Its time and size: a changed file is read again.
        here: The working directory, from which paths are shown.
    """
    file, shown = Path(name), os.path.relpath(name, here)
    is_own = file.name == "stepforge.toml"
    try:
        if not file.is_file():
            raise OSError("it is not a regular file")
        if stamp[1] > MAX_BYTES and is_own:
            raise OSError(f"it has {stamp[1]} bytes, the limit is {MAX_BYTES}")
        text = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if not is_own:
            return None
        is_text = isinstance(error, UnicodeDecodeError)
        reason = "it is not UTF-8" if is_text else getattr(error, "strerror", None) or str(error)
        message = f"cannot read the configuration: {reason.lower()}"
        raise SpecError([Diagnostic("E001", message, shown)]) from None
    if not is_own and not _MENTIONED.search(text):
        return None
    source = parse(text, shown)
    prefix: KeyPath = () if is_own else ("tool", "stepforge")
    table: Any = source.data
    for key in prefix:
        table = table.get(key) if isinstance(table, Mapping) else None
    if table is None:
        return None
    return _Reader(source, prefix, file.parent, Path(here)).config(file, table)


class _Reader:
    """Turns a table into a configuration, and collects what is wrong with it."""

    def __init__(self, source: Source, prefix: KeyPath, folder: Path, here: Path) -> None:
        self.source, self.prefix, self.folder, self.here = source, prefix, folder, here
        self.found: list[Diagnostic] = []

    def config(self, file: Path, table: Any) -> Config:
        """The configuration; raises `SpecError`."""
        values: dict[str, Any] = {}
        if not isinstance(table, Mapping):
            self.error("E025", (), "`stepforge` is a table", "write `[tool.stepforge]` above it")
            raise SpecError(self.found)
        for key, value in table.items():
            if key not in KEYS:
                other = _OTHER_NAMES.get(key, "")
                help = f"write `{other}`" if other else nearest(key, KEYS)
                help = help or f"there are {', '.join(KEYS)}"
                self.error("E024", (key,), f"no setting is called `{short(key)}`", help, True)
            elif KEYS[key] == "path":
                values[key] = self.path(key, value)
            elif KEYS[key] == "level":
                values[key] = self.level(key, value)
            elif KEYS[key] == "seconds":
                values[key] = self.seconds(key, value)
            else:
                values[key] = self.backends(key, value)
        if self.found:
            raise SpecError(self.found)
        return Config(file, **values)

    def error(self, code: str, at: KeyPath, message: str, help: str, is_key: bool = False) -> None:
        """Notes an error at a key or its value."""
        path = (*self.prefix, *at)
        span = self.source.key_span(path) if is_key else self.source.value_span(path)
        self.found.append(self.source.diagnostic(code, message, span, help))

    def path(self, key: str, value: Any) -> Path | None:
        """A path, as seen from the working directory."""
        if not isinstance(value, str) or not value or "\0" in value:
            help = f'write `{key} = "{"generated" if key == "out" else key}"`'
            self.error("E025", (key,), f"`{key}` is a path in quotes", help)
            return None
        return Path(os.path.relpath(self.folder / Path(value).expanduser(), self.here))

    def level(self, key: str, value: Any) -> str | None:
        """A level of `verify`."""
        if value not in LEVELS:
            help = nearest(value, LEVELS) if isinstance(value, str) else ""
            help = help or f"there are {', '.join(LEVELS)}"
            self.error("E025", (key,), f"no level is called `{short(str(value))}`", help)
            return None
        return str(value)

    def seconds(self, key: str, value: Any) -> float | None:
        """A time limit."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 1e9:
            help = f"write `{key} = 300`"
            self.error("E025", (key,), f"`{key}` is a number of seconds, 1 or more", help)
            return None
        return float(value)

    def backends(self, key: str, value: Any) -> tuple[str, ...]:
        """Names of backends."""
        if not isinstance(value, list) or not value:
            help = f"write `backends = {json.dumps([*BACKENDS][:2])}`"
            self.error("E025", (key,), "`backends` is a list of names", help)
            return ()
        for index, name in enumerate(value):
            if name not in [*BACKENDS]:
                help = nearest(name, BACKENDS) if isinstance(name, str) else ""
                help = help or f"there are {', '.join(BACKENDS)}"
                message = f"no backend is called `{short(str(name))}`"
                self.error("E025", (key, str(index)), message, help)
        return tuple(name for name in BACKENDS if name in value)
