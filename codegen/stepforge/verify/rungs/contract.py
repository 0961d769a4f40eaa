"""The contract on PTX: what a compiled kernel must not do, and how it should move its bytes.

The interpreter is blind to all of this: it rounds `/` and `tl.sqrt` correctly, never contracts,
and does not know how wide an access is. An instruction that is wrong or inexact, an access too many
and one that is missing are violations. What only takes time is a cost, and no violation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
"""Of one program on a GPU of NVIDIA; AMD has as many warps of 64."""
ACCESS_BYTES = 16
AMD_THREADS = 64 * WARPS
_AMD_BYTES = {
    "dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "ushort": 2, "sshort": 2, "short": 2,
    "short_d16": 2, "short_d16_hi": 2,
}  # fmt: skip
"""What accesses move in a thread."""
GROUP = 4
"""Elements that a thread holds side by side, of every tensor."""
_INSTRUCTION = re.compile(
    r"^\s*(?:@!?%\w+\s+)?(?P<name>[a-z][a-z0-9_]*(?:(?:::|\.)[A-Za-z0-9_]+)*)[ \t]", re.MULTILINE
)
_ACCESS = re.compile(r"(ld|st)(?:\.[\w:]+)*?\.global(?:\.[\w:]+)*?(?:\.v(\d))?\.[a-z]+(\d+)")
_STEP = re.compile(
    r"^(?:([$\w]+):|[ \t]*(@!?%\w+)?[ \t]*([a-z][\w.:]*)\b[ \t]*([$\w]*))", re.MULTILINE
)
_INEXACT = {
    r"\.approx\b": "is an approximation",
    r"\.full\b": "is an approximation",
    r"\.ftz\b": "flushes subnormal numbers to zero",
    r"\.sat\b": "clamps its result",
    r"^(?!cvt\.rzi).*\.r[zmp]\.": "rounds, but not to nearest",
    r"^(?:fma|mad)\.\w+\.(?:ftz\.)?[bf]": "contracts a product and a sum",
}
_FORBIDDEN = {r"^(?:atom|red)\b": "is atomic", r"^call\b": "calls a function"}
_COSTLY = {
    r"^(?:ld|st)\.local\b": "uses local memory",
    r"^(?:ld|st)(?:\.\w+)*\.shared\b": "uses shared memory",
}


def instructions(ptx: str) -> list[str]:
    """The names of all instructions, in order, directives left out."""
    body = ptx[ptx.find("{") :]
    return [match["name"] for match in _INSTRUCTION.finditer(body)]


@dataclass(slots=True)
class Findings:
    """What a kernel does that it should not.

    Attributes:
        violations: What is wrong.
        costs: What takes time, and is right.
    """

    violations: list[str] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)


def findings(
    ptx: str, spec: Spec, options: Options, dtype: str, block: int, aligned: bool = True,
    exact: bool = True, entries: int = 0, mode: str = "host",
) -> Findings:  # fmt: skip
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
    wrong = _FORBIDDEN if not exact else {**_INEXACT, **_FORBIDDEN}
    found = Findings(list(_matching(names, wrong)), list(_matching(names, _COSTLY)))
    if aligned:
        _traffic(found, ptx, spec, options, dtype, block, entries, mode)
    return found


def _matching(names: Iterable[str], patterns: Mapping[str, str]) -> Iterator[str]:
    """The instructions that a pattern matches, each with the reason behind the first one."""
    for name in dict.fromkeys(names):
        reasons = (reason for pattern, reason in patterns.items() if re.search(pattern, name))
        if reason := next(reasons, ""):
            yield f"`{name}` {reason}"


def itemsize(tensor: Tensor, dtype: str) -> int:
    """Bytes of an element; parameters and gradients of 16 bits have states of float32."""
    return Layout.named(dtype).of(tensor.role).bytes


def bytes_moved(spec: Spec, options: Options, dtype: str) -> int:
    """The least that a step has to move per element: each tensor read once, written once."""
    tensors = active_tensors(spec, options)
    return sum((t.loaded + t.stored) * itemsize(t, dtype) for t in tensors)


def entries(spec: Spec, options: Options) -> int:
    """64-bit numbers that a multi-tensor kernel reads from a row: addresses, and a size.

    Of an input that the option set has no use for, a compiler may leave out the address as well.
    """
    return 1 + sum(t.loaded or t.stored for t in active_tensors(spec, options))


def _unneeded(spec: Spec, options: Options) -> int:
    """Addresses in a row that may be read, although nothing depends on what they lead to."""
    return 1 + len(reader.of(spec).tensors(options)) - entries(spec, options)


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
    result: Findings, ptx: str, spec: Spec, options: Options, dtype: str, block: int,
    entries: int, mode: str,
) -> None:  # fmt: skip
    """Every block reads and writes every tensor once, full blocks 128 bits at a time.

    A thread has groups of four elements, so of a 16-bit type it moves 64 bits at a time. What the
    text reads although nothing depends on it, a compiler may leave out or not. The width of an
    access is a cost; what moves on a way through the kernel that moves anything has to be right.
    """
    found = Counter(filter(None, map(_access, instructions(ptx))))
    found["ld", 8] -= entries
    spare = _spare(spec, mode) + (_unneeded(spec, options) if entries else 0)
    table = 8 + 8 * entries if entries else 0
    every = [(read - table, written) for read, written in ways(ptx)]
    for index, (prefix, verb) in enumerate((("ld", "loads"), ("st", "stores"))):
        wanted, most = (
            _accesses(tensors, dtype, block) for tensors in _tensors(spec, options, prefix, mode)
        )
        least, limit = (sum(w * count for w, count in c.items()) for c in (wanted, most))
        numbers = spare if prefix == "ld" else 0
        moved = {way[index] for way in every if max(way) > 8 * spare}
        if wrong := sorted(m for m in moved if not least <= m <= limit + 8 * numbers):
            result.violations.append(
                f"a way through the kernel has {verb} of {wrong[0]} bytes in a thread, the tensors "
                f"need {least}"
            )
        for width, usual in most.items():
            usual += numbers if width == 8 else 0
            if not wanted[width] <= found[prefix, width] <= usual:
                result.costs.append(
                    f"full blocks have {found[prefix, width]} {verb} of {8 * width} bits in a "
                    f"thread, the tensors need {wanted[width]}"
                )


def _access(name: str) -> tuple[str, int] | None:
    """What an instruction does to global memory, and how many bytes."""
    found = _ACCESS.fullmatch(name)
    return (found[1], int(found[2] or 1) * int(found[3]) // 8) if found else None


def ways(ptx: str) -> set[tuple[int, int]]:
    """Bytes that a thread reads and writes in global memory on each way through a kernel.

    A kernel that jumps back has none, since nobody knows how often it does.
    """
    steps = _STEP.findall(ptx[ptx.find("{") :])
    after: dict[str, set[tuple[int, int]]] = {}
    rest: set[tuple[int, int]] = set()
    for label, guard, name, target in reversed(steps):
        if label:
            after[label] = rest
            continue
        before = rest if guard else set()
        if name == "ret":
            rest = {(0, 0)} | before
        elif name.startswith("bra"):
            if target not in after:
                return set()
            rest = after[target] | before
        elif access := _access(name):
            kind, size = access
            rest = {(r + size * (kind == "ld"), w + size * (kind == "st")) for r, w in rest}
    return rest


def _spare(spec: Spec, mode: str) -> int:
    """Numbers in a row: those that the rule does not need with some options are not read."""
    return len(lower(spec).arguments) + 1 if mode != "host" else 0


def _tensors(
    spec: Spec, options: Options, prefix: str, mode: str
) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that have to be read (or written, by the prefix), and those that may be."""
    found = []
    for tensors in (active_tensors(spec, options), reader.of(spec).tensors(options)):
        scaled = (_scaled(tensor, mode) for tensor in tensors)
        found.append([t for t in scaled if (t.loaded if prefix == "ld" else t.stored)])
    needed, allowed = found
    return needed, allowed


