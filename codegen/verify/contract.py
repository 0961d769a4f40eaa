"""The contract on PTX: what a compiled kernel must not do, and how it must move its bytes.

The interpreter is blind to all of this: it rounds `/` and `tl.sqrt` correctly, never contracts,
and does not know how wide an access is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from codegen.backends.triton import WARPS
from codegen.kernel import lets
from codegen.lower import lower
from codegen.operations import OPERATIONS
from codegen.spec import Options, Spec, holds

THREADS = 32 * WARPS
"""Of one program."""
ACCESS_BYTES = 16

_INSTRUCTION = re.compile(
    r"^\s*(?:@!?%\w+\s+)?(?P<name>[a-z][a-z0-9_]*(?:(?:::|\.)[A-Za-z0-9_]+)*)[ \t]", re.MULTILINE
)
_INEXACT = {
    r"\.approx\b": "is an approximation",
    r"\.full\b": "is an approximation",
    r"\.ftz\b": "flushes subnormal numbers to zero",
    r"\.sat\b": "clamps its result",
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


def violations(ptx: str, spec: Spec, options: Options, itemsize: int, block: int) -> Iterator[str]:
    """What a kernel does against the contract.

    Args:
        ptx: The compiled kernel.
        spec: Its spec; `exp` and `log` are not correctly rounded by anybody, so with them only the
            rules about memory apply.
        options: The option set it was compiled for.
        itemsize: Bytes of an element.
        block: Elements of one program.
    """
    names = instructions(ptx)
    rules = dict(_FORBIDDEN) if uses_bounded(spec) else {**_INEXACT, **_FORBIDDEN}
    for name in dict.fromkeys(names):
        for pattern, reason in rules.items():
            if re.search(pattern, name):
                yield f"`{name}` {reason}"
                break
    yield from _traffic(names, spec, options, itemsize, block)


def uses_bounded(spec: Spec) -> bool:
    """Whether a tensor operation of the rule has no correctly rounded implementation."""
    steps = (let for stage in lower(spec).stages for let in lets(stage.body))
    operations = {node.op for let in steps for node in let.value.operations()}
    return any(op in OPERATIONS and OPERATIONS[op].rounding == "bounded" for op in operations)


def _traffic(
    names: list[str], spec: Spec, options: Options, itemsize: int, block: int
) -> Iterator[str]:
    """Full blocks read and write every tensor once, 128 bits at a time."""
    count = Counter(
        name[:2] for name in names if re.match(r"(ld|st)\.global(\.\w+)*\.v(4\.b32|2\.b64)$", name)
    )
    active = [t for t in lower(spec).tensors if holds(t.when, options)]
    per_tensor = block * itemsize // (THREADS * ACCESS_BYTES)
    for prefix, verb, number in (
        ("ld", "loads", sum(t.loaded for t in active)),
        ("st", "stores", sum(t.stored for t in active)),
    ):
        if count[prefix] != number * per_tensor:
            yield (
                f"full blocks have {count[prefix]} {verb} of 128 bits in a thread, "
                f"{number} tensors need {number * per_tensor}"
            )
