"""Verdicts that are kept, and stand wherever everything that they follow from is the same.

The key of a verdict is a SHA-256 of its task, the spec's text, the generated files, this package,
the libraries that its rung runs, the machine, and the variables of the environment. So several
versions of a kernel lie side by side, and an edit that is taken back costs nothing. Refutations are
looked at anew; so is what depends on the machine's mood, such as a task that ran out of time.

They lie in a database of SQLite, of which several processes may read and write at a time. Whoever
can write into the folder can write verdicts: it is as trusted as this package.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stepforge.backends.registry import BACKENDS, shared
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.spec import Spec
from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.run import environment
from stepforge.verify.run.environment import Snapshot
from stepforge.verify.run.tasks import Group
from stepforge.verify.rungs.task import Task

FORMAT = 1
"""Of the entries; it is part of every key."""
LIMIT = 64 << 20
"""Bytes of verdicts; beyond them those go that were not used for the longest time."""
_FILE = "verdicts.sqlite"
_SIDE_FILES = ("-journal", "-wal", "-shm")
_TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
_FILES = {
    _TAG: f"{_SIGNATURE}\n# Verdicts of stepforge, which `stepforge clean` removes.\n",
    ".gitignore": "*\n",
}
"""What else lies in the folder: it ignores itself, and programs that make copies pass it over.

