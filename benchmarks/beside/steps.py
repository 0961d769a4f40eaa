"""Steps of the classes, beside those of torch."""

from __future__ import annotations

import copy
import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import torch

import generated.torch as ours

from .checkpoints import SAME
from .lines import Case, beside, close, line, parameter, said, shown, stepped

_OPTIMIZER = torch.optim.Optimizer
OURS = [n for n in ours.__all__ if n != "Optimizer" and issubclass(getattr(ours, n), _OPTIMIZER)]


def theirs_of(name: str) -> Any:
    """Torch's class for one of ours; SGD with momentum for those that torch has not."""
    if name in SAME:
        return getattr(torch.optim, name)
    return lambda params, **given: torch.optim.SGD(params, momentum=0.9, **given)


@line("nothing keeps a tensor alive that groups and states do not hold")
def memory() -> Iterator[Case]:
    """Parameters that were replaced, states that were moved or dropped."""

    def replaced(make: Any) -> str:
        optimizer = stepped(make([parameter(1.0)], lr=0.1), 2)
        group = optimizer.param_groups[0]
        old = weakref.ref(group["params"][0])
        optimizer.state.pop(group["params"][0], None)
        group["params"][0] = parameter(2.0, 3.0)
        stepped(optimizer, 2)
        gc.collect()
        return "freed" if old() is None else "alive"

    def moved(make: Any) -> str:
        optimizer = stepped(make([parameter(1.0)], lr=0.1), 2)
        state = optimizer.state[optimizer.param_groups[0]["params"][0]]
        old = [weakref.ref(value) for value in state.values()]
        for key in list(state):
            state[key] = state[key].clone()
        gc.collect()
        return "alive" if any(ref() is not None for ref in old) else "freed"

    def cleared(make: Any) -> str:
        optimizer = stepped(make([parameter(1.0)], lr=0.1), 2)
        old = [weakref.ref(v) for s in optimizer.state.values() for v in s.values()]
        optimizer.state.clear()
        gc.collect()
        return "alive" if any(ref() is not None for ref in old) else "freed"

    for what, run in (
        ("a parameter that was replaced", replaced),
        ("states that were moved", moved),
        ("states that were dropped", cleared),
    ):
        kept = [name for name in OURS if run(getattr(ours, name)) != "freed"]
        text = f"kept by {', '.join(kept)}" if kept else "freed by all classes"
        yield Case(what, run(torch.optim.Adam), text, not kept)


