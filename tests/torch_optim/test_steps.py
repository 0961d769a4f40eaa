"""What a step computes: torch's class, the NumPy reference, types, layouts and directions."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from stepforge.verify.rungs.proof import Subject

from .bounds import apart
from .support import (
    ALL_WITH_TORCH,
    CASES,
    EVERY,
    PLAIN,
    WITH_TORCH,
    Case,
    Scale,
    assert_equal_bits,
    case_of,
    copies,
    gradients,
    label,
    parameters,
    tensors,
    train,
)

SHAPES = ((5, 4), (33,), (), (2, 3, 4))


@pytest.fixture
def doubles() -> Iterator[None]:
    """Torch keeps scalar states in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    ("case", "steps"),
    [*((c, 100) for c in WITH_TORCH), *((c, 15) for c in ALL_WITH_TORCH)],
    ids=lambda value: value.label if isinstance(value, Case) else str(value),
)
def test_float64_is_torchs_class_to_1e_12(case: Case, steps: int) -> None:
    """With skipped gradients, a parameter without elements, and every state compared."""
    start = parameters(*SHAPES, dtype=torch.float64)
    ours = case.ours(start, **case.arguments)
    theirs = case.theirs(copies(start), **case.torch_arguments)
    scale = Scale()
    for step in range(1, steps + 1):
        train(ours, [step])
        train(theirs, [step])
        assert scale.departure(ours, theirs) <= 1e-12, step


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_without_weight_decay_an_infinite_parameter_stays(case: Case) -> None:
    """A masked logit is minus infinity for ever; torch skips a decay of zero, too."""
    start = torch.nn.Parameter(torch.tensor([1.0, -torch.inf, torch.inf, 2.0]))
    arguments = {**case.arguments, "weight_decay": 0.0}
    pairs = [case.ours([start], **arguments)]
    if case.spec.torch_class:
        theirs = copies([start])
        pairs.append(case.theirs(theirs, **{**case.torch_arguments, "weight_decay": 0.0}))
    for optimizer in pairs:
        (p,) = optimizer.param_groups[0]["params"]
        for _ in range(3):
            p.grad = torch.tensor([0.5, 0.0, 0.0, -0.5])
            optimizer.step()
        assert p[1] == -torch.inf
        assert p[2] == torch.inf
        assert p.isfinite().tolist() == [True, False, False, True]


@pytest.mark.parametrize("case", WITH_TORCH, ids=label)
def test_float32_is_torchs_class_to_its_own_tolerance_with_a_frozen_layer(case: Case) -> None:
    start = parameters(*SHAPES)
    ours = case.ours(start, **case.arguments)
    theirs = case.theirs(copies(start), **case.torch_arguments)
    for step in range(1, 10):
        for optimizer in (ours, theirs):
            if step == 4:
                optimizer.param_groups[0]["params"][1].requires_grad_(False)
            train(optimizer, [step])
        mine, others = tensors(ours), tensors(theirs)
        assert mine.keys() == others.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, others[name], rtol=1.3e-6, atol=1e-5, msg=name)


@pytest.mark.parametrize("case", WITH_TORCH, ids=label)
def test_a_step_in_float32_is_torchs_class_within_the_bounds_of_both(case: Case) -> None:
    """The rounding bound of the certificate, for what torch computes from the same state."""
    subject = Subject.of(case.spec, case.options, "fp32", 0)
    start = parameters(*SHAPES)
    ours = case.ours(start, **case.arguments)
    theirs = case.theirs(copies(start), **case.torch_arguments)
    for step in range(1, 13):
        if step > 1:
            theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
        before = {name: value.clone() for name, value in tensors(ours).items()}
        for mine, other in zip(*(o.param_groups[0]["params"] for o in (ours, theirs)), strict=True):
            other.data.copy_(mine.data)
            mine.grad, other.grad = (g.clone() for g in gradients([mine, mine], step))
            other.grad.copy_(mine.grad)
        ours.step()
        theirs.step()
        mine, others = tensors(ours), tensors(theirs)
        for index, p in enumerate(ours.param_groups[0]["params"]):
            columns = {"p": before[f"{index}.p"].numpy(), "g": p.grad.numpy()}
            for name, key in case.keys.items():
                first = before.get(f"{index}.{key}")
                columns[name] = np.zeros(p.shape) if first is None else first.numpy()
            for name, key in {"p": "p", **case.keys}.items():
                pair = [np.ravel(found[f"{index}.{key}"].numpy()) for found in (mine, others)]
                if name in subject.expected.scalars:  # torch computes it in float32
                    np.testing.assert_allclose(*pair, rtol=2**-22)
                    continue
                differ = pair[0] != pair[1]
                far = apart(subject, name, differ, tuple(pair), columns, {**case.values, "t": step})
                assert not far.any(), (step, name, [x[far] for x in pair])


