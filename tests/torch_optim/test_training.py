"""What a training loop does with an optimizer beside stepping."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from .support import (
    CASES,
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

by_class = pytest.mark.parametrize("case", PLAIN, ids=label)


def bits(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in tensors(optimizer).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 6),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1 / (epoch + 1)),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@by_class
def test_learning_rate_schedulers_act_from_the_next_step(case: Case, name: str) -> None:
    ps = parameters((6,), (2, 2))
    scheduled = case.ours(ps, **{**case.arguments, "lr": 0.25})
    plain = case.ours(copies(ps), **{**case.arguments, "lr": 0.25})
    scheduler = SCHEDULERS[name](scheduled)
    rates = set()
    for step in range(1, 8):
        plain.param_groups[0]["lr"] = scheduled.param_groups[0]["lr"]
        rates.add(scheduled.param_groups[0]["lr"])
        train(scheduled, [step])
        train(plain, [step])
        scheduler.step()
    assert len(rates) > 2
    assert_equal_bits(scheduled, plain)


@by_class
def test_schedulers_change_a_learning_rate_that_is_a_tensor(case: Case) -> None:
    ps = parameters((6,))
    rates = torch.tensor(0.25)
    tensor = case.ours(ps, **{**case.arguments, "lr": rates})
    number = case.ours(copies(ps), **{**case.arguments, "lr": 0.25})
    for optimizer in (tensor, number):
        scheduler = lr_scheduler.StepLR(optimizer, 1, 0.5)
        for step in range(1, 6):
            train(optimizer, [step])
            scheduler.step()
    assert_equal_bits(tensor, number)


@pytest.mark.parametrize("case", [case_of("adamw"), case_of("nadam")], ids=label)
def test_one_cycle_schedules_the_momentum_too(case: Case) -> None:
    start = parameters((6,))
    ours = case.ours(copies(start), **case.arguments)
    theirs = case.theirs(copies(start), **case.torch_arguments)
    schedulers = [lr_scheduler.OneCycleLR(o, 0.1, total_steps=9) for o in (ours, theirs)]
    seen = set()
    for step in range(1, 9):
        for optimizer, scheduler in zip((ours, theirs), schedulers, strict=True):
            train(optimizer, [step])
            scheduler.step()
        seen.add(ours.param_groups[0]["betas"][0])
    assert len(seen) > 4
    mine, others = tensors(ours), tensors(theirs)
    for name, value in mine.items():
        torch.testing.assert_close(value, others[name], rtol=1e-5, atol=1e-6)


@by_class
def test_groups_have_their_own_hyperparameters_and_options(case: Case) -> None:
    ps = parameters((6,), (3, 2))[:2]
    special = {"lr": 0.125, "weight_decay": 0.5, "maximize": True}
    groups = [{"params": [ps[0]], **special}, {"params": [ps[1]]}]
    train(case.ours(groups, **case.arguments), [1, 2, 4, 5])
    for index, arguments in enumerate(({**case.arguments, **special}, case.arguments)):
        start = parameters((6,), (3, 2))
        alone = case.ours([start[index]], **arguments)
        for step in (1, 2, 4, 5):
            start[index].grad = gradients(start, step)[index]
            alone.step()
        assert torch.equal(start[index], ps[index])


@by_class
def test_options_may_change_between_steps(case: Case) -> None:
    optimizer = train(case.ours(parameters((6,)), **case.arguments), [1, 2])
    before = optimizer.param_groups[0]["params"][0].detach().clone()
    optimizer.param_groups[0].update(lr=0.0, weight_decay=0.0)
    train(optimizer, [4])
    still = optimizer.param_groups[0]["params"][0].detach()
    if case.spec.torch_class:  # a velocity that holds the learning rate would go on
        assert torch.equal(still, before)
    optimizer.param_groups[0].update(lr=1.0, maximize=True)
    train(optimizer, [5])
    assert not torch.equal(optimizer.param_groups[0]["params"][0], before)


@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_momentum_may_be_switched_on_between_steps(name: str) -> None:
    import generated.torch as ours

    optimizer = train(getattr(ours, name)(parameters((6,)), lr=0.1), [1, 2])
    assert "momentum_buffer" not in optimizer.state[optimizer.param_groups[0]["params"][0]]
    optimizer.param_groups[0]["momentum"] = 0.9
    train(optimizer, [4])
    buffer = optimizer.state[optimizer.param_groups[0]["params"][0]]["momentum_buffer"]
    assert buffer.abs().sum() > 0


@by_class
def test_a_group_can_be_added_while_training(case: Case) -> None:
    first, second = parameters((6,), (3, 2))[:2]
    optimizer = case.ours([first], **case.arguments)
    first.grad = gradients([first], 1)[0]
    optimizer.step()
    optimizer.add_param_group({"params": [second], "lr": 0.5})
    for p in (first, second):
        p.grad = gradients([p], 2)[0]
    optimizer.step()
    (other,) = parameters((6,), (3, 2))[1:2]
    other.grad = gradients([other], 2)[0]
    case.ours([other], **{**case.arguments, "lr": 0.5}).step()
    assert torch.equal(other, second)


@by_class
def test_named_parameters_keep_their_names(case: Case) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = case.ours(model.named_parameters(), **case.arguments)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    train(optimizer, [1, 2])
    saved = optimizer.state_dict()
    unnamed = case.ours(torch.nn.Linear(3, 2).parameters(), **case.arguments)
    unnamed.load_state_dict(saved)
    assert unnamed.param_groups[0]["param_names"] == ["weight", "bias"]
    named = case.ours(torch.nn.Linear(3, 2).named_parameters(), **case.arguments)
    del saved["param_groups"][0]["param_names"]
    named.load_state_dict(saved)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]


@by_class
def test_closures_run_with_gradients_and_give_the_loss(case: Case) -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = case.ours([p], **case.arguments)
    with torch.no_grad():
        loss = optimizer.step(lambda: (p * 2).sum().backward() or torch.tensor(7.0))
    assert loss.item() == 7
    assert torch.equal(p.grad, torch.full((3,), 2.0))
    assert not torch.equal(p, torch.ones(3))
    assert optimizer.step() is None


@by_class
def test_zero_grad(case: Case) -> None:
    ps = parameters((3,))
    optimizer = train(case.ours(ps, **case.arguments), [1])
    optimizer.zero_grad(set_to_none=False)
    assert ps[0].grad is not None
    assert not ps[0].grad.any()
    optimizer.zero_grad()
    assert ps[0].grad is None


@by_class
def test_hooks_run_in_torchs_order(case: Case) -> None:
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    optimizer = case.ours([p], **case.arguments)
    seen: list[str] = []

    def note(word: str) -> Any:
        return lambda *_: seen.append(word)

    moved: list[bool] = []
    handles = [
        register_optimizer_step_pre_hook(note("global before")),
        register_optimizer_step_post_hook(note("global after")),
        optimizer.register_step_pre_hook(note("before")),
        optimizer.register_step_post_hook(note("after")),
        optimizer.register_step_pre_hook(lambda *_: moved.append(torch.equal(p, torch.ones(2)))),
        optimizer.register_step_post_hook(lambda *_: moved.append(torch.equal(p, torch.ones(2)))),
    ]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    optimizer.step()
    assert seen == ["global before", "before", "after", "global after"]
    assert moved == [True, False]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_an_infinity_changes_nothing_and_a_scale_is_divided_out(case: Case) -> None:
    ps = parameters((6,), (2, 2))
    scaled, plain = (case.ours(copies(ps), **case.arguments) for _ in range(2))
    for step in (1, 2, 4):
        found = scaled.param_groups[0]["params"]
        for p, g in zip(found, gradients(found, step), strict=True):
            p.grad = g * 1024
        before = bits(scaled)
        scaled.grad_scale = torch.tensor(1024.0)
        scaled.found_inf = torch.tensor(1.0)
        scaled.step()
        assert same(before, bits(scaled))
        scaled.found_inf = torch.tensor(0.0)
        scaled.step()
        assert torch.equal(found[0].grad, gradients(found, step)[0])  # torch's fused ones do so
        train(plain, [step])
        assert_equal_bits(scaled, plain)


def marks(optimizer: Any) -> bool:
    """Whether `GradScaler` and its users take it that the step unscales gradients itself."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


