"""compiled-contract (R5): every kernel compiles, for every target, type and option set.

It does so offline; no GPU is needed. The interpreter accepts much that the compiler refuses, and it
sees no instruction. What the compiler makes is held against the contract of
`stepforge.verify.rungs.contract`.

In one file, because what is compiled, kept and asked of the compiler shares its caches.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from stepforge.backends.triton import WARPS
from stepforge.language.names import aside, kernel_of
from stepforge.language.spec import Held, Options, Spec
from stepforge.operations.formats import Layout
from stepforge.verify.certificate import Compiled, Status, Verdict
from stepforge.verify.files.generated import Pair, fresh
from stepforge.verify.ptx import figures, sass
from stepforge.verify.reading import reader
from stepforge.verify.rungs import contract
from stepforge.verify.rungs.task import Task

TABLES = {"programs": "*i32", "rows": "*i64"}
"""Parameters of multi-tensor kernels → the types of the tables that they are; always aligned."""
ALIGNMENT = 16
"""Bytes; torch's allocator aligns tensors to more, a slice of one to its elements alone."""


class CannotCompile(Exception):
    """A generated file cannot be imported, or the compiler refuses its kernel."""


@dataclass(frozen=True)
class Kernel:
    """The kernel of a generated file that was imported.

    Attributes:
        path: The file.
        function: The `triton.jit` function.
        block: Elements of one program.
        digest: SHA-256 of the file.
        tables: The parameters that are tables, if it finds its tensors in one, and their types.
    """

    path: Path
    function: Any
    block: int
    digest: str
    tables: Mapping[str, str]

    @property
    def is_tabular(self) -> bool:
        """Whether it finds its tensors in a table."""
        return any(parameter.name in self.tables for parameter in self.function.params)

    def __hash__(self) -> int:
        return hash((self.path, self.digest))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and (self.path, self.digest) == (other.path, other.digest)


def load(spec: Spec, folder: Path, backend: str = "triton") -> Kernel:
    """Imports the kernel of a spec.

    Args:
        spec: The spec.
        folder: The folder of generated code.
        backend: One of `generated.LAUNCHERS`.

    Raises:
        CannotCompile: The file cannot be imported, or has no such kernel.
    """
    path = Pair.of(spec, folder).launches(backend)
    tables = tuple((f"{aside(spec, name)}_ptr", kind) for name, kind in TABLES.items())
    name = kernel_of(spec)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return _load(name, path, digest, tables)
    except Exception as error:  # whatever an edited file does when it is imported
        raise CannotCompile(f"{path} cannot be imported: {error!r}") from None


@lru_cache(maxsize=4)
def _load(name: str, path: Path, digest: str, tables: tuple[tuple[str, str], ...]) -> Kernel:
    module = fresh(path)
    return Kernel(path, getattr(module, name), int(module.BLOCK), digest, dict(tables))


def check(task: Task) -> Verdict:
    """Compiles the kernels of one option set and looks at what comes out."""
    spec, options = task.spec, task.options
    evidence: dict[str, Any] = {}
    machine_code: dict[str, Compiled] = {}
    warnings: dict[str, None] = {}
    made = 0

    def verdict(status: Status, detail: str) -> Verdict:
        return task.verdict(
            status, detail, made, seed=None, evidence=evidence, machine_code=machine_code,
            warnings=tuple(warnings),
        )  # fmt: skip

    for one in task.each():
        (target,), (dtype,), ((backend, mode),) = one.targets, one.dtypes, one.kernels
        try:
            kernel = load(spec, task.folder, backend)
        except CannotCompile as error:
            return verdict(Status.REFUTED, str(error))
        if text := task.artefacts.get("ptx"):
            found = _findings({"ptx": text}, kernel, one, True)
            warnings |= dict.fromkeys(found.costs)
            wrong = found.violations[:1]
            return verdict(Status.REFUTED if wrong else Status.TESTED, "".join(wrong))
        if reason := _wrong_parameter(kernel):
            return verdict(Status.REFUTED, reason)
        name = backend if mode == "host" else f"{backend}_{mode}"
        of_kernel = figures.of_kernel(evidence, name)
        for aligned in one.alignments:
            try:
                artefacts = compile_kernel(
                    kernel, spec, options, target, dtype, aligned, task.exact, mode
                )
            except CannotCompile as error:
                return verdict(Status.REFUTED, str(error))
            found = _findings(artefacts, kernel, one, aligned)
            warnings |= dict.fromkeys(f"{name}: {cost}" for cost in found.costs)
            if aligned:
                code = machine_code_of(artefacts, spec, options, target, dtype, kernel)
                of_kernel["figures"] = _figures(artefacts, code)
                costs = figures.costs(name, of_kernel["figures"])
                warnings |= dict.fromkeys(costs)
                if code is not None and mode == "host":
                    machine_code[name] = code
            if found.violations:
                where = "" if aligned else " with unaligned tensors"
                how = "" if mode == "host" else f", with numbers on the device ({mode})"
                what = f"{kernel.path} compiled for {target}, {dtype}{where}{how}"
                return verdict(Status.REFUTED, f"{what}: {'; '.join(found.violations[:3])}")
            made += 1
            text = artefacts.get("ptx") or artefacts["amdgcn"]
            part = "artefact" if aligned else "artefact_unaligned"
            of_kernel[part] = hashlib.sha256(text.encode()).hexdigest()
            evidence["ptxas"] = ptxas(target)
    moved = {dtype: contract.bytes_moved(spec, options, dtype) for dtype in task.dtypes}
    evidence["bytes_per_element"] = moved
    exactly = "exact instructions, " if task.exact else ""
    return verdict(Status.TESTED, f"{exactly}every tensor moves once")


