"""Launchers as terms: what reaches the kernel, and what is wrong with a launch."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest
from catalogue import FEW
from support import ROOT, stock

from stepforge.backends.triton import WARPS
from stepforge.verify.rungs import proof
from stepforge.verify.terms import launcher, terms
from stepforge.verify.terms.evaluation import evaluate
from stepforge.verify.terms.launcher import Launch, findings
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.offsets import SIZE
from stepforge.verify.terms.source_terms import Source, Tensor
from stepforge.verify.terms.terms import Term

PLAIN = {"amsgrad": False, "maximize": False}


def text(name: str) -> str:
    return (ROOT / "generated" / "triton" / f"{name}.py").read_text()


def launch(source: str, name: str = "adamw", exact: bool = True) -> Launch:
    spec = stock(name)
    return launcher.launch(Source(source), spec, next(spec.option_sets()), exact)


def found(source: str, exact: bool = True) -> list[str]:
    made = launch(source, exact=exact)
    return [what for _, what in findings(stock("adamw"), made, PLAIN, exact, WARPS)]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", FEW)
def test_stock_launchers_pass_what_python_computes(name: str, exact: bool) -> None:
    spec = stock(name)
    for options in spec.option_sets():
        made = launcher.launch(Source(text(name)), spec, options, exact)
        assert list(findings(spec, made, options, exact, WARPS)) == []
        assert made.arguments.count(SIZE) == 1
        tensors = [a.name for a in made.arguments if isinstance(a, Tensor)]
        assert sorted(tensors) == sorted(proof.storage(spec, options, "fp32"))
        # The numbers that arrive are those that Python passes when the file runs.
        # The first step: powers of NumPy and of Python may differ in a bit, which 1 - x enlarges.
        values = {h.name: h.default for h in spec.hyperparameters} | {"t": 1.0}
        values |= {s.name: 0.7 for s in spec.active_states(options) if s.scalar}
        values |= {i.name: 0.3 for i in spec.inputs if i.scalar}
        passed, stored = ran(name, options, values, exact)
        numbers = [a for a in made.arguments if isinstance(a, Term)]
        assert [float(evaluate(a, values)) for a in numbers] == pytest.approx(passed, rel=1e-15)
        assert {n: float(evaluate(x, values)) for n, x in made.scalars.items()} == pytest.approx(
            stored, rel=1e-15
        )


def ran(
    name: str, options: dict[str, bool], values: dict[str, float], exact: bool
) -> tuple[list[float], dict[str, float]]:
    """The numbers that a launcher passes when it runs, and the scalar states that it stores."""
    spec, passed = stock(name), []

    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> object:
            def launched(*arguments: object, **_: object) -> None:
                passed.extend(arguments)

            return launched

    body = text(name).split("@triton.jit")[0].replace("import triton.language as tl\n", "")
    body = body.replace("import triton\n", "")
    scope: dict[str, object] = {
        f"{name}_kernel": Kernel(), "triton": type("T", (), {"cdiv": lambda n, b: -(-n // b)}),
    }  # fmt: skip
    helpers = [
        node
        for node in ast.parse(text(name)).body
        if isinstance(node, ast.FunctionDef) and not node.decorator_list
        if node.name not in ("init", "step")
    ]
    exec(compile(ast.Module(helpers, []), name, "exec"), scope)
    exec(compile(body, name, "exec"), scope)
    array = Fake()
    state = {s.name: values[s.name] if s.scalar else Fake() for s in spec.active_states(options)}
    hyper: dict[str, object] = {h.name: values[h.name] for h in spec.numbers}
    hyper |= {name: Fake() for name in spec.given[2:]}
    scope["step"](array, Fake(), state, values["t"], **hyper, **options, exact=exact)  # type: ignore[operator]
    numbers = [float(a) for a in passed if isinstance(a, float | np.floating)]
    scalars = [s.name for s in spec.active_states(options) if s.scalar]
    return numbers, {s: float(state[s]) for s in scalars}  # type: ignore[arg-type]


class Fake:
    """A tensor as far as a launcher looks at it."""

    shape, device, dtype = (5,), "cuda", "float32"

    def is_floating_point(self) -> bool:
        return True

    def is_contiguous(self) -> bool:
        return True

    def numel(self) -> int:
        return 5


REFUTED: dict[str, tuple[str, str, str]] = {
    "another grid": ("triton.cdiv(n, BLOCK),", "triton.cdiv(n, 2 * BLOCK),", "cdiv(n, BLOCK)"),
    "a grid of n": ("triton.cdiv(n, BLOCK),", "triton.cdiv(n - 1, BLOCK),", "cdiv(n, BLOCK)"),
    "a grid of two dimensions": ("BLOCK),)](", "BLOCK), 2)](", "cdiv(n, BLOCK)"),
    "num_warps left open": ("            num_warps=4,\n", "", "num_warps"),
    "an argument left out": ("            beta1,\n", "", "adamw_kernel"),
    "an argument too many": (
        "            beta1,\n", "            beta1,\n            beta1,\n", "twice",
    ),
    "a changing constant": ("BLOCK=BLOCK", "BLOCK=t", "compiled in, but changes"),
    "no launch": ("    if n > 0:\n", "    if n is None:\n", "0 kernels"),
    "a replaced state": (
        "    n = p.numel()\n", '    n = p.numel()\n    state["m"] = g\n', "replaces `m`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUTED)
def test_a_wrong_launch_is_refuted(what: str) -> None:
    old, new, shown = REFUTED[what]
    source = text("adamw")
    assert old in source
    with pytest.raises((Refuted, Unsupported), match=re.escape(shown)) as caught:
        launch(source.replace(old, new))
    assert caught.value.line > 0 or what == "no launch"


FOUND: dict[str, tuple[str, str, str]] = {
    "num_warps": ("num_warps=4", "num_warps=8", "num_warps=8"),
    "EXACT": ("EXACT=exact", "EXACT=False", "EXACT=False"),
    "EXACT the other way": ("EXACT=exact", "EXACT=not exact", "EXACT=False"),
    "fusion": ("enable_fp_fusion=not exact", "enable_fp_fusion=exact", "enable_fp_fusion=True"),
    "an option": ("AMSGRAD=amsgrad", "AMSGRAD=True", "AMSGRAD=True"),
}


@pytest.mark.parametrize("what", FOUND)
def test_a_wrong_setting_is_found(what: str) -> None:
    old, new, shown = FOUND[what]
    source = text("adamw")
    assert old in source
    assert found(source) == []
    assert any(shown in one for one in found(source.replace(old, new)))


def test_always_exact_is_found_in_fast_mode_alone() -> None:
    source = text("adamw").replace("EXACT=exact", "EXACT=True")
    assert found(source, exact=True) == []
    assert found(source, exact=False) != []


UNSUPPORTED: dict[str, tuple[str, str]] = {
    "a loop": (
        "    n = p.numel()\n", "    n = p.numel()\n    for _ in range(2):\n        t = t + 1\n",
    ),
    "hidden state": ("    lr = float(lr)\n", "    lr = CACHE.setdefault('lr', float(lr))\n"),
    "a look at the data": ("    n = p.numel()\n", "    n = p.numel()\n    lr = lr * p.mean()\n"),
    "the size": ("    n = p.numel()\n", "    n = p.numel()\n    lr = lr if n > 9 else 0\n"),
    "a launch by value": ("    if n > 0:\n", "    if lr > 0:\n"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_a_launcher_that_cannot_be_lifted_is_unsupported(what: str) -> None:
    old, new = UNSUPPORTED[what]
    source = text("adamw").replace("\nBLOCK = ", "\nCACHE = {}\nBLOCK = ", 1)
    launch(source)
    assert old in source
    with pytest.raises(Unsupported) as caught:
        launch(source.replace(old, new))
    line = source.replace(old, new).split("\n")[caught.value.line - 1]
    assert line.strip() in new


def arguments(source: str) -> list[object]:
    return list(launch(source).arguments)


def test_arguments_are_taken_in_the_order_of_the_kernels_parameters() -> None:
    source = text("adamw")
    before = arguments(source)
    swapped = source.replace(
        "            beta1,\n            one_minus_beta1,\n",
        "            one_minus_beta1,\n            beta1,\n",
    )
    assert swapped != source
    after = arguments(swapped)
    numbers = [i for i, a in enumerate(before) if isinstance(a, Term)]
    changed = [i for i in numbers if before[i] is not after[i]]
    assert len(changed) == 2
    assert before[changed[0]] is after[changed[1]]
    states = source.replace(
        '            state["m"],\n            state["v"],\n',
        '            state["v"],\n            state["m"],\n',
    )
    assert [a.name for a in arguments(states) if isinstance(a, Tensor)] == ["p", "g", "v", "m"]


@pytest.mark.parametrize("annotation", ["", ": tl.float32"])
def test_a_parameter_that_is_not_passed_in_64_bits_arrives_rounded(annotation: str) -> None:
    source = text("adamw")
    wide = [a for a in arguments(source) if isinstance(a, Term)]
    narrow = arguments(source.replace("eps: tl.float64", f"eps{annotation}"))
    kinds = [a.kind for a in narrow if isinstance(a, Term)]
    assert {a.kind for a in wide} == {"f64"}
    assert kinds.count("f32") == 1
    assert terms.apply("cvt", terms.scalar("eps"), kind="f32") in narrow
