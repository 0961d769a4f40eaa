"""Relations that are known, and some that look like them: both tried with the NumPy references."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from stepforge.commands.terminal import relations as terminal
from stepforge.relations.find import Relation, relate
from stepforge.relations.given import asked

from .replay import side, value, walk

BIAS = "sqrt(1 - beta2**t)"
KNOWN: dict[tuple[str, str], tuple[set[str], dict[str, str]]] = {
    ("adam", "adamw"): ({"weight_decay = 0"}, {}),
    ("adam[decoupled_weight_decay]", "adamw"): (set(), {}),
    ("adam[amsgrad]", "adamw[amsgrad]"): ({"weight_decay = 0"}, {}),
    ("adam", "adam_keras"): ({"eps = 0"}, {}),
    ("adam", "adam_optax"): ({"eps_root = 0"}, {}),
    ("nadam", "nadam_keras"): (set(), {}),
    ("momentum", "momentum_ema"): (set(), {"lr": "lr/(1 - momentum)", "beta": "momentum"}),
    ("momentum_ema", "momentum"): (set(), {"lr": "lr*(1 - beta)", "momentum": "beta"}),
    ("signum", "signsgd"): ({"beta = 0"}, {}),
    ("lion", "signum"): ({"beta2 = beta1", "weight_decay = 0"}, {"beta": "beta1"}),
    ("lion", "tiger"): ({"beta2 = beta1"}, {"beta": "beta1"}),
    ("tiger", "signum"): ({"weight_decay = 0"}, {}),
    ("qhadam", "adam"): ({"nu1 = 1", "nu2 = 1", "weight_decay = 0"}, {}),
    ("qhm", "momentum_ema"): ({"nu = 1", "weight_decay = 0"}, {}),
    ("nesterov", "sgd[use_momentum,nesterov]"): ({"dampening = 0"}, {}),
    ("momentum", "sgd[use_momentum]"): ({"dampening = 0"}, {}),
    ("sgdw", "sgd[use_momentum]"): ({"dampening = 0", "weight_decay = 0"}, {}),
    ("ademamix", "adamw"): ({"alpha = 0"}, {}),
    ("padam", "adam"): ({"eps = 0", "q = 0.5", "weight_decay = 0"}, {}),
    ("adam", "signsgd"): ({"beta1 = 0", "beta2 = 0", "eps = 0", "weight_decay = 0"}, {}),
    ("adam", "adamax"): ({"beta2 = 0"}, {}),
    ("adam", "rmsprop"): (
        {"beta1 = 0"},
        {"lr": f"lr*{BIAS}", "alpha": "beta2", "eps": f"eps*{BIAS}"},
    ),
    ("amsgrad", "adam[amsgrad]"): (
        {"weight_decay = 0"},
        {"lr": f"lr/{BIAS}*(1 - beta1**t)", "eps": f"eps/{BIAS}"},
    ),
    ("adam", "nadam"): ({"beta1 = 0"}, {}),
    ("adamax", "adamaxw"): ({"weight_decay = 0"}, {}),
    ("adamd", "adam"): ({"eps = 0", "weight_decay = 0"}, {"lr": "lr*(1 - beta1**t)"}),
    ("sgd", "asgd"): ({"lambd = 0"}, {}),
    ("schedule_free_sgd", "sgd"): ({"beta = 0"}, {}),
    ("adamw", "schedule_free_adamw"): ({"beta1 = 0", "warmup = 1"}, {}),
    ("aggmo", "momentum"): (
        {"beta2 = beta1", "beta3 = beta1", "weight_decay = 0"},
        {"momentum": "beta1"},
    ),
    ("bcos_m", "bcos_c"): ({"beta = 0"}, {}),
    ("cautious_decay", "adamw"): ({"weight_decay = 0"}, {}),
}
"""The fewest conditions, and what hyperparameters of the second are in terms of the first's."""
DIFFERENT = [
    ("adam", "amsgrad"), ("adam", "adam[amsgrad]"), ("adam", "adam[maximize]"), ("adam", "radam"),
    ("adagrad", "rmsprop"), ("adadelta", "rmsprop"), ("adam", "adabelief"), ("adam", "eadam"),
    ("adam", "yogi"), ("adam", "adabound"), ("sgd", "signsgd"), ("signum", "momentum_ema"),
    ("adam", "adopt"), ("lion", "lion_refined"), ("lion_smooth", "lion"), ("adagrad", "kate"),
    ("adam", "diffgrad"), ("adam", "nosadam"), ("adam", "acprop"), ("rprop", "signsgd"),
    ("addsign", "powersign"), ("ano", "adam"), ("exadam", "adamw"), ("adam_atan2", "adam"),
    ("ftrl", "adagrad"),
]  # fmt: skip
NOT_ENOUGH = [
    ("momentum", "momentum_ema", "lr_B = lr*(1 - momentum)"),
    ("momentum", "momentum_ema", "lr_B = lr"),
    ("momentum_ema", "momentum", "lr_B = lr/(1 - beta)"),
    ("qhadam", "adam", "nu1 = 1"),
    ("qhadam", "adam", "nu2 = 1"),
    ("lion", "signum", "beta1 = beta2"),
    ("adam", "signsgd", "eps = 0"),
    ("adam", "rmsprop", "lr_B = lr*sqrt(1 - beta2**t)"),
    ("adam", "adamw", "beta1 = 0"),
    ("padam", "adam", "q = 0.25"),
]
"""With one condition of several that are needed, or one that is wrong."""
STEPS, SIZE = 12, 8