The first is there before anything else, and whole, and goes last: others may look meanwhile.
"""
NOT_OURS = "this is no folder of kept verdicts"
_SECONDS = 2.0
"""Between two times that verdicts are written down."""
_WAIT = 30.0
"""Seconds to wait for another process that writes."""


class Cache:
    """The verdicts of a folder; without one, nothing is kept.

    Attributes:
        trouble: Why nothing is kept although it should be, or "".
    """

    def __init__(self, folder: Path | None, limit: int = LIMIT) -> None:
        """Opens the folder, which is made if it is not there.

        A folder that cannot be written is no error, and verdicts are found anew.

        Raises:
            SpecError: There is something else at this place.
        """
        self.trouble = ""
        self._limit = limit
        self._tasks: dict[tuple[Any, ...], tuple[Task, str, Snapshot]] = {}
        self._pending: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._used: set[str] = set()
        self._written = time.monotonic()
        self._of: dict[str, Snapshot] = {}
        self._database: sqlite3.Connection | None = None
        if folder is None:
            return
        if folder.exists() and not is_ours(folder):
            help = "name another one with --cache, or none with --no-cache"
            raise SpecError([Diagnostic("E001", NOT_OURS, str(folder), help=help)])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in _FILES.items():
                if not (folder / name).exists():
                    aside = folder / f"{_TAG}.{uuid.uuid4().hex}"
                    aside.write_text(text, encoding="utf-8")
                    os.replace(aside, folder / name)
            self._database = _opened(folder / _FILE)
        except (OSError, sqlite3.Error) as error:
            self.trouble = f"verdicts are not kept: {folder}: {_reason(error)}"

    def __bool__(self) -> bool:
        return self._database is not None

    def split(self, group: Group) -> tuple[Group, list[Verdict]]:
        """The tasks that are left to do, and the verdicts of the others."""
        if not self:
            return group, []
        left, found = [], []
        for task in group:
            if (verdict := self._found(task)) is not None:
                found.append(verdict)
            else:
                left.append(task)
        return tuple(left), found

    def put(self, verdict: Verdict) -> None:
        """Keeps the verdict of a task that was split off, unless one of its inputs has changed."""
        task, key, before = self._tasks.get(verdict.place, (None, "", None))
        if not self or task is None or verdict.kept or not _lasts(verdict):
            return
        if before != inputs_of(task.spec, task.folder):
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._pending[key] = (json.dumps(_data(verdict, now)), environment.packages(task.rung))
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Writes down what there is, but for what came from a library that changed meanwhile."""
        self._written = time.monotonic()
        now = int(time.time())
        sets = {names for _, names in self._pending.values()}
        sound = {names: environment.unchanged(names) for names in sets}  # it looks at every file
        rows = [
            (key, data, len(data), now)
            for key, (data, names) in self._pending.items()
            if sound[names]
        ]
        used, self._used, self._pending = [(now, key) for key in self._used], set(), {}
        if self._database is None or not (rows or used):
            return
        try:
            with self._database as database:
                database.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)
                database.executemany("UPDATE verdicts SET used = ? WHERE key = ?", used)
                _evict(database, self._limit)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Writes down what there is, and closes the folder."""
        self.write()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _found(self, task: Task) -> Verdict | None:
        """The verdict that is kept of a task."""
        name = task.spec.name
        if name not in self._of:
            self._of[name] = inputs_of(task.spec, task.folder)
        key = key_of(task, self._of[name])
        self._tasks[task.verdict(Status.UNSUPPORTED, "").place] = task, key, self._of[name]
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "SELECT data FROM verdicts WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        verdict = _verdict(row[0]) if row else None
        if verdict is None or verdict.place != task.verdict(Status.UNSUPPORTED, "").place:
            return None
        self._used.add(key)
        return verdict

    def _give_up(self, error: sqlite3.Error) -> None:
        self.trouble = f"verdicts are not kept: {_reason(error)}"
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None


def is_ours(folder: Path) -> bool:
    """Whether a folder is one of kept verdicts, or to become one: there is nothing else in it."""
    try:
        names = {path.name for path in folder.iterdir()}
        tag = (folder / _TAG).read_text(encoding="utf-8") if _TAG in names else ""
    except (OSError, UnicodeDecodeError):
        return False
    return tag == _FILES[_TAG] or (not tag and all(name.startswith(_TAG) for name in names))


def clean(folder: Path) -> int:
    """Removes a folder of kept verdicts, and says how many bytes it had.

    Raises:
        OSError: It cannot be removed.
    """
    size = 0
    left_over = [path.name for path in folder.glob(f"{_TAG}.*")]
    databases = [_FILE + end for end in ("", *_SIDE_FILES)]
    for name in (*databases, *left_over, *reversed([*_FILES])):
        path = folder / name
        with suppress(FileNotFoundError):
            size += path.lstat().st_size
            path.unlink()
    with suppress(FileNotFoundError):
        folder.rmdir()
    return size


def key_of(task: Task, files: Snapshot) -> str:
    """A SHA-256 of all that the verdict of a task follows from.

    Args:
        task: The task.
        files: What `inputs_of` gives for its spec.
    """
    source = task.spec.source
    around = environment.fingerprint(environment.packages(task.rung)).digest
    own = (
        task.rung.number, task.options, task.seed, task.targets, task.dtypes, task.exact,
        task.required, task.brief, task.kernels, task.backends, dict(task.artefacts),
    )  # fmt: skip
    inputs = source.path, source.text, str(task.folder), files.contents
    return environment.digest([FORMAT, around, inputs, own])


def inputs_of(spec: Spec, folder: Path) -> Snapshot:
    """The generated files of a spec, with those that it shares with others."""
    own = [folder / backend.file(spec.name) for backend in BACKENDS.values()]
    return Snapshot.of([*own, *(folder / name for name in shared())])


def _lasts(verdict: Verdict) -> bool:
    """Whether the same inputs would give it again, and nobody has to look at why."""
    return verdict.lasting and verdict.status is not Status.REFUTED


def _opened(path: Path) -> sqlite3.Connection:
    """The database; one that cannot be read makes place for a new one."""
    try:
        return _prepared(path)
    except sqlite3.OperationalError:  # locked, full, or not to be written
        raise
    except sqlite3.DatabaseError:
        for end in ("", *_SIDE_FILES):
            with suppress(FileNotFoundError):
                os.unlink(f"{path}{end}")
        return _prepared(path)


def _prepared(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_WAIT)
    try:
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS verdicts "
                "(key TEXT PRIMARY KEY, data TEXT, size INTEGER, used INTEGER) WITHOUT ROWID"
            )
            database.execute("UPDATE verdicts SET used = used WHERE 0")  # whether it can be written
    except sqlite3.Error:
        database.close()
        raise
    return database


def _evict(database: sqlite3.Connection, limit: int) -> None:
    """Removes the verdicts that were not used for the longest time, down to four fifths."""
    total = database.execute("SELECT coalesce(sum(size), 0) FROM verdicts").fetchone()[0]
    if total <= limit:
        return
    gone = []
    for key, size in database.execute("SELECT key, size FROM verdicts ORDER BY used, key"):
        gone.append((key,))
        total -= size
        if total <= limit * 4 // 5:
            break
    database.executemany("DELETE FROM verdicts WHERE key = ?", gone)


def _data(verdict: Verdict, now: str) -> dict[str, Any]:
    data = asdict(verdict)
    del data["machine_code"], data["counterexample"], data["lasting"]
    return data | {"kept": now}


def _verdict(text: str) -> Verdict | None:
    """A verdict that is kept, or None where that is no such thing."""
    known = {f.name for f in fields(Verdict)}
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or not set(data) <= known:
            return None
        warnings = tuple(data.pop("warnings"))
        found = Verdict(**{**data, "status": Status(data["status"]), "warnings": warnings})
        texts: Iterable[Any] = (found.rung, found.optimizer, found.detail, found.kept, *warnings)
        return found if _lasts(found) and all(isinstance(t, str) for t in texts) else None
    except (ValueError, TypeError, KeyError):
        return None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
