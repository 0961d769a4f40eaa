"""Steps: the kinds of tests that torch has for its optimizers, on every generated class."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, OptimizerInfo

from .infos import (
    FUSED,
    IN_TORCH,
    INFOS,
    affine,
    assert_same,
    for_every_input,
    inputs,
    loss_of,
    name_of,
    saying,
    torchs,
    twins,
)
from .support import PLAIN

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def test_classes_of_torch_and_others_have_infos() -> None:
    assert {info.name for info in INFOS} == {case.ours.__name__ for case in PLAIN}
    assert {info.name for info in IN_TORCH} == {
        case.ours.__name__ for case in PLAIN if case.ours.__name__ == case.spec.torch_class
    }
    assert 1 < len(IN_TORCH) < len(INFOS)


def _wrong_inputs() -> Iterator[Any]:
    for info in IN_TORCH:
        found = info.optim_error_inputs_func("cpu", torch.float32)
        for number, wrong in enumerate(found):
            label = f"{info.name}: {wrong.optimizer_error_input.desc}"
            yield pytest.param(info, number, id=label)


@pytest.mark.parametrize(("info", "number"), list(_wrong_inputs()))
def test_wrong_inputs_get_torchs_errors_and_warnings(info: OptimizerInfo, number: int) -> None:
    wrong = info.optim_error_inputs_func("cpu", torch.float32)[number]
    params, kwargs = wrong.optimizer_error_input.params, wrong.optimizer_error_input.kwargs
    if params is None:  # torch's constructors look at their arguments before the parameters
        params = [torch.nn.Parameter(torch.ones(1))]

    def attempt() -> None:
        optimizer = info.optim_cls(params, **kwargs)
        if wrong.error_on is OptimizerErrorEnum.STEP_ERROR:
            optimizer.step()

    if issubclass(wrong.error_type, Warning):
        with pytest.warns(wrong.error_type, match=wrong.error_regex):
            attempt()
    else:
        with pytest.raises(wrong.error_type, match=wrong.error_regex):
            attempt()


def _train(
    optimizer: torch.optim.Optimizer, closure: Any, schedulers: list[Any], maximize: bool
) -> None:
    """Twelve steps, after which the loss has to be on the right side of the first one."""
    first = closure().item()
    for number in range(12):
        if number % 2:
            loss = optimizer.step(closure)
        else:
            loss = closure()
            assert optimizer.step() is None
        for scheduler in schedulers:
            if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                scheduler.step(loss)
            else:
                scheduler.step()
    last = closure().item()
    assert last > first if maximize else last < first


@pytest.mark.parametrize("contiguous", [True, False], ids=["contiguous", "strided"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_steps_go_in_the_right_direction(info: OptimizerInfo, contiguous: bool) -> None:
    for number, given in enumerate(inputs(info, flags=contiguous)):
        torch.manual_seed(number)
        params, closure = affine(contiguous=contiguous)
        maximize = given.kwargs.get("maximize", False)
        with saying(info, given):
            _train(info.optim_cls(params, **given.kwargs), closure, [], maximize)


@pytest.mark.parametrize("contiguous", [True, False], ids=["contiguous", "strided"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_steps_with_schedulers_go_in_the_right_direction(
    info: OptimizerInfo, contiguous: bool
) -> None:
    for number, makers in enumerate(info.scheduler_inputs):
        given_to_all = inputs(info, flags=False)  # new: schedulers change a tensor lr in place
        for given in given_to_all if number == 0 and contiguous else given_to_all[:1]:
            torch.manual_seed(0)
            params, closure = affine(contiguous=contiguous)
            optimizer = info.optim_cls(params, **given.kwargs)
            schedulers = [make(optimizer) for make in makers]
            with saying(info, given):
                _train(optimizer, closure, schedulers, given.kwargs.get("maximize", False))


@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_groups_with_schedulers_go_in_the_right_direction(info: OptimizerInfo) -> None:
    for makers in info.scheduler_inputs:
        torch.manual_seed(0)
        params, closure = affine()
        groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.002}]
        optimizer = info.optim_cls(groups, lr=0.001)
        _train(optimizer, closure, [make(optimizer) for make in makers], False)


@pytest.mark.usefixtures("doubles")
@for_every_input(IN_TORCH, flags=False)
def test_float64_steps_are_those_of_torch(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    params, closure = affine(torch.float64)
    others, given = twins(params), closure.args[1]  # type: ignore[attr-defined]
    mine = info.optim_cls(params, **arguments)
    theirs = torchs(info)(others, **arguments)
    for _ in range(10):
        closure()
        loss_of(others, given)
        mine.step()
        theirs.step()
        for p, q in zip(params, others, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (1,)], ids=["no dimension", "one dimension"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_tensor_as_learning_rate_is_its_number(
    info: OptimizerInfo, shape: tuple[int, ...]
) -> None:
    for given in inputs(info, flags=shape == ()):
        torch.manual_seed(0)
        params, closure = affine()
        others, x = twins(params), closure.args[1]  # type: ignore[attr-defined]
        number = info.optim_cls(params, **{**given.kwargs, "lr": 0.0009765625})
        lr = torch.full(shape, 0.0009765625)
        if given.kwargs.get("foreach"):
            with pytest.raises(ValueError, match="lr as a Tensor is not supported"):
                info.optim_cls(others, **{**given.kwargs, "lr": lr})
            continue
        tensor = info.optim_cls(others, **{**given.kwargs, "lr": lr})
        for _ in range(5):
            closure()
            loss_of(others, x)
            number.step()
            tensor.step()
        for p, q in zip(params, others, strict=True):
            assert torch.equal(p, q), given.desc
        assert tensor.param_groups[0]["lr"] is lr, given.desc
        assert torch.equal(lr, torch.full(shape, 0.0009765625))


@for_every_input(INFOS)
def test_complex_parameters_are_pairs_of_reals(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    whole = torch.randn(10, 5, dtype=torch.complex64, requires_grad=True)
    empty = torch.zeros((), dtype=torch.complex64, requires_grad=True)
    pairs = [torch.view_as_real(p).detach().clone().requires_grad_() for p in (whole, empty)]
    of_complex = info.optim_cls([whole, empty], **arguments)
    of_reals = info.optim_cls(pairs, **arguments)
    for _ in range(3):
        for p, q in zip((whole, empty), pairs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = torch.view_as_real(p.grad).clone()
        of_complex.step()
        of_reals.step()
        for p, q in zip((whole, empty), pairs, strict=True):
            assert torch.equal(torch.view_as_real(p.detach()), q)
            mine, others = of_complex.state[p], of_reals.state[q]
            assert mine.keys() == others.keys()
            for key, value in mine.items():
                real = torch.view_as_real(value) if value.is_complex() else value
                assert torch.equal(real, others[key]), key


@for_every_input(INFOS, flags=False)
def test_a_complex_minimum_is_that_of_its_real_and_imaginary_part(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    def valley(z: torch.Tensor) -> torch.Tensor:
        x, y = z
        return (1 - x).abs() ** 2 + 4 * (y - 2 * x).abs() ** 2

    whole = torch.randn(2, dtype=torch.complex128, requires_grad=True)
    parts = [part.detach().clone().requires_grad_() for part in (whole.real, whole.imag)]
    of_complex = info.optim_cls([whole], **arguments)
    of_parts = info.optim_cls(parts, **arguments)
    for _ in range(10):
        of_complex.zero_grad()
        of_parts.zero_grad()
        valley(whole).backward()
        valley(torch.complex(*parts)).backward()
        of_complex.step()
        of_parts.step()
    torch.testing.assert_close(whole.real, parts[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.imag, parts[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_the_ways_to_compute_give_the_same_bits(info: OptimizerInfo, dtype: torch.dtype) -> None:
    for given in info.optim_inputs_func("cpu", dtype):
        torch.manual_seed(0)
        start = [torch.randn(4, 3), torch.randn(6, 2)[:, 0], torch.empty(0), torch.randn(())]
        found = []
        for flags in [{}, *({flag: True} for flag in info.supported_impls)]:
            if isinstance(given.kwargs.get("lr"), torch.Tensor) and flags.get("foreach"):
                continue
            params = twins(p.to(dtype) for p in start)
            optimizer = info.optim_cls(params, **given.kwargs, **flags)
            for step in range(3):
                generator = torch.Generator().manual_seed(step)
                for p in params:
                    p.grad = torch.randn(p.shape, generator=generator).to(dtype)
                optimizer.step()
            found.append((params, optimizer.state_dict()["state"]))
        for params, state in found[1:]:
            assert_same(params, found[0][0])
            assert_same(state, found[0][1])


@for_every_input(INFOS)
def test_parameters_of_all_types_in_one_optimizer(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    start = [torch.randn(2, 3).to(dtype) for dtype in (*FLOATS, torch.complex64)]
    together, alone = twins(start), twins(start)
    optimizers = [info.optim_cls(together, **arguments)]
    optimizers += [info.optim_cls([p], **arguments) for p in alone]
    for step in range(3):
        for params in (together, alone):
            generator = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        for optimizer in optimizers:
            optimizer.step()
    assert_same(together, alone)


@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_a_step_needs_no_second_copy_of_a_large_tensor(info: OptimizerInfo) -> None:
    """NumPy's arrays on the way are pieces; tensors of torch are the states alone."""
    size = 1 << 20
    for given in inputs(info, flags=False)[-1:]:
        p = torch.nn.Parameter(torch.zeros(size))
        p.grad = torch.ones(size)
        optimizer = info.optim_cls([p], **given.kwargs)
        optimizer.step()
        tracemalloc.start()
        try:
            optimizer.step()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < p.nbytes / 2, (given.desc, peak)