def _scaled(tensor: Tensor, mode: str) -> Tensor:
    """A tensor with how a mode accesses it: scaled gradients are stored."""
    return replace(tensor, stored=True) if mode == "scaled" and tensor.name == "g" else tensor


def _accesses(tensors: list[Tensor], dtype: str, block: int) -> Counter[int]:
    """Bytes of an access → how many of them a thread needs for these tensors."""
    found: Counter[int] = Counter()
    for tensor in tensors:
        size = itemsize(tensor, dtype)
        width = min(GROUP * size, ACCESS_BYTES)
        found[width] += block // THREADS * size // width
    return found


def amd_findings(
    text: str, spec: Spec, options: Options, dtype: str, block: int, entries: int = 0,
    mode: str = "host",
) -> Findings:  # fmt: skip
    """What the machine code of an AMD GPU does against the contract; arguments of `findings`."""
    found = Findings()
    if scratch := re.search(r"^\s+((?:scratch|flat|ds)_\w+)", text, re.MULTILINE):
        found.costs.append(f"`{scratch[1]}` uses scratch or shared memory")
    if atomic := re.search(r"^\s+(\w+_atomic\w*)", text, re.MULTILINE):
        found.violations.append(f"`{atomic[1]}` is atomic")
    for prefix, verb in (("ld", "load"), ("st", "store")):
        needed, written = _tensors(spec, options, prefix, mode)
        widths = re.findall(
            rf"^\s+(?:global|buffer|flat)_{verb}_({'|'.join(_AMD_BYTES)})\b", text, re.MULTILINE
        )
        least, most = (
            sum(itemsize(tensor, dtype) * block // AMD_THREADS for tensor in tensors)
            for tensors in (needed, written)
        )
        moved = sum(_AMD_BYTES[width] for width in widths)
        spare = _spare(spec, mode) + _unneeded(spec, options)
        numbers = 8 * (1 + entries + spare) if prefix == "ld" and entries else 0
        if not least <= moved <= 2 * most + numbers:
            what = f"the tensors need {least}, on two ways"
            found.violations.append(f"{verb}s of {moved} bytes in a thread, {what}")
        wide = sum(width in ("dwordx2", "dwordx4") for width in widths)
        if wide < len(needed):
            found.costs.append(f"{wide} vector {verb}s for {len(needed)} tensors")
    return found
