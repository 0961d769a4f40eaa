"""Small PTX kernels around a few instructions, and their execution."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepforge.verify.ptx import lifter
from stepforge.verify.ptx.executor import Buffer, Executor
from stepforge.verify.ptx.parser import parse
from stepforge.verify.terms import terms
from stepforge.verify.terms.lifted import Lifted, Pointer, findings
from stepforge.verify.terms.offsets import SIZE
from stepforge.verify.terms.terms import FLOATS
from verify.ieee import Format

UNSIGNED = {16: np.uint16, 32: np.uint32, 64: np.uint64}
PREFIX = {16: "%rs", 32: "%r", 64: "%rd"}
DECLARE = "\t.reg .pred %p<9>;\n\t.reg .b16 %rs<99>;\n\t.reg .b32 %r<99>;\n\t.reg .b64 %rd<99>;\n"
EXTERN = ".extern .shared .align 16 .b8 global_smem[];\n"


def kernel(
    body: str, threads: int = 32, parameters: Sequence[str] = ("u64 a",), extern: str = ""
) -> str:
    """A kernel around a body."""
    listed = ",\n".join(f"\t.param .{p}" for p in parameters)
    lines = "".join(f"\t{line}\n" for line in body.strip().split("\n"))
    head = f"{extern}.visible .entry k(\n{listed}\n)\n.reqntid {threads}\n{{\n"
    return f"{head}{DECLARE}{lines}\tret;\n}}\n"


def operand(bits: np.ndarray[Any, Any], index: int) -> str:
    return f"{PREFIX[bits.itemsize * 8]}{50 + index}"


def compute(
    lines: str, result: str, *columns: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], Executor]:
    """Runs lines in one lane for each row; operand i is the register numbered 50 + i.

    Returns the bits of the register `result`, and the executor.
    """
    count = len(columns[0])
    width = next(w for w, p in PREFIX.items() if re.fullmatch(rf"{p}\d+", result))
    body = ["mov.u32 %r1, %tid.x;"]
    buffers = []
    for index, column in enumerate([*columns, np.zeros(count, UNSIGNED[width])]):
        body += [
            f"ld.param.b64 %rd1, [p{index}];",
            f"mul.wide.u32 %rd2, %r1, {column.itemsize};",
            f"add.s64 %rd{3 + index}, %rd1, %rd2;",
        ]
        if index < len(columns):
            kind = f"b{column.itemsize * 8}"
            body.append(f"ld.global.{kind} {operand(column, index)}, [%rd{3 + index}];")
        buffers.append(Buffer(f"p{index}", 4096 + index * 2**20, column.copy().view(np.uint8)))
    body += [*lines.strip().split("\n"), f"st.global.b{width} [%rd{3 + len(columns)}], {result};"]
    parameters = [f"u64 p{i}" for i in range(len(buffers))]
    program = parse(kernel("\n".join(body), count, parameters))
    executor = Executor(program, [b.address for b in buffers], buffers)
    executor.run(1)
    assert buffers[-1].complete
    assert not any(b.written.any() for b in buffers[:-1])
    return buffers[-1].data.view(UNSIGNED[width]), executor


def table(form: Format, rows: Sequence[Sequence[int]]) -> list[np.ndarray[Any, Any]]:
    """Rows of bits as columns."""
    return [np.array(c, UNSIGNED[form.width]) for c in zip(*rows, strict=True)]


# Kernels of one element in a lane, lifted and executed.

BLOCK = 32
BYTES = {"bf16": 2, "f16": 2, "f32": 4, "f64": 8}
REGISTER = {2: "%rs", 4: "%r", 8: "%rd"}
PARAMETERS = ("u64 p", "u64 x", "u64 y", "u64 z", "u64 n", "f64 a")
START = """\
mov.u32 %r1, %ctaid.x;
mov.u32 %r2, %tid.x;
cvt.u64.u32 %rd1, %r1;
shl.b64 %rd2, %rd1, 5;
cvt.u64.u32 %rd3, %r2;
or.b64 %rd4, %rd2, %rd3;
ld.param.b64 %rd5, [n];
setp.lt.s64 %p1, %rd4, %rd5;
ld.param.b64 %rd70, [a];"""
LENGTH = START.count("\n") + 1


def elementwise(lines: str, kind: str) -> str:
    """One element in a lane: x, y, z are the registers 50 to 52, p is the register 60."""
    size = BYTES[kind]
    register, shift = REGISTER[size], {2: 1, 4: 2, 8: 3}[size]
    body = [START, f"shl.b64 %rd6, %rd4, {shift};"]
    for index, name in enumerate(("x", "y", "z")):
        body += [
            f"ld.param.b64 %rd7, [{name}];",
            f"add.s64 %rd{10 + index}, %rd7, %rd6;",
            f"mov.b{8 * size} {register}{50 + index}, 0;",
            f"@%p1 ld.global.b{8 * size} {{ {register}{50 + index} }}, [ %rd{10 + index} + 0 ];",
        ]
    body += [
        *lines.strip().split("\n"),
        "ld.param.b64 %rd7, [p];",
        "add.s64 %rd20, %rd7, %rd6;",
        f"@%p1 st.global.b{8 * size} [ %rd20 + 0 ], {{ {register}60 }};",
    ]
    return kernel("\n".join(body), BLOCK, PARAMETERS)


def bindings(kind: str) -> list[Any]:
    pointers = [Pointer(name, kind) for name in ("p", "x", "y", "z")]
    return [*pointers, SIZE, terms.scalar("a")]


def lift(text: str, kind: str = "f32", block: int = BLOCK, alignment: int = 16) -> Lifted:
    return lifter.lift(lifter.parsed(text), bindings(kind), block, alignment)


def data(kind: str, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 5.0, 0.1]
    found: dict[str, Any] = {}
    for name in ("x", "y", "z"):
        drawn = rng.normal(size=count) * 2.0 ** rng.integers(-9, 9, count)
        drawn[: len(special)] = rng.permutation(special)[:count]
        same = rng.random(count) < 0.2
        drawn[same] = 0.25
        found[name] = drawn.astype(FLOATS[kind])
    return {**found, "a": 0.1}


def executed(text: str, kind: str, at: dict[str, Any]) -> np.ndarray[Any, Any]:
    count = len(at["x"])
    arrays = {"p": np.zeros(count, FLOATS[kind]), **{n: at[n].copy() for n in ("x", "y", "z")}}
    buffers = [
        Buffer(name, (i + 1) << 20, array.view(np.uint8))
        for i, (name, array) in enumerate(arrays.items())
    ]
    program = lifter.parsed(text)
    Executor(program, [*(b.address for b in buffers), count, at["a"]], buffers).run(
        -(-count // BLOCK)
    )
    assert buffers[0].complete
    return arrays["p"]


def stored(found: Lifted) -> terms.Term:
    """The one value that is stored to p on every path."""
    values = {access.value for access in found.stores()}
    (value,) = values
    for path in found.paths:
        assert list(findings(path, BLOCK, ["p"])) == []
    return value
