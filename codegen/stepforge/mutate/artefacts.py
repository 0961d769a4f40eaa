"""Faults in Triton IR and PTX: what a compiler could get wrong, or a hand could edit."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stepforge.language.spec import Options, Spec
from stepforge.mutate.mutant import Mutant

SITES = 2
"""Of one fault in one text: kernels are unrolled, and most places are alike."""
NEEDLE = "0f3F1E377A"
"""A float32 that no input of any rung has."""


@dataclass(frozen=True)
class Rewrite:
    """A fault as a change of one line.

    Attributes:
        kind: Its class.
        operator: Its name.
        pattern: What a line has to match.
        new: What takes the place of the match.
    """

    kind: str
    operator: str
    pattern: str
    new: str | Callable[[re.Match[str]], str]


def _scaled(match: re.Match[str]) -> str:
    return f"{match[1]}{10 * float(match[2]):.6e}{match[3]}"


def _next_decimal(match: re.Match[str]) -> str:
    bits = struct.unpack("<I", struct.pack("<f", float(match[2])))[0] + 1
    if match[3].endswith("f32>") or "f32" in match[3]:
        value = struct.unpack("<f", struct.pack("<I", bits))[0]
        return f"{match[1]}{value:.9e}{match[3]}"
    return match[0]


def _next_bits(match: re.Match[str]) -> str:
    return f"0f{int(match[1], 16) + 1:08X}"


def _halved(kind: str) -> Callable[[re.Match[str]], str]:
    """A result through a narrower type."""

    def new(match: re.Match[str]) -> str:
        name, operation, shape, rest = match[1], match[2], match[3], match[4]
        return (
            f"    %cut_a = {operation} : tensor<{shape}xf32>{rest}\n"
            f"    %cut_b = arith.truncf %cut_a : tensor<{shape}xf32> to tensor<{shape}x{kind}>\n"
            f"    {name} = arith.extf %cut_b : tensor<{shape}x{kind}> to tensor<{shape}xf32>"
        )

    return new


_RESULT = r"^    (%\w+) = (arith\.(?:mulf|addf|subf) [^:]+) : tensor<(\d+)xf32>(.*)$"
TTIR = (
    Rewrite("A", "add to sub", r"arith\.addf", "arith.subf"),
    Rewrite("A", "sub to add", r"arith\.subf", "arith.addf"),
    Rewrite("A", "mul to add", r"arith\.mulf", "arith.addf"),
    Rewrite("A", "div to mul", r"tt\.precise_divf", "arith.mulf"),
    Rewrite("A", "drop an operand", r"(arith\.mulf (%\S+), )%\S+( :)", r"\1\2\3"),
    Rewrite("A", "reverse a difference", r"arith\.subf (%\S+), (%\S+) :", r"arith.subf \2, \1 :"),
    Rewrite("B", "another scalar", r"tt\.splat %beta1(?=\w* )", "tt.splat %one_minus_beta1"),
    Rewrite("C", "ten times", r"(constant dense<)([-\d.e+]+)(> : \S+xf32>)", _scaled),
    Rewrite("C", "one ulp more", r"(constant dense<)([-\d.e+]+)(> : \S+xf32>)", _next_decimal),
    Rewrite("F", "mask one more", r"(arith\.cmpi) slt(?=.*tensor)", r"\1 sle"),
    Rewrite("F", "full too late", r"(arith\.cmpi) sle(?=, %full)", r"\1 sge"),
    Rewrite("F", "no mask", r"(tt\.load %\w+), %\w+, %\w+ :", r"\1 :"),
    Rewrite("F", "no mask", r"(tt\.store %\w+, %\w+), %\w+ :", r"\1 :"),
    Rewrite("F", "never stored", r"^\s+tt\.store .*$", ""),
    Rewrite("F", "wrong pointer", r"tt\.addptr %p_ptr, ", "tt.addptr %g_ptr, "),
    Rewrite("F", "wrong pointer", r"tt\.splat %p_ptr", "tt.splat %g_ptr"),
    Rewrite("G", "float16 result", _RESULT, _halved("f16")),
    Rewrite("G", "bfloat16 result", _RESULT, _halved("bf16")),
    Rewrite("H", "approximate division", r"tt\.precise_divf", "arith.divf"),
    Rewrite("H", "approximate root", r"tt\.precise_sqrt", "math.sqrt"),
    Rewrite("H", "maximum without NaN", r"arith\.maximumf", "arith.maxnumf"),
    Rewrite("H", "minimum for maximum", r"arith\.maximumf", "arith.minimumf"),
    Rewrite("I", "swap arms", r"(arith\.select %\w+), (%\w+), (%\w+)", r"\1, \3, \2"),
    Rewrite("I", "turn a comparison", r"(arith\.cmpf) ogt", r"\1 olt"),
)
"""Faults of Triton IR."""

PTX = (
    Rewrite("A", "add to sub", r"\badd\.rn\.(f32|f64)", r"sub.rn.\1"),
    Rewrite("A", "sub to add", r"\bsub\.rn\.(f32|f64)", r"add.rn.\1"),
    Rewrite("A", "mul to add", r"\bmul\.rn\.(f32|f64)", r"add.rn.\1"),
    Rewrite("A", "div to mul", r"\bdiv\.rn\.(f32|f64)", r"mul.rn.\1"),
    Rewrite("A", "reverse a difference",
            r"(sub\.rn\.f\d\d\s+%\w+), (%\w+), (%\w+);", r"\1, \3, \2;"),
    Rewrite("A", "drop an operand", r"(mul\.rn\.f\d\d\s+%\w+, (%\w+)), %\w+;", r"\1, \2;"),
    Rewrite("B", "another parameter", r"(ld\.param\.b64 .*_param_)0\]", r"\g<1>1]"),
    Rewrite("B", "another parameter", r"(ld\.param\.b64 .*_param_)1\]", r"\g<1>0]"),
    Rewrite("C", "one ulp more", r"\b0f([0-9A-F]{8})(?<!00000000)", _next_bits),
    Rewrite("C", "sign", r"\b0f3F800000", "0fBF800000"),
    Rewrite("F", "offset one more", r"(\.global\S+ .*\[ %\w+ \+ )0 \]", r"\g<1>4 ]"),
    Rewrite("F", "offset one less", r"(\.global\S+ .*\[ %\w+ \+ )16 \]", r"\g<1>12 ]"),
    Rewrite("F", "no mask", r"^(\s*)@%p\d+ ((?:ld|st)\.global.*)$", r"\1\2"),
    Rewrite("F", "never stored", r"^\s*st\.global.*$", ""),
    Rewrite("F", "mask one more", r"setp\.lt\.s64", "setp.le.s64"),
    Rewrite("F", "mask the other way", r"setp\.gt\.s64", "setp.ge.s64"),
    Rewrite("F", "program size", r"(mul\.wide\.u32\s+%\w+, %\w+, )(\d+);",
            lambda m: f"{m[1]}{int(m[2]) - 4};"),
    Rewrite("F", "element size", r"(shl\.b64\s+%\w+, %\w+, )2;", r"\g<1>1;"),
    Rewrite("G", "round to zero", r"cvt\.rn\.(\S+)", r"cvt.rz.\1"),
    Rewrite("G", "float16 result", r"^(\s*)((?:mul|add)\.rn\.f32\s+(%\w+), .*)$",
            r"\1\2\n\1cvt.rn.f16.f32 %cut1, \3;\n\1cvt.f32.f16 \3, %cut1;"),
    Rewrite("H", "approximate division", r"div\.rn\.f32", "div.full.f32"),
    Rewrite("H", "approximate division", r"div\.rn\.f32", "div.approx.f32"),
    Rewrite("H", "approximate root", r"sqrt\.rn\.f32", "sqrt.approx.f32"),
    Rewrite("H", "flushing root", r"sqrt\.rn\.f32", "sqrt.approx.ftz.f32"),
    Rewrite("H", "flush subnormals", r"\b(add|mul|sub)\.rn\.f32", r"\1.rn.ftz.f32"),
    Rewrite("H", "maximum without NaN", r"max\.NaN\.f32", "max.f32"),
    Rewrite("H", "minimum for maximum", r"max\.NaN\.f32", "min.NaN.f32"),
    Rewrite("H", "round to zero", r"\b(add|mul|div)\.rn\.f32", r"\1.rz.f32"),
    Rewrite("I", "negate a predicate", r"@(!?)(%p\d+) bra",
            lambda m: f"@{'' if m[1] else '!'}{m[2]} bra"),
    Rewrite("I", "swap arms", r"(selp\.\S+\s+%\w+), (\S+), (\S+), ", r"\1, \3, \2, "),
)  # fmt: skip
"""Faults of PTX."""


def mutants(
    spec: Spec, options: Options, level: str, text: str, dtype: str = "fp32"
) -> Iterator[Mutant]:
    """Every single fault of Triton IR or PTX.

    Args:
        spec: The spec.
        options: The option set that it was compiled for.
        level: "ttir" or "ptx".
        text: The text.
        dtype: Type of the tensors.
    """
    lines = text.split("\n")
    seen = {text}
    for rewrite in TTIR if level == "ttir" else PTX:
        sites = 0
        for index, line in enumerate(lines):
            if level == "ptx" and index < 3:
                continue
            new = re.sub(rewrite.pattern, rewrite.new, line, count=1)
            if new == line:
                continue
            changed = "\n".join([*lines[:index], new, *lines[index + 1 :]])
            if "%cut" in new and level == "ptx":
                changed = _declared(changed)
            if changed in seen:
                continue
            seen.add(changed)
            what = f"line {index + 1}, {' '.join(line.split())[:70]}"
            yield Mutant(
                spec, options, level, rewrite.kind, rewrite.operator, what, {}, changed, dtype
            )
            sites += 1
            if sites == SITES:
                break
    if level == "ptx":
        yield from _contracted(spec, options, lines, dtype)
        if dtype == "fp32":
            yield from _needle(spec, options, text)


def _contracted(spec: Spec, options: Options, lines: list[str], dtype: str) -> Iterator[Mutant]:
    """Products and sums made into one instruction."""
    products: dict[str, tuple[str, str]] = {}
    found = 0
    for index, line in enumerate(lines):
        if product := re.match(r"\s+mul\.rn\.f32 \t(%r\w+), (%r\w+), (%r\w+);", line):
            products[product[1]] = product[2], product[3]
        total = re.match(r"(\s+)add\.rn\.f32 \t(%r\w+), (%r\w+), (%r\w+);", line)
        if total and total[3] in products and found < SITES:
            a, b = products[total[3]]
            fused = f"{total[1]}fma.rn.f32 \t{total[2]}, {a}, {b}, {total[4]};"
            changed = "\n".join([*lines[:index], fused, *lines[index + 1 :]])
            what = f"line {index + 1}, {' '.join(line.split())}"
            yield Mutant(spec, options, "ptx", "H", "contract", what, {}, changed, dtype)
            found += 1


def _needle(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Right but where an element has one value."""
    load = re.search(r"ld\.global\.v4\.b32 \{ (%r\d+),", text)
    store = re.search(r"^(\s*)st\.global\.v4\.b32 .*\{ (%r\d+),", text, re.MULTILINE)
    if load and store:
        pad, stored = store[1], store[2]
        wrong = f"{pad}setp.eq.f32 %cutp1, {load[1]}, {NEEDLE};\n"
        wrong += f"{pad}selp.f32 {stored}, 0f3F800000, {stored}, %cutp1;\n"
        changed = _declared(text[: store.start()] + wrong + text[store.start() :])
        what = f"{stored} where {load[1]} is {NEEDLE}"
        yield Mutant(spec, options, "ptx", "I", "wrong for one value", what, {}, changed)


def _declared(text: str) -> str:
    """With registers for what is added."""
    registers = "\n{\n\t.reg .b16 \t%cut<2>;\n\t.reg .pred \t%cutp<2>;"
    return text.replace("\n{", registers, 1)
