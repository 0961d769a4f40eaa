"""What executed PTX may do with memory: bounds, predicates, races, barriers, branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stepforge.verify.ptx import executor as executor_module
from stepforge.verify.ptx.executor import Buffer, Executor, Fault
from stepforge.verify.ptx.parser import Unsupported, parse
from verify.ptx_kernels import EXTERN, kernel

ADDRESS = 4096
LANE = """ld.param.b64 %rd1, [a];
mov.u32 %r1, %tid.x;
mov.u32 %r2, %ctaid.x;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
mad.wide.u32 %rd4, %r2, 128, %rd3;
mov.b32 %r9, 7;"""
"""`%rd3` is the lane's element, `%rd4` that of the lane in its program of 32 elements."""


def execute(
    body: str, data: np.ndarray[Any, Any], blocks: int = 1, extern: str = "", shift: int = 0
) -> Buffer:
    """Runs a kernel of 32 lanes on one tensor."""
    program = parse(kernel(f"{LANE}\n{body}", 32, ["u64 a"], extern))
    buffer = Buffer("x", ADDRESS + shift, data.view(np.uint8))
    Executor(program, [ADDRESS + shift], [buffer]).run(blocks)
    return buffer


def numbers(count: int = 32) -> np.ndarray[Any, Any]:
    return np.arange(count, dtype=np.uint32)


def test_lanes_load_compute_and_store_their_elements() -> None:
    data = np.arange(32, dtype=np.float32)
    buffer = execute(
        "ld.global.b32 { %r3 }, [ %rd3 + 0 ];\nadd.rn.f32 %r4, %r3, 0f3F800000;\n"
        "st.global.b32 [ %rd3 + 0 ], { %r4 };",
        data,
    )
    assert data.tolist() == [float(i + 1) for i in range(32)]
    assert buffer.complete
    assert (buffer.written == 1).all()


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_vectors_are_consecutive_elements(count: int, width: int) -> None:
    if count == 4 and width == 16:
        width = 32
    size = width // 8 * count
    prefix = {16: "%rs", 32: "%r", 64: "%rd"}[width]
    registers = ", ".join(f"{prefix}{20 + i}" for i in range(count))
    turned = ", ".join(f"{prefix}{20 + i}" for i in reversed(range(count)))
    vector = f".v{count}" if count > 1 else ""
    data = np.random.default_rng(0).integers(0, 256, 32 * size).astype(np.uint8)
    wanted = data.view(f"u{width // 8}").reshape(32, count)[:, ::-1].reshape(-1).copy()
    execute(
        f"mad.wide.u32 %rd5, %r1, {size}, %rd1;\n"
        f"ld.global{vector}.b{width} {{{registers}}}, [%rd5];\n"
        f"st.global{vector}.b{width} [%rd5], {{{turned}}};",
        data,
    )
    assert data.view(wanted.dtype).tolist() == wanted.tolist()


def test_lanes_that_are_off_access_nothing_and_keep_their_registers() -> None:
    data = numbers(8)
    buffer = execute(
        "setp.lt.u32 %p1, %r1, 5;\nsetp.lt.u32 %p2, %r1, 8;\nmov.b32 %r3, 100;\n"
        "@%p1 ld.global.b32 %r3, [%rd3];\n@%p2 st.global.b32 [%rd3], %r3;",
        data,
    )
    assert data.tolist() == [0, 1, 2, 3, 4, 100, 100, 100]
    assert buffer.complete
    data = numbers()
    buffer = execute("setp.lt.u32 %p1, %r1, 5;\n@!%p1 st.global.b32 [%rd3], 7;"
                     .replace("], 7", "], %r9"), data)  # fmt: skip
    assert data.tolist() == [*range(5), *[7] * 27]
    assert not buffer.complete
    assert buffer.written.tolist() == [0] * 20 + [1] * 108


