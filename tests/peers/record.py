"""Records what other libraries do, for `test_peers.py` to compare with.

Run with optax, jax, pytorch_optimizer, torch and keras installed, which the tests do not need:

    python tests/peers/record.py

It writes `problem.json` and one file for each library, in float64: where the parameters are after
some of the steps, the hyperparameters under the names of the specs, and the versions. `FORMS` says
where a library has another form of what a spec is about, so that nobody expects the same numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
STEPS = 50
KEPT = (1, 2, 3, 5, 10, 25, 50)
"""The steps after which parameters are recorded."""

Numbers = dict[str, float]
Walk = Iterator[np.ndarray]
LR, BETAS = {"lr": 0.03}, {"beta1": 0.8, "beta2": 0.95}
ADAM = {**LR, **BETAS, "eps": 1e-3}
DECAY = {"weight_decay": 0.1}

FORMS = {
    "optax": {
        "adagrad": "eps lies under the root, and the sum starts at 0.1",
        "adan": "1 - beta2 stands where beta2 is meant, and the decay is not proximal",
        "amsgrad": "the largest of bias-corrected second moments",
        "nadam": "a constant momentum; that is the spec nadamw without weight decay",
        "radam": "eps is added after the bias correction, and 5 itself is rectified",
        "rprop": "one step late",
        "madgrad": "equal to 4e-9: the cube root is computed otherwise",
    },
    "pytorch_optimizer": {
        "adabound": "equal to 3e-9: eps is added to other terms",
        "adamd": "eps is added after the bias correction",
        "adapnm": "equal to 1e-5: 1e-15 is added under the root",
        "adopt": "clips at t**0.25, and decays in the first step",
        "bcos_c": "the new momentum stands where the old one is meant",
        "diffgrad": "equal to 2e-7",
        "laprop": "equal to 4e-7: the bias correction is a running sum of learning rates",
        "qhadam": "the current gradient is mixed in at another place",
        "radam": "no step where it is not rectified",
        "simplified_ademamix": "another normalization",
    },
    "keras": {
        "adagrad": "eps lies under the root, and the sum starts at 0.1",
        "adam": "eps is added before the bias correction",
        "adamax": "eps is added to the norm in each step, where it does not stay",
        "adamw": "eps is added before the bias correction",
        "amsgrad": "the largest second moment is corrected, and eps added before that",
        "nadam": "another decay of the momentum",
        "rmsprop": "eps lies under the root, and the learning rate inside of the momentum",
    },
}
"""Library → spec → what is other there; from their sources."""


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and gradients from 1e-3 to 10; one element has zeros, and one keeps its sign."""
    random = np.random.default_rng(31)
    p = random.standard_normal(6)
    gradients = random.standard_normal((STEPS, 6)) * np.geomspace(1e-3, 10, 6)
    gradients[:, 3] = np.abs(gradients[:, 3])
    gradients[[0, 1, 4], 4] = 0
    return p, gradients


def betas(numbers: Numbers, *names: str) -> tuple[float, ...]:
    """Several numbers as one argument."""
    return tuple(numbers[name] for name in names)


# optax