@line("float16 gradients are unscaled before they are rounded")
def scaled() -> Iterator[Case]:
    """A gradient of 1e-8, scaled by 65536: unscaled in float16 it would be 0."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for flags in ({}, {"fused": True}):

            def run(make: Any, device: str = device, flags: Any = flags) -> Any:
                p = torch.nn.Parameter(torch.ones(2, dtype=torch.float16, device=device))
                p.grad = torch.full_like(p, 65536 * 1e-8)
                optimizer = make([p], lr=0.5, eps=0.0, **flags)
                optimizer.grad_scale = torch.full((), 65536.0, device=device)
                optimizer.found_inf = torch.zeros((), device=device)
                optimizer.step()
                return p

            told = ", ".join(f"{k}={v}" for k, v in flags.items()) or "no flags"
            _, text = said(lambda r=run: r(torch.optim.Adam, flags={"fused": True}))
            value, mine = said(lambda r=run: r(ours.Adam))
            right = close(value, torch.full((2,), 0.5))
            yield Case(f"{device}, {told}: p is 1 - lr", f"fused: {text}", mine, right)


@line("a decay of zero leaves infinite parameters alone")
def no_decay() -> Iterator[Case]:
    """0 times infinity is NaN; torch does not multiply."""

    def run(make: Any) -> Any:
        p = parameter(-torch.inf, 1.0)
        return stepped(make([p], lr=0.1, weight_decay=0.0), 3).param_groups[0]["params"][0]

    for name in OURS:
        theirs, theirs_text = said(lambda n=name: run(theirs_of(n)))
        mine, text = said(lambda n=name: run(getattr(ours, n)))
        right = isinstance(mine, torch.Tensor) and mine[0].item() == theirs[0].item() == -torch.inf
        yield Case(name, theirs_text, text, right)


@line("a step bumps the version counters that torch's bumps")
def versions() -> Iterator[Case]:
    """Without that, a backward pass through old values gives a wrong gradient in silence."""

    def late(make: Any) -> Any:
        p = parameter(2.0, 3.0)
        loss = (p * p).sum()
        make([p], lr=0.1).step()
        loss.backward()
        return p.grad

    def bumped(make: Any) -> set[str]:
        p = parameter(2.0, 3.0)
        optimizer = stepped(make([p], lr=0.1))
        written = {"parameter": p, **optimizer.state[p]}
        before = {name: value._version for name, value in written.items()}
        optimizer.step()
        return {name for name, value in written.items() if value._version > before[name]}

    for name in OURS:
        case = beside(f"{name}: a late backward", late, theirs_of(name), getattr(ours, name))
        yield case
        mine = bumped(getattr(ours, name))
        if name in SAME:
            wanted = bumped(theirs_of(name)) - {"mu_product"} | (mine & {"mu_product"})
        else:
            wanted = mine | {"parameter"}
        texts = [", ".join(sorted(found)) or "nothing" for found in (wanted, mine)]
        yield Case(f"{name}: what was bumped", *texts, mine >= wanted)


@line("tensors that are views in disguise are trained or refused")
def disguised() -> Iterator[Case]:
    """Lazy conjugation, lazy negation, and memory that several elements share."""

    def conjugated(make: Any, lazy: bool) -> Any:
        z = torch.tensor([1 + 2j, 3 - 1j]).conj()
        p = torch.nn.Parameter(z if lazy else z.resolve_conj())
        p.grad = torch.ones_like(p)
        make([p], lr=0.1).step()
        return torch.view_as_real(p.detach().resolve_conj())

    def negated(make: Any, lazy: bool) -> Any:
        x = torch.tensor([1 + 2j, 3 - 1j]).conj().imag
        p = torch.nn.Parameter(x if lazy else x.resolve_neg())
        p.grad = torch.ones_like(p)
        make([p], lr=0.1).step()
        return p.detach().resolve_neg()

    def lazy_gradient(make: Any, lazy: bool) -> Any:
        p = torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))
        g = torch.tensor([1 + 2j, 3 - 1j]).conj()
        p.grad = g if lazy else g.resolve_conj()
        make([p], lr=0.1).step()
        return torch.view_as_real(p.detach())

    def expanded(make: Any) -> Any:
        first = parameter(1.0)
        p = torch.nn.Parameter(torch.ones(1).expand(3))
        p.grad = torch.ones(3)
        optimizer = make([first, p], lr=0.1)
        try:
            optimizer.step()
        except RuntimeError as error:
            return f"{type(error).__name__}, p = {p.tolist()}"
        return f"no error, p = {p.tolist()}"

    def half_done(make: Any) -> Any:
        first = parameter(1.0)
        p = torch.nn.Parameter(torch.ones(1).expand(3))
        p.grad = torch.ones(3)
        said(make([first, p], lr=0.1).step)
        return first

    for what, run in (
        ("a lazy conjugate as parameter", conjugated),
        ("a lazy negative as parameter", negated),
        ("a lazy conjugate as gradient", lazy_gradient),
    ):
        for name in ("SGD", "Adam"):
            theirs, mine = getattr(torch.optim, name), getattr(ours, name)
            _, text = said(lambda r=run, t=theirs: r(t, lazy=True))
            plain = run(theirs, lazy=False)
            value, own = said(lambda r=run, m=mine: r(m, lazy=True))
            right = isinstance(value, RuntimeError) or close(value, plain)
            yield Case(f"{name}: {what}, {shown(plain)} without", text, own, right)
    for name in ("SGD", "Adam"):
        theirs, mine = getattr(torch.optim, name), getattr(ours, name)
        _, text = said(lambda t=theirs: expanded(t))
        _, own = said(lambda m=mine: expanded(m))
        right = own.startswith("RuntimeError, p = [1.0, 1")
        yield Case(f"{name}: a parameter whose elements share memory", text, own, right)
        _, text = said(lambda t=theirs: half_done(t))
        value, own = said(lambda m=mine: half_done(m))
        right = close(value, torch.ones(1))
        yield Case(f"{name}: a parameter before it, after the error", text, own, right)


@line("counters count on, whatever type they come in")
def counters() -> Iterator[Case]:
    """bfloat16 stops at 256, float16 at 2048, float32 at 2**24."""
    for dtype, start in (
        (torch.bfloat16, 256.0),
        (torch.float16, 2048.0),
        (torch.float32, 2.0**24),
    ):

        def run(make: Any, dtype: torch.dtype = dtype, start: float = start) -> float:
            optimizer = stepped(make([parameter(1.0)]))
            saved = copy.deepcopy(optimizer.state_dict())
            saved["state"][0]["step"] = torch.tensor(start, dtype=dtype)
            optimizer.load_state_dict(saved)
            stepped(optimizer, 3)
            return float(optimizer.state_dict()["state"][0]["step"])

        _, text = said(lambda r=run: r(torch.optim.Adam))
        value, mine = said(lambda r=run: r(ours.Adam))
        yield Case(f"3 steps from {start:g} in {dtype}", text, mine, value == start + 3)


@line("only instances that were asked to unscale gradients say so")
def amp() -> Iterator[Case]:
    """Lightning, Fabric and accelerate look at it before they clip, or count skipped steps."""
    for name in OURS:
        for flags in ({}, {"foreach": True}, {"fused": True}, {"capturable": True}):
            made, _ = said(lambda n=name, f=flags: getattr(ours, n)([parameter(1.0)], **f))
            if isinstance(made, Exception):
                continue
            mine = bool(getattr(made, "_step_supports_amp_scaling", False))
            wanted = bool(flags.get("fused") or flags.get("capturable"))
            if name in SAME and "capturable" not in flags:
                theirs = getattr(torch.optim, name)([parameter(1.0)], **flags)
                text = str(bool(getattr(theirs, "_step_supports_amp_scaling", False)))
            else:
                text = "has no such class" if name not in SAME else "unscales before the step"
            told = ", ".join(f"{k}={v}" for k, v in flags.items()) or "no flags"
            yield Case(f"{name}, {told}", text, str(mine), mine == wanted)


@line("traced steps have the update in them, or there is no trace")
def traced() -> Iterator[Case]:
    """Fake tensors, `make_fx` and meta tensors."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    def meta(make: Any) -> str:
        p = torch.nn.Parameter(torch.ones(2, device="meta"))
        p.grad = torch.ones(2, device="meta")
        optimizer = stepped(make([p], foreach=False), 2)
        return ", ".join(
            f"{key}: {value.device.type} {shown_shape(value)}"
            for key, value in sorted(optimizer.state[p].items())
            if key != "step"
        )

    def fake(make: Any) -> str:
        with FakeTensorMode():
            p = torch.nn.Parameter(torch.ones(2))
            p.grad = torch.ones(2)
            optimizer = stepped(make([p], foreach=False), 2)
            return ", ".join(
                f"{key}: {type(value).__name__} {shown_shape(value)}"
                for key, value in sorted(optimizer.state[p].items())
                if key != "step"
            )

    def traced_update(make: Any) -> Any:
        def step(value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
            p = value.clone()
            p.grad = gradient
            make([p], lr=0.5, foreach=False).step()
            return p

        graph = make_fx(step)(torch.ones(2), torch.ones(2))
        return graph(torch.ones(2), torch.ones(2))

    for name in ("SGD", "Adam"):
        theirs, mine = getattr(torch.optim, name), getattr(ours, name)
        for what, run in (("meta", meta), ("fake tensors", fake), ("make_fx", traced_update)):
            value, text = said(lambda r=run, t=theirs: r(t))
            own, own_text = said(lambda r=run, m=mine: r(m))
            same = own == value if isinstance(value, str) else close(own, value)
            right = isinstance(own, RuntimeError | NotImplementedError) or same is True
            yield Case(f"{name}: {what}", text or "no states", own_text or "no states", right)


def shown_shape(value: torch.Tensor) -> str:
    """The sizes of a tensor."""
    return "×".join(map(str, value.shape)) or "one number"


@line("dense tensors in another order are walked in place")
def layouts() -> Iterator[Case]:
    """channels_last and transposed parameters of 4 MiB need no array of their size."""
    for what, permute in (
        ("channels_last", lambda v: v.to(memory_format=torch.channels_last)),
        ("transposed", lambda v: v.transpose(0, 1).contiguous().transpose(0, 1)),
        ("flipped order", lambda v: v.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)),
    ):

        def run(make: Any, permute: Any = permute) -> tuple[Any, Any, int]:
            value = torch.linspace(-1, 1, 1 << 20).reshape(64, 64, 16, 16)
            p = torch.nn.Parameter(permute(value))
            strides = p.stride()
            p.grad = permute(value.square())
            optimizer = stepped(make([p], lr=0.1))
            tracemalloc.start()
            optimizer.step()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert p.stride() == strides
            same = {v.stride() == strides for v in optimizer.state[p].values() if v.ndim == 4}
            return p.detach(), same in ({True}, set()), peak

        for name in ("SGD", "Adam"):
            theirs = run(getattr(torch.optim, name))
            mine = run(getattr(ours, name))
            most = 1 << 21  # half of the parameter's bytes
            text = f"same numbers: {close(mine[0], theirs[0])}, NumPy's arrays: {mine[2] >> 10} KiB"
            right = close(mine[0], theirs[0]) and mine[1] and mine[2] < most
            yield Case(f"{name}, {what}", "in memory order", text, right)


