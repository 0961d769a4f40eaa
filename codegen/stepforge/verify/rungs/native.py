"""c-executed (R11): the C file, compiled and run, against the NumPy file, every stored bit.

The same inputs as the interpreter's (R2), on one tensor and on tables of many, with one thread and
with several. Nothing is taken from the user's cache of libraries: what is judged is compiled here.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from stepforge.language.names import aside
from stepforge.language.spec import Spec
from stepforge.verify.cases import inputs, shrink, trace
from stepforge.verify.cases.bench import Bench, Case, Mismatch
from stepforge.verify.cases.reference import ARITHMETIC, failure
from stepforge.verify.cases.sequences import cases, few_cases
from stepforge.verify.cases.tensors import Tensor
from stepforge.verify.certificate import Counterexample, Status, Verdict
from stepforge.verify.files.generated import Pair, Text, c_files, fresh
from stepforge.verify.rungs import tables
from stepforge.verify.rungs.task import Task

BLOCK = 512
"""Elements that the C files widen at a time: sizes around it are tried."""
THREADS = (1, 2, 3)
DTYPES = ("float32", "float64", "bfloat16", "float16")
COMPILERS = ("gcc", "clang")
FLAGS = ("-O3 -march=native", "-O2")
"""The first are those that users get."""
SANITIZED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
_CONTRACTED = re.compile(r"\b(vfn?m(?:add|sub)\w*|fn?m(?:add|sub)\b|fml[as])\b")
"""Instructions that round a product and a sum at once, on x86-64 and AArch64."""


class CannotCompile(Exception):
    """The C file does not compile; the text says why."""


@dataclass(frozen=True)
class Files:
    """The files of an optimizer that step arrays by C."""

    source: Path
    caller: Path

    @classmethod
    def of(cls, spec: Spec, folder: Path) -> Files:
        """Those under a folder of generated code."""
        return cls(*c_files(spec, folder))


@dataclass(frozen=True)
class Compiled:
    """The modules of a caller, with a library that was compiled for it.

    Attributes:
        caller: The caller's module.
        library: The compiled code.
        tables: The module of tables beside the caller.
        path: The library.
    """

    caller: ModuleType
    library: Any
    tables: ModuleType
    path: Path


def compilers() -> list[str]:
    """Those that are installed: gcc and clang, or else what is called cc."""
    found = [name for name in COMPILERS if shutil.which(name)]
    return found or [name for name in ("cc",) if shutil.which(name)]


def check(task: Task) -> Verdict:
    """The C file on one option set."""
    files = Files.of(task.spec, task.folder)
    ways = [(compiler, flags) for compiler in compilers() for flags in FLAGS]
    if not ways:
        return task.verdict(Status.UNSUPPORTED, "there is no C compiler: neither gcc, clang nor cc")
    values, said = 0, []
    for compiler, flags in ways[:1] if task.brief else ways:
        try:
            compiled = load(files, compiler, flags)
        except CannotCompile as error:
            return task.verdict(Status.REFUTED, str(error), values)
        except Exception as error:  # whatever an edited file does when it is imported
            reason = f"{files.caller} cannot be imported: {failure(error)}"
            return task.verdict(Status.REFUTED, reason, values)
        found = _run(task, files, compiled)
        values += found.values
        if not found.status.passed:
            how = f"{found.detail}, compiled by {compiler} {flags}"
            return replace(found, detail=how, values=values)
        if contracted := _contracted(compiled.path):
            reason = f"{files.source}, compiled by {compiler} {flags}, contracts: `{contracted}`"
            return task.verdict(Status.REFUTED, reason, values)
        said.append(f"{compiler} {flags}")
    if not task.brief:
        if reason := _sanitized(task, files, compiled, ways[0][0]):
            return task.verdict(Status.REFUTED, reason, values)
        said.append("under AddressSanitizer and UndefinedBehaviorSanitizer")
    looked = "" if shutil.which("objdump") else "; no objdump to look for contracted operations"
    detail = f"{values} values agree in every bit: {', '.join(said)}{looked}"
    return task.verdict(Status.TESTED, detail, values)


def _run(task: Task, files: Files, compiled: Compiled) -> Verdict:
    """All inputs, with one library."""
    spec, options = task.spec, task.options
    single = Single(spec, task.pair, files, compiled)
    chosen = few_cases if task.brief else cases
    for case in chosen(spec, options, BLOCK, np.random.default_rng([task.seed, 11])):
        mismatch = single.run(case)
        if mismatch:
            return _refuted(task, files, single, case, mismatch)
    several = Several(spec, task.folder, files, compiled)
    rng = np.random.default_rng([task.seed, 12])
    for dtype in DTYPES:
        most = tables.MANY if dtype == "float32" and not task.brief else 1
        found = several.steps(options, dtype, rng, most, _unwatched)
        if found is not None:
            compared = single.compared + several.compared
            return task.verdict(Status.REFUTED, found.detail, compared, found.counterexample)
    compared = single.compared + several.compared
    if not compared:
        reason = "no step that was tried has a value"
        return task.verdict(Status.UNSUPPORTED, reason, evidence={"no value": reason})
    return task.verdict(Status.TESTED, "", compared)


def _refuted(task: Task, files: Files, single: Single, case: Case, mismatch: Mismatch) -> Verdict:
    """A difference, as its smallest input."""
    case, mismatch = shrink.smallest(single, case, mismatch)
    detail = {
        "value": f"the C file's `{mismatch.tensor}` differs from NumPy's",
        "start": f"`{mismatch.tensor}` starts otherwise than NumPy's in {files.caller}",
        "bounds": f"the C file {mismatch.got.split()[0]} outside of `{mismatch.tensor}`",
        "failure": f"one of the files fails: {mismatch.got}",
    }[mismatch.kind]
    last = case.steps[mismatch.step]
    given = {"t": str(last.t)}
    for name in (*last.values, "p", "g", *(case.state or {})):
        history = np.asarray(shrink.values_of(case, name)[mismatch.step]).reshape(-1)
        at = mismatch.element if mismatch.element < history.size else 0
        given[name] = repr(float(history[at])) if history.size else "[]"
    spec_line = ""
    if mismatch.kind == "value":
        index = trace.last_assignment(task.spec, task.options, mismatch.tensor)
        spec_line = trace.spec_line(task.spec, task.options, index)
    counter = Counterexample(
        mismatch.tensor, case.dtype, case.p.size, mismatch.element, mismatch.step + 1, given,
        mismatch.expected, mismatch.got, spec_line, _line(files, mismatch.tensor),
    )  # fmt: skip
    return task.verdict(Status.REFUTED, detail, single.compared, counter)


def _line(files: Files, name: str) -> str:
    """The line of the C file that computes a tensor last."""
    return Text(files.source).first(f"{name} = ", last=True)


@functools.cache
def _built(files: Files, texts: tuple[str, ...], compiler: str, flags: str) -> Path:
    """A library in a folder of this process."""
    folder = Path(_folder().name)
    out = folder / f"{files.source.stem}_{len([*folder.iterdir()])}.so"
    library = fresh(files.caller.parent / "_library.py")
    sources = [files.source, files.source.parent / "_stepforge.c"]
    command = [compiler, *flags.split(), *library.NEEDED, "-o", str(out), *map(str, sources), "-lm"]
    _called(command, files)
    return out


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="stepforge-c-")


def _called(command: Sequence[str], files: Files) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotCompile(f"{files.source} cannot be compiled: {error}") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.split("\n") if "error" in line] or [done.stderr]
        raise CannotCompile(f"{files.source} cannot be compiled: {lines[0].strip()[:300]}")


def load(files: Files, compiler: str, flags: str) -> Compiled:
    """The caller of a C file, which finds a library that is compiled here.

    Raises:
        CannotCompile: The C file does not compile.
    """
    path = _built(files, _texts(files), compiler, flags)
    package = f"_native_{len(_packages)}"
    _packages.append(package)
    sys.modules[package] = ModuleType(package)
    library = _module(files.caller.parent / "_library.py", f"{package}._library")
    loaded = library.Library(path, files.source.stem)
    library.load = lambda name: loaded  # type: ignore[attr-defined]
    found = _module(files.caller.parent / "_tables.py", f"{package}._tables")
    caller = _module(files.caller, f"{package}.{files.caller.stem}")
    return Compiled(caller, loaded, found, path)


def _texts(files: Files) -> tuple[str, ...]:
    """All that is compiled."""
    paths = [files.source, *sorted(files.source.parent.glob("_*.[ch]"))]
    return tuple(path.read_text(encoding="utf-8") for path in paths)


_packages: list[str] = []


def _module(path: Path, name: str) -> ModuleType:
    """A file as the module of a package that has no folder."""
    module = ModuleType(name)
    module.__package__, module.__file__ = name.rpartition(".")[0], str(path)
    sys.modules[name] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


class Single(Bench):
    """The reference beside the C file on one tensor."""

    def __init__(self, spec: Spec, pair: Pair, files: Files, compiled: Compiled) -> None:
        self.spec, self.files, self.compiled = spec, files, compiled
        # What a failure is blamed on in place of the kernel's launcher.
        self.pair = replace(pair, triton=files.caller)
        self.numpy = fresh(pair.numpy)
        self.triton = _adapted(compiled.caller)
        self.block = BLOCK
        self.unread = set()
        self.compared = 0
        self.first = None

    def again(self) -> Single:
        """The same files."""
        return Single(self.spec, self.pair, self.files, self.compiled)

    def watched(self, tensors: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
        """Guard zones around the tensors show what is written; reads are the sanitizer's."""
        return nullcontext(SimpleNamespace(stray=None))


