"""Faults in one generated file: the kernel, its launcher, or the NumPy reference."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stepforge.backends.python import number
from stepforge.language.names import kernel_of
from stepforge.language.spec import Options, Spec, holds
from stepforge.mutate.mutant import Mutant

Edit = tuple[str, str, int, str]
"""Class, operator, index of the line, what takes its place."""
NEEDLE = "0.6180339"
"""A value that no input of any rung has."""


@dataclass(frozen=True)
class _File:
    """A generated file.

    Attributes:
        lines: Its lines.
        kernel: Indices of the kernel's lines that these options compile.
        launcher: Indices of the lines of `step`.
    """

    lines: list[str]
    kernel: list[int]
    launcher: list[int]

    @classmethod
    def of(cls, text: str, spec: Spec, options: Options) -> _File:
        """Finds the lines that run."""
        known = {name.upper(): value for name, value in options.items()} | dict(options)
        functions = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
        parts = [
            sorted({i - 1 for i in _running(functions[name].body, known)}) if name in functions
            else []
            for name in (kernel_of(spec), "step")
        ]  # fmt: skip
        return cls(text.split("\n"), *parts)

    def with_line(self, index: int, new: str) -> str:
        """The text with other lines in the place of one; of two, if it ends with `#`."""
        lines = list(self.lines)
        lines[index : index + 1 + new.endswith("\n#")] = [new.removesuffix("\n#")]
        return "\n".join(lines)


def _running(body: Sequence[ast.stmt], known: dict[str, bool]) -> Iterator[int]:
    for s in body:
        if isinstance(s, ast.If):
            try:
                chosen = _truth(s.test, known)
                yield from _running(s.body if chosen else s.orelse, known)
            except KeyError:
                yield s.lineno
                yield from _running([*s.body, *s.orelse], known)
        elif not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)):
            yield from range(s.lineno, (s.end_lineno or s.lineno) + 1)


def _truth(test: ast.expr, known: dict[str, bool]) -> bool:
    match test:
        case ast.Name(id=name):
            return known[name]
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _truth(inner, known)
        case ast.BoolOp(op=op, values=values):
            found = [_truth(v, known) for v in values]
            return all(found) if isinstance(op, ast.And) else any(found)
    raise KeyError


def mutants(spec: Spec, options: Options, text: str, backend: str = "triton") -> Iterator[Mutant]:
    """Every single fault of a file with a kernel under one set of options."""
    file = _File.of(text, spec, options)
    seen = {text}
    for dtype, edits in (
        ("fp32", [*_memory(file, spec, options), *_types(file), *_instructions(file),
                  *_control(file), *_launch(file, spec), *_cheats(file, spec), *_table(file)]),
        ("bf16", list(_narrow(file))),
        ("fp64", list(_wide(file))),
    ):  # fmt: skip
        for kind, operator, index, new in edits:
            changed = completed(file.with_line(index, new))
            if changed not in seen:
                seen.add(changed)
                what = f"{file.lines[index].strip()} -> {new.strip() or 'nothing'}"
                files = {backend: changed}
                yield Mutant(spec, options, backend, kind, operator, what, files, dtype=dtype)


def equivalents(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Rewritings of the Triton file that change no bit."""
    file = _File.of(text, spec, options)
    for index in file.kernel:
        line = file.lines[index]
        rewritings = [
            ("commute", r"(\w+ = )(\w+) \* (\w+)$", r"\1\3 * \2"),
            ("square", r"\((\w+) \* \1\)", r"square(\1)"),
            ("other order of a sum", r"start \+ offsets", "offsets + start"),
            ("mask the other way", r"start \+ offsets < n", "n > start + offsets"),
            ("no other", r", other=0\.0", ""),
            ("subtract the negative", r"(\w+ = \w+) - (.+)$", r"\1 + neg(\2)"),
        ]
        for operator, pattern, new in rewritings:
            changed = re.sub(pattern, new, line, count=1)
            if changed == line:
                continue
            result = file.with_line(index, changed)
            for name, body in (("square", "x * x"), ("neg", "x * -1.0")):
                if f"{name}(" in changed and f"def {name}(" not in result:
                    result += f"\n\n@triton.jit\ndef {name}(x):\n    return {body}\n"
            what = f"{line.strip()} -> {changed.strip()}"
            yield Mutant(spec, options, "triton", "EQ", operator, what, {"triton": result})


