"""Compiles the C files of the folder beside when they are first used, and keeps the libraries.

They lie in the user's cache folder, each under a key of everything that its code follows from: the
sources, the flags, the compiler and the processor. Processes may come at the same time.

`CC` names another compiler, `STEPFORGE_CFLAGS` other flags in place of `-O3 -march=native`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parent.parent / "c"
SHARED = ("_stepforge.c", "_stepforge.h", "_functions.h")
USUAL = "-O3 -march=native"
"""Flags that `STEPFORGE_CFLAGS` replaces."""
NEEDED = (
    "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd",
    "-fPIC", "-shared", "-pthread",
)  # fmt: skip
"""Flags without which the bits would be others, or loops would not be vectorised. None of them
changes a result."""
SECONDS = 120
"""That a compiler may take."""
KEPT = 256
"""Libraries in the cache folder; the oldest are removed when another one comes."""


class Unavailable(RuntimeError):
    """There is no library, and the text says why."""


class Library:
    """The compiled code of one optimizer."""

    def __init__(self, path: Path, name: str) -> None:
        loaded = ctypes.CDLL(str(path))
        self._step = getattr(loaded, f"{name}_step")
        self._step.restype = ctypes.c_int
        self._step.argtypes = (
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint,
            ctypes.c_int,
        )  # fmt: skip

        self._count = loaded.stepforge_count
        self._count.restype = None
        self._count.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int)

    def count(self, addresses: Any, wide: bool) -> None:
        """Adds 1 to numbers in memory.

        Args:
            addresses: int64: where they are.
            wide: Whether they are float64, and not float32.
        """
        self._count(addresses.ctypes.data, len(addresses), wide)

    def step(self, table: Any, numbers: Sequence[float], options: int, threads: int | None) -> None:
        """One step of all tensors of a table; other threads of Python run meanwhile.

        Args:
            table: A table of `_tables`.
            numbers: What the host has computed for the step.
            options: A bit for every option, the lowest one for the first.
            threads: How many threads may work; by default as many as `default_threads` says.
        """
        values = (ctypes.c_double * len(numbers))(*numbers)
        threads = default_threads() if threads is None else threads
        self._step(table.address, table.tensors, table.types, values, options, threads)


_libraries: dict[str, Library | Unavailable] = {}
_lock = threading.Lock()


def load(name: str) -> Library:
    """The compiled code of an optimizer.

    Args:
        name: The name of its C file.

    Raises:
        Unavailable: It could not be compiled, kept or loaded; it is not tried again.
    """
    found = _libraries.get(name)
    if found is None:
        with _lock:
            found = _libraries.get(name)
            if found is None:
                try:
                    found = _library(name)
                except Unavailable as error:
                    found = error
                except OSError as error:
                    found = Unavailable(f"{name}.c cannot be compiled and kept: {error}")
                _libraries[name] = found
    if isinstance(found, Unavailable):
        raise Unavailable(str(found))
    return found


def default_threads() -> int:
    """`OMP_NUM_THREADS`, or else the processors that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command(sources: Sequence[Path], out: Path) -> list[str]:
    """The call of the compiler that makes a library of C files.

    Raises:
        Unavailable: There is no compiler.
    """
    flags = _words("STEPFORGE_CFLAGS", USUAL)
    return [*_compiler(), *flags, *NEEDED, "-o", str(out), *map(str, sources), "-lm"]