def _adapted(caller: ModuleType) -> Any:
    """`init` and `step` of the caller for tensors between guard zones."""

    def array(value: Any) -> Any:
        return value.array.reshape(value.shape) if isinstance(value, Tensor) else value

    @functools.wraps(caller.init)
    def init(p: Tensor, **keywords: Any) -> dict[str, Any]:
        made = caller.init(array(p), **keywords)
        return {k: Tensor(v) if isinstance(v, np.ndarray) else v for k, v in made.items()}

    def step(p: Tensor, g: Tensor, state: dict[str, Any], t: Any, **keywords: Any) -> None:
        given = {name: array(value) for name, value in keywords.items()}
        arrays = {name: array(value) for name, value in state.items()}
        caller.step(array(p), array(g), arrays, t, **given, threads=1)
        for name, value in arrays.items():
            if not isinstance(value, np.ndarray):
                state[name] = value

    return SimpleNamespace(init=init, step=step, BLOCK=BLOCK)


class Several(tables.Bench):
    """The reference beside the C file on tables of tensors, with several threads."""

    called = "the C file"

    def __init__(self, spec: Spec, folder: Path, files: Files, compiled: Compiled) -> None:
        self.spec, self.files = spec, files
        self.pair = replace(Pair.of(spec, folder), multi_tensor=files.caller)
        self.numpy = fresh(self.pair.numpy)
        self.scaled = aside(spec, "scaled")
        self.compared = 0
        caller, library, threads = compiled.caller, compiled.library, [*THREADS]

        def step(table: Any, scalars: dict[str, float], t: int, **keywords: Any) -> None:
            threads.append(threads.pop(0))
            bits = sum(bool(keywords[name]) << at for at, name in enumerate(caller._OPTIONS))
            numbers = caller._numbers(scalars, t, **keywords)
            library.step(table, numbers, bits, threads[0])

        def build(
            tensors: Sequence[Mapping[str, Any]], columns: Sequence[str], block: int, place: Any
        ) -> list[Any]:
            del block, place
            rows, types = [], bytes(len(columns))
            for parameter in tensors:
                present = [parameter.get(name) for name in columns]
                rows.append([*(t.data_ptr() if t else 0 for t in present), parameter["p"].numel()])
                names = [t.dtype.removeprefix("torch.") if t else "float32" for t in present]
                types = bytes(compiled.tables.TYPES[name] for name in names)
            return [compiled.tables.build(rows, types)]

        self.module: Any = SimpleNamespace(BLOCK=BLOCK, COLUMNS=caller.COLUMNS, step=step)
        self.tables: Any = SimpleNamespace(build=build)

    def line(self, name: str) -> str:
        """`file:line: text` of the line that computes a tensor last."""
        return _line(self.files, name)


