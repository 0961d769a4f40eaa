"""Checkpoints and arguments of the classes, beside those of torch."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import generated.torch as ours

from .lines import Case, beside, line, parameter, said, stepped

SAME = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")


def _refused(what: str, torchs: str, load: Callable[[], Any], *names: str) -> Case:
    """Right is an error at load that names what is wrong."""
    error, text = said(load)
    right = isinstance(error, KeyError | ValueError) and any(name in text for name in names)
    return Case(what, torchs, text if isinstance(error, Exception) else "accepted", right)


def _loaded_and_stepped(optimizer: Any, saved: Any) -> None:
    optimizer.load_state_dict(copy.deepcopy(saved))
    optimizer.step()


@line("a checkpoint that is not this optimizer's is refused")
def foreign() -> Iterator[Case]:
    """Missing or foreign states, group keys or counters."""
    adamax = stepped(torch.optim.Adamax([parameter(1.0)]), 3000).state_dict()
    sgd = stepped(torch.optim.SGD([parameter(1.0)], momentum=0.9)).state_dict()
    bare = stepped(torch.optim.SGD([parameter(1.0)])).state_dict()
    no_step = stepped(torch.optim.Adam([parameter(1.0)])).state_dict()
    del no_step["state"][0]["step"]
    no_key = stepped(torch.optim.Adam([parameter(1.0)])).state_dict()
    del no_key["param_groups"][0]["betas"]
    for what, name, saved, words in [
        ("Adamax's in Adam", "Adam", adamax, ("exp_avg_sq", "exp_inf")),
        (
            "SGD's with momentum in AdamW",
            "AdamW",
            sgd,
            ("momentum_buffer", "exp_avg", "step", "betas"),
        ),
        ("SGD's without states in AdamW", "AdamW", bare, ("betas",)),
        ("Adam's without `step`", "Adam", no_step, ("step",)),
        ("Adam's without `betas`", "Adam", no_key, ("betas",)),
    ]:
        theirs = getattr(torch.optim, name)([parameter(1.0)])
        mine = getattr(ours, name)([parameter(1.0)])
        _, text = said(lambda o=theirs, s=saved: _loaded_and_stepped(o, s))
        load = lambda o=mine, s=saved: o.load_state_dict(copy.deepcopy(s))  # noqa: E731
        yield _refused(what, text, load, *words)


@line("a checkpoint of torch's same class loads, whatever its age")
def older() -> Iterator[Case]:
    """The step as a number, and flags that older versions did not have."""
    flags = {"maximize", "foreach", "capturable", "differentiable", "fused"}
    for name in SAME:
        first = stepped(getattr(torch.optim, name)([parameter(1.0, 2.0)], lr=0.01), 3)
        saved = first.state_dict()
        for state in saved["state"].values():
            if "step" in state:
                state["step"] = float(state["step"])
        for group in saved["param_groups"]:
            for flag in flags:
                group.pop(flag, None)

        def resumed(make: Any, saved: Any = saved) -> Any:
            optimizer = make([parameter(1.0, 2.0)], lr=0.5, maximize=True)
            _loaded_and_stepped(optimizer, saved)
            return optimizer.param_groups[0]["params"][0]

        yield beside(name, resumed, getattr(torch.optim, name), getattr(ours, name))


@line("Adam and AdamW take each other's checkpoints as torch's do")
def relatives() -> Iterator[Case]:
    """AdamW decouples the decay of what it loads; Adam takes the decoupled decay."""
    for source, target in (("Adam", "AdamW"), ("AdamW", "Adam")):
        made = getattr(torch.optim, source)([parameter(1.0, 2.0)], lr=0.1, weight_decay=0.5)
        saved = stepped(made, 3).state_dict()

        def resumed(make: Any, saved: Any = saved) -> Any:
            p = parameter(1.0, 2.0)
            optimizer = make([p])
            optimizer.load_state_dict(copy.deepcopy(saved))
            stepped(optimizer, 3)
            return p

        theirs, mine = getattr(torch.optim, target), getattr(ours, target)
        yield beside(f"{source}'s in {target}", resumed, theirs, mine)


@line("wrong arguments are refused, not ignored")
def arguments() -> Iterator[Case]:
    """Entries too many, types that are no floating type."""

    def made(make: Any, **given: Any) -> Any:
        return stepped(make([parameter(1.0)], **given)).param_groups[0]["params"][0]

    for betas in ((0.9, 0.99, 0.999), (0.9,)):
        _, text = said(lambda b=betas: made(torch.optim.Adam, betas=b))
        error, mine = said(lambda b=betas: ours.Adam([parameter(1.0)], betas=b))
        right = isinstance(error, Exception)
        yield Case(f"betas={betas}", text, mine if right else "accepted", right)
    for wrong in (torch.int32, "float32", torch.complex64):
        error, mine = said(lambda w=wrong: ours.Adam([parameter(1.0)], state_dtype=w))
        right = isinstance(error, ValueError | TypeError) and "state_dtype" in mine
        mine = mine if isinstance(error, Exception) else "accepted"
        yield Case(f"state_dtype={wrong!r}", "has no such argument", mine, right)


@line("numbers are refused where torch refuses them, and nowhere else")
def domains() -> Iterator[Case]:
    """What torch's constructors and steps accept is accepted, and gives torch's numbers."""

    def run(make: Any, given: dict[str, Any]) -> Any:
        p = parameter(1.0, -2.0, dtype=torch.float64)
        return stepped(make([p], **given), 3).param_groups[0]["params"][0]

    for name, given in [
        ("SGD", {"lr": 0.1, "momentum": 1.0}),
        ("SGD", {"lr": 0.1, "momentum": 1.5, "dampening": 2.0}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": -1.0}),
        ("SGD", {"lr": 0.1, "momentum": -0.1}),
        ("RMSprop", {"lr": 0.1, "alpha": 1.0}),
        ("RMSprop", {"lr": 0.1, "momentum": 1.0}),
        ("RMSprop", {"lr": 0.1, "alpha": -0.1}),
        ("Adadelta", {"lr": 0.1, "rho": 1.0}),
        ("Adadelta", {"lr": 0.1, "rho": 1.1}),
        ("Adam", {"betas": (1.0, 0.9)}),
        ("Adam", {"lr": -0.1}),
    ]:
        what = f"{name}({', '.join(f'{k}={v}' for k, v in given.items())})"
        theirs, mine = getattr(torch.optim, name), getattr(ours, name)
        yield beside(what, lambda make, g=given: run(make, g), theirs, mine, 1e-12)

    def negative(make: Any) -> Any:
        p = parameter(1.0, -2.0, dtype=torch.float64)
        optimizer = make([p], lr=0.1)
        optimizer.param_groups[0]["lr"] = -0.1
        return stepped(optimizer, 2).param_groups[0]["params"][0]

    for name in SAME:
        theirs, mine = getattr(torch.optim, name), getattr(ours, name)
        yield beside(f"{name}: a group's lr is set to -0.1", negative, theirs, mine, 1e-6)


@line("a state dict has torch's keys and no others")
def keys() -> Iterator[Case]:
    """In groups and states, when it is new, copied, or loaded."""
    for name in (*SAME, "Lion"):

        def groups(make: Any) -> set[str]:
            p = parameter(1.0)
            optimizer = copy.deepcopy(stepped(make([p])))
            return set(optimizer.state_dict()["param_groups"][0])

        mine = groups(getattr(ours, name))
        if name == "Lion":
            more = mine - set(inspect.signature(ours.Lion.__init__).parameters) - {"params"}
            more |= mine & {"state_dtype"}
            yield Case(name, "has no Lion", f"more: {sorted(more)}", not more)
            continue
        theirs = groups(getattr(torch.optim, name))
        text = f"more: {sorted(mine - theirs)}, missing: {sorted(theirs - mine)}"
        yield Case(name, f"{len(theirs)} keys", text, mine == theirs)


@line("torch.distributed.checkpoint saves and loads, both ways")
def distributed() -> Iterator[Case]:
    """One process; the state dict is that of `torch.distributed.checkpoint.state_dict`."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    def model() -> torch.nn.Module:
        torch.manual_seed(0)
        made = torch.nn.Linear(3, 2)
        made(torch.ones(1, 3)).sum().backward()
        return made

    def through(first: Any, second: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            source = model()
            optimizer = stepped(first(source.parameters(), lr=0.1), 2)
            saved = {"o": get_optimizer_state_dict(source, optimizer)}
            dcp.save(saved, checkpoint_id=Path(folder) / "c", no_dist=True)
            target = model()
            target.load_state_dict(source.state_dict())
            resumed = second(target.parameters())
            wanted = {"o": get_optimizer_state_dict(target, resumed)}
            try:
                dcp.load(wanted, checkpoint_id=Path(folder) / "c", no_dist=True)
            except dcp.CheckpointException as error:  # no Exception, it tells of every process
                raise next(iter(error.failures.values()))[0] from None
            set_optimizer_state_dict(target, resumed, wanted["o"])
            return stepped(resumed).param_groups[0]["params"][0]

    for name in SAME:
        theirs, mine = getattr(torch.optim, name), getattr(ours, name)
        yield beside(f"torch's {name}, then ours", lambda t, m=theirs: through(m, t), theirs, mine)
        yield beside(f"our {name}, then torch's", lambda t, m=theirs: through(t, m), theirs, mine)
