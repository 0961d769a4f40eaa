"""R3 and R7: stock kernels are proved to the bit, planted faults refuted with their lines."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, stock

from stepforge.verify.certificate import Status, Verdict
from stepforge.verify.files.generated import fresh
from verify.support import Edit, copy_of, edit, here, task, workers

PLAIN = {"amsgrad": False, "maximize": False}
DECAY = "    p = p - lr_times_weight_decay * p\n"
START = "start = tl.program_id(0).to(tl.int64) * BLOCK"


@dataclass(frozen=True)
class Fault:
    """A fault in adamw's Triton file, and what has to be found.

    Attributes:
        edits: The fault.
        rungs: The rungs that refute it.
        detail: In the reason.
        spec: In the first line of the spec that is not computed; "" if no formula is wrong.
        source: In the first wrong line of the generated file.
        artefact: In the first wrong line of Triton IR (R3) and of PTX (R7).
        only: With this, the tensor that is wrong.
    """

    edits: list[Edit]
    rungs: tuple[str, ...] = ("R3", "R7")
    detail: str = ""
    spec: str = ""
    source: str = ""
    artefact: tuple[str, str] = ("", "")
    only: str = ""


M = "m = beta1*m + (1 - beta1)*g"
V = "v = beta2*v + (1 - beta2)*g**2"
P = "p = p - lr/(1 - beta1**t) * m / (sqrt(v_hat) + eps)"

FAULTS = {
    "a hyperparameter at its default": Fault(
        [("beta1 = tl.full((), beta1, real)", "beta1 = tl.full((), 0.9, real)")],
        detail="differs from the rule's", spec=M, source="m = beta1 * m",
    ),
    "a constant one ulp off": Fault(
        [("    v = beta2 * v", "    g = g * 1.0000001\n    v = beta2 * v")],
        detail="differs from the rule's", spec=V, source="g * 1.0000001",
        artefact=("arith.mulf", "mul"),
    ),
    "eps moved": Fault(
        [("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat + eps, EXACT)")],
        detail="`p` differs", spec=P, source="sqrt(v_hat + eps, EXACT)", only="p",
        artefact=("arith.addf", "add.rn.f32"),
    ),
    "a sign": Fault(
        [("p = p - div(", "p = p + div(")], detail="`p` differs", spec=P, source="p = p + div(",
        artefact=("arith.addf", "add.rn.f32"),
    ),
    "a stale state": Fault(
        [
            ("        tl.store(v_ptr + start + offsets, v)\n", ""),
            ("        tl.store(v_ptr + start + offsets, v, mask=mask)\n", ""),
        ],
        detail="never writes `v`",
    ),
    "the old state in the step": Fault(
        [
            ("    m = beta1 * m + ", "    old = m\n    m = beta1 * m + "),
            ("_to_t * m, sqrt", "_to_t * old, sqrt"),
        ],
        detail="`p` differs", spec="m = beta1*m", source="_to_t * old", only="p",
    ),
    "a mask with <=": Fault(
        [("mask = start + offsets < n", "mask = start + offsets <= n")],
        detail="behind the last element of `p` for some n", source="tl.load(p_ptr",
        artefact=("tt.load", "ld.global"),
    ),
    "a mask that leaves out the last element": Fault(
        [("mask = start + offsets < n", "mask = start + offsets < n - 1")],
        detail="not all elements of `p` below n", artefact=("tt.load", "ld.global"),
    ),
    "offsets in 32 bits": Fault(
        [(START, "start = tl.program_id(0) * BLOCK")], detail="bits reaches 2199023254528",
        source="start = tl.program_id(0) * BLOCK", artefact=("arith.muli", "shl.b32"),
    ),
    "a stride that is no block": Fault(
        [(START, "start = tl.program_id(0).to(tl.int64) * (BLOCK // 2)")], detail="`p`",
    ),
    "float16 in between": Fault(
        [("    v = beta2 * v", "    g = g.to(tl.float16).to(real)\n    v = beta2 * v")],
        detail="computed in f16", spec="v = ", source="g.to(tl.float16)",
        artefact=("arith.truncf", "cvt.rn.f16.f32"),
    ),
    "a host scalar in float32": Fault(
        [
            ("import triton\n", "import numpy as np\nimport triton\n"),
            (
                "one_minus_beta2 = 1 - beta2\n",
                "one_minus_beta2 = float(np.float32(1) - np.float32(beta2))\n",
            ),
        ],
        detail="computed in f32", spec=V,
    ),
    "a host scalar at its default": Fault(
        [("    eps = float(eps)\n", "    eps = 1e-08\n")], detail="`p` differs", spec=P, only="p",
    ),
    "states swapped": Fault(
        [
            (
                '            state["m"],\n            state["v"],\n',
                '            state["v"],\n            state["m"],\n',
            )
        ],
        detail="", spec="",
    ),
    "the gradient is written": Fault(
        [
            (
                "        tl.store(p_ptr + start + offsets, p)\n",
                "        tl.store(p_ptr + start + offsets, p)\n"
                "        tl.store(g_ptr + start + offsets, g)\n",
            )
        ],
        detail="writes `g`", artefact=("tt.store", "st.global"),
    ),
    "a neighbour's element": Fault(
        [
            (
                "g = tl.load(g_ptr + start + offsets).to(real)",
                "g = tl.load(g_ptr + start + BLOCK - 1 - offsets).to(real)",
            )
        ],
        detail="another element of `g`", artefact=("tt.store", "st.global"),
    ),
    "approximate in exact mode": Fault(
        [("return tl.sqrt_rn(x) if EXACT", "return tl.sqrt(x) if EXACT")], rungs=(),
    ),
    "num_warps": Fault([("num_warps=4", "num_warps=8")], rungs=("R3",), detail="num_warps=8"),
    "fusion": Fault(
        [("enable_fp_fusion=not exact", "enable_fp_fusion=True")], rungs=("R3",),
        detail="enable_fp_fusion=True",
    ),
    "approximate launches": Fault(
        [("EXACT=exact", "EXACT=False")], rungs=("R3",), detail="EXACT=False, not True"
    ),
    "an option": Fault([("MAXIMIZE=maximize", "MAXIMIZE=True")], rungs=("R3",), detail="MAXIMIZE"),
    "a grid that is too small": Fault(
        [("triton.cdiv(n, BLOCK)", "triton.cdiv(n, 2 * BLOCK)")], rungs=("R3", "R7"),
        detail="cdiv(n, BLOCK)", source="",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_refuted_with_its_lines(what: str, tmp_path: Path) -> None:
    fault = FAULTS[what]
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", fault.edits)
    verdicts = {verdict.rung: verdict for verdict in run(folder)}
    for rung in ("R3", "R7"):
        verdict = verdicts[rung]
        if rung not in fault.rungs:
            assert verdict.strength != "bits" or rung == "R7", verdict
            continue
        assert verdict.status is Status.REFUTED, verdict
        assert fault.detail in verdict.detail, verdict
        counter = verdict.counterexample
        shown = verdict.detail
        if fault.spec:
            assert counter is not None
            assert fault.spec in counter.spec_line
            assert counter.spec_line.startswith("specs/adamw.toml:")
            assert counter.expected != counter.got
            assert counter.inputs
            assert fault.only in ("", counter.tensor)
            shown = f"{counter.generated_line}\n{counter.artefact_line}"
            assert "adamw.py:" in counter.generated_line
            assert ("Triton IR" if rung == "R3" else "PTX for sm_80") in counter.artefact_line
        assert fault.source in shown, verdict
        assert fault.artefact[0 if rung == "R3" else 1] in shown, verdict


def run(folder: Path, rungs: tuple[str, ...] = ("R3", "R7"), name: str = "adamw") -> list[Verdict]:
    """The verdicts about the kernel for one tensor."""
    options = PLAIN if name == "adamw" else None
    group = [task(rung, folder, name, options) for rung in rungs]
    return list(workers().execute([tuple(replace(t, backends=("triton",)) for t in group)]))


@pytest.mark.parametrize("name", ["adamw", "radam"])
def test_a_stock_optimizer_is_proved_to_the_bit(name: str) -> None:
    """With all of its options on: `verify` proves every set."""
    folder = ROOT / "generated"
    sets = list(stock(name).option_sets())[-1:]
    groups = [tuple(task(rung, folder, name, options) for rung in ("R3", "R7")) for options in sets]
    found = list(workers().execute(groups))
    assert len(found) == 2 * len(sets)
    for verdict in found:
        assert (verdict.status, verdict.strength) == (Status.PROVED, "bits"), verdict
        assert verdict.values > 0


REWRITTEN: dict[str, tuple[list[Edit], str]] = {
    "nothing": ([], "bits"),
    "operands commuted": ([("m = beta1 * m + ", "m = m * beta1 + ")], "bits"),
    "factored": (
        [("    m = beta1 * m + one_minus_beta1 * g\n", "    m = m + one_minus_beta1 * (g - m)\n")],
        "reals",
    ),
    "a product of another order": (
        [("one_minus_beta2 * (g * g)", "one_minus_beta2 * g * g")], "reals",
    ),
    "an explicit FMA": (
        [
            (
                "    m = beta1 * m + one_minus_beta1 * g\n",
                "    m = tl.fma(beta1 + 0.0 * m, m, one_minus_beta1 * g)\n",
            )
        ],
        "reals",
    ),
    "a factor that matters to subnormal numbers": (
        [("sqrt(v_hat, EXACT) + eps", "sqrt(v_hat * 0.25, EXACT) * 2.0 + eps")], "reals",
    ),
    "a decay of zero that is multiplied": (
        [("if weight_decay_differs_from_zero != 0:", "if n >= 0:")], "reals",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REWRITTEN)
def test_what_is_equal_over_the_reals_alone_does_not_pass(what: str, tmp_path: Path) -> None:
    edits, strength = REWRITTEN[what]
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "triton" / "adamw.py", edits)
    for verdict in run(folder):
        if strength == "bits":
            assert (verdict.status, verdict.strength) == (Status.PROVED, "bits"), verdict
        else:
            assert verdict.status is Status.REFUTED, verdict
            assert "the formula is the rule's" in verdict.detail
            assert verdict.counterexample is not None
            assert verdict.counterexample.expected != verdict.counterexample.got


@pytest.mark.parametrize(
    ("number", "at"),
    [
        ("1 / (lr - 0.1234)", {"lr": 0.1234}),
        ("(beta1 - 0.625) ** -1", {"beta1": 0.625}),
        ("10.0 ** (t - 1357)", {"t": 1666}),
        ("lr ** (eps * 1e300)", {"lr": 3.0, "eps": 0.5}),
    ],
)
def test_an_exception_that_the_rule_does_not_have_is_none_of_the_file(
    number: str, at: dict[str, float], tmp_path: Path
) -> None:
    """It comes with the input that raises it, which no random one would be."""
    folder = copy_of("adamw", tmp_path / "generated")
    path = folder / "numpy" / "adamw.py"
    edit(path, [("    v_hat = ", f"    unused = {number}\n    v_hat = ")])
    p = np.ones(2, np.float32)
    module = fresh(path)
    state = module.init(p)
    given = {"t": 1} | at
    module.step(p, p, state, **given | {next(iter(at)): 1 if "t" in at else 0.5})
    with pytest.raises(ArithmeticError):
        module.step(p, p, state, **given)
    (verdict,) = run(folder, ("R3",))
    assert verdict.status is Status.UNSUPPORTED
    assert "may raise an exception, and the rule computes no such number" in verdict.detail
    assert f"{path}:" in verdict.detail


@pytest.mark.parametrize("backend", ["numpy", "triton"])
def test_a_number_that_has_left_its_condition_is_none_of_the_file(
    backend: str, tmp_path: Path
) -> None:
    """RAdam's root is of a negative number in step 4, where the rule takes none."""
    folder = copy_of("radam", tmp_path / "generated")
    path = folder / backend / "radam.py"
    text = path.read_text("utf-8")
    (choice,) = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.IfExp)
        and ast.unparse(node.targets[0]) == "r"
    )
    lines = text.splitlines(keepends=True)
    assert isinstance(choice.value, ast.IfExp)
    indent = " " * choice.col_offset
    lines.insert(choice.lineno - 1, f"{indent}root = {ast.unparse(choice.value.body)}\n")
    path.write_text("".join(lines), "utf-8")
    if backend == "numpy":
        module, p = fresh(path), np.ones(2, np.float32)
        module.step(p, p, module.init(p), 1000)
        with pytest.raises(ValueError, match="math domain"):
            module.step(p, p, module.init(p), 4)
    (verdict,) = run(folder, ("R3",), "radam")
    assert verdict.status is Status.UNSUPPORTED
    assert "may raise an exception, and the rule computes it elsewhere only" in verdict.detail
    assert f"{path}:" in verdict.detail


