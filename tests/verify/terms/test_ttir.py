"""Triton IR as terms: lifted values against NumPy, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.verify.terms import terms, ttir, ttir_text
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.lifted import Lifted, Pointer, Refuted, Unsupported, findings
from stepforge.verify.terms.offsets import SIZE
from stepforge.verify.terms.terms import FLOATS, apply, constant, load, scalar

BLOCK = 8
HEAD = """\
module {
  tt.func public @k(%p: !tt.ptr<f32> {tt.divisibility = 16 : i32}, %x: !tt.ptr<f32>, \
%y: !tt.ptr<f32>, %n: i64, %a: f64) attributes {noinline = false} {
    %pid = tt.get_program_id x : i32
    %pid_0 = arith.extsi %pid : i32 to i64
    %block = arith.constant 8 : i64
    %start = arith.muli %pid_0, %block : i64
    %range = tt.make_range {end = 8 : i32, start = 0 : i32} : tensor<8xi32>
    %wide = arith.extsi %range : tensor<8xi32> to tensor<8xi64>
    %starts = tt.splat %start : i64 -> tensor<8xi64>
    %index = arith.addi %starts, %wide : tensor<8xi64>
    %ns = tt.splat %n : i64 -> tensor<8xi64>
    %mask = arith.cmpi slt, %index, %ns : tensor<8xi64>
    %zero = arith.constant dense<0.000000e+00> : tensor<8xf32>
    %one = arith.constant dense<1.000000e+00> : tensor<8xf32>
"""
LOAD = """\
    %{0}s = tt.splat %{0} : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>>
    %{0}p = tt.addptr %{0}s, %index : tensor<8x!tt.ptr<f32>>, tensor<8xi64>
    %{1} = tt.load %{0}p, %mask, %zero : tensor<8x!tt.ptr<f32>>
"""
STORE = """\
    %ps = tt.splat %p : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>>
    %pp = tt.addptr %ps, %index : tensor<8x!tt.ptr<f32>>, tensor<8xi64>
    tt.store %pp, %R, %mask : tensor<8x!tt.ptr<f32>>
    tt.return
  }
}
"""


def kernel(lines: str) -> str:
    """A kernel that stores %R, computed from %X, %Y and the scalar %a."""
    body = "".join(f"    {line}\n" for line in lines.strip().split("\n"))
    return HEAD + LOAD.format("x", "X") + LOAD.format("y", "Y") + body + STORE


BINDINGS = [*(Pointer(name, "f32") for name in "pxy"), SIZE, terms.scalar("a")]


def lift(text: str, block: int = BLOCK) -> Lifted:
    return ttir.lift(text, BINDINGS, block)


def stored(found: Lifted) -> terms.Term:
    (value,) = {access.value for path in found.paths for access in path.stores}
    for path in found.paths:
        assert list(findings(path, BLOCK, ["p"])) == []
    return value


def f32(op: str, operands: str = "%X, %Y") -> str:
    return f"%R = {op} {operands} : tensor<8xf32>"


def compared(predicate: str) -> str:
    return (
        f"%c = arith.cmpf {predicate}, %X, %Y : tensor<8xf32>\n"
        "%R = arith.select %c, %one, %Y : tensor<8xi1>, tensor<8xf32>"
    )


Reference = Callable[[Any, Any, Any], Any]


def chosen(test: Callable[[Any, Any], Any]) -> Reference:
    return lambda x, y, a: np.where(test(x, y), np.float32(1), y)


def either_nan(x: Any, y: Any) -> Any:
    return np.isnan(x) | np.isnan(y)


SPLAT = "%a32 = arith.truncf %a : f64 to f32\n%as = tt.splat %a32 : f32 -> tensor<8xf32>\n"
OPERATIONS: dict[str, Reference] = {
    f32("arith.addf"): lambda x, y, a: x + y,
    f32("arith.subf"): lambda x, y, a: x - y,
    f32("arith.mulf"): lambda x, y, a: x * y,
    f32("tt.precise_divf"): lambda x, y, a: x / y,
    f32("arith.negf", "%X"): lambda x, y, a: -x,
    f32("math.absf", "%X"): lambda x, y, a: np.abs(x),
    f32("tt.precise_sqrt", "%X"): lambda x, y, a: np.sqrt(x),
    f32("arith.maximumf"): lambda x, y, a: np.maximum(x, y),
    f32("arith.minimumf"): lambda x, y, a: np.minimum(x, y),
    f32("arith.maxnumf"): lambda x, y, a: np.fmax(x, y),
    f32("arith.minnumf"): lambda x, y, a: np.fmin(x, y),
    f"{SPLAT}{f32('arith.mulf', '%X, %as')}": lambda x, y, a: x * np.float32(a),
    "%w = arith.extf %X : tensor<8xf32> to tensor<8xf64>\n"
    "%v = arith.addf %w, %w : tensor<8xf64>\n"
    "%as = tt.splat %a : f64 -> tensor<8xf64>\n"
    "%u = arith.divf %v, %as : tensor<8xf64>\n"
    "%R = arith.truncf %u : tensor<8xf64> to tensor<8xf32>":
        lambda x, y, a: ((x.astype(np.float64) * 2) / a).astype(np.float32),
    "%h = arith.truncf %X : tensor<8xf32> to tensor<8xf16>\n"
    "%R = arith.extf %h : tensor<8xf16> to tensor<8xf32>":
        lambda x, y, a: x.astype(np.float16).astype(np.float32),
    "%h = arith.truncf %X : tensor<8xf32> to tensor<8xbf16>\n"
    "%R = arith.extf %h : tensor<8xbf16> to tensor<8xf32>":
        lambda x, y, a: x.astype(FLOATS["bf16"]).astype(np.float32),
    "%c = arith.constant dense<0x3DCCCCCD> : tensor<8xf32>\n%R = arith.mulf %X, %c : tensor<8xf32>":
        lambda x, y, a: x * np.float32(0.1),
    compared("olt"): chosen(lambda x, y: x < y),
    compared("ole"): chosen(lambda x, y: x <= y),
    compared("ogt"): chosen(lambda x, y: x > y),
    compared("oge"): chosen(lambda x, y: x >= y),
    compared("oeq"): chosen(lambda x, y: x == y),
    compared("une"): chosen(lambda x, y: x != y),
    compared("one"): chosen(lambda x, y: (x < y) | (x > y)),
    compared("ueq"): chosen(lambda x, y: (x == y) | either_nan(x, y)),
    compared("ult"): chosen(lambda x, y: ~(x >= y)),
    compared("uge"): chosen(lambda x, y: ~(x < y)),
    compared("ord"): chosen(lambda x, y: ~either_nan(x, y)),
    compared("uno"): chosen(either_nan),
    "%c = arith.cmpf ogt, %X, %Y : tensor<8xf32>\n"
    "%R = arith.uitofp %c : tensor<8xi1> to tensor<8xf32>":
        lambda x, y, a: (x > y).astype(np.float32),
    "%c = arith.cmpf ogt, %X, %Y : tensor<8xf32>\n%d = arith.cmpf olt, %X, %one : tensor<8xf32>\n"
    "%e = arith.xori %c, %d : tensor<8xi1>\n%f = arith.andi %e, %c : tensor<8xi1>\n"
    "%R = arith.select %f, %X, %Y : tensor<8xi1>, tensor<8xf32>":
        lambda x, y, a: np.where(((x > y) ^ (x < 1)) & (x > y), x, y),
}  # fmt: skip


@pytest.mark.parametrize("lines", OPERATIONS)
def test_lifted_values_are_those_of_numpy(lines: str) -> None:
    rng = np.random.default_rng(3)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.0, 1e-40, 0.3])
    x, y = (g.ravel() for g in np.meshgrid(special, special))
    drawn = rng.normal(size=(2, 100)) * 2.0 ** rng.integers(-9, 9, (2, 100))
    at = {"x": np.append(x, drawn[0]), "y": np.append(y, drawn[1])}
    found = {name: v.astype(np.float32) for name, v in at.items()}
    got = evaluate(stored(lift(kernel(lines))), {**found, "a": 0.1})
    with np.errstate(all="ignore"):
        wanted = OPERATIONS[lines](found["x"], found["y"], 0.1)
    np.testing.assert_array_equal(got, wanted)


def test_language_division_and_root_are_not_the_exact_ones() -> None:
    x, y = load("x", "f32"), load("y", "f32")
    assert stored(lift(kernel(f32("arith.divf")))) is not apply("div", x, y)
    assert stored(lift(kernel(f32("tt.precise_divf")))) is apply("div", x, y)
    assert stored(lift(kernel(f32("math.sqrt", "%X")))) is not apply("sqrt", x)


@pytest.mark.parametrize(
    "line",
    ["%R = math.sin %X : tensor<8xf32>",
     "%R = tt.atomic_rmw fadd, acq_rel, gpu, %xp, %X, %mask : tensor<8xf32>",
     "%R = arith.addf %X, %Q : tensor<8xf32>", "%i = arith.muli %n, %n : i64",
     "%q = tt.get_program_id y : i32", "%r = tt.load %n : !tt.ptr<f32>",
     "%b = tt.bitcast %X : tensor<8xf32> -> tensor<4xi64>", "this is no operation",
     '%R = "tt.reduce"(%X) <{axis = 0 : i32}> ({',
     "%R = arith.cmpf sometimes, %X, %Y : tensor<8xf32>",
     "%f = arith.sitofp %n : i64 to f32"],
)  # fmt: skip
def test_an_unknown_operation_is_unsupported_with_its_line(line: str) -> None:
    text = kernel(f"{line}\n{f32('arith.addf')}")
    with pytest.raises(Unsupported) as caught:
        lift(text)
    assert text.split("\n")[caught.value.line - 1].strip() == line


def test_loops_are_unsupported_and_branches_on_values_too() -> None:
    loop = "%R = scf.for %i = %c0 to %c9 step %c1 iter_args(%s = %X) -> (tensor<8xf32>) {\n"
    with pytest.raises(Unsupported, match=r"scf\.for"):
        lift(kernel(f"{loop}scf.yield %s : tensor<8xf32>\n}}"))
    with pytest.raises(Unsupported, match="a branch on values"):
        lift(kernel(branch("%c = arith.cmpf ogt, %X, %Y : f32")))


def branch(condition: str) -> str:
    lines = condition + "\n%R = scf.if %c -> (tensor<8xf32>) {"
    return f"{lines}\nscf.yield %X : tensor<8xf32>\n}} else {{\nscf.yield %Y : tensor<8xf32>\n}}"


def test_a_branch_on_a_host_scalar_is_a_choice_for_all_elements() -> None:
    test = "%z = arith.constant 0.0 : f64\n%c = arith.cmpf ogt, %a, %z : f64"
    found = lift(kernel(branch(test)))
    condition = apply("gt", scalar("a"), constant(0.0, "f64"))
    stored_values = {access.value for access in found.stores()}
    assert stored_values == {apply("select", condition, load("x", "f32"), load("y", "f32"))}


def test_a_branch_on_n_makes_two_paths() -> None:
    lines = """\