def _wrong_parameter(kernel: Kernel) -> str:
    """What is wrong with how a number arrives in a kernel, or ""."""
    for parameter in kernel.function.params:
        annotated = parameter.annotation_type
        pointer = parameter.name.endswith("_ptr") or parameter.is_constexpr
        if not pointer and annotated not in ("fp64", "i64"):
            passed = f"is passed as {annotated}" if annotated else "has no annotation"
            return f"{kernel.path}: argument `{parameter.name}` {passed}, not as 64 bits"
        if annotated == "i64" and not parameter.do_not_specialize:
            reason = f"{kernel.path}: `{parameter.name}` is not in do_not_specialize"
            what = "a launch with 1 or with a multiple of 16 compiles a kernel of its own"
            return f"{reason}: {what}"
    return ""


def _findings(
    artefacts: Mapping[str, Any], kernel: Kernel, task: Task, aligned: bool
) -> contract.Findings:
    """What the artefacts of a task on one type, GPU and kernel do against the contract."""
    spec, options, (dtype,), ((_, mode),) = task.spec, task.options, task.dtypes, task.kernels
    entries = contract.entries(spec, options) if kernel.is_tabular else 0
    if "ptx" in artefacts:
        return contract.findings(
            artefacts["ptx"], spec, options, dtype, kernel.block, aligned, task.exact, entries, mode
        )
    if not aligned:
        return contract.Findings()
    return contract.amd_findings(
        artefacts["amdgcn"], spec, options, dtype, kernel.block, entries, mode
    )


def machine_code_of(
    artefacts: Mapping[str, Any], spec: Spec, options: Options, target: str, dtype: str,
    kernel: Kernel,
) -> Compiled | None:  # fmt: skip
    """What the figures are measured of; None for AMD."""
    if "cubin" not in artefacts:
        return None
    return Compiled(
        artefacts["cubin"], kernel_of(spec), target, contract.THREADS, kernel.block,
        contract.bytes_moved(spec, options, dtype), artefacts["shared"],
        8 + 8 * contract.entries(spec, options) if kernel.is_tabular else 0,
    )  # fmt: skip


def _figures(artefacts: Mapping[str, Any], machine_code: Compiled | None) -> dict[str, Any]:
    if machine_code is None:
        return figures.of_amdgcn(artefacts["amdgcn"])
    try:
        return figures.of_cubin(machine_code)
    except (sass.ToolMissing, sass.Unmeasured) as error:
        return {"unmeasured": str(error)}


@cache
def ptxas(target: str) -> str:
    """The version of the assembler that Triton takes for a target, or "" for AMD."""
    if target.startswith("gfx"):
        return ""
    from triton.backends.nvidia import compiler

    try:
        return str(compiler.get_ptxas(int(re.sub(r"\D", "", target))).version)
    except TypeError:  # older versions have one for all
        return str(compiler.get_ptxas().version)