@cache
def found(a: str, b: str) -> Relation:
    return relate(side(a), side(b))


def numbers(a: str, relation: Relation) -> dict[str, float]:
    """Values of all variables that satisfy the conditions as they are printed."""
    shares, names = iter(np.linspace(0.35, 0.85, 12)), {}
    assert relation.hypothesis is not None
    own = relation.hypothesis.translation.own.items()
    usual = {name: side(a).usual[name] for name in side(a).hyperparameters}
    usual |= {variable: relation.b.usual[name] for name, variable in own}
    for name, span in usual.items():
        share = np.isfinite(span.low) and np.isfinite(span.high)
        names[name] = span.high * next(shares) if share else 0.3 + 0.07 * len(names)
    for condition in relation.hypothesis.conditions:
        left, _, right = condition.text.partition(" = ")
        names[left] = value(right, names)
    return names


@pytest.mark.parametrize(("a", "b"), KNOWN)
def test_a_known_relation_is_proved(a: str, b: str) -> None:
    conditions, translation = KNOWN[a, b]
    relation = found(a, b)
    assert relation.status == "PROVED"
    assert relation.kind == ("conditional" if conditions else "equal")
    assert relation.hypothesis is not None
    texts = {condition.text for condition in relation.hypothesis.conditions}
    assert texts == conditions
    assert dict(relation.hypothesis.translation.texts) == translation
    assert (relation.difference is None) == (not conditions)


