"""Optimizers of the catalogue, as their papers write them, against the same written by hand.

Each has an oracle: the algorithm in plain Python, one element at a time. What is built of the spec
has to agree with it, at the defaults and far from them. A spec that lies in this folder is no
member of the catalogue: the two powers of `ftrl_power` take more time than its tensors, and `alig`
leaves the norm of the gradient to the training loop.
"""

from __future__ import annotations

import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from support import STOCK, numpy_of, stock

from stepforge.language.spec import Spec
from stepforge.project.loading import load

from .oracles import averages, denominators, given, moments, momentum

HERE = Path(__file__).parent
MODULES = (averages, denominators, given, moments, momentum)
ORACLES: dict[str, Callable[..., Iterator[float]]] = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if inspect.isgeneratorfunction(function)
}
"""The algorithms by hand, by the names of their specs."""
STEPS = 20

FAR = {
    "lr": 0.05, "weight_decay": 0.3, "eps": 0.03, "momentum": 0.6, "initial": 0.4,
    "beta": 0.8, "beta1": 0.7, "beta2": 0.94, "beta3": 0.8, "beta_low": 0.4, "beta_high": 0.96,
    "alpha": 0.4, "gamma": 0.3, "delta": 0.2, "sigma": 0.93, "nu": 0.4, "nu1": 0.3, "nu2": 0.6,
    "a": 1.1, "b": 1.3, "c": 0.5, "k": 0.7, "q": 0.3, "r": 0.5, "xi": 7, "kappa": 50, "scale": 0.5,
    "k_i": 3, "k_d": 2, "l1": 0.01, "l2": 0.2, "shrinkage": 0.1, "power": -0.3, "lambd": 0.4,
    "t0": 5, "final_lr": 0.4, "base_lr": 0.07, "amplification": 1.5, "switch_rate": 0.09,
    "warmup": 7, "eta_minus": 0.4, "eta_plus": 1.3, "step_min": 0.03, "step_max": 0.1, "ratio": 3,
    "prior": 1e-3, "tau1": 0.7, "tau2": 0.6,
}  # fmt: skip
"""Values far from the defaults, so that the place of each in the formula shows."""
FARTHER = {"cocob": {"eps": 2.0, "alpha": 3}, "sophia_h": {"k": 3}}


@cache
def built(name: str) -> tuple[Spec, types.ModuleType]:
    """A spec of the catalogue or this folder, and its NumPy reference."""
    own = HERE / f"{name}.toml"
    spec = load(own)[0] if own.is_file() else stock(name)
    return spec, numpy_of(spec)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and gradients from 1e-3 to 10 for each step; one element has zeros among them."""
    random = np.random.default_rng(17)
    p = random.standard_normal(12)
    gradients = random.standard_normal((STEPS, 12)) * np.geomspace(1e-3, 10, 12)
    gradients[:, 6] = np.abs(gradients[:, 6])  # and one keeps its sign
    gradients[[0, 1, 4], 7] = 0
    return p, gradients


def inputs(spec: Spec, gradients: np.ndarray) -> dict[str, np.ndarray]:
    """What every step is given beside the gradients: tensors of all signs, numbers from 0 on."""
    random = np.random.default_rng(19)
    found = {}
    for i in spec.inputs:
        found[i.name] = random.standard_normal(gradients.shape) * np.geomspace(10, 0.1, 12)
        if i.scalar:
            found[i.name] = np.abs(found[i.name][:, 0]) * np.geomspace(1e-3, 10, STEPS)
    return found


def walk(
    numpy: types.ModuleType, p: np.ndarray, gradients: np.ndarray,
    read: Mapping[str, np.ndarray] = MappingProxyType({}), **chosen: float,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:  # fmt: skip
    """Parameters and states after each step of the reference that is built of the spec."""
    takes = inspect.signature(numpy.init).parameters
    state = numpy.init(p, **{key: value for key, value in chosen.items() if key in takes})
    for t, g in enumerate(gradients, 1):
        with np.errstate(invalid="ignore"):  # the arm of a choice that is not taken
            now = {name: values[t - 1] for name, values in read.items()}
            p, state = numpy.step(p, g, state, t, **now, **chosen)
        yield p, state


def test_every_oracle_has_its_spec() -> None:
    here = {path.stem for path in HERE.glob("*.toml")}
    assert here <= {*ORACLES} <= {*STOCK} | here
    assert not here & {*STOCK}


@pytest.mark.parametrize("name", ORACLES)
def test_a_spec_is_the_algorithm_by_hand(name: str) -> None:
    spec, numpy = built(name)
    p, gradients = problem()
    read = inputs(spec, gradients)
    defaults = {h.name: h.default for h in spec.hyperparameters}
    far = {key: (FAR | FARTHER.get(name, {}))[key] for key in defaults}
    assert not far.items() & defaults.items()
    for options, numbers in itertools.product(spec.option_sets(), (defaults, far)):
        by_hand = []
        for element, (start, row) in enumerate(zip(p, gradients.T, strict=True)):
            own = {n: x[:, element] if x.ndim > 1 else x for n, x in read.items()}
            given = {n: x.tolist() for n, x in own.items()} | numbers | options
            by_hand.append(list(ORACLES[name](float(start), row.tolist(), **given)))
        steps = walk(numpy, p, gradients, read, **numbers, **options)
        here = np.stack([after for after, _ in steps], axis=1)
        np.testing.assert_allclose(here, by_hand, rtol=1e-12, atol=1e-13)


@pytest.fixture
def _in_float64() -> Iterator[None]:
    """Torch's ASGD keeps its numbers in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


TORCH = {
    "asgd": ("ASGD", {"lr": 0.05, "lambd": 0.4, "alpha": 0.4, "t0": 5, "weight_decay": 0.3}),
    "rprop": ("Rprop", {"lr": 0.05, "etas": (0.4, 1.3), "step_sizes": (0.03, 0.1)}),
}
NAMES = {
    "etas": ("eta_minus", "eta_plus"), "step_sizes": ("step_min", "step_max"),
    "d": "step_size", "g_prev": "prev",
}  # fmt: skip
"""What torch and the specs call the same thing."""


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize("name", TORCH)
def test_a_spec_is_the_class_of_torch(name: str) -> None:
    """Those that torch has as well, with their states."""
    torch_class, arguments = TORCH[name]
    chosen: dict[str, float] = {}
    for key, value in arguments.items():
        chosen |= dict(zip(NAMES[key], value, strict=True)) if key in NAMES else {key: value}
    p, gradients = problem()
    theirs = torch.nn.Parameter(torch.tensor(p))
    optimizer = getattr(torch.optim, torch_class)([theirs], **arguments)
    steps = walk(built(name)[1], p, gradients, **chosen)
    for g, (ours, state) in zip(gradients, steps, strict=True):
        theirs.grad = torch.tensor(g)
        optimizer.step()
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-12, atol=1e-13)
        for key, value in state.items():
            expected = optimizer.state[theirs][NAMES.get(key, key)]
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