def signature(
    kernel: Kernel, spec: Spec, options: Options, dtype: str, exact: bool, aligned: bool = True,
    mode: str = "host",
) -> tuple[dict[str, str], dict[tuple[int, ...], Any], list[int]]:  # fmt: skip
    """Types of the kernel's parameters, the values of those that are compiled in, the pointers."""
    import triton.language as tl

    reading, layout = reader.of(spec), Layout.named(dtype)
    active = {tensor.name for tensor in reading.tensors(options)}
    given = {f"{tensor.name}_ptr": tensor.name in active for tensor in reading.tensors()}
    own = {"BLOCK": kernel.block, "EXACT": exact, "ALIGNED": aligned}
    own |= {"ON_DEVICE": mode != "host", "SCALED": mode == "scaled"}
    constants: dict[str, Any] = {aside(spec, name): value for name, value in own.items()}
    constants |= {name.upper(): value for name, value in options.items()}
    for pointer, is_given in given.items():
        name = pointer.removesuffix("_ptr")
        kind = tl.dtype(layout.of(name).triton)
        constants[f"{name}_type"] = kind if is_given else None
    types: dict[str, str] = {}
    values: dict[tuple[int, ...], Any] = {}
    pointers: list[int] = []
    for index, parameter in enumerate(kernel.function.params):
        name = parameter.name
        if name in kernel.tables:
            types[name] = kernel.tables[name]
            pointers.append(index)
        elif given.get(name):
            types[name] = f"*{layout.of(name.removesuffix('_ptr')).triton}"
            pointers.append(index)
        elif name in given or parameter.is_constexpr:
            if name not in given and name not in constants:
                raise CannotCompile(f"{kernel.path}: nothing is passed for `{name}`")
            types[name] = "constexpr"
            values[(index,)] = None if name in given else constants[name]
        else:
            # Without an annotation Triton passes Python's floats as float32, and so on.
            types[name] = parameter.annotation_type or "fp32"
    return types, values, pointers


def compile_kernel(
    kernel: Kernel, spec: Spec, options: Options, target: str, dtype: str, aligned: bool = True,
    exact: bool = True, mode: str = "host",
) -> Mapping[str, Any]:  # fmt: skip
    """Compiles a kernel as a launch would.

    Args:
        kernel: The kernel.
        spec: Its spec, which says which tensors an option set has.
        options: The option set.
        target: Such as "sm_90" or "gfx942".
        dtype: Triton's name of the type of parameters and gradients; 16-bit ones have states of
            float32.
        aligned: Whether the tensors are aligned to 16 bytes, or to their elements alone.
        exact: The mode that the launcher is called with.
        mode: One of `MODES`.

    Returns:
        The artefacts by Triton's names: "ttir", "ptx", "cubin"; for AMD "amdgcn"; and "shared", the
        bytes of shared memory that a launch allocates.

    Raises:
        CannotCompile: The compiler refuses it.
    """
    return _compile(key_of(kernel, spec, options, dtype, aligned, exact, mode), target)


Key = tuple[Kernel, Held, tuple[tuple[str, bool], ...], str, bool, bool, str]
"""A kernel, its spec, and an option set, type, alignment, and two modes that it is compiled for."""


def key_of(
    kernel: Kernel, spec: Spec, options: Options, dtype: str, aligned: bool, exact: bool, mode: str
) -> Key:
    """What is compiled, for any GPU; arguments of `compile_kernel`."""
    return kernel, Held(spec), tuple(sorted(options.items())), dtype, aligned, exact, mode


@lru_cache(maxsize=16)
def _compile(key: Key, target: str) -> Mapping[str, Any]:
    kernel, _, _, dtype, aligned, exact, _ = key
    try:
        if target.startswith("gfx"):
            return compile_source(source_of(key), target, exact)
        return _compile_ir(_triton_ir(key, target), target, exact, assembled=aligned)
    except Refused as refused:
        error = refused.error
        raise CannotCompile(_reason(error, kernel.path, target, dtype)) from None


def source_of(key: Key) -> Any:
    """What a launch would compile."""
    from triton.compiler import ASTSource

    kernel, held, options, dtype, aligned, exact, mode = key
    types, values, pointers = signature(
        kernel, held.spec, dict(options), dtype, exact, aligned, mode
    )
    names = [parameter.name for parameter in kernel.function.params]
    divisible = [i for i in pointers if aligned or names[i] in kernel.tables]
    attributes = {(i,): [["tt.divisibility", ALIGNMENT]] for i in divisible}
    return ASTSource(kernel.function, types, values, attributes)


def triton_ir(
    kernel: Kernel, spec: Spec, options: Options, target: str, dtype: str, mode: str = "host"
) -> str:
    """The Triton IR of a kernel in exact mode, for aligned tensors; arguments of `compile_kernel`.

    Raises:
        CannotCompile: The compiler refuses it.
    """
    key = key_of(kernel, spec, options, dtype, True, True, mode)
    if target.startswith("gfx"):
        return str(_compile(key, target)["ttir"])
    try:
        return _triton_ir(key, target)
    except Refused as refused:
        error = refused.error
        raise CannotCompile(_reason(error, kernel.path, target, dtype)) from None