@line("error texts name the devices that torch names")
def texts() -> Iterator[Case]:
    """They depend on torch's version."""

    def capturable(name: str, module: Any) -> Any:
        optimizer = getattr(module, name)([parameter(1.0)], capturable=True)
        return optimizer.step()

    def fused(name: str, module: Any) -> Any:
        p = torch.nn.Parameter(torch.ones(2, device="meta"))
        p.grad = torch.ones(2, device="meta")
        return getattr(module, name)([p], fused=True).step()

    for what, run, names in (
        ("capturable on the CPU", capturable, ("Adam", "NAdam", "RMSprop", "Adadelta")),
        ("fused on meta", fused, ("Adam", "SGD")),
    ):
        for name in names:
            _, theirs = said(lambda r=run, n=name: r(n, torch.optim))
            _, mine = said(lambda r=run, n=name: r(n, ours))
            yield Case(f"{name}, {what}", theirs, mine, mine == theirs)


@line("Lion takes what torch's classes take")
def lion() -> Iterator[Case]:
    """The arguments of an Adam-like class, and schedulers that change betas."""
    for given in (
        {"betas": (0.95, 0.98)},
        {"foreach": True},
        {"fused": True},
        {"betas": (0.9, 0.99), "capturable": False},
    ):
        made, text = said(lambda g=given: stepped(ours.Lion([parameter(1.0)], **g)))
        told = text if isinstance(made, Exception) else "accepted"
        yield Case(f"Lion({given})", "has no Lion; Adam accepts", told, told == "accepted")

    def cycled(make: Any, scheduler: str) -> Any:
        p = parameter(1.0, 2.0)
        optimizer = make([p], lr=0.1)
        if scheduler == "OneCycleLR":
            made = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
        else:
            made = torch.optim.lr_scheduler.CyclicLR(
                optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=True
            )
        seen = []
        for _ in range(5):
            optimizer.step()
            made.step()
            seen.append(optimizer.param_groups[0]["betas"][0])
        return seen

    for scheduler in ("OneCycleLR", "CyclicLR"):
        run = lambda make, s=scheduler: cycled(make, s)  # noqa: E731
        yield beside(f"betas under {scheduler}", run, torch.optim.Adam, ours.Lion)