@for_every_input(FUSED, flags=False)
@pytest.mark.filterwarnings("error")
def test_a_fused_step_with_an_infinity_changes_nothing(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    for scale in (None, torch.ones(())):
        params = [torch.nn.Parameter(torch.ones(1)) for _ in range(5)]
        optimizer = info.optim_cls(params, fused=True, **arguments)
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.grad_scale = scale  # type: ignore[attr-defined]
        optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
        optimizer.step()
        for p in params:
            assert p.item() == 1
            for key, value in optimizer.state[p].items():
                assert key != "step" or value == 0
        optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
        optimizer.step()
        assert all(p.item() != 1 for p in params)


@for_every_input(INFOS, flags=False)
def test_groups_have_their_own_weight_decay(info: OptimizerInfo, arguments: dict[str, Any]) -> None:
    params, closure = affine()
    others, x = twins(params), closure.args[1]  # type: ignore[attr-defined]
    groups = [
        {"params": [params[0]], **arguments},
        {"params": [params[1]], **arguments, "weight_decay": 0.0},
    ]
    grouped = info.optim_cls(groups)
    apart = [
        info.optim_cls([others[0]], **arguments),
        info.optim_cls([others[1]], **{**arguments, "weight_decay": 0.0}),
    ]
    first = closure().item()
    for _ in range(10):
        closure()
        loss_of(others, x)
        for optimizer in (grouped, *apart):
            optimizer.step()
    assert_same(params, others)
    last = closure().item()
    assert last > first if arguments.get("maximize") else last < first


@for_every_input(INFOS, flags=False)
def test_groups_have_their_own_learning_rate(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    params, closure = affine()
    still = torch.nn.Parameter(torch.randn(2))
    before = still.detach().clone()
    arguments.setdefault("lr", 1e-3)
    groups = [{"params": params, **arguments}, {"params": [still]}]
    optimizer = info.optim_cls(groups, lr=1e-28)
    first = closure().item()
    for _ in range(10):
        closure()
        still.grad = torch.rand_like(still)
        optimizer.step()
    last = closure().item()
    assert last > first if arguments.get("maximize") else last < first
    assert torch.equal(still, before)


@for_every_input(INFOS)
def test_a_step_without_gradients_does_nothing(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    params = [torch.randn(2, 3) for _ in range(2)]
    before = [p.clone() for p in params]
    optimizer = info.optim_cls(params, **arguments)
    states = [dict(optimizer.state.get(p, {})) for p in params]
    assert optimizer.step(lambda: torch.tensor([1.0])) == 1
    assert_same(params, before)
    for p, old in zip(params, states, strict=True):
        assert_same(dict(optimizer.state.get(p, {})), old)


@for_every_input(INFOS)
def test_a_step_with_zero_gradients_does_nothing(
    info: OptimizerInfo, arguments: dict[str, Any]
) -> None:
    theirs = getattr(torch.optim, info.name, None)
    if arguments.get("weight_decay", 0) != 0:
        return
    p = torch.nn.Parameter(torch.randn(5, 1))
    before = p.detach().clone()
    optimizer = info.optim_cls([p], **{**arguments, "weight_decay": 0})
    p.grad = torch.zeros_like(p)
    assert optimizer.step(lambda: torch.tensor([1.0])) == 1
    assert torch.equal(p, before)
    if theirs is not None:
        q = torch.nn.Parameter(before.clone())
        q.grad = torch.zeros_like(q)
        theirs([q], **{**arguments, "weight_decay": 0}).step()
        assert torch.equal(p, q)


@pytest.mark.parametrize("info", FUSED, ids=name_of)
def test_fused_refuses_meta_parameters_until_they_are_real(info: OptimizerInfo) -> None:
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
        optimizer = info.optim_cls(model.parameters(), fused=True)
        for p in model.parameters():
            p.grad = torch.rand_like(p)
    with pytest.raises(RuntimeError, match="requires all the params to be floating point Tensors"):
        optimizer.step()
    optimizer.zero_grad()
    optimizer.step()
    model.to_empty(device="cpu")
    real = info.optim_cls(model.parameters(), fused=True)
    for p in model.parameters():
        torch.nn.init.ones_(p)
        p.grad = torch.rand_like(p)
    real.step()
    assert all((p != 1).all() for p in model.parameters())


@pytest.mark.parametrize("info", [i for i in INFOS if i.name != "NAdam"], ids=name_of)
def test_the_default_type_changes_no_bit(info: OptimizerInfo) -> None:
    """NAdam keeps a product of numbers in the default type, as torch's does."""
    start = [torch.randn(4, 3, dtype=torch.float32), torch.randn(3, dtype=torch.float64)]
    for given, again in zip(inputs(info), inputs(info), strict=True):
        found = []
        for kind, kwargs in ((torch.float32, given.kwargs), (torch.float64, again.kwargs)):
            params = twins(start)
            before = torch.get_default_dtype()
            torch.set_default_dtype(kind)
            try:
                optimizer = info.optim_cls(params, **kwargs)
                for step in range(3):
                    generator = torch.Generator().manual_seed(step)
                    for p in params:
                        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
                    optimizer.step()
            finally:
                torch.set_default_dtype(before)
            found.append(params)
        assert_same(*found)


@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_without_flags_it_computes_as_with_foreach(info: OptimizerInfo) -> None:
    """Torch chooses `foreach` by itself; here that choice has no effect, and the key says so."""
    p = torch.nn.Parameter(torch.ones(2))
    for given in inputs(info, flags=False):
        group = info.optim_cls([p], **given.kwargs).param_groups[0]
        for flag in info.supported_impls:
            assert group[flag] is None


@pytest.mark.parametrize("info", IN_TORCH, ids=name_of)
def test_duplicates_in_a_group_are_warned_of_once(info: OptimizerInfo) -> None:
    p = torch.nn.Parameter(torch.randn(1))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        info.optim_cls([p, p], lr=0.1)
    assert len([w for w in seen if "duplicate parameters" in str(w.message)]) == 1


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("info", IN_TORCH, ids=name_of)
def test_a_gradient_scaler_with_clipping_is_torchs(info: OptimizerInfo) -> None:
    """Scaled gradients, some of them infinite; clipping after `unscale_`, and a growing scale."""
    for flags in [{}, *({flag: True} for flag in info.supported_impls)]:
        found = []
        for make in (info.optim_cls, torchs(info)):
            torch.manual_seed(0)
            params, closure = affine(torch.float64)
            optimizer = make(params, lr=0.01, **flags)
            scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
            scales = []
            for step, clips in zip(range(8), itertools.cycle([True, False])):
                closure()
                for p in params:
                    p.grad = p.grad * scaler.scale(torch.ones((), dtype=torch.float64))
                if step in (2, 5):
                    params[0].grad[0, 0] = torch.inf  # type: ignore[index]
                if clips:
                    scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(params, 0.5)
                scaler.step(optimizer)
                scaler.update()
                scales.append(scaler.get_scale())
            found.append((params, scales))
        (mine, scales), (others, others_scales) = found
        assert scales == others_scales
        for p, q in zip(mine, others, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)