def test_a_register_that_a_lane_never_set_is_nan_in_it() -> None:
    data = np.zeros(32, np.float32)
    execute(
        "setp.lt.u32 %p1, %r1, 5;\n@%p1 mov.b32 %r3, 0f3F800000;\nst.global.b32 [%rd3], %r3;", data
    )
    assert np.isnan(data).tolist() == [False] * 5 + [True] * 27


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ld.global.b32 %r3, [%rd3+4];", "leaves `x`"),
        ("ld.global.b32 %r3, [%rd3+-4];", "no tensor"),
        ("ld.global.b32 %r3, [%rd3+8192];", "no tensor"),
        ("sub.s64 %rd5, %rd1, %rd2;\nld.global.b32 %r3, [%rd5];", "leaves `x`"),
        ("ld.global.b32 %r3, [%rd3+2];", "misaligned"),
        ("ld.global.v2.b32 {%r3, %r4}, [%rd3];", "misaligned"),
        ("mov.b64 %rd5, -4;\nld.global.b32 %r3, [%rd5];", "no tensor"),
        ("st.global.b32 [%rd3+4], %r9;", "leaves `x`"),
        ("st.global.b16 [%rd3+1], %r9;", "misaligned"),
        ("st.global.b32 [%rd1], %r9;", "in two lanes"),
        ("st.global.b32 [%rd3], %r9;\nst.global.b32 [%rd3], %r9;", "again"),
        ("st.global.b32 [%rd3], %r9;\nst.global.b16 [%rd3+2], %r9;", "again"),
        ("st.global.b32 [%rd3], %r9;\nld.global.b32 %r3, [%rd1];", "another lane writes"),
        ("ld.global.b32 %r3, [%rd1];\nst.global.b32 [%rd3], %r9;", "another lane reads"),
        ("ld.shared.b32 %r3, [%r9+1];", "leaves shared memory"),
        ("$again:\nbra.uni $again;", "endless"),
    ],
)
def test_what_no_gpu_survives_or_nobody_can_rely_on_is_a_fault(body: str, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        execute(body, numbers())
    assert "line" in str(caught.value) or message == "endless"


def test_accesses_of_unaligned_tensors_need_the_alignment_of_their_width() -> None:
    execute("ld.global.b32 %r3, [%rd3];\nst.global.b32 [%rd3], %r3;", numbers(), shift=4)
    with pytest.raises(Fault, match="misaligned"):
        execute("ld.global.b32 %r3, [%rd3];", numbers(), shift=2)
    with pytest.raises(Fault, match="misaligned"):
        execute("shl.b64 %rd6, %rd2, 1;\nadd.s64 %rd5, %rd1, %rd6;\n"
                "ld.global.v2.b32 {%r3, %r4}, [%rd5];", numbers(64), shift=4)  # fmt: skip


def test_a_lane_may_read_what_it_writes_and_all_may_read_one_element() -> None:
    data = numbers()
    execute(
        "ld.global.b32 %r3, [%rd3];\nadd.s32 %r3, %r3, 1;\nst.global.b32 [%rd3], %r3;\n"
        "ld.global.b32 %r4, [%rd3];",
        data,
    )
    assert data.tolist() == list(range(1, 33))
    execute("ld.global.b32 %r3, [%rd1];\nld.global.b32 %r4, [%rd1+4];", numbers(), blocks=3)


def test_memory_of_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Buffer("x", 4096, np.zeros(3, np.uint8))


# Programs and branches.

STORE_BLOCK = "add.s32 %r3, %r2, 1;\nst.global.b32 [%rd4], %r3;"


@pytest.mark.parametrize("chunk", [1, 64, 8192])
def test_every_program_runs_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "CHUNK", chunk)
    data = numbers(160)
    assert execute(STORE_BLOCK, data, blocks=5).complete
    assert data.reshape(5, 32).tolist() == [[i + 1] * 32 for i in range(5)]


def test_programs_part_ways_and_come_together() -> None:
    data = numbers(160)
    buffer = execute(
        "setp.lt.u32 %p1, %r2, 3;\nmov.b32 %r3, 1;\n@!%p1 bra $else;\nmov.b32 %r3, 2;\n"
        "setp.eq.u32 %p2, %r2, 1;\n@%p2 ret;\nbra.uni $end;\n$else:\nadd.s32 %r3, %r3, %r2;\n"
        "$end:\nst.global.b32 [%rd4], %r3;",
        data,
        blocks=5,
    )
    assert data.reshape(5, 32)[:, 0].tolist() == [2, 32, 2, 4, 5]
    assert not buffer.complete
    assert buffer.written.reshape(5, 128)[:, 0].tolist() == [1, 0, 1, 1, 1]


def test_a_loop_runs_until_its_condition_fails() -> None:
    data = numbers()
    execute(
        "mov.b32 %r3, 0;\n$again:\nadd.s32 %r3, %r3, 2;\nsetp.lt.s32 %p1, %r3, 9;\n"
        "@%p1 bra $again;\nst.global.b32 [%rd3], %r3;",
        data,
    )
    assert data.tolist() == [10] * 32


@pytest.mark.parametrize("branch", ["bra $end", "ret", "bar.sync 0"])
def test_lanes_of_one_program_that_part_ways_are_unsupported(branch: str) -> None:
    body = f"setp.lt.u32 %p1, %r1, 5;\n@%p1 {branch};\nmov.b32 %r3, 1;\n$end:"
    with pytest.raises(Unsupported, match=r"line \d+.*part ways"):
        execute(body, numbers())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("st.global.b32 [%rd3], %r9;", "in two lanes"),
        ("ld.global.b32 %r3, [%rd1];\nst.global.b32 [%rd4], %r9;", "another lane reads"),
        ("ld.global.b32 %r3, [%rd3];\nbar.sync 0;\nst.global.b32 [%rd4], %r9;", "lane reads"),
        ("st.global.b32 [%rd4], %r9;\nbar.sync 0;\nld.global.b32 %r3, [%rd3];", "lane writes"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 8192])