def of_reference(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Faults of the NumPy file alone."""
    file = _File.of(text, spec, options)
    for index in file.launcher:
        line = file.lines[index]
        pad = line[: len(line) - len(line.lstrip())]
        assigned = re.match(r"\s+(\w+) = (.+)$", line)
        edits: list[tuple[str, str, str]] = []
        if assigned and assigned[1] in ("p", "m", "v", "s", "b", "u") and "astype" not in line:
            name = assigned[1]
            needle = f"{name} = np.where(g == {NEEDLE}, {name} + 1, {name})"
            edits.append(("I", "wrong for one value", f"{line}\n{pad}{needle}"))
            huge = f"{name} = np.where(np.abs(g) > 1e18, 0 * {name}, {name})"
            edits.append(("I", "guard for large values", f"{line}\n{pad}{huge}"))
        if line.strip() == "t = float(t)":
            edits.append(("J", "a step late", line.replace("float(t)", "float(t) + 1")))
        if "new[" in line and ".astype(" in line:
            edits.append(
                ("G", "narrow", line.replace(".astype(", ".astype(np.float16).astype(", 1))
            )
        if "return p.astype(dtype)" in line:
            edits.append(("G", "narrow", line.replace("p.astype", "p.astype(np.float16).astype")))
        for kind, operator, new in edits:
            files = {"numpy": file.with_line(index, new)}
            what = f"{line.strip()} -> {new.strip()}"
            yield Mutant(spec, options, "numpy", kind, operator, what, files)


def _each(
    file: _File, indices: Sequence[int], kind: str, operator: str, pattern: str, new: str
) -> Iterator[Edit]:
    """One edit for every match of a pattern."""
    for index in indices:
        line = file.lines[index]
        for match in re.finditer(pattern, line):
            changed = line[: match.start()] + match.expand(new) + line[match.end() :]
            if changed != line:
                yield kind, operator, index, changed


def _memory(file: _File, spec: Spec, options: Options) -> Iterator[Edit]:
    def each(operator: str, pattern: str, new: str) -> Iterator[Edit]:
        return _each(file, file.kernel, "F", operator, pattern, new)

    yield from each("mask one more", r"offsets < n$", "offsets <= n")
    yield from each("mask one less", r"offsets < n$", "offsets < n - 1")
    yield from each("no mask", r", mask=mask(, other=0\.0)?", "")
    yield from each("offset one more", r"start \+ offsets(?=[,)])", "start + offsets + 1")
    yield from each("offset one less", r"start \+ offsets(?=[,)])", "start + offsets - 1")
    yield from each("overlap", r"start \+ offsets(?=[,)])", "start + offsets // 2")
    yield from each("32-bit offsets", r"\.to\(tl\.int64\)", "")
    yield from each("full too early", r"start \+ BLOCK <= n", "start + BLOCK <= n + 1")
    yield from each("always masked", r"full = start \+ BLOCK <= n", "full: tl.constexpr = False")
    yield from each("never stored", r"^(\s+)tl\.store\(.*$", r"\1pass")
    yield from each("stored twice", r"^(\s+)(tl\.store\(.*)$", r"\1\2\n\1\2")
    for name in spec.given[1:]:
        yield from each(
            "gradient stored" if name == "g" else "input stored",
            r"^(\s+)tl\.store\(p_ptr( \+ start \+ offsets), p(.*)$",
            rf"\g<0>\n\1tl.store({name}_ptr\2, {name}\3",
        )
    states = [s.name for s in spec.states if not s.scalar and holds(s.when, options)]
    names = [*spec.given, *states]
    for a, b in zip(names, [*names[1:], names[0]], strict=True):
        if a != b:
            yield from each("wrong pointer", rf"tl\.load\({a}_ptr", f"tl.load({b}_ptr")
            yield from each("wrong pointer", rf"tl\.store\({a}_ptr", f"tl.store({b}_ptr")
            yield from each("wrong value", rf"(tl\.store\({a}_ptr[^,]*), {a}\b", rf"\1, {b}")


def _rule(file: _File) -> list[int]:
    """The lines of the rule: assignments that are no loads, offsets or arrivals."""
    skipped = r"tl\.load|tl\.full\(|program_id|arange|start|real = "
    return [
        i for i in file.kernel
        if re.match(r"\s+\w+ = ", file.lines[i]) and not re.search(skipped, file.lines[i])
    ]  # fmt: skip


def _types(file: _File) -> Iterator[Edit]:
    for kind in ("float16", "bfloat16"):
        cast = f".to(tl.{kind}).to(real)"
        yield from _each(
            file, _rule(file), "G", f"{kind} result", r"= (.*[\w)])$", rf"= (\1){cast}"
        )
        yield from _each(file, file.kernel, "G", f"{kind} load", r"\.to\(real\)", cast)


def _narrow(file: _File) -> Iterator[Edit]:
    """Faults that show with 16-bit parameters."""
    stores = r"(tl\.store\((?:p)_ptr[^,]*), p\b"
    yield from _each(file, file.kernel, "G", "round twice", stores, r"\1, p.to(tl.float16)")
    toward_zero = r'\1, p.to(tl.bfloat16, fp_downcast_rounding="rtz")'
    yield from _each(file, file.kernel, "G", "round to zero", stores, toward_zero)


def _wide(file: _File) -> Iterator[Edit]:
    """Faults that show in float64."""
    arrive = r"(\w+) = tl\.full\(\(\), \1, real\)"
    single = r"\1 = tl.full((), \1, tl.float32).to(real)"
    yield from _each(file, file.kernel, "G", "float32 scalar", arrive, single)


def _instructions(file: _File) -> Iterator[Edit]:
    everywhere = [i for i, line in enumerate(file.lines) if not line.startswith("def ")]

    def each(operator: str, pattern: str, new: str) -> Iterator[Edit]:
        return _each(file, everywhere, "H", operator, pattern, new)

    yield from each("approximate", r"(?<=, )EXACT\)", "False)")
    yield from each("approximate division", r"tl\.div_rn\(x, y\) if EXACT.* else ", "")
    yield from each("approximate root", r"tl\.sqrt_rn\(x\) if EXACT.* else ", "")
    yield from each("maximum without NaN", r", propagate_nan=tl\.PropagateNan\.ALL", "")
    yield from each("contract", r"enable_fp_fusion=not exact", "enable_fp_fusion=True")
    yield from each("approximate launch", r"EXACT=exact", "EXACT=False")
    yield from each("negate from zero", r"return x \* -1\.0", "return 0.0 - x")
    yield from each("sign of NaN", r"-1\.0, x - x\)", "-1.0, 0.0)")
    for index in _rule(file):
        match = re.fullmatch(r"(\s+\w+ = )(\w+) \* (\w+) \+ (.+)", file.lines[index])
        if match:
            fused = f"{match[1]}tl.fma({match[2]} + 0.0 * {match[3]}, {match[3]}, {match[4]})"
            yield "H", "fuse", index, fused


def of_fast_mode(spec: Spec, options: Options, text: str) -> Iterator[Mutant]:
    """Faults of the arms that exact mode does not take."""
    arms = (
        ("A", "reciprocal of a quotient", "x / y", "y / x"),
        ("A", "no root", "tl.sqrt(x)", "x"),
        ("D", "floor under a root", "tl.sqrt(x)", "tl.sqrt(x + 1e-12)"),
        ("G", "cancel a large number", "x / y", "(x + 4096.0 * y) / y - 4096.0"),
        ("G", "cancel a large number", "tl.sqrt(x)", "(tl.sqrt(x) + 4096.0) - 4096.0"),
        ("G", "float16 result", "x / y", "(x / y).to(tl.float16).to(tl.float32)"),
    )
    for kind, operator, old, new in arms:
        changed = text.replace(f" else {old}\n", f" else {new}\n")
        if changed != text:
            what = f"else {old} -> else {new}"
            files = {"triton": changed}
            yield Mutant(spec, options, "triton", kind, operator, what, files, fast=True)


def _control(file: _File) -> Iterator[Edit]:
    where = r"tl\.where\((\w+), (\w+), (.+)\)$"
    yield from _each(file, file.kernel, "I", "swap arms", where, r"tl.where(\1, \3, \2)")
    yield from _each(file, file.kernel, "I", "negate", r"if full:", "if not full:")
    for index in _rule(file):
        line = file.lines[index]
        name = line.split()[0]
        pad = line[: len(line) - len(line.lstrip())]
        guards = {
            "wrong for one value": f"{name} = tl.where(g == {NEEDLE}, {name} + 1.0, {name})",
            "guard for large values": f"{name} = tl.where(tl.abs(g) > 1e18, 0.0, {name})",
            "guard for NaN": f"{name} = tl.where({name} != {name}, 0.0, {name})",
        }
        for operator, guard in guards.items():
            yield "I", operator, index, f"{line}\n{pad}{guard}"


def _launch(file: _File, spec: Spec) -> Iterator[Edit]:
    def each(operator: str, pattern: str, new: str, kind: str = "J") -> Iterator[Edit]:
        return _each(file, file.launcher, kind, operator, pattern, new)

    yield from each(
        "a program less", r"\(triton\.cdiv\(n, BLOCK\),\)", "(triton.cdiv(n, BLOCK) - 1,)"
    )
    yield from each("full programs alone", r"triton\.cdiv\(n, BLOCK\)", "n // BLOCK")
    yield from each("an element less", r"^(\s+)n,$", r"\1n - 1,")
    yield from each("a step late", r"t = float\(t\)", "t = float(t) + 1")
    yield from each("a step early", r"t = float\(t\)", "t = max(float(t) - 1, 1)")
    for index in file.launcher:
        line = file.lines[index]
        if match := re.fullmatch(r"(\s+one_minus_\w+ = )1 - (\w+)", line):
            new = f"{match[1]}float(np.float32(1) - np.float32({match[2]}))"
            yield "J", "scalar in float32", index, new
    arguments = [i for i in file.launcher if re.fullmatch(r"\s{12}[\w\[\]\"]+,", file.lines[i])]
    for a, b in pairwise(arguments):
        if b == a + 1 and "n," not in (file.lines[a].strip(), file.lines[b].strip()):
            a_text, b_text = file.lines[a].strip(), file.lines[b].strip()
            yield "J", "swap arguments", a, f"            {b_text} {a_text}\n#"
    for index, line in enumerate(file.lines):
        if re.fullmatch(r"    \w+: tl\.float64,", line):
            yield "J", "float32 argument", index, line.replace(": tl.float64", "")
        if re.fullmatch(r"    n: tl\.int64,", line):
            yield "J", "32-bit size", index, line.replace("int64", "int32")
        if match := re.fullmatch(r"(\s+state\[\"\w+\"\] = )(real\.new_full\(p\.shape, 0\))", line):
            yield "J", "other start", index, f"{match[1]}real.new_full(p.shape, 1)"
        if match := re.fullmatch(r"(\s+state\[\"\w+\"\] = )p\.detach\(\)\.to\(.*\)", line):
            yield "J", "other start", index, f"{match[1]}real.new_full(p.shape, 0)"
        if re.fullmatch(r'    state\["\w+"\] = \w+', line):
            yield "J", "scalar state kept", index, "    pass"
    for h in spec.numbers:
        yield from each("its default", rf"^    {h.name} = float\({h.name}\)$",
                        f"    {h.name} = {number(h.default)}", "C")  # fmt: skip


def _table(file: _File) -> Iterator[Edit]:
    """Faults of what finds the tensors and the numbers of a program in tables."""
    for index in file.kernel:
        line = file.lines[index]
        if match := re.search(r"tl\.load\(row(?: \+ (\d+))?\)", line):
            for place in {int(match[1] or 0) + 1, max(int(match[1] or 0) - 1, 0)}:
                changed = line.replace(match[0], f"tl.load(row + {place})")
                yield ("B" if "bitcast" in line else "F"), "next column", index, changed
    for kind, operator, pattern, new in _TABLE:
        yield from _each(file, range(len(file.lines)), kind, operator, pattern, new)


_TABLE = (
    ("F", "alignment unknown", r"^(\s+)\w+ = tl\.multiple_of\(.*$", r"\1pass"),
    ("F", "other row", r"tl\.load\(program\)", "tl.load(program + 1)"),
    ("F", "other block", r"tl\.load\(program \+ 1\)", "tl.load(program)"),
    ("F", "narrow rows", r"(?<=\* \()\d+ if ON_DEVICE", "1 if ON_DEVICE"),
    ("A", "scaled twice", r"unscaled = g$", "unscaled = g / tl.full((), grad_scale, real)"),
    ("A", "times the scale", r"g = div\(g, (tl\.full.*), EXACT\)", r"g = g * \1"),
    ("J", "a program less", r"\[\(table\.size,\)\]", "[(table.size - 1,)]"),
    ("J", "never scaled", r"SCALED=scaled", "SCALED=False"),
    ("J", "numbers of the launch", r"ON_DEVICE=True", "ON_DEVICE=False"),
    ("J", "type of the gradient", r'p_type=table\.types\["p"\]', 'p_type=table.types["g"]'),
    ("J", "always aligned", r"ALIGNED=table\.aligned", "ALIGNED=True"),
)
"""Class, operator, pattern, and what takes its place, in a multi-tensor file."""


def _cheats(file: _File, spec: Spec) -> Iterator[Edit]:
    for index in file.launcher:
        line = file.lines[index]
        if line.strip() == "n = p.numel()":
            yield "K", "no work", index, "    n = 0"
            yield "K", "large tensors alone", index, f"{line}\n    if n < BLOCK:\n        return"
            whole = f"{line}\n    if n % BLOCK != 0:\n        return"
            yield "K", "whole blocks alone", index, whole
            once = f"{line}\n    if n in SEEN:\n        return\n    SEEN[n] = True"
            yield "K", "first call alone", index, once
            cached = (
                f"{line}\n    if p.data_ptr() in SEEN:\n        return\n    SEEN[p.data_ptr()] = 1"
            )
            yield "K", "first call for an address", index, cached
            for h in spec.hyperparameters[:2]:
                default = f"{line}\n    if {h.name} != {number(h.default)}:\n        return"
                yield "K", "default hyperparameters alone", index, default
            yield "K", "few steps alone", index, f"{line}\n    if t > 10:\n        return"
    last = [i for i in _rule(file) if re.match(r"\s+p = ", file.lines[i])][-1:]
    for index in last:
        line = file.lines[index]
        yield "K", "copy the gradient", index, f"{line}\n    p = g"
        yield "K", "a constant", index, f"{line}\n    p = p * 0.0"


def completed(text: str) -> str:
    """Names that some faults need, defined at the top of the file."""
    if "SEEN" in text:
        text = text.replace("\nBLOCK = ", "\nSEEN = {}\nBLOCK = ", 1)
    if "np." in text and "import numpy" not in text:
        text = text.replace("\nimport triton\n", "\nimport numpy as np\nimport triton\n", 1)
    return text
