"""Classes of rules with inputs: where a step takes them from, and what it refuses.

What is computed is compared with the NumPy reference in every bit. The kernel is interpreted, in
processes of its own, and compared with the step on the host.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from support import ROOT, small

from .test_own_classes import own_class
from .test_package import run

TEXT = (ROOT / "tests" / "verify" / "damped_newton.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def newton(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return own_class(TEXT, "damped_newton", tmp_path_factory.mktemp("newton"))


@pytest.fixture(scope="module")
def reference(newton: Any) -> Any:
    return sys.modules[newton._reference.__name__]


def problem(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Any]:
    """Parameters that have gradients, and the tensors that a step needs beside them."""
    generator = torch.Generator().manual_seed(5)
    ps = [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]
    for p in ps:
        p.grad = torch.randn(p.shape, generator=generator).to(dtype)
    return [ps, [torch.randn(p.shape, generator=generator).to(dtype) for p in ps]]


def array(tensor: torch.Tensor) -> Any:
    kind = {torch.bfloat16: ml_dtypes.bfloat16, torch.float16: np.float16}
    wide = tensor.detach().double().numpy()
    return wide.astype(kind.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", [{}, {"maximize": True, "clipped": True}], ids=str)
def test_every_bit_is_the_references(
    newton: Any, reference: Any, dtype: torch.dtype, options: dict[str, bool]
) -> None:
    ps, hs = problem((17,), (40, 7), dtype=dtype)
    optimizer = newton(ps, **options)
    starts = [(array(p), reference.init(array(p))) for p in ps]
    for t, loss in enumerate((2.0, 0.25, 0.0, 10.0), 1):
        hs = [h * -1.5 for h in hs]
        optimizer.step(h=hs, loss=loss)
        for index, (p, h) in enumerate(zip(ps, hs, strict=True)):
            own, state = starts[index]
            given = {"h": array(h), "loss": loss, **options}
            own, state = reference.step(own, array(p.grad), state, t, **given)
            assert np.array_equal(own, array(p))
            assert np.array_equal(state["v"], array(optimizer.state[p]["v"]))
            starts[index] = own, state


def test_tensors_are_attributes_of_parameters_or_passed(newton: Any) -> None:
    both = []
    for passes in (True, False):
        ps, hs = problem((17,), (4, 3))
        optimizer = newton([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.01}])
        if not passes:
            for p, h in zip(ps, hs, strict=True):
                p.h = h
        optimizer.step(loss=torch.tensor(1.5), **({"h": hs} if passes else {}))
        both.append([p.detach() for p in ps])
    assert all(torch.equal(*pair) for pair in zip(*both, strict=True))


def test_what_is_passed_goes_before_what_a_parameter_has(newton: Any) -> None:
    ps, hs = problem((5,))
    ps[0].h = torch.full((5,), float("nan"))
    newton(ps).step(h=hs, loss=1.0)
    assert ps[0].isfinite().all()


def test_a_closure_may_set_them(newton: Any) -> None:
    """As where the Hessian's product needs the graph of the loss."""
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

    def closure() -> torch.Tensor:
        loss = (p**3).sum()
        (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
        (p.h,) = torch.autograd.grad(p.grad.sum(), p)
        p.grad = p.grad.detach()
        return loss

    optimizer = newton([p])
    assert optimizer.step(closure, loss=9.0).item() == 9
    assert torch.allclose(optimizer.state[p]["v"], 0.1 * 6 * torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.t().contiguous().t(),
        lambda x: torch.stack([x, x], -1)[..., 0],
        lambda x: x[:1].expand_as(x),
        lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
    ],
    ids=["transposed", "holes", "expanded", "negated"],
)
def test_inputs_of_every_layout_are_read_and_none_is_written(newton: Any, layout: Any) -> None:
    both = []
    for change in (layout, lambda x: layout(x).contiguous()):
        ps, hs = problem((6, 5))
        h = change(hs[0])
        before, version = h.clone(), h._version
        newton(ps).step(h=[h], loss=1.0)
        assert torch.equal(h, before)
        assert h._version == version
        both.append(ps[0].detach())
    assert torch.equal(*both)