@contextmanager
def _unwatched(batch: tables.Batch, made: Sequence[Any]) -> Iterator[None]:
    yield


def _contracted(path: Path) -> str:
    """An instruction of a library that rounds a product and a sum at once, or ""."""
    if not shutil.which("objdump"):
        return ""
    done = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)], capture_output=True, text=True,
        errors="replace", timeout=300,
    )  # fmt: skip
    found = _CONTRACTED.search(done.stdout)
    return found[0] if found else ""


def _sanitized(task: Task, files: Files, compiled: Compiled, compiler: str) -> str:
    """What AddressSanitizer and UndefinedBehaviorSanitizer say of tables of tensors, or ""."""
    library, spec, options = compiled.library, task.spec, task.options
    needed = tuple(f for f in sys.modules[type(library).__module__].NEEDED if f != "-shared")
    out = _program(files, _texts(files), compiler, needed)
    rng = np.random.default_rng([task.seed, 13])
    bits = sum(bool(options[name]) << at for at, name in enumerate(compiled.caller._OPTIONS))
    text = b""
    for dtype in DTYPES:
        for sizes, shifted in tables.mixtures(BLOCK, 1):
            batch = tables.Batch.random(spec, options, sizes, shifted, dtype, rng)
            values = inputs.numbers(spec, rng)
            try:
                numbers = compiled.caller._numbers(dict(batch.scalars), 3, **values, **options)
            except ARITHMETIC:
                continue
            text += _table(compiled, batch, numbers, bits, len(text) % 3 + 1)
    done = subprocess.run([str(out)], input=text, capture_output=True, timeout=600, check=False)
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").split("\n")
    first = next((line for line in said if "rror" in line), f"ends with {done.returncode}")
    return f"{files.source} under sanitizers: {first.strip()[:300]}"