ARRAYS = {
    torch.float64: np.float64,
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: ml_dtypes.bfloat16,
}


def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().double().numpy().astype(ARRAYS[tensor.dtype])


@pytest.mark.parametrize("case", EVERY, ids=label)
def test_every_bit_of_every_class_is_the_references(case: Case) -> None:
    test_every_bit_is_the_references(case, torch.float32)


@pytest.mark.parametrize("dtype", ARRAYS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=label)
def test_every_bit_is_the_references(case: Case, dtype: torch.dtype) -> None:
    reference = importlib.import_module(f"generated.numpy.{case.name}")
    named = {**case.values, **case.options}
    ps = parameters((17,), dtype=dtype)[:1]
    optimizer = case.ours(ps, **case.arguments)
    p = array(ps[0])
    keywords = reference.init.__kwdefaults__ or {}
    state = reference.init(p, **{name: named[name] for name in keywords})
    for t in range(1, 6):
        (g,) = gradients(ps, t)
        ps[0].grad = g
        given = {i.name: 0.5 if i.scalar else gradients(ps, t + 100) for i in case.spec.inputs}
        arrays = {k: array(v[0]) if isinstance(v, list) else v for k, v in given.items()}
        with np.errstate(all="ignore"):
            p, state = reference.step(p, array(g), state, t, **arrays, **named)
        optimizer.step(**given)
        assert np.array_equal(array(ps[0]).astype(float), p.astype(float), equal_nan=True)
        assert ps[0].dtype == dtype
        for name, value in state.items():
            found = optimizer.state[ps[0]][case.keys[name]]
            if np.ndim(value):
                assert np.array_equal(found.double().numpy(), value.astype(float), equal_nan=True)
                wide = dtype in (torch.float64, torch.float32)
                assert found.dtype == (dtype if wide else torch.float32)
            else:
                assert found.item() == np.float32(value)
                state[name] = found.item()  # kept in float32, as torch does


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_states_of_16_bit_parameters_can_be_asked_for(case: Case, dtype: torch.dtype) -> None:
    ps = parameters((9,), dtype=dtype)
    optimizer = train(case.ours(ps, **case.arguments, state_dtype=dtype), range(1, 4))
    for name, key in case.keys.items():
        value = optimizer.state[ps[1]][key]
        assert value.dtype == (torch.float32 if name == "mu_product" else dtype)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_step_goes_in_the_right_direction(case: Case) -> None:
    p = torch.nn.Parameter(torch.tensor([1.5, -2.0, 0.7]))
    optimizer = case.ours([p], **{**case.arguments, "lr": 1e-2})
    signed = -1.0 if case.options.get("maximize") else 1.0

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = signed * ((p - torch.tensor([0.2, 0.1, -0.3])) ** 2).sum()
        loss.backward()
        return loss

    before = signed * optimizer.step(closure).item()
    for _ in range(30):
        after = signed * optimizer.step(closure).item()
    assert after < before