def test_the_gradient_may_be_an_input(newton: Any) -> None:
    """Both are read alone; a scale divides the gradient in its place."""
    ps, _ = problem((6,))
    same = problem((6,))[0]
    newton(ps).step(h=[ps[0].grad], loss=1.0)
    newton(same).step(h=[same[0].grad.clone()], loss=1.0)
    assert torch.equal(ps[0], same[0])


def test_both_parts_of_a_complex_parameter_are_stepped(newton: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    make = [torch.randn(6, 2, generator=generator) for _ in range(3)]
    p = torch.nn.Parameter(torch.view_as_complex(make[0].clone()))
    p.grad, h = (torch.view_as_complex(x) for x in make[1:])
    other = torch.nn.Parameter(make[0].clone())
    other.grad = make[1]
    newton([p]).step(h=[h], loss=1.0)
    newton([other]).step(h=[make[2]], loss=1.0)
    assert torch.equal(torch.view_as_real(p.detach()), other.detach())


def test_parameters_without_gradients_need_none(newton: Any) -> None:
    ps, hs = problem((3,), (4,))
    ps[1].grad = None
    start = ps[1].detach().clone()
    optimizer = newton(ps)
    optimizer.step(h=[hs[0], None], loss=1.0)
    ps[0].h = hs[0]
    optimizer.step(loss=1.0)
    assert torch.equal(ps[1], start)


def test_checkpoints_have_none_and_go_on(newton: Any) -> None:
    ps, hs = problem((5,))
    optimizer = newton(ps)
    optimizer.step(h=hs, loss=1.0)
    saved = optimizer.state_dict()
    assert set(saved["state"][0]) == {"step", "v"}
    again = [torch.nn.Parameter(ps[0].detach().clone())]
    again[0].grad = ps[0].grad.clone()
    other = newton(again)
    other.load_state_dict(saved)
    for one in (optimizer, other):
        one.step(h=hs, loss=0.5)
    assert torch.equal(ps[0], again[0])


def refused(newton: Any, kind: type[Exception], words: str, **given: Any) -> None:
    """A step that raises an exception, and changes nothing."""
    ps, hs = problem((2, 3), (4,))
    ps[0].h, ps[1].h = hs
    ps[0].__dict__.update(given.pop("first", {}))
    named = given.pop("named", False)
    optimizer = newton([("weight", ps[0]), ("bias", ps[1])] if named else ps)
    starts = [p.detach().clone() for p in ps]
    if given.pop("lacks", False):
        del ps[1].h
    with pytest.raises(kind, match=words):
        optimizer.step(**{"loss": 1.0, **given})
    assert not optimizer.state
    assert all(torch.equal(p, start) for p, start in zip(ps, starts, strict=True))


def test_what_is_missing_is_named(newton: Any) -> None:
    words = r"DampedNewton needs the tensor `h` of parameter 1 of group 0 .*attribute `h`.*h=\["
    refused(newton, RuntimeError, words, lacks=True)
    refused(newton, RuntimeError, "`h` of the parameter `bias`", lacks=True, named=True)
    refused(newton, TypeError, r"needs the number `loss` in every step: step\(loss=", loss=None)
    refused(newton, ValueError, "`h` has 1 tensors, and there are 2 par", h=[torch.ones(2, 3)])
    refused(newton, TypeError, "unexpected keyword argument 'hessian'", hessian=1)


WRONG = {
    "has shape": torch.ones(3, 2),
    "no floating-point type": torch.ones(2, 3, dtype=torch.int64),
    "same device, but the h is on meta": torch.ones(2, 3, device="meta"),
    "layout torch.sparse_coo": torch.ones(2, 3).to_sparse(),
    "torch.float32, and the h torch.complex64": torch.ones(2, 3, dtype=torch.complex64),
    "is of type float, and no tensor": 1.0,
}
"""What errors say → an input that cannot be one of a parameter of shape (2, 3)."""


@pytest.mark.parametrize("words", WRONG)
def test_inputs_are_looked_at_as_gradients_are(newton: Any, words: str) -> None:
    kind = TypeError if "type" in words or "complex" in words else RuntimeError
    refused(newton, kind, words, first={"h": WRONG[words]})


@pytest.mark.parametrize("loss", [-1.0, float("nan"), torch.tensor(-1.0)])
def test_a_number_outside_of_its_domain_is_refused(newton: Any, loss: Any) -> None:
    refused(newton, ValueError, "loss is .*, not loss >= 0", loss=loss)


def test_several_numbers_are_none(newton: Any) -> None:
    refused(newton, TypeError, "`loss` is one number, not a tensor of 2", loss=torch.ones(2))


def test_names_are_the_authors(tmp_path: Path) -> None:
    """An attribute of every tensor is no input, and an argument of `step` steps aside."""
    number = {n: f'scalar = true, domain = "{n} > 0"' for n in ("closure", "values")}
    spec = small(
        "p = p - lr*g*self/(norm + closure + values)", name="taken", title="Taken",
        inputs={"self": "", "norm": "", **number},
    )  # fmt: skip
    taken = own_class(spec.source.text, "taken", tmp_path)
    p = torch.nn.Parameter(torch.ones(3))
    p.grad, one = torch.ones(3), torch.ones(3)
    optimizer = taken([p], lr=1.0)
    with pytest.raises(RuntimeError, match="needs the tensor `norm`"):
        optimizer.step(None, self=[one], closure=1.0, values=2.0)
    optimizer.step(None, self=[3 * one], norm=[one], closure=1.0, values=2.0)
    assert torch.equal(p.detach(), torch.full((3,), 0.25))
    with pytest.raises(ValueError, match=r"values is 0\.0, not values > 0"):
        optimizer.step(None, self=[one], norm=[one], closure=1.0, values=0.0)


PATHS = """
import torch
from built_damped_newton.torch import DampedNewton
from built_damped_newton.torch._runtime import Optimizer

LAYOUTS = (
    lambda x: x,
    lambda x: x.t().contiguous().t(),
    lambda x: torch.stack([x, x], -1)[..., 0],
    lambda x: torch.cat([x.new_zeros(1), x.reshape(-1)])[1:].view_as(x),
    lambda x: x[:1].expand_as(x),
)

def train(path, dtype):
    generator = torch.Generator().manual_seed(3)
    make = lambda: torch.randn((40, 7), generator=generator).to(dtype)
    Optimizer._is_on_host = staticmethod(lambda parameter: path != "device")
    Optimizer._is_free = staticmethod(lambda parameter, group: path == "free")
    ps = [torch.nn.Parameter(make()) for _ in LAYOUTS]
    optimizer = DampedNewton(ps, clipped=True)
    given = []
    for scale, loss in ((None, 2.0), (3.0, torch.tensor(0.5)), (None, 0.0), (2.0, 1.25)):
        for layout, p in zip(LAYOUTS, ps):
            p.grad, p.h = make(), layout(make())
        given += [p.h for p in ps]
        kept = [h.clone() for h in given]
        if scale is not None:
            optimizer.grad_scale = torch.tensor(scale)
        optimizer.step(loss=loss)
        assert all(map(torch.equal, given, kept)), path
    found = [value for p in ps for value in (p.detach(), p.grad)]
    return found + [v for s in optimizer.state.values() for v in s.values()]

for dtype in (torch.float32, torch.float64, torch.float16):
    host, device, free = (train(path, dtype) for path in ("host", "device", "free"))
    for a, b, c in zip(host, device, free, strict=True):
        assert a.isfinite().all() and torch.equal(a, b) and torch.equal(a, c), dtype
print("equal")
"""


def test_kernels_take_them_from_tables(newton: Any) -> None:
    """With numbers of the host, and with numbers that never leave the device."""
    folder = Path(importlib.import_module("built_damped_newton").__file__ or "").parents[1]
    done = run(PATHS, folder, TRITON_INTERPRET="1")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