@functools.cache
def _program(files: Files, texts: tuple[str, ...], compiler: str, needed: tuple[str, ...]) -> Path:
    """The driver with the C file, under sanitizers, in a folder of this process."""
    out = Path(_folder().name) / f"{files.source.stem}_{len(_packages)}_sanitized"
    sources = [_DRIVER, files.source, files.source.parent / "_stepforge.c"]
    command = [compiler, *SANITIZED.split(), *needed, f"-DSTEP={files.source.stem}_step"]
    _called([*command, "-o", str(out), *map(str, sources), "-lm"], files)
    return out


_DRIVER = Path(__file__).parent / "native_driver.c"


def _table(
    compiled: Compiled, batch: tables.Batch, numbers: Sequence[float], bits: int, threads: int
) -> bytes:
    """A table as the driver reads it."""
    columns, tensors = compiled.caller.COLUMNS, batch.tensors()
    first = tensors[0]
    parts = [np.array([len(columns), len(tensors), len(numbers), bits, threads], np.int64)]
    types = [first[c].array.dtype.name if c in first else "float32" for c in columns]
    parts.append(np.array([compiled.tables.TYPES[name] for name in types], np.uint8))
    parts.append(np.array(numbers, np.float64))
    for own in tensors:
        parts.append(np.array([own["p"].numel()], np.int64))
        for column in columns:
            array = own[column].array if column in own else None
            parts.append(np.array([-1 if array is None else array.nbytes], np.int64))
            parts += [] if array is None else [array]
    return b"".join(part.tobytes() for part in parts)
