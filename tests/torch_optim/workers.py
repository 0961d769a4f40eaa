"""What two processes of `test_distributed` do; each prints what it has compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

STEPS = 8
CLASSES = ("AdamW", "NAdam", "SGD", "Lion")


def model() -> torch.nn.Sequential:
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 10), torch.nn.Tanh(), torch.nn.Linear(10, 4)
    ).double()


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of 8 samples, of which each process gets half."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    return x, torch.randn(8, 4, generator=generator, dtype=torch.float64)


def arguments(name: str) -> dict[str, Any]:
    extra = {"momentum": 0.9} if name == "SGD" else {}
    return {"lr": 1e-2, "weight_decay": 0.1, **extra}


def train(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range, half: int | None
) -> None:
    for step in steps:
        x, y = batch(step)
        if half is not None:
            x, y = x[4 * half : 4 * half + 4], y[4 * half : 4 * half + 4]
        optimizer.zero_grad()
        ((network(x) - y) ** 2).mean().backward()
        optimizer.step()


def alone(name: str) -> list[torch.Tensor]:
    """The parameters after training in one process."""
    import generated.torch as ours

    network = model()
    train(network, getattr(ours, name)(network.parameters(), **arguments(name)), range(STEPS), None)
    return [p.detach() for p in network.parameters()]


def compare(network: torch.nn.Module, name: str) -> None:
    for p, expected in zip(network.parameters(), alone(name), strict=True):
        found = p.detach()
        if hasattr(found, "full_tensor"):
            found = found.full_tensor()
        # Two halves of a batch are summed in another order.
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def ddp(rank: int, name: str, _: Path) -> None:
    import generated.torch as ours

    network = torch.nn.parallel.DistributedDataParallel(model())
    optimizer = getattr(ours, name)(network.parameters(), **arguments(name))
    train(network, optimizer, range(STEPS), rank)
    compare(network.module, name)


def zero(rank: int, name: str, _: Path) -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    import generated.torch as ours

    network = torch.nn.parallel.DistributedDataParallel(model())
    optimizer = ZeroRedundancyOptimizer(
        network.parameters(), optimizer_class=getattr(ours, name), **arguments(name)
    )
    train(network, optimizer, range(STEPS), rank)
    compare(network.module, name)
    assert 0 < len(optimizer.optim.state) < len(list(network.parameters()))


def sharded() -> torch.nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = model()
    mesh = init_device_mesh("cpu", (2,))
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


def fsdp(rank: int, name: str, _: Path) -> None:
    from torch.distributed.tensor import DTensor

    import generated.torch as ours

    network = sharded()
    optimizer = getattr(ours, name)(network.parameters(), **arguments(name))
    train(network, optimizer, range(STEPS), rank)
    compare(network, name)
    for p, state in optimizer.state.items():
        assert isinstance(p, DTensor)
        kept = [value for value in state.values() if value.ndim]
        assert all(isinstance(v, DTensor) and v.placements == p.placements for v in kept)


def checkpoint(rank: int, name: str, folder: Path) -> None:
    """Half of the steps, a checkpoint, and the other half from it, in FSDP2."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    import generated.torch as ours

    first = sharded()
    optimizer = getattr(ours, name)(first.parameters(), **arguments(name))
    train(first, optimizer, range(STEPS // 2), rank)
    weights, states = get_state_dict(first, optimizer)
    dcp.save({"model": weights, "optimizer": states}, checkpoint_id=str(folder / name))

    second = sharded()
    for p in second.parameters():
        p.data.mul_(0.5)
    other = getattr(ours, name)(second.parameters(), **{**arguments(name), "lr": 0.5})
    weights, states = get_state_dict(second, other)
    loaded = {"model": weights, "optimizer": states}
    dcp.load(loaded, checkpoint_id=str(folder / name))
    set_state_dict(
        second, other, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"]
    )
    train(second, other, range(STEPS // 2, STEPS), rank)
    compare(second, name)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        for work in (ddp, zero, fsdp, checkpoint):
            for name in CLASSES:
                work(rank, name, folder)
                print(work.__name__, name)
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
    # A thread of torch that asks for Python's lock while the interpreter is taken down ends the
    # process with SIGABRT, now and then: all has been compared, nothing of that is left to run.
    sys.stdout.flush()
    os._exit(0)
