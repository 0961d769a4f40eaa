"""What several tests need: small specs, generated modules, the command as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stepforge.backends.render import render
from stepforge.language.diagnostics import Diagnostic
from stepforge.language.reader import loads
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Kernel
from stepforge.lowering.lower import lower
from stepforge.project.catalogue import name_of
from stepforge.project.loading import load

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOCK = sorted(path.stem for path in (ROOT / "specs").glob("*.toml"))
SCHEDULES = sorted(path.stem for path in (ROOT / "specs" / "schedules").glob("*.toml"))
DIALECTS = {name_of(path): path for path in sorted((ROOT / "specs" / "dialects").glob("*.toml"))}
"""Name → file."""
TRANSFORMS = sorted(path.stem for path in (ROOT / "specs" / "transforms").glob("*.toml"))
EVERY = sorted((*STOCK, *SCHEDULES, *DIALECTS))
"""All from which code is generated."""


@cache
def stock(name: str) -> Spec:
    """A spec of the catalogue: an optimizer, a schedule or a dialect."""
    if name in DIALECTS:
        path = DIALECTS[name]
    else:
        path = ROOT / "specs" / ("schedules" if name in SCHEDULES else "") / f"{name}.toml"
    return load(path, path.relative_to(ROOT).as_posix())[0]


def small(
    rule: str,
    *,
    name: str = "small",
    title: str = "Small rule",
    hyperparameters: Sequence[str] = ("lr",),
    options: Sequence[str] = (),
    state: Mapping[str, str] | Sequence[str] = (),
    inputs: Mapping[str, str] | Sequence[str] = (),
) -> Spec:
    """A spec around a rule; states and inputs map their name to keys, such as `scalar = true`."""
    given = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(inputs, "")
    states = dict(state) if isinstance(state, Mapping) else dict.fromkeys(state, "")
    lines = [
        f'name = "{name}"\ntitle = "{title}"\nsummary = "S."\nreference = "R"\n[hyperparameters]',
        *(f'{h} = {{ default = 0.5, doc = "H." }}' for h in hyperparameters),
        "[options]",
        *(f'{o} = {{ default = false, doc = "O." }}' for o in options),
        "[state]",
        *(f'{s} = {{ init = 0, doc = "S."{", " + k if k else ""} }}' for s, k in states.items()),
        "[inputs]",
        *(f'{i} = {{ doc = "I."{", " + k if k else ""} }}' for i, k in given.items()),
        f"[rule]\nupdate = '''\n{rule.strip()}\n'''\n",
    ]
    return loads("\n".join(lines))[0]


def lowered(rule: str, **parts: Any) -> Kernel:
    """The kernel of a small spec."""
    return lower(small(rule, **parts))


def module(text: str, name: str = "generated") -> Any:
    """The module that a generated text is."""
    made = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), made.__dict__)
    return made


def numpy_of(spec: Spec) -> Any:
    """The NumPy reference of a spec as a module."""
    return module(render(lower(spec), "numpy"), spec.name)


def run_command(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "stepforge", *map(str, args)],
        cwd=cwd or ROOT,
        env=environment(env),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which `stepforge` is this checkout's."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "codegen"), "PYTHONUTF8": "1", **(extra or {})}


@cache
def _of_catalogue(path: Path, shown: str) -> tuple[Spec, list[Diagnostic]]:
    return load(path, shown)


def loaded_once(path: Path, shown: str | None = None) -> tuple[Spec, list[Diagnostic]]:
    """What `load` finds; specs of the catalogue, which no test changes, are read once."""
    is_stock = path.resolve().is_relative_to(ROOT / "specs") and Path.cwd() == ROOT
    if shown is None or not is_stock:
        return load(path, shown)
    spec, found = _of_catalogue(path.resolve(), shown)
    return spec, [*found]


class Command:
    """Runs the command in this process: much faster than `stepforge`, for one that starts none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(
        self, *arguments: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        from stepforge.commands.cli import main

        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["stepforge", *map(str, arguments)])
            patch.setattr(sys.modules["__main__"], "__package__", "")  # argv has the command's name
            patch.chdir(cwd or ROOT)
            patch.setattr("stepforge.commands.specs.load", loaded_once)
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            try:
                with pytest.raises(SystemExit) as caught:
                    main()
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        out, err = self._capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(caught.value.code or 0), out, err)