def with_optax(make: Callable[[Any, Numbers], Any], n: Numbers, p: Any, gradients: Any) -> Walk:
    """The parameters after every step of a transformation."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    transformation = make(optax, n)
    p = jnp.asarray(p)
    state = transformation.init(p)
    for g in gradients:
        updates, state = transformation.update(jnp.asarray(g), state, p)
        p = optax.apply_updates(p, updates)
        yield np.asarray(p)


def _optax_adam(n: Numbers) -> dict[str, float]:
    return {"learning_rate": n["lr"], "b1": n["beta1"], "b2": n["beta2"], "eps": n["eps"]}


def _optax_decay(n: Numbers) -> dict[str, float]:
    return {**_optax_adam(n), "weight_decay": n["weight_decay"]}


def _optax_root(n: Numbers) -> dict[str, float]:
    return {**_optax_adam(n), "eps_root": n["eps_root"]}


OPTAX: dict[str, tuple[Numbers, Callable[[Any, Numbers], Any]]] = {
    "sgd": (LR, lambda o, n: o.sgd(n["lr"])),
    "signsgd": (LR, lambda o, n: o.sign_sgd(n["lr"])),
    "adadelta": (
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3},
        lambda o, n: o.adadelta(n["lr"], rho=n["rho"], eps=n["eps"]),
    ),
    "adam": (ADAM, lambda o, n: o.adam(**_optax_adam(n))),
    "adamw": (ADAM | DECAY, lambda o, n: o.adamw(**_optax_decay(n))),
    "adamax": (ADAM, lambda o, n: o.adamax(**_optax_adam(n))),
    "adamaxw": (ADAM | DECAY, lambda o, n: o.adamaxw(**_optax_decay(n))),
    "nadamw": (ADAM | DECAY, lambda o, n: o.nadamw(**_optax_decay(n))),
    "adabelief": (ADAM, lambda o, n: o.adabelief(**_optax_adam(n), eps_root=n["eps"])),
    "yogi": (ADAM, lambda o, n: o.yogi(**_optax_adam(n))),
    "optimistic_adam": (ADAM, lambda o, n: o.optimistic_adam_v2(**_optax_adam(n))),
    "optimistic_gd": (
        {"lr": 0.01, "alpha": 0.8, "beta": 0.6},
        lambda o, n: o.optimistic_gradient_descent(n["lr"], alpha=n["alpha"], beta=n["beta"]),
    ),
    "rmsprop": (
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3},
        lambda o, n: o.rmsprop(n["lr"], decay=n["alpha"], eps=n["eps"], eps_in_sqrt=False),
    ),
    "lion": (
        LR | BETAS | DECAY,
        lambda o, n: o.lion(n["lr"], b1=n["beta1"], b2=n["beta2"], weight_decay=n["weight_decay"]),
    ),
    "lion_smooth": (
        {**LR, **BETAS, "k": 3.0},
        lambda o, n: o.chain(
            o.scale_by_lion(n["beta1"], n["beta2"], mode="smooth", smooth_beta=n["k"]),
            o.scale(-n["lr"]),
        ),
    ),
    "lion_refined": (
        LR | BETAS,
        lambda o, n: o.chain(
            o.scale_by_lion(n["beta1"], n["beta2"], mode="refined"), o.scale(-n["lr"])
        ),
    ),
    "signum": (LR | {"beta": 0.8}, lambda o, n: o.signum(n["lr"], n["beta"])),
    "acprop": (ADAM, lambda o, n: o.contrib.acprop(**_optax_adam(n), eps_root=n["eps"])),
    "adopt": (ADAM, lambda o, n: o.contrib.adopt(**_optax_adam(n))),
    "ademamix": (
        {**ADAM, "beta3": 0.99, "alpha": 3.0, **DECAY},
        lambda o, n: o.contrib.ademamix(**_optax_decay(n), b3=n["beta3"], alpha=n["alpha"]),
    ),
    "simplified_ademamix": (
        {**ADAM, "alpha": 2.0},
        lambda o, n: o.contrib.simplified_ademamix(**_optax_adam(n), alpha=n["alpha"]),
    ),
    "cocob": (
        {"alpha": 20.0, "eps": 1e-3},
        lambda o, n: o.contrib.cocob(alpha=n["alpha"], eps=n["eps"]),
    ),
    "schedule_free_adamw": (
        {**ADAM, **DECAY},
        lambda o, n: o.contrib.schedule_free_adamw(**_optax_decay(n)),
    ),
    "schedule_free_sgd": (
        {"lr": 0.01, "beta": 0.8},
        lambda o, n: o.contrib.schedule_free_sgd(n["lr"], b1=n["beta"]),
    ),
    "momentum": (
        {"lr": 0.01, "momentum": 0.8},
        lambda o, n: o.sgd(n["lr"], momentum=n["momentum"]),
    ),
    "nesterov": (
        {"lr": 0.01, "momentum": 0.8},
        lambda o, n: o.sgd(n["lr"], momentum=n["momentum"], nesterov=True),
    ),
    "adam_optax": (ADAM | {"eps_root": 1e-4}, lambda o, n: o.adam(**_optax_root(n))),
    "nadam_optax": (ADAM, lambda o, n: o.nadam(**_optax_adam(n))),
    "amsgrad_optax": (ADAM, lambda o, n: o.amsgrad(**_optax_adam(n))),
    "radam_optax": (ADAM, lambda o, n: o.radam(**_optax_adam(n))),
    "rmsprop_optax": (
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8},
        lambda o, n: o.rmsprop(n["lr"], decay=n["alpha"], eps=n["eps"], momentum=n["momentum"]),
    ),
    "adagrad_optax": (
        {"lr": 0.05, "initial_accumulator_value": 0.0, "eps": 1e-3},
        lambda o, n: o.adagrad(
            n["lr"], initial_accumulator_value=n["initial_accumulator_value"], eps=n["eps"]
        ),
    ),
    "adan_optax": (
        {"lr": 0.03, "beta1": 0.9, "beta2": 0.8, "beta3": 0.95, "eps": 1e-3} | DECAY,
        lambda o, n: o.adan(**_optax_decay(n), b3=n["beta3"]),
    ),
    "rprop_optax": (
        {"lr": 0.01, "eta_minus": 0.6, "eta_plus": 1.3, "step_min": 1e-3, "step_max": 0.1},
        lambda o, n: o.rprop(
            n["lr"], eta_minus=n["eta_minus"], eta_plus=n["eta_plus"],
            min_step_size=n["step_min"], max_step_size=n["step_max"],
        ),
    ),
}  # fmt: skip


# pytorch_optimizer


def with_torch(
    make: Callable[[Any, Any, Numbers], Any], n: Numbers, p: Any, gradients: Any
) -> Walk:
    """The parameters after every step of a class."""
    import pytorch_optimizer
    import torch

    torch.set_default_dtype(torch.float64)
    parameter = torch.nn.Parameter(torch.tensor(p))
    optimizer = make(pytorch_optimizer, [parameter], n)
    if hasattr(optimizer, "train"):
        optimizer.train()
    for g in gradients:
        parameter.grad = torch.tensor(g)
        optimizer.step()
        yield parameter.detach().numpy().copy()


def _kozistr(name: str, **more: Any) -> Callable[[Any, Any, Numbers], Any]:
    """A class with `lr`, `betas`, `eps` and what has the same name as in the spec."""

    def make(library: Any, parameters: Any, n: Numbers) -> Any:
        numbers = {k: v for k, v in n.items() if not k.startswith("beta") or k == "beta"}
        several = tuple(v for k, v in n.items() if k.startswith("beta") and k != "beta")
        given = {"betas": several} if several else {}
        return getattr(library, name)(parameters, **{**numbers, **given, **more})

    return make


PYTORCH_OPTIMIZER: dict[str, tuple[Numbers, Callable[[Any, Any, Numbers], Any]]] = {
    "signsgd": (LR, _kozistr("SignSGD", momentum=0.0)),
    "signum": (
        LR | {"beta": 0.8},
        lambda k, p, n: k.SignSGD(p, lr=n["lr"], momentum=n["beta"]),
    ),
    "tiger": (LR | {"beta": 0.8} | DECAY, _kozistr("Tiger")),
    "qhm": (
        LR | {"beta": 0.8, "nu": 0.6},
        lambda k, p, n: k.QHM(p, lr=n["lr"], momentum=n["beta"], nu=n["nu"]),
    ),
    "aggmo": ({"lr": 0.01, "beta1": 0.1, "beta2": 0.7, "beta3": 0.95}, _kozistr("AggMo")),
    "pnm": (
        {"lr": 0.01, "beta1": 0.8, "beta": 0.6},
        lambda k, p, n: k.PNM(p, lr=n["lr"], betas=betas(n, "beta1", "beta")),
    ),
    "padam": (
        ADAM | {"q": 0.2},
        lambda k, p, n: k.PAdam(
            p, lr=n["lr"], betas=betas(n, "beta1", "beta2"), partial=n["q"], eps=n["eps"]
        ),
    ),
    "adamod": (
        {**LR, **BETAS, "beta3": 0.9, "eps": 1e-3},
        _kozistr("AdaMod"),
    ),
    "grams": (ADAM | DECAY, _kozistr("Grams")),
    "schedule_free_sgd": (
        {"lr": 0.01, "beta": 0.8},
        lambda k, p, n: k.ScheduleFreeSGD(p, lr=n["lr"], momentum=n["beta"]),
    ),
    "madgrad": ({"lr": 0.01, "momentum": 0.8, "eps": 1e-3}, _kozistr("MADGRAD")),
    "exadam": (ADAM, _kozistr("EXAdam")),
    "ano": (ADAM, _kozistr("Ano")),
    "focus": (
        LR | BETAS | {"gamma": 0.2},
        _kozistr("FOCUS"),
    ),
    "bcos_m": (
        LR | {"beta": 0.8, "eps": 1e-3} | DECAY,
        _kozistr("BCOS", mode="m"),
    ),
    "vsgd": (
        LR | {"ratio": 20.0, "prior": 1e-3, "tau1": 0.7, "tau2": 0.8, "eps": 1e-3},
        lambda k, p, n: k.VSGD(
            p, lr=n["lr"], ghattg=n["ratio"], ps=n["prior"], tau1=n["tau1"], tau2=n["tau2"],
            eps=n["eps"],
        ),
    ),
    "adamg": (
        {"lr": 0.5, "beta1": 0.9, "beta2": 0.98, "beta3": 0.8, "scale": 0.3, "q": 0.3, "eps": 1e-3},
        lambda k, p, n: k.AdamG(
            p, lr=n["lr"], betas=betas(n, "beta1", "beta2", "beta3"), p=n["scale"], q=n["q"],
            eps=n["eps"],
        ),
    ),
    "accsgd": (
        {"lr": 0.01, "kappa": 100.0, "xi": 8.0, "c": 0.6},
        lambda k, p, n: k.AccSGD(p, lr=n["lr"], kappa=n["kappa"], xi=n["xi"], constant=n["c"]),
    ),
    "grokfast_adamw": (
        ADAM | DECAY | {"alpha": 0.9, "amplification": 1.5},
        lambda k, p, n: k.GrokFastAdamW(
            p, lr=n["lr"], betas=betas(n, "beta1", "beta2"), eps=n["eps"],
            weight_decay=n["weight_decay"], grokfast_alpha=n["alpha"],
            grokfast_lamb=n["amplification"], normalize_lr=False,
        ),
    ),
    "kate": (LR | {"delta": 0.2, "eps": 1e-3}, _kozistr("Kate")),
    "msvag": (LR | {"beta": 0.8}, _kozistr("MSVAG")),
    "sgdw": ({"lr": 0.01, "momentum": 0.8} | DECAY, _kozistr("SGDW")),
    "pid_controller": (
        {"lr": 0.01, "momentum": 0.8, "k_i": 3.0, "k_d": 4.0},
        lambda k, p, n: k.PID(
            p, lr=n["lr"], momentum=n["momentum"], integral=n["k_i"], derivative=n["k_d"]
        ),
    ),
    "dual_adam": (ADAM | {"switch_rate": 0.05}, _kozistr("DualAdam")),
    "adan": (
        {"lr": 0.03, "beta1": 0.9, "beta2": 0.8, "beta3": 0.95, "eps": 1e-3} | DECAY,
        _kozistr("Adan"),
    ),
    "adabelief": (ADAM, _kozistr("AdaBelief")),
    "yogi": (
        ADAM | {"initial": 1e-2},
        lambda k, p, n: k.Yogi(
            p, lr=n["lr"], betas=betas(n, "beta1", "beta2"), eps=n["eps"],
            initial_accumulator=n["initial"],
        ),
    ),
    "ademamix": (
        {**LR, **BETAS, "beta3": 0.99, "alpha": 3.0, "eps": 1e-3},
        _kozistr("AdEMAMix"),
    ),
    "lion": (LR | BETAS | DECAY, _kozistr("Lion")),
    "adamax": (ADAM, _kozistr("AdaMax")),
}  # fmt: skip


# keras


def with_keras(make: Callable[[Any, Numbers], Any], n: Numbers, p: Any, gradients: Any) -> Walk:
    """The parameters after every step of a class, on jax."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.backend.set_floatx("float64")
    variable = keras.Variable(p, dtype="float64")
    optimizer = make(keras.optimizers, n)
    optimizer.build([variable])
    for g in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64")], [variable])
        yield np.asarray(variable.value)


