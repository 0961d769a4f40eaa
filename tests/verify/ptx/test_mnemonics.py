"""Names of instructions, taken apart and put together."""

from __future__ import annotations

import pytest

from stepforge.verify.ptx.mnemonics import Access, access, expanded, members, split, width_of


@pytest.mark.parametrize(
    ("text", "operation", "modifiers", "types"),
    [
        ("add.rn.ftz.f32", "add", ("rn", "ftz"), ("f32",)),
        ("cvt.rn.bf16x2.f32", "cvt", ("rn",), ("bf16x2", "f32")),
        ("mad.wide.u32", "mad", ("wide",), ("u32",)),
        ("setp.lt.and.pred", "setp", ("lt", "and"), ("pred",)),
        ("shfl.sync.bfly.b32", "shfl", ("sync", "bfly"), ("b32",)),
        ("cvt.f32.sat.s32", "cvt", ("f32", "sat"), ("s32",)),
        ("ret", "ret", (), ()),
    ],
)
def test_a_name_is_operation_modifiers_and_types(
    text: str, operation: str, modifiers: tuple[str, ...], types: tuple[str, ...]
) -> None:
    found = split(text)
    assert (found.operation, found.modifiers, found.types) == (operation, modifiers, types)


def test_a_form_stands_for_every_name_that_ptx_has() -> None:
    assert [m.text for m in expanded("add|sub rn? ftz?", "f32 f64")] == [
        "add.rn.ftz.f32", "add.rn.f32", "add.rn.f64", "add.ftz.f32", "add.f32", "add.f64",
        "sub.rn.ftz.f32", "sub.rn.f32", "sub.rn.f64", "sub.ftz.f32", "sub.f32", "sub.f64",
    ]  # fmt: skip
    assert [m.types for m in expanded("cvt rn f32", "f64")] == [("f32", "f64")]


def test_widths() -> None:
    kinds = {"bf16": 16, "f16x2": 32, "f32": 32, "f32x2": 64, "b16": 16, "u32": 32, "s64": 64}
    assert {kind: width_of(kind) for kind in kinds} == kinds
    for kind in ("pred", "b8", "f8", "", "s33"):
        with pytest.raises(KeyError):
            width_of(kind)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ld.global.v4.b32", Access(True, "global", 4, 32)),
        ("st.global.b16", Access(False, "global", 1, 16)),
        ("ld.param.u64", Access(True, "param", 1, 64)),
        ("st.shared.v2.b64", Access(False, "shared", 2, 64)),
        ("ld.local.b32", None),
        ("ld.volatile.global.b32", None),
        ("ld.global.L1::evict_last.b32", None),
        ("ld.global.v3.b32", None),
    ],
)
def test_accesses(name: str, wanted: Access | None) -> None:
    assert access(name) == wanted


def test_registers_of_a_vector() -> None:
    assert members("{ %r1, %r2 }") == ("%r1", "%r2")
    assert members("%r1") == ("%r1",)
