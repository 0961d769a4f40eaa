"""The contract on PTX: what a compiled kernel must not do, and how it must move its bytes.

The interpreter is blind to all of this: it rounds `/` and `tl.sqrt` correctly, never contracts,
and does not know how wide an access is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from stepforge.backends.triton import WARPS
from stepforge.language.spec import Held, Options, Spec
from stepforge.lowering.lower import lower
from stepforge.operations.formats import Layout
from stepforge.verify.reading import reader
from stepforge.verify.reading.reader import Tensor
from stepforge.verify.terms import rule
from stepforge.verify.terms.terms import nodes

THREADS = 32 * WARPS
"""Of one program."""
ACCESS_BYTES = 16
GROUP = 4
"""Elements that a thread holds side by side, of every tensor."""
_INSTRUCTION = re.compile(
    r"^\s*(?:@!?%\w+\s+)?(?P<name>[a-z][a-z0-9_]*(?:(?:::|\.)[A-Za-z0-9_]+)*)[ \t]", re.MULTILINE
)
_INEXACT = {
    r"\.approx\b": "is an approximation",
    r"\.full\b": "is an approximation",
    r"\.ftz\b": "flushes subnormal numbers to zero",
    r"\.sat\b": "clamps its result",
    r"^(?!cvt\.rzi).*\.r[zmp]\.": "rounds, but not to nearest",
    r"^(?:fma|mad)\.\w+\.(?:ftz\.)?[bf]": "contracts a product and a sum",
}
_FORBIDDEN = {
    r"^(?:ld|st)\.local\b": "uses local memory",
    r"^(?:ld|st)(?:\.\w+)*\.shared\b": "uses shared memory",
    r"^(?:atom|red)\b": "is atomic",
    r"^call\b": "calls a function",
}


def instructions(ptx: str) -> list[str]:
    """The names of all instructions, in order, directives left out."""
    body = ptx[ptx.find("{") :]
    return [match["name"] for match in _INSTRUCTION.finditer(body)]


def violations(
    ptx: str, spec: Spec, options: Options, dtype: str, block: int, aligned: bool = True,
    exact: bool = True, entries: int = 0, mode: str = "host",
) -> Iterator[str]:  # fmt: skip
    """What a kernel does against the contract.

    Args:
        ptx: The compiled kernel.
        spec: Its spec.
        options: The option set it was compiled for.
        dtype: Triton's name of the type of parameters and gradients.
        block: Elements of one program.
        aligned: Whether it was compiled for aligned tensors, whose accesses can be wide.
        exact: Whether it was compiled for exact mode.
        entries: 64-bit numbers that it reads from a table.
        mode: One of `generated.MODES`.
    """
    names = instructions(ptx)
    rules = _FORBIDDEN if not exact else {**_INEXACT, **_FORBIDDEN}
    for name in dict.fromkeys(names):
        for pattern, reason in rules.items():
            if re.search(pattern, name):
                yield f"`{name}` {reason}"
                break
    if aligned:
        yield from _traffic(names, spec, options, dtype, block, entries, mode)


def itemsize(tensor: str, dtype: str) -> int:
    """Bytes of an element; parameters and gradients of 16 bits have states of float32."""
    return Layout.named(dtype).of(tensor).bytes


def bytes_moved(spec: Spec, options: Options, dtype: str) -> int:
    """The least that a step has to move per element: each tensor read once, written once."""
    tensors = active_tensors(spec, options)
    return sum((t.loaded + t.stored) * itemsize(t.name, dtype) for t in tensors)


def entries(spec: Spec, options: Options) -> int:
    """64-bit numbers that a multi-tensor kernel reads from a row: addresses, and a size."""
    return 1 + len(reader.of(spec).tensors(options))


def active_tensors(spec: Spec, options: Options) -> tuple[Tensor, ...]:
    """The tensors of an option set, `loaded` if their old value reaches anything that is stored.

    What does not is read by no compiled kernel, although the text of the kernel reads it for other
    options, or for nothing.
    """
    return _active(Held(spec), tuple(options.items()))


@lru_cache(maxsize=16)
def _active(held: Held, chosen: tuple[tuple[str, bool], ...]) -> tuple[Tensor, ...]:
    spec, options = held.spec, dict(chosen)
    active = reader.of(spec).tensors(options)
    stores = rule.expected(spec, options, {t.name: "f32" for t in active}).stores
    reached = {node.data for node in nodes(stores.values()) if node.op == "load"}
    return tuple(replace(t, loaded=t.name in reached) for t in active)


def _traffic(
    names: list[str],
    spec: Spec,
    options: Options,
    dtype: str,
    block: int,
    entries: int,
    mode: str,
) -> Iterator[str]:
    """Full blocks read and write every tensor once, 128 bits at a time.

    A thread has groups of four elements, so of a 16-bit type it moves 64 bits at a time. What the
    text reads although nothing depends on it, a compiler may leave out or not.
    """
    found: Counter[tuple[str, int]] = Counter()
    for name in names:
        if access := re.fullmatch(r"(ld|st)\.global(?:\.v(\d))?\.b(\d+)", name):
            found[access[1], int(access[2] or 1) * int(access[3]) // 8] += 1
    found["ld", 8] -= entries
    # Of the numbers in a row, those that the rule does not need with these options are not read.
    spare = len(lower(spec).arguments) + 1 if mode != "host" else 0
    needed = [_scaled(t, mode) for t in active_tensors(spec, options)]
    written = [_scaled(t, mode) for t in reader.of(spec).tensors(options)]
    for prefix, verb in (("ld", "loads"), ("st", "stores")):
        wanted, most = (
            _accesses(
                [t.name for t in tensors if (t.loaded if prefix == "ld" else t.stored)],
                dtype,
                block,
            )
            for tensors in (needed, written)
        )
        for width, limit in most.items():
            limit += spare if (prefix, width) == ("ld", 8) else 0
            if not wanted[width] <= found[prefix, width] <= limit:
                yield (
                    f"full blocks have {found[prefix, width]} {verb} of {8 * width} bits in a "
                    f"thread, the tensors need {wanted[width]}"
                )


def _scaled(tensor: Tensor, mode: str) -> Tensor:
    """A tensor with how a mode accesses it: scaled gradients are stored."""
    return replace(tensor, stored=True) if mode == "scaled" and tensor.name == "g" else tensor


def _accesses(names: list[str], dtype: str, block: int) -> Counter[int]:
    """Bytes of an access → how many of them a thread needs for these tensors."""
    found: Counter[int] = Counter()
    for name in names:
        size = itemsize(name, dtype)
        width = min(GROUP * size, ACCESS_BYTES)
        found[width] += block // THREADS * size // width
    return found


def amd_violations(text: str, spec: Spec, options: Options, dtype: str) -> Iterator[str]:
    """What the machine code of an AMD GPU does against the contract: scratch, narrow accesses."""
    if scratch := re.search(r"^\s+((?:scratch|flat|ds)_\w+)", text, re.MULTILINE):
        yield f"`{scratch[1]}` uses scratch or shared memory"
    if atomic := re.search(r"^\s+(\w+_atomic\w*)", text, re.MULTILINE):
        yield f"`{atomic[1]}` is atomic"
    active = active_tensors(spec, options)
    for verb, tensors in (
        ("load", [t for t in active if t.loaded]),
        ("store", [t for t in active if t.stored]),
    ):
        wide = re.findall(rf"^\s+(?:global|buffer)_{verb}_dwordx[24]\b", text, re.MULTILINE)
        if len(wide) < len(tensors):
            yield f"{len(wide)} vector {verb}s for {len(tensors)} tensors"
