"""One shared library of the C files of specs, and its header: compiled aside, then moved."""

from __future__ import annotations

import os
import shlex
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepforge.backends.c_header import MARK, header
from stepforge.backends.registry import BACKENDS, shared
from stepforge.backends.render import copied, render
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.spec import Spec
from stepforge.lowering.lower import lower


class CannotCompile(Exception):
    """There is no library, and the text says why: no compiler, or it fails."""


@dataclass(frozen=True, slots=True)
class Made:
    """A library that was written.

    Attributes:
        library: The library.
        header: Its header.
        compiler: The words that call the compiler.
        flags: Its flags, all of them.
        is_native: Whether it was compiled for the processor of this machine.
    """

    library: Path
    header: Path
    compiler: tuple[str, ...]
    flags: tuple[str, ...]
    is_native: bool


def make(specs: Sequence[Spec], out: Path, cc: str | None, flags: str | None, force: bool) -> Made:
    """Compiles the C files of optimizers, and writes the library and the header beside it.

    Args:
        specs: The optimizers.
        out: The library's file; the header has its name with `.h`.
        cc: The call of the compiler; by default that of the generated Python files.
        flags: Flags in place of theirs.
        force: Whether files are replaced that are none of this command.

    Raises:
        SpecError: Two specs need one name, a file is in the way, or a file cannot be written.
        CannotCompile: The compiler is missing or fails.
    """
    beside = out.with_suffix(".h")
    if beside == out:
        raise SpecError(
            [
                Diagnostic(
                    "E090",
                    "the library would be its own header",
                    str(out),
                    help="end it with `.so`",
                )
            ]
        )
    text = header(specs)
    try:
        if not force:
            _refuse(out, beside)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".stepforge-", dir=out.parent) as folder:
            made, words = _compiled(specs, Path(folder), {"CC": cc, "STEPFORGE_CFLAGS": flags})
            (Path(folder) / "header.h").write_text(text, encoding="utf-8", newline="\n")
            os.replace(Path(folder) / "header.h", beside)
            os.replace(made, out)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(
            [Diagnostic("E007", f"cannot write the library: {reason}", str(error.filename or out))]
        ) from None
    compiler, given = words
    is_native = any(word.startswith(("-march=native", "-mcpu=native")) for word in given)
    return Made(out, beside, compiler, given, is_native)


def _refuse(*files: Path) -> None:
    """Refuses to replace files that are none of this command."""
    in_the_way = [f for f in files if f.exists() and not _is_ours(f)]
    if in_the_way:
        help = "move it away, choose another name with `--out`, or replace it with `--force`"
        message = "a file is in the way that `stepforge compile` has not written"
        raise SpecError(Diagnostic("E008", message, str(f), help=help) for f in in_the_way)


def _is_ours(file: Path) -> bool:
    return file.is_file() and MARK.encode() in file.read_bytes()


def _compiled(
    specs: Sequence[Spec], folder: Path, settings: Mapping[str, str | None]
) -> tuple[Path, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The library in a folder, and the call of the compiler: its words, and its flags.

    Every file is compiled by a process of its own, as many at a time as there are processors, and
    with the call of `cpu/_library.py`.
    """
    library: Any = types.ModuleType("_library")
    library.__file__ = str(folder / "cpu" / "_library.py")
    exec(compile(copied("cpu/_library.py"), library.__file__, "exec"), library.__dict__)
    for file in shared(["c"]):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(copied(file), encoding="utf-8")
    sources = [folder / "c" / "_stepforge.c", folder / "c" / "_made.c"]
    sources[1].write_text(f'const char stepforge_made[] = "{MARK}";\n', encoding="utf-8")
    for spec in specs:
        sources.append(folder / BACKENDS["c"].file(spec.name))
        sources[-1].write_text(render(lower(spec), "c"), encoding="utf-8")
    with _environment(settings):
        flags = os.environ.get("STEPFORGE_CFLAGS", library.USUAL)
        try:
            shlex.split(flags)
            call = tuple(library._compiler())
        except ValueError as error:
            message = f"the flags or the compiler are no words of a shell: {str(error).lower()}"
            raise SpecError([Diagnostic("E090", message, "compile")]) from None
        except library.Unavailable as error:
            raise CannotCompile(str(error)) from None
        objects = [source.with_suffix(".o") for source in sources]
        try:
            with (
                _environment({"STEPFORGE_CFLAGS": f"{flags} -c"}),
                ThreadPoolExecutor(library.default_threads()) as pool,
            ):
                calls = [
                    pool.submit(library.compile, [source], out)
                    for source, out in zip(sources, objects, strict=True)
                ]
                for started in calls:
                    started.result()
            library.compile(objects, folder / "library.so")
        except library.Unavailable as error:
            raise CannotCompile(str(error)) from None
    return folder / "library.so", (call, (*shlex.split(flags), *library.NEEDED))


@contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Variables of the environment that are set for a while; None leaves one as it is."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: value for name, value in settings.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