_TRITON_IR: dict[Key, str] = {}
KEPT = 16


def _triton_ir(key: Key, target: str) -> str:
    """The Triton IR of a kernel, which is one for all GPUs of a maker; the last ones are kept."""
    if key not in _TRITON_IR:
        while len(_TRITON_IR) >= KEPT:
            del _TRITON_IR[next(iter(_TRITON_IR))]
        with _until("make_ttgir"):
            try:
                compile_source(source_of(key), target, exact=key[5])
            except _Reached as reached:
                _TRITON_IR[key] = reached.text
    return _TRITON_IR[key]


def compile_text(text: str, target: str, exact: bool = True) -> Mapping[str, Any]:
    """Compiles Triton IR.

    Raises:
        CannotCompile: The compiler refuses it.
    """
    try:
        return _compile_ir(text, target, exact, assembled=True)
    except Refused as refused:
        lines = str(refused.error).split("\n")
        raise CannotCompile(f"Triton IR does not compile for {target}: {lines[0]}") from None


def _compile_ir(text: str, target: str, exact: bool, assembled: bool) -> Mapping[str, Any]:
    with tempfile.NamedTemporaryFile("w", suffix=".ttir", delete=False) as file:
        file.write(text)
    try:
        made = compile_source(file.name, target, exact, assembled)
    finally:
        os.unlink(file.name)
    return {"ttir": text, **made}


def compile_source(
    source: Any, target: str, exact: bool, assembled: bool = True
) -> Mapping[str, Any]:
    """Compiles what Triton takes as a source, with the launcher's settings.

    Args:
        source: The source.
        target: The GPU.
        exact: The mode that the launcher is called with.
        assembled: Whether machine code is wanted, too; for NVIDIA it comes last and takes a third
            of the time.

    Raises:
        Refused: The compiler refuses it.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    _prepare()
    settings = {"num_warps": WARPS, "enable_fp_fusion": not exact}
    if target.startswith("gfx"):
        gpu = GPUTarget("hip", target, 64)
    else:
        gpu = GPUTarget("cuda", int(re.sub(r"\D", "", target)), 32)
    with nullcontext() if assembled or gpu.backend != "cuda" else _without_assembler():
        try:
            made = triton.compile(source, target=gpu, options=settings)
        except (MemoryError, OSError):  # of this machine
            raise
        except Exception as error:
            raise Refused(error) from error
    return {**made.asm, "shared": made.metadata.shared}


class Refused(Exception):
    """What Triton's compiler raises, and nothing else."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Reached(BaseException):
    """Ends compilation for NVIDIA at a stage.

    Attributes:
        text: What the stage would have got.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


@contextmanager
def _until(stage: str) -> Iterator[None]:
    """Has compilation raise `_Reached` at a stage for a while."""

    def reached(module: Any, *_: Any, **__: Any) -> Any:
        raise _Reached(str(module))

    with _replaced(stage, reached):
        yield


@contextmanager
def _without_assembler() -> Iterator[None]:
    """Ends compilation with the PTX for a while."""
    with _replaced("make_cubin", lambda *_, **__: b""):
        yield


@contextmanager
def _replaced(stage: str, function: Callable[..., Any]) -> Iterator[None]:
    from triton.backends.nvidia.compiler import CUDABackend

    before = vars(CUDABackend)[stage]
    setattr(CUDABackend, stage, staticmethod(function))
    try:
        yield
    finally:
        setattr(CUDABackend, stage, before)


@cache
def _prepare() -> None:
    """Compiles afresh, in a folder that goes with the process."""
    import atexit
    import shutil

    folder = tempfile.mkdtemp(prefix="stepforge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        "TRITON_CACHE_DIR": folder,
        "TRITON_ALWAYS_COMPILE": "1",
        "TRITON_CACHE_MANAGER": "stepforge.verify.ptx.scratch:Scratch",
    }
    # Names of folders in it would begin with a hash of Triton itself, of half a gigabyte.
    triton_cache: Any = importlib.import_module("triton.runtime.cache")
    if hasattr(triton_cache, "triton_key"):
        triton_cache.triton_key = lambda: "afresh"


def _reason(error: Exception, path: Path, target: str, dtype: str) -> str:
    lines = [line for line in str(error).split("\n") if line.strip()] or [type(error).__name__]
    message = re.sub(r"^at (\d+):(\d+):$", r"at line \1 of the kernel:", lines[0])
    return f"{path} does not compile for {target}, {dtype}: {message} {lines[-1].strip()}"