%end = arith.addi %start, %block : i64
%full = arith.cmpi sle, %end, %n : i64
%R = scf.if %full -> (tensor<8xf32>) {
%u = arith.addf %X, %Y : tensor<8xf32>
scf.yield %u : tensor<8xf32>
} else {
scf.yield %X : tensor<8xf32>
}"""
    found = lift(kernel(lines))
    read = {
        bool(path.facts.below[1:])
        and frozenset(n.data for n in terms.nodes([path.stores[0].value]) if n.op == "load")
        for path in found.paths
    }
    assert read == {frozenset("xy"), frozenset("x")}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("arith.cmpi slt, %index", "arith.cmpi sle, %index", "behind the last element"),
        ("tt.load %yp, %mask, %zero", "tt.load %yp", "behind the last element of `y`"),
        ("tt.store %pp, %R, %mask", "tt.store %pp, %R", "behind the last element of `p`"),
        ("%start = arith.muli %pid_0, %block : i64",
         "%b = arith.constant 8 : i32\n    %s = arith.muli %pid, %b : i32\n"
         "    %start = arith.extsi %s : i32 to i64", "32 bits reaches"),
        ("%p: !tt.ptr<f32>", "%p: !tt.ptr<f64>", "not the address of f32"),
        ("%a: f64", "%a: f32", "is f32, not f64"),
        ("%n: i64", "%n: i32", "32 bits reaches"),
        (", %a: f64", "", "4 parameters, not 5"),
    ],
)  # fmt: skip
def test_wrong_kernels_are_refuted(old: str, new: str, what: str) -> None:
    text = kernel(f32("arith.addf"))
    stored(lift(text))
    assert old in text
    with pytest.raises(Refuted, match=what):
        lift(text.replace(old, new))


@pytest.mark.parametrize("step", [4, 16])
def test_another_stride_is_refuted(step: int) -> None:
    text = kernel(f32("arith.addf"))
    old = "%block = arith.constant 8 : i64"
    assert old in text
    assert wrong(text) == []
    assert wrong(text.replace(old, f"%block = arith.constant {step} : i64"))
    assert wrong(text.replace("end = 8 : i32, start = 0", "end = 9 : i32, start = 1"))


def wrong(text: str) -> list[str]:
    """What is wrong with the accesses of a kernel."""
    try:
        found = lift(text)
    except Refuted as error:
        return [str(error)]
    return [what for path in found.paths for _, what in findings(path, BLOCK, ["p"])]


def test_text_that_is_no_module_is_unsupported() -> None:
    for text in ("", "module {", "nonsense", HEAD, kernel("").replace("}\n}", "")):
        with pytest.raises(Unsupported):
            lift(text)


def test_lines_of_the_source_go_through_calls() -> None:
    text = """\
#loc = loc("k.py":3:0)
#loc1 = loc("k.py":7:12)
#loc2 = loc("k.py":20:5)
#loc3 = loc("x"(#loc1))
#loc4 = loc(callsite(#loc2 at #loc1))
module {
  %0 = arith.addf %a, %b : f32 loc(#loc3)
  %1 = arith.addf %a, %b : f32 loc(#loc4)
  %2 = arith.addf %a, %b : f32 loc(#loc2)
}"""
    assert ttir_text.source_lines(text) == {7: 7, 8: 7, 9: 20}