def compile(sources: Sequence[Path], out: Path) -> None:
    """Makes a library of C files.

    Raises:
        Unavailable: There is no compiler, or it fails, is stopped or takes too long.
    """
    called = command(sources, out)
    try:
        done = subprocess.run(called, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{called[0]} has not ended after {SECONDS} seconds") from None
    except OSError as error:
        raise Unavailable(f"{called[0]} cannot be started: {error}") from None
    if done.returncode != 0 or not out.exists():
        said = done.stderr.decode(errors="replace").strip().split("\n")[0]
        how = f"ended by signal {-done.returncode}" if done.returncode < 0 else "failed"
        raise Unavailable(f"{called[0]} {how}{f': {said}' if said else ''}")


def _library(name: str) -> Library:
    sources = [SOURCES / f"{name}.c", SOURCES / SHARED[0]]
    place = _cache() / _key([*sources, *(SOURCES / file for file in SHARED[1:])])
    if not _is_whole(place):
        _make(sources, place)
    try:
        return Library(place / "step.so", name)
    except (OSError, AttributeError) as error:
        raise Unavailable(f"{place / 'step.so'} cannot be loaded: {error}") from None


def _cache() -> Path:
    """The folder of libraries, which only this user can write.

    Raises:
        Unavailable: It is somebody else's, or nobody can say where it is.
    """
    try:
        import platformdirs
    except ModuleNotFoundError:
        raise Unavailable("the cache folder needs platformdirs: pip install platformdirs") from None
    folder = Path(platformdirs.user_cache_dir("stepforge", appauthor=False)) / "c"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to another user")
    if hasattr(os, "getuid") and status.st_mode & 0o022:
        raise Unavailable(f"{folder} can be written by others: chmod go-w {folder}")
    return folder


def _key(files: Sequence[Path]) -> str:
    """A hash of all that the code of a library follows from."""
    hashed = hashlib.sha256()
    compiler = Path(_compiler()[0]).resolve()
    status = compiler.stat()
    words = [
        *_compiler(), str(compiler), str(status.st_size), str(status.st_mtime_ns),
        os.environ.get("STEPFORGE_CFLAGS", USUAL), *NEEDED, _processor(),
    ]  # fmt: skip
    for part in (*(word.encode() for word in words), *(file.read_bytes() for file in files)):
        hashed.update(len(part).to_bytes(8, "little") + part)
    return hashed.hexdigest()[:32]


def _processor() -> str:
    """What `-march=native` looks at: the model and its features."""
    system = os.uname() if hasattr(os, "uname") else None
    text = f"{system.sysname} {system.machine}" if system else ""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            lines = file.read(8192).split("\n\n")[0].split("\n")
    except OSError:
        return text
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU ")
    return "\n".join([text, *(line for line in lines if line.startswith(wanted))])


def _words(variable: str, usual: str) -> list[str]:
    """What a variable of the environment says, as the words that a shell would read.

    Raises:
        Unavailable: A quotation does not end.
    """
    try:
        return shlex.split(os.environ.get(variable, usual))
    except ValueError as error:
        raise Unavailable(f"{variable} cannot be read: {str(error).lower()}") from None


def _compiler() -> list[str]:
    """The call of the compiler, without flags."""
    if given := _words("CC", ""):
        path = shutil.which(given[0])
        if path is None:
            raise Unavailable(f"there is no compiler {given[0]}, which CC names")
        return [path, *given[1:]]
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    raise Unavailable("there is no C compiler: neither cc, gcc nor clang is on the path")


def _is_whole(place: Path) -> bool:
    """Whether a library is there as it was made."""
    try:
        made = (place / "sha256").read_text(encoding="ascii")
        return made == _digest(place / "step.so")
    except (OSError, UnicodeDecodeError):
        return False


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _make(sources: Sequence[Path], place: Path) -> None:
    """Compiles a library beside its place and moves it there, whole."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        compile(sources, made / "step.so")
        (made / "sha256").write_text(_digest(made / "step.so"), encoding="ascii")
        for _ in range(3):
            try:
                made.rename(place)
                break
            except OSError:
                # Another process has made it meanwhile, or what is there is broken.
                if _is_whole(place):
                    break
                shutil.rmtree(place, ignore_errors=True)
    if not _is_whole(place):
        raise Unavailable(f"{place} cannot be written")
    _evict(place)


def _evict(place: Path) -> None:
    """Removes the oldest libraries, but never the one that was just made."""

    def age(folder: Path) -> float:
        try:
            return folder.stat().st_mtime
        except OSError:
            return 0.0

    folders = [f for f in place.parent.iterdir() if f != place and not f.name.startswith(".")]
    for folder in sorted(folders, key=age)[: max(0, len(folders) - KEPT + 1)]:
        shutil.rmtree(folder, ignore_errors=True)