@pytest.mark.parametrize(("a", "b"), KNOWN)
def test_the_references_agree_under_what_is_printed(a: str, b: str) -> None:
    """Parameters after every step, and states by their factors, within rounding."""
    relation = found(a, b)
    assert relation.hypothesis is not None
    assert relation.proof is not None
    names = numbers(a, relation)
    own = {name: names[name] for name in side(a).hyperparameters}
    texts = dict(relation.hypothesis.translation.texts)

    def of_b(name: str, t: int) -> float:
        return value(texts.get(name, name), {**names, "t": t})

    given = {name: (lambda t, n=name: of_b(n, t)) for name in side(b).hyperparameters}
    rng = np.random.default_rng(3)
    p, gradients = rng.standard_normal(SIZE), rng.standard_normal((STEPS, SIZE))
    runs = list(walk(a, own, p, gradients)), list(walk(b, given, p, gradients))
    x, y = runs[::-1] if relation.proof.reverse else runs
    for t, ((p_x, states_x), (p_y, states_y)) in enumerate(zip(x, y, strict=True), 1):
        np.testing.assert_allclose(p_x, p_y, rtol=1e-9)
        known = {**states_x, "p": p_x, "1": 1.0}
        for name, multiple in relation.proof.states.items():
            factor = value(terminal.shown(multiple.factor), {**names, "t": t})
            wanted = factor * np.asarray(known[multiple.state])
            np.testing.assert_allclose(states_y[name], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_what_only_looks_alike_is_refuted(a: str, b: str) -> None:
    """The smallest input gives the printed numbers in the NumPy references."""
    relation = found(a, b)
    assert (relation.kind, relation.status) == ("different", "REFUTED")
    shows_the_difference(relation, a, b)


@pytest.mark.parametrize(("a", "b"), [pair for pair in KNOWN if KNOWN[pair][0]])
def test_without_its_conditions_a_relation_is_refuted(a: str, b: str) -> None:
    shows_the_difference(found(a, b), a, b)


def shows_the_difference(relation: Relation, a: str, b: str) -> None:
    apart = relation.difference
    assert apart is not None
    witness = apart.witness
    likely = relation.hypothesis or relation.doubtful
    translation = likely.translation if likely else None
    if translation is not None and translation.plain is not None:
        translation = translation.plain
    texts = dict(translation.texts) if translation else {}
    if translation is None:
        from stepforge.relations.hypotheses import translations

        texts = dict(translations(side(a), side(b), {})[0].texts)
    of_a = {name: witness.values[name] for name in side(a).hyperparameters}
    of_b = {n: value(texts.get(n, n), witness.values) for n in side(b).hyperparameters}
    p, gradients = np.array([witness.p]), np.array(witness.gradients)[:, None]
    for name, given, printed in zip((a, b), (of_a, of_b), witness.results, strict=True):
        (last, _) = list(walk(name, given, p, gradients))[-1]
        assert float(last[0]) == pytest.approx(float(printed), rel=1e-5)
    assert witness.results[0] != witness.results[1]


@pytest.mark.parametrize(("a", "b", "condition"), NOT_ENOUGH)
def test_a_condition_alone_is_not_enough(a: str, b: str, condition: str) -> None:
    one, other = side(a), side(b)
    given = asked([condition], one, other)
    relation = relate(one, other, given)
    if relation.kind == "different":
        return
    assert relation.hypothesis is not None
    assert relation.kind == "conditional"
    assert len(relation.hypothesis.conditions) > len(given.conditions)


@pytest.mark.parametrize(
    ("a", "b", "condition"),
    [
        ("adam", "adamw", "weight_decay = 0"),
        ("momentum", "momentum_ema", "lr_B = lr/(1 - momentum)"),
        ("sgd", "momentum", "t = 1"),
        ("adam", "nadam", "beta1 = 0"),
    ],
)
def test_what_is_taken_for_granted_is_all_that_is_needed(a: str, b: str, condition: str) -> None:
    one, other = side(a), side(b)
    given = asked([condition], one, other)
    relation = relate(one, other, given)
    assert relation.status == "PROVED"
    assert relation.hypothesis is not None
    assert relation.hypothesis.conditions == given.conditions
    assert relation.hypothesis.first_only == given.first_only


def test_the_first_step_of_different_optimizers_may_be_the_same() -> None:
    relation = found("adam", "adam[amsgrad]")
    assert relation.first_step is not None
    assert relation.first_step.status == "equal"
    assert found("sgd", "signsgd").first_step is None


@pytest.mark.parametrize("name", ["adam", "lion", "radam", "nadam", "ftrl", "cocob"])
def test_an_optimizer_is_itself(name: str) -> None:
    relation = found(name, name)
    assert (relation.kind, relation.status) == ("equal", "PROVED")