def test_programs_race_whatever_order_they_ran_in(
    body: str, message: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "CHUNK", chunk)
    if chunk == 1:
        message = "lane|again"
    with pytest.raises(Fault, match=message):
        execute(body, numbers(64), blocks=2)


# Shared memory.

TURN = """mov.b32 %r3, global_smem;
shl.b32 %r4, %r1, 2;
add.s32 %r5, %r3, %r4;
ld.global.b32 %r6, [%rd4];
{before}
st.shared.b32 [%r5], %r6;
{between}
xor.b32 %r7, %r4, 124;
add.s32 %r8, %r3, %r7;
ld.shared.b32 %r6, [%r8];
st.global.b32 [%rd4], %r6;"""


def test_lanes_exchange_values_through_shared_memory() -> None:
    data = numbers(96)
    wanted = data.reshape(3, 32)[:, ::-1].tolist()
    body = TURN.format(before="", between="bar.sync 0;")
    assert execute(body, data, blocks=3, extern=EXTERN).complete
    assert data.reshape(3, 32).tolist() == wanted


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (TURN.format(before="", between=""), "another lane writes"),
        ("mov.b32 %r3, global_smem;\nld.shared.b32 %r4, [%r3];", "nothing has written"),
        ("mov.b32 %r3, global_smem;\nst.shared.b32 [%r3], %r1;", "in two lanes"),
        ("mov.b32 %r3, global_smem;\nst.shared.b32 [%r3+49152], %r1;", "leaves shared memory"),
        ("mov.b32 %r3, global_smem;\nst.shared.b32 [%r3+-4], %r1;", "leaves shared memory"),
        (
            TURN.format(before="", between="bar.sync 0;") + "\nst.shared.b32 [%r5], %r6;",
            "another lane reads",
        ),
    ],
    ids=["no barrier", "uninitialised", "two lanes", "behind", "before", "no second barrier"],
)
def test_races_in_shared_memory_are_faults(body: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        execute(body, numbers(32), extern=EXTERN)


def test_shared_memory_is_as_large_as_the_launch_says() -> None:
    body = "mov.b32 %r3, global_smem;\nshl.b32 %r4, %r1, 2;\nadd.s32 %r5, %r3, %r4;\n"
    program = parse(kernel(f"{LANE}\n{body}st.shared.b32 [%r5], %r1;", 32, ["u64 a"], EXTERN))
    Executor(program, [0], [], shared=128).run(2)
    with pytest.raises(Fault, match="leaves shared memory"):
        Executor(program, [0], [], shared=124).run(1)


# Arguments.


@pytest.mark.parametrize(
    ("kind", "argument", "wanted"),
    [
        ("f64", 0.1, int(np.float64(0.1).view(np.uint64))),
        ("f64", 1, int(np.float64(1).view(np.uint64))),
        ("f32", 0.1, int(np.float32(0.1).view(np.uint32))),
        ("f32", 1e300, int(np.float32(np.inf).view(np.uint32))),
        ("u64", -1, 2**64 - 1),
        ("u64", 2**63, 2**63),
        ("u32", 5, 5),
    ],
)
def test_arguments_have_the_bits_of_their_parameter(
    kind: str, argument: float, wanted: int
) -> None:
    width, register = (32, "%r90") if "32" in kind else (64, "%rd90")
    data = np.zeros(1, np.uint64)
    body = (
        f"ld.param.b64 %rd1, [a];\nld.param.b{width} {register}, [b];\n"
        f"st.global.b{width} [%rd1], {register};"
    )
    program = parse(kernel(body, 1, ["u64 .ptr .global .align 1 a", f"{kind} b"]))
    Executor(program, [ADDRESS, argument], [Buffer("x", ADDRESS, data.view(np.uint8))]).run(1)
    assert data.tolist() == [wanted]


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (["u64 a"], [1, 2]),
        (["u64 a", "u64 b", "u64 c", "u64 d"], [1]),
        (["u32 a"], [2**32]),
        (["u64 a"], [0.5]),
    ],
)
def test_arguments_that_no_launch_has_are_faults(
    parameters: Sequence[str], arguments: Sequence[int | float]
) -> None:
    with pytest.raises(Fault):
        Executor(parse(kernel("mov.u32 %r1, 0;", 1, parameters)), arguments, [])
