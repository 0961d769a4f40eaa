"""Edited copies of generated files, and single rungs run on them."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from support import ROOT, stock

from stepforge.language.reader import loads
from stepforge.language.spec import Options, Spec
from stepforge.output import emit
from stepforge.project.loading import load
from stepforge.verify import driver as verify
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.run.workers import Pools
from stepforge.verify.rungs.registry import RUNGS

Edit = tuple[str, str]


def copy_of(name: str, folder: Path) -> Path:
    """The generated files of a stock spec in a folder of its own."""
    emit.build([stock(name)], folder, whole=False)
    return folder


def edit(path: Path, edits: Sequence[Edit]) -> None:
    """Replaces text in a file; every piece must be there."""
    text = path.read_text()
    for old, new in edits:
        assert old in text, f"{path.name} has no {old!r}: the edit would change nothing"
        text = text.replace(old, new)
    path.write_text(text)


def task(
    rung: str,
    folder: Path,
    name: str = "adamw",
    options: Mapping[str, bool] | None = None,
    spec: Path | None = None,
    brief: bool = False,
) -> verify.Task:
    path = spec or ROOT / "specs" / f"{name}.toml"
    loaded = load(path, f"specs/{path.name}")[0]
    chosen = dict(options) if options is not None else next(loaded.option_sets())
    return verify.Task(RUNGS[rung], loaded, chosen, folder, 0, ("sm_80",), ("fp32",), brief=brief)


@cache
def workers() -> Pools:
    """One worker of each kind, for all tests whose files do no harm."""
    pools = Pools(1, 1)
    atexit.register(pools.close)
    return pools


def run(*tasks: verify.Task, seconds: float | None = None) -> list[Verdict]:
    """The verdicts in the order of the tasks; with a time limit, from workers of their own."""
    found = list(verify.execute(tasks, 1, seconds) if seconds else workers().execute(tasks))
    return [
        next(
            v
            for v in found
            if (v.rung, v.optimizer, v.options) == (t.rung.number, t.spec.name, t.options)
        )
        for t in tasks
    ]


def here(
    rung: str, spec: Spec, folder: Path, options: Options, seed: int = 0, **more: Any
) -> Verdict:
    """The verdict of a rung in this process."""
    return verify.run(verify.Task(RUNGS[rung], spec, dict(options), folder, seed, **more))


def made_up(function: str, folder: Path, number: str = "R3") -> verify.Task:
    """A task of a rung that is a function of this module, for workers with the compiler."""
    rung = replace(RUNGS[number], function=f"{__name__}:{function}", needs=())
    return replace(task("R3", folder, "lion"), rung=rung)


def passes(task: verify.Task) -> Verdict:
    return task.verdict(Status.TESTED, "as it should be")


def computes_forever(task: verify.Task) -> Verdict:
    while True:
        pass


def is_wrong(task: verify.Task) -> Verdict:
    raise KeyError(task.spec.name)


def is_killed(task: verify.Task) -> Verdict:
    os.kill(os.getpid(), signal.SIGKILL)
    return passes(task)


SHORT = """
name = "short"
title = "Short"
summary = "Heavy ball without options: a whole run on it takes half as long as on any other."
reference = "None"
[hyperparameters]
lr = { default = 1e-2, domain = "lr >= 0", doc = "Learning rate." }
momentum = { default = 0.9, domain = "0 <= momentum < 1", doc = "Velocity that is kept." }
[state]
v = { init = 0, doc = "Velocity." }
[rule]
update = '''
v = momentum*v - lr*g
p = p + v
'''
"""


def short(folder: Path) -> Path:
    """The path of a spec with one option set, and its files in `generated` beside it."""
    return build(SHORT, folder)


def build(text: str, folder: Path) -> Path:
    """Writes a spec and its generated pair; the path of the spec."""
    spec, _ = loads(text)
    path = folder / f"{spec.name}.toml"
    path.write_text(text)
    emit.apply(emit.changes([load(path)[0]], folder / "generated", whole=False))
    return path
