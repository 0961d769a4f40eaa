"""Figures come from the path of a full block, and hold the limits that the kernels are made for."""

from __future__ import annotations

from functools import cache

import pytest
from support import ROOT, stock

from stepforge.backends.triton import WARPS
from stepforge.verify.certificate import Compiled
from stepforge.verify.ptx import sass
from stepforge.verify.ptx.sass import Instruction
from stepforge.verify.rungs import compiled, contract


@cache
def kernel(name: str, target: str, exact: bool = True, *on: str) -> Compiled:
    spec = stock(name)
    options = {option.name: option.name in on for option in spec.options}
    loaded = compiled.load(spec, ROOT / "generated")
    made = compiled.compile_kernel(loaded, spec, options, target, "fp32", exact=exact)
    moved = contract.bytes_moved(spec, options, "fp32")
    threads = 32 * WARPS
    return Compiled(made["cubin"], f"{name}_kernel", target, threads, loaded.block, moved)


def program(text: str) -> list[Instruction]:
    """Instructions from lines such as `@P0 BRA 0x30`."""
    found = []
    for index, line in enumerate(text.strip().split("\n")):
        predicate, _, rest = line.strip().rpartition("P0 ")
        opcode, _, operands = rest.partition(" ")
        predicate = f"{predicate}P0" if predicate else ""
        found.append(Instruction(16 * index, predicate, opcode, operands))
    return found


def path(text: str, moved: int = 32) -> list[int]:
    """Indices of the instructions of the fast path."""
    return [i.address // 16 for i in sass.fast_path(program(text), moved)]


# The limits: what others ship, in instructions per element on an H100.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("        /*0370*/               @P0 BRA 0x500 ;", (0x370, "@P0", "BRA", "0x500")),
        (
            "        /*0370*/               @P0 BRA 0x500    &req={0}     ?WAIT12_END_GROUP;",
            (0x370, "@P0", "BRA", "0x500"),
        ),
        (
            "        /*0360*/                   BRA.U UP0, 0x4f0               ?trans6;",
            (0x360, "", "BRA.U", "UP0, 0x4f0"),
        ),
        (
            "        /*0010*/    LDG.E.128 R4, desc[UR4][R2.64] &wr=0x1 ?trans7;",
            (0x10, "", "LDG.E.128", "R4, desc[UR4][R2.64]"),
        ),
        ("        /*0080*/                   EXIT ;", (0x80, "", "EXIT", "")),
        (".L_x_0:", None),
    ],
)
def test_lines_of_the_disassembler_with_and_without_its_schedule(
    line: str, expected: tuple[int, str, str, str] | None
) -> None:
    """Some versions print for GPUs from sm_100 on what an instruction waits for."""
    assert sass.read(line) == (Instruction(*expected) if expected else None)


@pytest.mark.parametrize(
    ("name", "exact", "on", "limit"),
    [
        ("adamw", True, (), 48.5),
        ("sgd", True, ("use_momentum",), 15),
        ("adagrad", True, (), 46.5),
        ("lion", True, (), 20),
        ("adamw", False, (), 27),
    ],
)
def test_kernels_have_no_more_instructions_than_the_best(
    name: str, exact: bool, on: tuple[str, ...], limit: float
) -> None:
    (found,) = sass.measure([kernel(name, "sm_90", exact, *on)])
    assert 0 < found.instructions <= limit
    assert found.occupancy >= 0.4
    assert found.access_bits == 128
    assert found.spilled_bytes == found.local_bytes == found.shared_bytes == 0
    assert found.issue_share is not None
    assert found.issue_share < 0.6


def test_exact_divisions_and_roots_cost_instructions() -> None:
    exact, fast = sass.measure([kernel("adamw", "sm_90"), kernel("adamw", "sm_90", False)])
    assert exact.instructions > 1.3 * fast.instructions
    assert exact.special_instructions == 2  # one root and one reciprocal an element


def test_many_kernels_have_the_figures_that_each_has_alone() -> None:
    kernels = [kernel("adamw", "sm_90"), kernel("lion", "sm_100"), kernel("lion", "sm_90")]
    alone = [
        sass.figures(k.cubin, k.name, k.target, k.threads, k.elements, k.bytes_per_element)
        for k in kernels
    ]
    assert sass.measure(kernels) == alone


