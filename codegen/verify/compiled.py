"""R5: every kernel compiles offline, for every target, type and option set; no GPU is needed.

The interpreter accepts much that the compiler refuses, and it sees no instruction. What the
compiler makes is held against the contract of `codegen.verify.contract`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codegen.backends.triton import WARPS
from codegen.lower import lower
from codegen.spec import Options, Spec, holds
from codegen.verify import contract
from codegen.verify.certificate import Status, Verdict
from codegen.verify.generated import Pair, fresh

DTYPES = {"fp32": 4, "fp64": 8}
"""Triton's names of the tensors' types, and the bytes of an element."""


def check(spec: Spec, folder: Path, options: Options, targets: Sequence[str]) -> Verdict:
    """Compiles the kernel of one option set; says what the compiler refused."""
    path = Pair.of(spec, folder).triton
    made = 0

    def verdict(status: Status, detail: str) -> Verdict:
        return Verdict("R5", spec.name, dict(options), status, made, detail)

    with tempfile.TemporaryDirectory(prefix="stepforge-") as cache:
        os.environ |= {"TRITON_CACHE_DIR": cache, "TRITON_ALWAYS_COMPILE": "1"}
        try:
            module = fresh(path)
            kernel = getattr(module, f"{spec.name}_kernel")
            block = int(module.BLOCK)
        except Exception as error:  # whatever an edited file does when it is imported
            return verdict(Status.REFUTED, f"{path} cannot be imported: {error!r}")
        for parameter in kernel.params:
            annotated = parameter.annotation_type
            pointer = parameter.name.endswith("_ptr") or parameter.is_constexpr
            if not pointer and annotated not in ("fp64", "i64"):
                passed = f"is passed as {annotated}" if annotated else "has no annotation"
                reason = f"{path}: argument `{parameter.name}` {passed}, not as 64 bits"
                return verdict(Status.REFUTED, reason)
        for target in targets:
            for dtype, size in DTYPES.items():
                try:
                    compiled = compile_kernel(kernel, spec, options, target, dtype, block)
                except Exception as error:
                    return verdict(Status.REFUTED, _reason(error, path, target, dtype))
                found = list(contract.violations(compiled.asm["ptx"], spec, options, size, block))
                if found:
                    what = f"{path} compiled for {target}, {dtype}"
                    return verdict(Status.REFUTED, f"{what}: {'; '.join(found[:3])}")
                made += 1
    compiled_for = f"compiled for {', '.join(targets)} in {' and '.join(DTYPES)}"
    exact = "" if contract.uses_bounded(spec) else "exact instructions, "
    return verdict(Status.TESTED, f"{compiled_for}; {exact}full blocks move 128 bits an access")


def compile_kernel(
    kernel: Any, spec: Spec, options: Options, target: str, dtype: str, block: int
) -> Any:
    """Compiles a kernel as a launch would, for aligned tensors of one type.

    Args:
        kernel: The `triton.jit` function.
        spec: Its spec, which says which tensors an option set has.
        options: The option set.
        target: Such as "sm_90".
        dtype: Triton's name of the tensors' type.
        block: Elements of one program.

    Returns:
        Triton's compiled kernel, whose `asm` holds the artefacts.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    when = {f"{tensor.name}_ptr": tensor.when for tensor in lower(spec).tensors}
    constants = {"BLOCK": block, **{name.upper(): value for name, value in options.items()}}
    signature: dict[str, str] = {}
    values: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in when and holds(when[name], options):
            signature[name] = f"*{dtype}"
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif name in when or parameter.is_constexpr:
            signature[name] = "constexpr"
            values[(index,)] = None if name in when else constants[name]
        else:
            # Without an annotation Triton passes Python's floats as float32, and so on.
            signature[name] = parameter.annotation_type or "fp32"
    source = ASTSource(kernel, signature, values, attributes)
    gpu = GPUTarget("cuda", int(re.sub(r"\D", "", target)), 32)
    settings = {"num_warps": WARPS, "enable_fp_fusion": False}
    return triton.compile(source, target=gpu, options=settings)


def _reason(error: Exception, path: Path, target: str, dtype: str) -> str:
    lines = [line for line in str(error).split("\n") if line.strip()] or [type(error).__name__]
    message = re.sub(r"^at (\d+):(\d+):$", r"at line \1 of the kernel:", lines[0])
    return f"{path} does not compile for {target}, {dtype}: {message} {lines[-1].strip()}"