@by_class
def test_only_instances_that_ask_for_it_unscale_gradients_themselves(case: Case) -> None:
    """As torch's: with `fused`, and these classes with `capturable`, too."""
    assert not marks(case.ours)
    assert not marks(case.ours(parameters((2,)), **case.arguments))
    for name in ("fused", "capturable"):
        if name not in case.ours([torch.nn.Parameter(torch.ones(1))]).defaults:
            continue
        optimizer = case.ours(parameters((2,)), **case.arguments, **{name: True})
        if case.spec.torch_class and name == "fused":
            assert marks(case.theirs(parameters((2,)), **case.torch_arguments, fused=True))
        for one in (optimizer, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert marks(one)
        assert not marks(case.ours(parameters((2,)), **case.arguments, **{name: False}))


@pytest.mark.parametrize("fused", [None, True])
@by_class
def test_grad_scaler_hands_the_scale_over_or_unscales(case: Case, fused: bool | None) -> None:
    ps = parameters((6,))
    arguments = dict(case.arguments)
    if "fused" in case.ours(copies(ps)).defaults:
        arguments["fused"] = fused
    elif fused:
        return
    scaled, plain = (case.ours(copies(ps), **arguments) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
    (p, q) = (optimizer.param_groups[0]["params"][0] for optimizer in (scaled, plain))
    steps: list[int] = []
    scaled.register_step_pre_hook(lambda *_: steps.append(len(steps)))
    for step in range(6):
        factor = float("inf") if step == 2 else 1.5
        scaled.zero_grad()
        scaler.scale((p * p).sum() * factor).backward()
        before = bits(scaled)
        if step == 4:
            scaler.unscale_(scaled)
        scaler.step(scaled)
        scaler.update()
        if step == 2:
            assert same(before, bits(scaled))
            continue
        plain.zero_grad()
        ((q * q).sum() * factor).backward()
        plain.step()
    assert len(steps) == (6 if fused else 5)
    assert_equal_bits(scaled, plain)


def test_a_scaled_half_gradient_is_not_rounded_before_the_step() -> None:
    import generated.torch as ours

    for dtype in (torch.float16, torch.bfloat16):
        g = torch.tensor([2.0**-24 if dtype == torch.float16 else 1.0], dtype=dtype)
        expected = g.float().numpy()[0] / torch.tensor(3.0).numpy()
        p = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
        p.grad = g
        optimizer = ours.MomentumEma([p], beta=0.0)
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(3.0), torch.tensor(0.0)
        optimizer.step()
        assert optimizer.state[p]["v"].item() == expected


@by_class
def test_copies_and_pickles_go_on_alone(case: Case) -> None:
    optimizer = train(case.ours(parameters((6,), (2, 2)), **case.arguments), [1, 2])
    stream = io.BytesIO()
    torch.save(optimizer, stream)
    stream.seek(0)
    others = [
        copy.deepcopy(optimizer),
        pickle.loads(pickle.dumps(optimizer)),
        torch.load(stream, weights_only=False),
    ]
    public = {name for name in vars(optimizer) if not name.startswith("_")}
    before = bits(optimizer)
    for other in others:
        assert {name for name in vars(other) if not name.startswith("_")} == public
        assert type(other) is type(optimizer)
        assert_equal_bits(optimizer, other)
        train(other, [4, 5])
    assert same(before, bits(optimizer))
    train(optimizer, [4, 5])
    for other in others:
        assert_equal_bits(optimizer, other)


@by_class
def test_an_optimizer_prints_its_groups(case: Case) -> None:
    text = repr(case.ours(parameters((2,)), **case.arguments))
    assert text.startswith(f"{case.ours.__name__} (\nParameter Group 0\n")
    for name, value in case.arguments.items():
        assert f"    {name}: {value}\n" in text


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_it_prints_as_torchs_class_does(case: Case) -> None:
    ours = repr(case.ours(parameters((2,)), **case.arguments)).split("\n")
    theirs = repr(case.theirs(parameters((2,)), **case.torch_arguments)).split("\n")
    assert ours[1:] == theirs[1:]


@pytest.mark.parametrize("case", [c for c in PLAIN if c.spec.torch_class], ids=label)
def test_settings_of_torchs_class_change_no_bit(case: Case) -> None:
    """`foreach` and `fused`, where torch's class has them."""
    signature = case.spec.torch.signature if case.spec.torch else ()
    start = parameters((6,), (3, 3))
    plain = train(case.ours(copies(start), **case.arguments), range(1, 6))
    for name in ("foreach", "fused"):
        for value in (True, False, None):
            if name in signature:
                arguments = {**case.arguments, name: value}
                other = train(case.ours(copies(start), **arguments), range(1, 6))
                assert_equal_bits(plain, other)
            else:
                with pytest.raises(TypeError, match=name):
                    case.ours(copies(start), **{name: value})


@pytest.mark.parametrize("case", WITH_TORCH, ids=label)
def test_the_fused_class_of_torch_agrees_in_float64(case: Case) -> None:
    assert case.spec.torch is not None
    if "fused" not in case.spec.torch.signature or case.name == "nesterov":
        return
    start = parameters((6,), (3, 3), dtype=torch.float64)
    ours = case.ours(copies(start), **case.arguments, fused=True)
    theirs = case.theirs(copies(start), **case.torch_arguments, fused=True)
    scale = Scale()
    for step in range(1, 12):
        train(ours, [step])
        train(theirs, [step])
        assert scale.departure(ours, theirs) <= 1e-12


@by_class
def test_states_can_be_shared_between_processes(case: Case) -> None:
    optimizer = train(case.ours(parameters((6,)), **case.arguments), [1])
    optimizer.share_memory()
    assert all(v.is_shared() for s in optimizer.state.values() for v in s.values() if v.numel())