def test_the_fast_path_moves_what_a_block_moves_and_calls_nothing() -> None:
    k = kernel("adamw", "sm_90")
    (code,) = sass.disassemble([sass.machine_code(k.cubin, k.name)], k.target)
    each = k.elements // k.threads
    found = sass.fast_path(code, int(k.bytes_per_element) * each)
    assert "CALL" not in {i.base for i in found}
    assert {"CALL", "LDG", "STG"} <= {i.base for i in code}
    assert sum(i.bits // 8 for i in found if i.is_global) == k.bytes_per_element * each
    assert {i.opcode for i in found if i.is_global} == {"LDG.E.128", "STG.E.128"}


# The control flow.


def test_the_wide_arm_of_a_branch_is_the_full_block() -> None:
    tail = "LDG.E\n" * 4
    code = f"@P0 BRA 0x70\nMOV\n{tail}BRA 0x80\nLDG.E.128\nSTG.E.128\nEXIT"
    assert path(code) == [0, 7, 8, 9]


def test_an_arm_that_is_predicated_counts_where_it_moves_the_bytes() -> None:
    code = "@P0 LDG.E.128\n@P0 BRA 0x40\n@!P0 LDG.E\n@!P0 LDG.E\nFADD\nSTG.E.128\nEXIT"
    assert path(code) == [0, 1, 4, 5, 6]


def test_a_slow_path_that_calls_is_left_out_even_if_it_is_shorter() -> None:
    code = (
        "LDG.E.128\n@P0 BRA 0x40\nCALL.REL.NOINC 0x90\nBRA 0x70\nFADD\nFADD\nFADD\nSTG.E.128\nEXIT"
    )
    assert path(code + "\nRET.REL.NODEC 0x0") == [0, 1, 4, 5, 6, 7, 8]


def test_a_way_out_before_the_stores_is_no_full_block() -> None:
    assert path("LDG.E.128\n@P0 EXIT\nSTG.E.128\n@P0 EXIT\nNOP\nEXIT") == [0, 1, 2, 3]


def test_a_second_condition_of_a_branch_may_fail() -> None:
    assert path("LDG.E.128\nBRA P1, 0x30\nSTG.E.128\nEXIT") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("LDG.E.128\n@P0 BRA 0x0\nEXIT", "a loop"),
        ("LDG.E.128\nBRX R2\nEXIT", "the jump BRX"),
        ("LDG.E.128\n@P0 BRA elsewhere\nEXIT", "the jump BRA elsewhere"),
        ("LDG.E.128\nCALL.REL.NOINC 0x30\nEXIT\nRET.REL.NODEC 0x0", "calls a subroutine"),
        ("LDG.E.128\nNOP", "leaves the kernel"),
        ("LDG.E.128\nSTG.E.128\nSTG.E.128\nEXIT", "moves more than 32 bytes"),
    ],
)
def test_what_is_not_understood_has_no_figures(code: str, reason: str) -> None:
    with pytest.raises(sass.Unmeasured, match=reason):
        path(code)


@pytest.mark.parametrize(
    ("opcode", "bits"),
    [("LDG.E", 32), ("LDG.E.U16", 16), ("STG.E.64", 64), ("LDG.E.128.CONSTANT", 128)],
)
def test_the_width_of_an_access_is_its_modifier(opcode: str, bits: int) -> None:
    assert Instruction(0, "", opcode, "").bits == bits


# Occupancy, by hand from the table of the programming guide.


@pytest.mark.parametrize(
    ("target", "registers", "threads", "shared", "share"),
    [
        ("sm_90", 68, 128, 0, 28 / 64),  # 72 registers a thread: 28 warps
        ("sm_90", 64, 128, 0, 32 / 64),
        ("sm_90", 32, 128, 0, 1),
        ("sm_90", 32, 32, 0, 32 / 64),  # at most 32 programs
        ("sm_90", 32, 128, 100 << 10, 8 / 64),  # two of 101 KiB in 228
        ("sm_120", 32, 128, 0, 1),
        ("sm_75", 64, 128, 0, 1),
    ],
)
def test_occupancy_is_what_the_scarcest_resource_allows(
    target: str, registers: int, threads: int, shared: int, share: float
) -> None:
    assert sass.occupancy(target, registers, threads, shared) == share


def test_the_limits_of_an_unknown_target_are_not_guessed() -> None:
    with pytest.raises(sass.Unmeasured, match="sm_130"):
        sass.occupancy("sm_130", 32, 128, 0)


# What may be missing.


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sass.ToolMissing, match="nosuchtool"):
        sass.tool("nosuchtool")
    monkeypatch.setattr(sass, "find_spec", lambda _: None)
    with pytest.raises(sass.ToolMissing, match="not installed"):
        sass.tool("nvdisasm")


@pytest.mark.parametrize("cubin", [b"", b"\x7fELF" + bytes(100)])
def test_what_is_no_cubin_has_no_figures(cubin: bytes) -> None:
    with pytest.raises(sass.Unmeasured):
        sass.machine_code(cubin, "k")