def test_a_wrong_numpy_file_is_refuted_by_r3(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    edit(folder / "numpy" / "adamw.py", [("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)")])
    (verdict,) = run(folder, ("R3",))
    assert verdict.status is Status.REFUTED
    assert verdict.counterexample is not None
    assert "numpy/adamw.py:" in verdict.counterexample.generated_line
    assert "np.sqrt(v_hat + eps)" in verdict.counterexample.generated_line
    assert verdict.counterexample.artefact_line == ""
    assert P in verdict.counterexample.spec_line


# What cannot be lifted.


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "    n = p.numel()\n",
            "    n = p.numel()\n    for _ in ():\n        pass\n",
            "for _ in ():",
        ),
        ("(triton.cdiv(n, BLOCK),)", "(triton.cdiv(n, BLOCK) + 1,)", "BLOCK) + 1,)"),
    ],
)
def test_a_launcher_that_cannot_be_lifted_is_cited_by_its_own_line(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    """Also where it is PTX that was to be lifted."""
    folder = copy_of("momentum", tmp_path / "generated")
    path = folder / "triton" / "momentum.py"
    edit(path, [(old, new)])
    number = next(n for n, text in enumerate(path.read_text().split("\n"), 1) if line in text)
    for rung in ("R3", "R7"):
        verdict = here(
            rung,
            stock("momentum"),
            folder,
            {"maximize": False},
            targets=("sm_80",),
            dtypes=("fp32",),
        )
        assert not verdict.status.passed
        assert f"{path}:{number}:" in verdict.detail, verdict.detail
        assert "PTX" not in verdict.detail


def _loop(text: str) -> str:
    return text.replace(
        "    v_hat = ", "    for _ in range(3):\n        m = m * beta1 + g * g\n    v_hat = "
    )


def _atomic(text: str) -> str:
    return text.replace(
        "        tl.store(p_ptr + start + offsets, p)\n",
        "        tl.atomic_xchg(p_ptr + start + offsets, p)\n",
    )


def _reduction(text: str) -> str:
    return text.replace("    v_hat = ", "    v = v + tl.sum(g, axis=0)\n    v_hat = ")


def _branch(text: str) -> str:
    return text.replace("    v_hat = ", "    v = v * tl.sin(v)\n    v_hat = ")


FOREIGN: dict[str, tuple[Callable[[str], str], str]] = {
    "an atomic": (_atomic, "tl.atomic_xchg"),
    "a reduction": (_reduction, "tt.reduce"),
    "an unknown function": (_branch, "tl.sin"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_cannot_be_lifted_is_unsupported_with_its_line(what: str, tmp_path: Path) -> None:
    change, line = FOREIGN[what]
    folder = copy_of("adamw", tmp_path / "generated")
    path = folder / "triton" / "adamw.py"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    for verdict in run(folder):
        assert verdict.status in (Status.UNSUPPORTED, Status.REFUTED), verdict
        if verdict.rung == "R3":
            assert verdict.status is Status.UNSUPPORTED
            assert line in verdict.detail, verdict


def test_a_loop_that_the_compiler_unrolls_is_another_formula(tmp_path: Path) -> None:
    folder = copy_of("adamw", tmp_path / "generated")
    path = folder / "triton" / "adamw.py"
    path.write_text(_loop(path.read_text()))
    source, compiled = run(folder)
    assert source.status is Status.UNSUPPORTED
    assert "scf.for" in source.detail
    assert compiled.status in (Status.UNSUPPORTED, Status.REFUTED)


def test_a_rule_with_what_has_no_value_is_not_decided(tmp_path: Path) -> None:
    """Whether an element exists is no number: nothing can be tried with it."""
    folder = copy_of("adamw", tmp_path / "generated")
    last = "    m = beta1 * m + one_minus_beta1 * g\n"
    hidden = "    p = tl.where(start + offsets < n, p, 5.0)\n"
    edit(folder / "triton" / "adamw.py", [(last, last + hidden)])
    verdict = next(v for v in run(folder) if v.rung == "R3")
    assert verdict.status is Status.UNSUPPORTED, verdict
    assert "no input can be tried" in verdict.detail