@pytest.mark.parametrize("case", CASES, ids=label)
def test_complex_parameters_are_pairs_of_reals(case: Case) -> None:
    real = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1))
    as_pairs = torch.nn.Parameter(real.clone())
    as_complex = torch.nn.Parameter(torch.view_as_complex(real.clone()))
    pairs = case.ours([as_pairs], **case.arguments)
    numbers = case.ours([as_complex], **case.arguments)
    for step in range(1, 8):
        (g,) = gradients([as_pairs], step)
        as_pairs.grad = g
        as_complex.grad = torch.view_as_complex(g.clone())
        if step == 5:  # what autograd of a conjugate makes: a lazy sign
            as_complex.grad = as_complex.grad.conj().resolve_conj().conj()
        pairs.step()
        numbers.step()
    assert torch.equal(torch.view_as_real(as_complex.detach()), as_pairs.detach())
    for key, value in numbers.state[as_complex].items():
        expected = pairs.state[as_pairs][key]
        value = torch.view_as_real(value) if value.is_complex() else value
        assert torch.equal(value, expected), key


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_complex_parameters_are_torchs(case: Case) -> None:
    if not case.spec.torch_class:
        return
    start = torch.randn(6, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    mine, other = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    ours = case.ours([mine], **case.arguments)
    theirs = case.theirs([other], **case.torch_arguments)
    for step in range(1, 8):
        g = torch.randn(6, dtype=torch.complex64, generator=torch.Generator().manual_seed(step))
        mine.grad, other.grad = g, g.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(mine, other)
    assert ours.state[mine].keys() == theirs.state[other].keys()
    for key, value in ours.state[mine].items():
        torch.testing.assert_close(value, theirs.state[other][key])


LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "offset": lambda x: torch.cat([torch.zeros(1), x.reshape(-1)])[1:].view_as(x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_the_layout_in_memory_changes_no_bit(case: Case, layout: str) -> None:
    start = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    dense = torch.nn.Parameter(start.clone())
    spread = torch.nn.Parameter(LAYOUTS[layout](start))
    assert layout == "offset" or not spread.is_contiguous()
    address, strides = spread.data_ptr(), spread.stride()
    a, b = case.ours([dense], **case.arguments), case.ours([spread], **case.arguments)
    for step in range(1, 6):
        (g,) = gradients([dense], step)
        dense.grad, spread.grad = g, LAYOUTS[layout](g) if step % 2 else g.clone()
        a.step()
        b.step()
    assert_equal_bits(a, b)
    assert (spread.data_ptr(), spread.stride()) == (address, strides)


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_large_tensors_in_pieces_change_no_bit(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    import generated.torch._host as host

    start = parameters((1000,), (10, 10), (64,))
    whole = train(case.ours(copies(start), **case.arguments), range(1, 5))
    monkeypatch.setattr(host, "CHUNK", 64)
    pieces = train(case.ours(copies(start), **case.arguments), range(1, 5))
    assert_equal_bits(whole, pieces)


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_steps_are_in_place(case: Case) -> None:
    ps = parameters((8,), (3, 3))
    optimizer = train(case.ours(ps, **case.arguments), [1])
    before = {name: value.data_ptr() for name, value in tensors(optimizer).items()}
    train(optimizer, [2])
    assert {name: value.data_ptr() for name, value in tensors(optimizer).items()} == before


@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_a_tensor_as_learning_rate_is_the_number(case: Case) -> None:
    start = parameters((8,), (3, 3))
    lr = 2.0**-7  # the same in every type
    number = train(case.ours(copies(start), **{**case.arguments, "lr": lr}), range(1, 8))
    for value in (torch.tensor(lr), torch.tensor([lr]), torch.tensor(lr, dtype=torch.float64)):
        arguments = {**case.arguments, "lr": value}
        assert_equal_bits(number, train(case.ours(copies(start), **arguments), range(1, 8)))


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_tensors_as_betas_are_the_numbers(name: str) -> None:
    case = case_of(name.lower())
    start = parameters((8,))
    betas = (0.875, 0.96875)
    number = train(case.ours(copies(start), betas=betas), range(1, 8))
    arguments = {"betas": tuple(torch.tensor(beta) for beta in betas)}
    assert_equal_bits(number, train(case.ours(copies(start), **arguments), range(1, 8)))


def test_parameters_of_all_types_share_a_group() -> None:
    for case in PLAIN:
        kinds = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
        mixed = [parameters((12,), dtype=dtype)[0] for dtype in kinds]
        together = train(case.ours(copies(mixed), **case.arguments), [1, 2, 4, 5])
        for index, p in enumerate(mixed):
            alone = case.ours(copies([p]), **case.arguments)
            for step in (1, 2, 4, 5):
                alone.param_groups[0]["params"][0].grad = gradients(mixed, step)[index]
                alone.step()
            key = together.param_groups[0]["params"][index]
            assert torch.equal(key, alone.param_groups[0]["params"][0])


@pytest.mark.parametrize("case", CASES, ids=label)
def test_no_gradient_no_step(case: Case) -> None:
    ps = parameters((8,), (3, 3))
    before = [p.detach().clone() for p in ps]
    optimizer = case.ours(ps, **case.arguments)
    kept = {name: value.clone() for name, value in tensors(optimizer).items()}
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(ps, before, strict=True))
    assert tensors(optimizer).keys() == kept.keys()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_zero_gradients_change_no_parameter_but_by_decay(case: Case) -> None:
    ps = parameters((8,), (3, 3))
    before = [p.detach().clone() for p in ps]
    optimizer = case.ours(ps, **{**case.arguments, "weight_decay": 0.0})
    for _ in range(3):
        for p in ps:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(ps, before, strict=True))


def test_the_counter_goes_on_beyond_the_integers_of_float32() -> None:
    import generated.torch as package

    p = torch.nn.Parameter(torch.ones(3))
    optimizer = package.Adagrad([p], lr_decay=0.1)
    optimizer.state[p]["step"].fill_(2**24 - 1)
    for expected in (2**24, 2**24 + 1, 2**24 + 2):
        p.grad = torch.ones(3)
        optimizer.step()
        assert optimizer.state[p]["step"].item() == expected
