"""Files that Python would read in another way than the verifier, or in place of generated ones."""

from __future__ import annotations

import ast
import codecs
import importlib.util
import io
import marshal
import re
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType

_LOADED = (".py", ".pyc", ".pyd", ".pyo", ".pyw", ".so", ".pth", ".zip", ".egg", ".egg-link")
"""How the names of files end that Python imports, or reads when it starts."""
_AT_START = ("sitecustomize", "usercustomize")
"""Modules that Python imports when it starts, wherever it finds them."""
_HEADER = 16
"""Bytes before the code of a compiled file: what it was compiled by, and of what."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_DEFINITION = re.compile(r"def +\w+ *\(")
_MOVE = "move it away"


def unreadable(data: bytes) -> str:
    """Why Python may read a text otherwise than as lines of UTF-8, or ""."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        data.decode("utf-8")
    except (SyntaxError, UnicodeDecodeError) as error:
        return str(error)
    if encoding == "utf-8-sig":
        return "it begins with a byte order mark"
    if codecs.lookup(encoding).name != "utf-8":
        return f"it declares the encoding {encoding}"
    control = _CONTROL.search(data)
    if control is None:
        return ""
    line = data.count(b"\n", 0, control.start()) + 1
    return f"line {line} holds the control character {data[control.start()]:#04x}"


def misread(text: str) -> int:
    """The first line at which Triton would read another function than Python, or 0.

    It reads the text of a kernel once more, from a line on that looks like a definition: its
    compiler from the first one with `def`, a name and a bracket, its interpreter from the last one
    that begins with `def`. Either may be a line of a docstring.

    Raises:
        SyntaxError: It is not Python; so may be the others of `surroundings.UNREADABLE`.
    """
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        first = min(decorator.lineno for decorator in node.decorator_list)
        for number in range(first, (node.end_lineno or node.lineno) + 1):
            line = lines[number - 1].strip()
            if number == node.lineno and not _DEFINITION.match(line):
                return number
            if number != node.lineno and line.startswith("def "):
                return number
    return 0


def beside(place: Path, expected: Collection[str]) -> Iterator[str]:
    """What stands in the folder of a backend that Python could load, and no build writes.

    Args:
        place: The folder.
        expected: The names of the files that it should hold.
    """
    for path in sorted(place.iterdir()):
        if path.name in expected or path.name == "__pycache__" or path.name.startswith("."):
            continue
        if path.is_dir() or path.suffix in _LOADED:
            yield f"{path} is no file of the manifest, and Python could load it: {_MOVE}"


def above(folder: Path, backends: Collection[str]) -> Iterator[str]:
    """What stands beside the folders of backends and could take their place.

    The folder may be a package of somebody else, with modules of its own.

    Args:
        folder: The folder of generated code.
        backends: The names of backends.
    """
    for path in sorted(folder.iterdir()):
        stem = path.name.split(".")[0]
        if path.suffix not in _LOADED or path.name == "__init__.py":
            continue
        if path.suffix == ".pth" or stem in (*_AT_START, "__init__", *backends):
            yield f"{path} is no file of the manifest, and Python could load it: {_MOVE}"


def compiled(place: Path, expected: Collection[str]) -> Iterator[tuple[bool, str]]:
    """What Python would load from `__pycache__` in place of the sources of a folder.

    Args:
        place: The folder.
        expected: The names of its source files.

    Yields:
        Whether it is known to be something else than the source, and what there is to say.
    """
    for path in sorted((place / "__pycache__").glob("*.pyc")):
        source = place / f"{path.name.split('.')[0]}.py"
        if source.name not in expected or not source.is_file():
            continue
        if not path.is_file():
            yield True, f"{path} is no regular file: {_MOVE}"
            continue
        data = path.read_bytes()
        flags = int.from_bytes(data[4:8], "little")
        if flags == 1:
            yield True, f"{path} is loaded whatever {source.name} says: {_MOVE}"
        elif _is_current(data, flags, source):
            if data[:4] != importlib.util.MAGIC_NUMBER:
                yield False, f"{path} is of another version of Python, and was not looked at"
            elif not _is_of(data[_HEADER:], path, source):
                yield True, f"{path} holds other code than {source.name}: {_MOVE}"


def _is_current(data: bytes, flags: int, source: Path) -> bool:
    """Whether the header of a compiled file says that it is of the source as it is now."""
    if flags & 1:
        return data[8:_HEADER] == importlib.util.source_hash(source.read_bytes())
    status = source.stat()
    stamps = (int(status.st_mtime), status.st_size)
    return data[8:_HEADER] == b"".join((s & 0xFFFFFFFF).to_bytes(4, "little") for s in stamps)


def _is_of(body: bytes, path: Path, source: Path) -> bool:
    """Whether code is what a source is compiled to."""
    level = re.search(r"\.opt-(\d)\.pyc$", path.name)
    try:
        found = marshal.loads(body)
        wanted = compile(
            source.read_bytes(), str(source), "exec", dont_inherit=True,
            optimize=int(level[1]) if level else 0,
        )  # fmt: skip
    except (SyntaxError, ValueError, EOFError, TypeError):
        return False
    if not isinstance(found, CodeType) or found != wanted:
        return False
    return _aside(found, found.co_filename) == _aside(wanted, wanted.co_filename)


def _aside(code: CodeType, source: str) -> tuple[object, ...]:
    """What Python leaves out when it compares code, of all functions in it.

    Python gives the name of a loaded file to the functions that have the file's name in it alone.
    Where others say that they come from, Triton reads the source of a kernel.
    """
    inner = (_aside(c, source) for c in code.co_consts if isinstance(c, CodeType))
    variables = code.co_varnames, code.co_cellvars, code.co_freevars
    own = code.co_filename == source, code.co_qualname, code.co_stacksize, *variables
    return *own, *inner
