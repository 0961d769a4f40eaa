"""Small PTX kernels around a few instructions, and their execution."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepforge.verify.ptx.executor import Buffer, Executor
from stepforge.verify.ptx.parser import parse
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