def _keras_adam(n: Numbers) -> dict[str, float]:
    return {
        "learning_rate": n["lr"], "beta_1": n["beta1"], "beta_2": n["beta2"], "epsilon": n["eps"]
    }  # fmt: skip


KERAS: dict[str, tuple[Numbers, Callable[[Any, Numbers], Any]]] = {
    "sgd": (LR, lambda k, n: k.SGD(n["lr"])),
    "momentum": ({"lr": 0.01, "momentum": 0.8}, lambda k, n: k.SGD(n["lr"], n["momentum"])),
    "nesterov": (
        {"lr": 0.01, "momentum": 0.8},
        lambda k, n: k.SGD(n["lr"], n["momentum"], nesterov=True),
    ),
    "adadelta": (
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3},
        lambda k, n: k.Adadelta(n["lr"], rho=n["rho"], epsilon=n["eps"]),
    ),
    "lion": (LR | BETAS, lambda k, n: k.Lion(n["lr"], beta_1=n["beta1"], beta_2=n["beta2"])),
    "ftrl": (
        {"lr": 0.05, "initial": 0.2, "l1": 0.02, "l2": 0.3, "shrinkage": 0.1, "beta": 0.4},
        lambda k, n: k.Ftrl(
            n["lr"], initial_accumulator_value=n["initial"], beta=n["beta"],
            l1_regularization_strength=n["l1"], l2_regularization_strength=n["l2"],
            l2_shrinkage_regularization_strength=n["shrinkage"],
        ),
    ),
    "adam_keras": (ADAM, lambda k, n: k.Adam(**_keras_adam(n))),
    "amsgrad_keras": (ADAM, lambda k, n: k.Adam(**_keras_adam(n), amsgrad=True)),
    "adamw_keras": (
        ADAM | DECAY,
        lambda k, n: k.AdamW(**_keras_adam(n), weight_decay=n["weight_decay"]),
    ),
    "nadam_keras": (ADAM, lambda k, n: k.Nadam(**_keras_adam(n))),
    "rmsprop_keras": (
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8},
        lambda k, n: k.RMSprop(
            n["lr"], rho=n["alpha"], momentum=n["momentum"], epsilon=n["eps"]
        ),
    ),
    "adagrad_keras": (
        {"lr": 0.05, "initial_accumulator_value": 0.2, "eps": 1e-3},
        lambda k, n: k.Adagrad(
            n["lr"], initial_accumulator_value=n["initial_accumulator_value"], epsilon=n["eps"]
        ),
    ),
    "adamax_keras": (ADAM, lambda k, n: k.Adamax(**_keras_adam(n))),
}  # fmt: skip

LIBRARIES: dict[str, tuple[Any, dict[str, tuple[Numbers, Any]], tuple[str, ...]]] = {
    "optax": (with_optax, OPTAX, ("optax", "jax", "numpy")),
    "pytorch_optimizer": (with_torch, PYTORCH_OPTIMIZER, ("pytorch_optimizer", "torch", "numpy")),
    "keras": (with_keras, KERAS, ("keras", "jax", "numpy")),
}


def record(library: str) -> dict[str, Any]:
    """What the file of a library holds."""
    walk, table, packages = LIBRARIES[library]
    p, gradients = problem()
    found = {}
    for name, (numbers, make) in sorted(table.items()):
        steps = list(walk(make, numbers, p, gradients))
        found[name] = {"numbers": numbers, "p": {t: steps[t - 1].tolist() for t in KEPT}}
    return {"versions": {name: version(name) for name in packages}, "recorded": found}


def main() -> None:
    """Writes all files."""
    p, gradients = problem()
    texts = {"problem": {"p": p.tolist(), "gradients": gradients.tolist()}}
    texts |= {library: record(library) for library in LIBRARIES}
    for name, content in texts.items():
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
